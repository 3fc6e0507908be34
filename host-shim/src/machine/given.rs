//! What a guest was given from outside, which another one takes over where it goes on in its place.

use super::Machine;
use super::exchange::Functions;
use super::limits::Most;
use super::snapshot::Saved;
use crate::Error;
use crate::console::Stream;
use crate::console::Streams;
use crate::device::{Devices, Models, Waits};
use crate::timers::Action;
use vcpu_abi::page::CONSOLE_LINE;

/// Streams, devices, functions and limits.
pub(crate) struct Given {
    pub(crate) streams: [Stream; 3],
    pub(crate) devices: Models,
    pub(crate) functions: Option<Box<dyn Functions>>,
    pub(crate) limits: Most,
}

impl Machine {
    /// Takes away what the guest was given. It does not run any more.
    pub(crate) fn give_up(&mut self) -> Given {
        Given {
            streams: self.streams.clone(),
            devices: std::mem::take(&mut self.devices).into_models(),
            functions: self.exchange.take_functions(),
            limits: self.limits.most(),
        }
    }

    /// Checks that a guest in this state can take over what this one was given.
    ///
    /// # Errors
    ///
    /// If its devices are not those of that state.
    pub(crate) fn check_given(&self, state: &Saved) -> Result<(), Error> {
        self.devices.check(state.devices())
    }

    /// Gives the guest this; it has not run since it was made of this state.
    ///
    /// # Errors
    ///
    /// If the devices are not those of that state.
    pub(crate) fn take_over(&mut self, given: Given, state: &Saved) -> Result<(), Error> {
        let Given { streams, devices, functions, limits } = given;
        self.streams = streams;
        for (stream, awaited) in self.streams.iter().zip(state.awaited()) {
            if awaited {
                let watched = self.timers.watch(stream.readiness(), Action::Raise(CONSOLE_LINE));
                watched.map_err(|error| Error::system("watch a stream", error))?;
            }
        }
        let (devices, waits) = Devices::resume(devices, state.devices(), &self.memory, &self.events)?;
        self.devices = devices;
        for Waits { stream, device, queue } in waits {
            let watched = self.timers.watch(stream, Action::Serve(device, queue));
            watched.map_err(|error| Error::system("watch a stream", error))?;
        }
        if let Some(functions) = functions {
            self.embed(functions);
        }
        self.limit(limits)
    }
}

/// Standard streams as a guest has them.
pub(crate) fn streams(streams: Option<Streams>) -> Result<[Stream; 3], Error> {
    match streams {
        Some(Streams { input, output, errors }) => {
            Ok([Stream::input(input), Stream::output(output), Stream::output(errors)])
        }
        None => Stream::nowhere().map_err(|error| Error::system("open the null device", error)),
    }
}

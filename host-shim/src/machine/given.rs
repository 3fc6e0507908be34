//! What a guest was given from outside, which another one takes over where it goes on in its place.

use super::Machine;
use super::exchange::Functions;
use super::limits::Most;
use crate::Error;
use crate::console::Stream;
use crate::console::Streams;
use crate::device::Devices;
use crate::grant::Grant;

/// Streams, grants, functions and limits.
pub(crate) struct Given {
    pub(crate) streams: [Stream; 3],
    pub(crate) grants: Vec<Grant>,
    pub(crate) functions: Option<Box<dyn Functions>>,
    pub(crate) limits: Most,
}

impl Machine {
    /// Takes away what the guest was given. It does not run any more.
    pub(crate) fn give_up(&mut self) -> Given {
        Given {
            streams: self.streams.clone(),
            grants: std::mem::take(&mut self.devices).into_grants(),
            functions: self.exchange.take_functions(),
            limits: self.limits.most(),
        }
    }

    /// Gives the guest this; it has not run since it was made of a state.
    ///
    /// # Errors
    ///
    /// If a grant cannot be served.
    pub(crate) fn take_over(&mut self, given: Given) -> Result<(), Error> {
        let Given { streams, grants, functions, limits } = given;
        self.streams = streams;
        self.devices = Devices::new(grants, &self.memory, &self.events)?;
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

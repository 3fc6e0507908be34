//! Functions that guest and host call of each other: the machine's side.
//!
//! The machine moves messages; what is in them is the business of those who call and serve.

use super::Machine;
use crate::memory::GuestMemory;
use crate::{Error, report::Outcome};
use std::fmt;
use vcpu_abi::call::{Access, Error as CallError};
use vcpu_abi::exchange::MESSAGE_MAX;

/// What the host lets its guest call.
pub(crate) trait Functions: Send {
    /// Carries out a request, of which this is a copy, and gives the reply, at most [`MESSAGE_MAX`] bytes.
    fn call(&mut self, memory: &GuestMemory, request: &[u8]) -> Vec<u8>;
}

/// The state of both directions.
#[derive(Default)]
pub(crate) struct Exchange {
    /// Whether somebody makes requests of the guest.
    pub(crate) serves: bool,
    /// What the guest said when it last asked for a request, if it waits for it.
    pub(crate) waiting: Option<Waiting>,
    pub(crate) functions: Option<Box<dyn Functions>>,
    /// A reply of the host's that the guest had no room for.
    unfetched: Option<Vec<u8>>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Exchange").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// A guest that waits for a request: where its last reply lies and where the request goes, as it says. Each is
/// an address and a length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) reply: (u64, u64),
    pub(crate) mailbox: (u64, u64),
}

impl Machine {
    /// Runs the guest until it waits for a request, or to its end.
    ///
    /// # Errors
    ///
    /// As [`run`](Machine::run).
    pub(crate) fn run_to_serve(&mut self) -> Result<Option<Outcome>, Error> {
        while self.exchange.waiting.is_none() {
            if let Some(outcome) = self.turn(crate::backend::Pace::Full)? {
                return Ok(Some(outcome));
            }
        }
        Ok(None)
    }

    /// Copies the reply to the last request. None if it is not in RAM, or longer than `most` bytes.
    ///
    /// # Panics
    ///
    /// If the guest does not wait for a request.
    pub(crate) fn copy_reply(&self, most: u64, reply: &mut Vec<u8>) -> Option<()> {
        let (address, length) = self.exchange.waiting.expect("the guest waits").reply;
        if length > most {
            return None;
        }
        reply.resize(length as usize, 0);
        self.memory.read_to(address, reply)
    }

    /// Gives the guest a request; it runs on when the machine is run. False if its mailbox is too small: then
    /// it makes a larger one, waits again, and is given the request again.
    ///
    /// # Errors
    ///
    /// As [`run`](Machine::run).
    ///
    /// # Panics
    ///
    /// If the guest does not wait for a request.
    pub(crate) fn give_request(&mut self, request: &[u8]) -> Result<bool, Error> {
        let (address, room) = self.exchange.waiting.take().expect("the guest waits").mailbox;
        let fits = request.len() as u64 <= room;
        let answer = if fits && self.memory.write(address, request).is_none() {
            Err(CallError::BadAddress)
        } else {
            Ok(request.len() as u64)
        };
        self.answer(answer)?;
        Ok(fits)
    }

    /// The guest waits for a request.
    pub(super) fn serve_requests(&mut self, reply: (u64, u64), mailbox: (u64, u64)) -> Result<(), CallError> {
        if !self.exchange.serves {
            return Err(CallError::Denied);
        }
        let write = Access::READ | Access::WRITE;
        let found = self.memory.find(reply.0, reply.1, Access::READ).is_some()
            && self.memory.find(mailbox.0, mailbox.1, write).is_some();
        if !found {
            return Err(CallError::BadAddress);
        }
        self.exchange.waiting = Some(Waiting { reply, mailbox });
        Ok(())
    }

    /// The guest calls a function of the host's.
    pub(super) fn call_host(&mut self, request: (u64, u64), reply: (u64, u64)) -> Result<u64, CallError> {
        let Some(functions) = &mut self.exchange.functions else { return Err(CallError::Denied) };
        if request.1 > MESSAGE_MAX {
            return Err(CallError::BadArgument);
        }
        self.memory.find(reply.0, reply.1, Access::READ | Access::WRITE).ok_or(CallError::BadAddress)?;
        let copy = self.memory.read_cut(request.0, request.1, request.1).ok_or(CallError::BadAddress)?;
        self.exchange.unfetched = None;
        let answer = functions.call(&self.memory, &copy);
        if answer.len() as u64 <= reply.1 {
            self.memory.write(reply.0, &answer).ok_or(CallError::BadAddress)?;
            return Ok(answer.len() as u64);
        }
        let length = answer.len() as u64;
        self.exchange.unfetched = Some(answer);
        Ok(length)
    }

    /// The guest fetches a reply for which it had no room.
    pub(super) fn fetch_reply(&mut self, address: u64, room: u64) -> Result<u64, CallError> {
        let fits = |reply: &&Vec<u8>| reply.len() as u64 <= room;
        let reply = self.exchange.unfetched.as_ref().filter(fits).ok_or(CallError::BadArgument)?;
        self.memory.find(address, room, Access::READ | Access::WRITE).ok_or(CallError::BadAddress)?;
        self.memory.write(address, reply).ok_or(CallError::BadAddress)?;
        Ok(self.exchange.unfetched.take().map_or(0, |reply| reply.len() as u64))
    }
}

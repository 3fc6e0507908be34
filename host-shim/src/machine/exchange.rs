//! Functions that guest and host call of each other: the machine's side.
//!
//! The machine moves messages; what is in them is the business of those who call and serve.

use super::Machine;
use crate::backend::{BackendKind, Pace};
use crate::memory::GuestMemory;
use crate::{Error, report::Outcome, sys};
use std::fmt;
use std::time::Duration;
use vcpu_abi::call::{Access, Error as CallError};
use vcpu_abi::exchange::MESSAGE_MAX;

/// What the host lets its guest call.
pub(crate) trait Functions: Send {
    /// Carries out a request, of which this is a copy, and makes the reply, at most [`MESSAGE_MAX`] bytes, in a
    /// buffer that holds anything.
    fn call(&mut self, memory: &GuestMemory, request: &[u8], reply: &mut Vec<u8>);
}

/// What came of a request that the guest was given.
#[derive(Debug)]
pub(crate) enum Answered {
    /// It has replied. The reply is copied, and may be anything.
    Reply,
    /// It says that its reply has so many bytes, which is more than are taken, or that it lies where no
    /// reply can.
    BadReply(u64),
    /// It makes no room for the request.
    NoRoom,
    /// It has ended.
    Ended(Outcome),
}

/// What a guest may take for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The time.
    pub(crate) time: Option<Duration>,
    /// Bytes of the reply.
    pub(crate) reply: u64,
}

/// The state of both directions.
#[derive(Default)]
pub(crate) struct Exchange {
    /// What the guest said when it last asked for a request, if it waits for it.
    pub(crate) waiting: Option<Waiting>,
    /// What it may call. If it may, somebody makes requests of it as well.
    functions: Option<Box<dyn Functions>>,
    /// The last request of the guest's, and the host's reply, whose memory is used again.
    request: Vec<u8>,
    reply: Vec<u8>,
    /// Whether the guest had no room for the reply.
    unfetched: bool,
}

impl Exchange {
    /// Takes away what the guest may call.
    pub(super) fn take_functions(&mut self) -> Option<Box<dyn Functions>> {
        self.functions.take()
    }
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
    /// Lets the guest serve requests, and call these functions.
    pub(crate) fn embed(&mut self, functions: Box<dyn Functions>) {
        self.exchange.functions = Some(functions);
    }

    /// Runs the guest until it waits for its first request. Gives the outcome if it ends before, which it does
    /// when the time is over.
    ///
    /// # Errors
    ///
    /// As [`run`](Machine::run).
    pub(crate) fn run_to_first_request(&mut self, time: Option<Duration>) -> Result<Option<Outcome>, Error> {
        self.begin_time(time)?;
        let outcome = self.run_to_serve()?;
        self.end_time()?;
        Ok(outcome)
    }

    /// Gives the guest a request, runs it until it waits for the next, and copies the reply.
    ///
    /// # Errors
    ///
    /// As [`run`](Machine::run).
    ///
    /// # Panics
    ///
    /// If the guest does not wait for a request.
    pub(crate) fn request(
        &mut self,
        request: &[u8],
        limits: Limits,
        reply: &mut Vec<u8>,
    ) -> Result<Answered, Error> {
        self.begin_time(limits.time)?;
        // Once more if it first has to make room.
        let mut fits = self.give_request(request)?;
        let mut outcome = self.run_to_serve()?;
        if !fits && outcome.is_none() {
            fits = self.give_request(request)?;
            outcome = self.run_to_serve()?;
        }
        self.end_time()?;
        if let Some(outcome) = outcome {
            return Ok(Answered::Ended(outcome));
        }
        if !fits {
            return Ok(Answered::NoRoom);
        }
        let (address, length) = self.exchange.waiting.expect("the guest waits").reply;
        if length > limits.reply {
            return Ok(Answered::BadReply(length));
        }
        reply.resize(length as usize, 0);
        let copied = self.memory.read_to(address, reply);
        Ok(copied.map_or(Answered::BadReply(length), |()| Answered::Reply))
    }

    /// From now on the guest's time passes.
    fn begin_time(&mut self, time: Option<Duration>) -> Result<(), Error> {
        let limit = time.map(|time| {
            let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            sys::monotonic().saturating_add(time)
        });
        match (self.kind, limit) {
            // It looks at the limit whenever it sleeps, and `run_to_serve` does between two stops.
            (BackendKind::Seccomp, _) => self.events.set_limit(limit.unwrap_or(u64::MAX)),
            // It sleeps in `waitpid`, which somebody must end.
            (_, Some(limit)) => self
                .timers
                .set_limit(limit)
                .map_err(|error| Error::system("set the time limit of a call", error))?,
            (_, None) => {}
        }
        Ok(())
    }

    /// The guest waits, and its time does not pass. Whatever happened just now, it was not too late.
    fn end_time(&mut self) -> Result<(), Error> {
        if self.kind == BackendKind::Seccomp || self.ended || self.events.limit().is_none() {
            return Ok(());
        }
        self.timers.clear_limit().map_err(|error| Error::system("end the time limit of a call", error))
    }

    fn run_to_serve(&mut self) -> Result<Option<Outcome>, Error> {
        loop {
            if let Some(outcome) = self.turn(Pace::Full)? {
                return Ok(Some(outcome));
            }
            if self.exchange.waiting.is_some() {
                return Ok(None);
            }
            // One that makes calls all the time never lets its machine sleep.
            if self.events.limit().is_some_and(|limit| limit <= sys::monotonic()) {
                self.events.end_time();
            }
        }
    }

    /// Gives the guest a request; it runs on when the machine is run. False if its mailbox is too small: then
    /// it makes a larger one, waits again, and is given the request again.
    fn give_request(&mut self, request: &[u8]) -> Result<bool, Error> {
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
        let write = Access::READ | Access::WRITE;
        let found = self.memory.find(reply.0, reply.1, Access::READ).is_some()
            && self.memory.find(mailbox.0, mailbox.1, write).is_some();
        if !found {
            return Err(CallError::BadAddress);
        }
        if self.exchange.functions.is_none() {
            return Err(CallError::Denied);
        }
        self.exchange.waiting = Some(Waiting { reply, mailbox });
        Ok(())
    }

    /// The guest calls a function of the host's.
    pub(super) fn call_host(&mut self, request: (u64, u64), reply: (u64, u64)) -> Result<u64, CallError> {
        let Exchange { functions, request: copy, reply: answer, unfetched, .. } = &mut self.exchange;
        if request.1 > MESSAGE_MAX {
            return Err(CallError::BadArgument);
        }
        self.memory.find(request.0, request.1, Access::READ).ok_or(CallError::BadAddress)?;
        self.memory.find(reply.0, reply.1, Access::READ | Access::WRITE).ok_or(CallError::BadAddress)?;
        let Some(functions) = functions else { return Err(CallError::Denied) };
        copy.resize(request.1 as usize, 0);
        self.memory.read_to(request.0, copy).ok_or(CallError::BadAddress)?;
        functions.call(&self.memory, copy, answer);
        *unfetched = answer.len() as u64 > reply.1;
        if !*unfetched {
            self.memory.write(reply.0, answer).ok_or(CallError::BadAddress)?;
        }
        Ok(answer.len() as u64)
    }

    /// The guest fetches a reply for which it had no room.
    pub(super) fn fetch_reply(&mut self, address: u64, room: u64) -> Result<u64, CallError> {
        let Exchange { reply, unfetched, .. } = &mut self.exchange;
        if !*unfetched || reply.len() as u64 > room {
            return Err(CallError::BadArgument);
        }
        self.memory.find(address, room, Access::READ | Access::WRITE).ok_or(CallError::BadAddress)?;
        self.memory.write(address, reply).ok_or(CallError::BadAddress)?;
        *unfetched = false;
        Ok(reply.len() as u64)
    }
}

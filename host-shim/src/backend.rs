//! What a backend is: a way in which an operating system plays the CPU.
//!
//! A backend lets the guest run and says why it stopped; the [sandbox](crate::Sandbox) does the rest,
//! which is the same for all backends. It also owns the guest's process or whatever it uses in its place.

pub mod ptrace;

use crate::Error;
use crate::memory::GuestMemory;
use crate::registers::Registers;
use std::ops::Range;
use vcpu_abi::call::Access;
use vcpu_abi::cause::Cause;

/// Which backend to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendKind {
    /// The best one that works here.
    #[default]
    Auto,
    /// ptrace and segmentation faults: the reference, simple and debuggable.
    Ptrace,
}

/// How to let the guest run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Until something happens.
    Full,
    /// One instruction.
    Step,
}

/// Why a guest stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It made a call. It gets its answer by [`Backend::answer`].
    Call(Request),
    /// It did something that is not permitted; `rip` is as the processor says for this cause.
    Exception(Exception),
    /// Somebody kicked it, or for no reason at all.
    Kick,
    /// It carried out one instruction, as it was told to.
    Stepped,
    /// Its process was ended from outside, by this signal.
    Killed(i32),
}

/// An exception, as the backend found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exception {
    /// What kind.
    pub cause: Cause,
    /// The address that could not be accessed; 0 unless it is a page fault.
    pub address: u64,
    /// The error code with [`ERROR_CODE_KNOWN`](vcpu_abi::page::ERROR_CODE_KNOWN), or 0.
    pub error_code: u32,
}

/// Number and arguments of a call, as the guest gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number of the call; there need not be such a call.
    pub number: u32,
    /// The arguments a, b, c, d.
    pub arguments: [u64; 4],
}

/// A way to play the CPU.
///
/// After a stop other than [`Stop::Killed`] the guest does not run until `run` is called again, and
/// registers and memory may be used.
pub trait Backend {
    /// Lets the guest run. `memory` is its RAM, in which a backend may look at instructions.
    ///
    /// # Errors
    ///
    /// If the system refuses, which it does not for anything that a guest can do.
    fn run(&mut self, pace: Pace, memory: &GuestMemory) -> Result<Stop, Error>;

    /// Gives the guest the answer to the call that stopped it.
    ///
    /// # Errors
    ///
    /// As [`run`](Backend::run).
    fn answer(&mut self, value: i64) -> Result<(), Error>;

    /// The guest's registers.
    ///
    /// # Errors
    ///
    /// As [`run`](Backend::run).
    fn registers(&mut self) -> Result<Registers, Error>;

    /// Sets the guest's registers.
    ///
    /// # Errors
    ///
    /// As [`run`](Backend::run).
    fn set_registers(&mut self, registers: Registers) -> Result<(), Error>;

    /// Changes the access of pages of the guest's RAM. False if the system refused that.
    ///
    /// # Errors
    ///
    /// As [`run`](Backend::run).
    fn protect(&mut self, pages: Range<u64>, access: Access) -> Result<bool, Error>;
}

//! What a backend is: a way in which an operating system plays the CPU.
//!
//! A backend lets the guest run and says why it stopped; the [machine](crate::Machine) does the rest,
//! which is the same for all backends. It also owns the guest's process or whatever it uses in its place.

pub mod ptrace;
pub mod seccomp;

use crate::Error;
use crate::memory::GuestMemory;
use crate::registers::Registers;
use crate::upcall::{self, Delivery, Interruption};
use std::ops::Range;
use vcpu_abi::call::Access;
use vcpu_abi::cause::Cause;
use vcpu_abi::page::VcpuPage;

/// Which backend to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendKind {
    /// The fastest that can be started here: `Seccomp`, or else `Ptrace`.
    #[default]
    Auto,
    /// ptrace and segmentation faults: the reference, simple and debuggable.
    Ptrace,
    /// A filter of system calls, handlers of signals and timers in the guest's process, and shared memory: fast.
    Seccomp,
}

impl BackendKind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            BackendKind::Auto => "auto",
            BackendKind::Ptrace => "ptrace",
            BackendKind::Seccomp => "seccomp",
        }
    }
}

/// Codes in `siginfo_t` that the kernel gives to its own signals.
mod code {
    pub(super) const SI_KERNEL: i32 = 0x80;
    pub(super) const BUS_ADRALN: i32 = 1;
    pub(super) const FPE_INTDIV: i32 = 1;
    pub(super) const FPE_INTOVF: i32 = 2;
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
    /// It is one that lives on: from now on somebody must [say](crate::Machine) when its process ends. Comes
    /// once.
    Idle,
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
/// After a stop other than [`Stop::Killed`], [`Stop::Kick`] and [`Stop::Idle`] the guest does not run until
/// `run` is called again, and registers and memory may be used.
pub trait Backend: std::fmt::Debug {
    /// The guest's process.
    fn pid(&self) -> i32;

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

    /// Interrupts the guest, if it allows that.
    ///
    /// # Errors
    ///
    /// As [`run`](Backend::run).
    fn interrupt(&mut self, page: &VcpuPage, interruption: Interruption) -> Result<Delivery, Error> {
        let mut registers = self.registers()?;
        let delivery = upcall::deliver(page, &mut registers, interruption);
        if delivery == Delivery::Upcall {
            self.set_registers(registers)?;
        }
        Ok(delivery)
    }

    /// The guest's registers. A guest that runs is stopped for that.
    ///
    /// # Errors
    ///
    /// As [`run`](Backend::run), and [`Error::Unresponsive`] if it does not stop.
    fn registers(&mut self) -> Result<Registers, Error>;

    /// Sets the guest's registers.
    ///
    /// # Errors
    ///
    /// As [`run`](Backend::run).
    fn set_registers(&mut self, registers: Registers) -> Result<(), Error>;

    /// Copies the extended state to a buffer, in a form that only [`set_extended`](Backend::set_extended) has
    /// to understand. Gives its length in bytes.
    ///
    /// # Errors
    ///
    /// As [`registers`](Backend::registers).
    fn extended(&mut self, buffer: &mut [u8]) -> Result<usize, Error>;

    /// Sets the extended state.
    ///
    /// # Errors
    ///
    /// As [`registers`](Backend::registers).
    fn set_extended(&mut self, state: &[u8]) -> Result<(), Error>;

    /// Changes the access of pages of the guest's RAM. False if the system refused that.
    ///
    /// # Errors
    ///
    /// As [`run`](Backend::run).
    fn protect(&mut self, pages: Range<u64>, access: Access) -> Result<bool, Error>;
}

//! What a backend is: a way in which an operating system plays the CPU.
//!
//! A backend lets the guest run and says why it stopped; the [sandbox](crate::Sandbox) does the rest,
//! which is the same for all backends. It also owns the guest's process or whatever it uses in its place.

pub mod ptrace;

use crate::Error;
use crate::memory::GuestMemory;
use crate::upcall::Exception;
use libc::user_regs_struct;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use vcpu_abi::call::Access;
use vcpu_abi::page::{GENERAL_REGISTERS, StateSaveArea};

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

/// A guest's general registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// As the system has them.
    pub raw: user_regs_struct,
}

/// Linux's selectors of user code and data in 64-bit mode.
const USER_CODE: u64 = 0x33;
const USER_DATA: u64 = 0x2b;

impl Registers {
    /// Registers with which a guest begins at `entry`: everything else is zero.
    pub fn start(entry: u64) -> Registers {
        // SAFETY: the structure consists of integers, for which zero is valid.
        let mut raw: user_regs_struct = unsafe { std::mem::zeroed() };
        (raw.rip, raw.eflags, raw.cs, raw.ss) = (entry, 0x202, USER_CODE, USER_DATA);
        raw.orig_rax = u64::MAX;
        Registers { raw }
    }

    /// Whether the processor interprets the code as 64-bit code.
    pub fn in_64_bit_mode(&self) -> bool {
        self.raw.cs == USER_CODE
    }

    /// The general registers in the order of the state save area.
    pub fn general(&self) -> [u64; GENERAL_REGISTERS] {
        let mut copy = *self;
        copy.general_mut().map(|register| *register)
    }

    fn general_mut(&mut self) -> [&mut u64; GENERAL_REGISTERS] {
        let user_regs_struct {
            r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax, ..
        } = &mut self.raw;
        [r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax]
    }

    /// Writes them to the state save area.
    pub(crate) fn save(&self, ssa: &StateSaveArea) {
        for (slot, register) in ssa.general.iter().zip(self.general()) {
            slot.store(register, Relaxed);
        }
        ssa.rip.store(self.raw.rip, Relaxed);
        ssa.rflags.store(self.raw.eflags, Relaxed);
        ssa.rsp.store(self.raw.rsp, Relaxed);
    }

    /// Copies them from the state save area.
    pub(crate) fn load(ssa: &StateSaveArea) -> Registers {
        let mut registers = Registers::start(ssa.rip.load(Relaxed));
        for (register, saved) in registers.general_mut().into_iter().zip(&ssa.general) {
            *register = saved.load(Relaxed);
        }
        (registers.raw.eflags, registers.raw.rsp) = (ssa.rflags.load(Relaxed), ssa.rsp.load(Relaxed));
        registers
    }

    /// Lets the guest continue at an upcall's entry vector. Segment bases stay.
    pub(crate) fn enter(&mut self, ip: u64, sp: u64, flags: u64) {
        (self.raw.rip, self.raw.rsp, self.raw.eflags) = (ip, sp, flags);
        (self.raw.cs, self.raw.ss) = (USER_CODE, USER_DATA);
    }
}

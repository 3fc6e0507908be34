//! A guest's general registers: as Linux has them, and as the state save area has them.

use libc::user_regs_struct;
use std::sync::atomic::Ordering::Relaxed;
use vcpu_abi::page::{GENERAL_REGISTERS, StateSaveArea};

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

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

/// The general registers in a signal frame: the `gregs` of `ucontext_t`.
pub(crate) type GeneralFrame = [u64; 23];

impl Registers {
    /// The registers in a frame that a guest's process has. It is memory of the guest: what it holds may be
    /// anything.
    pub(crate) fn of_frame(frame: *const GeneralFrame) -> Registers {
        // SAFETY: the pointer is one into the handlers' stack, which stays mapped as long as the sandbox
        // lives. The guest can write there at any moment, so it is copied once.
        let words = unsafe { frame.read_volatile() };
        let mut registers = Registers::start(words[libc::REG_RIP as usize]);
        for (register, index) in registers.general_mut().into_iter().zip(FRAME_ORDER) {
            *register = words[index as usize];
        }
        let raw = &mut registers.raw;
        (raw.rsp, raw.eflags) = (words[libc::REG_RSP as usize], words[libc::REG_EFL as usize]);
        let segments = words[libc::REG_CSGSFS as usize];
        (raw.cs, raw.ss) = (segments & 0xffff, segments >> 48);
        registers
    }

    /// Writes them to such a frame.
    pub(crate) fn write_frame(&self, frame: *mut GeneralFrame) {
        // SAFETY: as above.
        let mut words = unsafe { frame.read_volatile() };
        for (register, index) in self.general().into_iter().zip(FRAME_ORDER) {
            words[index as usize] = register;
        }
        let raw = &self.raw;
        words[libc::REG_RIP as usize] = raw.rip;
        (words[libc::REG_RSP as usize], words[libc::REG_EFL as usize]) = (raw.rsp, raw.eflags);
        words[libc::REG_CSGSFS as usize] = raw.cs & 0xffff | raw.ss << 48;
        // SAFETY: as above.
        unsafe { frame.write_volatile(words) };
    }
}

/// Where the registers of the state save area lie in a frame.
const FRAME_ORDER: [libc::c_int; GENERAL_REGISTERS] = [
    libc::REG_R15,
    libc::REG_R14,
    libc::REG_R13,
    libc::REG_R12,
    libc::REG_R11,
    libc::REG_R10,
    libc::REG_R9,
    libc::REG_R8,
    libc::REG_RBP,
    libc::REG_RDI,
    libc::REG_RSI,
    libc::REG_RDX,
    libc::REG_RCX,
    libc::REG_RBX,
    libc::REG_RAX,
];

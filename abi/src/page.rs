//! The vCPU page: the memory through which guest and machine share a virtual CPU.
//!
//! Every field is an atomic, because both sides may write the page at any moment. Relaxed loads and
//! stores compile to plain moves. The host treats whatever it reads here as hostile.

use crate::layout::PAGE_SIZE;
use bitflags::bitflags;
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU32, AtomicU64};

bitflags! {
    /// The state indicator: set by the guest, obeyed by the machine.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct State: u32 {
        /// The virtual interrupt flag: events may interrupt the guest.
        const IRQ = 1 << 0;
        /// The guest takes its own exceptions. While this is clear, an exception is a double fault.
        const EXCEPTIONS = 1 << 1;
    }
}

bitflags! {
    /// What the machine tells the guest about the time in which it was not allowed to interrupt.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Sticky: u32 {
        /// An event came while [`State::IRQ`] was clear. The machine clears it when it performs the
        /// upcall of an event; the guest clears it when it takes the events without an upcall.
        const EVENT_PENDING = 1 << 0;
    }
}

/// Number of event lines; a line is a bit in [`VcpuPage::pending`].
pub const EVENT_LINES: u32 = 64;

/// The event line that the machine raises when a standard stream that answered
/// [`Error::Again`](crate::call::Error::Again) is worth another try.
pub const CONSOLE_LINE: u32 = 0;

/// The registers of the interrupted code, and why it was interrupted. Written by the machine at an upcall.
#[repr(C)]
#[derive(Debug, Default)]
pub struct StateSaveArea {
    /// `r15 r14 r13 r12 r11 r10 r9 r8 rbp rdi rsi rdx rcx rbx rax`, in this order.
    pub general: [AtomicU64; GENERAL_REGISTERS],
    /// Where the interrupted code continues.
    pub rip: AtomicU64,
    /// Flags of the interrupted code.
    pub rflags: AtomicU64,
    /// Stack pointer of the interrupted code.
    pub rsp: AtomicU64,
    /// Why the upcall happened: a [`Cause`](crate::cause::Cause).
    pub cause: AtomicU32,
    /// The error code as on hardware, if [`ERROR_CODE_KNOWN`] is set; otherwise 0.
    pub error_code: AtomicU32,
    /// The address that could not be accessed; valid for page faults only.
    pub fault_address: AtomicU64,
}

/// Number of registers in [`StateSaveArea::general`].
pub const GENERAL_REGISTERS: usize = 15;

/// Names of the registers in [`StateSaveArea::general`], in its order.
pub const GENERAL_REGISTER_NAMES: [&str; GENERAL_REGISTERS] =
    ["r15", "r14", "r13", "r12", "r11", "r10", "r9", "r8", "rbp", "rdi", "rsi", "rdx", "rcx", "rbx", "rax"];

/// Bit of [`StateSaveArea::error_code`] that says the backend could know the error code.
pub const ERROR_CODE_KNOWN: u32 = 1 << 31;

/// The page itself, at [`layout::VCPU_PAGE`](crate::layout::VCPU_PAGE). All unused bytes are zero, but for the
/// last 256 of the page, which a backend may use for itself.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct VcpuPage {
    /// [`State`], written by the guest. The machine clears it at an upcall.
    pub state: AtomicU32,
    /// The [`State`] at the moment of the last upcall, written by the machine.
    pub saved_state: AtomicU32,
    /// [`Sticky`] flags, written only on the vCPU's own thread.
    pub sticky: AtomicU32,
    reserved0: AtomicU32,
    /// Address at which an upcall begins.
    pub entry_ip: AtomicU64,
    /// Stack pointer with which an upcall begins.
    pub entry_sp: AtomicU64,
    reserved1: [AtomicU64; 4],
    /// Events that came and were not taken yet, a bit a line. The machine sets bits, the guest takes
    /// them with an atomic exchange.
    pub pending: AtomicU64,
    /// Counts the machine's additions to `pending`, wrapping: the word on which a backend can let a waiting
    /// vCPU sleep.
    pub doorbell: AtomicU32,
    reserved2: [AtomicU32; 13],
    /// The state save area.
    pub ssa: StateSaveArea,
}

const _: () = {
    assert!(offset_of!(VcpuPage, state) == 0x00);
    assert!(offset_of!(VcpuPage, saved_state) == 0x04);
    assert!(offset_of!(VcpuPage, sticky) == 0x08);
    assert!(offset_of!(VcpuPage, entry_ip) == 0x10);
    assert!(offset_of!(VcpuPage, entry_sp) == 0x18);
    assert!(offset_of!(VcpuPage, pending) == 0x40);
    assert!(offset_of!(VcpuPage, doorbell) == 0x48);
    assert!(offset_of!(VcpuPage, ssa) == 0x80);
    assert!(offset_of!(StateSaveArea, rip) == 0x78);
    assert!(offset_of!(StateSaveArea, rflags) == 0x80);
    assert!(offset_of!(StateSaveArea, rsp) == 0x88);
    assert!(offset_of!(StateSaveArea, cause) == 0x90);
    assert!(offset_of!(StateSaveArea, error_code) == 0x94);
    assert!(offset_of!(StateSaveArea, fault_address) == 0x98);
    assert!(size_of::<StateSaveArea>() == 0xa0);
    assert!(size_of::<VcpuPage>() <= PAGE_SIZE as usize);
};

//! Why an upcall happened: an event, or an exception numbered as the processor numbers it.

use core::fmt;

/// The cause of an upcall, as it lies in [`StateSaveArea::cause`](crate::page::StateSaveArea::cause).
///
/// Numbers below 32 are the processor's own exception vectors; the rest are the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Cause {
    /// Division by zero, or a quotient that does not fit.
    DivideError = 0,
    /// Single step by the trap flag, or `int1`.
    Debug = 1,
    /// `int3`. As on hardware, `rip` points behind the instruction.
    Breakpoint = 3,
    /// An instruction that does not exist or is not allowed here.
    InvalidOpcode = 6,
    /// A stack access with a non-canonical address.
    StackFault = 12,
    /// A privileged instruction, or an access with a non-canonical address.
    GeneralProtection = 13,
    /// An access that the page's rights forbid, or to a page that does not exist.
    PageFault = 14,
    /// An unmasked x87 exception.
    X87 = 16,
    /// A misaligned access with the alignment-check flag set.
    AlignmentCheck = 17,
    /// An unmasked SSE or AVX exception.
    Simd = 19,
    /// One or more events are pending.
    Event = 64,
    /// An attempted system call of the world outside; it was not executed. `rip` points at the
    /// instruction (for a vsyscall, at its return address). As on hardware, `syscall` has overwritten
    /// `rcx` and `r11`.
    OutsideCall = 65,
    /// Execution had left 64-bit mode. It cannot be resumed.
    Left64Bit = 66,
}

impl Cause {
    /// All causes.
    pub const ALL: [Cause; 13] = [
        Cause::DivideError,
        Cause::Debug,
        Cause::Breakpoint,
        Cause::InvalidOpcode,
        Cause::StackFault,
        Cause::GeneralProtection,
        Cause::PageFault,
        Cause::X87,
        Cause::AlignmentCheck,
        Cause::Simd,
        Cause::Event,
        Cause::OutsideCall,
        Cause::Left64Bit,
    ];

    /// The cause with this number, or `None` if there is none.
    ///
    /// ```
    /// use vcpu_abi::cause::Cause;
    /// assert_eq!(Cause::from_number(14), Some(Cause::PageFault));
    /// assert_eq!(Cause::from_number(2), None);
    /// ```
    pub fn from_number(number: u32) -> Option<Cause> {
        Self::ALL.into_iter().find(|cause| *cause as u32 == number)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Cause::DivideError => "divide error",
            Cause::Debug => "debug exception",
            Cause::Breakpoint => "breakpoint",
            Cause::InvalidOpcode => "invalid opcode",
            Cause::StackFault => "stack fault",
            Cause::GeneralProtection => "general protection fault",
            Cause::PageFault => "page fault",
            Cause::X87 => "x87 floating-point exception",
            Cause::AlignmentCheck => "alignment check",
            Cause::Simd => "SIMD floating-point exception",
            Cause::Event => "event",
            Cause::OutsideCall => "attempted system call of the world outside",
            Cause::Left64Bit => "left 64-bit mode",
        })
    }
}

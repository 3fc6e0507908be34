//! A call by the trap page.

use core::arch::asm;
use libvcpu::abi::call::Call;
use libvcpu::abi::layout::TRAP_INSTRUCTION;

/// The call `null`, by the one instruction that the machine takes for a call.
pub(crate) fn null() {
    // SAFETY: the machine takes the instruction for a call, which changes nothing but rax; `null` does
    // not look at its arguments.
    unsafe {
        asm!(
            ".byte {}, {}, {}, {}, {}, {}, {}",
            const TRAP_INSTRUCTION[0],
            const TRAP_INSTRUCTION[1],
            const TRAP_INSTRUCTION[2],
            const TRAP_INSTRUCTION[3],
            const TRAP_INSTRUCTION[4],
            const TRAP_INSTRUCTION[5],
            const TRAP_INSTRUCTION[6],
            in("edi") Call::Null as u32,
            lateout("rax") _,
            options(nostack, preserves_flags),
        );
    }
}

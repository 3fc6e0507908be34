//! Leaving 64-bit mode. Linux gives every process a code segment for 32-bit programs, and any program may
//! return to it. In that mode `int 0x80` and the encodings of many instructions mean something else, so a
//! machine must not take what the processor does there for the guest's 64-bit code.

use core::arch::{asm, global_asm};

/// Linux' selector of the 32-bit code segment.
const CODE_SEGMENT_32: u64 = 0x23;

// Code for 32-bit mode: `getpid`, and if that comes back, something that faults in any mode.
global_asm!(
    ".pushsection .text.faults_stub_32, \"ax\", @progbits",
    ".type faults_stub_32, @function",
    "faults_stub_32:",
    ".code32",
    "mov eax, 20",
    "int 0x80",
    "hlt",
    ".code64",
    ".size faults_stub_32, . - faults_stub_32",
    ".popsection",
);

#[inline(never)]
pub(crate) extern "C" fn far_jump_32() {
    unsafe extern "C" {
        fn faults_stub_32();
    }
    // SAFETY: raises an exception, which is the purpose. It does not come back: the stub ends in an
    // instruction that always faults.
    unsafe {
        asm!(
            "push {segment}",
            "push {stub}",
            "retfq",
            segment = in(reg) CODE_SEGMENT_32,
            stub = in(reg) faults_stub_32 as *const (),
            clobber_abi("C"),
        );
    }
}

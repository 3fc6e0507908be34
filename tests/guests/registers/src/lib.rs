//! Do all registers survive? What the guests need that ask: values that occur nowhere else, in every register
//! the processor has, and what is different afterwards.

#![no_std]

extern crate alloc;

mod frame;

use core::arch::x86_64::{__cpuid, __cpuid_count};
pub use frame::{Frame, Spin, Vectors, is_inside, is_spinning};

/// The widest vector registers that processor and system have.
pub fn widest() -> Vectors {
    const AVX: u32 = 1 << 28;
    const AVX512F: u32 = 1 << 16;
    const AVX512BW: u32 = 1 << 30;
    // SAFETY: the kernel has made sure at boot that the instruction may be used.
    let enabled = unsafe { core::arch::x86_64::_xgetbv(0) };
    let leaf7 = __cpuid_count(7, 0).ebx;
    if leaf7 & AVX512F != 0 && leaf7 & AVX512BW != 0 && enabled & 0xe6 == 0xe6 {
        Vectors::Avx512
    } else if __cpuid(1).ecx & AVX != 0 && enabled & 0x6 == 0x6 {
        Vectors::Avx
    } else {
        Vectors::Sse
    }
}

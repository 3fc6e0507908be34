//! Extended state: the vector and floating-point registers, saved and restored by `XSAVE` and its kin.
//!
//! An upcall leaves these registers as the interrupted code had them, and the kernel's own Rust code may
//! use any of them, so the entry vector saves them before it calls Rust and `resume` restores them.

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Bytes that are kept for the registers of a thread that was interrupted.
pub const AREA_SIZE: usize = 4096;

/// Where in them the general registers begin. Before that there is room for the extended state, enough for
/// AVX-512.
pub(crate) const GENERAL: usize = AREA_SIZE - 192;

/// Components that are not the kernel's to save: PKRU, and AMX's configuration and tiles (8 KiB).
const LEFT_ALONE: u64 = 1 << 9 | 1 << 17 | 1 << 18;

/// Components that are saved, as `XSAVE` wants them in `edx:eax`.
pub(crate) static MASK_LOW: AtomicU32 = AtomicU32::new(0);
/// The upper half of the same.
pub(crate) static MASK_HIGH: AtomicU32 = AtomicU32::new(0);
/// 1 if the processor has `XSAVEC`, which writes only what is not in its initial state.
pub(crate) static COMPACT: AtomicU32 = AtomicU32::new(0);

/// MXCSR as the calling convention wants it: all exceptions masked, round to nearest.
pub(crate) static DEFAULT_MXCSR: u32 = 0x1f80;

/// Asks the processor what there is to save, and lets `memcpy` and its kin use what is saved.
///
/// # Panics
///
/// If the processor has no `XSAVE`, or a state larger than there is room for.
pub(crate) fn init() {
    const OSXSAVE: u32 = 1 << 27;
    assert!(__cpuid(1).ecx & OSXSAVE != 0, "this processor or its operating system lacks XSAVE");
    // SAFETY: OSXSAVE says that the instruction may be used; 0 is the register that always exists.
    let state = unsafe { _xgetbv(0) };
    let mask = state & !LEFT_ALONE;
    let features = __cpuid_count(0xd, 1).eax;
    // Of all that is enabled. In a virtual machine this instruction is a slow one, so single components are
    // asked about only where those that are left alone could make the difference.
    let mut size = __cpuid_count(0xd, 0).ebx;
    if size as usize > GENERAL {
        size = (2..64)
            .filter(|component| mask & 1 << component != 0)
            .map(|component| __cpuid_count(0xd, component))
            .map(|component| component.ebx + component.eax)
            .fold(576, u32::max);
    }
    assert!(size as usize <= GENERAL, "the extended state takes {size} bytes, more than {GENERAL}");
    MASK_LOW.store(mask as u32, Relaxed);
    MASK_HIGH.store((mask >> 32) as u32, Relaxed);
    COMPACT.store(features >> 1 & 1, Relaxed);
    // SAFETY: the processor was asked, and all registers that it names are saved from here on.
    unsafe { vcpu_kernel_strings::choose(vcpu_kernel_strings::Variant::best(state)) };
}

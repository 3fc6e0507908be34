//! Barriers: `pthread_barrier_t` around the kernel's.

use crate::errno::{EBUSY, EINVAL, ENOMEM};
use core::ffi::c_int;
use vcpu_kernel::sync::RawBarrier;

/// What the last to arrive gets.
const SERIAL: c_int = -1;

// It is in place of musl's.
const _: () = assert!(size_of::<RawBarrier>() <= 32 && align_of::<RawBarrier>() <= 8);

/// Makes a barrier. All attributes mean the same, as there is one process.
///
/// # Safety
///
/// As `pthread_barrier_init`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_barrier_init(
    barrier: *mut RawBarrier,
    _attributes: *const u32,
    count: u32,
) -> c_int {
    if count == 0 {
        return EINVAL as c_int;
    }
    // SAFETY: the caller's place.
    let prepared = unsafe {
        barrier.write(RawBarrier::new(count));
        (*barrier).prepare()
    };
    if prepared.is_ok() { 0 } else { ENOMEM as c_int }
}

/// Gives up a barrier for good.
#[unsafe(no_mangle)]
extern "C" fn pthread_barrier_destroy(barrier: &RawBarrier) -> c_int {
    if barrier.reset().is_ok() { 0 } else { EBUSY as c_int }
}

/// Waits until all have come.
#[unsafe(no_mangle)]
extern "C" fn pthread_barrier_wait(barrier: &RawBarrier) -> c_int {
    // Without a deadline there is no other outcome.
    if barrier.wait(None) == Ok(true) { SERIAL } else { 0 }
}

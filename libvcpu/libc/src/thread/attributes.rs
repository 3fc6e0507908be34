//! Attributes that musl's functions do not set as they have to be here, and what can be asked of a thread.

use super::create::Attributes;
use super::{Thread, answer};
use crate::errno::{EINVAL, ENOTSUP, ERANGE};
use core::ffi::{CStr, c_char, c_int};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// A thread's name, with the zero at its end.
pub(crate) type Name = [c_char; 16];

/// A stack is the kernel's, and never the program's.
#[unsafe(no_mangle)]
extern "C" fn pthread_attr_setstack() -> c_int {
    ENOTSUP as c_int
}

/// What a thread was created with, and where its stack is.
///
/// # Safety
///
/// As `pthread_getattr_np`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getattr_np(thread: &Thread, place: *mut Attributes) -> c_int {
    let stack = thread.handle().map_or(0..0, |handle| handle.stack());
    let schedule = thread.schedule.get();
    // SAFETY: the caller's place.
    unsafe {
        place.write(Attributes {
            stack_size: (stack.end - stack.start) as usize,
            stack_top: stack.end as usize,
            is_detached: thread.is_detached().into(),
            policy: schedule.policy,
            priority: schedule.priority,
            ..Attributes::normal()
        });
    }
    0
}

/// Names a thread.
///
/// # Safety
///
/// As `pthread_setname_np`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setname_np(thread: &Thread, name: *const c_char) -> c_int {
    // SAFETY: the caller's string.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    let mut fixed: Name = [0; 16];
    if name.len() > fixed.len() {
        return ERANGE as c_int;
    }
    for (to, from) in fixed.iter_mut().zip(name) {
        *to = *from as c_char;
    }
    thread.name.set(fixed);
    0
}

/// A thread's name.
///
/// # Safety
///
/// As `pthread_getname_np`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getname_np(thread: &Thread, place: *mut c_char, size: usize) -> c_int {
    let name = thread.name.get();
    if size < name.len() {
        return ERANGE as c_int;
    }
    // SAFETY: the caller's place has room for it.
    unsafe { place.copy_from_nonoverlapping(name.as_ptr(), name.len()) };
    0
}

/// The clock that shows the processor time of a thread.
///
/// # Safety
///
/// As `pthread_getcpuclockid`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getcpuclockid(thread: &Thread, clock: *mut c_int) -> c_int {
    // SAFETY: the caller's place.
    unsafe { clock.write(crate::time::clock_of_thread(thread.number.get())) };
    0
}

const ROBUST: u32 = 4;
const INHERIT: u32 = 8;

fn set_bit(attributes: &mut u32, bit: u32, value: c_int) -> Result<(), i64> {
    match value {
        0 => *attributes &= !bit,
        1 => *attributes |= bit,
        _ => return Err(EINVAL),
    }
    Ok(())
}

/// Whether a mutex tells its next owner that the last one has ended.
#[unsafe(no_mangle)]
extern "C" fn pthread_mutexattr_setrobust(attributes: &mut u32, robust: c_int) -> c_int {
    answer(set_bit(attributes, ROBUST, robust))
}

/// How a mutex makes its owner more important: not at all, or by inheritance. There is no ceiling.
#[unsafe(no_mangle)]
extern "C" fn pthread_mutexattr_setprotocol(attributes: &mut u32, protocol: c_int) -> c_int {
    const PROTECT: c_int = 2;
    answer(if protocol == PROTECT { Err(ENOTSUP) } else { set_bit(attributes, INHERIT, protocol) })
}

/// No mutex has a ceiling.
#[unsafe(no_mangle)]
extern "C" fn pthread_mutex_getprioceiling() -> c_int {
    EINVAL as c_int
}

/// No mutex has a ceiling.
#[unsafe(no_mangle)]
extern "C" fn pthread_mutex_setprioceiling() -> c_int {
    EINVAL as c_int
}

/// How many processors the program would like to use.
static CONCURRENCY: AtomicI32 = AtomicI32::new(0);

/// Sets what [`pthread_getconcurrency`] answers, a hint that changes nothing.
#[unsafe(no_mangle)]
extern "C" fn pthread_setconcurrency(level: c_int) -> c_int {
    if level < 0 {
        return EINVAL as c_int;
    }
    CONCURRENCY.store(level, Relaxed);
    0
}

/// What was set last, or 0.
#[unsafe(no_mangle)]
extern "C" fn pthread_getconcurrency() -> c_int {
    CONCURRENCY.load(Relaxed)
}

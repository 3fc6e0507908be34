//! Condition variables: `pthread_cond_t` around the kernel's.

use super::mutex::Mutex;
use super::{answer, deadline};
use crate::cancel;
use crate::errno::{EBUSY, ENOMEM, EPERM, ETIMEDOUT};
use crate::time::TimeSpec;
use core::ffi::c_int;
use core::mem::transmute;
use vcpu_kernel::sync::RawCondition;
use vcpu_kernel::thread::WaitError;

/// `pthread_cond_t`. Zero is one that nobody waits on, with the clock of the time of day.
#[repr(C)]
pub struct Condition {
    pub(super) raw: RawCondition,
    clock: u32,
    unused: [u64; 5],
}

const _: () = assert!(size_of::<Condition>() == 48);
// SAFETY: both are four bytes, and any bytes are a number.
const _: () = assert!(unsafe { transmute::<RawCondition, u32>(RawCondition::new()) } == 0);

impl Condition {
    /// Makes a condition variable with the clock of this number.
    ///
    /// # Safety
    ///
    /// The place is writable, and nobody uses it yet.
    pub(super) unsafe fn init(place: *mut Condition, clock: u32) -> Result<(), i64> {
        // SAFETY: the caller's place.
        unsafe {
            place.write_bytes(0, 1);
            (*place).clock = clock;
            (*place).raw.prepare().map_err(|_| ENOMEM)
        }
    }

    /// Waits for a signal; a cancellation point. It may end without one.
    pub(super) fn wait(&self, mutex: &Mutex, deadline: Option<u64>) -> Result<(), i64> {
        if !mutex.is_own() {
            return Err(EPERM);
        }
        cancel::test();
        self.raw.prepare().map_err(|_| ENOMEM)?;
        mutex.raw.prepare().map_err(|_| ENOMEM)?;
        let (result, entered) = mutex.without(|mutex| cancel::wait(|| self.raw.wait(mutex, deadline)));
        if result == Err(WaitError::Interrupted) {
            // What is cleaned up finds the mutex locked. After a signal, whoever waits looks again.
            cancel::interrupted();
        }
        entered?;
        if result == Err(WaitError::TimedOut) { Err(ETIMEDOUT) } else { Ok(()) }
    }
}

/// Makes a condition variable.
///
/// # Safety
///
/// As `pthread_cond_init`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_init(condition: *mut Condition, attributes: *const u32) -> c_int {
    /// Whether processes share it, of which there is one.
    const SHARED: u32 = 1 << 31;
    // SAFETY: the caller's attributes and place.
    unsafe {
        let attributes = attributes.as_ref().copied().unwrap_or_default();
        answer(Condition::init(condition, attributes & !SHARED))
    }
}

/// Gives up a condition variable for good.
#[unsafe(no_mangle)]
extern "C" fn pthread_cond_destroy(condition: &Condition) -> c_int {
    match condition.raw.reset() {
        Ok(()) => 0,
        Err(_) => EBUSY as c_int,
    }
}

/// Waits for a signal.
#[unsafe(no_mangle)]
extern "C" fn pthread_cond_wait(condition: &Condition, mutex: &Mutex) -> c_int {
    answer(condition.wait(mutex, None))
}

/// Waits for a signal until the variable's clock shows this, or for ever if no time is given.
///
/// # Safety
///
/// As `pthread_cond_timedwait`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_timedwait(
    condition: &Condition,
    mutex: &Mutex,
    time: *const TimeSpec,
) -> c_int {
    // SAFETY: the caller's time.
    let deadline = unsafe { deadline::optional(i64::from(condition.clock), time) };
    answer(deadline.and_then(|deadline| condition.wait(mutex, deadline)))
}

/// Wakes one who waits.
#[unsafe(no_mangle)]
extern "C" fn pthread_cond_signal(condition: &Condition) -> c_int {
    condition.raw.notify_one();
    0
}

/// Wakes all who wait.
#[unsafe(no_mangle)]
extern "C" fn pthread_cond_broadcast(condition: &Condition) -> c_int {
    condition.raw.notify_all();
    0
}

//! `threads.h`: the same threads by C11's names.

use super::condition::Condition;
use super::create::{Attributes, Start, create, join};
use super::keys::{self, Destructor};
use super::mutex::Mutex;
use super::once::once;
use super::{Thread, current, deadline, end_calling};
use crate::cancel;
use crate::errno::{EAGAIN, EBUSY, ENOMEM, ETIMEDOUT};
use crate::time::TimeSpec;
use core::ffi::{c_int, c_void};
use core::mem::transmute;
use core::ptr::without_provenance_mut;
use core::sync::atomic::AtomicI32;

const BUSY: c_int = 1;
const ERROR: c_int = 2;
const NO_MEMORY: c_int = 3;
const TIMED_OUT: c_int = 4;

fn answer(result: Result<(), i64>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(EBUSY) => BUSY,
        Err(EAGAIN | ENOMEM) => NO_MEMORY,
        Err(ETIMEDOUT) => TIMED_OUT,
        Err(_) => ERROR,
    }
}

/// Creates a thread.
///
/// # Safety
///
/// As `thrd_create`.
#[unsafe(no_mangle)]
unsafe extern "C" fn thrd_create(
    place: *mut *const Thread,
    start: extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: a number is answered in the register of a pointer, whose upper half nobody looks at.
    let start = unsafe { transmute::<extern "C" fn(*mut c_void) -> c_int, Start>(start) };
    answer(create(&Attributes::normal(), start, argument).map(|(thread, handle)| {
        // SAFETY: the caller's place.
        unsafe { place.write(thread) };
        handle.resume();
    }))
}

/// Ends the calling thread.
#[unsafe(no_mangle)]
extern "C" fn thrd_exit(result: c_int) -> ! {
    end_calling(without_provenance_mut(result as usize))
}

/// Waits for the end of a thread.
///
/// # Safety
///
/// As `thrd_join`.
#[unsafe(no_mangle)]
unsafe extern "C" fn thrd_join(thread: &'static Thread, place: *mut c_int) -> c_int {
    answer(join(thread, None).map(|result| {
        if !place.is_null() {
            // SAFETY: the caller's place.
            unsafe { place.write(result.addr() as c_int) };
        }
    }))
}

/// Says that nobody will join a thread.
#[unsafe(no_mangle)]
extern "C" fn thrd_detach(thread: &'static Thread) -> c_int {
    answer(super::create::detach(thread))
}

/// The calling thread.
#[unsafe(no_mangle)]
extern "C" fn thrd_current() -> &'static Thread {
    current()
}

/// Whether two are the same.
#[unsafe(no_mangle)]
extern "C" fn thrd_equal(one: *const Thread, other: *const Thread) -> c_int {
    c_int::from(core::ptr::eq(one, other))
}

/// Calls a function, unless that was done before.
#[unsafe(no_mangle)]
extern "C" fn call_once(word: &AtomicI32, function: extern "C" fn()) {
    once(word, function);
}

/// Makes a mutex.
///
/// # Safety
///
/// As `mtx_init`.
#[unsafe(no_mangle)]
unsafe extern "C" fn mtx_init(mutex: *mut Mutex, kind: c_int) -> c_int {
    /// `mtx_recursive`, and the type of a mutex.
    const RECURSIVE: c_int = 1;
    // SAFETY: the caller's place.
    answer(unsafe { Mutex::init(mutex, (kind & RECURSIVE) as u32) })
}

/// Gives up a mutex for good. One that is locked it leaves as it is.
#[unsafe(no_mangle)]
extern "C" fn mtx_destroy(mutex: &Mutex) {
    // There is nothing to answer.
    let _ = mutex.raw.reset();
}

/// Locks a mutex.
#[unsafe(no_mangle)]
extern "C" fn mtx_lock(mutex: &Mutex) -> c_int {
    answer(mutex.lock(|| Ok(None)))
}

/// Locks a mutex, and waits for it until the time of day is this.
///
/// # Safety
///
/// As `mtx_timedlock`.
#[unsafe(no_mangle)]
unsafe extern "C" fn mtx_timedlock(mutex: &Mutex, time: *const TimeSpec) -> c_int {
    // SAFETY: the caller's time.
    answer(mutex.lock(|| unsafe { deadline::optional(deadline::REALTIME, time) }))
}

/// Locks a mutex if that needs no waiting.
#[unsafe(no_mangle)]
extern "C" fn mtx_trylock(mutex: &Mutex) -> c_int {
    answer(mutex.try_lock())
}

/// Unlocks a mutex.
#[unsafe(no_mangle)]
extern "C" fn mtx_unlock(mutex: &Mutex) -> c_int {
    answer(mutex.unlock())
}

/// Makes a condition variable.
///
/// # Safety
///
/// As `cnd_init`.
#[unsafe(no_mangle)]
unsafe extern "C" fn cnd_init(condition: *mut Condition) -> c_int {
    // SAFETY: the caller's place.
    answer(unsafe { Condition::init(condition, 0) })
}

/// Gives up a condition variable for good. One on which somebody waits it leaves as it is.
#[unsafe(no_mangle)]
extern "C" fn cnd_destroy(condition: &Condition) {
    // There is nothing to answer.
    let _ = condition.raw.reset();
}

/// Wakes one who waits.
#[unsafe(no_mangle)]
extern "C" fn cnd_signal(condition: &Condition) -> c_int {
    condition.raw.notify_one();
    0
}

/// Wakes all who wait.
#[unsafe(no_mangle)]
extern "C" fn cnd_broadcast(condition: &Condition) -> c_int {
    condition.raw.notify_all();
    0
}

/// Waits for a signal.
#[unsafe(no_mangle)]
extern "C" fn cnd_wait(condition: &Condition, mutex: &Mutex) -> c_int {
    answer(condition.wait(mutex, None))
}

/// Waits for a signal until the time of day is this.
///
/// # Safety
///
/// As `cnd_timedwait`.
#[unsafe(no_mangle)]
unsafe extern "C" fn cnd_timedwait(condition: &Condition, mutex: &Mutex, time: *const TimeSpec) -> c_int {
    cancel::test();
    // SAFETY: the caller's time.
    let deadline = unsafe { deadline::optional(deadline::REALTIME, time) };
    answer(deadline.and_then(|deadline| condition.wait(mutex, deadline)))
}

/// Creates a key.
///
/// # Safety
///
/// As `tss_create`.
#[unsafe(no_mangle)]
unsafe extern "C" fn tss_create(place: *mut u32, destructor: Option<Destructor>) -> c_int {
    match keys::create(destructor) {
        Ok(key) => {
            // SAFETY: the caller's place.
            unsafe { place.write(key) };
            0
        }
        Err(_) => ERROR,
    }
}

/// Deletes a key.
#[unsafe(no_mangle)]
extern "C" fn tss_delete(key: u32) {
    // There is nothing to answer.
    let _ = keys::delete(key);
}

/// The calling thread's value, null if it has none.
#[unsafe(no_mangle)]
extern "C" fn tss_get(key: u32) -> *mut c_void {
    keys::get(key)
}

/// Sets the calling thread's value.
#[unsafe(no_mangle)]
extern "C" fn tss_set(key: u32, value: *const c_void) -> c_int {
    answer(keys::set(key, value))
}

//! Cancellation, and waits that it ends.
//!
//! A thread that is cancelled ends at its next cancellation point: musl calls what may wait through
//! `__syscall_cp`, and the functions here that wait look themselves. If it waits, its wait ends at once, unless
//! that is for a mutex, a reader-writer lock or at a barrier, which are no cancellation points. Nobody can be
//! cancelled while it computes: the asynchronous type means that a thread that cancels itself ends at once.

use crate::errno::{EINTR, EINVAL};
use crate::signal;
use crate::thread::{Thread, current, end_calling};
use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::ptr::{null_mut, without_provenance_mut};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use vcpu_kernel::event;
use vcpu_kernel::scheduler::TimedOut;
use vcpu_kernel::thread::{WaitError, interruptible};

/// What a cancelled thread gives to who joins it, as a number.
const CANCELED: usize = usize::MAX;

const ENABLED: c_int = 0;
const DISABLED: c_int = 1;

const DEFERRED: c_int = 0;
const ASYNCHRONOUS: c_int = 1;

/// What musl calls for a wait: one of the functions `__vcpu_sys_*` with its arguments.
type Call = extern "C" fn(i64, i64, i64, i64, i64, i64) -> i64;

/// `struct __ptcb`: what a thread does if it ends before it has left a block.
#[repr(C)]
pub(crate) struct Cleanup {
    pub(crate) function: unsafe extern "C" fn(*mut c_void),
    pub(crate) argument: *mut c_void,
    pub(crate) next: *mut Cleanup,
}

/// A thread's part in it. All but `is_wanted` belongs to the thread itself.
pub(crate) struct Cancellation {
    is_wanted: AtomicBool,
    state: Cell<c_int>,
    kind: Cell<c_int>,
    cleanups: Cell<*mut Cleanup>,
}

impl Cancellation {
    pub(crate) const fn new() -> Cancellation {
        Cancellation {
            is_wanted: AtomicBool::new(false),
            state: Cell::new(ENABLED),
            kind: Cell::new(DEFERRED),
            cleanups: Cell::new(null_mut()),
        }
    }

    /// From now on the calling thread is not cancelled: it ends.
    pub(crate) fn end(&self) {
        self.state.set(DISABLED);
        self.kind.set(DEFERRED);
    }

    /// Runs what the calling thread has left to do, the newest first.
    pub(crate) fn clean_up(&self) {
        // SAFETY: each lies in a block that the thread has not left.
        while let Some(cleanup) = unsafe { self.cleanups.get().as_ref() } {
            self.cleanups.set(cleanup.next);
            // SAFETY: what the block asked for.
            unsafe { (cleanup.function)(cleanup.argument) };
        }
    }
}

/// Whether the calling thread is to end.
pub(crate) fn is_due() -> bool {
    let cancellation = &current().cancellation;
    cancellation.is_wanted.load(Relaxed) && cancellation.state.get() == ENABLED
}

/// A cancellation point: ends the calling thread if it was cancelled.
#[inline]
pub(crate) fn test() {
    if is_due() {
        end_calling(without_provenance_mut(CANCELED));
    }
}

/// Whether a wait of the calling thread is to end: it was cancelled, or a signal is due.
pub(crate) fn is_interrupted() -> bool {
    is_due() || signal::is_due()
}

/// Waits so that cancellation and signals end the wait: whoever gets `Interrupted` then comes to a cancellation
/// point, and delivers signals.
///
/// # Errors
///
/// As [`interruptible`].
pub fn wait<R>(wait: impl FnOnce() -> Result<R, TimedOut>) -> Result<R, WaitError> {
    interruptible(is_interrupted, wait)
}

/// As [`event::wait_until`], but cancellation and signals end the wait. It may also end without a reason, with `true`.
///
/// # Errors
///
/// `EINTR` if they did.
pub(crate) fn wait_until(deadline: Option<u64>, condition: impl FnMut() -> bool) -> Result<bool, i64> {
    let until = || if event::wait_until(deadline, condition) { Ok(()) } else { Err(TimedOut) };
    match wait(until) {
        Err(WaitError::TimedOut) => Ok(false),
        Err(WaitError::Interrupted) if is_interrupted() => Err(EINTR),
        // Or another thread has taken the signal.
        _ => Ok(true),
    }
}

/// After an interrupted wait: ends the calling thread if it was cancelled, else delivers signals. Gives whether the
/// wait is to be begun again.
pub(crate) fn interrupted() -> bool {
    test();
    signal::deliver()
}

/// Calls a function that may wait.
#[unsafe(no_mangle)]
extern "C" fn __syscall_cp(call: Call, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64) -> i64 {
    loop {
        test();
        let result = call(a, b, c, d, e, f);
        if result == -EINTR {
            test();
        }
        if !signal::is_due() {
            return result;
        }
        let again = signal::deliver();
        if result != -EINTR || !again || !is_restarted(call) {
            return result;
        }
    }
}

/// Whether a signal whose handler wants that makes the call again.
fn is_restarted(call: Call) -> bool {
    unsafe extern "C" {
        fn __vcpu_sys_read();
        fn __vcpu_sys_readv();
        fn __vcpu_sys_write();
        fn __vcpu_sys_writev();
        fn __vcpu_sys_fcntl();
        fn __vcpu_sys_flock();
    }
    let calls: [unsafe extern "C" fn(); 6] = [
        __vcpu_sys_read,
        __vcpu_sys_readv,
        __vcpu_sys_write,
        __vcpu_sys_writev,
        __vcpu_sys_fcntl,
        __vcpu_sys_flock,
    ];
    calls.iter().any(|restarted| *restarted as usize == call as usize)
}

/// Cancels a thread.
#[unsafe(no_mangle)]
extern "C" fn pthread_cancel(thread: &Thread) -> c_int {
    thread.cancellation.is_wanted.store(true, Relaxed);
    if !core::ptr::eq(thread, current()) {
        thread.interrupt();
    } else if thread.cancellation.kind.get() == ASYNCHRONOUS {
        test();
    }
    0
}

/// A cancellation point.
#[unsafe(no_mangle)]
extern "C" fn pthread_testcancel() {
    test();
}

/// Whether the calling thread can be cancelled: 0 if it can, 1 if not, and 2, of musl, which means no more here
/// than that it cannot.
///
/// # Safety
///
/// As `pthread_setcancelstate`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int {
    if !(0..=2).contains(&state) {
        return EINVAL as c_int;
    }
    // SAFETY: the caller's place.
    unsafe { exchange(&current().cancellation.state, state, old) };
    if state == ENABLED && current().cancellation.kind.get() == ASYNCHRONOUS {
        test();
    }
    0
}

/// Whether the calling thread, when it is cancelled, ends at its next cancellation point or also before.
///
/// # Safety
///
/// As `pthread_setcanceltype`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int {
    if !(0..=1).contains(&kind) {
        return EINVAL as c_int;
    }
    // SAFETY: the caller's place.
    unsafe { exchange(&current().cancellation.kind, kind, old) };
    if kind == ASYNCHRONOUS {
        test();
    }
    0
}

/// # Safety
///
/// The place is writable, or null.
unsafe fn exchange(value: &Cell<c_int>, new: c_int, place: *mut c_int) {
    let old = value.replace(new);
    if !place.is_null() {
        // SAFETY: the caller's place.
        unsafe { place.write(old) };
    }
}

/// As `pthread_setcancelstate`, for musl's code.
///
/// # Safety
///
/// As `pthread_setcancelstate`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int {
    // SAFETY: the caller's place.
    unsafe { pthread_setcancelstate(state, old) }
}

/// A cancellation point, for musl's code.
#[unsafe(no_mangle)]
extern "C" fn __pthread_testcancel() {
    test();
}

/// Puts something to do first.
///
/// # Safety
///
/// It stays where it is until it is taken away again.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __do_cleanup_push(cleanup: *mut Cleanup) {
    let cleanups = &current().cancellation.cleanups;
    // SAFETY: as the caller says.
    unsafe { (*cleanup).next = cleanups.get() };
    cleanups.set(cleanup);
}

/// Takes away what was put first.
///
/// # Safety
///
/// It was put there.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __do_cleanup_pop(cleanup: *mut Cleanup) {
    // SAFETY: as the caller says.
    current().cancellation.cleanups.set(unsafe { (*cleanup).next });
}

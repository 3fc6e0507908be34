//! What is done once, and spin locks: words of memory that threads wait for.
//!
//! There is one processor, so nobody spins: who finds a spin lock locked sleeps, and lets its owner go on.

use crate::cancel::{__do_cleanup_pop, __do_cleanup_push, Cleanup};
use crate::errno::EBUSY;
use crate::futex;
use core::ffi::{c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Nobody has begun; a spin lock is free.
const NEW: i32 = 0;
/// Somebody is at it; a spin lock is locked.
const BUSY: i32 = 1;
/// As `BUSY`, and somebody waits.
const AWAITED: i32 = 2;
/// It is done.
const DONE: i32 = 3;

/// Changes the word, and wakes who waits for that.
fn leave(word: &AtomicI32, value: i32) {
    if word.swap(value, Relaxed) == AWAITED {
        futex::wake(word);
    }
}

/// Waits until the word may have changed.
fn wait(word: &AtomicI32) {
    let _ = word.compare_exchange(BUSY, AWAITED, Relaxed, Relaxed);
    futex::wait(word, AWAITED);
}

/// Whoever does it was cancelled: the next one does it.
unsafe extern "C" fn undo(word: *mut c_void) {
    // SAFETY: `once` gives its own word.
    leave(unsafe { &*word.cast::<AtomicI32>() }, NEW);
}

pub(super) fn once(word: &AtomicI32, function: extern "C" fn()) {
    loop {
        match word.compare_exchange(NEW, BUSY, Relaxed, Relaxed) {
            Ok(_) => break,
            Err(DONE) => return,
            Err(_) => wait(word),
        }
    }
    let argument = (&raw const *word).cast_mut().cast();
    let mut cleanup = Cleanup { function: undo, argument, next: null_mut() };
    // SAFETY: it stays there until it is taken away.
    unsafe {
        __do_cleanup_push(&raw mut cleanup);
        function();
        __do_cleanup_pop(&raw mut cleanup);
    }
    leave(word, DONE);
}

/// Calls a function, unless that was done before; waits if it is just being done.
#[unsafe(no_mangle)]
extern "C" fn pthread_once(word: &AtomicI32, function: extern "C" fn()) -> c_int {
    if word.load(Relaxed) != DONE {
        once(word, function);
    }
    0
}

/// Makes a spin lock.
///
/// # Safety
///
/// As `pthread_spin_init`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_spin_init(lock: *mut AtomicI32, _shared: c_int) -> c_int {
    // SAFETY: the caller's place.
    unsafe { lock.write(AtomicI32::new(NEW)) };
    0
}

/// Gives up a spin lock for good.
#[unsafe(no_mangle)]
extern "C" fn pthread_spin_destroy(lock: &AtomicI32) -> c_int {
    if lock.load(Relaxed) == NEW { 0 } else { EBUSY as c_int }
}

/// Locks a spin lock.
#[unsafe(no_mangle)]
extern "C" fn pthread_spin_lock(lock: &AtomicI32) -> c_int {
    if lock.compare_exchange(NEW, BUSY, Relaxed, Relaxed).is_err() {
        // Others may wait as well.
        while lock.swap(AWAITED, Relaxed) != NEW {
            futex::wait(lock, AWAITED);
        }
    }
    0
}

/// Locks a spin lock if it is free.
#[unsafe(no_mangle)]
extern "C" fn pthread_spin_trylock(lock: &AtomicI32) -> c_int {
    match lock.compare_exchange(NEW, BUSY, Relaxed, Relaxed) {
        Ok(_) => 0,
        Err(_) => EBUSY as c_int,
    }
}

/// Unlocks a spin lock.
#[unsafe(no_mangle)]
extern "C" fn pthread_spin_unlock(lock: &AtomicI32) -> c_int {
    leave(lock, NEW);
    0
}

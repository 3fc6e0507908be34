//! Switches that threads want: by yielding, and by semaphores; and the mutex that makes none.

use crate::samples::{repeat, sample, tell};
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use libvcpu::sync::{Mutex, Semaphore};
use libvcpu::thread;

/// Samples of a run.
const COUNT: usize = 500;
/// Operations of a sample.
const BATCH: u64 = 500;

/// Two threads that yield to each other.
pub(crate) fn yielding() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let other = thread::spawn(|| {
        while !STOP.load(Relaxed) {
            thread::yield_now();
        }
    });
    // Each turn of the loop here is one there.
    let samples = sample(COUNT, 2 * BATCH, 2 * BATCH, || repeat(BATCH, thread::yield_now));
    STOP.store(true, Relaxed);
    other.join().expect("it only yields");
    tell("yield", &samples);
}

/// Two threads that wake each other and then wait: each turn is two switches.
pub(crate) fn semaphore() {
    static STOP: AtomicBool = AtomicBool::new(false);
    static PING: Semaphore = Semaphore::new(0);
    static PONG: Semaphore = Semaphore::new(0);
    let other = thread::spawn(|| {
        while !STOP.load(Relaxed) {
            PING.acquire().forget();
            PONG.release().expect("there is no maximum");
        }
    });
    let turn = || {
        PING.release().expect("there is no maximum");
        PONG.acquire().forget();
    };
    let samples = sample(COUNT, 2 * BATCH, 2 * BATCH, || repeat(BATCH, turn));
    STOP.store(true, Relaxed);
    turn();
    other.join().expect("it only waits and wakes");
    tell("semaphore", &samples);
}

/// A mutex that nobody else wants.
pub(crate) fn mutex() {
    static MUTEX: Mutex<u64> = Mutex::new(0);
    let turn = || drop(black_box(MUTEX.lock()));
    tell("mutex", &sample(COUNT, BATCH, BATCH, || repeat(BATCH, turn)));
}

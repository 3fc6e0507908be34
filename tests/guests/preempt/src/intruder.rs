//! Intruders: threads that the injected event makes ready, in one of the ways there are.
//!
//! | event | who comes |
//! |---|---|
//! | line 8 | a thread that listens to the line |
//! | line 9 | a function, inside the upcall, which releases a semaphore for which a thread waits |
//! | line 10, a second event | as line 8 |
//! | the next timer | a thread that sleeps, unless the scenario has an earlier deadline |
//!
//! The sleeping thread comes in the end even if no event has woken it. Each has its own control words for
//! floating-point numbers, and looks whether it still has them when it comes.

use crate::extended::{read_control, set_rounding};
use crate::spawn;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::event::{self, Listener};
use libvcpu::sync::Semaphore;
use libvcpu::thread;
use libvcpu::time::Duration;

const LISTENED: u32 = 8;
const CALLED: u32 = 9;
const SECOND: u32 = 10;

/// Longer than anything takes here.
const LATE: Duration = Duration::from_secs(1);

static CALLS: Semaphore = Semaphore::new(0);
static LAST: Semaphore = Semaphore::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);
static SECONDS: AtomicU64 = AtomicU64::new(0);

/// Starts the intruders, who wait.
pub(crate) fn start(intrude: fn()) {
    let listening = |line: u32| {
        let mut listener = Listener::bind(&[line]).expect("the line is free");
        move || assert_eq!(listener.wait(None), Ok(1 << line))
    };
    again_and_again(60, listening(LISTENED), intrude, &COUNT);
    again_and_again(62, listening(SECOND), intrude, &SECONDS);
    again_and_again(58, || CALLS.acquire().forget(), intrude, &COUNT);
    event::set_handler(CALLED, Some(|| CALLS.release().expect("there is room for a permit")));
    let mut is_first = true;
    let late = move || {
        if !core::mem::take(&mut is_first) {
            LAST.release().expect("there is room for a permit");
            thread::park();
        }
        thread::sleep(LATE);
    };
    again_and_again(56, late, intrude, &COUNT);
}

/// Starts a thread that never ends, so what is on the heap does not depend on when.
fn again_and_again(
    level: u8,
    mut wait: impl FnMut() + Send + 'static,
    intrude: fn(),
    counter: &'static AtomicU64,
) {
    spawn(level, move || {
        let control = set_rounding(level / 2);
        loop {
            wait();
            assert_eq!(read_control(), control);
            intrude();
            counter.fetch_add(1, Relaxed);
        }
    });
}

/// Waits for the last, and says how many intrusions there were, and how many of them by a second event.
pub(crate) fn finish() -> (u64, u64) {
    LAST.acquire().forget();
    let seconds = SECONDS.load(Relaxed);
    (COUNT.load(Relaxed) + seconds, seconds)
}

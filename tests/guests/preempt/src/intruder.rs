//! Intruders: threads that the injected event makes ready, in one of the ways there are.
//!
//! | event | who comes |
//! |---|---|
//! | line 8 | a thread that listens to the line |
//! | line 9 | a function, inside the upcall, which releases a semaphore for which a thread waits |
//! | line 10, a second event | as line 8 |
//! | the next timer | a thread that sleeps, unless the scenario has an earlier deadline |
//!
//! The sleeping thread comes in the end even if no event has woken it.

use crate::spawn;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::event;
use libvcpu::sync::Semaphore;
use libvcpu::thread::{self, Builder, Priority};
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
    listen(60, LISTENED, intrude, &COUNT);
    listen(62, SECOND, intrude, &SECONDS);
    let called = move || {
        loop {
            CALLS.acquire().forget();
            intrude();
            count(&COUNT);
        }
    };
    spawn(58, called);
    event::set_handler(CALLED, Some(|| CALLS.release().expect("there is room for a permit")));
    // Nobody ever ends, so what is on the heap does not depend on when.
    spawn(56, move || {
        thread::sleep(LATE);
        intrude();
        count(&COUNT);
        LAST.release().expect("there is room for a permit");
        thread::park();
    });
}

/// Waits for the last, and says how many intrusions there were, and how many of them by a second event.
pub(crate) fn finish() -> (u64, u64) {
    LAST.acquire().forget();
    let seconds = SECONDS.load(Relaxed);
    (COUNT.load(Relaxed) + seconds, seconds)
}

fn listen(level: u8, line: u32, intrude: fn(), counter: &'static AtomicU64) {
    let builder = Builder::new().priority(Priority::new(level)).stack_size(thread::MINIMUM_STACK);
    let handler = move |_| {
        intrude();
        count(counter);
    };
    builder.spawn_handler(&[line], handler).expect("the line is free");
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

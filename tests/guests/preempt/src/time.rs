//! Waiting for time to pass.

use crate::{MAIN, spawn};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libvcpu::call;
use libvcpu::prelude::*;
use libvcpu::sync::{Channel, Mutex, Semaphore};
use libvcpu::thread;
use libvcpu::time::{Duration, Instant, Timer};

const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(10);

/// Three who sleep again and again, the more important ones for a shorter time, in units of [`SHORT`].
const LENGTHS: [u32; 3] = [4, 6, 9];

/// The last deadline of each at which it woke.
static WOKEN: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

/// Nobody wakes too early, or later than somebody less important whose deadline was not before.
fn sleep_until(sleeper: usize, begin: Instant, deadline: u32) {
    let instant = begin + deadline * SHORT;
    thread::sleep_until(instant);
    assert!(Instant::now() >= instant);
    WOKEN[sleeper].store(deadline, Relaxed);
    for (woken, length) in WOKEN.iter().zip(LENGTHS).take(sleeper) {
        assert!(woken.load(Relaxed) >= length * (deadline / length).min(2));
    }
}

pub(crate) fn sleep() {
    let begin = Instant::now();
    let others = [0, 1].map(|sleeper| {
        let deadlines = [LENGTHS[sleeper], 2 * LENGTHS[sleeper]];
        spawn(MAIN + 2 - sleeper as u8, move || {
            deadlines.into_iter().for_each(|deadline| sleep_until(sleeper, begin, deadline));
        })
    });
    call::null();
    sleep_until(2, begin, LENGTHS[2]);
    call::null();
    others.into_iter().for_each(|thread| thread.join().unwrap());
}

pub(crate) fn woken(_: u64) -> String {
    format!("woken at {WOKEN:?}")
}

static LOCK: Mutex<u64> = Mutex::new(0);

/// What an intruder adds.
const ALIEN: u64 = 1000;

/// Comes when somebody waits with a deadline, perhaps after it.
pub(crate) fn intrude() {
    *LOCK.lock_timeout(LONG).unwrap() += ALIEN;
}

/// Waits that may end by their deadline or by what they wait for. What was waited for comes once in any case.
pub(crate) fn deadlines() {
    static CHANNEL: Channel<u64, 1> = Channel::new();
    let other = spawn(MAIN, || {
        let mut received = 0;
        while received < 2 {
            if let Ok(number) = CHANNEL.recv_timeout(SHORT) {
                assert_eq!(number, received + 1);
                received = number;
                let mut sum = LOCK.lock().unwrap();
                // Time passes: main's deadline comes first.
                thread::sleep(2 * SHORT);
                *sum += number;
            }
        }
    });
    call::null();
    for number in 1..=2 {
        while CHANNEL.send_timeout(number, SHORT / 2).is_err() {}
        loop {
            if let Ok(mut sum) = LOCK.lock_timeout(SHORT) {
                *sum += number;
                break;
            }
        }
    }
    call::null();
    other.join().unwrap();
}

pub(crate) fn sum(intrusions: u64) -> String {
    format!("sum {}", *LOCK.lock().unwrap() - ALIEN * intrusions)
}

static EXPIRIES: AtomicU32 = AtomicU32::new(0);

/// A periodic timer, and a wait that ends by its deadline.
pub(crate) fn timer() {
    static TIMER: Timer = Timer::new();
    static NEVER: Semaphore = Semaphore::new(0);
    call::null();
    TIMER.start_periodic(SHORT);
    let mut expiries = TIMER.wait();
    assert!(NEVER.acquire_timeout(SHORT / 2).is_err());
    while expiries < 2 {
        expiries += TIMER.wait();
    }
    TIMER.cancel();
    EXPIRIES.store(expiries, Relaxed);
}

pub(crate) fn result(_: u64) -> String {
    format!("{} expiries at least", EXPIRIES.load(Relaxed).min(2))
}

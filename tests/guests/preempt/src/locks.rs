//! Locks, and what is built on them. Intruders want the same locks.

use crate::{MAIN, MAIN_THREAD, log, no_event_waits, spawn};
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::call;
use libvcpu::prelude::*;
use libvcpu::sync::{Condvar, Mutex, OnceLock, PoisonError, RwLock, Semaphore};
use libvcpu::thread::{self, Priority};

/// Two numbers that are equal whenever the lock is free.
type Pair = [u64; 2];

/// What an intruder adds.
const ALIEN: u64 = 1000;

static PAIR: Mutex<Pair> = Mutex::new([0; 2]);

fn add(pair: &mut Pair, number: u64) {
    assert_eq!(pair[0], pair[1]);
    pair[0] += number;
    black_box(&pair);
    pair[1] += number;
}

pub(crate) fn intrude() {
    add(&mut PAIR.lock().unwrap(), ALIEN);
}

/// A lock that nobody else wants, but for intruders.
pub(crate) fn lock() {
    call::null();
    for number in 1..=8 {
        add(&mut PAIR.lock().unwrap(), number);
        if let Ok(mut pair) = PAIR.try_lock() {
            add(&mut pair, number);
        }
        no_event_waits();
    }
}

pub(crate) fn sum(intrusions: u64) -> String {
    let pair = PAIR.lock().unwrap();
    assert_eq!(pair[0], pair[1]);
    format!("sum {}", pair[0] - ALIEN * intrusions)
}

/// Makes the main thread the least important for a moment, whatever it holds or waits for.
pub(crate) fn degrade() {
    let main = MAIN_THREAD.wait();
    main.set_priority(Priority::new(1));
    main.set_priority(Priority::new(MAIN));
    intrude();
}

/// A lock that the most important thread wants while the least important one has it: that one inherits, and so
/// the thread in between never runs before the lock was handed over.
pub(crate) fn contend() {
    static LOW: Semaphore = Semaphore::new(0);
    static MIDDLE: Semaphore = Semaphore::new(0);
    static HIGH: Semaphore = Semaphore::new(0);
    static DONE: Semaphore = Semaphore::new(0);
    const TIMES: u64 = 2;
    let low = spawn(MAIN - 10, || {
        for number in 1..=TIMES {
            LOW.acquire().forget();
            let mut pair = PAIR.lock().unwrap();
            HIGH.release().unwrap();
            add(&mut pair, number);
            drop(pair);
            assert_eq!(thread::current().effective_priority(), thread::current().priority());
            log::note(b'l');
            DONE.release().unwrap();
        }
    });
    let middle = spawn(MAIN - 5, || {
        for _ in 0..TIMES {
            MIDDLE.acquire().forget();
            log::note(b'm');
            DONE.release().unwrap();
        }
    });
    call::null();
    for number in 1..=TIMES {
        LOW.release().unwrap();
        HIGH.acquire().forget();
        MIDDLE.release().unwrap();
        let mut pair = PAIR.lock().unwrap();
        log::note(b'h');
        add(&mut pair, number);
        drop(pair);
        DONE.acquire().forget();
        DONE.acquire().forget();
    }
    call::null();
    low.join().unwrap();
    middle.join().unwrap();
}

pub(crate) fn contended(intrusions: u64) -> String {
    format!("{}, {}", log::text(), sum(intrusions))
}

static READ_WRITE: RwLock<Pair> = RwLock::new([0; 2]);

pub(crate) fn write() {
    add(&mut READ_WRITE.write().unwrap(), ALIEN);
}

/// Readers give way to one who writes, and the other way round.
pub(crate) fn rw_lock() {
    let readers = [1, 2].map(|_| {
        spawn(MAIN, || {
            for _ in 0..2 {
                let pair = READ_WRITE.read().unwrap();
                assert_eq!(pair[0], pair[1]);
                thread::yield_now();
                assert_eq!(pair[0], pair[1]);
            }
        })
    });
    call::null();
    for number in 1..=2 {
        add(&mut READ_WRITE.write().unwrap(), number);
        thread::yield_now();
    }
    call::null();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

pub(crate) fn rw_sum(intrusions: u64) -> String {
    format!("sum {}", READ_WRITE.read().unwrap()[1] - ALIEN * intrusions)
}

/// A place for one letter.
static PLACE: Mutex<Option<u8>> = Mutex::new(None);
static FILLED: Condvar = Condvar::new();
static EMPTIED: Condvar = Condvar::new();

/// A notification that means nothing.
pub(crate) fn notify() {
    let place = PLACE.lock().unwrap();
    FILLED.notify_all();
    EMPTIED.notify_one();
    drop(place);
}

/// One thread fills the place, the other empties it.
pub(crate) fn condition() {
    const LETTERS: core::ops::RangeInclusive<u8> = b'a'..=b'c';
    let taker = spawn(MAIN, || {
        for _ in LETTERS {
            let mut place = FILLED.wait_while(PLACE.lock().unwrap(), |place| place.is_none()).unwrap();
            log::note(place.take().unwrap());
            EMPTIED.notify_one();
        }
    });
    call::null();
    for letter in LETTERS {
        let mut place = EMPTIED.wait_while(PLACE.lock().unwrap(), |place| place.is_some()).unwrap();
        *place = Some(letter);
        drop(place);
        FILLED.notify_one();
    }
    call::null();
    taker.join().unwrap();
}

static ONCE: [OnceLock<u64>; 6] = [const { OnceLock::new() }; 6];
static BEGUN: AtomicU64 = AtomicU64::new(0);

pub(crate) fn use_once() {
    for (number, once) in ONCE.iter().enumerate() {
        let value = once.get_or_init(|| {
            BEGUN.fetch_add(1, Relaxed);
            number as u64
        });
        assert_eq!(*value, number as u64);
    }
}

/// Values that are made once, whoever comes first.
pub(crate) fn once() {
    call::null();
    use_once();
    use_once();
}

pub(crate) fn once_result(_: u64) -> String {
    format!("{BEGUN:?} of {}", ONCE.len())
}

static POISONED: Mutex<u64> = Mutex::new(0);

pub(crate) fn lock_poisoned() {
    *POISONED.lock().unwrap_or_else(PoisonError::into_inner) += ALIEN;
}

/// A thread dies with a lock that others want.
pub(crate) fn death() {
    let worker = spawn(MAIN - 1, || {
        *POISONED.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let _guard = POISONED.lock();
        // SAFETY: none; the fault is what the thread dies of.
        unsafe { core::ptr::without_provenance::<u8>(16).read_volatile() }
    });
    call::null();
    assert!(worker.join().is_err());
    assert!(POISONED.is_poisoned());
}

pub(crate) fn death_result(intrusions: u64) -> String {
    let number = *POISONED.lock().unwrap_or_else(PoisonError::into_inner);
    format!("sum {}", number - ALIEN * intrusions)
}

//! Signals from one thread to another.

use crate::{MAIN, MAIN_THREAD, log, no_event_waits, spawn};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libvcpu::call;
use libvcpu::prelude::*;
use libvcpu::sync::{Barrier, Channel, EventGroup, Events, Mutex, OnceLock, Semaphore};
use libvcpu::thread::{self, Thread};

/// What an intruder sends.
const ALIEN: u64 = 1000;

static CHANNEL: Channel<u64, 2> = Channel::new();
static RECEIVED: Mutex<u64> = Mutex::new(0);

/// Waits if the channel is full. After its end, the number goes another way.
pub(crate) fn send() {
    if let Err(refused) = CHANNEL.send(ALIEN) {
        *RECEIVED.lock().unwrap() += refused.0;
    }
}

/// Numbers, in order, through a channel that is too small for them.
pub(crate) fn channel() {
    let receiver = spawn(MAIN, || {
        let mut last = 0;
        for number in CHANNEL.iter() {
            *RECEIVED.lock().unwrap() += number;
            if number != ALIEN {
                assert_eq!(number, last + 1);
                last = number;
            }
        }
        last
    });
    call::null();
    for number in 1..=4 {
        CHANNEL.send(number).unwrap();
        no_event_waits();
    }
    CHANNEL.close();
    call::null();
    assert_eq!(receiver.join().unwrap(), 4);
}

pub(crate) fn received(intrusions: u64) -> String {
    format!("sum {}", *RECEIVED.lock().unwrap() - ALIEN * intrusions)
}

static PING: Semaphore = Semaphore::new(0);
static PONG: Semaphore = Semaphore::new(0);

/// Takes a permit if there is one, and gives it back.
pub(crate) fn acquire() {
    drop(PING.try_acquire());
    drop(PONG.try_acquire());
}

const TIMES: usize = 3;

pub(crate) fn semaphore() {
    let other = spawn(MAIN, || {
        for _ in 0..TIMES {
            PING.acquire().forget();
            log::note(b'i');
            PONG.release().unwrap();
        }
    });
    call::null();
    for _ in 0..TIMES {
        PING.release().unwrap();
        PONG.acquire().forget();
        no_event_waits();
        log::note(b'o');
    }
    call::null();
    other.join().unwrap();
}

static GROUP: EventGroup = EventGroup::new();
const FIRST: u32 = 1;
const SECOND: u32 = 2;
const BACK: u32 = 4;
const FOREIGN: u32 = 8;

pub(crate) fn set() {
    GROUP.set(FOREIGN);
    assert_ne!(GROUP.wait(Events::any(FOREIGN).cleared()) & FOREIGN, 0);
}

/// One thread waits for two events, the other for the answer.
pub(crate) fn events() {
    let other = spawn(MAIN + 1, || {
        for _ in 0..TIMES {
            GROUP.wait(Events::all(FIRST | SECOND).cleared());
            log::note(b'w');
            GROUP.set(BACK);
        }
    });
    call::null();
    for _ in 0..TIMES {
        GROUP.set(FIRST);
        log::note(b'm');
        GROUP.set(SECOND);
        GROUP.wait(Events::any(BACK).cleared());
    }
    call::null();
    other.join().unwrap();
}

static LEADERS: AtomicU32 = AtomicU32::new(0);

/// Three threads wait for each other.
pub(crate) fn barrier() {
    static BARRIER: Barrier = Barrier::new(3);
    static ROUNDS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];
    fn go_round() {
        for round in &ROUNDS {
            round.fetch_add(1, Relaxed);
            LEADERS.fetch_add(BARRIER.wait().is_leader().into(), Relaxed);
            assert_eq!(round.load(Relaxed), 3);
        }
    }
    let others = [MAIN, MAIN + 1].map(|level| spawn(level, go_round));
    call::null();
    go_round();
    call::null();
    others.into_iter().for_each(|thread| thread.join().unwrap());
}

pub(crate) fn leaders(_: u64) -> String {
    format!("{LEADERS:?} leaders")
}

static SLEEPER: OnceLock<Thread> = OnceLock::new();

/// Unparks both for no reason.
pub(crate) fn unpark() {
    for thread in [&SLEEPER, &MAIN_THREAD].iter().filter_map(|thread| thread.get()) {
        thread.unpark();
    }
}

/// Two threads wake each other.
pub(crate) fn park() {
    static TURN: AtomicU32 = AtomicU32::new(0);
    fn wait_for(turn: u32) {
        while TURN.load(Relaxed) != turn {
            thread::park();
        }
    }
    let other = spawn(MAIN - 1, || {
        for turn in 0..TIMES as u32 {
            wait_for(2 * turn + 1);
            log::note(b'b');
            TURN.store(2 * turn + 2, Relaxed);
            MAIN_THREAD.wait().unpark();
        }
    });
    assert!(SLEEPER.set(other.thread().clone()).is_ok());
    call::null();
    for turn in 0..TIMES as u32 {
        log::note(b'a');
        TURN.store(2 * turn + 1, Relaxed);
        other.thread().unpark();
        wait_for(2 * turn + 2);
    }
    call::null();
    other.join().unwrap();
}

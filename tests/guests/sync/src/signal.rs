//! Semaphores, barriers and event groups.

use crate::{let_others_run, milliseconds, spawn};
use libvcpu::prelude::*;
use libvcpu::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libvcpu::sync::{Arc, Barrier, EventGroup, Events, Semaphore, TimedOut, TooManyPermits};
use libvcpu::thread;
use libvcpu::time::Instant;

pub(crate) fn semaphore() {
    static SLOTS: Semaphore = Semaphore::new(3);
    static INSIDE: AtomicU32 = AtomicU32::new(0);
    static MOST: AtomicU32 = AtomicU32::new(0);
    let threads: Vec<_> = (0..10)
        .map(|_| {
            spawn(30, || {
                for _ in 0..20 {
                    let _permit = SLOTS.acquire();
                    MOST.fetch_max(INSIDE.fetch_add(1, Relaxed) + 1, Relaxed);
                    thread::yield_now();
                    INSIDE.fetch_sub(1, Relaxed);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    println!("at most {} inside, {} permits at the end", MOST.load(Relaxed), SLOTS.permits());

    // Permits go to those who wait, by priority, then by time of arrival.
    static SIGNAL: Semaphore = Semaphore::new(0);
    let waiters: Vec<_> = [("a", 30), ("b", 40), ("c", 40)]
        .into_iter()
        .map(|(name, level)| {
            let waiter = spawn(level, move || {
                SIGNAL.acquire().forget();
                println!("{name}");
            });
            let_others_run();
            waiter
        })
        .collect();
    (0..3).for_each(|_| SIGNAL.release().unwrap());
    println!("free: {}", SIGNAL.permits());
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());

    let begin = Instant::now();
    assert_eq!(SIGNAL.acquire_timeout(milliseconds(5)).unwrap_err(), TimedOut);
    println!("gave up after {:?}", begin.elapsed());
    assert!(SIGNAL.acquire_until(begin).is_err() && SIGNAL.try_acquire().is_none());
    assert_eq!(SIGNAL.permits(), 0, "who gave up has none to release");
    SIGNAL.release().unwrap();
    assert!(SIGNAL.acquire_until(begin).is_ok(), "a free permit is there after the deadline too");

    let full = Semaphore::with_maximum(1, 2);
    full.release().unwrap();
    assert_eq!(full.release(), Err(TooManyPermits));
    println!("{full:?}");
}

pub(crate) fn barrier() {
    let barrier = Arc::new(Barrier::new(4));
    let rounds = Arc::new([const { AtomicU32::new(0) }; 3]);
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (barrier, rounds) = (barrier.clone(), rounds.clone());
            spawn(30 + number, move || {
                let mut led = 0;
                for round in rounds.iter() {
                    round.fetch_add(1, Relaxed);
                    led += u32::from(barrier.wait().is_leader());
                    assert_eq!(round.load(Relaxed), 4, "nobody goes on before all have arrived");
                }
                led
            })
        })
        .collect();
    let led: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    println!("{led} leaders in 3 rounds");
    // Who gives up has not arrived.
    let barrier = Arc::new(Barrier::new(2));
    let begin = Instant::now();
    assert_eq!(barrier.wait_timeout(milliseconds(5)).unwrap_err(), TimedOut);
    assert_eq!(barrier.wait_until(begin).unwrap_err(), TimedOut);
    let theirs = barrier.clone();
    let other = spawn(60, move || theirs.wait().is_leader());
    println!("{} and {}", barrier.wait_timeout(milliseconds(5)).unwrap().is_leader(), other.join().unwrap());
    println!("alone: {} {}", Barrier::new(1).wait().is_leader(), Barrier::new(0).wait().is_leader());
}

pub(crate) fn event_group() {
    static GROUP: EventGroup = EventGroup::new();
    let waits = [
        ("any of 3", Events::any(0b0011)),
        ("all of 3", Events::all(0b0011)),
        ("all of 6, cleared", Events::all(0b0110).cleared()),
    ];
    let waiters = waits.map(|(name, events)| {
        spawn(60, move || {
            let happened = GROUP.wait(events);
            println!("{name}: {happened:#06b}");
        })
    });
    GROUP.set(0b1000);
    println!("set 8");
    GROUP.set(0b0010);
    println!("set 2");
    GROUP.set(0b0101);
    println!("set 5, left {:#06b}", GROUP.get());
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    assert_eq!(GROUP.try_wait(Events::all(0b0011)), None);
    assert_eq!(GROUP.try_wait(Events::any(0b0011).cleared()), Some(0b1001));
    assert_eq!(GROUP.wait(Events::any(0b1000)), 0b1000, "what has happened is not waited for");
    GROUP.clear(0b1000);
    let begin = Instant::now();
    assert_eq!(GROUP.wait_timeout(Events::any(u32::MAX), milliseconds(5)), Err(TimedOut));
    assert_eq!(GROUP.wait_until(Events::any(u32::MAX), begin), Err(TimedOut));
    println!("{GROUP:?}, gave up after {:?}", begin.elapsed());
}

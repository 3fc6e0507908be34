//! Condition variables.

use crate::{let_others_run, milliseconds, spawn};
use libvcpu::prelude::*;
use libvcpu::sync::{Condvar, Mutex};
use libvcpu::thread::{self, Priority};
use libvcpu::time::Instant;

/// One is notified, or all; by priority, then by time of arrival. Each has the mutex when it goes on.
pub(crate) fn order() {
    static NUMBER: Mutex<u32> = Mutex::new(0);
    static CHANGED: Condvar = Condvar::new();
    CHANGED.notify_one();
    CHANGED.notify_all();
    thread::current().set_priority(Priority::new(20));
    let waiters: Vec<_> = [("a", 30), ("b", 40), ("c", 40), ("d", 30)]
        .into_iter()
        .map(|(name, level)| {
            spawn(level, move || {
                let number = CHANGED.wait(NUMBER.lock().unwrap()).unwrap();
                println!("{name} finds {number}");
            })
        })
        .collect();
    *NUMBER.lock().unwrap() = 1;
    CHANGED.notify_one();
    println!("one was notified");
    let mut guard = NUMBER.lock().unwrap();
    *guard = 2;
    CHANGED.notify_all();
    println!("all were notified");
    drop(guard);
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    let patient = spawn(30, || *CHANGED.wait_while(NUMBER.lock().unwrap(), |number| *number < 5).unwrap());
    for _ in 0..10 {
        *NUMBER.lock().unwrap() += 1;
        CHANGED.notify_all();
    }
    println!("{} is enough", patient.join().unwrap());
}

/// Whoever's deadline comes has the mutex again.
pub(crate) fn timeout() {
    static MUTEX: Mutex<u32> = Mutex::new(0);
    static CHANGED: Condvar = Condvar::new();
    let begin = Instant::now();
    let (guard, result) = CHANGED.wait_timeout(MUTEX.lock().unwrap(), milliseconds(5)).unwrap();
    println!("timed out: {}, after {:?}", result.timed_out(), begin.elapsed());
    assert!(spawn(60, || MUTEX.try_lock().is_err()).join().unwrap());
    let (guard, result) = CHANGED.wait_until(guard, begin).unwrap();
    println!("timed out: {}, after {:?}", result.timed_out(), begin.elapsed());
    let other = spawn(30, || {
        for _ in 0..3 {
            thread::sleep(milliseconds(10));
            *MUTEX.lock().unwrap() += 1;
            CHANGED.notify_one();
        }
    });
    let (guard, result) = CHANGED.wait_timeout_while(guard, milliseconds(15), |number| *number < 2).unwrap();
    println!("{guard}, timed out: {}, after {:?}", result.timed_out(), begin.elapsed());
    let deadline = begin + milliseconds(100);
    let (guard, result) = CHANGED.wait_until_while(guard, deadline, |number| *number < 3).unwrap();
    println!("{guard}, timed out: {}, after {:?}", result.timed_out(), begin.elapsed());
    drop(guard);
    other.join().unwrap();
    // The mutex is in use when the deadline comes: it is waited for.
    let owner = spawn(30, || {
        thread::sleep(milliseconds(1));
        let _guard = MUTEX.lock().unwrap();
        thread::sleep(milliseconds(10));
    });
    let begin = Instant::now();
    let (_guard, result) = CHANGED.wait_timeout(MUTEX.lock().unwrap(), milliseconds(5)).unwrap();
    println!("timed out: {}, after {:?}", result.timed_out(), begin.elapsed());
    owner.join().unwrap();
}

/// Somebody dies with the mutex while others wait on the condition.
pub(crate) fn poison() {
    static MUTEX: Mutex<()> = Mutex::new(());
    static CHANGED: Condvar = Condvar::new();
    let waiter = spawn(30, || CHANGED.wait(MUTEX.lock().unwrap()).is_err());
    let_others_run();
    let victim = spawn(30, || {
        let _guard = MUTEX.lock();
        CHANGED.notify_one();
        panic!("with the lock");
    });
    victim.join().map(|(): ()| ()).unwrap_err();
    println!("warned: {}", waiter.join().unwrap());
}

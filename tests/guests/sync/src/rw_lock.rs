//! Reader-writer locks.

use crate::{let_others_run, milliseconds, spawn};
use libvcpu::prelude::*;
use libvcpu::sync::{Arc, RwLock, TryLockError};
use libvcpu::thread::{self, Priority};
use libvcpu::time::Instant;

/// Who comes after a writer that waits, waits for it, unless it is more important.
pub(crate) fn order() {
    static LOCK: RwLock<u32> = RwLock::new(0);
    thread::current().set_priority(Priority::new(20));
    let guard = LOCK.read().unwrap();
    let early = spawn(30, || println!("early reads {}", LOCK.read().unwrap()));
    let writer = spawn(30, || {
        *LOCK.write().unwrap() += 1;
        println!("writes");
    });
    let late = spawn(30, || println!("late reads {}", LOCK.read().unwrap()));
    let important = spawn(40, || println!("important reads {}", LOCK.read().unwrap()));
    assert!(matches!(LOCK.try_read(), Err(TryLockError::WouldBlock)), "a writer waits");
    assert!(matches!(LOCK.try_write(), Err(TryLockError::WouldBlock)));
    println!("the first reader ends with {guard}");
    drop(guard);
    [early, writer, late, important].into_iter().for_each(|thread| thread.join().unwrap());
    println!("{LOCK:?}");
}

/// A writer that gives up lets the readers in that came after it.
pub(crate) fn timeout() {
    static LOCK: RwLock<()> = RwLock::new(());
    let owner = spawn(30, || {
        let _guard = LOCK.read().unwrap();
        thread::sleep(milliseconds(20));
    });
    let_others_run();
    let begin = Instant::now();
    let writer = spawn(30, move || {
        assert!(matches!(LOCK.write_timeout(milliseconds(5)), Err(TryLockError::WouldBlock)));
        println!("the writer gave up after {:?}", begin.elapsed());
    });
    let_others_run();
    let reader = spawn(30, move || {
        let _guard = LOCK.read().unwrap();
        println!("the reader reads after {:?}", begin.elapsed());
    });
    [writer, reader, owner].into_iter().for_each(|thread| thread.join().unwrap());
    let guard = LOCK.write_until(begin).unwrap();
    println!("written after {:?}", begin.elapsed());
    let reader = spawn(60, move || LOCK.read_timeout(milliseconds(5)).is_err());
    let late = spawn(60, move || LOCK.read_until(begin).is_err());
    assert!(reader.join().unwrap() && late.join().unwrap());
    drop(guard);
}

/// Who dies while writing poisons the lock, who dies while reading does not.
pub(crate) fn poison() {
    let lock = Arc::new(RwLock::new(1));
    let theirs = lock.clone();
    spawn(30, move || {
        let _guard = theirs.read();
        panic!("while reading");
    })
    .join()
    .map(|(): ()| ())
    .unwrap_err();
    println!("{:?}", lock.try_write().map(|guard| *guard));
    let theirs = lock.clone();
    spawn(30, move || {
        *theirs.write().unwrap() = 2;
        let _guard = theirs.write();
        panic!("while writing");
    })
    .join()
    .map(|(): ()| ())
    .unwrap_err();
    println!("{lock:?} {:?}", lock.read().map(|guard| *guard));
    lock.clear_poison();
    println!("{:?}", lock.write().map(|guard| *guard));
}

/// More locks, and more readers at a time, than the kernel has room for at first.
pub(crate) fn many() {
    let locks: Vec<_> = (0..300).map(RwLock::new).collect();
    let guards: Vec<_> = locks.iter().map(|lock| lock.read().unwrap()).collect();
    let sum: i32 = guards.iter().map(|guard| **guard).sum();
    assert!(locks.iter().all(|lock| lock.try_write().is_err()));
    drop(guards);
    assert!(locks.iter().all(|lock| lock.try_write().is_ok()));
    println!("{sum}");
}

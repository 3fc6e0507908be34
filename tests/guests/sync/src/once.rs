//! What happens once.

use crate::{effective, let_others_run, milliseconds, spawn};
use libvcpu::prelude::*;
use libvcpu::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libvcpu::sync::{Arc, LazyLock, Once, OnceLock};
use libvcpu::thread;

/// Of many who come, one does it, and the others wait until it is done.
pub(crate) fn once() {
    static ONCE: Once = Once::new();
    static CELL: OnceLock<u32> = OnceLock::new();
    static LAZY: LazyLock<String> = LazyLock::new(|| {
        thread::sleep(milliseconds(1));
        format!("computed {} times", COUNT.fetch_add(1, Relaxed) + 1)
    });
    static COUNT: AtomicU32 = AtomicU32::new(0);
    static CALLS: AtomicU32 = AtomicU32::new(0);
    assert!(!ONCE.is_completed() && CELL.get().is_none());
    let threads: Vec<_> = (0..5)
        .map(|number| {
            spawn(30, move || {
                ONCE.call_once(|| {
                    thread::sleep(milliseconds(1));
                    CALLS.fetch_add(1, Relaxed);
                });
                assert_eq!(CALLS.load(Relaxed), 1);
                let value = *CELL.get_or_init(|| {
                    thread::sleep(milliseconds(1));
                    number
                });
                assert_eq!(LAZY.as_str(), "computed 1 times");
                value
            })
        })
        .collect();
    let values: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(ONCE.is_completed());
    println!("{values:?} {:?} {:?}", CELL.set(9), *LAZY);
    // Each value is dropped once.
    let value = Arc::new(());
    let mut cell = OnceLock::from(value.clone());
    assert!(cell.set(value.clone()).is_err());
    assert_eq!(cell.take().map(|value| Arc::strong_count(&value)), Some(2));
    assert!(cell.set(value.clone()).is_ok());
    drop(cell.clone());
    drop(cell);
    println!("{} left", Arc::strong_count(&value));
}

/// A thread dies while it initialises.
pub(crate) fn death() {
    static ONCE: Once = Once::new();
    static CELL: OnceLock<u32> = OnceLock::new();
    static LAZY: LazyLock<u32> = LazyLock::new(|| panic!("while computing"));
    let victim = spawn(30, || ONCE.call_once(|| panic!("while initialising")));
    victim.join().unwrap_err();
    let next = spawn(30, || ONCE.call_once(|| unreachable!()));
    println!("{}", next.join().unwrap_err().downcast_ref::<String>().unwrap());
    spawn(30, || ONCE.wait()).join().unwrap_err();
    ONCE.call_once_force(|state| println!("poisoned: {}", state.is_poisoned()));
    ONCE.call_once(|| unreachable!());
    ONCE.wait();
    // A cell may be tried again.
    spawn(30, || *CELL.get_or_init(|| panic!("while computing"))).join().unwrap_err();
    println!("{:?} {}", CELL.get(), CELL.get_or_init(|| 5));
    // What is lazy has lost its function.
    spawn(30, || *LAZY).join().unwrap_err();
    println!("{}", spawn(30, || *LAZY).join().unwrap_err().downcast_ref::<String>().unwrap());
    // Who needs what it initialises would wait for itself.
    static CIRCLE: OnceLock<u32> = OnceLock::new();
    let circle = spawn(30, || *CIRCLE.get_or_init(|| *CIRCLE.get_or_init(|| 1)));
    println!("{}", circle.join().unwrap_err().downcast_ref::<String>().unwrap());
}

/// Waiting for what nobody has begun, for what is being done, and for what fails.
pub(crate) fn wait() {
    static CELL: OnceLock<u32> = OnceLock::new();
    static ONCE: Once = Once::new();
    let waiters = [60, 30].map(|level| spawn(level, || *CELL.wait()));
    let_others_run();
    CELL.set(3).unwrap();
    println!("{:?} {}", waiters.map(|waiter| waiter.join().unwrap()), CELL.wait());
    let warned = spawn(60, || ONCE.wait());
    let patient = spawn(60, || ONCE.wait_force());
    spawn(30, || ONCE.call_once(|| panic!("while initialising"))).join().unwrap_err();
    println!("{}", warned.join().unwrap_err().downcast_ref::<String>().unwrap());
    assert!(!patient.is_finished());
    ONCE.call_once_force(|_| ());
    patient.join().unwrap();
}

/// Who initialises is as important as who waits, also as who waited before it began.
pub(crate) fn inherit() {
    static CELL: OnceLock<u32> = OnceLock::new();
    let early = spawn(60, || *CELL.wait());
    let worker = spawn(10, || {
        let value = *CELL.get_or_init(|| {
            thread::sleep(milliseconds(5));
            1
        });
        thread::park();
        value
    });
    let_others_run();
    println!("{}", effective(&worker));
    let late = spawn(62, || *CELL.get_or_init(|| 2));
    println!("{}", effective(&worker));
    println!("{} {}", early.join().unwrap(), late.join().unwrap());
    println!("{}", effective(&worker));
    worker.thread().unpark();
    worker.join().unwrap();
}

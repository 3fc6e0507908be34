//! Mutexes.

use crate::{effective, let_others_run, milliseconds, spawn};
use libvcpu::event;
use libvcpu::heap;
use libvcpu::prelude::*;
use libvcpu::sync::{Arc, Mutex, TryLockError};
use libvcpu::thread::{self, JoinHandle, Priority};
use libvcpu::time::Instant;

/// Who waits gets the mutex by priority, then by time of arrival.
pub(crate) fn order() {
    static MUTEX: Mutex<()> = Mutex::new(());
    thread::current().set_priority(Priority::new(20));
    let guard = MUTEX.lock().unwrap();
    let waiters: Vec<_> = [("a", 30), ("b", 40), ("c", 40), ("d", 25)]
        .into_iter()
        .map(|(name, level)| {
            spawn(level, move || {
                let _guard = MUTEX.lock().unwrap();
                println!("{name}");
            })
        })
        .collect();
    println!("owner: {}", thread::current().effective_priority().level());
    drop(guard);
    println!("owner: {}", thread::current().effective_priority().level());
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
}

/// What is read, and written after others ran, is not lost.
pub(crate) fn count() {
    static NUMBER: Mutex<u32> = Mutex::new(0);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            spawn(30, || {
                for round in 0..500 {
                    let mut guard = NUMBER.lock().unwrap();
                    let number = *guard;
                    if round % 7 != 0 {
                        thread::yield_now();
                    }
                    *guard = number + 1;
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    println!("{}", NUMBER.lock().unwrap());
}

/// Importance goes along a chain, and back at once.
pub(crate) fn chain() {
    static FIRST: Mutex<()> = Mutex::new(());
    static SECOND: Mutex<()> = Mutex::new(());
    static THIRD: Mutex<()> = Mutex::new(());
    let low = spawn(10, || {
        let third = THIRD.lock().unwrap();
        let first = FIRST.lock().unwrap();
        thread::park();
        drop(first);
        thread::park();
        drop(third);
    });
    let_others_run();
    let middle = spawn(20, || {
        let second = SECOND.lock().unwrap();
        let first = FIRST.lock().unwrap();
        thread::park();
        drop((second, first));
    });
    let_others_run();
    let show = |moment: &str, low: &JoinHandle<()>, middle: &JoinHandle<()>| {
        println!("{moment}: {} {}", effective(low), effective(middle));
    };
    show("begun", &low, &middle);
    let impatient = spawn(40, || SECOND.lock_timeout(milliseconds(5)).is_err());
    let_others_run();
    show("a third one waits", &low, &middle);
    assert!(impatient.join().unwrap(), "the deadline came first");
    show("it gave up", &low, &middle);
    let high = spawn(45, || drop(SECOND.lock().unwrap()));
    let other = spawn(30, || drop(THIRD.lock().unwrap()));
    let_others_run();
    show("two others wait", &low, &middle);
    low.thread().unpark();
    let_others_run();
    show("one mutex was unlocked", &low, &middle);
    middle.thread().unpark();
    high.join().unwrap();
    show("the chain is undone", &low, &middle);
    low.thread().unpark();
    let_others_run();
    [low, middle, other].into_iter().for_each(|thread| thread.join().unwrap());
}

/// Trying, and waiting with a deadline.
pub(crate) fn timeout() {
    static MUTEX: Mutex<u32> = Mutex::new(7);
    let owner = spawn(30, || {
        let _guard = MUTEX.lock().unwrap();
        thread::sleep(milliseconds(20));
    });
    let_others_run();
    assert!(matches!(MUTEX.try_lock(), Err(TryLockError::WouldBlock)));
    println!("{MUTEX:?}");
    let begin = Instant::now();
    assert!(matches!(MUTEX.lock_timeout(milliseconds(5)), Err(TryLockError::WouldBlock)));
    println!("gave up after {:?}", begin.elapsed());
    assert!(matches!(MUTEX.lock_until(begin), Err(TryLockError::WouldBlock)));
    println!("had waited for {:?}", begin.elapsed());
    let guard = MUTEX.lock_until(begin + milliseconds(500)).unwrap();
    println!("locked after {:?}", begin.elapsed());
    drop(guard);
    // What needs no waiting succeeds after its deadline too.
    println!("{:?} {:?}", MUTEX.lock_until(begin).unwrap(), MUTEX.try_lock().is_ok());
    owner.join().unwrap();
    println!("{MUTEX:?}");
}

/// A wait that could never end is a panic of the thread that would begin it, and the others go on.
pub(crate) fn deadlock() {
    static ALONE: Mutex<()> = Mutex::new(());
    static LEFT: Mutex<()> = Mutex::new(());
    static RIGHT: Mutex<()> = Mutex::new(());
    let twice = spawn(30, || {
        let _first = ALONE.lock();
        let _second = ALONE.lock();
    });
    println!("{}", twice.join().unwrap_err().downcast_ref::<String>().unwrap());
    let victim = spawn(30, || {
        let _left = LEFT.lock();
        thread::sleep(milliseconds(5));
        let _right = RIGHT.lock();
    });
    let survivor = spawn(30, || {
        let _right = RIGHT.lock();
        println!("waited for one that died: {}", LEFT.lock().is_err());
    });
    println!("{}", victim.join().unwrap_err().downcast_ref::<String>().unwrap());
    survivor.join().unwrap();
    let mutex = Mutex::new(());
    let _guard = mutex.lock();
    println!("with a deadline: {:?}", mutex.lock_timeout(milliseconds(5)).unwrap_err());
}

/// A lock is poisoned exactly if somebody died with it.
pub(crate) fn poison() {
    let mutex = Arc::new(Mutex::new(0));
    let theirs = mutex.clone();
    spawn(30, move || *theirs.lock().unwrap() = 1).join().unwrap();
    assert!(!mutex.is_poisoned());
    let theirs = mutex.clone();
    let victim = spawn(30, move || {
        let mut guard = theirs.lock().unwrap();
        *guard = 2;
        thread::sleep(milliseconds(5));
        panic!("with the lock");
    });
    let theirs = mutex.clone();
    let waiter = spawn(40, move || {
        thread::sleep(milliseconds(1));
        // It waits while the other dies, and gets the lock with a warning.
        *theirs.lock().unwrap_err().into_inner()
    });
    victim.join().unwrap_err();
    println!("the waiter got {}", waiter.join().unwrap());
    println!("{mutex:?}");
    assert!(matches!(mutex.try_lock(), Err(TryLockError::Poisoned(_))));
    assert!(matches!(mutex.lock_timeout(milliseconds(1)), Err(TryLockError::Poisoned(_))));
    mutex.clear_poison();
    assert_eq!(*mutex.lock().unwrap(), 2);
    let theirs = mutex.clone();
    spawn(30, move || {
        let _guard = theirs.lock();
        // SAFETY: none; the fault is what is tried.
        unsafe { core::ptr::without_provenance::<u8>(16).read_volatile() };
    })
    .join()
    .unwrap_err();
    println!("after a fault: {}", mutex.is_poisoned());
    // The dead threads' own references are never dropped.
    println!("{} references", Arc::strong_count(&mutex));
    let mut mutex = Mutex::new(3);
    *mutex.get_mut().unwrap() += 1;
    assert_eq!(mutex.into_inner().unwrap(), 4);
}

/// As long as nobody waits, the kernel does not know who has a mutex. Who comes after the owner's death finds it free
/// and poisoned, also a thread that has the dead one's place; nobody who comes earlier is late.
pub(crate) fn unseen() {
    let mutexes: Arc<Vec<_>> = Arc::new((0..5).map(Mutex::new).collect());
    let theirs = mutexes.clone();
    let die = move || {
        core::mem::forget(theirs.iter().map(Mutex::lock).collect::<Vec<_>>());
        panic!("with the mutexes");
    };
    spawn(30, die).join().unwrap_err();
    let theirs = mutexes.clone();
    let heir = spawn(30, move || {
        println!("asked: {}", theirs[0].is_poisoned());
        println!("tried: {:?}", theirs[1].try_lock().err());
        println!("locked: {:?}", theirs[2].lock().err());
        let is_err = event::without(|| theirs[3].lock().is_err());
        println!("locked with events off: {is_err}");
        theirs[4].clear_poison();
        println!("well again: {:?}", theirs[4].lock());
        theirs.iter().map(Mutex::is_poisoned).collect::<Vec<_>>()
    });
    println!("{:?}", heir.join().unwrap());
    mutexes.iter().for_each(Mutex::clear_poison);
    // It becomes known, and unknown again, with each who waits.
    for _ in 0..2 {
        for (number, mutex) in mutexes.iter().enumerate() {
            let guard = mutex.lock().unwrap();
            let theirs = mutexes.clone();
            let waiter = spawn(60, move || *theirs[number].lock().unwrap());
            let level = thread::current().effective_priority().level();
            drop(guard);
            assert_eq!((waiter.join().unwrap(), level), (number, 60));
            assert!(mutex.try_lock().is_ok());
        }
    }
}

/// Records are found by number: mutexes move, are dropped, and are dropped while they are locked.
pub(crate) fn forget() {
    // More than the kernel has room for at first.
    let mut mutexes: Vec<_> = (0..1000).map(Mutex::new).collect();
    for (number, mutex) in mutexes.iter().enumerate() {
        assert_eq!(*mutex.lock().unwrap(), number);
    }
    mutexes.rotate_left(500);
    let guards: Vec<_> = mutexes.iter().map(|mutex| mutex.lock().unwrap()).collect();
    assert_eq!((*guards[0], *guards[999]), (500, 499));
    assert!(mutexes.iter().all(|mutex| mutex.try_lock().is_err()));
    drop(guards);
    // What is dropped leaves its place to others.
    let before = heap::statistics().used;
    for number in 0..10_000 {
        let mutex = Mutex::new(number);
        *mutex.lock().unwrap() += 1;
        assert_eq!(mutex.into_inner().unwrap(), number + 1);
    }
    println!("{} bytes more", heap::statistics().used - before);
    // A forgotten guard leaves a mutex locked, which can move and be dropped.
    let thread = spawn(30, || {
        let mutex = Mutex::new(1);
        core::mem::forget(mutex.lock());
        assert!(mutex.try_lock().is_err());
        let moved = Box::new(mutex);
        assert!(moved.try_lock().is_err());
        drop(moved);
        let others: Vec<_> = (0..100).map(Mutex::new).collect();
        others.iter().all(|mutex| mutex.try_lock().is_ok())
    });
    println!("others are free: {}", thread.join().unwrap());
    assert!(mutexes.iter().all(|mutex| mutex.try_lock().is_ok()));
}

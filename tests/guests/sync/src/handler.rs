//! What an event handler function may do.

use crate::{milliseconds, spawn};
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Relaxed;
use libvcpu::event::set_handler;
use libvcpu::prelude::*;
use libvcpu::sync::{Channel, Condvar, EventGroup, Events, Mutex, RwLock, Semaphore, TryLockError};
use libvcpu::thread;
use libvcpu::time::{Instant, Timer, set_timer};

const LINE: u32 = 5;

static SEMAPHORE: Semaphore = Semaphore::new(0);
static CHANNEL: Channel<u32, 4> = Channel::new();
static GROUP: EventGroup = EventGroup::new();
static MUTEX: Mutex<u32> = Mutex::new(0);
/// Nobody ever waits for this one.
static UNSEEN: Mutex<u32> = Mutex::new(0);
static CHANGED: Condvar = Condvar::new();
static LOCK: RwLock<u32> = RwLock::new(0);
static TIMER: Timer = Timer::new();
static REFUSED: AtomicU32 = AtomicU32::new(0);
static ADMITTED: AtomicU32 = AtomicU32::new(0);

fn handle() {
    let is_free = UNSEEN.try_lock().map(|mut number| *number += 1).is_ok();
    match (MUTEX.try_lock(), LOCK.try_write()) {
        (Ok(mut number), Ok(mut other)) => {
            *number += 1;
            *other += 1;
            ADMITTED.fetch_add(1, Relaxed);
        }
        (Err(TryLockError::WouldBlock), Err(TryLockError::WouldBlock)) => {
            REFUSED.fetch_add(1, Relaxed);
            assert!(!is_free);
        }
        _ => panic!("both are locked, or neither"),
    }
    SEMAPHORE.release().unwrap();
    CHANNEL.try_send(7).unwrap();
    GROUP.set(1);
    CHANGED.notify_all();
    TIMER.start(milliseconds(1));
}

/// Has the handler run while this thread computes.
fn interrupt() {
    let before = ADMITTED.load(Relaxed) + REFUSED.load(Relaxed);
    set_timer(LINE, Some(Instant::now()));
    while ADMITTED.load(Relaxed) + REFUSED.load(Relaxed) == before {
        core::hint::spin_loop();
    }
}

/// It wakes threads, and takes no lock that the interrupted thread has.
pub(crate) fn handler() {
    // The first use, in a thread.
    drop((MUTEX.lock(), LOCK.write()));
    TIMER.start(milliseconds(0));
    assert_eq!((SEMAPHORE.permits(), GROUP.get(), CHANNEL.len(), TIMER.wait()), (0, 0, 0, 1));
    let waiters = [
        spawn(63, || {
            SEMAPHORE.acquire().forget();
            println!("a permit");
        }),
        spawn(62, || println!("{:?}", CHANNEL.recv())),
        spawn(61, || println!("events {}", GROUP.wait(Events::any(1).cleared()))),
        spawn(60, || {
            let _number = CHANGED.wait(MUTEX.lock().unwrap()).unwrap();
            println!("a notification");
        }),
    ];
    let last = spawn(60, || TIMER.wait());
    set_handler(LINE, Some(handle));
    interrupt();
    println!("back");
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    println!("{} expiry", last.join().unwrap());
    println!("{}, {}, {}", MUTEX.lock().unwrap(), LOCK.read().unwrap(), REFUSED.load(Relaxed));
    assert_eq!(*UNSEEN.lock().unwrap(), 1);
    let guards = (MUTEX.lock().unwrap(), LOCK.read().unwrap(), UNSEEN.lock().unwrap());
    interrupt();
    drop(guards);
    println!("{}, {}, {}", MUTEX.lock().unwrap(), LOCK.read().unwrap(), REFUSED.load(Relaxed));
    // Nobody is interrupted: a lock has no owner then, so it is not to be had.
    set_timer(LINE, Some(Instant::now() + milliseconds(5)));
    thread::sleep(milliseconds(10));
    println!("{}, {}, {}", MUTEX.lock().unwrap(), LOCK.read().unwrap(), REFUSED.load(Relaxed));
}

/// What would have to wait ends the guest.
pub(crate) fn wait() {
    let _guard = MUTEX.lock();
    set_handler(LINE, Some(|| drop(MUTEX.lock())));
    set_timer(LINE, Some(Instant::now()));
    thread::sleep(milliseconds(5));
}

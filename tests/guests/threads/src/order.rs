//! Who runs when: turns, sleeping, parking, priorities, preemption, suspending.

use crate::trace::{compute, lengths, letters, note};
use crate::{HIGH, LOW, SAME, ms, spawn};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use libvcpu::event;
use libvcpu::prelude::*;
use libvcpu::sync::OnceLock;
use libvcpu::thread::{self, Priority, State, Thread};
use libvcpu::time::{Instant, set_timer};

const LINE: u32 = 3;

/// Whom the handler function of `LINE` unparks.
static PARKED: OnceLock<Thread> = OnceLock::new();

fn unpark_it() {
    note('(');
    if let Some(thread) = PARKED.get() {
        thread.unpark();
    }
    // Nobody runs before the handler is done.
    note(')');
}

/// Each lets all others of its priority run before it runs again.
pub(crate) fn yields() {
    let workers = ['a', 'b', 'c'].map(|letter| {
        spawn(LOW, move || {
            for _ in 0..3 {
                note(letter);
                thread::yield_now();
            }
        })
    });
    for worker in workers {
        worker.join().expect("it only yields");
    }
    // Alone, it comes back at once; less important ones do not count.
    spawn(LOW, || note('x'));
    thread::yield_now();
    note('m');
    println!("{}", letters());
}

/// Sleepers wake in the order of their deadlines, at these; of equal ones, the more important first.
pub(crate) fn sleeps() {
    let sleepers = [('a', 30, SAME), ('b', 10, LOW), ('c', 20, SAME), ('d', 10, HIGH), ('e', 0, SAME)];
    let sleepers = sleepers.map(|(letter, milliseconds, level)| {
        spawn(level, move || {
            let begin = Instant::now();
            thread::sleep(ms(milliseconds));
            assert_eq!(begin.elapsed(), ms(milliseconds));
            note(letter);
        })
    });
    for sleeper in sleepers {
        sleeper.join().expect("it only sleeps");
    }
    let deadline = Instant::now() + ms(5);
    thread::sleep_until(deadline);
    assert_eq!(Instant::now(), deadline);
    thread::sleep_until(deadline);
    println!("{}", letters());
}

/// An unpark that comes early is kept, but only one; a timeout ends the wait as well.
pub(crate) fn parks() {
    let begin = Instant::now();
    let own = thread::current();
    own.unpark();
    own.unpark();
    thread::park();
    assert_eq!(begin.elapsed(), ms(0));
    thread::park_timeout(ms(7));
    assert_eq!(begin.elapsed(), ms(7));
    thread::park_timeout(ms(0));
    own.unpark();
    thread::park_timeout(ms(100));
    assert_eq!(begin.elapsed(), ms(7));

    let worker = spawn(HIGH, || {
        for _ in 0..3 {
            thread::park();
            note('w');
        }
    });
    for _ in 0..3 {
        note('m');
        worker.thread().unpark();
    }
    assert!(worker.is_finished());
    // Of a thread that is over, nothing comes.
    worker.thread().unpark();
    worker.join().expect("it only parks");
    println!("{}", letters());
}

/// A more important thread runs before the call that made it ready returns; a less important one does not.
pub(crate) fn priorities() {
    let high = spawn(HIGH, || {
        note('h');
        thread::park();
        note('H');
    });
    note('1');
    let low = spawn(LOW, || note('l'));
    note('2');
    high.thread().unpark();
    note('3');
    low.join().expect("it only notes");
    high.join().expect("it only notes");
    println!("{}", letters());
}

/// A change of priority holds before the call returns, whichever way, of one's own or another's.
pub(crate) fn changed_priorities() {
    let low = spawn(LOW, || {
        note('l');
        // Its own, above all: nothing changes.
        thread::current().set_priority(Priority::MOST);
        note('l');
        // Below main: main runs.
        thread::current().set_priority(Priority::new(LOW));
        note('L');
    });
    assert_eq!(low.thread().priority(), Priority::new(LOW));
    note('1');
    low.thread().set_priority(Priority::new(HIGH));
    note('2');
    assert_eq!(low.thread().priority(), Priority::new(LOW));
    // Main goes below: the other runs, to its end.
    thread::current().set_priority(Priority::LEAST);
    note('3');
    assert!(low.is_finished());
    thread::current().set_priority(Priority::NORMAL);
    // Lowered in favour of an equal: who lowers itself stays the first there.
    let equal = spawn(LOW, || note('e'));
    thread::current().set_priority(Priority::new(LOW));
    note('4');
    thread::yield_now();
    note('5');
    equal.join().expect("it only notes");
    low.join().expect("it only notes");
    println!("{}", letters());
}

/// A thread that a handler function wakes runs before the interrupted one goes on, if more important.
pub(crate) fn preempted_by_handler() {
    for level in [HIGH, LOW] {
        let parked = spawn(level, || {
            for _ in 0..2 {
                thread::park();
                note('p');
            }
        });
        if level == HIGH {
            PARKED.set(parked.thread().clone()).expect("it was not set");
            event::set_handler(LINE, Some(unpark_it));
        } else {
            parked.thread().unpark();
        }
        set_timer(LINE, Some(Instant::now() + ms(3) / 2));
        compute('m', 3);
        parked.thread().unpark();
        note('|');
        drop(parked);
    }
    thread::sleep(ms(1));
    println!("{}", letters());
}

/// The same between threads, with one that sleeps.
pub(crate) fn preempted_by_thread() {
    let high = spawn(HIGH, || {
        for _ in 0..3 {
            thread::sleep(ms(2));
            note('h');
        }
    });
    compute('m', 7);
    high.join().expect("it only sleeps");
    println!("{}", lengths());
}

/// Code that makes no call at all is preempted. (The clock is the real one; nothing is timed.)
pub(crate) fn preempted_while_computing() {
    static DONE: AtomicBool = AtomicBool::new(false);
    let sleeper = spawn(HIGH, || {
        thread::sleep(ms(1));
        DONE.store(true, Relaxed);
    });
    while !DONE.load(Relaxed) {
        core::hint::spin_loop();
    }
    sleeper.join().expect("it only sleeps");

    static WOKEN: AtomicBool = AtomicBool::new(false);
    let parked = spawn(HIGH, || {
        thread::park();
        WOKEN.store(true, Relaxed);
    });
    PARKED.set(parked.thread().clone()).expect("it was not set");
    event::set_handler(LINE, Some(unpark_it));
    set_timer(LINE, Some(Instant::now() + ms(1)));
    while !WOKEN.load(Relaxed) {
        core::hint::spin_loop();
    }
    println!("preempted");
}

/// A suspended thread does not run until it is resumed, whatever it did.
pub(crate) fn suspends() {
    let worker = spawn(LOW, || compute('w', 10));
    thread::sleep(ms(3));
    worker.thread().suspend();
    worker.thread().suspend();
    assert_eq!(worker.thread().statistics().state, State::Suspended);
    thread::sleep(ms(20));
    note('m');
    // Suspending does not count: one resume is enough, and another does nothing.
    worker.thread().resume();
    worker.thread().resume();
    worker.join().expect("it only computes");
    println!("{}", lengths());
}

/// A thread that suspends itself.
pub(crate) fn suspends_itself() {
    let worker = spawn(HIGH, || {
        note('w');
        thread::current().suspend();
        note('W');
    });
    note('m');
    worker.thread().resume();
    assert!(worker.is_finished());
    println!("{}", letters());
}

/// What a suspended thread waits for may come; it goes on only when it is resumed as well.
pub(crate) fn suspended_while_waiting() {
    let begin = Instant::now();
    let sleeper = spawn(HIGH, move || {
        thread::sleep(ms(10));
        note('s');
        begin.elapsed()
    });
    sleeper.thread().suspend();
    assert_eq!(sleeper.thread().statistics().state, State::BlockedSuspended);
    thread::sleep(ms(20));
    assert_eq!(sleeper.thread().statistics().state, State::Suspended);
    note('m');
    sleeper.thread().resume();
    assert_eq!(sleeper.join().ok(), Some(ms(20)));

    // Resumed before its wait is over, it waits on.
    let parked = spawn(HIGH, || {
        thread::park();
        note('p');
    });
    parked.thread().suspend();
    parked.thread().resume();
    assert_eq!(parked.thread().statistics().state, State::Blocked);
    parked.thread().suspend();
    parked.thread().unpark();
    note('m');
    parked.thread().resume();
    parked.join().expect("it only parks");
    println!("{}", letters());
}

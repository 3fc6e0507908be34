//! `thread_local!`: each thread's own values, their destructors, and where there are none.

use crate::trace::{letters, note};
use crate::{HIGH, LOW, ms, spawn};
use core::cell::{Cell, RefCell};
use libvcpu::event;
use libvcpu::prelude::*;
use libvcpu::thread::{self, AccessError};
use libvcpu::thread_local;
use libvcpu::time::{Instant, set_timer};

/// Notes its letter when it is dropped.
struct Noted(char);

impl Drop for Noted {
    fn drop(&mut self) {
        note(self.0);
    }
}

thread_local! {
    static NUMBER: Cell<u32> = const { Cell::new(1) };
    static LIST: RefCell<Vec<u32>> = RefCell::new(vec![NUMBER.get()]);
    static FIRST: Noted = Noted('f');
    static SECOND: Noted = Noted('s');
    static LATE: Late = const { Late };
    static AGAIN: u32 = recursive();
}

/// Uses others of the thread's values when it is dropped: one that is gone, and one that is new.
struct Late;

impl Drop for Late {
    fn drop(&mut self) {
        note(if FIRST.try_with(|_| ()).is_err() { 'g' } else { '?' });
        SECOND.with(|_| note('n'));
    }
}

fn recursive() -> u32 {
    AGAIN.with(|number| number + 1)
}

/// Each thread finds the initial value, and only its own changes.
pub(crate) fn values() {
    NUMBER.set(7);
    LIST.with_borrow_mut(|list| list.push(2));
    let workers = [10, 20, 30].map(|number| {
        spawn(LOW, move || {
            let fresh = NUMBER.replace(number);
            LIST.with_borrow_mut(|list| list.push(fresh));
            thread::sleep(ms(1));
            (NUMBER.get(), LIST.take())
        })
    });
    for worker in workers {
        println!("{:?}", worker.join().ok());
    }
    println!("{} {:?}", NUMBER.get(), LIST.take());
}

/// At a thread's end its values are dropped, also those that destructors make; at its death they are not.
pub(crate) fn destructors() {
    spawn(HIGH, || {
        FIRST.with(|_| note('1'));
        LATE.with(|_| note('2'));
    });
    note('|');
    // Values that were never used are never made.
    spawn(HIGH, || NUMBER.set(2));
    note('|');
    let dying = spawn(HIGH, || {
        FIRST.with(|_| note('1'));
        panic!("with a value");
    });
    dying.join().expect_err("it panicked");
    println!("{}", letters());
}

/// An initial value that needs itself is a panic, of that thread only.
pub(crate) fn recursion() {
    let worker = spawn(HIGH, || {
        // A panic of its own, or the end of its stack.
        AGAIN.with(|_| ())
    });
    println!("died: {}", worker.join().is_err());
}

/// `exit` drops none: somebody may still borrow a value from the frames that are not unwound.
pub(crate) fn exit() {
    let worker = spawn(LOW, || {
        FIRST.with(|first| {
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(ms(5));
                    note(first.0);
                });
                note('x');
                thread::exit();
            })
        })
    });
    worker.join().expect_err("it gave no result");
    note('m');
    thread::sleep(ms(10));
    println!("{}", letters());
}

/// A handler function interrupts a thread, perhaps in the middle of a change, so it has no access.
pub(crate) fn handler() {
    fn handle() {
        let found = NUMBER.try_with(Cell::get);
        note(if found == Err(AccessError) { 'e' } else { '?' });
    }
    event::set_handler(3, Some(handle));
    NUMBER.set(3);
    set_timer(3, Some(Instant::now()));
    thread::sleep(ms(1));
    println!("{} {}", letters(), NUMBER.get());
}

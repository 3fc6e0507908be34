//! From spawn to join: results, detaching, exit, identity.

use crate::trace::{letters, note};
use crate::{HIGH, LOW, SAME, ms, named, spawn};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::sync::Arc;
use libvcpu::thread::{self, Builder, State};
use libvcpu::time::Instant;

/// Counts its drops.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// The thread's result comes to who joins, before and after its end.
pub(crate) fn join() {
    let early = spawn(LOW, || 6 * 7);
    assert!(!early.is_finished());
    println!("{:?}", early.join().ok());
    let late = spawn(HIGH, || "text".to_owned());
    assert!(late.is_finished());
    println!("{:?}", late.join().ok());
}

/// Joining with a timeout gives the handle back, exactly when the time has passed.
pub(crate) fn join_timeout() {
    let sleeper = spawn(SAME, || {
        thread::sleep(ms(50));
        7
    });
    let begin = Instant::now();
    let sleeper = sleeper.join_timeout(ms(20)).expect_err("it sleeps still");
    assert_eq!(begin.elapsed(), ms(20));
    let result = sleeper.join_timeout(ms(100)).expect("it is over in time");
    assert_eq!(begin.elapsed(), ms(50));
    println!("{:?}", result.ok());
}

/// Two may wait for the same end: a scope for a thread that somebody joins.
pub(crate) fn join_twice() {
    thread::scope(|scope| {
        let sleeper = scope.spawn(|| thread::sleep(ms(50)));
        scope.spawn(move || {
            sleeper.join().expect("it only sleeps");
            note('j');
        });
    });
    note('s');
    println!("{}", letters());
}

/// A thread whose handle is dropped goes on, and its result is dropped when it ends.
pub(crate) fn detach() {
    let drops = Arc::new(AtomicU32::new(0));
    let value = Counted(Arc::clone(&drops));
    drop(spawn(LOW, move || {
        note('a');
        thread::sleep(ms(10));
        note('b');
        value
    }));
    assert_eq!(drops.load(Relaxed), 0);
    thread::sleep(ms(20));
    println!("{}, dropped {}, {} threads", letters(), drops.load(Relaxed), thread::all().len());
}

/// `exit` ends the thread from wherever it is; destructors of what is on the stack do not run.
pub(crate) fn exit() {
    fn deeper(depth: u32) {
        if depth == 0 {
            thread::exit();
        }
        deeper(depth - 1);
        note('x');
    }
    let drops = Arc::new(AtomicU32::new(0));
    let value = Counted(Arc::clone(&drops));
    let worker = spawn(LOW, move || {
        let value = value;
        deeper(5);
        drop(value);
    });
    let error = worker.join().expect_err("it gave no result");
    println!("{:?}, dropped {}, {:?}", error.downcast_ref::<String>(), drops.load(Relaxed), letters());
}

/// In the main thread it ends the program, with status 0.
pub(crate) fn exit_main() {
    spawn(LOW, || println!("the other thread ran"));
    println!("before");
    thread::exit();
}

/// Names, numbers, and the list of all.
pub(crate) fn identity() {
    let main = thread::current();
    assert_eq!(main.name(), Some("main"));
    assert_eq!(main.id().as_u64().get(), 1);
    let a = named("decode", LOW, || thread::current().name().map(str::to_owned));
    let b = spawn(LOW, || thread::current().id());
    assert_eq!(a.thread().name(), Some("decode"));
    assert_eq!(b.thread().name(), None);
    let mut all: Vec<_> = thread::all()
        .iter()
        .map(|thread| (thread.id().as_u64().get(), thread.name().map(str::to_owned)))
        .collect();
    all.sort();
    println!("{all:?}");
    let (a_id, b_id) = (a.thread().id(), b.thread().id());
    assert_ne!(a_id, b_id);
    assert_eq!(a.join().ok().flatten().as_deref(), Some("decode"));
    assert_eq!(b.join().ok(), Some(b_id));
    // Numbers are not used again.
    let c = spawn(LOW, || thread::current().id());
    println!("{}, then {}", b_id.as_u64(), c.join().expect("it only looks").as_u64());
    println!("{} left", thread::all().len());
}

/// A thread that begins suspended waits to be resumed.
pub(crate) fn begin_suspended() {
    let builder = Builder::new().suspended().priority(thread::Priority::new(HIGH));
    let worker = builder.spawn(|| note('w')).expect("there is memory for a thread");
    thread::sleep(ms(10));
    assert_eq!(worker.thread().statistics().state, State::Suspended);
    note('m');
    worker.thread().resume();
    note('m');
    worker.join().expect("it only notes");
    println!("{}", letters());
}

/// When main returns, the others end with it.
pub(crate) fn main_returns() {
    spawn(LOW, || println!("never"));
    spawn(HIGH, || {
        loop {
            thread::sleep(ms(1));
        }
    });
    println!("returns");
}

//! Who has the processor: yields, time slices, priorities, sections without events.

use crate::{MAIN, MAIN_THREAD, log, no_event_waits, spawn};
use core::arch::{asm, global_asm};
use core::cell::Cell;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::sync::{Mutex, Semaphore};
use libvcpu::thread::{self, Priority, TimeSlice};
use libvcpu::{call, event};

static SUM: Mutex<u64> = Mutex::new(0);

libvcpu::thread_local! {
    static OWN: Cell<u64> = const { Cell::new(0) };
}

// A thread-local variable as compilers make them, found through FS.
global_asm!(
    ".section .tbss.guest_preempt, \"awT\", @nobits",
    ".balign 8",
    "guest_preempt_own: .zero 8",
    ".text",
);

fn set_own(number: u64) {
    OWN.set(number);
    // SAFETY: writes the thread's own variable.
    unsafe { asm!("mov qword ptr fs:[guest_preempt_own@tpoff], {}", in(reg) number, options(nostack)) };
}

/// What the thread has set last.
fn own() -> u64 {
    let number: u64;
    // SAFETY: reads the thread's own variable.
    unsafe {
        asm!("mov {}, qword ptr fs:[guest_preempt_own@tpoff]", out(reg) number, options(nostack, readonly))
    };
    assert_eq!(number, OWN.get());
    number
}

/// What intruders do where there is nothing in particular: a lock, some memory, a thread-local variable.
pub(crate) fn intrude() {
    set_own(own() + 1);
    let block = Box::new(black_box(1000));
    *SUM.lock().unwrap() += *block;
}

/// Suspends the main thread for a moment, whatever it does.
pub(crate) fn suspend() {
    let main = MAIN_THREAD.wait();
    main.suspend();
    intrude();
    main.resume();
}

/// The sum without what intruders have added.
pub(crate) fn sum(intrusions: u64) -> String {
    assert_eq!(SEEN.load(Relaxed), event::count(OWN_LINE));
    format!("sum {}", *SUM.lock().unwrap() - 1000 * intrusions)
}

const ROUNDS: u64 = 3;

/// From now on, turns have no end.
pub(crate) fn without_slices() {
    thread::set_time_slice(TimeSlice::UNLIMITED);
    // It counts from the next turn.
    thread::yield_now();
}

/// Three threads of one level take turns.
pub(crate) fn yields() {
    without_slices();
    take_turns();
}

/// The same, but turns may be over at any moment.
pub(crate) fn slices() {
    take_turns();
}

fn take_turns() {
    let others = [b'b', b'c'].map(|letter| spawn(MAIN, move || turns_of(letter)));
    call::null();
    turns_of(b'a');
    call::null();
    others.into_iter().for_each(|thread| thread.join().unwrap());
}

fn turns_of(letter: u8) {
    set_own(u64::from(letter));
    for round in 0..ROUNDS {
        assert_eq!(own(), u64::from(letter) + round);
        set_own(own() + 1);
        log::note(letter);
        thread::yield_now();
        no_event_waits();
    }
}

/// Who was preempted keeps its place, so the order is that without intruders.
pub(crate) fn order(intrusions: u64) -> String {
    assert_eq!(*SUM.lock().unwrap(), 1000 * intrusions);
    log::text()
}

/// How many turns each had.
pub(crate) fn turns(intrusions: u64) -> String {
    assert_eq!(*SUM.lock().unwrap(), 1000 * intrusions);
    let turns = |letter| log::text().bytes().filter(|it| *it == letter).count();
    format!("turns {:?}", b"abc".map(turns))
}

/// The line of [`resume`] itself, and how often it had come when its thread saw to it last.
const OWN_LINE: u32 = 7;
static SEEN: AtomicU64 = AtomicU64::new(0);

/// The test raises another line at first, so that a whole preemption and its resume can be interrupted.
pub(crate) fn resume() {
    let handler = |_| SEEN.store(event::count(OWN_LINE), Relaxed);
    let builder = thread::Builder::new().priority(Priority::new(40));
    builder.spawn_handler(&[OWN_LINE], handler).expect("the line is free");
    call::null();
    let mut sum = 0;
    for number in 1..=50 {
        sum += black_box(number);
        no_event_waits();
    }
    *SUM.lock().unwrap() += sum;
}

/// A thread whose priority is changed, and which is suspended and resumed, by the main thread and by itself.
pub(crate) fn priority() {
    let worker = spawn(MAIN - 1, || {
        for letter in b'a'..=b'd' {
            log::note(letter);
            thread::current().set_priority(Priority::new(MAIN - 1));
        }
    });
    let worker_thread = worker.thread();
    call::null();
    log::note(b'1');
    worker_thread.set_priority(Priority::new(MAIN + 1));
    log::note(b'2');
    worker_thread.suspend();
    worker_thread.set_priority(Priority::new(MAIN + 2));
    log::note(b'3');
    worker_thread.resume();
    log::note(b'4');
    thread::current().set_priority(Priority::new(MAIN - 2));
    log::note(b'5');
    call::null();
    worker.join().unwrap();
    thread::current().set_priority(Priority::new(MAIN));
}

/// Who becomes ready in a section without events runs when it is over.
pub(crate) fn without() {
    static WOKEN: Semaphore = Semaphore::new(0);
    const TIMES: usize = 3;
    let worker = spawn(MAIN + 1, || {
        for _ in 0..TIMES {
            WOKEN.acquire().forget();
            log::note(b'w');
        }
    });
    call::null();
    for _ in 0..TIMES {
        event::without(|| {
            WOKEN.release().unwrap();
            event::without(|| log::note(b'm'));
        });
        no_event_waits();
    }
    call::null();
    worker.join().unwrap();
}

/// Lines are masked for a time. What comes meanwhile comes later.
pub(crate) fn mask() {
    call::null();
    for number in 1..=4 {
        event::mask(8);
        *SUM.lock().unwrap() += number;
        event::mask(9);
        event::unmask(8);
        *SUM.lock().unwrap() += number;
        event::unmask(9);
    }
}

//! Time slices: turns among equals, and that nothing is timed where nobody shares.

use crate::trace::{compute, lengths, note};
use crate::{HIGH, LOW, SAME, ms, spawn};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use libvcpu::event::{self, Listener};
use libvcpu::prelude::*;
use libvcpu::sync::{Arc, Mutex, OnceLock};
use libvcpu::thread::{self, Builder, JoinHandle, Priority, Thread, TimeSlice};
use libvcpu::time::{Instant, set_timer};

/// The line of the scheduler's own timer.
const ALARM: u32 = 63;

/// A line of the scenarios.
const LINE: u32 = 3;

const fn slice(milliseconds: u64) -> TimeSlice {
    TimeSlice::from_nanoseconds(milliseconds * 1_000_000)
}

/// Threads that compute in turns, above main so that they share with nobody else. They begin at once.
fn computing(letters: &[(char, u64, Option<TimeSlice>)]) -> Vec<JoinHandle<()>> {
    let workers = letters.iter().map(|&(letter, milliseconds, own)| {
        let mut builder = Builder::new().priority(Priority::new(LOW));
        if let Some(own) = own {
            builder = builder.time_slice(own);
        }
        builder.spawn(move || compute(letter, milliseconds)).expect("there is memory for a thread")
    });
    workers.collect()
}

fn join_all(workers: impl IntoIterator<Item = JoinHandle<()>>) {
    for worker in workers {
        worker.join().expect("it only computes");
    }
}

/// Equals take turns of a slice, in a fixed order, until each is done.
pub(crate) fn turns() {
    join_all(computing(&[('a', 25, None), ('b', 25, None), ('c', 15, None)]));
    note('|');
    thread::set_time_slice(slice(2));
    join_all(computing(&[('a', 5, None), ('b', 5, None)]));
    println!("{}", lengths());
}

/// A thread's own slice goes before the system's, also if it is given later or taken away.
pub(crate) fn own_slices() {
    let workers = computing(&[('a', 24, Some(slice(3))), ('b', 44, None)]);
    let first = workers[0].thread().clone();
    // Each time in the middle of its turn: it counts from the next one.
    thread::sleep(ms(14));
    first.set_time_slice(Some(slice(5)));
    thread::sleep(ms(14));
    first.set_time_slice(None);
    join_all(workers);
    println!("{}", lengths());
}

/// Without limit, a thread keeps the processor until it gives it up; its equals' slices are as they were.
pub(crate) fn unlimited() {
    join_all(computing(&[('a', 15, None), ('b', 50, Some(TimeSlice::UNLIMITED)), ('c', 15, None)]));
    println!("{}", lengths());
}

/// Who was preempted keeps its place and the rest of its slice; whose slice ended goes to the tail.
pub(crate) fn rest_of_slice() {
    let preempting = spawn(HIGH, || {
        for _ in 0..2 {
            thread::sleep(ms(4));
            compute('h', 3);
        }
    });
    join_all(computing(&[('a', 15, None), ('b', 10, None)]));
    preempting.join().expect("it only computes");
    println!("{}", lengths());
}

/// How often the scheduler's timer came.
fn alarms() -> u64 {
    event::count(ALARM)
}

/// Nobody shares with a thread that computes alone: no timer fires, whatever less important ones wait.
pub(crate) fn lone() {
    let others = computing(&[('a', 1, None), ('b', 1, None)]);
    let before = alarms();
    compute('m', 100);
    let during = alarms() - before;
    join_all(others);
    // A timer that is set is not called back when sharing ends, so it may come once more. After that, none.
    compute('m', 20);
    let before = alarms();
    compute('m', 80);
    println!("{} {during} alarms, then {}", lengths(), alarms() - before);
}

/// The same with the real clock and code that makes no call.
pub(crate) fn lone_computing() {
    thread::set_time_slice(TimeSlice::from_nanoseconds(100_000));
    let other = spawn(LOW, || {});
    let before = alarms();
    let begin = Instant::now();
    // A thousand slices.
    while begin.elapsed() < ms(100) {
        core::hint::spin_loop();
    }
    println!("{} alarms", alarms() - before);
    other.join().expect("it does nothing");
}

/// `a` computes alone at first; at 3 ms, in whatever way, `b` comes to share its level. From then on they
/// take turns of 10 ms. Main, above them, looks on.
fn shared(b: JoinHandle<()>, a: JoinHandle<()>, begin: impl FnOnce(&Thread)) {
    thread::sleep(ms(3));
    begin(b.thread());
    let b_thread = b.thread().clone();
    join_all([a, b]);
    drop(b_thread);
    println!("{}", lengths());
}

fn a() -> JoinHandle<()> {
    spawn(LOW, || compute('a', 25))
}

/// Sharing begins with a new thread.
pub(crate) fn shared_by_spawn() {
    let a = a();
    thread::sleep(ms(3));
    join_all([spawn(LOW, || compute('b', 15)), a]);
    println!("{}", lengths());
}

/// ... with one that is resumed.
pub(crate) fn shared_by_resume() {
    let builder = Builder::new().suspended().priority(Priority::new(LOW));
    let b = builder.spawn(|| compute('b', 15)).expect("there is memory for a thread");
    shared(b, a(), Thread::resume);
}

/// ... with one that is unparked.
pub(crate) fn shared_by_unpark() {
    let b = spawn(LOW, || {
        thread::park();
        compute('b', 15);
    });
    shared(b, a(), Thread::unpark);
}

/// ... with one whose sleep ends.
pub(crate) fn shared_by_sleep() {
    let b = spawn(LOW, || {
        thread::sleep(ms(3));
        compute('b', 15);
    });
    join_all([a(), b]);
    println!("{}", lengths());
}

/// ... with one that an event line wakes.
pub(crate) fn shared_by_line() {
    let mut listener = Listener::bind(&[LINE]).expect("the line is free");
    let b = spawn(LOW, move || {
        listener.wait(None).expect("there is no deadline");
        compute('b', 15);
    });
    set_timer(LINE, Some(Instant::now() + ms(3)));
    join_all([a(), b]);
    println!("{}", lengths());
}

/// ... with one that is raised to the level.
pub(crate) fn shared_by_raise() {
    let b = spawn(LOW - 1, || compute('b', 15));
    shared(b, a(), |b| b.set_priority(Priority::new(LOW)));
}

/// ... with the lowering of the running one to the level of another.
pub(crate) fn shared_by_lowering() {
    let b = spawn(LOW - 1, || compute('b', 15));
    let a = a();
    let a_thread = a.thread().clone();
    shared(b, a, move |_| a_thread.set_priority(Priority::new(LOW - 1)));
}

/// ... with the end of a more important one, behind which two wait.
pub(crate) fn shared_by_end() {
    let above = spawn(LOW + 1, || compute('x', 3));
    join_all([a(), spawn(LOW, || compute('b', 15)), above]);
    println!("{}", lengths());
}

/// ... with one that inherits the level, because somebody there waits for its mutex.
pub(crate) fn shared_by_inheritance() {
    let mutex = Arc::new(Mutex::new(()));
    let own = Arc::clone(&mutex);
    let b = spawn(LOW - 1, move || {
        let guard = own.lock().expect("it is not poisoned");
        compute('b', 15);
        drop(guard);
    });
    // It takes the mutex.
    thread::sleep(ms(1));
    let waits = spawn(LOW, move || {
        thread::sleep(ms(3));
        drop(mutex.lock().expect("it is not poisoned"));
        note('w');
    });
    join_all([a(), b, waits]);
    println!("{}", lengths());
}

/// Threads that compute without any call take turns as well, by the real clock. Each waits for the others
/// in a loop, so nothing would end without turns.
pub(crate) fn turns_computing() {
    const ROUNDS: u64 = 20;
    static STEPS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
    thread::set_time_slice(TimeSlice::from_nanoseconds(200_000));
    let before = alarms();
    let workers = [0, 1, 2].map(|own: usize| {
        spawn(SAME, move || {
            for step in 1..=ROUNDS {
                STEPS[own].store(step, Relaxed);
                while STEPS.iter().any(|other| other.load(Relaxed) < step) {
                    core::hint::spin_loop();
                }
            }
        })
    });
    join_all(workers);
    println!("took turns: {}", alarms() - before >= ROUNDS);
}

/// Everybody waits: for a line, for a time far away, for each other. The host looks at the processor time.
pub(crate) fn idle() {
    static GO: AtomicBool = AtomicBool::new(false);
    static MAIN: OnceLock<Thread> = OnceLock::new();
    MAIN.set(thread::current()).expect("it was not set");
    let mut listener = Listener::bind(&[LINE]).expect("the line is free");
    spawn(HIGH, move || {
        listener.wait(None).expect("there is no deadline");
        GO.store(true, Relaxed);
        MAIN.get().expect("it is set").unpark();
    });
    for level in [LOW, SAME, HIGH] {
        spawn(level, || thread::sleep(ms(3_600_000)));
    }
    println!("ready");
    thread::park();
    println!("woken {}", GO.load(Relaxed));
}

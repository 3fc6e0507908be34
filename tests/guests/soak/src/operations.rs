//! What a thread does: one operation after another, chosen at random.

use crate::random::Random;
use crate::{STOP, THREADS, WORKERS, ensure, fail, shared, spawn, unpoisoned};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::thread::{self, Thread};
use libvcpu::time::Instant;

/// Gives whether it succeeded; it need not, where it had a deadline.
type Operation = fn(&mut Random) -> bool;

/// Operations, and how often each is done in comparison.
const OPERATIONS: [(&str, Operation, u64); 20] = [
    ("transfer", shared::transfer, 20),
    ("read", shared::read, 10),
    ("write", shared::write, 5),
    ("permit", shared::permit, 10),
    ("send", shared::send, 10),
    ("receive", shared::receive, 10),
    ("put", shared::put, 3),
    ("take", shared::take, 8),
    ("set event", shared::set_event, 6),
    ("wait event", shared::wait_event, 6),
    ("meet", shared::meet, 4),
    ("sleep", sleep, 20),
    ("yield", yield_now, 10),
    ("set priority", set_priority, 5),
    ("park", park, 8),
    ("unpark", unpark, 8),
    ("idle", idle, 8),
    ("suspend", suspend, 4),
    ("spawn", spawn_and_join, 2),
    ("allocate", allocate, 20),
];

/// How often each was tried and has succeeded.
static COUNTS: [[AtomicU64; 2]; OPERATIONS.len()] =
    [const { [const { AtomicU64::new(0) }; 2] }; OPERATIONS.len()];

/// What others may know of a worker.
struct Progress {
    /// It holds nothing and does nothing but count.
    is_idle: AtomicBool,
    count: AtomicU64,
    /// Somebody has suspended it.
    is_suspended: AtomicBool,
}

static PROGRESS: [Progress; WORKERS] = [const {
    Progress {
        is_idle: AtomicBool::new(false),
        count: AtomicU64::new(0),
        is_suspended: AtomicBool::new(false),
    }
}; WORKERS];

/// Does one thing, and looks at what must hold after anything.
pub(crate) fn perform(number: usize, random: &mut Random) {
    let total = OPERATIONS.iter().map(|(_, _, weight)| weight).sum();
    let mut ticket = random.below(total);
    let mut chosen = 0;
    while ticket >= OPERATIONS[chosen].2 {
        ticket -= OPERATIONS[chosen].2;
        chosen += 1;
    }
    let (name, operation, _) = OPERATIONS[chosen];
    COUNTS[chosen][0].fetch_add(1, Relaxed);
    let succeeded = if name == "idle" { idle_as(number, random) } else { operation(random) };
    COUNTS[chosen][1].fetch_add(u64::from(succeeded), Relaxed);
    if random.once_in(50) {
        // Who holds nothing inherits nothing.
        let own = thread::current().statistics();
        ensure(own.priority == own.effective_priority, "a thread keeps what it inherited");
    }
}

/// Says how often each was done.
pub(crate) fn say() {
    for ((name, _, _), counts) in OPERATIONS.iter().zip(&COUNTS) {
        let [tried, succeeded] = [&counts[0], &counts[1]].map(|count| count.load(Relaxed));
        println!("{name}: {succeeded} of {tried}");
        ensure(succeeded > 0, "an operation never succeeded");
    }
}

/// Any worker, and its number.
fn any(random: &mut Random) -> (usize, Thread) {
    let number = random.below(WORKERS as u64) as usize;
    (number, unpoisoned(THREADS.read())[number].clone())
}

fn sleep(random: &mut Random) -> bool {
    let (begin, time) = (Instant::now(), random.time(3000));
    thread::sleep(time);
    ensure(begin.elapsed() >= time, "a sleep was too short");
    true
}

fn yield_now(_: &mut Random) -> bool {
    thread::yield_now();
    true
}

fn set_priority(random: &mut Random) -> bool {
    thread::current().set_priority(random.priority());
    true
}

fn park(random: &mut Random) -> bool {
    let (begin, time) = (Instant::now(), random.time(1000));
    thread::park_timeout(time);
    // Whether somebody came first.
    begin.elapsed() < time
}

fn unpark(random: &mut Random) -> bool {
    any(random).1.unpark();
    true
}

/// Stands for `idle_as` in the table.
fn idle(_: &mut Random) -> bool {
    fail("it needs a number")
}

/// Holds nothing for a while, and counts. Meanwhile it may be suspended.
fn idle_as(number: usize, random: &mut Random) -> bool {
    let own = &PROGRESS[number];
    own.is_idle.store(true, Relaxed);
    for _ in 0..random.below(20) {
        own.count.fetch_add(1, Relaxed);
        match random.below(8) {
            0 => thread::yield_now(),
            1 => thread::sleep(random.time(200)),
            _ => (0..random.below(300)).for_each(|_| core::hint::spin_loop()),
        }
    }
    own.is_idle.store(false, Relaxed);
    true
}

/// Suspends a thread that holds nothing; that does not get on until it is resumed.
fn suspend(random: &mut Random) -> bool {
    // A few tries, since few are idle.
    for _ in 0..10 {
        let (number, thread) = any(random);
        let progress = &PROGRESS[number];
        let is_self = thread.id() == thread::current().id();
        if is_self || !progress.is_idle.load(Relaxed) || progress.is_suspended.swap(true, Relaxed) {
            continue;
        }
        thread.suspend();
        let is_idle = progress.is_idle.load(Relaxed);
        if is_idle {
            let before = progress.count.load(Relaxed);
            thread::sleep(random.time(500));
            ensure(progress.count.load(Relaxed) == before, "a suspended thread has run");
            ensure(progress.is_idle.load(Relaxed), "a suspended thread has run");
        }
        thread.resume();
        progress.is_suspended.store(false, Relaxed);
        return is_idle;
    }
    false
}

/// A thread that lives shortly, of any priority; its result comes back, or it is detached.
fn spawn_and_join(random: &mut Random) -> bool {
    if STOP.load(Relaxed) {
        return true;
    }
    let seed = random.next();
    let child = spawn(format!("child {seed:x}"), random.priority(), move || {
        let mut random = Random::new(seed, 0);
        allocate(&mut random);
        random.next()
    });
    let mut expected = Random::new(seed, 0);
    expected_after_allocate(&mut expected);
    ensure(child.join().ok() == Some(expected.next()), "a thread gave another result than it should");
    true
}

/// Blocks of different sizes keep their content while others run.
fn allocate(random: &mut Random) -> bool {
    let (sizes, bytes) = expected_after_allocate(random);
    let blocks: Vec<Vec<u8>> = sizes.iter().map(|size| vec![bytes; *size]).collect();
    thread::yield_now();
    let is_well = |block: &Vec<u8>| block.iter().all(|byte| *byte == bytes);
    ensure(blocks.iter().all(is_well), "a block has lost its content");
    true
}

/// The sizes that `allocate` takes, and what it fills them with.
fn expected_after_allocate(random: &mut Random) -> ([usize; 4], u8) {
    let sizes = [random.below(100), random.below(1000), random.below(4000), random.below(16_000)];
    (sizes.map(|size| size as usize), random.next() as u8)
}

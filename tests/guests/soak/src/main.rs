//! Two hundred threads of random priorities do whatever there is to do, at random, until the time is over.
//! Each structure that they share has an invariant, which is checked all the while and at the end; and
//! in the end heap and number of threads are as they were.
//!
//! `guest-soak SEED SECONDS [--broken]`: with `--broken` one lock is left out, which must be noticed.

#![no_std]
#![no_main]

mod operations;
mod random;
mod shared;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::sync::{Events, LockResult, RwLock};
use libvcpu::thread::{self, Builder, JoinHandle, Priority, Thread, TimeSlice};
use libvcpu::time::{Duration, Instant};
use libvcpu::{env, heap, process};
use random::Random;

entry!(main, memory: 256 << 20);

/// Threads that do things.
const WORKERS: usize = 200;

/// Nobody begins another operation.
static STOP: AtomicBool = AtomicBool::new(false);

/// What reports begin with.
static SEED: AtomicU64 = AtomicU64::new(0);

/// One of the locks is left out.
static BROKEN: AtomicBool = AtomicBool::new(false);

/// The workers, by number.
static THREADS: RwLock<Vec<Thread>> = RwLock::new(Vec::new());

fn main() {
    let mut arguments = env::args().skip(1);
    let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok());
    let (Some(seed), Some(seconds)) = (number(), number()) else { fail("give a seed and seconds") };
    SEED.store(seed, Relaxed);
    BROKEN.store(arguments.next().as_deref() == Some("--broken"), Relaxed);
    println!("seed {seed}, {seconds} s");
    // More important than all others, it changes their priorities and ends it all.
    thread::current().set_priority(Priority::MOST);
    thread::set_time_slice(TimeSlice::from_nanoseconds(500_000));
    prepare();
    shared::START.clear(shared::BEGIN);

    let threads = thread::all().len();
    let used = heap::statistics().used;
    let workers: Vec<JoinHandle<u64>> = (0..WORKERS).map(|number| worker(seed, number)).collect();
    *unpoisoned(THREADS.write()) = workers.iter().map(|worker| worker.thread().clone()).collect();
    shared::START.set(shared::BEGIN);

    let mut random = Random::new(seed, WORKERS as u64);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
        for _ in 0..20 {
            workers[random.below(WORKERS as u64) as usize].thread().set_priority(random.priority());
        }
        shared::check();
    }
    STOP.store(true, Relaxed);

    let mut operations = 0;
    let mut least = u64::MAX;
    for worker in workers {
        match worker.join() {
            Ok(count) => (operations, least) = (operations + count, least.min(count)),
            Err(error) => fail(error.downcast_ref::<String>().map_or("?", |text| text)),
        }
    }
    shared::check_end();
    ensure(least > 0, "a thread did nothing");
    println!("{operations} operations of {WORKERS} threads, at least {least} of each");
    operations::say();
    drop(core::mem::take(&mut *unpoisoned(THREADS.write())));
    let threads = thread::all().len() as i64 - threads as i64;
    println!("left over: {threads} threads, {} bytes", heap::statistics().used as i64 - used as i64);
}

/// Says what is wrong, and ends.
fn fail(what: &str) -> ! {
    println!("seed {}: {what}", SEED.load(Relaxed));
    process::exit(1)
}

/// Fails unless something holds.
fn ensure(holds: bool, what: &str) {
    if !holds {
        fail(what);
    }
}

/// What a lock guards. Nobody dies, so none is poisoned.
fn unpoisoned<G>(result: LockResult<G>) -> G {
    result.unwrap_or_else(|_| fail("a lock is poisoned, and nobody died"))
}

/// Uses everything once, by as many threads as there may ever be: from then on, what the kernel keeps for
/// later is there.
fn prepare() {
    let threads: Vec<_> = (0..2 * WORKERS)
        .map(|number| spawn(format!("first {number}"), Priority::NORMAL, shared::touch))
        .collect();
    for thread in threads {
        thread.join().unwrap_or_else(|_| fail("a thread died before it began"));
    }
}

fn spawn<T: Send + 'static>(
    name: String,
    priority: Priority,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let spawned = Builder::new().name(name).priority(priority).stack_size(16 << 10).spawn(work);
    spawned.unwrap_or_else(|error| fail(&format!("{error}")))
}

fn worker(seed: u64, number: usize) -> JoinHandle<u64> {
    let mut random = Random::new(seed, number as u64);
    let priority = random.priority();
    spawn(format!("worker {number}"), priority, move || {
        shared::START.wait(Events::any(shared::BEGIN));
        let mut count = 0;
        while !STOP.load(Relaxed) {
            operations::perform(number, &mut random);
            count += 1;
        }
        count
    })
}

//! How late events are: from their source to the first instruction of the thread that takes them.
//!
//! The thread that takes them is the main thread, which is the most important. Who is interrupted is the least
//! important. All times are of the time-stamp counter, which the host reads as well.

use core::fmt::Write;
use core::hint::{black_box, spin_loop};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use libvcpu::event::Listener;
use libvcpu::prelude::*;
use libvcpu::thread::{self, Builder, JoinHandle, Priority};
use libvcpu::time::Duration;
use libvcpu::{call, clock};

/// The line on which events come; any but line 0, the console's.
pub(crate) const LINE: u32 = 4;

/// The most threads that compute, whose stacks all have to fit into memory.
pub(crate) const THREADS_MAX: usize = 2000;

/// The least and the most time from asking for a timer's event to its deadline, in ns.
const DISTANCE: [u64; 2] = [200_000, 1_000_000];

/// When somebody raises the line and the guest begins to wait for it, in ticks of the time-stamp counter.
pub(crate) struct Schedule {
    /// The line is raised at this moment,
    pub(crate) first: u64,
    /// and then again each time that has passed.
    pub(crate) period: u64,
    /// The guest begins to wait at least so long before,
    pub(crate) least: u64,
    /// and at most so long.
    pub(crate) most: u64,
}

/// Prints by how many ns each of `count` timers was late, while one thread and `more` others compute.
pub(crate) fn timer(count: usize, more: usize, seed: u64) {
    let mut listener = listen();
    compute(1 + more);
    let mut random = Random(seed);
    let late = samples(count, || {
        let deadline = clock::now() + random.between(DISTANCE);
        call::timer_set(LINE, Some(deadline)).expect("the line exists");
        listener.wait(None).expect("there is no deadline");
        clock::now().saturating_sub(deadline)
    });
    tell(&late);
}

/// Prints when each of `count` events was taken that somebody raised, while so many threads compute. If none
/// does, the guest waits from one event to the next.
pub(crate) fn raise(count: usize, threads: usize) {
    let mut listener = listen();
    compute(threads);
    tell(&samples(count, || take(&mut listener)));
}

/// As [`raise`], but the guest only begins to wait shortly before.
pub(crate) fn wait(count: usize, schedule: &Schedule) {
    let mut listener = listen();
    let mut random = Random(schedule.first);
    let taken = samples(count, || {
        let due = schedule.next(clock::counter());
        let begin = due - random.between([schedule.least, schedule.most]);
        while clock::counter() < begin {
            spin_loop();
        }
        take(&mut listener)
    });
    tell(&taken);
}

impl Schedule {
    /// The next moment at which the line is raised and for which there is time to begin to wait.
    fn next(&self, now: u64) -> u64 {
        let ahead = (now + self.most).saturating_sub(self.first);
        self.first + ahead.div_ceil(self.period) * self.period
    }
}

/// Makes this thread the one that takes events.
fn listen() -> Listener {
    thread::current().set_priority(Priority::MOST);
    Listener::bind(&[LINE]).expect("the line is free")
}

/// Has so many threads compute as long as the guest lives. Each of them was interrupted once before all begin:
/// the first time touches memory that nobody had touched.
fn compute(threads: usize) {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let compute = || {
        STARTED.fetch_add(1, Relaxed);
        let mut value = 0u64;
        loop {
            value = black_box(value.wrapping_mul(3) + 1);
        }
    };
    let interrupted = |before| {
        let builder = Builder::new().stack_size(thread::MINIMUM_STACK).priority(Priority::LEAST);
        let thread = builder.spawn(compute).expect("there is memory for all threads");
        while STARTED.load(Relaxed) == before {
            thread::sleep(Duration::from_micros(20));
        }
        thread.thread().suspend();
        thread
    };
    let threads: Vec<JoinHandle<()>> = (0..threads).map(interrupted).collect();
    for thread in threads {
        thread.thread().resume();
    }
}

/// Waits for an event. Gives when it was taken.
fn take(listener: &mut Listener) -> u64 {
    listener.wait(None).expect("there is no deadline");
    clock::counter()
}

fn samples(count: usize, mut sample: impl FnMut() -> u64) -> Vec<u64> {
    let mut samples = Vec::with_capacity(count);
    samples.extend((0..count).map(|_| sample()));
    samples
}

fn tell(samples: &[u64]) {
    let mut lines = String::new();
    for sample in samples {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{sample}");
    }
    print!("{lines}");
}

/// Numbers by the method xorshift; the seed is not 0.
struct Random(u64);

impl Random {
    /// A number from the first of these up to the second.
    fn between(&mut self, [least, most]: [u64; 2]) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        least + self.0 % (most - least + 1)
    }
}

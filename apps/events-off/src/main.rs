//! Finds the longest time for which the kernel turns events off, for `vcpu bench`.
//!
//! Two hundred threads do everything that a kernel is for, at random. `events-off cycles` prints, for each
//! pair of places where events went off and on again, `FROM TO COUNT MOST MAX`: how often, the cycles
//! that all but one in a hundred do not exceed, and the most. `events-off steps` works until it is ended: the
//! host looks at each instruction. It says when all threads are there by a line, `working`.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::thread::{self, JoinHandle, Priority};
use libvcpu::time::Duration;
use vcpu_kernel::stretch::{self, Stretch};

mod work;

entry!(main);

const THREADS: u64 = 200;

/// How many stretches are noted: some seconds' worth.
const STRETCHES: usize = 2_000_000;

static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> u8 {
    match libvcpu::env::args().nth(1).as_deref() {
        Some("cycles") => cycles(),
        Some("steps") => {
            let threads = begin();
            println!("working");
            for thread in threads {
                thread.join().expect("workers do not die");
            }
        }
        _ => {
            eprintln!("events-off: expected cycles or steps");
            return 2;
        }
    }
    0
}

fn begin() -> Vec<JoinHandle<()>> {
    thread::current().set_priority(Priority::new(60));
    let worker = |number| {
        let builder = thread::Builder::new().stack_size(16 << 10).priority(work::priority(number));
        builder.spawn(move || work::at_random(number, &STOP)).expect("there is memory for all threads")
    };
    (0..THREADS).map(worker).collect()
}

fn cycles() {
    // Written once now, so that no page fault falls into a stretch.
    let buffer = vec![Stretch { cycles: 1, ..Stretch::default() }; STRETCHES].leak();
    stretch::start(buffer);
    let threads = begin();
    while stretch::noted() < STRETCHES {
        thread::sleep(Duration::from_millis(5));
    }
    STOP.store(true, Relaxed);
    for thread in threads {
        thread.join().expect("workers do not die");
    }
    let mut stretches: Vec<Stretch> = stretch::stop().collect();
    stretches.sort_unstable();
    for place in stretches.chunk_by(|one, other| (one.from, one.to) == (other.from, other.to)) {
        let Stretch { from, to, cycles } = place[place.len() - 1];
        let most = place[place.len() - 1 - place.len() / 100].cycles;
        println!("{from:x} {to:x} {} {most} {cycles}", place.len());
    }
}

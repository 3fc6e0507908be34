//! A ring of threads that pass a token: how many threads there can be, and what it costs to go from one to
//! the next.
//!
//! `ring [ROUNDS [THREADS]]` starts so many threads (default 10,000) with small stacks, each of which waits
//! until the one before wakes it, and wakes the next; the token goes round so often (default 10). It prints
//! time and cycles of the time-stamp counter per hop. A hop is two operations of the kernel and a switch, and
//! costs the kernel the same however many threads there are; but the processor's caches hold the stacks of a
//! few hundred only. Compare with `ring 1000 100`.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::clock;
use libvcpu::prelude::*;
use libvcpu::sync::OnceLock;
use libvcpu::thread::{self, Builder, JoinHandle, MINIMUM_STACK, SpawnError, Thread};
use libvcpu::time::Instant;

// For each thread 8 KiB of stack, a guard page, and a page for its extended registers. What is not touched
// costs the host nothing.
entry!(main, memory: 512 << 20);

/// The threads in their order.
static RING: OnceLock<Vec<Thread>> = OnceLock::new();

/// The hops that the token has made.
static TOKEN: AtomicU64 = AtomicU64::new(0);

fn main() -> Result<u8, SpawnError> {
    let Some((rounds, count)) = arguments() else {
        eprintln!("ring: expected [ROUNDS [THREADS]], numbers from 1");
        return Ok(2);
    };

    let begin = Instant::now();
    let member = |index| {
        let next = (index + 1) % count;
        Builder::new().stack_size(MINIMUM_STACK).spawn(move || pass(rounds, next))
    };
    let members = (0..count).map(member).collect::<Result<Vec<JoinHandle<()>>, SpawnError>>()?;
    let ring = RING.get_or_init(|| members.iter().map(|member| member.thread().clone()).collect());
    // All of them get the processor before this thread gets it back.
    thread::yield_now();
    eprintln!("{count} threads, started in {} µs", begin.elapsed().as_micros());

    let (begin, counter) = (Instant::now(), clock::counter());
    ring[0].unpark();
    // The one before the first has the token last.
    for member in members.into_iter().rev() {
        member.join().expect("it ends well");
    }
    let (time, cycles) = (begin.elapsed(), clock::counter() - counter);

    let hops = TOKEN.load(Relaxed);
    println!("{hops} hops between {count} threads");
    eprintln!("{} ns and {} cycles per hop", time.as_nanos() / u128::from(hops), cycles / hops);
    Ok(0)
}

/// A thread of the ring: waits for the token, and hands it on.
fn pass(rounds: u64, next: usize) {
    for _ in 0..rounds {
        thread::park();
        TOKEN.fetch_add(1, Relaxed);
        RING.get().expect("the token goes round when the ring is closed")[next].unpark();
    }
}

/// How often the token goes round, and how many threads there are.
fn arguments() -> Option<(u64, usize)> {
    let mut arguments = libvcpu::env::args().skip(1);
    let rounds = arguments.next().map_or(Some(10), |text| text.parse().ok()).filter(|rounds| *rounds > 0)?;
    let count = arguments.next().map_or(Some(10_000), |text| text.parse().ok()).filter(|count| *count > 0)?;
    arguments.next().is_none().then_some((rounds, count))
}

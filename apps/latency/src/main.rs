//! The event latency experiment: how long it takes from an event to the thread that handles it, and whether
//! threads that compute make it longer.
//!
//! A timer raises an event line each millisecond. An event handler thread of the highest priority is bound
//! to that line, and notes by how much it is later than the deadline. Meanwhile none, one, ten, and a
//! hundred other threads do nothing but compute. They must not matter: the upcall makes the handler thread
//! ready, and it is the most important, so it runs before the upcall returns, however many others could.
//!
//! ```text
//!   deadline ──▶ the machine's timer fires ──▶ upcall ──▶ handler thread
//!            the host: its timer, a signal,      └ the guest: `last_upcall`
//!            stopping and continuing the guest       to here
//! ```
//!
//! `latency [SAMPLES]` takes so many samples for each load (default 1,000), and prints minimum, median, 99th
//! percentile and maximum; what of the median is the guest's own part; and a histogram. Almost all is the
//! host's part, and its rare long delays are those of a machine that has something else to do.

#![no_std]
#![no_main]

mod histogram;

use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::sync::Channel;
use libvcpu::thread::{self, Builder, HandlerError, JoinHandle, Priority};
use libvcpu::time::{Duration, Instant, set_timer};
use libvcpu::{clock, event};

entry!(main);

/// The event line that the timer raises; any but line 0, the console's.
const LINE: u32 = 5;

const PERIOD: Duration = Duration::from_millis(1);

/// How many threads compute.
const LOADS: [usize; 4] = [0, 1, 10, 100];

/// The main thread collects samples, and must not wait for those that compute.
const COLLECTOR: Priority = Priority::new(60);

/// One event.
struct Sample {
    /// Nanoseconds from the deadline to the handler thread.
    total: u64,
    /// Cycles of the time-stamp counter from the upcall to the handler thread.
    guest: u64,
}

/// What the handler thread notes.
static SAMPLES: Channel<Sample, 64> = Channel::new();

/// Whether the load is to go on.
static COMPUTES: AtomicBool = AtomicBool::new(false);

fn main() -> Result<u8, HandlerError> {
    let mut arguments = libvcpu::env::args().skip(1);
    let wanted = arguments.next().map_or(Ok(1000), |text| text.parse::<usize>());
    let (Ok(wanted @ 1..), None) = (wanted, arguments.next()) else {
        eprintln!("latency: expected [SAMPLES], a number from 1");
        return Ok(2);
    };

    thread::current().set_priority(COLLECTOR);
    let mut deadline = Instant::now() + PERIOD;
    let handler = Builder::new().name("handler".to_owned()).priority(Priority::MOST);
    handler.spawn_handler(&[LINE], move |_lines| {
        let (counter, now) = (clock::counter(), Instant::now());
        let total = (now - deadline).as_nanos() as u64;
        // Between two loads nobody takes samples, and they are lost.
        let _ = SAMPLES.try_send(Sample { total, guest: counter - event::last_upcall() });
        deadline = now + PERIOD;
        set_timer(LINE, Some(deadline));
    })?;
    set_timer(LINE, Some(deadline));

    for load in LOADS {
        report(load, &measure(load, wanted));
    }
    Ok(0)
}

/// Takes samples while `load` threads compute.
fn measure(load: usize, wanted: usize) -> Vec<Sample> {
    COMPUTES.store(true, Relaxed);
    let compute = || {
        while COMPUTES.load(Relaxed) {
            spin_loop();
        }
    };
    let threads: Vec<JoinHandle<()>> = (0..load).map(|_| thread::spawn(compute)).collect();
    SAMPLES.try_iter().for_each(drop);
    let samples = SAMPLES.iter().take(wanted).collect();
    COMPUTES.store(false, Relaxed);
    for thread in threads {
        thread.join().expect("it ends well");
    }
    samples
}

fn report(load: usize, samples: &[Sample]) {
    let sorted = |value: fn(&Sample) -> u64| {
        let mut values: Vec<u64> = samples.iter().map(value).collect();
        values.sort_unstable();
        values
    };
    let (total, guest) = (sorted(|sample| sample.total), sorted(|sample| sample.guest));
    let share = |part: usize| total[(total.len() - 1) * part / 100] as f64 / 1000.0;
    println!(
        "{load} threads compute: min {:.1} µs, median {:.1} µs, p99 {:.1} µs, max {:.1} µs",
        share(0),
        share(50),
        share(99),
        share(100),
    );
    println!("the guest's part of the median: {} cycles", guest[guest.len() / 2]);
    print!("{}", histogram::draw(&total));
}

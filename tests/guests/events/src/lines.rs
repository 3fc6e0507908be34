//! Lines that the host raises.

use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use libvcpu::event;
use libvcpu::io::{Write, stdout};
use libvcpu::prelude::*;

/// The line that ends a scenario.
const STOP: u32 = 1;

/// The lines that are acknowledged.
const FIRST: u32 = 10;
const LINES: usize = 4;

static RAISED: [AtomicU64; LINES] = [const { AtomicU64::new(0) }; LINES];
static STOPPED: AtomicBool = AtomicBool::new(false);

fn raised<const INDEX: usize>() {
    RAISED[INDEX].fetch_add(1, Relaxed);
}

fn stop() {
    STOPPED.store(true, Relaxed);
}

/// Writes the letter of a line each time that its handler has run, computing and waiting in turns; in the
/// end, says how often each has run.
pub(crate) fn acknowledge() {
    event::set_handler(STOP, Some(stop));
    event::set_handler(FIRST, Some(raised::<0>));
    event::set_handler(FIRST + 1, Some(raised::<1>));
    event::set_handler(FIRST + 2, Some(raised::<2>));
    event::set_handler(FIRST + 3, Some(raised::<3>));
    println!("ready");
    let mut acknowledged = [0; LINES];
    let mut round = 1u32;
    while !STOPPED.load(Relaxed) {
        for (index, acknowledged) in acknowledged.iter_mut().enumerate() {
            while *acknowledged < RAISED[index].load(Relaxed) {
                *acknowledged += 1;
                stdout().write_all(&[b'a' + index as u8]).expect("somebody reads");
            }
        }
        // Computes for a while that differs from round to round, or not at all.
        round = round.wrapping_mul(1_103_515_245).wrapping_add(12345);
        for step in 0..round >> 12 & 0x3_ffff {
            black_box(step);
        }
        if round >> 28 & 1 == 0 {
            event::wait_until(None, || {
                let new = |(acknowledged, raised): (&u64, &AtomicU64)| *acknowledged < raised.load(Relaxed);
                STOPPED.load(Relaxed) || acknowledged.iter().zip(&RAISED).any(new)
            });
        }
    }
    println!("\n{:?}", RAISED.each_ref().map(|count| count.load(Relaxed)));
}

/// The same computation again and again, until the host raises the line that stops it.
pub(crate) fn compute_until_raised() {
    fn compute() -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut fraction = black_box(1.0f64);
        for step in 0..1000u64 {
            hash = (hash ^ black_box(step)).wrapping_mul(0x0100_0000_01b3);
            fraction = black_box(fraction * 1.25 + step as f64) / 3.0;
        }
        hash ^ fraction.to_bits()
    }
    let expected = compute();
    println!("ready");
    let mut wrong = 0;
    while !event::take(STOP) {
        wrong += u64::from(compute() != expected);
    }
    println!("{wrong} wrong results");
}

/// Nothing, until the host raises the line that stops it.
pub(crate) fn wait_until_raised() {
    println!("ready");
    event::wait_until(None, || event::take(STOP));
    println!("woken");
}

/// An event that comes while events are off is kept until they are on.
pub(crate) fn kept_for_later() {
    event::set_handler(STOP, Some(stop));
    event::disable();
    println!("ready");
    // The line is raised before the byte is written, so it has come when the byte is there.
    let mut byte = [0];
    while libvcpu::call::console_read(0, &mut byte) != Ok(1) {}
    let before = STOPPED.load(Relaxed);
    event::enable();
    println!("before {before}, after {}", STOPPED.load(Relaxed));
}

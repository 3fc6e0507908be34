//! Timer events that arrive while the program computes.
//!
//! `ticker [TICKS]` looks for prime numbers and never sleeps or asks for the time. A timer interrupts it
//! every 10 ms; after TICKS of these events (default 20) it stops and says how far it came.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::event;
use libvcpu::prelude::*;
use libvcpu::time::{Duration, Instant, set_timer};

entry!(main);

/// The event line that the timer raises; any but line 0, the console's.
const TIMER_LINE: u32 = 5;

const INTERVAL: Duration = Duration::from_millis(10);

/// Events so far. Handler and program share it, and the handler runs between any two instructions of
/// the program, so it is an atomic.
static TICKS: AtomicU64 = AtomicU64::new(0);

fn main() -> u8 {
    let mut arguments = libvcpu::env::args().skip(1);
    let wanted = arguments.next().map_or(Ok(20), |text| text.parse::<u64>());
    let (Ok(wanted), None) = (wanted, arguments.next()) else {
        eprintln!("ticker: expected [TICKS], the number of timer events to wait for");
        return 2;
    };

    event::set_handler(TIMER_LINE, Some(tick));
    set_timer(TIMER_LINE, Some(Instant::now() + INTERVAL));

    let mut primes = 0u64;
    let mut candidate = 2;
    while TICKS.load(Relaxed) < wanted {
        if is_prime(candidate) {
            primes += 1;
        }
        candidate += 1;
    }

    // No more events from here on: the number below is the number of events that came.
    set_timer(TIMER_LINE, None);
    event::set_handler(TIMER_LINE, None);
    println!("{} ticks while computing; found {primes} primes", TICKS.load(Relaxed));
    0
}

/// Handles an event: counts it and sets the timer anew, which fires only once.
fn tick() {
    TICKS.fetch_add(1, Relaxed);
    set_timer(TIMER_LINE, Some(Instant::now() + INTERVAL));
}

/// Whether a number of at least 2 is prime.
fn is_prime(number: u64) -> bool {
    (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}

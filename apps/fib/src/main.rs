//! Recursive Fibonacci: nothing but computing, to see what a virtual CPU costs a program that asks
//! nothing of its machine.
//!
//! `fib [N [REPEATS]]` prints the N-th Fibonacci number (default 35) and, for each repetition
//! (default 1), a line with the nanoseconds it took.

#![no_std]
#![no_main]

use core::hint::black_box;
use libvcpu::prelude::*;
use libvcpu::time::Instant;

entry!(main);

/// The largest number whose Fibonacci number fits into 64 bits.
const N_MAX: u64 = 93;

fn main() -> u8 {
    let Some((n, repeats)) = arguments() else {
        eprintln!("fib: expected [N [REPEATS]] with N up to {N_MAX} and REPEATS of 1 or more");
        return 2;
    };
    for repetition in 0..repeats {
        let start = Instant::now();
        let value = black_box(fib(black_box(n)));
        let time = start.elapsed();
        if repetition == 0 {
            println!("fib({n}) = {value}");
        }
        println!("time {}", time.as_nanos());
    }
    0
}

/// What to compute, and how often.
fn arguments() -> Option<(u64, u64)> {
    let mut arguments = libvcpu::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Some(default), |text| text.parse::<u64>().ok());
    let n = number(35).filter(|n| *n <= N_MAX)?;
    let repeats = number(1).filter(|repeats| *repeats > 0)?;
    arguments.next().is_none().then_some((n, repeats))
}

/// The `n`-th Fibonacci number.
fn fib(n: u64) -> u64 {
    if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
}

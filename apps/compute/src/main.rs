//! Computes, and asks nothing else of its machine, for `vcpu bench compute`.
//!
//! `compute WORD N GROUPS REPEATS` calls a function with N, GROUPS times REPEATS times. It prints the function's
//! name and where the data lies that it works on, for each group a line with the nanoseconds that each call took,
//! and what the last call gave. Each of these lines is one call to the machine, so whoever runs the guest can do
//! something else between groups:
//!
//! ```text
//! function walk data 0x2a0000
//! times 488621 470113
//! times 491330 480092
//! result 606208
//! ```
//!
//! | word | its subject |
//! |---|---|
//! | `fib` | [`fib`] |
//! | `memory` | [`memory`] |
//! | `vector` | [`vector`] |
//!
//! The benchmark takes the functions' machine code out of the image and runs it natively, so that both
//! sides execute the very same bytes. So each of them refers to nothing but itself and its arguments: it
//! has a name and a section of its own, and no constant in memory, and it never panics.

#![no_std]
#![no_main]

use core::hint::black_box;
use libvcpu::prelude::*;
use libvcpu::time::Instant;

mod fib;
mod memory;
mod vector;

// The data of `memory`, the kernel, and room.
entry!(main, memory: 128 << 20);

/// A function as the benchmark sees it: it takes a number and the data that it works on.
type Function = unsafe extern "C" fn(u64, *mut u64) -> u64;

/// What a word stands for.
struct Work {
    name: &'static str,
    function: Function,
    /// Bytes of its data.
    size: usize,
    /// Makes the data, of a number of its own.
    make: Option<(Function, u64)>,
}

/// Data begins at a page, as it does in the benchmark.
#[derive(Clone)]
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "functions have its address")] [u64; 512]);

fn main() -> u8 {
    let arguments: Vec<String> = libvcpu::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some((work, n, groups, repeats)) = parse(&arguments) else {
        eprintln!("compute: expected fib, memory or vector, N, and GROUPS and REPEATS of 1 or more");
        return 2;
    };
    measure(&work, n, groups, repeats);
    0
}

fn parse(arguments: &[&str]) -> Option<(Work, u64, usize, usize)> {
    let [word, n, groups, repeats] = arguments else { return None };
    let work = match *word {
        "fib" => fib::WORK,
        "memory" => memory::WORK,
        "vector" => vector::work(),
        _ => return None,
    };
    let count = |text: &str| text.parse().ok().filter(|count| *count > 0);
    Some((work, n.parse().ok()?, count(groups)?, count(repeats)?))
}

fn measure(work: &Work, n: u64, groups: usize, repeats: usize) {
    // Written now, so that no page fault falls into a measurement.
    let mut pages = vec![Page([0; 512]); work.size.div_ceil(size_of::<Page>())];
    let data = pages.as_mut_ptr().cast::<u64>();
    println!("function {} data {:#x}", work.name, data.addr());
    if let Some((make, number)) = work.make {
        // SAFETY: the function keeps to the data of its work, which is so large and ours alone.
        unsafe { make(number, data) };
    }
    let mut times = vec![0; repeats];
    let mut result = 0;
    for _ in 0..groups {
        for time in &mut times {
            let start = Instant::now();
            // SAFETY: as above.
            result = black_box(unsafe { (work.function)(black_box(n), data) });
            *time = start.elapsed().as_nanos();
        }
        let words: Vec<String> = times.iter().map(u128::to_string).collect();
        println!("times {}", words.join(" "));
    }
    println!("result {result}");
}

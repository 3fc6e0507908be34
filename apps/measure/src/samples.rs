//! Samples in cycles of the time-stamp counter, and how they are told: `NAME VALUE`, one a line.

use core::fmt::Write;
use core::hint::black_box;
use libvcpu::clock;
use libvcpu::prelude::*;

/// Samples that are taken and not kept: until caches and predictors are warm.
const WARM_UP: usize = 20;

/// What `batch`, which does `operations` at a time, takes for each, so often. The loop itself is
/// subtracted if there is one: a batch that calls [`repeat`] says so by `loops`.
pub(crate) fn sample(count: usize, operations: u64, loops: u64, mut batch: impl FnMut()) -> Vec<f64> {
    let empty = median(measure(count, || repeat(loops, || {}))) as f64;
    let each = |cycles: u64| (cycles as f64 - empty).max(0.0) / operations as f64;
    measure(count, &mut batch).into_iter().map(each).collect()
}

/// Repeats `operation`, as loops that are measured do.
#[inline(always)]
pub(crate) fn repeat(times: u64, mut operation: impl FnMut()) {
    for turn in 0..times {
        // The loop is to stay one.
        black_box(turn);
        operation();
    }
}

fn measure(count: usize, mut batch: impl FnMut()) -> Vec<u64> {
    let mut samples = Vec::with_capacity(count);
    for turn in 0..WARM_UP + count {
        let begin = clock::counter();
        batch();
        let cycles = clock::counter() - begin;
        if turn >= WARM_UP {
            samples.push(cycles);
        }
    }
    samples
}

fn median(mut samples: Vec<u64>) -> u64 {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

/// Prints samples.
pub(crate) fn tell(name: &str, samples: &[f64]) {
    let mut lines = String::new();
    for sample in samples {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{name} {sample:.2}");
    }
    print!("{lines}");
}

//! Bound by memory: a walk along a chain of cache lines that goes through all of an array in no order.
//!
//! The array is larger than caches are, and each step needs what the one before has loaded. Nearly every
//! step misses the caches and the translation buffers, so that page tables are walked as well.

use super::Work;

/// 64 MiB.
const SIZE: usize = 64 << 20;
/// Words of a cache line.
const LINE: usize = 8;
const LINES: u64 = (SIZE / (LINE * size_of::<u64>())) as u64;

pub(super) const WORK: Work = Work { name: "walk", function: walk, size: SIZE, make: Some((chain, LINES)) };

/// Writes the chain: each line's first word is the number of its successor. `lines` is a power of two.
///
/// The successors are a linear congruential sequence of full period (the factor is one more than a
/// multiple of four, the addend is odd), so the chain comes by every line before it comes back.
///
/// # Safety
///
/// There are so many lines at `data`, and they are the caller's alone.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.chain")]
#[inline(never)]
unsafe extern "C" fn chain(lines: u64, data: *mut u64) -> u64 {
    const FACTOR: u64 = 1_664_525;
    const ADDEND: u64 = 1_013_904_223;
    let mut line = 0;
    while line < lines {
        let next = line.wrapping_mul(FACTOR).wrapping_add(ADDEND) & lines.wrapping_sub(1);
        // SAFETY: the line is one of them. Volatile, so that no constants for vectors are needed.
        unsafe { data.wrapping_add(LINE * line as usize).write_volatile(next) };
        line = line.wrapping_add(1);
    }
    lines
}

/// Goes so many steps from where the last walk has ended, and gives the line where this one ends.
///
/// # Safety
///
/// At `data` lies what `chain` has made, and it is the caller's alone.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.walk")]
#[inline(never)]
unsafe extern "C" fn walk(steps: u64, data: *mut u64) -> u64 {
    // The second word of the first line remembers it.
    let end = data.wrapping_add(1);
    // SAFETY: it is a word of the data.
    let mut line = unsafe { end.read() };
    let mut step = 0;
    while step < steps {
        // SAFETY: the chain leads from line to line.
        line = unsafe { data.wrapping_add(LINE.wrapping_mul(line as usize)).read() };
        step = step.wrapping_add(1);
    }
    // SAFETY: as above.
    unsafe { end.write(line) };
    line
}

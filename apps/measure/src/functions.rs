//! What `memcpy`, `memset` and `strlen` take, by size: the least of some batches of calls.
//!
//! The names of the samples are `FUNCTION.SIZE`, and `FUNCTION.SIZE.odd` where no address is a multiple of
//! anything. The benchmark does the same with its own C library's functions.

use crate::samples;
use core::ffi::{c_char, c_int, c_void};
use core::hint::black_box;
use libvcpu::prelude::*;

unsafe extern "C" {
    fn memcpy(to: *mut c_void, from: *const c_void, length: usize) -> *mut c_void;
    fn memset(to: *mut c_void, byte: c_int, length: usize) -> *mut c_void;
    fn strlen(string: *const c_char) -> usize;
}

/// The sizes, in bytes.
const SIZES: [usize; 9] = [16, 32, 64, 100, 256, 1 << 10, 4 << 10, 64 << 10, 1 << 20];
/// Bytes of one batch, about, so that a batch is far longer than reading the counter.
const BATCH: usize = 256 << 10;
/// Batches of which the least counts.
const BATCHES: usize = 30;
/// Where the blocks begin in their buffers, and what is added for the end of a name. The two are far from each other
/// within a page, or a processor would take a load for one of what was just stored.
const PLACES: [(usize, usize, &str); 2] = [(0, 2048, ""), (3, 2048 + 17, ".odd")];

pub(crate) fn measure() {
    let mut first = buffer();
    let mut second = buffer();
    for size in SIZES {
        for (to, from, end) in PLACES {
            // Where a page begins, so that neither side of the comparison has a better place.
            let to = first.as_mut_ptr().wrapping_add(first.as_ptr().align_offset(4096) + to);
            let from = second.as_mut_ptr().wrapping_add(second.as_ptr().align_offset(4096) + from);
            let calls = (BATCH / (size + 64)).max(4) as u64;
            let tell = |name: &str, operation: &mut dyn FnMut()| {
                let samples = samples::sample(BATCHES, calls, 0, operation);
                let least = samples.into_iter().fold(f64::INFINITY, f64::min);
                samples::tell(&format!("{name}.{size}{end}"), &[least]);
            };
            let copy = black_box(memcpy as unsafe extern "C" fn(_, _, _) -> _);
            tell("memcpy", &mut || {
                for _ in 0..calls {
                    // SAFETY: both blocks lie in their buffers.
                    black_box(unsafe { copy(to.cast(), from.cast_const().cast(), size) });
                }
            });
            let fill = black_box(memset as unsafe extern "C" fn(_, _, _) -> _);
            tell("memset", &mut || {
                for _ in 0..calls {
                    // SAFETY: the block lies in its buffer.
                    black_box(unsafe { fill(to.cast(), 1, size) });
                }
            });
            let length = black_box(strlen as unsafe extern "C" fn(_) -> _);
            // SAFETY: the byte behind the string lies in the buffer.
            unsafe { to.add(size).write(0) };
            tell("strlen", &mut || {
                for _ in 0..calls {
                    // SAFETY: the string lies in its buffer, and ends.
                    black_box(unsafe { length(to.cast_const().cast()) });
                }
            });
            // SAFETY: as above. The next string is longer.
            unsafe { to.add(size).write(1) };
        }
    }
}

/// Room for the largest block, wherever it begins, without a zero.
fn buffer() -> Vec<u8> {
    vec![1; SIZES[SIZES.len() - 1] + 8192]
}

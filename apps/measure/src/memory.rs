//! What the heap takes for a block, and a thread of the heap.

use crate::samples::{repeat, sample, tell};
use core::alloc::Layout;
use core::hint::black_box;
use libvcpu::alloc::alloc::{alloc, dealloc};
use libvcpu::prelude::*;
use libvcpu::{heap, thread};

/// Samples of a size.
const COUNT: usize = 200;
/// Blocks of a sample.
const BATCH: u64 = 500;
/// Sizes of blocks, in bytes.
const SIZES: [usize; 13] = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024];

/// Allocates and frees blocks of each size.
pub(crate) fn heap() {
    for size in SIZES {
        let layout = Layout::from_size_align(size, 8).expect("8 is a power of two");
        let turn = || {
            // SAFETY: the layout is not empty, and a block goes back once, with its layout.
            unsafe {
                let block = black_box(alloc(black_box(layout)));
                assert!(!block.is_null(), "there is memory for one block");
                dealloc(block, black_box(layout));
            }
        };
        tell(&format!("heap.{size}"), &sample(COUNT, BATCH, BATCH, || repeat(BATCH, turn)));
    }
}

/// Makes threads that wait to begin, and looks what the heap has less for each, beside stack, guard page
/// and the area for the extended state.
pub(crate) fn thread() {
    const THREADS: usize = 10_000;
    /// Guard page and extended state, of a page each.
    const BESIDE: usize = 2 * 4096;
    const STACK: usize = thread::MINIMUM_STACK;
    let mut handles = Vec::with_capacity(THREADS);
    let before = heap::statistics().used;
    for _ in 0..THREADS {
        let builder = thread::Builder::new().stack_size(STACK).suspended();
        handles.push(builder.spawn(|| {}).expect("there is memory for all threads"));
    }
    let used = heap::statistics().used - before;
    tell("thread", &[used as f64 / THREADS as f64 - (STACK + BESIDE) as f64]);
}

//! The heap: everybody's blocks are their own, and none is lost.

extern crate alloc;

use crate::no_event_waits;
use alloc::alloc::{alloc, dealloc};
use core::alloc::Layout;
use core::hint::black_box;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::{call, heap};

/// What was in use before the work began.
static USED: AtomicUsize = AtomicUsize::new(0);

/// A block with a number in its first and its last word.
struct Block {
    words: *mut usize,
    layout: Layout,
    number: usize,
}

impl Block {
    fn new(size: usize, number: usize) -> Block {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: sizes here are not zero.
        let words = black_box(unsafe { alloc(layout) }).cast::<usize>();
        assert!(!words.is_null());
        let block = Block { words, layout, number };
        for word in block.ends() {
            // SAFETY: the word lies in the block.
            unsafe { word.write(number) };
        }
        block
    }

    fn ends(&self) -> [*mut usize; 2] {
        // SAFETY: the block is as long as that.
        [self.words, unsafe { self.words.add(self.layout.size() / 8 - 1) }]
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        for word in self.ends() {
            // SAFETY: the word lies in the block, and `new` wrote it.
            assert_eq!(unsafe { word.read() }, self.number);
        }
        for word in self.ends() {
            // SAFETY: as above.
            unsafe { word.write(!0) };
        }
        // SAFETY: allocated with this layout, and nobody uses it any more.
        unsafe { dealloc(self.words.cast(), self.layout) };
    }
}

pub(crate) fn intrude() {
    let blocks = [24, 24, 100, 1000].map(|size| Block::new(size, 1000 + size));
    drop(blocks);
}

pub(crate) fn intrude_large() {
    let first = Block::new(40 << 10, 1);
    let second = Block::new(20 << 10, 2);
    drop(first);
    drop(second);
}

/// Small blocks of all kinds; the first of a size needs a new slab.
pub(crate) fn small() {
    const SIZES: [usize; 9] = [24, 8, 24, 100, 1000, 24, 200, 100, 24];
    intrude();
    note();
    call::null();
    let mut blocks = SIZES.map(|size| Some(Block::new(size, size)));
    for index in [3, 0, 8, 1] {
        blocks[index] = None;
        no_event_waits();
        blocks[index] = Some(Block::new(24, 9));
    }
    let mut list = Vec::new();
    for number in 0..20_usize {
        list.push(number);
    }
    assert_eq!(list.iter().sum::<usize>(), 190);
}

/// Large blocks, freed in another order.
pub(crate) fn large() {
    intrude_large();
    note();
    call::null();
    let first = Block::new(64 << 10, 1);
    let second = Block::new(24 << 10, 2);
    let third = Block::new(24 << 10, 3);
    drop(second);
    let fourth = Block::new(20 << 10, 4);
    drop(first);
    drop(third);
    drop(fourth);
}

fn note() {
    USED.store(heap::statistics().used, Relaxed);
}

pub(crate) fn result(_: u64) -> String {
    format!("{} bytes left", heap::statistics().used as isize - USED.load(Relaxed) as isize)
}

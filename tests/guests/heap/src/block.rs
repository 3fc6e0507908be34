//! A block of memory that knows what must be in it.

use core::alloc::Layout;
use core::ptr::NonNull;
use libvcpu::alloc::alloc;
use libvcpu::prelude::*;

/// A block whose bytes are made of a seed.
pub(crate) struct Block {
    memory: NonNull<u8>,
    layout: Layout,
    seed: usize,
}

impl Block {
    /// A block, filled; none if memory has run out.
    pub(crate) fn new(size: usize, align: usize, seed: usize) -> Option<Block> {
        let layout = Layout::from_size_align(size, align).expect("sizes and alignments here are valid");
        assert!(size > 0);
        // SAFETY: the size is not zero.
        let memory = NonNull::new(unsafe { alloc::alloc(layout) })?;
        assert!(memory.addr().get().is_multiple_of(align), "{memory:p} is not aligned to {align}");
        let mut block = Block { memory, layout, seed };
        block.fill(0);
        Some(block)
    }

    /// Changes the size, and looks whether the content came along. Gives whether there was memory for it.
    pub(crate) fn resize(&mut self, size: usize) -> bool {
        let old = self.layout.size();
        // SAFETY: the block is live and has this layout; the new size is valid.
        let Some(memory) = NonNull::new(unsafe { alloc::realloc(self.memory.as_ptr(), self.layout, size) })
        else {
            self.check(old);
            return false;
        };
        assert!(memory.addr().get().is_multiple_of(self.layout.align()));
        self.memory = memory;
        self.layout = Layout::from_size_align(size, self.layout.align()).expect("the size is valid");
        self.check(old.min(size));
        self.fill(old.min(size));
        true
    }

    /// Where the block lies.
    pub(crate) fn address(&self) -> usize {
        self.memory.addr().get()
    }

    /// How large it is.
    pub(crate) fn size(&self) -> usize {
        self.layout.size()
    }

    fn byte(&self, index: usize) -> u8 {
        (self.seed.wrapping_mul(31) + index.wrapping_mul(7) + index / 251) as u8
    }

    fn fill(&mut self, from: usize) {
        for index in from..self.layout.size() {
            let byte = self.byte(index);
            // SAFETY: inside the block.
            unsafe { self.memory.add(index).write(byte) };
        }
    }

    fn check(&self, length: usize) {
        for index in 0..length {
            // SAFETY: inside the block, which was filled.
            let found = unsafe { self.memory.add(index).read() };
            assert_eq!(found, self.byte(index), "byte {index} of {:?} at {:p}", self.layout, self.memory);
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.check(self.layout.size());
        // SAFETY: the block is live and has this layout.
        unsafe { alloc::dealloc(self.memory.as_ptr(), self.layout) };
    }
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }

    /// A size: mostly small, sometimes up to 20,000 bytes.
    pub(crate) fn size(&mut self) -> usize {
        let power = self.below(10);
        1 + self.below(16 << power.min(6)) + if power == 9 { self.below(19_000) } else { 0 }
    }

    /// An alignment: mostly small, sometimes up to a page.
    pub(crate) fn align(&mut self) -> usize {
        if self.below(4) == 0 { 1 << self.below(13) } else { 1 << self.below(4) }
    }
}

/// The difference of the heap's figures that must be none when everything was freed: bytes and blocks.
pub(crate) fn leaked(before: libvcpu::heap::Statistics) -> String {
    let after = libvcpu::heap::statistics();
    let sum = after.used + after.free + after.slabs_unused;
    assert_eq!(sum, after.total, "{after:?}");
    // Made after the figures were taken: the text is a block too.
    format!("leaked {} bytes, {} blocks", after.used - before.used, after.blocks - before.blocks)
}

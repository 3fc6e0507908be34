//! The `malloc` family.

use alloc::alloc::{alloc, dealloc};
use core::alloc::Layout;
use core::ptr::null_mut;

/// Bytes in front of a block, which hold its size and where its memory begins.
const HEADER: usize = 16;

fn allocate(size: usize, align: usize) -> *mut u8 {
    let align = align.max(HEADER);
    let Some(total) = size.checked_add(align) else { return null_mut() };
    let Ok(layout) = Layout::from_size_align(total, align) else { return null_mut() };
    // SAFETY: the layout is not empty; the header lies in front of the block, inside the memory.
    unsafe {
        let start = alloc(layout);
        if start.is_null() {
            return null_mut();
        }
        let block = start.add(align);
        block.cast::<usize>().sub(2).write(size);
        block.cast::<usize>().sub(1).write(align);
        block
    }
}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut u8 {
    allocate(size, HEADER)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut u8) {
    if block.is_null() {
        return;
    }
    // SAFETY: the caller's block is one of `allocate`.
    unsafe {
        let size = block.cast::<usize>().sub(2).read();
        let align = block.cast::<usize>().sub(1).read();
        dealloc(block.sub(align), Layout::from_size_align_unchecked(size + align, align));
    }
}

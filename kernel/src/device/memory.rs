//! The memory of rings and buffers, for `virtio-drivers`.
//!
//! RAM is one range, and devices know it by the guest's own addresses. So nothing is translated and nothing is
//! copied: what a thread gives to be read into is what the device writes.

use alloc::alloc::{alloc_zeroed, dealloc};
use core::alloc::Layout;
use core::ptr::NonNull;
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// RAM.
#[derive(Debug)]
pub(super) struct Memory;

fn layout(pages: usize) -> Option<Layout> {
    Layout::from_size_align(pages.checked_mul(PAGE_SIZE)?, PAGE_SIZE).ok().filter(|layout| layout.size() > 0)
}

// SAFETY: pages come from the heap, zeroed and aligned, and go back there; the addresses of RAM are valid for
// the machine, too, so that there is nothing to share.
unsafe impl Hal for Memory {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // SAFETY: the layout's size is not 0.
        let block = layout(pages).and_then(|layout| NonNull::new(unsafe { alloc_zeroed(layout) }));
        // The address 0 says that there is none.
        block.map_or((0, NonNull::dangling()), |block| (block.addr().get() as PhysAddr, block))
    }

    unsafe fn dma_dealloc(_address: PhysAddr, block: NonNull<u8>, pages: usize) -> i32 {
        if let Some(layout) = layout(pages) {
            // SAFETY: the caller gives a block of `dma_alloc` with its number of pages.
            unsafe { dealloc(block.as_ptr(), layout) };
        }
        0
    }

    unsafe fn mmio_phys_to_virt(_address: PhysAddr, _size: usize) -> NonNull<u8> {
        unreachable!("registers are reached by calls")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        buffer.addr().get() as PhysAddr
    }

    unsafe fn unshare(_address: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}

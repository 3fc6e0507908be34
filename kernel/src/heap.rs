//! Dynamic memory: all RAM behind the image belongs to one heap.

use crate::{event, machine};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};
use linked_list_allocator::Heap;
use spin::Mutex;

static HEAP: Mutex<Heap> = Mutex::new(Heap::empty());

/// The kernel's heap as Rust's global allocator; `entry!` installs it.
#[derive(Debug)]
pub struct KernelHeap;

/// Sizes of the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes in use.
    pub used: usize,
    /// Bytes not in use, perhaps in many pieces.
    pub free: usize,
}

/// The heap's sizes now.
pub fn statistics() -> Statistics {
    locked(|heap| Statistics { used: heap.used(), free: heap.free() })
}

/// Gives the heap the free RAM.
pub(crate) fn init() {
    let ram = machine::free_ram();
    // SAFETY: called once, at boot; the range is RAM that nothing else uses, mapped for as long as the
    // guest runs.
    locked(|heap| unsafe { heap.init(ram.start as *mut u8, (ram.end - ram.start) as usize) });
}

/// Runs `action` on the heap with events off, so that an event handler that allocates finds it free.
///
/// # Panics
///
/// If the heap is in use, which then was interrupted by an exception: a damaged heap, or an overflow of
/// the stack. To wait for it would be for ever.
fn locked<R>(action: impl FnOnce(&mut Heap) -> R) -> R {
    event::without(|| {
        action(&mut HEAP.try_lock().expect("an exception interrupted the heap, which is needed"))
    })
}

// SAFETY: blocks come from `Heap`, which keeps the contract; `HEAP` is used under its lock only.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        locked(|heap| heap.allocate_first_fit(layout)).map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller gives back a block of `alloc` with its layout.
            locked(|heap| unsafe { heap.deallocate(block, layout) });
        }
    }
}

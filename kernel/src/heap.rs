//! Dynamic memory: all RAM behind the image belongs to one heap.
//!
//! | part | its subject |
//! |---|---|
//! | `small` | blocks of up to 1,024 bytes: size classes, constant time, events off for a few instructions |
//! | `large` | everything else: a linked list of free pieces, searched under a mutex with events on |
//! | `accounts` | what is counted |
//! | `debug` | the option that finds wrong use |
//!
//! `small` gets its memory from `large` in slabs of 16 KiB, and gives empty slabs back.
//!
//! **With events off**, and so in an event handler, nobody can wait for the mutex. Small blocks are to be
//! had there while a slab has room; everything else only if no thread is just in the linked list, and
//! otherwise is refused as if memory had run out. Giving back always works.
//!
//! **Out of memory** is an error that the program sees: `Vec::try_reserve` gives it, `Box::new` panics. The
//! heap works on. A block needs one piece: [`largest_free`] tells what fragmentation has left, which may be
//! far less than [`Statistics::free`].
//!
//! **Stack overflow** does not damage the heap: whether there is stack enough is tried before anything is
//! changed.
//!
//! **Wrong use** is found if the guest's environment has `VCPU_HEAP_DEBUG=1`: blocks that are freed twice or
//! were never allocated, and writing outside of a block or after it was freed. The one who frees then
//! panics, with the address and size of the block. It costs time and memory: each block is checked when
//! it is freed, is not used again before 64 more were freed, and is 64 bytes larger. The figures of
//! [`statistics`] include that.

mod accounts;
mod debug;
mod large;
mod small;

use crate::event;
use crate::scheduler::EventsOff;
use crate::stack;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{NonNull, null_mut};
use vcpu_abi::layout::PAGE_SIZE;
use vcpu_kernel_core::size_class::SizeClass;

pub use accounts::{Statistics, statistics};
pub(crate) use accounts::{balance, take_balance};
pub use large::largest_free;
pub(crate) use large::{is_busy_with, share};

/// The kernel's heap as Rust's global allocator; `entry!` installs it.
#[derive(Debug)]
pub struct KernelHeap;

/// Gives the heap the free RAM.
pub(crate) fn init() {
    debug::init();
    large::init();
}

// SAFETY: blocks come from `small` and `large`, which keep the contract, or from `debug`, which keeps it
// with a part of such a block. The layout alone decides which, so a block goes back where it came from.
unsafe impl GlobalAlloc for KernelHeap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match if debug::is_on() { debug::allocate(layout) } else { allocate(layout) } {
            Some(block) => block.as_ptr(),
            None => {
                accounts::failed();
                null_mut()
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back a block of `alloc`, which is not null, with its layout.
        unsafe {
            let block = NonNull::new_unchecked(block);
            if debug::is_on() { debug::free(block) } else { free(block, layout) }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller sees to it that the new size, too, makes a layout with the old alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if !debug::is_on() && room(layout) == room(new_layout) {
            return block;
        }
        // SAFETY: the caller gives a block of `alloc` with its layout; both blocks have the bytes copied.
        unsafe {
            let new_block = self.alloc(new_layout);
            if !new_block.is_null() {
                new_block.copy_from_nonoverlapping(block, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            new_block
        }
    }
}

/// Memory in whole pages, which can be given back page by page; `None` if there is none. It holds anything.
///
/// `VCPU_HEAP_DEBUG` does not watch it, and it counts as used memory, but as no block.
#[must_use]
pub fn allocate_pages(count: usize) -> Option<NonNull<u8>> {
    stack::probe_for(STACK_NEEDED);
    let bytes = count.checked_mul(PAGE_SIZE as usize).filter(|bytes| *bytes > 0)?;
    let layout = Layout::from_size_align(bytes, PAGE_SIZE as usize).ok()?;
    let pages = large::get(layout);
    match pages {
        Some(_) => accounts::pages(bytes as i64),
        None => accounts::failed(),
    }
    pages
}

/// Gives pages back, all or some of those that were allocated together.
///
/// # Safety
///
/// They came from [`allocate_pages`], can be read and written, and nobody uses them any more.
pub unsafe fn free_pages(first: NonNull<u8>, count: usize) {
    stack::probe_for(STACK_NEEDED);
    let bytes = count * PAGE_SIZE as usize;
    accounts::pages(-(bytes as i64));
    // SAFETY: the caller's promise. The list knows pieces by address and size only, so a part is as good as all.
    unsafe { large::give_back(first, bytes) };
}

#[inline(always)]
fn allocate(layout: Layout) -> Option<NonNull<u8>> {
    stack::probe_for(STACK_NEEDED);
    match SizeClass::of(layout.size(), layout.align()) {
        Some(class) => small::allocate(class),
        None => large::allocate(layout),
    }
}

/// Takes a block back.
///
/// # Safety
///
/// The block came from `allocate` with this layout, and nobody uses it any more.
#[inline(always)]
unsafe fn free(block: NonNull<u8>, layout: Layout) {
    stack::probe_for(STACK_NEEDED);
    // SAFETY: the same layout led to the same part when the block was allocated.
    unsafe {
        match SizeClass::of(layout.size(), layout.align()) {
            Some(_) => small::free(block),
            None => large::free(block, room(layout)),
        }
    }
}

/// Bytes that a block of this layout really has.
///
/// For one alignment, different classes and blocks of the linked list have different numbers of bytes.
fn room(layout: Layout) -> usize {
    match SizeClass::of(layout.size(), layout.align()) {
        Some(class) => class.size(),
        None => large::room(layout.size()),
    }
}

/// Bytes of stack that the heap needs at most besides what an operation of the scheduler needs.
const STACK_NEEDED: u64 = 1 << 10;

/// Runs `action` on data of the heap with events off. It is short, and does not use the same data by
/// another way.
#[inline(always)]
fn with<T, R>(data: &EventsOff<UnsafeCell<T>>, action: impl FnOnce(&mut T) -> R) -> R {
    // SAFETY: with events off no other thread and no event handler runs, and the actions in this module
    // do not nest. An exception in one, of a damaged heap, may: its handler must not need the heap.
    event::without(|| action(unsafe { &mut *data.get() }))
}

//! The `malloc` family, by the crate `dlmalloc`.
//!
//! It gets its memory from the kernel's heap in pieces and keeps it. One vCPU needs no lock: a block is found or
//! given back with events off, which takes a bounded time. Small blocks that are given back are kept for the next
//! who wants as much, a few of each size. What takes long, getting a piece, clearing and
//! copying, is done with events on.

use crate::errno::{EINVAL, ENOMEM, set_errno};
use alloc::alloc::{alloc, dealloc};
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::ptr::null_mut;
use dlmalloc::{Allocator, Dlmalloc};
use vcpu_kernel::event;

/// What every block is aligned to.
const ALIGN: usize = 16;

/// Bytes in which memory is got from the kernel's heap, at least.
const PIECE: usize = 256 << 10;

/// Blocks are not larger, so that differences of pointers stay positive.
const LARGEST: usize = isize::MAX as usize / 2;

/// Blocks that are longer than this are copied with events on.
const COPY_AT_ONCE: usize = 4096;

/// Hands `dlmalloc` the piece that was got for it, if there is one; it is asked with events off.
struct Source(UnsafeCell<(*mut u8, usize)>);

// SAFETY: touched with events off only, on the one vCPU.
unsafe impl Send for Source {}

// SAFETY: the piece comes from the kernel's heap and is given away once; nothing is ever taken back.
unsafe impl Allocator for Source {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        // SAFETY: with events off, nobody else is here.
        let piece = unsafe { &mut *self.0.get() };
        let (start, length) = *piece;
        if length < size {
            return (null_mut(), 0, 0);
        }
        *piece = (null_mut(), 0);
        (start, length, 0)
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        false
    }

    fn page_size(&self) -> usize {
        4096
    }
}

/// Sizes of which blocks are kept: 32 bytes, 48, ... with the header.
const KEPT_SIZES: usize = 64;

/// Blocks of a size that are kept, at most.
const KEPT_BLOCKS: u32 = 32;

/// Small blocks that were given back: each holds the address of the next.
#[derive(Clone, Copy)]
struct Kept {
    first: *mut u8,
    count: u32,
}

struct KeptBlocks(UnsafeCell<[Kept; KEPT_SIZES]>);

// SAFETY: touched with events off only, on the one vCPU.
unsafe impl Sync for KeptBlocks {}

static KEPT: KeptBlocks = KeptBlocks(UnsafeCell::new([Kept { first: null_mut(), count: 0 }; KEPT_SIZES]));

/// The kept block for this size, if there is one.
#[inline(always)]
fn take_kept(size: usize) -> Option<*mut u8> {
    let place = size.max(24).wrapping_add(7) / 16 - 1;
    event::without(|| {
        // SAFETY: with events off, nobody else is here.
        let kept = unsafe { (*KEPT.0.get()).get_mut(place)? };
        let block = kept.first;
        if block.is_null() {
            return None;
        }
        // SAFETY: a kept block holds the next one's address.
        kept.first = unsafe { *block.cast() };
        kept.count -= 1;
        Some(block)
    })
}

struct Heap(UnsafeCell<Dlmalloc<Source>>);

// SAFETY: used by `with` only, with events off.
unsafe impl Sync for Heap {}

static HEAP: Heap = Heap(UnsafeCell::new(
    const {
        let mut heap = Dlmalloc::new_with_allocator(Source(UnsafeCell::new((null_mut(), 0))));
        heap.set_max_release_check_rate(0);
        heap
    },
));

/// Uses the heap with events off.
#[inline(always)]
fn with<R>(action: impl FnOnce(&mut Dlmalloc<Source>) -> R) -> R {
    // SAFETY: with events off, nobody else is here, and no `action` comes back here.
    event::without(|| action(unsafe { &mut *HEAP.0.get() }))
}

/// Gets more memory for a block of this size. Null means that there is none.
#[cold]
fn grow(size: usize, align: usize, attempt: &dyn Fn(&mut Dlmalloc<Source>) -> *mut u8) -> *mut u8 {
    let needed = size.saturating_add(align).saturating_add(ALIGN * 32).max(PIECE);
    let layout =
        needed.checked_next_multiple_of(64 << 10).and_then(|size| Layout::from_size_align(size, 4096).ok());
    let Some(layout) = layout else { return null_mut() };
    // SAFETY: the layout is not empty.
    let piece = unsafe { alloc(layout) };
    if piece.is_null() {
        return null_mut();
    }
    let (block, unused) = with(|heap| {
        *heap.allocator_mut().0.get_mut() = (piece, layout.size());
        let block = attempt(heap);
        (block, core::mem::replace(heap.allocator_mut().0.get_mut(), (null_mut(), 0)).0)
    });
    if !unused.is_null() {
        // SAFETY: another thread gave back what is needed meanwhile; this piece was not taken.
        unsafe { dealloc(unused, layout) };
    }
    block
}

/// A block, or null and `ENOMEM`.
#[inline(always)]
fn allocate(size: usize, align: usize, attempt: impl Fn(&mut Dlmalloc<Source>) -> *mut u8) -> *mut u8 {
    if size <= LARGEST {
        let block = with(&attempt);
        if !block.is_null() {
            return block;
        }
        let block = grow(size, align, &attempt);
        if !block.is_null() {
            return block;
        }
    }
    out_of_memory()
}

#[cold]
fn out_of_memory() -> *mut u8 {
    set_errno(ENOMEM);
    null_mut()
}

/// Bytes that a block has: its header tells, as in every `dlmalloc`.
///
/// # Safety
///
/// The block is one of this heap.
unsafe fn room(block: *mut u8) -> usize {
    // SAFETY: the word in front of a block is its size with flags in the lowest bits, and counts itself.
    unsafe { (*block.cast::<usize>().sub(1) & !7) - size_of::<usize>() }
}

#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut u8 {
    if let Some(block) = take_kept(size) {
        return block;
    }
    // SAFETY: any size may be asked for.
    allocate(size, ALIGN, |heap| unsafe { heap.c_malloc(size) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(block: *mut u8) {
    if !block.is_null() {
        // SAFETY: the caller's block is one of this heap, and nobody uses it any more: a kept one holds the
        // next one's address. With events off, nobody else is here.
        event::without(|| unsafe {
            let place = (room(block) - 8) / 16 - 1;
            match (*KEPT.0.get()).get_mut(place) {
                Some(kept) if kept.count < KEPT_BLOCKS => {
                    assert!(kept.first != block, "free: the block at {block:?} was freed twice");
                    *block.cast() = kept.first;
                    kept.first = block;
                    kept.count += 1;
                }
                _ => (*HEAP.0.get()).c_free(block),
            }
        });
    }
}

#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut u8 {
    let Some(bytes) = count.checked_mul(size) else { return out_of_memory() };
    let block = malloc(bytes);
    if !block.is_null() {
        // SAFETY: the block has as many bytes.
        unsafe { block.write_bytes(0, bytes) };
    }
    block
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(block: *mut u8, size: usize) -> *mut u8 {
    if block.is_null() {
        return malloc(size);
    }
    // SAFETY: the caller's block is one of this heap; the new one does not overlap it, and both have what is
    // copied.
    unsafe {
        let old = room(block);
        if old <= COPY_AT_ONCE || size <= old {
            return allocate(size, ALIGN, |heap| heap.c_realloc(block, size));
        }
        let new = malloc(size);
        if !new.is_null() {
            new.copy_from_nonoverlapping(block, old);
            free(block);
        }
        new
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn reallocarray(block: *mut u8, count: usize, size: usize) -> *mut u8 {
    let Some(bytes) = count.checked_mul(size) else { return out_of_memory() };
    // SAFETY: the caller's contract is the same.
    unsafe { realloc(block, bytes) }
}

/// A block with this alignment, a power of two.
fn aligned(align: usize, size: usize) -> *mut u8 {
    if align > LARGEST {
        return out_of_memory();
    }
    // SAFETY: any size and any power of two may be asked for.
    allocate(size, align, |heap| unsafe { heap.c_memalign(align, size) })
}

#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut u8 {
    if !align.is_power_of_two() {
        set_errno(EINVAL);
        return null_mut();
    }
    aligned(align, size)
}

#[unsafe(no_mangle)]
extern "C" fn memalign(align: usize, size: usize) -> *mut u8 {
    aligned_alloc(align, size)
}

#[unsafe(no_mangle)]
extern "C" fn valloc(size: usize) -> *mut u8 {
    aligned(4096, size)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(place: *mut *mut u8, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || align < size_of::<usize>() {
        return EINVAL as c_int;
    }
    let block = aligned(align, size);
    if block.is_null() {
        return ENOMEM as c_int;
    }
    // SAFETY: the caller's place for the pointer.
    unsafe { place.write(block) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_usable_size(block: *mut u8) -> usize {
    // SAFETY: the caller's block is one of this heap.
    if block.is_null() { 0 } else { unsafe { room(block) } }
}

// What musl's own code calls.

#[unsafe(no_mangle)]
extern "C" fn __libc_malloc(size: usize) -> *mut u8 {
    malloc(size)
}

#[unsafe(no_mangle)]
extern "C" fn __libc_calloc(count: usize, size: usize) -> *mut u8 {
    calloc(count, size)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_realloc(block: *mut u8, size: usize) -> *mut u8 {
    // SAFETY: the caller's contract is the same.
    unsafe { realloc(block, size) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_free(block: *mut u8) {
    // SAFETY: the caller's contract is the same.
    unsafe { free(block) }
}

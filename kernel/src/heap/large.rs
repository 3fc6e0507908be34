//! Large blocks and slabs: a linked list of free pieces, the first that fits, joined when they come back.
//!
//! A search may take as long as the list has pieces. So it runs with events on, under a mutex. Who has
//! events off cannot wait for the mutex: it is refused a block, and what it gives back is put aside for
//! the next one who has the mutex.

use super::{accounts, small, with};
use crate::scheduler::{self, EventsOff};
use crate::stack;
use crate::sync::RawMutex;
use crate::thread::Thread;
use crate::{event, machine};
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicUsize, Ordering::Relaxed};
use linked_list_allocator::Heap;

/// All sizes in the list are multiples of this.
const GRANULE: usize = 8;

static LIST: List = List {
    lock: RawMutex::new(),
    is_shared: AtomicBool::new(false),
    owner: AtomicPtr::new(null_mut()),
    heap: UnsafeCell::new(Heap::empty()),
};

/// The first of the pieces that were put aside.
static ASIDE: EventsOff<UnsafeCell<Option<NonNull<Aside>>>> = EventsOff(UnsafeCell::new(None));

/// Bytes in live blocks; slabs are none.
static USED: AtomicI64 = AtomicI64::new(0);

/// Bytes of the whole heap.
static TOTAL: AtomicUsize = AtomicUsize::new(0);

/// The list and its lock.
struct List {
    lock: RawMutex,
    /// Whether there are threads, which share the list. Before that, the lock is not needed; and its record
    /// could not be made, because that takes memory.
    is_shared: AtomicBool,
    /// The thread that holds the lock.
    owner: AtomicPtr<Thread>,
    heap: UnsafeCell<Heap>,
}

// SAFETY: `heap` is used by who holds `lock`, or alone.
unsafe impl Sync for List {}

/// A piece that waits to be given back to the list; it is written into the piece.
struct Aside {
    bytes: usize,
    next: Option<NonNull<Aside>>,
}

/// Gives the list the free RAM.
pub(super) fn init() {
    let ram = machine::free_ram();
    let bytes = (ram.end - ram.start) as usize;
    TOTAL.store(bytes, Relaxed);
    // SAFETY: called once, at boot; the range is RAM that nothing else uses, mapped for as long as the
    // guest runs.
    locked(|heap| unsafe { heap.init(ram.start as *mut u8, bytes) });
}

/// Has the list locked from now on. Called once, at boot, when threads are possible.
pub(crate) fn share() {
    LIST.lock.ensure();
    LIST.is_shared.store(true, Relaxed);
}

/// Whether a thread is in the middle of changing the list, which nobody could use if it died.
pub(crate) fn is_busy_with(thread: &Thread) -> bool {
    ptr::eq(LIST.owner.load(Relaxed), thread)
}

/// Bytes of the whole heap.
pub(super) fn total() -> usize {
    TOTAL.load(Relaxed)
}

/// Bytes in live blocks.
pub(super) fn used() -> usize {
    USED.load(Relaxed) as usize
}

/// Counts bytes that are in use besides those of blocks. Events are off.
pub(super) fn count(bytes: i64) {
    accounts::add(&USED, bytes);
}

/// Bytes that a block of `size` bytes really has.
pub(super) fn room(size: usize) -> usize {
    size.next_multiple_of(GRANULE).max(size_of::<Aside>())
}

/// A block, or none if memory has run out or cannot be searched now.
#[inline(never)]
pub(super) fn allocate(layout: Layout) -> Option<NonNull<u8>> {
    let block = get(layout)?;
    event::without(|| {
        let bytes = room(layout.size());
        accounts::allocated(bytes);
        accounts::add(&USED, bytes as i64);
    });
    Some(block)
}

/// Takes a block of `bytes` bytes back.
///
/// # Safety
///
/// The block came from `allocate`, really has so many bytes, and nobody uses it any more.
#[inline(never)]
pub(super) unsafe fn free(block: NonNull<u8>, bytes: usize) {
    event::without(|| {
        accounts::freed(bytes);
        accounts::add(&USED, -(bytes as i64));
    });
    // SAFETY: the caller's promise.
    unsafe { give_back(block, bytes) };
}

/// A piece that is not counted as a block, or none if memory has run out or cannot be searched now.
pub(super) fn get(layout: Layout) -> Option<NonNull<u8>> {
    locked(|heap| {
        heap.allocate_first_fit(layout).ok().or_else(|| {
            give_back_empty_slabs(heap);
            heap.allocate_first_fit(layout).ok()
        })
    })?
}

/// Takes a piece of `bytes` bytes back.
///
/// # Safety
///
/// The piece came from `get`, really has so many bytes, and nobody uses it any more.
#[cold]
pub(super) unsafe fn give_back(piece: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's promise.
    if locked(|heap| unsafe { deallocate(heap, piece, bytes) }).is_none() {
        let aside = piece.cast();
        with(&ASIDE, |first| {
            // SAFETY: the piece is free, aligned to 8 at least, and not smaller than what is written.
            unsafe { aside.write(Aside { bytes, next: *first }) };
            *first = Some(aside);
        });
    }
}

/// Size in bytes of the largest block that can be allocated now. 0 if that cannot be found out: with
/// events off, while a thread changes the list.
///
/// Tries different sizes, each of which may be a search through all free pieces.
pub fn largest_free() -> usize {
    stack::probe_for(super::STACK_NEEDED);
    let largest = locked(|heap| {
        give_back_empty_slabs(heap);
        let mut possible = |granules: usize| {
            let Ok(layout) = Layout::from_size_align(granules * GRANULE, GRANULE) else { return false };
            let Ok(block) = heap.allocate_first_fit(layout) else { return false };
            // SAFETY: the block has just been allocated.
            unsafe { heap.deallocate(block, layout) };
            true
        };
        // A piece is not used for a block that is one granule smaller, since the rest would be too small
        // for a piece.
        let (mut fits, mut fails) = (0, total() / GRANULE + 1);
        while fits + 1 < fails {
            let middle = usize::midpoint(fits, fails);
            if possible(middle) || possible(middle + 1) {
                fits = middle;
            } else {
                fails = middle;
            }
        }
        fits * GRANULE
    });
    largest.unwrap_or(0)
}

/// Gives all empty slabs back to the list.
fn give_back_empty_slabs(heap: &mut Heap) {
    while let Some((slab, bytes)) = small::take_empty() {
        // SAFETY: the slab came from the list, and is nobody's now.
        unsafe { deallocate(heap, slab, bytes) };
    }
}

/// Runs `action` on the list under its lock. None if that is taken and nobody can wait here.
fn locked<R>(action: impl FnOnce(&mut Heap) -> R) -> Option<R> {
    let is_shared = LIST.is_shared.load(Relaxed);
    if is_shared {
        lock()?;
    }
    // SAFETY: this flow of execution holds the lock, or is the only one.
    let heap = unsafe { &mut *LIST.heap.get() };
    while let Some(piece) = with(&ASIDE, take_aside) {
        // SAFETY: the piece was given back; it was written when it was put aside.
        unsafe { deallocate(heap, piece.cast(), piece.as_ref().bytes) };
    }
    let result = action(heap);
    if is_shared {
        LIST.owner.store(null_mut(), Relaxed);
        LIST.lock.unlock();
    }
    Some(result)
}

fn lock() -> Option<()> {
    // The lock is never poisoned: the guest ends with a thread that dies with it.
    let _ = if event::are_on() && !scheduler::current().is_service() {
        LIST.lock.lock()
    } else {
        LIST.lock.try_lock()?
    };
    LIST.owner.store(ptr::from_ref(scheduler::current()).cast_mut(), Relaxed);
    Some(())
}

fn take_aside(first: &mut Option<NonNull<Aside>>) -> Option<NonNull<Aside>> {
    let piece = (*first)?;
    // SAFETY: pieces that were put aside are valid until they are taken.
    *first = unsafe { piece.as_ref().next };
    Some(piece)
}

/// # Safety: the piece came from the list with so many bytes, and nobody uses it any more.
unsafe fn deallocate(heap: &mut Heap, piece: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's promise. The list looks at the size only, which it has rounded before.
    unsafe { heap.deallocate(piece, Layout::from_size_align_unchecked(bytes, GRANULE)) };
}

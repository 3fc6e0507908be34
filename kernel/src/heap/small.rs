//! Small blocks: size classes, made of slabs.
//!
//! ```text
//!   with_room[class] ─▶ ┌──────┐ ◀─▶ ┌──────┐ ◀─▶ …   spare ─▶ ┌──────┐ ─▶ …
//!                       │ slab │     │ slab │                  │ slab │
//!                       └──────┘     └──────┘                  └──────┘
//!
//!   a slab:  header │ block │ block │ block │ … │ fresh: never handed out yet      │
//!            free ──────────────▶ ·───▶ ·
//! ```
//!
//! A slab is 16 KiB of one class, aligned to its size, so that a block's address leads to the header. Its
//! blocks are handed out from a list of those that were given back, or else cut from the fresh rest: no
//! step depends on how many blocks there are, and a new slab needs no preparation.
//!
//! - Slabs with room are linked in their class. One that is found full leaves the list, and comes back when
//!   one of its blocks does. Only the first may be full, and be in the list still.
//! - A slab whose last block comes back is a spare slab, for any class, unless it is the only one in its
//!   class's list: so a class keeps at most one empty slab, alone in its list. From the ninth spare slab on
//!   they go back to the linked list.

use super::{accounts, large, with};
use crate::scheduler::EventsOff;
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use vcpu_kernel_core::size_class::{self, SizeClass};

/// Size of a slab, and its alignment.
pub(super) const SLAB_SIZE: usize = 16 << 10;

/// The layout of a slab.
const SLAB: Layout = match Layout::from_size_align(SLAB_SIZE, SLAB_SIZE) {
    Ok(layout) => layout,
    Err(_) => panic!("the size of a slab is a power of two"),
};

/// Empty slabs that are kept for the next class that needs one.
const SPARES_MAX: usize = 8;

static SMALL: EventsOff<UnsafeCell<Small>> = EventsOff(UnsafeCell::new(Small {
    with_room: [None; size_class::COUNT],
    spare: None,
    spares: 0,
    slabs: 0,
}));

/// All slabs.
struct Small {
    /// The first of each class's slabs with room.
    with_room: [Option<NonNull<Slab>>; size_class::COUNT],
    /// The first empty slab that belongs to no class.
    spare: Option<NonNull<Slab>>,
    /// How many of them there are.
    spares: usize,
    /// How many slabs there are in all.
    slabs: usize,
}

/// The header of a slab.
#[repr(C, align(64))]
struct Slab {
    /// The first block that was given back; each begins with the next.
    free: Option<NonNull<u8>>,
    /// Where the blocks that were never handed out begin, in bytes from the header.
    fresh: u32,
    /// Blocks that are handed out.
    live: u32,
    class: SizeClass,
    /// Whether it is in its class's list.
    listed: bool,
    previous: Option<NonNull<Slab>>,
    next: Option<NonNull<Slab>>,
}

/// A block of a class, or none if memory has run out.
#[inline(always)]
pub(super) fn allocate(class: SizeClass) -> Option<NonNull<u8>> {
    loop {
        let block = with(&SMALL, |small| small.take(class));
        if block.is_some() || !refill() {
            return block;
        }
    }
}

/// Takes a block back.
///
/// # Safety
///
/// The block came from `allocate`, and nobody uses it any more.
#[inline(always)]
pub(super) unsafe fn free(block: NonNull<u8>) {
    // SAFETY: the caller's promise.
    if let Some(slab) = with(&SMALL, |small| unsafe { small.put_back(block) }) {
        // SAFETY: the slab came from `large`, no block of it is in use, and no list has it.
        unsafe { large::give_back(slab, SLAB_SIZE) };
    }
}

/// How many slabs there are. Events are off.
pub(super) fn slabs() -> usize {
    with(&SMALL, |small| small.slabs)
}

/// Gets a spare slab. Gives whether there is memory for it.
#[cold]
#[inline(never)]
fn refill() -> bool {
    let Some(memory) = large::get(SLAB) else { return false };
    with(&SMALL, |small| {
        small.slabs += 1;
        // SAFETY: the memory has the size and alignment of a slab, and belongs to nobody else.
        unsafe { small.add_spare(memory.cast()) };
    });
    true
}

/// Takes an empty slab away, which then is the caller's; none if there is none.
pub(super) fn take_empty() -> Option<(NonNull<u8>, usize)> {
    with(&SMALL, |small| {
        let slab = small.take_spare().or_else(|| small.take_alone())?;
        small.slabs -= 1;
        Some((slab.cast(), SLAB_SIZE))
    })
}

impl Small {
    /// Takes a block of a slab that is there.
    #[inline(always)]
    fn take(&mut self, class: SizeClass) -> Option<NonNull<u8>> {
        let first = self.with_room[class.index()];
        // SAFETY: slabs in lists are valid, and nobody has another reference to one.
        let block = match first.and_then(|slab| unsafe { (*slab.as_ptr()).pop() }) {
            Some(block) => block,
            None => self.take_elsewhere(class)?,
        };
        accounts::allocated(class.size());
        Some(block)
    }

    /// Takes a block if no freed one is at hand: a fresh one, one of the next slab, or of a spare slab.
    #[inline(never)]
    fn take_elsewhere(&mut self, class: SizeClass) -> Option<NonNull<u8>> {
        // Three times at most: the first slab may be full, the next is not, and a spare slab is not.
        loop {
            // SAFETY: slabs in lists are valid, and in no list but theirs.
            unsafe {
                let Some(first) = self.with_room[class.index()] else {
                    let spare = self.take_spare()?;
                    Slab::prepare(spare, class);
                    self.link(spare);
                    continue;
                };
                let slab = &mut *first.as_ptr();
                let block = slab.pop().or_else(|| slab.cut());
                if block.is_some() {
                    return block;
                }
                self.unlink(first);
            }
        }
    }

    /// Puts a block back into its slab. Gives a slab that is too many.
    ///
    /// # Safety
    ///
    /// As `free`.
    #[inline(always)]
    unsafe fn put_back(&mut self, block: NonNull<u8>) -> Option<NonNull<u8>> {
        // SAFETY: a block lies in its slab, whose header is at the last multiple of the size; it has at
        // least 16 bytes, aligned to that.
        unsafe {
            let header = block.as_ptr().map_addr(|address| address & !(SLAB_SIZE - 1)).cast::<Slab>();
            let slab = &mut *header;
            block.cast().write(slab.free);
            slab.free = Some(block);
            slab.live -= 1;
            accounts::freed(slab.class.size());
            if slab.live == 0 || !slab.listed {
                return self.rearrange(NonNull::new_unchecked(header));
            }
        }
        None
    }

    /// Moves a slab that was full or is empty. Gives a slab that is too many.
    ///
    /// # Safety
    ///
    /// A block has just come back to the slab, which is valid.
    #[inline(never)]
    unsafe fn rearrange(&mut self, slab: NonNull<Slab>) -> Option<NonNull<u8>> {
        // SAFETY: slabs in lists are valid.
        unsafe {
            let empty = if !slab.as_ref().listed {
                let first = self.with_room[slab.as_ref().class.index()];
                if let Some(first) = first.filter(|first| first.as_ref().is_full()) {
                    self.unlink(first);
                }
                self.link(slab);
                first.filter(|first| first.as_ref().live == 0)?
            } else if slab.as_ref().previous.is_some() || slab.as_ref().next.is_some() {
                slab
            } else {
                return None;
            };
            self.unlink(empty);
            if self.spares < SPARES_MAX {
                self.add_spare(empty);
                return None;
            }
            self.slabs -= 1;
            Some(empty.cast())
        }
    }

    /// Takes the empty slab that a class keeps, if one does.
    fn take_alone(&mut self) -> Option<NonNull<Slab>> {
        // SAFETY: slabs in lists are valid.
        unsafe {
            let empty = |slab: &NonNull<Slab>| slab.as_ref().live == 0;
            let slab = self.with_room.iter().flatten().copied().find(empty)?;
            self.unlink(slab);
            Some(slab)
        }
    }

    /// Takes a spare slab.
    fn take_spare(&mut self) -> Option<NonNull<Slab>> {
        let slab = self.spare?;
        // SAFETY: slabs in lists are valid.
        self.spare = unsafe { slab.as_ref().next };
        self.spares -= 1;
        Some(slab)
    }

    /// Keeps an empty slab.
    ///
    /// # Safety
    ///
    /// The slab is the caller's, and in no list.
    unsafe fn add_spare(&mut self, slab: NonNull<Slab>) {
        // SAFETY: the caller's promise. The memory may be new, so nothing is read from it.
        unsafe { (&raw mut (*slab.as_ptr()).next).write(self.spare) };
        self.spare = Some(slab);
        self.spares += 1;
    }

    /// Makes a slab the first of its class.
    ///
    /// # Safety
    ///
    /// The slab is valid, and in no list.
    unsafe fn link(&mut self, slab: NonNull<Slab>) {
        // SAFETY: the caller's promise; slabs in lists are valid.
        unsafe {
            let header = &mut *slab.as_ptr();
            let first = &mut self.with_room[header.class.index()];
            (header.previous, header.next, header.listed) = (None, *first, true);
            if let Some(next) = header.next {
                (*next.as_ptr()).previous = Some(slab);
            }
            *first = Some(slab);
        }
    }

    /// Takes a slab out of its class's list.
    ///
    /// # Safety
    ///
    /// The slab is valid, and in that list.
    unsafe fn unlink(&mut self, slab: NonNull<Slab>) {
        // SAFETY: the caller's promise; slabs in lists are valid.
        unsafe {
            let header = &mut *slab.as_ptr();
            header.listed = false;
            match header.previous {
                Some(previous) => (*previous.as_ptr()).next = header.next,
                None => self.with_room[header.class.index()] = header.next,
            }
            if let Some(next) = header.next {
                (*next.as_ptr()).previous = header.previous;
            }
        }
    }
}

impl Slab {
    /// Makes an empty slab one of a class.
    ///
    /// # Safety
    ///
    /// The slab's memory is the caller's.
    unsafe fn prepare(slab: NonNull<Slab>, class: SizeClass) {
        // Blocks of a class lie at multiples of their alignment.
        let fresh = size_of::<Slab>().max(class.align()) as u32;
        // SAFETY: the caller's promise.
        unsafe {
            slab.write(Slab { free: None, fresh, live: 0, class, listed: false, previous: None, next: None });
        }
    }

    /// Takes a block that was given back.
    #[inline(always)]
    fn pop(&mut self) -> Option<NonNull<u8>> {
        let block = self.free?;
        // SAFETY: a block in the list begins with the next one, as `put_back` wrote it.
        self.free = unsafe { block.cast().read() };
        self.live += 1;
        Some(block)
    }

    /// Takes a block that was never handed out.
    fn cut(&mut self) -> Option<NonNull<u8>> {
        if !self.has_fresh() {
            return None;
        }
        let start = NonNull::from(&mut *self).cast::<u8>();
        // SAFETY: the block lies in this slab.
        let block = unsafe { start.add(self.fresh as usize) };
        self.fresh += self.class.size() as u32;
        self.live += 1;
        Some(block)
    }

    fn has_fresh(&self) -> bool {
        self.fresh as usize + self.class.size() <= SLAB_SIZE
    }

    fn is_full(&self) -> bool {
        self.free.is_none() && !self.has_fresh()
    }
}

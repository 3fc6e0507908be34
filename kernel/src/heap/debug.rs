//! The debug option: finds wrong use of the heap, at the price of time and memory.
//!
//! ```text
//!    …  │ header: size, state │ block │ 32 bytes of END │
//!   base                      the caller's
//! ```
//!
//! Both sides of a block are looked at when it is freed. It is then filled with a pattern and kept in
//! quarantine until 64 more were freed; when it leaves, the pattern must be whole. A header stays readable
//! until its memory is used again, so that a double free is mostly told from a wild pointer even later.

use super::with;
use crate::scheduler::EventsOff;
use crate::{event, machine};
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The variable of the guest's environment that is `1` if the option is wanted.
const VARIABLE: &[u8] = b"VCPU_HEAP_DEBUG";

/// States of a block; in the header each is mixed with the block's address.
const LIVE: u64 = 0x6c69_7665_b10c_600d;
const FREED: u64 = 0xf4ee_d000_b10c_dead;

/// What lies behind a block.
const END: [u8; 32] = [0xed; 32];

/// With what a freed block is filled.
const FILL: u8 = 0xdf;

/// How many blocks are in quarantine at most.
const QUARANTINED: usize = 64;

/// Larger blocks are not kept in quarantine.
const QUARANTINED_MAX: usize = 64 << 10;

static ON: AtomicBool = AtomicBool::new(false);

static QUARANTINE: EventsOff<UnsafeCell<Quarantine>> =
    EventsOff(UnsafeCell::new(Quarantine { blocks: [None; QUARANTINED], oldest: 0 }));

/// What lies before a block.
#[repr(C, align(16))]
struct Header {
    /// The caller's alignment. It and the next field are overwritten when the memory becomes free.
    align: usize,
    unused: usize,
    /// The caller's size.
    size: usize,
    state: u64,
}

/// The latest blocks that were freed.
struct Quarantine {
    blocks: [Option<NonNull<u8>>; QUARANTINED],
    oldest: usize,
}

/// Looks whether the option is wanted.
pub(super) fn init() {
    let wanted = machine::environment().any(|variable| variable == (VARIABLE, b"1"));
    ON.store(wanted, Relaxed);
}

/// Whether the option is on. It never changes after `init`.
#[inline(always)]
pub(super) fn is_on() -> bool {
    ON.load(Relaxed)
}

/// A block between header and end.
#[cold]
pub(super) fn allocate(layout: Layout) -> Option<NonNull<u8>> {
    let (whole, before) = whole(layout)?;
    let base = super::allocate(whole).or_else(|| {
        for _ in 0..QUARANTINED {
            if let Some(block) = with(&QUARANTINE, |quarantine| quarantine.replace_oldest(None)) {
                // SAFETY: the block was in quarantine.
                unsafe { release(block) };
            }
        }
        super::allocate(whole)
    })?;
    // SAFETY: header, block and end lie in what was allocated; the header is aligned, since `before` is a
    // multiple of its alignment.
    unsafe {
        let block = base.add(before);
        let state = LIVE ^ block.addr().get() as u64;
        header(block).write(Header { align: layout.align(), unused: 0, size: layout.size(), state });
        block.add(layout.size()).cast().write_unaligned(END);
        Some(block)
    }
}

/// Takes a block back, and reports wrong use.
///
/// # Safety
///
/// None, if the heap is used rightly. If not, this may not notice.
#[cold]
pub(super) unsafe fn free(block: NonNull<u8>) {
    let address = block.addr().get() as u64;
    let ram = machine::free_ram();
    let first = ram.start + size_of::<Header>() as u64;
    if !(first..ram.end).contains(&address) || !address.is_multiple_of(align_of::<Header>() as u64) {
        never_allocated(address);
    }
    // SAFETY: the header lies in RAM; whether it is one is seen by its state, before anything else is used.
    unsafe {
        let header = &mut *header(block);
        let state = event::without(|| {
            let state = header.state ^ address;
            if state == LIVE {
                header.state = FREED ^ address;
            }
            state
        });
        let size = header.size;
        match state {
            LIVE => {}
            FREED => panic!("heap: the block of {size} bytes at {address:#x} was freed twice"),
            _ => never_allocated(address),
        }
        if block.add(size).cast::<[u8; END.len()]>().read_unaligned() != END {
            panic!("heap: the block of {size} bytes at {address:#x} was written beyond its end");
        }
        block.write_bytes(FILL, size);
        let leaves = if size > QUARANTINED_MAX {
            Some(block)
        } else {
            with(&QUARANTINE, |quarantine| quarantine.replace_oldest(Some(block)))
        };
        if let Some(block) = leaves {
            release(block);
        }
    }
}

fn never_allocated(address: u64) -> ! {
    panic!(
        "heap: {address:#x} was freed, but no block was allocated there, or the bytes before it were overwritten"
    );
}

/// Gives a freed block's memory back, if nobody wrote into it.
///
/// # Safety
///
/// The block was filled when it was freed, and is not in quarantine any more.
unsafe fn release(block: NonNull<u8>) {
    // SAFETY: the header of a freed block is valid until here, and the layout was valid before.
    unsafe {
        let Header { align, size, .. } = *header(block);
        if core::slice::from_raw_parts(block.as_ptr(), size).iter().any(|byte| *byte != FILL) {
            panic!("heap: the block of {size} bytes at {block:p} was written after it was freed");
        }
        if let Some((whole, before)) = whole(Layout::from_size_align_unchecked(size, align)) {
            super::free(block.sub(before), whole);
        }
    }
}

/// The layout of a block with header and end, and where in it the block lies.
fn whole(layout: Layout) -> Option<(Layout, usize)> {
    let (with_header, before) = Layout::new::<Header>().extend(layout).ok()?;
    let (whole, _) = with_header.extend(Layout::new::<[u8; END.len()]>()).ok()?;
    Some((whole, before.next_multiple_of(align_of::<Header>())))
}

/// Where a block's header lies.
fn header(block: NonNull<u8>) -> *mut Header {
    block.as_ptr().wrapping_sub(size_of::<Header>()).cast()
}

impl Quarantine {
    /// Puts a block in the place of the oldest.
    fn replace_oldest(&mut self, block: Option<NonNull<u8>>) -> Option<NonNull<u8>> {
        let oldest = core::mem::replace(&mut self.blocks[self.oldest], block);
        self.oldest = (self.oldest + 1) % QUARANTINED;
        oldest
    }
}

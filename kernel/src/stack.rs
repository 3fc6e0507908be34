//! Stacks of threads: a guard page, the stack, and a page for the extended state.
//!
//! ```text
//!   base                                              top
//!   ┌────────────┬───────────────────────────────────┬──────────────────┐
//!   │ guard page │ ◀──────────── stack               │  extended state  │
//!   └────────────┴───────────────────────────────────┴──────────────────┘
//! ```
//!
//! All of it is RAM of the heap and costs memory only where it was touched; the page for the extended
//! state is touched when the thread is interrupted for the first time. Setting a guard up is a vCPU call,
//! so the mappings of threads that ended are kept, up to a number, for the next that ask for that size.

use crate::call;
use crate::extended::AREA_SIZE;
use crate::scheduler::EventsOff;
use core::alloc::Layout;
use core::cell::Cell;
use core::ops::Range;
use vcpu_abi::call::Access;
use vcpu_abi::layout::PAGE_SIZE;

/// The smallest stack, 8 KiB. The kernel itself needs up to 3 KiB of it.
pub const MINIMUM: usize = 2 * PAGE;

/// The stack of a thread for which none was asked, 64 KiB.
pub const NORMAL: usize = 64 << 10;

/// How many mappings of threads that ended are kept.
const KEPT: usize = 64;

/// How many of them are looked at for one of the right size, those kept last first: events are off.
const LOOKED_AT: usize = 8;

/// Bytes of stack that an operation of the kernel may need.
const NEED: usize = 3 << 10;

const PAGE: usize = PAGE_SIZE as usize;

const _: () = assert!(AREA_SIZE == PAGE);

/// The mapping of one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    base: usize,
    /// Bytes of the stack itself.
    size: usize,
}

/// A mapping that nobody uses. It lies in the mapping itself, at the beginning of the last page.
struct Unused {
    stack: Stack,
    next: Option<&'static Unused>,
}

struct Cache {
    first: Cell<Option<&'static Unused>>,
    count: Cell<usize>,
}

static CACHE: EventsOff<Cache> = EventsOff(Cache { first: Cell::new(None), count: Cell::new(0) });

/// Tries whether there is as much stack as an operation of the kernel may need. Done before events are
/// turned off, so that an overflow happens where nothing is half changed.
///
/// To touch the stack would be enough, but that line is in no cache when a thread has waited long.
#[inline(always)]
pub(crate) fn probe() {
    probe_for(0);
}

/// As [`probe`], for an operation with so many bytes around it; together they are a page at most, so that
/// the guard page is not missed.
#[inline(always)]
pub(crate) fn probe_for(more: u64) {
    let pointer: u64;
    // SAFETY: reads a register.
    unsafe { core::arch::asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    if pointer < crate::scheduler::current().stack_limit() + more {
        touch(pointer - NEED as u64 - more);
    }
}

/// Touches the stack where an operation of the kernel would. On the stack of the thread that runs this
/// faults; a handler function stands on another one.
#[cold]
fn touch(address: u64) {
    // SAFETY: reads a byte below the stack pointer: of the stack, or of its guard page, which faults.
    unsafe { (address as *const u8).read_volatile() };
}

/// The lowest stack pointer with which an operation of the kernel may begin.
pub(crate) const fn limit(stack: &Range<u64>) -> u64 {
    stack.start + NEED as u64
}

impl Stack {
    /// A stack of `size` bytes, a multiple of the page size; none if there is no memory for it.
    pub(crate) fn allocate(size: usize) -> Option<Stack> {
        if let Some(stack) = take_unused(size) {
            return Some(stack);
        }
        // SAFETY: the layout is not empty.
        let base = unsafe { alloc::alloc::alloc(layout(size)?) };
        if base.is_null() {
            return None;
        }
        let stack = Stack { base: base as usize, size };
        if stack.set_guard(Access::empty()) {
            return Some(stack);
        }
        stack.free();
        None
    }

    /// Gives the mapping back. Nobody uses it any more.
    pub(crate) fn release(self) {
        if crate::event::without(|| CACHE.count.get() < KEPT) {
            self.clear();
            self.keep();
        } else if self.set_guard(Access::READ | Access::WRITE) {
            self.free();
        }
    }

    /// The addresses of the stack proper.
    pub(crate) fn range(self) -> Range<u64> {
        let bottom = (self.base + PAGE) as u64;
        bottom..bottom + self.size as u64
    }

    /// The addresses of the guard page.
    pub(crate) fn guard(self) -> Range<u64> {
        self.base as u64..(self.base + PAGE) as u64
    }

    /// Where the registers of an interruption go.
    pub(crate) fn area(self) -> *mut u8 {
        (self.base + PAGE + self.size) as *mut u8
    }

    fn set_guard(self, access: Access) -> bool {
        // SAFETY: the page belongs to this mapping, and nothing of the heap or a thread lies in it.
        unsafe { call::protect(self.guard(), access) }.is_ok()
    }

    fn free(self) {
        if let Some(layout) = layout(self.size) {
            // SAFETY: `allocate` got the block with this layout.
            unsafe { alloc::alloc::dealloc(self.base as *mut u8, layout) };
        }
    }

    /// Makes the used part zero again, so that the next user's high-water mark is its own.
    fn clear(self) {
        let used = high_water(&self.range());
        let start = self.range().end - used as u64;
        // SAFETY: nobody uses the stack any more.
        unsafe { core::ptr::write_bytes(start as *mut u8, 0, used) };
    }

    fn keep(self) {
        let place = self.area().cast::<Unused>();
        crate::event::without(|| {
            // SAFETY: the page belongs to the mapping, is writable, and nobody uses it any more.
            unsafe { place.write(Unused { stack: self, next: CACHE.first.get() }) };
            // SAFETY: written just now; it stays until `take_unused` has taken it out of the list.
            CACHE.first.set(Some(unsafe { &*place }));
            CACHE.count.set(CACHE.count.get() + 1);
        });
    }
}

/// Takes a kept mapping with a stack of exactly this size.
fn take_unused(size: usize) -> Option<Stack> {
    crate::event::without(|| {
        let mut before: Option<&'static Unused> = None;
        let mut next = CACHE.first.get();
        for _ in 0..LOOKED_AT {
            let unused = next?;
            if unused.stack.size == size {
                match before {
                    // SAFETY: events are off, so nobody else uses the list; the references to its
                    // members live in this function only.
                    Some(before) => unsafe {
                        (&raw const before.next).cast_mut().write(unused.next);
                    },
                    None => CACHE.first.set(unused.next),
                }
                CACHE.count.set(CACHE.count.get() - 1);
                return Some(unused.stack);
            }
            before = next;
            next = unused.next;
        }
        None
    })
}

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size.checked_add(2 * PAGE)?, PAGE).ok()
}

/// Bytes of a stack that were ever used, as far as memory tells: from the top down to the last word
/// that is not zero, not looking past four pages that are all zero. (Looking at a page that was never
/// touched costs its memory, so it is not done for all of a stack.)
pub(crate) fn high_water(stack: &Range<u64>) -> usize {
    const GIVE_UP: u64 = 4 * PAGE_SIZE;
    let mut lowest = stack.end;
    let mut address = stack.end;
    while address > stack.start && lowest - address < GIVE_UP {
        address -= 8;
        // SAFETY: the address lies in a stack, which is mapped and readable. Its thread may write it at
        // the same time only if it is the one that runs here; the value does not matter then.
        if unsafe { (address as *const u64).read_volatile() } != 0 {
            lowest = address;
        }
    }
    (stack.end - lowest) as usize
}

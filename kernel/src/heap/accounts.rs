//! What the heap counts: a few additions for each block, with events off.

use super::{large, small};
use crate::event;
use core::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// Bytes in live blocks: what was allocated less what was freed, ever.
static USED: AtomicI64 = AtomicI64::new(0);

/// What `USED` was when a thread was last charged.
static CHARGED: AtomicI64 = AtomicI64::new(0);

static PEAK: AtomicI64 = AtomicI64::new(0);
static BLOCKS: AtomicI64 = AtomicI64::new(0);
static ALLOCATIONS: AtomicI64 = AtomicI64::new(0);
static FAILURES: AtomicI64 = AtomicI64::new(0);

/// What the heap has, and what became of it. Sizes in bytes; those of blocks as rounded up by the heap.
///
/// `used`, `free` and `slabs_unused` make `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// The whole heap.
    pub total: usize,
    /// In live blocks.
    pub used: usize,
    /// Neither in a live block nor in a slab, perhaps in many pieces: see [`largest_free`](super::largest_free).
    pub free: usize,
    /// The most that ever was in live blocks.
    pub peak: usize,
    /// In slabs, of which small blocks are made.
    pub slabs: usize,
    /// In slabs, but not in live blocks. Empty slabs, of which there are at most 28, go back when
    /// memory has run out.
    pub slabs_unused: usize,
    /// Live blocks.
    pub blocks: usize,
    /// Blocks that were allocated, ever.
    pub allocations: u64,
    /// Allocations that failed, ever.
    pub failures: u64,
}

/// The heap's figures now. Takes constant time, and is possible everywhere.
pub fn statistics() -> Statistics {
    event::without(|| {
        let used = USED.load(Relaxed) as usize;
        let slabs = small::slabs() * small::SLAB_SIZE;
        let slabs_unused = slabs - (used - large::used());
        let total = large::total();
        Statistics {
            total,
            used,
            free: total - used - slabs_unused,
            peak: PEAK.load(Relaxed) as usize,
            slabs,
            slabs_unused,
            blocks: BLOCKS.load(Relaxed) as usize,
            allocations: ALLOCATIONS.load(Relaxed) as u64,
            failures: FAILURES.load(Relaxed) as u64,
        }
    })
}

/// Bytes that were allocated less bytes that were freed since somebody was last charged for them.
pub(crate) fn balance() -> i64 {
    USED.load(Relaxed) - CHARGED.load(Relaxed)
}

/// Takes the balance, to charge a thread for it. Events are off.
#[inline(always)]
pub(crate) fn take_balance() -> i64 {
    let balance = balance();
    CHARGED.store(USED.load(Relaxed), Relaxed);
    balance
}

/// Counts a block. Events are off.
#[inline(always)]
pub(super) fn allocated(bytes: usize) {
    add(&ALLOCATIONS, 1);
    add(&BLOCKS, 1);
    let used = add(&USED, bytes as i64);
    if used > PEAK.load(Relaxed) {
        PEAK.store(used, Relaxed);
    }
}

/// Counts a block that was given back. Events are off.
#[inline(always)]
pub(super) fn freed(bytes: usize) {
    add(&BLOCKS, -1);
    add(&USED, -(bytes as i64));
}

/// Counts bytes of pages that were allocated or, if they are negative, given back.
pub(super) fn pages(bytes: i64) {
    event::without(|| {
        large::count(bytes);
        let used = add(&USED, bytes);
        PEAK.store(PEAK.load(Relaxed).max(used), Relaxed);
    });
}

/// Counts a failure.
#[cold]
pub(super) fn failed() {
    event::without(|| add(&FAILURES, 1));
}

/// Adds to a counter that changes with events off only.
#[inline(always)]
pub(super) fn add(counter: &AtomicI64, difference: i64) -> i64 {
    let sum = counter.load(Relaxed).wrapping_add(difference);
    counter.store(sum, Relaxed);
    sum
}

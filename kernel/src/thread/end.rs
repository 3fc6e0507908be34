//! The end of threads: what they leave, and who takes it away.
//!
//! A thread cannot free the stack it stands on. At its end it puts itself on a list and leaves the processor for
//! good; the next thread that spawns, ends or has joined frees what those on the list have left.

use super::{Handle, Thread};
use crate::event;
use crate::scheduler::{self, EventsOff};
use crate::sync::RawMutex;
use alloc::string::String;
use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Threads that are over and whose stack is still to be released, the last one first.
static ZOMBIES: EventsOff<Cell<Option<&'static Thread>>> = EventsOff(Cell::new(None));

/// What threads that are over have used, all together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ended {
    /// How many they are.
    pub count: u64,
    /// Nanoseconds for which they had the processor.
    pub cpu_time: u64,
    /// How often they got it.
    pub switches: u64,
    /// How many of them died or [exited](super::exit), so that no destructors ran.
    pub died: u64,
    /// Bytes that these had allocated more than they freed.
    pub left: i64,
}

static ENDED: EventsOff<Cell<Ended>> =
    EventsOff(Cell::new(Ended { count: 0, cpu_time: 0, switches: 0, died: 0, left: 0 }));

/// Counts stacks that are never used again.
static ABANDONED: AtomicUsize = AtomicUsize::new(0);

/// The last step of every thread but the main one: its locks are released, and it never runs again.
pub(crate) fn vanish() -> ! {
    bury();
    let thread = scheduler::current();
    event::disable();
    thread.next_zombie.set(ZOMBIES.replace(Some(thread)));
    scheduler::leave()
}

/// Held while stacks of others are looked at or released.
pub(super) static GRAVEYARD: RawMutex = RawMutex::new();

/// Releases what threads that are over have left: their stacks, and their control blocks unless there
/// are handles.
pub(super) fn bury() {
    if event::without(|| ZOMBIES.get().is_none()) {
        return;
    }
    let _ = GRAVEYARD.lock();
    bury_all();
    GRAVEYARD.unlock();
}

fn bury_all() {
    while let Some(thread) = event::without(|| {
        let first = ZOMBIES.get()?;
        ZOMBIES.set(first.next_zombie.take());
        let Ended { count, cpu_time, switches, died, left } = ENDED.get();
        let has_died = !first.has_returned.get();
        ENDED.set(Ended {
            count: count + 1,
            cpu_time: cpu_time + first.cpu_time.get(),
            switches: switches + first.switches.get(),
            died: died + u64::from(has_died),
            left: left + if has_died { first.heap.get() } else { 0 },
        });
        Some(first)
    }) {
        // SAFETY: the thread is over and runs no more; whoever has a handle does not look at these.
        let storage = unsafe { (*thread.storage.get()).take() };
        drop(storage);
        if let Some(stack) = thread.stack.take() {
            if thread.keeps_stack.get() && !thread.has_returned.get() {
                ABANDONED.fetch_add(1, Ordering::Relaxed);
            } else {
                stack.release();
            }
        }
        drop(Handle::own(thread));
    }
}

/// Notes what the calling thread dies of.
pub(crate) fn set_death(text: String) {
    // SAFETY: only the thread itself writes it, and nobody reads it before the thread is over.
    unsafe { *scheduler::current().death.get() = Some(text) };
}

/// What threads that are over, and were buried since, have used.
#[must_use]
pub fn ended() -> Ended {
    bury();
    event::without(|| ENDED.get())
}

/// How many stacks are lost because their threads died or exited; see [`Options::reclaim_stack`](super::Options::reclaim_stack).
#[must_use]
pub fn abandoned_stacks() -> usize {
    ABANDONED.load(Ordering::Relaxed)
}

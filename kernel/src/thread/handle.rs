//! Handles: what others can know of a thread, and do to it.

use super::block::{self, Thread};
use super::end::{GRAVEYARD, bury};
use super::{Priority, State, TimeSlice, Waiting, sleep_until};
use crate::scheduler::{self, TimedOut};
use crate::stack;
use crate::{clock, event, heap};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::sync::atomic::Ordering;

/// What is known of a thread.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// A number that no other thread of this guest ever has; the main thread's is 1.
    pub number: u64,
    /// Where it stands.
    pub state: State,
    /// What it waits for.
    pub waiting: Waiting,
    /// Its base priority.
    pub priority: Priority,
    /// The priority by which it is scheduled: its own, or one it inherited.
    pub effective_priority: Priority,
    /// Nanoseconds for which it had the processor.
    pub cpu_time: u64,
    /// How often it got the processor.
    pub switches: u64,
    /// Bytes of its stack.
    pub stack_size: usize,
    /// Bytes of its stack that were ever used, as far as memory tells.
    pub stack_used: usize,
    /// Bytes it allocated minus bytes it freed.
    pub heap: i64,
}

/// A thread, as others know it.
pub struct Handle(NonNull<Thread>);

// SAFETY: a handle gives access to the control block, which is `Sync`.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    pub(crate) fn new(thread: &'static Thread) -> Handle {
        thread.references.fetch_add(1, Ordering::Relaxed);
        Handle(NonNull::from(thread))
    }

    /// The reference that a thread has of itself until it is over, to be dropped.
    pub(super) fn own(thread: &'static Thread) -> Handle {
        Handle(NonNull::from(thread))
    }

    fn thread(&self) -> &'static Thread {
        // SAFETY: the control block lives as long as there is a handle. (The lifetime is that of the
        // handle; callers do not keep it longer.)
        unsafe { self.0.as_ref() }
    }

    /// The name that was given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        if self.thread().is_main() { Some("main") } else { self.thread().name.as_deref() }
    }

    /// A number that no other thread of this guest ever has; the main thread's is 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.thread().number
    }

    /// Ends the wait of the parked thread, or lets its next park end at once.
    pub fn unpark(&self) {
        scheduler::decide(|policy, now| policy.unpark(self.thread().id(), now));
    }

    /// Ends a wait in which the thread can be [interrupted](super::interruptible), as its deadline would.
    pub fn interrupt(&self) {
        scheduler::decide(|policy, now| policy.interrupt(self.thread().id(), now));
    }

    /// Stops the thread until it is resumed, wherever it stands. What it holds it keeps.
    pub fn suspend(&self) {
        scheduler::decide(|policy, now| policy.suspend(self.thread().id(), now));
    }

    /// Lets the thread go on if it was suspended.
    pub fn resume(&self) {
        scheduler::decide(|policy, now| policy.resume(self.thread().id(), now));
    }

    /// The base priority.
    #[must_use]
    pub fn priority(&self) -> Priority {
        scheduler::quick(|policy| policy.thread(self.thread().id()).base_priority())
    }

    /// The priority by which the thread is scheduled: its own, or one it inherited.
    #[must_use]
    pub fn effective_priority(&self) -> Priority {
        scheduler::quick(|policy| policy.thread(self.thread().id()).effective_priority())
    }

    /// Changes the base priority.
    pub fn set_priority(&self, priority: Priority) {
        scheduler::decide(|policy, now| policy.set_priority(self.thread().id(), priority, now));
    }

    /// Gives the thread a time slice of its own, or takes it away. It counts from its next whole slice.
    pub fn set_time_slice(&self, slice: Option<TimeSlice>) {
        scheduler::quick(|policy| policy.set_thread_slice(self.thread().id(), slice));
    }

    /// The addresses of its stack; none once it is over.
    #[must_use]
    pub fn stack(&self) -> Range<u64> {
        if self.is_finished() { 0..0 } else { self.thread().stack() }
    }

    /// Whether the thread is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        scheduler::quick(|policy| policy.thread(self.thread().id()).state() == State::Exited)
    }

    /// Waits until the thread is over.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the clock reaches `deadline` (ns) first.
    ///
    /// # Panics
    ///
    /// With events off; if it is the caller's own.
    pub fn join(&self, deadline: Option<u64>) -> Result<(), TimedOut> {
        /// How often a second one who waits looks, in ns.
        const LOOK: u64 = 1_000_000;
        assert!(!ptr::eq(self.thread(), scheduler::current()), "a thread waits for its own end");
        // The policy knows one thread that waits for an end; others look from time to time.
        while event::without(|| self.thread().is_joined.replace(true)) {
            if self.is_finished() {
                return Ok(());
            }
            let now = clock::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(TimedOut);
            }
            sleep_until(deadline.unwrap_or(u64::MAX).min(now + LOOK));
        }
        let result = scheduler::block(|policy, now| policy.join(self.thread().id(), deadline, now));
        event::without(|| self.thread().is_joined.set(false));
        bury();
        result.map(drop)
    }

    /// What the thread died of, once it is over; `None` if it ended well.
    #[must_use]
    pub fn death(&self) -> Option<String> {
        // SAFETY: it is written before the thread is over, and never after.
        if self.is_finished() { unsafe { (*self.thread().death.get()).clone() } } else { None }
    }

    /// What is known of the thread. Looks at its stack, which takes a while.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let thread = self.thread();
        // A thread may end while we look at its stack, but nobody else gets that stack meanwhile.
        let _ = GRAVEYARD.lock();
        let is_over = self.is_finished();
        let stack = thread.stack();
        let stack_used = if is_over { 0 } else { stack::high_water(&stack) };
        GRAVEYARD.unlock();
        scheduler::quick(|policy| {
            let record = policy.thread(thread.id());
            let is_current = ptr::eq(thread, scheduler::current());
            Statistics {
                number: thread.number,
                state: record.state(),
                waiting: record.waiting(),
                priority: record.base_priority(),
                effective_priority: record.effective_priority(),
                cpu_time: thread.cpu_time.get() + if is_current { scheduler::uncharged() } else { 0 },
                switches: thread.switches.get(),
                stack_size: if is_over { 0 } else { (stack.end - stack.start) as usize },
                stack_used,
                heap: thread.heap.get() + if is_current { heap::balance() } else { 0 },
            }
        })
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        Handle::new(self.thread())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let thread = self.thread();
        let is_last = event::without(|| {
            let is_last = thread.references.fetch_sub(1, Ordering::Relaxed) == 1;
            if is_last {
                thread.unpublish();
            }
            is_last
        });
        if is_last {
            // SAFETY: `try_box` made it, nobody knows it any more, and it is over: it held a reference
            // itself until then.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Thread").field("number", &self.number()).field("name", &self.name()).finish()
    }
}

/// Handles of all threads that are not over, in no particular order.
///
/// # Panics
///
/// If there is no memory for the list. In a handler function there may be none at any time.
#[must_use]
pub fn all() -> Vec<Handle> {
    let mut handles = Vec::new();
    block::for_each(|handle| {
        if !handle.is_finished() {
            handles.push(handle);
        }
    });
    handles
}

//! Event groups: threads wait until any, or all, of some events have happened.
//!
//! An event is a bit that is set until somebody clears it: a thread that asked for that clears, when its
//! wait succeeds, the events it waited for. When events are set, all waiters are looked at with the same
//! events, and only then the bits are cleared; so one event can satisfy many threads.

use crate::table::Id;
use crate::thread::{Threads, Waiting, Wanted};
use crate::wait::{Released, WaitQueue};

/// The number of an event group.
pub type EventGroupId = Id<EventGroup>;

/// The policy's record of an event group. Nobody in it waits for what has happened.
#[derive(Debug, Default)]
pub struct EventGroup {
    events: u32,
    pub(crate) waiters: WaitQueue,
}

impl Wanted {
    /// Whether these events satisfy the wait. Waiting for all of no events is satisfied always, for any
    /// of no events never.
    #[must_use]
    pub const fn is_satisfied_by(self, events: u32) -> bool {
        let happened = self.events & events;
        if self.all { happened == self.events } else { happened != 0 }
    }
}

impl EventGroup {
    /// The events that have happened and were not cleared.
    #[must_use]
    pub const fn events(&self) -> u32 {
        self.events
    }

    /// Gives the events, as they were before clearing, if they satisfy a thread that just comes.
    #[must_use = "a thread that is not satisfied must wait"]
    pub(crate) const fn try_wait(&mut self, wanted: Wanted) -> Option<u32> {
        let events = self.events;
        if !wanted.is_satisfied_by(events) {
            return None;
        }
        if wanted.clear {
            self.events &= !wanted.events;
        }
        Some(events)
    }

    /// Events happen. Gives the threads that are satisfied, and each the events in its `value`. Takes
    /// time for each waiter.
    pub(crate) fn set(&mut self, threads: &mut Threads, events: u32) -> Released {
        self.events |= events;
        let mut released = Released::default();
        let mut clear = 0;
        let mut next = self.waiters.first();
        while let Some(thread) = next {
            next = threads[thread].links.next;
            let Waiting::Events(_, wanted) = threads[thread].waiting else {
                unreachable!("{thread:?} is in the queue of an event group and waits for something else")
            };
            if wanted.is_satisfied_by(self.events) {
                if wanted.clear {
                    clear |= wanted.events;
                }
                self.waiters.remove(threads, thread);
                threads[thread].value = self.events;
                released.push(threads, thread);
            }
        }
        self.events &= !clear;
        released
    }

    /// Makes events not have happened.
    pub(crate) const fn clear(&mut self, events: u32) {
        self.events &= !events;
    }
}

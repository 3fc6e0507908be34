//! [`EventGroup`]: waiting for any or all of some events.

use crate::time::{self, Duration, Instant};
use core::fmt;
use vcpu_kernel::sync::{RawEventGroup, TimedOut, Wanted};

/// 32 events that have happened or not. Threads wait until any, or all, of some have happened.
///
/// One event can satisfy many threads: all who wait are looked at before any event is cleared. An event
/// handler function may set events.
///
/// ```no_run
/// use libvcpu::sync::{EventGroup, Events};
///
/// const READ: u32 = 1 << 0;
/// const WRITTEN: u32 = 1 << 1;
/// static DONE: EventGroup = EventGroup::new();
///
/// // One thread:
/// DONE.set(READ);
/// // Another:
/// DONE.wait(Events::all(READ | WRITTEN).cleared());
/// ```
pub struct EventGroup {
    raw: RawEventGroup,
}

/// Which events of an [`EventGroup`] are waited for; one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    wanted: Wanted,
}

impl Events {
    /// Any of these. Of no events, it never comes.
    #[must_use]
    pub const fn any(events: u32) -> Events {
        Events { wanted: Wanted { events, all: false, clear: false } }
    }

    /// All of these. Of no events, they have happened.
    #[must_use]
    pub const fn all(events: u32) -> Events {
        Events { wanted: Wanted { events, all: true, clear: false } }
    }

    /// The same, and when the wait succeeds, the events it was for are cleared.
    #[must_use]
    pub const fn cleared(self) -> Events {
        Events { wanted: Wanted { clear: true, ..self.wanted } }
    }
}

impl EventGroup {
    /// A group in which nothing has happened.
    #[must_use]
    pub const fn new() -> EventGroup {
        EventGroup { raw: RawEventGroup::new() }
    }

    /// Lets events happen. Takes time for each thread that waits, with events of the machine off.
    pub fn set(&self, events: u32) {
        self.raw.set(events);
    }

    /// Makes events not have happened.
    pub fn clear(&self, events: u32) {
        self.raw.clear(events);
    }

    /// The events that have happened and were not cleared.
    pub fn get(&self) -> u32 {
        self.raw.get()
    }

    /// Waits for events. Gives all that had happened then, before any were cleared.
    pub fn wait(&self, events: Events) -> u32 {
        time::unlimited(self.raw.wait(events.wanted, None))
    }

    /// As [`wait`](EventGroup::wait), if the events have happened.
    pub fn try_wait(&self, events: Events) -> Option<u32> {
        self.raw.try_wait(events.wanted)
    }

    /// As [`wait`](EventGroup::wait), no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the deadline came first.
    pub fn wait_timeout(&self, events: Events, timeout: Duration) -> Result<u32, TimedOut> {
        self.raw.wait(events.wanted, time::after(timeout))
    }

    /// As [`wait`](EventGroup::wait), until `deadline` at most.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the deadline came first.
    pub fn wait_until(&self, events: Events, deadline: Instant) -> Result<u32, TimedOut> {
        self.raw.wait(events.wanted, Some(deadline.as_nanos()))
    }
}

impl Default for EventGroup {
    fn default() -> EventGroup {
        EventGroup::new()
    }
}

impl fmt::Debug for EventGroup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EventGroup").field("events", &format_args!("{:#x}", self.get())).finish()
    }
}

//! [`RawEventGroup`]: waiting for any or all of 32 events.

use super::registration::{Record, Registration};
use crate::scheduler::{self, TimedOut};
use vcpu_kernel_core::event_group::EventGroup;
use vcpu_kernel_core::policy::{Busy, Kind, Policy};
use vcpu_kernel_core::table::{Full, Id};
use vcpu_kernel_core::thread::Wanted;

/// An event group. What it means is said in [`vcpu_kernel_core::event_group`].
#[derive(Debug)]
pub struct RawEventGroup {
    record: Registration<EventGroup>,
}

impl Record for EventGroup {
    const KIND: Kind = Kind::EventGroup;

    type Parameters = ();

    fn create(policy: &mut Policy, (): ()) -> Result<Id<EventGroup>, Full> {
        policy.create_event_group()
    }

    fn remove(policy: &mut Policy, id: Id<EventGroup>) -> Result<(), Busy> {
        policy.remove_event_group(id)
    }
}

impl RawEventGroup {
    /// A group in which nothing has happened.
    #[must_use]
    pub const fn new() -> RawEventGroup {
        RawEventGroup { record: Registration::new(()) }
    }

    /// Waits for events, until `deadline` (ns) if need be. Gives all that had happened then, before any were
    /// cleared.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the deadline came first.
    ///
    /// # Panics
    ///
    /// With events off.
    pub fn wait(&self, wanted: Wanted, deadline: Option<u64>) -> Result<u32, TimedOut> {
        let id = self.record.ensure();
        scheduler::block(|policy, now| policy.wait_events(id, wanted, deadline, now))
    }

    /// As [`wait`](RawEventGroup::wait), if the events have happened.
    pub fn try_wait(&self, wanted: Wanted) -> Option<u32> {
        let id = self.record.ensure();
        scheduler::quick(|policy| {
            let events = policy.event_group(id).events();
            wanted.is_satisfied_by(events).then(|| {
                if wanted.clear {
                    policy.clear_events(id, wanted.events);
                }
                events
            })
        })
    }

    /// Lets events happen. Looks at each thread that waits.
    pub fn set(&self, events: u32) {
        let id = self.record.ensure();
        scheduler::decide(|policy, now| policy.set_events(id, events, now));
    }

    /// Makes events not have happened.
    pub fn clear(&self, events: u32) {
        let id = self.record.ensure();
        scheduler::quick(|policy| policy.clear_events(id, events));
    }

    /// The events that have happened and were not cleared.
    pub fn get(&self) -> u32 {
        let id = self.record.ensure();
        scheduler::quick(|policy| policy.event_group(id).events())
    }
}

impl Default for RawEventGroup {
    fn default() -> RawEventGroup {
        RawEventGroup::new()
    }
}

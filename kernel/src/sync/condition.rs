//! [`RawCondition`]: waiting, with a mutex given up, until somebody says that something has changed.

use super::RawMutex;
use super::registration::{Record, Registration, record_functions};
use crate::scheduler::{self, TimedOut};
use vcpu_kernel_core::condition::Condition;
use vcpu_kernel_core::policy::{Busy, Decision, Kind, Policy};
use vcpu_kernel_core::table::{Full, Id};

/// A condition variable. What it means is said in [`vcpu_kernel_core::condition`].
#[derive(Debug)]
pub struct RawCondition {
    record: Registration<Condition>,
}

impl Record for Condition {
    const KIND: Kind = Kind::Condition;

    type Parameters = ();

    fn create(policy: &mut Policy, (): ()) -> Result<Id<Condition>, Full> {
        policy.create_condition()
    }

    fn remove(policy: &mut Policy, id: Id<Condition>) -> Result<(), Busy> {
        policy.remove_condition(id)
    }
}

record_functions!(RawCondition);

impl RawCondition {
    /// A condition variable that nobody waits on.
    #[must_use]
    pub const fn new() -> RawCondition {
        RawCondition { record: Registration::new(()) }
    }

    /// Gives up the mutex, waits for a notification, and takes the mutex again. Whatever the outcome, the
    /// calling thread owns it then; it may have been poisoned meanwhile.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if `deadline` (ns) came before a notification. For the mutex it is waited without a
    /// deadline.
    ///
    /// # Panics
    ///
    /// If the calling thread does not own the mutex; with events off.
    pub fn wait(&self, mutex: &RawMutex, deadline: Option<u64>) -> Result<(), TimedOut> {
        let id = self.record.ensure();
        mutex.ensure();
        let wait = |policy: &mut Policy, now| {
            let mutex = mutex.keep(policy);
            policy.wait_condition(id, mutex, deadline, now)
        };
        scheduler::block(wait).map(drop)
    }

    /// Notifies the first who waits, if anybody does.
    #[inline]
    pub fn notify_one(&self) {
        self.notify(Policy::notify_one);
    }

    /// Notifies everyone who waits.
    #[inline]
    pub fn notify_all(&self) {
        self.notify(Policy::notify_all);
    }

    fn notify(&self, notify: impl FnOnce(&mut Policy, Id<Condition>, u64) -> Decision) {
        // Without a record, nobody has ever waited.
        let awaited = |policy: &mut Policy| self.record.get(policy).filter(|id| policy.is_awaited(*id));
        if let Some(id) = scheduler::quick(awaited) {
            scheduler::decide(|policy, now| notify(policy, id, now));
        }
    }
}

impl Default for RawCondition {
    fn default() -> RawCondition {
        RawCondition::new()
    }
}

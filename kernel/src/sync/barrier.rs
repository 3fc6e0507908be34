//! [`RawBarrier`]: a number of threads wait for each other.

use super::registration::{Record, Registration, record_functions};
use crate::scheduler::{self, TimedOut};
use vcpu_kernel_core::barrier::Barrier;
use vcpu_kernel_core::policy::{Busy, Kind, Policy};
use vcpu_kernel_core::table::{Full, Id};

/// A barrier. What it means is said in [`vcpu_kernel_core::barrier`].
#[derive(Debug)]
pub struct RawBarrier {
    record: Registration<Barrier>,
}

impl Record for Barrier {
    const KIND: Kind = Kind::Barrier;

    /// How many threads have to arrive.
    type Parameters = u32;

    fn create(policy: &mut Policy, parties: u32) -> Result<Id<Barrier>, Full> {
        policy.create_barrier(parties)
    }

    fn remove(policy: &mut Policy, id: Id<Barrier>) -> Result<(), Busy> {
        policy.remove_barrier(id)
    }
}

record_functions!(RawBarrier);

impl RawBarrier {
    /// A barrier for a number of threads; none is as good as one.
    #[must_use]
    pub const fn new(parties: u32) -> RawBarrier {
        RawBarrier { record: Registration::new(parties) }
    }

    /// Waits until all have arrived, again and again. Gives whether the calling thread was the last.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if `deadline` (ns) came first. The thread then has not arrived.
    ///
    /// # Panics
    ///
    /// With events off.
    pub fn wait(&self, deadline: Option<u64>) -> Result<bool, TimedOut> {
        let id = self.record.ensure();
        scheduler::block(|policy, now| policy.wait_barrier(id, deadline, now)).map(|value| value == 1)
    }
}

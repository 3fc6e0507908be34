//! [`RawSemaphore`]: a number of permits.

use super::registration::{Record, Registration, record_functions};
use crate::scheduler::{self, Off, TimedOut};
use vcpu_kernel_core::policy::{Busy, Kind, Policy};
use vcpu_kernel_core::semaphore::{Semaphore, TooManyPermits};
use vcpu_kernel_core::table::{Full, Id};

/// A semaphore. What it means is said in [`vcpu_kernel_core::semaphore`].
#[derive(Debug)]
pub struct RawSemaphore {
    record: Registration<Semaphore>,
}

/// What a semaphore begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permits {
    free: u32,
    maximum: u32,
}

impl Record for Semaphore {
    const KIND: Kind = Kind::Semaphore;

    type Parameters = Permits;

    fn create(policy: &mut Policy, Permits { free, maximum }: Permits) -> Result<Id<Semaphore>, Full> {
        policy.create_semaphore(free, maximum)
    }

    fn remove(policy: &mut Policy, id: Id<Semaphore>) -> Result<(), Busy> {
        policy.remove_semaphore(id)
    }
}

record_functions!(RawSemaphore);

impl RawSemaphore {
    /// A semaphore with some free permits of a maximum.
    ///
    /// # Panics
    ///
    /// If there are more permits than the maximum.
    #[must_use]
    pub const fn new(permits: u32, maximum: u32) -> RawSemaphore {
        assert!(permits <= maximum, "a semaphore has more permits than the most it may have");
        RawSemaphore { record: Registration::new(Permits { free: permits, maximum }) }
    }

    /// Takes a permit, and waits for one until `deadline` (ns) if need be.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the deadline came first.
    ///
    /// # Panics
    ///
    /// If it would have to wait with events off.
    #[inline]
    pub fn acquire(&self, deadline: Option<u64>) -> Result<(), TimedOut> {
        scheduler::quick_or(
            |policy| self.record.get(policy).is_some_and(|id| policy.try_acquire(id)).then_some(Ok(())),
            |off| self.acquire_contended(off, deadline),
        )
    }

    /// Takes a permit if one is free.
    #[must_use = "without a permit the thread must not go on"]
    #[inline]
    pub fn try_acquire(&self) -> bool {
        self.acquire_uncontended() || self.try_acquire_first()
    }

    /// Gives a permit to the first who waits, or makes it free.
    ///
    /// # Errors
    ///
    /// [`TooManyPermits`] if all permits are free already. Nothing changed.
    #[inline]
    pub fn release(&self) -> Result<(), TooManyPermits> {
        scheduler::quick_or(
            |policy| match policy.release_uncontended(self.record.get(policy)?) {
                Ok(is_done) => is_done.then_some(Ok(())),
                Err(error) => Some(Err(error)),
            },
            |off| self.release_contended(off),
        )
    }

    /// The free permits.
    pub fn permits(&self) -> u32 {
        let id = self.record.ensure();
        scheduler::quick(|policy| policy.semaphore(id).permits())
    }

    #[inline(always)]
    fn acquire_uncontended(&self) -> bool {
        scheduler::quick(|policy| self.record.get(policy).is_some_and(|id| policy.try_acquire(id)))
    }

    #[inline(never)]
    fn acquire_contended(&self, mut off: Off, deadline: Option<u64>) -> Result<(), TimedOut> {
        loop {
            let result = off.block_with(|policy, now| {
                let id = self.record.get(policy).ok_or(Full)?;
                Ok(policy.acquire(id, deadline, now))
            });
            match result {
                Ok(result) => return result.map(drop),
                Err(Full) => {
                    self.record.ensure();
                    off = Off::begin();
                }
            }
        }
    }

    #[inline(never)]
    fn release_contended(&self, mut off: Off) -> Result<(), TooManyPermits> {
        loop {
            let result = off.try_decide(|policy, now| {
                let id = self.record.get(policy).ok_or(None)?;
                policy.release(id, now).map_err(Some)
            });
            match result {
                Ok(()) => return Ok(()),
                Err(Some(error)) => return Err(error),
                Err(None) => {
                    self.record.ensure();
                    off = Off::begin();
                }
            }
        }
    }

    /// As [`try_acquire`](RawSemaphore::try_acquire), after that has failed: perhaps for want of a record.
    #[cold]
    fn try_acquire_first(&self) -> bool {
        let id = self.record.ensure();
        scheduler::quick(|policy| policy.try_acquire(id))
    }
}

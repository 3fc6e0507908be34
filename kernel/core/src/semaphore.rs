//! Semaphores: a number of permits.
//!
//! A permit that is released while somebody waits belongs to that thread at once; it never becomes free,
//! so nobody who comes later can take it away. Hence: while there are free permits, nobody waits.

use crate::table::Id;
use crate::thread::{ThreadId, Threads};
use crate::wait::WaitQueue;
use core::fmt;

/// The number of a semaphore.
pub type SemaphoreId = Id<Semaphore>;

/// The policy's record of a semaphore.
#[derive(Debug)]
pub struct Semaphore {
    permits: u32,
    maximum: u32,
    pub(crate) waiters: WaitQueue,
}

/// A semaphore has as many permits as it can have already: one that was not acquired was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyPermits;

impl fmt::Display for TooManyPermits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the semaphore has all of its permits already")
    }
}

impl core::error::Error for TooManyPermits {}

impl Semaphore {
    pub(crate) fn new(permits: u32, maximum: u32) -> Semaphore {
        assert!(permits <= maximum, "{permits} permits are more than {maximum}, the most there may be");
        Semaphore { permits, maximum, waiters: WaitQueue::default() }
    }

    /// The free permits.
    #[must_use]
    pub const fn permits(&self) -> u32 {
        self.permits
    }

    /// Takes a permit if one is free.
    #[must_use = "without a permit the thread must wait"]
    #[inline]
    pub(crate) const fn try_acquire(&mut self) -> bool {
        match self.permits.checked_sub(1) {
            Some(rest) => {
                self.permits = rest;
                true
            }
            None => false,
        }
    }

    /// Makes a permit free if nobody waits for one.
    #[inline]
    pub(crate) const fn release_uncontended(&mut self) -> Result<bool, TooManyPermits> {
        if !self.waiters.is_empty() {
            return Ok(false);
        }
        if self.permits == self.maximum {
            return Err(TooManyPermits);
        }
        self.permits += 1;
        Ok(true)
    }

    /// Gives a permit to the first who waits, and says who that is, or makes it free.
    #[must_use = "the thread that got the permit must be woken"]
    #[inline]
    pub(crate) fn release(&mut self, threads: &mut Threads) -> Result<Option<ThreadId>, TooManyPermits> {
        let next = self.waiters.pop(threads);
        if next.is_none() {
            self.release_uncontended()?;
        }
        Ok(next)
    }
}

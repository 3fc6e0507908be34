//! [`Semaphore`]: a number of permits.

use crate::time::{self, Duration, Instant};
use core::fmt;
use vcpu_kernel::sync::{RawSemaphore, TimedOut, TooManyPermits};

/// Lets a number of threads do something at a time, or counts what has happened and was not taken.
///
/// A permit that is released while somebody waits belongs to the first of them. Permits have no owner: any
/// thread, and an event handler function, may release one; and one that a dying thread had is lost.
///
/// ```no_run
/// use libvcpu::sync::Semaphore;
///
/// static SLOTS: Semaphore = Semaphore::new(4);
///
/// let _slot = SLOTS.acquire();
/// // At most four threads are here, until the permit is dropped.
/// ```
pub struct Semaphore {
    raw: RawSemaphore,
}

/// A permit of a [`Semaphore`]; dropping it releases it.
#[must_use = "the permit is released at once if it is not kept"]
#[derive(Debug)]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
}

impl Semaphore {
    /// A semaphore with this many free permits. More can be added by [`release`](Semaphore::release).
    #[must_use]
    pub const fn new(permits: u32) -> Semaphore {
        Semaphore::with_maximum(permits, u32::MAX)
    }

    /// A semaphore with this many free permits, which never has more than `maximum`.
    ///
    /// # Panics
    ///
    /// If there are more permits than the maximum.
    #[must_use]
    pub const fn with_maximum(permits: u32, maximum: u32) -> Semaphore {
        Semaphore { raw: RawSemaphore::new(permits, maximum) }
    }

    /// Takes a permit, and waits for one if need be.
    #[inline]
    pub fn acquire(&self) -> SemaphorePermit<'_> {
        time::unlimited(self.raw.acquire(None));
        SemaphorePermit { semaphore: self }
    }

    /// Takes a permit if one is free.
    #[inline]
    pub fn try_acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.raw.try_acquire().then(|| SemaphorePermit { semaphore: self })
    }

    /// Takes a permit, and waits for one no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the deadline came first.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<SemaphorePermit<'_>, TimedOut> {
        self.raw.acquire(time::after(timeout)).map(|()| SemaphorePermit { semaphore: self })
    }

    /// Takes a permit, and waits for one until `deadline` at most.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the deadline came first.
    pub fn acquire_until(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, TimedOut> {
        self.raw.acquire(Some(deadline.as_nanos())).map(|()| SemaphorePermit { semaphore: self })
    }

    /// Adds a permit: one more than were acquired, or one that was [forgotten](SemaphorePermit::forget).
    ///
    /// # Errors
    ///
    /// [`TooManyPermits`] if the maximum is free already. Nothing changed.
    #[inline]
    pub fn release(&self) -> Result<(), TooManyPermits> {
        self.raw.release()
    }

    /// How many permits are free now.
    pub fn permits(&self) -> u32 {
        self.raw.permits()
    }
}

impl SemaphorePermit<'_> {
    /// Keeps the permit taken, until somebody [releases](Semaphore::release) one.
    pub const fn forget(self) {
        core::mem::forget(self);
    }
}

impl Drop for SemaphorePermit<'_> {
    #[inline]
    fn drop(&mut self) {
        // If somebody has released more than was acquired, the permit is there already.
        let _ = self.semaphore.raw.release();
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Semaphore").field("permits", &self.permits()).finish()
    }
}

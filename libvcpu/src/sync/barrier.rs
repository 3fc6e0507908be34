//! [`Barrier`]: waiting for each other.

use crate::time::{self, Duration, Instant};
use core::fmt;
use vcpu_kernel::sync::{RawBarrier, TimedOut};

/// Lets a number of threads wait until all of them have arrived, again and again.
///
/// ```no_run
/// use libvcpu::sync::Barrier;
///
/// static READY: Barrier = Barrier::new(4);
///
/// // Each of four threads:
/// if READY.wait().is_leader() {
///     libvcpu::println!("all are ready");
/// }
/// ```
pub struct Barrier {
    raw: RawBarrier,
}

/// Whether a thread was the one of its round that leads.
#[derive(Debug)]
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Whether this thread was the last to arrive. Exactly one of each round is.
    #[must_use]
    pub const fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    /// A barrier for this many threads; 0 is as good as 1, at which nobody waits.
    ///
    /// # Panics
    ///
    /// If they are more than 2³² - 1.
    #[must_use]
    pub const fn new(count: usize) -> Barrier {
        assert!(count <= u32::MAX as usize, "a barrier is for at most 2^32 - 1 threads");
        Barrier { raw: RawBarrier::new(count as u32) }
    }

    /// Waits until all have arrived.
    pub fn wait(&self) -> BarrierWaitResult {
        BarrierWaitResult(time::unlimited(self.raw.wait(None)))
    }

    /// Waits until all have arrived, but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the deadline came first. This thread then has not arrived.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, TimedOut> {
        self.raw.wait(time::after(timeout)).map(BarrierWaitResult)
    }

    /// Waits until all have arrived, but not beyond `deadline`.
    ///
    /// # Errors
    ///
    /// As [`wait_timeout`](Barrier::wait_timeout).
    pub fn wait_until(&self, deadline: Instant) -> Result<BarrierWaitResult, TimedOut> {
        self.raw.wait(Some(deadline.as_nanos())).map(BarrierWaitResult)
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Barrier").finish_non_exhaustive()
    }
}

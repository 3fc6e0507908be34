//! [`Timer`]: something that is due once, or again and again.

use super::{Duration, Instant, after};
use core::fmt;
use core::num::NonZeroU64;
use vcpu_kernel::sync::{RawTimer, TimedOut};

/// Expires once, or once each period, and counts its expiries until a thread takes them.
///
/// A thread that comes late learns how many it missed, and a periodic timer does not drift: it is due at its
/// first deadline plus whole periods, however late it was served.
///
/// ```no_run
/// use libvcpu::time::{Duration, Timer};
///
/// let timer = Timer::new();
/// timer.start_periodic(Duration::from_millis(10));
/// loop {
///     let missed = timer.wait() - 1;
///     if missed > 0 {
///         libvcpu::println!("{missed} periods were missed");
///     }
/// }
/// ```
pub struct Timer {
    raw: RawTimer,
}

impl Timer {
    /// A timer that is not started.
    #[must_use]
    pub const fn new() -> Timer {
        Timer { raw: RawTimer::new() }
    }

    /// Lets it expire once, when `duration` has passed, and forgets what it was started for before, and
    /// expiries that nobody has taken. A duration beyond the end of time never passes.
    pub fn start(&self, duration: Duration) {
        self.start_by(after(duration), None);
    }

    /// As [`start`](Timer::start), at `deadline`.
    pub fn start_at(&self, deadline: Instant) {
        self.start_by(Some(deadline.as_nanos()), None);
    }

    /// As [`start`](Timer::start), when `period` has passed, and then each time it has passed again.
    ///
    /// # Panics
    ///
    /// If the period is zero.
    pub fn start_periodic(&self, period: Duration) {
        self.start_by(after(period), Some(nanoseconds(period)));
    }

    /// As [`start_periodic`](Timer::start_periodic), for the first time at `first`.
    ///
    /// # Panics
    ///
    /// If the period is zero.
    pub fn start_periodic_at(&self, first: Instant, period: Duration) {
        self.start_by(Some(first.as_nanos()), Some(nanoseconds(period)));
    }

    /// Stops it. Expiries that have happened can still be taken; who waits for more waits on.
    pub fn cancel(&self) {
        self.raw.stop();
    }

    /// Whether it is started and has an expiry to come.
    pub fn is_started(&self) -> bool {
        self.raw.is_started()
    }

    /// Waits for an expiry that nobody has taken, and takes all there are. Gives how many: at least one.
    ///
    /// Of a timer that is not started, that is for as long as nobody starts it.
    pub fn wait(&self) -> u32 {
        super::unlimited(self.raw.wait(None))
    }

    /// As [`wait`](Timer::wait), if there was an expiry.
    pub fn try_wait(&self) -> Option<u32> {
        self.raw.try_wait()
    }

    /// As [`wait`](Timer::wait), no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the deadline came first.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32, TimedOut> {
        self.raw.wait(after(timeout))
    }

    /// As [`wait`](Timer::wait), until `deadline` at most.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the deadline came first.
    pub fn wait_until(&self, deadline: Instant) -> Result<u32, TimedOut> {
        self.raw.wait(Some(deadline.as_nanos()))
    }

    fn start_by(&self, deadline: Option<u64>, period: Option<NonZeroU64>) {
        // The clock does not reach the end of time.
        self.raw.start(deadline.unwrap_or(u64::MAX), period);
    }
}

fn nanoseconds(period: Duration) -> NonZeroU64 {
    let nanoseconds = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    NonZeroU64::new(nanoseconds).expect("the period of a timer is not zero")
}

impl Default for Timer {
    fn default() -> Timer {
        Timer::new()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Timer").field("started", &self.is_started()).finish_non_exhaustive()
    }
}

//! Time: [`Duration`], [`Instant`], [`SystemTime`] as in `std`, read without a call; sleeping; and
//! one-shot timers that raise an event line.

use core::ops::{Add, Sub};
pub use core::time::Duration;
use vcpu_kernel::{call, clock, event};

/// A moment of the monotonic clock, which stood at zero when the guest started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// This moment.
    pub fn now() -> Instant {
        Instant(clock::now())
    }

    /// Time that has passed since this moment; zero if it lies in the future.
    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }

    /// Time from `earlier` to this moment; zero if it is not earlier.
    pub fn duration_since(self, earlier: Instant) -> Duration {
        self - earlier
    }

    /// Nanoseconds since the guest's start.
    pub fn as_nanos(self) -> u64 {
        self.0
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// The moment `duration` later; the end of time if there is none.
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A moment of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemTime(u64);

impl SystemTime {
    /// This moment, as the host's clock had it at the guest's start plus what has passed since.
    pub fn now() -> SystemTime {
        SystemTime(clock::wall())
    }

    /// Time since 1970 (UTC).
    pub fn since_unix_epoch(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

/// Sleeps for at least `duration`. Events are handled meanwhile.
pub fn sleep(duration: Duration) {
    let deadline = Instant::now() + duration;
    event::wait_until(Some(deadline.0), || false);
}

/// Has event line `line` raised at `deadline`, or no more if it is `None`. There is one timer a line.
///
/// # Panics
///
/// If there is no such line.
pub fn set_timer(line: u32, deadline: Option<Instant>) {
    if let Err(error) = call::timer_set(line, deadline.map(|deadline| deadline.0)) {
        panic!("timer of event line {line}: {error}");
    }
}

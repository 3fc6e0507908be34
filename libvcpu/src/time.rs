//! Time: [`Duration`], [`Instant`], [`SystemTime`] as in `std`, read without a call; sleeping; [`Timer`]s
//! that threads wait for; and one-shot timers that raise an event line.

mod timer;

pub use crate::thread::sleep;
use core::error::Error;
use core::fmt;
use core::ops::{Add, AddAssign, Sub, SubAssign};
pub use core::time::Duration;
pub use timer::Timer;
use vcpu_kernel::scheduler::TimedOut;
use vcpu_kernel::{call, clock, event};

/// 1970-01-01 00:00:00 UTC.
pub const UNIX_EPOCH: SystemTime = SystemTime::UNIX_EPOCH;

/// A moment of the monotonic clock, in ns since the guest's start; it reaches from then to 584 years later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

/// A moment of the wall clock, in ns since 1970 (UTC); so it reaches from then to 2554.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemTime(u64);

/// The second moment was later than the first, by this.
#[derive(Clone, Debug)]
pub struct SystemTimeError(Duration);

impl Instant {
    /// This moment.
    #[must_use]
    #[inline]
    pub fn now() -> Instant {
        Instant(clock::now())
    }

    /// Time that has passed since this moment; zero if it lies in the future.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Self::now().duration_since(*self)
    }

    /// Time from `earlier` to this moment; zero if it is not earlier.
    #[must_use]
    pub const fn duration_since(&self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Time from `earlier` to this moment, if it is not later.
    #[must_use]
    pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_nanos)
    }

    /// Time from `earlier` to this moment; zero if it is not earlier.
    #[must_use]
    pub const fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }

    /// The moment `duration` later, if there is one.
    #[must_use]
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        later(self.0, duration).map(Instant)
    }

    /// The moment `duration` earlier, if the guest ran then.
    #[must_use]
    pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
        earlier(self.0, duration).map(Instant)
    }

    /// Nanoseconds since the guest's start.
    #[must_use]
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

impl SystemTime {
    /// 1970-01-01 00:00:00 UTC.
    pub const UNIX_EPOCH: SystemTime = SystemTime(0);

    /// This moment, as the host's clock had it at the guest's start plus what has passed since.
    #[must_use]
    pub fn now() -> SystemTime {
        SystemTime(clock::wall())
    }

    /// Time from `earlier` to this moment.
    ///
    /// # Errors
    ///
    /// [`SystemTimeError`] if `earlier` is later.
    pub fn duration_since(&self, earlier: SystemTime) -> Result<Duration, SystemTimeError> {
        let backwards = || SystemTimeError(Duration::from_nanos(earlier.0 - self.0));
        self.0.checked_sub(earlier.0).map(Duration::from_nanos).ok_or_else(backwards)
    }

    /// Time that has passed since this moment.
    ///
    /// # Errors
    ///
    /// [`SystemTimeError`] if it lies in the future.
    pub fn elapsed(&self) -> Result<Duration, SystemTimeError> {
        Self::now().duration_since(*self)
    }

    /// The moment `duration` later, if there is one.
    #[must_use]
    pub fn checked_add(&self, duration: Duration) -> Option<SystemTime> {
        later(self.0, duration).map(SystemTime)
    }

    /// The moment `duration` earlier, if it is not before 1970.
    #[must_use]
    pub fn checked_sub(&self, duration: Duration) -> Option<SystemTime> {
        earlier(self.0, duration).map(SystemTime)
    }
}

impl SystemTimeError {
    /// How much later the second moment was.
    #[must_use]
    pub const fn duration(&self) -> Duration {
        self.0
    }
}

impl fmt::Display for SystemTimeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the second moment was later than the first, by {:?}", self.0)
    }
}

impl Error for SystemTimeError {}

impl Sub for Instant {
    type Output = Duration;

    /// Time from the right moment to the left; zero if that is not later.
    fn sub(self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }
}

/// Arithmetic with durations, as in `std`.
macro_rules! arithmetic {
    ($moment:ty) => {
        impl Add<Duration> for $moment {
            type Output = $moment;

            /// # Panics
            ///
            /// If there is no such moment.
            fn add(self, duration: Duration) -> $moment {
                self.checked_add(duration).expect("the moment is too late to be told")
            }
        }

        impl Sub<Duration> for $moment {
            type Output = $moment;

            /// # Panics
            ///
            /// If there is no such moment.
            fn sub(self, duration: Duration) -> $moment {
                self.checked_sub(duration).expect("the moment is too early to be told")
            }
        }

        impl AddAssign<Duration> for $moment {
            fn add_assign(&mut self, duration: Duration) {
                *self = *self + duration;
            }
        }

        impl SubAssign<Duration> for $moment {
            fn sub_assign(&mut self, duration: Duration) {
                *self = *self - duration;
            }
        }
    };
}

arithmetic!(Instant);
arithmetic!(SystemTime);

fn later(moment: u64, duration: Duration) -> Option<u64> {
    moment.checked_add(u64::try_from(duration.as_nanos()).ok()?)
}

fn earlier(moment: u64, duration: Duration) -> Option<u64> {
    moment.checked_sub(u64::try_from(duration.as_nanos()).ok()?)
}

/// The deadline (ns) that comes when `timeout` has passed; none if that is beyond the end of time.
pub(crate) fn after(timeout: Duration) -> Option<u64> {
    later(clock::now(), timeout)
}

/// What came of a wait without a deadline.
#[inline]
pub(crate) fn unlimited<T>(result: Result<T, TimedOut>) -> T {
    match result {
        Ok(value) => value,
        Err(TimedOut) => unreachable!("a deadline came that was not set"),
    }
}

/// Has event line `line` raised once at `deadline`, or no more if it is `None`. There is one timer a line, and a
/// deadline that has passed is due at once. A vCPU call; for what only threads wait for, a [`Timer`] is cheaper.
///
/// # Panics
///
/// If there is no such line, or it is the scheduler's ([`event::ALARM_LINE`]).
pub fn set_timer(line: u32, deadline: Option<Instant>) {
    assert!(line != event::ALARM_LINE, "the timer of event line {line} is the scheduler's");
    if let Err(error) = call::timer_set(line, deadline.map(|deadline| deadline.0)) {
        panic!("timer of event line {line}: {error}");
    }
}

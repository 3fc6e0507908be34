//! Timers: something that is due once, or again and again, whoever looks.
//!
//! A timer counts its expiries until a thread takes the count, so a thread that comes late learns how
//! many it missed. A periodic timer is due at its first deadline plus whole periods, however late it was
//! served: it does not drift.

use crate::table::Id;
use crate::thread::{ThreadId, Threads};
use crate::timeout::TimeoutId;
use crate::wait::WaitQueue;
use core::num::NonZeroU64;

/// The number of a timer.
pub type TimerId = Id<Timer>;

/// The policy's record of a timer.
#[derive(Debug, Default)]
pub struct Timer {
    deadline: u64,
    period: Option<NonZeroU64>,
    /// Expiries that nobody has taken; none while somebody waits.
    expiries: u32,
    /// Its entry in the timeout queue, if it is started.
    pub(crate) timeout: Option<TimeoutId>,
    pub(crate) waiters: WaitQueue,
}

impl Timer {
    /// Whether the timer is started and has an expiry to come.
    #[must_use]
    pub const fn is_started(&self) -> bool {
        self.timeout.is_some()
    }

    pub(crate) const fn start(&mut self, deadline: u64, period: Option<NonZeroU64>) {
        self.deadline = deadline;
        self.period = period;
        self.expiries = 0;
    }

    /// The deadline has come. Gives the next one.
    pub(crate) fn expire(&mut self, now: u64) -> Option<u64> {
        let Some(period) = self.period else {
            self.expiries = self.expiries.saturating_add(1);
            return None;
        };
        let missed = now.saturating_sub(self.deadline) / period;
        self.expiries = self.expiries.saturating_add(u32::try_from(missed + 1).unwrap_or(u32::MAX));
        self.deadline = self.deadline.saturating_add((missed + 1).saturating_mul(period.get()));
        Some(self.deadline)
    }

    /// Gives the expiries that nobody has taken, if there are any.
    #[must_use = "without an expiry the thread must wait"]
    pub(crate) fn take(&mut self) -> Option<u32> {
        (self.expiries > 0).then(|| core::mem::take(&mut self.expiries))
    }

    /// Gives the expiries to the first who waits, and says who that is.
    #[must_use = "the thread that got the expiries must be woken"]
    pub(crate) fn release(&mut self, threads: &mut Threads) -> Option<ThreadId> {
        let first = self.waiters.pop(threads)?;
        threads[first].value = core::mem::take(&mut self.expiries);
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_periodic_timer_counts_what_it_missed_and_does_not_drift() {
        let mut timer = Timer::default();
        timer.start(100, NonZeroU64::new(10));
        assert_eq!(timer.expire(100), Some(110));
        assert_eq!(timer.expire(137), Some(140));
        assert_eq!(timer.take(), Some(4), "at 100, 110, 120 and 130");
        assert_eq!(timer.take(), None);
    }

    #[test]
    fn a_timer_without_period_is_due_once() {
        let mut timer = Timer::default();
        timer.start(100, None);
        assert_eq!(timer.expire(500), None);
        assert_eq!(timer.take(), Some(1));
    }
}

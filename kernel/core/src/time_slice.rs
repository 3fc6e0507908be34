//! How long a thread may run while others of its importance wait.
//!
//! A thread takes its slice with it when it is preempted, and gets a whole one with each turn. Only the time
//! counts for which it had the processor *and* somebody shared its level; so a slice may be longer than its
//! name says by the clock, and is never shorter.

use core::num::NonZeroU32;

/// The time for which a thread runs before another one of its priority gets its turn.
///
/// ```
/// use vcpu_kernel_core::time_slice::TimeSlice;
/// const SHORT: TimeSlice = TimeSlice::from_nanoseconds(500_000);
/// assert_eq!(SHORT.nanoseconds(), Some(500_000));
/// assert_eq!(TimeSlice::UNLIMITED.nanoseconds(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSlice(NonZeroU32);

impl TimeSlice {
    /// No end: the thread runs until it waits, yields or is preempted by a more important one.
    pub const UNLIMITED: TimeSlice = TimeSlice(NonZeroU32::MAX);

    /// The system's slice if nothing else is asked for, 10 ms.
    pub const NORMAL: TimeSlice = TimeSlice::from_nanoseconds(10_000_000);

    /// A slice of 1 ns to 4.29 s.
    ///
    /// # Panics
    ///
    /// If the slice is empty or longer than that.
    #[must_use]
    pub const fn from_nanoseconds(nanoseconds: u64) -> TimeSlice {
        assert!(nanoseconds < u32::MAX as u64, "a time slice is at most 4,294,967,294 ns");
        match NonZeroU32::new(nanoseconds as u32) {
            Some(nanoseconds) => TimeSlice(nanoseconds),
            None => panic!("a time slice is not empty"),
        }
    }

    /// The slice in ns, `None` if it has no end.
    #[must_use]
    pub const fn nanoseconds(self) -> Option<u32> {
        if self.0.get() == u32::MAX { None } else { Some(self.0.get()) }
    }
}

/// What is left of a slice: less than it was, but never of one without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest(u32);

impl Rest {
    /// Nothing is left.
    pub(crate) const OVER: Rest = Rest(0);

    /// All of a slice.
    pub(crate) const fn whole(slice: TimeSlice) -> Rest {
        Rest(slice.0.get())
    }

    /// What is left after `elapsed` ns.
    #[must_use]
    pub(crate) fn after(self, elapsed: u64) -> Rest {
        match self.0 {
            u32::MAX => self,
            left => Rest(left.saturating_sub(u32::try_from(elapsed).unwrap_or(u32::MAX))),
        }
    }

    /// When the slice ends if it runs from `now`, unless it has no end.
    pub(crate) const fn end(self, now: u64) -> Option<u64> {
        if self.0 == u32::MAX { None } else { Some(now.saturating_add(self.0 as u64)) }
    }

    pub(crate) const fn is_over(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_takes_from_a_slice_until_it_is_over() {
        let slice = Rest::whole(TimeSlice::from_nanoseconds(10));
        assert_eq!(slice.end(100), Some(110));
        assert_eq!(slice.after(4).end(100), Some(106));
        assert!(!slice.after(9).is_over());
        assert!(slice.after(10).is_over());
        assert!(slice.after(u64::MAX).is_over());
    }

    #[test]
    fn an_unlimited_slice_has_no_end_whatever_time_passes() {
        let slice = Rest::whole(TimeSlice::UNLIMITED).after(u64::MAX);
        assert_eq!(slice.end(0), None);
        assert!(!slice.is_over());
    }

    #[test]
    #[should_panic(expected = "not empty")]
    fn an_empty_slice_is_refused() {
        let _ = TimeSlice::from_nanoseconds(0);
    }
}

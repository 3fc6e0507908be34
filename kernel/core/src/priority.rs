//! How important a thread is.
//!
//! Kernels disagree about which end of the scale is the important one, and a comparison written the
//! wrong way round is a bug that looks right. So there is one place that knows the direction, this
//! file, and [`Priority`] has neither `Ord` nor `PartialOrd`: whoever compares says
//! [`is_more_important_than`](Priority::is_more_important_than).

/// Number of priority levels.
pub const LEVELS: usize = 64;

/// The importance of a thread: 0 is the least important level, 63 the most important, as in POSIX.
///
/// ```
/// use vcpu_kernel_core::priority::Priority;
/// const DECODER: Priority = Priority::new(40);
/// assert!(DECODER.is_more_important_than(Priority::NORMAL));
/// assert!(!DECODER.is_more_important_than(DECODER));
/// ```
///
/// ```compile_fail
/// use vcpu_kernel_core::priority::Priority;
/// let _ = Priority::LEAST < Priority::MOST;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Priority(u8);

impl Priority {
    /// The least important level, 0.
    pub const LEAST: Priority = Priority(0);
    /// The level of a thread for which none was asked, 31.
    pub const NORMAL: Priority = Priority(31);
    /// The most important level, 63.
    pub const MOST: Priority = Priority(LEVELS as u8 - 1);

    /// The priority of a level, 0 to 63.
    ///
    /// # Panics
    ///
    /// If there is no such level; in a constant, that is an error of the compiler.
    ///
    /// ```compile_fail
    /// # use vcpu_kernel_core::priority::Priority;
    /// const TOO_HIGH: Priority = Priority::new(64);
    /// ```
    #[must_use]
    pub const fn new(level: u8) -> Priority {
        assert!(level < LEVELS as u8, "a priority is one of 0 to 63");
        Priority(level)
    }

    /// The priority of a level, or `None` if there is no such level.
    #[must_use]
    pub const fn from_level(level: u8) -> Option<Priority> {
        if level < LEVELS as u8 { Some(Priority(level)) } else { None }
    }

    /// The level, 0 to 63.
    #[must_use]
    pub const fn level(self) -> u8 {
        self.0
    }

    /// The level as an index, of which the compiler sees that it is below [`LEVELS`].
    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize % LEVELS
    }

    /// Whether a thread of this priority comes before a thread of the other. Equals do not.
    #[must_use]
    #[inline]
    pub const fn is_more_important_than(self, other: Priority) -> bool {
        self.0 > other.0
    }

    /// The more important of two.
    #[must_use]
    #[inline]
    pub const fn or_more_important(self, other: Priority) -> Priority {
        if other.is_more_important_than(self) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greater_number_is_more_important() {
        assert!(Priority::new(5).is_more_important_than(Priority::new(4)));
        assert!(!Priority::new(4).is_more_important_than(Priority::new(5)));
        assert_eq!(Priority::new(4).or_more_important(Priority::new(5)), Priority::new(5));
        assert_eq!(Priority::new(5).or_more_important(Priority::new(4)), Priority::new(5));
    }

    #[test]
    fn there_are_sixty_four_levels() {
        assert_eq!(Priority::from_level(63), Some(Priority::MOST));
        assert_eq!(Priority::from_level(64), None);
    }

    #[test]
    #[should_panic(expected = "0 to 63")]
    fn a_level_outside_of_the_scale_is_refused() {
        let _ = Priority::new(64);
    }
}

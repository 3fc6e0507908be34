//! Deadlines: moments of C's clocks as moments of the kernel's.

use crate::time::{self, TimeSpec};
use vcpu_kernel::clock;

/// The number of the clock that shows the time of day.
pub(crate) const REALTIME: i64 = 0;

/// The moment (ns of the kernel's clock) at which another clock will show this time. A moment that is past is
/// now or earlier.
///
/// # Errors
///
/// `EINVAL` if there is no such clock, or the nanoseconds are not 0 to 999,999,999.
pub(crate) fn moment(clock: i64, time: TimeSpec) -> Result<u64, i64> {
    let wanted = time.nanoseconds()?;
    let shown = time::read(clock)?;
    Ok(if wanted <= shown { 0 } else { clock::now().saturating_add(wanted - shown) })
}

/// As [`moment`], of a time that need not be given: without one, the wait is for as long as it takes.
///
/// # Safety
///
/// The time is readable, or null.
pub(crate) unsafe fn optional(clock: i64, time: *const TimeSpec) -> Result<Option<u64>, i64> {
    // SAFETY: the caller's time.
    match unsafe { time.as_ref() } {
        Some(time) => moment(clock, *time).map(Some),
        None => Ok(None),
    }
}

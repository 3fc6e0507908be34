//! [`Condvar`]: waiting until something under a mutex has changed.

use super::mutex::MutexGuard;
use super::poison::{self, LockResult};
use crate::time::{self, Duration, Instant};
use core::fmt;
use vcpu_kernel::sync::RawCondition;

/// Waits, with a mutex given up, until somebody says that something has changed.
///
/// Who is notified gets the mutex again before it goes on, in its turn. Nobody is woken for nothing, but
/// what was true at the notification may be false again; so look, or use [`wait_while`](Condvar::wait_while).
///
/// ```no_run
/// use libvcpu::sync::{Condvar, Mutex};
///
/// static QUEUE: Mutex<Vec<u32>> = Mutex::new(Vec::new());
/// static FILLED: Condvar = Condvar::new();
///
/// // One thread:
/// QUEUE.lock().unwrap().push(7);
/// FILLED.notify_one();
/// // Another:
/// let mut queue = FILLED.wait_while(QUEUE.lock().unwrap(), |queue| queue.is_empty()).unwrap();
/// assert_eq!(queue.pop(), Some(7));
/// ```
pub struct Condvar {
    raw: RawCondition,
}

/// Whether a wait ended by its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the deadline came first.
    #[must_use]
    pub const fn timed_out(&self) -> bool {
        self.0
    }
}

impl Condvar {
    /// A condition variable that nobody waits on.
    pub const fn new() -> Condvar {
        Condvar { raw: RawCondition::new() }
    }

    /// Unlocks, waits for a notification, and locks again.
    ///
    /// # Errors
    ///
    /// With a warning if the mutex is poisoned.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        poison::map(self.wait_by(guard, None), |(guard, _)| guard)
    }

    /// Waits as long as `condition` holds.
    ///
    /// # Errors
    ///
    /// With a warning if the mutex is poisoned.
    pub fn wait_while<'a, T, F>(
        &self,
        guard: MutexGuard<'a, T>,
        condition: F,
    ) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        poison::map(self.wait_while_by(guard, None, condition), |(guard, _)| guard)
    }

    /// As [`wait`](Condvar::wait), no longer than `timeout`. Locking again afterwards has no deadline.
    ///
    /// # Errors
    ///
    /// With a warning if the mutex is poisoned.
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_by(guard, time::after(timeout))
    }

    /// As [`wait_while`](Condvar::wait_while), no longer than `timeout`. If the result says that the
    /// deadline came, the condition still held.
    ///
    /// # Errors
    ///
    /// With a warning if the mutex is poisoned.
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
        condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        self.wait_while_by(guard, time::after(timeout), condition)
    }

    /// As [`wait_timeout`](Condvar::wait_timeout), until `deadline`.
    ///
    /// # Errors
    ///
    /// With a warning if the mutex is poisoned.
    pub fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_by(guard, Some(deadline.as_nanos()))
    }

    /// As [`wait_timeout_while`](Condvar::wait_timeout_while), until `deadline`.
    ///
    /// # Errors
    ///
    /// With a warning if the mutex is poisoned.
    pub fn wait_until_while<'a, T, F>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Instant,
        condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        self.wait_while_by(guard, Some(deadline.as_nanos()), condition)
    }

    /// Notifies the first who waits, if anybody does.
    #[inline]
    pub fn notify_one(&self) {
        self.raw.notify_one();
    }

    /// Notifies everyone who waits.
    #[inline]
    pub fn notify_all(&self) {
        self.raw.notify_all();
    }

    fn wait_by<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Option<u64>,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let timed_out = self.raw.wait(guard.raw(), deadline).is_err();
        let poisoned = guard.raw().poisoned();
        poison::warn((guard, WaitTimeoutResult(timed_out)), poisoned)
    }

    fn wait_while_by<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        deadline: Option<u64>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let mut result = WaitTimeoutResult(false);
        while condition(&mut guard) {
            if result.timed_out() {
                return Ok((guard, result));
            }
            (guard, result) = self.wait_by(guard, deadline)?;
        }
        Ok((guard, WaitTimeoutResult(false)))
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Condvar").finish_non_exhaustive()
    }
}

//! Poisoning: what is said of a lock with which a thread died.

use core::error::Error;
use core::fmt;
use core::ops::Deref;
use vcpu_kernel::sync::Poisoned;

/// A thread died with the lock, so what it guards may be half changed. The lock was locked all the same,
/// and this holds its guard.
pub struct PoisonError<T> {
    data: T,
}

/// Why a lock was not locked, or not without a warning.
pub enum TryLockError<T> {
    /// It was locked, and is poisoned.
    Poisoned(PoisonError<T>),
    /// Somebody else has it, or had it until the deadline.
    WouldBlock,
}

/// What locking gives: the guard, with or without a warning.
pub type LockResult<T> = Result<T, PoisonError<T>>;

/// What trying to lock gives, and locking with a deadline.
pub type TryLockResult<T> = Result<T, TryLockError<T>>;

impl<T> PoisonError<T> {
    /// The warning with what it is about.
    pub const fn new(data: T) -> PoisonError<T> {
        PoisonError { data }
    }

    /// What was locked, for who knows that it is well.
    pub fn into_inner(self) -> T {
        self.data
    }

    /// What was locked.
    pub const fn get_ref(&self) -> &T {
        &self.data
    }

    /// What was locked.
    pub const fn get_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

impl<T> fmt::Debug for PoisonError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PoisonError").finish_non_exhaustive()
    }
}

impl<T> fmt::Display for PoisonError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("poisoned lock: another thread died with it")
    }
}

impl<T> Error for PoisonError<T> {}

impl<T> From<PoisonError<T>> for TryLockError<T> {
    fn from(error: PoisonError<T>) -> TryLockError<T> {
        TryLockError::Poisoned(error)
    }
}

impl<T> fmt::Debug for TryLockError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            TryLockError::Poisoned(_) => "Poisoned(..)",
            TryLockError::WouldBlock => "WouldBlock",
        })
    }
}

impl<T> fmt::Display for TryLockError<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::Poisoned(error) => fmt::Display::fmt(error, formatter),
            TryLockError::WouldBlock => {
                formatter.write_str("the lock could not be had without waiting, or not in time")
            }
        }
    }
}

impl<T> Error for TryLockError<T> {}

/// The data, with a warning if the lock is poisoned.
#[inline]
pub(super) fn warn<T>(data: T, poisoned: Poisoned) -> LockResult<T> {
    if poisoned.0 { Err(PoisonError::new(data)) } else { Ok(data) }
}

/// The same for other data of the same lock.
pub(super) fn map<T, U>(result: LockResult<T>, change: impl FnOnce(T) -> U) -> LockResult<U> {
    match result {
        Ok(data) => Ok(change(data)),
        Err(error) => Err(PoisonError::new(change(error.into_inner()))),
    }
}

/// Shows a lock: what it guards, unless that is locked.
pub(super) fn show<G: Deref<Target: fmt::Debug>>(
    formatter: &mut fmt::Formatter<'_>,
    name: &str,
    attempt: TryLockResult<G>,
    is_poisoned: bool,
) -> fmt::Result {
    let mut debug = formatter.debug_struct(name);
    match attempt {
        Ok(guard) => debug.field("data", &&*guard),
        Err(TryLockError::Poisoned(error)) => debug.field("data", &&**error.get_ref()),
        Err(TryLockError::WouldBlock) => debug.field("data", &format_args!("<locked>")),
    };
    debug.field("poisoned", &is_poisoned).finish_non_exhaustive()
}

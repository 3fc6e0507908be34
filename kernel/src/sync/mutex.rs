//! [`RawMutex`]: one owner at a time, who inherits the importance of those who wait.

use super::Poisoned;
use super::registration::{Record, Registration, record_functions};
use crate::scheduler::{self, TimedOut};
use core::fmt;
use vcpu_kernel_core::mutex::{Mutex, MutexId};
use vcpu_kernel_core::policy::{Busy, Kind, Policy};
use vcpu_kernel_core::table::{Full, Id};

/// A mutex without data. What it means is said in [`vcpu_kernel_core::mutex`].
#[derive(Debug)]
pub struct RawMutex {
    record: Registration<Mutex>,
}

/// Why a mutex was not locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockError {
    /// The deadline came first.
    TimedOut,
    /// It could never be: its owner waits, directly or through others, for the calling thread, or is that
    /// thread itself.
    Deadlock,
}

impl fmt::Display for LockError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::TimedOut => TimedOut.fmt(formatter),
            LockError::Deadlock => formatter.write_str(
                "deadlock: this thread would wait for ever, because the mutex's owner is or waits for it",
            ),
        }
    }
}

impl core::error::Error for LockError {}

impl Record for Mutex {
    const KIND: Kind = Kind::Mutex;

    type Parameters = ();

    fn create(policy: &mut Policy, (): ()) -> Result<Id<Mutex>, Full> {
        policy.create_mutex()
    }

    fn remove(policy: &mut Policy, id: Id<Mutex>) -> Result<(), Busy> {
        policy.remove_mutex(id)
    }
}

record_functions!(RawMutex);

impl RawMutex {
    /// An unlocked mutex.
    #[must_use]
    pub const fn new() -> RawMutex {
        RawMutex { record: Registration::new(()) }
    }

    /// Locks the mutex for the calling thread, which waits if need be.
    ///
    /// # Panics
    ///
    /// If the wait could never end, as when the thread owns the mutex already; if it would have to wait with
    /// events off.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Poisoned {
        match self.lock_until(None) {
            Ok(poisoned) => poisoned,
            Err(error) => panic!("{error}"),
        }
    }

    /// Locks the mutex for the calling thread, which waits until `deadline` (ns) if need be.
    ///
    /// # Errors
    ///
    /// [`LockError::TimedOut`]; without a deadline, [`LockError::Deadlock`] instead.
    ///
    /// # Panics
    ///
    /// If it would have to wait with events off.
    #[inline]
    pub fn lock_until(&self, deadline: Option<u64>) -> Result<Poisoned, LockError> {
        match self.lock_uncontended() {
            Some(poisoned) => Ok(poisoned),
            None => self.lock_contended(deadline),
        }
    }

    /// Locks the mutex for the calling thread if nobody owns it.
    #[must_use = "without the mutex, what it guards must not be touched"]
    #[inline]
    pub fn try_lock(&self) -> Option<Poisoned> {
        self.lock_uncontended().or_else(|| {
            self.ensure();
            self.lock_uncontended()
        })
    }

    /// Locks the mutex for the calling thread if nobody owns it and it was used before; an unused one seems to be
    /// owned. The quickest way.
    #[must_use = "without the mutex, what it guards must not be touched"]
    #[inline(always)]
    pub fn lock_if_free(&self) -> Option<Poisoned> {
        self.lock_uncontended()
    }

    /// Unlocks the mutex. If somebody waits, it is theirs, and a more important thread runs at once.
    ///
    /// # Panics
    ///
    /// If the calling thread does not own it.
    #[inline]
    pub fn unlock(&self) {
        let is_done = scheduler::quick(|policy| policy.unlock_uncontended(self.locked(policy)));
        if !is_done {
            self.unlock_contended();
        }
    }

    /// Whether a thread died with it, and nobody has said since that all is well.
    #[inline]
    pub fn poisoned(&self) -> Poisoned {
        let id = |policy: &Policy| self.record.get(policy);
        Poisoned(scheduler::quick(|policy| id(policy).is_some_and(|id| policy.mutex(id).is_poisoned())))
    }

    /// Says that what it guards is well again.
    pub fn clear_poison(&self) {
        scheduler::quick(|policy| {
            if let Some(id) = self.record.get(policy) {
                policy.set_mutex_poisoned(id, false);
            }
        });
    }

    /// Creates the record now. Allocates if there is no room for it.
    pub(crate) fn ensure(&self) -> MutexId {
        self.record.ensure()
    }

    /// The number of a mutex that is locked.
    #[inline(always)]
    pub(super) fn locked(&self, policy: &Policy) -> MutexId {
        self.record.get(policy).expect("a mutex that nobody ever locked cannot be unlocked")
    }

    #[inline(always)]
    fn lock_uncontended(&self) -> Option<Poisoned> {
        scheduler::quick(|policy| {
            let id = self.record.get(policy)?;
            // In a handler there may be nobody who could own it.
            let is_locked = policy.running().is_some() && policy.lock_uncontended(id);
            is_locked.then(|| Poisoned(policy.mutex(id).is_poisoned()))
        })
    }

    #[cold]
    fn lock_contended(&self, deadline: Option<u64>) -> Result<Poisoned, LockError> {
        let id = self.ensure();
        match scheduler::block_with(|policy, now| policy.lock(id, deadline, now)) {
            Ok(Ok(_)) => Ok(self.poisoned()),
            Ok(Err(TimedOut)) => Err(LockError::TimedOut),
            Err(_) => Err(LockError::Deadlock),
        }
    }

    #[cold]
    fn unlock_contended(&self) {
        scheduler::decide(|policy, now| policy.unlock(self.locked(policy), now));
    }
}

impl Default for RawMutex {
    fn default() -> RawMutex {
        RawMutex::new()
    }
}

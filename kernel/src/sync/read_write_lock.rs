//! [`RawReadWriteLock`]: many readers or one writer.

use super::Poisoned;
use super::registration::{Record, Registration, make_room, record_functions};
use crate::rooms;
use crate::scheduler::{self, TimedOut};
use vcpu_kernel_core::policy::{Busy, Kind, Policy};
use vcpu_kernel_core::read_write_lock::{Access, ReadWriteLock};
use vcpu_kernel_core::table::{Full, Id};

/// A reader-writer lock without data. What it means is said in [`vcpu_kernel_core::read_write_lock`].
#[derive(Debug)]
pub struct RawReadWriteLock {
    record: Registration<ReadWriteLock>,
}

impl Record for ReadWriteLock {
    const KIND: Kind = Kind::ReadWriteLock;

    type Parameters = ();

    fn create(policy: &mut Policy, (): ()) -> Result<Id<ReadWriteLock>, Full> {
        policy.create_read_write_lock()
    }

    fn remove(policy: &mut Policy, id: Id<ReadWriteLock>) -> Result<(), Busy> {
        policy.remove_read_write_lock(id)
    }
}

record_functions!(RawReadWriteLock);

impl RawReadWriteLock {
    /// An unlocked lock.
    #[must_use]
    pub const fn new() -> RawReadWriteLock {
        RawReadWriteLock { record: Registration::new(()) }
    }

    /// Locks for the calling thread, which waits until `deadline` (ns) if need be.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the deadline came first.
    ///
    /// # Panics
    ///
    /// If it would have to wait with events off; if there is no memory to note who has the lock.
    #[inline]
    pub fn lock(&self, access: Access, deadline: Option<u64>) -> Result<Poisoned, TimedOut> {
        match self.lock_uncontended(access) {
            Ok(Some(poisoned)) => Ok(poisoned),
            _ => self.lock_contended(access, deadline),
        }
    }

    /// Locks for the calling thread if that needs no waiting.
    ///
    /// # Panics
    ///
    /// If there is no memory to note who has the lock.
    #[must_use = "without the lock, what it guards must not be touched"]
    #[inline]
    pub fn try_lock(&self, access: Access) -> Option<Poisoned> {
        loop {
            match self.lock_uncontended(access) {
                Ok(locked) => return locked,
                Err(Full) => self.make_ready(),
            }
        }
    }

    /// How the calling thread has the lock, the newest way if there are several.
    pub fn own(&self) -> Option<Access> {
        scheduler::quick(|policy| policy.held_access(policy.running()?, self.record.get(policy)?))
    }

    /// Locks once more for reading what the calling thread reads already, whoever waits. Gives `false`, and does
    /// nothing, if there is no memory to note it.
    ///
    /// # Panics
    ///
    /// If the calling thread does not read under the lock.
    #[must_use = "it may not have got the lock"]
    pub fn read_again(&self) -> bool {
        loop {
            let result = scheduler::quick(|policy| {
                let id = self.record.get(policy).expect("a lock that nobody ever locked is not read under");
                policy.read_again(id)
            });
            match result {
                Ok(()) => return true,
                Err(Full) if rooms::make(Kind::Hold).is_err() => return false,
                Err(Full) => {}
            }
        }
    }

    /// Gives back the access that the calling thread got last.
    ///
    /// # Panics
    ///
    /// If it has none.
    #[inline]
    pub fn unlock(&self) {
        scheduler::decide(|policy, now| {
            let id = self.record.get(policy).expect("a lock that nobody ever locked cannot be unlocked");
            policy.unlock_read_write(id, now)
        });
    }

    /// Whether a thread died with it while writing, and nobody has said since that all is well.
    pub fn poisoned(&self) -> Poisoned {
        let id = |policy: &Policy| self.record.get(policy);
        Poisoned(scheduler::quick(|policy| {
            id(policy).is_some_and(|id| policy.read_write_lock(id).is_poisoned())
        }))
    }

    /// Says that what it guards is well again.
    pub fn clear_poison(&self) {
        scheduler::quick(|policy| {
            if let Some(id) = self.record.get(policy) {
                policy.set_read_write_lock_poisoned(id, false);
            }
        });
    }

    /// `Full` if there is no record yet, or no room to note who has the lock.
    #[inline]
    fn lock_uncontended(&self, access: Access) -> Result<Option<Poisoned>, Full> {
        scheduler::quick(|policy| {
            let id = self.record.get(policy).ok_or(Full)?;
            // In a handler there may be nobody who could have it.
            let is_locked = policy.running().is_some() && policy.try_lock_read_write(id, access)?;
            Ok(is_locked.then(|| Poisoned(policy.read_write_lock(id).is_poisoned())))
        })
    }

    #[cold]
    fn lock_contended(&self, access: Access, deadline: Option<u64>) -> Result<Poisoned, TimedOut> {
        let id = self.record.ensure();
        loop {
            match scheduler::block_with(|policy, now| policy.lock_read_write(id, access, deadline, now)) {
                Ok(Ok(_)) => return Ok(self.poisoned()),
                Ok(Err(TimedOut)) => return Err(TimedOut),
                Err(Full) => make_room(Kind::Hold),
            }
        }
    }

    #[cold]
    fn make_ready(&self) {
        self.record.ensure();
        make_room(Kind::Hold);
    }
}

impl Default for RawReadWriteLock {
    fn default() -> RawReadWriteLock {
        RawReadWriteLock::new()
    }
}

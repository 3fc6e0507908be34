//! What is owned: mutexes with their condition variables, and reader-writer locks.

use super::{Attempt, Busy, Deadlock, Decision, Policy};
use crate::condition::{Condition, ConditionId};
use crate::inherit;
use crate::mutex::{self, Mutex, MutexId};
use crate::read_write_lock::{self, Access, Hold, ReadWriteLock, ReadWriteLockId};
use crate::table::Full;
use crate::thread::{ThreadId, Waiting};

/// Mutexes.
impl Policy {
    /// Creates a mutex.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for it.
    pub fn create_mutex(&mut self) -> Result<MutexId, Full> {
        self.objects.mutexes.insert(Mutex::default())
    }

    /// Removes a mutex.
    ///
    /// # Errors
    ///
    /// [`Busy`] if somebody owns it. It stays.
    pub fn remove_mutex(&mut self, mutex: MutexId) -> Result<(), Busy> {
        if self.objects.mutexes[mutex].owner().is_some() {
            return Err(Busy);
        }
        self.objects.mutexes.remove(mutex);
        Ok(())
    }

    /// The record of a mutex.
    #[must_use]
    pub fn mutex(&self, mutex: MutexId) -> &Mutex {
        &self.objects.mutexes[mutex]
    }

    /// Locks a mutex for the running thread if nobody owns it. The quick half of [`lock`](Policy::lock):
    /// it needs no time and changes nobody's turn.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    #[must_use = "without the mutex, what it guards must not be touched"]
    #[inline]
    pub fn lock_uncontended(&mut self, mutex: MutexId) -> bool {
        let thread = self.current();
        let is_free = self.objects.mutexes[mutex].owner().is_none();
        if is_free {
            mutex::take(&mut self.objects.mutexes, &mut self.scheduler.threads, mutex, thread);
        }
        is_free
    }

    /// Locks a mutex for the running thread, which waits for it if need be, and meanwhile makes its owner
    /// as important as itself.
    ///
    /// # Errors
    ///
    /// [`Deadlock`] if the wait could never end. Not with a deadline: then it does end.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub fn lock(&mut self, mutex: MutexId, deadline: Option<u64>, now: u64) -> Result<Attempt, Deadlock> {
        if self.lock_uncontended(mutex) {
            return Ok(Attempt::Done);
        }
        let Some(owner) = self.objects.mutexes[mutex].owner() else { unreachable!("it was not free") };
        let (threads, mutexes) = (&self.scheduler.threads, &self.objects.mutexes);
        if deadline.is_none() && inherit::is_deadlock(threads, mutexes, self.current(), mutex) {
            return Err(Deadlock { mutex, owner });
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(Attempt::TimedOut);
        }
        self.block(Waiting::Mutex(mutex), deadline);
        self.inherit(owner);
        Ok(Attempt::Switch(self.decide(now)))
    }

    /// Unlocks a mutex of the running thread if nobody waits for it. The quick half of
    /// [`unlock`](Policy::unlock): it needs no time and changes nobody's turn.
    ///
    /// # Panics
    ///
    /// If the running thread does not own it.
    #[must_use = "a mutex that somebody waits for is still locked"]
    #[inline]
    pub fn unlock_uncontended(&mut self, mutex: MutexId) -> bool {
        self.assert_owned(mutex);
        let is_unwanted = self.objects.mutexes[mutex].waiters.is_empty();
        if is_unwanted {
            mutex::leave(&mut self.objects.mutexes, &mut self.scheduler.threads, mutex);
        }
        is_unwanted
    }

    /// Unlocks a mutex of the running thread. It belongs to the first who waits for it, and what the
    /// running thread inherited through it is gone.
    ///
    /// # Panics
    ///
    /// If the running thread does not own it.
    pub fn unlock(&mut self, mutex: MutexId, now: u64) -> Decision {
        self.assert_owned(mutex);
        let thread = self.current();
        self.hand_over(mutex);
        self.inherit(thread);
        self.decide(now)
    }

    /// Tells who owns a mutex that the policy takes for free: a thread that is not over has locked it without the
    /// policy. Nobody's turn changes, because nobody waits for it yet; nor may anybody wait with it on a condition
    /// variable, who would get it from the policy.
    ///
    /// # Panics
    ///
    /// If somebody owns it already, as far as the policy knows.
    pub fn note_owner(&mut self, mutex: MutexId, owner: ThreadId) {
        assert_eq!(self.objects.mutexes[mutex].owner(), None, "mutex {mutex:?} is owned already");
        mutex::take(&mut self.objects.mutexes, &mut self.scheduler.threads, mutex, owner);
    }

    /// Says that what a mutex guards is well again, or, with `true`, that it is not.
    pub fn set_mutex_poisoned(&mut self, mutex: MutexId, is_poisoned: bool) {
        self.objects.mutexes[mutex].is_poisoned = is_poisoned;
    }

    #[inline]
    fn assert_owned(&self, mutex: MutexId) {
        let owner = self.objects.mutexes[mutex].owner();
        assert!(owner == self.running() && owner.is_some(), "mutex {mutex:?} is not the running thread's");
    }
}

/// Condition variables.
impl Policy {
    /// Creates a condition variable.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for it.
    pub fn create_condition(&mut self) -> Result<ConditionId, Full> {
        self.objects.conditions.insert(Condition::default())
    }

    /// Removes a condition variable.
    ///
    /// # Errors
    ///
    /// [`Busy`] if somebody waits on it. It stays.
    pub fn remove_condition(&mut self, condition: ConditionId) -> Result<(), Busy> {
        if !self.objects.conditions[condition].waiters.is_empty() {
            return Err(Busy);
        }
        self.objects.conditions.remove(condition);
        Ok(())
    }

    /// The running thread gives up a mutex and waits for a notification, as one step. When it runs again,
    /// whatever the outcome, it owns the mutex. If the deadline is past already, it keeps the mutex.
    ///
    /// # Panics
    ///
    /// If the running thread does not own the mutex.
    pub fn wait_condition(
        &mut self,
        condition: ConditionId,
        mutex: MutexId,
        deadline: Option<u64>,
        now: u64,
    ) -> Attempt {
        self.assert_owned(mutex);
        if self.is_interrupted(Waiting::Condition(condition, mutex)) {
            return Attempt::Interrupted;
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Attempt::TimedOut;
        }
        let thread = self.current();
        // It queues with the importance that is its own once the mutex is gone.
        self.hand_over(mutex);
        self.inherit(thread);
        self.block(Waiting::Condition(condition, mutex), deadline);
        Attempt::Switch(self.decide(now))
    }

    /// Whether anybody waits for a notification. If nobody does, there is nobody to notify.
    #[must_use]
    #[inline]
    pub fn is_awaited(&self, condition: ConditionId) -> bool {
        !self.objects.conditions[condition].waiters.is_empty()
    }

    /// Notifies the first who waits, if anybody does.
    pub fn notify_one(&mut self, condition: ConditionId, now: u64) -> Decision {
        if let Some(thread) = self.objects.conditions[condition].waiters.pop(&mut self.scheduler.threads) {
            self.finish(thread);
        }
        self.decide(now)
    }

    /// Notifies everyone who waits.
    pub fn notify_all(&mut self, condition: ConditionId, now: u64) -> Decision {
        let threads = &mut self.scheduler.threads;
        let released = self.objects.conditions[condition].waiters.release_all(threads);
        self.released.append(threads, released);
        self.decide(now)
    }
}

/// Reader-writer locks.
impl Policy {
    /// Creates a reader-writer lock.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for it.
    pub fn create_read_write_lock(&mut self) -> Result<ReadWriteLockId, Full> {
        self.objects.read_write_locks.insert(ReadWriteLock::default())
    }

    /// Removes a reader-writer lock.
    ///
    /// # Errors
    ///
    /// [`Busy`] if somebody has it. It stays.
    pub fn remove_read_write_lock(&mut self, lock: ReadWriteLockId) -> Result<(), Busy> {
        let record = &self.objects.read_write_locks[lock];
        if record.has_writer() || record.readers() > 0 {
            return Err(Busy);
        }
        self.objects.read_write_locks.remove(lock);
        Ok(())
    }

    /// The record of a reader-writer lock.
    #[must_use]
    pub fn read_write_lock(&self, lock: ReadWriteLockId) -> &ReadWriteLock {
        &self.objects.read_write_locks[lock]
    }

    /// Locks a reader-writer lock for the running thread if it may have it at once.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for a hold. Nothing changed.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub fn try_lock_read_write(&mut self, lock: ReadWriteLockId, access: Access) -> Result<bool, Full> {
        let thread = self.current();
        self.note(thread, lock, access)?;
        let objects = &mut self.objects;
        let threads = &mut self.scheduler.threads;
        let may = objects.read_write_locks[lock].try_lock(threads, thread, access);
        if !may {
            read_write_lock::forget(&mut objects.holds, threads, thread, lock);
        }
        Ok(may)
    }

    /// Locks a reader-writer lock for the running thread, which waits for it if need be.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for a hold. Nothing changed.
    ///
    /// # Panics
    ///
    /// If no thread runs.
    pub fn lock_read_write(
        &mut self,
        lock: ReadWriteLockId,
        access: Access,
        deadline: Option<u64>,
        now: u64,
    ) -> Result<Attempt, Full> {
        if self.try_lock_read_write(lock, access)? {
            return Ok(Attempt::Done);
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(Attempt::TimedOut);
        }
        self.note(self.current(), lock, access)?;
        let waiting = match access {
            Access::Read => Waiting::Read(lock),
            Access::Write => Waiting::Write(lock),
        };
        Ok(self.wait(waiting, deadline, now))
    }

    /// Locks a reader-writer lock once more for the running thread, which reads under it already; whoever waits
    /// goes on waiting, as the thread could not go on otherwise.
    ///
    /// # Errors
    ///
    /// [`Full`] if there is no room for a hold. Nothing changed.
    ///
    /// # Panics
    ///
    /// If the running thread does not read under the lock.
    pub fn read_again(&mut self, lock: ReadWriteLockId) -> Result<(), Full> {
        let thread = self.current();
        let access = self.held_access(thread, lock);
        assert!(access == Some(Access::Read), "thread {thread:?} does not read under lock {lock:?}");
        self.note(thread, lock, Access::Read)?;
        self.objects.read_write_locks[lock].enter_again();
        Ok(())
    }

    /// How a thread has a reader-writer lock, the newest way if there are several.
    #[must_use]
    pub fn held_access(&self, thread: ThreadId, lock: ReadWriteLockId) -> Option<Access> {
        self.held(thread).find(|hold| hold.lock == lock).map(|hold| hold.access)
    }

    /// Unlocks a reader-writer lock of the running thread: gives back the last access it got to it.
    ///
    /// # Panics
    ///
    /// If the running thread does not have it.
    pub fn unlock_read_write(&mut self, lock: ReadWriteLockId, now: u64) -> Decision {
        self.give_back(self.current(), lock);
        self.decide(now)
    }

    /// Says that what a lock guards is well again, or, with `true`, that it is not.
    pub fn set_read_write_lock_poisoned(&mut self, lock: ReadWriteLockId, is_poisoned: bool) {
        self.objects.read_write_locks[lock].is_poisoned = is_poisoned;
    }

    /// Notes that a thread has a lock, or wants it.
    fn note(&mut self, thread: ThreadId, lock: ReadWriteLockId, access: Access) -> Result<(), Full> {
        let record = &mut self.scheduler.threads[thread];
        let hold = self.objects.holds.insert(Hold { lock, access, next: record.hold })?;
        record.hold = Some(hold);
        Ok(())
    }

    /// Releases a lock that a thread has.
    pub(super) fn give_back(&mut self, thread: ThreadId, lock: ReadWriteLockId) {
        let objects = &mut self.objects;
        let threads = &mut self.scheduler.threads;
        let access = read_write_lock::forget(&mut objects.holds, threads, thread, lock);
        let access = access.unwrap_or_else(|| panic!("thread {thread:?} does not have lock {lock:?}"));
        let released = objects.read_write_locks[lock].unlock(threads, access);
        self.released.append(threads, released);
    }

    /// A thread that waited for a lock has left its queue without it.
    pub(super) fn give_up(&mut self, thread: ThreadId, lock: ReadWriteLockId) {
        let objects = &mut self.objects;
        let threads = &mut self.scheduler.threads;
        read_write_lock::forget(&mut objects.holds, threads, thread, lock);
        let released = objects.read_write_locks[lock].admit(threads);
        self.released.append(threads, released);
    }
}

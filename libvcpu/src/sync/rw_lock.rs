//! [`RwLock`]: many readers or one writer.

use super::poison::{self, LockResult, TryLockError, TryLockResult};
use crate::time::{self, Duration, Instant};
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use vcpu_kernel::sync::{Access, RawReadWriteLock};

/// Lets many threads read what it guards, or one change it.
///
/// Readers and writers stand in one queue, most important first, in order of arrival within a priority;
/// neither side starves. So a thread must not take it for reading twice: a writer may wait in between, and
/// then both wait for ever. It hands on no importance; who needs that takes a [`Mutex`](super::Mutex).
///
/// A thread that dies while it changes what is guarded poisons the lock. A guard that is forgotten leaves it
/// locked until the thread ends.
///
/// ```no_run
/// use libvcpu::sync::RwLock;
///
/// static NAMES: RwLock<Vec<&str>> = RwLock::new(Vec::new());
///
/// NAMES.write().unwrap().push("guest");
/// assert_eq!(NAMES.read().unwrap().len(), 1);
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawReadWriteLock,
    data: UnsafeCell<T>,
}

/// A [`RwLock`] locked for reading; dropping it unlocks. It stays with the thread that locked.
#[must_use = "the lock is unlocked at once if the guard is not kept"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// Only the thread that locked can unlock: not `Send`.
    stays: PhantomData<*const ()>,
}

/// A [`RwLock`] locked for writing; dropping it unlocks. It stays with the thread that locked.
#[must_use = "the lock is unlocked at once if the guard is not kept"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    /// As above.
    stays: PhantomData<*const ()>,
}

// SAFETY: `data` is shared through guards for reading, which needs `Sync`, or handed over through a guard for
// writing, which needs `Send`; never both at a time.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// SAFETY: sharing the guard shares the `T` and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// An unlocked lock.
    pub const fn new(data: T) -> RwLock<T> {
        RwLock { raw: RawReadWriteLock::new(), data: UnsafeCell::new(data) }
    }

    /// What it guarded.
    ///
    /// # Errors
    ///
    /// With a warning if the lock is poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        let poisoned = self.raw.poisoned();
        poison::warn(self.data.into_inner(), poisoned)
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks for reading, and waits for that if need be.
    ///
    /// # Errors
    ///
    /// With a warning if the lock is poisoned.
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        locked(self.read_by(None))
    }

    /// Locks for writing, and waits for that if need be.
    ///
    /// # Errors
    ///
    /// With a warning if the lock is poisoned.
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        locked(self.write_by(None))
    }

    /// Locks for reading if that needs no waiting.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if it does; with a warning if the lock is poisoned.
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        let poisoned = self.raw.try_lock(Access::Read).ok_or(TryLockError::WouldBlock)?;
        Ok(poison::warn(self.reader(), poisoned)?)
    }

    /// Locks for writing if that needs no waiting.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if it does; with a warning if the lock is poisoned.
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        let poisoned = self.raw.try_lock(Access::Write).ok_or(TryLockError::WouldBlock)?;
        Ok(poison::warn(self.writer(), poisoned)?)
    }

    /// Locks for reading, and waits for that no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if the deadline came first; with a warning if the lock is poisoned.
    pub fn read_timeout(&self, timeout: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.read_by(time::after(timeout))
    }

    /// Locks for reading, and waits for that until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`read_timeout`](RwLock::read_timeout).
    pub fn read_until(&self, deadline: Instant) -> TryLockResult<RwLockReadGuard<'_, T>> {
        self.read_by(Some(deadline.as_nanos()))
    }

    /// Locks for writing, and waits for that no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if the deadline came first; with a warning if the lock is poisoned.
    pub fn write_timeout(&self, timeout: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.write_by(time::after(timeout))
    }

    /// Locks for writing, and waits for that until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`write_timeout`](RwLock::write_timeout).
    pub fn write_until(&self, deadline: Instant) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        self.write_by(Some(deadline.as_nanos()))
    }

    /// Whether a thread died while it changed what is guarded, and nobody has said since that all is well.
    pub fn is_poisoned(&self) -> bool {
        self.raw.poisoned().0
    }

    /// Says that what the lock guards is well again.
    pub fn clear_poison(&self) {
        self.raw.clear_poison();
    }

    /// What it guards, without locking: nobody else can.
    ///
    /// # Errors
    ///
    /// With a warning if the lock is poisoned.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let poisoned = self.raw.poisoned();
        poison::warn(self.data.get_mut(), poisoned)
    }

    fn read_by(&self, deadline: Option<u64>) -> TryLockResult<RwLockReadGuard<'_, T>> {
        let poisoned = self.raw.lock(Access::Read, deadline).map_err(|_| TryLockError::WouldBlock)?;
        Ok(poison::warn(self.reader(), poisoned)?)
    }

    fn write_by(&self, deadline: Option<u64>) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        let poisoned = self.raw.lock(Access::Write, deadline).map_err(|_| TryLockError::WouldBlock)?;
        Ok(poison::warn(self.writer(), poisoned)?)
    }

    /// The guard of a thread that just locked for reading.
    const fn reader(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard { lock: self, stays: PhantomData }
    }

    /// The guard of the thread that just locked for writing.
    const fn writer(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard { lock: self, stays: PhantomData }
    }
}

/// What came of locking without a deadline.
fn locked<G>(result: TryLockResult<G>) -> LockResult<G> {
    match result {
        Ok(guard) => Ok(guard),
        Err(TryLockError::Poisoned(error)) => Err(error),
        Err(TryLockError::WouldBlock) => unreachable!("a deadline came that was not set"),
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: until the guard is dropped there are only readers, so nobody changes the data.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: until the guard is dropped there is no other.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: until the guard is dropped there is no other.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw.unlock();
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw.unlock();
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(data: T) -> RwLock<T> {
        RwLock::new(data)
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        poison::show(formatter, "RwLock", self.try_read(), self.is_poisoned())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, formatter)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, formatter)
    }
}

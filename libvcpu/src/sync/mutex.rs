//! [`Mutex`]: one at a time.

use super::poison::{self, LockResult, TryLockError, TryLockResult};
use crate::time::{self, Duration, Instant};
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use vcpu_kernel::sync::{LockError, RawMutex};

/// Lets one thread at a time use what it guards, as [`std::sync::Mutex`].
///
/// It hands on importance: as long as a more important thread waits for it, its owner is as important. Who
/// waits gets it by priority, then by time of arrival. Locking and unlocking without a contest takes a few
/// instructions and no vCPU call.
///
/// A thread that dies with it poisons it. A guard that is forgotten leaves it locked until the thread ends,
/// and if others waited for it and it is dropped before that, a record of the kernel's stays behind.
///
/// ```no_run
/// use libvcpu::sync::Mutex;
///
/// static TOTAL: Mutex<u64> = Mutex::new(0);
///
/// *TOTAL.lock().unwrap() += 1;
/// ```
///
/// [`std::sync::Mutex`]: https://doc.rust-lang.org/std/sync/struct.Mutex.html
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    data: UnsafeCell<T>,
}

/// A locked [`Mutex`]; dropping it unlocks. It stays with the thread that locked.
#[must_use = "the mutex is unlocked at once if the guard is not kept"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// Only the owner can unlock: not `Send`.
    stays: PhantomData<*const ()>,
}

// SAFETY: `data` is reached through a guard, of which there is one at a time, or through `&mut`; so the
// threads that share the mutex hand the `T` to each other, and never share it.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: sharing the guard shares the `T` and nothing else.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(data: T) -> Mutex<T> {
        Mutex { raw: RawMutex::new(), data: UnsafeCell::new(data) }
    }

    /// What it guarded.
    ///
    /// # Errors
    ///
    /// With a warning if the mutex is poisoned.
    pub fn into_inner(self) -> LockResult<T> {
        let poisoned = self.raw.poisoned();
        poison::warn(self.data.into_inner(), poisoned)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks, and waits for that if need be.
    ///
    /// # Errors
    ///
    /// With a warning if the mutex is poisoned.
    ///
    /// # Panics
    ///
    /// If the wait could never end, as when this thread has the mutex already.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let poisoned = self.raw.lock();
        poison::warn(self.guard(), poisoned)
    }

    /// Locks if nobody has the mutex.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if somebody has it; with a warning if it is poisoned.
    #[inline]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        let poisoned = self.raw.try_lock().ok_or(TryLockError::WouldBlock)?;
        Ok(poison::warn(self.guard(), poisoned)?)
    }

    /// Locks, and waits for that no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`TryLockError::WouldBlock`] if somebody had it all the time; with a warning if it is poisoned.
    ///
    /// # Panics
    ///
    /// If the wait could never end, and the timeout is too long to matter.
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        self.lock_by(time::after(timeout))
    }

    /// Locks, and waits for that until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`lock_timeout`](Mutex::lock_timeout).
    #[track_caller]
    pub fn lock_until(&self, deadline: Instant) -> TryLockResult<MutexGuard<'_, T>> {
        self.lock_by(Some(deadline.as_nanos()))
    }

    #[track_caller]
    fn lock_by(&self, deadline: Option<u64>) -> TryLockResult<MutexGuard<'_, T>> {
        match self.raw.lock_until(deadline) {
            Ok(poisoned) => Ok(poison::warn(self.guard(), poisoned)?),
            Err(LockError::TimedOut) => Err(TryLockError::WouldBlock),
            Err(error @ LockError::Deadlock) => panic!("{error}"),
        }
    }

    /// Whether a thread died with the mutex, and nobody has said since that all is well.
    pub fn is_poisoned(&self) -> bool {
        self.raw.poisoned().0
    }

    /// Says that what the mutex guards is well again.
    pub fn clear_poison(&self) {
        self.raw.clear_poison();
    }

    /// What it guards, without locking: nobody else can.
    ///
    /// # Errors
    ///
    /// With a warning if the mutex is poisoned.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        let poisoned = self.raw.poisoned();
        poison::warn(self.data.get_mut(), poisoned)
    }

    /// The guard of the thread that just locked.
    #[inline]
    const fn guard(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: self, stays: PhantomData }
    }
}

impl<T: ?Sized> MutexGuard<'_, T> {
    /// For the condition variables.
    pub(super) const fn raw(&self) -> &RawMutex {
        &self.mutex.raw
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the guard's thread owns the mutex until the guard is dropped, so nobody changes the data.
        unsafe { &*self.mutex.data.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and there is no other guard.
        unsafe { &mut *self.mutex.data.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.raw.unlock();
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(data: T) -> Mutex<T> {
        Mutex::new(data)
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        poison::show(formatter, "Mutex", self.try_lock(), self.is_poisoned())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, formatter)
    }
}

//! The kernel's locks for crates that are written for any lock, by `lock_api` (feature `lock_api`).
//!
//! [`RawMutex`] and [`RawRwLock`] are what such a crate asks for; [`Mutex`], [`ReentrantMutex`] and [`RwLock`]
//! are that crate's own types made with them. They behave as those of [`sync`](crate::sync), which are the
//! better choice where there is one, because this interface knows no poisoning: a thread that dies with a
//! lock gives it to the next who waits, without a warning.
//!
//! ```no_run
//! use libvcpu::lock_api::Mutex;
//!
//! static TOTAL: Mutex<u64> = Mutex::new(0);
//!
//! *TOTAL.lock() += 1;
//! ```

use crate::time::{self, Duration, Instant};
use core::num::NonZeroUsize;
use lock_api::GuardNoSend;
use vcpu_kernel::sync::{self, Access, LockError, Poisoned, RawReadWriteLock};

/// A mutex without data, with priority inheritance; see [`sync::Mutex`](crate::sync::Mutex).
#[derive(Debug, Default)]
pub struct RawMutex(sync::RawMutex);

/// A reader-writer lock without data; see [`sync::RwLock`](crate::sync::RwLock).
#[derive(Debug, Default)]
pub struct RawRwLock(RawReadWriteLock);

/// Tells threads apart, for [`ReentrantMutex`].
#[derive(Debug, Default)]
pub struct RawThreadId(());

/// `lock_api`'s mutex made with the kernel's.
pub type Mutex<T> = lock_api::Mutex<RawMutex, T>;

/// The guard of [`Mutex`].
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, RawMutex, T>;

/// `lock_api`'s mutex that its owner can lock again.
pub type ReentrantMutex<T> = lock_api::ReentrantMutex<RawMutex, RawThreadId, T>;

/// The guard of [`ReentrantMutex`].
pub type ReentrantMutexGuard<'a, T> = lock_api::ReentrantMutexGuard<'a, RawMutex, RawThreadId, T>;

/// `lock_api`'s reader-writer lock made with the kernel's.
pub type RwLock<T> = lock_api::RwLock<RawRwLock, T>;

/// The guard of [`RwLock`] for reading.
pub type RwLockReadGuard<'a, T> = lock_api::RwLockReadGuard<'a, RawRwLock, T>;

/// The guard of [`RwLock`] for writing.
pub type RwLockWriteGuard<'a, T> = lock_api::RwLockWriteGuard<'a, RawRwLock, T>;

// SAFETY: the kernel's mutex has one owner at a time.
unsafe impl lock_api::RawMutex for RawMutex {
    const INIT: RawMutex = RawMutex(sync::RawMutex::new());

    /// The kernel knows the owner, and only that thread can unlock.
    type GuardMarker = GuardNoSend;

    /// # Panics
    ///
    /// If the wait could never end, as when this thread has the mutex already.
    #[inline]
    #[track_caller]
    fn lock(&self) {
        let Poisoned(_) = self.0.lock();
    }

    #[inline]
    fn try_lock(&self) -> bool {
        self.0.try_lock().is_some()
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.unlock();
    }
}

// SAFETY: as above; without the mutex the answer is `false`.
unsafe impl lock_api::RawMutexTimed for RawMutex {
    type Duration = Duration;
    type Instant = Instant;

    fn try_lock_for(&self, timeout: Duration) -> bool {
        self.lock_by(time::after(timeout))
    }

    fn try_lock_until(&self, deadline: Instant) -> bool {
        self.lock_by(Some(deadline.as_nanos()))
    }
}

// SAFETY: who waits gets the mutex before anybody who comes later, however it is unlocked.
unsafe impl lock_api::RawMutexFair for RawMutex {
    unsafe fn unlock_fair(&self) {
        self.0.unlock();
    }
}

impl RawMutex {
    #[track_caller]
    fn lock_by(&self, deadline: Option<u64>) -> bool {
        match self.0.lock_until(deadline) {
            Ok(Poisoned(_)) => true,
            Err(LockError::TimedOut) => false,
            Err(error @ LockError::Deadlock) => panic!("{error}"),
        }
    }
}

// SAFETY: the kernel's lock has many readers or one writer.
unsafe impl lock_api::RawRwLock for RawRwLock {
    const INIT: RawRwLock = RawRwLock(RawReadWriteLock::new());

    /// The kernel knows who holds it, and only that thread can unlock.
    type GuardMarker = GuardNoSend;

    #[inline]
    fn lock_shared(&self) {
        self.lock_by(Access::Read, None);
    }

    #[inline]
    fn try_lock_shared(&self) -> bool {
        self.0.try_lock(Access::Read).is_some()
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        self.0.unlock();
    }

    #[inline]
    fn lock_exclusive(&self) {
        self.lock_by(Access::Write, None);
    }

    #[inline]
    fn try_lock_exclusive(&self) -> bool {
        self.0.try_lock(Access::Write).is_some()
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        self.0.unlock();
    }
}

// SAFETY: as above; without the lock the answer is `false`.
unsafe impl lock_api::RawRwLockTimed for RawRwLock {
    type Duration = Duration;
    type Instant = Instant;

    fn try_lock_shared_for(&self, timeout: Duration) -> bool {
        self.lock_by(Access::Read, time::after(timeout))
    }

    fn try_lock_shared_until(&self, deadline: Instant) -> bool {
        self.lock_by(Access::Read, Some(deadline.as_nanos()))
    }

    fn try_lock_exclusive_for(&self, timeout: Duration) -> bool {
        self.lock_by(Access::Write, time::after(timeout))
    }

    fn try_lock_exclusive_until(&self, deadline: Instant) -> bool {
        self.lock_by(Access::Write, Some(deadline.as_nanos()))
    }
}

impl RawRwLock {
    /// Gives whether the lock was to be had by `deadline` (ns), if there is one.
    #[inline]
    fn lock_by(&self, access: Access, deadline: Option<u64>) -> bool {
        match self.0.lock(access, deadline) {
            Ok(Poisoned(_)) => true,
            Err(sync::TimedOut) => false,
        }
    }
}

// SAFETY: no two threads of a guest ever have the same number.
unsafe impl lock_api::GetThreadId for RawThreadId {
    const INIT: RawThreadId = RawThreadId(());

    fn nonzero_thread_id(&self) -> NonZeroUsize {
        NonZeroUsize::try_from(crate::thread::current().id().as_u64()).expect("addresses have 64 bits")
    }
}

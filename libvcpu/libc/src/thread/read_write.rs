//! Reader-writer locks: `pthread_rwlock_t` around the kernel's.
//!
//! Readers and writers are served in the order in which they come, more important threads first. A thread that
//! reads already may read again though a writer waits: it could not go on otherwise.

use super::{answer, deadline};
use crate::errno::{EAGAIN, EBUSY, EDEADLK, ENOMEM, EPERM, ETIMEDOUT};
use crate::time::TimeSpec;
use core::ffi::c_int;
use core::mem::transmute;
use vcpu_kernel::scheduler::TimedOut;
use vcpu_kernel::sync::{Access, RawReadWriteLock};

/// `pthread_rwlock_t`. Zero is an unlocked lock.
#[repr(C)]
pub struct ReadWrite {
    raw: RawReadWriteLock,
    unused: [u32; 13],
}

const _: () = assert!(size_of::<ReadWrite>() == 56);
// SAFETY: both are four bytes, and any bytes are a number.
const _: () = assert!(unsafe { transmute::<RawReadWriteLock, u32>(RawReadWriteLock::new()) } == 0);

impl ReadWrite {
    fn try_lock(&self, access: Access) -> Result<(), i64> {
        self.raw.prepare().map_err(|_| ENOMEM)?;
        // A thread that died while it wrote says nothing here.
        match self.raw.try_lock(access) {
            Some(_) => Ok(()),
            None if access == Access::Read => self.read_again().unwrap_or(Err(EBUSY)),
            None => Err(EBUSY),
        }
    }

    /// Locks for reading what the calling thread reads already.
    fn read_again(&self) -> Option<Result<(), i64>> {
        (self.raw.own() == Some(Access::Read))
            .then(|| if self.raw.read_again() { Ok(()) } else { Err(EAGAIN) })
    }

    #[inline]
    fn lock(&self, access: Access, deadline: impl FnOnce() -> Result<Option<u64>, i64>) -> Result<(), i64> {
        match self.try_lock(access) {
            Err(EBUSY) => {}
            other => return other,
        }
        let deadline = deadline()?;
        if deadline.is_none() && self.raw.own().is_some() {
            return Err(EDEADLK);
        }
        match self.raw.lock(access, deadline) {
            Ok(_) => Ok(()),
            Err(TimedOut) => Err(ETIMEDOUT),
        }
    }
}

/// Makes a lock. All attributes mean the same, as there is one process.
///
/// # Safety
///
/// As `pthread_rwlock_init`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_init(lock: *mut ReadWrite, _attributes: *const u32) -> c_int {
    // SAFETY: the caller's place.
    unsafe {
        lock.write_bytes(0, 1);
        match (*lock).raw.prepare() {
            Ok(()) => 0,
            Err(_) => ENOMEM as c_int,
        }
    }
}

/// Gives up a lock for good.
#[unsafe(no_mangle)]
extern "C" fn pthread_rwlock_destroy(lock: &ReadWrite) -> c_int {
    match lock.raw.reset() {
        Ok(()) => 0,
        Err(_) => EBUSY as c_int,
    }
}

/// Locks for reading.
#[unsafe(no_mangle)]
extern "C" fn pthread_rwlock_rdlock(lock: &ReadWrite) -> c_int {
    answer(lock.lock(Access::Read, || Ok(None)))
}

/// Locks for writing.
#[unsafe(no_mangle)]
extern "C" fn pthread_rwlock_wrlock(lock: &ReadWrite) -> c_int {
    answer(lock.lock(Access::Write, || Ok(None)))
}

/// Locks for reading if that needs no waiting.
#[unsafe(no_mangle)]
extern "C" fn pthread_rwlock_tryrdlock(lock: &ReadWrite) -> c_int {
    answer(lock.try_lock(Access::Read))
}

/// Locks for writing if that needs no waiting.
#[unsafe(no_mangle)]
extern "C" fn pthread_rwlock_trywrlock(lock: &ReadWrite) -> c_int {
    answer(lock.try_lock(Access::Write))
}

/// Locks for reading, and waits until the time of day is this.
///
/// # Safety
///
/// As `pthread_rwlock_timedrdlock`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_timedrdlock(lock: &ReadWrite, time: *const TimeSpec) -> c_int {
    // SAFETY: the caller's time.
    answer(lock.lock(Access::Read, || unsafe { deadline::optional(deadline::REALTIME, time) }))
}

/// Locks for writing, and waits until the time of day is this.
///
/// # Safety
///
/// As `pthread_rwlock_timedwrlock`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_timedwrlock(lock: &ReadWrite, time: *const TimeSpec) -> c_int {
    // SAFETY: the caller's time.
    answer(lock.lock(Access::Write, || unsafe { deadline::optional(deadline::REALTIME, time) }))
}

/// Unlocks what the calling thread has locked last.
#[unsafe(no_mangle)]
extern "C" fn pthread_rwlock_unlock(lock: &ReadWrite) -> c_int {
    if lock.raw.own().is_none() {
        return EPERM as c_int;
    }
    lock.raw.unlock();
    0
}

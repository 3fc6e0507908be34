//! Semaphores: `sem_t` around the kernel's, and those with a name, which the whole program shares.

use super::deadline;
use crate::cancel;
use crate::errno::{
    EAGAIN, EBUSY, EEXIST, EINTR, EINVAL, ENAMETOOLONG, ENOENT, ENOMEM, ENOSPC, EOVERFLOW, ETIMEDOUT,
    set_errno,
};
use crate::time::TimeSpec;
use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int};
use core::ptr::null;
use vcpu_kernel::sync::{RawMutex, RawSemaphore};
use vcpu_kernel::thread::WaitError;

/// `SEM_VALUE_MAX`.
const MAXIMUM: u32 = i32::MAX as u32;

// It is in place of musl's `sem_t`.
const _: () = assert!(size_of::<RawSemaphore>() <= 32 && align_of::<RawSemaphore>() <= 4);

/// What the functions answer: 0, or -1 with the error in `errno`.
fn answer(result: Result<(), i64>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => {
            set_errno(error);
            -1
        }
    }
}

fn acquire(semaphore: &RawSemaphore, deadline: impl FnOnce() -> Result<Option<u64>, i64>) -> Result<(), i64> {
    cancel::test();
    if semaphore.try_acquire() {
        return Ok(());
    }
    let deadline = deadline()?;
    loop {
        match cancel::wait(|| semaphore.acquire(deadline)) {
            Ok(()) => return Ok(()),
            Err(WaitError::TimedOut) => return Err(ETIMEDOUT),
            Err(WaitError::Interrupted) if cancel::interrupted() => {}
            Err(WaitError::Interrupted) => return Err(EINTR),
        }
    }
}

/// Makes a semaphore.
///
/// # Safety
///
/// As `sem_init`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_init(semaphore: *mut RawSemaphore, _shared: c_int, value: u32) -> c_int {
    if value > MAXIMUM {
        return answer(Err(EINVAL));
    }
    // SAFETY: the caller's place.
    answer(unsafe {
        semaphore.write(RawSemaphore::new(value, MAXIMUM));
        (*semaphore).prepare().map_err(|_| ENOSPC)
    })
}

/// Gives up a semaphore for good.
#[unsafe(no_mangle)]
extern "C" fn sem_destroy(semaphore: &RawSemaphore) -> c_int {
    answer(semaphore.reset().map_err(|_| EBUSY))
}

/// Takes a permit.
#[unsafe(no_mangle)]
extern "C" fn sem_wait(semaphore: &RawSemaphore) -> c_int {
    answer(acquire(semaphore, || Ok(None)))
}

/// Takes a permit if there is one.
#[unsafe(no_mangle)]
extern "C" fn sem_trywait(semaphore: &RawSemaphore) -> c_int {
    answer(if semaphore.try_acquire() { Ok(()) } else { Err(EAGAIN) })
}

/// Takes a permit, and waits for one until the time of day is this.
///
/// # Safety
///
/// As `sem_timedwait`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_timedwait(semaphore: &RawSemaphore, time: *const TimeSpec) -> c_int {
    // SAFETY: the caller's time.
    answer(acquire(semaphore, || unsafe { deadline::optional(deadline::REALTIME, time) }))
}

/// Gives a permit.
#[unsafe(no_mangle)]
extern "C" fn sem_post(semaphore: &RawSemaphore) -> c_int {
    answer(semaphore.release().map_err(|_| EOVERFLOW))
}

/// The permits that are free.
///
/// # Safety
///
/// As `sem_getvalue`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_getvalue(semaphore: &RawSemaphore, value: *mut c_int) -> c_int {
    // SAFETY: the caller's place.
    unsafe { value.write(semaphore.permits() as c_int) };
    0
}

/// A semaphore with a name.
struct Named {
    /// None if the name was taken away.
    name: Option<Vec<u8>>,
    /// How often it is open.
    count: usize,
    semaphore: &'static RawSemaphore,
}

struct Table {
    mutex: RawMutex,
    /// Touched by the mutex's owner only.
    all: UnsafeCell<Vec<Named>>,
}

// SAFETY: as said at `all`.
unsafe impl Sync for Table {}

static TABLE: Table = Table { mutex: RawMutex::new(), all: UnsafeCell::new(Vec::new()) };

impl Table {
    fn with<R>(&self, action: impl FnOnce(&mut Vec<Named>) -> R) -> R {
        let _ = self.mutex.lock();
        // SAFETY: the mutex is the caller's.
        let result = action(unsafe { &mut *self.all.get() });
        self.mutex.unlock();
        result
    }
}

/// The name without slashes in front.
///
/// # Safety
///
/// It is a string.
unsafe fn name<'a>(name: *const c_char) -> Result<&'a [u8], i64> {
    /// So long is a name in POSIX.
    const LONGEST: usize = 255;
    // SAFETY: the caller's string.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    let start = name.iter().position(|byte| *byte != b'/').ok_or(EINVAL)?;
    let name = &name[start..];
    match name {
        _ if name.contains(&b'/') => Err(EINVAL),
        b"." | b".." => Err(EINVAL),
        _ if name.len() > LONGEST => Err(ENAMETOOLONG),
        _ => Ok(name),
    }
}

fn open(name: &[u8], flags: c_int, value: u32) -> Result<&'static RawSemaphore, i64> {
    const CREATE: c_int = 0o100;
    const EXCLUSIVE: c_int = 0o200;
    TABLE.with(|all| {
        if let Some(found) = all.iter_mut().find(|named| named.name.as_deref() == Some(name)) {
            if flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE {
                return Err(EEXIST);
            }
            found.count += 1;
            return Ok(found.semaphore);
        }
        if flags & CREATE == 0 {
            return Err(ENOENT);
        }
        if value > MAXIMUM {
            return Err(EINVAL);
        }
        let mut owned = Vec::new();
        all.try_reserve(1).and_then(|()| owned.try_reserve_exact(name.len())).map_err(|_| ENOMEM)?;
        owned.extend_from_slice(name);
        let semaphore = super::try_box(RawSemaphore::new(value, MAXIMUM)).ok_or(ENOMEM)?;
        semaphore.prepare().map_err(|_| ENOSPC)?;
        let semaphore: &'static RawSemaphore = alloc::boxed::Box::leak(semaphore);
        all.push(Named { name: Some(owned), count: 1, semaphore });
        Ok(semaphore)
    })
}

/// Forgets a semaphore that has no name and is not open.
fn forget(all: &mut Vec<Named>, index: usize) {
    if all[index].name.is_none() && all[index].count == 0 {
        let Named { semaphore, .. } = all.swap_remove(index);
        // SAFETY: `open` made it of a box, and nobody has it any more.
        drop(unsafe { alloc::boxed::Box::from_raw((&raw const *semaphore).cast_mut()) });
    }
}

/// Opens a semaphore by its name, and makes it if it is not there and the flags say so.
///
/// C gives the last two arguments only if one is to be made; where they would be, something else is then, which is
/// not looked at.
///
/// # Safety
///
/// As `sem_open`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_open(
    named: *const c_char,
    flags: c_int,
    _mode: u32,
    value: u32,
) -> *const RawSemaphore {
    // SAFETY: the caller's string.
    match unsafe { name(named) }.and_then(|name| open(name, flags, value)) {
        Ok(semaphore) => semaphore,
        Err(error) => {
            set_errno(error);
            null()
        }
    }
}

/// Closes a semaphore that was opened by its name.
#[unsafe(no_mangle)]
extern "C" fn sem_close(semaphore: *const RawSemaphore) -> c_int {
    answer(TABLE.with(|all| {
        let is_open = |named: &Named| core::ptr::eq(named.semaphore, semaphore) && named.count > 0;
        let index = all.iter().position(is_open).ok_or(EINVAL)?;
        all[index].count -= 1;
        forget(all, index);
        Ok(())
    }))
}

/// Takes a name away. Who has the semaphore open goes on to use it.
///
/// # Safety
///
/// As `sem_unlink`.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_unlink(named: *const c_char) -> c_int {
    // SAFETY: the caller's string.
    answer(unsafe { name(named) }.and_then(|name| {
        TABLE.with(|all| {
            let is_it = |named: &Named| named.name.as_deref() == Some(name);
            let index = all.iter().position(is_it).ok_or(ENOENT)?;
            all[index].name = None;
            forget(all, index);
            Ok(())
        })
    }))
}

//! Advisory locks: by `fcntl` of a part of a file, which are the guest's, and by `flock` of a whole one, which
//! belong to what has opened it. The host keeps them, so programs of the host and other guests see them.
//!
//! The host does not say when a lock comes free. Who waits for one asks again, after a time that grows from one
//! millisecond to 64.

use super::table::{self, Object, Open};
use super::{Result, done, number};
use crate::cancel;
use crate::errno::{EACCES, EAGAIN, EBADF, EFAULT, EINVAL, EOPNOTSUPP, EOVERFLOW};
use core::sync::atomic::Ordering::Relaxed;
use libvcpu::fs::{File, Lock, LockKind, LockOwner};
use libvcpu::io::{Seek, SeekFrom};
use vcpu_kernel::clock;

/// C's `struct flock`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Range {
    kind: i16,
    whence: i16,
    start: i64,
    length: i64,
    process: i32,
}

/// A lock that reaches to the end of the file.
const END: u64 = i64::MAX as u64;

fn kind(number: i16) -> Result<LockKind> {
    match number {
        0 => Ok(LockKind::Shared),
        1 => Ok(LockKind::Exclusive),
        2 => Ok(LockKind::None),
        _ => Err(EINVAL),
    }
}

impl Range {
    fn lock(&self, mut file: &File) -> Result<Lock> {
        let base = match self.whence {
            0 => 0,
            1 => file.seek(SeekFrom::Current(0)).map_err(number)? as i64,
            2 => file.metadata().map_err(number)?.len() as i64,
            _ => return Err(EINVAL),
        };
        let start = base.checked_add(self.start).ok_or(EOVERFLOW)?;
        let (start, end) = match self.length {
            0 => (start, i64::MAX),
            length if length > 0 => (start, start.checked_add(length - 1).ok_or(EOVERFLOW)?),
            length => (start.checked_add(length).ok_or(EINVAL)?, start - 1),
        };
        let start = u64::try_from(start).map_err(|_| EINVAL)?;
        Ok(Lock { kind: kind(self.kind)?, start, end: end as u64 })
    }
}

fn file(open: &Open) -> Result<&File> {
    match &open.object {
        Object::File(file) => Ok(file),
        _ => Err(EOPNOTSUPP),
    }
}

/// Takes a lock, now or, if it may wait, as soon as possible.
fn take(file: &File, owner: LockOwner, lock: &Lock, is_waiting: bool) -> Result<()> {
    let mut pause = 1_000_000;
    loop {
        match file.set_lock(owner, lock).map_err(number) {
            Err(EAGAIN | EACCES) if is_waiting => {}
            Err(EACCES) => return Err(EAGAIN),
            result => return result,
        }
        cancel::wait_until(Some(clock::now() + pause), || false)?;
        pause = (pause * 2).min(64_000_000);
    }
}

/// `F_SETLK` and `F_SETLKW`.
///
/// # Safety
///
/// The pointer is null or leads to a range.
///
/// # Errors
///
/// `EAGAIN` if somebody else's lock is in the way and it is not to wait; `EBADF` if the file is not open for such a
/// lock; `EINVAL`, `EOVERFLOW`, `EFAULT` for a range that is none.
pub unsafe fn set(open: &Open, range: *const Range, is_waiting: bool) -> Result<()> {
    if range.is_null() {
        return Err(EFAULT);
    }
    let file = file(open)?;
    // SAFETY: the caller's range.
    let lock = unsafe { *range }.lock(file)?;
    match lock.kind {
        LockKind::Shared => open.check_readable()?,
        LockKind::Exclusive => open.check_writable()?,
        LockKind::None => {}
    }
    open.has_locked.store(true, Relaxed);
    take(file, LockOwner::Guest, &lock, is_waiting)
}

/// `F_GETLK`.
///
/// # Safety
///
/// As for [`set`].
///
/// # Errors
///
/// As [`set`].
pub unsafe fn get(open: &Open, range: *mut Range) -> Result<()> {
    if range.is_null() {
        return Err(EFAULT);
    }
    let file = file(open)?;
    // SAFETY: the caller's range.
    let range = unsafe { &mut *range };
    let lock = range.lock(file)?;
    if lock.kind == LockKind::None {
        return Err(EINVAL);
    }
    match file.lock_in_the_way(&lock).map_err(number)? {
        None => range.kind = LockKind::None as i16,
        Some(found) => {
            let length = if found.end >= END { 0 } else { found.end - found.start + 1 };
            // Whose it is, is not the guest's affair.
            let (kind, start, length) = (found.kind as i16, found.start as i64, length as i64);
            *range = Range { kind, whence: 0, start, length, process: -1 };
        }
    }
    Ok(())
}

/// What happens when a descriptor was closed: the guest's locks of that file end, as POSIX has it.
pub fn closed(open: &Open) {
    if let Object::File(file) = &open.object
        && open.has_locked.load(Relaxed)
    {
        let all = Lock { kind: LockKind::None, start: 0, end: END };
        // If the host cannot be asked any more, there are no locks either.
        let _ = file.set_lock(LockOwner::Guest, &all);
    }
}

/// Takes or gives up a lock of a whole file.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_flock(descriptor: i64, operation: i64) -> i64 {
    const SHARED: i64 = 1;
    const EXCLUSIVE: i64 = 2;
    const NOW: i64 = 4;
    const NONE: i64 = 8;
    done(table::get(descriptor).and_then(|open| {
        let kind = match operation & !NOW {
            SHARED => LockKind::Shared,
            EXCLUSIVE => LockKind::Exclusive,
            NONE => LockKind::None,
            _ => return Err(EINVAL),
        };
        let Object::File(file) = &open.object else { return Err(EBADF) };
        take(file, LockOwner::Open, &Lock { kind, start: 0, end: END }, operation & NOW == 0)
    }))
}

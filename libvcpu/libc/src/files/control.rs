//! Flags, duplicates, devices' own requests.

use super::table::{self, O_APPEND, O_CLOEXEC, O_NONBLOCK, Object};
use super::{Result, answer, done, lock, pipe, transfer};
use crate::errno::{EBADF, EFAULT, EINVAL, ENOTTY};
use core::sync::atomic::Ordering::Relaxed;

/// What Linux says of every file on a 64-bit machine.
const O_LARGEFILE: i32 = 0o100_000;

/// Asks for or changes something about a descriptor.
///
/// # Safety
///
/// The argument is what the command wants: for locks, null or a `struct flock`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_fcntl(descriptor: i64, command: i64, argument: i64) -> i64 {
    const F_DUPFD: i64 = 0;
    const F_GETFD: i64 = 1;
    const F_SETFD: i64 = 2;
    const F_GETFL: i64 = 3;
    const F_SETFL: i64 = 4;
    const F_GETLK: i64 = 5;
    const F_SETLK: i64 = 6;
    const F_SETLKW: i64 = 7;
    const F_DUPFD_CLOEXEC: i64 = 1030;
    const F_GETPIPE_SZ: i64 = 1032;
    let act = || -> Result<i64> {
        let open = table::get(descriptor)?;
        match i64::from(command as i32) {
            F_DUPFD => table::add(open, i64::from(argument as i32), false),
            F_DUPFD_CLOEXEC => table::add(open, i64::from(argument as i32), true),
            F_GETFD => table::closes_on_exec(descriptor).map(i64::from),
            F_SETFD => table::set_close_on_exec(descriptor, argument & 1 != 0).map(|()| 0),
            F_GETFL => Ok((open.flags.load(Relaxed) | O_LARGEFILE).into()),
            F_SETFL => {
                const CHANGED: i32 = O_APPEND | O_NONBLOCK;
                let set = |old| Some(old & !CHANGED | argument as i32 & CHANGED);
                // It always gives one.
                let _ = open.flags.fetch_update(Relaxed, Relaxed, set);
                Ok(0)
            }
            // SAFETY: the caller's range.
            F_GETLK => unsafe { super::lock::get(&open, argument as *mut _) }.map(|()| 0),
            // SAFETY: the caller's range.
            F_SETLK => unsafe { super::lock::set(&open, argument as *const _, false) }.map(|()| 0),
            // SAFETY: the caller's range.
            F_SETLKW => unsafe { super::lock::set(&open, argument as *const _, true) }.map(|()| 0),
            F_GETPIPE_SZ if matches!(open.object, Object::Pipe(_)) => Ok(pipe::CAPACITY as i64),
            F_GETPIPE_SZ => Err(EBADF),
            _ => Err(EINVAL),
        }
    };
    answer(act())
}

/// The same, by the lowest free number.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_dup(descriptor: i64) -> i64 {
    answer(table::get(descriptor).and_then(|open| table::add(open, 0, false)))
}

fn duplicate(descriptor: i64, new: i64, close_on_exec: bool) -> Result<i64> {
    let old = table::replace(new, table::get(descriptor)?, close_on_exec)?;
    if let Some(old) = old {
        super::lock::closed(&old);
    }
    Ok(i64::from(new as i32))
}

/// The same, by this number.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_dup2(descriptor: i64, new: i64) -> i64 {
    if descriptor as i32 == new as i32 {
        return answer(table::get(descriptor).map(|_| i64::from(new as i32)));
    }
    answer(duplicate(descriptor, new, false))
}

/// The same, by this number, which is another.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_dup3(descriptor: i64, new: i64, flags: i64) -> i64 {
    if descriptor as i32 == new as i32 || flags & !i64::from(O_CLOEXEC) != 0 {
        return -EINVAL;
    }
    answer(duplicate(descriptor, new, flags != 0))
}

/// Devices' own requests: what is there to be read, and flags. There is no terminal.
///
/// # Safety
///
/// The argument is what the request wants.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_ioctl(descriptor: i64, request: i64, argument: *mut i32) -> i64 {
    const FIONREAD: i32 = 0x541b;
    const FIONBIO: i32 = 0x5421;
    const FIONCLEX: i32 = 0x5450;
    const FIOCLEX: i32 = 0x5451;
    let act = || {
        let open = table::get(descriptor)?;
        let request = request as i32;
        if matches!(request, FIONREAD | FIONBIO) && argument.is_null() {
            return Err(EFAULT);
        }
        match request {
            FIONREAD => {
                let count = transfer::readable(&open)?.min(i32::MAX.into()) as i32;
                // SAFETY: the caller's number.
                unsafe { argument.write(count) };
            }
            // SAFETY: the caller's number.
            FIONBIO => transfer::set_waiting(&open, unsafe { argument.read() } == 0),
            FIOCLEX => table::set_close_on_exec(descriptor, true)?,
            FIONCLEX => table::set_close_on_exec(descriptor, false)?,
            _ => return Err(ENOTTY),
        }
        Ok(())
    };
    done(act())
}

/// Waits until all open files are kept by the host's disk. What was closed before, the host keeps when it likes.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_sync() -> i64 {
    for open in table::all() {
        // Nobody is told.
        let _ = match &open.object {
            Object::File(file) => file.sync_all(),
            Object::Directory(listing) => lock(listing).directory.sync_all(),
            _ => Ok(()),
        };
    }
    0
}

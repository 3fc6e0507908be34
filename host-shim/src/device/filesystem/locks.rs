//! Advisory locks of files, as programs of the host see them.
//!
//! A guest is to the host's kernel what a process is: its locks of a file are one set, whatever it has opened how
//! often, and belong to a file that is open for nothing else (`F_OFD_SETLK`), one for each guest, though several
//! guests may live in one process. A lock by `flock` belongs to what the guest has opened, and so has a file of its
//! own. Nobody waits here: a lock is to be had now, or not.

use fuse_backend_rs::api::filesystem::FileLock;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// What a lock belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum LockOf {
    Inode(u64),
    Handle(u64),
}

/// The files by which a guest has locks.
#[derive(Default)]
pub(super) struct LockFiles(HashMap<LockOf, Arc<OwnedFd>>);

impl LockFiles {
    pub(super) fn get(&self, of: LockOf) -> Option<Arc<OwnedFd>> {
        self.0.get(&of).cloned()
    }

    pub(super) fn insert(&mut self, of: LockOf, file: Arc<OwnedFd>) {
        self.0.insert(of, file);
    }

    /// Closes one, which ends its locks.
    pub(super) fn remove(&mut self, of: LockOf) {
        self.0.remove(&of);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Opens a regular file, to which a descriptor leads, so that it can be locked: to write if that is possible, since
/// exclusive locks need that.
pub(super) fn open(file: &OwnedFd, writable: bool) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let open = |access| {
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(&path, flags, Mode::empty()).map_err(io::Error::from)
    };
    let to_write = if writable { open(OFlags::RDWR).ok() } else { None };
    to_write.map_or_else(|| open(OFlags::RDONLY), Ok)
}

fn request(lock: FileLock) -> io::Result<libc::flock> {
    let wrong = || io::Error::from_raw_os_error(libc::EINVAL);
    let start = i64::try_from(lock.start).map_err(|_| wrong())?;
    let end = i64::try_from(lock.end).map_err(|_| wrong())?;
    let length = match end {
        i64::MAX => 0,
        end if end >= start => end - start + 1,
        _ => return Err(wrong()),
    };
    let kind = i16::try_from(lock.lock_type).map_err(|_| wrong())?;
    if ![libc::F_RDLCK, libc::F_WRLCK, libc::F_UNLCK].contains(&kind.into()) {
        return Err(wrong());
    }
    Ok(libc::flock {
        l_type: kind,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: length,
        // The kernel wants that.
        l_pid: 0,
    })
}

/// Takes, changes or gives up a lock of a part of a file.
pub(super) fn set(file: &OwnedFd, lock: FileLock) -> io::Result<()> {
    let lock = request(lock)?;
    // SAFETY: the structure is what this command reads.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The first lock that is in the way of one, or one of the type `F_UNLCK`.
pub(super) fn find(file: &OwnedFd, lock: FileLock) -> io::Result<FileLock> {
    let mut found = request(lock)?;
    // SAFETY: the structure is what this command reads and writes.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut found) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let start = found.l_start as u64;
    let end = if found.l_len == 0 { i64::MAX as u64 } else { start + found.l_len as u64 - 1 };
    // Whose it is, the guest is not told.
    Ok(FileLock { start, end, lock_type: found.l_type as u32, pid: 0 })
}

/// Takes, changes or gives up a lock of a whole file.
pub(super) fn set_whole(file: &OwnedFd, kind: u32) -> io::Result<()> {
    let operation = match kind as i32 {
        libc::F_RDLCK => FlockOperation::NonBlockingLockShared,
        libc::F_WRLCK => FlockOperation::NonBlockingLockExclusive,
        libc::F_UNLCK => FlockOperation::NonBlockingUnlock,
        _ => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
    };
    Ok(rustix::fs::flock(file, operation)?)
}

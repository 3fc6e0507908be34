//! [`Lock`]: advisory locks of files.

use super::fuse::{self, Operation};
use super::session::Session;
use crate::io::{ErrorKind, Result};

/// A lock of a part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// What it allows.
    pub kind: LockKind,
    /// The first byte.
    pub start: u64,
    /// The last byte; [`i64::MAX`] is the end of the file, wherever that is.
    pub end: u64,
}

/// What a lock allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum LockKind {
    /// Others may have such locks too.
    Shared = 0,
    /// Nobody else may have any.
    Exclusive = 1,
    /// No lock: it is given up.
    None = 2,
}

/// Whose a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOwner {
    /// The guest's: whoever in it has the file open has the lock, and it ends when the guest closes the file, once
    /// and anywhere. As POSIX has it for a process, by `fcntl`.
    Guest,
    /// Of what has opened the file, and of the whole file, as by `flock`: the range does not matter.
    Open,
}

impl Lock {
    fn request(&self, handle: u64, owner: LockOwner) -> fuse::LockIn {
        let lock = fuse::FileLock { start: self.start, end: self.end, kind: self.kind as u32, process: 0 };
        let flags = if owner == LockOwner::Open { fuse::LOCK_OF_HANDLE } else { 0 };
        fuse::LockIn { handle, owner: 0, lock, flags, padding: 0 }
    }

    /// Whether it is one at all.
    pub(super) fn check(&self) -> Result<()> {
        if self.start > self.end || self.end > i64::MAX as u64 {
            return Err(ErrorKind::InvalidInput.into());
        }
        Ok(())
    }

    pub(super) fn set(&self, session: &Session, node: u64, handle: u64, owner: LockOwner) -> Result<()> {
        session.tell(Operation::SetLock, node, &self.request(handle, owner), &[])
    }

    pub(super) fn in_the_way(&self, session: &Session, node: u64, handle: u64) -> Result<Option<Lock>> {
        let request = self.request(handle, LockOwner::Guest);
        let reply: fuse::LockOut = session.ask(Operation::GetLock, node, &request, &[])?;
        let kind = match reply.lock.kind {
            0 => LockKind::Shared,
            1 => LockKind::Exclusive,
            _ => return Ok(None),
        };
        Ok(Some(Lock { kind, start: reply.lock.start, end: reply.lock.end }))
    }
}

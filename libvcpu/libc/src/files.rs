//! Descriptors, files, directories, streams.
//!
//! | module | its subject |
//! |---|---|
//! | [`table`] | from numbers to what is open |
//! | [`path`] | names: the working directory, special files |
//! | [`open`] | opening and closing |
//! | [`transfer`] | reading, writing, seeking |
//! | [`status`] | what is known of files, and changing it |
//! | [`names`] | creating, removing, renaming; what is in a directory |
//! | [`control`] | flags, duplicates, devices' own requests |
//! | [`lock`](mod@lock) | advisory locks |
//! | [`stream`] | standard streams |
//! | [`pipe`] | pipes between threads |
//! | [`poll`] | waiting for several |
//!
//! Pointers are not checked: where Linux answers `EFAULT`, a bad one ends the guest as any bad access does. A
//! null pointer where none may be is `EFAULT`.

pub mod control;
pub mod lock;
pub mod names;
pub mod open;
pub mod path;
pub mod pipe;
pub mod poll;
pub mod status;
pub mod stream;
pub mod table;
pub mod transfer;

use crate::errno;
use libvcpu::io::{Error, ErrorKind};
use libvcpu::sync::{Mutex, MutexGuard, PoisonError};

/// What a function of the bottom half gives: a value, or one of the numbers of [`errno`], positive.
pub type Result<T> = core::result::Result<T, i64>;

/// The answer that musl expects: the value, or the number negative.
pub fn answer(result: Result<i64>) -> i64 {
    result.unwrap_or_else(|number| -number)
}

/// The answer of what gives nothing.
pub fn done(result: Result<()>) -> i64 {
    answer(result.map(|()| 0))
}

/// The number of an error of the library's.
pub fn number(error: Error) -> i64 {
    if let Some(number) = error.raw_os_error() {
        return i64::from(number);
    }
    match error.kind() {
        ErrorKind::NotFound => errno::ENOENT,
        ErrorKind::PermissionDenied => errno::EACCES,
        ErrorKind::BrokenPipe => errno::EPIPE,
        ErrorKind::AlreadyExists => errno::EEXIST,
        ErrorKind::WouldBlock => errno::EAGAIN,
        ErrorKind::NotADirectory => errno::ENOTDIR,
        ErrorKind::IsADirectory => errno::EISDIR,
        ErrorKind::DirectoryNotEmpty => errno::ENOTEMPTY,
        ErrorKind::ReadOnlyFilesystem => errno::EROFS,
        ErrorKind::FilesystemLoop => errno::ELOOP,
        ErrorKind::StaleNetworkFileHandle => errno::ESTALE,
        ErrorKind::InvalidInput => errno::EINVAL,
        ErrorKind::InvalidData => errno::EILSEQ,
        ErrorKind::TimedOut => errno::ETIMEDOUT,
        ErrorKind::StorageFull => errno::ENOSPC,
        ErrorKind::NotSeekable => errno::ESPIPE,
        ErrorKind::QuotaExceeded => errno::EDQUOT,
        ErrorKind::FileTooLarge => errno::EFBIG,
        ErrorKind::ResourceBusy => errno::EBUSY,
        ErrorKind::ExecutableFileBusy => errno::ETXTBSY,
        ErrorKind::Deadlock => errno::EDEADLK,
        ErrorKind::CrossesDevices => errno::EXDEV,
        ErrorKind::TooManyLinks => errno::EMLINK,
        ErrorKind::InvalidFilename => errno::ENAMETOOLONG,
        ErrorKind::Interrupted => errno::EINTR,
        ErrorKind::Unsupported => errno::EOPNOTSUPP,
        ErrorKind::OutOfMemory => errno::ENOMEM,
        _ => errno::EIO,
    }
}

/// Locks what no thread that died can have left half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What is known of files, and changing it.

use super::path::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, Name, check_flags, is_empty, name, plain};
use super::table::{self, Object, Open, Special};
use super::{Result, done, lock, number};
use crate::errno::{EACCES, EFAULT, EINVAL, ENOENT, EOPNOTSUPP};
use core::ffi::c_char;
use libvcpu::fs::{self, Changes, FileTime, Metadata};

/// C's `struct kstat`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Status {
    device: u64,
    node: u64,
    links: u64,
    mode: u32,
    user: u32,
    group: u32,
    padding: u32,
    special: u64,
    size: i64,
    block_size: i64,
    blocks: i64,
    accessed: (i64, i64),
    modified: (i64, i64),
    changed: (i64, i64),
    unused: [i64; 3],
}

const PIPE: u32 = 0o010_000;
const CHARACTERS: u32 = 0o020_000;

impl From<Metadata> for Status {
    fn from(metadata: Metadata) -> Status {
        Status {
            device: metadata.dev(),
            node: metadata.ino(),
            links: metadata.nlink(),
            mode: metadata.mode(),
            size: metadata.len() as i64,
            block_size: metadata.blksize() as i64,
            blocks: metadata.blocks() as i64,
            accessed: metadata.atime(),
            modified: metadata.mtime(),
            changed: metadata.ctime(),
            ..Status::default()
        }
    }
}

impl Status {
    /// Of something that is no file.
    fn other(mode: u32, node: u64, special: u64) -> Status {
        Status { mode, node, special, links: 1, block_size: 4096, ..Status::default() }
    }

    fn special(special: Special) -> Status {
        let minor = match special {
            Special::Null => 3,
            Special::Zero => 5,
            Special::Full => 7,
            Special::Random => 9,
        };
        Status::other(CHARACTERS | 0o666, 0x100 + minor, 1 << 8 | minor)
    }

    fn of_open(open: &Open) -> Result<Status> {
        match &open.object {
            Object::File(file) => file.metadata().map(Status::from).map_err(number),
            Object::Directory(listing) => {
                lock(listing).directory.metadata().map(Status::from).map_err(number)
            }
            Object::Special(special) => Ok(Status::special(*special)),
            Object::Stream(stream) => Ok(Status::other(PIPE | 0o600, 0x200 + stream.number(), 0)),
            Object::Pipe(end) => Ok(Status::other(PIPE | 0o600, end.identity(), 0)),
        }
    }

    fn of(name: Name, follow: bool) -> Result<Status> {
        match name {
            Name::Special(special) => Ok(Status::special(special)),
            Name::Descriptor(number) => Status::of_open(&*table::get(number).or(Err(ENOENT))?),
            Name::Path(path) => {
                let metadata = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
                metadata.map(Status::from).map_err(number)
            }
        }
    }
}

/// What is known of a file.
///
/// # Safety
///
/// The path is a C string or null, and there is room for the answer.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_newfstatat(
    directory: i64,
    path: *const c_char,
    status: *mut Status,
    flags: i64,
) -> i64 {
    const AT_NO_AUTOMOUNT: i64 = 0x800;
    let look = || {
        check_flags(flags, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT)?;
        if status.is_null() {
            return Err(EFAULT);
        }
        // SAFETY: the caller's string.
        let found = unsafe {
            if is_empty(path, flags)? && directory as i32 as i64 != AT_FDCWD {
                Status::of_open(&*table::get(directory)?)?
            } else if is_empty(path, flags)? {
                Status::of(name(AT_FDCWD, c".".as_ptr())?, true)?
            } else {
                Status::of(name(directory, path)?, flags & AT_SYMLINK_NOFOLLOW == 0)?
            }
        };
        // SAFETY: the caller's room.
        unsafe { status.write(found) };
        Ok(())
    };
    done(look())
}

/// What is known of a file.
///
/// # Safety
///
/// The path is a C string or null, and there is room for the answer.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_stat(path: *const c_char, status: *mut Status) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_newfstatat(AT_FDCWD, path, status, 0) }
}

/// What is known of a file, or of a symbolic link.
///
/// # Safety
///
/// The path is a C string or null, and there is room for the answer.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_lstat(path: *const c_char, status: *mut Status) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_newfstatat(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW) }
}

/// What is known of what is open.
///
/// # Safety
///
/// There is room for the answer.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_fstat(descriptor: i64, status: *mut Status) -> i64 {
    done(table::get(descriptor).and_then(|open| {
        let found = Status::of_open(&open)?;
        if status.is_null() {
            return Err(EFAULT);
        }
        // SAFETY: the caller's room.
        unsafe { status.write(found) };
        Ok(())
    }))
}

/// Whether a file may be read (4), written (2), run (1), or is there (0).
///
/// # Safety
///
/// The path is a C string or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_faccessat2(
    directory: i64,
    path: *const c_char,
    mode: i64,
    flags: i64,
) -> i64 {
    const AT_EACCESS: i64 = 0x200;
    let look = || {
        check_flags(flags, AT_EACCESS | AT_SYMLINK_NOFOLLOW)?;
        if mode & !7 != 0 {
            return Err(EINVAL);
        }
        // SAFETY: the caller's string.
        match unsafe { name(directory, path) }? {
            Name::Special(_) if mode & 1 != 0 => Err(EACCES),
            Name::Special(_) => Ok(()),
            Name::Descriptor(number) => table::get(number).map(drop).or(Err(ENOENT)),
            Name::Path(path) => {
                fs::access(path, flags & AT_SYMLINK_NOFOLLOW == 0, mode as u32).map_err(number)
            }
        }
    };
    done(look())
}

/// As [`faccessat2`](__vcpu_sys_faccessat2) without flags.
///
/// # Safety
///
/// The path is a C string or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_faccessat(directory: i64, path: *const c_char, mode: i64) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_faccessat2(directory, path, mode, 0) }
}

/// As [`faccessat`](__vcpu_sys_faccessat), from the working directory.
///
/// # Safety
///
/// The path is a C string or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_access(path: *const c_char, mode: i64) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_faccessat2(AT_FDCWD, path, mode, 0) }
}

fn change(name: Name, follow: bool, changes: &Changes) -> Result<()> {
    match name {
        Name::Path(path) => fs::change(path, follow, changes).map_err(number),
        Name::Descriptor(number) => change_open(&*table::get(number)?, changes),
        Name::Special(_) => Err(EACCES),
    }
}

fn change_open(open: &Open, changes: &Changes) -> Result<()> {
    match &open.object {
        Object::File(file) => file.change(changes).map_err(number),
        Object::Directory(listing) => {
            let path = lock(listing).directory.path().to_vec();
            fs::change(path, true, changes).map_err(number)
        }
        _ => Err(EOPNOTSUPP),
    }
}

fn mode_changes(mode: i64) -> Changes {
    Changes { mode: Some(mode as u32 & 0o7777), ..Changes::default() }
}

/// Changes who may do what with a file.
///
/// # Safety
///
/// The path is a C string or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_fchmodat(directory: i64, path: *const c_char, mode: i64) -> i64 {
    // SAFETY: the caller's string.
    done(unsafe { name(directory, path) }.and_then(|name| change(name, true, &mode_changes(mode))))
}

/// Changes who may do what with a file.
///
/// # Safety
///
/// The path is a C string or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_chmod(path: *const c_char, mode: i64) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_fchmodat(AT_FDCWD, path, mode) }
}

/// Changes who may do what with what is open.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_fchmod(descriptor: i64, mode: i64) -> i64 {
    done(table::get(descriptor).and_then(|open| change_open(&open, &mode_changes(mode))))
}

/// Makes a file so many bytes long.
///
/// # Safety
///
/// The path is a C string or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_truncate(path: *const c_char, size: i64) -> i64 {
    let act = || {
        let size = Some(u64::try_from(size).map_err(|_| EINVAL)?);
        // SAFETY: the caller's string.
        let path = unsafe { plain(AT_FDCWD, path) }?;
        if fs::metadata(&path).map_err(number)?.is_dir() {
            return Err(crate::errno::EISDIR);
        }
        fs::change(path, true, &Changes { size, ..Changes::default() }).map_err(number)
    };
    done(act())
}

fn time((seconds, nanoseconds): (i64, i64)) -> Result<Option<FileTime>> {
    const NOW: i64 = 0x3fff_ffff;
    const OMIT: i64 = 0x3fff_fffe;
    match nanoseconds {
        NOW => Ok(Some(FileTime::Now)),
        OMIT => Ok(None),
        0..1_000_000_000 => Ok(Some(FileTime::At(seconds, nanoseconds as u32))),
        _ => Err(EINVAL),
    }
}

/// Sets when a file was read and written the last time.
///
/// # Safety
///
/// The path is a C string or null, which means the descriptor; the times are two, or null, which means now.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_utimensat(
    directory: i64,
    path: *const c_char,
    times: *const [(i64, i64); 2],
    flags: i64,
) -> i64 {
    let act = || {
        check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)?;
        let (accessed, modified) = if times.is_null() {
            (Some(FileTime::Now), Some(FileTime::Now))
        } else {
            // SAFETY: the caller's times.
            let [accessed, modified] = unsafe { *times };
            (time(accessed)?, time(modified)?)
        };
        let changes = Changes { accessed, modified, ..Changes::default() };
        if path.is_null() {
            return change_open(&*table::get(directory)?, &changes);
        }
        // SAFETY: the caller's string.
        unsafe {
            if is_empty(path, flags)? {
                return change_open(&*table::get(directory)?, &changes);
            }
            change(name(directory, path)?, flags & AT_SYMLINK_NOFOLLOW == 0, &changes)
        }
    };
    done(act())
}

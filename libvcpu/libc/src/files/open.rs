//! Opening and closing.

use super::path::{AT_FDCWD, Name, name};
use super::table::{
    self, Listing, O_ACCMODE, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_PATH, O_TMPFILE, O_TRUNC, O_WRONLY,
    Object, Open,
};
use super::{Result, answer, done, number};
use crate::errno::{EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, EOPNOTSUPP};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ffi::c_char;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libvcpu::fs::{Directory, File};
use libvcpu::io::ErrorKind;
use libvcpu::sync::Mutex;

/// The bits that files do not get when they are created.
static MASK: AtomicU32 = AtomicU32::new(0o022);

/// A mode without the bits of the mask.
pub fn masked(mode: i64) -> u32 {
    mode as u32 & 0o777 & !MASK.load(Relaxed)
}

/// Sets the mask, and gives the old one.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_umask(mask: i64) -> i64 {
    MASK.swap(mask as u32 & 0o777, Relaxed).into()
}

/// Opens a file or directory.
///
/// # Safety
///
/// The path is a C string, or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_openat(directory: i64, path: *const c_char, flags: i64, mode: i64) -> i64 {
    // SAFETY: the caller's string.
    let name = unsafe { name(directory, path) };
    answer(name.and_then(|name| {
        let flags = flags as i32;
        let open = open(name, flags, mode)?;
        table::add(open, 0, flags & O_CLOEXEC != 0)
    }))
}

fn open(name: Name, flags: i32, mode: i64) -> Result<Arc<Open>> {
    let has = |flag| flags & flag != 0;
    if flags & O_ACCMODE == O_ACCMODE {
        return Err(EINVAL);
    }
    // A descriptor that is only a place, and a file without a name: the host's device has neither.
    if has(O_PATH) || has(O_TMPFILE) {
        return Err(EOPNOTSUPP);
    }
    let path = match name {
        _ if has(O_CREAT) && has(O_EXCL) && !matches!(name, Name::Path(_)) => return Err(EEXIST),
        Name::Special(_) | Name::Descriptor(_) if has(O_DIRECTORY) => return Err(ENOTDIR),
        Name::Special(special) => return Ok(Open::new(Object::Special(special), flags)),
        Name::Descriptor(number) => return table::get(number).or(Err(ENOENT)),
        Name::Path(path) => path,
    };
    if has(O_DIRECTORY) && has(O_CREAT) {
        return Err(EINVAL);
    }
    let may_be_directory = !has(O_CREAT) && !has(O_TRUNC) && flags & O_ACCMODE == 0;
    if !has(O_DIRECTORY) {
        match File::open_with_flags(&path, flags as u32, masked(mode)) {
            Ok(file) => return Ok(Open::new(Object::File(file), flags)),
            Err(error) if error.kind() == ErrorKind::IsADirectory && may_be_directory => {}
            Err(error) => return Err(number(error)),
        }
    } else if !may_be_directory {
        return Err(EISDIR);
    }
    let directory = Directory::open(&path).map_err(number)?;
    let listing = Listing { directory, offsets: Vec::new(), next: 0 };
    Ok(Open::new(Object::Directory(Mutex::new(listing)), flags))
}

/// Opens a file or directory.
///
/// # Safety
///
/// The path is a C string, or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_open(path: *const c_char, flags: i64, mode: i64) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_openat(AT_FDCWD, path, flags, mode) }
}

/// Creates a file, or empties it.
///
/// # Safety
///
/// The path is a C string, or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_creat(path: *const c_char, mode: i64) -> i64 {
    let flags = O_CREAT | O_WRONLY | O_TRUNC;
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_openat(AT_FDCWD, path, flags.into(), mode) }
}

/// Closes a descriptor.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_close(descriptor: i64) -> i64 {
    done(table::remove(descriptor).map(|open| super::lock::closed(&open)))
}

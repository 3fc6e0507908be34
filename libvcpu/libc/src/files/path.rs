//! Names: the working directory, special files.

use super::table::{self, Object, Special};
use super::{Result, done, lock, number};
use crate::errno::{EBADF, EFAULT, EINVAL, ENOENT, ENOTDIR, ERANGE};
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use libvcpu::fs::{self, Directory};
use libvcpu::sync::Mutex;
use vcpu_kernel::machine;

/// Stands for the working directory where a descriptor of a directory is expected.
pub const AT_FDCWD: i64 = -100;

/// Not to follow a symbolic link at the end.
pub const AT_SYMLINK_NOFOLLOW: i64 = 0x100;
/// To remove a directory.
pub const AT_REMOVEDIR: i64 = 0x200;
/// To follow a symbolic link at the end.
pub const AT_SYMLINK_FOLLOW: i64 = 0x400;
/// The descriptor itself, if the path is empty.
pub const AT_EMPTY_PATH: i64 = 0x1000;

/// The working directory; `None` before it was asked for.
static WORKING: Mutex<Option<Vec<u8>>> = Mutex::new(None);

/// What a path means.
#[derive(Debug)]
pub enum Name {
    /// A special file.
    Special(Special),
    /// What is open by a number.
    Descriptor(i64),
    /// A path from the guest's root.
    Path(Vec<u8>),
}

/// A C string's bytes.
///
/// # Safety
///
/// It is one, or null.
///
/// # Errors
///
/// `EFAULT` if it is null.
pub unsafe fn text<'a>(path: *const c_char) -> Result<&'a [u8]> {
    if path.is_null() {
        return Err(EFAULT);
    }
    // SAFETY: the caller's string.
    Ok(unsafe { CStr::from_ptr(path) }.to_bytes())
}

/// The path from the guest's root on of one that begins at a directory, or at the working directory.
///
/// # Errors
///
/// `ENOENT` if it is empty; `EBADF` and `ENOTDIR` if the descriptor is no directory's.
pub fn absolute(directory: i64, path: &[u8]) -> Result<Vec<u8>> {
    if path.is_empty() {
        return Err(ENOENT);
    }
    if path.starts_with(b"/") {
        return Ok(path.into());
    }
    let mut whole = match directory as i32 {
        number if i64::from(number) == AT_FDCWD => working(),
        number => match &table::get(number.into())?.object {
            Object::Directory(listing) => lock(listing).directory.path().to_vec(),
            _ => return Err(ENOTDIR),
        },
    };
    if !whole.ends_with(b"/") {
        whole.push(b'/');
    }
    whole.extend_from_slice(path);
    Ok(whole)
}

/// What a path means that begins at a directory, or at the working directory.
///
/// # Safety
///
/// The path is a C string, or null.
///
/// # Errors
///
/// As [`absolute`].
pub unsafe fn name(directory: i64, path: *const c_char) -> Result<Name> {
    // SAFETY: the caller's string.
    let path = absolute(directory, unsafe { text(path) }?)?;
    Ok(match path.strip_prefix(b"/dev/") {
        Some(b"null") => Name::Special(Special::Null),
        Some(b"zero") => Name::Special(Special::Zero),
        Some(b"full") => Name::Special(Special::Full),
        Some(b"random" | b"urandom") if libvcpu::rand::fill(&mut []).is_ok() => {
            Name::Special(Special::Random)
        }
        Some(b"stdin") => Name::Descriptor(0),
        Some(b"stdout") => Name::Descriptor(1),
        Some(b"stderr") => Name::Descriptor(2),
        Some(name) => match name.strip_prefix(b"fd/").or(path.strip_prefix(b"/proc/self/fd/")).map(decimal) {
            Some(Some(number)) => Name::Descriptor(number),
            _ => Name::Path(path),
        },
        None => match path.strip_prefix(b"/proc/self/fd/").and_then(decimal) {
            Some(number) => Name::Descriptor(number),
            None => Name::Path(path),
        },
    })
}

/// As [`name`], for what only a path in a grant can be meant by.
///
/// # Safety
///
/// As that.
///
/// # Errors
///
/// As that.
pub unsafe fn plain(directory: i64, path: *const c_char) -> Result<Vec<u8>> {
    // SAFETY: the caller's string.
    absolute(directory, unsafe { text(path) }?)
}

fn decimal(digits: &[u8]) -> Option<i64> {
    core::str::from_utf8(digits).ok()?.parse::<u16>().ok().map(i64::from)
}

/// The working directory: at first what the environment's `PWD` says, if that is a directory, else the root.
fn working() -> Vec<u8> {
    if let Some(working) = &*lock(&WORKING) {
        return working.clone();
    }
    let wanted = machine::environment().find(|(name, _)| *name == b"PWD").map(|(_, value)| value);
    let wanted = wanted.filter(|path| path.starts_with(b"/")).and_then(|path| Directory::open(path).ok());
    let path = wanted.map_or_else(|| b"/".to_vec(), |directory| directory.path().to_vec());
    lock(&WORKING).get_or_insert(path).clone()
}

/// The working directory's path, with its zero. Gives how many bytes that is.
///
/// # Safety
///
/// There is room for `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_getcwd(buffer: *mut u8, size: usize) -> i64 {
    let path = working();
    if buffer.is_null() {
        return -EFAULT;
    }
    if path.len() >= size {
        return -ERANGE;
    }
    // SAFETY: the caller's room is enough.
    unsafe {
        buffer.copy_from_nonoverlapping(path.as_ptr(), path.len());
        buffer.add(path.len()).write(0);
    }
    path.len() as i64 + 1
}

/// Makes a directory the working directory.
///
/// # Safety
///
/// The path is a C string, or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_chdir(path: *const c_char) -> i64 {
    // SAFETY: the caller's string.
    let path = unsafe { plain(AT_FDCWD, path) };
    done(path.and_then(|path| {
        if !fs::metadata(&path).map_err(number)?.is_dir() {
            return Err(ENOTDIR);
        }
        let directory = Directory::open(&path).map_err(number)?;
        *lock(&WORKING) = Some(directory.path().to_vec());
        Ok(())
    }))
}

/// As [`chdir`](__vcpu_sys_chdir), by a descriptor.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_fchdir(descriptor: i64) -> i64 {
    done(table::get(descriptor).and_then(|open| match &open.object {
        Object::Directory(listing) => {
            let path = lock(listing).directory.path().to_vec();
            *lock(&WORKING) = Some(path);
            Ok(())
        }
        _ => Err(ENOTDIR),
    }))
}

/// Checks the descriptor that stands before a path which is absolute: it does not matter.
///
/// # Errors
///
/// `EINVAL` for flags that are not among those that are known.
pub fn check_flags(flags: i64, known: i64) -> Result<()> {
    if flags & !known == 0 { Ok(()) } else { Err(EINVAL) }
}

/// What is meant by an empty path where [`AT_EMPTY_PATH`] allows that: the descriptor.
///
/// # Safety
///
/// The path is a C string, or null.
///
/// # Errors
///
/// `EBADF`, `EFAULT`.
pub unsafe fn is_empty(path: *const c_char, flags: i64) -> Result<bool> {
    if flags & AT_EMPTY_PATH == 0 {
        return Ok(false);
    }
    // SAFETY: the caller's string.
    unsafe { text(path) }.map(<[u8]>::is_empty).or(Err(EBADF))
}

//! Creating, removing and renaming; what is in a directory.

use super::open::masked;
use super::path::{AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, Name, check_flags, name, plain, text};
use super::table::{self, Listing, Object};
use super::{Result, answer, done, lock, number};
use crate::errno::{EFAULT, EINVAL, ENOTDIR};
use core::ffi::c_char;
use libvcpu::fs::{self, RawEntry};

/// Removes a file or, with the flag for that, a directory.
///
/// # Safety
///
/// The path is a C string or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_unlinkat(directory: i64, path: *const c_char, flags: i64) -> i64 {
    let act = || {
        check_flags(flags, AT_REMOVEDIR)?;
        // SAFETY: the caller's string.
        let path = unsafe { plain(directory, path) }?;
        let result = if flags & AT_REMOVEDIR != 0 { fs::remove_dir(path) } else { fs::remove_file(path) };
        result.map_err(number)
    };
    done(act())
}

/// Removes a file.
///
/// # Safety
///
/// The path is a C string or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_unlink(path: *const c_char) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_unlinkat(AT_FDCWD, path, 0) }
}

/// Removes an empty directory.
///
/// # Safety
///
/// The path is a C string or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_rmdir(path: *const c_char) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_unlinkat(AT_FDCWD, path, AT_REMOVEDIR) }
}

/// Renames.
///
/// # Safety
///
/// The paths are C strings or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_renameat(
    from_directory: i64,
    from: *const c_char,
    to_directory: i64,
    to: *const c_char,
) -> i64 {
    let act = || {
        // SAFETY: the caller's strings.
        let (from, to) = unsafe { (plain(from_directory, from)?, plain(to_directory, to)?) };
        fs::rename(from, to).map_err(number)
    };
    done(act())
}

/// Renames.
///
/// # Safety
///
/// The paths are C strings or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_rename(from: *const c_char, to: *const c_char) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_renameat(AT_FDCWD, from, AT_FDCWD, to) }
}

/// Creates a directory.
///
/// # Safety
///
/// The path is a C string or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_mkdirat(directory: i64, path: *const c_char, mode: i64) -> i64 {
    // SAFETY: the caller's string.
    let path = unsafe { plain(directory, path) };
    done(path.and_then(|path| fs::create_dir_with_mode(path, masked(mode)).map_err(number)))
}

/// Creates a directory.
///
/// # Safety
///
/// The path is a C string or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_mkdir(path: *const c_char, mode: i64) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_mkdirat(AT_FDCWD, path, mode) }
}

/// Gives a file one more name, where the host permits that.
///
/// # Safety
///
/// The paths are C strings or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_linkat(
    from_directory: i64,
    from: *const c_char,
    to_directory: i64,
    to: *const c_char,
    flags: i64,
) -> i64 {
    let act = || {
        check_flags(flags, AT_SYMLINK_FOLLOW)?;
        // SAFETY: the caller's strings.
        let (from, to) = unsafe { (plain(from_directory, from)?, plain(to_directory, to)?) };
        fs::hard_link(from, to).map_err(number)
    };
    done(act())
}

/// Gives a file one more name, where the host permits that.
///
/// # Safety
///
/// The paths are C strings or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_link(from: *const c_char, to: *const c_char) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_linkat(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

/// Creates a symbolic link, where the host permits that.
///
/// # Safety
///
/// The paths are C strings or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_symlinkat(target: *const c_char, directory: i64, link: *const c_char) -> i64 {
    let act = || {
        // SAFETY: the caller's strings.
        let (target, link) = unsafe { (text(target)?, plain(directory, link)?) };
        fs::symlink(target, link).map_err(number)
    };
    done(act())
}

/// Creates a symbolic link, where the host permits that.
///
/// # Safety
///
/// The paths are C strings or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_symlink(target: *const c_char, link: *const c_char) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_symlinkat(target, AT_FDCWD, link) }
}

/// What a symbolic link says, as much as there is room for.
///
/// # Safety
///
/// The path is a C string or null, and there is room for `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_readlinkat(
    directory: i64,
    path: *const c_char,
    buffer: *mut u8,
    size: i64,
) -> i64 {
    let act = || {
        let size = usize::try_from(size as i32).ok().filter(|size| *size > 0).ok_or(EINVAL)?;
        // SAFETY: the caller's string.
        let Name::Path(path) = (unsafe { name(directory, path) })? else { return Err(EINVAL) };
        let target = fs::read_link_bytes(path).map_err(number)?;
        if buffer.is_null() {
            return Err(EFAULT);
        }
        let count = target.len().min(size);
        // SAFETY: the caller's room.
        unsafe { buffer.copy_from_nonoverlapping(target.as_ptr(), count) };
        Ok(count as i64)
    };
    answer(act())
}

/// What a symbolic link says, as much as there is room for.
///
/// # Safety
///
/// The path is a C string or null, and there is room for `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_readlink(path: *const c_char, buffer: *mut u8, size: i64) -> i64 {
    // SAFETY: as the caller's.
    unsafe { __vcpu_sys_readlinkat(AT_FDCWD, path, buffer, size) }
}

/// Bytes of an entry in front of its name: node, number of the next entry, length, kind.
const HEAD: usize = 19;

const DIRECTORY: u8 = 4;

/// One entry, as C's `struct dirent`.
struct Entry<'a> {
    node: u64,
    kind: u8,
    name: &'a [u8],
}

impl Entry<'_> {
    fn length(&self) -> usize {
        (HEAD + self.name.len() + 1).next_multiple_of(8)
    }

    fn write(&self, next: usize, room: &mut [u8]) {
        let length = room.len() as u16;
        room.fill(0);
        room[..8].copy_from_slice(&self.node.to_ne_bytes());
        room[8..16].copy_from_slice(&(next as u64).to_ne_bytes());
        room[16..18].copy_from_slice(&length.to_ne_bytes());
        room[18] = self.kind;
        room[HEAD..HEAD + self.name.len()].copy_from_slice(self.name);
    }
}

impl Listing {
    /// Writes an entry if there is room.
    fn put(&mut self, entry: &Entry<'_>, buffer: &mut [u8], used: &mut usize) -> bool {
        let length = entry.length();
        let Some(room) = buffer.get_mut(*used..*used + length) else { return false };
        self.next += 1;
        entry.write(self.next, room);
        *used += length;
        true
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut used = 0;
        while self.next < 2 {
            let name: &[u8] = if self.next == 0 { b"." } else { b".." };
            // The number of the directory above is not asked for.
            let node = self.directory.metadata().map_err(number)?.ino();
            if !self.put(&Entry { node, kind: DIRECTORY, name }, buffer, &mut used) {
                return if used > 0 { Ok(used) } else { Err(EINVAL) };
            }
        }
        loop {
            let entry = match self.directory.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(used),
                Err(_) if used > 0 => return Ok(used),
                Err(error) => return Err(number(error)),
            };
            let RawEntry { name, node, kind, offset } = entry;
            let index = self.next - 2;
            let entry = Entry { node, kind: kind as u8, name: name.to_bytes() };
            if !self.put(&entry, buffer, &mut used) {
                // It is read again the next time.
                self.directory.seek(index.checked_sub(1).map_or(0, |index| self.offsets[index]));
                return if used > 0 { Ok(used) } else { Err(EINVAL) };
            }
            if index == self.offsets.len() {
                self.offsets.try_reserve(1).map_err(|_| crate::errno::ENOMEM)?;
                self.offsets.push(offset);
            }
        }
    }
}

/// Reads entries of a directory.
///
/// # Safety
///
/// There is room for `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_getdents64(descriptor: i64, buffer: *mut u8, size: usize) -> i64 {
    answer(table::get(descriptor).and_then(|open| {
        let Object::Directory(listing) = &open.object else { return Err(ENOTDIR) };
        if buffer.is_null() {
            return Err(EFAULT);
        }
        // SAFETY: the caller's room, which is only written.
        let buffer = unsafe { core::slice::from_raw_parts_mut(buffer, size.min(1 << 20)) };
        lock(listing).read(buffer).map(|count| count as i64)
    }))
}

//! The numbers of errors, as Linux has them on x86-64.

/// Operation not permitted.
pub const EPERM: i64 = 1;
/// No such file or directory.
pub const ENOENT: i64 = 2;
/// No such process or thread.
pub const ESRCH: i64 = 3;
/// A wait was interrupted.
pub const EINTR: i64 = 4;
/// Input or output error.
pub const EIO: i64 = 5;
/// No such device.
pub const ENXIO: i64 = 6;
/// Too long.
pub const E2BIG: i64 = 7;
/// No such descriptor, or not open for this.
pub const EBADF: i64 = 9;
/// No such child.
pub const ECHILD: i64 = 10;
/// Try again.
pub const EAGAIN: i64 = 11;
/// Out of memory.
pub const ENOMEM: i64 = 12;
/// Permission denied.
pub const EACCES: i64 = 13;
/// Not an address.
pub const EFAULT: i64 = 14;
/// Resource busy.
pub const EBUSY: i64 = 16;
/// File exists.
pub const EEXIST: i64 = 17;
/// Not in the same grant.
pub const EXDEV: i64 = 18;
/// Not possible with such a file.
pub const ENODEV: i64 = 19;
/// Not a directory.
pub const ENOTDIR: i64 = 20;
/// Is a directory.
pub const EISDIR: i64 = 21;
/// Invalid argument.
pub const EINVAL: i64 = 22;
/// The host has no more descriptors for the guest.
pub const ENFILE: i64 = 23;
/// Too many open files.
pub const EMFILE: i64 = 24;
/// Not a terminal; not possible with such a descriptor.
pub const ENOTTY: i64 = 25;
/// A program that runs.
pub const ETXTBSY: i64 = 26;
/// File too large.
pub const EFBIG: i64 = 27;
/// No space left.
pub const ENOSPC: i64 = 28;
/// Not seekable.
pub const ESPIPE: i64 = 29;
/// Granted to be read only.
pub const EROFS: i64 = 30;
/// Too many names.
pub const EMLINK: i64 = 31;
/// The other end is closed.
pub const EPIPE: i64 = 32;
/// Too large for its place.
pub const ERANGE: i64 = 34;
/// Resource deadlock would occur.
pub const EDEADLK: i64 = 35;
/// Name too long.
pub const ENAMETOOLONG: i64 = 36;
/// No more locks.
pub const ENOLCK: i64 = 37;
/// Function not implemented.
pub const ENOSYS: i64 = 38;
/// Directory not empty.
pub const ENOTEMPTY: i64 = 39;
/// Too many symbolic links.
pub const ELOOP: i64 = 40;
/// Too large for its type.
pub const EOVERFLOW: i64 = 75;
/// Not what the data is to be.
pub const EILSEQ: i64 = 84;
/// Not supported.
pub const ENOTSUP: i64 = 95;
/// Not possible with this.
pub const EOPNOTSUPP: i64 = 95;
/// Timed out.
pub const ETIMEDOUT: i64 = 110;
/// Not there any more.
pub const ESTALE: i64 = 116;
/// Quota used up.
pub const EDQUOT: i64 = 122;
/// The owner of a mutex ended.
pub const EOWNERDEAD: i64 = 130;
/// What a mutex guards cannot be made well any more.
pub const ENOTRECOVERABLE: i64 = 131;

unsafe extern "C" {
    /// Where the calling thread keeps the number.
    fn __errno_location() -> *mut core::ffi::c_int;
}

/// Sets the calling thread's `errno`.
pub(crate) fn set_errno(number: i64) {
    // SAFETY: the place is the thread's own and lives as long as it.
    unsafe { *__errno_location() = number as core::ffi::c_int };
}

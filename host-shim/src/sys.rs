//! What several modules need of the system and `rustix` does not have in this form.

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, Timespec};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;

/// Makes `io::Result` of what a system call of the C library returned.
pub(crate) fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Creates an anonymous file of `size` bytes that can be sealed, executed, and mapped to be executed.
pub(crate) fn memfd(name: &CStr, size: u64) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 do not know the flag that says it will be executed, and need no such flag.
    let file = rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create(name, flags))?;
    rustix::fs::ftruncate(&file, size)?;
    Ok(file)
}

/// Forbids for good that an anonymous file changes its size.
pub(crate) fn seal_size(file: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?)
}

/// Forbids for good that an anonymous file changes at all.
pub(crate) fn seal_content(file: &OwnedFd) -> io::Result<()> {
    rustix::fs::fcntl_add_seals(file, SealFlags::WRITE)?;
    seal_size(file)
}

/// Opens an anonymous file again, to read only: a sealed file cannot be mapped, and an executable not be
/// executed, by a descriptor that could write.
pub(crate) fn reopen_read_only(file: &OwnedFd) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A shared mapping of a file, unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping is memory that does not belong to a thread; who uses the pointer keeps order.
unsafe impl Send for Mapping {}
// SAFETY: as above; the mapping itself gives out only raw pointers.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes of a file, readable and writable.
    pub(crate) fn new(file: impl AsFd, length: usize) -> io::Result<Mapping> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let address = unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, access, flags, file, 0)? };
        Ok(Mapping { address: NonNull::new(address.cast()).expect("never mapped at zero"), length })
    }

    /// Replaces a part of the mapping by a read-only mapping of another file.
    ///
    /// # Panics
    ///
    /// If the part is not inside the mapping.
    pub(crate) fn overlay(&self, at: usize, file: impl AsFd, from: u64, length: usize) -> io::Result<()> {
        assert!(at.checked_add(length).is_some_and(|end| end <= self.length));
        let start = self.pointer().wrapping_add(at).cast();
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: the range lies in our own mapping, to which no reference exists.
        unsafe { rustix::mm::mmap(start, length, ProtFlags::READ, flags, file, from)? };
        Ok(())
    }

    /// The mapping's first byte.
    pub(crate) fn pointer(&self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// The mapping's size in bytes.
    pub(crate) fn length(&self) -> usize {
        self.length
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody can use it any more. Unmapping it cannot fail.
        let _ = unsafe { rustix::mm::munmap(self.pointer().cast(), self.length) };
    }
}

/// Nanoseconds as the kernel wants them.
pub(crate) fn timespec(nanoseconds: u64) -> Timespec {
    Timespec { tv_sec: (nanoseconds / 1_000_000_000) as i64, tv_nsec: (nanoseconds % 1_000_000_000) as i64 }
}

/// The host's monotonic clock in ns.
pub(crate) fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Whether a write that fails may end this process, since it has not said otherwise: to a pipe that nobody reads, or
/// to a file beyond the size that files can have.
pub(crate) fn writing_may_end_us() -> bool {
    let ends = |signal| {
        // SAFETY: the structure may be all zeros, and the call only fills it.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                && action.sa_sigaction != libc::SIG_IGN
        }
    };
    ends(libc::SIGPIPE) || ends(libc::SIGXFSZ) && getrlimit(Resource::Fsize).current.is_some()
}

/// Makes a system call that writes; its error is no signal as well.
pub(crate) fn write_quietly(write: impl FnOnce() -> libc::ssize_t) -> libc::ssize_t {
    // SAFETY: the sets are valid for the calls; both signals are this thread's own, if they come of its write.
    unsafe {
        let mut quiet: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut quiet);
        for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
            libc::sigaddset(&raw mut quiet, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const quiet, &raw mut before);
        let count = write();
        let errno = *libc::__errno_location();
        let signal = match errno {
            _ if count >= 0 => None,
            libc::EPIPE => Some(libc::SIGPIPE),
            libc::EFBIG => Some(libc::SIGXFSZ),
            _ => None,
        };
        // Where the host has blocked it, it stays there for the host.
        if let Some(signal) = signal.filter(|signal| libc::sigismember(&raw const before, *signal) == 0) {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut set, signal);
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const now);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        *libc::__errno_location() = errno;
        count
    }
}

/// Blocks all signals of this thread but the one by which a traced child reports that it executes, until
/// dropped.
pub(crate) struct BlockedSignals {
    before: libc::sigset_t,
}

impl BlockedSignals {
    pub(crate) fn new() -> BlockedSignals {
        // SAFETY: the sets are valid for the calls, which cannot fail with these arguments.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigdelset(&raw mut all, libc::SIGTRAP);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            BlockedSignals { before }
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the set is what `new` was given.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

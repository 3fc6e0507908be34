//! System calls as Rust functions that own descriptors and mappings and return `io::Result`.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

/// Makes `io::Result` of what a system call returned.
pub(crate) fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    // SAFETY: a system call that succeeded gave us this new descriptor, and nobody else has it.
    check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Creates an anonymous file of `size` bytes that can be sealed, and executed if `executable`.
pub(crate) fn memfd(name: &CStr, size: u64, executable: bool) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let flag = if executable { libc::MFD_EXEC } else { 0 };
    // SAFETY: the name is a C string.
    let create = |flags| owned(unsafe { libc::memfd_create(name.as_ptr(), flags) }.into());
    // Kernels before 6.3 do not know the flag that says it will be executed, and need no such flag.
    let fd = create(flags | flag).or_else(|_| create(flags))?;
    // SAFETY: changes only the size of our own file.
    check(unsafe { libc::ftruncate(fd.as_raw_fd(), size as libc::off_t) }.into())?;
    Ok(fd)
}

/// Forbids changes to an anonymous file for good.
pub(crate) fn seal(fd: &OwnedFd, seals: libc::c_int) -> io::Result<()> {
    // SAFETY: an operation on our own descriptor.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) }.into()).map(drop)
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
    /// Maps the first `length` bytes of a file, readable and, if asked for, writable.
    pub(crate) fn new(fd: BorrowedFd<'_>, length: usize, writable: bool) -> io::Result<Mapping> {
        let access = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, fd.as_raw_fd(), 0) };
        match NonNull::new(address.cast::<u8>()) {
            Some(start) if address != libc::MAP_FAILED => Ok(Mapping { address: start, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Replaces a part of the mapping by a read-only mapping of another file.
    pub(crate) fn overlay(&self, at: usize, fd: BorrowedFd<'_>, from: u64, length: usize) -> io::Result<()> {
        assert!(at.checked_add(length).is_some_and(|end| end <= self.length));
        // SAFETY: the range lies in our own mapping, to which no reference exists.
        let address = unsafe {
            libc::mmap(
                self.address.as_ptr().add(at).cast(),
                length,
                libc::PROT_READ,
                libc::MAP_SHARED | libc::MAP_FIXED,
                fd.as_raw_fd(),
                from as libc::off_t,
            )
        };
        if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
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
        // SAFETY: the mapping is ours and nobody can use it any more.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.length) };
    }
}

/// Sends a signal to the process behind a pidfd.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointer but a null one is passed.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, 0, 0) }).map(drop)
}

/// Creates a counter that can be polled.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }.into())
}

/// Adds one to an eventfd; it cannot block, since nobody adds that often without a read between.
pub(crate) fn eventfd_add(fd: BorrowedFd<'_>) {
    let one = 1u64;
    // SAFETY: the buffer is eight bytes.
    unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), 8) };
}

/// Takes what an eventfd or a timerfd has counted, without blocking.
pub(crate) fn drain(fd: BorrowedFd<'_>) {
    let mut count = 0u64;
    // SAFETY: the buffer is eight bytes.
    unsafe { libc::read(fd.as_raw_fd(), (&raw mut count).cast(), 8) };
}

/// Creates a timer of the monotonic clock that can be polled.
pub(crate) fn timerfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(
        unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) }.into(),
    )
}

/// Sets a timer to an absolute time in ns of the monotonic clock, or disarms it.
pub(crate) fn timerfd_set(fd: BorrowedFd<'_>, deadline: Option<u64>) -> io::Result<()> {
    // Zero would disarm.
    let it_value = deadline.map_or(timespec(0), |deadline| timespec(deadline.max(1)));
    let setting = libc::itimerspec { it_interval: timespec(0), it_value };
    // SAFETY: the setting is valid for the call.
    let result = unsafe {
        libc::timerfd_settime(
            fd.as_raw_fd(),
            libc::TFD_TIMER_ABSTIME,
            &raw const setting,
            std::ptr::null_mut(),
        )
    };
    check(result.into()).map(drop)
}

/// Nanoseconds as the kernel wants them.
pub(crate) fn timespec(nanoseconds: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanoseconds % 1_000_000_000) as libc::c_long,
    }
}

/// Reads a clock, in ns.
pub(crate) fn clock(clock: libc::clockid_t) -> u64 {
    let mut now = timespec(0);
    // SAFETY: the buffer is valid for the call. Clocks that every kernel has cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What `poll` found of a descriptor; `timeout` in ms, -1 for ever.
pub(crate) fn poll(fds: &mut [libc::pollfd], timeout: libc::c_int) -> io::Result<usize> {
    // SAFETY: the slice is valid for the call.
    check(unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) }.into())
        .map(|ready| ready as usize)
}

/// Lets this thread run only on these CPUs; with one of them, gives what was before.
pub(crate) fn set_affinity(set: &libc::cpu_set_t) -> io::Result<libc::cpu_set_t> {
    // SAFETY: an all-zero set is a valid empty one; both sets are valid for the calls.
    unsafe {
        let mut before: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of::<libc::cpu_set_t>();
        check(libc::sched_getaffinity(0, size, &raw mut before).into())?;
        check(libc::sched_setaffinity(0, size, set).into())?;
        Ok(before)
    }
}

/// The set of just the CPU that this thread runs on.
pub(crate) fn current_cpu() -> libc::cpu_set_t {
    // SAFETY: no pointers; an all-zero set is a valid empty one, and the CPU's number is in range.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(libc::sched_getcpu().max(0) as usize, &mut set);
        set
    }
}

/// Sleeps while a word of this process has the value `seen`, at most until the monotonic clock has
/// reached `deadline` in ns. False if the deadline passed.
pub(crate) fn futex_wait(word: &AtomicU32, seen: u32, deadline: Option<u64>) -> bool {
    let timeout = deadline.map(timespec);
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let operation = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: word and timeout are valid for the call.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation,
            seen,
            timeout,
            std::ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    });
    !result.is_err_and(|error| error.raw_os_error() == Some(libc::ETIMEDOUT))
}

/// Wakes who sleeps on a word of this process.
pub(crate) fn futex_wake(word: &AtomicU32) {
    // SAFETY: the word is valid; waking needs nothing else.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
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

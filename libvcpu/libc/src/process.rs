//! What the process is, and what it may use: there is one, nobody's, on one processor.

use crate::errno::{ECHILD, EINVAL, EIO, EPERM, ESRCH};
use core::slice;
use vcpu_kernel::{clock, heap, machine, thread};

/// The process's number.
pub const PROCESS: i64 = 1;

/// The number of "nobody", who owns nothing and whom nothing is forbidden that is granted.
const NOBODY: i64 = 65534;

#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_getpid() -> i64 {
    PROCESS
}

/// Nobody started it.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_getppid() -> i64 {
    0
}

#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_getpgid(process: i64) -> i64 {
    if process == 0 || process == PROCESS { PROCESS } else { -ESRCH }
}

#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_getsid(process: i64) -> i64 {
    __vcpu_sys_getpgid(process)
}

#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_getuid() -> i64 {
    NOBODY
}

#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_geteuid() -> i64 {
    NOBODY
}

#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_getgid() -> i64 {
    NOBODY
}

#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_getegid() -> i64 {
    NOBODY
}

/// There are no other groups.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_getgroups() -> i64 {
    0
}

/// There are no children, so none can be waited for.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_wait4() -> i64 {
    -ECHILD
}

/// As [`__vcpu_sys_wait4`].
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_waitid() -> i64 {
    -ECHILD
}

/// `struct utsname`.
///
/// # Safety
///
/// As `uname`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_uname(names: *mut [[u8; 65]; 6]) -> i64 {
    let version = env!("CARGO_PKG_VERSION");
    // SAFETY: the caller's place.
    let names = unsafe { &mut *names };
    *names = [[0; 65]; 6];
    let values = ["vcpu", "vcpu", version, "libvcpu", "x86_64", ""];
    for (name, value) in names.iter_mut().zip(values) {
        name[..value.len()].copy_from_slice(value.as_bytes());
    }
    0
}

/// `struct rlimit`.
#[repr(C)]
struct Limit {
    current: u64,
    maximum: u64,
}

const UNLIMITED: u64 = u64::MAX;

/// What the process may use of a resource; limits cannot be changed.
///
/// # Safety
///
/// As `prlimit`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_prlimit64(
    process: i64,
    resource: i64,
    new: *const Limit,
    old: *mut Limit,
) -> i64 {
    const DATA: i64 = 2;
    const STACK: i64 = 3;
    const CORE: i64 = 4;
    const THREADS: i64 = 6;
    const FILES: i64 = 7;
    const SPACE: i64 = 9;
    if process != 0 && process != PROCESS {
        return -ESRCH;
    }
    let stack = machine::main_stack();
    let limit = match resource {
        DATA | SPACE => machine::info().ram_size,
        STACK => stack.end - stack.start,
        CORE => 0,
        FILES => 1024,
        0..THREADS | 8 | 10..16 | THREADS => UNLIMITED,
        _ => return -EINVAL,
    };
    // SAFETY: the caller's places, each of which may be null.
    unsafe {
        if !new.is_null() && ((*new).current != limit || (*new).maximum != limit) {
            return -EPERM;
        }
        if !old.is_null() {
            old.write(Limit { current: limit, maximum: limit });
        }
    }
    0
}

/// As [`__vcpu_sys_prlimit64`].
///
/// # Safety
///
/// As `getrlimit`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_getrlimit(resource: i64, old: *mut Limit) -> i64 {
    // SAFETY: the caller's contract is the same.
    unsafe { __vcpu_sys_prlimit64(0, resource, core::ptr::null(), old) }
}

/// As [`__vcpu_sys_prlimit64`].
///
/// # Safety
///
/// As `setrlimit`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_setrlimit(resource: i64, new: *const Limit) -> i64 {
    // SAFETY: the caller's contract is the same.
    unsafe { __vcpu_sys_prlimit64(0, resource, new, core::ptr::null_mut()) }
}

/// `struct rusage`: processor time, the most memory there was, and nothing else that is counted.
///
/// # Safety
///
/// As `getrusage`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_getrusage(whose: i64, usage: *mut [i64; 18]) -> i64 {
    const CHILDREN: i64 = -1;
    const THREAD: i64 = 1;
    let time = match whose {
        0 => clock::now().saturating_sub(thread::service_time()),
        THREAD => thread::current().statistics().cpu_time,
        CHILDREN => 0,
        _ => return -EINVAL,
    };
    let mut answer = [0; 18];
    answer[0] = (time / 1_000_000_000) as i64;
    answer[1] = (time % 1_000_000_000 / 1000) as i64;
    answer[4] = if whose == CHILDREN { 0 } else { (heap::statistics().peak >> 10) as i64 };
    // SAFETY: the caller's place, of which Linux's part has 18 words.
    unsafe { usage.write(answer) };
    0
}

/// `struct sysinfo`.
#[repr(C)]
struct SystemInformation {
    uptime: u64,
    loads: [u64; 3],
    total_ram: u64,
    free_ram: u64,
    shared_ram: u64,
    buffer_ram: u64,
    total_swap: u64,
    free_swap: u64,
    processes: u16,
    padding: u16,
    total_high: u64,
    free_high: u64,
    unit: u32,
}

/// Memory of the machine.
///
/// # Safety
///
/// As `sysinfo`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_sysinfo(information: *mut SystemInformation) -> i64 {
    let answer = SystemInformation {
        uptime: clock::now() / 1_000_000_000,
        loads: [0; 3],
        total_ram: machine::info().ram_size,
        free_ram: heap::statistics().free as u64,
        shared_ram: 0,
        buffer_ram: 0,
        total_swap: 0,
        free_swap: 0,
        processes: 1,
        padding: 0,
        total_high: 0,
        free_high: 0,
        unit: 1,
    };
    // SAFETY: the caller's place.
    unsafe { information.write(answer) };
    0
}

/// The processors on which a thread may run: the one there is.
///
/// # Safety
///
/// As Linux's call: `set` has room for `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_sched_getaffinity(_thread: i64, size: usize, set: *mut u64) -> i64 {
    if size < 8 {
        return -EINVAL;
    }
    // SAFETY: the caller's place.
    unsafe { set.write(1) };
    8
}

/// A thread can be made to run where it runs.
///
/// # Safety
///
/// As Linux's call: `set` has `size` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_sched_setaffinity(_thread: i64, size: usize, set: *const u8) -> i64 {
    // SAFETY: the caller's set.
    if size > 0 && unsafe { *set } & 1 != 0 { 0 } else { -EINVAL }
}

/// The number of the processor.
///
/// # Safety
///
/// As Linux's call.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_getcpu(processor: *mut u32, node: *mut u32) -> i64 {
    for place in [processor, node] {
        if !place.is_null() {
            // SAFETY: the caller's place.
            unsafe { place.write(0) };
        }
    }
    0
}

/// Random bytes, if the guest was granted entropy.
///
/// # Safety
///
/// As `getrandom`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_getrandom(buffer: *mut u8, length: usize, _flags: i64) -> i64 {
    // Linux, too, gives no more at a time.
    let length = length.min(256 << 10);
    // SAFETY: the caller's buffer; zeroed bytes are valid.
    let bytes = unsafe {
        buffer.write_bytes(0, length);
        slice::from_raw_parts_mut(buffer, length)
    };
    match libvcpu::rand::fill(bytes) {
        Ok(()) => length as i64,
        Err(_) => -EIO,
    }
}

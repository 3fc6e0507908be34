//! Clocks and sleeping.

use crate::cancel;
use crate::errno::{EINTR, EINVAL, ENOTSUP, EPERM};
use vcpu_kernel::scheduler::TimedOut;
use vcpu_kernel::thread::WaitError;
use vcpu_kernel::{clock, thread};

const REALTIME: i64 = 0;
const MONOTONIC: i64 = 1;
const PROCESS_CPU: i64 = 2;
const THREAD_CPU: i64 = 3;
const MONOTONIC_RAW: i64 = 4;
const REALTIME_COARSE: i64 = 5;
const MONOTONIC_COARSE: i64 = 6;
const BOOTTIME: i64 = 7;

const SECOND: u64 = 1_000_000_000;

/// `struct timespec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeSpec {
    seconds: i64,
    nanoseconds: i64,
}

impl TimeSpec {
    /// From nanoseconds.
    pub fn from_nanoseconds(time: u64) -> TimeSpec {
        TimeSpec { seconds: (time / SECOND) as i64, nanoseconds: (time % SECOND) as i64 }
    }

    /// In nanoseconds; what is too much is the largest number, and before 1970 is 0.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the nanoseconds are not 0 to 999,999,999.
    pub fn nanoseconds(self) -> Result<u64, i64> {
        if !(0..SECOND as i64).contains(&self.nanoseconds) {
            return Err(EINVAL);
        }
        if self.seconds < 0 {
            return Ok(0);
        }
        Ok((self.seconds as u64).saturating_mul(SECOND).saturating_add(self.nanoseconds as u64))
    }
}

/// What the clock of this number says, in ns.
///
/// # Errors
///
/// `EINVAL` if there is no such clock.
pub fn read(clock: i64) -> Result<u64, i64> {
    Ok(match clock {
        REALTIME | REALTIME_COARSE => clock::wall(),
        MONOTONIC | MONOTONIC_RAW | MONOTONIC_COARSE | BOOTTIME => clock::now(),
        PROCESS_CPU => processor_time(),
        THREAD_CPU => thread::current().statistics().cpu_time,
        _ => thread_time(clock)?,
    })
}

/// The number of the clock that shows the processor time of the thread of this number, as Linux counts it.
pub(crate) fn clock_of_thread(number: i32) -> i32 {
    !number << 3 | OF_THREAD
}

/// What the lowest bits of a thread's clock are.
const OF_THREAD: i32 = 6;

/// The processor time that the thread has had to which a clock belongs.
fn thread_time(clock: i64) -> Result<u64, i64> {
    let clock = clock as i32;
    if clock >= 0 || clock & 7 != OF_THREAD {
        return Err(EINVAL);
    }
    let number = !(clock >> 3) as u64;
    let thread = thread::all().into_iter().find(|thread| thread.number() == number).ok_or(EINVAL)?;
    Ok(thread.statistics().cpu_time)
}

/// Time in ns that all threads had the processor: all time but that for which none wanted it.
fn processor_time() -> u64 {
    clock::now().saturating_sub(thread::service_time())
}

/// Answers what a clock says.
///
/// # Safety
///
/// As `clock_gettime`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_clock_gettime(clock: i64, time: *mut TimeSpec) -> i64 {
    match read(clock) {
        Ok(now) => {
            // SAFETY: the caller's place.
            unsafe { time.write(TimeSpec::from_nanoseconds(now)) };
            0
        }
        Err(error) => -error,
    }
}

/// Every clock counts in nanoseconds.
///
/// # Safety
///
/// As `clock_getres`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_clock_getres(clock: i64, resolution: *mut TimeSpec) -> i64 {
    if let Err(error) = read(clock) {
        return -error;
    }
    if !resolution.is_null() {
        // SAFETY: the caller's place.
        unsafe { resolution.write(TimeSpec::from_nanoseconds(1)) };
    }
    0
}

/// The clocks are the machine's; nobody sets them.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_clock_settime(clock: i64) -> i64 {
    if read(clock).is_ok() { -EPERM } else { -EINVAL }
}

/// Sleeps, on a clock that goes on while nothing runs.
///
/// # Safety
///
/// As `clock_nanosleep`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_clock_nanosleep(
    clock: i64,
    flags: i64,
    time: *const TimeSpec,
    rest: *mut TimeSpec,
) -> i64 {
    const ABSOLUTE: i64 = 1;
    if !matches!(clock, REALTIME | MONOTONIC | BOOTTIME) {
        return -if clock == PROCESS_CPU { ENOTSUP } else { EINVAL };
    }
    // SAFETY: the caller's time.
    let time = unsafe { *time };
    if time.seconds < 0 && flags & ABSOLUTE == 0 {
        return -EINVAL;
    }
    let wanted = match time.nanoseconds() {
        Ok(wanted) => wanted,
        Err(error) => return -error,
    };
    let deadline = match (flags & ABSOLUTE != 0, clock) {
        (true, REALTIME) => wanted.saturating_sub(clock::wall() - clock::now()),
        (true, _) => wanted,
        (false, _) => clock::now().saturating_add(wanted),
    };
    let sleep = || {
        thread::sleep_until(deadline);
        Err(TimedOut)
    };
    while cancel::wait::<()>(sleep) == Err(WaitError::Interrupted) {
        if !cancel::is_interrupted() {
            // Another thread has taken the signal.
            continue;
        }
        if !rest.is_null() && flags & ABSOLUTE == 0 {
            let left = deadline.saturating_sub(clock::now());
            // SAFETY: the caller's place.
            unsafe { rest.write(TimeSpec::from_nanoseconds(left)) };
        }
        return -EINTR;
    }
    0
}

/// Sleeps for a time.
///
/// # Safety
///
/// As `nanosleep`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_nanosleep(time: *const TimeSpec, rest: *mut TimeSpec) -> i64 {
    // SAFETY: the caller's contract is the same.
    unsafe { __vcpu_sys_clock_nanosleep(REALTIME, 0, time, rest) }
}

/// Processor time in ticks of a hundredth of a second, as `times` counts it.
///
/// # Safety
///
/// As `times`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_times(times: *mut [i64; 4]) -> i64 {
    const TICK: u64 = SECOND / 100;
    if !times.is_null() {
        // SAFETY: the caller's place. All time is the program's own, and there are no children.
        unsafe { times.write([(processor_time() / TICK) as i64, 0, 0, 0]) };
    }
    (clock::now() / TICK) as i64
}

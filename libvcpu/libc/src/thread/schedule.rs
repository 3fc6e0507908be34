//! Policies and priorities.
//!
//! | policy | priority | of the kernel |
//! |---|---|---|
//! | `SCHED_OTHER`, `SCHED_BATCH` | 0 | level 31, in turns |
//! | `SCHED_IDLE` | 0 | level 0, in turns |
//! | `SCHED_RR` | 1 to 32 | levels 32 to 63, in turns |
//! | `SCHED_FIFO` | 1 to 32 | levels 32 to 63, until the thread waits or yields |

use super::Thread;
use crate::errno::{EINVAL, ENOTSUP};
use crate::time::TimeSpec;
use core::ffi::c_int;
use vcpu_kernel::thread::{self, Priority, TimeSlice};

const OTHER: c_int = 0;
const FIFO: c_int = 1;
const ROUND_ROBIN: c_int = 2;
const BATCH: c_int = 3;
const IDLE: c_int = 5;

/// The most important of the real-time priorities; the least is 1.
const MOST: c_int = 32;

/// How a thread is scheduled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) policy: c_int,
    pub(super) priority: c_int,
}

impl Schedule {
    pub(super) const NORMAL: Schedule = Schedule { policy: OTHER, priority: 0 };

    /// What it is to the kernel.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such policy, or no such priority in it.
    pub(super) fn kernel(self) -> Result<(Priority, Option<TimeSlice>), i64> {
        let level = |priority| Priority::from_level(31 + priority as u8).ok_or(EINVAL);
        match (self.policy, self.priority) {
            (OTHER | BATCH, 0) => Ok((Priority::NORMAL, None)),
            (IDLE, 0) => Ok((Priority::LEAST, None)),
            (ROUND_ROBIN, priority @ 1..=MOST) => Ok((level(priority)?, None)),
            (FIFO, priority @ 1..=MOST) => Ok((level(priority)?, Some(TimeSlice::UNLIMITED))),
            _ => Err(EINVAL),
        }
    }
}

fn set(thread: &Thread, schedule: Schedule) -> Result<(), i64> {
    let (priority, slice) = schedule.kernel()?;
    thread.schedule.set(schedule);
    if let Some(handle) = thread.handle() {
        handle.set_time_slice(slice);
        handle.set_priority(priority);
    }
    Ok(())
}

/// How a thread is scheduled.
///
/// # Safety
///
/// As `pthread_getschedparam`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getschedparam(
    thread: &Thread,
    policy: *mut c_int,
    priority: *mut c_int,
) -> c_int {
    let schedule = thread.schedule.get();
    // SAFETY: the caller's places; a priority is the first field of `struct sched_param`.
    unsafe {
        policy.write(schedule.policy);
        priority.write(schedule.priority);
    }
    0
}

/// Changes how a thread is scheduled.
///
/// # Safety
///
/// As `pthread_setschedparam`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setschedparam(thread: &Thread, policy: c_int, priority: *const c_int) -> c_int {
    // SAFETY: the caller's `struct sched_param`, which begins with it.
    let priority = unsafe { *priority };
    super::answer(set(thread, Schedule { policy, priority }))
}

/// Changes a thread's priority.
#[unsafe(no_mangle)]
extern "C" fn pthread_setschedprio(thread: &Thread, priority: c_int) -> c_int {
    super::answer(set(thread, Schedule { priority, ..thread.schedule.get() }))
}

/// The contention scope of threads: they compete with all others.
///
/// # Safety
///
/// As `pthread_attr_setscope`.
#[unsafe(no_mangle)]
extern "C" fn pthread_attr_setscope(_attributes: *mut super::create::Attributes, scope: c_int) -> c_int {
    match scope {
        0 => 0,
        1 => ENOTSUP as c_int,
        _ => EINVAL as c_int,
    }
}

/// Lets the next thread of the same priority run.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_sched_yield() -> i64 {
    thread::yield_now();
    0
}

/// The most important priority of a policy.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_sched_get_priority_max(policy: i64) -> i64 {
    bounds(policy, MOST.into())
}

/// The least important priority of a policy.
#[unsafe(no_mangle)]
extern "C" fn __vcpu_sys_sched_get_priority_min(policy: i64) -> i64 {
    bounds(policy, 1)
}

fn bounds(policy: i64, of_real_time: i64) -> i64 {
    match policy as c_int {
        FIFO | ROUND_ROBIN => of_real_time,
        OTHER | BATCH | IDLE => 0,
        _ => -EINVAL,
    }
}

/// How long a turn is.
///
/// # Safety
///
/// As `sched_rr_get_interval`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_sched_rr_get_interval(_thread: i64, time: *mut TimeSpec) -> i64 {
    let slice = TimeSlice::NORMAL.nanoseconds().unwrap_or_default();
    // SAFETY: the caller's place.
    unsafe { time.write(TimeSpec::from_nanoseconds(slice.into())) };
    0
}

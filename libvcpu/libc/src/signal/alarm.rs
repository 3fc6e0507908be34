//! The process's timer of real time, which sends SIGALRM: `setitimer`, and `alarm` by it.

use super::{SIGALRM, to_process};
use crate::errno::{EAGAIN, EINVAL, ENOSYS};
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vcpu_kernel::scheduler::TimedOut;
use vcpu_kernel::thread::{Handle, Options, Priority, park, spawn};
use vcpu_kernel::{clock, event};

/// The process's timer: when it is due in ns, and how often after that; 0 is never.
static ALARM: AtomicU64 = AtomicU64::new(0);
static ALARM_INTERVAL: AtomicU64 = AtomicU64::new(0);

/// The kernel's thread that waits for it, once there is one.
struct AlarmThread(Cell<Option<Handle>>);

// SAFETY: used with events off, on the one vCPU.
unsafe impl Sync for AlarmThread {}

static ALARM_THREAD: AlarmThread = AlarmThread(Cell::new(None));

/// Sends SIGALRM when the timer is due.
fn watch_alarm() {
    loop {
        let due = ALARM.load(Relaxed);
        let result = park((due != 0).then_some(due));
        if due != 0 && due == ALARM.load(Relaxed) && result == Err(TimedOut) {
            let interval = ALARM_INTERVAL.load(Relaxed);
            ALARM.store(if interval == 0 { 0 } else { clock::now().saturating_add(interval) }, Relaxed);
            to_process(SIGALRM);
        }
    }
}

/// Makes the thread that watches the timer, or tells it of a change.
fn tell_alarm() -> Result<(), i64> {
    let known = event::without(|| {
        let handle = ALARM_THREAD.0.take();
        ALARM_THREAD.0.set(handle.clone());
        handle
    });
    if let Some(handle) = known {
        handle.unpark();
        return Ok(());
    }
    let options = Options { name: Some("alarm".into()), priority: Priority::MOST, ..Options::default() };
    // SAFETY: the function borrows nothing.
    let handle = unsafe { spawn(options, alloc::boxed::Box::new(watch_alarm)) }.map_err(|_| EAGAIN)?;
    event::without(|| ALARM_THREAD.0.set(Some(handle)));
    Ok(())
}

const MICROSECOND: u64 = 1000;

/// What is left of the timer, as `struct itimerval`.
fn alarm() -> [i64; 4] {
    let due = ALARM.load(Relaxed);
    let left = if due == 0 { 0 } else { due.saturating_sub(clock::now()).max(MICROSECOND) };
    let interval = ALARM_INTERVAL.load(Relaxed);
    let parts = |time: u64| [(time / 1_000_000_000) as i64, (time % 1_000_000_000 / MICROSECOND) as i64];
    let ([a, b], [c, d]) = (parts(interval), parts(left));
    [a, b, c, d]
}

/// Sets the process's timer; of the three kinds the one of real time.
///
/// # Safety
///
/// As `setitimer`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_setitimer(which: i64, new: *const [i64; 4], old: *mut [i64; 4]) -> i64 {
    if let 1 | 2 = which {
        return -ENOSYS;
    }
    // SAFETY: the caller's places, of which the second may be null.
    let Some(&[interval, interval_part, value, value_part]) = (unsafe { new.as_ref() }) else {
        return -EINVAL;
    };
    let valid = |part: i64| (0..1_000_000).contains(&part);
    if which != 0 || interval < 0 || value < 0 || !valid(interval_part) || !valid(value_part) {
        return -EINVAL;
    }
    let time = |seconds: i64, part: i64| {
        (seconds as u64).saturating_mul(1_000_000_000).saturating_add(part as u64 * MICROSECOND)
    };
    let before = alarm();
    let value = time(value, value_part);
    ALARM_INTERVAL.store(time(interval, interval_part), Relaxed);
    ALARM.store(if value == 0 { 0 } else { clock::now().saturating_add(value) }, Relaxed);
    if let Err(error) = tell_alarm() {
        return -error;
    }
    if !old.is_null() {
        // SAFETY: the caller's place.
        unsafe { old.write(before) };
    }
    0
}

/// What is left of the process's timer.
///
/// # Safety
///
/// As `getitimer`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_getitimer(which: i64, old: *mut [i64; 4]) -> i64 {
    match which {
        0 => {
            // SAFETY: the caller's place.
            unsafe { old.write(alarm()) };
            0
        }
        1 | 2 => -ENOSYS,
        _ => -EINVAL,
    }
}

//! Waiting for several descriptors.
//!
//! Files and special files are always ready. Who waits sleeps until the machine says that a standard stream is
//! worth another try, or until a pipe changes, and looks again.

use super::table::{self, DESCRIPTORS_MAX, Object};
use super::{Result, answer};
use crate::cancel;
use crate::errno::{EBADF, EFAULT, EINVAL};
use crate::signal;
use core::slice;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use vcpu_kernel::abi::page::CONSOLE_LINE;
use vcpu_kernel::{clock, event};

const POLLIN: i16 = 0x1;
const POLLPRI: i16 = 0x2;
const POLLOUT: i16 = 0x4;
const POLLERR: i16 = 0x8;
const POLLHUP: i16 = 0x10;
const POLLNVAL: i16 = 0x20;
const POLLRDNORM: i16 = 0x40;
const POLLWRNORM: i16 = 0x100;
const READ: i16 = POLLIN | POLLRDNORM;
const WRITE: i16 = POLLOUT | POLLWRNORM;

/// Counts what has changed about pipes.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Says that a pipe has changed.
pub fn changed() {
    CHANGES.fetch_add(1, SeqCst);
    event::look_again();
}

/// C's `struct pollfd`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    descriptor: i32,
    events: i16,
    found: i16,
}

/// What of the events there is now.
fn look(wanted: &Wanted) -> i16 {
    if wanted.descriptor < 0 {
        return 0;
    }
    let Ok(open) = table::get(wanted.descriptor.into()) else { return POLLNVAL };
    let state = match &open.object {
        Object::File(_) | Object::Directory(_) | Object::Special(_) => READ | WRITE,
        Object::Stream(stream) => {
            let (reads, writes) = (open.check_readable().is_ok(), open.check_writable().is_ok());
            let asked = wanted.events & (READ | WRITE) != 0;
            let mut state = 0;
            // To look at the input reads of it, so only who wants to know it looks.
            if asked && stream.is_ready() {
                state |= if reads { READ } else { 0 } | if writes { WRITE } else { 0 };
            }
            state | if stream.has_ended() { POLLHUP } else { 0 }
        }
        Object::Pipe(end) => {
            let readiness = end.readiness();
            let (ready, alone) = if end.is_writer() { (WRITE, POLLERR) } else { (READ, POLLHUP) };
            (if readiness.is_ready { ready } else { 0 }) | (if readiness.is_alone { alone } else { 0 })
        }
    };
    state & (wanted.events | POLLERR | POLLHUP)
}

/// Waits until one of them is ready, or the clock has reached `deadline` (ns). Gives how many are, or `EINTR`.
fn wait(all: &mut [Wanted], deadline: Option<u64>) -> Result<i64> {
    loop {
        let (console, changes) = (event::count(CONSOLE_LINE), CHANGES.load(SeqCst));
        all.iter_mut().for_each(|one| one.found = look(one));
        let count = all.iter().filter(|one| one.found != 0).count();
        if count > 0 || deadline == Some(0) {
            return Ok(count as i64);
        }
        let has_changed = || event::count(CONSOLE_LINE) != console || CHANGES.load(SeqCst) != changes;
        if !cancel::wait_until(deadline, has_changed)? {
            return Ok(0);
        }
    }
}

/// C's `struct timespec`, and with another factor `struct timeval`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Time {
    seconds: i64,
    part: i64,
}

/// When a time is over that begins now; 0 is at once.
fn deadline(time: Time, parts: i64) -> Result<u64> {
    if time.seconds < 0 || !(0..parts).contains(&time.part) {
        return Err(EINVAL);
    }
    let part = (time.part * (1_000_000_000 / parts)) as u64;
    let length = (time.seconds as u64).saturating_mul(1_000_000_000).saturating_add(part);
    Ok(if length == 0 { 0 } else { clock::now().saturating_add(length) })
}

/// # Safety: the pointer is null, or leads to a time.
unsafe fn deadline_at(time: *const Time, parts: i64) -> Result<Option<u64>> {
    if time.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's time.
    deadline(unsafe { time.read() }, parts).map(Some)
}

/// # Safety: there are `count` entries.
unsafe fn entries<'a>(all: *mut Wanted, count: u64) -> Result<&'a mut [Wanted]> {
    if count > DESCRIPTORS_MAX as u64 {
        return Err(EINVAL);
    }
    if count == 0 {
        return Ok(&mut []);
    }
    if all.is_null() {
        return Err(EFAULT);
    }
    // SAFETY: the caller's entries, which nobody else uses meanwhile.
    Ok(unsafe { slice::from_raw_parts_mut(all, count as usize) })
}

/// Waits for several descriptors, at most so many milliseconds; for ever, if that is negative.
///
/// # Safety
///
/// There are `count` entries.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_poll(all: *mut Wanted, count: u64, timeout: i64) -> i64 {
    let timeout = i64::from(timeout as i32);
    let time = Time { seconds: timeout / 1000, part: timeout % 1000 };
    let until = if timeout < 0 { Ok(None) } else { deadline(time, 1000).map(Some) };
    // SAFETY: the caller's entries.
    answer(unsafe { entries(all, count) }.and_then(|all| wait(all, until?)))
}

/// Waits for several descriptors with another mask of signals.
///
/// # Safety
///
/// There are `count` entries; the other pointers are null or lead to a time and a mask.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_ppoll(
    all: *mut Wanted,
    count: u64,
    timeout: *const Time,
    mask: *const u64,
) -> i64 {
    let act = || {
        // SAFETY: the caller's time and entries.
        let (until, all) = unsafe { (deadline_at(timeout, 1_000_000_000)?, entries(all, count)?) };
        wait(all, until)
    };
    // SAFETY: the caller's mask.
    answer(signal::with_mask(unsafe { mask.as_ref() }, act))
}

/// Bits for descriptors: C's `fd_set`.
type Set = [u64; DESCRIPTORS_MAX / 64];

/// What is wanted of which descriptor, in the order of `select`'s sets.
const WANTED: [i16; 3] = [READ, WRITE, POLLPRI];
/// What sets their bits.
const FOUND: [i16; 3] = [READ | POLLHUP | POLLERR, WRITE | POLLERR, POLLPRI];

/// # Safety: each pointer is null or leads to a set.
unsafe fn select(count: i64, sets: [*mut Set; 3], until: Option<u64>) -> Result<i64> {
    let count = usize::try_from(count as i32).ok().filter(|count| *count <= DESCRIPTORS_MAX).ok_or(EINVAL)?;
    // SAFETY: the caller's sets. Only the words that hold `count` bits are touched.
    let word = |set: *mut Set, index: usize| unsafe { set.cast::<u64>().add(index / 64) };
    let mut all = alloc::vec::Vec::new();
    for number in 0..count {
        let bit = 1 << (number % 64);
        // SAFETY: as above.
        let is_in = |set: *mut Set| !set.is_null() && unsafe { *word(set, number) } & bit != 0;
        let wants = |events, (set, wanted)| if is_in(set) { events | wanted } else { events };
        let events = sets.into_iter().zip(WANTED).fold(0, wants);
        if events != 0 {
            table::get(number as i64)?;
            all.try_reserve(1).map_err(|_| crate::errno::ENOMEM)?;
            all.push(Wanted { descriptor: number as i32, events, found: 0 });
        }
    }
    wait(&mut all, until)?;
    if all.iter().any(|one| one.found & POLLNVAL != 0) {
        return Err(EBADF);
    }
    let mut bits = 0;
    for ((set, wanted), found) in sets.into_iter().zip(WANTED).zip(FOUND) {
        if set.is_null() {
            continue;
        }
        for index in (0..count).step_by(64) {
            // SAFETY: as above.
            unsafe { word(set, index).write(0) };
        }
        for one in all.iter().filter(|one| one.events & wanted != 0 && one.found & found != 0) {
            let number = one.descriptor as usize;
            // SAFETY: as above.
            unsafe { *word(set, number) |= 1 << (number % 64) };
            bits += 1;
        }
    }
    Ok(bits)
}

/// Waits for several descriptors.
///
/// # Safety
///
/// Each pointer is null, or leads to a set or a `struct timeval`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_select(
    count: i64,
    to_read: *mut Set,
    to_write: *mut Set,
    others: *mut Set,
    timeout: *const Time,
) -> i64 {
    // SAFETY: the caller's time and sets.
    answer(unsafe {
        deadline_at(timeout, 1_000_000).and_then(|until| select(count, [to_read, to_write, others], until))
    })
}

/// Waits for several descriptors with another mask of signals.
///
/// # Safety
///
/// Each pointer is null, or leads to a set, a time, or the pointer to a mask.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vcpu_sys_pselect6(
    count: i64,
    to_read: *mut Set,
    to_write: *mut Set,
    others: *mut Set,
    timeout: *const Time,
    mask: *const *const u64,
) -> i64 {
    // SAFETY: the caller's pointers.
    unsafe {
        let mask = if mask.is_null() { core::ptr::null() } else { *mask };
        let act = || {
            let until = deadline_at(timeout, 1_000_000_000)?;
            select(count, [to_read, to_write, others], until)
        };
        answer(signal::with_mask(mask.as_ref(), act))
    }
}

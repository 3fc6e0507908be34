//! The life of a thread: creating, ending, joining, detaching.
//!
//! A thread's structure is freed by who comes last: the one that joins it; the thread itself, if it was
//! detached before its end; or the one that detaches it afterwards.
//!
//! The main thread may end before others by `pthread_exit`: it then waits for the last of them, whose end is the
//! program's, with status 0.

use super::schedule::Schedule;
use super::{MAIN, Thread, current, set_current, try_box};
use crate::cancel;
use crate::errno::{EAGAIN, EBUSY, EDEADLK, EINVAL, ESRCH, ETIMEDOUT};
use crate::signal::State;
use crate::thread::deadline;
use crate::time::TimeSpec;
use alloc::alloc::dealloc;
use alloc::boxed::Box;
use core::alloc::Layout;
use core::arch::naked_asm;
use core::ffi::{c_int, c_void};
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU32, AtomicUsize};
use vcpu_kernel::scheduler::TimedOut;
use vcpu_kernel::sync::RawSemaphore;
use vcpu_kernel::thread::{self, Handle, Options, WaitError};

/// What a thread runs.
pub type Start = extern "C" fn(*mut c_void) -> *mut c_void;

/// Can be joined.
pub(super) const JOINABLE: u8 = 0;
/// Somebody joins it.
const JOINED: u8 = 1;
/// Nobody will join it: it frees itself.
pub(super) const DETACHED: u8 = 2;
/// Is over, or will not touch its structure again.
const OVER: u8 = 3;

/// `pthread_attr_t`, as musl's functions fill it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Attributes {
    pub(super) stack_size: usize,
    pub(super) guard_size: usize,
    pub(super) stack_top: usize,
    pub(super) is_detached: c_int,
    pub(super) is_explicit: c_int,
    pub(super) policy: c_int,
    pub(super) priority: c_int,
    pub(super) unused: [u64; 2],
}

const _: () = assert!(size_of::<Attributes>() == 56);

impl Attributes {
    /// Those of a thread for which none are given.
    pub(super) fn normal() -> Attributes {
        Attributes {
            stack_size: __default_stacksize.load(Relaxed) as usize,
            guard_size: __default_guardsize.load(Relaxed) as usize,
            stack_top: 0,
            is_detached: 0,
            is_explicit: 0,
            policy: 0,
            priority: 0,
            unused: [0; 2],
        }
    }
}

/// The stack of a thread for which none was asked, 256 KiB.
#[unsafe(no_mangle)]
static __default_stacksize: AtomicU32 = AtomicU32::new(256 << 10);

/// The guard below each stack, a page; the kernel has no others.
#[unsafe(no_mangle)]
static __default_guardsize: AtomicU32 = AtomicU32::new(4096);

/// Threads that are not over, without the main thread.
static LIVING: AtomicUsize = AtomicUsize::new(0);

/// Given by the last of them when the main thread waits for it.
static LAST: RawSemaphore = RawSemaphore::new(0, 1);

/// Given by the main thread when it has ended by `pthread_exit`.
static MAIN_ENDED: RawSemaphore = RawSemaphore::new(0, 1);

unsafe extern "C" {
    fn exit(status: c_int) -> !;
    /// Unlocks the streams that the calling thread has locked.
    fn __do_orphaned_stdio_locks();
}

/// Creates a thread.
///
/// # Safety
///
/// As `pthread_create`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    place: *mut *const Thread,
    attributes: *const Attributes,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: the caller's attributes.
    let attributes = unsafe { attributes.as_ref().copied() }.unwrap_or(Attributes::normal());
    match create(&attributes, start, argument) {
        Ok((thread, handle)) => {
            // SAFETY: the caller's place.
            unsafe { place.write(thread) };
            handle.resume();
            0
        }
        Err(error) => error as c_int,
    }
}

pub(super) fn create(
    attributes: &Attributes,
    start: Start,
    argument: *mut c_void,
) -> Result<(&'static Thread, Handle), i64> {
    if attributes.stack_top != 0 {
        return Err(EINVAL);
    }
    let Attributes { policy, priority, .. } = *attributes;
    let creator = current();
    let is_explicit = attributes.is_explicit != 0;
    let schedule = if is_explicit { Schedule { policy, priority } } else { creator.schedule.get() };
    let (priority, slice) = schedule.kernel()?;
    let mut fresh = Thread::new(0);
    fresh.schedule.set(schedule);
    fresh.name.set(creator.name.get());
    fresh.life.store(if attributes.is_detached != 0 { DETACHED } else { JOINABLE }, Relaxed);
    fresh.start.set(Some(start));
    fresh.argument.set(argument);
    fresh.signals = State::new(current().signals.blocked());
    let thread: &'static Thread = Box::leak(try_box(fresh).ok_or(EAGAIN)?);
    let Some(run) = try_box(move || run(thread)) else {
        free(thread);
        return Err(EAGAIN);
    };
    let stack_size = attributes.stack_size;
    let options = Options { stack_size, priority, slice, suspended: true, ..Options::default() };
    // SAFETY: the thread's structure lives until the thread has done with it.
    let Ok(handle) = (unsafe { thread::spawn(options, run) }) else {
        free(thread);
        return Err(EAGAIN);
    };
    thread.number.set(handle.number() as c_int);
    // SAFETY: the thread does not run yet.
    unsafe { *thread.handle.get() = Some(handle.clone()) };
    LIVING.fetch_add(1, Relaxed);
    Ok((thread, handle))
}

/// All of a thread's life.
fn run(thread: &'static Thread) {
    set_current(thread);
    if let Some(start) = thread.start.get() {
        // SAFETY: the place is the thread's own.
        let result = unsafe { call(start, thread.argument.get(), thread.escape.as_ptr()) };
        thread.result.set(result);
    }
    end(thread);
    // Its structure may be gone: who joins it waits for the kernel's thread to be over, too.
    if thread.life.swap(OVER, Relaxed) == DETACHED {
        free(thread);
    }
    if LIVING.fetch_sub(1, Relaxed) == 1 {
        // If it is free already, the main thread looks again all the same.
        let _ = LAST.release();
    }
}

/// Calls a function, and notes in `place` the stack pointer by which [`escape`] ends it.
#[unsafe(naked)]
unsafe extern "C" fn call(start: Start, argument: *mut c_void, place: *mut *mut c_void) -> *mut c_void {
    naked_asm!(
        // What a function has to keep.
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        // A function begins with a stack pointer of a multiple of 16, less the address to which it returns.
        "sub rsp, 8",
        "mov [rdx], rsp",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

/// Returns with this result from the function that [`call`] calls, wherever the thread is inside of it: the address to
/// which it returns lies below what was noted.
#[unsafe(naked)]
unsafe extern "C" fn escape(pointer: *mut c_void, result: *mut c_void) -> ! {
    naked_asm!("lea rsp, [rdi - 8]", "mov rax, rsi", "ret")
}

/// What a thread does last that its program may notice.
fn end(thread: &Thread) {
    thread.cancellation.end();
    thread.values.destroy();
    // SAFETY: the calling thread's own streams.
    unsafe { __do_orphaned_stdio_locks() };
}

/// Ends the calling thread.
pub(crate) fn end_calling(result: *mut c_void) -> ! {
    let thread = current();
    thread.cancellation.end();
    thread.cancellation.clean_up();
    if !thread.is_main() {
        // SAFETY: it is inside of `call`, which noted the pointer.
        unsafe { escape(thread.escape.get(), result) };
    }
    thread.result.set(result);
    end(thread);
    // It ends once, so nobody has given it before.
    let _ = MAIN_ENDED.release();
    while LIVING.load(Relaxed) != 0 {
        // Without a deadline it only ends by a permit.
        let _ = LAST.acquire(None);
    }
    // SAFETY: the program may end at any time.
    unsafe { exit(0) }
}

/// Ends the calling thread.
#[unsafe(no_mangle)]
extern "C" fn pthread_exit(result: *mut c_void) -> ! {
    end_calling(result)
}

/// Waits until a thread is over, and takes its result.
pub(super) fn join(thread: &'static Thread, deadline: Option<u64>) -> Result<*mut c_void, i64> {
    cancel::test();
    if core::ptr::eq(thread, current()) {
        return Err(EDEADLK);
    }
    match thread.life.compare_exchange(JOINABLE, JOINED, Relaxed, Relaxed) {
        Ok(_) | Err(OVER) => {}
        Err(_) => return Err(EINVAL),
    }
    // Somebody else can join it if this thread does not; if it is over since, it can be joined as well.
    let give_up = || thread.life.compare_exchange(JOINED, JOINABLE, Relaxed, Relaxed);
    loop {
        match cancel::wait(|| wait_for_end(thread, deadline)) {
            Ok(()) => break,
            Err(WaitError::TimedOut) => {
                let _ = give_up();
                return Err(ETIMEDOUT);
            }
            Err(WaitError::Interrupted) => {
                if cancel::is_due() {
                    let _ = give_up();
                }
                cancel::interrupted();
            }
        }
    }
    let result = thread.result.get();
    free(thread);
    Ok(result)
}

fn wait_for_end(thread: &Thread, deadline: Option<u64>) -> Result<(), TimedOut> {
    match thread.handle() {
        Some(handle) if !thread.is_main() => handle.join(deadline),
        _ => MAIN_ENDED.acquire(deadline),
    }
}

/// Waits for the end of a thread.
///
/// # Safety
///
/// As `pthread_join`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_join(thread: Option<&'static Thread>, place: *mut *mut c_void) -> c_int {
    // SAFETY: the caller's place.
    unsafe { joined(thread, None, place) }
}

/// As `pthread_join`, if the thread is over.
///
/// # Safety
///
/// As `pthread_tryjoin_np`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_tryjoin_np(thread: Option<&'static Thread>, place: *mut *mut c_void) -> c_int {
    // SAFETY: the caller's place.
    match unsafe { joined(thread, Some(0), place) } {
        error if i64::from(error) == ETIMEDOUT => EBUSY as c_int,
        answer => answer,
    }
}

/// As `pthread_join`, until the time of day is this.
///
/// # Safety
///
/// As `pthread_timedjoin_np`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_timedjoin_np(
    thread: Option<&'static Thread>,
    place: *mut *mut c_void,
    time: *const TimeSpec,
) -> c_int {
    // SAFETY: the caller's time and place.
    unsafe {
        match deadline::optional(deadline::REALTIME, time) {
            Ok(deadline) => joined(thread, deadline, place),
            Err(error) => error as c_int,
        }
    }
}

/// # Safety
///
/// The place is writable, or null.
unsafe fn joined(thread: Option<&'static Thread>, deadline: Option<u64>, place: *mut *mut c_void) -> c_int {
    let Some(thread) = thread else { return ESRCH as c_int };
    match join(thread, deadline) {
        Ok(result) => {
            if !place.is_null() {
                // SAFETY: the caller's place.
                unsafe { place.write(result) };
            }
            0
        }
        Err(error) => error as c_int,
    }
}

/// Says that nobody will join a thread.
#[unsafe(no_mangle)]
extern "C" fn pthread_detach(thread: Option<&'static Thread>) -> c_int {
    thread.map_or(ESRCH as c_int, |thread| super::answer(detach(thread)))
}

pub(super) fn detach(thread: &'static Thread) -> Result<(), i64> {
    match thread.life.compare_exchange(JOINABLE, DETACHED, Relaxed, Relaxed) {
        Ok(_) => Ok(()),
        Err(OVER) => {
            free(thread);
            Ok(())
        }
        Err(_) => Err(EINVAL),
    }
}

/// The calling thread.
#[unsafe(no_mangle)]
extern "C" fn pthread_self() -> &'static Thread {
    current()
}

/// Whether two are the same.
#[unsafe(no_mangle)]
extern "C" fn pthread_equal(one: *const Thread, other: *const Thread) -> c_int {
    c_int::from(core::ptr::eq(one, other))
}

/// Frees the structure of a thread that is over, or was never to be.
fn free(thread: &'static Thread) {
    if core::ptr::eq(thread, &raw const MAIN) {
        return;
    }
    let place = (&raw const *thread).cast_mut();
    // SAFETY: `create` made it, and nobody uses it any more.
    unsafe {
        place.drop_in_place();
        dealloc(place.cast(), Layout::new::<Thread>());
    }
}

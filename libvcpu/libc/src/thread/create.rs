//! The life of a thread: creating, ending, joining, detaching.
//!
//! A thread's structure is freed by who comes last: the one that joins it; the thread itself, if it was
//! detached before its end; or the one that detaches it afterwards.
//!
//! The main thread may end before others by `pthread_exit`: it then waits for the last of them, whose end is the
//! program's, with status 0.

use super::{MAIN, Thread, current, set_current};
use crate::errno::{EAGAIN, EBUSY, EDEADLK, EINVAL, ESRCH, ETIMEDOUT};
use crate::signal::State;
use crate::thread::deadline;
use crate::time::TimeSpec;
use alloc::alloc::{alloc, dealloc};
use alloc::boxed::Box;
use core::alloc::Layout;
use core::ffi::{c_int, c_void};
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU32, AtomicUsize};
use vcpu_kernel::scheduler::TimedOut;
use vcpu_kernel::sync::RawSemaphore;
use vcpu_kernel::thread::{self, Handle, Options};

/// What a thread runs.
pub type Start = extern "C" fn(*mut c_void) -> *mut c_void;

/// Can be joined.
pub(super) const JOINABLE: u8 = 0;
/// Somebody joins it.
const JOINED: u8 = 1;
/// Nobody will join it: it frees itself.
const DETACHED: u8 = 2;
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
    unused: [u64; 2],
}

const _: () = assert!(size_of::<Attributes>() == 56);

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
    // A function of C11 has all bits set for them.
    let given = if attributes.addr() == usize::MAX { core::ptr::null() } else { attributes };
    // SAFETY: the caller's attributes.
    let attributes = match unsafe { given.as_ref() } {
        Some(attributes) => *attributes,
        None => Attributes {
            stack_size: __default_stacksize.load(Relaxed) as usize,
            guard_size: 0,
            stack_top: 0,
            is_detached: 0,
            is_explicit: 0,
            policy: 0,
            priority: 0,
            unused: [0; 2],
        },
    };
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

fn create(
    attributes: &Attributes,
    start: Start,
    argument: *mut c_void,
) -> Result<(&'static Thread, Handle), i64> {
    if attributes.stack_top != 0 {
        return Err(EINVAL);
    }
    let mut fresh = Thread::new(0);
    fresh.life.store(if attributes.is_detached != 0 { DETACHED } else { JOINABLE }, Relaxed);
    fresh.start.set(Some(start));
    fresh.argument.set(argument);
    fresh.signals = State::new(current().signals.blocked());
    let thread: &'static Thread = Box::leak(try_box(fresh).ok_or(EAGAIN)?);
    let Some(run) = try_box(move || run(thread)) else {
        free(thread);
        return Err(EAGAIN);
    };
    let options = Options {
        stack_size: attributes.stack_size,
        suspended: true,
        reclaim_stack: true,
        ..Options::default()
    };
    // SAFETY: the thread's structure lives until the thread has done with it. Who ends a thread by
    // `pthread_exit` knows, as POSIX says, that its stack is gone.
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
        thread.result.set(start(thread.argument.get()));
    }
    end(thread);
}

/// What a thread does last. Its structure may be gone then.
fn end(thread: &'static Thread) {
    // SAFETY: the calling thread's own streams.
    unsafe { __do_orphaned_stdio_locks() };
    if thread.is_main() {
        return;
    }
    // Who joins it waits for the kernel's thread to be over, too.
    if thread.life.swap(OVER, Relaxed) == DETACHED {
        free(thread);
    }
    if LIVING.fetch_sub(1, Relaxed) == 1 {
        // If all ended once before, it is free already.
        let _ = LAST.release();
    }
}

/// Ends the calling thread.
#[unsafe(no_mangle)]
extern "C" fn pthread_exit(result: *mut c_void) -> ! {
    let thread = current();
    thread.result.set(result);
    end(thread);
    if !thread.is_main() {
        thread::exit();
    }
    // It ends once, so nobody has given it before.
    let _ = MAIN_ENDED.release();
    while LIVING.load(Relaxed) != 0 {
        // Without a deadline it only ends by a permit.
        let _ = LAST.acquire(None);
    }
    // SAFETY: the program may end at any time.
    unsafe { exit(0) }
}

/// Waits until a thread is over, and takes its result.
fn join(thread: &'static Thread, deadline: Option<u64>) -> Result<*mut c_void, i64> {
    if core::ptr::eq(thread, current()) {
        return Err(EDEADLK);
    }
    let is_over = match thread.life.compare_exchange(JOINABLE, JOINED, Relaxed, Relaxed) {
        Ok(_) => false,
        Err(OVER) => true,
        Err(_) => return Err(EINVAL),
    };
    if let Err(TimedOut) = wait_for_end(thread, deadline) {
        if !is_over {
            // It may have come to its end since.
            let _ = thread.life.compare_exchange(JOINED, JOINABLE, Relaxed, Relaxed);
        }
        return Err(ETIMEDOUT);
    }
    let result = thread.result.get();
    free(thread);
    Ok(result)
}

fn wait_for_end(thread: &'static Thread, deadline: Option<u64>) -> Result<(), TimedOut> {
    // SAFETY: set before the thread ran.
    match unsafe { &*thread.handle.get() } {
        Some(handle) => handle.join(deadline),
        None => MAIN_ENDED.acquire(deadline),
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
    let Some(thread) = thread else { return ESRCH as c_int };
    match thread.life.compare_exchange(JOINABLE, DETACHED, Relaxed, Relaxed) {
        Ok(_) => 0,
        Err(OVER) => {
            free(thread);
            0
        }
        Err(_) => EINVAL as c_int,
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

/// Moves a value to the heap, if there is room.
fn try_box<T>(value: T) -> Option<Box<T>> {
    let layout = Layout::new::<T>();
    assert!(layout.size() > 0);
    // SAFETY: the layout is not empty.
    let place = NonNull::new(unsafe { alloc(layout) }.cast::<T>())?;
    // SAFETY: allocated with the layout of `T`, as a box is.
    unsafe {
        place.write(value);
        Some(Box::from_raw(place.as_ptr()))
    }
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

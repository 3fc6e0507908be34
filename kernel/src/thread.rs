//! Threads: their life from spawn to join, and what the kernel keeps of each.
//!
//! The policy's record says when a thread runs ([`vcpu_kernel_core::thread`]); the control block here says
//! what it is: its registers while it does not run, its stack, its name, its accounts. Both live until
//! the thread is over and the last [`Handle`] is gone.
//!
//! A thread ends in one of three ways: its function returns, it [exits](exit), or it dies by a panic
//! or a fault. Nothing is unwound when it dies, so no destructor runs: the policy releases the locks it
//! held and poisons them, and what it had on its stack and on the heap stays there
//! ([`Options::reclaim_stack`], [`Statistics::heap`]). The rest of the program goes on. Only the main thread takes
//! the whole guest with it, whichever way it ends.
//!
//! Its control block is in `block.rs`, what others can do to it in `handle.rs`, what its end leaves in `end.rs`.

mod block;
mod end;
mod handle;

use crate::context::Flow;
use crate::scheduler::{self, EventsOff, TimedOut};
use crate::stack::{self, Stack};
use crate::tls::Block;
use crate::{event, rooms};
use alloc::boxed::Box;
use block::{publish, try_box};
use core::cell::{Cell, UnsafeCell};
use core::fmt;
use end::bury;
use vcpu_kernel_core::policy::{Kind, Policy};

pub(crate) use block::{MAIN, NO_TOKEN, SERVICE, for_each, init, of, with_token};
pub(crate) use end::{set_death, vanish};

pub use crate::stack::{MINIMUM as MINIMUM_STACK, NORMAL as NORMAL_STACK};
pub use block::{Thread, service_time};
pub use end::{Ended, abandoned_stacks, ended};
pub use handle::{Handle, Statistics, all};
pub use vcpu_kernel_core::priority::Priority;
pub use vcpu_kernel_core::thread::{State, Waiting};
pub use vcpu_kernel_core::time_slice::TimeSlice;

/// Counts threads, for [`Handle::number`].
static SPAWNED: EventsOff<Cell<u64>> = EventsOff(Cell::new(1));

/// Called by each thread at its end, with its word, if that is not null.
static LOCAL_END: EventsOff<Cell<Option<LocalEnd>>> = EventsOff(Cell::new(None));

/// What a thread calls at its end with its word.
type LocalEnd = fn(*mut ());

/// What a new thread is to be like.
#[derive(Debug)]
pub struct Options {
    /// Its name, in reports.
    pub name: Option<Box<str>>,
    /// Bytes of its stack; rounded up to whole pages, at least [`MINIMUM_STACK`].
    pub stack_size: usize,
    /// Its base priority.
    pub priority: Priority,
    /// Its own time slice, if not the system's.
    pub slice: Option<TimeSlice>,
    /// Whether it waits to be [resumed](Handle::resume) before it begins.
    pub suspended: bool,
    /// Whether its stack may be used again if it dies or [exits](exit). Destructors do not run then, so
    /// somebody may still refer to what was there: only who knows better sets this.
    pub reclaim_stack: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            name: None,
            stack_size: NORMAL_STACK,
            priority: Priority::NORMAL,
            slice: None,
            suspended: false,
            reclaim_stack: false,
        }
    }
}

/// There is no memory for another thread: its stack, its control block or its place in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("there is no memory for another thread")
    }
}

impl core::error::Error for OutOfMemory {}

/// Creates a thread that runs `start`, and lets it go unless it is to begin suspended. If it is more
/// important than the caller, it runs before this returns.
///
/// # Errors
///
/// [`OutOfMemory`]; nothing is left behind then.
///
/// # Panics
///
/// In a handler function.
///
/// # Safety
///
/// `start` may be sent to another thread, and what it borrows lives until that thread is over. If the stack
/// is to be reclaimed, nobody refers to it once the thread has died or exited.
pub unsafe fn spawn(options: Options, start: Box<dyn FnOnce()>) -> Result<Handle, OutOfMemory> {
    bury();
    let Options { name, stack_size, priority, slice, suspended, reclaim_stack } = options;
    let pages = stack_size.max(MINIMUM_STACK).checked_next_multiple_of(vcpu_abi::layout::PAGE_SIZE as usize);
    let stack = Stack::allocate(pages.ok_or(OutOfMemory)?).ok_or(OutOfMemory)?;
    let thread = match create(name, stack, priority, slice, start) {
        Ok(thread) => thread,
        Err(error) => {
            stack.release();
            return Err(error);
        }
    };
    thread.keeps_stack.set(!reclaim_stack);
    let handle = Handle::new(thread);
    if !suspended {
        handle.resume();
    }
    Ok(handle)
}

/// Makes control block and record of a thread, suspended.
fn create(
    name: Option<Box<str>>,
    stack: Stack,
    priority: Priority,
    slice: Option<TimeSlice>,
    start: Box<dyn FnOnce()>,
) -> Result<&'static Thread, OutOfMemory> {
    let storage = Block::new().map_err(|_| OutOfMemory)?;
    let number = event::without(|| {
        SPAWNED.set(SPAWNED.get() + 1);
        SPAWNED.get()
    });
    let flow = Flow::new();
    flow.set_area(stack.area());
    flow.fs_base.set(storage.base());
    // SAFETY: the stack is the new thread's, which does not run yet.
    unsafe { flow.prepare(begin, stack.range().end) };
    let thread = Thread {
        flow,
        stack_limit: Cell::new(stack::limit(&stack.range())),
        name,
        stack: Cell::new(Some(stack)),
        storage: UnsafeCell::new(Some(storage)),
        start: UnsafeCell::new(Some(start)),
        ..Thread::new(number)
    };
    let thread = try_box(thread).ok_or(OutOfMemory)?;
    let id = loop {
        match scheduler::quick(|policy| policy.create_thread(priority, slice)) {
            Ok(id) => break id,
            Err(_) if rooms::make(Kind::Thread).is_ok() => {}
            Err(_) => {
                // Its one reference goes.
                drop(Handle::own(thread));
                return Err(OutOfMemory);
            }
        }
    };
    thread.id.set(Some(id));
    if publish(id, thread).is_err() {
        drop(Handle::own(thread));
        return Err(OutOfMemory);
    }
    Ok(thread)
}

/// Where a thread begins, with events off, on its own empty stack.
extern "C" fn begin() -> ! {
    event::enable_in_thread();
    // SAFETY: only the thread itself touches this.
    let start = unsafe { (*scheduler::current().start.get()).take() };
    if let Some(start) = start {
        start();
    }
    let thread = scheduler::current();
    let local = thread.local.get();
    if !local.is_null()
        && let Some(end) = event::without(|| LOCAL_END.get())
    {
        end(local);
    }
    // Nothing on its stack is referred to any more.
    thread.has_returned.set(true);
    vanish()
}

/// Ends the calling thread, but runs no destructors: neither of what is on its stack, nor (since that may
/// borrow from it) of what belongs to its [word](local). The main thread ends the guest in this way.
pub fn exit() -> ! {
    if scheduler::current().is_main() {
        crate::boot::finish(0);
    }
    vanish()
}

/// The calling thread.
///
/// # Panics
///
/// Never in a thread. In a handler function it is the interrupted one, or, if none runs, this panics.
#[must_use]
pub fn current() -> Handle {
    let thread = scheduler::current();
    assert!(thread.id.get().is_some(), "no thread runs");
    Handle::new(thread)
}

/// Lets the next thread of the same priority run. If there is none, returns at once.
#[inline]
pub fn yield_now() {
    scheduler::decide(|policy, now| policy.yield_now(now));
}

/// Waits until the clock has reached `deadline` (ns).
///
/// # Panics
///
/// With events off: in a handler function, or in a section without events.
pub fn sleep_until(deadline: u64) {
    // It always ends by its deadline.
    let _ = scheduler::block(|policy, now| policy.sleep(deadline, now));
}

/// Waits until somebody [unparks](Handle::unpark) the calling thread, or has done so since it last parked.
///
/// # Errors
///
/// [`TimedOut`] if the clock reaches `deadline` (ns) first.
///
/// # Panics
///
/// With events off: in a handler function, or in a section without events.
pub fn park(deadline: Option<u64>) -> Result<(), TimedOut> {
    scheduler::block(|policy, now| policy.park(deadline, now)).map(drop)
}

/// Waits so that others can end it with [`Handle::interrupt`]. They leave a message first, at which
/// `is_due` looks before the wait; so none is missed in between.
///
/// Whatever `wait` waits for can be interrupted, but locks and barriers. It then ends with [`TimedOut`], also
/// if it has no deadline, so it must not be a wait of somebody who does not expect that.
///
/// # Errors
///
/// [`WaitError::Interrupted`] if the wait was interrupted, or was due to be and did not begin;
/// [`WaitError::TimedOut`] if its deadline came first.
pub fn interruptible<R>(
    is_due: impl FnOnce() -> bool,
    wait: impl FnOnce() -> Result<R, TimedOut>,
) -> Result<R, WaitError> {
    scheduler::quick(Policy::allow_interrupts);
    let result = if is_due() { None } else { Some(wait()) };
    let is_interrupted = scheduler::quick(Policy::forbid_interrupts);
    match result {
        Some(Ok(result)) => Ok(result),
        Some(Err(TimedOut)) if !is_interrupted => Err(WaitError::TimedOut),
        _ => Err(WaitError::Interrupted),
    }
}

/// Why an [interruptible] wait ended without what was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// Its deadline came first.
    TimedOut,
    /// Somebody interrupted it.
    Interrupted,
}

/// Changes the time slice of all threads that have none of their own. It counts from each one's next whole slice.
pub fn set_time_slice(slice: TimeSlice) {
    scheduler::quick(|policy| policy.set_slice(slice));
}

/// Turns priority inheritance off, or on again. It is on; without it, a thread can be kept waiting for a
/// mutex by others less important than itself for any length of time.
pub fn set_inheritance(is_on: bool) {
    scheduler::decide(|policy, now| policy.inheritance(is_on, now));
}

/// The word of the calling thread that belongs to the library above, null at the beginning.
#[must_use]
#[inline]
pub fn local() -> *mut () {
    scheduler::current().local.get()
}

/// Sets the word of the calling thread.
pub fn set_local(word: *mut ()) {
    scheduler::current().local.set(word);
}

/// Sets the function that each thread calls at its end with its word, unless that is null.
pub fn set_local_end(function: LocalEnd) {
    event::without(|| LOCAL_END.set(Some(function)));
}

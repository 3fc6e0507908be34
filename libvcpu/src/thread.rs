//! Threads, with the names and habits of `std::thread`; and what a real-time system adds: priorities,
//! time slices, suspending, event handler threads, statistics.
//!
//! ```no_run
//! # #![no_std]
//! # #![no_main]
//! use libvcpu::{prelude::*, thread::{self, Priority}};
//!
//! entry!(main);
//!
//! fn main() -> Result<(), thread::SpawnError> {
//!     let worker = thread::Builder::new()
//!         .name("decode".into())
//!         .priority(Priority::new(40))
//!         .spawn(|| (1..=10).product::<u32>())?;
//!     println!("{:?}", worker.join());
//!     Ok(())
//! }
//! ```
//!
//! # Scheduling
//!
//! Of the threads that could run, a most important one does ([`Priority`], 0 to 63, 63 is the most
//! important), at any instant: whoever wakes a more important thread is preempted before its call returns.
//! Threads of equal priority take turns of a [`TimeSlice`] (10 ms unless [set](set_time_slice)).
//!
//! # Death
//!
//! A thread that panics, faults or overflows its stack dies alone: the others go on, and
//! [`JoinHandle::join`] gives the error. There is no unwinding, so destructors of what was on its stack do
//! not run. The locks it held are released and poisoned; its stack is kept, since others may refer to it
//! ([`Builder::reclaim_stack`]), and so is what it had on the heap ([`Statistics::heap`] tells how much). Where
//! the main thread dies, or returns, the program ends.
//!
//! # In event handler functions
//!
//! Spawning, and everything that waits, panics there. [`Thread::unpark`], [`Thread::resume`] and changing
//! priorities work; whoever becomes ready runs when the upcall ends.

mod local;
mod scoped;

use crate::time::{self, Duration, Instant};
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;
use core::cell::UnsafeCell;
use core::fmt;
use core::num::{NonZeroU64, NonZeroUsize};
use vcpu_kernel::event::{LineTaken, Listener};
use vcpu_kernel::thread::{self as kernel, Handle, Options};

pub use local::{AccessError, LocalKey};
pub use scoped::{Scope, ScopedJoinHandle, scope};
pub use vcpu_kernel::thread::{
    Ended, MINIMUM_STACK, NORMAL_STACK, OutOfMemory as SpawnError, Priority, State, Statistics, TimeSlice,
    abandoned_stacks, ended, set_inheritance, set_time_slice, yield_now,
};

/// What a thread gave: its function's value, or what it died of (a [`String`] in the box).
pub type Result<T> = core::result::Result<T, Box<dyn Any + Send + 'static>>;

/// What a new thread is to be like.
#[derive(Debug, Default)]
#[must_use = "a thread begins with `spawn`"]
pub struct Builder {
    options: Options,
}

impl Builder {
    /// A thread without name, with a stack of 64 KiB and priority [`Priority::NORMAL`].
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Its name, in reports.
    pub fn name(mut self, name: String) -> Builder {
        self.options.name = Some(name.into_boxed_str());
        self
    }

    /// Bytes of its stack; rounded up to whole pages, at least [`MINIMUM_STACK`].
    pub fn stack_size(mut self, size: usize) -> Builder {
        self.options.stack_size = size;
        self
    }

    /// Its base priority.
    pub fn priority(mut self, priority: Priority) -> Builder {
        self.options.priority = priority;
        self
    }

    /// Its own time slice.
    pub fn time_slice(mut self, slice: TimeSlice) -> Builder {
        self.options.slice = Some(slice);
        self
    }

    /// Uses its stack again even if the thread dies or [exits](exit).
    ///
    /// Otherwise that stack is kept for ever, since destructors did not run: a scoped thread may still
    /// borrow from it, or somebody rely on what was pinned there. [`abandoned_stacks`] counts them.
    ///
    /// # Safety
    ///
    /// Whenever the thread dies or exits, nobody refers to anything on its stack.
    pub unsafe fn reclaim_stack(mut self) -> Builder {
        self.options.reclaim_stack = true;
        self
    }

    /// Lets it wait for [`Thread::resume`] before it begins.
    pub fn suspended(mut self) -> Builder {
        self.options.suspended = true;
        self
    }

    /// Creates the thread.
    ///
    /// # Errors
    ///
    /// [`SpawnError`] if there is no memory for it.
    ///
    /// # Panics
    ///
    /// In a handler function.
    pub fn spawn<F, T>(self, function: F) -> core::result::Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: nothing in the function is borrowed.
        unsafe { self.spawn_unchecked(function) }
    }

    /// Creates an event handler thread: it calls `handler` whenever one of the lines was raised, with all that
    /// were since the last call, a bit each. It runs as soon as it is the most important thread.
    ///
    /// If it dies, its lines stay its own until somebody [unbinds](crate::event::unbind) them.
    ///
    /// # Errors
    ///
    /// If a line has a listener already, or there is no memory for the thread.
    pub fn spawn_handler<F>(
        self,
        lines: &[u32],
        mut handler: F,
    ) -> core::result::Result<JoinHandle<()>, HandlerError>
    where
        F: FnMut(u64) + Send + 'static,
    {
        let mut listener = Listener::bind(lines).map_err(HandlerError::Line)?;
        let serve = move || {
            loop {
                if let Ok(raised) = listener.wait(None) {
                    handler(raised);
                }
            }
        };
        self.spawn(serve).map_err(HandlerError::Spawn)
    }

    /// # Safety
    ///
    /// The thread is over before anything ends that `function` borrows, and before `T` does.
    unsafe fn spawn_unchecked<'a, F, T>(self, function: F) -> core::result::Result<JoinHandle<T>, SpawnError>
    where
        F: FnOnce() -> T + Send + 'a,
        T: Send + 'a,
    {
        let packet = Arc::new(Packet(UnsafeCell::new(None)));
        let theirs = Arc::clone(&packet);
        let start: Box<dyn FnOnce() + 'a> = Box::new(move || {
            let result = function();
            // SAFETY: the joiner looks only once the thread is over.
            unsafe { *theirs.0.get() = Some(result) };
        });
        // SAFETY: the caller keeps what is borrowed alive until the thread is over.
        let start = unsafe { core::mem::transmute::<Box<dyn FnOnce() + 'a>, Box<dyn FnOnce()>>(start) };
        // SAFETY: the function is `Send`, and the caller keeps alive what it borrows. `reclaim_stack` was asked
        // for in an unsafe block, if at all.
        let handle = unsafe { kernel::spawn(self.options, start) }?;
        Ok(JoinHandle { thread: Thread(handle), packet })
    }
}

/// Why an event handler thread was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandlerError {
    /// A line cannot be bound.
    Line(LineTaken),
    /// There is no memory for the thread.
    Spawn(SpawnError),
}

impl fmt::Display for HandlerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandlerError::Line(error) => error.fmt(formatter),
            HandlerError::Spawn(error) => error.fmt(formatter),
        }
    }
}

impl core::error::Error for HandlerError {}

/// Where a thread leaves its result.
struct Packet<T>(UnsafeCell<Option<T>>);

// SAFETY: the thread writes it, and its joiner reads it once the thread is over.
unsafe impl<T: Send> Sync for Packet<T> {}

/// Creates a thread as [`Builder::new`] describes it.
///
/// # Panics
///
/// If there is no memory for it.
pub fn spawn<F, T>(function: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(function).expect("failed to spawn a thread")
}

/// The right to wait for a thread's end. Dropped, it lets the thread go its own way.
pub struct JoinHandle<T> {
    thread: Thread,
    packet: Arc<Packet<T>>,
}

impl<T> JoinHandle<T> {
    /// The thread.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Whether the thread is over, so that [`join`](JoinHandle::join) would not wait.
    pub fn is_finished(&self) -> bool {
        self.thread.0.is_finished()
    }

    /// Waits for the thread's end and gives its result.
    ///
    /// # Errors
    ///
    /// What it died of, or that it [exited](exit): a [`String`] in the box.
    ///
    /// # Panics
    ///
    /// In a handler function.
    pub fn join(self) -> Result<T> {
        // It cannot time out.
        let _ = self.thread.0.join(None);
        self.finish()
    }

    /// As [`join`](JoinHandle::join), but not longer than `timeout`.
    ///
    /// # Errors
    ///
    /// The handle itself, if the thread is not over by then.
    pub fn join_timeout(self, timeout: Duration) -> core::result::Result<Result<T>, JoinHandle<T>> {
        match self.thread.0.join(time::after(timeout)) {
            Ok(()) => Ok(self.finish()),
            Err(_) => Err(self),
        }
    }

    fn finish(self) -> Result<T> {
        // SAFETY: the thread is over, and there is one handle.
        match unsafe { (*self.packet.0.get()).take() } {
            Some(value) => Ok(value),
            None => {
                let death = self.thread.0.death();
                Err(Box::new(death.unwrap_or_else(|| "the thread exited without a result".into())))
            }
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JoinHandle").finish_non_exhaustive()
    }
}

/// A thread.
#[derive(Clone, Debug)]
pub struct Thread(Handle);

/// The identity of a thread, which no other thread of this program ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThreadId(NonZeroU64);

impl ThreadId {
    /// The number in it: 1 for the main thread, and so on in the order of creation.
    pub fn as_u64(&self) -> NonZeroU64 {
        self.0
    }
}

impl Thread {
    /// Its identity.
    pub fn id(&self) -> ThreadId {
        ThreadId(NonZeroU64::new(self.0.number()).expect("threads are numbered from 1"))
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// Ends its wait in [`park`], or lets the next one end at once.
    pub fn unpark(&self) {
        self.0.unpark();
    }

    /// Stops the thread until it is resumed, wherever it stands. What it holds it keeps, so this is for
    /// debuggers and the like rather than for programs that share locks with it.
    pub fn suspend(&self) {
        self.0.suspend();
    }

    /// Lets the thread go on if it was suspended.
    pub fn resume(&self) {
        self.0.resume();
    }

    /// Its base priority.
    pub fn priority(&self) -> Priority {
        self.0.priority()
    }

    /// The priority by which it is scheduled: its own, or that of a more important thread that waits for a
    /// mutex it holds.
    pub fn effective_priority(&self) -> Priority {
        self.0.effective_priority()
    }

    /// Changes its base priority.
    pub fn set_priority(&self, priority: Priority) {
        self.0.set_priority(priority);
    }

    /// Gives the thread a time slice of its own, or (`None`) the system's. It counts from its next whole slice.
    pub fn set_time_slice(&self, slice: Option<TimeSlice>) {
        self.0.set_time_slice(slice);
    }

    /// What is known of it. Looks at its stack, which takes a while.
    pub fn statistics(&self) -> Statistics {
        self.0.statistics()
    }
}

/// The calling thread. In a handler function, the interrupted one.
///
/// # Panics
///
/// In a handler function that has interrupted nobody.
pub fn current() -> Thread {
    Thread(kernel::current())
}

/// All threads that are not over, in no particular order.
///
/// # Panics
///
/// If there is no memory for the list.
pub fn all() -> alloc::vec::Vec<Thread> {
    kernel::all().into_iter().map(Thread).collect()
}

/// Writes what is known of all threads and event lines to standard errors, as a table.
///
/// # Panics
///
/// In a handler function, or if standard errors are closed.
pub fn dump() {
    let mut table = String::new();
    // A string takes everything.
    let _ = vcpu_kernel::report::write(&mut table);
    crate::eprint!("{table}");
}

/// Waits for at least `duration`. Other threads run meanwhile.
///
/// # Panics
///
/// In a handler function, as everything that waits.
pub fn sleep(duration: Duration) {
    kernel::sleep_until(time::after(duration).unwrap_or(u64::MAX));
}

/// Waits until `deadline`. Other threads run meanwhile.
///
/// # Panics
///
/// In a handler function.
pub fn sleep_until(deadline: Instant) {
    kernel::sleep_until(deadline.as_nanos());
}

/// Waits until somebody [unparks](Thread::unpark) the calling thread, or has done so since it last parked.
/// Unlike `std`'s, it never returns for nothing.
///
/// # Panics
///
/// In a handler function.
pub fn park() {
    // It cannot time out.
    let _ = kernel::park(None);
}

/// As [`park`], but not longer than `timeout`. Whether it was unparked is not told, as in `std`.
///
/// # Panics
///
/// In a handler function.
pub fn park_timeout(timeout: Duration) {
    // The same to the caller, as in `std`.
    let _ = kernel::park(time::after(timeout));
}

/// Ends the calling thread. No destructors run, neither of what is on its stack nor of its thread-local
/// variables, from which something there may borrow. In the main thread it ends the program with status 0.
pub fn exit() -> ! {
    kernel::exit()
}

/// Whether the thread unwinds because of a panic: never, since there is no unwinding.
pub const fn panicking() -> bool {
    false
}

/// How many threads can run at once: one, on one virtual CPU.
///
/// # Errors
///
/// Never.
pub fn available_parallelism() -> core::result::Result<NonZeroUsize, core::convert::Infallible> {
    Ok(NonZeroUsize::MIN)
}

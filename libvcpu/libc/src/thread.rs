//! Threads as C knows them: `pthread.h`, `semaphore.h`, `threads.h`, `sched.h` on the kernel's threads.
//!
//! A `pthread_t` is the address of a [`Thread`], which lives from `pthread_create` until the thread is over and
//! was joined, or detached. Mutexes and their kin hold the kernel's objects in place: all of them are valid
//! when they are zero, and get a record of the kernel's with their first use.
//!
//! | module | its subject |
//! |---|---|
//! | [`create`] | from creation to join |
//! | [`attributes`] | attributes and names |
//! | [`schedule`] | policies and priorities |
//! | [`deadline`] | moments of C's clocks as the kernel's |
//! | [`mutex`] | mutexes |
//! | [`condition`] | condition variables |
//! | [`read_write`] | reader-writer locks |
//! | [`barrier`] | barriers |
//! | [`semaphore`] | semaphores |
//! | [`once`] | what is done once; spin locks |
//! | [`keys`] | values that each thread has of its own |
//! | [`c11`] | all of that by C11's names |
//!
//! Threads that Rust code has spawned must not call these functions.

pub mod attributes;
pub mod barrier;
pub mod c11;
pub mod condition;
pub mod create;
pub mod deadline;
pub mod keys;
pub mod mutex;
pub mod once;
pub mod read_write;
pub mod schedule;
pub mod semaphore;

use crate::cancel::Cancellation;
use crate::signal::State;
use alloc::alloc::alloc;
use alloc::boxed::Box;
use attributes::Name;
use core::alloc::Layout;
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::ffi::{c_char, c_int, c_void};
use core::mem::offset_of;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
pub(crate) use create::end_calling;
use keys::Values;
use schedule::Schedule;
use vcpu_kernel::machine;
use vcpu_kernel::thread::{self, Handle};

/// What the library keeps of a thread.
///
/// Cells are touched by the thread itself, or before it begins, or after it is over.
#[repr(C)]
pub struct Thread {
    /// Musl's code looks for the number where its own structure has it.
    before_number: [u64; 6],
    /// The number that stands for it in locks; no other thread of the guest ever has it.
    number: Cell<c_int>,
    /// See [`create`].
    life: AtomicU8,
    /// The kernel's thread, set before the thread begins.
    handle: UnsafeCell<Option<Handle>>,
    pub(crate) cancellation: Cancellation,
    name: Cell<Name>,
    schedule: Cell<Schedule>,
    /// What it runs, and with what.
    start: Cell<Option<create::Start>>,
    argument: Cell<*mut c_void>,
    /// The stack pointer with which it can leave all that it is in.
    escape: Cell<*mut c_void>,
    /// What it gives to who joins it.
    result: Cell<*mut c_void>,
    /// Signals for it.
    pub(crate) signals: State,
    values: Values,
}

// musl's `struct __pthread` has it there.
const _: () = assert!(offset_of!(Thread, number) == 48);

// SAFETY: cells are touched by one thread at a time, as the type's documentation says.
unsafe impl Sync for Thread {}

/// The thread that runs `main`.
static MAIN: Thread = Thread::new(1);

impl Thread {
    const fn new(number: c_int) -> Thread {
        Thread {
            before_number: [0; 6],
            number: Cell::new(number),
            life: AtomicU8::new(create::JOINABLE),
            handle: UnsafeCell::new(None),
            cancellation: Cancellation::new(),
            name: Cell::new([0; 16]),
            schedule: Cell::new(Schedule::NORMAL),
            start: Cell::new(None),
            argument: Cell::new(null_mut()),
            escape: Cell::new(null_mut()),
            result: Cell::new(null_mut()),
            values: Values::new(),
            signals: State::new(0),
        }
    }

    fn handle(&self) -> Option<&Handle> {
        // SAFETY: set before the thread began.
        unsafe { &*self.handle.get() }.as_ref()
    }

    /// Ends a wait of the thread that can be interrupted.
    pub(crate) fn interrupt(&self) {
        if let Some(handle) = self.handle() {
            handle.interrupt();
        }
    }

    fn is_detached(&self) -> bool {
        self.life.load(Relaxed) == create::DETACHED
    }

    pub(crate) fn is_main(&self) -> bool {
        core::ptr::eq(self, &raw const MAIN)
    }
}

/// The thread that runs `main`.
pub(crate) fn main() -> &'static Thread {
    &MAIN
}

/// The calling thread's number.
#[inline(always)]
pub(crate) fn number() -> c_int {
    let number: c_int;
    // SAFETY: reads the field `tid` of the thread-local object that musl's code knows a thread by.
    unsafe {
        asm!("mov {:e}, dword ptr fs:[__vcpu_thread@tpoff + 48]", out(reg) number,
             options(nostack, preserves_flags, readonly));
    }
    number
}

/// The calling thread.
#[inline(always)]
pub(crate) fn current() -> &'static Thread {
    let thread: *const Thread;
    // SAFETY: reads the field `self` of the thread-local object that musl's code knows a thread by.
    unsafe {
        asm!("mov {}, qword ptr fs:[__vcpu_thread@tpoff]", out(reg) thread,
             options(nostack, preserves_flags, readonly));
    }
    // SAFETY: `set_current` set it, or it is null.
    unsafe { thread.as_ref() }.expect("a thread that Rust code has spawned called a function of pthread.h")
}

/// Makes the main thread known. Called once, before everything else of C.
pub(crate) fn init() {
    // SAFETY: there is no other thread.
    unsafe { *MAIN.handle.get() = Some(thread::current()) };
    let path = machine::arguments().next().unwrap_or_default();
    let mut name = [0; 16];
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    // A zero stays at the end.
    for (to, from) in name[..15].iter_mut().zip(last) {
        *to = *from as c_char;
    }
    MAIN.name.set(name);
    set_current(&MAIN);
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

/// Says who the calling thread is, before it does anything else.
fn set_current(thread: &Thread) {
    // SAFETY: as in `current` and `number`; the fields are the calling thread's own.
    unsafe {
        asm!("mov qword ptr fs:[__vcpu_thread@tpoff], {}",
             "mov dword ptr fs:[__vcpu_thread@tpoff + 48], {:e}",
             in(reg) thread, in(reg) thread.number.get(), options(nostack, preserves_flags));
    }
}

/// What a function of the family answers: 0, or the number of an error.
fn answer(result: Result<(), i64>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error as c_int,
    }
}

//! Threads as C knows them: `pthread.h`, `semaphore.h`, `threads.h`, `sched.h` on the kernel's threads.
//!
//! A `pthread_t` is the address of a [`Thread`], which lives from `pthread_create` until the thread is over and
//! was joined, or detached. Mutexes and their kin hold the kernel's objects in place: all of them are valid
//! when they are zero, and get a record of the kernel's with their first use.
//!
//! | module | its subject |
//! |---|---|
//! | [`create`] | from creation to join |
//! | [`deadline`] | moments of C's clocks as the kernel's |
//! | [`mutex`] | mutexes |
//! | [`condition`] | condition variables |
//! | [`read_write`] | reader-writer locks |

pub mod condition;
pub mod create;
pub mod deadline;
pub mod mutex;
pub mod read_write;

use crate::signal::State;
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::ffi::{c_int, c_void};
use core::mem::offset_of;
use core::ptr::null_mut;
use core::sync::atomic::AtomicU8;
use vcpu_kernel::thread::Handle;

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
    /// The kernel's thread; none of the main thread's.
    handle: UnsafeCell<Option<Handle>>,
    /// What it runs, and with what.
    start: Cell<Option<create::Start>>,
    argument: Cell<*mut c_void>,
    /// What it gives to who joins it.
    result: Cell<*mut c_void>,
    /// Signals for it.
    pub(crate) signals: State,
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
            start: Cell::new(None),
            argument: Cell::new(null_mut()),
            result: Cell::new(null_mut()),
            signals: State::new(0),
        }
    }

    /// Ends the wait it is in, if that can be interrupted.
    pub(crate) fn interrupt(&self) {
        const MAIN_NUMBER: u64 = 1;
        // SAFETY: written before the thread began.
        match unsafe { &*self.handle.get() } {
            Some(handle) => handle.interrupt(),
            None => vcpu_kernel::thread::all()
                .into_iter()
                .filter(|handle| handle.number() == MAIN_NUMBER)
                .for_each(|main| main.interrupt()),
        }
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
    // SAFETY: it is null, in the main thread, or was set by `set_current`.
    unsafe { thread.as_ref() }.unwrap_or(&MAIN)
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

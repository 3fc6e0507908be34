//! Event lines: handlers, enabling and disabling, waiting.
//!
//! Events are off while IRQ in the state indicator is clear. The machine then only sets a sticky flag,
//! at which [`enable`] looks after it has set IRQ. Both are written on the vCPU's own thread only, so
//! plain loads and stores are enough: an event before IRQ was set has left the flag, an event after it
//! makes an upcall.

use crate::{call, machine};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use vcpu_abi::call::Error;
use vcpu_abi::page::{EVENT_LINES, State, Sticky};

/// A function that is called, with events off, when its line was raised.
pub type Handler = fn();

/// The handlers as numbers, 0 for none; a function pointer has no atomic type of its own.
static HANDLERS: [AtomicUsize; EVENT_LINES as usize] = [const { AtomicUsize::new(0) }; EVENT_LINES as usize];

/// Lines that were raised, have no handler and were not asked for yet.
static RAISED: AtomicU64 = AtomicU64::new(0);

/// Whether a handler runs, of an event or of an exception. It must not turn events on: an upcall would
/// begin on the stack that the handler stands on.
static HANDLING: AtomicBool = AtomicBool::new(false);

/// Sets the handler of a line, or removes it. Gives what was there before.
///
/// The handler runs on the upcall stack (32 KiB) with events off, between two instructions of the
/// program; what it shares with the program must bear that. It cannot wait: [`enable`] and [`wait_until`],
/// and so printing to a full pipe, panic in it. A fault in it ends the guest.
///
/// # Panics
///
/// If there is no such line.
pub fn set_handler(line: u32, handler: Option<Handler>) -> Option<Handler> {
    let number = handler.map_or(0, |handler| handler as usize);
    to_handler(HANDLERS[line as usize].swap(number, Relaxed))
}

fn to_handler(number: usize) -> Option<Handler> {
    // SAFETY: every number but 0 in `HANDLERS` came from a handler.
    (number != 0).then(|| unsafe { core::mem::transmute::<usize, Handler>(number) })
}

/// Whether a line without a handler was raised since this was last asked.
///
/// # Panics
///
/// If there is no such line.
pub fn take(line: u32) -> bool {
    assert!(line < EVENT_LINES, "there is no event line {line}");
    let bit = 1 << line;
    RAISED.fetch_and(!bit, Relaxed) & bit != 0
}

/// Turns events on, and takes those that came while they were off.
///
/// # Panics
///
/// In a handler.
#[inline]
pub fn enable() {
    assert!(!HANDLING.load(Relaxed), "a handler tried to turn events on, or to wait");
    let page = machine::page();
    loop {
        page.state.store((State::EXCEPTIONS | State::IRQ).bits(), Relaxed);
        compiler_fence();
        if page.sticky.load(Relaxed) & Sticky::EVENT_PENDING.bits() == 0 {
            return;
        }
        page.state.store(State::EXCEPTIONS.bits(), Relaxed);
        compiler_fence();
        take_pending();
    }
}

/// Turns events off. Gives whether they were on.
#[inline]
pub fn disable() -> bool {
    let page = machine::page();
    let state = State::from_bits_truncate(page.state.load(Relaxed));
    page.state.store((state - State::IRQ).bits(), Relaxed);
    compiler_fence();
    state.contains(State::IRQ)
}

/// Runs `action` with events off, and leaves them as they were.
#[inline]
pub fn without<R>(action: impl FnOnce() -> R) -> R {
    let were_on = disable();
    let result = action();
    if were_on {
        compiler_fence();
        enable();
    }
    result
}

/// Sleeps until `condition` holds or the clock has reached `deadline` (ns). Gives whether it holds.
///
/// `condition` is asked with events off, again after each event. Events are on afterwards.
///
/// # Panics
///
/// In a handler.
pub fn wait_until(deadline: Option<u64>, mut condition: impl FnMut() -> bool) -> bool {
    assert!(!HANDLING.load(Relaxed), "a handler tried to wait");
    loop {
        disable();
        let holds = condition();
        if holds || deadline.is_some_and(|deadline| crate::clock::now() >= deadline) {
            enable();
            return holds;
        }
        match call::wait(deadline) {
            Ok(()) | Err(Error::TimedOut) => {}
            Err(error) => panic!("the machine refused to wait: {error}"),
        }
    }
}

/// Gives every pending event to its handler. Events are off.
pub(crate) fn take_pending() {
    let page = machine::page();
    // First the flag, then the lines: a line that is raised in between sets the flag again.
    let sticky = page.sticky.load(Relaxed) & !Sticky::EVENT_PENDING.bits();
    page.sticky.store(sticky, Relaxed);
    compiler_fence();
    let mut lines = page.pending.swap(0, Relaxed);
    while lines != 0 {
        let line = lines.trailing_zeros();
        lines &= lines - 1;
        match to_handler(HANDLERS[line as usize].load(Relaxed)) {
            Some(handler) => handling(handler),
            None => drop(RAISED.fetch_or(1 << line, Relaxed)),
        }
    }
}

/// Runs a handler, of which one runs at a time.
pub(crate) fn handling<R>(handler: impl FnOnce() -> R) -> R {
    HANDLING.store(true, Relaxed);
    let result = handler();
    HANDLING.store(false, Relaxed);
    result
}

/// Keeps the compiler from moving memory accesses across. An upcall runs on the same processor, so it
/// sees this thread's accesses in program order and needs no fence of the processor.
#[inline(always)]
fn compiler_fence() {
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
}

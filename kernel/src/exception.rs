//! Exceptions: faults of the program itself, which its kernel sees first.

use crate::context::Context;
use crate::message::Message;
use crate::{call, event, machine};
use core::fmt::Write;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use vcpu_abi::cause::Cause;

/// What went wrong, and where.
#[derive(Debug)]
pub struct Exception<'a> {
    /// The kind of exception.
    pub cause: Cause,
    /// The address that could not be accessed, for a page fault.
    pub address: Option<u64>,
    /// The error code as on hardware, where the machine could know it.
    pub error_code: Option<u32>,
    /// The registers of the code that faulted. If the exception is resumed, it continues with these.
    pub context: &'a mut Context,
}

/// What to do after an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Continue with the registers in the exception's context.
    Resume,
    /// End the guest with a report.
    Unhandled,
}

/// A function that looks at an exception. It runs on the upcall stack with events and exceptions off: a
/// fault in it is a double fault and ends the guest.
pub type Handler = fn(&mut Exception<'_>) -> Verdict;

static HANDLER: AtomicUsize = AtomicUsize::new(0);

/// Sets the handler that sees every exception, or removes it.
pub fn set_handler(handler: Option<Handler>) {
    HANDLER.store(handler.map_or(0, |handler| handler as usize), Relaxed);
}

/// Gives an exception to its handler. Returns if the code that faulted is to continue.
pub(crate) fn raise(mut exception: Exception<'_>) {
    let number = HANDLER.load(Relaxed);
    if number != 0 {
        // SAFETY: every number but 0 in `HANDLER` came from a handler.
        let handler = unsafe { core::mem::transmute::<usize, Handler>(number) };
        if event::handling(|| handler(&mut exception)) == Verdict::Resume {
            return;
        }
    }
    unhandled(&exception)
}

/// The default for an exception that nobody handles: ends the guest with a report.
fn unhandled(exception: &Exception<'_>) -> ! {
    let mut text = Message::new();
    if exception.address.is_some_and(|address| machine::main_stack_guard().contains(&address)) {
        let stack = machine::main_stack();
        let _ =
            write!(text, "the main program overflowed its stack of {} KiB", (stack.end - stack.start) / 1024);
    }
    call::fault(text.as_str())
}

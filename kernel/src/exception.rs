//! Exceptions: faults of the program itself, which its kernel sees first.
//!
//! An exception is an upcall that interrupts the very instruction that could not be carried out. The program's
//! [handler](set_handler), if there is one, may put things right and let it be tried again. Otherwise the
//! thread dies, or the guest with it; `death` has the rules.

use crate::context::Context;
use crate::message::Message;
use crate::scheduler::EventsOff;
use crate::thread::Thread;
use crate::{call, death, event};
use core::cell::Cell;
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
    /// End the thread; or the guest, with a report, if it is the main thread or had events off.
    Unhandled,
}

/// A function that looks at an exception. It runs on the upcall stack with events and exceptions off: a
/// fault in it is a double fault and ends the guest.
pub type Handler = fn(&mut Exception<'_>) -> Verdict;

static HANDLER: EventsOff<Cell<Option<Handler>>> = EventsOff(Cell::new(None));

/// Sets the handler that sees every exception, of whichever thread, or removes it.
pub fn set_handler(handler: Option<Handler>) {
    event::without(|| HANDLER.set(handler));
}

/// Gives an exception to its handler. Returns if the thread goes on: where it was, or with its death.
pub(crate) fn raise(thread: &'static Thread, mut exception: Exception<'_>) {
    if let Some(handler) = HANDLER.get()
        && event::handling(|| handler(&mut exception)) == Verdict::Resume
    {
        return;
    }
    if exception.context.events_were_on() && death::is_its_own(thread) && !thread.begin_to_die() {
        death::by_fault(thread, exception);
    } else {
        let mut text = Message::new();
        if let Some(address) = exception.address
            && thread.guard().contains(&address)
        {
            // What does not fit is cut.
            let _ = death::write_overflow(&mut text, thread);
        }
        call::fault(text.as_str())
    }
}

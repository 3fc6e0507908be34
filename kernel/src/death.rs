//! Death of a thread: what a panic or a fault ends, and what is said about it.
//!
//! Who dies is the thread that did it, and the rest of the program goes on, except where the rest could
//! not be trusted to work: the main thread takes the guest with it, and so does whoever dies with events
//! off (in a handler, in the middle of an operation of the kernel), inside the heap, or while dying.

use crate::console;
use crate::exception::Exception;
use crate::message::Message;
use crate::thread::{self, Thread};
use crate::{call, event, heap, scheduler};
use alloc::string::String;
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use vcpu_abi::call::STREAM_ERRORS;
use vcpu_abi::cause::Cause;

/// A fault that nobody handled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    cause: Cause,
    address: Option<u64>,
    instruction: u64,
}

/// Whether a death with events on is the thread's alone.
pub(crate) fn is_its_own(thread: &Thread) -> bool {
    !thread.is_main() && !thread.is_service() && !heap::is_busy_with(thread)
}

/// What `#[panic_handler]` does: ends the thread with a report of the panic, or the guest.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    let mut text = Message::new();
    // What does not fit is cut; the location comes first.
    let _ = match info.location() {
        Some(location) => write!(text, "panicked at {location}: {}", info.message()),
        None => write!(text, "panicked: {}", info.message()),
    };
    let thread = scheduler::current();
    if event::are_on() && !event::is_handling() && is_its_own(thread) && !thread.begin_to_die() {
        die(thread, text.as_str());
    }
    if event::are_on() && thread.is_main() && !thread.begin_to_die() {
        crate::report::at_end();
    }
    call::panic(text.as_str())
}

/// Has a thread that was interrupted by its own fault die when it gets the processor again.
pub(crate) fn by_fault(thread: &'static Thread, exception: Exception<'_>) {
    let Exception { cause, address, context, .. } = exception;
    thread.fault.set(Some(Fault { cause, address, instruction: context.rip }));
    thread.divert(context, die_of_fault);
}

/// Where a thread continues that died by a fault: its stack is empty again.
extern "C" fn die_of_fault() -> ! {
    let thread = scheduler::current();
    let mut text = Message::new();
    // What does not fit is cut.
    let _ = match thread.fault.get() {
        Some(Fault { address: Some(address), .. }) if thread.guard().contains(&address) => {
            write_overflow(&mut text, thread)
        }
        Some(Fault { cause, address, instruction }) => {
            let _ = write!(text, "died by a fault: {cause}");
            if let Some(address) = address {
                let _ = write!(text, " at address {address:#x}");
            }
            write!(text, ", instruction {instruction:#x}")
        }
        None => unreachable!("only a fault leads here"),
    };
    die(thread, text.as_str())
}

/// Says that a thread's stack was too small.
pub(crate) fn write_overflow(text: &mut Message, thread: &Thread) -> fmt::Result {
    let stack = thread.stack();
    let size = (stack.end - stack.start) / 1024;
    if thread.is_main() {
        write!(text, "the main program overflowed its stack of {size} KiB")
    } else {
        write!(text, "overflowed its stack of {size} KiB")
    }
}

/// The thread says what it dies of, and is gone.
fn die(thread: &Thread, text: &str) -> ! {
    let mut line = Message::new();
    // What does not fit is cut.
    let _ = writeln!(line, "thread '{}' {text}", thread.label());
    console::write_all(STREAM_ERRORS, line.as_str());
    let mut death = String::new();
    // Without memory for it, the text is empty.
    if death.try_reserve(text.len()).is_ok() {
        death.push_str(text);
    }
    thread::set_death(death);
    thread::vanish()
}

//! From the machine's first instruction to the program's main function, and out again.

use crate::{call, context, exception, extended, heap, machine};
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::Ordering::Relaxed;
use vcpu_abi::page::State;

/// Prepares the kernel, runs the program with events on, and ends the guest with the status it gives.
///
/// `entry!` calls this with the stack pointer at the top of the main stack, before anything else ran.
pub fn start(program: fn() -> u8) -> ! {
    extended::init();
    let page = machine::page();
    page.entry_ip.store(context::entry_vector as *const () as u64, Relaxed);
    page.entry_sp.store(machine::upcall_stack_top(), Relaxed);
    page.state.store(State::EXCEPTIONS.bits(), Relaxed);
    heap::init();
    crate::event::enable();
    call::exit(program())
}

/// Ends the guest with a report of a panic: message and location, and what the host adds.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    let mut text = Message { bytes: [0; 1024], length: 0 };
    // What does not fit is cut; the location comes first.
    let _ = match info.location() {
        Some(location) => write!(text, "panicked at {location}: {}", info.message()),
        None => write!(text, "panicked: {}", info.message()),
    };
    call::panic(text.as_str())
}

/// The default for an exception that nobody handles: ends the guest with a report.
pub(crate) fn unhandled(exception: &exception::Exception<'_>) -> ! {
    let mut text = Message { bytes: [0; 1024], length: 0 };
    if exception.address.is_some_and(|address| machine::main_stack_guard().contains(&address)) {
        let stack = machine::main_stack();
        let _ =
            write!(text, "the main program overflowed its stack of {} KiB", (stack.end - stack.start) / 1024);
    }
    call::fault(text.as_str())
}

/// Text in a buffer of fixed size; what does not fit is cut.
struct Message {
    bytes: [u8; 1024],
    length: usize,
}

impl Message {
    fn as_str(&self) -> &str {
        // Only whole pieces of text are cut at a character's boundary in `write_str`.
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let room = self.bytes.len() - self.length;
        let cut = text.floor_char_boundary(room);
        self.bytes[self.length..self.length + cut].copy_from_slice(&text.as_bytes()[..cut]);
        self.length += cut;
        Ok(())
    }
}

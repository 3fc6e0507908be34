//! From the machine's first instruction to the program's main function, and out again.

use crate::message::Message;
use crate::{call, context, extended, heap, machine};
use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::Ordering::Relaxed;
use vcpu_abi::page::State;

/// Prepares the kernel, runs the constructors of C and its kin, runs the program with events on, and ends the guest with the status it gives.
///
/// `entry!` calls this with the stack pointer at the top of the main stack, before anything else ran.
pub fn start(program: fn() -> u8) -> ! {
    extended::init();
    let page = machine::page();
    page.entry_ip.store(context::entry_vector as *const () as u64, Relaxed);
    page.entry_sp.store(machine::upcall_stack_top(), Relaxed);
    page.state.store(State::EXCEPTIONS.bits(), Relaxed);
    heap::init();
    for constructor in machine::constructors() {
        constructor();
    }
    crate::event::enable();
    call::exit(program())
}

/// Ends the guest with a report of a panic: message and location, and what the host adds.
pub fn panic(info: &PanicInfo<'_>) -> ! {
    let mut text = Message::new();
    // What does not fit is cut; the location comes first.
    let _ = match info.location() {
        Some(location) => write!(text, "panicked at {location}: {}", info.message()),
        None => write!(text, "panicked: {}", info.message()),
    };
    call::panic(text.as_str())
}

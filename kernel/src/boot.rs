//! From the machine's first instruction to the program's main function, and out again.
//!
//! The machine begins with all registers zero, events and exceptions off, and RAM that is zero but for the
//! image. The order of what follows is that of need: an exception wants the entry vector, the policy's tables
//! want the heap, threads want the tables, and the heap's mutex wants a thread that can own it.

use crate::{call, context, event, extended, heap, machine, report, rooms, scheduler, thread};
use core::sync::atomic::Ordering::Relaxed;
use vcpu_abi::page::State;
use vcpu_kernel_core::event_group::EventGroupId;

pub use crate::death::panic;

/// Prepares the kernel, runs the constructors of C and its kin, runs the program with events on, and ends
/// the guest with the status it gives. Other threads that are not over end with it.
///
/// `entry!` calls this with the stack pointer at the top of the main stack, before anything else ran.
pub fn start(program: fn() -> u8) -> ! {
    extended::init();
    let page = machine::page();
    page.entry_ip.store(context::entry_vector as *const () as u64, Relaxed);
    page.entry_sp.store(machine::upcall_stack_top(), Relaxed);
    page.state.store(State::EXCEPTIONS.bits(), Relaxed);
    heap::init();
    rooms::init();
    thread::init();
    heap::share();
    event::init(event_group());
    event::enable_in_thread();
    for constructor in machine::constructors() {
        constructor();
    }
    finish(program())
}

fn event_group() -> EventGroupId {
    let created = scheduler::quick(|policy| policy.create_event_group());
    created.expect("there is room for the first of every kind")
}

/// Ends the guest, with the kernel's report if it was asked for.
pub fn finish(status: u8) -> ! {
    report::at_end();
    call::exit(status)
}

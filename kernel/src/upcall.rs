//! What happens between entry vector and resume: the interruption finds its handler.

use crate::context::Flow;
use crate::exception::{self, Exception};
use crate::scheduler;
use crate::stretch;
use crate::thread::Thread;
use crate::{clock, event, machine};
use core::sync::atomic::Ordering::Relaxed;
use vcpu_abi::cause::Cause;
use vcpu_abi::page::ERROR_CODE_KNOWN;

/// The upcall proper, on the upcall stack with events and exceptions off. `counter` is the time-stamp
/// counter at its beginning. Answers the flow to take up.
pub(crate) extern "C" fn taken(current: &'static Thread, counter: u64) -> &'static Flow {
    let page = machine::page();
    stretch::begin_upcall(counter);
    event::note_upcall(counter);
    let now = clock::at(counter);
    // SAFETY: this is the upcall, and it interrupted the thread that runs.
    let context = unsafe { current.flow().interrupt(page) };
    match Cause::from_number(page.ssa.cause.load(Relaxed)) {
        Some(Cause::Event) => {
            event::take_pending(now, counter);
            // A handler that has woken somebody has set the flag, and so has an event that came since. To
            // see to it here saves restoring all registers in vain.
            if event::is_pending() {
                event::take_pending(now, counter);
            }
        }
        Some(cause) => {
            let error_code = page.ssa.error_code.load(Relaxed);
            exception::raise(
                current,
                Exception {
                    cause,
                    address: (cause == Cause::PageFault).then(|| page.ssa.fault_address.load(Relaxed)),
                    error_code: (error_code & ERROR_CODE_KNOWN != 0)
                        .then_some(error_code & !ERROR_CODE_KNOWN),
                    context,
                },
            );
            if !context.events_were_on() {
                // Nobody may come in between there, whatever the handler has woken.
                return current.flow();
            }
        }
        None => panic!("the machine gave an unknown cause {}", page.ssa.cause.load(Relaxed)),
    }
    scheduler::end_of_upcall(now)
}

/// Takes the events that came while IRQ was clear, on the way out of an upcall.
pub(crate) extern "C" fn pending() -> &'static Flow {
    stretch::begin();
    let now = clock::now();
    event::take_pending(now, clock::stamp());
    scheduler::end_of_upcall(now)
}

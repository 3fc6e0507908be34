//! What happens between entry vector and resume: the interruption finds its handler.

use crate::context::{self, Thread};
use crate::exception::{self, Exception};
use crate::{event, machine};
use core::sync::atomic::Ordering::Relaxed;
use vcpu_abi::cause::Cause;
use vcpu_abi::page::ERROR_CODE_KNOWN;

/// The upcall proper, on the upcall stack with events and exceptions off. Answers the thread to continue.
pub(crate) extern "C" fn taken(current: &'static Thread) -> &'static Thread {
    let page = machine::page();
    // SAFETY: this is the upcall.
    let context = unsafe { current.context() };
    // An upcall out of the middle of `resume` carries half-restored registers; the thread's own copy
    // is still true.
    if !context::in_restartable_range(page.ssa.rip.load(Relaxed)) {
        context.load(page);
    }
    match Cause::from_number(page.ssa.cause.load(Relaxed)) {
        Some(Cause::Event) => event::take_pending(),
        Some(cause) => {
            let error_code = page.ssa.error_code.load(Relaxed);
            exception::raise(Exception {
                cause,
                address: (cause == Cause::PageFault).then(|| page.ssa.fault_address.load(Relaxed)),
                error_code: (error_code & ERROR_CODE_KNOWN != 0).then_some(error_code & !ERROR_CODE_KNOWN),
                context,
            });
        }
        None => panic!("the machine gave an unknown cause {}", page.ssa.cause.load(Relaxed)),
    }
    current
}

/// Takes the events that came while IRQ was clear, on the way out of an upcall.
pub(crate) extern "C" fn pending() -> &'static Thread {
    event::take_pending();
    // SAFETY: the pointer is never null and always names a thread that lives as long as the guest.
    unsafe { &*context::CURRENT.load(Relaxed) }
}

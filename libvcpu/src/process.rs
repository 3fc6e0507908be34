//! Ending the program, from whichever thread: all others end with it, and no destructors run.
//!
//! Statistics (`vcpu run --stats`) are not written then; they are when the main function returns.

use vcpu_kernel::call;

/// Ends the guest with this status, 0 to 255. Nothing is dropped.
pub fn exit(status: u8) -> ! {
    call::exit(status)
}

/// Ends the guest as a panic of the main thread does, with a report and status 101, but without a message of
/// the program.
pub fn abort() -> ! {
    call::panic("aborted")
}

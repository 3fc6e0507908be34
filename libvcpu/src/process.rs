//! Ending the program.

use vcpu_kernel::call;

/// Ends the guest with this status. Nothing is dropped.
pub fn exit(status: u8) -> ! {
    call::exit(status)
}

/// Ends the guest as a panic does, without a message of the program.
pub fn abort() -> ! {
    call::panic("aborted")
}

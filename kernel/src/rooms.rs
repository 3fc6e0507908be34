//! Room in the policy's tables: allocated with events on, handed over in constant time.

use crate::scheduler;
use alloc::collections::TryReserveError;
use vcpu_kernel_core::policy::{Kind, Room};

/// Makes room for at least one more of a kind.
///
/// # Errors
///
/// If there is no memory for it.
pub(crate) fn make(kind: Kind) -> Result<(), TryReserveError> {
    while let Some(shortage) = scheduler::quick(|policy| policy.shortage(kind)) {
        let room = Room::allocate(shortage)?;
        // If another thread was faster, its room serves as well, and this one is dropped with events on.
        drop(scheduler::quick(|policy| policy.add_room(room)));
    }
    Ok(())
}

/// Makes the first room of every kind. Called once, at boot.
///
/// # Panics
///
/// If RAM is too small for it.
pub(crate) fn init() {
    let kinds = [
        Kind::Thread,
        Kind::Mutex,
        Kind::Semaphore,
        Kind::Condition,
        Kind::ReadWriteLock,
        Kind::Hold,
        Kind::Barrier,
        Kind::EventGroup,
        Kind::Timer,
    ];
    for kind in kinds {
        make(kind).expect("RAM is too small for the kernel's tables");
    }
}

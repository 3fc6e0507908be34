//! The critical sections of the crate `critical-section` (feature `critical-section`): events are off.
//!
//! On one virtual CPU nobody else runs then. Sections nest; in an event handler function events are off
//! anyway. Whoever panics or faults inside ends the guest, and nothing can wait there.

use critical_section::{Impl, RawRestoreState, set_impl};
use vcpu_kernel::event;

struct EventsOff;

set_impl!(EventsOff);

// SAFETY: with events off neither an event handler nor another thread comes in between, until `release`
// has set events to what they were before `acquire`. Compiler fences in both keep accesses inside.
unsafe impl Impl for EventsOff {
    unsafe fn acquire() -> RawRestoreState {
        event::disable()
    }

    unsafe fn release(were_on: RawRestoreState) {
        if were_on {
            event::enable();
        }
    }
}

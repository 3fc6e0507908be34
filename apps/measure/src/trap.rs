//! A call by the trap page.

use libvcpu::abi::call::Call;
use libvcpu::call;

/// The call `null`, by the one instruction that the machine takes for a call.
pub(crate) fn null() {
    // SAFETY: the call writes no memory.
    unsafe { call::raw_by_trap(Call::Null as u32, 0, 0, 0, 0) };
}

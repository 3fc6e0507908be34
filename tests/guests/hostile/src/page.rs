//! Garbage in the vCPU page.

use core::arch::asm;
use core::sync::atomic::Ordering::Relaxed;
use libvcpu::abi::layout::{PAGE_SIZE, VCPU_PAGE};
use libvcpu::abi::page::State;
use libvcpu::machine;

/// Raises an exception, without a stack or anything else.
fn fault() -> ! {
    // SAFETY: raises an exception, which is the purpose; it does not come back.
    unsafe { asm!("2: ud2", "jmp 2b", options(noreturn)) }
}

/// Fills the whole page by a function of the word's index.
fn fill(word: impl Fn(u64) -> u64) {
    for index in 0..PAGE_SIZE / 8 {
        // SAFETY: inside the page, which is mapped readable and writable. Its fields are atomics.
        unsafe { ((VCPU_PAGE + 8 * index) as *mut u64).write_volatile(word(index)) };
    }
}

/// Fills the page with one byte, and faults.
pub(crate) fn filled(byte: u8) {
    fill(|_| u64::from_le_bytes([byte; 8]));
    fault();
}

/// Fills the page with random words, of which those that decide what happens are different enough.
pub(crate) fn random(seed: u64) {
    fill(|index| {
        let mut word = (seed << 16 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word ^= word >> 29;
        word = word.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word ^ word >> 32
    });
    fault();
}

/// Faults with this entry vector.
pub(crate) fn entry(address: u64) {
    machine::page().entry_ip.store(address, Relaxed);
    fault();
}

/// An entry vector that takes exceptions and faults, for ever.
pub(crate) fn endless_upcalls() {
    extern "C" fn again() -> ! {
        machine::page().state.store(State::all().bits(), Relaxed);
        fault()
    }
    machine::page().entry_ip.store(again as *const () as u64, Relaxed);
    fault();
}

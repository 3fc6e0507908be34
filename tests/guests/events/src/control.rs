//! The floating-point control words that a handler finds.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::{call, event};

/// Rounds up, and treats denormal numbers as zero.
const UNUSUAL_MXCSR: u32 = 0x1f80 | 0x4000 | 0x0040;
/// Rounds up, with 24 bits of precision.
const UNUSUAL_X87: u32 = 0x007f | 0x0800;

static SEEN: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

/// MXCSR and the x87 control word.
fn control_words() -> (u32, u32) {
    let mut mxcsr = 0u32;
    let mut x87 = 0u32;
    // SAFETY: each writes two or four bytes to its own variable.
    unsafe { asm!("stmxcsr [{}]", "fnstcw [{}]", in(reg) &raw mut mxcsr, in(reg) &raw mut x87) };
    (mxcsr, x87)
}

fn set_control_words(mxcsr: u32, x87: u32) {
    // SAFETY: exceptions stay masked; what differs from the usual is put back before anything computes.
    unsafe { asm!("ldmxcsr [{}]", "fldcw [{}]", in(reg) &raw const mxcsr, in(reg) &raw const x87) };
}

fn note<const FIRST: usize>() {
    let (mxcsr, x87) = control_words();
    SEEN[FIRST].store(mxcsr, Relaxed);
    SEEN[FIRST + 1].store(x87, Relaxed);
}

/// A handler that interrupts code with unusual control words finds the usual ones, and the code keeps its
/// own; also a handler whose event came while another one ran.
pub(crate) fn control() {
    fn first() {
        note::<0>();
        // Raises line 4 at once; it is taken on the way out of this upcall.
        call::timer_set(4, Some(0)).expect("the line exists");
    }
    event::set_handler(3, Some(first));
    event::set_handler(4, Some(note::<2>));
    event::disable();
    call::timer_set(3, Some(0)).expect("the line exists");
    set_control_words(UNUSUAL_MXCSR, UNUSUAL_X87);
    // The event comes inside this call, as an upcall.
    let result = call::wait(None);
    let (mxcsr, x87) = control_words();
    set_control_words(0x1f80, 0x037f);
    result.expect("an event came");
    println!("{:x?}", SEEN.each_ref().map(|word| word.load(Relaxed)));
    println!(
        "[{mxcsr:x}, {x87:x}] {}",
        if (mxcsr, x87) == (UNUSUAL_MXCSR, UNUSUAL_X87) { "kept" } else { "lost" }
    );
}

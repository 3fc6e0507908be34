//! Compares all registers before and after thousands of upcalls.
//!
//! Assembly fills every register, and the red zone below the stack, with values that occur nowhere else,
//! spins, and writes down what is there, round after round until timer events have interrupted the
//! spinning often enough. Their handler fills the vector and floating-point registers with other values.
//!
//! `guest-registers COUNT` does that in two variants: spinning needs either the flags or `rcx`.

#![no_std]
#![no_main]

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use guest_registers::{Frame, Spin, Vectors};
use libvcpu::event;
use libvcpu::machine;
use libvcpu::prelude::*;
use libvcpu::time::{Duration, Instant, set_timer};

entry!(main);

const LINE: u32 = 3;

/// Whether there are vector registers beyond SSE's.
static WIDE: AtomicBool = AtomicBool::new(false);

/// The number of interruptions that are still wanted.
static REMAINING: AtomicU64 = AtomicU64::new(0);

fn main() -> u8 {
    let count = libvcpu::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1000);
    event::set_handler(LINE, Some(interrupt));
    let vectors = guest_registers::widest();
    WIDE.store(vectors != Vectors::Sse, Relaxed);
    println!("vector registers: {vectors:?}");
    for (name, spin) in [("flags", Spin::KeepsFlags), ("rcx", Spin::KeepsRcx)] {
        REMAINING.store(count, Relaxed);
        set_timer(LINE, Some(Instant::now()));
        let mut round = 0;
        while REMAINING.load(Relaxed) > 0 {
            round += 1;
            let mut frame = Frame::distinctive(round, spin, vectors);
            frame.run();
            if let Some(difference) = frame.difference() {
                println!("{name}: {difference}");
                return 1;
            }
        }
        println!("{name}: nothing changed");
    }
    0
}

/// The handler: counts if it has interrupted the assembly, and clobbers what a handler may clobber.
fn interrupt() {
    let rip = machine::page().ssa.rip.load(Relaxed);
    let mut remaining = REMAINING.load(Relaxed);
    if guest_registers::is_spinning(rip) && remaining > 0 {
        remaining -= 1;
        REMAINING.store(remaining, Relaxed);
    }
    clobber();
    if remaining > 0 {
        // Different distances, so that it comes at different instructions. Some are so short that it comes
        // before the assembly goes on, so no two in a row are alike.
        static TIMES: AtomicU64 = AtomicU64::new(0);
        let times = TIMES.fetch_add(1, Relaxed);
        let distance = Duration::from_nanos(1000 + times * 9973 % 40_000);
        set_timer(LINE, Some(Instant::now() + distance));
    }
}

fn clobber() {
    static WORD: u64 = 0xbad0_bad0_bad0_bad0;
    let control = 0x1f80u32 | 0x6000;
    // SAFETY: changes registers that the asm block names, and control words, which the kernel restores
    // for the interrupted code and which this handler does not use any more.
    unsafe {
        asm!(
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "movddup xmm\\n, qword ptr [{word}]",
            ".endr",
            "fninit",
            "fldpi",
            "fldpi",
            "ldmxcsr [{control}]",
            word = in(reg) &raw const WORD,
            control = in(reg) &raw const control,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
        if WIDE.load(Relaxed) {
            asm!("vzeroall", out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _);
        }
    }
}

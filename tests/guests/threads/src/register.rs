//! All registers of several threads survive preemption, at whatever instruction it comes.
//!
//! Each thread fills its registers with values of its own, spins, and compares, again and again. A storm of
//! timer events makes them take turns inside the assembly, and lets a more important thread come in
//! between that uses the registers itself.

use crate::{HIGH, SAME, spawn};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use guest_registers::{Frame, Spin, Vectors};
use libvcpu::event::{self, Listener};
use libvcpu::machine;
use libvcpu::prelude::*;
use libvcpu::thread;
use libvcpu::time::{Duration, Instant, set_timer};

/// Its handler function lets the next thread run.
const TURN: u32 = 3;

/// A thread listens to it.
const DISTURB: u32 = 4;

/// How many threads compare.
const THREADS: u64 = 4;

/// Interruptions of the assembly that are wanted still.
static WANTED: AtomicU64 = AtomicU64::new(0);

pub(crate) fn survive() {
    let wanted = libvcpu::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(2000);
    let vectors = guest_registers::widest();
    println!("vector registers: {vectors:?}");
    WANTED.store(wanted, Relaxed);
    let mut listener = Listener::bind(&[DISTURB]).expect("the line is free");
    spawn(HIGH, move || {
        loop {
            listener.wait(None).expect("there is no deadline");
            clobber();
            again(DISTURB);
        }
    });
    event::set_handler(TURN, Some(turn));
    let threads: Vec<_> = (0..THREADS).map(|seed| spawn(SAME, move || compare(seed, vectors))).collect();
    set_timer(TURN, Some(Instant::now()));
    set_timer(DISTURB, Some(Instant::now()));
    for thread in threads {
        match thread.join().expect("it only compares") {
            Ok(rounds) => println!("nothing changed; several rounds: {}", rounds > 3),
            Err(difference) => println!("{difference}"),
        }
    }
}

/// Spins and compares until there were interruptions enough. Gives how often.
fn compare(seed: u64, vectors: Vectors) -> Result<u64, String> {
    let mut rounds = 0;
    while WANTED.load(Relaxed) > 0 {
        rounds += 1;
        let spin = if rounds % 2 == 0 { Spin::KeepsFlags } else { Spin::KeepsRcx };
        let mut frame = Frame::distinctive(seed << 32 | rounds, spin, vectors);
        frame.run();
        if let Some(difference) = frame.difference() {
            return Err(format!("thread {seed}, round {rounds}, {spin:?}: {difference}"));
        }
    }
    Ok(rounds)
}

/// Sets the timer of a line, to different distances so that it comes at different instructions. Some are so
/// short that it comes before anybody is back in the assembly, so no two in a row are alike.
fn again(line: u32) {
    static TIMES: AtomicU64 = AtomicU64::new(0);
    if WANTED.load(Relaxed) > 0 {
        let times = TIMES.fetch_add(1, Relaxed);
        let distance = Duration::from_nanos(1000 + (times * 49_999 + u64::from(line) * 331) % 200_000);
        set_timer(line, Some(Instant::now() + distance));
    }
}

/// The handler function of `TURN`: counts, and lets the next thread of the interrupted one's priority run.
fn turn() {
    let rip = machine::page().ssa.rip.load(Relaxed);
    let left = WANTED.load(Relaxed);
    if guest_registers::is_inside(rip) && left > 0 {
        WANTED.store(left - 1, Relaxed);
    }
    clobber();
    thread::yield_now();
    again(TURN);
}

/// Uses what a function may use.
fn clobber() {
    static WORD: u64 = 0xbad0_bad0_bad0_bad0;
    // SAFETY: changes the registers that the block names; the x87 stack is left empty.
    unsafe {
        asm!(
            ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
            "movddup xmm\\n, qword ptr [{word}]",
            ".endr",
            "fldpi",
            "fldpi",
            "fstp st(0)",
            "fstp st(0)",
            word = in(reg) &raw const WORD,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
}

//! Faults and panics whose reports are looked at closely, one a run.

#![no_std]
#![no_main]

use core::arch::asm;
use libvcpu::abi::call::Call;
use libvcpu::call;
use libvcpu::prelude::*;

entry!(main);

fn main() -> u8 {
    match libvcpu::env::args().nth(1).as_deref() {
        Some("inlined") => outer(),
        Some("escapes") => panic!("\x1b]0;title\x07 \x1b[31mred\x1b[0m \r over\u{8} \u{9b}2J \0 \x7f end"),
        Some("endless-message") => endless_message(),
        Some("closed-output") => println!("nobody reads this"),
        _ => return 2,
    }
    0
}

/// Faults in a function that is inlined into a function that is inlined here.
#[inline(never)]
fn outer() {
    middle();
}

#[inline(always)]
fn middle() {
    inner();
}

#[inline(always)]
fn inner() {
    // SAFETY: raises an exception, which is the purpose.
    unsafe { asm!("ud2") };
}

/// Ends with a message as large as RAM allows, of bytes that are not UTF-8.
fn endless_message() {
    let message = vec![0xffu8; 32 << 20];
    // SAFETY: the call reads memory only, and that is ours.
    unsafe { call::raw(Call::Panic as u32, message.as_ptr() as u64, message.len() as u64, 0, 0) };
}

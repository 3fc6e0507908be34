//! Attacks on the machine, one a run, named by the first argument.
//!
//! | module | what is attacked |
//! |---|---|
//! | [`gate`] | the gate page: jumps to every byte of it, with the registers of every system call |
//! | [`page`] | the vCPU page: garbage in it when the machine reads it |
//! | [`processor`] | what the host has to save and restore: flags, segments, stack pointer |
//! | [`memory`] | rights of pages, without end |
//! | [`flood`] | output without end |
//! | [`slot`] | the words by which guest and host speak, and those of the timers |
//! | [`mod@attempt`] | catching the exceptions that attacks end in |

#![no_std]
#![no_main]

mod attempt;
mod flood;
mod gate;
mod memory;
mod page;
mod processor;
mod slot;

use libvcpu::prelude::*;

entry!(main);

fn main() -> u8 {
    let arguments: Vec<String> = libvcpu::env::args().skip(1).collect();
    let number = arguments.get(1).map_or(0, |text| number(text));
    match arguments.first().map(String::as_str) {
        Some("gate-calls") => gate::calls(),
        Some("own-calls") => gate::own_calls(),
        Some("after-call") => gate::after_call(number),
        Some("gate-bytes") => gate::bytes(),
        Some("gate-length") => println!("{}", gate::length()),
        Some("gate-byte") => gate::byte(number),
        Some("forge") => gate::forge(number),
        Some("page-filled") => page::filled(number as u8),
        Some("page-random") => page::random(number),
        Some("entry") => page::entry(number),
        Some("endless-upcalls") => page::endless_upcalls(),
        Some("trap-flag") => processor::trap_flag(),
        Some("selectors") => processor::selectors(),
        Some("segment-bases") => processor::segment_bases(),
        Some("stack-pointers") => processor::stack_pointers(),
        Some("stack-pointer") => processor::stack_pointer(number),
        Some("protect-alternating") => memory::protect_alternating(),
        Some("flood") => flood::flood(number),
        Some("slot-scribble") => slot::scribble(number),
        Some("slot-handler") => slot::as_the_handler(),
        Some("slot-stale") => slot::stale_signal(),
        Some("clocks") => slot::clocks(),
        Some("idle") => slot::idle(number),
        _ => {
            eprintln!("there is no such attack");
            return 2;
        }
    }
    0
}

/// A number as the tests write it.
fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{text} is no number"))
}

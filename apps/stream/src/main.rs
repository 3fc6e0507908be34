//! Moves much data, for `vcpu bench data`.
//!
//! `stream copy` copies standard input to standard output, by pieces of at most 64 KiB.
//!
//! `stream share COUNT` prints the address of 1 MiB of its memory, fills it COUNT times, and makes the call
//! `null` each time it is full. The first word, written last, is the number of the filling, from 1; so whoever
//! sees that knows that the rest is there, and it stays until the call is answered.

#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering::Release};
use libvcpu::call;
use libvcpu::io::{self, Error, Read, Write};
use libvcpu::prelude::*;

entry!(main);

/// Bytes that are copied at a time.
const COPIED: usize = 64 << 10;
/// Bytes that are shared at a time.
const SHARED: usize = 1 << 20;

fn main() -> u8 {
    let arguments: Vec<String> = libvcpu::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["copy"] => match copy() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("stream: {error}");
                1
            }
        },
        ["share", count] => match count.parse() {
            Ok(count) => {
                share(count);
                0
            }
            Err(_) => unknown(),
        },
        _ => unknown(),
    }
}

fn unknown() -> u8 {
    eprintln!("stream: expected copy, or share COUNT");
    2
}

fn copy() -> Result<(), Error> {
    let (mut input, mut output) = (io::stdin(), io::stdout());
    let mut buffer = vec![0; COPIED];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(()),
            count => output.write_all(&buffer[..count])?,
        }
    }
}

fn share(count: u64) {
    let mut words: Vec<AtomicU64> = (0..SHARED / size_of::<AtomicU64>()).map(|_| AtomicU64::new(0)).collect();
    println!("{:#x}", words.as_ptr().addr());
    for number in 1..=count {
        let (first, rest) = words.split_first_mut().expect("there are words");
        rest.iter_mut().for_each(|word| *word.get_mut() = number);
        first.store(number, Release);
        call::null();
    }
}

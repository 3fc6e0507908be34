//! Does with files what the test says: an operation a line, its arguments in hexadecimal digits. Answers each
//! line with one: `ok` and what came of it, in digits too, or `error` and the kind.

#![no_std]
#![no_main]

mod operations;
mod threads;

use libvcpu::fs::File;
use libvcpu::io::{BufRead, BufReader, Result, stdin};
use libvcpu::prelude::*;

entry!(main, memory: 32 << 20);

/// Files that were opened and not closed yet.
struct Held(Vec<File>);

fn main() {
    let mut held = Held(Vec::new());
    for line in BufReader::new(stdin()).lines() {
        let line = line.expect("the test writes text");
        let mut words = line.split(' ');
        let operation = words.next().unwrap_or_default();
        let arguments: Vec<Vec<u8>> = words.map(bytes).collect();
        match operations::run(&mut held, operation, &arguments) {
            Ok(result) => println!("ok {}", digits(&result)),
            Err(error) => println!("error {:?}", error.kind()),
        }
    }
}

/// Bytes of digits; `-` is none.
fn bytes(digits: &str) -> Vec<u8> {
    let digits = digits.as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
    digits.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn digits(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// What an operation gives.
type Answer = Result<Vec<u8>>;

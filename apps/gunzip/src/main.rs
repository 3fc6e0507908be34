//! `gunzip` for a virtual CPU: decompresses standard input to standard output.
//!
//! Status 0 if the input was intact; otherwise 1, and a sentence on standard errors.

#![no_std]
#![no_main]

use gunzip::gunzip;
use libvcpu::io::{self, Read, Write};
use libvcpu::prelude::*;

entry!(main);

fn main() -> u8 {
    let (mut input, mut output) = (io::stdin(), io::stdout());
    match gunzip(|buffer| input.read(buffer), |bytes| output.write_all(bytes)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("gunzip: {error}");
            1
        }
    }
}

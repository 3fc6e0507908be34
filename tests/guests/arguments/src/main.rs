//! Prints its arguments and its environment, byte for byte: a line each, with the number of bytes first.

#![no_std]
#![no_main]

use libvcpu::io::{Error, Write, stdout};
use libvcpu::machine;
use libvcpu::prelude::*;

entry!(main);

fn main() -> Result<(), Error> {
    for argument in machine::arguments() {
        show("argument", argument)?;
    }
    for (name, value) in machine::environment() {
        show("name", name)?;
        show("value", value)?;
    }
    Ok(())
}

fn show(what: &str, bytes: &[u8]) -> Result<(), Error> {
    let mut line = format!("{what} {}: ", bytes.len()).into_bytes();
    line.extend(bytes);
    line.push(b'\n');
    stdout().write_all(&line)
}

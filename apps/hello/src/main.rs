//! The smallest program.
#![no_std]
#![no_main]
use libvcpu::{entry, println};

entry!(main);

fn main() {
    println!("Hello from a virtual CPU!");
}

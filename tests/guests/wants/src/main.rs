//! A program that says what it wants to be granted.

#![no_std]
#![no_main]

use libvcpu::prelude::*;

entry!(main);

libvcpu::wants!("block disk", "dir media:ro");
libvcpu::wants!("entropy");

fn main() {
    println!("started");
}

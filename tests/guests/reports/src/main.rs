//! (being written)
#![no_std]
#![no_main]
use libvcpu::prelude::*;
entry!(main);
fn main() {}

//! A library for a host program: makes small pictures of JPEG files. `examples/thumbnails` is such a host.

#![no_std]
#![no_main]

use libvcpu::embed::{export, serve};
use libvcpu::prelude::*;
use thumbnail::thumbnail;

entry!(main);

fn main() {
    serve(&[export!(try thumbnail)]);
}

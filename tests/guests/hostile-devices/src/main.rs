//! A driver that does everything wrong that a driver can. Each attempt is made on each device, and is a line of
//! output: the device, the attempt, what came of it, and whether the device works after a reset.
//!
//! What came of it: `refused` if a call answered an error, `stopped` if the device says that it needs a reset,
//! `used` if it took the buffers, and `ignored` otherwise.

#![no_std]
#![no_main]

mod attempts;
mod fuse;
mod registers;
mod rings;
mod scribble;

use libvcpu::abi::device::Register;
use libvcpu::call;
use libvcpu::devices::block::Block;
use libvcpu::devices::console::Console;
use libvcpu::devices::entropy::Entropy;
use libvcpu::devices::file_system::FileSystem;
use libvcpu::devices::{self, Error, Kind};
use libvcpu::prelude::*;
use rings::Rings;

entry!(main, memory: 32 << 20);

fn main() -> u8 {
    let scenario = libvcpu::env::args().nth(1).unwrap_or_default();
    match scenario.as_str() {
        "rings" => rings(),
        "registers" => registers::all(),
        "scribble" => scribble::while_the_host_reads(),
        "fuse" => fuse::all(),
        _ => {
            eprintln!("there is no scenario `{scenario}`");
            return 2;
        }
    }
    0
}

/// Wrong rings, on each device.
fn rings() {
    let mut rings = Rings::new();
    for (device, name) in (0..).zip(devices::names()) {
        let name = String::from_utf8_lossy(name);
        for (attempt, action) in attempts::ALL {
            rings.clear();
            let is_done = action(device, &mut rings).is_ok();
            let outcome = outcome(device, is_done, &rings);
            println!("{name} {attempt}: {outcome}, {}", after_reset(device));
        }
    }
}

fn outcome(device: u32, is_done: bool, rings: &Rings) -> &'static str {
    const NEEDS_RESET: u64 = 64;
    match call::device_read(device, Register::Status as u64) {
        Ok(status) if status & NEEDS_RESET != 0 => "stopped",
        _ if !is_done => "refused",
        _ if rings.used() != 0 => "used",
        _ => "ignored",
    }
}

/// Whether a proper driver can do something with the device.
fn after_reset(device: u32) -> &'static str {
    let result = match devices::kind(device) {
        Some(Kind::Block) => {
            let mut block = [0; 512];
            let result = Block::open(device).and_then(|block_device| block_device.read(1, &mut block));
            // The test has filled the block with this.
            result.and_then(|()| if block == [1; 512] { Ok(()) } else { Err(Error::BadAnswer) })
        }
        Some(Kind::Entropy) => Entropy::open(device).and_then(|entropy| entropy.fill(&mut [0; 64])),
        Some(Kind::Console) => {
            Console::open(device).and_then(|console| console.write(b"still here\n")).map(drop)
        }
        Some(Kind::FileSystem) => FileSystem::open(device).and_then(|files| fuse::initialise(&files)),
        None => Err(Error::Failed),
    };
    match result {
        Ok(()) => "works",
        Err(error) => {
            eprintln!("after a reset: {error}");
            "is broken"
        }
    }
}

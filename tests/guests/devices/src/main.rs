//! Block devices, entropy and consoles: one scenario a run, named by the first argument.

#![no_std]
#![no_main]

mod block;
mod console;

use libvcpu::prelude::*;
use libvcpu::{fs, io, rand};

entry!(main);

fn main() -> u8 {
    let scenario = libvcpu::env::args().nth(1).unwrap_or_default();
    match scenario.as_str() {
        "list" => list(),
        "nothing" => nothing(),
        "block" => block::everything(),
        "block-read-only" => block::read_only(),
        "block-fails" => block::fails(),
        "block-threads" => block::threads(),
        "block-sum" => block::sum(),
        "block-mark" => block::mark(),
        "block-two" => block::two(),
        "entropy" => entropy(),
        "console" => console::echo(),
        "console-waits" => console::waits(),
        "console-both" => console::both_ways(),
        "console-closed" => console::closed(),
        _ => {
            eprintln!("there is no scenario `{scenario}`");
            return 2;
        }
    }
    0
}

/// What was granted.
fn list() {
    for (device, name) in (0..).zip(libvcpu::devices::names()) {
        println!("{device}: {:?} {}", libvcpu::devices::kind(device), String::from_utf8_lossy(name));
    }
}

/// Without a grant there is nothing.
fn nothing() {
    println!("block: {:?}", libvcpu::block::Device::open("disk").map(drop).map_err(|error| error.kind()));
    println!("console: {:?}", io::console("port").map(drop).map_err(|error| error.kind()));
    println!("file: {:?}", fs::read("/media/x").map_err(|error| error.kind()));
    println!("files: {:?}", fs::read_dir("/").map(Iterator::count).map_err(|error| error.kind()));
    let mut bytes = [0; 8];
    println!("entropy: {}", rand::fill(&mut bytes).expect_err("none was granted"));
    println!("register: {:?}", libvcpu::call::device_read(0, 0));
}

/// Two draws of random bytes, and one that is longer than a request.
fn entropy() {
    let (mut one, mut two) = ([0; 32], [0; 32]);
    rand::fill(&mut one).expect("entropy was granted");
    rand::fill(&mut two).expect("entropy was granted");
    println!("{one:02x?}\n{two:02x?}");
    let mut many = vec![0_u8; 1 << 20];
    rand::fill(&mut many).expect("entropy was granted");
    rand::fill(&mut []).expect("nothing is to be had as well");
    let mut counts = [0_u32; 256];
    many.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    // 4096 of each are to be expected, with a deviation of 64.
    println!("{}", counts.iter().all(|count| (3500..4700).contains(count)));
}

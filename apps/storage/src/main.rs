//! Reads files and disks, and tells how long that took, in ns, a line each time.
//!
//! ```text
//! storage file PATH PIECE TIMES        the whole file, in pieces of so many bytes
//! storage disk NAME PIECE TIMES READS  so many pieces at random places, each time
//! ```

#![no_std]
#![no_main]

use libvcpu::block::Device;
use libvcpu::fs::File;
use libvcpu::io::Read;
use libvcpu::prelude::*;
use libvcpu::{clock, env};

entry!(main);

fn main() -> Result<(), String> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let times = match arguments[..] {
        ["file", path, piece, times] => file(path, number(piece)?, number(times)?),
        ["disk", name, piece, times, reads] => disk(name, number(piece)?, number(times)?, number(reads)?),
        _ => return Err("usage: storage file PATH PIECE TIMES | disk NAME PIECE TIMES READS".to_owned()),
    };
    times?.iter().for_each(|time| println!("{time}"));
    Ok(())
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

/// Reads a file from its beginning to its end.
fn file(path: &str, piece: usize, times: usize) -> Result<Vec<u64>, String> {
    let failed = |error| format!("cannot read {path}: {error}");
    let mut buffer = vec![0; piece];
    let mut all = Vec::new();
    for _ in 0..times {
        let mut file = File::open(path).map_err(failed)?;
        let begin = clock::now();
        while file.read(&mut buffer).map_err(failed)? > 0 {}
        all.push(clock::now() - begin);
    }
    Ok(all)
}

/// Reads pieces of a disk.
fn disk(name: &str, piece: usize, times: usize, reads: usize) -> Result<Vec<u64>, String> {
    let failed = |error| format!("cannot read the disk {name}: {error}");
    let device = Device::open(name).map_err(failed)?;
    let pieces = (device.capacity() / piece as u64).max(1);
    let mut buffer = vec![0; piece];
    let mut all = Vec::new();
    let mut random = 1;
    for _ in 0..times {
        let begin = clock::now();
        for _ in 0..reads {
            random = next(random);
            device.read_at(random % pieces * piece as u64, &mut buffer).map_err(failed)?;
        }
        all.push(clock::now() - begin);
    }
    Ok(all)
}

/// The next of some pseudo-random numbers (xorshift), which are the same each time.
fn next(mut number: u64) -> u64 {
    number ^= number << 13;
    number ^= number >> 7;
    number ^ number << 17
}

//! Block devices.

use libvcpu::block::{BLOCK_SIZE, Device};
use libvcpu::io::{ErrorKind, Result};
use libvcpu::prelude::*;
use libvcpu::thread;

fn disk() -> Device {
    Device::open("disk").expect("a disk was granted")
}

fn kind(result: Result<()>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// The test has filled block N with the byte N.
pub(crate) fn everything() {
    let disk = disk();
    println!(
        "{} bytes, blocks of {}, read only: {}",
        disk.capacity(),
        disk.block_size(),
        disk.is_read_only()
    );
    let mut buffer = vec![0; 3 * BLOCK_SIZE];
    disk.read_at(512, &mut buffer).expect("it can be read");
    println!("{} {} {}", buffer[0], buffer[BLOCK_SIZE], buffer[2 * BLOCK_SIZE + 511]);

    let pattern: Vec<u8> = (0..8192_u32).map(|number| (number * 7) as u8).collect();
    disk.write_at(4096, &pattern).expect("it can be written");
    disk.flush().expect("it can be flushed");
    let mut again = vec![0; 8192 + 1024];
    disk.read_at(4096 - 512, &mut again).expect("it can be read");
    println!("{} {} {}", again[0], again[512..512 + 8192] == pattern[..], again[512 + 8192]);

    let end = disk.capacity();
    let mut block = [0; BLOCK_SIZE];
    println!("last: {:?}", kind(disk.read_at(end - 512, &mut block)));
    println!("beyond: {:?}", kind(disk.read_at(end, &mut block)));
    println!("half beyond: {:?}", kind(disk.read_at(end - 512, &mut [0; 1024])));
    println!("far beyond: {:?}", kind(disk.read_at(u64::MAX - 511, &mut block)));
    println!("write beyond: {:?}", kind(disk.write_at(end, &block)));
    println!("odd offset: {:?}", kind(disk.read_at(1, &mut block)));
    println!("odd length: {:?}", kind(disk.read_at(0, &mut [0; 100])));
    println!("nothing: {:?}", kind(disk.read_at(512, &mut [])));
}

pub(crate) fn read_only() {
    let disk = disk();
    println!("read only: {}", disk.is_read_only());
    println!("write: {:?}", kind(disk.write_at(0, &[1; 512])));
    let mut block = [0; BLOCK_SIZE];
    disk.read_at(512, &mut block).expect("it can be read");
    println!("{}", block[0]);
}

/// The host's file refuses to be written.
pub(crate) fn fails() {
    let disk = disk();
    println!("write: {:?}", kind(disk.write_at(0, &[1; 512])));
    let mut block = [0; BLOCK_SIZE];
    disk.read_at(512, &mut block).expect("it can be read");
    println!("{}", block[0]);
}

/// Threads read blocks that the test has numbered.
pub(crate) fn threads() {
    const THREADS: u64 = 4;
    let threads: Vec<_> = (0..THREADS)
        .map(|first| {
            thread::spawn(move || {
                let disk = disk();
                let blocks = disk.capacity() / 512;
                let mut wrong = 0;
                for step in 0..500 {
                    let block = (first * 31 + step * 17) % blocks;
                    let mut bytes = [0; BLOCK_SIZE];
                    disk.read_at(block * 512, &mut bytes).expect("it can be read");
                    wrong += usize::from(bytes != [block as u8; BLOCK_SIZE]);
                }
                wrong
            })
        })
        .collect();
    let wrong: usize = threads.into_iter().map(|thread| thread.join().expect("it only reads")).sum();
    println!("{wrong} wrong");
}

/// The sum of all bytes, read by pieces larger than a request.
pub(crate) fn sum() {
    let disk = disk();
    let mut all = vec![0; disk.capacity() as usize];
    disk.read_at(0, &mut all).expect("it can be read");
    println!("{}", all.iter().map(|byte| u64::from(*byte)).sum::<u64>());
}

/// Writes to the block that the second argument names, and tells it.
pub(crate) fn mark() {
    let block: u64 = libvcpu::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(0);
    disk().write_at(block * 512, &[block as u8 ^ 0xff; BLOCK_SIZE]).expect("it can be written");
    disk().flush().expect("it can be flushed");
    println!("marked");
}

/// Several devices do not disturb each other.
pub(crate) fn two() {
    let (one, two) = (Device::open("one").expect("granted"), Device::open("two").expect("granted"));
    let (mut of_one, mut of_two) = ([0; BLOCK_SIZE], [0; BLOCK_SIZE]);
    one.read_at(0, &mut of_one).expect("it can be read");
    two.read_at(0, &mut of_two).expect("it can be read");
    println!("{} {}", of_one[0], of_two[0]);
    let absent = Device::open("three").map(drop).map_err(|error| error.kind());
    println!("{absent:?} {:?}", libvcpu::io::console("one").map(drop).map_err(|error| error.kind()));
}

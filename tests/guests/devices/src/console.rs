//! Consoles.

use libvcpu::io::{BufRead, BufReader, Console, Read, Write, console};
use libvcpu::prelude::*;
use libvcpu::thread;

fn port() -> Console {
    console("port").expect("a console was granted")
}

/// Gives each line back, in capitals.
pub(crate) fn echo() {
    let mut output = port();
    for line in BufReader::new(port()).lines() {
        let line = line.expect("it is text");
        writeln!(output, "{}", line.to_uppercase()).expect("the test reads");
    }
    // The end stays the end.
    let mut byte = [0];
    println!("after the end: {:?}", port().read(&mut byte));
    println!("no room: {:?}", port().read(&mut []));
}

/// While one thread waits for input, another runs.
pub(crate) fn waits() {
    let reader = thread::spawn(|| {
        let mut text = String::new();
        port().read_to_string(&mut text).expect("it is text");
        text
    });
    thread::yield_now();
    println!("another thread runs");
    println!("read: {}", reader.join().expect("it only reads"));
}

/// A thread writes more than a pipe takes while another reads.
pub(crate) fn both_ways() {
    let writer = thread::spawn(|| {
        let bytes: Vec<u8> = (0..1 << 20).map(|number: u32| number as u8).collect();
        port().write_all(&bytes).expect("the test reads");
    });
    let mut all = Vec::new();
    port().read_to_end(&mut all).expect("it can be read");
    writer.join().expect("it only writes");
    println!("{} bytes", all.len());
}

/// Nobody reads.
pub(crate) fn closed() {
    println!("{:?}", port().write_all(b"nobody reads this").map_err(|error| error.kind()));
    println!("{:?}", port().write_all(b"nor this").map_err(|error| error.kind()));
}

//! Threads that wait for different streams at once.

use crate::{HIGH, LOW, spawn};
use libvcpu::io::{Read, Write, stderr, stdin, stdout};
use libvcpu::prelude::*;

/// One thread reads, one writes more than a pipe takes. Each tells standard errors when it is done.
pub(crate) fn both_ways() {
    let reader = spawn(HIGH, || {
        let mut all = Vec::new();
        stdin().read_to_end(&mut all).expect("the input can be read");
        stderr().write_all(b"input ended\n").expect("the host reads");
        all.len()
    });
    let writer = spawn(LOW, || {
        let bytes: Vec<u8> = (0..1 << 20).map(|number: u32| number as u8).collect();
        stdout().write_all(&bytes).expect("the host reads");
        eprintln!("output written");
    });
    writer.join().expect("it only writes");
    eprintln!("{:?}", reader.join().ok());
}

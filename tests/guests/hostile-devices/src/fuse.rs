//! Messages to a file system that no client of a right mind sends. Whatever it answers, the test's secret must
//! not be in it.

use crate::rings::{NEXT, Rings, WRITE, notify, set_up};
use core::sync::atomic::Ordering::SeqCst;
use libvcpu::devices::file_system::FileSystem;
use libvcpu::devices::{self, Error, Kind};
use libvcpu::prelude::*;

/// What the files hold that must not be reached.
const SECRET: &[u8] = b"SECRET-OUTSIDE";

/// A request: its header and what follows.
fn message(operation: u32, node: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((40 + body.len() as u32).to_le_bytes());
    bytes.extend(operation.to_le_bytes());
    bytes.extend(7_u64.to_le_bytes());
    bytes.extend(node.to_le_bytes());
    bytes.extend([0; 16]);
    bytes.extend(body);
    bytes
}

const INIT: u32 = 26;

/// Version 7.33, big writes and many pages.
fn version() -> Vec<u8> {
    [7_u32, 33, 0, 1 << 5 | 1 << 22].into_iter().flat_map(u32::to_le_bytes).collect()
}

/// The first request, as it is to be.
pub(crate) fn initialise(files: &FileSystem) -> Result<(), Error> {
    let mut reply = [0; 16 + 64];
    let count = files.request(&[&message(INIT, 0, &version())], &mut [&mut reply])?;
    if count == reply.len() && reply[4..8] == [0; 4] { Ok(()) } else { Err(Error::BadAnswer) }
}

struct Files {
    device: u32,
    rings: Rings,
    /// Requests that were sent since the last reset.
    sent: u16,
    secrets: usize,
    replies: usize,
}

impl Files {
    /// Sends bytes on queue 1, and looks through whatever is written for the secret. Gives the reply's error and
    /// its body.
    fn send(&mut self, bytes: &[u8]) -> Option<(i32, Vec<u8>)> {
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().next_multiple_of(8), 0);
        for word in &self.rings.buffers[1].0 {
            word.store(0, SeqCst);
        }
        for (word, bytes) in self.rings.buffers[0].0.iter().zip(padded.chunks_exact(8)) {
            word.store(u64::from_le_bytes(bytes.try_into().expect("eight bytes")), SeqCst);
        }
        self.rings.describe(0, self.rings.buffer(0), bytes.len().min(4096) as u32, NEXT, 1);
        self.rings.describe(1, self.rings.buffer(1), 4096, WRITE, 0);
        self.rings.offer(self.sent, 0);
        self.sent = self.sent.wrapping_add(1);
        self.rings.set_index(self.sent);
        notify(self.device, 1).ok()?;
        let reply: Vec<u8> =
            self.rings.buffers[1].0.iter().flat_map(|word| word.load(SeqCst).to_le_bytes()).collect();
        self.secrets += usize::from(reply.windows(SECRET.len()).any(|window| window == SECRET));
        let length = self.rings.used_length(self.sent.wrapping_sub(1)) as usize;
        if self.rings.used() != self.sent || !(16..=reply.len()).contains(&length) {
            return None;
        }
        self.replies += 1;
        let error = i32::from_le_bytes(reply[4..8].try_into().expect("four bytes"));
        Some((error, reply[16..length].to_vec()))
    }
}

/// All of them.
pub(crate) fn all() {
    let device = devices::of_kind(Kind::FileSystem).next().expect("a directory was granted").0;
    let mut files = Files { device, rings: Rings::new(), sent: 0, secrets: 0, replies: 0 };
    names(&mut files);
    numbers(&mut files);
    lengths(&mut files);
    rubbish(&mut files);
    println!("{} secrets, {}", files.secrets, crate::after_reset(device));
    assert!(files.replies > 100, "the device answers");
}

/// Resets the device and begins anew.
fn begin(files: &mut Files) {
    files.rings.clear();
    files.sent = 0;
    set_up(files.device, 1, &files.rings).expect("the device can be reset");
    let _ = files.send(&message(INIT, 0, &version()));
}

/// Names that lead outside, for each operation that takes one; and what they lead to is opened and read.
fn names(files: &mut Files) {
    let names: [&[u8]; 16] = [
        b"..\0",
        b"../outside\0",
        b"../outside/secret\0",
        b"/etc/passwd\0",
        b"./../outside/secret\0",
        b"inside/../../outside/secret\0",
        b"link-to-secret\0",
        b"link-to-outside/secret\0",
        b"link-to-outside\0",
        b"absolute-link\0",
        b"\0",
        b"secret\0",
        b"..",
        b"no end",
        b".\0..\0",
        b"\xff\xfe\0",
    ];
    for name in names {
        for (operation, head) in
            [(1, 0), (6, 0), (8, 16), (9, 8), (10, 0), (11, 0), (12, 8), (13, 8), (35, 16), (45, 16)]
        {
            let mut body = vec![0; head];
            body.extend(name);
            // Operations with two names have the other one first, or last.
            let mut first = vec![0; head];
            first.extend(b"new\0");
            first.extend(name);
            begin(files);
            let _ = files.send(&message(operation, 1, &body));
            let _ = files.send(&message(operation, 1, &first));
        }
        // What looking it up gives is opened and read.
        begin(files);
        if let Some((0, entry)) = files.send(&message(1, 1, name)) {
            let node = u64::from_le_bytes(entry[..8].try_into().expect("eight bytes"));
            read(files, node);
        }
    }
}

/// Opens a node, whatever it is, and reads it, as a file and as a directory.
fn read(files: &mut Files, node: u64) {
    for flags in [0_u32, 2, 0o100, 0o1000, 0o200_000, 0o20_000_000, u32::MAX] {
        for (open, read) in [(14, 15), (27, 28), (27, 44)] {
            let body = [flags.to_le_bytes(), [0; 4]].concat();
            let Some((0, opened)) = files.send(&message(open, node, &body)) else { continue };
            let mut body = opened[..8].to_vec();
            body.extend(0_u64.to_le_bytes());
            body.extend(4000_u32.to_le_bytes());
            body.extend([0; 20]);
            let _ = files.send(&message(read, node, &body));
        }
    }
    let _ = files.send(&message(5, node, &[]));
}

/// Nodes and handles that nobody has given out.
fn numbers(files: &mut Files) {
    for number in [0, 1, 2, 3, 100, u64::from(u32::MAX), 1 << 32, 1 << 63, u64::MAX] {
        begin(files);
        read(files, number);
        for operation in 0..60 {
            let body: Vec<u8> = [number; 16].into_iter().flat_map(u64::to_le_bytes).collect();
            let _ = files.send(&message(operation, number, &body));
            let _ = files.send(&message(operation, 1, &body));
        }
    }
}

/// Headers that lie about the message's length, and structures that end early.
fn lengths(files: &mut Files) {
    for operation in 0..60 {
        for length in [0_u32, 1, 39, 40, 41, 4096, 1 << 20, (1 << 20) + 4097, u32::MAX] {
            begin(files);
            let mut lie = message(operation, 1, &[0; 64]);
            lie[..4].copy_from_slice(&length.to_le_bytes());
            let _ = files.send(&lie);
        }
        for length in [1, 16, 39, 40, 44, 48] {
            let whole = message(operation, 1, &[0xff; 64]);
            let _ = files.send(&whole[..length]);
        }
    }
    // Sizes that do not fit what there is.
    begin(files);
    for size in [0, 4081, 1 << 20, u32::MAX] {
        for operation in [15, 16, 28, 44] {
            let mut body = vec![0; 16];
            body.extend(size.to_le_bytes());
            body.extend([0; 20]);
            let _ = files.send(&message(operation, 1, &body));
        }
    }
}

/// Messages of random bytes behind a right operation.
fn rubbish(files: &mut Files) {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u32
    };
    for _ in 0..2000 {
        let length = random() as usize % 200;
        let body: Vec<u8> =
            (0..length).map(|_| if random().is_multiple_of(3) { random() as u8 } else { 0 }).collect();
        let bytes = message(random() % 52, u64::from(random() % 4), &body);
        if files.send(&bytes).is_none() {
            begin(files);
        }
    }
}

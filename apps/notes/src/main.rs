//! A library for a host program, as a plugin would be: it keeps notes, asks its host for what it was granted, and
//! can be told to look for the notes of others. `examples/plugins` is such a host.

#![no_std]
#![no_main]

use libvcpu::embed::{self, export, serve};
use libvcpu::machine;
use libvcpu::prelude::*;
use libvcpu::sync::Mutex;

entry!(main, memory: 16 << 20);

static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn main() {
    serve(&[export!(note), export!(notes), export!(seen), export!(try ask), export!(end)]);
}

/// Keeps a note, and tells the host's log.
fn note(text: &str) {
    let mut notes = NOTES.lock().unwrap_or_else(|poison| poison.into_inner());
    notes.push(text.to_owned());
    // Without the log it keeps its notes all the same.
    let _ = embed::call::<_, ()>("log", text);
}

fn notes(_: ()) -> Vec<String> {
    NOTES.lock().unwrap_or_else(|poison| poison.into_inner()).clone()
}

/// How often a text is in this guest's memory. The text comes with all its bits inverted, so that it is not there
/// just because somebody asks.
fn seen(inverted: Vec<u8>) -> u32 {
    let free = machine::free_ram();
    let is_there = |start: u64| {
        inverted.iter().zip(start..).all(|(byte, address)| {
            // SAFETY: all free RAM is mapped, and no thread has a guard page there.
            unsafe { (address as *const u8).read_volatile() == !*byte }
        })
    };
    (free.start..free.end - inverted.len() as u64).filter(|start| is_there(*start)).count() as u32
}

/// Calls any function of the host's.
fn ask((function, argument): (&str, &str)) -> Result<String, embed::Error> {
    embed::call(function, argument)
}

/// Does what a plugin should not.
fn end(_: ()) {
    panic!("a plugin has a bug");
}

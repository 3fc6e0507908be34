//! A library whose functions tests call, in every way in which a call can end.

#![no_std]
#![no_main]

mod end;

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use guest_embed::Everything;
use libvcpu::embed::{self, Slice, export, serve};
use libvcpu::prelude::*;
use libvcpu::time::Duration;
use libvcpu::{env, thread};

entry!(main);

/// Calls of `count`, and how often `main` ran.
static COUNT: AtomicU32 = AtomicU32::new(0);

fn main() {
    match env::args().nth(1).as_deref() {
        Some("panic") => panic!("no initialisation"),
        Some("spin") => end::end(guest_embed::End::Spin),
        Some("return") => return,
        _ => COUNT.store(100, Relaxed),
    }
    serve(&[
        export!(null),
        export!(everything),
        export!(sum),
        export!(upper),
        export!(longest),
        export!(bytes),
        export!(try divide),
        export!(count),
        export!(nap),
        export!(print),
        export!(in_thread),
        export!(invert),
        export!(ends),
        export!(two),
        export!(make),
        export!(keep),
        export!(elsewhere),
        export!(ask),
        export!(ask_bytes),
        export!(environment),
        export!(end::end),
    ]);
}

fn null(_: ()) {}

fn everything(value: Everything) -> Everything {
    value
}

/// Borrows from the request.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

fn upper(text: &str) -> String {
    text.to_uppercase()
}

/// Borrows in the argument and in the result.
fn longest<'a>((a, b): (&'a str, &'a str)) -> &'a str {
    if a.len() > b.len() { a } else { b }
}

/// So many bytes.
fn bytes((length, byte): (u32, u8)) -> Vec<u8> {
    vec![byte; length as usize]
}

fn divide((a, b): (u32, u32)) -> Result<u32, &'static str> {
    a.checked_div(b).ok_or("nothing can be divided by zero")
}

fn count(_: ()) -> u32 {
    COUNT.fetch_add(1, Relaxed)
}

/// Sleeps for so many ms, and counts.
fn nap(time: u32) {
    thread::sleep(Duration::from_millis(time.into()));
    COUNT.fetch_add(1, Relaxed);
}

fn print(text: &str) {
    println!("{text}");
}

/// What a thread that outlives no call has computed.
fn in_thread(value: u32) -> u32 {
    thread::spawn(move || value * 2).join().unwrap_or(0)
}

fn invert(mut slice: Slice) {
    slice.iter_mut().for_each(|byte| *byte = !*byte);
}

/// Exchanges the first and the last byte.
fn ends(mut slice: Slice) -> Slice {
    let last = slice.len() - 1;
    slice.swap(0, last);
    slice
}

/// The number of bytes of two slices.
fn two((a, b): (Slice, Slice)) -> u64 {
    (a.len() + b.len()) as u64
}

/// A buffer that the guest hands over.
fn make((length, byte): (u32, u8)) -> Slice {
    Slice::from(vec![byte; length as usize])
}

/// Keeps a slice for ever.
fn keep(slice: Slice) {
    core::mem::forget(slice);
}

/// Whether another thread can make a slice, and whether it can write the bytes of one.
fn elsewhere(mut slice: Slice) -> (bool, bool) {
    let made = thread::spawn(|| drop(Slice::from(vec![1]))).join().is_ok();
    let bytes = &mut *slice;
    let written = thread::scope(|scope| scope.spawn(move || bytes.fill(3)).join().is_ok());
    (made, written)
}

/// Calls the host, and says what came of it.
fn ask((name, value): (&str, u32)) -> String {
    match embed::call::<_, u32>(name, &value) {
        Ok(result) => format!("{result}"),
        Err(error) => format!("{error}"),
    }
}

/// The number of bytes that a function of the host's gives.
fn ask_bytes((name, length): (&str, u32)) -> u32 {
    embed::call::<_, Vec<u8>>(name, &length).map_or(u32::MAX, |bytes| bytes.len() as u32)
}

fn environment(name: &str) -> Option<String> {
    env::var(name)
}

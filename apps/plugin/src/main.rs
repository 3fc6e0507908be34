//! A library for a host program: the functions with which calls and snapshots are measured.
//!
//! At its start it touches a mebibyte, as a library does that makes tables.

#![no_std]
#![no_main]

use core::hint::black_box;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use libvcpu::embed::{Slice, export, serve};
use libvcpu::prelude::*;

entry!(main, memory: 16 << 20);

/// Bytes of the table.
const TABLE: usize = 1 << 20;

/// Bytes of a page.
const PAGE: usize = 4096;

static BEGINNING: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());

fn main() {
    let table: &'static mut [u8] = Box::leak(vec![1; TABLE].into_boxed_slice());
    BEGINNING.store(black_box(table).as_mut_ptr(), Relaxed);
    serve(&[export!(empty), export!(ends), export!(dirty)]);
}

/// Nothing: what a call costs.
fn empty(_: ()) {}

/// Reads the first and the last byte of one slice and writes those of another, whatever their length.
fn ends((input, mut output): (Slice, Slice)) {
    if let ([first, .., last], [begin, .., end]) = (&*input, &mut *output) {
        (*begin, *end) = (*last, *first);
    }
}

/// Writes to so many pages of the table, and gives the sum of what it had there: as many, once a reset.
fn dirty(pages: u32) -> u32 {
    let beginning = BEGINNING.load(Relaxed);
    let pages = (pages as usize).min(TABLE / PAGE);
    (0..pages)
        .map(|page| {
            // SAFETY: the table is never freed, and nobody else touches it: requests come one at a time.
            let byte = unsafe { &mut *beginning.add(page * PAGE) };
            u32::from(core::mem::replace(byte, 2))
        })
        .sum()
}

//! Tries what the kernel offers, from inside: memory functions, heap, handlers.

#![no_std]
#![no_main]

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::{env, event, exception, heap, time};

entry!(main, memory: 4 << 20);

/// Constructors that ran.
static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

/// What a C compiler makes of `__attribute__((constructor))`.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = construct;

extern "C" fn construct() {
    CONSTRUCTED.fetch_add(1, Relaxed);
}

unsafe extern "C" {
    fn memcpy(to: *mut c_void, from: *const c_void, length: usize) -> *mut c_void;
    fn memmove(to: *mut c_void, from: *const c_void, length: usize) -> *mut c_void;
    fn memset(to: *mut c_void, byte: c_int, length: usize) -> *mut c_void;
    fn memcmp(a: *const c_void, b: *const c_void, length: usize) -> c_int;
    fn strlen(string: *const c_void) -> usize;
}

fn main() -> Result<(), String> {
    match env::args().nth(1).as_deref() {
        Some("memory") => memory(),
        Some("heap") => heap(),
        Some("wait-in-handler") => wait_in_handler(),
        Some("broken-heap") => broken_heap(),
        Some("stale-extended") => stale_extended(),
        Some("constructors") => {
            println!("{} before main", CONSTRUCTED.load(Relaxed));
            Ok(())
        }
        other => Err(format!("there is no case {other:?}")),
    }
}

/// A thread whose page for the extended state was somebody's memory before is interrupted.
fn stale_extended() -> Result<(), String> {
    drop(core::hint::black_box(vec![0xffu8; 1 << 20]));
    let worker = libvcpu::thread::spawn(|| {
        let end = time::Instant::now() + time::Duration::from_millis(30);
        let mut steps = 0u64;
        while time::Instant::now() < end {
            steps += 1;
        }
        steps
    });
    libvcpu::thread::current().set_priority(libvcpu::thread::Priority::MOST);
    for _ in 0..10 {
        libvcpu::thread::sleep(time::Duration::from_millis(1));
    }
    let died = worker.join().is_err();
    println!("died: {died}");
    Ok(())
}

/// Lengths around every boundary of the implementation.
fn lengths() -> impl Iterator<Item = usize> {
    (0..200).chain(1020..1030).chain([4095, 4096, 5000])
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + index / 251) as u8 & 0x7f | 1).collect()
}

/// Compares each memory function with a byte-by-byte model.
fn memory() -> Result<(), String> {
    const ROOM: usize = 6000;
    for length in lengths() {
        for shift in [0, 1, 7, 15, 16, 63, 64, 100] {
            let from = pattern(ROOM);
            let mut to = vec![0u8; ROOM];
            // SAFETY: in each call the ranges lie inside their buffers of ROOM bytes.
            unsafe { memcpy(to[shift..].as_mut_ptr().cast(), from[3..].as_ptr().cast(), length) };
            let right = to[shift..shift + length] == from[3..3 + length]
                && to[..shift].iter().chain(&to[shift + length..]).all(|byte| *byte == 0);
            check(right, "memcpy", length, shift)?;

            for (source, target) in [(100, 100 + shift), (100 + shift, 100)] {
                let mut moved = pattern(ROOM);
                // SAFETY: as above.
                unsafe {
                    let base = moved.as_mut_ptr();
                    memmove(base.add(target).cast(), base.add(source).cast(), length)
                };
                let mut expected = from.clone();
                #[expect(clippy::manual_memcpy, reason = "a model does not use what it checks")]
                for index in 0..length {
                    expected[target + index] = from[source + index];
                }
                check(moved == expected, "memmove", length, shift)?;
            }

            let mut set = vec![0u8; ROOM];
            // SAFETY: as above.
            unsafe { memset(set[shift..].as_mut_ptr().cast(), 0x1ab, length) };
            let right = set.iter().enumerate().all(|(index, byte)| {
                *byte == if (shift..shift + length).contains(&index) { 0xab } else { 0 }
            });
            check(right, "memset", length, shift)?;

            let mut other = from.clone();
            for at in [0, length / 2, length.saturating_sub(1)] {
                // SAFETY: as above.
                let compare = |other: &[u8]| unsafe {
                    memcmp(from[shift..].as_ptr().cast(), other[shift..].as_ptr().cast(), length)
                };
                check(compare(&other) == 0, "memcmp of equal blocks", length, shift)?;
                if at < length {
                    other[shift + at] -= 1;
                    check(compare(&other) > 0, "memcmp of a smaller block", length, shift)?;
                    other[shift + at] += 2;
                    check(compare(&other) < 0, "memcmp of a larger block", length, shift)?;
                    other[shift + at] -= 1;
                }
            }

            let mut string = pattern(ROOM);
            string[shift + length] = 0;
            // SAFETY: the string ends with the zero just written.
            let found = unsafe { strlen(string[shift..].as_ptr().cast()) };
            check(found == length, "strlen", length, shift)?;
        }
    }
    println!("all memory functions agree with their models");
    Ok(())
}

fn check(right: bool, function: &str, length: usize, shift: usize) -> Result<(), String> {
    if right { Ok(()) } else { Err(format!("{function} is wrong for {length} bytes at {shift}")) }
}

/// Allocates and frees at random, keeps every block's content, runs out of memory, and frees all of it.
fn heap() -> Result<(), String> {
    let before = heap::statistics();
    let mut state = 1u64;
    let mut random = |limit: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % limit
    };
    let mut blocks: Vec<Vec<u8>> = Vec::with_capacity(200);
    for _ in 0..20_000 {
        if blocks.len() == 200 || random(2) == 0 && !blocks.is_empty() {
            let block = blocks.swap_remove(random(blocks.len()));
            if block.iter().any(|byte| *byte != block.len() as u8) {
                return Err("a block has lost its content".to_owned());
            }
        } else {
            let length = 1 + random(5000);
            blocks.push(vec![length as u8; length]);
        }
    }
    drop(blocks);
    let mut all: Vec<Vec<u8>> = Vec::with_capacity(1000);
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(100_000).is_err() {
            break;
        }
        all.push(block);
    }
    let many = all.len();
    drop(all);
    println!("{} blocks until memory ran out; leaked {}", many, heap::statistics().used - before.used);
    Ok(())
}

/// The heap's list of free pieces is damaged, so that an exception interrupts the search in it; the handler
/// needs the heap too.
fn broken_heap() -> Result<(), String> {
    exception::set_handler(Some(|exception| {
        println!("{} at {:#x}", exception.cause, exception.address.unwrap_or(0));
        exception::Verdict::Unhandled
    }));
    // So that there are slabs with room for what the handler needs.
    println!("{} at {:#x} is to come", libvcpu::abi::cause::Cause::PageFault, 0x10);
    // Too large for a size class: it goes back to the list.
    let block = Box::into_raw(Box::new([0u64; 250]));
    // SAFETY: wrong on purpose: the block is written after it was given back.
    unsafe {
        drop(Box::from_raw(block));
        for word in 0..8 {
            block.cast::<u64>().add(word).write_volatile(0x10);
        }
    }
    core::hint::black_box(vec![0u8; 100_000]);
    Err("the heap did not notice".to_owned())
}

/// A handler that waits would stand on the stack that the next upcall uses.
fn wait_in_handler() -> Result<(), String> {
    event::set_handler(3, Some(|| time::sleep(time::Duration::from_millis(1))));
    time::set_timer(3, Some(time::Instant::now()));
    event::wait_until(None, || false);
    Ok(())
}

//! A library of which everything can be changed that a reset must set back.

#![no_std]
#![no_main]

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use libvcpu::abi::call::Access;
use libvcpu::block::Device;
use libvcpu::embed::{export, serve};
use libvcpu::fs::File;
use libvcpu::io::Read;
use libvcpu::prelude::*;
use libvcpu::sync::Mutex;
use libvcpu::{call, clock, event, fs, io, rand, thread};

entry!(main, memory: 16 << 20);

/// A page of its own, for rights.
#[repr(C, align(4096))]
struct Page([AtomicU64; 512]);

static PAGE: Page = Page([const { AtomicU64::new(7) }; 512]);
static COUNT: AtomicU32 = AtomicU32::new(0);
static TICKS: AtomicU32 = AtomicU32::new(0);
static READY: AtomicBool = AtomicBool::new(false);

/// What a thread has read of the standard input.
static READ: Mutex<Option<String>> = Mutex::new(None);

/// A line whose timer is set before the first call.
const LINE: u32 = 5;

fn main() {
    COUNT.store(100, Relaxed);
    // A thread that sleeps, and a timer, belong to the state.
    let ticker = || {
        loop {
            thread::sleep(Duration::from_millis(2));
            TICKS.fetch_add(1, Relaxed);
        }
    };
    thread::Builder::new().name("ticker".into()).spawn(ticker).expect("there is room");
    call::timer_set(LINE, Some(clock::now() + 20_000_000)).expect("the line exists");
    set_modes(0x1fa0);
    READY.store(true, Relaxed);
    serve(&[
        export!(count),
        export!(fill),
        export!(ticks),
        export!(timer),
        export!(now),
        export!(modes),
        export!(set_modes),
        export!(forbid),
        export!(touch),
        export!(fault),
        export!(spin),
        export!(is_ready),
        export!(try random),
        export!(try read_file),
        export!(try read_disk),
        export!(try keep_open),
        export!(try use_devices),
        export!(begin_to_read),
        export!(what_was_read),
    ]);
}

fn count(_: ()) -> u32 {
    COUNT.fetch_add(1, Relaxed)
}

/// Takes so many bytes of the heap and writes them, for good. Gives the sum of what was there.
fn fill(bytes: u32) -> u64 {
    let mut all: Vec<u8> = Vec::with_capacity(bytes as usize);
    let sum = all.spare_capacity_mut().iter().map(|byte| {
        // SAFETY: memory of the heap holds something; what, is the question.
        u64::from(unsafe { byte.as_ptr().read_volatile() })
    });
    let sum = sum.sum();
    all.resize(bytes as usize, 0xaa);
    core::mem::forget(all);
    sum
}

/// How often the thread has woken, after a while.
fn ticks(_: ()) -> u32 {
    let before = TICKS.load(Relaxed);
    thread::sleep(Duration::from_millis(20));
    TICKS.load(Relaxed) - before
}

/// Whether the timer has come, once it should have.
fn timer(_: ()) -> bool {
    event::wait_until(Some(clock::now() + 10_000_000_000), || event::count(LINE) > 0)
}

fn now(_: ()) -> u64 {
    clock::now()
}

/// How the processor rounds and what it masks.
fn modes(_: ()) -> u32 {
    let mut modes = 0u32;
    // SAFETY: stores a register.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut modes, options(nostack, preserves_flags)) };
    modes
}

fn set_modes(modes: u32) {
    // SAFETY: loads the register with a value that exists: the tests say so.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const modes, options(nostack, preserves_flags)) };
}

/// Takes the right to write the page.
fn forbid(_: ()) -> bool {
    let start = (&raw const PAGE) as u64;
    // SAFETY: nobody but `touch` uses the page, and it may fault.
    unsafe { call::protect(start..start + 4096, Access::READ) }.is_ok()
}

/// Writes the page, and gives what it held.
fn touch(_: ()) -> u64 {
    PAGE.0[0].swap(8, Relaxed)
}

fn fault(_: ()) {
    // SAFETY: it is not valid, which is why it is here.
    unsafe { core::ptr::with_exposed_provenance_mut::<u8>(0x10).write_volatile(1) };
}

fn spin(_: ()) {
    loop {
        core::hint::spin_loop();
    }
}

fn is_ready(_: ()) -> bool {
    READY.load(Relaxed)
}

fn random(_: ()) -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map(|()| bytes)
}

fn read_file(_: ()) -> io::Result<String> {
    fs::read_to_string("/files/text")
}

/// The first block of the disk.
fn read_disk(_: ()) -> io::Result<Vec<u8>> {
    let mut block = vec![0; 512];
    Device::open("disk")?.read_at(0, &mut block).map(|()| block)
}

/// Opens a file and keeps it so.
fn keep_open(_: ()) -> io::Result<()> {
    File::open("/files/text").map(core::mem::forget)
}

/// Has all drivers set up their devices.
fn use_devices(_: ()) -> io::Result<()> {
    random(())?;
    read_file(())?;
    read_disk(()).map(drop)
}

/// Lets a thread wait for the standard input.
fn begin_to_read(_: ()) {
    thread::spawn(|| {
        let mut bytes = [0; 64];
        let count = io::stdin().read(&mut bytes).expect("it can be read");
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        *READ.lock().expect("nobody panics") = Some(text);
    });
    // By then it waits.
    thread::sleep(Duration::from_millis(20));
}

/// What that thread has read, once it has, if it does soon.
fn what_was_read(_: ()) -> Option<String> {
    for _ in 0..1000 {
        if let Some(line) = READ.lock().expect("nobody panics").take() {
            return Some(line);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

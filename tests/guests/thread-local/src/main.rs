//! Thread-local variables of C in several threads.

#![no_std]
#![no_main]

use core::ffi::c_int;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::thread::{self, TimeSlice};
use libvcpu::time::{Duration, Instant};

entry!(main);

unsafe extern "C" {
    safe fn add(number: c_int) -> c_int;
    safe fn is_well() -> c_int;
    safe fn place() -> *mut c_int;
}

/// What the main thread found before the program's main function.
static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

/// What a C compiler makes of `__attribute__((constructor))`.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = construct;

extern "C" fn construct() {
    CONSTRUCTED.store(add(0) as u32, Relaxed);
}

fn main() {
    println!("in a constructor {}, in main {}, well: {}", CONSTRUCTED.load(Relaxed), add(1), is_well());
    thread::set_time_slice(TimeSlice::from_nanoseconds(50_000));
    let threads: Vec<_> = (1..=4).map(|number| thread::spawn(move || work(number))).collect();
    for thread in threads {
        println!("{:?}", thread.join().ok());
    }
    // Blocks of threads that are over are used again, as fresh ones.
    for number in 0..50 {
        let first = thread::spawn(move || (is_well(), add(number))).join().expect("it only adds");
        assert_eq!(first, (1, 42 + 2 * number));
    }
    println!("in main {}, well: {}", add(0), is_well());
}

/// Changes the variables of its own thread while others do the same: preempted, yielding and sleeping.
fn work(number: c_int) -> (c_int, bool) {
    let mut is_right = is_well() == 1;
    let own = place() as usize;
    let begin = Instant::now();
    let mut sum = 42;
    while begin.elapsed() < Duration::from_millis(2 * number as u64) {
        for _ in 0..100 {
            sum += 2 * number;
            is_right &= add(number) == sum && place() as usize == own;
        }
        thread::yield_now();
        sum += 2 * number;
        is_right &= add(number) == sum;
    }
    thread::sleep(Duration::from_millis(1));
    is_right &= add(0) == sum && is_well() == 1;
    (number, is_right)
}

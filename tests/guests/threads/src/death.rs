//! What kills a thread kills that thread, and what kills the guest is said.

use crate::trace::{letters, note};
use crate::{HIGH, LOW, ms, named, spawn};
use core::any::Any;
use libvcpu::event;
use libvcpu::prelude::*;
use libvcpu::sync::{Arc, Mutex, RwLock};
use libvcpu::thread::{self, Builder};
use libvcpu::time::{Instant, set_timer};

const LINE: u32 = 3;

fn say(error: Box<dyn Any + Send>) {
    println!("{}", error.downcast_ref::<String>().expect("the error is a text"));
}

/// Others go on, and have not been disturbed.
fn others_go_on() {
    note('|');
    let other = spawn(LOW, || thread::sleep(ms(5)));
    other.join().expect("it only sleeps");
}

/// A panic.
pub(crate) fn panics() {
    let dying = named("worker", HIGH, || panic!("no more"));
    say(dying.join().expect_err("it panicked"));
    let dying = spawn(HIGH, || panic!("{} of {}", 1, 2));
    say(dying.join().expect_err("it panicked"));
    others_go_on();
}

/// Faults of several kinds.
pub(crate) fn faults() {
    let dying = named("reader", HIGH, || {
        // SAFETY: none; the fault is what is tried.
        unsafe { core::ptr::without_provenance::<u8>(16).read_volatile() };
    });
    say(dying.join().expect_err("it faulted"));
    let dying = named("illegal", HIGH, || {
        // SAFETY: none; the fault is what is tried.
        unsafe { core::arch::asm!("ud2") };
    });
    say(dying.join().expect_err("it faulted"));
    let dying = named("divider", HIGH, || {
        // SAFETY: none; the fault is what is tried.
        unsafe { core::arch::asm!("div {0:e}", in(reg) 0, out("eax") _, out("edx") _) };
    });
    say(dying.join().expect_err("it faulted"));
    let dying = named("caller", HIGH, || {
        // SAFETY: none; the fault is what is tried.
        unsafe { core::arch::asm!("syscall", out("rcx") _, out("r11") _) };
    });
    say(dying.join().expect_err("it faulted"));
    others_go_on();
}

fn deeper(depth: u64) -> u64 {
    let room = core::hint::black_box(&mut [depth; 64])[3];
    if depth == 0 { 0 } else { deeper(depth - 1) + room }
}

/// Overflows of stacks of several sizes, by recursion and by one large frame, and in the kernel's functions.
pub(crate) fn overflows() {
    let dying = named("decode", HIGH, || deeper(1 << 40));
    say(dying.join().expect_err("its stack was too small"));
    let builder = Builder::new().name("small".into()).stack_size(8 << 10);
    let dying = builder.spawn(|| deeper(1 << 40)).expect("there is memory for a thread");
    say(dying.join().expect_err("its stack was too small"));
    let builder = Builder::new().name("large".into()).stack_size(1 << 20);
    let dying = builder.spawn(|| deeper(1 << 40)).expect("there is memory for a thread");
    say(dying.join().expect_err("its stack was too small"));
    let dying = named("frame", HIGH, || core::hint::black_box(&mut [0u8; 100 << 10])[5]);
    say(dying.join().expect_err("its stack was too small"));
    fn yielding(depth: u64) -> u64 {
        thread::yield_now();
        if core::hint::black_box(depth) == u64::MAX { 0 } else { 1 + yielding(depth + 1) }
    }
    let dying = named("yielding", HIGH, || yielding(0));
    say(dying.join().expect_err("its stack was too small"));
    others_go_on();
}

/// Locks of a dead thread go to the next, poisoned.
pub(crate) fn poisons() {
    let mutex = Arc::new(Mutex::new(0));
    let lock = Arc::new(RwLock::new(0));
    let (own_mutex, own_lock) = (Arc::clone(&mutex), Arc::clone(&lock));
    let dying = spawn(LOW, move || {
        let _mutex = own_mutex.lock();
        let _lock = own_lock.write();
        thread::sleep(ms(5));
        panic!("with locks");
    });
    thread::sleep(ms(1));
    let waiting = Arc::clone(&mutex);
    let waiting = spawn(HIGH, move || {
        note(if waiting.lock().is_err() { 'p' } else { '?' });
    });
    dying.join().expect_err("it panicked");
    waiting.join().expect("it only locks");
    assert!(mutex.is_poisoned() && lock.is_poisoned() && lock.read().is_err());
    mutex.clear_poison();
    assert!(mutex.lock().is_ok());
    println!("{}", letters());
}

/// Stacks are kept for ever of those who die or exit, unless that was excluded; the rest is used again.
pub(crate) fn abandons() {
    for _ in 0..5 {
        spawn(HIGH, || {}).join().expect("it does nothing");
        spawn(HIGH, || panic!("one of five")).join().expect_err("it panicked");
        spawn(HIGH, || thread::exit()).join().map(|(): ()| ()).expect_err("it gave no result");
        // SAFETY: nobody refers to anything on its stack.
        let builder = unsafe { Builder::new().reclaim_stack() };
        let dying = builder.spawn(|| panic!("and reclaimed")).expect("there is memory for a thread");
        dying.join().expect_err("it panicked");
    }
    println!("{} abandoned", thread::abandoned_stacks());
}

/// The end of the main thread is the guest's.
pub(crate) fn panics_in_main() {
    spawn(LOW, || println!("never"));
    panic!("this is main");
}

/// So is a fault in a handler function.
pub(crate) fn faults_in_handler() {
    in_handler(|| {
        // SAFETY: none; the fault is what is tried.
        unsafe { core::ptr::without_provenance::<u8>(24).read_volatile() };
    });
}

/// And a panic there, whoever was interrupted.
pub(crate) fn panics_in_handler() {
    in_handler(|| panic!("in a handler"));
}

/// And waiting there.
pub(crate) fn waits_in_handler() {
    in_handler(|| thread::sleep(ms(1)));
}

fn in_handler(handler: fn()) {
    event::set_handler(LINE, Some(handler));
    spawn(HIGH, || {
        set_timer(LINE, Some(Instant::now() + ms(1)));
        thread::sleep(ms(2));
    });
    thread::sleep(ms(5));
    println!("never");
}

/// What a dead thread leaves on the heap is counted; what others free is not.
pub(crate) fn leaves() {
    let before = thread::ended();
    let neat = spawn(HIGH, || drop(core::hint::black_box(vec![1u8; 5000])));
    neat.join().expect("it only allocates");
    let dying = spawn(HIGH, || {
        let _kept = core::hint::black_box(vec![1u8; 5000]);
        drop(core::hint::black_box(vec![1u8; 7000]));
        panic!("with a vector")
    });
    let _ = dying.join().map(|(): ()| ());
    let after = thread::ended();
    let left = after.left - before.left;
    // The vector, and the kernel's own blocks for the thread's closure and message.
    assert!((5000..6000).contains(&left), "{left} bytes");
    println!("{} ended, {} died", after.count - before.count, after.died - before.died);
}

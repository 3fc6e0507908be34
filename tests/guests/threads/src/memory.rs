//! Threads and memory: stacks and their high-water marks, running out, using again, ten thousand.

use crate::{HIGH, LOW, SAME, ms, spawn};
use core::hint::black_box;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::thread::{self, Builder, JoinHandle, MINIMUM_STACK, Priority, State};
use libvcpu::{call, clock, heap};

/// What is known of a thread.
pub(crate) fn statistics() {
    let worker = spawn(HIGH, || {
        black_box(&mut [1u8; 10 << 10]);
        let kept = vec![1u8; 1000];
        // Virtual time: exactly this passes.
        let _ = call::wait(Some(clock::now() + 3_000_000));
        thread::park();
        drop(kept);
        thread::park();
    });
    let first = worker.thread().statistics();
    assert_eq!((first.state, first.stack_size), (State::Blocked, 64 << 10));
    assert_eq!((first.cpu_time, first.switches), (3_000_000, 1));
    assert!((10 << 10..30 << 10).contains(&first.stack_used), "{} bytes of stack", first.stack_used);
    assert!(first.heap >= 1000, "{} bytes of heap", first.heap);
    worker.thread().unpark();
    let second = worker.thread().statistics();
    assert_eq!(second.switches, 2);
    let freed = first.heap - second.heap;
    assert!((1000..1100).contains(&freed), "{freed} bytes of heap");
    worker.thread().unpark();
    let last = worker.thread().statistics();
    assert_eq!((last.state, last.stack_used), (State::Exited, 0));
    worker.join().expect("it only parks");

    // A thread that does nothing uses little, also where one was before that used much.
    let idle = spawn(HIGH, thread::park);
    let used = idle.thread().statistics().stack_used;
    assert!(used < 8 << 10, "{used} bytes of stack");
    idle.thread().unpark();
    println!("plausible");
}

/// Without memory for a thread, spawning is an error, and everything goes on.
pub(crate) fn runs_out() {
    let error = Builder::new().stack_size(1 << 40).spawn(|| ()).expect_err("there is not so much memory");
    println!("{error}");
    Builder::new().stack_size(usize::MAX).spawn(|| ()).expect_err("there is not so much memory");

    let before = heap::statistics().used;
    let mut threads: Vec<JoinHandle<()>> = Vec::with_capacity(10_000);
    let mut fill = || {
        let count = threads.len();
        while let Ok(thread) = Builder::new().spawn(thread::park) {
            threads.push(thread);
        }
        let made = threads.len() - count;
        // The others are well, and so is the heap.
        for thread in &threads {
            assert!(!thread.is_finished());
            thread.thread().unpark();
        }
        for thread in threads.drain(..) {
            thread.join().expect("it only parks");
        }
        made
    };
    let (first, second) = (fill(), fill());
    drop(threads);
    assert!(first > 100, "only {first} threads");
    println!("the same again: {}", first == second);
    // What is kept for the next threads is little.
    let kept = heap::statistics().used.saturating_sub(before);
    assert!(kept < 6 << 20, "{kept} bytes are kept");
}

/// Memory that was used before, and is not zero, serves as a stack and for the extended state.
pub(crate) fn reuses() {
    let dirty: Vec<Vec<u8>> = (0..20).map(|_| vec![0xff; 1 << 20]).collect();
    drop(black_box(dirty));
    let threads: Vec<_> = (0..100)
        .map(|_| {
            spawn(SAME, || {
                let begin = clock::now();
                while clock::now() < begin + 300_000 {
                    core::hint::spin_loop();
                }
            })
        })
        .collect();
    thread::set_time_slice(thread::TimeSlice::from_nanoseconds(50_000));
    for thread in threads {
        thread.join().expect("it only computes");
    }
    println!("well");
}

/// Ten thousand threads at once, each with its own stack; each is woken by the one before.
pub(crate) fn ten_thousand() {
    const MANY: usize = 10_000;
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let threads_before = thread::all().len();
    let mut next: Option<thread::Thread> = None;
    let mut threads = Vec::with_capacity(MANY);
    for _ in 0..MANY {
        let after = next.take();
        let builder = Builder::new().stack_size(MINIMUM_STACK).priority(Priority::new(LOW));
        let thread = builder.spawn(move || {
            thread::park();
            COUNT.fetch_add(1, Relaxed);
            if let Some(after) = after {
                after.unpark();
            }
        });
        let thread = thread.expect("there is memory for a thread");
        next = Some(thread.thread().clone());
        threads.push(thread);
    }
    // All of them have begun and wait.
    thread::sleep(ms(1));
    println!("{} threads", thread::all().len() - threads_before);
    next.expect("there is a last one").unpark();
    for thread in threads {
        thread.join().expect("it only parks");
    }
    println!("{} ran, {} left", COUNT.load(Relaxed), thread::all().len() - threads_before);
}

//! `lock_api`: a foreign heap under the kernel's mutex, and that crate's own locks.

use crate::{spawn, spawn_important};
use core::alloc::{GlobalAlloc, Layout};
use libvcpu::lock_api::{Mutex, RawMutex, ReentrantMutex, RwLock};
use libvcpu::prelude::*;
use libvcpu::thread::{self, Priority, TimeSlice};
use libvcpu::time::{Duration, Instant, sleep};
use talc::{ErrOnOom, Talc, Talck};

/// Threads that take turns all the time use one heap, and each finds in its blocks what it wrote.
pub(crate) fn lock() {
    const THREADS: u8 = 4;
    const TIMES: usize = 2000;
    static HEAP: Talck<RawMutex, ErrOnOom> = Talck::new(Talc::new(ErrOnOom));
    static TOTAL: Mutex<usize> = Mutex::new(0);

    let arena: &'static mut [u8] = Box::leak(vec![0; 256 << 10].into_boxed_slice());
    // SAFETY: nobody else ever uses the arena.
    unsafe { HEAP.lock().claim(arena.into()) }.expect("the arena is large enough");

    thread::set_time_slice(TimeSlice::from_nanoseconds(100_000));
    let threads = core::array::from_fn::<_, { THREADS as usize }, _>(|number| {
        spawn("allocator", move || {
            for time in 0..TIMES {
                let size = 1 + (time * 37 + number * 101) % 500;
                let layout = Layout::from_size_align(size, 8).expect("a small size");
                // SAFETY: the layout is not empty.
                let block = unsafe { HEAP.alloc(layout) };
                assert!(!block.is_null(), "there is room");
                // SAFETY: the block has this size, and is this thread's until it is given back.
                let bytes = unsafe {
                    block.write_bytes(number as u8, size);
                    thread::yield_now();
                    core::slice::from_raw_parts(block, size)
                };
                assert!(bytes.iter().all(|byte| *byte == number as u8), "a block belongs to one thread");
                // SAFETY: it came from there with this layout.
                unsafe { HEAP.dealloc(block, layout) };
                *TOTAL.lock() += 1;
            }
        })
    });
    let ended = threads.into_iter().filter_map(|thread| thread.join().ok()).count();
    println!("{ended} threads, {} blocks", *TOTAL.lock());
}

/// With deadlines, with readers, again by the owner, and with inheritance.
pub(crate) fn time() {
    static MUTEX: Mutex<u32> = Mutex::new(0);
    static LOCK: RwLock<u32> = RwLock::new(0);
    static AGAIN: ReentrantMutex<u32> = ReentrantMutex::new(7);
    const SHORT: Duration = Duration::from_millis(5);

    let guard = MUTEX.lock();
    let waiter = spawn_important(|| {
        let begin = Instant::now();
        let in_time = MUTEX.try_lock_for(SHORT).is_some();
        println!("mutex: {in_time} after {:?}", begin.elapsed());
        *MUTEX.lock() += 1;
    });
    sleep(2 * SHORT);
    println!("inherited: {}", thread::current().effective_priority() == Priority::new(40));
    drop(guard);
    waiter.join().unwrap();

    let reader = LOCK.read();
    let others = spawn_important(|| {
        let begin = Instant::now();
        let (reads, writes) = (LOCK.try_read().is_some(), LOCK.try_write_until(begin + SHORT).is_some());
        println!("lock: {reads} {writes} after {:?}", begin.elapsed());
        *LOCK.write() += 1;
    });
    sleep(2 * SHORT);
    drop(reader);
    others.join().unwrap();
    println!("values: {} {}", *MUTEX.lock(), *LOCK.read());

    let first = AGAIN.lock();
    let second = AGAIN.lock();
    let other = spawn_important(|| AGAIN.try_lock().is_some());
    println!("again: {}, another: {}", *first == *second, other.join().unwrap());
    drop((first, second));
    println!("free again: {}", spawn("other", || AGAIN.try_lock().is_some()).join().unwrap());
}

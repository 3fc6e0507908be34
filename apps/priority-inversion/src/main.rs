//! Priority inversion: how an important thread comes to wait for an unimportant one, and the cure.
//!
//! ```text
//!   important  (50)  wants the mutex that `humble` has, and waits
//!   busy       (30)  computes for long, and wants nothing of anybody
//!   humble     (10)  has the mutex, for a short computation
//! ```
//!
//! While `humble` computes, `busy` is more important and takes the processor away from it; so `important`
//! waits until `busy` is done, with which it has nothing to do. In 1997 that reset the computer of a
//! spacecraft on Mars, again and again. The cure is *priority inheritance*: as long as `important` waits for
//! the mutex, its owner is as important, and `busy` must wait. The kernel's mutexes do that; this program
//! turns it off first, to show the problem. It was the cure on Mars, too.
//!
//! `priority-inversion [UNITS]` lets `busy` do so much work (default 200), of which `humble` does 10 with
//! the mutex. It prints how much of it came before `important` had the mutex, and for how long that waited.

#![no_std]
#![no_main]

use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use libvcpu::prelude::*;
use libvcpu::sync::Mutex;
use libvcpu::thread::{self, Builder, JoinHandle, Priority};
use libvcpu::time::{Duration, Instant};

entry!(main);

const IMPORTANT: Priority = Priority::new(50);
const BUSY: Priority = Priority::new(30);
const HUMBLE: Priority = Priority::new(10);

/// What `humble` does with the mutex.
const SHORT: u64 = 10;

static MUTEX: Mutex<()> = Mutex::new(());

/// What `busy` has done.
static DONE: AtomicU64 = AtomicU64::new(0);

/// What `important` had to bear.
struct Wait {
    /// How long it waited for the mutex.
    time: Duration,
    /// What `busy` did meanwhile.
    work: u64,
}

fn main() -> u8 {
    let mut arguments = libvcpu::env::args().skip(1);
    let units = arguments.next().map_or(Ok(200), |text| text.parse::<u64>());
    let (Ok(units), None) = (units, arguments.next()) else {
        eprintln!("priority-inversion: expected [UNITS], the work of the busy thread");
        return 2;
    };

    let [off, on] = [("off", false), ("on", true)].map(|(name, is_on)| {
        thread::set_inheritance(is_on);
        let Wait { time, work } = run(units);
        println!("inheritance {name}: {work} of {units} units of work came first, {} µs", time.as_micros());
        time
    });
    println!("ratio {:.1}", off.as_secs_f64() / on.as_secs_f64());
    0
}

/// One encounter of the three.
fn run(units: u64) -> Wait {
    DONE.store(0, Relaxed);
    let humble = spawn("humble", HUMBLE, move || {
        let guard = MUTEX.lock().expect("nobody dies with the mutex");
        // Both are more important than this thread: each runs at once, `important` until it waits for the
        // mutex, and `busy` only if this thread has inherited nothing.
        let important = spawn("important", IMPORTANT, || {
            let begin = Instant::now();
            drop(MUTEX.lock());
            Wait { time: begin.elapsed(), work: DONE.load(Relaxed) }
        });
        let busy = spawn("busy", BUSY, move || {
            for _ in 0..units {
                work();
                DONE.fetch_add(1, Relaxed);
            }
        });
        for _ in 0..SHORT {
            work();
        }
        drop(guard);
        (important, busy)
    });
    let (important, busy) = humble.join().expect("it ends well");
    busy.join().expect("it ends well");
    important.join().expect("it ends well")
}

/// A unit of work: some hundred microseconds of computing.
fn work() {
    for number in 0..1_000_000u64 {
        black_box(number);
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    priority: Priority,
    function: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let thread = Builder::new().name(name.to_owned()).priority(priority);
    thread.spawn(function).expect("there is memory for three threads")
}

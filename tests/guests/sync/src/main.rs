//! Locks, signals and channels between threads: one scenario a run, named by the first argument.
//!
//! With the clock under the machine's control, and threads of different priorities, each scenario has exactly
//! one course. What does not show in its output is asserted here.

#![no_std]
#![no_main]

mod bounds;
mod channel;
mod condvar;
mod handler;
mod mutex;
mod once;
mod rw_lock;
mod signal;
mod timer;

use libvcpu::prelude::*;
use libvcpu::thread::{self, Builder, JoinHandle, Priority};
use libvcpu::time::Duration;

entry!(main);

/// The main thread's priority, above that of most others.
const MAIN: u8 = 50;

fn main() -> u8 {
    thread::current().set_priority(Priority::new(MAIN));
    let scenario = libvcpu::env::args().nth(1).unwrap_or_default();
    match scenario.as_str() {
        "mutex-order" => mutex::order(),
        "mutex-count" => mutex::count(),
        "mutex-chain" => mutex::chain(),
        "mutex-timeout" => mutex::timeout(),
        "mutex-deadlock" => mutex::deadlock(),
        "mutex-poison" => mutex::poison(),
        "mutex-unseen" => mutex::unseen(),
        "mutex-forget" => mutex::forget(),
        "bounds" => bounds::bounds(),
        "rw-lock-order" => rw_lock::order(),
        "rw-lock-timeout" => rw_lock::timeout(),
        "rw-lock-poison" => rw_lock::poison(),
        "rw-lock-many" => rw_lock::many(),
        "condvar-order" => condvar::order(),
        "condvar-timeout" => condvar::timeout(),
        "condvar-poison" => condvar::poison(),
        "semaphore" => signal::semaphore(),
        "barrier" => signal::barrier(),
        "event-group" => signal::event_group(),
        "once" => once::once(),
        "once-death" => once::death(),
        "once-wait" => once::wait(),
        "once-inherit" => once::inherit(),
        "channel-order" => channel::order(),
        "channel-many" => channel::many(),
        "channel-close" => channel::close(),
        "channel-ends" => channel::ends(),
        "timer" => timer::timer(),
        "handler" => handler::handler(),
        "handler-wait" => handler::wait(),
        _ => {
            eprintln!("there is no scenario `{scenario}`");
            return 2;
        }
    }
    0
}

/// Starts a thread of a priority. If that is above the caller's, it runs until it waits before this returns.
fn spawn<T: Send + 'static>(level: u8, function: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().priority(Priority::new(level)).spawn(function).expect("there is memory for a thread")
}

/// The priority by which a thread is scheduled.
fn effective<T>(thread: &JoinHandle<T>) -> u8 {
    thread.thread().effective_priority().level()
}

/// Lets everybody else run until they wait, and a millisecond more.
fn let_others_run() {
    thread::sleep(Duration::from_millis(1));
}

const fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

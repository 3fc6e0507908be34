//! Scenarios with threads, which a test interrupts after each single instruction.
//!
//! A scenario's work lies between the first two `null` calls. Wherever in it the event comes, a thread that
//! is more important than all of its own, an *intruder*, runs and does something with the same objects, or
//! waits for them: it meets them in whatever state the interrupted instruction has left them. What is
//! printed in the end, and all that is asserted on the way, must not depend on where that was.
//!
//! Time is under the test's control and passes only while everybody waits, or by the event itself.

#![no_std]
#![no_main]

mod broken;
mod control;
mod extended;
mod intruder;
mod life;
mod locks;
mod log;
mod memory;
mod own_mutex;
mod signals;
mod time;

use core::sync::atomic::Ordering::Relaxed;
use libvcpu::prelude::*;
use libvcpu::sync::OnceLock;
use libvcpu::thread::{self, Builder, JoinHandle, Priority, Thread};
use libvcpu::{call, env, machine};

entry!(main);

/// The priority of the main thread. Scenarios' own threads are below 50, intruders above.
const MAIN: u8 = 20;

/// The main thread.
static MAIN_THREAD: OnceLock<Thread> = OnceLock::new();

/// What a test interrupts.
struct Scenario {
    name: &'static str,
    /// Prepares, calls `null`, and does what is interrupted. If it does something else then, such as to wait
    /// for the end of threads, it calls `null` again before.
    work: fn(),
    /// What an intruder does.
    intrude: fn(),
    /// What came of it, after that many intrusions.
    result: fn(u64) -> String,
}

const SCENARIOS: [Scenario; 29] = [
    Scenario { name: "yield", work: control::yields, intrude: control::intrude, result: control::order },
    Scenario { name: "slices", work: control::slices, intrude: control::intrude, result: control::turns },
    Scenario { name: "resume", work: control::resume, intrude: control::intrude, result: control::sum },
    Scenario { name: "priority", work: control::priority, intrude: control::intrude, result: log::result },
    Scenario { name: "without", work: control::without, intrude: control::intrude, result: log::result },
    Scenario { name: "mask", work: control::mask, intrude: control::intrude, result: control::sum },
    Scenario { name: "lock", work: locks::lock, intrude: locks::intrude, result: locks::sum },
    Scenario { name: "contend", work: locks::contend, intrude: locks::intrude, result: locks::contended },
    Scenario { name: "degrade", work: locks::contend, intrude: locks::degrade, result: locks::contended },
    Scenario { name: "rw-lock", work: locks::rw_lock, intrude: locks::write, result: locks::rw_sum },
    Scenario { name: "condition", work: locks::condition, intrude: locks::notify, result: log::result },
    Scenario { name: "once", work: locks::once, intrude: locks::use_once, result: locks::once_result },
    Scenario {
        name: "death",
        work: locks::death,
        intrude: locks::lock_poisoned,
        result: locks::death_result,
    },
    Scenario {
        name: "own-mutex",
        work: own_mutex::guarded,
        intrude: own_mutex::intrude,
        result: own_mutex::sum,
    },
    Scenario { name: "channel", work: signals::channel, intrude: signals::send, result: signals::received },
    Scenario { name: "semaphore", work: signals::semaphore, intrude: signals::acquire, result: log::result },
    Scenario { name: "suspend", work: signals::semaphore, intrude: control::suspend, result: log::result },
    Scenario { name: "events", work: signals::events, intrude: signals::set, result: log::result },
    Scenario { name: "barrier", work: signals::barrier, intrude: control::intrude, result: signals::leaders },
    Scenario { name: "park", work: signals::park, intrude: signals::unpark, result: log::result },
    Scenario { name: "heap", work: memory::small, intrude: memory::intrude, result: memory::result },
    Scenario {
        name: "heap-large",
        work: memory::large,
        intrude: memory::intrude_large,
        result: memory::result,
    },
    Scenario { name: "spawn", work: life::spawn_and_join, intrude: life::intrude, result: life::result },
    Scenario { name: "sleep", work: time::sleep, intrude: control::intrude, result: time::woken },
    Scenario { name: "deadlines", work: time::deadlines, intrude: time::intrude, result: time::sum },
    Scenario { name: "timer", work: time::timer, intrude: control::intrude, result: time::result },
    Scenario { name: "extended", work: extended::work, intrude: extended::intrude, result: extended::result },
    Scenario {
        name: "extended-slices",
        work: extended::slices,
        intrude: extended::intrude,
        result: extended::result,
    },
    Scenario {
        name: "control-words",
        work: extended::control_words,
        intrude: extended::intrude,
        result: log::result,
    },
];

/// The same with something broken, which the test must notice.
const BROKEN: [Scenario; 3] = [
    Scenario {
        name: "own-mutex-broken",
        work: own_mutex::unguarded,
        intrude: own_mutex::intrude,
        result: own_mutex::sum,
    },
    Scenario {
        name: "extended-broken",
        work: broken::extended,
        intrude: extended::intrude,
        result: extended::result,
    },
    Scenario { name: "resume-broken", work: broken::resume, intrude: control::intrude, result: control::sum },
];

fn main() -> Result<(), &'static str> {
    let thread = MAIN_THREAD.get_or_init(thread::current);
    thread.set_priority(Priority::new(MAIN));
    let name = env::args().nth(1).ok_or("which scenario?")?;
    let mut scenarios = SCENARIOS.iter().chain(&BROKEN);
    let scenario = scenarios.find(|scenario| scenario.name == name).ok_or("there is no such scenario")?;
    intruder::start(scenario.intrude);
    (scenario.work)();
    call::null();
    no_event_waits();
    // Events are on, and intruders are more important: whoever is not done then never will be.
    let (all, seconds) = intruder::finish();
    println!("{name}: {}, intrusions: {}", (scenario.result)(all), all - seconds);
    Ok(())
}

/// With events on, none is ever left waiting: not even between two instructions.
fn no_event_waits() {
    assert_eq!(machine::page().sticky.load(Relaxed), 0);
}

/// Starts a thread of a priority. If that is above the caller's, it runs until it waits before this returns.
fn spawn<T: Send + 'static>(level: u8, function: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let builder = Builder::new().priority(Priority::new(level)).stack_size(thread::MINIMUM_STACK);
    builder.spawn(function).expect("there is memory for a thread")
}

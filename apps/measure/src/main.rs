//! Measures its virtual CPU and its kernel from inside, for `vcpu bench`.
//!
//! `measure gate COUNT` and `measure trap COUNT` make the call `null` so often, by the gate or by the trap
//! page's instruction, and print what each took, one number of nanoseconds a line. Nothing is subtracted.
//!
//! `measure wait` prints a line and then waits until event line 4 is raised. `measure answer NUMBER` waits
//! for line 1, and ends with a status that only this number has among its neighbours.
//!
//! `measure timer COUNT THREADS SEED`, `measure raise COUNT THREADS` and
//! `measure await COUNT FIRST PERIOD LEAST MOST` are the subject of [`latency`]. They print a number for each of
//! COUNT events: by how many ns it was late, or the time-stamp counter when it was taken; FIRST and what follows
//! are values of that counter, too.
//!
//! The other words measure the kernel and print samples, `NAME VALUE` each, in cycles of the time-stamp
//! counter or in bytes:
//!
//! | word | its subject |
//! |---|---|
//! | `yield`, `semaphore`, `mutex` | [`switch`] |
//! | `many` | [`many`] |
//! | `preempt`, `load` | [`preempt`] |
//! | `heap`, `thread` | [`memory`] |
//! | `functions` | [`functions`] |

#![no_std]
#![no_main]

use core::fmt::Write;
use libvcpu::abi::info::Features;
use libvcpu::prelude::*;
use libvcpu::{call, clock, event, machine};

mod functions;
mod latency;
mod many;
mod memory;
mod preempt;
mod samples;
mod switch;
mod trap;

entry!(main);

/// The most calls of one run, whose times all have to fit into memory.
const COUNT_MAX: usize = 1 << 20;

fn main() -> u8 {
    let arguments: Vec<String> = libvcpu::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["wait"] => {
            println!("waiting");
            event::wait_until(None, || event::take(latency::LINE));
            0
        }
        ["answer", number] => answer(number),
        ["gate", count] => counted(count, |count| calls(count, call::null)),
        ["trap", count] => counted(count, |count| calls(count, trap::null)),
        ["raise", count, threads] => match threads.parse() {
            Ok(threads @ 0..=latency::THREADS_MAX) => counted(count, |count| latency::raise(count, threads)),
            _ => unknown(),
        },
        ["timer", count, threads, seed] => match (threads.parse(), seed.parse()) {
            (Ok(threads @ 0..=latency::THREADS_MAX), Ok(seed @ 1..)) => {
                counted(count, |count| latency::timer(count, threads, seed))
            }
            _ => unknown(),
        },
        ["await", count, first, period, least, most] => match [first, period, least, most].map(str::parse) {
            [Ok(first), Ok(period @ 1..), Ok(least), Ok(most)] if least <= most && most <= first => {
                let schedule = latency::Schedule { first, period, least, most };
                counted(count, |count| latency::wait(count, &schedule))
            }
            _ => unknown(),
        },
        [word] => kernel(word),
        _ => unknown(),
    }
}

/// Waits to be asked, and gives the answer as a status.
fn answer(number: &str) -> u8 {
    /// The line by which it is asked.
    const LINE: u32 = 1;
    println!("waiting");
    event::wait_until(None, || event::take(LINE));
    number.parse::<usize>().map_or(2, |number| (number * 7 + 3) as u8)
}

/// Measures a part of the kernel.
fn kernel(word: &str) -> u8 {
    let measure = match word {
        "yield" => switch::yielding,
        "semaphore" => switch::semaphore,
        "mutex" => switch::mutex,
        "many" => many::measure,
        "preempt" => preempt::between_threads,
        "load" => preempt::to_a_handler,
        "heap" => memory::heap,
        "thread" => memory::thread,
        "functions" => functions::measure,
        _ => return unknown(),
    };
    if has_counter() {
        measure();
        return 0;
    }
    1
}

fn unknown() -> u8 {
    eprintln!(
        "measure: expected gate COUNT, trap COUNT, wait, answer NUMBER, timer COUNT THREADS SEED, raise COUNT THREADS, \
         await COUNT FIRST PERIOD LEAST MOST, or what of the kernel to measure"
    );
    2
}

/// Whether there is a counter to measure by; says so if not.
fn has_counter() -> bool {
    let has = machine::features().contains(Features::TSC_CLOCK);
    if !has {
        eprintln!("measure: this machine has no counter by which anything short could be measured");
    }
    has
}

/// Measures something so often.
fn counted(count: &str, measure: impl FnOnce(usize)) -> u8 {
    let Some(count) = count.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count)) else {
        eprintln!("measure: expected a COUNT from 1 to {COUNT_MAX}");
        return 2;
    };
    if !has_counter() {
        return 1;
    }
    measure(count);
    0
}

/// Prints what each of `count` calls took.
fn calls(count: usize, call: impl Fn()) {
    // Written once now, so that no page fault falls into a measurement.
    let mut ticks = vec![u64::MAX; count];
    for time in &mut ticks {
        let begin = clock::counter();
        call();
        *time = clock::counter() - begin;
    }
    let parameters = &machine::info().clock;
    let mut lines = String::new();
    for time in ticks {
        let scaled = (u128::from(time) * u128::from(parameters.multiplier)) >> parameters.shift;
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{scaled}");
    }
    print!("{lines}");
}

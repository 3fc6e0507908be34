//! Threads in every stage of their life: one scenario a run, named by the first argument.
//!
//! Most run with the clock under the machine's control, where each has exactly one course. What does not
//! show in a scenario's output is asserted here.

#![no_std]
#![no_main]

mod console;
mod deadlock;
mod death;
mod lines;
mod local;
mod memory;
mod order;
mod register;
mod scoped;
mod slices;
mod stages;
mod trace;

use libvcpu::prelude::*;
use libvcpu::thread::{Builder, JoinHandle, Priority};
use libvcpu::time::Duration;

entry!(main, memory: 1 << 30);

/// The priority of a thread that is to run before `main` goes on.
const HIGH: u8 = 50;

/// `main`'s own priority, and that of a thread for which none is asked.
const SAME: u8 = 31;

/// The priority of a thread that runs when `main` waits.
const LOW: u8 = 10;

type Scenario = fn();

const SCENARIOS: [(&str, Scenario); 72] = [
    ("join", stages::join),
    ("join-timeout", stages::join_timeout),
    ("join-twice", stages::join_twice),
    ("detach", stages::detach),
    ("exit", stages::exit),
    ("exit-main", stages::exit_main),
    ("identity", stages::identity),
    ("begin-suspended", stages::begin_suspended),
    ("main-returns", stages::main_returns),
    ("yield", order::yields),
    ("sleep", order::sleeps),
    ("park", order::parks),
    ("priority", order::priorities),
    ("priority-change", order::changed_priorities),
    ("preempt-by-handler", order::preempted_by_handler),
    ("preempt-by-thread", order::preempted_by_thread),
    ("preempt-computing", order::preempted_while_computing),
    ("suspend", order::suspends),
    ("suspend-itself", order::suspends_itself),
    ("suspend-waiting", order::suspended_while_waiting),
    ("turns", slices::turns),
    ("own-slices", slices::own_slices),
    ("unlimited", slices::unlimited),
    ("rest-of-slice", slices::rest_of_slice),
    ("lone", slices::lone),
    ("lone-computing", slices::lone_computing),
    ("shared-by-spawn", slices::shared_by_spawn),
    ("shared-by-resume", slices::shared_by_resume),
    ("shared-by-unpark", slices::shared_by_unpark),
    ("shared-by-sleep", slices::shared_by_sleep),
    ("shared-by-line", slices::shared_by_line),
    ("shared-by-raise", slices::shared_by_raise),
    ("shared-by-lowering", slices::shared_by_lowering),
    ("shared-by-end", slices::shared_by_end),
    ("shared-by-inheritance", slices::shared_by_inheritance),
    ("turns-computing", slices::turns_computing),
    ("idle", slices::idle),
    ("local", local::values),
    ("local-order", local::destructors),
    ("local-recursion", local::recursion),
    ("local-exit", local::exit),
    ("local-handler", local::handler),
    ("scope", scoped::borrows),
    ("scope-death", scoped::death),
    ("scope-joined-death", scoped::joined_death),
    ("scope-owner-dies", scoped::owner_dies),
    ("scope-owner-exits", scoped::owner_exits),
    ("panic", death::panics),
    ("fault", death::faults),
    ("overflow", death::overflows),
    ("poison", death::poisons),
    ("abandoned", death::abandons),
    ("left", death::leaves),
    ("panic-main", death::panics_in_main),
    ("fault-handler", death::faults_in_handler),
    ("panic-handler", death::panics_in_handler),
    ("wait-handler", death::waits_in_handler),
    ("statistics", memory::statistics),
    ("out-of-memory", memory::runs_out),
    ("reused-memory", memory::reuses),
    ("ten-thousand", memory::ten_thousand),
    ("deadlock-join", deadlock::joins),
    ("deadlock-park", deadlock::parks),
    ("deadlock-mutex", deadlock::mutex),
    ("deadlock-mutexes", deadlock::mutexes),
    ("deadlock-suspended", deadlock::suspended),
    ("lines-storm", lines::storm),
    ("lines-taken", lines::taken),
    ("lines-mask", lines::mask),
    ("lines-wait", lines::wait),
    ("console", console::both_ways),
    ("registers", register::survive),
];

fn main() {
    let wanted = libvcpu::env::args().nth(1).unwrap_or_default();
    match SCENARIOS.iter().find(|(name, _)| *name == wanted) {
        Some((_, scenario)) => scenario(),
        None => panic!("there is no scenario `{wanted}`"),
    }
}

/// Starts a thread of a priority. If that is above the caller's, it runs until it waits before this returns.
fn spawn<T: Send + 'static>(level: u8, function: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().priority(Priority::new(level)).spawn(function).expect("there is memory for a thread")
}

/// As `spawn`, with a name.
fn named<T: Send + 'static>(
    name: &str,
    level: u8,
    function: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let builder = Builder::new().name(name.into()).priority(Priority::new(level));
    builder.spawn(function).expect("there is memory for a thread")
}

const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

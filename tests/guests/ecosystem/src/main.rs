//! Crates that know nothing of virtual CPUs, with the conventions that libvcpu keeps for them: one scenario a
//! run, named by the first argument.

#![no_std]
#![no_main]

mod futures;
mod locks;
mod logging;
mod sections;
mod streams;

use libvcpu::prelude::*;
use libvcpu::thread::{Builder, JoinHandle, Priority};

entry!(main);

/// An event line for timers.
const LINE: u32 = 5;

fn main() -> u8 {
    let scenario = libvcpu::env::args().nth(1).unwrap_or_default();
    match scenario.as_str() {
        "section" => sections::section(),
        "section-shared" => sections::shared(),
        "log" => logging::log(),
        "log-handler" => logging::handler(),
        "streams" => streams::streams(),
        "streams-closed" => streams::closed(),
        "lock" => locks::lock(),
        "lock-time" => locks::time(),
        "channel" => futures::channel(),
        "signal" => futures::signal(),
        "time-out" => futures::time_out(),
        _ => {
            eprintln!("there is no scenario `{scenario}`");
            return 2;
        }
    }
    0
}

fn spawn<T: Send + 'static>(name: &str, function: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().name(name.to_owned()).spawn(function).expect("there is memory for a thread")
}

/// Starts a thread that runs until it waits before this returns.
fn spawn_important<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let thread = Builder::new().priority(Priority::new(40));
    thread.spawn(function).expect("there is memory for a thread")
}

//! Uses the heap rightly and wrongly: one scenario a run, named by the first argument.

#![no_std]
#![no_main]

mod block;
mod bugs;
mod handler;
mod limits;
mod overflow;
mod soak;
mod threads;

use libvcpu::prelude::*;

entry!(main, memory: 16 << 20);

fn main() -> Result<(), String> {
    let arguments: Vec<String> = libvcpu::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["soak", steps] => soak::soak(steps.parse().map_err(|_| "no number of steps")?),
        ["layouts"] => soak::layouts(),
        ["realloc"] => soak::realloc(),
        ["exhaust"] => limits::exhaust(),
        ["fragments"] => limits::fragments(),
        ["slabs"] => limits::slabs(),
        ["statistics"] => limits::statistics(),
        ["handler"] => handler::handler(),
        ["overflow"] => overflow::overflow(),
        ["threads"] => threads::threads(),
        ["death"] => threads::death(),
        ["damage"] => threads::damage(),
        ["bug", kind, size] => bugs::bug(kind, size.parse().map_err(|_| "no size")?),
        _ => Err(format!("there is no scenario {arguments:?}")),
    }
}

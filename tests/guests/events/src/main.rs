//! Timers, waiting and raised lines: one scenario a run, named by the first argument.
//!
//! Every scenario prints what it saw in a form that does not depend on the speed of the machine.

#![no_std]
#![no_main]

mod control;
mod lines;
mod timers;

use libvcpu::prelude::*;

entry!(main);

fn main() -> u8 {
    let scenario = libvcpu::env::args().nth(1).unwrap_or_default();
    match scenario.as_str() {
        "one-shot" => timers::one_shot(),
        "rearm" => timers::rearm(),
        "replace" => timers::replace(),
        "disarm" => timers::disarm(),
        "past" => timers::past(),
        "moved" => timers::moved(),
        "eight" => timers::eight(),
        "trap-wait" => timers::trap_wait(),
        "sleep-often" => timers::sleep_often(),
        "order" => timers::order(),
        "all-lines" => timers::all_lines(),
        "time-out" => timers::time_out(),
        "hour" => timers::hour(),
        "diary" => timers::diary(),
        "acknowledge" => lines::acknowledge(),
        "compute-until-raised" => lines::compute_until_raised(),
        "wait-until-raised" => lines::wait_until_raised(),
        "kept-for-later" => lines::kept_for_later(),
        "control" => control::control(),
        _ => {
            eprintln!("there is no scenario `{scenario}`");
            return 2;
        }
    }
    0
}

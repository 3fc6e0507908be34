//! Rules 3 and 4 of the interface: no event is lost or doubled, and a resume can be interrupted anywhere.
//!
//! Each scenario in the table below is stepped instruction by instruction, and from each instruction the
//! guest gets an event and runs to its end. Whatever the instruction was, the end must be the same; see
//! [`vcpu_tests::injection`], which says also how a guest has to be written for this.
//!
//! `VCPU_INJECTION_POINTS=n` makes the test try at least n points.

use std::fmt;
use std::io::{self, Write};
use vcpu_tests::injection::{self, Event, Scenario};

/// How many points are tried unless the environment says otherwise.
const POINTS: usize = 100_000;

/// The lines of tests/guests/instructions.
const INJECTED: Event = Event::Line(8);
const SECOND: Event = Event::Line(9);
const OWN: u32 = 7;

/// A scenario of tests/guests/instructions.
const fn plain(name: &'static str, expected: &'static str) -> Scenario {
    Scenario {
        package: "guest-instructions",
        name,
        at_first: None,
        events: &[INJECTED],
        second: Some(SECOND),
        expected,
    }
}

/// The scenarios, and how many instructions the window of each has at least.
const SCENARIOS: [(Scenario, usize); 7] = [
    // The scenario's own line is raised at its first instruction, so the whole way of an upcall and its
    // resume lies in the window.
    (Scenario { at_first: Some(OWN), ..plain("compute", "compute: result 0x0, 1 injected, 1 own\n") }, 150),
    // Code with all registers in use.
    (plain("compute", "compute: result 0x0, 1 injected, 0 own\n"), 90),
    (plain("enable", "enable: result 0x0, 1 injected, 0 own\n"), 15),
    (plain("without", "without: result 0x2, 1 injected, 0 own\n"), 15),
    (plain("wait", "wait: result 0x0, 1 injected, 1 own\n"), 100),
    // Its own timer comes early.
    (Scenario { events: &[Event::Timer], ..plain("wait", "wait: result 0x0, 0 injected, 1 own\n") }, 100),
    (plain("protect", "protect: result 0x2, 1 injected, 0 own\n"), 30),
];

#[test]
fn an_event_after_any_instruction_changes_no_end() {
    let wanted = match std::env::var("VCPU_INJECTION_POINTS") {
        Ok(number) => number.parse().expect("VCPU_INJECTION_POINTS is a number"),
        Err(_) => POINTS,
    };
    let tallies = injection::run(&SCENARIOS.map(|(scenario, _)| scenario), wanted);
    for ((scenario, _), tally) in SCENARIOS.iter().zip(&tallies) {
        let (points, instructions, time) = (tally.points, tally.instructions, tally.time.as_secs_f64());
        say(format_args!(
            "{scenario}: {points} injection points in {instructions} instructions, {time:.1} s"
        ));
    }
    let points: usize = tallies.iter().map(|tally| tally.points).sum();
    let single: usize = tallies.iter().map(|tally| tally.single).sum();
    say(format_args!("{points} injection points, {single} of them with one event, the others with two"));
    for ((scenario, at_least), tally) in SCENARIOS.iter().zip(&tallies) {
        let (wrong, points) = (tally.wrong, tally.points);
        assert!(wrong == 0, "{scenario}: {wrong} of {points} points: {}", tally.failures[0]);
        assert!(tally.instructions >= *at_least, "{scenario}: {} instructions", tally.instructions);
    }
    assert!(points >= wanted, "only {points} points were tried");
}

/// Writes a line that is seen even if the test passes.
fn say(line: fmt::Arguments<'_>) {
    writeln!(io::stdout(), "{line}").expect("somebody reads what tests say");
}

#[test]
fn a_kernel_that_enables_without_looking_is_caught() {
    let scenario = plain("enable-broken", "enable-broken: result 0x0, 1 injected, 0 own\n");
    let tally = scenario.run(0..1);
    assert!(tally.wrong > 0 && tally.wrong < tally.points, "{tally:?}");
}

//! Correct at every instruction: rules 3 and 4 of the interface (no event is lost or doubled, and a resume can
//! be interrupted anywhere), and all that the kernel does for threads.
//!
//! Each scenario below is stepped instruction by instruction, and from each instruction the guest gets an event
//! and runs to its end. Whatever the instruction was, the end must be the same; see
//! [`vcpu_tests::injection`], which says also how a guest has to be written for this.
//!
//! `VCPU_INJECTION_POINTS=n` makes the test try at least n points; those beyond the single events are pairs.

use std::fmt;
use std::io::{self, Write};
use vcpu_tests::injection::{self, Event, Scenario};
use vcpu_tests::{BackendKind, on_every_backend};

/// How many points with a single event there are at least.
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

/// Scenarios without threads, and how many instructions the window of each has at least.
const PLAIN: [(Scenario, usize); 7] = [
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

/// Two rows of a scenario of tests/guests/preempt, with what it has to say and how many instructions its window
/// has at least. An event on one of its lines makes one intrusion more; a timer only brings earlier what comes
/// anyway.
macro_rules! threads {
    ($name:literal, $result:literal, $at_least:literal $(, $field:ident: $value:expr)?) => {{
        const LINES: Scenario = Scenario {
            package: "guest-preempt",
            name: $name,
            $($field: $value,)?
            ..Scenario {
                package: "",
                name: "",
                at_first: None,
                // A thread that listens; a function that wakes one.
                events: &[Event::Line(8), Event::Line(9)],
                second: Some(Event::Line(10)),
                expected: concat!($name, ": ", $result, ", intrusions: 2\n"),
            }
        };
        let timer = Scenario {
            events: &[Event::Timer],
            expected: concat!($name, ": ", $result, ", intrusions: 1\n"),
            ..LINES
        };
        [(LINES, $at_least), (timer, $at_least)]
    }};
}

/// The line of the scenario comes again, perhaps while its thread is busy with the first time.
const AGAIN: Scenario = Scenario {
    package: "guest-preempt",
    name: "resume",
    at_first: Some(OWN),
    events: &[Event::Line(OWN)],
    second: Some(Event::Line(10)),
    expected: "resume: sum 1275, intrusions: 1\n",
};

/// Scenarios with threads.
fn with_threads() -> Vec<(Scenario, usize)> {
    let rows = [
        threads!("yield", "abcabcabc", 2000),
        threads!("slices", "turns [3, 3, 3]", 2000),
        threads!("resume", "sum 1275", 1000, at_first: Some(OWN)),
        threads!("priority", "1a23b4cd5", 2000),
        threads!("without", "mwmwmw", 1000),
        threads!("mask", "sum 20", 500),
        threads!("lock", "sum 72", 500),
        threads!("contend", "hmlhml, sum 6", 5000),
        threads!("degrade", "hmlhml, sum 6", 5000),
        threads!("rw-lock", "sum 3", 3000),
        threads!("condition", "abc", 3000),
        threads!("once", "6 of 6", 500),
        threads!("death", "sum 1", 3000),
        threads!("own-mutex", "sum 55", 200),
        threads!("channel", "sum 10", 1000),
        threads!("semaphore", "ioioio", 2000),
        threads!("suspend", "ioioio", 2000),
        threads!("events", "mwmwmw", 2000),
        threads!("barrier", "3 leaders", 7000),
        threads!("park", "ababab", 1000),
        threads!("heap", "0 bytes left", 1000),
        threads!("heap-large", "0 bytes left", 1000),
        threads!("spawn", "sum 3", 7000),
        threads!("sleep", "woken at [8, 12, 9]", 3000),
        threads!("deadlines", "sum 6", 7000),
        threads!("timer", "2 expiries at least", 3000),
        threads!("extended", "2 computations", 2000),
        threads!("extended-slices", "2 computations", 2000),
        threads!("control-words", "abcabcabc", 1000),
    ];
    rows.into_iter().flatten().chain([(AGAIN, 1000)]).collect()
}

fn an_event_after_any_instruction_changes_no_end(backend: BackendKind) {
    let wanted = match std::env::var("VCPU_INJECTION_POINTS") {
        Ok(number) => number.parse().expect("VCPU_INJECTION_POINTS is a number"),
        Err(_) => POINTS,
    };
    let table: Vec<_> = PLAIN.into_iter().chain(with_threads()).collect();
    let scenarios: Vec<_> = table.iter().map(|(scenario, _)| *scenario).collect();
    let tallies = injection::run(&scenarios, wanted, backend);
    for (scenario, tally) in scenarios.iter().zip(&tallies) {
        let (points, instructions, time) = (tally.points, tally.instructions, tally.time.as_secs_f64());
        say(format_args!(
            "{scenario}: {points} injection points in {instructions} instructions, {time:.1} s"
        ));
    }
    let points: usize = tallies.iter().map(|tally| tally.points).sum();
    let single: usize = tallies.iter().map(|tally| tally.single).sum();
    say(format_args!("{points} injection points, {single} of them with one event, the others with two"));
    for ((scenario, at_least), tally) in table.iter().zip(&tallies) {
        let (wrong, points) = (tally.wrong, tally.points);
        assert!(wrong == 0, "{scenario}: {wrong} of {points} points: {}", tally.failures[0]);
        assert!(tally.instructions >= *at_least, "{scenario}: {} instructions", tally.instructions);
    }
    assert!(single >= POINTS, "only {single} points with one event were tried");
    assert!(points >= wanted, "only {points} points were tried");
}

/// Writes a line that is seen even if the test passes.
fn say(line: fmt::Arguments<'_>) {
    writeln!(io::stdout(), "{line}").expect("somebody reads what tests say");
}

on_every_backend!(an_event_after_any_instruction_changes_no_end);

/// What is broken must be noticed, but not everywhere: only after some instructions does it matter. It is tried
/// on the reference; the gate of the `seccomp` backend looks for events by itself at the next call, which
/// rescues who did not.
#[track_caller]
fn is_caught(scenario: Scenario) {
    let tally = scenario.run(0..1, BackendKind::Ptrace);
    say(format_args!("{scenario}: {} of {} injection points caught it", tally.wrong, tally.points));
    assert!(tally.wrong > 0 && tally.wrong < tally.points, "{tally:?}");
}

#[test]
fn a_kernel_that_enables_without_looking_is_caught() {
    is_caught(plain("enable-broken", "enable-broken: result 0x0, 1 injected, 0 own\n"));
}

#[test]
fn a_mutex_without_event_guard_is_caught() {
    let [(scenario, _), _] = threads!("own-mutex-broken", "sum 55", 1);
    is_caught(scenario);
}

#[test]
fn an_upcall_that_spoils_a_vector_register_is_caught() {
    let [(scenario, _), _] = threads!("extended-broken", "2 computations", 1);
    is_caught(scenario);
}

#[test]
fn a_resume_that_is_not_restarted_is_caught() {
    let [(scenario, _), _] = threads!("resume-broken", "sum 1275", 1, at_first: Some(OWN));
    is_caught(scenario);
}

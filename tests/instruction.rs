//! Rules 3 and 4 of the interface: no event is lost or doubled, and a resume can be interrupted anywhere.
//!
//! A scenario is stepped instruction by instruction, once to learn how long it is, and then once for
//! each instruction in it: after that many instructions an event is raised, and the guest runs to its
//! end at full speed. Whatever the instruction was, the end must be the same. Time is virtual, so
//! nothing but the injected event differs between runs.

use std::fs::File;
use std::io::{Read, Seek};
use std::time::Duration;
use vcpu_host::backend::Pace;
use vcpu_host::{ClockMode, Config, Image, Outcome, Sandbox, Streams};

/// The lines of tests/guests/instructions.
const INJECTED: u32 = 8;
const OWN: u32 = 7;

/// More instructions than any scenario has.
const TOO_MANY: usize = 100_000;

struct Scenario<'i> {
    image: &'i Image,
    name: &'static str,
    /// Whether the test raises the scenario's own line at its beginning.
    raise_own: bool,
    end: u64,
}

impl<'i> Scenario<'i> {
    fn new(image: &'i Image, name: &'static str, raise_own: bool) -> Scenario<'i> {
        let (end, _) = image.symbol("scenario_end").expect("the guest has this function");
        Scenario { image, name, raise_own, end }
    }

    /// Starts the scenario and stops at its first instruction.
    fn begin(&self) -> (Sandbox<'i>, File) {
        let output = tempfile::tempfile().unwrap();
        let mut streams = Streams::null().unwrap();
        streams.output = output.try_clone().unwrap().into();
        let config = Config {
            arguments: vec![b"instructions".to_vec(), self.name.into()],
            clock: ClockMode::Virtual,
            // A kernel that gets lost must fail the test, not hang it.
            time_limit: Some(Duration::from_secs(30)),
            streams: Some(streams),
            ..Config::default()
        };
        let mut sandbox = Sandbox::start(self.image, config).unwrap();
        // The first stop is the call with which the scenario begins.
        assert!(sandbox.turn(Pace::Full).unwrap().is_none());
        if self.raise_own {
            sandbox.event_lines().raise(OWN);
        }
        (sandbox, output)
    }

    /// How many instructions the scenario has.
    fn length(&self) -> usize {
        let (mut sandbox, _output) = self.begin();
        for steps in 0..TOO_MANY {
            if sandbox.registers().unwrap().raw.rip == self.end {
                return steps;
            }
            assert!(sandbox.turn(Pace::Step).unwrap().is_none(), "the scenario ended too early");
        }
        panic!("the scenario {} has no end", self.name);
    }

    /// What the guest prints when the event comes after `steps` instructions.
    fn result(&self, steps: usize) -> String {
        let (mut sandbox, mut output) = self.begin();
        for _ in 0..steps {
            assert!(sandbox.turn(Pace::Step).unwrap().is_none(), "the scenario ended too early");
        }
        sandbox.event_lines().raise(INJECTED);
        let outcome = sandbox.run().unwrap();
        assert!(matches!(outcome, Outcome::Exited(0)), "after {steps} instructions: {outcome:?}");
        let mut text = String::new();
        output.rewind().unwrap();
        output.read_to_string(&mut text).unwrap();
        text
    }

    /// Injects at every instruction and gives the points at which the result was not `expected`.
    fn failures(&self, expected: &str) -> (usize, Vec<(usize, String)>) {
        let length = self.length();
        let wrong = |steps| Some((steps, self.result(steps))).filter(|(_, result)| result != expected);
        (length + 1, (0..=length).filter_map(wrong).collect())
    }
}

fn image() -> Image {
    Image::open(vcpu_tests::image("guest-instructions")).unwrap()
}

fn check(name: &'static str, raise_own: bool, expected: &str, at_least: usize) {
    let image = image();
    let (points, failures) = Scenario::new(&image, name, raise_own).failures(expected);
    println!("{name}: {points} injection points");
    assert!(failures.is_empty(), "{} of {points} points: {:?}", failures.len(), failures.first());
    assert!(points >= at_least, "only {points} instructions were tried");
}

#[test]
fn an_upcall_and_its_resume_can_be_interrupted_at_every_instruction() {
    check("compute", true, "compute: result 0x0, 1 injected, 1 own\n", 150);
}

#[test]
fn code_with_all_registers_in_use_can_be_interrupted_at_every_instruction() {
    check("compute", false, "compute: result 0x0, 1 injected, 0 own\n", 90);
}

#[test]
fn enabling_events_loses_none_at_any_instruction() {
    check("enable", false, "enable: result 0x0, 1 injected, 0 own\n", 15);
    check("without", false, "without: result 0x2, 1 injected, 0 own\n", 15);
}

#[test]
fn waiting_loses_no_event_at_any_instruction() {
    check("wait", false, "wait: result 0x0, 1 injected, 1 own\n", 100);
}

#[test]
fn a_kernel_that_enables_without_looking_is_caught() {
    let image = image();
    let scenario = Scenario::new(&image, "enable-broken", false);
    let (_, failures) = scenario.failures("enable-broken: result 0x0, 1 injected, 0 own\n");
    assert!(!failures.is_empty());
}

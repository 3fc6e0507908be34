//! Events after every single instruction: a guest is stepped through a window, and from each instruction
//! it gets an event and runs to its end at full speed.
//!
//! Whatever the instruction was, the end must be the same. The guest is checkpointed before each event and
//! set back afterwards, so it is started once and every instruction is stepped once. Time is virtual and
//! stands still unless the guest waits or the event is a timer's: nothing but the event differs from run
//! to run.
//!
//! A guest for this takes its scenario's name as its first argument. The window lies between the first
//! two `null` calls that it makes, in whatever threads:
//!
//! ```ignore
//! fn main() {
//!     let scenario = env::args().nth(1).unwrap();
//!     prepare(&scenario);
//!     call::null();
//!     let result = carry_out(&scenario);
//!     call::null();
//!     println!("{scenario}: {result}");
//! }
//! ```
//!
//! It is right if it ends with status 0 and has written to its standard output what the table of
//! scenarios says.

mod guest;

use crate::BackendKind;
use guest::{Guest, Moment, is_null_call, told};
use rustix::thread::CpuSet;
use std::fmt::{self, Display, Formatter, Write};
use std::ops::{ControlFlow, Range};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use vcpu_abi::layout::GATE;
use vcpu_host::backend::Pace;
use vcpu_host::{Error, Image, Outcome};

/// The time that a run to the guest's end may take. Nothing is concluded from how long it took, so it is
/// ample: a kernel that got lost must fail the test, not hang it.
const PATIENCE: Duration = Duration::from_secs(10);

/// More instructions than any window has.
const INSTRUCTIONS_MAX: usize = 1_000_000;

/// Failures of a scenario that are told in full.
const TOLD: usize = 3;

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A device raises this line.
    Line(u32),
    /// Time passes until the guest's next timer fires. Where none is set there is no such event.
    Timer,
}

/// What a guest does while it is stepped.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The guest's package.
    pub package: &'static str,
    /// Its first argument.
    pub name: &'static str,
    /// A line that is raised once at the window's beginning, in every run.
    pub at_first: Option<u32>,
    /// What is injected at each instruction, one at a time.
    pub events: &'static [Event],
    /// An event that may come behind any of these and must not change the end either. It is used to try
    /// more points than there are otherwise.
    pub second: Option<Event>,
    /// What the guest must have written in the end.
    pub expected: &'static str,
}

/// What became of a scenario.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many injection points were tried. They differ in the instruction, counted from the window's
    /// beginning, in the event, or in the distance of the second event.
    pub points: usize,
    /// How many of them had one event only.
    pub single: usize,
    /// How many instructions the window has.
    pub instructions: usize,
    /// After how many points the guest had another end than expected.
    pub wrong: usize,
    /// The first of these, in words.
    pub failures: Vec<String>,
    /// How long all that took.
    pub time: Duration,
}

/// Runs all scenarios, several at a time. If that makes fewer points than wanted, runs them again with second
/// events, at as many distances behind the first ones as it takes, unless no scenario has any, or one has
/// failed. Gives a tally for each scenario.
///
/// # Panics
///
/// As [`Scenario::run`].
pub fn run(scenarios: &[Scenario], wanted: usize, backend: BackendKind) -> Vec<Tally> {
    let mut tallies: Vec<_> = scenarios.iter().map(|_| Tally::default()).collect();
    let mut distances = 0..1;
    loop {
        let before = points(&tallies);
        pass(scenarios, &distances, &mut tallies, backend);
        let now = points(&tallies);
        let failed = tallies.iter().any(|tally| tally.wrong > 0);
        if failed || now >= wanted || distances.start > 0 && now == before {
            return tallies;
        }
        let with_second = scenarios.iter().zip(&tallies).filter(|(scenario, _)| scenario.second.is_some());
        let instructions: usize =
            with_second.map(|(scenario, tally)| (tally.instructions + 1) * scenario.events.len()).sum();
        distances = distances.end..distances.end + (wanted - now).div_ceil(instructions.max(1));
    }
}

fn points(tallies: &[Tally]) -> usize {
    tallies.iter().map(|tally| tally.points).sum()
}

/// Runs all scenarios once with these distances of a second event, one at a time on each core.
fn pass(scenarios: &[Scenario], distances: &Range<usize>, tallies: &mut [Tally], backend: BackendKind) {
    let waiting = Mutex::new(scenarios.iter().zip(tallies));
    let cores = cores();
    let next = || waiting.lock().expect("nobody panics here").next();
    std::thread::scope(|scope| {
        for core in &cores {
            scope.spawn(|| {
                // A sandbox stays on the core on which it is started. Refused at worst: then two may share one.
                let _ = rustix::thread::sched_setaffinity(None, core);
                while let Some((scenario, tally)) = next() {
                    tally.add(scenario.run(distances.clone(), backend));
                }
            });
        }
    });
}

/// The cores that this process may use, each as a set.
fn cores() -> Vec<CpuSet> {
    let Ok(allowed) = rustix::thread::sched_getaffinity(None) else { return vec![CpuSet::new()] };
    let only = |core| {
        let mut set = CpuSet::new();
        set.set(core);
        set
    };
    (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).map(only).collect()
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.points += other.points;
        self.single += other.single;
        self.instructions = other.instructions;
        self.wrong += other.wrong;
        self.failures.extend(other.failures);
        self.failures.truncate(TOLD);
        self.time += other.time;
    }
}

impl Scenario {
    /// Injects every event at every instruction of the window, and the second event so many instructions
    /// behind it, a distance at a time. Distance 0 is without a second event.
    ///
    /// After an end from which a guest cannot be set back, because its time was over or its process was
    /// killed, the rest of the window is not tried.
    ///
    /// # Panics
    ///
    /// If the machine fails, the guest has no window, or it does not end with status 0 when there is no event.
    pub fn run(&self, distances: Range<usize>, backend: BackendKind) -> Tally {
        let mut tally = Tally::default();
        let begin = Instant::now();
        let image = Image::open(crate::image(self.package)).expect("the image was just built");
        Stepper::start(self, &image, backend)
            .and_then(|stepper| stepper.window(&distances, &mut tally))
            .unwrap_or_else(|error| panic!("{self}: the machine failed: {error}"));
        tally.time = begin.elapsed();
        tally
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Event::Line(line) => write!(f, "line {line}"),
            Event::Timer => write!(f, "the next timer"),
        }
    }
}

impl Display for Scenario {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.package, self.name)?;
        self.at_first.map_or(Ok(()), |line| write!(f, " after line {line}"))?;
        self.events.iter().try_for_each(|event| write!(f, ", {event}"))
    }
}

/// A guest in its window.
struct Stepper<'s> {
    scenario: &'s Scenario,
    guest: Guest,
    /// The guest before an event.
    before: Moment,
    /// The guest so many instructions behind the first event.
    behind: Moment,
    /// Where the window's two calls have their answers.
    marker: u64,
    /// Instructions since the window's beginning.
    instructions: usize,
    /// Whether the last of them was the call with which the window ends.
    is_at_end: bool,
}

impl<'s> Stepper<'s> {
    /// Starts the guest and lets it run to its window.
    fn start(scenario: &'s Scenario, image: &Image, backend: BackendKind) -> Result<Self, Error> {
        let mut guest = Guest::start(scenario, image, backend)?;
        loop {
            if let Some(outcome) = guest.sandbox.turn(Pace::Full)? {
                panic!("{scenario}: it has no window, but {}{}", told(&outcome), guest.errors.text());
            }
            if is_null_call(&guest.registers()?) {
                break;
            }
        }
        if let Some(line) = scenario.at_first {
            guest.sandbox.event_lines().raise(line);
        }
        let (before, behind) = (Moment::now(&mut guest)?, Moment::now(&mut guest)?);
        let marker = guest.registers()?.raw.rip;
        Ok(Stepper { scenario, guest, before, behind, marker, instructions: 0, is_at_end: false })
    }

    /// Steps through the window and tries all points.
    fn window(mut self, distances: &Range<usize>, tally: &mut Tally) -> Result<(), Error> {
        let scenario = self.scenario;
        let outcome = self.guest.sandbox.run()?;
        if !matches!(outcome, Outcome::Exited(0)) {
            panic!("{scenario}: without any event {}{}", told(&outcome), self.guest.errors.text());
        }
        self.before.restore(&mut self.guest)?;
        loop {
            for event in scenario.events {
                if self.points(*event, distances, tally)?.is_break() {
                    return Ok(());
                }
                self.before.restore(&mut self.guest)?;
            }
            if self.is_at_end {
                return Ok(());
            }
            self.advance()?;
            tally.instructions = self.instructions;
        }
    }

    /// Carries out one instruction of the window.
    fn advance(&mut self) -> Result<(), Error> {
        let before = self.guest.registers()?.raw.rip;
        if let Some(outcome) = self.guest.step()? {
            panic!("{}: its window has no end, but {}", self.scenario, told(&outcome));
        }
        self.instructions += 1;
        assert!(self.instructions < INSTRUCTIONS_MAX, "{}: its window has no end", self.scenario);
        // Who is interrupted behind the window's first call comes there again, but not from before it.
        let now = self.guest.registers()?;
        let called = (GATE..self.marker).contains(&before) && now.raw.rip == self.marker;
        self.is_at_end = called && is_null_call(&now);
        self.guest.sandbox.renew_time_limit(PATIENCE)?;
        self.before.renew(&mut self.guest)
    }

    /// Injects an event after this instruction, and the second at each of the distances behind it. Stops at
    /// an end from which the guest cannot be set back.
    fn points(
        &mut self,
        event: Event,
        distances: &Range<usize>,
        tally: &mut Tally,
    ) -> Result<ControlFlow<()>, Error> {
        if !self.guest.inject(event) {
            return Ok(ControlFlow::Continue(()));
        }
        for distance in 0..distances.end {
            if distance > 0 && self.guest.step()?.is_some() {
                break;
            }
            if !distances.contains(&distance) {
                continue;
            }
            if distances.end > 1 {
                self.behind.renew(&mut self.guest)?;
            }
            let second = self.scenario.second.filter(|_| distance > 0);
            if distance > 0 && !second.is_some_and(|second| self.guest.inject(second)) {
                continue;
            }
            self.guest.sandbox.renew_time_limit(PATIENCE)?;
            let outcome = self.guest.sandbox.run()?;
            tally.points += 1;
            tally.single += usize::from(distance == 0);
            if let Some(wrong) = self.wrong(&outcome) {
                tally.wrong += 1;
                let second = second.map(|second| (second, distance));
                if tally.failures.len() < TOLD {
                    tally.failures.push(self.failure(event, second, &outcome, &wrong)?);
                }
                if matches!(outcome, Outcome::TimeLimit(_) | Outcome::Killed(_)) {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if distances.end > 1 {
                self.behind.restore(&mut self.guest)?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// What is wrong with the guest's end, if anything.
    fn wrong(&self, outcome: &Outcome) -> Option<String> {
        let output = self.guest.output.text();
        let is_right = matches!(outcome, Outcome::Exited(0)) && output == self.scenario.expected;
        let (told, errors) = (told(outcome), self.guest.errors.text());
        (!is_right).then(|| format!("{told}\n--- output ---\n{output}--- errors ---\n{errors}"))
    }

    /// A wrong end in words, with where in the window the first event came.
    fn failure(
        &mut self,
        event: Event,
        second: Option<(Event, usize)>,
        outcome: &Outcome,
        wrong: &str,
    ) -> Result<String, Error> {
        let mut text = format!("{event} after {} instructions", self.instructions);
        if let Some((second, distance)) = second {
            let _ = write!(text, ", {second} {distance} instructions later");
        }
        let _ = write!(text, ": {wrong}");
        if !matches!(outcome, Outcome::Killed(_)) {
            self.before.restore(&mut self.guest)?;
            let report = self.guest.sandbox.report(format!("{event} came here:"))?;
            let _ = write!(text, "{report}");
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_was_set_back_differs_in_nothing_from_one_that_was_not() {
        let image = Image::open(crate::image("guest-instructions")).unwrap();
        let events = &[Event::Line(8), Event::Timer];
        for name in ["compute", "wait", "protect"] {
            let scenario = Scenario {
                package: "guest-instructions",
                name,
                at_first: None,
                events,
                second: Some(Event::Line(9)),
                expected: "",
            };
            let start = || Stepper::start(&scenario, &image, BackendKind::Ptrace).unwrap();
            let (mut stepped, mut set_back) = (start(), start());
            // All ends are wrong, as nothing is expected. Only the first are told, which takes long.
            let mut tally = Tally::default();
            while !stepped.is_at_end {
                for event in events {
                    let _ = set_back.points(*event, &(0..3), &mut tally).unwrap();
                    set_back.before.restore(&mut set_back.guest).unwrap();
                }
                stepped.advance().unwrap();
                set_back.advance().unwrap();
                let after = stepped.instructions;
                let registers = [&mut stepped, &mut set_back].map(|it| it.guest.registers().unwrap());
                assert!(stepped.before == set_back.before, "{name} after {after}: {registers:x?}");
            }
        }
    }
}

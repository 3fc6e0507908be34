//! `event`: how late an event is, from its source to the first instruction of the thread that takes it.
//!
//! | figure | the source | the guest meanwhile | beside it |
//! |---|---|---|---|
//! | `event.running` | its timer | computes, in one thread | a native process that computes, and its timer |
//! | `event.running.N` | its timer | computes, in N more threads | the same |
//! | `event.flat` | the same: the largest of these medians over the smallest | | the same of the native ones |
//! | `event.raise` | a host thread on another core | computes | a native process that computes, and a signal |
//! | `event.waiting` | a host thread on another core | has begun to wait, some µs ago | |
//! | `event.waiting.sleep` | a host thread on another core | sleeps, for some ms | |
//!
//! Those that end in `.ptrace` are of that backend, for reference; `idle.cpu` is [`idle`]'s. The threads that
//! compute are the least important, and take turns; the thread that takes the event is the most important. It
//! reads the time-stamp counter at once, and so does the native signal handler. Deadlines are random, and the
//! same on both sides. Guest and native process take turns.

use super::counter::{self, Ratio};
use super::figure::{Figure, Target, Unit};
use super::idle;
use super::native::Native;
use super::place::{self, Guest, Place};
use super::random::Random;
use super::site::Site;
use crate::output;
use crate::status::Failure;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;
use vcpu_host::backend::BackendKind;

/// The line that the app `measure` listens to.
pub(super) const LINE: u32 = 4;

/// Turns of guest and native process.
const ROUNDS: usize = 5;
/// Events of one turn.
const EVENTS: usize = 300;
/// Events of the reference, and of a guest that sleeps for long.
const FEW: usize = 250;
/// Events at a turn's beginning that do not count.
const WARM_UP: usize = 40;

/// From one deadline to the next, in ns; the app `measure` has the same.
const DISTANCE: [u64; 2] = [200_000, 1_000_000];
/// From one raise of a computing guest's line to the next, in ns.
const BETWEEN: [u64; 2] = [200_000, 600_000];

/// What the figures of a running guest's timer are called, and how many more threads compute.
const RUNNING: [(&str, usize); 5] = [
    ("event.running", 0),
    ("event.running.1", 1),
    ("event.running.10", 10),
    ("event.running.100", 100),
    ("event.running.1000", 1000),
];

/// The same for a guest that waits.
const SELDOM: [u64; 2] = [2_000_000, 4_000_000];
/// The same for a guest that only begins to wait shortly before,
const PERIOD: u64 = 300_000;
/// by so many ns: it may still spin.
const LEAD: [u64; 2] = [5_000, 20_000];

/// Of so many events one may be left out, because it was raised just when the one before was taken.
const FEW_LEFT_OUT: usize = 20;

/// Who raises a line sleeps if it is due later than this, in ns. A sleeper comes much too late.
const NAP: u64 = 1_000_000;

/// From asking for a guest to the first raise for which it must be ready, in ns.
const START: u64 = 20_000_000;

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let ratio = Ratio::measure();
    let mut figures = Vec::new();
    for (name, more) in RUNNING {
        let (late, native) = in_turns(site, name, ROUNDS, |seed| {
            running(site, BackendKind::Seccomp, more, EVENTS, seed, ratio)
        })?;
        let figure = Figure::new(name, Unit::Ns, late).over(&native).at_most(Target::MedianAndTail(1.25));
        figures.push(figure.in_series("event.running", "compute threads", more as f64));
    }
    figures.push(flat(&figures));
    let (late, native) = in_turns(site, "event.running.ptrace", 1, |seed| {
        running(site, BackendKind::Ptrace, 0, FEW, seed, ratio)
    })?;
    figures.push(Figure::new("event.running.ptrace", Unit::Ns, late).over(&native));
    match other() {
        Ok(other) => figures.extend(from_another_core(site, other, ratio)?),
        Err(why) => output::note(&format_args!("event.raise and event.waiting are left out, since {why}")),
    }
    figures.extend(idle::measure(site)?);
    Ok(figures)
}

/// How much the latency depends on the number of threads, beside how much the native one varies.
fn flat(figures: &[Figure]) -> Figure {
    let spread = |median: fn(&Figure) -> f64| {
        let medians = figures.iter().map(median);
        medians.clone().fold(0.0, f64::max) / medians.fold(f64::INFINITY, f64::min)
    };
    let guest = spread(|figure| figure.measured.median);
    let native = spread(|figure| figure.native.as_ref().map_or(f64::NAN, |native| native.median));
    Figure::new("event.flat", Unit::Count, vec![guest]).over(&[native]).at_most(Target::Ratio(1.05))
}

/// Another core by whose counter can be measured, or why there is none.
fn other() -> Result<usize, &'static str> {
    let other = place::other_core().ok_or("there is only one core")?;
    match counter::is_common(other) {
        Ok(true) => Ok(other),
        Ok(false) => Err("the time-stamp counters of two cores differ"),
        Err(_) => Err("the other core may not be used"),
    }
}

/// What is measured with the guest on the core `other`, and who raises its line on this one.
fn from_another_core(site: &Site, other: usize, ratio: Ratio) -> Result<Vec<Figure>, Failure> {
    use BackendKind::{Ptrace, Seccomp};
    let raise = |name, rounds, backend, events| {
        let (late, native) = in_turns(site, name, rounds, |seed| {
            let guest = raised(site, backend, 1, BETWEEN, events, seed, ratio)?;
            let count = WARM_UP + events;
            let native = Native::signals(other, count)?;
            let raised =
                raises(ratio, at_random(BETWEEN, seed, ratio), || native.has_ended(), || native.signal());
            Ok([guest, late(&ticks(&raised, &native.samples()?)?, ratio)])
        })?;
        Ok::<_, Failure>(Figure::new(name, Unit::Ns, late).over(&native))
    };
    let wait = |name, rounds, guest: &dyn Fn(u64) -> Result<Vec<f64>, Failure>| {
        let (late, _) = in_turns(site, name, rounds, |seed| Ok([guest(seed)?, Vec::new()]))?;
        Ok::<_, Failure>(Figure::new(name, Unit::Ns, late))
    };
    Ok(vec![
        raise("event.raise", ROUNDS, Seccomp, EVENTS)?.at_most(Target::Ratio(1.25)),
        raise("event.raise.ptrace", 1, Ptrace, FEW)?,
        wait("event.waiting", ROUNDS, &|_| waiting(site, Seccomp, EVENTS, ratio))?
            .at_most(Target::Median(1000.0)),
        wait("event.waiting.ptrace", 1, &|_| waiting(site, Ptrace, FEW, ratio))?,
        wait("event.waiting.sleep", 1, &|seed| raised(site, Seccomp, 0, SELDOM, FEW, seed, ratio))?,
    ])
}

/// What guest and native process gave in all rounds; a round is told a seed, which is not 0.
fn in_turns(
    site: &Site,
    name: &str,
    rounds: usize,
    measure: impl Fn(u64) -> Result<[Vec<f64>; 2], Failure>,
) -> Result<(Vec<f64>, Vec<f64>), Failure> {
    let (mut late, mut native) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        site.progress.round(name, round, rounds);
        let [guest, counterpart] = measure(1 + round as u64)?;
        late.extend(guest);
        native.extend(counterpart);
    }
    Ok((late, native))
}

/// By how many ns the timers of a computing guest and of a native process were late.
fn running(
    site: &Site,
    backend: BackendKind,
    more: usize,
    events: usize,
    seed: u64,
    ratio: Ratio,
) -> Result<[Vec<f64>; 2], Failure> {
    let count = WARM_UP + events;
    let arguments = ["timer", &count.to_string(), &more.to_string(), &seed.to_string()];
    let guest = Guest { app: "measure", arguments: &arguments, backend, place: Place::Together };
    let (output, ()) = guest.run(site, |sandbox| Ok((sandbox.run()?, ())))?;
    let guest = place::numbers(&output, count)?;
    let here = rustix::thread::sched_getcpu();
    let native = Native::timers(here, count, DISTANCE, seed, ratio)?.samples()?;
    Ok([guest, native].map(|late| late[WARM_UP..].iter().map(|late| *late as f64).collect()))
}

/// By how many ns a guest in which so many threads compute took an event later than it was raised.
fn raised(
    site: &Site,
    backend: BackendKind,
    threads: usize,
    between: [u64; 2],
    events: usize,
    seed: u64,
    ratio: Ratio,
) -> Result<Vec<f64>, Failure> {
    let count = WARM_UP + events;
    let arguments = ["raise", &count.to_string(), &threads.to_string()];
    let guest = Guest { app: "measure", arguments: &arguments, backend, place: Place::Spinning };
    taken(site, &guest, count, ratio, at_random(between, seed, ratio))
}

/// By how many ns a guest that has just begun to wait took an event later than it was raised.
fn waiting(site: &Site, backend: BackendKind, events: usize, ratio: Ratio) -> Result<Vec<f64>, Failure> {
    let count = WARM_UP + events;
    let first = counter::read() + ratio.ticks(START);
    let [period, least, most] = [PERIOD, LEAD[0], LEAD[1]].map(|time| ratio.ticks(time));
    let numbers = [count as u64, first, period, least, most].map(|number| number.to_string());
    let arguments: Vec<&str> = std::iter::once("await").chain(numbers.iter().map(String::as_str)).collect();
    let guest = Guest { app: "measure", arguments: &arguments, backend, place: Place::Spinning };
    let next = |now: u64| first + (now.saturating_sub(first) / period + 1) * period;
    taken(site, &guest, count, ratio, next)
}

/// Moments of the counter that are so many ns apart, from what the counter is now.
fn at_random(between: [u64; 2], seed: u64, ratio: Ratio) -> impl FnMut(u64) -> u64 {
    let mut random = Random(seed);
    move |now| now + ratio.ticks(random.between(between))
}

/// Runs a guest whose line is raised, by a thread on this core. Gives by how many ns it took each of `count`
/// events later than that.
fn taken(
    site: &Site,
    guest: &Guest<'_>,
    count: usize,
    ratio: Ratio,
    next: impl FnMut(u64) -> u64 + Send,
) -> Result<Vec<f64>, Failure> {
    let (output, raised) = guest.run(site, |sandbox| {
        let lines = sandbox.event_lines();
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let raiser = scope.spawn(|| raises(ratio, next, || ended.load(SeqCst), || lines.raise(LINE)));
            let outcome = sandbox.run();
            ended.store(true, SeqCst);
            let raised = raiser.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((outcome?, raised))
        })
    })?;
    Ok(late(&ticks(&raised, &place::numbers(&output, count)?)?, ratio))
}

/// Calls `raise` at the moments that `next` gives, each from the counter now, until it is of no use any more.
/// Gives the counter before each call.
fn raises(
    ratio: Ratio,
    mut next: impl FnMut(u64) -> u64,
    ended: impl Fn() -> bool,
    mut raise: impl FnMut(),
) -> Vec<u64> {
    let mut raised = Vec::new();
    loop {
        let due = next(counter::read());
        loop {
            let rest = ratio.nanoseconds(due.saturating_sub(counter::read())) as u64;
            match rest {
                _ if ended() => return raised,
                0 => break,
                // The sandbox's own thread is on this core too.
                1..NAP => thread::yield_now(),
                NAP.. => thread::sleep(Duration::from_nanos(NAP / 2)),
            }
        }
        raised.push(counter::read());
        raise();
    }
}

/// By how much each event was taken later than it was raised, by the counter at both: it was raised at the
/// first moment after the last event was taken. What was raised again before it was taken is the same event;
/// unless that was just after the guest had looked: then it comes once more at once, and is left out.
fn ticks(raised: &[u64], taken: &[u64]) -> Result<Vec<u64>, Failure> {
    let mut rest = raised;
    let late = |taken: &u64| {
        let (before, after) = rest.split_at(rest.partition_point(|raised| raised <= taken));
        rest = after;
        Some(taken - before.first()?)
    };
    let late: Vec<u64> = taken.iter().filter_map(late).collect();
    if (taken.len() - late.len()) * FEW_LEFT_OUT > taken.len() {
        return Err(Failure::runner("events were taken that nobody had raised; please report this"));
    }
    Ok(late)
}

/// Those that count, in ns.
fn late(ticks: &[u64], ratio: Ratio) -> Vec<f64> {
    ticks[WARM_UP..].iter().map(|ticks| ratio.nanoseconds(*ticks)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_from_the_first_raise_since_the_one_before() {
        assert_eq!(ticks(&[100, 200, 300], &[107, 205, 301]).unwrap(), [7, 5, 1]);
        // Raised twice before it was taken, and once more at the end.
        assert_eq!(ticks(&[100, 200, 300, 400], &[207, 305]).unwrap(), [107, 5]);
        // At the same tick.
        assert_eq!(ticks(&[100], &[100]).unwrap(), [0]);
    }

    #[test]
    fn an_event_that_was_raised_just_when_the_one_before_was_taken_is_left_out() {
        let raised: Vec<u64> = (1..=20).map(|event| event * 100).collect();
        let mut taken: Vec<u64> = raised.iter().map(|raised| raised + 5).collect();
        // The guest had looked before 200, and then did nothing for a while.
        (taken[0], taken[1]) = (201, 203);
        let late = ticks(&raised, &taken).unwrap();
        assert_eq!(late[..2], [101, 5]);
        assert_eq!(late.len(), 19);
    }

    #[test]
    fn events_that_nobody_had_raised_are_an_error() {
        for (raised, taken) in [(vec![100], vec![99]), (vec![100, 200], vec![107, 150]), (vec![], vec![1])] {
            let failure = ticks(&raised, &taken).unwrap_err();
            assert_eq!(
                failure.message, "events were taken that nobody had raised; please report this",
                "{taken:?}"
            );
        }
    }

    #[test]
    fn raises_come_when_they_are_due_until_the_end() {
        let mut rest = 3;
        let count = std::cell::Cell::new(0);
        let next = |now| {
            rest -= 1;
            if rest < 0 { u64::MAX } else { now + 10_000 }
        };
        let begin = counter::read();
        let raised = raises(Ratio::measure(), next, || count.get() == 3, || count.set(count.get() + 1));
        assert_eq!(raised.len(), 3);
        assert!(raised[0] >= begin + 10_000 && raised.is_sorted_by(|one, next| next - one >= 10_000));
    }
}

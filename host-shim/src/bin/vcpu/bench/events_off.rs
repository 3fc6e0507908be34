//! `threads`, the longest stretch with events off: under the load of the app `events-off`, whose kernel has the
//! counter's value noted wherever events go off and on.
//!
//! What the guest cannot see, a hypervisor's work below the system, falls into one stretch in some hundred
//! thousand and makes it ten times as long. So each run gives for each place, which is a pair of addresses, what
//! all but one in a hundred of its stretches do not exceed; of several runs the one counts that was disturbed
//! least there; and the longest of all places is the figure.
//!
//! Instructions need none of that: the guest is stepped, and those with events off are counted.

use super::figure::{Figure, Target, Unit};
use super::site::{Site, memory_file};
use crate::status::Failure;
use std::collections::BTreeMap;
use vcpu_host::Image;
use vcpu_host::backend::Pace;

/// The app.
pub(super) const APP: &str = "events-off";

/// Runs that are measured in cycles.
const ROUNDS: usize = 7;
/// A place that fewer runs came to does not count: it would be judged by its disturbances.
const SEEN: usize = 3;
/// Instructions that are stepped.
const STEPS: usize = 1_000_000;
/// More instructions than it takes to create the threads.
const BEGINNING: usize = 10_000_000;

/// What runs gave for each place.
type Places = BTreeMap<String, Vec<f64>>;

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let mut places = Places::new();
    let mut longest = Vec::new();
    for round in 0..ROUNDS {
        site.progress.round("events off", round, ROUNDS);
        longest.push(add(&mut places, &site.guest_with(APP, &["cycles"], None)?)?);
    }
    site.progress.show("counting instructions with events off");
    let instructions = instructions(site)?;
    Ok(vec![
        Figure::new("event.off.max", Unit::Cycles, vec![undisturbed(&places)])
            .at_most(Target::Median(2000.0)),
        Figure::new("event.off.disturbed", Unit::Cycles, longest),
        Figure::new("event.off.instructions", Unit::Instructions, vec![instructions as f64]),
    ])
}

/// Adds what a run told: `FROM TO COUNT MOST MAX`, a place a line. Gives the longest of its stretches.
fn add(places: &mut Places, output: &str) -> Result<f64, Failure> {
    let mut longest: f64 = 0.0;
    for line in output.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let number = |index: usize| words.get(index).and_then(|word: &&str| word.parse::<f64>().ok());
        let (5, Some(most), Some(max)) = (words.len(), number(3), number(4)) else {
            return Err(Failure::runner(format_args!(
                "the app `{APP}` told `{line}`, which is no place; please report this"
            )));
        };
        places.entry(words[..2].join(" ")).or_default().push(most);
        longest = longest.max(max);
    }
    Ok(longest)
}

/// The longest of all places, each in the run that was disturbed least.
fn undisturbed(places: &Places) -> f64 {
    let known = places.values().filter(|runs| runs.len() >= SEEN);
    known.map(|runs| runs.iter().copied().fold(f64::INFINITY, f64::min)).fold(0.0, f64::max)
}

/// The most instructions in a row with events off.
fn instructions(site: &Site) -> Result<usize, Failure> {
    let image = Image::open(site.image(APP)).map_err(Failure::image)?;
    let (output, errors) = (memory_file()?, memory_file()?);
    let mut sandbox = site.sandbox(&image, APP, &["steps"], None, [&output, &errors])?;
    let ended = || Failure::runner(format_args!("the app `{APP}` ended early; please report this"));
    let is_working = || output.metadata().is_ok_and(|file| file.len() > 0);
    let mut turns = 0;
    while !is_working() {
        turns += 1;
        if turns > BEGINNING || sandbox.turn(Pace::Full)?.is_some() {
            return Err(ended());
        }
    }
    let (mut count, mut most) = (0, 0);
    for _ in 0..STEPS {
        if sandbox.turn(Pace::Step)?.is_some() {
            return Err(ended());
        }
        count = if sandbox.takes_events() { 0 } else { count + 1 };
        most = most.max(count);
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_by_its_least_disturbed_run_and_only_if_several_came_there() {
        let mut places = Places::new();
        let runs = ["a b 10 500 9000\nc d 10 300 300\n", "a b 10 4000 4000\n", "a b 10 600 600\n"];
        let longest: Vec<_> = runs.map(|run| add(&mut places, run).unwrap()).into();
        assert_eq!(longest, [9000.0, 4000.0, 600.0]);
        assert_eq!(undisturbed(&places), 500.0);
        places.insert("c d".into(), vec![700.0, 800.0, 900.0]);
        assert_eq!(undisturbed(&places), 700.0);
    }

    #[test]
    fn what_is_no_place_is_an_error() {
        assert!(add(&mut Places::new(), "a b 10 500\n").is_err());
        assert!(add(&mut Places::new(), "a b 10 500 many\n").is_err());
    }
}

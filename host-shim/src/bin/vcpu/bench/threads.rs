//! `threads`: the kernel's own figures, in cycles of the time-stamp counter, measured inside the guest.
//!
//! The app `measure` takes the samples and says what each means; here runs are repeated, since code and
//! stacks lie elsewhere in the caches each time, and the samples become figures.

use super::events_off;
use super::figure::{Figure, Target, Unit};
use super::site::Site;
use super::statistics::Summary;
use crate::status::Failure;
use std::collections::BTreeMap;

/// Runs of each kind.
const ROUNDS: usize = 4;
/// RAM of a guest that has ten thousand threads.
const MEMORY: u64 = 1 << 30;

/// Samples by their names.
struct Samples(BTreeMap<String, Vec<f64>>);

pub(super) fn measure(site: &Site) -> Result<Vec<Figure>, Failure> {
    let mut samples = Samples(BTreeMap::new());
    let words = ["yield", "preempt", "mutex", "semaphore", "many", "load", "heap", "thread"];
    for round in 0..ROUNDS {
        site.progress.round("threads", round, ROUNDS);
        for word in words {
            samples.add(&site.guest_with("measure", &[word], Some(MEMORY))?)?;
        }
    }
    let cycles = |name, of: &str| samples.get(of).map(|samples| Figure::new(name, Unit::Cycles, samples));
    let misses = samples.median("few.touching.many")? - samples.median("few.touching.few")?;
    let few: Vec<f64> = samples.get("few")?.iter().map(|sample| sample + misses.max(0.0)).collect();
    let mut figures = vec![
        cycles("thread.yield", "yield")?.at_most(Target::Median(60.0)),
        cycles("thread.preempt", "preempt")?.at_most(Target::Median(1000.0)),
        cycles("sync.mutex", "mutex")?.at_most(Target::Median(30.0)),
        cycles("sync.semaphore", "semaphore")?.at_most(Target::Median(120.0)),
        cycles("thread.yield.many", "many")?.over(&few).at_most(Target::Ratio(1.1)),
        cycles("event.load", "loaded")?.over(&samples.get("alone")?).at_most(Target::Ratio(1.05)),
        cycles("heap.pair", &samples.slowest("heap.")?)?.at_most(Target::Median(60.0)),
        Figure::new("memory.thread", Unit::Bytes, samples.get("thread")?).at_most(Target::Median(512.0)),
    ];
    figures.extend(events_off::measure(site)?);
    Ok(figures)
}

impl Samples {
    /// Adds what a guest has told: `NAME VALUE`, one a line.
    fn add(&mut self, output: &str) -> Result<(), Failure> {
        for line in output.lines() {
            let sample = line.split_once(' ').and_then(|(name, value)| Some((name, value.parse().ok()?)));
            let Some((name, value)) = sample else {
                return Err(Failure::runner(format_args!(
                    "the app `measure` told `{line}`, which is no sample; please report this"
                )));
            };
            self.0.entry(name.to_owned()).or_default().push(value);
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Vec<f64>, Failure> {
        let missing = || format!("the app `measure` told no samples of `{name}`; please report this");
        self.0.get(name).cloned().ok_or_else(|| Failure::runner(missing()))
    }

    fn median(&self, name: &str) -> Result<f64, Failure> {
        Ok(Summary::of(self.get(name)?).median)
    }

    /// The name that begins in this way and has the largest median.
    fn slowest(&self, prefix: &str) -> Result<String, Failure> {
        let medians = self
            .0
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, samples)| (Summary::of(samples.clone()).median, name));
        let slowest = medians.max_by(|(one, _), (other, _)| one.total_cmp(other));
        let missing = || format!("the app `measure` told no samples of `{prefix}`; please report this");
        slowest.map(|(_, name)| name.clone()).ok_or_else(|| Failure::runner(missing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(output: &str) -> Result<Samples, Failure> {
        let mut samples = Samples(BTreeMap::new());
        samples.add(output).map(|()| samples)
    }

    #[test]
    fn samples_of_a_name_come_together() {
        let samples = samples("yield 45.50\nmutex 13\nyield 44\n").unwrap();
        assert_eq!(samples.get("yield").unwrap(), [45.5, 44.0]);
        assert!(samples.get("semaphore").is_err());
    }

    #[test]
    fn the_slowest_is_that_of_the_largest_median() {
        let samples = samples("heap.16 9\nheap.32 5\nheap.32 6\nheap.16 1\nheap.16 1\nother 99\n").unwrap();
        assert_eq!(samples.slowest("heap.").unwrap(), "heap.32");
        assert!(samples.slowest("stack.").is_err());
    }

    #[test]
    fn what_is_no_sample_is_an_error() {
        assert!(samples("yield\n").is_err());
        assert!(samples("yield fast\n").is_err());
    }
}

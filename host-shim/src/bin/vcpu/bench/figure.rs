//! A measured figure, its native counterpart, and what it must reach.
//!
//! An experiment gives a list of these, each made of its samples:
//!
//! ```ignore
//! Figure::new("start.hello", Unit::Ns, samples)           // a figure
//!     .over(&native)                                      // its counterpart's samples: gives a ratio
//!     .at_most(Target::Median(1e6))                       // what it must reach
//! Figure::new("scale.sandboxes", Unit::Count, vec![1000.0]).reaching(Target::AtLeast(1000.0))
//! ```
//!
//! Figures that differ in one number only, such as the latency beside so many threads, are a *series*: each
//! says the series' name, what the number counts, and its number. They are drawn as one plot, in the order of
//! their numbers, at equal distances; counterparts are drawn with them.
//!
//! ```ignore
//! Figure::new(format!("event.running.{threads}"), Unit::Ns, samples)
//!     .over(&native)
//!     .in_series("event.running", "compute threads", threads as f64)
//! ```
//!
//! What is in ns is shown and kept in cycles of the time-stamp counter as well, and the other way round.

use super::statistics::Summary;
use serde::{Deserialize, Serialize};

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unit {
    Ns,
    /// Of the time-stamp counter.
    Cycles,
    Bytes,
    Instructions,
    Lines,
    Percent,
    /// Whatever the name says, such as sandboxes.
    Count,
}

impl Unit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Unit::Ns => "ns",
            Unit::Cycles => "cycles",
            Unit::Bytes => "bytes",
            Unit::Instructions => "instructions",
            Unit::Lines => "lines",
            Unit::Percent => "percent",
            Unit::Count => "count",
        }
    }
}

/// What a figure must reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Target {
    /// Its median is at most this.
    Median(f64),
    /// Its median is at least this.
    AtLeast(f64),
    /// Its median is at most so many times its counterpart's.
    Ratio(f64),
    /// Its median and its 99th percentile are each at most so many times its counterpart's.
    MedianAndTail(f64),
}

/// The place of a figure among others that differ in one number only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Series {
    pub(super) name: String,
    /// What the number counts.
    pub(super) axis: String,
    pub(super) x: f64,
}

/// Minimum, median and 99th percentile in another unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Converted {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) p99: f64,
}

/// A time in the other of the two units that times have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Also {
    pub(super) unit: Unit,
    pub(super) measured: Converted,
    pub(super) native: Option<Converted>,
}

/// A figure; its name is kept for ever, so that results can be compared over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) measured: Summary,
    /// The native counterpart in the same run.
    pub(super) native: Option<Summary>,
    pub(super) also: Option<Also>,
    /// The median over its counterpart's, if that is not zero.
    pub(super) ratio: Option<f64>,
    /// The 99th percentile over its counterpart's, likewise.
    pub(super) tail_ratio: Option<f64>,
    pub(super) target: Option<Target>,
    /// Whether it reaches its target.
    pub(super) reached: Option<bool>,
    pub(super) series: Option<Series>,
}

impl Figure {
    /// A figure without a counterpart.
    ///
    /// # Panics
    ///
    /// If there is no sample, or one is not a finite number.
    pub(super) fn new(name: impl Into<String>, unit: Unit, samples: Vec<f64>) -> Figure {
        Figure {
            name: name.into(),
            unit,
            measured: Summary::of(samples),
            native: None,
            also: None,
            ratio: None,
            tail_ratio: None,
            target: None,
            reached: None,
            series: None,
        }
    }

    /// Gives it its native counterpart.
    pub(super) fn over(self, native: &[f64]) -> Figure {
        let native = Summary::of(native.to_vec());
        let over = |value: f64, native: f64| (native > 0.0).then(|| value / native);
        let ratio = over(self.measured.median, native.median);
        let tail_ratio = over(self.measured.p99, native.p99);
        Figure { ratio, tail_ratio, native: Some(native), ..self }.judged()
    }

    /// Gives it its target.
    pub(super) fn reaching(self, target: Target) -> Figure {
        Figure { target: Some(target), ..self }.judged()
    }

    /// Gives it its target, which is a limit from above.
    pub(super) fn at_most(self, target: Target) -> Figure {
        self.reaching(target)
    }

    /// Makes it part of a series, at `x` of what `axis` counts.
    pub(super) fn in_series(self, name: &str, axis: &str, x: f64) -> Figure {
        Figure { series: Some(Series { name: name.into(), axis: axis.into(), x }), ..self }
    }

    /// Gives a time in the other unit too, by the time-stamp counter's rate.
    pub(super) fn converted(self, cycles_per_ns: f64) -> Figure {
        let (unit, factor) = match self.unit {
            Unit::Ns => (Unit::Cycles, cycles_per_ns),
            Unit::Cycles => (Unit::Ns, 1.0 / cycles_per_ns),
            _ => return self,
        };
        let convert = |summary: &Summary| Converted {
            min: summary.min * factor,
            median: summary.median * factor,
            p99: summary.p99 * factor,
        };
        let also =
            Also { unit, measured: convert(&self.measured), native: self.native.as_ref().map(convert) };
        Figure { also: Some(also), ..self }
    }

    /// Judges it, whatever is known last.
    fn judged(self) -> Figure {
        let reached = self.target.map(|target| match target {
            Target::Median(most) => self.measured.median <= most,
            Target::AtLeast(least) => self.measured.median >= least,
            Target::Ratio(most) => self.ratio.is_some_and(|ratio| ratio <= most),
            Target::MedianAndTail(most) => {
                [self.ratio, self.tail_ratio].iter().all(|ratio| ratio.is_some_and(|ratio| ratio <= most))
            }
        });
        Figure { reached, ..self }
    }

    /// What its ratio must be at most.
    pub(super) fn most_ratio(&self) -> Option<f64> {
        match self.target? {
            Target::Ratio(most) | Target::MedianAndTail(most) => Some(most),
            Target::Median(_) | Target::AtLeast(_) => None,
        }
    }

    /// Whether more of it is better.
    pub(super) fn is_better_if_more(&self) -> bool {
        matches!(self.target, Some(Target::AtLeast(_)))
    }

    /// What it must reach, in words; empty if there is nothing.
    pub(super) fn target_in_words(&self) -> String {
        let unit = self.unit.name();
        match self.target {
            None => String::new(),
            Some(Target::Median(most)) => format!("{} {unit}", number(most)),
            Some(Target::AtLeast(least)) => format!("at least {}", number(least)),
            Some(Target::Ratio(most)) => format!("ratio {most}"),
            Some(Target::MedianAndTail(most)) => format!("ratio and p99 {most}"),
        }
    }

    /// Whether its target is reached, in words; empty if there is none.
    pub(super) fn verdict(&self) -> &'static str {
        match self.reached {
            None => "",
            Some(true) => "yes",
            Some(false) => "NO",
        }
    }
}

/// A number as people read it: thousands apart, and digits behind the point if it is small.
pub(super) fn number(value: f64) -> String {
    if value.abs() < 1000.0 && value.fract() != 0.0 {
        return if value.abs() < 1.0 { format!("{value:.3}") } else { format!("{value:.1}") };
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A relation, with the digits that matter near one.
pub(super) fn ratio(value: f64) -> String {
    if value < 10.0 { format!("{value:.4}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_easily() {
        for (value, text) in [
            (0.0, "0"),
            (0.0625, "0.062"),
            (103.25, "103.2"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (7120.4, "7,120"),
            (-7120.4, "-7,120"),
            (8_388_608.0, "8,388,608"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_target_is_reached_at_its_limit_and_missed_beyond() {
        let figure = Figure::new("call", Unit::Ns, vec![900.0]).over(&[10.0]);
        let reaches = |target| figure.clone().reaching(target).reached.unwrap();
        assert_eq!(figure.reached, None);
        assert!(reaches(Target::Ratio(90.0)) && !reaches(Target::Ratio(89.9)));
        assert!(reaches(Target::Median(900.0)) && !reaches(Target::Median(899.0)));
        assert!(reaches(Target::AtLeast(900.0)) && !reaches(Target::AtLeast(901.0)));
    }

    #[test]
    fn a_target_of_median_and_tail_needs_both() {
        let mut slow = vec![10.0; 97];
        slow.extend([30.0; 3]);
        let figure = Figure::new("event", Unit::Ns, slow.clone()).over(&[10.0; 100]);
        assert_eq!((figure.ratio, figure.tail_ratio), (Some(1.0), Some(3.0)));
        assert_eq!(figure.at_most(Target::MedianAndTail(1.25)).reached, Some(false));
        // The order in which counterpart and target are given does not matter.
        let figure = Figure::new("event", Unit::Ns, slow.clone()).at_most(Target::MedianAndTail(1.25));
        assert_eq!(figure.over(&slow).reached, Some(true));
    }

    #[test]
    fn a_counterpart_of_zero_gives_no_ratio_and_reaches_none() {
        let figure = Figure::new("idle", Unit::Percent, vec![0.1]).over(&[0.0]).at_most(Target::Ratio(2.0));
        assert_eq!((figure.ratio, figure.reached), (None, Some(false)));
    }

    #[test]
    fn times_have_both_units_and_nothing_else_has() {
        let time = Figure::new("call", Unit::Ns, vec![100.0]).over(&[10.0]).converted(2.5);
        let also = time.also.unwrap();
        assert_eq!((also.unit, also.measured.median), (Unit::Cycles, 250.0));
        assert_eq!(also.native.unwrap().p99, 25.0);
        let cycles = Figure::new("yield", Unit::Cycles, vec![100.0]).converted(2.5);
        assert_eq!(cycles.also.map(|also| (also.unit, also.measured.min)), Some((Unit::Ns, 40.0)));
        assert_eq!(Figure::new("size", Unit::Lines, vec![1.0]).converted(2.5).also, None);
    }
}

//! What samples come to: minimum, median, percentiles and maximum.

use serde::{Deserialize, Serialize};

/// What samples come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Summary {
    /// How many samples there are.
    pub(super) samples: usize,
    /// The smallest sample.
    pub(super) min: f64,
    /// The middle sample, or the mean of the two in the middle.
    pub(super) median: f64,
    /// The smallest sample that is not exceeded by 99 of 100 samples.
    pub(super) p99: f64,
    /// The largest sample.
    pub(super) max: f64,
    /// The percentiles 1 to 99, from which a distribution is drawn.
    percentiles: Vec<f64>,
}

/// How many percentiles there are.
const PERCENTILES: usize = 99;

impl Summary {
    /// Summarizes samples.
    ///
    /// # Panics
    ///
    /// If there is no sample, or one is not a finite number.
    pub(super) fn of(mut samples: Vec<f64>) -> Summary {
        assert!(!samples.is_empty(), "there is nothing to summarize");
        assert!(samples.iter().all(|sample| sample.is_finite()), "a sample is no number");
        samples.sort_by(f64::total_cmp);
        Summary {
            samples: samples.len(),
            min: samples[0],
            median: median(&samples),
            p99: percentile(&samples, 99),
            max: samples[samples.len() - 1],
            percentiles: (1..=PERCENTILES).map(|percent| percentile(&samples, percent)).collect(),
        }
    }

    /// Whether all that a summary promises is there; one that was read from a file may be anything.
    pub(super) fn is_complete(&self) -> bool {
        self.samples > 0 && self.percentiles.len() == PERCENTILES
    }

    /// The sample at this percentile, of 1 to 99, by nearest rank.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        self.percentiles[percent - 1]
    }

    /// The width of the middle half of all samples.
    pub(super) fn spread(&self) -> f64 {
        self.percentile(75) - self.percentile(25)
    }
}

/// The median of sorted samples.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2.0 } else { sorted[middle] }
}

/// The sample at this percentile of sorted samples, by nearest rank.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minimum, median, 99th percentile and maximum.
    fn of(samples: &[f64]) -> [f64; 4] {
        let summary = Summary::of(samples.to_vec());
        assert_eq!(summary.samples, samples.len());
        assert!(summary.is_complete());
        [summary.min, summary.median, summary.p99, summary.max]
    }

    #[test]
    fn one_sample_is_everything() {
        assert_eq!(of(&[7.0]), [7.0; 4]);
        assert_eq!(Summary::of(vec![7.0]).spread(), 0.0);
    }

    #[test]
    fn the_order_of_samples_does_not_matter() {
        assert_eq!(of(&[5.0, 1.0, 3.0]), [1.0, 3.0, 5.0, 5.0]);
    }

    #[test]
    fn an_even_number_of_samples_has_its_median_between_two() {
        assert_eq!(of(&[4.0, 1.0, 2.0, 100.0])[1], 3.0);
    }

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 99), 99.0);
        assert_eq!(percentile(&hundred, 100), 100.0);
        assert_eq!(percentile(&hundred, 0), 1.0);
        // Of ten samples none but the largest is exceeded by fewer than one in a hundred.
        assert_eq!(percentile(&hundred[..10], 99), 10.0);
        assert_eq!(percentile(&hundred[..10], 50), 5.0);
        let summary = Summary::of(hundred);
        assert_eq!((summary.percentile(1), summary.percentile(99), summary.spread()), (1.0, 99.0, 50.0));
    }

    #[test]
    fn an_outlier_moves_neither_minimum_nor_median() {
        let mut samples = vec![10.0; 201];
        samples[17] = 1e9;
        assert_eq!(of(&samples), [10.0, 10.0, 10.0, 1e9]);
    }

    #[test]
    #[should_panic(expected = "no number")]
    fn what_is_no_number_is_not_summarized() {
        Summary::of(vec![1.0, f64::NAN]);
    }
}

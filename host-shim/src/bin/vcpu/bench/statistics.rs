//! Minimum, median and percentiles of samples.

/// What samples come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    /// The smallest sample.
    pub(super) min: f64,
    /// The middle sample, or the mean of the two in the middle.
    pub(super) median: f64,
    /// The smallest sample that is not exceeded by 99 of 100 samples.
    pub(super) p99: f64,
}

impl Summary {
    /// Summarizes samples, of which there is at least one and none is NaN.
    pub(super) fn of(mut samples: Vec<f64>) -> Summary {
        assert!(!samples.is_empty(), "there is nothing to summarize");
        samples.sort_by(f64::total_cmp);
        Summary { min: samples[0], median: median(&samples), p99: percentile(&samples, 99) }
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

    #[test]
    fn one_sample_is_everything() {
        assert_eq!(Summary::of(vec![7.0]), Summary { min: 7.0, median: 7.0, p99: 7.0 });
    }

    #[test]
    fn the_order_of_samples_does_not_matter() {
        let summary = Summary::of(vec![5.0, 1.0, 3.0]);
        assert_eq!(summary, Summary { min: 1.0, median: 3.0, p99: 5.0 });
    }

    #[test]
    fn an_even_number_of_samples_has_its_median_between_two() {
        assert_eq!(Summary::of(vec![4.0, 1.0, 2.0, 100.0]).median, 3.0);
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
    }

    #[test]
    fn an_outlier_moves_neither_minimum_nor_median() {
        let mut samples = vec![10.0; 201];
        samples[17] = 1e9;
        assert_eq!(Summary::of(samples), Summary { min: 10.0, median: 10.0, p99: 10.0 });
    }
}

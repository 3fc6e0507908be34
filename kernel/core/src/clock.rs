//! Converting counter ticks to nanoseconds.
//!
//! A counter's rate is no whole number of anything, and dividing by it would be slow. So the machine gives the
//! length of a tick as a fraction whose denominator is a power of two: one multiplication, in 128 bits because
//! a year of ticks times the multiplier does not fit into 64, and one shift.

/// Nanoseconds that `ticks` of a counter last: `(ticks * multiplier) >> shift`, saturating.
///
/// `shift` is taken modulo 64; a machine gives one below that.
///
/// ```
/// // A counter of 2.5 GHz, 0.4 ns a tick.
/// let multiplier = (0.4 * (1u64 << 32) as f64) as u64;
/// assert_eq!(vcpu_kernel_core::clock::nanoseconds(25, multiplier, 32), 9);
/// ```
#[inline]
pub fn nanoseconds(ticks: u64, multiplier: u64, shift: u32) -> u64 {
    let product = u128::from(ticks) * u128::from(multiplier);
    // Each switch does this, and a shift of 128 bits by any number takes longer.
    let (high, low, shift) = ((product >> 64) as u64, product as u64, shift & 63);
    if high >> shift != 0 { u64::MAX } else { low >> shift | high << 1 << (63 - shift) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_year_at_five_gigahertz_neither_overflows_nor_drifts() {
        let ticks = 5_000_000_000 * 86_400 * 365;
        let multiplier = (1u64 << 32) / 5;
        let expected = 86_400 * 365 * 1_000_000_000u64;
        let error = nanoseconds(ticks, multiplier, 32).abs_diff(expected);
        assert!(error < expected / 1_000_000_000);
    }

    #[test]
    fn what_does_not_fit_saturates() {
        assert_eq!(nanoseconds(u64::MAX, u64::MAX, 0), u64::MAX);
    }

    proptest! {
        #[test]
        fn it_is_the_product_shifted(ticks: u64, multiplier: u64, shift in 0u32..64) {
            let exact = (u128::from(ticks) * u128::from(multiplier)) >> shift;
            prop_assert_eq!(nanoseconds(ticks, multiplier, shift), u64::try_from(exact).unwrap_or(u64::MAX));
        }

        #[test]
        fn later_ticks_are_never_earlier_times(a: u64, b: u64, multiplier: u64, shift in 0u32..64) {
            let (early, late) = (a.min(b), a.max(b));
            prop_assert!(nanoseconds(early, multiplier, shift) <= nanoseconds(late, multiplier, shift));
        }
    }
}

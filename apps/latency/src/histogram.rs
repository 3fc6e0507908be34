//! A histogram as text.

use core::fmt::Write;
use core::iter;
use libvcpu::prelude::*;

/// Characters of the longest bar.
const WIDTH: usize = 50;

/// Draws how many of the sorted durations (ns) lie below one microsecond, from there to two, to four, and so
/// on. Rows above the first and below the last that has any are left out.
pub(crate) fn draw(sorted: &[u64]) -> String {
    let limits = iter::successors(Some(1000u64), |limit| limit.checked_mul(2));
    let mut rows = Vec::new();
    let mut rest = sorted;
    for limit in limits {
        if rest.is_empty() {
            break;
        }
        let count = rest.partition_point(|duration| *duration < limit);
        rest = &rest[count..];
        if count > 0 || !rows.is_empty() {
            rows.push((limit / 1000, count));
        }
    }
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let mut text = String::new();
    for (limit, count) in rows {
        let bar = "#".repeat((count * WIDTH).div_ceil(most));
        // A string takes everything.
        let _ = writeln!(text, "{:>10} | {bar:<WIDTH$} {count}", format!("< {limit} µs"));
    }
    text
}

//! The figures as a table for people: each with its native counterpart below it, in every unit that it has.

use super::figure::{Converted, Figure, Unit, number, ratio};
use super::statistics::Summary;

const COLUMNS: [&str; 10] =
    ["name", "unit", "samples", "min", "median", "p99", "ratio", "p99 ratio", "target", "ok?"];
/// Which columns hold numbers and are right-aligned.
const NUMBERS: std::ops::RangeInclusive<usize> = 2..=7;

pub(super) fn table(figures: &[Figure]) -> String {
    let rows: Vec<_> = figures.iter().flat_map(rows).collect();
    aligned(&COLUMNS, NUMBERS, &rows)
}

/// The lines of a figure.
fn rows(figure: &Figure) -> Vec<[String; COLUMNS.len()]> {
    let row = |name: &str, unit: Unit, samples: Option<usize>, values: [f64; 3]| {
        let [min, median, p99] = values.map(number);
        let samples = samples.map_or_else(String::new, |samples| number(samples as f64));
        let empty = std::array::from_fn::<_, 4, _>(|_| String::new());
        let [ratio, tail, target, verdict] = empty;
        [name.into(), unit.name().into(), samples, min, median, p99, ratio, tail, target, verdict]
    };
    let summary = |summary: &Summary| [summary.min, summary.median, summary.p99];
    let converted = |also: Converted| [also.min, also.median, also.p99];

    let measured = &figure.measured;
    let mut first = row(&figure.name, figure.unit, Some(measured.samples), summary(measured));
    first[6] = figure.ratio.map_or_else(String::new, ratio);
    first[7] = figure.tail_ratio.map_or_else(String::new, ratio);
    first[8] = figure.target_in_words();
    first[9] = figure.verdict().into();
    let mut rows = vec![first];
    rows.extend(figure.also.map(|also| row("", also.unit, None, converted(also.measured))));
    if let Some(native) = &figure.native {
        rows.push(row("  native", figure.unit, Some(native.samples), summary(native)));
        let also = figure.also.and_then(|also| Some((also.unit, also.native?)));
        rows.extend(also.map(|(unit, native)| row("", unit, None, converted(native))));
    }
    rows
}

/// Rows below their header, each column as wide as it must be and those of numbers right-aligned.
pub(super) fn aligned<const N: usize>(
    header: &[&str; N],
    numbers: std::ops::RangeInclusive<usize>,
    rows: &[[String; N]],
) -> String {
    let header = header.map(String::from);
    let lines = || std::iter::once(&header).chain(rows);
    let width = |column: usize| lines().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in lines() {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if numbers.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::figure::Target;
    use super::*;

    #[test]
    fn a_figure_has_a_line_below_the_header() {
        let figure = Figure::new("memory.host", Unit::Bytes, vec![4096.0]).at_most(Target::Median(1.0));
        let table = table(&[figure]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("name") && lines[0].ends_with("ok?"));
        assert!(lines[1].contains("4,096") && lines[1].ends_with("NO"));
    }

    #[test]
    fn a_time_with_a_counterpart_has_both_in_both_units() {
        let figure = Figure::new("call", Unit::Ns, vec![100.0]).over(&[40.0]).converted(2.0);
        let table = table(&[figure]);
        let words = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
        let lines: Vec<_> = table.lines().skip(1).map(words).collect();
        assert_eq!(lines[0], ["call", "ns", "1", "100", "100", "100", "2.5000", "2.5000"]);
        assert_eq!(lines[1], ["cycles", "200", "200", "200"]);
        assert_eq!(lines[2], ["native", "ns", "1", "40", "40", "40"]);
        assert_eq!(lines[3], ["cycles", "80", "80", "80"]);
    }
}

//! A measured figure, what it must reach, and how all of them are shown.

use super::statistics::Summary;
use serde::Serialize;
use std::fmt::Write;

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unit {
    Ns,
    Bytes,
    Cycles,
    Instructions,
    Lines,
}

/// What a figure must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    /// Its median is at most this.
    Median(f64),
    /// Its median is at most so many times its counterpart's.
    Ratio(f64),
}

/// A figure; its name is kept for ever, so that results can be compared over time.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) p99: f64,
    /// The median of the native counterpart in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) baseline: Option<f64>,
    /// The median over the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ratio: Option<f64>,
    #[serde(skip)]
    pub(super) target: Option<Target>,
}

impl Figure {
    /// A figure without a counterpart.
    pub(super) fn new(name: &'static str, unit: Unit, samples: Vec<f64>) -> Figure {
        let Summary { min, median, p99 } = Summary::of(samples);
        Figure { name, unit, min, median, p99, baseline: None, ratio: None, target: None }
    }

    /// Gives it its native counterpart.
    pub(super) fn over(self, native: &[f64]) -> Figure {
        let baseline = Summary::of(native.to_vec()).median;
        Figure { baseline: Some(baseline), ratio: Some(self.median / baseline), ..self }
    }

    /// Gives it its target.
    pub(super) fn at_most(self, target: Target) -> Figure {
        Figure { target: Some(target), ..self }
    }

    /// Whether it reaches its target.
    fn is_reached(&self) -> Option<bool> {
        match self.target? {
            Target::Median(most) => Some(self.median <= most),
            Target::Ratio(most) => Some(self.ratio? <= most),
        }
    }

    fn row(&self) -> [String; COLUMNS.len()] {
        let unit = match self.unit {
            Unit::Ns => "ns",
            Unit::Bytes => "bytes",
            Unit::Cycles => "cycles",
            Unit::Instructions => "instructions",
            Unit::Lines => "lines",
        };
        let optional = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        [
            self.name.into(),
            unit.into(),
            number(self.min),
            number(self.median),
            number(self.p99),
            optional(self.baseline.map(number)),
            optional(self.ratio.map(ratio)),
            optional(self.target.map(|target| match target {
                Target::Median(most) => format!("{} {unit}", number(most)),
                Target::Ratio(most) => format!("ratio {most}"),
            })),
            optional(self.is_reached().map(|reached| if reached { "yes" } else { "NO" }.into())),
        ]
    }
}

const COLUMNS: [&str; 9] = ["name", "unit", "min", "median", "p99", "baseline", "ratio", "target", "ok?"];

/// The figures as a table for people.
pub(super) fn table(figures: &[Figure]) -> String {
    let header = COLUMNS.map(String::from);
    let rows: Vec<_> = std::iter::once(header).chain(figures.iter().map(Figure::row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Numbers are right-aligned. Writing to a string cannot fail.
            let _ = match column {
                2..=6 => write!(line, "{cell:>width$}  "),
                _ => write!(line, "{cell:<width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The figures as a list of objects.
pub(super) fn json(figures: &[Figure]) -> String {
    let mut text = serde_json::to_string_pretty(figures).expect("figures are numbers and names");
    text.push('\n');
    text
}

/// A number as people read it: thousands apart, and a digit behind the point if it is small.
fn number(value: f64) -> String {
    if value < 1000.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A relation, with the digits that matter near one.
fn ratio(value: f64) -> String {
    if value < 10.0 { format!("{value:.4}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_easily() {
        for (value, text) in [
            (0.0, "0"),
            (103.25, "103.2"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (7120.4, "7,120"),
            (8_388_608.0, "8,388,608"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_target_is_reached_at_its_limit_and_missed_above() {
        let figure = Figure::new("call", Unit::Ns, vec![900.0]).over(&[10.0]);
        assert_eq!(figure.is_reached(), None);
        assert_eq!(figure.clone().at_most(Target::Ratio(90.0)).is_reached(), Some(true));
        assert_eq!(figure.clone().at_most(Target::Ratio(89.9)).is_reached(), Some(false));
        assert_eq!(figure.at_most(Target::Median(899.0)).is_reached(), Some(false));
    }

    #[test]
    fn the_file_has_counterparts_only_where_there_are_some() {
        let alone = Figure::new("size.host", Unit::Lines, vec![1500.0]).at_most(Target::Median(2000.0));
        let pair = Figure::new("compute.fib", Unit::Ns, vec![3.0]).over(&[2.0]);
        let list: serde_json::Value = serde_json::from_str(&json(&[alone, pair])).unwrap();
        let keys = |index: usize| list[index].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(0), ["median", "min", "name", "p99", "unit"]);
        assert_eq!(keys(1), ["baseline", "median", "min", "name", "p99", "ratio", "unit"]);
        assert_eq!((&list[1]["unit"], &list[1]["ratio"]), (&"ns".into(), &1.5.into()));
    }

    #[test]
    fn the_table_has_a_line_for_each_figure_below_its_header() {
        let figure = Figure::new("memory.host", Unit::Bytes, vec![4096.0]).at_most(Target::Median(1.0));
        let table = table(&[figure]);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("name") && lines[0].ends_with("ok?"));
        assert!(lines[1].contains("4,096") && lines[1].ends_with("NO"));
    }
}

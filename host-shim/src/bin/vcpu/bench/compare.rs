//! What moved between two runs.
//!
//! The same figure differs from run to run, and by how much, its own samples say: it has moved if its median
//! differs by more than the middle half of its samples is wide, in the run where that is wider. What has one
//! sample only, such as a count of lines, moves by any difference.

use super::figure::{Figure, number, ratio};
use super::record::Record;
use super::table::aligned;
use std::fmt::Write as _;

const COLUMNS: [&str; 8] =
    ["name", "unit", "before", "after", "change", "ratio before", "ratio after", "moved?"];

/// The figures of two runs side by side, and what else differs.
pub(super) fn compare(before: &Record, after: &Record) -> String {
    let mut text = String::new();
    let mut add = |line: &str| writeln!(text, "{line}").expect("a string takes all");
    let versions = |record: &Record| {
        let circumstances = record.circumstances().into_iter();
        circumstances.map(|(word, value)| (word, printable(&value))).collect::<Vec<_>>()
    };
    add(&format!("before: {}\nafter: {}", printable(&before.date), printable(&after.date)));
    if before.machine != after.machine {
        add("The machines differ: ratios can be compared, and absolute figures cannot.");
    }
    for (word, value) in versions(before) {
        let other = versions(after).into_iter().find(|(other, _)| *other == word);
        let other = other.map_or_else(|| "unknown".into(), |(_, other)| other);
        if value != other && ["processor", "kernel", "vcpu", "images"].contains(&word) {
            add(&format!("{word}: {value}; after: {other}"));
        }
    }
    let find = |figure: &Figure, record: &Record| {
        record.figures.iter().find(|f| f.name == figure.name && f.unit == figure.unit).cloned()
    };
    let pairs = before.figures.iter().filter_map(|old| Some((old, find(old, after)?)));
    let rows: Vec<_> = pairs.map(|(old, new)| row(old, &new)).collect();
    add(&format!("\n{}", aligned(&COLUMNS, 2..=6, &rows)));
    let moved = rows.iter().filter(|row| !row[7].is_empty()).count();
    add(&format!(
        "{moved} of {} moved: by more than the middle half of a figure's samples is wide, in either run.",
        rows.len()
    ));
    for (one, other, when) in [(before, after, "before"), (after, before, "after")] {
        let alone = one.figures.iter().filter(|figure| find(figure, other).is_none());
        let names: Vec<_> = alone.map(|figure| printable(&figure.name)).collect();
        if !names.is_empty() {
            add(&format!("Only {when}: {}.", names.join(", ")));
        }
    }
    text
}

fn row(before: &Figure, after: &Figure) -> [String; COLUMNS.len()] {
    let [old, new] = [before.measured.median, after.measured.median];
    let change = match old {
        0.0 => "-".into(),
        _ => format!("{:+.1}%", (new - old) / old.abs() * 100.0),
    };
    let moved = match is_moved(before, after) {
        false => "",
        true if (new > old) == after.is_better_if_more() => "better",
        true => "WORSE",
    };
    let [old_ratio, new_ratio] = [before, after].map(|figure| figure.ratio.map_or_else(|| "-".into(), ratio));
    let unit = before.unit.name();
    let name = printable(&before.name);
    [name, unit.into(), number(old), number(new), change, old_ratio, new_ratio, moved.into()]
}

fn is_moved(before: &Figure, after: &Figure) -> bool {
    let noise = before.measured.spread().max(after.measured.spread());
    (after.measured.median - before.measured.median).abs() > noise
}

/// What a file says, without what a terminal would take for a command.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::super::figure::{Target, Unit};
    use super::super::record::example;
    use super::*;

    /// Samples around this one, of which the middle half is 10 wide.
    fn around(middle: i32) -> Vec<f64> {
        (middle - 10..middle + 10).map(f64::from).collect()
    }

    fn call(middle: i32) -> Figure {
        Figure::new("call", Unit::Ns, around(middle))
    }

    /// The line of a figure, word by word.
    fn line(before: Figure, after: Figure) -> Vec<String> {
        let name = before.name.clone();
        let text = compare(&example(vec![before]), &example(vec![after]));
        let line = text.lines().find(|line| line.starts_with(&name)).expect("it has a line");
        line.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn a_median_has_moved_if_it_left_the_width_of_the_middle_half() {
        assert!(!is_moved(&call(1000), &call(1000)));
        assert!(!is_moved(&call(1000), &call(1010)) && !is_moved(&call(1010), &call(1000)));
        assert!(is_moved(&call(1000), &call(1011)) && is_moved(&call(1011), &call(1000)));
        let wide = Figure::new("call", Unit::Ns, (0..2000).map(f64::from).collect());
        assert!(!is_moved(&wide, &call(1100)) && !is_moved(&call(1100), &wide));
    }

    #[test]
    fn what_has_one_sample_moves_by_any_difference() {
        let lines = |count| Figure::new("size", Unit::Lines, vec![count]);
        assert_eq!(
            line(lines(100.0), lines(101.0)),
            ["size", "lines", "100", "101", "+1.0%", "-", "-", "WORSE"]
        );
        assert_eq!(line(lines(100.0), lines(100.0)), ["size", "lines", "100", "100", "+0.0%", "-", "-"]);
    }

    #[test]
    fn less_is_better_but_where_the_target_is_a_least() {
        assert_eq!(line(call(1000), call(900)).last().unwrap(), "better");
        assert_eq!(line(call(900), call(1000)).last().unwrap(), "WORSE");
        let scale = |count| Figure::new("s", Unit::Count, vec![count]).reaching(Target::AtLeast(1000.0));
        assert_eq!(line(scale(900.0), scale(1000.0)).last().unwrap(), "better");
        assert_eq!(line(scale(1000.0), scale(900.0)).last().unwrap(), "WORSE");
    }

    #[test]
    fn ratios_stand_beside_and_zero_has_no_change() {
        let row = line(call(1000).over(&[100.0]), call(1000).over(&[50.0]));
        assert_eq!(row[5..], ["9.9950", "20.0"]);
        let idle = |share| Figure::new("idle", Unit::Percent, vec![share]);
        assert_eq!(line(idle(0.0), idle(0.5))[4], "-");
    }

    #[test]
    fn figures_of_one_run_only_and_other_machines_are_named() {
        let one = example(vec![call(1), Figure::new("old", Unit::Ns, vec![1.0])]);
        let mut other = example(vec![call(1), Figure::new("new", Unit::Ns, vec![1.0])]);
        let text = compare(&one, &other);
        assert!(text.contains("Only before: old.") && text.contains("Only after: new."), "{text}");
        assert!(text.contains("0 of 1 moved") && !text.contains("differ"), "{text}");
        other.machine.processor = "\u{1b}[2Janother".into();
        let text = compare(&one, &other);
        assert!(text.contains("The machines differ"), "{text}");
        assert!(text.contains("another") && !text.contains('\u{1b}'), "{text}");
    }
}

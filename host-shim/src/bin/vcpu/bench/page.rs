//! A run's record as one page: the machine, the table, the plots. It needs nothing but itself: no script, no
//! font, no other file; and it is XML as well as HTML.

use super::figure::{Converted, Figure, Series, number, ratio};
use super::plot;
use super::record::Record;
use super::statistics::Summary;
use std::fmt::Write as _;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #bbb; --missed: #b00020; }
@media (prefers-color-scheme: dark) { :root { --line: #555; --missed: #ff8a80; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 86rem; margin: 2rem auto; padding: 0 1rem;
  background: Canvas; color: CanvasText; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; }
dt { font-weight: bold; } dd { margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .1rem .5rem; text-align: right; white-space: nowrap; }
th[scope=row], .text { text-align: left; } th[colspan] { text-align: center; }
thead, tbody { border-bottom: 1px solid var(--line); }
.also { opacity: .75; } .missed { color: var(--missed); font-weight: bold; }
figure { margin: 1rem 0; max-width: 62rem; } figcaption { font-size: 13px; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 0 1rem; }
svg { width: 100%; height: auto; }
svg [fill='#000000'] { fill: currentColor; } svg [stroke='#000000'] { stroke: currentColor; }
";

/// The page.
pub(super) fn page(record: &Record) -> String {
    let figures = &record.figures;
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width\"/>\n<title>vcpu bench, {}</title>\n\
         <style>{STYLE}svg polyline[stroke='{}'] {{ stroke-dasharray: 6 3; }}\n</style>\n</head>\n<body>\n\
         <h1>What a virtual CPU costs</h1>\n<dl>\n",
        escaped(&record.date),
        colour(plot::NATIVE),
    );
    for (word, value) in record.circumstances() {
        add(&mut text, format_args!("<dt>{word}</dt><dd>{}</dd>", escaped(&value)));
    }
    text.push_str("</dl>\n");
    add(&mut text, format_args!("<h2>Figures</h2>\n<p>{}</p>", escaped(&verdicts(figures))));
    table(&mut text, figures);
    ratios(&mut text, figures);
    series(&mut text, figures);
    distributions(&mut text, figures);
    text.push_str("</body>\n</html>\n");
    text
}

/// Text as HTML and XML take it. What XML does not take in any form is replaced.
pub(super) fn escaped(text: &str) -> String {
    let mut result = String::new();
    for character in text.chars() {
        match character {
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            '&' => result.push_str("&amp;"),
            '"' => result.push_str("&quot;"),
            '\'' => result.push_str("&#39;"),
            _ if is_no_text(character) => result.push(char::REPLACEMENT_CHARACTER),
            _ => result.push(character),
        }
    }
    result
}

/// Whether XML does not take a character.
pub(super) fn is_no_text(character: char) -> bool {
    (character.is_control() && character != '\n') || matches!(character, '\u{fffe}' | '\u{ffff}')
}

/// A line.
fn add(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes all");
}

fn colour(plotters::style::RGBColor(red, green, blue): plotters::style::RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// How many targets are reached, and which are not.
fn verdicts(figures: &[Figure]) -> String {
    let with = figures.iter().filter(|figure| figure.reached.is_some()).count();
    let missed: Vec<_> = figures.iter().filter(|figure| figure.reached == Some(false)).collect();
    let names = missed.iter().map(|figure| figure.name.as_str()).collect::<Vec<_>>().join(", ");
    match missed.len() {
        0 => format!("All of {with} targets are reached."),
        count => format!("Of {with} targets {} are reached; missed: {names}.", with - count),
    }
}

fn table(text: &mut String, figures: &[Figure]) {
    text.push_str(
        "<div class=\"wide\"><table>\n<thead>\n<tr><th rowspan=\"2\" class=\"text\">name</th>\
         <th rowspan=\"2\" class=\"text\">target</th><th rowspan=\"2\">ok?</th><th colspan=\"2\">ratio</th>\
         <th rowspan=\"2\" class=\"text\">unit</th><th colspan=\"4\">on a virtual CPU</th>\
         <th colspan=\"4\">native</th></tr>\n<tr><th>median</th><th>p99</th><th>samples</th><th>min</th>\
         <th>median</th><th>p99</th><th>samples</th><th>min</th><th>median</th><th>p99</th></tr>\n</thead>\n",
    );
    for figure in figures {
        text.push_str("<tbody>\n");
        let rows = if figure.also.is_some() { 2 } else { 1 };
        let span = |content: &str, class: &str| {
            format!("<td rowspan=\"{rows}\" class=\"{class}\">{}</td>", escaped(content))
        };
        let optional = |value: Option<f64>| span(&value.map_or_else(String::new, ratio), "");
        let class = if figure.reached == Some(false) { "missed" } else { "" };
        add(
            text,
            format_args!(
                "<tr><th scope=\"row\" rowspan=\"{rows}\">{}</th>{}{}{}{}<td class=\"text\">{}</td>{}{}</tr>",
                escaped(&figure.name),
                span(&figure.target_in_words(), "text"),
                span(figure.verdict(), class),
                optional(figure.ratio),
                optional(figure.tail_ratio),
                figure.unit.name(),
                cells(Some(&figure.measured)),
                cells(figure.native.as_ref()),
            ),
        );
        if let Some(also) = figure.also {
            let cells = |values: Option<Converted>| {
                let values = values.map(|v| [v.min, v.median, v.p99].map(number)).unwrap_or_default();
                format!("<td></td>{}", values.map(|value| format!("<td>{value}</td>")).concat())
            };
            let (unit, measured, native) = (also.unit.name(), cells(Some(also.measured)), cells(also.native));
            add(
                text,
                format_args!("<tr class=\"also\"><td class=\"text\">{unit}</td>{measured}{native}</tr>"),
            );
        }
        text.push_str("</tbody>\n");
    }
    text.push_str("</table></div>\n");
}

/// Samples, minimum, median, 99th percentile.
fn cells(summary: Option<&Summary>) -> String {
    let values = summary.map(|s| [s.samples as f64, s.min, s.median, s.p99].map(number)).unwrap_or_default();
    values.map(|value| format!("<td>{value}</td>")).concat()
}

/// What the two kinds of line are.
fn legend() -> String {
    format!(
        "<span style=\"color:{}\">●</span> solid: on a virtual CPU; \
         <span style=\"color:{}\">●</span> dashed: native",
        colour(plot::GUEST),
        colour(plot::NATIVE)
    )
}

fn ratios(text: &mut String, figures: &[Figure]) {
    let with: Vec<_> = figures.iter().filter(|figure| figure.ratio.is_some()).collect();
    if !with.is_empty() {
        add(
            text,
            format_args!(
                "<h2>Ratios</h2>\n<figure>{}<figcaption>Filled: median over native median. Open: 99th \
                 percentile over the native one. Bar: what it must be at most.</figcaption></figure>",
                plot::ratios(&with)
            ),
        );
    }
}

fn series(text: &mut String, figures: &[Figure]) {
    let mut all: Vec<(&Series, Vec<(f64, &Figure)>)> = Vec::new();
    for figure in figures {
        let Some(series) = &figure.series else { continue };
        // Figures of different units have no axis in common.
        let is = |(one, members): &&mut (&Series, Vec<(f64, &Figure)>)| {
            one.name == series.name && members[0].1.unit == figure.unit
        };
        match all.iter_mut().find(is) {
            Some((_, members)) => members.push((series.x, figure)),
            None => all.push((series, vec![(series.x, figure)])),
        }
    }
    if !all.is_empty() {
        text.push_str("<h2>Series</h2>\n");
    }
    for (Series { name, axis, .. }, mut members) in all {
        members.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        add(
            text,
            format_args!(
                "<h3>{}</h3>\n<figure>{}<figcaption>Medians over the number of {}, and the band of the \
                 percentiles 5 to 95. {}</figcaption></figure>",
                escaped(name),
                plot::series(name, axis, &members),
                escaped(axis),
                legend()
            ),
        );
    }
}

/// Distributions of what has several samples.
fn distributions(text: &mut String, figures: &[Figure]) {
    let several: Vec<_> = figures.iter().filter(|figure| figure.measured.samples > 1).collect();
    if several.is_empty() {
        return;
    }
    add(
        text,
        format_args!(
            "<h2>Distributions</h2>\n<p>How many of the samples are at most so much, up to the 99th \
             percentile. {}</p>\n<div class=\"grid\">",
            legend()
        ),
    );
    for figure in several {
        add(
            text,
            format_args!(
                "<figure><figcaption>{}</figcaption>{}</figure>",
                escaped(&figure.name),
                plot::distribution(figure)
            ),
        );
    }
    text.push_str("</div>\n");
}

#[cfg(test)]
mod tests {
    use super::super::figure::{Target, Unit};
    use super::super::record;
    use super::*;

    /// The names of all elements of a page, which is well-formed.
    fn elements(page: &str) -> Vec<String> {
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        let document = roxmltree::Document::parse_with_options(page, options).expect("it is XML");
        document.descendants().filter(|node| node.is_element()).map(|e| e.tag_name().name().into()).collect()
    }

    fn figures() -> Vec<Figure> {
        let samples = |factor: f64| (1..=200).map(|sample| f64::from(sample) * factor).collect::<Vec<_>>();
        let latency = |threads: f64| {
            Figure::new(format!("event.running.{threads}"), Unit::Ns, samples(1.0))
                .over(&samples(0.5))
                .at_most(Target::MedianAndTail(1.25))
                .in_series("event.running", "compute threads", threads)
        };
        let lines = Figure::new("size.host", Unit::Lines, vec![1500.0]).at_most(Target::Median(2000.0));
        vec![latency(100.0), latency(0.0), lines]
    }

    #[test]
    fn a_page_has_table_and_plots_and_needs_nothing_else() {
        let page = page(&record::example(figures()));
        let elements = elements(&page);
        let count = |name: &str| elements.iter().filter(|element| *element == name).count();
        // All ratios, one series, two distributions; each is named for those who do not see it.
        assert_eq!((count("svg"), count("desc"), count("title")), (4, 4, 5));
        assert_eq!(count("tbody"), 3);
        for other in ["script", "link", "img", "iframe", "image", "use"] {
            assert_eq!(count(other), 0, "{other}");
        }
        for fetch in ["http", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(fetch), "{fetch}");
        }
        assert!(page.contains("Of 3 targets 1 are reached; missed: event.running.100, event.running.0."));
        let at = |x: &str| page.find(&format!("at {x}: median")).expect("it is described");
        assert!(at("0") < at("100"), "a series is in the order of its numbers");
    }

    #[test]
    fn a_page_without_figures_or_ratios_has_no_plots() {
        assert!(!elements(&page(&record::example(Vec::new()))).contains(&"svg".into()));
        assert!(!elements(&page(&record::example(figures().split_off(2)))).contains(&"svg".into()));
    }

    #[test]
    fn what_a_machine_or_a_name_says_stays_text() {
        let hostile = "</dd><script>alert('\"&\u{0}\u{1b}\u{ffff}')</script>";
        let figure = Figure::new(hostile, Unit::Ns, vec![1.0, 2.0]).over(&[1.0]);
        let mut record = record::example(vec![figure.in_series(hostile, hostile, 1.0)]);
        record.machine.processor = hostile.into();
        record.machine.kernel = hostile.into();
        record.versions.rustc = Some(hostile.into());
        let elements = elements(&page(&record));
        assert!(!elements.contains(&"script".into()), "{elements:?}");
        assert_eq!(elements.iter().filter(|element| *element == "svg").count(), 3);
    }
}

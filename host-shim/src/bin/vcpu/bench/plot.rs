//! The plots of the page, as SVG to be put into HTML.
//!
//! What is black here takes the colour of the page's text, and lines of native counterparts are dashed: the
//! page's style sheet says both, by the colours.

use super::figure::{Figure, Unit, number, ratio};
use super::page::{escaped, is_no_text};
use super::statistics::Summary;
use plotters::coord::Shift;
use plotters::coord::combinators::{BindKeyPoints, LogCoord, WithKeyPoints};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// The colour of what runs on a virtual CPU.
pub(super) const GUEST: RGBColor = RGBColor(47, 126, 190);
/// The colour of its native counterpart.
pub(super) const NATIVE: RGBColor = RGBColor(208, 116, 20);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

/// A font that every browser has, of this size; the backend writes it smaller by a quarter.
fn font(pixels: i32) -> (&'static str, i32) {
    ("sans-serif", pixels * 5 / 4)
}

/// An SVG element of this size, with a name and a description for those who do not see it.
fn svg(
    (width, height): (u32, u32),
    title: &str,
    description: &str,
    draw: impl FnOnce(&Area<'_>) -> Drawn<'static>,
) -> String {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        draw(&area).and_then(|()| area.present()).expect("a string takes all");
    }
    let (_, content) = text.split_once('\n').expect("the first line is that of the element");
    // The backend escapes its texts, but lets everything else pass.
    let content = content.replace(is_no_text, "\u{fffd}");
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\"><title>{}</title><desc>{}</desc>\n{content}",
        escaped(title),
        escaped(description)
    )
}

/// From the least to the largest of these, with a margin.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
    if is_wide((low, high)) {
        return (low * 0.9, high * 1.1);
    }
    let margin = ((high - low) * 0.04).max(high.abs() * 0.005).max(1e-3);
    (if low == 0.0 { low } else { low - margin }, high + margin)
}

/// Whether values of this range are better seen by their magnitudes.
fn is_wide((low, high): (f64, f64)) -> bool {
    low > 0.0 && high / low > 8.0
}

/// An axis of magnitudes with at most so many numbers beside it, if powers of ten are not more.
fn logarithmic((low, high): (f64, f64), most: usize) -> WithKeyPoints<LogCoord<f64>> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let points = |digits: &[f64]| {
        let all = powers.clone().flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)));
        all.filter(|point| (low..high).contains(point)).collect::<Vec<_>>()
    };
    let fine = points(&[1.0, 2.0, 5.0]);
    let points = if fine.len() <= most { fine } else { points(&[1.0]) };
    (low..high).log_scale().with_key_points(points)
}

/// All ratios, with what they must be at most.
pub(super) fn ratios(figures: &[&Figure]) -> String {
    // The first one on top.
    let figures: Vec<_> = figures.iter().rev().collect();
    let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
    // What is zero has no magnitude.
    let ratios = |figure: &Figure| {
        let all = [figure.ratio, figure.tail_ratio, figure.most_ratio()];
        all.map(|ratio| ratio.filter(|ratio| *ratio > 0.0))
    };
    let values = figures.iter().flat_map(|figure| ratios(figure)).flatten();
    let range = range(values.chain([0.25, 4.0]));
    let height = 56 + 20 * figures.len() as u32;
    let described: Vec<String> =
        figures.iter().map(|f| format!("{} {}", f.name, f.ratio.map_or_else(String::new, ratio))).collect();
    svg((860, height), "Ratios to the native counterparts", &described.join("; "), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_right(24)
            .x_label_area_size(40)
            .y_label_area_size(210)
            .build_cartesian_2d(logarithmic(range, 10), (0..names.len() - 1).into_segmented())?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .x_desc("times the native counterpart (logarithmic)")
            .x_label_formatter(&|value| tick(*value))
            .y_labels(names.len() + 1)
            .y_label_formatter(&|value| match value {
                SegmentValue::CenterOf(row) => names.get(*row).copied().unwrap_or_default().into(),
                _ => String::new(),
            })
            .label_style(font(12))
            .draw()?;
        let area = chart.plotting_area();
        let bounds = [SegmentValue::Exact(0), SegmentValue::Last];
        area.draw(&PathElement::new(bounds.map(|row| (1.0, row)).to_vec(), BLACK.mix(0.5)))?;
        for (row, figure) in figures.into_iter().enumerate() {
            let row = SegmentValue::CenterOf(row);
            let [ratio, tail, most] = ratios(figure);
            if let Some(most) = most {
                let bar = |y: i32| Rectangle::new([(-2, -y), (1, y)], BLACK.filled());
                area.draw(&(EmptyElement::at((most, row.clone())) + bar(8)))?;
            }
            if let Some(tail) = tail {
                area.draw(&Circle::new((tail, row.clone()), 4, GUEST))?;
            }
            if let Some(ratio) = ratio {
                area.draw(&Circle::new((ratio, row), 5, GUEST.filled()))?;
            }
        }
        Ok(())
    })
}

/// How many samples are at most so much, of a figure and its counterpart.
pub(super) fn distribution(figure: &Figure) -> String {
    let range = range(summaries(figure).flat_map(|(summary, _)| [summary.min, summary.p99]));
    let title = format!("Distribution of {}", figure.name);
    svg((420, 240), &title, &medians(figure), |area| match is_wide(range) {
        true => shares(area, logarithmic(range, 5), figure),
        false => shares(area, range.0..range.1, figure),
    })
}

fn shares<X>(area: &Area<'_>, x: X, figure: &Figure) -> Drawn<'static>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(28)
        .x_label_area_size(40)
        .y_label_area_size(46)
        .build_cartesian_2d(x, 0.0..100.0)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(4)
        .y_labels(5)
        .x_desc(figure.unit.name())
        .y_desc("% of samples")
        .x_label_formatter(&|value| tick(*value))
        .y_label_formatter(&|value| tick(*value))
        .label_style(font(12))
        .draw()?;
    for (summary, colour) in summaries(figure) {
        let points = (1..=99).map(|percent| (summary.percentile(percent), f64::from(percent as u8)));
        let points = [(summary.min, 0.0)].into_iter().chain(points);
        chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
    }
    Ok(())
}

/// The figures of a series, in the order of their numbers: medians, and the band of the percentiles 5 to 95.
pub(super) fn series(name: &str, axis: &str, figures: &[(f64, &Figure)]) -> String {
    let bounds = |summary: &Summary| [summary.percentile(5), summary.percentile(95), summary.median];
    let values = figures.iter().flat_map(|(_, f)| summaries(f)).flat_map(|(summary, _)| bounds(summary));
    let (low, high) = range(values);
    let title = format!("{name} over the number of {axis}");
    let described = figures.iter().map(|(x, figure)| format!("at {}: {}", tick(*x), medians(figure)));
    svg((860, 380), &title, &described.collect::<Vec<_>>().join("; "), |area| match is_wide((low, high)) {
        true => bands(area, logarithmic((low, high), 10), axis, figures),
        // A flat line is seen to be flat only above zero.
        false => bands(area, low.min(0.0)..high, axis, figures),
    })
}

fn bands<Y>(area: &Area<'_>, y: Y, axis: &str, figures: &[(f64, &Figure)]) -> Drawn<'static>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let unit = figures.first().map_or(Unit::Ns, |(_, figure)| figure.unit);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(40)
        .y_label_area_size(84)
        .build_cartesian_2d((0..figures.len().max(1) - 1).into_segmented(), y)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(figures.len() + 1)
        .x_desc(axis)
        .y_desc(unit.name())
        .x_label_formatter(&|value| match value {
            SegmentValue::CenterOf(at) => figures.get(*at).map_or_else(String::new, |(x, _)| tick(*x)),
            _ => String::new(),
        })
        .y_label_formatter(&|value| tick(*value))
        .label_style(font(12))
        .draw()?;
    let of_native: fn(&Figure) -> Option<&Summary> = |figure| figure.native.as_ref();
    let of_guest: fn(&Figure) -> Option<&Summary> = |figure| Some(&figure.measured);
    for (of, colour) in [(of_native, NATIVE), (of_guest, GUEST)] {
        let summaries = || {
            let numbered = figures.iter().enumerate();
            numbered.filter_map(|(at, (_, figure))| Some((SegmentValue::CenterOf(at), of(figure)?)))
        };
        let lower = summaries().map(|(at, summary)| (at, summary.percentile(5)));
        let upper = summaries().map(|(at, summary)| (at, summary.percentile(95)));
        let band: Vec<_> = lower.chain(upper.collect::<Vec<_>>().into_iter().rev()).collect();
        chart.draw_series([Polygon::new(band, colour.mix(0.25))])?;
        let line = || summaries().map(|(at, summary)| (at, summary.median));
        chart.draw_series(LineSeries::new(line(), colour.stroke_width(2)))?;
        chart.draw_series(line().map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    Ok(())
}

/// What is measured of a figure, counterpart first, so that the figure is drawn over it.
fn summaries(figure: &Figure) -> impl Iterator<Item = (&Summary, RGBColor)> {
    let native = figure.native.iter().map(|summary| (summary, NATIVE));
    native.chain([(&figure.measured, GUEST)])
}

fn medians(figure: &Figure) -> String {
    let unit = figure.unit.name();
    let native = figure.native.as_ref();
    let native = native.map_or_else(String::new, |native| format!(", native {}", number(native.median)));
    format!("median {}{native} {unit}", number(figure.measured.median))
}

/// A number beside an axis: at most four digits that matter.
fn tick(value: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e4, "k")];
    let found = units.into_iter().find(|(least, _)| value.abs() >= *least);
    let (value, unit) = match found {
        Some((_, "k")) => (value / 1e3, "k"),
        Some((unit, letter)) => (value / unit, letter),
        None => (value, ""),
    };
    let text = format!("{value:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        for (value, text) in [(0.0, "0"), (0.25, "0.25"), (9000.0, "9000"), (12_500.0, "12.5k"), (2e6, "2M")]
        {
            assert_eq!(tick(value), text);
        }
    }

    #[test]
    fn what_does_not_vary_is_drawn_too() {
        for value in [0.0, 1.0, 1e9, -5.0] {
            let (low, high) = range([value, value].into_iter());
            assert!(low <= value && value < high, "{value}: {low} to {high}");
            let figure = Figure::new("same", Unit::Ns, vec![value; 3]).over(&[value]);
            assert!(distribution(&figure).contains("polyline"));
            assert!(ratios(&[&figure]).contains("circle") == (value > 0.0));
            assert!(series("same", "threads", &[(1.0, &figure)]).contains("circle"));
        }
    }

    #[test]
    fn a_wide_range_is_logarithmic_and_one_with_zero_is_not() {
        assert!(is_wide((1.0, 100.0)) && !is_wide((0.0, 100.0)) && !is_wide((50.0, 100.0)));
    }
}

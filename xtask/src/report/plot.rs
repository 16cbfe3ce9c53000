//! Plots as SVG: tokens per second against depth and against size.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::Row;

const SIZE: (u32, u32) = (760, 460);
const FONT: (&str, i32) = ("sans-serif", 15);
const TITLE: (&str, i32) = ("sans-serif", 19);
/// Okabe and Ito's colours, which differ for every eye.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// Points by the name of their series.
type Series = BTreeMap<String, Vec<(f64, f64)>>;

/// Generation against depth, for every model measured at several depths; dashed, what the bytes to be read explain. `None` where there is no
/// such model.
pub(super) fn depth(rows: &[&Row]) -> Result<Option<String>> {
    let mut measured = Series::new();
    let mut explained = Series::new();
    for (name, rows) in by_model(rows) {
        let mut rows: Vec<(usize, &Row)> = rows;
        rows.sort_by_key(|(depth, _)| *depth);
        rows.dedup_by_key(|(depth, _)| *depth);
        let Some((_, first)) = rows.first().filter(|_| rows.len() > 1) else {
            continue;
        };
        let rate = first.tokens_per_second * first.bytes_per_token;
        for (depth, row) in &rows {
            let depth = *depth as f64;
            measured
                .entry(name.clone())
                .or_default()
                .push((depth, row.tokens_per_second));
            explained
                .entry(name.clone())
                .or_default()
                .push((depth, rate / row.bytes_per_token));
        }
    }
    let points = || measured.values().chain(explained.values()).flatten();
    let Some((right, top)) = reach(points()) else {
        return Ok(None);
    };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = canvas(
            &area,
            "Generation against depth (dashed: what the bytes to be read explain)",
        )?
        .build_cartesian_2d(0.0..1.05 * right, 0.0..1.12 * top)
        .map_err(drawn)?;
        let x = |value: &f64| format!("{value:.0}");
        mesh(&mut chart, "tokens in the cache", &x, &x)?;
        for (index, (name, points)) in measured.iter().enumerate() {
            let color = COLORS[index % COLORS.len()];
            line(&mut chart, name, points, color)?;
            let dashes = explained[name].iter().copied();
            chart
                .draw_series(DashedLineSeries::new(dashes, 4, 5, color.stroke_width(1)))
                .map_err(drawn)?;
        }
        legend(&mut chart)?;
        area.present().map_err(drawn)?;
    }
    Ok(Some(svg))
}

/// Generation at depth 0 against the bytes that a token reads, both logarithmic; the line is the bandwidth. `None` where nothing generates.
pub(super) fn size(rows: &[&Row], bandwidth: f64) -> Result<Option<String>> {
    let mut series = Series::new();
    for row in rows.iter().filter(|row| row.generation_depth() == Some(0)) {
        let point = (row.bytes_per_token / 1e6, row.tokens_per_second);
        series.entry(row.dtype.clone()).or_default().push(point);
    }
    let Some((right, top)) = reach(series.values().flatten()) else {
        return Ok(None);
    };
    let (left, bottom) = series
        .values()
        .flatten()
        .fold((right, top), |(x, y), point| {
            (x.min(point.0), y.min(point.1))
        });
    let (left, right) = (0.6 * left, 1.6 * right);
    let top = (1.6 * top).max(1.2 * bandwidth / 1e6 / left);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = canvas(&area, "Generation against size")?
            .build_cartesian_2d((left..right).log_scale(), (0.5 * bottom..top).log_scale())
            .map_err(drawn)?;
        mesh(&mut chart, "MB read for a token", &plain, &plain)?;
        let limit = [left, right].map(|x| (x, bandwidth / 1e6 / x));
        line(
            &mut chart,
            "measured bandwidth",
            &limit,
            RGBColor(120, 120, 120),
        )?;
        for (index, (name, points)) in series.iter_mut().enumerate() {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            line(&mut chart, name, points, COLORS[index % COLORS.len()])?;
        }
        legend(&mut chart)?;
        area.present().map_err(drawn)?;
    }
    Ok(Some(svg))
}

/// Generating rows with their depths, by model and format.
fn by_model<'a>(rows: &[&'a Row]) -> BTreeMap<String, Vec<(usize, &'a Row)>> {
    let mut models: BTreeMap<String, Vec<(usize, &Row)>> = BTreeMap::new();
    for row in rows {
        if let Some(depth) = row.generation_depth() {
            let name = format!("{} {}", row.model, row.dtype);
            models.entry(name).or_default().push((depth, row));
        }
    }
    models
}

/// The largest x and y.
fn reach<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> Option<(f64, f64)> {
    points
        .copied()
        .reduce(|(x, y), point| (x.max(point.0), y.max(point.1)))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

fn canvas<'a, 'b>(area: &'a Area<'b>, title: &str) -> Result<ChartBuilder<'a, 'b, SVGBackend<'b>>> {
    area.fill(&WHITE).map_err(drawn)?;
    let mut builder = ChartBuilder::on(area);
    builder
        .caption(title, TITLE)
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(64);
    Ok(builder)
}

fn mesh<X, Y>(
    chart: &mut Chart<'_, '_, X, Y>,
    x: &str,
    x_label: &dyn Fn(&f64) -> String,
    y_label: &dyn Fn(&f64) -> String,
) -> Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc("tokens per second")
        .x_label_formatter(x_label)
        .y_label_formatter(y_label)
        .label_style(FONT)
        .axis_desc_style(FONT)
        .light_line_style(RGBColor(240, 240, 240))
        .bold_line_style(RGBColor(215, 215, 215))
        .draw()
        .map_err(drawn)
}

/// A line with its points, named in the legend.
fn line<X, Y>(
    chart: &mut Chart<'_, '_, X, Y>,
    name: &str,
    points: &[(f64, f64)],
    color: RGBColor,
) -> Result<()>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .draw_series(LineSeries::new(
            points.iter().copied(),
            color.stroke_width(2),
        ))
        .map_err(drawn)?
        .label(name)
        .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 22, y)], color.stroke_width(2)));
    let dots = points
        .iter()
        .map(|point| Circle::new(*point, 3, color.filled()));
    chart.draw_series(dots).map_err(drawn)?;
    Ok(())
}

fn legend<'a, 'b: 'a, X, Y>(chart: &mut Chart<'a, 'b, X, Y>) -> Result<()>
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(FONT)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(215, 215, 215))
        .draw()
        .map_err(drawn)
}

fn plain(value: &f64) -> String {
    format!("{value}")
}

fn drawn<E: std::fmt::Display>(error: E) -> anyhow::Error {
    anyhow!("the plot cannot be drawn: {error}")
}

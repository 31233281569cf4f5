//! Curves, on axes that are logarithmic or not.

use super::{Area, COLOURS, Chart, GRID, INK, PAPER, Painted, Shape, WIDTH, font, tick, titled};
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use std::ops::Range;

const HEIGHT: u32 = 600;
type Series = [(String, Vec<(f64, f64)>)];

pub fn paint(chart: &Chart, below: &str, svg: &mut String) -> Painted {
    let Shape::Lines { x, y, log_x, log_y, series } = &chart.shape else {
        return Err("it has no curves".into());
    };
    let area = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    let area = titled(area, chart, below)?;
    let across = range(series, |point| point.0, *log_x);
    let up = range(series, |point| point.1, *log_y);
    let names = [x.as_str(), y.as_str()];
    match (log_x, log_y) {
        (true, true) => curves(&area, across.log_scale(), up.log_scale(), names, series),
        (true, false) => curves(&area, across.log_scale(), up, names, series),
        (false, true) => curves(&area, across, up.log_scale(), names, series),
        (false, false) => curves(&area, across, up, names, series),
    }
}

/// What an axis shows: all points and a little more; from zero on where it is linear and begins near it.
fn range(series: &Series, of: fn(&(f64, f64)) -> f64, log: bool) -> Range<f64> {
    let figures =
        || series.iter().flat_map(|one| &one.1).map(of).filter(|figure| !log || 0.0 < *figure);
    let most = figures().fold(f64::NEG_INFINITY, f64::max);
    let least = figures().fold(f64::INFINITY, f64::min);
    if !most.is_finite() {
        return if log { 1.0..10.0 } else { 0.0..1.0 };
    }
    if log {
        return least / 1.3..most * 1.3;
    }
    let margin = (most - least).max(most.abs() * 1e-3) * 0.03;
    let from = if 0.0 <= least && least < most / 3.0 { 0.0 } else { least - margin };
    from..most + margin
}

fn curves<X, Y>(area: &Area<'_>, across: X, up: Y, names: [&str; 2], series: &Series) -> Painted
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(84)
        .build_cartesian_2d(across, up)?;
    chart
        .configure_mesh()
        .x_desc(names[0])
        .y_desc(names[1])
        .x_labels(12)
        .y_labels(12)
        .x_label_formatter(&|figure| tick(*figure))
        .y_label_formatter(&|figure| tick(*figure))
        .label_style(font(15, INK))
        .axis_desc_style(font(17, INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(PAPER)
        .draw()?;
    for ((name, points), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        // Ours are the thick ones.
        let width = if name.starts_with("sochdb") { 4 } else { 2 };
        let style = colour.stroke_width(width);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(name.as_str())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 24, y)], style));
        let dot = |point: &(f64, f64)| Circle::new(*point, width + 1, colour.filled());
        chart.draw_series(points.iter().map(dot))?;
    }
    // Where rising curves begin there is room above them, where falling ones end below.
    let first = series.iter().filter_map(|one| one.1.first()).map(|point| point.1);
    let last = series.iter().filter_map(|one| one.1.last()).map(|point| point.1);
    let position = match first.sum::<f64>() < last.sum::<f64>() {
        true => SeriesLabelPosition::UpperLeft,
        false => SeriesLabelPosition::LowerLeft,
    };
    if !series.is_empty() {
        chart
            .configure_series_labels()
            .position(position)
            .legend_area_size(32)
            .background_style(PAPER)
            .border_style(GRID)
            .label_font(font(15, INK))
            .draw()?;
    }
    area.present()?;
    Ok(())
}

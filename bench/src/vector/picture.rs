//! The curves as a picture: queries a second over recall, the rate on a logarithmic scale.
//!
//! The background is painted, so that the picture reads the same in light and in dark surroundings. Ours are thick
//! lines.

use super::curves::Curve;
use super::{K, Measured};
use crate::Result;
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (960, 600);
const PAPER: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(34, 34, 34);
const GRID: RGBColor = RGBColor(221, 221, 221);
/// Recall from here on is shown: what finds less is of no use to anybody.
const RECALL_MIN: f64 = 0.8;
/// Colours that the colour-blind tell apart, by Okabe and Ito, without yellow, which on white is no line; and two more,
/// so that all contenders of a run have their own.
const COLOURS: &[RGBColor] = &[
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
    RGBColor(128, 128, 128),
    RGBColor(117, 72, 36),
];

/// Writes the picture to `path`.
///
/// # Errors
/// When it cannot be written.
pub fn draw(measured: &Measured, path: &Path) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let mut svg = String::new();
    paint(measured, &mut svg).map_err(|error| error.to_string())?;
    Ok(std::fs::write(path, svg)?)
}

type Painted = std::result::Result<(), Box<dyn std::error::Error>>;

fn paint(measured: &Measured, svg: &mut String) -> Painted {
    let curves: Vec<(&Curve, Vec<(f64, f64)>)> =
        measured.curves.iter().map(|curve| (curve, shown(curve))).collect();
    let rates = || curves.iter().flat_map(|(_, points)| points).map(|point| point.1);
    let least = rates().fold(f64::INFINITY, f64::min).min(1e5) / 1.5;
    let most = rates().fold(0.0, f64::max).max(least * 10.0) * 1.5;
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&PAPER)?;
    let set = &measured.set;
    let title =
        format!("{}: {} vectors of {} values, recall@{K}, one thread", set.name, set.rows, set.dim);
    let font = |size: u32| ("sans-serif", size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, font(24))
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(84)
        .build_cartesian_2d(RECALL_MIN..1.002, (least..most).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(format!("recall@{K}"))
        .y_desc("queries a second")
        .x_labels(11)
        .y_labels(16)
        .x_label_formatter(&|recall| format!("{recall:.2}"))
        .y_label_formatter(&|rate| format!("{rate:.0}"))
        .label_style(font(16))
        .axis_desc_style(font(18))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(PAPER)
        .draw()?;
    for ((curve, points), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let width = if curve.is_ours { 4 } else { 2 };
        let style = colour.stroke_width(width);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(curve.name.as_str())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 24, y)], style));
        let dot = |point: &(f64, f64)| Circle::new(*point, width + 1, colour.filled());
        chart.draw_series(points.iter().map(dot))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .legend_area_size(32)
        .background_style(PAPER)
        .border_style(GRID)
        .label_font(font(16))
        .draw()?;
    area.present()?;
    Ok(())
}

/// The points of a curve that lie in the picture.
fn shown(curve: &Curve) -> Vec<(f64, f64)> {
    let points = curve.points().into_iter().map(|point| (point.recall.all, point.rate));
    points.filter(|point| RECALL_MIN <= point.0).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Facts;
    use super::super::curves::{Point, Round};
    use super::super::recall::Recall;
    use super::*;
    use std::collections::BTreeMap;

    fn measured(points: &[(f64, f64)]) -> Measured {
        let point = |(effort, &(all, rate)): (usize, &(f64, f64))| Point {
            effort,
            recall: Recall { all, kinds: BTreeMap::new() },
            rate,
            rate_all: rate,
            cpu_us: 1.0,
            p50_us: 1.0,
            p99_us: 1.0,
            fuel: None,
        };
        let points = points.iter().enumerate().map(point).collect();
        let rounds = vec![Round { opened: None, points }];
        let (name, version) = ("ours <1>".to_owned(), String::new());
        let built = BTreeMap::new();
        let curves = vec![Curve { name, version, is_ours: true, built, rounds }];
        let (rows, dim, queries) = (100, 8, 10);
        let set = Facts { name: "some".to_owned(), rows, dim, queries, kinds: Vec::new() };
        Measured { set, threads: 1, curves, scenarios: Vec::new() }
    }

    #[test]
    fn every_curve_is_in_the_picture_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("folder").join("vector.svg");
        draw(&measured(&[(0.5, 9e4), (0.9, 5e4), (0.99, 1e4)]), &path).unwrap();
        let svg = std::fs::read_to_string(path).unwrap();
        assert!(svg.starts_with("<svg"), "{svg}");
        assert!(svg.contains("ours &lt;1&gt;"), "the name is in the legend, escaped");
        assert_eq!(svg.matches("<circle").count(), 2, "points below the picture are not drawn");
    }

    #[test]
    fn a_picture_without_points_is_a_picture() {
        let dir = tempfile::tempdir().unwrap();
        for points in [&[][..], &[(0.1, 5.0)]] {
            draw(&measured(points), &dir.path().join("a.svg")).unwrap();
        }
    }
}

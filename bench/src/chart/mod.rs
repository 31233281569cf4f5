//! Pictures of figures: what they show, as data, and how they are drawn, as SVG.
//!
//! | file    | what it is                                   |
//! |---------|----------------------------------------------|
//! | `bars`  | horizontal bars, in groups                   |
//! | `lines` | curves                                       |
//!
//! The background is painted and all colours are for that background, so a picture reads the same in light and in
//! dark surroundings. Nothing is smaller than can be read at a width of 800 pixels.

mod bars;
mod lines;

use crate::Result;
use plotters::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Pixels of width, of all pictures.
const WIDTH: u32 = 960;
const PAPER: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(34, 34, 34);
const PALE_INK: RGBColor = RGBColor(102, 102, 102);
const GRID: RGBColor = RGBColor(221, 221, 221);
/// Colours that the colour-blind tell apart, by Okabe and Ito, without yellow, which on white is no line; and more,
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

/// What a picture shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// Its file's name, without the ending, below that of its workload.
    pub name: String,
    /// What stands above it, with the unit.
    pub title: String,
    /// How it is drawn, and the figures.
    pub shape: Shape,
}

/// How figures are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Horizontal bars on a logarithmic axis that begin at `from`: ratios go left and right of 1.
    Bars {
        /// What the axis says.
        axis: String,
        /// Where bars begin.
        from: f64,
        /// A line to compare with, such as a goal.
        goal: Option<f64>,
        /// Who is compared, in the order of their colours.
        series: Vec<String>,
        /// What they do, from top to bottom, with a figure for each of the series where there is one.
        groups: Vec<(String, Vec<Option<f64>>)>,
    },
    /// Curves.
    Lines {
        /// What the axis at the bottom says.
        x: String,
        /// What the axis at the side says.
        y: String,
        /// Whether the axis at the bottom is logarithmic.
        log_x: bool,
        /// Whether the axis at the side is logarithmic.
        log_y: bool,
        /// Who is compared, with the points of each.
        series: Vec<(String, Vec<(f64, f64)>)>,
    },
}

impl Chart {
    /// Whether there is any figure.
    pub fn shows_something(&self) -> bool {
        match &self.shape {
            Shape::Bars { groups, .. } => {
                groups.iter().any(|group| group.1.iter().any(Option::is_some))
            }
            Shape::Lines { series, .. } => series.iter().any(|one| !one.1.is_empty()),
        }
    }

    /// The picture, with `below` in small print below the title.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self, below: &str) -> Result<String> {
        let mut svg = String::new();
        let painted = match &self.shape {
            Shape::Bars { .. } => bars::paint(self, below, &mut svg),
            Shape::Lines { .. } => lines::paint(self, below, &mut svg),
        };
        painted.map_err(|error| format!("the picture {}: {error}", self.name))?;
        Ok(svg)
    }

    /// Writes the picture to `path`, making its folder if need be.
    ///
    /// # Errors
    /// When it cannot be drawn or written.
    pub fn write(&self, path: &Path, below: &str) -> Result<()> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)?;
        }
        Ok(std::fs::write(path, self.svg(below)?)?)
    }
}

type Painted = std::result::Result<(), Box<dyn std::error::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Letters of so many pixels; the library takes the height of a line.
fn font(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", f64::from(size) * 1.24).into_font().color(&colour)
}

/// Paints the background, the title and the small print; what is left is for the figures.
fn titled<'a>(
    area: Area<'a>,
    chart: &Chart,
    below: &str,
) -> std::result::Result<Area<'a>, Box<dyn std::error::Error>> {
    area.fill(&PAPER)?;
    area.draw(&Text::new(chart.title.clone(), (16, 14), font(21, INK)))?;
    area.draw(&Text::new(below.to_owned(), (16, 42), font(14, PALE_INK)))?;
    let (_, rest) = area.split_vertically(64);
    Ok(rest)
}

/// A figure as an axis shows it: no digits that mean nothing.
fn tick(figure: f64) -> String {
    match figure.abs() {
        1e6.. => format!("{:.0}M", figure / 1e6),
        1e4.. => format!("{:.0}K", figure / 1e3),
        10.0.. => format!("{figure:.0}"),
        1.0.. => format!("{figure:.1}").trim_end_matches(".0").to_owned(),
        0.0 => "0".to_owned(),
        _ => format!("{figure:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars(groups: Vec<(String, Vec<Option<f64>>)>) -> Chart {
        let (axis, series) = ("ratio".to_owned(), vec!["one <1>".to_owned(), "two".to_owned()]);
        let shape = Shape::Bars { axis, from: 1.0, goal: Some(1.3), series, groups };
        Chart { name: "a".to_owned(), title: "Some & all".to_owned(), shape }
    }

    fn lines(series: Vec<(String, Vec<(f64, f64)>)>, log: bool) -> Chart {
        let (x, y) = ("threads".to_owned(), "reads/s".to_owned());
        let shape = Shape::Lines { x, y, log_x: log, log_y: log, series };
        Chart { name: "b".to_owned(), title: "Curves".to_owned(), shape }
    }

    /// Whether all elements of `svg` are closed in the order in which they were opened.
    fn is_well_formed(svg: &str) -> bool {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1) {
            let Some((tag, text)) = tag.split_once('>') else { return false };
            let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap_or("");
            match (tag.starts_with('/'), tag.ends_with('/')) {
                (true, _) if open.pop() != Some(name) => return false,
                (false, false) => open.push(name),
                _ => {}
            }
            if text.contains('&')
                && !["&lt;", "&gt;", "&amp;", "&quot;"].iter().any(|e| text.contains(e))
            {
                return false;
            }
        }
        open.is_empty()
    }

    #[test]
    fn bars_are_well_formed_and_name_every_series_and_group() {
        let groups = vec![
            ("load".to_owned(), vec![Some(20.0), Some(0.05)]),
            ("get".to_owned(), vec![None, Some(1.5)]),
        ];
        let svg = bars(groups).svg("2 cores").expect("drawn");
        assert!(svg.starts_with("<svg") && is_well_formed(&svg), "{svg}");
        for text in
            ["one &lt;1&gt;", "two", "load", "get", "Some &amp; all", "2 cores", "20.0", "0.05"]
        {
            assert!(svg.contains(text), "{text} is missing: {svg}");
        }
        assert!(
            !svg.contains("currentColor"),
            "all colours are for the background that is painted"
        );
    }

    #[test]
    fn curves_are_well_formed_and_name_every_series() {
        for log in [true, false] {
            let series = vec![
                ("redb".to_owned(), vec![(1.0, 10.0), (2.0, 18.0)]),
                ("lmdb".to_owned(), vec![(1.0, 1000.0), (8.0, 8000.0)]),
            ];
            let svg = lines(series, log).svg("2 cores").expect("drawn");
            assert!(is_well_formed(&svg), "{svg}");
            assert!(
                svg.contains("redb") && svg.contains("lmdb") && svg.contains("threads"),
                "{svg}"
            );
            assert_eq!(svg.matches("<circle").count(), 4, "a dot for each point");
        }
    }

    #[test]
    fn marks_of_an_axis_have_no_digits_that_mean_nothing() {
        let figures = [0.0, 0.01, 0.975, 0.99999, 1.0, 2.5, 20.0, 30_000.0, 5e6];
        let shown = ["0", "0.01", "0.975", "1", "1", "2.5", "20", "30K", "5M"];
        assert_eq!(figures.map(tick), shown);
    }

    #[test]
    fn nothing_is_a_picture_too() {
        assert!(is_well_formed(&bars(Vec::new()).svg("").expect("drawn")));
        assert!(is_well_formed(&lines(Vec::new(), true).svg("").expect("drawn")));
        assert!(is_well_formed(
            &lines(vec![("a".to_owned(), vec![(1.0, 1.0)])], true).svg("").expect("drawn")
        ));
    }
}

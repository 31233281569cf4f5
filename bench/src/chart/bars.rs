//! Horizontal bars in groups, on a logarithmic axis, each with its figure beside it.

use super::{COLOURS, Chart, GRID, INK, PALE_INK, Painted, Shape, WIDTH, font, tick, titled};
use crate::report::show;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Pixels of one bar, and of the space between groups.
const BAR: i32 = 15;
const GAP: i32 = 12;
/// Of a letter of the names at the left, and of all of them: the least and the most.
const LETTER: i32 = 8;
const LABELS: (i32, i32) = (200, 450);
/// Room at the right for the figure of the longest bar.
const FIGURES: i32 = 70;
/// Room at the left for the figure of the longest bar there, as a share of all.
const MARGIN: f64 = 0.09;
/// Rows of the legend, and the axis at the bottom.
const LEGEND: i32 = 44;
const AXIS: i32 = 52;
/// Marks of a logarithmic axis within each power of ten.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

/// Where figures lie from left to right.
struct Scale {
    least: f64,
    most: f64,
    /// Pixels at the left that belong to the names.
    left: i32,
}

impl Scale {
    fn over(figures: impl Iterator<Item = f64>, from: f64, left: i32) -> Scale {
        let (mut least, mut most) = (from, from);
        figures.filter(|figure| 0.0 < *figure && figure.is_finite()).for_each(|figure| {
            (least, most) = (least.min(figure), most.max(figure));
        });
        // Never so narrow that differences of nothing look like something.
        let (least, most) = (least.min(from / 1.5), most.max(from * 1.5));
        // At the left there is room for a figure, too.
        Scale { least: least / (most / least).powf(MARGIN), most, left }
    }

    fn at(&self, figure: f64) -> i32 {
        let width = f64::from(WIDTH as i32 - self.left - FIGURES);
        let share = (figure / self.least).ln() / (self.most / self.least).ln();
        self.left + (share.clamp(0.0, 1.0) * width).round() as i32
    }

    fn ticks(&self) -> Vec<f64> {
        let decades = self.least.log10().floor() as i32..=self.most.log10().ceil() as i32;
        let wide = 2.5 < (self.most / self.least).log10();
        let steps = if wide { &STEPS[..1] } else { &STEPS[..] };
        let all =
            decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
        all.filter(|figure| (self.least..=self.most).contains(figure)).collect()
    }
}

pub fn paint(chart: &Chart, below: &str, svg: &mut String) -> Painted {
    let Shape::Bars { axis, from, goal, series, groups } = &chart.shape else {
        return Err("it has no bars".into());
    };
    let shown = |group: &(String, Vec<Option<f64>>)| group.1.iter().flatten().count() as i32;
    let bars: i32 = groups.iter().map(|group| shown(group).max(1) * BAR + GAP).sum();
    let height = (64 + LEGEND + bars + AXIS) as u32;
    let area = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    let area = titled(area, chart, below)?;
    let figures = groups.iter().flat_map(|group| group.1.iter().flatten().copied());
    let longest = groups.iter().map(|group| group.0.chars().count() as i32).max();
    let labels = (longest.unwrap_or(0) * LETTER + 24).clamp(LABELS.0, LABELS.1);
    let scale = Scale::over(figures.chain(*goal), *from, labels);
    let bottom = LEGEND + bars;
    let mut left = labels;
    for (name, colour) in series.iter().zip(COLOURS.iter().cycle()) {
        area.draw(&Rectangle::new([(left, 4), (left + 14, 18)], colour.filled()))?;
        area.draw(&Text::new(name.clone(), (left + 20, 3), font(15, INK)))?;
        left += 38 + 9 * name.chars().count() as i32;
    }
    let centred = |style: TextStyle<'static>| style.pos(Pos::new(HPos::Center, VPos::Top));
    for figure in scale.ticks() {
        let x = scale.at(figure);
        area.draw(&PathElement::new([(x, LEGEND), (x, bottom)], GRID))?;
        area.draw(&Text::new(tick(figure), (x, bottom + 5), centred(font(14, PALE_INK))))?;
    }
    let middle = (labels + WIDTH as i32 - FIGURES) / 2;
    area.draw(&Text::new(axis.clone(), (middle, bottom + 25), centred(font(15, INK))))?;
    if let Some(goal) = goal {
        let x = scale.at(*goal);
        let dash = |y| PathElement::new([(x, y), (x, y + 5)], INK);
        (LEGEND..bottom).step_by(10).try_for_each(|y| area.draw(&dash(y)))?;
        let text = format!("goal {}", show(*goal));
        area.draw(&Text::new(text, (x, LEGEND - 17), centred(font(13, INK))))?;
    }
    let beside = |style: TextStyle<'static>, side| style.pos(Pos::new(side, VPos::Center));
    let mut top = LEGEND + GAP / 2;
    for group in groups {
        let tall = shown(group).max(1) * BAR;
        let label = (labels - 12, top + tall / 2);
        area.draw(&Text::new(group.0.clone(), label, beside(font(14, INK), HPos::Right)))?;
        for (figure, colour) in group.1.iter().zip(COLOURS.iter().cycle()) {
            let Some(figure) = figure.filter(|figure| 0.0 < *figure) else { continue };
            let (begin, end) = (scale.at(*from), scale.at(figure));
            let corners = [(begin.min(end), top + 1), (begin.max(end), top + BAR - 1)];
            area.draw(&Rectangle::new(corners, colour.filled()))?;
            let is_left = end < begin;
            let (x, side) = if is_left { (end - 5, HPos::Right) } else { (end + 5, HPos::Left) };
            let text = (x, top + BAR / 2);
            area.draw(&Text::new(show(figure), text, beside(font(13, INK), side)))?;
            top += BAR;
        }
        top += GAP + if shown(group) == 0 { BAR } else { 0 };
    }
    let x = scale.at(*from);
    area.draw(&PathElement::new([(x, LEGEND), (x, bottom)], INK))?;
    area.present()?;
    Ok(())
}

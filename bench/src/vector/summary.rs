//! The figures of ours that aims refer to, and the curves as a picture.
//!
//! A figure's name begins with the index: `auto/x_hnswlib_0.99`. The default effort is that of the parts other than
//! `curves`, 100.

use super::contender::HNSWLIB;
use super::curves::{Curve, Point, Round};
use super::recall::K;
use super::scenarios::Scenario;
use super::tables::{ALL, ONE, at, ratio};
use super::{Measured, Settings};
use crate::chart::{Chart, Shape};
use crate::outcome::Summary;

/// Recall from here on is shown: what finds less is of no use to anybody.
const RECALL_MIN: f64 = 0.8;
/// Bytes of a value as it was given.
const F32_BYTES: f64 = 4.0;

/// The figures of each index of ours.
pub fn summary(measured: &Measured, settings: &Settings) -> Summary {
    let mut summary = Summary::new();
    let reference = measured.curves.iter().find(|curve| curve.name == HNSWLIB);
    for curve in measured.curves.iter().filter(|curve| curve.is_ours) {
        let index = curve.name.trim_start_matches("sochdb ");
        let figures = of_curve(curve, reference, measured, settings.effort);
        let figures = figures.into_iter().filter_map(|(id, figure)| Some((id, figure?)));
        summary.extend(figures.map(|(id, figure)| (format!("{index}/{id}"), figure)));
    }
    for scenario in &measured.scenarios {
        let index = scenario.name.trim_start_matches("sochdb ");
        let figures = of_scenario(scenario);
        summary.extend(figures.into_iter().map(|(id, figure)| (format!("{index}/{id}"), figure)));
    }
    summary
}

type Figure = (&'static str, Option<f64>);

fn of_curve(
    curve: &Curve,
    reference: Option<&Curve>,
    measured: &Measured,
    effort: usize,
) -> Vec<Figure> {
    let rows = measured.set.rows as f64;
    let against = |recall| ratio(curve, reference?, ONE, recall);
    let a_core = |curve: &Curve| {
        let built = curve.built.values().next()?;
        Some(rows / built.cpu_seconds)
    };
    let opened = |figure: fn(&super::contender::Opened) -> f64| {
        curve.median(|round: &Round| round.opened.as_ref().map(figure))
    };
    let points = curve.points();
    let default = points.iter().find(|point| point.effort == effort);
    let least = |point: &Point| point.recall.kinds.values().copied().min_by(f64::total_cmp);
    let exact = points.iter().find(|point| 0.99 <= point.recall.all);
    let one = curve.median(|round| at(round, ONE, 0.99));
    let all = curve.median(|round| at(round, ALL, 0.99));
    let raw = measured.set.dim as f64 * F32_BYTES;
    let file = curve.built.values().next().map(|built| built.file_bytes / rows / raw);
    let build = a_core(curve);
    vec![
        ("x_hnswlib_0.95", against(0.95)),
        ("x_hnswlib_0.99", against(0.99)),
        ("rate_0.99", one),
        ("times_all_threads", one.zip(all).map(|(one, all)| all / one)),
        ("threads", Some(measured.threads as f64)),
        ("default_recall", default.map(|point| point.recall.all)),
        ("default_recall_least_kind", default.and_then(least)),
        ("fuel_millions", exact.and_then(|point| Some(point.fuel? / 1e6))),
        ("best_recall", points.iter().map(|point| point.recall.all).max_by(f64::total_cmp)),
        ("p99_p50", exact.map(|point| point.p99_us / point.p50_us)),
        ("build_a_core", build),
        (
            "build_x_hnswlib",
            build.zip(reference.and_then(a_core)).map(|(ours, theirs)| ours / theirs),
        ),
        ("resident_bytes", opened(|opened| opened.resident_bytes).map(|bytes| bytes / rows)),
        ("open_ms", opened(|opened| opened.seconds * 1e3)),
        ("file_times_raw", file),
    ]
}

fn of_scenario(scenario: &Scenario) -> Vec<(&'static str, f64)> {
    let Some((fresh, last)) = scenario.churn.first().zip(scenario.churn.last()) else {
        return Vec::new();
    };
    let churned = scenario.churn.iter().skip(1).map(|cycle| cycle.us_per_row / fresh.us_per_row);
    vec![
        ("churn_recall_drop", fresh.recall - last.recall),
        ("churn_insert_times", crate::meter::some_median(churned.collect()).unwrap_or(1.0)),
    ]
}

/// Queries a second over recall.
pub fn chart(measured: &Measured) -> Chart {
    let shown = |curve: &Curve| {
        let points = curve.points().into_iter().map(|point| (point.recall.all, point.rate));
        points.filter(|point| RECALL_MIN <= point.0).collect()
    };
    let series = measured.curves.iter().map(|curve| (curve.name.clone(), shown(curve))).collect();
    let set = &measured.set;
    let title =
        format!("{}: {} vectors of {} values, recall@{K}, one thread", set.name, set.rows, set.dim);
    let (x, y) = (format!("recall@{K}"), "queries a second".to_owned());
    let shape = Shape::Lines { x, y, log_x: false, log_y: true, series };
    Chart { name: "recall".to_owned(), title, shape }
}

#[cfg(test)]
mod tests {
    use super::super::Facts;
    use super::super::recall::Recall;
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_finds_less_than_is_of_use_is_not_drawn() {
        let point = |(effort, all): (usize, f64)| Point {
            effort,
            recall: Recall { all, kinds: BTreeMap::new() },
            rate: 1e4,
            rate_all: 2e4,
            cpu_us: 1.0,
            p50_us: 1.0,
            p99_us: 1.5,
            fuel: Some(2e6),
        };
        let points = [(10, 0.5), (50, 0.9), (100, 0.992)].map(point).into();
        let rounds = vec![Round { opened: None, points }];
        let (name, version) = ("sochdb auto".to_owned(), String::new());
        let curves = vec![Curve { name, version, is_ours: true, built: BTreeMap::new(), rounds }];
        let (rows, dim, queries) = (100, 8, 10);
        let set = Facts { name: "some".to_owned(), rows, dim, queries, kinds: Vec::new() };
        let measured = Measured { set, threads: 2, curves, scenarios: Vec::new() };
        let Shape::Lines { series, .. } = chart(&measured).shape else { panic!("no curve") };
        assert_eq!(series[0].1, [(0.9, 1e4), (0.992, 1e4)]);
        let figures: BTreeMap<_, _> =
            of_curve(&measured.curves[0], None, &measured, 100).into_iter().collect();
        assert_eq!(figures["default_recall"], Some(0.992));
        assert_eq!(figures["fuel_millions"], Some(2.0));
        assert_eq!(figures["times_all_threads"], Some(2.0));
        assert_eq!(figures["x_hnswlib_0.99"], None);
    }
}

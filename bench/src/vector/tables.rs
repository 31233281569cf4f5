//! The tables.

use super::contender::{Built, HNSWLIB};
use super::curves::{Curve, Point, Round};
use super::recall::{K, rate_at};
use super::scenarios::{Cycle, Filtered, Inserted};
use super::{Measured, Settings};
use crate::meter::median;
use crate::outcome::Sheet;
use crate::report::show;

/// The recalls at which rates are compared.
const AT: [f64; 3] = [0.90, 0.95, 0.99];

/// Everything that was measured.
pub fn sheets(measured: &Measured, settings: &Settings) -> Vec<Sheet> {
    let set = &measured.set;
    let note = format!(
        "{}: {} vectors of {} values, {} queries, {K} neighbours each; {} cores. Medians of {} rounds, contenders \
         interleaved.",
        set.name, set.rows, set.dim, set.queries, measured.threads, settings.rounds
    );
    let mut sheets = Vec::new();
    if !measured.curves.is_empty() {
        sheets.push(Sheet { note: note.clone(), ..named("summary", summary(measured)) });
        sheets.push(named("costs", costs(measured)));
        sheets.push(named("points", points(measured)));
    }
    for scenario in &measured.scenarios {
        let name = &scenario.name;
        let effort = settings.effort;
        let mut add = |part: &str, what: &str, sheet: Sheet| {
            let title = format!("{name}, {what}, effort {effort}:");
            sheets.push(Sheet { name: format!("{part} of {name}"), title, ..sheet });
        };
        if !scenario.filters.is_empty() {
            add("filters", "filters", filters(&scenario.filters));
        }
        if let Some(inserted) = &scenario.inserts {
            add("inserts", "inserts with a searcher", inserts(inserted));
        }
        if !scenario.churn.is_empty() {
            add("churn", "a tenth replaced", churn(&scenario.churn));
        }
    }
    sheets
}

fn named(name: &str, sheet: Sheet) -> Sheet {
    Sheet { name: name.to_owned(), ..sheet }
}

/// An empty table; all but the first `words` columns hold numbers.
fn table(head: impl IntoIterator<Item = String>, words: usize) -> Sheet {
    Sheet { head: head.into_iter().collect(), words, ..Sheet::default() }
}

fn heads<'a>(heads: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    heads.iter().map(|head| (*head).to_owned())
}

fn some(figure: Option<f64>) -> String {
    figure.map_or_else(String::new, show)
}

/// Recall, to a query of five hundred.
fn recall(share: f64) -> String {
    format!("{share:.4}")
}

/// Every contender at every effort.
fn points(measured: &Measured) -> Sheet {
    let kinds = &measured.set.kinds;
    let head = heads(&["contender", "effort", "recall"]).chain(kinds.iter().cloned());
    let all = format!("{} threads", measured.threads);
    let rest = ["1 thread, queries/s", &all, "processor us", "p50 us", "p99 us"];
    let rest = rest.map(str::to_owned);
    let fuel = |point: &Point| point.fuel.is_some();
    let has_fuel = measured.curves.iter().flat_map(Curve::points).any(|point| fuel(&point));
    let fuel_head = has_fuel.then(|| "fuel, M".to_owned());
    let mut lines = table(head.chain(rest).chain(fuel_head), 1);
    for curve in &measured.curves {
        for point in curve.points() {
            let kinds = kinds.iter().map(|kind| some_recall(point.recall.kinds.get(kind)));
            let names = [curve.name.clone(), point.effort.to_string(), recall(point.recall.all)];
            let rates =
                [point.rate, point.rate_all, point.cpu_us, point.p50_us, point.p99_us].map(show);
            let fuel = has_fuel.then(|| some(point.fuel.map(|fuel| fuel / 1e6)));
            lines
                .rows
                .push(Vec::from_iter(names.into_iter().chain(kinds).chain(rates).chain(fuel)));
        }
    }
    lines
}

fn some_recall(share: Option<&f64>) -> String {
    share.map_or_else(String::new, |share| recall(*share))
}

/// Rates at the recalls that are compared, and their ratios to hnswlib in the same round.
fn summary(measured: &Measured) -> Sheet {
    let rates = AT.map(|at| format!("queries/s at {at:.2}"));
    let ratios = AT.map(|at| format!("x {HNSWLIB} at {at:.2}"));
    let head = heads(&["contender"]).chain(rates).chain(ratios);
    let all = format!("{} threads at 0.99", measured.threads);
    let rest = ["the same by processor time", &all, "x 1 thread", "best recall"];
    let mut lines = table(head.chain(rest.map(str::to_owned)), 1);
    let reference = measured.curves.iter().find(|curve| curve.name == HNSWLIB);
    for curve in &measured.curves {
        let rates = AT.map(|recall| match curve.median(|round| at(round, ONE, recall)) {
            Some(rate) => show(rate),
            None => "never".to_owned(),
        });
        let against = |rate, recall| ratio(curve, reference?, rate, recall);
        let ratios = AT.map(|recall| some(against(ONE, recall)));
        let by_processor = some(against(PROCESSOR, 0.99));
        let one = curve.median(|round| at(round, ONE, 0.99));
        let all = curve.median(|round| at(round, ALL, 0.99));
        let scaling = one.zip(all).map(|(one, all)| all / one);
        let best = curve.points().iter().map(|point| point.recall.all).fold(0.0, f64::max);
        let name = [curve.name.clone()];
        let rest = [by_processor, some(all), some(scaling), recall(best)];
        lines.rows.push(Vec::from_iter(name.into_iter().chain(rates).chain(ratios).chain(rest)));
    }
    lines
}

/// A rate of a point.
pub type Rate = fn(&Point) -> f64;

/// One thread.
pub const ONE: Rate = |point| point.rate;
/// All cores.
pub const ALL: Rate = |point| point.rate_all;
/// What it would be with a processor of one's own: on a busy machine this one is to be trusted.
const PROCESSOR: Rate = |point| 1e6 / point.cpu_us;

/// The rate of a round at a recall; `None` where that was never reached.
pub fn at(round: &Round, rate: Rate, recall: f64) -> Option<f64> {
    let points = round.points.iter().map(|point| (point.recall.all, rate(point)));
    rate_at(&points.collect::<Vec<_>>(), recall)
}

/// The median of the rounds' ratios.
pub fn ratio(curve: &Curve, reference: &Curve, rate: Rate, recall: f64) -> Option<f64> {
    let rounds = curve.rounds.iter().zip(&reference.rounds);
    let ratios = rounds.map(|(a, b)| Some(at(a, rate, recall)? / at(b, rate, recall)?));
    ratios.collect::<Option<Vec<_>>>().filter(|ratios| !ratios.is_empty()).map(median)
}

/// Builds, memory, files, opening, the tail.
fn costs(measured: &Measured) -> Sheet {
    let head = heads(&["contender", "version", "build, vectors/s a core"]);
    let all = format!("{} threads", measured.threads);
    let bytes = heads(&["bytes a vector on disk", "resident", "open, ms", "p99 : p50 at 0.99"]);
    let mut lines = table(head.chain([all]).chain(bytes), 2);
    let rows = measured.set.rows as f64;
    for curve in &measured.curves {
        let fewest = curve.built.iter().next().map(|(_, built)| built);
        let most = curve.built.get(&measured.threads);
        let a_core = fewest.map(|built: &Built| rows / built.cpu_seconds);
        let opened = |round: &Round| round.opened.clone();
        let resident = curve.median(|round| Some(opened(round)?.resident_bytes / rows));
        let open = curve.median(|round| Some(opened(round)?.seconds * 1e3));
        let at = curve.points().into_iter().find(|point| 0.99 <= point.recall.all);
        let tail = at.map(|point| point.p99_us / point.p50_us);
        let figures = [
            a_core,
            most.map(|built| rows / built.seconds),
            fewest.map(|built| built.file_bytes / rows),
            resident,
            open,
            tail,
        ];
        let names = [curve.name.clone(), curve.version.clone()];
        lines.rows.push(Vec::from_iter(names.into_iter().chain(figures.map(some))));
    }
    lines
}

fn filters(filters: &[Filtered]) -> Sheet {
    let head =
        ["filter", "share", "recall", "short answers", "1 thread, queries/s", "p50 us", "p99 us"];
    let mut lines = table(heads(&head), 1);
    for found in filters {
        let names = [found.filter.clone(), format!("{:.3}", found.share), recall(found.recall)];
        let rates = [found.rate, found.p50_us, found.p99_us].map(show);
        lines
            .rows
            .push(Vec::from_iter(names.into_iter().chain([found.short.to_string()]).chain(rates)));
    }
    lines
}

fn inserts(inserted: &Inserted) -> Sheet {
    let mut lines = table(heads(&["what", "figure"]), 1);
    let Inserted { rate, settled_rate, searches, p50_us, p99_us, .. } = inserted;
    let rows = [
        ("rows inserted", inserted.rows.to_string()),
        ("rows/s, committed", show(*rate)),
        ("rows/s, settled", show(*settled_rate)),
        ("searches/s meanwhile, 1 thread", show(*searches)),
        ("search, p50 us", show(*p50_us)),
        ("search, p99 us", show(*p99_us)),
        ("before: search, p50 us", show(inserted.idle_p50_us)),
        ("before: search, p99 us", show(inserted.idle_p99_us)),
        ("recall at the end", recall(inserted.recall)),
    ];
    rows.into_iter().for_each(|(what, figure)| {
        lines.rows.push(Vec::from_iter([what.to_owned(), figure]));
    });
    lines
}

fn churn(cycles: &[Cycle]) -> Sheet {
    let head = ["cycle", "recall", "lost", "us a row", "x fresh", "1 thread, queries/s", "bytes"];
    let mut lines = table(heads(&head), 0);
    for cycle in cycles {
        let fresh = &cycles[0];
        let figures =
            [cycle.us_per_row, cycle.us_per_row / fresh.us_per_row, cycle.rate, cycle.bytes];
        let names = [
            cycle.cycle.to_string(),
            recall(cycle.recall),
            format!("{:.4}", fresh.recall - cycle.recall),
        ];
        lines.rows.push(Vec::from_iter(names.into_iter().chain(figures.map(show))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::recall::Recall;
    use super::*;
    use std::collections::BTreeMap;

    fn curve(rounds: &[&[(f64, f64)]]) -> Curve {
        let point = |&(all, rate): &(f64, f64)| Point {
            effort: 10,
            recall: Recall { all, kinds: BTreeMap::new() },
            rate,
            rate_all: 2.0 * rate,
            cpu_us: 1e6 / rate,
            p50_us: 1.0,
            p99_us: 2.0,
            fuel: None,
        };
        let round = |points: &&[(f64, f64)]| Round {
            opened: None,
            points: points.iter().map(point).collect(),
        };
        let rounds = rounds.iter().map(round).collect();
        let (name, version) = (String::new(), String::new());
        Curve { name, version, is_ours: false, built: BTreeMap::new(), rounds }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        let ours = curve(&[&[(0.99, 10.0)], &[(0.99, 300.0)], &[(0.99, 40.0)]]);
        let peer = curve(&[&[(1.0, 10.0)], &[(1.0, 100.0)], &[(1.0, 20.0)]]);
        assert_eq!(ratio(&ours, &peer, ONE, 0.99), Some(2.0));
        assert_eq!(ratio(&peer, &ours, ONE, 0.999), None, "who never gets there has no ratio");
    }

    #[test]
    fn the_points_of_a_curve_are_the_medians_of_its_rounds() {
        let curve = curve(&[&[(0.9, 10.0), (0.95, 5.0)], &[(0.9, 30.0), (0.95, 7.0)]]);
        let rates: Vec<f64> = curve.points().iter().map(|point| point.rate).collect();
        assert_eq!(rates, [20.0, 6.0]);
        assert_eq!(curve.median(|round| at(round, ALL, 0.95)), Some(12.0));
    }
}

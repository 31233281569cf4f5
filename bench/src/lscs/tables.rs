//! The tables: medians of the rounds, and how we compare.

use super::contender::Contender;
use super::step::{BULK_GOAL, METRICS, Metric, Step};
use super::{Measured, Part, Settings};
use crate::chart::{Chart, Shape};
use crate::meter::some_median;
use crate::outcome::{Sheet, Summary};
use crate::report::show;

/// The table of one part, and below it what it was made with.
pub fn sheet(measured: &Measured, settings: &Settings) -> Sheet {
    let part = measured.part;
    let contenders = Contender::of(part);
    let names = contenders.iter().map(|who| who.name().to_owned());
    let ratios = contenders[1..].iter().map(|who| match part {
        Part::Itself => "sandbox : native".to_owned(),
        Part::Rows | Part::Columns => format!("lscs : {}", who.name()),
    });
    let goal = (part == Part::Itself).then(|| "goal".to_owned());
    let head = ["workload".to_owned()].into_iter().chain(names).chain(ratios).chain(goal);
    let some = |figure: Option<f64>| figure.map_or_else(String::new, show);
    let row = |line: Line<'_>| {
        let figures = contenders.iter().map(|who| some(line.figure(*who)));
        let ratios = contenders[1..].iter().map(|who| some(line.ratio(*who)));
        let goal = line.metric.goal.filter(|_| part == Part::Itself);
        let goal = goal.map(|goal| format!("{goal:.1}"));
        let label = [line.metric.label.to_owned()];
        label.into_iter().chain(figures).chain(ratios).chain(goal).collect()
    };
    let rows = lines(measured).map(row).collect();
    let (name, note) = (part.name(), footer(part, settings));
    Sheet { name, title: String::new(), head: head.collect(), words: 1, rows, note }
}

/// The lines that a part shows.
fn lines(measured: &Measured) -> impl Iterator<Item = Line<'_>> {
    let part = measured.part;
    let is_shown = move |metric: &&Metric| {
        Step::of(part).contains(&metric.step) && (part != Part::Itself || metric.goal.is_some())
    };
    METRICS.iter().filter(is_shown).map(move |metric| Line { measured, metric })
}

/// Ratios to each contender as `id:peer`, and in `itself` what the sandbox costs as `itself/id`.
pub fn summary(measured: &Measured) -> Summary {
    let mut summary = Summary::new();
    for line in lines(measured) {
        for who in &Contender::of(measured.part)[1..] {
            let name = match measured.part {
                Part::Itself => format!("itself/{}", line.metric.id),
                Part::Rows | Part::Columns => format!("{}:{}", line.metric.id, who.name()),
            };
            summary.extend(line.ratio(*who).map(|ratio| (name, ratio)));
        }
    }
    summary
}

/// The ratios as a picture.
pub fn chart(measured: &Measured) -> Chart {
    let peers = &Contender::of(measured.part)[1..];
    let mut above = "";
    let mut groups = Vec::new();
    for line in lines(measured) {
        let name = match line.metric.label.strip_prefix("  ") {
            Some(label) => format!("{}: {}", above.split(", ").next().unwrap_or(above), label),
            None => line.metric.label.to_owned(),
        };
        if !line.metric.label.starts_with(' ') {
            above = line.metric.label;
        }
        groups.push((name, peers.iter().map(|who| line.ratio(*who)).collect()));
    }
    let (title, axis, goal) = match measured.part {
        Part::Itself => ("what the sandbox costs", "times the native cost", Some(BULK_GOAL)),
        Part::Rows => ("keys and values", "ratio, above 1 in favour of lscs", None),
        Part::Columns => ("ten typed columns", "ratio, above 1 in favour of lscs", None),
    };
    let series = peers.iter().map(|who| format!("lscs : {}", who.name())).collect();
    let shape = Shape::Bars { axis: axis.to_owned(), from: 1.0, goal, series, groups };
    Chart { name: measured.part.name(), title: title.to_owned(), shape }
}

/// The figures of one metric.
struct Line<'a> {
    measured: &'a Measured,
    metric: &'a Metric,
}

impl Line<'_> {
    fn of(&self, round: usize, who: Contender) -> Option<f64> {
        self.measured.rounds[round].get(&who)?.get(self.metric.id).copied()
    }

    /// The median of the rounds.
    fn figure(&self, who: Contender) -> Option<f64> {
        let figures = (0..self.measured.rounds.len()).filter_map(|round| self.of(round, who));
        some_median(figures.collect())
    }

    /// The median of the rounds' ratios: how many times as good as `peer` we are, or, against ourselves, how many
    /// times as much the sandbox costs.
    fn ratio(&self, peer: Contender) -> Option<f64> {
        let is_cost = self.measured.part == Part::Itself;
        let ratio = |round| {
            let (ours, theirs) = (self.of(round, Contender::Lscs)?, self.of(round, peer)?);
            let ours_above = self.metric.more_is_better != is_cost;
            let (over, under) = if ours_above { (ours, theirs) } else { (theirs, ours) };
            (0.0 < over && 0.0 < under).then_some(over / under)
        };
        some_median((0..self.measured.rounds.len()).filter_map(ratio).collect())
    }
}

fn footer(part: Part, settings: &Settings) -> String {
    let Settings { rows, cache_bytes, memtable_bytes, gets, scans, rounds, codec, .. } = settings;
    let interleaved = format!("median of {rounds} rounds, interleaved");
    let missing = [
        (cfg!(feature = "rocksdb"), "rocksdb", part != Part::Itself),
        (cfg!(feature = "parquet"), "parquet", part == Part::Columns),
    ];
    let missing = missing.into_iter().filter(|(is_there, _, matters)| !is_there && *matters);
    let missing: String = missing
        .map(|(_, name, _)| format!(" Without {name}: build with --features {name}."))
        .collect();
    match part {
        Part::Rows => format!(
            "{rows} rows of 8 + 100 bytes, values half random; {cache_bytes} bytes of cache, {memtable_bytes} of \
             write buffer; lscs compressed by {codec}; {gets} gets, {scans} scans; {interleaved}. A ratio above 1 \
             is in favour of lscs.{missing}"
        ),
        Part::Columns => format!(
            "{rows} rows of ten columns; {cache_bytes} bytes of cache, {memtable_bytes} of write buffer; lscs \
             compressed by {codec}; {gets} gets; {interleaved}. A ratio above 1 is in favour of lscs.{missing}"
        ),
        Part::Itself => format!(
            "The same rows and events, all in the cache, no codec; {interleaved}. The ratio is what the sandbox \
             costs: below 1 it costs nothing."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Figures;
    use std::collections::BTreeMap;

    fn ratio(part: Part, peer: Contender, id: &str, ours: f64, theirs: f64) -> Option<f64> {
        let figures = |figure: f64| Figures::from([(id.to_owned(), figure)]);
        let round = BTreeMap::from([(Contender::Lscs, figures(ours)), (peer, figures(theirs))]);
        let measured = Measured { part, rounds: vec![round] };
        let metric = METRICS.iter().find(|metric| metric.id == id).expect("a metric");
        Line { measured: &measured, metric }.ratio(peer)
    }

    #[test]
    fn against_others_a_ratio_above_one_is_in_our_favour() {
        let tree = |id, ours, theirs| ratio(Part::Rows, Contender::Tree, id, ours, theirs);
        assert_eq!(tree("rows_load_rate", 200.0, 100.0), Some(2.0));
        assert_eq!(tree("rows_get_us", 2.0, 1.0), Some(0.5));
    }

    #[test]
    fn against_itself_a_ratio_above_one_is_what_the_sandbox_costs() {
        let native = |id, ours, theirs| ratio(Part::Itself, Contender::Native, id, ours, theirs);
        assert_eq!(native("rows_load_rate", 100.0, 200.0), Some(2.0));
        assert_eq!(native("rows_get_us", 2.0, 1.0), Some(2.0));
    }

    #[test]
    fn every_metric_has_a_name_of_its_own_and_belongs_to_a_part() {
        let mut ids: Vec<_> = METRICS.iter().map(|metric| metric.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), METRICS.len());
        assert!(METRICS.iter().all(|metric| Step::of(Part::Itself).contains(&metric.step)));
    }
}

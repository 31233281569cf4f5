//! The table: medians of the rounds, and how we compare.

use crate::engine::Kind;
use crate::meter::median;
use crate::metric::{DISK, Figures, METRICS, Metric, Workload};
use crate::parent::Run;
use crate::settings::Settings;
use comfy_table::{CellAlignment, Table, presets};

/// Prints the table, and below it what it was made with.
pub fn print(run: &Run) {
    let settings = &run.settings;
    let kinds = settings.kinds();
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    let names = kinds.iter().map(|kind| kind.name());
    let ratios = ["sochdb : redb", "sochdb : best peer"];
    table.set_header(["workload", "durability"].into_iter().chain(names).chain(ratios));
    for metric in METRICS.iter().filter(|metric| settings.shows(metric.workload)) {
        let line = Line { run, metric };
        let best = kinds.iter().copied().filter(|kind| *kind != Kind::Sochdb);
        let best = best.filter_map(|kind| Some((kind, line.figure(kind)?)));
        let best = best.min_by(|(_, a), (_, b)| match metric.more_is_better {
            true => b.total_cmp(a),
            false => a.total_cmp(b),
        });
        let against_best = best
            .and_then(|(kind, _)| Some(format!("{} ({})", show(line.ratio(kind)?), kind.name())));
        let figures = kinds.iter().map(|kind| line.figure(*kind).map_or_else(String::new, show));
        let names = [metric.label.to_owned(), metric.durability.to_owned()];
        let against_redb = line.ratio(Kind::Redb).map_or_else(String::new, show);
        let against = [against_redb, against_best.unwrap_or_default()];
        table.add_row(names.into_iter().chain(figures).chain(against));
    }
    (2..kinds.len() + 4).for_each(|column| {
        table.column_mut(column).expect("there").set_cell_alignment(CellAlignment::Right);
    });
    println!("{table}\n\n{}", footer(settings));
}

/// The figures of one metric.
struct Line<'a> {
    run: &'a Run,
    metric: &'a Metric,
}

impl Line<'_> {
    /// The figure of one round, if it counts.
    fn of(&self, round: usize, kind: Kind) -> Option<f64> {
        let figures = self.run.rounds[round].get(&kind)?;
        let counts = self.metric.workload != Workload::Durable || is_fast(self.run, figures);
        figures.get(self.metric.id).copied().filter(|_| counts)
    }

    /// The median of the rounds.
    fn figure(&self, kind: Kind) -> Option<f64> {
        let figures = (0..self.run.rounds.len()).filter_map(|round| self.of(round, kind));
        some_median(figures.collect())
    }

    /// How many times as good as `peer` we are: the median of the rounds' ratios. `None` when a figure is
    /// zero, as with lost rows: then there is nothing to divide.
    fn ratio(&self, peer: Kind) -> Option<f64> {
        if !self.metric.compared {
            return None;
        }
        let ratio = |round| {
            let (ours, theirs) = (self.of(round, Kind::Sochdb)?, self.of(round, peer)?);
            let (over, under) =
                if self.metric.more_is_better { (ours, theirs) } else { (theirs, ours) };
            (0.0 < over && 0.0 < under).then_some(over / under)
        };
        some_median((0..self.run.rounds.len()).filter_map(ratio).collect())
    }
}

/// On a disk that others use, a sync takes forty times as long in one moment as in the next. A round's synced
/// commits count if the bare disk did, before and after them, at least this share of the run's best.
const FAST: f64 = 0.2;

fn is_fast(run: &Run, figures: &Figures) -> bool {
    let disks = run.rounds.iter().flat_map(|round| round.values());
    let best = disks.filter_map(|figures| figures.get(DISK)).copied().fold(0.0, f64::max);
    figures.get(DISK).is_none_or(|disk| best * FAST <= *disk)
}

fn some_median(figures: Vec<f64>) -> Option<f64> {
    (!figures.is_empty()).then(|| median(figures))
}

/// Three digits that matter.
pub fn show(figure: f64) -> String {
    match figure {
        1000.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{figure:.2}"),
    }
}

fn footer(settings: &Settings) -> String {
    let Settings { rows, cache_bytes, memtable_bytes, commits, operations, rounds, .. } = settings;
    let rocksdb = match cfg!(feature = "rocksdb") {
        true => "",
        false => " RocksDB: build with --features rocksdb.",
    };
    format!(
        "{rows} rows of 24 + 100 bytes; {cache_bytes} bytes of cache and, for those who have one, \
         {memtable_bytes} of write buffer; {commits} durable commits; {operations} operations; median of \
         {rounds} rounds, engines interleaved. A ratio above 1 is in favour of sochdb. Synced: on disk when \
         the commit returns; rounds in which the bare disk was slow do not count there. bench/README.md tells \
         the settings of each engine.{rocksdb}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn ratio(id: &str, rounds: &[(f64, f64)]) -> Option<f64> {
        let figures = |figure: f64| Figures::from([(id.to_owned(), figure)]);
        let round = |&(ours, theirs): &(f64, f64)| {
            BTreeMap::from([(Kind::Sochdb, figures(ours)), (Kind::Redb, figures(theirs))])
        };
        let run = Run { settings: Settings::default(), rounds: rounds.iter().map(round).collect() };
        let metric = METRICS.iter().find(|metric| metric.id == id).expect("a metric");
        Line { run: &run, metric }.ratio(Kind::Redb)
    }

    #[test]
    fn a_ratio_above_one_is_in_our_favour_whichever_way_the_figure_goes() {
        assert_eq!(ratio("load_rate", &[(200.0, 100.0)]), Some(2.0));
        assert_eq!(ratio("get_us", &[(2.0, 1.0)]), Some(0.5));
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        let rounds = [(1.0, 1.0), (30.0, 10.0), (100.0, 50.0)];
        assert_eq!(ratio("load_rate", &rounds), Some(2.0));
    }

    #[test]
    fn synced_commits_of_a_slow_moment_of_the_disk_do_not_count() {
        let round = |disk: f64, rate: f64| {
            let figures = [("durable_disk", disk), ("durable_1", rate)];
            let figures = figures.map(|(id, figure)| (id.to_owned(), figure));
            BTreeMap::from([(Kind::Sochdb, Figures::from(figures))])
        };
        let rounds = vec![round(300.0, 250.0), round(10_000.0, 9_000.0), round(310.0, 240.0)];
        let run = Run { settings: Settings::default(), rounds };
        let metric = METRICS.iter().find(|metric| metric.id == "durable_1").expect("a metric");
        assert_eq!(Line { run: &run, metric }.figure(Kind::Sochdb), Some(9_000.0));
    }

    #[test]
    fn nothing_lost_has_no_ratio() {
        assert_eq!(ratio("killed_lost", &[(0.0, 5.0)]), None);
    }
}

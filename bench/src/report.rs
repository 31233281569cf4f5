//! The tables of `bench kv`: medians of the rounds, and how we compare.

use crate::Result;
use crate::chart::{Chart, Shape};
use crate::data::ValueKind;
use crate::engine::Kind;
use crate::meter::some_median;
use crate::metric::{DISK, Figures, METRICS, Metric, Workload};
use crate::outcome::{Outcome, Sheet, Summary};
use crate::parent::Run;
use crate::settings::Settings;

/// What the pictures show: those lines that say how fast something is, and those that say what it costs.
const FAST: &[&str] = &[
    "load_rate",
    "sequential_rate",
    "bulk_rate",
    "overwrite_rate",
    "get_us",
    "get_2",
    "getz_us",
    "scan_us",
    "durable_1",
    "durable_8",
    "durable_64",
    "ycsb_a",
    "ycsb_b",
    "ycsb_c",
    "ycsb_f",
    "counters",
    "killed_ms",
];
const DEAR: &[&str] = &[
    "load_cpu_us",
    "overwrite_cpu_us",
    "get_cpu_us",
    "scan_cpu_us",
    "durable_1_cpu_us",
    "durable_64_cpu_us",
    "ycsb_a_cpu_us",
    "load_written",
    "overwrite_written",
    "load_space",
    "overwrite_space",
    "peak_mb",
];
const CROWDS: [(f64, &str); 3] = [(1.0, "durable_1"), (8.0, "durable_8"), (64.0, "durable_64")];

/// The tables, pictures and figures of `run`.
///
/// # Errors
/// When it is no JSON.
pub fn outcome(run: &Run) -> Result<Outcome> {
    let mut outcome = Outcome::of(run)?;
    outcome.sheets.push(sheet(run));
    outcome.charts.extend([
        ratios(run, "ratios", "how many times as fast as each peer sochdb is", FAST),
        ratios(run, "costs", "how many times less than each peer sochdb needs", DEAR),
        crowds(run),
    ]);
    outcome.charts.retain(Chart::shows_something);
    outcome.summary = summary(run);
    Ok(outcome)
}

fn sheet(run: &Run) -> Sheet {
    let settings = &run.settings;
    let kinds = settings.kinds();
    let names = kinds.iter().map(|kind| kind.name());
    let ratios = ["sochdb : redb", "sochdb : best peer"];
    let head = ["workload", "durability"].into_iter().chain(names).chain(ratios);
    let row = |metric| {
        let line = Line { run, metric };
        let against_best = line.best();
        let against_best =
            against_best.map(|(kind, ratio)| format!("{} ({})", show(ratio), kind.name()));
        let figures = kinds.iter().map(|kind| line.figure(*kind).map_or_else(String::new, show));
        let names = [metric.label.to_owned(), metric.durability.to_owned()];
        let against_redb = line.ratio(Kind::Sochdb, Kind::Redb).map_or_else(String::new, show);
        let against = [against_redb, against_best.unwrap_or_default()];
        names.into_iter().chain(figures).chain(against).collect()
    };
    let rows = run.metrics().map(row).collect();
    let (name, title) = ("kv".to_owned(), String::new());
    let head = head.map(str::to_owned).collect();
    Sheet { name, title, head, words: 2, rows, note: footer(settings) }
}

fn summary(run: &Run) -> Summary {
    let mut summary = Summary::new();
    for metric in run.metrics() {
        let line = Line { run, metric };
        let ours = line.figure(Kind::Sochdb).map(|figure| (metric.id.to_owned(), figure));
        let best = line.best().map(|(_, ratio)| (format!("{}:best", metric.id), ratio));
        let peers = run.settings.kinds().into_iter().filter(|kind| *kind != Kind::Sochdb);
        let peers = peers.filter_map(|kind| {
            Some((format!("{}:{}", metric.id, kind.name()), line.ratio(Kind::Sochdb, kind)?))
        });
        summary.extend(ours.into_iter().chain(best).chain(peers));
    }
    let of = |round: &std::collections::BTreeMap<Kind, Figures>| {
        let figures = round.get(&Kind::Sochdb)?;
        Some(figures.get("durable_64")? / figures.get("durable_1")?)
    };
    let crowd = some_median(run.rounds.iter().filter_map(of).collect());
    summary.extend(crowd.map(|ratio| ("durable_64:durable_1".to_owned(), ratio)));
    summary
}

/// Ratios to each peer, for those lines of `ids` that were measured.
fn ratios(run: &Run, name: &str, title: &str, ids: &[&str]) -> Chart {
    let peers = run.settings.kinds().into_iter().filter(|kind| *kind != Kind::Sochdb);
    let peers: Vec<Kind> = peers.collect();
    let group = |metric: &Metric| {
        let line = Line { run, metric };
        let ratios: Vec<_> = peers.iter().map(|peer| line.ratio(Kind::Sochdb, *peer)).collect();
        ratios.iter().any(Option::is_some).then(|| (metric.name(), ratios))
    };
    let groups =
        run.metrics().filter(|metric| ids.contains(&metric.id)).filter_map(group).collect();
    let axis = "ratio, above 1 in favour of sochdb".to_owned();
    let series = peers.iter().map(|kind| kind.name().to_owned()).collect();
    let shape = Shape::Bars { axis, from: 1.0, goal: None, series, groups };
    Chart { name: name.to_owned(), title: title.to_owned(), shape }
}

/// Durable commits a second over the number of threads.
fn crowds(run: &Run) -> Chart {
    let points = |kind: Kind| {
        let figure = |id: &str| {
            let metric = run.metrics().find(|metric| metric.id == id)?;
            Line { run, metric }.figure(kind)
        };
        CROWDS.iter().filter_map(|(threads, id)| Some((*threads, figure(id)?))).collect()
    };
    let series = run.settings.kinds().into_iter();
    let series = series.map(|kind| (kind.name().to_owned(), points(kind))).collect();
    let (x, y) = ("threads".to_owned(), "synced commits of one row a second".to_owned());
    let shape = Shape::Lines { x, y, log_x: true, log_y: true, series };
    let (name, title) = ("durable".to_owned(), "durable commits a second, by threads".to_owned());
    Chart { name, title, shape }
}

impl Run {
    /// The metrics whose workloads were asked for.
    pub fn metrics(&self) -> impl Iterator<Item = &'static Metric> {
        METRICS.iter().filter(|metric| self.settings.shows(metric.workload))
    }
}

impl Metric {
    /// Its label, with that of the line above where it needs it.
    pub fn name(&self) -> String {
        let at = METRICS.iter().position(|metric| metric.id == self.id).unwrap_or_default();
        let above = METRICS[..=at].iter().rev().find(|metric| !metric.label.starts_with(' '));
        let bare = |label: &str| {
            let stripped = NO_NAMES.iter().find_map(|unit| label.strip_suffix(unit));
            stripped.unwrap_or(label).to_owned()
        };
        match (self.label.strip_prefix("  "), above) {
            (Some(label), Some(above)) => format!("{}: {}", bare(above.label), bare(label)),
            _ => bare(self.label),
        }
    }
}

/// What a picture leaves out of a label.
const NO_NAMES: &[&str] = &[
    ", 50% updates, zipfian, 2 threads, /s",
    ", batches of 1,000, rows/s",
    " per byte of rows",
    ", median, us",
    ", us/row",
    ", us/put",
    ", rows/s",
    ", us",
    ", ms",
    ", MB",
    ", /s",
];

/// The figures of one metric.
pub struct Line<'a> {
    /// What was measured.
    pub run: &'a Run,
    /// Of it this.
    pub metric: &'a Metric,
}

impl Line<'_> {
    /// The figure of one round, if it counts.
    fn of(&self, round: usize, kind: Kind) -> Option<f64> {
        let figures = self.run.rounds[round].get(&kind)?;
        let counts = self.metric.workload != Workload::Durable || is_fast(self.run, figures);
        figures.get(self.metric.id).copied().filter(|_| counts)
    }

    /// The median of the rounds.
    pub fn figure(&self, kind: Kind) -> Option<f64> {
        let figures = (0..self.run.rounds.len()).filter_map(|round| self.of(round, kind));
        some_median(figures.collect())
    }

    /// How many times as good as `peer` `ours` is: the median of the rounds' ratios. `None` when a figure is
    /// zero, as with lost rows: then there is nothing to divide.
    pub fn ratio(&self, ours: Kind, peer: Kind) -> Option<f64> {
        if !self.metric.compared {
            return None;
        }
        let ratio = |round| {
            let (ours, theirs) = (self.of(round, ours)?, self.of(round, peer)?);
            let (over, under) =
                if self.metric.more_is_better { (ours, theirs) } else { (theirs, ours) };
            (0.0 < over && 0.0 < under).then_some(over / under)
        };
        some_median((0..self.run.rounds.len()).filter_map(ratio).collect())
    }

    /// The best of the peers, and how many times as good as it we are.
    fn best(&self) -> Option<(Kind, f64)> {
        let peers = self.run.settings.kinds().into_iter().filter(|kind| *kind != Kind::Sochdb);
        let peers = peers.filter_map(|kind| Some((kind, self.figure(kind)?)));
        let best = peers.min_by(|(_, a), (_, b)| match self.metric.more_is_better {
            true => b.total_cmp(a),
            false => a.total_cmp(b),
        });
        let (kind, _) = best?;
        Some((kind, self.ratio(Kind::Sochdb, kind)?))
    }
}

/// On a disk that others use, a sync takes forty times as long in one moment as in the next. A round's synced
/// commits count if the bare disk did, before and after them, at least this share of the run's best.
const FAST_DISK: f64 = 0.2;

fn is_fast(run: &Run, figures: &Figures) -> bool {
    let disks = run.rounds.iter().flat_map(|round| round.values());
    let best = disks.filter_map(|figures| figures.get(DISK)).copied().fold(0.0, f64::max);
    figures.get(DISK).is_none_or(|disk| best * FAST_DISK <= *disk)
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
    let Settings {
        rows,
        value_bytes,
        cache_bytes,
        memtable_bytes,
        commits,
        operations,
        rounds,
        ..
    } = settings;
    let rocksdb = match cfg!(feature = "rocksdb") {
        true => "",
        false => " RocksDB: build with --features rocksdb.",
    };
    let values = match settings.value {
        ValueKind::Random => "random letters and digits",
        ValueKind::Json => "JSON objects",
    };
    let megabytes = |bytes: usize| match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    };
    let (cache, memtable) = (megabytes(*cache_bytes), megabytes(*memtable_bytes));
    format!(
        "{rows} rows of 24 + {value_bytes} bytes, {values}; {cache} of cache and, for those who have one, \
         {memtable} of write buffer; {commits} durable commits; {operations} operations; median of \
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
        Line { run: &run, metric }.ratio(Kind::Sochdb, Kind::Redb)
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

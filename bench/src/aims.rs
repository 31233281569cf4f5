//! What we aim at, and what was measured.
//!
//! An aim names a workload, a figure of its summary, and one or two marks: the least that will do, and what is strong.
//! Whether it is met is computed, never typed.

use crate::boundary::{HOST_CALL, INSTANCE, RUNAWAY};
use crate::outcome::Summary;
use crate::report::show;
use std::collections::BTreeMap;

/// Which figure.
#[derive(Debug, Clone, Copy)]
enum Of {
    /// This one.
    One(&'static str),
    /// The least of those that were measured.
    Least(&'static [&'static str]),
    /// The most of those whose names are such.
    Most(fn(&str) -> bool),
}

/// Which way is good, and how far: the least that will do, and what is strong.
#[derive(Debug, Clone, Copy)]
enum Mark {
    AtLeast(f64, f64),
    AtMost(f64, f64),
}

use Mark::{AtLeast, AtMost};
use Of::{Least, Most, One};

struct Aim {
    workload: &'static str,
    what: &'static str,
    of: Of,
    mark: Mark,
}

const fn aim(workload: &'static str, what: &'static str, of: Of, mark: Mark) -> Aim {
    Aim { workload, what, of, mark }
}

/// All of them, in the order of the table.
const AIMS: &[Aim] = &[
    // Keys and values: marks from the peers' figures on a machine like this.
    aim("kv", "durable single puts, 1 thread, /s", One("durable_1"), AtLeast(7e3, 10e3)),
    aim("kv", "durable single puts, 8 threads, /s", One("durable_8"), AtLeast(15e3, 25e3)),
    aim("kv", "their slowest of a thousand, ms", One("durable_8_p999_ms"), AtMost(10.0, 3.0)),
    aim("kv", "64 durable writers, times one", One("durable_64:durable_1"), AtLeast(20.0, 20.0)),
    aim("kv", "random load, processor time, us/row", One("load_cpu_us"), AtMost(5.0, 3.5)),
    aim("kv", "point get, uniform, median, us", One("get_us"), AtMost(2.5, 1.1)),
    aim("kv", "scan of 100 rows, median, us", One("scan_us"), AtMost(17.0, 7.0)),
    aim("kv", "YCSB A, 2 threads, times redb", One("ycsb_a:redb"), AtLeast(2.0, 4.0)),
    aim("kv", "hot read-modify-write, times redb", One("counters:redb"), AtLeast(0.7, 1.2)),
    aim("kv", "lost updates", One("counters_lost"), AtMost(0.0, 0.0)),
    aim(
        "kv",
        "bytes on disk per byte of rows after overwriting",
        One("overwrite_space"),
        AtMost(2.0, 1.3),
    ),
    aim("kv", "bytes written per byte of rows, random load", One("load_written"), AtMost(5.0, 2.0)),
    aim("kv", "open after closing, ms", One("reopen_ms"), AtMost(20.0, 2.0)),
    aim("kv", "open after kill -9, ms", One("killed_ms"), AtMost(100.0, 20.0)),
    aim("kv", "acknowledged rows lost by kill -9, synced", One("killed_lost"), AtMost(0.0, 0.0)),
    aim(
        "kv",
        "acknowledged rows lost by kill -9, not synced",
        One("killed_lost_unsynced"),
        AtMost(0.0, 0.0),
    ),
    aim(
        "kv",
        "writes that are not synced, times the best peer (the least of load, overwrite, YCSB A)",
        Least(&["load_rate:best", "overwrite_rate:best", "ycsb_a:best"]),
        AtLeast(1.0, 1.0),
    ),
    aim("kv", "bulk load, times the best peer", One("bulk_rate:best"), AtLeast(1.0, 1.0)),
    aim(
        "scaling",
        "reads by all cores, share of as many times one thread",
        One("per_core"),
        AtLeast(0.8, 0.95),
    ),
    // The column store.
    aim(
        "lscs",
        "what the sandbox costs, times native (the most of all lines)",
        Most(is_itself),
        AtMost(2.0, 1.3),
    ),
    aim(
        "lscs",
        "column scans, times the best row store",
        Least(&[
            "columns_sum_ms:tree",
            "columns_sum_ms:rocksdb",
            "columns_sum_ms:fjall",
            "columns_clustered_ms:tree",
            "columns_clustered_ms:rocksdb",
            "columns_clustered_ms:fjall",
            "columns_random_ms:tree",
            "columns_random_ms:rocksdb",
            "columns_random_ms:fjall",
        ]),
        AtLeast(1.0, 1.0),
    ),
    aim("lscs", "point get of a row, times RocksDB", One("rows_get_us:rocksdb"), AtLeast(1.0, 1.0)),
    aim(
        "lscs",
        "point get of an event, times RocksDB",
        One("columns_get_us:rocksdb"),
        AtLeast(1.0, 1.0),
    ),
    aim(
        "lscs",
        "space, RocksDB's over ours (the least of both tables)",
        Least(&["rows_space:rocksdb", "columns_space:rocksdb"]),
        AtLeast(1.0, 1.0),
    ),
    aim(
        "lscs",
        "bytes written, RocksDB's over ours (the least of both tables)",
        Least(&["rows_written:rocksdb", "columns_written:rocksdb"]),
        AtLeast(1.0, 1.0),
    ),
    // Vectors; a rate of the project that this one follows was 0.545 times hnswlib's at 0.99: 1.6 times that is 0.87.
    aim(
        "vector",
        "queries/s at recall 0.99, times hnswlib",
        One("auto/x_hnswlib_0.99"),
        AtLeast(0.9, 1.3),
    ),
    aim("vector", "the same of `vamana`", One("vamana/x_hnswlib_0.99"), AtLeast(0.9, 1.3)),
    aim(
        "vector",
        "the same, 1.6 times what upstream has",
        One("auto/x_hnswlib_0.99"),
        AtLeast(0.87, 1.0),
    ),
    aim(
        "vector",
        "build, times hnswlib, by processor time",
        One("auto/build_x_hnswlib"),
        AtLeast(0.5, 1.0),
    ),
    aim("vector", "build, vectors/s a core", One("auto/build_a_core"), AtLeast(1_200.0, 1_200.0)),
    aim("vector", "recall@10 with defaults", One("auto/default_recall"), AtLeast(0.985, 0.985)),
    aim(
        "vector",
        "the same of the worst kind of query",
        One("auto/default_recall_least_kind"),
        AtLeast(0.975, 0.975),
    ),
    aim("vector", "best recall@10", One("auto/best_recall"), AtLeast(0.999, 0.999)),
    aim("vector", "p99 : p50 at recall 0.99", One("auto/p99_p50"), AtMost(1.6, 1.6)),
    aim("vector", "resident bytes a vector", One("auto/resident_bytes"), AtMost(650.0, 650.0)),
    aim("vector", "file, times the raw vectors", One("auto/file_times_raw"), AtMost(1.4, 1.4)),
    aim(
        "vector",
        "recall lost by replacing a tenth 15 times",
        One("auto/churn_recall_drop"),
        AtMost(0.005, 0.005),
    ),
    aim(
        "vector",
        "a replaced row, times a fresh one",
        One("auto/churn_insert_times"),
        AtMost(1.5, 1.5),
    ),
    aim(
        "vector",
        "fuel of a query at recall 0.99, millions",
        One("auto/fuel_millions"),
        AtMost(1.3, 1.3),
    ),
    aim(
        "vector",
        "queries/s by all cores, times one thread (2 cores)",
        One("auto/times_all_threads"),
        AtLeast(1.9, 1.9),
    ),
    aim("vector", "open until the first answer, ms", One("auto/open_ms"), AtMost(200.0, 200.0)),
    // The boundary and what surrounds it.
    aim(
        "boundary",
        "a call of the host, checked and audited, ns",
        One(HOST_CALL),
        AtMost(120.0, 120.0),
    ),
    aim(
        "boundary",
        "a row in a batch of 256, beyond the same call native, ns",
        One("batch_row_beyond_native"),
        AtMost(1.0, 1.0),
    ),
    aim("boundary", "a runaway past its budget, ms", One(RUNAWAY), AtMost(2.0, 2.0)),
    aim(
        "boundary",
        "to a plugin's first answer from a new instance, us",
        One(INSTANCE),
        AtMost(50.0, 50.0),
    ),
    aim(
        "overhead",
        "all plugins loaded, processor time, times the bare kernel (the most of all lines)",
        Most(is_processor_time),
        AtMost(1.05, 1.05),
    ),
    aim("overhead", "the same on the wall", Most(is_on_the_wall), AtMost(1.05, 1.05)),
    aim("reload", "calls that failed while plugins were replaced", One("failed"), AtMost(0.0, 0.0)),
    aim("reload", "longest wait of a call by a swap, ms", One("longest_wait_ms"), AtMost(1.0, 1.0)),
    aim(
        "footprint",
        "the command with all bundled plugins, profile dist, stripped, MB",
        One("stripped_mb"),
        AtMost(25.0, 25.0),
    ),
    aim(
        "footprint",
        "open a warm database, read, load all plugins, ms",
        One("all_ms"),
        AtMost(20.0, 20.0),
    ),
    aim(
        "footprint",
        "memory of an idle process with all that, MB",
        One("idle_mb"),
        AtMost(40.0, 40.0),
    ),
];

fn is_itself(name: &str) -> bool {
    name.starts_with("itself/")
}

fn is_processor_time(name: &str) -> bool {
    name.ends_with("_cpu_us")
}

fn is_on_the_wall(name: &str) -> bool {
    !is_processor_time(name)
}

/// How an aim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The stronger mark is reached.
    Strong,
    /// The least that will do is reached.
    Met,
    /// It is not.
    Missed,
    /// Nobody measured it.
    Open,
}

/// An aim beside what was measured.
#[derive(Debug)]
pub struct Line {
    /// Which workload says so.
    pub workload: &'static str,
    /// What is aimed at.
    pub what: &'static str,
    /// The marks, as words.
    pub mark: String,
    /// What was measured, and of several which.
    pub figure: String,
    /// How it stands.
    pub verdict: Verdict,
}

impl Of {
    /// The figure, and of several the name of the one that it is.
    fn find(self, summary: &Summary) -> Option<(f64, Option<String>)> {
        let named = |(name, figure): (&str, f64)| (figure, Some(name.to_owned()));
        match self {
            One(name) => Some((*summary.get(name)?, None)),
            Least(names) => {
                let found = names.iter().filter_map(|name| Some((*name, *summary.get(*name)?)));
                found.min_by(|a, b| a.1.total_cmp(&b.1)).map(named)
            }
            Most(is_such) => {
                let found = summary.iter().filter(|(name, _)| is_such(name));
                let found = found.map(|(name, figure)| (name.as_str(), *figure));
                found.max_by(|a, b| a.1.total_cmp(&b.1)).map(named)
            }
        }
    }
}

impl Mark {
    fn verdict(self, figure: f64) -> Verdict {
        let (met, strong) = match self {
            AtLeast(pass, strong) => (pass <= figure, strong <= figure),
            AtMost(pass, strong) => (figure <= pass, figure <= strong),
        };
        match (met, strong) {
            (_, true) => Verdict::Strong,
            (true, false) => Verdict::Met,
            (false, false) => Verdict::Missed,
        }
    }

    fn words(self) -> String {
        let (way, pass, strong) = match self {
            AtLeast(pass, strong) => ("at least", pass, strong),
            AtMost(pass, strong) => ("at most", pass, strong),
        };
        match pass == strong {
            true => format!("{way} {}", exact(pass)),
            false => format!("{way} {}, strong {}", exact(pass), exact(strong)),
        }
    }
}

/// A mark as it was set, without digits of measuring.
fn exact(mark: f64) -> String {
    format!("{mark}")
}

impl Verdict {
    /// As the table says it.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Strong => "met",
            Verdict::Met => "met, not strong",
            Verdict::Missed => "**not met**",
            Verdict::Open => "not measured",
        }
    }
}

/// Every aim beside the figure of its workload.
pub fn lines(summaries: &BTreeMap<String, Summary>) -> Vec<Line> {
    let line = |aim: &Aim| {
        let found = summaries.get(aim.workload).and_then(|summary| aim.of.find(summary));
        let verdict = found.as_ref().map_or(Verdict::Open, |found| aim.mark.verdict(found.0));
        let figure = match found {
            Some((figure, Some(name))) => format!("{} (`{name}`)", show(figure)),
            Some((figure, None)) => precise(figure),
            None => String::new(),
        };
        let Aim { workload, what, .. } = *aim;
        Line { workload, what, mark: aim.mark.words(), figure, verdict }
    };
    AIMS.iter().map(line).collect()
}

/// Shares near one need their digits.
fn precise(figure: f64) -> String {
    if (0.9..1.0).contains(&figure) { format!("{figure:.4}") } else { show(figure) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(workload: &str, figures: &[(&str, f64)]) -> Vec<Line> {
        let summary = figures.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect();
        lines(&BTreeMap::from([(workload.to_owned(), summary)]))
    }

    fn verdict(lines: &[Line], what: &str) -> Verdict {
        lines.iter().find(|line| line.what == what).expect("an aim").verdict
    }

    #[test]
    fn an_aim_is_met_from_its_mark_on_and_strong_from_the_stronger_one_on() {
        let what = "durable single puts, 1 thread, /s";
        let at = |rate| verdict(&lines_of("kv", &[("durable_1", rate)]), what);
        assert_eq!(
            [6_999.0, 7_000.0, 10_000.0].map(at),
            [Verdict::Missed, Verdict::Met, Verdict::Strong]
        );
        let what = "open after kill -9, ms";
        let at = |ms| verdict(&lines_of("kv", &[("killed_ms", ms)]), what);
        assert_eq!([100.1, 100.0, 20.0].map(at), [Verdict::Missed, Verdict::Met, Verdict::Strong]);
        assert_eq!(verdict(&lines_of("kv", &[]), what), Verdict::Open);
    }

    #[test]
    fn of_several_figures_the_worst_counts_and_is_named() {
        let lines =
            lines_of("overhead", &[("get_us", 1.01), ("ycsb_a", 1.2), ("get_cpu_us", 1.04)]);
        let wall = lines.iter().find(|line| line.what == "the same on the wall").expect("an aim");
        assert_eq!((wall.verdict, wall.figure.as_str()), (Verdict::Missed, "1.20 (`ycsb_a`)"));
        let cpu = lines
            .iter()
            .find(|line| line.what.starts_with("all plugins loaded, pro"))
            .expect("one");
        assert_eq!((cpu.verdict, cpu.figure.as_str()), (Verdict::Strong, "1.04 (`get_cpu_us`)"));
        let lines = lines_of("kv", &[("load_rate:best", 3.0), ("ycsb_a:best", 0.5)]);
        let writes =
            lines.iter().find(|line| line.what.starts_with("writes that are not")).expect("one");
        assert_eq!(
            (writes.verdict, writes.figure.as_str()),
            (Verdict::Missed, "0.50 (`ycsb_a:best`)")
        );
    }

    #[test]
    fn the_stronger_mark_is_never_the_weaker_one() {
        for aim in AIMS {
            let (AtLeast(weak, strong) | AtMost(strong, weak)) = aim.mark;
            assert!(weak <= strong, "{}: {}", aim.workload, aim.what);
        }
    }
}

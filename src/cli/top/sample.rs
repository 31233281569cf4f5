//! What happened between two readings of all metrics: rates, spreads of durations, and how things are now.
//!
//! Three rules keep it honest:
//! 1. What no metric says is `None`, never zero. A family that is there and lacks a series says zero: a disk that
//!    was never read from has no series of reads.
//! 2. A counter that is less than it was counts anew, and all it has was added since. When the program itself was
//!    started anew, that holds for every counter, also for those that have overtaken their old value.
//! 3. The first reading has nothing before it, so it has no rates.

use sochdb_telemetry::{Histogram, Metric, MetricValue};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// All metrics at one time.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// As the source gave them.
    pub metrics: Vec<Metric>,
    /// When, by a clock that nobody sets, in seconds.
    pub at_s: f64,
    /// When, in seconds since 1970.
    pub unix_s: f64,
}

/// What is shown of one reading. Rates are per second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// When, in seconds since 1970.
    pub unix_s: f64,
    /// Since the reading before.
    pub elapsed_s: Option<f64>,
    /// The program is another one than at the reading before.
    pub restarted: bool,
    pub version: Option<String>,
    pub uptime_s: Option<f64>,
    pub health: Vec<Part>,
    pub commits: Option<f64>,
    pub conflicts: Option<f64>,
    pub rollbacks: Option<f64>,
    pub rows_put: Option<f64>,
    pub rows_deleted: Option<f64>,
    /// How long the commits since the reading before took.
    pub latency: Option<Histogram>,
    pub searches: Option<f64>,
    pub search_latency: Option<Histogram>,
    pub log: Log,
    pub disk: Disk,
    pub memory: Memory,
    pub checkpoints: Checkpoints,
    /// The largest first.
    pub tables: Vec<Table>,
    pub plugins: Vec<Plugin>,
    pub tenants: Vec<Tenant>,
    /// Batches that each observer did not get since the program was started, where there are any; and spans and log
    /// lines that nobody got.
    pub dropped: Vec<(String, f64)>,
}

/// How a part is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub health: Health,
    pub component: String,
    pub name: String,
}

/// How well; the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    Healthy,
    Starting,
    Degraded,
    Failed,
}

impl Health {
    const ALL: [Health; 4] = [Health::Healthy, Health::Starting, Health::Degraded, Health::Failed];

    pub fn word(self) -> &'static str {
        ["healthy", "starting", "degraded", "failed"][self as usize]
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    pub written_bytes: Option<f64>,
    pub syncs: Option<f64>,
    pub sync_latency: Option<Histogram>,
    /// What a restart would read.
    pub replay_bytes: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Disk {
    pub reads: Option<f64>,
    pub read_bytes: Option<f64>,
    pub writes: Option<f64>,
    pub written_bytes: Option<f64>,
    /// Since the program was started.
    pub errors: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// Of what was looked up since the reading before; unknown when nothing was.
    pub hit_ratio: Option<f64>,
    pub cache_bytes: Option<f64>,
    pub memtable_bytes: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoints {
    /// Since the program was started.
    pub done: Option<f64>,
    /// How many since the reading before.
    pub new: Option<f64>,
    /// How long each of those took, on average.
    pub took_s: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    pub name: String,
    pub segments: Option<f64>,
    pub bytes: Option<f64>,
    pub levels: Vec<Level>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Level {
    pub level: String,
    pub segments: Option<f64>,
    pub bytes: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plugin {
    pub name: String,
    pub calls: Option<f64>,
    /// Since the program was started.
    pub failures_total: Option<f64>,
    pub failures: Option<f64>,
    pub fuel: Option<f64>,
    pub latency: Option<Histogram>,
    pub memory_bytes: Option<f64>,
    pub instances: Option<f64>,
    pub is_quarantined: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tenant {
    pub name: String,
    pub calls: Option<f64>,
    /// Calls that met a bound of its own.
    pub refused: Option<f64>,
    pub fuel: Option<f64>,
    pub memory_bytes: Option<f64>,
    pub storage_bytes: Option<f64>,
}

/// The quantile of a spread that may be unknown, or of nothing.
pub fn quantile(spread: &Option<Histogram>, q: f64) -> Option<f64> {
    spread.as_ref()?.quantile(q)
}

/// What `now` says, and what happened since `earlier`.
pub fn sample(earlier: Option<&Reading>, now: &Reading) -> Sample {
    let change = Change::new(earlier, now);
    let labels = |metric: &Metric| {
        let label = |name| label(metric, name).unwrap_or_default().to_owned();
        (label("component"), label("name"))
    };
    let mut health: Vec<Part> = change
        .series("sochdb_health")
        .filter_map(|metric| {
            let ((component, name), code) = (labels(metric), number(metric)?);
            let health = Health::ALL.into_iter().find(|health| *health as u8 as f64 == code);
            // What this program does not know yet is not well.
            Some(Part { health: health.unwrap_or(Health::Degraded), component, name })
        })
        .collect();
    health.sort_by(|a, b| b.health.cmp(&a.health).then_with(|| a.cmp(b)));
    let version = change.series("sochdb_build_info").find_map(|metric| label(metric, "version"));
    let uptime_s = change.total("sochdb_start_time_seconds", &[]);
    let uptime_s = uptime_s.map(|start| (now.unix_s - start).max(0.0));
    let searches = "sochdb_search_duration_seconds";
    let log_sync = [("file", "log"), ("operation", "sync")];
    let (hits, misses) = (
        change.added("sochdb_cache_hits_total", &[]),
        change.added("sochdb_cache_misses_total", &[]),
    );
    let hit_ratio = hits.zip(misses).filter(|(hits, misses)| 0.0 < hits + misses);
    let took = change.spread("sochdb_checkpoint_duration_seconds", &[]);
    let took = took.filter(|took| 0 < took.count());
    Sample {
        unix_s: now.unix_s,
        elapsed_s: earlier.map(|_| change.elapsed_s),
        restarted: change.restarted,
        version: version.map(str::to_owned),
        uptime_s,
        health,
        commits: change.rate("sochdb_commits_total", &[]),
        conflicts: change.rate("sochdb_conflicts_total", &[]),
        rollbacks: change.rate("sochdb_rollbacks_total", &[]),
        rows_put: change.rate("sochdb_rows_put_total", &[]),
        rows_deleted: change.rate("sochdb_rows_deleted_total", &[]),
        latency: change.spread("sochdb_commit_duration_seconds", &[("outcome", "committed")]),
        searches: change.observed(searches, &[]),
        search_latency: change.spread(searches, &[]),
        log: Log {
            written_bytes: change.rate("sochdb_log_written_bytes_total", &[]),
            syncs: change.rate("sochdb_log_syncs_total", &[]),
            sync_latency: change.spread("sochdb_disk_operation_duration_seconds", &log_sync),
            replay_bytes: change.total("sochdb_log_bytes", &[]),
        },
        disk: change.disk(),
        memory: Memory {
            hit_ratio: hit_ratio.map(|(hits, misses)| hits / (hits + misses)),
            cache_bytes: change.total("sochdb_cache_bytes", &[]),
            memtable_bytes: change.total("sochdb_memtable_bytes", &[]),
        },
        checkpoints: Checkpoints {
            done: change.total("sochdb_checkpoints_total", &[]),
            new: change.added("sochdb_checkpoints_total", &[]),
            took_s: took.map(|took| took.sum / took.count() as f64),
        },
        tables: change.tables(),
        plugins: change.plugins(),
        tenants: change.tenants(),
        dropped: change.dropped(),
    }
}

type Series<'a> = (&'a str, Vec<(&'a str, &'a str)>);

/// Two readings, by name and by series.
struct Change<'a> {
    families: HashMap<&'a str, Vec<&'a Metric>>,
    earlier: Option<HashMap<Series<'a>, &'a MetricValue>>,
    elapsed_s: f64,
    restarted: bool,
}

impl<'a> Change<'a> {
    fn new(earlier: Option<&'a Reading>, now: &'a Reading) -> Change<'a> {
        let mut families: HashMap<_, Vec<_>> = HashMap::new();
        for metric in &now.metrics {
            families.entry(metric.name.as_str()).or_default().push(metric);
        }
        let elapsed_s = earlier.map_or(0.0, |earlier| now.at_s - earlier.at_s);
        let by_series = |reading: &'a Reading| -> HashMap<_, _> {
            reading.metrics.iter().map(|metric| (series(metric), &metric.value)).collect()
        };
        let earlier = earlier.filter(|_| 0.0 < elapsed_s).map(by_series);
        let mut change = Change { families, earlier, elapsed_s, restarted: false };
        change.restarted = change.is_restarted();
        if change.restarted {
            change.earlier = Some(HashMap::new());
        }
        change
    }

    /// Whether the kernel counts anew, or the program says that it began at another time.
    fn is_restarted(&self) -> bool {
        let both = |name: &str| {
            let now = self.series(name).find(|metric| metric.labels.is_empty())?;
            Some((value(self.earlier.as_ref()?.get(&series(now))?)?, number(now)?))
        };
        let moved =
            both("sochdb_start_time_seconds").is_some_and(|(then, now)| 1.0 < (now - then).abs());
        let totals =
            ["sochdb_commits_total", "sochdb_log_syncs_total", "sochdb_log_written_bytes_total"];
        moved || totals.into_iter().filter_map(both).any(|(then, now)| now < then)
    }

    fn series(&self, name: &str) -> impl Iterator<Item = &'a Metric> + use<'a> {
        self.families.get(name).cloned().unwrap_or_default().into_iter()
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> Option<Vec<&'a Metric>> {
        let all = self.families.get(name)?;
        let wanted = |metric: &&Metric| {
            labels.iter().all(|(name, value)| label(metric, name) == Some(value))
        };
        Some(all.iter().copied().filter(wanted).collect())
    }

    /// The sum of what all series say now.
    fn total(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.matching(name, labels)?.into_iter().map(number).sum()
    }

    /// The same for one thing, which says nothing unless it has a series of its own.
    fn own(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        if self.matching(name, labels)?.is_empty() { None } else { self.total(name, labels) }
    }

    /// How much was added to all series since the reading before.
    fn added(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let earlier = self.earlier.as_ref()?;
        let added = |metric: &Metric| {
            let now = number(metric)?;
            let then =
                earlier.get(&series(metric)).and_then(|then| value(then)).unwrap_or_default();
            Some(if now < then { now } else { now - then })
        };
        self.matching(name, labels)?.into_iter().map(added).sum()
    }

    fn rate(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        Some(self.added(name, labels)? / self.elapsed_s)
    }

    /// What was observed since the reading before, of all series that have the same bounds as the first.
    fn spread(&self, name: &str, labels: &[(&str, &str)]) -> Option<Histogram> {
        let earlier = self.earlier.as_ref()?;
        let mut all = Histogram::default();
        for metric in self.matching(name, labels)? {
            let MetricValue::Histogram(now) = &metric.value else { return None };
            let new = match earlier.get(&series(metric)) {
                Some(MetricValue::Histogram(then)) => now.since(then),
                _ => now.clone(),
            };
            add(&mut all, &new);
        }
        Some(all)
    }

    /// How many observations a second, of all series.
    fn observed(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        Some(self.spread(name, labels)?.count() as f64 / self.elapsed_s)
    }

    fn disk(&self) -> Disk {
        let (took, bytes) = ("sochdb_disk_operation_duration_seconds", "sochdb_disk_bytes_total");
        let (read, write) = ([("operation", "read")], [("operation", "write")]);
        Disk {
            reads: self.observed(took, &read),
            read_bytes: self.rate(bytes, &read),
            writes: self.observed(took, &write),
            written_bytes: self.rate(bytes, &write),
            errors: self.total("sochdb_disk_errors_total", &[]),
        }
    }

    /// Every value of the label `name` in families that begin so.
    fn names(&self, families: &[&str], name: &str) -> BTreeSet<&'a str> {
        let wanted = |family: &str| families.iter().any(|start| family.starts_with(start));
        let series =
            self.families.iter().filter(|(family, _)| wanted(family)).flat_map(|(_, all)| all);
        series.filter_map(|metric| label(metric, name)).collect()
    }

    fn tables(&self) -> Vec<Table> {
        let mut levels: BTreeMap<&str, Vec<Level>> = BTreeMap::new();
        let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
        for name in ["sochdb_level_segments", "sochdb_level_bytes"] {
            let of = |metric: &'a Metric| label(metric, "table").zip(label(metric, "level"));
            seen.extend(self.series(name).filter_map(of));
        }
        let by_level = |name| -> HashMap<(&str, &str), f64> {
            let of = |metric: &'a Metric| {
                Some((label(metric, "table").zip(label(metric, "level"))?, number(metric)?))
            };
            self.series(name).filter_map(of).collect()
        };
        let (segments, bytes) = (by_level("sochdb_level_segments"), by_level("sochdb_level_bytes"));
        for key @ (table, level) in seen {
            let (segments, bytes) = (segments.get(&key).copied(), bytes.get(&key).copied());
            levels.entry(table).or_default().push(Level {
                level: level.to_owned(),
                segments,
                bytes,
            });
        }
        let by_table = |name| -> HashMap<&str, f64> {
            let of = |metric: &'a Metric| Some((label(metric, "table")?, number(metric)?));
            self.series(name).filter_map(of).collect()
        };
        let (segments, bytes) = (by_table("sochdb_table_segments"), by_table("sochdb_table_bytes"));
        let table = |name: &str| {
            let mut levels = levels.remove(name).unwrap_or_default();
            levels.sort_by_key(|level| level.level.parse::<u64>().unwrap_or(u64::MAX));
            let (segments, bytes) = (segments.get(name).copied(), bytes.get(name).copied());
            Table { name: name.to_owned(), segments, bytes, levels }
        };
        let names = self.names(&["sochdb_table_", "sochdb_level_"], "table");
        let mut tables: Vec<_> = names.into_iter().map(table).collect();
        let bytes = |table: &Table| table.bytes.unwrap_or(-1.0);
        // By name among those of one size.
        tables.sort_by(|a, b| bytes(b).total_cmp(&bytes(a)));
        tables
    }

    fn plugins(&self) -> Vec<Plugin> {
        let plugin = |name: &str| {
            let of = [("plugin", name)];
            let latency = "sochdb_plugin_call_duration_seconds";
            Plugin {
                name: name.to_owned(),
                calls: self.rate("sochdb_plugin_calls_total", &of),
                failures_total: self.own("sochdb_plugin_failures_total", &of),
                failures: self.rate("sochdb_plugin_failures_total", &of),
                fuel: self.rate("sochdb_plugin_fuel_total", &of),
                latency: self.spread(latency, &of),
                memory_bytes: self.own("sochdb_plugin_memory_bytes", &of),
                instances: self.own("sochdb_plugin_instances", &of),
                is_quarantined: self.own("sochdb_plugin_quarantined", &of).is_some_and(|n| 0.0 < n),
            }
        };
        self.names(&["sochdb_plugin_"], "plugin").into_iter().map(plugin).collect()
    }

    fn tenants(&self) -> Vec<Tenant> {
        let tenant = |name: &str| {
            let of = [("tenant", name)];
            Tenant {
                name: name.to_owned(),
                calls: self.rate("sochdb_tenant_calls_total", &of),
                refused: self.rate("sochdb_tenant_refused_total", &of),
                fuel: self.rate("sochdb_tenant_fuel_total", &of),
                memory_bytes: self.own("sochdb_tenant_memory_bytes", &of),
                storage_bytes: self.own("sochdb_tenant_storage_bytes", &of),
            }
        };
        self.names(&["sochdb_tenant_"], "tenant").into_iter().map(tenant).collect()
    }

    fn dropped(&self) -> Vec<(String, f64)> {
        let observers = self.series("sochdb_telemetry_dropped_total");
        let observers = observers.map(|metric| match label(metric, "observer") {
            Some(observer) => (format!("batches for {observer}"), number(metric)),
            None => ("batches".to_owned(), number(metric)),
        });
        let own = [
            ("spans", "sochdb_spans_dropped_total"),
            ("log lines", "sochdb_log_lines_dropped_total"),
        ];
        let own = own.map(|(what, name)| (what.to_owned(), self.total(name, &[])));
        let all = observers.chain(own).filter_map(|(what, count)| Some((what, count?)));
        all.filter(|(_, count)| 0.0 < *count).collect()
    }
}

fn series(metric: &Metric) -> Series<'_> {
    let labels = metric.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut labels: Vec<_> = labels.collect();
    labels.sort_unstable();
    (&metric.name, labels)
}

fn label<'a>(metric: &'a Metric, name: &str) -> Option<&'a str> {
    metric.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn number(metric: &Metric) -> Option<f64> {
    value(&metric.value)
}

fn value(value: &MetricValue) -> Option<f64> {
    match value {
        MetricValue::Counter(value) | MetricValue::Gauge(value) => {
            Some(*value).filter(|value| value.is_finite())
        }
        MetricValue::Histogram(_) => None,
    }
}

/// Adds the observations of `more` to `all`, if both have the same bounds.
pub fn add(all: &mut Histogram, more: &Histogram) {
    if all.counts.is_empty() {
        *all = Histogram { exemplars: Vec::new(), ..more.clone() };
    } else if all.bounds == more.bounds && all.counts.len() == more.counts.len() {
        let pairs = all.counts.iter_mut().zip(&more.counts);
        pairs.for_each(|(all, more)| *all = all.saturating_add(*more));
        all.sum += more.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::source::parse;

    fn reading(at_s: f64, page: &str) -> Reading {
        let typed = page.lines().map(|line| {
            let name = line.split([' ', '{']).next().unwrap_or_default();
            match name.strip_suffix("_bucket") {
                Some(histogram) => format!("# TYPE {histogram} histogram\n{line}\n"),
                None => format!("# TYPE {name} gauge\n{line}\n"),
            }
        });
        let metrics = parse(&typed.collect::<String>());
        Reading { metrics, at_s, unix_s: 1_000.0 + at_s }
    }

    fn between(then: &str, now: &str) -> Sample {
        sample(Some(&reading(10.0, then)), &reading(12.0, now))
    }

    #[test]
    fn rates_are_what_was_added_by_the_time_between() {
        let s = between(
            "sochdb_commits_total 100\nsochdb_cache_hits_total 5\nsochdb_cache_misses_total 5",
            "sochdb_commits_total 110\nsochdb_cache_hits_total 8\nsochdb_cache_misses_total 6",
        );
        assert_eq!(
            (s.commits, s.memory.hit_ratio, s.elapsed_s),
            (Some(5.0), Some(0.75), Some(2.0))
        );
        assert!(!s.restarted);
    }

    #[test]
    fn what_no_metric_says_is_unknown_and_not_zero() {
        let s = between("", "");
        assert_eq!(s, Sample { unix_s: 1_012.0, elapsed_s: Some(2.0), ..Sample::default() });
        let s = between("sochdb_commits_total 1", "");
        assert_eq!((s.commits, s.restarted), (None, false));
    }

    #[test]
    fn a_family_without_the_series_says_zero() {
        let page = "sochdb_disk_bytes_total{file=\"log\",operation=\"write\"} 10";
        let s = between(page, page);
        assert_eq!((s.disk.read_bytes, s.disk.written_bytes), (Some(0.0), Some(0.0)));
        assert_eq!(s.disk.reads, None, "its family is not there");
    }

    #[test]
    fn the_first_reading_has_gauges_and_no_rates() {
        let now = reading(
            1.0,
            "sochdb_commits_total 9\nsochdb_cache_bytes 7\nsochdb_checkpoints_total 2",
        );
        let s = sample(None, &now);
        assert_eq!((s.commits, s.elapsed_s, s.memory.cache_bytes), (None, None, Some(7.0)));
        assert_eq!((s.checkpoints.done, s.checkpoints.new), (Some(2.0), None));
        // Two readings at one time are no better than one.
        assert_eq!(sample(Some(&now), &now).commits, None);
    }

    #[test]
    fn a_program_started_anew_counts_from_zero_everywhere() {
        let s = between(
            "sochdb_commits_total 100\nsochdb_rows_put_total 10",
            "sochdb_commits_total 4\nsochdb_rows_put_total 30",
        );
        assert_eq!((s.restarted, s.commits, s.rows_put), (true, Some(2.0), Some(15.0)));
        let s = between(
            "sochdb_start_time_seconds 900\nsochdb_commits_total 1",
            "sochdb_start_time_seconds 1002\nsochdb_commits_total 6",
        );
        assert_eq!((s.restarted, s.commits, s.uptime_s), (true, Some(3.0), Some(10.0)));
    }

    #[test]
    fn a_plugin_that_counts_anew_is_no_restart_of_the_program() {
        let s = between(
            "sochdb_commits_total 100\nsochdb_plugin_calls_total{plugin=\"a\"} 50",
            "sochdb_commits_total 100\nsochdb_plugin_calls_total{plugin=\"a\"} 8\n\
             sochdb_plugin_calls_total{plugin=\"new\"} 2",
        );
        assert_eq!((s.restarted, s.commits), (false, Some(0.0)));
        let calls: Vec<_> = s.plugins.iter().map(|p| (p.name.as_str(), p.calls)).collect();
        assert_eq!(calls, [("a", Some(4.0)), ("new", Some(1.0))]);
        assert_eq!(s.plugins[0].memory_bytes, None);
    }

    #[test]
    fn spreads_are_those_of_the_interval_also_after_a_reset() {
        let page = |counts: [u64; 3]| {
            let bounds = ["0.001", "0.01", "+Inf"].into_iter().zip(counts);
            let line = |(bound, count)| {
                format!(
                    "sochdb_commit_duration_seconds_bucket{{outcome=\"committed\",le=\"{bound}\"}} {count}\n"
                )
            };
            bounds.map(line).collect::<String>()
        };
        let counts = |s: Sample| s.latency.expect("the family is there").counts;
        assert_eq!(counts(between(&page([1, 2, 3]), &page([2, 5, 7]))), [1, 3, 4]);
        assert_eq!(counts(between(&page([9, 9, 9]), &page([2, 5, 7]))), [2, 5, 7]);
        assert_eq!(counts(between("", &page([2, 5, 7]))), [2, 5, 7]);
        let nothing = between(&page([2, 5, 7]), &page([2, 5, 7])).latency;
        assert_eq!(quantile(&nothing, 0.5), None);
    }

    #[test]
    fn the_worst_health_comes_first_and_unknown_states_are_not_well() {
        let page = "sochdb_health{component=\"kernel\",name=\"\"} 0\n\
            sochdb_health{component=\"plugin\",name=\"lz4\"} 3\n\
            sochdb_health{component=\"plugin\",name=\"new\"} 9";
        let s = between("", page);
        let words: Vec<_> = s.health.iter().map(|p| (p.health.word(), p.name.as_str())).collect();
        assert_eq!(words, [("failed", "lz4"), ("degraded", "new"), ("healthy", "")]);
    }

    #[test]
    fn tables_come_by_size_and_their_levels_by_number() {
        let page = "sochdb_table_bytes{table=\"a\"} 9\nsochdb_table_bytes{table=\"c\"} 10\n\
            sochdb_level_bytes{table=\"a\",level=\"10\"} 5\n\
            sochdb_level_bytes{table=\"a\",level=\"2\"} 4\n\
            sochdb_level_segments{table=\"b\",level=\"0\"} 1";
        let s = between("", page);
        let levels =
            |t: &Table| t.levels.iter().map(|l| l.level.clone()).collect::<Vec<_>>().join(" ");
        let shown: Vec<_> =
            s.tables.iter().map(|t| (t.name.as_str(), t.bytes, levels(t))).collect();
        assert_eq!(
            shown,
            [
                ("c", Some(10.0), String::new()),
                ("a", Some(9.0), "2 10".to_owned()),
                ("b", None, "0".to_owned()),
            ]
        );
    }

    #[test]
    fn drops_are_listed_where_there_are_any() {
        let page = "sochdb_telemetry_dropped_total{observer=\"otlp\"} 3\n\
            sochdb_telemetry_dropped_total{observer=\"jsonlog\"} 0\nsochdb_spans_dropped_total 2";
        let dropped = between("", page).dropped;
        assert_eq!(dropped, [("batches for otlp".to_owned(), 3.0), ("spans".to_owned(), 2.0)]);
    }
}

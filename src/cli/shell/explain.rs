//! What a line made the database do: two readings of its counters, and their difference.
//!
//! ```text
//!   cache   12 pages and blocks found, 3 read from disk
//!   disk    data: 24.6 kB read; log: 512 B written
//!   plugin  lscs: 4 calls, 12,345 fuel, 1.2 ms
//! ```
//!
//! What the database does in the background meanwhile counts along.

use super::super::screen::{bytes_text, micros_text, thousands};
use sochdb::{Database, KernelStats, Metric, MetricValue};
use std::collections::BTreeMap;

/// How the disk's counters are called.
const DISK_BYTES: &str = "sochdb_disk_bytes_total";

/// The counters at one moment.
#[derive(Default)]
pub struct Reading {
    stats: KernelStats,
    /// Bytes by file and operation.
    disk: BTreeMap<(String, String), u64>,
    plugins: BTreeMap<String, Used>,
}

/// What a plugin has used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Used {
    calls: u64,
    fuel: u64,
    micros: u64,
}

impl Reading {
    /// The counters now.
    pub fn of(db: &Database) -> Reading {
        let disk = db.metrics().into_iter().filter_map(disk_bytes).collect();
        let used = |plugin: sochdb::PluginInfo| {
            let usage = plugin.usage;
            (plugin.name, Used { calls: usage.calls, fuel: usage.fuel, micros: usage.micros })
        };
        let plugins = db.plugins_loaded().into_iter().map(used).collect();
        Reading { stats: db.stats(), disk, plugins }
    }

    /// What happened since `before`, for people.
    pub fn since(&self, before: &Reading) -> Vec<String> {
        let grown = |now: u64, then: u64| now.saturating_sub(then);
        let hits = grown(self.stats.cache_hits, before.stats.cache_hits);
        let misses = grown(self.stats.cache_misses, before.stats.cache_misses);
        let mut lines = vec![format!(
            "cache   {} pages and blocks found, {} read from disk",
            thousands(hits),
            thousands(misses)
        )];
        let disk = self.disk.iter().filter_map(|(name, now)| {
            let bytes = grown(*now, before.disk.get(name).copied().unwrap_or_default());
            let (file, operation) = name;
            let done = if operation == "write" { "written" } else { operation };
            (0 < bytes).then(|| format!("{file}: {} {done}", bytes_text(bytes)))
        });
        let disk = disk.collect::<Vec<_>>().join("; ");
        lines.push(format!("disk    {}", if disk.is_empty() { "nothing" } else { &disk }));
        for (name, now) in &self.plugins {
            let then = before.plugins.get(name).copied().unwrap_or_default();
            let calls = grown(now.calls, then.calls);
            if 0 < calls {
                lines.push(format!(
                    "plugin  {name}: {} calls, {} fuel, {}",
                    thousands(calls),
                    thousands(grown(now.fuel, then.fuel)),
                    micros_text(grown(now.micros, then.micros))
                ));
            }
        }
        if !lines.iter().any(|line| line.starts_with("plugin")) {
            lines.push("plugin  none was called".to_owned());
        }
        lines
    }
}

fn disk_bytes(metric: Metric) -> Option<((String, String), u64)> {
    let MetricValue::Counter(value) = metric.value else { return None };
    if metric.name != DISK_BYTES {
        return None;
    }
    let label = |wanted: &str| {
        let found = metric.labels.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    Some(((label("file"), label("operation")), value as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_says_what_grew_and_nothing_else() {
        let name = |file: &str, operation: &str| (file.to_owned(), operation.to_owned());
        let mut before = Reading::default();
        before.stats.cache_hits = 5;
        before.disk.insert(name("data", "read"), 100);
        before.plugins.insert("lz4".into(), Used { calls: 3, fuel: 10, micros: 7 });
        let mut after = Reading::default();
        after.stats.cache_hits = 17;
        after.stats.cache_misses = 3;
        after.disk.insert(name("data", "read"), 100);
        after.disk.insert(name("log", "write"), 512);
        after.plugins.insert("lz4".into(), Used { calls: 3, fuel: 10, micros: 7 });
        after.plugins.insert("lscs".into(), Used { calls: 4, fuel: 12_345, micros: 1_200 });
        let expected = [
            "cache   12 pages and blocks found, 3 read from disk",
            "disk    log: 512 B written",
            "plugin  lscs: 4 calls, 12,345 fuel, 1.2 ms",
        ];
        assert_eq!(after.since(&before), expected);
        let nothing = [
            "cache   0 pages and blocks found, 0 read from disk",
            "disk    nothing",
            "plugin  none was called",
        ];
        assert_eq!(after.since(&after), nothing);
    }
}

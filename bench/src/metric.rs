//! Every workload, and every figure that it yields: the lines of the table.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a child does to its engine, in this order. All share one database, except that `Sequential`, `Bulk`,
/// `Memory` and the kills of `Reopen` make their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Loads all rows in random order
    Load,
    /// Point reads, uniform and zipfian, by 1 and 2 threads
    Get,
    /// Scans of 100 rows
    Scan,
    /// YCSB A, B, C and F: skewed mixes of reads and updates
    Ycsb,
    /// Writes every row again, three times
    Overwrite,
    /// Synced commits of one row by 1, 8 and 64 threads, and YCSB A
    Durable,
    /// Four threads increment eight counters
    Counters,
    /// Loads sorted rows in transactions like any others
    Sequential,
    /// Loads sorted rows in the engine's fastest way
    Bulk,
    /// Closes and opens; kills a process that writes, opens, counts what is lost
    Reopen,
    /// Loads and reads in a process of its own and asks how much memory it took
    Memory,
}

impl Workload {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().expect("none is hidden").get_name().to_owned()
    }
}

/// Figures by the id of their metric.
pub type Figures = BTreeMap<String, f64>;

/// A line of the table.
pub struct Metric {
    /// Its name in JSON.
    pub id: &'static str,
    /// Where it comes from.
    pub workload: Workload,
    /// What it says, with the unit.
    pub label: &'static str,
    /// How durable the writes are.
    pub durability: &'static str,
    /// Whether a greater figure is the better one.
    pub more_is_better: bool,
    /// Whether engines are compared by it; a figure about the machine is only shown.
    pub compared: bool,
}

const SYNCED: &str = "synced";
const UNSYNCED: &str = "not synced";
const SETTLED: &str = "not synced, settled";
const NONE: &str = "";

const fn more(
    id: &'static str,
    workload: Workload,
    durability: &'static str,
    label: &'static str,
) -> Metric {
    Metric { id, workload, label, durability, more_is_better: true, compared: true }
}

const fn less(
    id: &'static str,
    workload: Workload,
    durability: &'static str,
    label: &'static str,
) -> Metric {
    Metric { id, workload, label, durability, more_is_better: false, compared: true }
}

/// What the bare disk did while synced commits were measured.
pub const DISK: &str = "durable_disk";

/// The table's lines, from top to bottom.
pub const METRICS: &[Metric] = &[
    more("load_rate", Workload::Load, SETTLED, "random load, batches of 1,000, rows/s"),
    less("load_cpu_us", Workload::Load, SETTLED, "  processor time, us/row"),
    less("load_written", Workload::Load, SETTLED, "  bytes written per byte of rows"),
    less("load_space", Workload::Load, SETTLED, "  bytes on disk per byte of rows"),
    more(
        "sequential_rate",
        Workload::Sequential,
        SETTLED,
        "sequential load, batches of 1,000, rows/s",
    ),
    less("sequential_cpu_us", Workload::Sequential, SETTLED, "  processor time, us/row"),
    less("sequential_space", Workload::Sequential, SETTLED, "  bytes on disk per byte of rows"),
    more("bulk_rate", Workload::Bulk, SETTLED, "bulk load, sorted, rows/s"),
    less("bulk_cpu_us", Workload::Bulk, SETTLED, "  processor time, us/row"),
    less("bulk_space", Workload::Bulk, SETTLED, "  bytes on disk per byte of rows"),
    less("get_us", Workload::Get, NONE, "point get, uniform, median, us"),
    less("get_p99_us", Workload::Get, NONE, "  99th percentile, us"),
    less("get_cpu_us", Workload::Get, NONE, "  processor time, us"),
    more("get_2", Workload::Get, NONE, "point get, uniform, 2 threads, /s"),
    less("get_2_cpu_us", Workload::Get, NONE, "  processor time, us"),
    less("getz_us", Workload::Get, NONE, "point get, zipfian, median, us"),
    less("getz_p99_us", Workload::Get, NONE, "  99th percentile, us"),
    less("getz_cpu_us", Workload::Get, NONE, "  processor time, us"),
    more("getz_2", Workload::Get, NONE, "point get, zipfian, 2 threads, /s"),
    less("getz_2_cpu_us", Workload::Get, NONE, "  processor time, us"),
    less("scan_us", Workload::Scan, NONE, "scan of 100 rows, median, us"),
    less("scan_cpu_us", Workload::Scan, NONE, "  processor time, us"),
    Metric {
        id: DISK,
        workload: Workload::Durable,
        label: "(the disk itself: 4 KiB and fdatasync, /s)",
        durability: SYNCED,
        more_is_better: true,
        compared: false,
    },
    more("durable_1", Workload::Durable, SYNCED, "single puts, 1 thread, /s"),
    less("durable_1_cpu_us", Workload::Durable, SYNCED, "  processor time, us/put"),
    more("durable_8", Workload::Durable, SYNCED, "single puts, 8 threads, /s"),
    less("durable_8_cpu_us", Workload::Durable, SYNCED, "  processor time, us/put"),
    less("durable_8_p999_ms", Workload::Durable, SYNCED, "  slowest of a thousand, ms"),
    more("durable_64", Workload::Durable, SYNCED, "single puts, 64 threads, /s"),
    less("durable_64_cpu_us", Workload::Durable, SYNCED, "  processor time, us/put"),
    more("ycsb_a_synced", Workload::Durable, SYNCED, "YCSB A, 50% updates, 2 threads, /s"),
    less("ycsb_a_synced_cpu_us", Workload::Durable, SYNCED, "  processor time, us"),
    more("ycsb_a", Workload::Ycsb, UNSYNCED, "YCSB A, 50% updates, zipfian, 2 threads, /s"),
    less("ycsb_a_cpu_us", Workload::Ycsb, UNSYNCED, "  processor time, us"),
    more("ycsb_b", Workload::Ycsb, UNSYNCED, "YCSB B, 5% updates, /s"),
    less("ycsb_b_cpu_us", Workload::Ycsb, UNSYNCED, "  processor time, us"),
    more("ycsb_c", Workload::Ycsb, NONE, "YCSB C, reads only, /s"),
    less("ycsb_c_cpu_us", Workload::Ycsb, NONE, "  processor time, us"),
    more("ycsb_f", Workload::Ycsb, UNSYNCED, "YCSB F, 50% read-modify-write, /s"),
    less("ycsb_f_cpu_us", Workload::Ycsb, UNSYNCED, "  processor time, us"),
    more("counters", Workload::Counters, UNSYNCED, "read-modify-write, 4 threads, 8 keys, /s"),
    less("counters_cpu_us", Workload::Counters, UNSYNCED, "  processor time, us"),
    less("counters_lost", Workload::Counters, UNSYNCED, "  lost updates"),
    more("overwrite_rate", Workload::Overwrite, SETTLED, "overwrite all 3 times, rows/s"),
    less("overwrite_cpu_us", Workload::Overwrite, SETTLED, "  processor time, us/row"),
    less("overwrite_written", Workload::Overwrite, SETTLED, "  bytes written per byte of rows"),
    less("overwrite_space", Workload::Overwrite, SETTLED, "  bytes on disk per byte of rows"),
    less("reopen_ms", Workload::Reopen, NONE, "open after closing and read a row, ms"),
    less("reopen_cpu_ms", Workload::Reopen, NONE, "  processor time, ms"),
    less("killed_ms", Workload::Reopen, SYNCED, "open after kill -9 and read a row, ms"),
    less("killed_cpu_ms", Workload::Reopen, SYNCED, "  processor time, ms"),
    less("killed_lost", Workload::Reopen, SYNCED, "  acknowledged rows lost"),
    less(
        "killed_lost_unsynced",
        Workload::Reopen,
        UNSYNCED,
        "  acknowledged rows lost, not synced",
    ),
    less("peak_mb", Workload::Memory, UNSYNCED, "peak memory of a load and of reads, MB"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_a_name_and_a_line_of_its_own() {
        let mut ids: Vec<_> = METRICS.iter().map(|metric| metric.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), METRICS.len());
        assert!(!METRICS[0].label.starts_with(' '), "the first line stands by itself");
    }
}

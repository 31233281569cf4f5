//! Every step of a child, and every figure that it yields: the lines of the tables.

use super::{Bench, Found, Part, columns, rows};
use crate::Result;
use std::fmt;

/// What a child does, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Loads all rows in random order.
    RowsLoad,
    /// Point reads, uniform.
    RowsGet,
    /// Scans of 100 rows.
    RowsScan,
    /// Reads every row.
    RowsAll,
    /// Loads all events in the order of their keys.
    ColumnsLoad,
    /// Point reads, uniform, all columns.
    ColumnsGet,
    /// Adds up two columns of ten.
    ColumnsSum,
    /// Adds up one column where a clustered one lies in a range.
    ColumnsClustered,
    /// Adds up one column where a random one lies in a range.
    ColumnsRandom,
}

impl Step {
    /// The steps of a part.
    pub fn of(part: Part) -> &'static [Step] {
        const ALL: &[Step] = &[
            Step::RowsLoad,
            Step::RowsGet,
            Step::RowsScan,
            Step::RowsAll,
            Step::ColumnsLoad,
            Step::ColumnsGet,
            Step::ColumnsSum,
            Step::ColumnsClustered,
            Step::ColumnsRandom,
        ];
        match part {
            Part::Rows => &ALL[..4],
            Part::Columns => &ALL[4..],
            Part::Itself => ALL,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// What the contender says, and when it finds something else than was written.
    pub fn run(self, bench: &Bench<'_>) -> Result<Found> {
        match self {
            Step::RowsLoad => rows::load(bench),
            Step::RowsGet => rows::gets(bench),
            Step::RowsScan => rows::scans(bench),
            Step::RowsAll => rows::all(bench),
            Step::ColumnsLoad => columns::load(bench),
            Step::ColumnsGet => columns::gets(bench),
            Step::ColumnsSum => columns::sum(bench),
            Step::ColumnsClustered => columns::clustered(bench),
            Step::ColumnsRandom => columns::random(bench),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::RowsLoad => "load rows",
            Step::RowsGet => "get rows",
            Step::RowsScan => "scan 100 rows",
            Step::RowsAll => "scan all rows",
            Step::ColumnsLoad => "load events",
            Step::ColumnsGet => "get events",
            Step::ColumnsSum => "two columns",
            Step::ColumnsClustered => "1%, clustered",
            Step::ColumnsRandom => "1%, random",
        })
    }
}

/// A line of a table.
pub struct Metric {
    /// Its name in JSON.
    pub id: &'static str,
    /// Where it comes from.
    pub step: Step,
    /// What it says, with the unit.
    pub label: &'static str,
    /// Whether a greater figure is the better one.
    pub more_is_better: bool,
    /// How many times as much it may cost in the sandbox as without; `None` where the sandbox does not matter.
    pub goal: Option<f64>,
}

const fn less(id: &'static str, step: Step, goal: Option<f64>, label: &'static str) -> Metric {
    Metric { id, step, label, more_is_better: false, goal }
}

const fn more(id: &'static str, step: Step, goal: Option<f64>, label: &'static str) -> Metric {
    Metric { id, step, label, more_is_better: true, goal }
}

/// What loads and scans may cost in the sandbox, times what they cost without.
pub const BULK_GOAL: f64 = 1.3;
/// Loads and scans.
const BULK: Option<f64> = Some(BULK_GOAL);
/// Single point reads.
const POINT: Option<f64> = Some(2.0);

/// The tables' lines, from top to bottom.
pub const METRICS: &[Metric] = &[
    more("rows_load_rate", Step::RowsLoad, BULK, "random load, batches of 1,000, rows/s"),
    less("rows_load_cpu_us", Step::RowsLoad, BULK, "  processor time, us/row"),
    less("rows_written", Step::RowsLoad, None, "  bytes written per byte of rows"),
    less("rows_space", Step::RowsLoad, None, "  bytes on disk per byte of rows"),
    less("rows_get_us", Step::RowsGet, POINT, "point get, uniform, median, us"),
    less("rows_get_p99_us", Step::RowsGet, None, "  99th percentile, us"),
    less("rows_get_cpu_us", Step::RowsGet, POINT, "  processor time, us"),
    less("rows_scan_us", Step::RowsScan, BULK, "scan of 100 rows, median, us"),
    less("rows_scan_cpu_us", Step::RowsScan, BULK, "  processor time, us"),
    less("rows_all_ns", Step::RowsAll, BULK, "scan of all rows, ns/row"),
    less("rows_all_cpu_ns", Step::RowsAll, BULK, "  processor time, ns/row"),
    more("columns_load_rate", Step::ColumnsLoad, BULK, "load of events, batches of 1,000, rows/s"),
    less("columns_load_cpu_us", Step::ColumnsLoad, BULK, "  processor time, us/row"),
    less("columns_written", Step::ColumnsLoad, None, "  bytes written per byte of rows"),
    less("columns_space", Step::ColumnsLoad, None, "  bytes on disk per byte of rows"),
    less("columns_get_us", Step::ColumnsGet, POINT, "point get, all columns, median, us"),
    less("columns_get_p99_us", Step::ColumnsGet, None, "  99th percentile, us"),
    less("columns_get_cpu_us", Step::ColumnsGet, POINT, "  processor time, us"),
    less("columns_sum_ms", Step::ColumnsSum, BULK, "sums of 2 of 10 columns, ms"),
    less("columns_sum_cpu_ms", Step::ColumnsSum, BULK, "  processor time, ms"),
    less("columns_clustered_ms", Step::ColumnsClustered, BULK, "1% by a clustered column, ms"),
    less("columns_clustered_cpu_ms", Step::ColumnsClustered, BULK, "  processor time, ms"),
    less("columns_random_ms", Step::ColumnsRandom, BULK, "1% by a random column, ms"),
    less("columns_random_cpu_ms", Step::ColumnsRandom, BULK, "  processor time, ms"),
];

//! Reads the whole database and says exactly what is wrong.
//!
//! Works on a held checkpoint and the log since ([`Kernel::hold`]), so commits and checkpoints go on
//! meanwhile. Every page, large value and segment block is read and compared with its checksum; every page
//! of the file must be used once or be free; the log's records must make whole transactions whose
//! timestamps follow each other; compressed files of the archived log are compared with their checksums. A deep
//! check also restores everything that is compressed, and has each
//! storage plugin show all its rows.

use crate::archive::check_packed;
use crate::log_reader::visit_held;
use crate::progress::OnProgress;
use crate::walk::Walk;
use sochdb_kernel::inspect::{
    Access, Held, Segment, SegmentMeta, StoredBase, Transactions, WAL_DIR,
};
use sochdb_kernel::limits::{KEY_BYTES_MAX, RUN_BATCH_BYTES, RUN_BATCH_ROWS, VALUE_BYTES_MAX};
use sochdb_kernel::plugin::SegmentRead;
use sochdb_kernel::{
    Kernel, KernelError, KernelResult, KeyRange, PluginFault, TableInfo, Timestamp,
};
use std::sync::Arc;

/// Problems that a report lists; those beyond are counted.
const PROBLEMS_MAX: usize = 1000;

/// What [`check`] found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Tree pages and runs that are in use and were read.
    pub pages: u64,
    /// Pages that are free, or will be once no reader needs them.
    pub pages_free: u64,
    /// Rows in trees.
    pub rows: u64,
    /// Segments read.
    pub segments: u64,
    /// Log records read.
    pub log_records: u64,
    /// Compressed files of the archived log that were read.
    pub archived: u64,
    /// What is wrong; empty for a healthy database.
    pub problems: Vec<KernelError>,
    /// How many more problems there are than `problems` lists.
    pub problems_unlisted: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_healthy(&self) -> bool {
        self.problems.is_empty()
    }

    /// How many problems there are, listed or not.
    pub fn found(&self) -> u64 {
        self.problems.len() as u64 + self.problems_unlisted
    }

    pub(crate) fn problems_of<T>(&mut self, result: KernelResult<T>) {
        result.map_err(|error| self.add(error)).ok();
    }

    pub(crate) fn add(&mut self, problem: KernelError) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.problems_unlisted += 1;
        }
    }
}

/// How thorough a check is.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckOptions {
    /// Restore large values and archived log files from their codecs, and have storage plugins show all their
    /// rows. Needs the plugins, and takes as long as reading every row.
    pub deep: bool,
}

/// Reads the whole database and reports every problem.
///
/// # Errors
/// `Closed`. What is broken is no error here but part of the report.
///
/// ```
/// use sochdb_kernel::{Kernel, KernelResult, Options, TableOptions};
///
/// # fn main() -> KernelResult<()> {
/// let kernel = Kernel::open(sochdb_sim::memory(), Options::default())?;
/// kernel.create_table("users", TableOptions::default())?;
/// kernel.run(|tx| tx.put("users", b"ada", b"countess"))?;
/// kernel.checkpoint()?;
///
/// let report = sochdb_operations::check(&kernel)?;
/// assert!(report.is_healthy(), "{:?}", report.problems);
/// assert_eq!(report.rows, 1);
/// # Ok(())
/// # }
/// ```
pub fn check(kernel: &Kernel) -> KernelResult<CheckReport> {
    check_with(kernel, CheckOptions::default(), &mut |_| {})
}

/// As [`check`], as thorough as `options` ask, telling `progress` how far it is.
///
/// # Errors
/// As [`check`].
pub fn check_with(
    kernel: &Kernel,
    options: CheckOptions,
    progress: OnProgress<'_>,
) -> KernelResult<CheckReport> {
    let held = kernel.hold()?;
    let mut copy = |_: u64, _: &[u8]| Ok(());
    let mut walk = Walk::new(&held, options.deep, &mut copy, progress);
    let mut tables = walk.run()?;
    // Tables whose definition is only in the log.
    let newer = kernel.begin_read()?.tables()?;
    tables.extend(newer.into_iter().map(|info| (info.id, info)));
    for (id, base) in held.bases.iter().filter(|_| options.deep) {
        let Some((info, storage)) =
            tables.get(id).and_then(|t| Some((t, t.options.storage.as_ref()?)))
        else {
            continue;
        };
        walk.meter.begin(format!("rows of table '{}'", info.name));
        walk.meter.check()?;
        walk.report.problems_of(show_rows(held.access(), info, storage, base));
    }
    walk.meter.begin("the log");
    check_log(&held, &mut walk.report);
    walk.meter.begin("the archive");
    let report = &mut walk.report;
    let listed = check_packed(held.vfs(), kernel.plugins(), options.deep, &mut |file| {
        report.archived += 1;
        report.problems_of(file);
    });
    report.problems_of(listed);
    walk.meter.end();
    Ok(walk.report)
}

/// Reads the log: whole transactions, one commit timestamp after the other, from no later than what the
/// checkpoint holds.
fn check_log(held: &Held, report: &mut CheckReport) {
    let mut open = Transactions::default();
    let mut last: Option<Timestamp> = None;
    let mut problems = Vec::new();
    let mut records = 0;
    let read = visit_held(held, &mut |lsn, txn, record| {
        records += 1;
        let Some(done) = open.add(lsn, txn, record) else { return Ok(()) };
        let mut wrong = |expected: String, found: String| {
            problems.push(KernelError::corrupt(WAL_DIR, lsn, expected, found));
        };
        if !done.whole {
            let found = format!("{} rows", done.rows.len());
            wrong(format!("every row of transaction {txn}"), found);
        }
        let follows = match last {
            Some(last) => done.timestamp.0 == last.0 + 1,
            None => done.timestamp.0 <= held.meta.timestamp + 1,
        };
        if !follows {
            let last = last.map_or(held.meta.timestamp, |last| last.0);
            let found = format!("commit {}", done.timestamp);
            wrong(format!("the commit that follows commit {last}"), found);
        }
        last = Some(done.timestamp);
        Ok(())
    });
    report.log_records += records;
    problems.into_iter().for_each(|problem| report.add(problem));
    match (read, last) {
        (Err(error), _) => report.add(error),
        (Ok(()), Some(last)) if last.0 < held.meta.timestamp => {
            let expected = format!("a log up to commit {} at least", held.meta.timestamp);
            let found = format!("its end behind commit {last}");
            report.add(KernelError::corrupt(WAL_DIR, held.log_end, expected, found));
        }
        (Ok(()), _) => {}
    }
}

/// Has the plugin `storage` show every row of a table's base.
fn show_rows(
    access: &Access,
    info: &TableInfo,
    storage: &str,
    base: &StoredBase,
) -> KernelResult<()> {
    if base.segments.is_empty() {
        return Ok(());
    }
    let lied = |text: String| {
        let text = format!("table '{}': {text}", info.name);
        Err(KernelError::plugin(storage, PluginFault::Lied, text))
    };
    let open = |meta: &_| -> Arc<dyn SegmentRead> {
        Arc::new(Segment::new(SegmentMeta::clone(meta), access.clone()))
    };
    let segments: Vec<_> = base.segments.iter().map(open).collect();
    let reader = access.plugins.storage(storage)?.open(&info.context(), &segments)?;
    let mut cursor = reader.scan(&KeyRange::all(), false, None)?;
    let (mut last, mut rows): (Option<Vec<u8>>, u64) = (None, 0);
    loop {
        let batch = cursor.next_batch(RUN_BATCH_ROWS, RUN_BATCH_BYTES)?;
        let Some(first) = batch.first() else { break };
        let found = reader.multi_get(&[&first.key])?;
        if found.first() != Some(&Some(first.value.clone())) {
            let key = first.key.escape_ascii();
            return lied(format!("a scan and a look-up differ on {key}"));
        }
        for row in batch {
            if last.as_ref().is_some_and(|last| row.key <= *last) {
                return lied(format!("{} is out of order", row.key.escape_ascii()));
            }
            let value_bytes = row.value.as_ref().map_or(0, |value| value.len());
            if KEY_BYTES_MAX < row.key.len() || VALUE_BYTES_MAX < value_bytes {
                return lied("a key or value is larger than can have been written".to_owned());
            }
            rows += u64::from(row.value.is_some());
            last = Some(row.key);
        }
        if base.rows < rows {
            return lied(format!("it shows more than the {} rows it was given", base.rows));
        }
    }
    Ok(())
}

//! What is done to whole tables: moved to another storage, emptied in part, cleared of what has expired,
//! measured.

use crate::database::{Database, TenantDatabase};
use parking_lot::Mutex;
use sochdb_encoding::stats::StorageStats;
use sochdb_host_abi::policy::HOST_TABLES;
use sochdb_host_abi::{Transaction, in_background};
use sochdb_kernel::{KernelError, KernelResult, KeyRange, TableId, TableInfo, TableOptions};
use sochdb_operations::{ConvertReport, OnProgress, Progress, TableChanges, TableSize};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a conversion's last step waits for the commits that are under way. One that takes longer, because
/// it runs a checkpoint, is left alone, and the step is tried all the same.
const QUIET: Duration = Duration::from_millis(200);
/// Rows of a commit of [`Database::delete_range`], when the caller has no wish: some hundred kilobytes of log.
const DELETE_BATCH: usize = 10_000;

/// The tables that are being converted.
#[derive(Default)]
pub(crate) struct Conversions(Mutex<BTreeSet<TableId>>);

/// One conversion, while it runs.
struct Conversion<'a>(&'a Conversions, TableId);

impl Conversions {
    fn begin(&self, id: TableId, name: &str) -> KernelResult<Conversion<'_>> {
        match self.0.lock().insert(id) {
            true => Ok(Conversion(self, id)),
            false => {
                Err(KernelError::Invalid(format!("table '{name}' is being converted already")))
            }
        }
    }
}

impl Drop for Conversion<'_> {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}

/// What is known of a table without reading its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct TableStats {
    /// The table.
    pub table: TableInfo,
    /// What it has on disk.
    pub size: TableSize,
    /// What its storage plugin tells of the rows on disk: levels, columns, encodings. `None` for a table in the
    /// kernel's own tree, and for one that has nothing on disk yet.
    pub storage: Option<StorageStats>,
}

impl TableStats {
    /// How many times as many bytes the storage keeps as its oldest level has: what is overwritten and deleted,
    /// and not merged yet, is the part above one. `None` where nothing is known.
    pub fn space_amplification(&self) -> Option<f64> {
        let levels = &self.storage.as_ref()?.levels;
        let all: u64 = levels.iter().map(|level| level.bytes).sum();
        let oldest = levels.last().filter(|level| 0 < level.bytes)?;
        Some(all as f64 / oldest.bytes as f64)
    }

    /// How many bytes of values one byte on disk stands for, the codec's work included. `None` where the
    /// storage tells nothing of columns.
    pub fn compression_ratio(&self) -> Option<f64> {
        let raw: u64 = self.storage.as_ref()?.columns.iter().map(|column| column.raw_bytes).sum();
        (0 < raw && 0 < self.size.stored_bytes).then(|| raw as f64 / self.size.stored_bytes as f64)
    }
}

impl Database {
    /// What there is to know of the table `name`, for operators and planners. Rows that are only in memory are
    /// not in it.
    ///
    /// # Errors
    /// `NotFound`, and what keeps its storage from answering.
    pub fn table_stats(&self, name: &str) -> KernelResult<TableStats> {
        let tx = self.begin_read()?;
        let table = tx.table(name)?;
        let size = sochdb_operations::table_size(self, table.id)?;
        Ok(TableStats { storage: tx.storage_stats(name)?, table, size })
    }

    /// Makes a table, in a transaction of its own.
    ///
    /// # Errors
    /// As [`Transaction::create_table`].
    pub fn create_table(&self, name: &str, options: TableOptions) -> KernelResult<()> {
        self.run(|tx| tx.create_table(name, options.clone()))
    }

    /// Moves the table `name` to another storage or codec, or gives it other settings, while others read and
    /// write it. Its rows are written anew; a tenant's table is named in full. Commits wait for some
    /// milliseconds at the end. Transactions that wrote to the table then and commit later conflict, and run
    /// again; snapshots from before read the old table.
    ///
    /// The log is kept until it is done, and while the rows are loaded checkpoints wait
    /// ([`Kernel::bulk_load`](sochdb_kernel::Kernel::bulk_load)). The rows that were loaded are in no log:
    /// make a backup afterwards where backups are carried on by the log.
    ///
    /// # Errors
    /// As [`sochdb_operations::convert()`]; `Invalid` while another conversion of the table runs, and for a
    /// table of the database itself. The table then stays as it was.
    ///
    /// ```
    /// use sochdb::{Database, TableChanges};
    ///
    /// # fn main() -> sochdb::KernelResult<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let db = Database::open(directory.path())?;
    /// db.create_table("notes", Default::default())?;
    /// db.run(|tx| tx.put("notes", b"1", b"buy tea"))?;
    /// let to_columns = TableChanges::default().storage(Some("lscs")).codec(Some("lz4"));
    /// let report = db.convert_table("notes", &to_columns, &mut |_| {})?;
    /// assert_eq!(report.rows, 1);
    /// assert_eq!(db.begin_read()?.get("notes", b"1")?.unwrap(), b"buy tea");
    /// # db.close()
    /// # }
    /// ```
    pub fn convert_table(
        &self,
        name: &str,
        changes: &TableChanges,
        progress: OnProgress<'_>,
    ) -> KernelResult<ConvertReport> {
        if name.starts_with(HOST_TABLES) {
            let text = format!("'{name}' is a table of the database itself, and stays as it is");
            return Err(KernelError::Invalid(text));
        }
        let id = self.begin_read()?.table(name)?.id;
        let _conversion = self.conversions.begin(id, name)?;
        let quiet = |work: &mut dyn FnMut() -> KernelResult<()>| {
            let _alone = self.programs.alone(QUIET);
            work()
        };
        let done =
            in_background(|| sochdb_operations::convert(self, name, changes, &quiet, progress));
        // Instances that wrote the hidden table worked for nobody else. A checkpoint may still use them.
        drop(self.hold()?);
        self.tenants.remove(&sochdb_operations::hidden_namespace(id));
        done
    }

    /// Deletes the rows of `range` in commits of at most `batch_rows` rows, zero for as many as are handy, and
    /// returns how many are gone. Each row is a delete like any other, with its hooks. When it fails, the
    /// commits until then stay. The progress counts rows, not bytes.
    ///
    /// For all or none, and at one moment, there is [`Transaction::delete_range`].
    ///
    /// # Errors
    /// As [`Transaction::delete_range`] and [`run`](Self::run).
    pub fn delete_range(
        &self,
        table: &str,
        range: impl Into<KeyRange>,
        batch_rows: usize,
        progress: OnProgress<'_>,
    ) -> KernelResult<u64> {
        let run = |step: Step<'_>| self.run(step);
        delete_range(&run, table, range.into(), batch_rows, progress)
    }

    /// Deletes the rows whose time was over at `now_us`, microseconds since 1970, in all tables that have the
    /// settings [`TTL_COLUMN`](sochdb_operations::TTL_COLUMN) and [`TTL`](sochdb_operations::TTL), and
    /// returns how many are gone. The background thread does the same by itself now and then.
    ///
    /// # Errors
    /// As a commit; `Plugin` when a hook aborts a delete. The commits until then stay.
    pub fn expire(&self, now_us: i64) -> KernelResult<u64> {
        self.expiry.sweep(now_us)
    }

    /// The same in the table `name` alone, whose settings must say how long rows live.
    ///
    /// # Errors
    /// As [`expire`](Self::expire); `NotFound`, and `Invalid` when its rows live for ever.
    pub fn expire_table(&self, name: &str, now_us: i64) -> KernelResult<u64> {
        self.expiry.sweep_table(name, now_us)
    }
}

impl TenantDatabase {
    /// As [`Database::delete_range`], in a table of the tenant.
    ///
    /// # Errors
    /// As [`Database::delete_range`].
    pub fn delete_range(
        &self,
        table: &str,
        range: impl Into<KeyRange>,
        batch_rows: usize,
        progress: OnProgress<'_>,
    ) -> KernelResult<u64> {
        let run = |step: Step<'_>| self.run(step);
        delete_range(&run, table, range.into(), batch_rows, progress)
    }
}

/// What one commit of a long deletion does: how many rows went, and what is left of the range.
type Deleted = (u64, Option<KeyRange>);
type Step<'a> = &'a mut dyn FnMut(&mut Transaction) -> KernelResult<Deleted>;

fn delete_range(
    run: &dyn Fn(Step<'_>) -> KernelResult<Deleted>,
    table: &str,
    range: KeyRange,
    batch_rows: usize,
    progress: OnProgress<'_>,
) -> KernelResult<u64> {
    let batch_rows = if batch_rows == 0 { DELETE_BATCH } else { batch_rows };
    let (mut rest, mut deleted) = (Some(range), 0);
    let what = format!("table '{table}'");
    while let Some(range) = rest {
        progress(Progress::new(deleted, deleted, &what));
        let (count, left) = run(&mut |tx| tx.delete_first(table, range.clone(), batch_rows))?;
        deleted += count;
        rest = left;
    }
    progress(Progress::new(deleted, deleted, &what));
    Ok(deleted)
}

//! The change feed: committed changes in commit order, read from the log.
//!
//! What replicas, caches and after-commit hooks are made of. A feed reads the same frames that recovery
//! would, never further than what is on disk and visible, so it cannot tell of a commit that a crash could
//! still undo. It pins the log from its place on; what it has passed may be released.
//!
//! Commit timestamps have no gaps, so a feed knows when the log does not reach back far enough, and says so
//! instead of skipping a change.

use crate::log_reader::LogReader;
use sochdb_kernel::inspect::{CATALOG, Committed, Transactions};
use sochdb_kernel::{Kernel, KernelError, KernelResult, Slice, TableId, TableInfo, Timestamp};
use std::collections::VecDeque;

/// One committed transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When it committed.
    pub timestamp: Timestamp,
    /// Tables that it made, renamed or dropped.
    pub tables: Vec<TableChange>,
    /// Rows that it wrote.
    pub rows: Vec<RowChange>,
}

/// A name in the catalog that changed. Renaming is two changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableChange {
    /// The table's name.
    pub name: String,
    /// The table that has the name now; `None` when no table has it any more.
    pub table: Option<TableInfo>,
}

/// A row that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// The table, by the number that outlives its name.
    pub table: TableId,
    /// The row's key.
    pub key: Vec<u8>,
    /// The row's new value; `None` when it was deleted.
    pub value: Option<Slice>,
}

/// Committed changes in commit order: what [`changes`] returns.
///
/// As an iterator it ends where the database is now; asked again later, it goes on. While it lives the
/// log behind its place is kept: drop it when it is no longer read.
pub struct Changes {
    kernel: Kernel,
    log: LogReader,
    /// The last commit that was told.
    told: Timestamp,
    open: Transactions,
    ready: VecDeque<Committed>,
}

/// The changes committed after `since`, from the log of `kernel`. `Timestamp(0)` for all there ever were.
///
/// Rows of a bulk load are not in the log: the feed tells of the table, whose
/// [`rows_loaded`](TableInfo::rows_loaded) says how many there were; read them from the table itself.
///
/// # Errors
/// `NotFound` when the log does not reach back so far; [`sochdb_kernel::Options::wal_archive`] keeps all of it.
/// `Plugin` that names the codec when a compressed file of the archive cannot be restored.
///
/// ```
/// use sochdb_kernel::{Environment, Kernel, Options, TableOptions, Timestamp};
///
/// # fn main() -> sochdb_kernel::KernelResult<()> {
/// # let env = sochdb_sim::memory();
/// let kernel = Kernel::open(env, Options::default())?;
/// kernel.create_table("users", TableOptions::default())?;
/// kernel.run(|tx| tx.put("users", b"ada", b"countess"))?;
///
/// let mut changes = sochdb_operations::changes(&kernel, Timestamp(0))?;
/// assert_eq!(changes.next().unwrap()?.tables[0].name, "users");
/// assert_eq!(changes.next().unwrap()?.rows[0].key, b"ada");
/// assert!(changes.next().is_none());
/// kernel.run(|tx| tx.delete("users", b"ada"))?;
/// assert_eq!(changes.next().unwrap()?.rows[0].value, None);
/// # Ok(())
/// # }
/// ```
pub fn changes(kernel: &Kernel, since: Timestamp) -> KernelResult<Changes> {
    let (open, ready) = Default::default();
    // What came after the checkpoint is in the log behind it; only for more the archive is read.
    let log = match LogReader::at_checkpoint(kernel) {
        Ok((folded, log)) if folded <= since => log,
        _ => LogReader::new(kernel)?,
    };
    let mut changes = Changes { kernel: kernel.clone(), log, told: since, open, ready };
    changes.read()?;
    let follows = match changes.ready.front() {
        Some(first) => first.whole && first.timestamp.0 == since.0 + 1,
        // What the last checkpoint folded was on disk: with nothing of it in the log, some is gone.
        None => kernel.hold()?.meta.timestamp <= since.0,
    };
    if follows { Ok(changes) } else { Err(changes.gone()) }
}

impl Changes {
    fn gone(&self) -> KernelError {
        let name = Timestamp(self.told.0 + 1).to_string();
        KernelError::NotFound { kind: "commit in the log", name }
    }

    /// Reads on until a later commit is ready, or to the log's end.
    fn read(&mut self) -> KernelResult<()> {
        let Changes { log, open, ready, told, .. } = self;
        let mut more = true;
        while ready.is_empty() && more {
            more = log.read(&mut |lsn, txn, record| {
                ready.extend(open.add(lsn, txn, record).filter(|done| *told < done.timestamp));
                Ok(())
            })?;
        }
        Ok(())
    }

    fn advance(&mut self) -> KernelResult<Option<Change>> {
        self.read()?;
        let visible = self.kernel.begin_read()?.snapshot();
        let Some(next) = self.ready.pop_front_if(|next| next.timestamp <= visible) else {
            return Ok(None);
        };
        if !next.whole || next.timestamp.0 != self.told.0 + 1 {
            return Err(self.gone());
        }
        self.told = next.timestamp;
        let mut change = Change { timestamp: self.told, tables: Vec::new(), rows: Vec::new() };
        for (table, key, value) in next.rows {
            if table == CATALOG {
                let name = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
                let table = value.map(|row| TableInfo::decode(&name, &row)).transpose()?;
                change.tables.push(TableChange { name, table });
            } else {
                change.rows.push(RowChange { table, key, value });
            }
        }
        Ok(Some(change))
    }
}

impl Iterator for Changes {
    type Item = KernelResult<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

//! Bulk load: sorted rows straight into the storage of a new table, past log and memtable.
//!
//! ```text
//!   rows ──▶ pages or segments ──flip──▶ a base that no table has yet ──commit──▶ a table
//! ```
//!
//! A checkpoint writes the rows as the base of a table number that nobody knows, and an ordinary commit then
//! makes the table. So the table appears with all its rows or not at all, to everybody at one moment; after
//! a crash between flip and commit, the next checkpoint frees the base. To replace a table, load another
//! and rename both in one transaction.

use crate::catalog::{TableInfo, TableOptions};
use crate::checkpoint::Load;
use crate::engine::Kernel;
use crate::error::{KernelResult, bound};
use crate::limits::{KEY_BYTES_MAX, RUN_ATTEMPTS_MAX, VALUE_BYTES_MAX};
use crate::mvcc::version::Base;

impl Kernel {
    /// Makes the table `name` with `rows`, pairs of key and value in strictly growing order of keys.
    /// Returns how many there were. Any amount of rows will do: they are neither logged nor kept in memory.
    ///
    /// Reads and commits of other threads go on meanwhile, checkpoints wait, and with them commits that find
    /// memory full. So what yields `rows` may read this database but must not commit to it: it could wait
    /// for itself. Folds in what other tables have in memory, as [`checkpoint`](Self::checkpoint) does.
    ///
    /// # Errors
    /// `Invalid` when the keys do not grow or the name is taken, `Limit` for a key or value that is too
    /// large, `Plugin` when the storage fails, `Unavailable` when the disk refuses, and the first error
    /// among `rows`: the table then does not exist.
    pub fn bulk_load(
        &self,
        name: &str,
        options: TableOptions,
        rows: impl IntoIterator<Item = KernelResult<(Vec<u8>, Vec<u8>)>>,
    ) -> KernelResult<u64> {
        let mut trial = self.begin()?;
        trial.create_table(name, options)?;
        let mut info = trial.table(name)?;
        trial.rollback();
        let mut count = 0;
        let mut rows = rows.into_iter().map(|row| {
            let (key, value) = row?;
            bound("bytes of a key", key.len(), KEY_BYTES_MAX)?;
            bound("bytes of a value", value.len(), VALUE_BYTES_MAX)?;
            count += 1;
            Ok((key, Some(value.into())))
        });
        let inner = &self.inner;
        // Held until the table is there: another checkpoint would free a base without a table.
        let mut state = inner.checkpoint.lock();
        inner.run_checkpoint(&mut state, Some(Load { info: &info, rows: &mut rows }))?;
        drop(rows);
        info.rows_loaded = count;
        let base = Base::new(&info, state.bases.get(&info.id), &inner.access);
        let mut attempt = 1;
        loop {
            match self.adopt(&info, &base) {
                Err(error) if error.is_retryable() && attempt < RUN_ATTEMPTS_MAX => attempt += 1,
                result => return result.map(|()| count),
            }
        }
    }

    fn adopt(&self, info: &TableInfo, base: &Base) -> KernelResult<()> {
        let mut tx = self.begin()?;
        tx.adopt(info, base.clone())?;
        tx.commit_only().map(drop)
    }
}

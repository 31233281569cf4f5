//! Making an index: first its table, which every later write marks; then marks for the rows that there were.
//!
//! ```text
//!   create         sochdb.indexing.<index>.<table>: from now on writers mark their rows
//!   backfill_step  some thousand rows that have no mark yet get one, in a transaction of its own
//!   finish         renamed to sochdb.index.<index>.<table>: searches use it
//! ```
//!
//! Until it is finished searches look at every row of the table, so they are right all the while. A crash leaves
//! the table under its first name, and whoever opens the database next goes on: a row that has a mark keeps it.

use crate::column::{IndexedColumn, mark};
use crate::definition::{BUILDING, IndexDefinition, PREFIX, parse_index_table_name};
use sochdb_kernel::{Kernel, KernelError, KernelResult, KeyRange, TableInfo, Transaction};
use std::ops::Bound;

/// Rows that one step marks, and about the bytes of them that it reads.
const STEP_ROWS: usize = 4096;
const STEP_BYTES: usize = 16 << 20;

/// How far an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexState {
    /// Rows that there were before it are still being marked; searches look at every row.
    Building,
    /// Searches use it.
    Ready,
}

/// What a step has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfilled {
    /// Rows that it looked at.
    pub rows: u64,
    /// Where the next one begins; `None` when all rows are marked.
    pub next: Option<Vec<u8>>,
}

/// Makes the table of `index`. Writers that know of it mark their rows from now on; those that do not must not
/// commit any more, which the caller sees to.
///
/// # Errors
/// `Invalid` when there is such an index; `NotFound` for the table; as [`Transaction::create_table`].
pub fn create(tx: &mut Transaction, index: &IndexDefinition) -> KernelResult<()> {
    tx.table(&index.table)?;
    for name in [index.index_table(), index.building_table()] {
        match tx.table(&name) {
            Err(KernelError::NotFound { .. }) => {}
            Err(error) => return Err(error),
            Ok(_) => {
                let (table, name) = (&index.table, &index.name);
                return Err(KernelError::Invalid(format!(
                    "table '{table}' has an index '{name}' already"
                )));
            }
        }
    }
    tx.create_table(&index.building_table(), index.options())
}

/// Marks the next rows of the table, from the key `from` on.
///
/// # Errors
/// `Invalid` that names a row whose value cannot be indexed; `NotFound` when the index was dropped; as
/// [`Kernel::run`].
pub fn backfill_step(
    kernel: &Kernel,
    index: &IndexDefinition,
    from: Option<&[u8]>,
) -> KernelResult<Backfilled> {
    kernel.run(|tx| {
        let info = tx.table(&index.table)?;
        let column = IndexedColumn::new(index, index.schema(&info)?)?;
        let marks = index.building_table();
        let start = from.map_or(Bound::Unbounded, |from| Bound::Included(from.to_vec()));
        let range = KeyRange { start, end: Bound::Unbounded };
        let (mut rows, mut bytes, mut wanted, mut next) = (0, 0, Vec::new(), None);
        for row in tx.scan(&index.table, range)? {
            let (key, value) = row?;
            if rows == STEP_ROWS || STEP_BYTES <= bytes {
                next = Some(key);
                break;
            }
            (rows, bytes) = (rows + 1, bytes + key.len() + value.len());
            if tx.get(&marks, &key)?.is_some() {
                continue;
            }
            let mut form = Vec::new();
            let found = column.value(&key, &value)?;
            let has = column.form(&found, &mut form).map_err(|error| match error {
                KernelError::Invalid(why) => {
                    let row = key.escape_ascii();
                    KernelError::Invalid(format!("row {row} of table '{}': {why}", index.table))
                }
                other => other,
            })?;
            wanted.push((key, mark(has.then_some(&form))));
        }
        for (key, mark) in wanted {
            tx.put(&marks, &key, &mark.to_le_bytes())?;
        }
        Ok(Backfilled { rows: rows as u64, next })
    })
}

/// Says that all rows are marked.
///
/// # Errors
/// As [`Transaction::rename_table`].
pub fn finish(kernel: &Kernel, index: &IndexDefinition) -> KernelResult<()> {
    kernel.run(|tx| tx.rename_table(&index.building_table(), &index.index_table()))
}

/// Drops `index`, made or being made.
///
/// # Errors
/// `NotFound`.
pub fn drop(tx: &mut Transaction, index: &str, table: &str) -> KernelResult<()> {
    let all = tx.tables()?;
    let found = all.iter().find(|info| parse_index_table_name(&info.name) == Some((index, table)));
    let name = || format!("{index}' of table '{table}");
    let missing = || KernelError::NotFound { kind: "index", name: name() };
    tx.drop_table(&found.ok_or_else(missing)?.name)
}

/// The indexes among `all` tables, those of `table` if one is given; names are full ones. One whose table is
/// gone is left out.
///
/// # Errors
/// `Invalid` when an indexed column is not there any more.
pub fn indexes_of(
    table: Option<&str>,
    all: &[TableInfo],
) -> KernelResult<Vec<(IndexDefinition, IndexState)>> {
    let mut found = Vec::new();
    for info in all {
        let Some((_, of)) = parse_index_table_name(&info.name) else { continue };
        let Some(rows) = all.iter().find(|rows| rows.name == of) else { continue };
        if table.is_some_and(|table| table != of) {
            continue;
        }
        let state = if info.name.starts_with(BUILDING) {
            IndexState::Building
        } else {
            debug_assert!(info.name.starts_with(PREFIX), "parsed above");
            IndexState::Ready
        };
        if let Some(index) = IndexDefinition::of(info, rows.options.schema.as_ref(), of)? {
            found.push((index, state));
        }
    }
    Ok(found)
}

//! Compares an index with its table, row by row.

use crate::column::{IndexedColumn, mark};
use crate::definition::IndexDefinition;
use crate::engine::marked_of;
use sochdb_encoding::merge::Row;
use sochdb_kernel::{KernelResult, KeyRange, Slice, Transaction};

/// Keys that a report names.
const NAMED_MAX: usize = 10;

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows of the table that were compared.
    pub rows: u64,
    /// Rows whose mark is missing or another value's, and marks without a row.
    pub wrong: u64,
    /// The first of their keys.
    pub keys: Vec<Vec<u8>>,
}

/// Compares the marks of `index` with the rows of its table, as `tx` sees both. An index that differs was written
/// past: drop it and create it again.
///
/// # Errors
/// `NotFound`; as [`Transaction::scan`].
pub fn verify(tx: &Transaction, index: &IndexDefinition) -> KernelResult<Verified> {
    let info = tx.table(&index.table)?;
    let column = IndexedColumn::new(index, index.schema(&info)?)?;
    let mut rows = tx.scan(&index.table, KeyRange::all())?;
    let mut marks = tx.scan(&index.index_table(), KeyRange::all())?;
    let mut found = Verified::default();
    let wrong = |found: &mut Verified, key: Vec<u8>| {
        found.wrong += 1;
        if found.keys.len() < NAMED_MAX {
            found.keys.push(key);
        }
    };
    let live = |row: Option<KernelResult<(Vec<u8>, Slice)>>| -> KernelResult<Option<Row<Slice>>> {
        Ok(row.transpose()?.map(|(key, value)| (key, Some(value))))
    };
    let (mut row, mut marked) = (live(rows.next())?, live(marks.next())?);
    loop {
        let order = match (&row, &marked) {
            (None, None) => return Ok(found),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((row, _)), Some((marked, _))) => row.cmp(marked),
        };
        let (mut the_row, mut the_mark) = (None, None);
        if order.is_le() {
            the_row = std::mem::replace(&mut row, live(rows.next())?);
            found.rows += 1;
        }
        if order.is_ge() {
            the_mark = std::mem::replace(&mut marked, live(marks.next())?);
        }
        match (the_row, the_mark) {
            (Some((key, Some(value))), Some((_, Some(marked)))) => {
                let mut form = Vec::new();
                let has = column.form(&column.value(&key, &value)?, &mut form)?;
                if mark(has.then_some(&form)) != marked_of(&marked)? {
                    wrong(&mut found, key);
                }
            }
            (Some((key, _)), None) | (None, Some((key, _))) => wrong(&mut found, key),
            _ => {}
        }
    }
}

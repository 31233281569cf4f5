//! Scans of typed tables that give out some columns of the rows that fulfil conditions: as columns, or row by
//! row.
//!
//! ```text
//!   newer rows, in memory   ·        ·  ··
//!   batches of the storage  ├────┤├────┤├────┤├────┤     each covers the keys up to its own last one
//!   what is handed out       as is  merged  as is  merged
//! ```
//!
//! A storage plugin hands its rows out in batches of columns. A batch among whose keys nothing newer lies in
//! memory passes as it is: it was copied once, out of the plugin. For the keys of any other batch the storage is
//! read row by row, merged with the newer rows, and made into columns again. Tables in the kernel's own tree
//! become columns the same way.

use crate::wasm_host_abi::{WasmColumnCursor, columns_of};
use sochdb_encoding::columns::{ColumnBatch, ColumnBuilder};
use sochdb_encoding::row::{Column, Value};
use sochdb_encoding::select::{Condition, Projection, Selection};
use sochdb_kernel::plugin::{RunCursor, RunRow, StorageReader};
use sochdb_kernel::{KernelError, KernelResult, KeyRange, Scan, Slice, TableInfo};
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

/// Rows and bytes of a batch that a storage is asked for.
const BATCH_ROWS: usize = 16 << 10;
const BATCH_BYTES: usize = 4 << 20;
/// Rows and bytes of a batch that is made of rows.
const MADE_ROWS: usize = 4 << 10;
const MADE_BYTES: usize = 1 << 20;
/// Rows and bytes that a storage is asked for at once where it is read row by row.
const READ_ROWS: usize = 1_024;
const READ_BYTES: usize = 256 << 10;

/// The columns named in `columns` of the rows of `table` that fulfil `conditions`.
pub(crate) fn selection(
    table: &TableInfo,
    columns: &[&str],
    conditions: Vec<Condition>,
) -> KernelResult<Arc<Selection>> {
    let Some(schema) = &table.options.schema else {
        let text = format!("table '{}' is untyped: it has no columns to scan", table.name);
        return Err(KernelError::Invalid(text));
    };
    let projection = Projection::new(schema, columns)?;
    Ok(Arc::new(Selection::new(schema.clone(), Some(projection), conditions)?))
}

/// Some columns of the rows of a range, in batches that grow by the rows' keys. A batch may have no rows: then it
/// only says that there are none up to its [`through`](ColumnBatch::through). As an iterator it ends with the
/// first error.
pub struct ColumnScan {
    projection: Projection,
    source: Source,
}

enum Source {
    /// Rows of the projection, one by one.
    Rows(Scan),
    /// A storage plugin's batches below newer rows.
    Layers(Box<Layers>),
    /// Nothing is left.
    Done,
}

impl ColumnScan {
    /// Over rows that are selected already.
    pub(crate) fn of_rows(selection: &Selection, rows: Scan) -> ColumnScan {
        ColumnScan { projection: projection(selection), source: Source::Rows(rows) }
    }

    /// Over the rows in memory, and what `reader` reads; `None` when that does not know columns.
    pub(crate) fn of_layers(
        selection: &Arc<Selection>,
        range: KeyRange,
        memory: Scan,
        reader: Arc<dyn StorageReader>,
    ) -> KernelResult<Option<ColumnScan>> {
        let Some(columns) = columns_of(&*reader) else { return Ok(None) };
        let cursor = columns.scan_columns(&range, selection)?;
        let mut layers = Layers {
            selection: selection.clone(),
            memory,
            newer: None,
            reader,
            cursor: Some(cursor),
            range,
            region: None,
        };
        layers.newer = layers.memory.next_row()?;
        let source = Source::Layers(Box::new(layers));
        Ok(Some(ColumnScan { projection: projection(selection), source }))
    }

    /// The columns of every batch in the order that was asked for: names, types, and whether they may be null.
    pub fn columns(&self) -> &[Column] {
        &self.projection.schema().columns
    }

    fn advance(&mut self) -> KernelResult<Option<ColumnBatch>> {
        let batch = match &mut self.source {
            Source::Done => return Ok(None),
            Source::Rows(rows) => {
                let mut next = || rows.next().transpose();
                Some(make(&self.projection, None, &mut next)?.0)
            }
            Source::Layers(layers) => layers.next(&self.projection)?,
        };
        // A batch without rows tells at least how far the scan is, unless that is the end.
        let batch = batch.filter(|batch| 0 < batch.rows() || batch.through().is_some());
        if batch.as_ref().is_none_or(|batch| batch.through().is_none()) {
            self.source = Source::Done;
        }
        Ok(batch)
    }
}

fn projection(selection: &Selection) -> Projection {
    selection.projection().expect("made with one").clone()
}

impl Iterator for ColumnScan {
    type Item = KernelResult<ColumnBatch>;

    fn next(&mut self) -> Option<KernelResult<ColumnBatch>> {
        let next = self.advance();
        if next.is_err() {
            self.source = Source::Done;
        }
        next.transpose()
    }
}

/// A storage plugin's rows below newer ones.
struct Layers {
    selection: Arc<Selection>,
    /// Rows in memory, deletions included, behind `newer`.
    memory: Scan,
    newer: Option<(Vec<u8>, Option<Slice>)>,
    reader: Arc<dyn StorageReader>,
    /// Absent when it has given out its last batch.
    cursor: Option<WasmColumnCursor>,
    /// The keys behind the last batch of the cursor.
    range: KeyRange,
    /// Keys that are read row by row.
    region: Option<Region>,
}

/// Some keys with newer rows among them.
struct Region {
    /// The storage's rows of these keys.
    rows: Box<dyn RunCursor>,
    read: VecDeque<RunRow>,
    is_read: bool,
    /// The last of the keys; none when they go on to the end of the scan.
    through: Option<Vec<u8>>,
}

impl Layers {
    fn next(&mut self, projection: &Projection) -> KernelResult<Option<ColumnBatch>> {
        loop {
            if let Some(mut region) = self.region.take() {
                let through = region.through.clone();
                let (batch, is_over) =
                    make(projection, through.as_deref(), &mut || self.merged(&mut region))?;
                if !is_over {
                    self.region = Some(region);
                }
                return Ok(Some(batch));
            }
            let batch = match &mut self.cursor {
                None => None,
                Some(cursor) => cursor.next_batch(BATCH_ROWS, BATCH_BYTES)?,
            };
            let through = batch.as_ref().and_then(|batch| batch.through().map(<[u8]>::to_vec));
            let is_newer = match (&self.newer, &through) {
                (Some((key, _)), Some(through)) => key <= through,
                (newer, None) => newer.is_some(),
                (None, Some(_)) => false,
            };
            if through.is_none() {
                self.cursor = None;
            }
            if is_newer {
                let end = through.clone().map_or(self.range.end.clone(), Bound::Included);
                let keys = KeyRange { start: self.range.start.clone(), end };
                let rows = self.reader.scan(&keys, false, Some(self.selection.clone()))?;
                let (read, is_read) = Default::default();
                self.region = Some(Region { rows, read, is_read, through: through.clone() });
            }
            if let Some(through) = &through {
                self.range.start = Bound::Excluded(through.clone());
            }
            if !is_newer {
                return Ok(batch);
            }
        }
    }

    /// The next selected row of `region`: of equal keys the newer one.
    fn merged(&mut self, region: &mut Region) -> KernelResult<Option<(Vec<u8>, Slice)>> {
        loop {
            let older = region.peek()?.map(|row| row.key.clone());
            let is_in =
                |key: &Vec<u8>| region.through.as_ref().is_none_or(|through| key <= through);
            let newer = self.newer.as_ref().map(|(key, _)| key).filter(|key| is_in(key));
            let takes_newer = match (newer, &older) {
                (None, None) => return Ok(None),
                (Some(newer), Some(older)) => newer <= older,
                (newer, _) => newer.is_some(),
            };
            if !takes_newer {
                let row = region.read.pop_front().expect("peeked");
                match row.value {
                    Some(value) => return Ok(Some((row.key, value))),
                    None => continue,
                }
            }
            let next = self.memory.next_row()?;
            let (key, value) = std::mem::replace(&mut self.newer, next).expect("looked at");
            if older.as_ref() == Some(&key) {
                region.read.pop_front();
            }
            let Some(value) = value else { continue };
            if let Some(selected) = self.selection.apply(&key, value)? {
                return Ok(Some((key, selected)));
            }
        }
    }
}

impl Region {
    fn peek(&mut self) -> KernelResult<Option<&RunRow>> {
        if self.read.is_empty() && !self.is_read {
            self.read.extend(self.rows.next_batch(READ_ROWS, READ_BYTES)?);
            self.is_read = self.read.is_empty();
        }
        Ok(self.read.front())
    }
}

/// Makes a batch of some of the rows that `next` gives, values of `projection`. Returns whether these were all;
/// the batch then covers the keys up to `through`.
fn make(
    projection: &Projection,
    through: Option<&[u8]>,
    next: &mut dyn FnMut() -> KernelResult<Option<(Vec<u8>, Slice)>>,
) -> KernelResult<(ColumnBatch, bool)> {
    let kinds = projection.schema().columns.iter().map(|column| column.kind);
    let mut columns: Vec<_> = kinds.map(ColumnBuilder::new).collect();
    let (mut rows, mut bytes, mut last) = (0, 0, None);
    while rows < MADE_ROWS && bytes < MADE_BYTES {
        let Some((key, value)) = next()? else {
            let batch = ColumnBatch::new(rows, columns, through.map(<[u8]>::to_vec))?;
            return Ok((batch, true));
        };
        let values = projection.decode(&value)?;
        for (column, value) in columns.iter_mut().zip(&values) {
            column.push(value)?;
        }
        rows += 1;
        bytes += value.len();
        last = Some(key);
    }
    Ok((ColumnBatch::new(rows, columns, last)?, false))
}

/// Rows of a range, some columns of each: its key and the values, in the order of the columns. As an iterator
/// it ends with the first error.
pub struct SelectedScan {
    projection: Projection,
    rows: Scan,
}

impl SelectedScan {
    pub(crate) fn new(selection: &Selection, rows: Scan) -> SelectedScan {
        SelectedScan { projection: projection(selection), rows }
    }

    /// The columns of every row, in the order that was asked for.
    pub fn columns(&self) -> &[Column] {
        &self.projection.schema().columns
    }
}

impl Iterator for SelectedScan {
    type Item = KernelResult<(Vec<u8>, Vec<Value>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.rows.next()?;
        Some(row.and_then(|(key, value)| Ok((key, self.projection.decode(&value)?))))
    }
}

//! The trial of a storage engine: what it reads of the tables there are, and what it writes in memory.
//!
//! ```text
//!   a table's segments ──▶ old, new ──▶ rows by key, up, down, selected, as columns: the same
//!                           │
//!                 some rows ▼
//!   flush, flush again, merge ──▶ segments in memory ──▶ new, old ──▶ the rows that were written
//! ```
//!
//! While a version is on trial, flushes and merges of the database are the usual version's work
//! ([`call_once`](crate::versions::Versions::call_once)), so this is where a new version shows how it writes.

use super::memory::Memory;
use super::{Trial, shown};
use crate::canary::Tables;
use crate::wasm_host_abi::columns_of;
use sochdb_encoding::row::{Schema, Value};
use sochdb_encoding::select::{Comparison, Condition, Projection};
use sochdb_kernel::limits::KEY_BYTES_MAX;
use sochdb_kernel::plugin::{
    RunCursor, RunRow, SegmentRead, Selection, StorageExtension, StorageReader, TableContext,
};
use sochdb_kernel::{KernelResult, KeyRange, SegmentId, Slice, TableId};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Rows that are read from each end of a table, and about so many bytes of them.
const ROWS: usize = 500;
const BYTES: usize = 1 << 20;
/// Keys that are looked up.
const KEYS: usize = 200;
/// Columns of a selection.
const COLUMNS: usize = 8;
/// Tables whose rows are written; others are only read.
const WRITTEN_TABLES: usize = 16;
/// Rows that are made up when there are none to write.
const MADE_UP: u32 = 300;

/// Tries the new engine beside the old one.
pub(super) fn try_all(
    trial: &mut Trial,
    tables: &Tables,
    old: &dyn StorageExtension,
    new: &dyn StorageExtension,
) -> KernelResult<()> {
    let mut written = 0;
    for (table, segments) in tables.iter() {
        trial.report.opened += 1;
        if trial.is_late() {
            continue;
        }
        let context = table.context();
        let what = format!("table '{}'", table.name);
        let opened = trial.ask(
            format!("{what} is opened"),
            || old.open(&context, &segments),
            || new.open(&context, &segments),
        )?;
        let Some((old_reader, new_reader)) = opened else { continue };
        let readers = Readers { what: &what, old: &*old_reader, new: &*new_reader };
        let rows = readers.try_all(trial, context.schema.as_ref())?;
        if !rows.is_empty() && written < WRITTEN_TABLES {
            Writing { what: &what, context: &context, old, new }.try_all(trial, rows)?;
            written += 1;
        }
    }
    if written == 0 {
        let (id, name) = (TableId(u64::MAX), "made up".to_owned());
        let (schema, options) = Default::default();
        let context = TableContext { id, name, schema, compressed: false, options };
        let row = |number: u32| RunRow {
            key: format!("key {number:06}").into_bytes(),
            value: Some(vec![number as u8; number as usize % 200].into()),
        };
        let rows = (0..MADE_UP).map(row).collect();
        Writing { what: "a made up table", context: &context, old, new }.try_all(trial, rows)?;
    }
    Ok(())
}

/// The same segments, open in both engines.
struct Readers<'a> {
    what: &'a str,
    old: &'a dyn StorageReader,
    new: &'a dyn StorageReader,
}

impl Readers<'_> {
    /// Reads in every way; returns the first rows.
    fn try_all(&self, trial: &mut Trial, schema: Option<&Schema>) -> KernelResult<Vec<RunRow>> {
        let all = KeyRange::all();
        let Some(rows) = self.try_scan(trial, &all, false, None)? else { return Ok(Vec::new()) };
        let last = self.try_scan(trial, &all, true, None)?.unwrap_or_default();
        self.try_keys(trial, rows.iter().chain(&last))?;
        if let (Some(schema), Some(last)) = (schema, rows.last())
            && let Some(selection) = selection(schema, &rows)
        {
            // Only among these rows: what fulfils the condition may be rare behind them.
            let range = KeyRange { end: Bound::Included(last.key.clone()), ..all };
            self.try_scan(trial, &range, false, Some(&selection))?;
            self.try_columns(trial, &range, &selection)?;
        }
        Ok(rows)
    }

    fn try_scan(
        &self,
        trial: &mut Trial,
        range: &KeyRange,
        reverse: bool,
        selection: Option<&Arc<Selection>>,
    ) -> KernelResult<Option<Vec<RunRow>>> {
        let how = match (reverse, selection) {
            (_, Some(_)) => "a scan with a condition",
            (false, None) => "a scan",
            (true, None) => "a scan backwards",
        };
        let what = format!("{}: {how}", self.what);
        let read = |reader: &dyn StorageReader| {
            let rows = first_rows(reader, range, reverse, selection.cloned())?;
            // What a selection does not want may be given as deleted.
            let is_told = |row: &RunRow| selection.is_none() || row.value.is_some();
            Ok(rows.into_iter().filter(is_told).collect::<Vec<_>>())
        };
        let Some((old, new)) = trial.ask(&what, || read(self.old), || read(self.new))? else {
            return Ok(None);
        };
        if old == new {
            return Ok(Some(old));
        }
        let at = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let why = match (old.get(at), new.get(at)) {
            (Some(old), Some(new)) if old.key == new.key => {
                format!("another value of the key {}", shown(&old.key))
            }
            (Some(old), Some(new)) => {
                format!(
                    "the key {} where version {} finds {}",
                    shown(&new.key),
                    trial.old,
                    shown(&old.key)
                )
            }
            (Some(old), None) => format!("no row of the key {}", shown(&old.key)),
            (None, new) => {
                let key = new.map_or(&[][..], |row| &row.key);
                format!("a row of the key {}, which is not there", shown(key))
            }
        };
        Err(trial.lied(format!("{what} gives {why}")))
    }

    /// Looks up keys of rows, and keys beside them.
    fn try_keys<'r>(
        &self,
        trial: &mut Trial,
        rows: impl Iterator<Item = &'r RunRow> + Clone,
    ) -> KernelResult<()> {
        let step = (3 * rows.clone().count()).div_ceil(KEYS).max(1);
        let mut keys = Vec::new();
        for RunRow { key, .. } in rows.step_by(step) {
            keys.push(key.clone());
            if key.len() < KEY_BYTES_MAX {
                keys.push([key, &b"\0"[..]].concat());
            }
            if let Some((_, shorter)) = key.split_last().filter(|(_, shorter)| !shorter.is_empty())
            {
                keys.push(shorter.to_vec());
            }
        }
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let what = format!("{}: {} keys", self.what, keys.len());
        let answers =
            trial.ask(&what, || self.old.multi_get(&keys), || self.new.multi_get(&keys))?;
        let Some((old, new)) = answers else { return Ok(()) };
        match old.iter().zip(&new).position(|(old, new)| old != new) {
            None => Ok(()),
            Some(at) => {
                let key = shown(keys[at]);
                let why = format!(
                    "{}: another answer to the key {key} than version {}'s",
                    self.what, trial.old
                );
                Err(trial.lied(why))
            }
        }
    }

    fn try_columns(
        &self,
        trial: &mut Trial,
        range: &KeyRange,
        selection: &Selection,
    ) -> KernelResult<()> {
        let what = format!("{}: a scan of columns", self.what);
        let read = |reader| columns(reader, range, selection);
        let Some((old, new)) = trial.ask(&what, || read(self.old), || read(self.new))? else {
            return Ok(());
        };
        let is_same = |(old, new): (&Vec<Value>, &Vec<Value>)| {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same(old, new))
        };
        match old.len() == new.len() && old.iter().zip(&new).all(is_same) {
            true => Ok(()),
            false => {
                Err(trial.lied(format!("{what} gives other values than version {}'s", trial.old)))
            }
        }
    }
}

/// The first rows, until there are [`ROWS`] or [`BYTES`].
fn first_rows(
    reader: &dyn StorageReader,
    range: &KeyRange,
    reverse: bool,
    selection: Option<Arc<Selection>>,
) -> KernelResult<Vec<RunRow>> {
    let mut cursor = reader.scan(range, reverse, selection)?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while rows.len() < ROWS && bytes < BYTES {
        let batch = cursor.next_batch(ROWS - rows.len(), BYTES - bytes)?;
        if batch.is_empty() {
            break;
        }
        let size = |row: &RunRow| row.key.len() + row.value.as_ref().map_or(0, |value| value.len());
        bytes += batch.iter().map(size).sum::<usize>();
        rows.extend(batch);
    }
    Ok(rows)
}

/// Whether two values are the same, bit by bit: NaN is what it is.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Float64(one), Value::Float64(other)) => one.to_bits() == other.to_bits(),
        (Value::Vector(one), Value::Vector(other)) => {
            one.iter().map(|value| value.to_bits()).eq(other.iter().map(|value| value.to_bits()))
        }
        (one, other) => one == other,
    }
}

/// The first [`ROWS`] rows as columns; none of an engine that is no plugin.
fn columns(
    reader: &dyn StorageReader,
    range: &KeyRange,
    selection: &Selection,
) -> KernelResult<Vec<Vec<Value>>> {
    let mut rows = Vec::new();
    let Some(reader) = columns_of(reader) else { return Ok(rows) };
    let mut cursor = reader.scan_columns(range, selection)?;
    while rows.len() < ROWS
        && let Some(batch) = cursor.next_batch(ROWS, BYTES)?
    {
        let values =
            |row| (0..batch.kinds().len()).map(|column| batch.value(column, row)).collect();
        rows.extend((0..batch.rows()).map(values));
    }
    rows.truncate(ROWS);
    Ok(rows)
}

/// Some columns, of the rows whose first column that is not null is what it is in the row in the middle.
fn selection(schema: &Schema, rows: &[RunRow]) -> Option<Arc<Selection>> {
    let live: Vec<_> = rows.iter().filter(|row| row.value.is_some()).collect();
    let row = live.get(live.len() / 2)?;
    let values = schema.decode(&row.key, row.value.as_deref()?).ok()?;
    let positions = (0..schema.columns.len().min(COLUMNS)).collect();
    let projection = Projection::at(schema, positions).ok()?;
    let condition = values.into_iter().enumerate().find_map(|(position, value)| match value {
        Value::Null => None,
        value => Condition::at(schema, position, Comparison::LessOrEqual, vec![value]).ok(),
    });
    let conditions = condition.into_iter().collect();
    Selection::new(schema.clone(), Some(projection), conditions).ok().map(Arc::new)
}

/// Rows that are to be written.
type Rows = BTreeMap<Vec<u8>, Option<Slice>>;

/// Who writes them.
struct Writing<'a> {
    what: &'a str,
    context: &'a TableContext,
    old: &'a dyn StorageExtension,
    new: &'a dyn StorageExtension,
}

impl Writing<'_> {
    fn try_all(&self, trial: &mut Trial, rows: Vec<RunRow>) -> KernelResult<()> {
        let (first, second) = runs(rows);
        // Who cannot read what it writes itself is no measure.
        let by_old = [("it", self.old)];
        if !self.write(self.old, &by_old, &first, &second).is_ok_and(|wrong| wrong.is_none()) {
            return Ok(());
        }
        let before = format!("version {}", trial.old);
        let both = [("it", self.new), (before.as_str(), self.old)];
        let readers = if trial.one_way { &both[..1] } else { &both[..] };
        trial.report.replayed += 1;
        let wrong = self.write(self.new, readers, &first, &second);
        match wrong.map_err(|error| trial.failed(format!("{}: writing rows", self.what), error))? {
            None => Ok(()),
            Some(why) => Err(trial.lied(format!("{}: {why}", self.what))),
        }
    }

    /// Has `writer` flush both and merge them, and each of `readers` read it; what was wrong, if anything.
    fn write(
        &self,
        writer: &dyn StorageExtension,
        readers: &[(&str, &dyn StorageExtension)],
        first: &Rows,
        second: &Rows,
    ) -> KernelResult<Option<String>> {
        let memory = Memory::new();
        let mut all = first.clone();
        all.extend(second.iter().map(|(key, value)| (key.clone(), value.clone())));
        let mut segments = Vec::new();
        for (what, run, expected) in [("a flush", first, first), ("a second flush", second, &all)] {
            let ids =
                writer.flush(self.context, &segments, Box::new(Run::of(run)), memory.sink())?;
            match sealed(&memory, &ids) {
                Ok(written) => segments.extend(written),
                Err(why) => return Ok(Some(format!("{what} {why}"))),
            }
            if let Some(why) = self.read_back(readers, &segments, expected)? {
                return Ok(Some(format!("{what} {why}")));
            }
        }
        for drop_deleted in [false, true] {
            let ids = writer.merge(self.context, &segments, drop_deleted, memory.sink())?;
            let merged = match sealed(&memory, &ids) {
                Ok(merged) => merged,
                Err(why) => return Ok(Some(format!("a merge {why}"))),
            };
            if let Some(why) = self.read_back(readers, &merged, &all)? {
                return Ok(Some(format!("a merge {why}")));
            }
        }
        Ok(None)
    }

    fn read_back(
        &self,
        readers: &[(&str, &dyn StorageExtension)],
        segments: &[Arc<dyn SegmentRead>],
        expected: &Rows,
    ) -> KernelResult<Option<String>> {
        for (who, engine) in readers {
            let found = engine.open(self.context, segments).and_then(|reader| {
                let scanned = all_rows(&*reader)?;
                let keys: Vec<&[u8]> = expected.keys().map(Vec::as_slice).collect();
                Ok((scanned, reader.multi_get(&keys)?))
            });
            let (scanned, looked_up) = match found {
                Ok(found) => found,
                Err(error) => return Ok(Some(format!("writes what {who} cannot read: {error}"))),
            };
            let live =
                |(key, value): (&Vec<u8>, &Option<Slice>)| Some((key.clone(), value.clone()?));
            let wanted: BTreeMap<_, _> = expected.iter().filter_map(live).collect();
            let scanned: BTreeMap<_, _> = scanned.iter().filter_map(live).collect();
            let of_scan = wanted.keys().chain(scanned.keys());
            let wrong = of_scan.into_iter().find(|key| wanted.get(*key) != scanned.get(*key));
            let looked_up = expected.keys().zip(looked_up);
            let mut of_keys = looked_up.map(|(key, found)| (key, found.flatten()));
            let wrong = wrong.or_else(|| {
                of_keys.find(|(key, found)| wanted.get(*key) != found.as_ref()).map(|(key, _)| key)
            });
            if let Some(key) = wrong {
                let key = shown(key);
                return Ok(Some(format!(
                    "changes the row of the key {key}, as {who} reads it back"
                )));
            }
        }
        Ok(None)
    }
}

fn all_rows(reader: &dyn StorageReader) -> KernelResult<Rows> {
    let mut cursor = reader.scan(&KeyRange::all(), false, None)?;
    let mut rows = Rows::new();
    // Growing keys, of which there are no more than were written: more is wrong, and ends here.
    while rows.len() <= 4 * ROWS {
        let batch = cursor.next_batch(ROWS, BYTES)?;
        if batch.is_empty() {
            break;
        }
        rows.extend(batch.into_iter().map(|RunRow { key, value }| (key, value)));
    }
    Ok(rows)
}

fn sealed(memory: &Memory, ids: &[SegmentId]) -> Result<Vec<Arc<dyn SegmentRead>>, String> {
    memory.segments(ids).ok_or_else(|| "names segments that it did not write".to_owned())
}

/// What is written first and second: rows, some of which are deleted, and then some of them changed and deleted.
fn runs(rows: Vec<RunRow>) -> (Rows, Rows) {
    let values: Vec<Slice> = rows.iter().filter_map(|row| row.value.clone()).collect();
    let (mut first, mut second) = (Rows::new(), Rows::new());
    for (number, RunRow { key, value }) in rows.into_iter().enumerate() {
        match number % 7 {
            1 => drop(second.insert(key.clone(), None)),
            // Another row's value is one that the table can have.
            3 => {
                drop(second.insert(key.clone(), values.get(number % values.len().max(1)).cloned()))
            }
            _ => {}
        }
        first.insert(key, value.filter(|_| number % 5 != 4));
    }
    (first, second)
}

/// Rows of a flush.
struct Run(VecDeque<RunRow>);

impl Run {
    fn of(rows: &Rows) -> Run {
        let row = |(key, value): (&Vec<u8>, &Option<Slice>)| RunRow {
            key: key.clone(),
            value: value.clone(),
        };
        Run(rows.iter().map(row).collect())
    }
}

impl RunCursor for Run {
    fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < rows_max
            && (batch.is_empty() || bytes < bytes_max)
            && let Some(row) = self.0.pop_front()
        {
            bytes += row.key.len() + row.value.as_ref().map_or(0, |value| value.len());
            batch.push(row);
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests;

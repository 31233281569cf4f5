//! `rows`: tables inside the transaction that a call is part of.
//!
//! | handle        | lives                    | what is behind it                                        |
//! |---------------|--------------------------|----------------------------------------------------------|
//! | `transaction` | for one call, borrowed   | the caller's transaction, lent                           |
//! | `table`       | for one call             | a name, and what the grant allows there                  |
//! | `scan`        | for one call             | the kernel's scan, its conditions and columns            |
//! | `index`       | for one call             | an index of a table, for the interface `search`          |
//!
//! The grant is asked when a table is opened; from then on the handle is the right. Whether a table
//! outside the grant exists is not said. What a guest writes into a typed table must be a row of it.

use super::base_bindings::sochdb::plugin::rows as contract;
use super::base_bindings::sochdb::plugin::types::{
    Batch, Bound as GuestBound, Found, KeyRange as GuestRange, Keys,
};
use super::flat::{self, state};
use super::handles::Handles;
use super::search::OpenIndex;
use super::types::code;
use super::{GuestError, GuestState, Host, audited, charge};
use crate::limits::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, CONDITIONS_MAX, RANGE_BYTES_MAX, clamp_rows};
use crate::transaction::{Lent, Transaction};
use sochdb_encoding::row::Schema;
use sochdb_encoding::select::{Comparison, Condition, Projection};
use sochdb_kernel::{KernelError, KernelResult, KeyRange, Scan};
use std::borrow::Cow;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::{Access, Linker, Resource};
use wasmtime::{Result, StoreContextMut, Trap};

/// 256 KiB. What a scan looks at between two looks at fuel and clock.
const LOOK_BYTES_STEP: usize = 256 << 10;
/// What the host copies by itself costs less than what crosses.
const COPIED_BYTES_PER_FUEL: usize = 16;
/// What a row costs beside its bytes.
const ROW_OVERHEAD_BYTES: usize = 9;
/// 64 KiB. A larger value gets memory of its own, which is given back when the guest has its copy.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// A table that a call has opened.
struct OpenTable {
    name: Arc<str>,
    may_read: bool,
    may_write: bool,
    schema: Option<Arc<Schema>>,
}

struct OpenScan {
    table: Arc<str>,
    rows: Scan,
    schema: Option<Arc<Schema>>,
    filter: Vec<Condition>,
    projection: Option<Projection>,
    left: u64,
    /// What it takes of the host's memory.
    held_bytes: usize,
}

/// What a store's guest has open of rows.
#[derive(Default)]
pub(crate) struct Rows {
    transactions: Handles<()>,
    tables: Handles<OpenTable>,
    scans: Handles<OpenScan>,
    indexes: Handles<Arc<OpenIndex>>,
    /// The transaction of the present call, and whether the call may write.
    lent: Option<(Lent, bool)>,
    /// For values on their way to the guest, one at a time.
    buffer: Arc<Vec<u8>>,
}

impl Rows {
    /// Lends a transaction for one call.
    pub(crate) fn begin(
        &mut self,
        lent: Lent,
        writes: bool,
    ) -> Result<Resource<contract::Transaction>> {
        self.lent = Some((lent, writes));
        self.transactions.insert(()).map(Resource::new_borrow)
    }

    /// A handle of a table that the call is about. What may be done with it, the grant says.
    pub(crate) fn lend_table(
        &mut self,
        name: &Arc<str>,
        schema: Option<Arc<Schema>>,
        may_read: bool,
        may_write: bool,
    ) -> Result<Resource<contract::Table>> {
        let table = OpenTable { name: name.clone(), may_read, may_write, schema };
        self.tables.insert(table).map(Resource::new_borrow)
    }

    /// Closes whatever the call has left open.
    pub(crate) fn end(&mut self) {
        self.lent = None;
        self.transactions.clear();
        self.tables.clear();
        self.scans.clear();
        self.indexes.clear();
    }

    /// The name of a table that may be read, and the transaction it is open in.
    pub(super) fn readable(&self, table: u32) -> Result<Answer<(Arc<str>, Lent)>> {
        let (table, lent, _) = self.open(table)?;
        Ok(table.check_read().map(|()| (table.name.clone(), lent.clone())))
    }

    /// A handle of an index, until the call ends.
    pub(super) fn open_index(&mut self, index: OpenIndex) -> Result<u32> {
        self.indexes.insert(Arc::new(index))
    }

    /// An index, and the transaction it is open in.
    pub(super) fn index(&self, index: u32) -> Result<(Arc<OpenIndex>, Lent)> {
        let index = self.indexes.look(index)?.clone();
        let (lent, _) = self.lent.as_ref().expect("indexes are open during a call only");
        Ok((index, lent.clone()))
    }

    pub(super) fn close_index(&mut self, index: u32) {
        self.indexes.remove(index);
    }

    /// The transaction behind a handle, and whether the call may write.
    pub(crate) fn lent_for(&self, tx: u32) -> Result<(&Lent, bool)> {
        self.transactions.look(tx)?;
        let (lent, writes) = self.lent.as_ref().expect("its handle is open during the call only");
        Ok((lent, *writes))
    }

    /// `value` in the buffer, if that is free.
    fn buffered(&mut self, value: &[u8]) -> Arc<Vec<u8>> {
        match Arc::get_mut(&mut self.buffer) {
            Some(buffer) if value.len() <= BUFFER_BYTES_MAX => {
                buffer.clear();
                buffer.extend_from_slice(value);
                self.buffer.clone()
            }
            _ => Arc::new(value.to_vec()),
        }
    }

    /// A table and the transaction it is open in.
    fn open(&self, table: u32) -> Result<(&OpenTable, &Lent, bool)> {
        let table = self.tables.look(table)?;
        let (lent, writes) = self.lent.as_ref().expect("tables are open during a call only");
        Ok((table, lent, *writes))
    }
}

impl OpenTable {
    fn check_read(&self) -> std::result::Result<(), GuestError> {
        if self.may_read {
            return Ok(());
        }
        Err(denied(format!("reading the table '{}' was not granted", self.name)))
    }

    fn check_write(&self, call_writes: bool) -> std::result::Result<(), GuestError> {
        if !self.may_write {
            return Err(denied(format!("writing the table '{}' was not granted", self.name)));
        }
        if !call_writes {
            return Err(denied("this call only reads".into()));
        }
        Ok(())
    }

    fn check_row(&self, key: &[u8], value: &[u8]) -> KernelResult<()> {
        let Some(schema) = &self.schema else { return Ok(()) };
        schema.decode(key, value).map(drop).map_err(|error| {
            KernelError::invalid(format!(
                "the value is no row of the table '{}': {error}",
                self.name
            ))
        })
    }
}

fn denied(text: String) -> GuestError {
    GuestError::answer(code::DENIED, text)
}

impl contract::Host for &mut GuestState {}
impl contract::HostTransaction for &mut GuestState {}
impl contract::HostTable for &mut GuestState {}
impl contract::HostScan for &mut GuestState {}

type Answer<T> = std::result::Result<T, GuestError>;

/// Provides `soch-read` anew: the generated bindings want a list of its own for every value.
pub(super) fn link(linker: &mut Linker<GuestState>) -> Result<()> {
    type Arguments = (Resource<contract::Table>, Vec<u8>);
    linker.allow_shadowing(true);
    let read = |store: StoreContextMut<'_, GuestState>, (table, key): Arguments| {
        let host = Access::<GuestState, Host>::new(store, |state| state);
        Ok((soch_read(host, &table, &key)?,))
    };
    linker.instance("sochdb:plugin/rows@0.1.0")?.func_wrap("[method]table.soch-read", read)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The value of a row, for as long as it takes to give the guest a copy.
fn soch_read<T>(
    host: Access<'_, T, Host>,
    table: &Resource<contract::Table>,
    key: &[u8],
) -> Result<Answer<Option<Arc<Vec<u8>>>>> {
    audited(host, "rows.table.soch-read", |host| {
        charge(host, key.len())?;
        let state = host.get();
        let (table, lent, _) = state.rows.open(table.rep())?;
        state.audit.about(&table.name);
        if let Err(error) = table.check_read() {
            return Ok(Err(error));
        }
        let found = lent.with(|tx| tx.get(&table.name, key));
        let found = state.answer(found);
        let bytes = found.as_ref().map_or(0, |found| found.as_ref().map_or(0, |value| value.len()));
        state.audit.carried_rows(matches!(found, Ok(Some(_))).into());
        charge(host, bytes)?;
        Ok(found.map(|found| found.map(|value| host.get().rows.buffered(&value))))
    })
}

impl<T> contract::HostTransactionWithStore<T> for Host {
    fn open_table(
        host: Access<'_, T, Self>,
        tx: Resource<contract::Transaction>,
        name: String,
    ) -> Result<Answer<Resource<contract::Table>>> {
        audited(host, "rows.transaction.open-table", |host| {
            charge(host, name.len())?;
            let state = host.get();
            state.audit.about(name.as_str());
            let (lent, _) = state.rows.lent_for(tx.rep())?;
            let grant = &state.plugin.grant;
            let (may_read, may_write) = (grant.may_read(&name), grant.may_write(&name));
            if !may_read && !may_write {
                let shown = super::clean(&name);
                return Ok(Err(denied(format!("the table '{shown}' was not granted"))));
            }
            let found = lent.with(|tx| tx.table(&name));
            let table = match state.answer(found) {
                Ok(table) => table,
                Err(error) => return Ok(Err(error)),
            };
            let schema = table.options.schema.map(Arc::new);
            let table = OpenTable { name: name.into(), may_read, may_write, schema };
            state.rows.tables.insert(table).map(|table| Ok(Resource::new_own(table)))
        })
    }

    fn is_read_only(
        host: Access<'_, T, Self>,
        tx: Resource<contract::Transaction>,
    ) -> Result<bool> {
        audited(host, "rows.transaction.is-read-only", |host| {
            charge(host, 0)?;
            let (_, writes) = host.get().rows.lent_for(tx.rep())?;
            Ok(!writes)
        })
    }

    fn drop(host: Access<'_, T, Self>, tx: Resource<contract::Transaction>) -> Result<()> {
        audited(host, "rows.transaction.drop", |host| {
            charge(host, 0)?;
            host.get().rows.transactions.remove(tx.rep());
            Ok(())
        })
    }
}

impl<T> contract::HostTableWithStore<T> for Host {
    fn name(host: Access<'_, T, Self>, table: Resource<contract::Table>) -> Result<String> {
        audited(host, "rows.table.name", |host| {
            let name = host.get().rows.tables.get(table.rep())?.name.to_string();
            charge(host, name.len())?;
            Ok(name)
        })
    }

    fn schema(
        host: Access<'_, T, Self>,
        table: Resource<contract::Table>,
    ) -> Result<Answer<Option<contract::Schema>>> {
        audited(host, "rows.table.schema", |host| {
            let schema = host.get().rows.tables.get(table.rep())?.schema.clone();
            let bytes = |schema: &Arc<Schema>| {
                schema.columns.iter().map(|column| column.name.len() + 16).sum::<usize>()
            };
            charge(host, schema.as_ref().map_or(0, bytes))?;
            Ok(Ok(schema.map(|schema| (&*schema).into())))
        })
    }

    /// [`link`] puts another one in its place, which gives the same answer without memory of its own.
    fn soch_read(
        host: Access<'_, T, Self>,
        table: Resource<contract::Table>,
        key: Vec<u8>,
    ) -> Result<Answer<Option<Vec<u8>>>> {
        let found = soch_read(host, &table, &key)?;
        Ok(found.map(|found| found.map(|value| value.to_vec())))
    }

    fn soch_read_many(
        host: Access<'_, T, Self>,
        table: Resource<contract::Table>,
        keys: Keys,
    ) -> Result<Answer<Found>> {
        audited(host, "rows.table.soch-read-many", |host| {
            charge(host, keys.bytes.len() + 4 * keys.ends.len())?;
            let state = host.get();
            let (table, lent, _) = state.rows.open(table.rep())?;
            state.audit.about(&table.name);
            let keys = match table.check_read().and_then(|()| flat::keys(&keys)) {
                Ok(keys) => keys,
                Err(error) => return Ok(Err(error)),
            };
            let found = lent.with(|tx| read_many(tx, &table.name, &keys));
            let found = state.answer(found);
            let bytes = found.as_ref().map_or(0, |of| of.values.len() + 5 * of.states.len());
            state.audit.carried_rows(found.as_ref().map_or(0, |of| of.states.len()));
            charge(host, bytes)?;
            Ok(found)
        })
    }

    fn soch_scan(
        host: Access<'_, T, Self>,
        table: Resource<contract::Table>,
        range: GuestRange,
        options: contract::ScanOptions,
    ) -> Result<Answer<Resource<contract::Scan>>> {
        audited(host, "rows.table.soch-scan", |host| {
            let end =
                |bound: &Option<GuestBound>| bound.as_ref().map_or(0, |bound| bound.key.len());
            let (start, stop) = (end(&range.start), end(&range.end));
            let words = options.columns.iter().map(String::len).sum::<usize>();
            charge(host, start + stop + words + 64 * options.filter.len())?;
            let state = host.get();
            let memory_bytes_max = usize::try_from(state.plugin.grant.limits.memory_bytes_max);
            let memory_bytes_max = memory_bytes_max.unwrap_or(usize::MAX);
            let (table, lent, _) = state.rows.open(table.rep())?;
            state.audit.about(&table.name);
            if let Err(error) = table.check_read() {
                return Ok(Err(error));
            }
            if RANGE_BYTES_MAX < start.max(stop) || CONDITIONS_MAX < options.filter.len() {
                let text = format!(
                    "a range's end has at most {RANGE_BYTES_MAX} bytes, a filter {CONDITIONS_MAX} conditions"
                );
                return Ok(Err(limit(text)));
            }
            let held = state.rows.scans.iter().map(|scan| scan.held_bytes).sum::<usize>();
            let left = memory_bytes_max.saturating_sub(held);
            let scan = begin_scan(table, lent, &range.into(), options, left);
            let scan = match state.answer(scan) {
                Ok(scan) => scan,
                Err(error) => return Ok(Err(error)),
            };
            let held_bytes = scan.held_bytes;
            let number = state.rows.scans.insert(scan)?;
            // What was copied, though a scan that is never read would not need it.
            charge(host, held_bytes / COPIED_BYTES_PER_FUEL)?;
            Ok(Ok(Resource::new_own(number)))
        })
    }

    fn soch_write(
        host: Access<'_, T, Self>,
        table: Resource<contract::Table>,
        key: Vec<u8>,
        value: Vec<u8>,
    ) -> Result<Answer<()>> {
        audited(host, "rows.table.soch-write", |host| {
            charge(host, key.len() + value.len())?;
            let state = host.get();
            let (table, lent, writes) = state.rows.open(table.rep())?;
            state.audit.about(&table.name);
            if let Err(error) = table.check_write(writes) {
                return Ok(Err(error));
            }
            state.audit.carried_rows(1);
            let written = table.check_row(&key, &value);
            let written = written.and_then(|()| lent.with(|tx| tx.put(&table.name, &key, &value)));
            let answer = state.answer(written);
            charge(host, 0)?;
            Ok(answer)
        })
    }

    fn soch_write_many(
        host: Access<'_, T, Self>,
        table: Resource<contract::Table>,
        rows: Batch,
    ) -> Result<Answer<()>> {
        audited(host, "rows.table.soch-write-many", |host| {
            charge(host, rows.keys.len() + rows.values.len() + 9 * rows.states.len())?;
            let state = host.get();
            let (table, lent, writes) = state.rows.open(table.rep())?;
            state.audit.about(&table.name);
            let rows = match table.check_write(writes).and_then(|()| flat::rows(&rows)) {
                Ok(rows) => rows,
                Err(error) => return Ok(Err(error)),
            };
            state.audit.carried_rows(rows.len());
            let mut written = rows.iter().try_for_each(|(key, value)| match value {
                Some(value) => table.check_row(key, value),
                None => Ok(()),
            });
            if written.is_ok() {
                written = lent.with(|tx| tx.write_all(&table.name, &rows));
            }
            let answer = state.answer(written);
            charge(host, 0)?;
            Ok(answer)
        })
    }

    fn soch_delete(
        host: Access<'_, T, Self>,
        table: Resource<contract::Table>,
        key: Vec<u8>,
    ) -> Result<Answer<()>> {
        audited(host, "rows.table.soch-delete", |host| {
            charge(host, key.len())?;
            let state = host.get();
            let (table, lent, writes) = state.rows.open(table.rep())?;
            state.audit.about(&table.name);
            if let Err(error) = table.check_write(writes) {
                return Ok(Err(error));
            }
            state.audit.carried_rows(1);
            let deleted = lent.with(|tx| tx.delete(&table.name, &key));
            let answer = state.answer(deleted);
            charge(host, 0)?;
            Ok(answer)
        })
    }

    fn drop(host: Access<'_, T, Self>, table: Resource<contract::Table>) -> Result<()> {
        audited(host, "rows.table.drop", |host| {
            charge(host, 0)?;
            host.get().rows.tables.remove(table.rep());
            Ok(())
        })
    }
}

impl<T> contract::HostScanWithStore<T> for Host {
    fn next(
        host: Access<'_, T, Self>,
        scan: Resource<contract::Scan>,
        max_rows: u32,
        max_bytes: u32,
    ) -> Result<Answer<Batch>> {
        audited(host, "rows.scan.next", |host| {
            charge(host, 0)?;
            let (rows_max, bytes_max) = clamp_rows(max_rows, max_bytes);
            let mut batch = flat::Builder::default();
            // A filter may leave out any number of rows. They were read all the same, so they cost fuel, and the
            // deadline holds between two steps.
            loop {
                let state = host.get();
                let open = state.rows.scans.get(scan.rep())?;
                state.audit.about(&open.table);
                let (more, looked_at) = open.fill(&mut batch, rows_max, bytes_max);
                let more = state.answer(more);
                let is_late = state.deadline <= Instant::now();
                charge(host, looked_at)?;
                match more {
                    Err(error) => return Ok(Err(error)),
                    Ok(_) if is_late => return Err(Trap::Interrupt.into()),
                    Ok(true) if batch.len() == 0 => {}
                    Ok(_) => {
                        host.get().audit.carried_rows(batch.len());
                        return Ok(Ok(batch.finish()));
                    }
                }
            }
        })
    }

    fn drop(host: Access<'_, T, Self>, scan: Resource<contract::Scan>) -> Result<()> {
        audited(host, "rows.scan.drop", |host| {
            charge(host, 0)?;
            host.get().rows.scans.remove(scan.rep());
            Ok(())
        })
    }
}

fn limit(text: String) -> GuestError {
    GuestError::answer(code::LIMIT, text)
}

fn read_many(tx: &Transaction, table: &str, keys: &[&[u8]]) -> KernelResult<Found> {
    bound("the keys of one read", keys.len(), BATCH_ROWS_MAX)?;
    let mut found = Found { states: vec![], values: vec![], value_ends: vec![] };
    for key in keys {
        let value = tx.get(table, key)?;
        found.states.push(if value.is_some() { state::VALUE } else { state::UNKNOWN });
        found.values.extend_from_slice(value.as_deref().unwrap_or_default());
        bound("the bytes of values of one read", found.values.len(), BATCH_BYTES_MAX)?;
        found.value_ends.push(found.values.len() as u32);
    }
    Ok(found)
}

fn bound(what: &'static str, got: usize, bound: u32) -> KernelResult<()> {
    let (got, bound) = (got as u64, u64::from(bound));
    if got <= bound { Ok(()) } else { Err(KernelError::Limit { what, got, bound }) }
}

/// The conditions that a guest asks for on a table with `schema`.
pub(super) fn conditions(
    schema: &Schema,
    filter: Vec<contract::Condition>,
) -> KernelResult<Vec<Condition>> {
    let condition = |contract::Condition { column, op, values }| {
        let position = schema.columns.iter().position(|known| known.name == column);
        let position = position
            .ok_or_else(|| KernelError::invalid(format!("there is no column '{column}'")))?;
        let values = values.into_iter().map(Into::into).collect();
        Ok(Condition::at(schema, position, Comparison::try_from(op)?, values)?)
    };
    filter.into_iter().map(condition).collect()
}

fn begin_scan(
    table: &OpenTable,
    lent: &Lent,
    range: &KeyRange,
    options: contract::ScanOptions,
    bytes_left: usize,
) -> KernelResult<OpenScan> {
    let held_bytes = lent.with(|tx| tx.scan_bytes())?;
    if bytes_left < held_bytes {
        return Err(KernelError::Limit {
            what: "the bytes that the host holds for open scans (memory_limit_mb)",
            got: held_bytes as u64,
            bound: bytes_left as u64,
        });
    }
    let contract::ScanOptions { columns, filter, limit, reverse } = options;
    let schema = table.schema.clone();
    let (mut conditions, mut projection) = (Vec::new(), None);
    if !columns.is_empty() || !filter.is_empty() {
        let Some(schema) = &schema else {
            return Err(KernelError::invalid(format!("the table '{}' has no columns", table.name)));
        };
        conditions = self::conditions(schema, filter)?;
        if !columns.is_empty() {
            let columns: Vec<_> = columns.iter().map(String::as_str).collect();
            projection = Some(Projection::new(schema, &columns)?);
        }
    }
    let rows = lent.with(|tx| match reverse {
        false => tx.scan(&table.name, range.clone()),
        true => tx.scan_reverse(&table.name, range.clone()),
    })?;
    let left = limit.unwrap_or(u64::MAX);
    let table = table.name.clone();
    Ok(OpenScan { table, rows, schema, filter: conditions, projection, left, held_bytes })
}

impl OpenScan {
    /// Adds rows to `batch` until it is full, the scan is over (`false`), or `LOOK_BYTES_STEP` bytes were
    /// looked at. Also answers how many were.
    fn fill(
        &mut self,
        batch: &mut flat::Builder,
        rows_max: usize,
        bytes_max: usize,
    ) -> (KernelResult<bool>, usize) {
        let mut looked_at = 0;
        while batch.len() < rows_max && batch.bytes() < bytes_max && looked_at < LOOK_BYTES_STEP {
            if self.left == 0 {
                return (Ok(false), looked_at);
            }
            let Some(row) = self.rows.next() else { return (Ok(false), looked_at) };
            let selected = row.and_then(|(key, value)| {
                looked_at += key.len() + value.len() + ROW_OVERHEAD_BYTES;
                if let Some(value) = self.selected(&key, &value)? {
                    batch.push(&key, Some(&value));
                    self.left -= 1;
                }
                Ok(())
            });
            if let Err(error) = selected {
                return (Err(error), looked_at);
            }
        }
        (Ok(true), looked_at)
    }

    /// What the scan hands out of a row, if it fulfils the conditions.
    fn selected<'v>(&self, key: &[u8], value: &'v [u8]) -> KernelResult<Option<Cow<'v, [u8]>>> {
        let Some(schema) = &self.schema else { return Ok(Some(value.into())) };
        for condition in &self.filter {
            if !condition.holds(schema, key, value)? {
                return Ok(None);
            }
        }
        match &self.projection {
            Some(projection) => Ok(Some(projection.encode(schema, key, value)?.into())),
            None => Ok(Some(value.into())),
        }
    }
}

impl From<GuestRange> for KeyRange {
    fn from(range: GuestRange) -> KeyRange {
        let end = |end: Option<GuestBound>| match end {
            None => Bound::Unbounded,
            Some(bound) if bound.inclusive => Bound::Included(bound.key),
            Some(bound) => Bound::Excluded(bound.key),
        };
        KeyRange { start: end(range.start), end: end(range.end) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_on_their_way_at_once_do_not_share_the_buffer() {
        let mut rows = Rows::default();
        let (first, second) = (rows.buffered(b"first"), rows.buffered(b"second"));
        assert_eq!((&first[..], &second[..]), (&b"first"[..], &b"second"[..]));
        drop((first, second));
        assert_eq!(*rows.buffered(b"third"), b"third");
        let large = vec![7; BUFFER_BYTES_MAX + 1];
        assert_eq!(*rows.buffered(&large), large);
        assert_eq!(*rows.buffer, b"third", "a large value is not kept");
    }
}

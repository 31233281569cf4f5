//! A transaction, seen through what plugins add to it: hooks before and after rows change, and procedures.
//!
//! ```text
//!   put ──▶ before-hooks ── continue, replace ──▶ the kernel's transaction
//!              │      └──── skip: nothing happens
//!              └─────────── abort: an error, nothing happens
//!   call ─▶ savepoint ──▶ procedure ── refused, trapped ──▶ back to the savepoint
//!   commit ─▶ the kernel's commit, durable and visible ──▶ after-hooks, which only read
//! ```
//!
//! - While a guest is called, the transaction is *lent*: it moves behind a lock that the guest's imports
//!   open for each of their calls, and comes back when the guest has ended, however it ended. So what a
//!   guest reads and writes is part of the caller's transaction, and nothing is left to a guest that keeps
//!   a handle too long.
//! - A transaction works with the hooks and procedures that there were when it began.
//! - A hook does not see what it writes itself: of the plugins that are at work in a chain of calls, no
//!   hook is called.
//! - A tenant's transaction sees the tables of its namespace, without the prefix.
//! - Each row that is written to a table with indexes is marked in them, in the same transaction ([`Marks`]).

use crate::chain;
use crate::column_scan::{ColumnScan, SelectedScan, selection};
use crate::indexes::{
    Definitions, Marks, Passage, if_gone, indexed_table, is_index_table, mark, refuse_own,
};
use crate::programs::{ProgramSet, Programs};
use crate::search::{Search, Source};
use crate::tenant::Tenant;
use crate::timings::{Committing, Timings};
use crate::wasm_host_abi::{Change, ChangeKind, Decision, WasmHooks, columns_of};
use parking_lot::Mutex;
use sochdb_encoding::row::Schema;
use sochdb_encoding::select::Condition;
use sochdb_encoding::stats::StorageStats;
use sochdb_index::{
    Hit, IndexDefinition, IndexKind, IndexState, IndexStats, Lookup, TableIndexes, VectorSearch,
    Verified,
};
use sochdb_kernel::{
    Kernel, KernelError, KernelResult, KeyRange, PluginFault, Savepoint, Scan, Slice, TableInfo,
    TableOptions, Timestamp, TransactionId, TransactionOptions,
};
use sochdb_operations::{KernelCatalog, KernelStorage, KernelTransaction, Namespaced, Ttl};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Rows and bytes that a hook gets at once; one row always.
const HOOK_ROWS: usize = 1024;
const HOOK_BYTES: usize = 1 << 20;
/// What a scan costs the host, and what each row of the transaction's own that it may copy costs beside its key.
const SCAN_BYTES: usize = 4 << 10;
const SCANNED_ROW_BYTES: usize = 64;
/// Rows that are deleted at once where a range is: their keys are in memory twice meanwhile.
const DELETE_ROWS: usize = 8_192;

/// The kernel's transaction, with the names of one namespace.
type Rows = Namespaced<sochdb_kernel::Transaction>;

/// A running transaction. Dropped without [`commit`](Self::commit), it never happened.
pub struct Transaction {
    /// Absent while it is lent to a guest, and after its end.
    live: Option<Live>,
}

struct Live {
    rows: Rows,
    /// What it is committed to; absent where it only reads, and where [`Transaction::run`] commits it.
    kernel: Option<Kernel>,
    programs: Arc<ProgramSet>,
    /// The indexes that rows were marked in.
    marks: Marks,
    tenant: Option<Arc<Tenant>>,
    /// What after-hooks will be told, by table, in the order it was done.
    changes: Vec<(Arc<str>, Change)>,
    /// By how many bytes a tenant's rows grew.
    grown_bytes: i64,
    /// Bytes that `changes` holds, and may hold.
    changes_bytes: usize,
    changes_bytes_max: usize,
    /// Rows and bytes of keys that were written so far: what a scan copies of them.
    written: Written,
    /// What the above were at each savepoint that somebody asked for.
    savepoints: Vec<Mark>,
    /// What is done at writes to a table, by its name.
    watched: BTreeMap<Arc<str>, Arc<Watched>>,
}

/// How much a transaction has written.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    rows: usize,
    key_bytes: usize,
}

/// A moment to which a transaction can be rolled back.
#[derive(Clone, Copy)]
struct Mark {
    savepoint: Savepoint,
    changes: usize,
    changes_bytes: usize,
    grown_bytes: i64,
}

/// What is done at writes to one table.
struct Watched {
    name: Arc<str>,
    hooks: Vec<Arc<WasmHooks>>,
    schema: Option<Arc<Schema>>,
}

/// A row to be written: its key, and its value unless it is to be deleted.
pub type RowWrite<'a> = (&'a [u8], Option<&'a [u8]>);

/// A transaction while a guest works in it.
#[derive(Clone)]
pub(crate) struct Lent(Arc<Mutex<Transaction>>);

impl Lent {
    /// Lets `work` at the transaction.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&mut Transaction) -> KernelResult<T>,
    ) -> KernelResult<T> {
        work(&mut self.0.lock())
    }
}

/// The transaction comes back when this goes, also when the host panics.
struct Lending<'a> {
    owner: &'a mut Transaction,
    lent: Lent,
}

impl Drop for Lending<'_> {
    fn drop(&mut self) {
        self.owner.live = self.lent.0.lock().live.take();
    }
}

impl Transaction {
    /// Begins one.
    ///
    /// # Errors
    /// `Closed`.
    pub fn begin(
        kernel: &Kernel,
        programs: &Programs,
        tenant: Option<&Arc<Tenant>>,
        options: TransactionOptions,
    ) -> KernelResult<Transaction> {
        Transaction::begin_of(kernel, programs, tenant, options, Programs::now)
    }

    /// Begins one in which no hook is called and no procedure is found: to see what a plugin would do.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) fn apart(
        kernel: &Kernel,
        programs: &Programs,
        tenant: Option<&Arc<Tenant>>,
    ) -> KernelResult<Transaction> {
        let options = TransactionOptions::default();
        Transaction::begin_of(kernel, programs, tenant, options, Programs::none)
    }

    fn begin_of(
        kernel: &Kernel,
        programs: &Programs,
        tenant: Option<&Arc<Tenant>>,
        options: TransactionOptions,
        set: fn(&Programs) -> Arc<ProgramSet>,
    ) -> KernelResult<Transaction> {
        let (indexes, before) = (programs.index_catalog(), programs.index_catalog().epoch());
        let rows = kernel.begin_with(options)?;
        let marks = Marks::new(indexes, Some(before));
        let own = (!options.read_only).then(|| kernel.clone());
        Ok(Transaction::new(rows, kernel, own, set(programs), marks, tenant.cloned()))
    }

    /// Runs `f` in a transaction and commits it; after a conflict, both again.
    ///
    /// # Errors
    /// As [`Kernel::run`], and `Limit` when a tenant's rows would grow beyond its quota.
    pub fn run<T>(
        kernel: &Kernel,
        programs: &Programs,
        tenant: Option<&Arc<Tenant>>,
        options: TransactionOptions,
        mut f: impl FnMut(&mut Transaction) -> KernelResult<T>,
    ) -> KernelResult<T> {
        let (mut rest, mut passage) = (None::<Committed>, None::<Passage<'_>>);
        let indexes = programs.index_catalog();
        // What the epoch was before the next attempt begins.
        let mut before = indexes.epoch();
        // Of the first attempt: commits are timed by it.
        let first = OnceCell::<Arc<ProgramSet>>::new();
        let mut timed = None::<Committing<'_>>;
        let result = kernel.run_owned(options, |rows| {
            if let Some(timed) = timed.take() {
                timed.conflicted();
            }
            // What the attempt before has taken, it has not used.
            drop((rest.take(), passage.take()));
            let marks = Marks::new(indexes, Some(before));
            let (set, tenant) = (programs.now(), tenant.cloned());
            let timings = &first.get_or_init(|| set.clone()).timings;
            let mut tx = Transaction::new(rows, kernel, None, set, marks, tenant);
            let result = f(&mut tx);
            let live = tx.live.take().expect("a lent transaction comes back, however a guest ends");
            let (rows, mut marks, mut committed) = live.split();
            let mut result = result.and_then(|value| committed.take_storage().map(|()| value));
            rest = Some(committed);
            if !options.read_only && result.is_ok() {
                passage = Some(indexes.pass(marks.changes));
                result =
                    result.and_then(|value| marks.check(indexes, kernel, &rows).map(|()| value));
                timed = result.is_ok().then(|| timings.begin()).flatten();
            }
            before = indexes.epoch();
            (result, rows)
        });
        if let Some(timed) = timed {
            timed.end(&result);
        }
        let result = result?;
        drop(passage);
        rest.into_iter().for_each(|rest| rest.finish(kernel));
        Ok(result)
    }

    fn new(
        rows: sochdb_kernel::Transaction,
        kernel: &Kernel,
        own: Option<Kernel>,
        programs: Arc<ProgramSet>,
        marks: Marks,
        tenant: Option<Arc<Tenant>>,
    ) -> Transaction {
        let rows = match &tenant {
            Some(tenant) => Namespaced::new(rows, tenant.name()).expect("checked when it was made"),
            None => Namespaced::whole(rows),
        };
        let live = Live {
            rows,
            kernel: own,
            programs,
            marks,
            tenant,
            changes: Vec::new(),
            grown_bytes: 0,
            changes_bytes: 0,
            changes_bytes_max: kernel.options().write_set_bytes_max,
            written: Written::default(),
            savepoints: Vec::new(),
            watched: BTreeMap::new(),
        };
        Transaction { live: Some(live) }
    }

    fn live(&self) -> KernelResult<&Live> {
        self.live.as_ref().ok_or_else(ended)
    }

    fn live_mut(&mut self) -> KernelResult<&mut Live> {
        self.live.as_mut().ok_or_else(ended)
    }

    /// The transaction's number.
    ///
    /// # Errors
    /// `Closed` when it is lent to a guest, or over; so everywhere below.
    pub fn id(&self) -> KernelResult<TransactionId> {
        Ok(self.live()?.rows.id())
    }

    /// How it was begun.
    ///
    /// # Errors
    /// `Closed`.
    pub fn options(&self) -> KernelResult<TransactionOptions> {
        Ok(self.live()?.options())
    }

    /// The commit up to which it sees the database.
    ///
    /// # Errors
    /// `Closed`.
    pub fn snapshot(&self) -> KernelResult<Timestamp> {
        Ok(self.live()?.rows.snapshot())
    }

    /// The table called `name`.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn table(&self, name: &str) -> KernelResult<TableInfo> {
        self.live()?.rows.table(name)
    }

    /// Every table, sorted by name, without those that keep indexes.
    ///
    /// # Errors
    /// `Closed`.
    pub fn tables(&self) -> KernelResult<Vec<TableInfo>> {
        let mut tables = self.live()?.rows.tables()?;
        tables.retain(|table| !is_index_table(&table.name));
        Ok(tables)
    }

    /// The value of `key` in `table`, or `None`.
    ///
    /// # Errors
    /// As [`sochdb_kernel::Transaction::get`].
    pub fn get(&self, table: &str, key: &[u8]) -> KernelResult<Option<Slice>> {
        self.live()?.rows.get(table, key)
    }

    /// The rows of `range` in growing order of keys, this transaction's own writes so far included.
    ///
    /// # Errors
    /// As [`sochdb_kernel::Transaction::scan`].
    pub fn scan(&self, table: &str, range: impl Into<KeyRange>) -> KernelResult<Scan> {
        self.live()?.rows.scan(table, range.into())
    }

    /// The rows of `range` in falling order of keys.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_reverse(&self, table: &str, range: impl Into<KeyRange>) -> KernelResult<Scan> {
        self.live()?.rows.scan_reverse(table, range.into())
    }

    /// The columns named in `columns` of the rows of `range` that fulfil all `conditions`, as batches of columns,
    /// this transaction's own writes so far included. Conditions are made for the schema of the table. A storage
    /// plugin reads only the columns it needs, and skips what cannot fulfil the conditions.
    ///
    /// # Errors
    /// As [`scan`](Self::scan), and `Invalid` when the table is untyped or has no such column.
    pub fn scan_columns(
        &self,
        table: &str,
        range: impl Into<KeyRange>,
        columns: &[&str],
        conditions: Vec<Condition>,
    ) -> KernelResult<ColumnScan> {
        let (live, range) = (self.live()?, range.into());
        let selection = selection(&live.rows.table(table)?, columns, conditions)?;
        let (memory, reader) = live.rows.scan_layers(table, range.clone())?;
        if let Some(reader) = reader
            && let Some(scan) = ColumnScan::of_layers(&selection, range.clone(), memory, reader)?
        {
            return Ok(scan);
        }
        let rows = live.rows.scan_selected(table, range, false, Some(selection.clone()))?;
        Ok(ColumnScan::of_rows(&selection, rows))
    }

    /// The same, row by row, in falling order of keys if `reverse`.
    ///
    /// # Errors
    /// As [`scan_columns`](Self::scan_columns).
    pub fn scan_selected(
        &self,
        table: &str,
        range: impl Into<KeyRange>,
        columns: &[&str],
        conditions: Vec<Condition>,
        reverse: bool,
    ) -> KernelResult<SelectedScan> {
        let live = self.live()?;
        let selection = selection(&live.rows.table(table)?, columns, conditions)?;
        let rows =
            live.rows.scan_selected(table, range.into(), reverse, Some(selection.clone()))?;
        Ok(SelectedScan::new(&selection, rows))
    }

    /// What the storage plugin of `table` tells of the rows it keeps; `None` for a table in the kernel's own
    /// tree, one without rows on disk, and an engine that is no sandboxed plugin.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn storage_stats(&self, table: &str) -> KernelResult<Option<StorageStats>> {
        let (_memory, reader) = self.live()?.rows.scan_layers(table, KeyRange::all())?;
        let columns = reader.as_deref().and_then(columns_of);
        columns.map(|columns| columns.stats()).transpose()
    }

    /// How long searches take.
    pub(crate) fn timings(&self) -> KernelResult<&Timings> {
        Ok(&self.live()?.programs.timings)
    }

    /// The indexes of `table`, sorted by name, and whether each is ready or still being built.
    ///
    /// # Errors
    /// `NotFound` for the table.
    pub fn indexes(&self, table: &str) -> KernelResult<Vec<(IndexDefinition, IndexState)>> {
        let live = self.live()?;
        live.rows.table(table)?;
        let mut all = live.definitions(table)?.to_vec();
        for (index, _) in &mut all {
            index.table = table.to_owned();
        }
        all.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Whether a plugin is asked before rows of `table` are written, or told afterwards. There need be no such table.
    ///
    /// # Errors
    /// `Closed`.
    pub fn is_hooked(&self, table: &str) -> KernelResult<bool> {
        let live = self.live()?;
        Ok(!live.programs.hooks_of(live.tenant.as_deref(), table).is_empty())
    }

    /// A search for the rows of `table` that are nearest to a vector, among all that this transaction sees, its
    /// own writes so far included.
    pub fn search<'a>(&'a self, table: &'a str) -> Search<'a> {
        Search::new(Source::In(self), table)
    }

    /// The rows that `search` asks for in the index `index` of `table`, which may be left out where only one has
    /// vectors: nearest first, and by growing keys where they are equally near.
    ///
    /// # Errors
    /// `NotFound` for table and index; `Invalid` when the index has no vectors or other dimensions than the
    /// query, and when the query has a value that is no finite number, or no direction.
    pub fn vector_search(
        &self,
        table: &str,
        index: Option<&str>,
        search: &VectorSearch,
    ) -> KernelResult<Vec<Hit>> {
        let live = self.live()?;
        let index = live.vector_index(table, index)?;
        let (engine, rows) = (&live.programs.indexes.engine, live.rows.inner());
        sochdb_index::search(engine, rows, &index, search).map_err(|error| if_gone(table, error))
    }

    /// The keys of the rows of `table` that `lookup` asks for, in the order of the values in the index `index`,
    /// and of keys where these are equal.
    ///
    /// # Errors
    /// `NotFound` for table and index; `Invalid` when the index has vectors, and for values of another type than
    /// its column's.
    pub fn lookup(&self, table: &str, index: &str, lookup: &Lookup) -> KernelResult<Vec<Vec<u8>>> {
        let live = self.live()?;
        let index = live.index(table, index)?;
        let (engine, rows) = (&live.programs.indexes.engine, live.rows.inner());
        sochdb_index::lookup(engine, rows, &index, lookup).map_err(|error| if_gone(table, error))
    }

    /// What there is to know of the index `index` of `table`.
    ///
    /// # Errors
    /// `NotFound` for table and index.
    pub fn index_stats(&self, table: &str, index: &str) -> KernelResult<IndexStats> {
        let live = self.live()?;
        let index = live.index(table, index)?;
        sochdb_index::stats(&live.programs.indexes.engine, live.rows.inner(), &index)
    }

    /// Compares the index `index` of `table` with the rows.
    ///
    /// # Errors
    /// As [`index_stats`](Self::index_stats), and as [`scan`](Self::scan).
    pub fn verify_index(&self, table: &str, index: &str) -> KernelResult<Verified> {
        let live = self.live()?;
        let is_building = |(one, state): &(IndexDefinition, IndexState)| {
            one.name == index && *state == IndexState::Building
        };
        if live.definitions(table)?.iter().any(is_building) {
            let text = format!("index '{index}' of table '{table}' is still being built");
            return Err(KernelError::Invalid(text));
        }
        sochdb_index::verify(live.rows.inner(), &live.index(table, index)?)
    }

    /// The index `index` of `table`.
    pub(crate) fn index_definition(
        &self,
        table: &str,
        index: &str,
    ) -> KernelResult<IndexDefinition> {
        self.live()?.index(table, index)
    }

    /// The index that a search for vectors in `table` means.
    pub(crate) fn vector_index(
        &self,
        table: &str,
        index: Option<&str>,
    ) -> KernelResult<IndexDefinition> {
        self.live()?.vector_index(table, index)
    }

    /// Sets the value of `key` in `table`, if the hooks of the table let it.
    ///
    /// # Errors
    /// As [`sochdb_kernel::Transaction::put`]; `Plugin` when a hook aborts or fails, then nothing is written.
    pub fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> KernelResult<()> {
        self.write_all(table, &[(key, Some(value))])
    }

    /// Removes `key` from `table`, if the hooks of the table let it; nothing happens if it is not there.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&mut self, table: &str, key: &[u8]) -> KernelResult<()> {
        self.write_all(table, &[(key, None)])
    }

    /// Sets and deletes many rows in this order: all of them, or none. Where hooks are called, they get many
    /// at once.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn write_all(&mut self, table: &str, rows: &[RowWrite<'_>]) -> KernelResult<()> {
        self.all_or_none(|tx| tx.write_rows(table, rows)).map(drop)
    }

    /// Deletes the rows with these growing keys, all of which are there: all of them, or none. Returns how
    /// many are gone: fewer than keys where hooks skip or replace.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete_all(&mut self, table: &str, keys: &[Vec<u8>]) -> KernelResult<u64> {
        let rows: Vec<RowWrite<'_>> = keys.iter().map(|key| (key.as_slice(), None)).collect();
        self.all_or_none(|tx| tx.write_rows(table, &rows))
    }

    /// Deletes every row of `range` that the transaction sees, in growing order of keys: all of them, or none.
    /// Returns how many are gone. Each is a delete like any other: hooks are asked, and it counts towards the
    /// size of the transaction.
    ///
    /// # Errors
    /// As [`scan`](Self::scan) and [`put`](Self::put); `Limit` when the range has more rows than a transaction
    /// may write.
    pub fn delete_range(&mut self, table: &str, range: impl Into<KeyRange>) -> KernelResult<u64> {
        let mut rest = Some(range.into());
        self.all_or_none(|tx| {
            let mut deleted = 0;
            while let Some(range) = rest.take() {
                let (count, left) = tx.delete_first(table, range, DELETE_ROWS)?;
                deleted += count;
                rest = left;
            }
            Ok(deleted)
        })
    }

    /// Deletes the first rows of `range`, at most `rows_max`. Returns how many are gone, and the rest of the
    /// range if rows may be left in it.
    ///
    /// # Errors
    /// As [`delete_range`](Self::delete_range).
    pub fn delete_first(
        &mut self,
        table: &str,
        range: KeyRange,
        rows_max: usize,
    ) -> KernelResult<(u64, Option<KeyRange>)> {
        let rows = self.scan(table, range.clone())?.take(rows_max);
        let keys = rows.map(|row| Ok(row?.0)).collect::<KernelResult<Vec<_>>>()?;
        let rest = keys.last().filter(|_| keys.len() == rows_max);
        let rest = rest.map(|last| KeyRange { start: Bound::Excluded(last.clone()), ..range });
        Ok((self.delete_all(table, &keys)?, rest))
    }

    /// Undoes what `work` has written when it fails.
    fn all_or_none<T>(
        &mut self,
        work: impl FnOnce(&mut Transaction) -> KernelResult<T>,
    ) -> KernelResult<T> {
        let mark = self.live_mut()?.mark();
        let done = work(self);
        if done.is_err() {
            self.undo_to(mark)?;
        }
        done
    }

    /// Returns how many rows were written as they were given, deletions of what is not there included where
    /// nobody looks.
    fn write_rows(&mut self, table: &str, rows: &[RowWrite<'_>]) -> KernelResult<u64> {
        let live = self.live_mut()?;
        let indexes = live.indexes_of(table)?;
        let is_counted = live.counts_storage();
        let watched = match is_counted || !live.programs.hooks.is_empty() {
            true => Some(live.watched(table)?),
            false => None,
        };
        let Some(watched) = watched.filter(|watched| is_counted || !watched.hooks.is_empty())
        else {
            rows.iter().try_for_each(|row| live.write(table, *row, indexes.as_deref()))?;
            return Ok(rows.len() as u64);
        };
        let (mut rest, mut count) = (rows, 0);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(together(rest));
            count += self.write_watched(&watched, now, indexes.as_deref())?;
            rest = later;
        }
        Ok(count)
    }

    fn write_watched(
        &mut self,
        watched: &Watched,
        rows: &[RowWrite<'_>],
        indexes: Option<&TableIndexes>,
    ) -> KernelResult<u64> {
        let live = self.live()?;
        let mut changes = Vec::with_capacity(rows.len());
        for (key, new) in rows {
            let old = live.rows.get(&watched.name, key)?.map(|old| old.to_vec());
            let kind = match (&old, new) {
                (None, None) => continue,
                (None, Some(_)) => ChangeKind::Insert,
                (Some(_), Some(_)) => ChangeKind::Update,
                (Some(_), None) => ChangeKind::Delete,
            };
            changes.push(Change { kind, key: key.to_vec(), old, new: new.map(<[u8]>::to_vec) });
        }
        let at_work = |hooks: &Arc<WasmHooks>| chain::contains(hooks.name());
        for hooks in watched.hooks.iter().filter(|hooks| !at_work(hooks)) {
            changes = self.ask_before(hooks, watched, changes)?;
        }
        let live = self.live_mut()?;
        let tells = |change: &Change| {
            let hears = |hooks: &Arc<WasmHooks>| hooks.hears_after(&watched.name, change.kind);
            watched.hooks.iter().any(|hooks| !at_work(hooks) && hears(hooks))
        };
        let mut count = 0;
        for change in changes {
            count += u64::from(change.new.is_none() == (change.kind == ChangeKind::Delete));
            if live.counts_storage() {
                // Not what the hooks were shown: one of them may have written this row since.
                let old = live.rows.get(&watched.name, &change.key)?;
                let bytes = |value: Option<&[u8]>| {
                    value.map_or(0, |value| (change.key.len() + value.len()) as i64)
                };
                live.grown_bytes += bytes(change.new.as_deref()) - bytes(old.as_deref());
            }
            live.write(&watched.name, (&change.key, change.new.as_deref()), indexes)?;
            if tells(&change) {
                live.changes_bytes += change_bytes(&change);
                let (got, most) = (live.changes_bytes, live.changes_bytes_max);
                if most < got {
                    return Err(KernelError::Limit {
                        what: "the bytes of changes that after-hooks are told of (write_set_bytes_max)",
                        got: got as u64,
                        bound: most as u64,
                    });
                }
                live.changes.push((watched.name.clone(), change));
            }
        }
        Ok(count)
    }

    /// Asks one plugin about the changes it wants to see; returns those that are left to happen.
    fn ask_before(
        &mut self,
        hooks: &Arc<WasmHooks>,
        watched: &Watched,
        changes: Vec<Change>,
    ) -> KernelResult<Vec<Change>> {
        let wanted: Vec<_> = changes
            .iter()
            .filter(|change| hooks.hears_before(&watched.name, change.kind))
            .cloned()
            .collect();
        if wanted.is_empty() {
            return Ok(changes);
        }
        let writes = !self.options()?.read_only;
        let tenant = self.live()?.tenant.clone();
        let (name, schema) = (&watched.name, &watched.schema);
        let decisions =
            self.lend(|lent| hooks.before(tenant, lent, writes, name, schema.clone(), &wanted))?;
        let mut decisions = decisions.into_iter();
        let mut left = Vec::with_capacity(changes.len());
        for mut change in changes {
            if !hooks.hears_before(&watched.name, change.kind) {
                left.push(change);
                continue;
            }
            match decisions.next().expect("one for each change, which was checked") {
                Decision::Continue => left.push(change),
                Decision::Skip => {}
                Decision::Replace(value) => {
                    check_row(watched, hooks, &change.key, &value)?;
                    change.new = Some(value);
                    left.push(change);
                }
                Decision::Abort(reason) => {
                    return Err(KernelError::plugin(hooks.name(), PluginFault::Refused, reason));
                }
            }
        }
        Ok(left)
    }

    /// Calls a procedure, named `plugin.procedure`, or `procedure` where only one plugin has it. `args` and
    /// the answer are JSON. When it fails, what it wrote is undone and the transaction goes on.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when `args` is no JSON; `Plugin` with what the procedure answered.
    pub fn call(&mut self, procedure: &str, args: &str) -> KernelResult<String> {
        let live = self.live()?;
        let (plugin, name) = live.programs.find(live.tenant.as_deref(), procedure)?;
        self.call_plugin(&plugin, &name, args, true)
    }

    /// Calls a procedure on behalf of whoever may write, or not.
    pub(crate) fn call_plugin(
        &mut self,
        plugin: &str,
        procedure: &str,
        args: &str,
        may_write: bool,
    ) -> KernelResult<String> {
        let live = self.live_mut()?;
        let program = live.programs.procedures(live.tenant.as_deref(), plugin)?;
        let tenant = live.tenant.clone();
        let info = program.find(procedure)?;
        let writes = may_write && !info.read_only && !live.options().read_only;
        let mark = live.mark();
        let answer = self.lend(|lent| program.call(tenant, lent, writes, procedure, args));
        if answer.is_err() {
            self.undo_to(mark)?;
        }
        answer
    }

    /// Lends the transaction to a guest for as long as `work` takes.
    fn lend<T>(&mut self, work: impl FnOnce(&Lent) -> KernelResult<T>) -> KernelResult<T> {
        let lent = Lent(Arc::new(Mutex::new(Transaction { live: self.live.take() })));
        let lending = Lending { owner: self, lent };
        work(&lending.lent)
    }

    /// Lends the transaction to a guest for as long as `work` takes, and undoes what was written.
    pub(crate) fn lend_and_undo<T>(
        &mut self,
        work: impl FnOnce(&Lent) -> KernelResult<T>,
    ) -> KernelResult<T> {
        let mark = self.live_mut()?.mark();
        let answer = self.lend(work);
        self.undo_to(mark)?;
        answer
    }

    /// Makes a table. It exists for others once this transaction commits.
    ///
    /// # Errors
    /// As [`sochdb_kernel::Transaction::create_table`], and as [`Ttl::of`] when the settings say how long rows
    /// live; `Invalid` when the name is one of the database's own.
    pub fn create_table(&mut self, name: &str, options: TableOptions) -> KernelResult<()> {
        Ttl::of(&options)?;
        refuse_own(&self.live()?.rows.full(name)?)?;
        self.catalog()?.create_table(name, options)
    }

    /// Removes a table with all its rows and indexes. No hook is called.
    ///
    /// # Errors
    /// As [`sochdb_kernel::Transaction::drop_table`]; `Invalid` for a table that keeps an index.
    pub fn drop_table(&mut self, name: &str) -> KernelResult<()> {
        let live = self.live_mut()?;
        let indexes = live.index_tables(name)?;
        let bytes = if live.counts_storage() { rows_bytes(&live.rows, name)? } else { 0 };
        self.all_or_none(|tx| {
            let rows = tx.catalog()?;
            rows.drop_table(name)?;
            indexes.iter().try_for_each(|index| rows.inner_mut().drop_table(index))?;
            let live = tx.live_mut()?;
            live.grown_bytes -= bytes;
            live.marks.changes |= !indexes.is_empty();
            Ok(())
        })
    }

    /// Gives a table another name. Its indexes stay with it.
    ///
    /// # Errors
    /// As [`sochdb_kernel::Transaction::rename_table`]; `Invalid` for a table that keeps an index, and when the
    /// new name is one of the database's own, or too long for its indexes.
    pub fn rename_table(&mut self, from: &str, to: &str) -> KernelResult<()> {
        let live = self.live_mut()?;
        let (old, new) = (live.rows.full(from)?.into_owned(), live.rows.full(to)?.into_owned());
        refuse_own(&new)?;
        let indexes = live.index_tables(from)?;
        self.all_or_none(|tx| {
            let rows = tx.catalog()?;
            rows.rename_table(from, to)?;
            for index in &indexes {
                let kept = index.strip_suffix(&old).expect("it ends with the table's name");
                rows.inner_mut().rename_table(index, &format!("{kept}{new}"))?;
            }
            tx.live_mut()?.marks.changes |= !indexes.is_empty();
            Ok(())
        })
    }

    /// The catalog, about to change: nothing known of tables holds any more.
    fn catalog(&mut self) -> KernelResult<&mut Rows> {
        let live = self.live_mut()?;
        live.watched.clear();
        live.marks.catalog_changes(live.rows.inner());
        Ok(&mut live.rows)
    }

    /// Remembers this moment.
    ///
    /// # Errors
    /// `Closed`.
    pub fn savepoint(&mut self) -> KernelResult<Savepoint> {
        let live = self.live_mut()?;
        let mark = live.mark();
        if live.tenant.is_some() || !live.programs.hooks.is_empty() {
            live.savepoints.push(mark);
        }
        Ok(mark.savepoint)
    }

    /// Undoes every write since `savepoint`.
    ///
    /// # Errors
    /// As [`sochdb_kernel::Transaction::rollback_to`].
    pub fn rollback_to(&mut self, savepoint: Savepoint) -> KernelResult<()> {
        let live = self.live_mut()?;
        match live.savepoints.iter().rposition(|mark| mark.savepoint == savepoint) {
            Some(at) => {
                let mark = live.savepoints[at];
                live.savepoints.truncate(at + 1);
                self.undo_to(mark)
            }
            None => {
                live.watched.clear();
                live.marks.undone(live.rows.inner());
                live.rows.rollback_to(savepoint)
            }
        }
    }

    fn undo_to(&mut self, mark: Mark) -> KernelResult<()> {
        let live = self.live_mut()?;
        live.marks.undone(live.rows.inner());
        live.rows.rollback_to(mark.savepoint)?;
        live.watched.clear();
        live.changes.truncate(mark.changes);
        live.changes_bytes = mark.changes_bytes;
        live.grown_bytes = mark.grown_bytes;
        Ok(())
    }

    /// The most bytes of memory that a scan begun now takes for rows this transaction has written.
    pub(crate) fn scan_bytes(&self) -> KernelResult<usize> {
        let Written { rows, key_bytes } = self.live()?.written;
        Ok(SCAN_BYTES + key_bytes + rows * SCANNED_ROW_BYTES)
    }

    /// Bytes of keys and values of all its tables, all read for it: what a tenant's quota counts.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn bytes(&self) -> KernelResult<u64> {
        let live = self.live()?;
        let each = live.rows.tables()?.into_iter().map(|table| rows_bytes(&live.rows, &table.name));
        Ok(each.sum::<KernelResult<i64>>()?.unsigned_abs())
    }

    /// Ends the transaction without a trace. Dropping it does the same.
    pub fn rollback(self) {}

    /// Makes the writes durable and visible, all at once; then tells the after-hooks.
    ///
    /// # Errors
    /// As [`sochdb_kernel::Transaction::commit`], and `Limit` when a tenant's rows would grow beyond its
    /// quota. What an after-hook answers is logged: the commit stays.
    pub fn commit(mut self) -> KernelResult<Timestamp> {
        let mut live = self.live.take().ok_or_else(ended)?;
        let kernel = match live.kernel.take() {
            Some(kernel) => kernel,
            None if live.options().read_only => return live.rows.commit(),
            None => {
                let text = "whoever runs a transaction commits it, and only that one";
                return Err(KernelError::invalid(text));
            }
        };
        let (rows, mut marks, mut committed) = live.split();
        committed.take_storage()?;
        let ProgramSet { indexes, timings, .. } = &*committed.programs;
        let passage = indexes.pass(marks.changes);
        marks.check(indexes, &kernel, &rows)?;
        let timestamp = timings.commit(|| rows.commit())?;
        drop(passage);
        committed.finish(&kernel);
        Ok(timestamp)
    }
}

impl KernelStorage for Transaction {
    fn get(&self, table: &str, key: &[u8]) -> KernelResult<Option<Slice>> {
        self.get(table, key)
    }

    fn scan(&self, table: &str, range: KeyRange) -> KernelResult<Scan> {
        self.scan(table, range)
    }

    fn scan_reverse(&self, table: &str, range: KeyRange) -> KernelResult<Scan> {
        self.scan_reverse(table, range)
    }

    fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> KernelResult<()> {
        self.put(table, key, value)
    }

    fn delete(&mut self, table: &str, key: &[u8]) -> KernelResult<()> {
        self.delete(table, key)
    }
}

impl Live {
    fn options(&self) -> TransactionOptions {
        self.rows.inner().options()
    }

    fn counts_storage(&self) -> bool {
        self.tenant.as_ref().is_some_and(|tenant| tenant.counts_storage())
    }

    fn mark(&mut self) -> Mark {
        let savepoint = self.rows.savepoint();
        let Live { changes, changes_bytes, grown_bytes, .. } = self;
        let (changes, changes_bytes, grown_bytes) = (changes.len(), *changes_bytes, *grown_bytes);
        Mark { savepoint, changes, changes_bytes, grown_bytes }
    }

    fn write(
        &mut self,
        table: &str,
        (key, value): RowWrite<'_>,
        indexes: Option<&TableIndexes>,
    ) -> KernelResult<()> {
        self.written.rows += 1;
        self.written.key_bytes += key.len();
        match value {
            Some(value) => self.rows.put(table, key, value)?,
            None => self.rows.delete(table, key)?,
        }
        match indexes {
            Some(indexes) => mark(indexes, table, self.rows.inner_mut(), key, value),
            None => Ok(()),
        }
    }

    /// The indexes that writes to `table` are marked in, if it has any.
    fn indexes_of(&mut self, table: &str) -> KernelResult<Option<Arc<TableIndexes>>> {
        let Live { rows, marks, programs, .. } = self;
        marks.of_table(&programs.indexes, &rows.full(table)?, rows.inner())
    }

    /// The indexes of `table`, as they are defined, under its full name.
    fn definitions(&self, table: &str) -> KernelResult<Definitions> {
        let Live { rows, marks, programs, .. } = self;
        marks.definitions(&programs.indexes, &rows.full(table)?, rows.inner())
    }

    /// The index `name` of `table`.
    fn index(&self, table: &str, name: &str) -> KernelResult<IndexDefinition> {
        let definitions = self.definitions(table)?;
        if let Some((index, _)) = definitions.iter().find(|(index, _)| index.name == name) {
            return Ok(index.clone());
        }
        self.rows.table(table)?;
        // As a message reads: there is no index named 'meaning' of table 'docs'.
        Err(KernelError::NotFound { kind: "index", name: format!("{name}' of table '{table}") })
    }

    /// The index `name` of `table`; without a name the only one that has vectors.
    fn vector_index(&self, table: &str, name: Option<&str>) -> KernelResult<IndexDefinition> {
        if let Some(name) = name {
            return self.index(table, name);
        }
        let definitions = self.definitions(table)?;
        let has_vectors = |index: &&IndexDefinition| index.kind != IndexKind::Ordered;
        let found: Vec<_> =
            definitions.iter().map(|(index, _)| index).filter(has_vectors).collect();
        match found.as_slice() {
            [index] => Ok((*index).clone()),
            [] => {
                self.rows.table(table)?;
                Err(KernelError::Invalid(format!("table '{table}' has no index of vectors")))
            }
            several => {
                let names: Vec<_> = several.iter().map(|index| index.name.as_str()).collect();
                let text = format!(
                    "table '{table}' has several indexes of vectors: say {}",
                    names.join(" or ")
                );
                Err(KernelError::Invalid(text))
            }
        }
    }

    /// The names of the tables that keep the indexes of `table`, which is about to be dropped or renamed.
    fn index_tables(&self, table: &str) -> KernelResult<Vec<String>> {
        let table = self.rows.full(table)?;
        if is_index_table(&table) {
            let text = format!("'{table}' keeps an index, and goes with the table that it is of");
            return Err(KernelError::Invalid(text));
        }
        let all = self.rows.inner().tables()?.into_iter().map(|info| info.name);
        Ok(all.filter(|name| indexed_table(name) == Some(&*table)).collect())
    }

    fn watched(&mut self, table: &str) -> KernelResult<Arc<Watched>> {
        if let Some(watched) = self.watched.get(table) {
            return Ok(watched.clone());
        }
        let name: Arc<str> = table.into();
        let schema = self.rows.table(table)?.options.schema.map(Arc::new);
        let hooks = self.programs.hooks_of(self.tenant.as_deref(), table);
        let watched = Arc::new(Watched { name: name.clone(), hooks, schema });
        self.watched.insert(name, watched.clone());
        Ok(watched)
    }

    /// The kernel's transaction, what it has marked, and what is left to do once it is committed.
    fn split(self) -> (sochdb_kernel::Transaction, Marks, Committed) {
        let Live { rows, programs, marks, tenant, changes, grown_bytes, .. } = self;
        let committed = Committed { programs, tenant, changes, grown_bytes, taken: false };
        (rows.into_inner(), marks, committed)
    }
}

/// What a commit leaves to do once it is durable.
struct Committed {
    programs: Arc<ProgramSet>,
    tenant: Option<Arc<Tenant>>,
    changes: Vec<(Arc<str>, Change)>,
    grown_bytes: i64,
    /// Whether the tenant's storage was taken for it, and not yet used.
    taken: bool,
}

impl Drop for Committed {
    fn drop(&mut self) {
        if self.taken
            && let Some(tenant) = &self.tenant
        {
            tenant.add_storage(-self.grown_bytes);
        }
    }
}

impl Committed {
    /// Takes the storage that the commit will need.
    fn take_storage(&mut self) -> KernelResult<()> {
        if let Some(tenant) = &self.tenant {
            tenant.take_storage(self.grown_bytes)?;
            self.taken = true;
        }
        Ok(())
    }

    /// The commit is durable.
    fn finish(mut self, kernel: &Kernel) {
        self.taken = false;
        if !self.changes.is_empty()
            && let Err(error) = self.tell(kernel)
        {
            tracing::warn!(target: "sochdb::plugin", %error, "an after-hook did not take a commit");
        }
    }

    /// Tells every after-hook, table by table; the first error is returned when all have been told.
    fn tell(&self, kernel: &Kernel) -> KernelResult<()> {
        let mut result = Ok(());
        let read = TransactionOptions { read_only: true, ..TransactionOptions::default() };
        let marks = Marks::new(&self.programs.indexes, None);
        let rows = kernel.begin_with(read)?;
        let (programs, tenant) = (self.programs.clone(), self.tenant.clone());
        let mut tx = Transaction::new(rows, kernel, None, programs, marks, tenant);
        let mut rest = self.changes.as_slice();
        while let Some((table, _)) = rest.first() {
            let (now, later) = rest.split_at(told_together(rest));
            rest = later;
            // The table may be gone by now; then there is nobody to ask about its hooks.
            let watched = tx.live_mut()?.watched(table)?;
            for hooks in watched.hooks.iter().filter(|hooks| !chain::contains(hooks.name())) {
                let wanted = now.iter().map(|(_, change)| change);
                let wanted: Vec<_> = wanted
                    .filter(|change| hooks.hears_after(table, change.kind))
                    .cloned()
                    .collect();
                if wanted.is_empty() {
                    continue;
                }
                let (tenant, schema) = (self.tenant.clone(), watched.schema.clone());
                let told = tx.lend(|lent| hooks.after(tenant, lent, table, schema, &wanted));
                result = result.and(told);
            }
        }
        result
    }
}

/// How many rows of `rows` hooks get at once: as many as have growing keys, since what a row was before is
/// only right for the first of two writes to one key, and no more than make a batch.
fn together(rows: &[RowWrite<'_>]) -> usize {
    let mut bytes = 0;
    let fits = |at: &usize| {
        let (key, value) = rows[*at];
        let grows = *at == 0 || rows[at - 1].0 < key;
        bytes += key.len() + value.map_or(0, <[u8]>::len);
        *at == 0 || (grows && bytes <= HOOK_BYTES)
    };
    (0..rows.len().min(HOOK_ROWS)).take_while(fits).count()
}

/// How many of `changes`, of one table, are told at once.
fn told_together(changes: &[(Arc<str>, Change)]) -> usize {
    let mut bytes = 0;
    let fits = |at: &usize| {
        let (table, change) = &changes[*at];
        bytes += change_bytes(change);
        *at == 0 || (*table == changes[0].0 && bytes <= HOOK_BYTES)
    };
    (0..changes.len().min(HOOK_ROWS)).take_while(fits).count()
}

fn change_bytes(change: &Change) -> usize {
    let len = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
    size_of::<(Arc<str>, Change)>() + change.key.len() + len(&change.old) + len(&change.new)
}

/// Bytes of keys and values of the table `name`, all read for it.
fn rows_bytes(rows: &impl KernelStorage, name: &str) -> KernelResult<i64> {
    let mut bytes = 0;
    for row in rows.scan(name, KeyRange::all())? {
        let (key, value) = row?;
        bytes += (key.len() + value.len()) as i64;
    }
    Ok(bytes)
}

fn check_row(watched: &Watched, hooks: &WasmHooks, key: &[u8], value: &[u8]) -> KernelResult<()> {
    let Some(schema) = &watched.schema else { return Ok(()) };
    schema.decode(key, value).map(drop).map_err(|error| {
        let text = format!("its replacement is no row of the table '{}': {error}", watched.name);
        KernelError::plugin(hooks.name(), PluginFault::Lied, text)
    })
}

fn ended() -> KernelError {
    KernelError::Closed("the transaction, which is over or at work in a plugin".into())
}

//! Begin, read, write, commit, roll back: the one place where log and versions meet.
//!
//! A transaction keeps its writes to itself until `commit`, which does, in this order:
//!
//! 1. validate: no row it wrote (Serializable: or read) has a newer version, else `Conflict`;
//! 2. append its records to the log;
//! 3. insert its rows into the memtables, with a timestamp nobody reads at yet;
//! 4. wait for the log's sync, outside every lock, shared with all who wait;
//! 5. publish the timestamp.
//!
//! Steps 1 to 3 hold the commit lock, so log order, timestamp order and validation order are one. Step 5
//! comes last: no snapshot reads at a timestamp whose rows might still be lost or not yet be there.
//!
//! | level                                | reads                          | a commit conflicts when          |
//! |--------------------------------------|--------------------------------|----------------------------------|
//! | ReadCommitted                        | each call sees the newest rows | never                            |
//! | RepeatableRead, SnapshotIsolation    | one snapshot                   | a row it wrote has a newer version |
//! | Serializable                         | one snapshot                   | ... or a row or range it read has  |
//!
//! | anomaly                                                        | RC  | RR, SI | Serializable |
//! |----------------------------------------------------------------|:---:|:------:|:------------:|
//! | dirty write, aborted, intermediate or circular read, vanishing | no  | no     | no           |
//! | predicate-many-preceders, lost update, read skew               | yes | no     | no           |
//! | write skew, cycles of anti-dependencies, phantoms in decisions | yes | yes    | no           |
//! | the read-only anomaly                                          | yes | yes    | no           |
//!
//! `tests/sim/hermitage.rs` asserts each cell, both what cannot happen and what can.
//!
//! Serializable is validated backwards: what was read must still be the newest when the commit takes its
//! place in the order, so the order of commits *is* the serial order. Transactions that wrote nothing
//! read a prefix of that order and never conflict.

use crate::catalog::{self, CATALOG, TableInfo, TableOptions};
use crate::engine::Inner;
use crate::error::{KernelError, KernelResult, bound};
use crate::kernel_api::{IsolationLevel, KeyRange, Slice, TableId, Timestamp, TransactionId};
use crate::limits::{FRAME_PAYLOAD_BYTES_TARGET, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::mvcc::memtable::Memtable;
use crate::mvcc::merge::{Merged, Source};
use crate::mvcc::version::{Base, TableVersion, Version};
use crate::pins::Pin;
use crate::plugin::{Selection, StorageReader};
use crate::wal::{Durability, WalRecord};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How a transaction behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionOptions {
    /// Which anomalies it is protected from.
    pub isolation: IsolationLevel,
    /// When its commit counts as done; `None` for the database's own setting.
    pub durability: Option<Durability>,
    /// Whether it refuses to write.
    pub read_only: bool,
    /// How long it may take, in microseconds of the clock, from begin to the call of commit.
    pub timeout_us: Option<u64>,
}

/// A point in a transaction to which it can be rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Savepoint {
    transaction: TransactionId,
    undo: usize,
}

type Writes = BTreeMap<TableId, BTreeMap<Vec<u8>, Option<Slice>>>;

/// A table found by its name: one of the version, or one that the transaction itself made.
type Resolved<'v> = Cow<'v, Arc<TableInfo>>;

/// One write, as it was before: what rolling back to a savepoint puts back.
type Undo = (TableId, Vec<u8>, Option<Option<Slice>>);

/// What a serializable transaction has read.
#[derive(Default)]
struct Reads {
    keys: BTreeSet<(TableId, Vec<u8>)>,
    ranges: Vec<(TableId, KeyRange)>,
}

/// A running transaction. Dropped without [`commit`](Self::commit), it never happened.
pub struct Transaction {
    inner: Arc<Inner>,
    id: TransactionId,
    options: TransactionOptions,
    version: Arc<Version>,
    snapshot: Timestamp,
    writes: Writes,
    write_bytes: usize,
    /// What a savepoint would put back: nothing before there is one.
    undo: Vec<Undo>,
    undoes: bool,
    /// Tables it made, with the rows that were loaded into them; they are in no version yet.
    created: BTreeMap<TableId, Option<Base>>,
    reads: Mutex<Reads>,
    /// Registered as a writer whose snapshot the conflict window must cover.
    registered: bool,
    finished: bool,
    started_us: u64,
}

/// The rows of a range, as [`Transaction::scan`] found them.
pub struct Scan {
    merged: Merged,
    failed: bool,
    /// What is read here is not used again before the scan ends.
    _pin: Arc<Pin>,
}

impl Scan {
    /// The next row. In [`Transaction::scan_layers`] also those that say that their key was deleted.
    ///
    /// # Errors
    /// `Corrupt`, or a plugin's failure.
    pub fn next_row(&mut self) -> KernelResult<Option<(Vec<u8>, Option<Slice>)>> {
        self.merged.next()
    }
}

impl Iterator for Scan {
    type Item = KernelResult<(Vec<u8>, Slice)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.merged.next().inspect_err(|_| self.failed = true).transpose()?;
        Some(row.map(|(key, value)| (key, value.expect("only live rows were asked for"))))
    }
}

impl Transaction {
    pub(crate) fn begin(
        inner: Arc<Inner>,
        options: TransactionOptions,
        ahead: bool,
    ) -> KernelResult<Transaction> {
        inner.check_open()?;
        let registered = !options.read_only;
        let (version, snapshot) = inner.pin(registered, ahead);
        let started_us = options.timeout_us.map_or(0, |_| inner.env.clock.monotonic_us());
        Ok(Transaction {
            id: inner.next_transaction_id(),
            inner,
            options,
            version,
            snapshot,
            writes: Writes::new(),
            write_bytes: 0,
            undo: Vec::new(),
            undoes: false,
            created: BTreeMap::new(),
            reads: Mutex::default(),
            registered,
            finished: false,
            started_us,
        })
    }

    /// The transaction's number.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// How it was begun.
    pub fn options(&self) -> TransactionOptions {
        self.options
    }

    /// The commit up to which this transaction sees the database.
    pub fn snapshot(&self) -> Timestamp {
        self.snapshot
    }

    /// What a read made now sees. Borrowed, not counted: threads would fetch the counter from each other.
    fn view(&self) -> KernelResult<(Cow<'_, Arc<Version>>, Timestamp)> {
        self.inner.check_open()?;
        self.check_time()?;
        match self.options.isolation {
            IsolationLevel::ReadCommitted => {
                let (version, at) = self.inner.pin(false, false);
                Ok((Cow::Owned(version), at))
            }
            _ => Ok((Cow::Borrowed(&self.version), self.snapshot)),
        }
    }

    fn check_time(&self) -> KernelResult<()> {
        let Some(timeout_us) = self.options.timeout_us else { return Ok(()) };
        let took = self.inner.env.clock.monotonic_us().saturating_sub(self.started_us);
        let small = |us: u64| usize::try_from(us).unwrap_or(usize::MAX);
        bound("microseconds of a transaction", small(took), small(timeout_us))
    }

    fn is_serializable(&self) -> bool {
        self.options.isolation == IsolationLevel::Serializable && !self.options.read_only
    }

    /// The table called `name`.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn table(&self, name: &str) -> KernelResult<TableInfo> {
        Ok((**self.resolve(&self.view()?.0, name)?).clone())
    }

    /// Every table, sorted by name.
    ///
    /// # Errors
    /// `Closed`.
    pub fn tables(&self) -> KernelResult<Vec<TableInfo>> {
        let (version, _) = self.view()?;
        let mut tables: BTreeMap<String, TableInfo> =
            version.names.iter().map(|(name, info)| (name.clone(), (**info).clone())).collect();
        for (key, row) in self.writes.get(&CATALOG).into_iter().flatten() {
            let name = catalog::name_of(key)?;
            match row {
                Some(row) => tables.insert(name.to_owned(), TableInfo::decode(name, row)?),
                None => tables.remove(name),
            };
        }
        Ok(tables.into_values().collect())
    }

    fn resolve<'v>(&self, version: &'v Version, name: &str) -> KernelResult<Resolved<'v>> {
        if self.is_serializable() {
            self.reads.lock().keys.insert((CATALOG, catalog::table_key(name)));
        }
        let missing = || KernelError::NotFound { kind: "table", name: name.to_owned() };
        let own = self.writes.get(&CATALOG).and_then(|own| own.get(&catalog::table_key(name)));
        let Some(row) = own else {
            return version.names.get(name).map(Cow::Borrowed).ok_or_else(missing);
        };
        let info = TableInfo::decode(name, row.as_ref().ok_or_else(missing)?)?;
        Ok(Cow::Owned(Arc::new(info)))
    }

    /// The value of `key` in `table`, or `None`.
    ///
    /// # Errors
    /// `NotFound` for the table, `Corrupt`, or a plugin's failure.
    pub fn get(&self, table: &str, key: &[u8]) -> KernelResult<Option<Slice>> {
        let (version, at) = self.view()?;
        let info = self.resolve(&version, table)?;
        if let Some(own) = self.writes.get(&info.id).and_then(|rows| rows.get(key)) {
            return Ok(own.clone());
        }
        if self.is_serializable() {
            self.reads.lock().keys.insert((info.id, key.to_vec()));
        }
        match version.tables.get(&info.id) {
            Some(rows) => rows.get(&self.inner.access, &info, key, at),
            None => Ok(None),
        }
    }

    /// The rows of `range` in growing order of keys, this transaction's own writes so far included.
    ///
    /// # Errors
    /// `NotFound` for the table, `Corrupt`, or a plugin's failure; each row may fail as well.
    pub fn scan(&self, table: &str, range: impl Into<KeyRange>) -> KernelResult<Scan> {
        self.scan_selected(table, range, false, None)
    }

    /// The rows of `range` in falling order of keys.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_reverse(&self, table: &str, range: impl Into<KeyRange>) -> KernelResult<Scan> {
        self.scan_selected(table, range, true, None)
    }

    /// What `selection` gives out of the rows of `range`, in falling order of keys if `reverse`.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_selected(
        &self,
        table: &str,
        range: impl Into<KeyRange>,
        reverse: bool,
        selection: Option<Arc<Selection>>,
    ) -> KernelResult<Scan> {
        let range = range.into();
        let (mut sources, info, rows, pin) = self.memory(table, &range, reverse)?;
        if let Some(rows) = &rows {
            let access = &self.inner.access;
            let base = rows.base_source(access, &info, &range, reverse, selection.clone())?;
            sources.push(base);
        }
        if let Some(selection) = selection {
            let select = |source| match source {
                Source::Plugin { .. } => source,
                _ => Source::Selected(Box::new(source), selection.clone()),
            };
            sources = sources.into_iter().map(select).collect();
        }
        Ok(Scan { merged: Merged::new(sources, reverse, true), failed: false, _pin: pin })
    }

    /// The two layers of a table of a storage plugin: the rows of `range` that are only in memory, deletions
    /// included, for [`Scan::next_row`]; and what reads all others, if there are any, as long as the scan lives.
    /// A table in the kernel's own tree has no such reader.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_layers(
        &self,
        table: &str,
        range: impl Into<KeyRange>,
    ) -> KernelResult<(Scan, Option<Arc<dyn StorageReader>>)> {
        let (sources, info, rows, pin) = self.memory(table, &range.into(), false)?;
        let reader = rows.and_then(|rows| rows.reader(&self.inner.access, &info).transpose());
        let scan = Scan { merged: Merged::new(sources, false, false), failed: false, _pin: pin };
        Ok((scan, reader.transpose()?))
    }

    /// The rows of `range` that are in memory, from new to old, with the table and its other rows.
    #[allow(clippy::type_complexity, reason = "the parts of a scan, for the two functions above")]
    fn memory(
        &self,
        table: &str,
        range: &KeyRange,
        reverse: bool,
    ) -> KernelResult<(Vec<Source>, Arc<TableInfo>, Option<Arc<TableVersion>>, Arc<Pin>)> {
        let (version, at) = self.view()?;
        let info = self.resolve(&version, table)?.into_owned();
        if self.is_serializable() {
            self.reads.lock().ranges.push((info.id, range.clone()));
        }
        let mut sources = Vec::new();
        if let Some(own) = self.writes.get(&info.id)
            && !range.is_empty()
        {
            let bounds = (range.start.clone(), range.end.clone());
            let rows = own.range(bounds).map(|(key, value)| (key.clone(), value.clone()));
            let mut rows: Vec<_> = rows.collect();
            if reverse {
                rows.reverse();
            }
            sources.push(Source::Writes(rows.into_iter()));
        }
        let rows = version.tables.get(&info.id).cloned();
        sources.extend(rows.iter().flat_map(|rows| rows.memory(at, range, reverse)));
        Ok((sources, info, rows, version.pin.clone()))
    }

    /// Sets the value of `key` in `table`.
    ///
    /// # Errors
    /// `NotFound` for the table, `Limit` when key, value or transaction are too large, `Invalid` in a
    /// read-only transaction.
    pub fn put(&mut self, table: &str, key: &[u8], value: &[u8]) -> KernelResult<()> {
        bound("bytes of a value", value.len(), VALUE_BYTES_MAX)?;
        let id = self.writable(table, key)?;
        self.write(id, key.to_vec(), Some(value.into()))
    }

    /// Removes `key` from `table`; nothing happens if it is not there.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&mut self, table: &str, key: &[u8]) -> KernelResult<()> {
        let id = self.writable(table, key)?;
        self.write(id, key.to_vec(), None)
    }

    fn writable(&self, table: &str, key: &[u8]) -> KernelResult<TableId> {
        bound("bytes of a key", key.len(), KEY_BYTES_MAX)?;
        self.check_writable()?;
        Ok(self.resolve(&self.view()?.0, table)?.id)
    }

    fn check_writable(&self) -> KernelResult<()> {
        self.inner.check_writable()?;
        if self.options.read_only {
            let text = "this transaction is read-only; begin one that writes";
            return Err(KernelError::invalid(text));
        }
        Ok(())
    }

    fn write(&mut self, table: TableId, key: Vec<u8>, value: Option<Slice>) -> KernelResult<()> {
        // What maps and vectors cost, measured; for savepoints the key is kept twice.
        let len = if self.undoes { 2 * key.len() + 192 } else { key.len() + 128 };
        let cost = |value: &Option<Slice>| len + value.as_ref().map_or(0, |value| value.len());
        let total = self.write_bytes + cost(&value);
        bound("bytes of a transaction", total, self.inner.options.write_set_bytes_max)?;
        let copy = self.undoes.then(|| key.clone());
        let before = self.writes.entry(table).or_default().insert(key, value);
        self.write_bytes = total - before.as_ref().filter(|_| !self.undoes).map_or(0, cost);
        self.undo.extend(copy.map(|key| (table, key, before)));
        Ok(())
    }

    /// Makes a table. It exists for others once this transaction commits.
    ///
    /// # Errors
    /// `Invalid` when the name is taken or cannot be one, `Plugin` when the storage engine or codec that
    /// `options` name is not loaded.
    pub fn create_table(&mut self, name: &str, options: TableOptions) -> KernelResult<()> {
        self.check_writable()?;
        catalog::check_name(name)?;
        catalog::check_options(&options)?;
        if let Some(codec) = &options.codec {
            self.inner.plugins.compression(codec)?;
        }
        let (id, name) = (self.inner.next_table_id()?, name.to_owned());
        let info = TableInfo { id, name, rows_loaded: 0, options };
        if let Some(storage) = &info.options.storage {
            // So that it can refuse settings that make no sense.
            self.inner.plugins.storage(storage)?.open(&info.context(), &[])?;
        }
        self.make_table(&info, None)
    }

    /// Makes the table `info`, whose rows are in `base` already.
    pub(crate) fn adopt(&mut self, info: &TableInfo, base: Base) -> KernelResult<()> {
        self.check_writable()?;
        self.make_table(info, Some(base))
    }

    fn make_table(&mut self, info: &TableInfo, base: Option<Base>) -> KernelResult<()> {
        self.refuse_taken(&info.name)?;
        self.created.insert(info.id, base);
        self.write(CATALOG, catalog::table_key(&info.name), Some(info.encode().into()))
    }

    /// The loaded rows of a table that it made.
    pub(crate) fn loaded(&self, id: TableId) -> Option<Base> {
        self.created.get(&id).cloned().flatten()
    }

    fn refuse_taken(&self, name: &str) -> KernelResult<()> {
        match self.table(name) {
            Ok(_) => Err(KernelError::Invalid(format!("a table named '{name}' exists already"))),
            Err(_) => Ok(()),
        }
    }

    /// Removes a table with all its rows.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn drop_table(&mut self, name: &str) -> KernelResult<()> {
        self.check_writable()?;
        let info = self.table(name)?;
        for (key, value) in self.writes.remove(&info.id).into_iter().flatten() {
            self.undo.push((info.id, key, Some(value)));
        }
        self.write(CATALOG, catalog::table_key(name), None)
    }

    /// Gives the table `from` the name `to`.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` when `to` is taken or cannot be a name.
    pub fn rename_table(&mut self, from: &str, to: &str) -> KernelResult<()> {
        self.check_writable()?;
        catalog::check_name(to)?;
        let info = self.table(from)?;
        self.refuse_taken(to)?;
        let info = TableInfo { name: to.to_owned(), ..info };
        self.write(CATALOG, catalog::table_key(from), None)?;
        self.write(CATALOG, catalog::table_key(to), Some(info.encode().into()))
    }

    /// Remembers this moment.
    pub fn savepoint(&mut self) -> Savepoint {
        self.undoes = true;
        Savepoint { transaction: self.id, undo: self.undo.len() }
    }

    /// Undoes every write since `savepoint`, which stays valid.
    ///
    /// # Errors
    /// `Invalid` when the savepoint is another transaction's, or lies behind one already rolled back to.
    pub fn rollback_to(&mut self, savepoint: Savepoint) -> KernelResult<()> {
        if savepoint.transaction != self.id || self.undo.len() < savepoint.undo {
            return Err(KernelError::invalid("this savepoint is not this transaction's any more"));
        }
        while savepoint.undo < self.undo.len() {
            let (table, key, before) = self.undo.pop().expect("counted");
            let rows = self.writes.entry(table).or_default();
            match before {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }

    /// Ends the transaction without a trace. Dropping it does the same.
    pub fn rollback(self) {}

    /// Makes the writes durable and visible, all at once, and returns when that was.
    ///
    /// # Errors
    /// `Conflict`: nothing happened, run it again. `Unavailable` or `Limit`: nothing happened. `Closed`: the
    /// log failed; whether the commit is on disk shows when the database is opened again.
    pub fn commit(self) -> KernelResult<Timestamp> {
        let (inner, wrote) = (self.inner.clone(), !self.writes.is_empty());
        let result = self.commit_only();
        if wrote && result.is_ok() {
            inner.checkpoint_after_commit();
        }
        result
    }

    /// A commit after which no checkpoint runs.
    pub(crate) fn commit_only(mut self) -> KernelResult<Timestamp> {
        self.check_time()?;
        self.writes.retain(|_, rows| !rows.is_empty());
        self.finished = true;
        if self.writes.is_empty() {
            self.inner.counts.commits.add(1);
            return Ok(self.snapshot);
        }
        let inner = self.inner.clone();
        let result =
            inner.commit(&self, self.options.durability.unwrap_or(inner.options.durability));
        // Its snapshot must not hold back what a checkpoint may let go.
        drop(self);
        match &result {
            Ok(_) => inner.counts.commits.add(1),
            Err(error) if error.is_retryable() => inner.counts.conflicts.add(1),
            Err(_) => inner.counts.rollbacks.add(1),
        }
        result
    }

    /// The tables and rows written, for the engine.
    pub(crate) fn writes(&self) -> &BTreeMap<TableId, BTreeMap<Vec<u8>, Option<Slice>>> {
        &self.writes
    }

    /// Step 1 of a commit: nothing it depends on has changed. Called under the commit lock.
    pub(crate) fn validate(&self, current: &Version, window_start: Timestamp) -> KernelResult<()> {
        let conflict = |text: String| Err(KernelError::Conflict(text));
        let is_gone =
            |id: &&TableId| !current.tables.contains_key(id) && !self.created.contains_key(id);
        if let Some(table) = self.writes.keys().find(is_gone) {
            return conflict(format!("table {table} was dropped"));
        }
        let read_committed = self.options.isolation == IsolationLevel::ReadCommitted;
        if read_committed && !self.writes.contains_key(&CATALOG) {
            return Ok(());
        }
        if self.snapshot < window_start {
            return conflict(format!("the snapshot at {} is too old to be checked", self.snapshot));
        }
        let newer = |id: &TableId, changed: &dyn Fn(&Memtable) -> bool| {
            let table = current.tables.get(id);
            table.is_some_and(|table| table.newer_than(self.snapshot).any(|m| changed(m)))
        };
        let changed = |id: &TableId, key: &Vec<u8>| {
            newer(id, &|memtable| Some(self.snapshot) < memtable.newest_of(key))
        };
        // Two tables of one name would lose one of them, so the catalog is checked at every level.
        let checked = self.writes.iter().filter(|(id, _)| !read_committed || **id == CATALOG);
        for (id, rows) in checked {
            if let Some(key) = rows.keys().find(|key| changed(id, key)) {
                let key = key.escape_ascii();
                return conflict(format!("a row of table {id} was written first: {key}"));
            }
        }
        let reads = self.reads.lock();
        if let Some((id, key)) = reads.keys.iter().find(|(id, key)| changed(id, key)) {
            let key = key.escape_ascii();
            return conflict(format!("a row of table {id} was read, then changed: {key}"));
        }
        let changed = |id, range| newer(id, &|memtable| memtable.has_newer(range, self.snapshot));
        match reads.ranges.iter().find(|(id, range)| changed(id, range)) {
            Some((id, _)) => conflict(format!("a range of table {id} was read, then changed")),
            None => Ok(()),
        }
    }

    /// Step 2 of a commit: its records, as payloads of log frames.
    pub(crate) fn payloads(&self, timestamp: Timestamp) -> Vec<Vec<u8>> {
        let begin = || self.id.0.to_le_bytes().to_vec();
        let mut payloads = vec![begin()];
        // More than it needs, and the memory is asked for once.
        payloads[0].reserve(self.write_bytes.min(FRAME_PAYLOAD_BYTES_TARGET) + 64);
        let rows = self.writes.values().map(BTreeMap::len).sum::<usize>() as u64;
        WalRecord::Begin { snapshot: self.snapshot }.encode(&mut payloads[0]);
        for (&table, writes) in &self.writes {
            for (key, value) in writes {
                let record = match value {
                    Some(value) => WalRecord::Put { table, key, value },
                    None => WalRecord::Delete { table, key },
                };
                let bytes = key.len() + value.as_ref().map_or(0, |value| value.len());
                let last = payloads.last_mut().expect("never empty");
                if 64 < last.len() && FRAME_PAYLOAD_BYTES_TARGET < last.len() + bytes {
                    payloads.push(begin());
                }
                record.encode(payloads.last_mut().expect("never empty"));
            }
        }
        WalRecord::Commit { timestamp, rows }.encode(payloads.last_mut().expect("never empty"));
        payloads
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.registered {
            self.inner.unregister(self.snapshot);
        }
        if !self.finished && !self.options.read_only {
            self.inner.counts.rollbacks.add(1);
        }
    }
}

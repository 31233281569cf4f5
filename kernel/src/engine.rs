//! The open database: the state that transactions, checkpoints and recovery share, and its locks.
//!
//! | lock         | guards                                                   | held                            |
//! |--------------|----------------------------------------------------------|---------------------------------|
//! | `checkpoint` | free pages, meta record, stored bases                    | for a whole checkpoint          |
//! | `commit`     | the order of commits: timestamp, log position, memtables | for microseconds; DDL: its sync |
//! | `writers`    | snapshots of writing transactions                        | for an instant                  |
//! | `version`    | which version is current                                 | for an instant                  |
//!
//! They are taken in this order, top to bottom; any may be skipped. The log has a lock of its own, below
//! all of them. Readers take `version` once, when they begin.

use crate::boot::{BootObserver, RecoveryMode};
use crate::catalog::{CATALOG, Codecs, StoredBase, TableInfo, name_of};
use crate::checkpoint::CheckpointReport;
use crate::environment::Environment;
use crate::error::{KernelError, KernelResult, PluginFault, bound};
use crate::kernel_api::{TableId, Timestamp, TransactionId};
use crate::limits::{RUN_ATTEMPTS_MAX, TABLES_MADE_MAX};
use crate::mvcc::version::{Access, Base, TableVersion, Version};
use crate::page::meta::Meta;
use crate::page::space::Space;
use crate::pins::Pins;
use crate::plugin::PluginManager;
use crate::recovery::RecoveryReport;
use crate::stats::Counts;
use crate::transaction::{Transaction, TransactionOptions};
use crate::vfs::VfsLock;
use crate::wal::{Durability, WalManager};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Make a new database where there is none.
    pub create: bool,
    /// Refuse every change, and change nothing on disk while opening.
    pub read_only: bool,
    /// What opening does about damage.
    pub recovery: RecoveryMode,
    /// When a commit counts as done, unless the transaction says otherwise.
    pub durability: Durability,
    /// Rows not yet checkpointed may take this much memory; then a checkpoint is due. Up to as much again
    /// gathers while it runs, and twice as much is kept while old transactions may still be validated.
    pub memtable_bytes_max: usize,
    /// The embedder promises to call [`Kernel::checkpoint`] when [`Kernel::checkpoint_due`]. Without the
    /// promise the commit that passes the bound runs the checkpoint; with it, only at twice the bound.
    pub background_checkpoints: bool,
    /// Pages, blocks and large values kept in memory.
    pub cache_bytes_max: usize,
    /// The size that a log file grows to.
    pub wal_segment_bytes: usize,
    /// Keep released log files in the folder `archive` instead of using them again: whoever reads
    /// the log ([`Kernel::pin_log`]) from long ago finds them there, and removes them when nobody does.
    pub wal_archive: bool,
    /// Memory that one transaction's writes may take; about three times as much while it commits.
    pub write_set_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            create: true,
            read_only: false,
            recovery: RecoveryMode::Strict,
            durability: Durability::Fsync,
            memtable_bytes_max: 64 << 20,
            background_checkpoints: false,
            cache_bytes_max: 64 << 20,
            wal_segment_bytes: 4 << 20,
            wal_archive: false,
            write_set_bytes_max: 256 << 20,
        }
    }
}

/// What commits are ordered by.
pub(crate) struct CommitState {
    /// The newest timestamp given out.
    pub last: Timestamp,
    /// The log position behind the newest commit that must be synced before anything later is visible.
    pub sync_floor: u64,
    /// Snapshots before this can no longer be validated.
    pub window_start: Timestamp,
}

/// What checkpoints own.
pub(crate) struct CheckpointState {
    pub meta: Meta,
    pub space: Space,
    pub pins: Pins,
    pub bases: BTreeMap<TableId, StoredBase>,
    /// How many codecs the catalog on disk knows.
    pub codecs_stored: usize,
}

impl CheckpointState {
    /// What the statistics say of it.
    pub fn sizes(&self) -> [u64; 3] {
        let free = self.space.extents().map(|(_, pages)| pages).sum();
        [self.meta.lsn, self.space.pages, free]
    }
}

/// The shared state of one open database.
pub(crate) struct Inner {
    pub env: Environment,
    pub options: Options,
    pub plugins: Arc<PluginManager>,
    pub codecs: Arc<Codecs>,
    pub access: Access,
    pub wal: WalManager,
    pub checkpoint: Mutex<CheckpointState>,
    pub commit: Mutex<CommitState>,
    /// As of the last checkpoint: the LSN replay would begin at, pages, and pages that hold nothing.
    pub sizes: Mutex<[u64; 3]>,
    pub writers: Mutex<BTreeMap<Timestamp, usize>>,
    pub version: RwLock<Arc<Version>>,
    /// The newest timestamp that snapshots may read at.
    pub visible: AtomicU64,
    pub next_txn: AtomicU64,
    pub next_table: AtomicU64,
    pub next_segment: Arc<AtomicU64>,
    /// Bytes of all memtables, and of those that no checkpoint has frozen yet.
    pub memtable_bytes: Arc<AtomicUsize>,
    pub active_bytes: AtomicUsize,
    /// When `FsyncDelayed` bytes must be on disk, in microseconds of the clock; `u64::MAX` for never.
    pub sync_deadline: AtomicU64,
    /// Why the last checkpoint failed, if it did.
    pub stalled: RwLock<Option<Arc<str>>>,
    pub counts: Arc<Counts>,
    pub recovery: RecoveryReport,
    pub closed: AtomicBool,
    pub lock: Mutex<Option<Box<dyn VfsLock>>>,
}

impl Inner {
    pub fn check_open(&self) -> KernelResult<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(KernelError::Closed("the database was closed".to_owned()));
        }
        Ok(())
    }

    pub fn check_writable(&self) -> KernelResult<()> {
        self.check_open()?;
        if self.options.read_only {
            return Err(KernelError::invalid("the database was opened read-only"));
        }
        self.wal.check()
    }

    pub fn next_transaction_id(&self) -> TransactionId {
        TransactionId(self.next_txn.fetch_add(1, Ordering::Relaxed))
    }

    pub fn next_table_id(&self) -> KernelResult<TableId> {
        let id = self.next_table.fetch_add(1, Ordering::Relaxed);
        bound("tables ever made", usize::try_from(id).unwrap_or(usize::MAX), TABLES_MADE_MAX)?;
        Ok(TableId(id))
    }

    /// The current version and the newest timestamp it may be read at. With `register`, later rows are
    /// kept for validation until [`unregister`](Self::unregister). With `ahead`, the timestamp is the
    /// newest that was given out: nobody may learn what was read before [`publish`](Self::publish).
    pub fn pin(&self, register: bool, ahead: bool) -> (Arc<Version>, Timestamp) {
        let commit = ahead.then(|| self.commit.lock());
        let mut writers = register.then(|| self.writers.lock());
        // Under the lock: a version that is installed later may hold a base newer than the timestamp.
        let version = self.version.read();
        let visible = || Timestamp(self.visible.load(Ordering::Acquire));
        let snapshot = commit.as_ref().map_or_else(visible, |commit| commit.last);
        if let Some(writers) = &mut writers {
            *writers.entry(snapshot).or_default() += 1;
        }
        (version.clone(), snapshot)
    }

    pub fn unregister(&self, snapshot: Timestamp) {
        let mut writers = self.writers.lock();
        let count = writers.get_mut(&snapshot).expect("registered when it began");
        *count -= 1;
        if *count == 0 {
            writers.remove(&snapshot);
        }
    }

    /// The five steps of a commit; `transaction.rs` tells why in this order.
    pub fn commit(&self, tx: &Transaction, durability: Durability) -> KernelResult<Timestamp> {
        let mut state = self.commit.lock();
        self.check_writable()?;
        let current = self.version.read().clone();
        tx.validate(&current, state.window_start)?;
        self.refuse_stuck(tx, &current)?;
        let timestamp = Timestamp(state.last.0 + 1);
        let lsn = self.wal.ends().0;
        let end = self.wal.append(&tx.payloads(timestamp))?;
        state.last = timestamp;
        let floor = state.sync_floor;
        if durability == Durability::Fsync {
            state.sync_floor = end;
        }
        if tx.writes().contains_key(&CATALOG) {
            // Changes of the catalog make a new version. They keep the commit lock until it is installed,
            // so that names and rows become visible at one moment.
            self.settle(end, floor, durability)?;
            let next = Arc::new(self.with_catalog_changes(&current, tx)?);
            self.insert(tx, &next, timestamp, lsn);
            let mut version = self.version.write();
            *version = next;
            self.visible.fetch_max(timestamp.0, Ordering::AcqRel);
            return Ok(timestamp);
        }
        self.insert(tx, &current, timestamp, lsn);
        drop(state);
        self.settle(end, floor, durability)?;
        self.visible.fetch_max(timestamp.0, Ordering::AcqRel);
        Ok(timestamp)
    }

    /// Refuses writes that no checkpoint would take out of memory again: all of them while checkpoints
    /// fail, those to one table while its storage fails.
    fn refuse_stuck(&self, tx: &Transaction, current: &Version) -> KernelResult<()> {
        let memory = self.memtable_bytes.load(Ordering::Relaxed);
        if self.options.memtable_bytes_max.saturating_mul(2) < memory
            && let Some(why) = &*self.stalled.read()
        {
            return Err(KernelError::unavailable(format!(
                "write: checkpoints keep failing ({why}) and {memory} bytes wait in memory"
            )));
        }
        for id in tx.writes().keys() {
            let Some(table) = current.tables.get(id) else { continue };
            let Some(why) = &table.stuck else { continue };
            let bytes: usize = table.frozen.iter().chain([&table.active]).map(|m| m.bytes()).sum();
            if self.options.memtable_bytes_max < bytes {
                return Err(KernelError::unavailable(format!(
                    "write to table {id}: its storage keeps failing ({why}) and {bytes} bytes wait in \
                     memory; mend or replace the plugin"
                )));
            }
        }
        Ok(())
    }

    fn insert(&self, tx: &Transaction, version: &Version, timestamp: Timestamp, lsn: u64) {
        let mut bytes = 0;
        for (id, rows) in tx.writes() {
            let Some(table) = version.tables.get(id) else { continue };
            let before = table.active.bytes();
            for (key, value) in rows {
                table.active.insert(key, timestamp, value.clone(), lsn);
            }
            bytes += table.active.bytes() - before;
            let put = rows.values().flatten().count() as u64;
            self.counts.rows_put.add(put);
            self.counts.rows_deleted.add(rows.len() as u64 - put);
        }
        self.active_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Makes the log durable up to `end` as `durability` asks. What is published afterwards publishes all
    /// earlier commits too, so those that asked for a sync (up to `floor`) must have had it.
    fn settle(&self, end: u64, floor: u64, durability: Durability) -> KernelResult<()> {
        match durability {
            Durability::Fsync => return self.wal.wait(end, true),
            Durability::None => {}
            Durability::FsyncDelayed(us) => {
                let deadline = self.env.clock.monotonic_us().saturating_add(us);
                self.sync_deadline.fetch_min(deadline, Ordering::AcqRel);
            }
        }
        self.wal.wait(end, false)?;
        self.wal.wait(floor, true)?;
        self.sync_due()
    }

    /// Publishes every commit so far, when each is as durable as it asked to be.
    pub fn publish(&self) -> KernelResult<()> {
        let state = self.commit.lock();
        let (last, floor, end) = (state.last, state.sync_floor, self.wal.ends().0);
        drop(state);
        self.wal.wait(end, false)?;
        self.wal.wait(floor, true)?;
        self.visible.fetch_max(last.0, Ordering::AcqRel);
        Ok(())
    }

    /// Syncs the log if the deadline of a delayed commit has passed.
    pub fn sync_due(&self) -> KernelResult<()> {
        if self.env.clock.monotonic_us() < self.sync_deadline.load(Ordering::Acquire) {
            return Ok(());
        }
        self.sync_deadline.store(u64::MAX, Ordering::Release);
        self.wal.wait(self.wal.ends().0, true)
    }

    /// `current` with the tables that `tx` made, renamed or dropped.
    fn with_catalog_changes(&self, current: &Version, tx: &Transaction) -> KernelResult<Version> {
        let mut next = current.clone();
        let mut names = (*current.names).clone();
        for (key, row) in tx.writes().get(&CATALOG).into_iter().flatten() {
            let name = name_of(key)?.to_owned();
            match row {
                Some(row) => {
                    let info = TableInfo::decode(&name, row)?;
                    let table = || {
                        let loaded = tx.loaded(info.id);
                        let base = loaded.unwrap_or_else(|| Base::new(&info, None, &self.access));
                        let bytes = self.memtable_bytes.clone();
                        Arc::new(TableVersion::new(base, Timestamp(0), bytes))
                    };
                    next.tables.entry(info.id).or_insert_with(table);
                    names.insert(name, Arc::new(info));
                }
                None => drop(names.remove(&name)),
            }
        }
        let live: BTreeSet<TableId> = names.values().map(|info| info.id).collect();
        next.tables.retain(|id, _| *id == CATALOG || live.contains(id));
        next.names = Arc::new(names);
        Ok(next)
    }

    /// Runs the checkpoint that a commit made due, if this is the one to do it.
    pub fn checkpoint_after_commit(&self) {
        let active = self.active_bytes.load(Ordering::Relaxed);
        let patience = if self.options.background_checkpoints { 2 } else { 1 };
        if active < self.options.memtable_bytes_max.saturating_mul(patience) {
            return;
        }
        if let Err(error) = self.checkpoint() {
            // The commit itself is done and safe in the log; the next one tries again.
            tracing::warn!(%error, "checkpoint failed");
        }
    }
}

/// An open database. Cheap to clone; all clones are the same database, usable from any thread.
#[derive(Clone)]
pub struct Kernel {
    pub(crate) inner: Arc<Inner>,
}

impl Kernel {
    /// Opens the database in `env`, recovering whatever a crash left; makes a new one if `options` allow.
    ///
    /// # Errors
    /// `Unavailable` when another process has it open or a newer version wrote it, `Invalid` when the
    /// directory is something else, `NotFound` when there is none and `create` is off, `Corrupt`.
    pub fn open(env: Environment, options: Options) -> KernelResult<Kernel> {
        Kernel::open_with(env, options, &())
    }

    /// As [`open`](Self::open), watched by `observer`, which may stop it.
    ///
    /// # Errors
    /// As [`open`](Self::open), and what `observer` returns.
    pub fn open_with(
        env: Environment,
        options: Options,
        observer: &dyn BootObserver,
    ) -> KernelResult<Kernel> {
        Ok(Kernel { inner: Arc::new(crate::recovery::open(env, options, observer)?) })
    }

    /// Begins a transaction under snapshot isolation.
    ///
    /// # Errors
    /// `Closed`.
    pub fn begin(&self) -> KernelResult<Transaction> {
        self.begin_with(TransactionOptions::default())
    }

    /// Begins a transaction that only reads, and so never conflicts.
    ///
    /// # Errors
    /// `Closed`.
    pub fn begin_read(&self) -> KernelResult<Transaction> {
        self.begin_with(TransactionOptions { read_only: true, ..TransactionOptions::default() })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// `Closed`.
    pub fn begin_with(&self, options: TransactionOptions) -> KernelResult<Transaction> {
        Transaction::begin(self.inner.clone(), options, false)
    }

    /// Runs `f` in a transaction and commits it; after a conflict, both again.
    ///
    /// A repeated transaction begins at the newest commit, though its sync may still be running: it can only
    /// become durable together with what it read. So writers of one hot row share syncs.
    ///
    /// # Errors
    /// What `f` or the commit returns; a conflict only after a thousand attempts.
    pub fn run<T>(&self, f: impl FnMut(&mut Transaction) -> KernelResult<T>) -> KernelResult<T> {
        self.run_with(TransactionOptions::default(), f)
    }

    /// As [`run`](Self::run), with the transaction's options.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with<T>(
        &self,
        options: TransactionOptions,
        mut f: impl FnMut(&mut Transaction) -> KernelResult<T>,
    ) -> KernelResult<T> {
        self.run_owned(options, |mut tx| (f(&mut tx), tx))
    }

    /// As [`run_with`](Self::run_with), for those who put the transaction into something of theirs. What `f`
    /// gives back is committed, or rolled back when its result is an error.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_owned<T>(
        &self,
        options: TransactionOptions,
        mut f: impl FnMut(Transaction) -> (KernelResult<T>, Transaction),
    ) -> KernelResult<T> {
        let mut attempt = 1;
        loop {
            let ahead = 1 < attempt;
            let (result, tx) = f(Transaction::begin(self.inner.clone(), options, ahead)?);
            // Without a commit behind it in the log, what it read must be durable before anybody is told.
            if ahead && (result.is_err() || tx.writes().values().all(|rows| rows.is_empty())) {
                self.inner.publish()?;
            }
            match result.and_then(|value| tx.commit().map(|_| value)) {
                Err(error) if error.is_retryable() && attempt < RUN_ATTEMPTS_MAX => attempt += 1,
                other => return other,
            }
        }
    }

    /// Makes a table, in a transaction of its own.
    ///
    /// # Errors
    /// As [`Transaction::create_table`].
    pub fn create_table(&self, name: &str, options: crate::TableOptions) -> KernelResult<()> {
        self.run(|tx| tx.create_table(name, options.clone()))
    }

    /// Folds the log into the data file: hands each table's new rows to its storage, installs the
    /// result by one page flip, and lets go of log that is no longer needed.
    ///
    /// A table whose storage plugin fails keeps its rows in log and memory; the report names it.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses: the database goes on as it was. `Closed` when a sync failed.
    pub fn checkpoint(&self) -> KernelResult<CheckpointReport> {
        self.inner.check_writable()?;
        self.inner.checkpoint()
    }

    /// Whether enough rows wait that a checkpoint should run.
    pub fn checkpoint_due(&self) -> bool {
        self.inner.options.memtable_bytes_max <= self.inner.active_bytes.load(Ordering::Relaxed)
    }

    /// Syncs commits made with [`Durability::FsyncDelayed`] whose time has come. The kernel has no thread:
    /// somebody must call this now and then if commits may cease. Returns at once while another caller is
    /// syncing them.
    ///
    /// # Errors
    /// `Closed` when the sync fails.
    pub fn sync_due(&self) -> KernelResult<()> {
        self.inner.sync_due()
    }

    /// The extensions this database uses.
    pub fn plugins(&self) -> &PluginManager {
        &self.inner.plugins
    }

    /// How the database was opened.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// What opening found and did.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.inner.recovery
    }

    /// Whether and why the database refuses writes until it is opened again.
    pub fn failure(&self) -> Option<String> {
        self.inner.wal.failure()
    }

    /// What is not well though the database serves: why the last checkpoint failed, if it did, and the
    /// tables whose storage fails, by name, each with the reason.
    pub fn troubles(&self) -> (Option<String>, BTreeMap<String, String>) {
        let version = self.inner.version.read().clone();
        let stuck = version.names.iter().filter_map(|(name, info)| {
            Some((name.clone(), version.tables.get(&info.id)?.stuck.as_ref()?.to_string()))
        });
        (self.inner.stalled.read().as_ref().map(|why| why.to_string()), stuck.collect())
    }

    /// Ends well: folds everything into the data file, shuts the extensions down, gives the directory
    /// back. Every later call on any clone is refused. Dropping the last clone instead is safe as well:
    /// the next open replays the log.
    ///
    /// # Errors
    /// What the last checkpoint returns; the database is closed all the same, and its log keeps the rows.
    pub fn close(&self) -> KernelResult<()> {
        let inner = &self.inner;
        inner.check_open()?;
        let writes = !inner.options.read_only && inner.wal.failure().is_none();
        let commit = inner.commit.lock();
        // A log that cannot begin anew ends as it is.
        let shrunk = writes && inner.wal.shrink().unwrap_or_default();
        drop(commit);
        let unfolded = shrunk || 0 < inner.memtable_bytes.load(Ordering::Relaxed);
        let folded = if writes && unfolded { inner.checkpoint() } else { Ok(Default::default()) };
        let commit = inner.commit.lock();
        inner.closed.store(true, Ordering::Release);
        // A commit that slipped in behind the checkpoint is in the log, which a failed one refuses.
        let synced = inner.wal.wait(inner.wal.ends().0, true);
        if let Some(Err(error)) = writes.then(|| inner.wal.remove_spares()) {
            tracing::warn!(%error, "spare log segments stay until the next close");
        }
        drop(commit);
        inner.plugins.shutdown();
        *inner.lock.lock() = None;
        let report = folded.and_then(|report| synced.map(|()| report))?;
        match report.failed.first() {
            None => Ok(()),
            Some((table, why)) => {
                let text = format!("{table} was not flushed, its rows stay in the log: {why}");
                Err(KernelError::plugin(table, PluginFault::Refused, text))
            }
        }
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").field("root", &self.inner.env.vfs.root()).finish_non_exhaustive()
    }
}

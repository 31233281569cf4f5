//! From whatever a crash left to a database that is ready.
//!
//! 1. Lock the directory. Make a new database if there is none and the directory is empty.
//! 2. Read the newest valid meta page, the catalog, the free list. Sync what was read: bytes that a killed
//!    process handed to the operating system must be on disk before anything is built on them.
//! 3. Read the log from the meta page's LSN. Rows of whole transactions that their table's base does not
//!    hold yet go into memtables. The first broken frame is the torn tail, or `Corrupt` if it had been
//!    synced ([`crate::wal::reader`]).
//! 4. Write the log that was believed once more and sync it, in case an earlier sync failed; wipe the torn
//!    tail; remove log segments behind it and below the replay position.
//!
//! Nothing is changed on disk before step 3 has read everything, and nothing at all when read-only. The
//! time is proportional to the log since the last checkpoint, not to the data.

use crate::boot::{BootObserver, BootPhase, RecoveryMode};
use crate::catalog::{self, CATALOG, Codecs, Loaded, StoredBase, TableInfo};
use crate::engine::{CheckpointState, CommitState, Inner, Options};
use crate::environment::Environment;
use crate::error::{KernelError, KernelResult};
use crate::kernel_api::{TableId, Timestamp, TransactionId};
use crate::mvcc::version::{Access, Base, TableVersion, Version};
use crate::page::meta::{META_PAGES, Meta, NO_FREE_LIST};
use crate::page::{self, BlockCache, DATA_FILE, Pager, space::Space};
use crate::pins::Pins;
use crate::plugin::PluginManager;
use crate::tree::{TreeRoot, read::Tree};
use crate::vfs::{OpenMode, Vfs, VfsFile, VfsLock};
use crate::wal::reader::{self, Tail};
use crate::wal::record::SEGMENT_HEADER_BYTES;
use crate::wal::transactions::{Committed, Transactions};
use crate::wal::{self, FIRST_LSN, WAL_DIR, WalManager, WalRecord};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

/// The file that whoever has the database open holds a lock on.
pub const LOCK_FILE: &str = "LOCK";
/// Bytes of log between two reports of progress.
const PROGRESS_BYTES: u64 = 1 << 20;
/// The data file while a new database is being made; renamed when everything else is in place.
pub const NEW_DATA_FILE: &str = "data.new";

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Whether the database was made just now.
    pub created: bool,
    /// Log records read.
    pub log_records: u64,
    /// Committed transactions among them.
    pub transactions: u64,
    /// Rows put back into memory.
    pub rows: u64,
    /// Transactions whose records were there without their COMMIT: they never happened.
    pub unfinished: u64,
    /// Bytes of torn log that were cut off.
    pub cut_bytes: u64,
    /// What could not be read, with [`RecoveryMode::Forced`]; later commits are missing.
    pub lost: Vec<String>,
    /// How long opening took, in microseconds.
    pub micros: u64,
}

/// Opens the database in `env`.
///
/// # Errors
/// As [`crate::Kernel::open`].
pub(crate) fn open(
    env: Environment,
    mut options: Options,
    observer: &dyn BootObserver,
) -> KernelResult<Inner> {
    observer.progress(BootPhase::Init, 0, 1)?;
    let forced = options.recovery == RecoveryMode::Forced;
    options.read_only |= forced;
    let started = env.clock.monotonic_us();
    let vfs = env.vfs.clone();
    let created = must_create(&*vfs, &options)?;
    let lock = take_lock(&*vfs, &options)?;
    if created {
        create(&env, &options)?;
    }
    let mode = if options.read_only { OpenMode::Read } else { OpenMode::Write };
    let file =
        vfs.open(DATA_FILE, mode).map_err(|e| KernelError::io(format!("open {DATA_FILE}"), e))?;
    let meta = Meta::read(&*file)?;
    let bytes = file.len().map_err(|e| KernelError::io(format!("measure {DATA_FILE}"), e))?;
    if bytes < page::offset(meta.pages) {
        let expected = format!("{} pages", meta.pages);
        return Err(KernelError::corrupt(DATA_FILE, bytes, expected, "the end of the file"));
    }
    if !options.read_only {
        file.sync().map_err(|e| KernelError::io(format!("sync {DATA_FILE}"), e))?;
    }
    let cache = Arc::new(BlockCache::new(options.cache_bytes_max));
    let pager = Arc::new(Pager::new(file, cache));
    let loaded = catalog::load(&pager, meta.catalog)?;
    // Nobody allocates pages of a database that was forced open.
    let space = if forced { Space::new(meta.pages) } else { load_space(&pager, &meta)? };
    let plugins = Arc::new(PluginManager::default());
    let codecs_stored = loaded.codecs.len();
    let codecs = Arc::new(Codecs::new(loaded.codecs.clone(), plugins.clone()));
    let access = Access { pager, codecs: codecs.clone(), plugins: plugins.clone() };
    let memtable_bytes = Arc::new(AtomicUsize::new(0));
    let mut replay = Replay::new(&meta, loaded, &access, memtable_bytes.clone());
    replay.live_tables(meta.lsn)?;
    observer.progress(BootPhase::Init, 1, 1)?;
    observer.progress(BootPhase::Migrate, 1, 1)?;
    let newest = reader::starts(&*vfs, WAL_DIR)?.last().copied().unwrap_or_default();
    let total = (newest + options.wal_segment_bytes as u64).saturating_sub(meta.lsn);
    let mut told = meta.lsn;
    let read = reader::read(&*vfs, meta.database, meta.lsn, mode, &mut |lsn, txn, record| {
        if told + PROGRESS_BYTES <= lsn {
            told = lsn;
            observer.progress(BootPhase::Recover, lsn - meta.lsn, total.max(lsn - meta.lsn))?;
        }
        replay.record(lsn, txn, record)
    });
    let tail = match read.and_then(|tail| replay.check_loaded().map(|()| tail)) {
        Err(error @ KernelError::Corrupt { .. }) if forced => {
            replay.report.lost.push(error.to_string());
            Tail { end: meta.lsn, ..Tail::default() }
        }
        other => other?,
    };
    observer.progress(BootPhase::Recover, tail.end - meta.lsn, tail.end - meta.lsn)?;
    let mut report = replay.report;
    report.unfinished = replay.open.unfinished();
    report.cut_bytes = tail.cut_bytes;
    if !options.read_only {
        mend_log(&*vfs, &options, &tail)?;
    }
    let end = tail.end;
    let log = (options.wal_segment_bytes, options.wal_archive);
    let wal = WalManager::open(vfs, meta.database, log, tail.segments, end)?;
    let mut pins = Pins::default();
    let last = replay.last;
    let version = Version {
        tables: replay.tables.into_iter().map(|(id, table)| (id, Arc::new(table))).collect(),
        names: Arc::new(replay.names),
        pin: pins.pin(meta.sequence),
    };
    report.created = created;
    report.micros = env.clock.monotonic_us() - started;
    let active_bytes = AtomicUsize::new(memtable_bytes.load(std::sync::atomic::Ordering::Relaxed));
    let state = CheckpointState { meta, space, pins, bases: replay.bases, codecs_stored };
    Ok(Inner {
        plugins,
        codecs,
        access,
        wal,
        next_txn: AtomicU64::new(replay.next_txn),
        next_table: AtomicU64::new(replay.next_table),
        next_segment: Arc::new(AtomicU64::new(state.meta.next_segment)),
        sizes: Mutex::new(state.sizes()),
        checkpoint: Mutex::new(state),
        commit: Mutex::new(CommitState { last, sync_floor: 0, window_start: Timestamp(0) }),
        writers: Mutex::default(),
        version: RwLock::new(Arc::new(version)),
        visible: AtomicU64::new(last.0),
        memtable_bytes,
        active_bytes,
        sync_deadline: AtomicU64::new(u64::MAX),
        stalled: RwLock::new(None),
        counts: Default::default(),
        recovery: report,
        closed: AtomicBool::new(false),
        lock: Mutex::new(lock),
        env,
        options,
    })
}

/// Whether there is no database and one may be made here.
fn must_create(vfs: &dyn Vfs, options: &Options) -> KernelResult<bool> {
    let root = vfs.root();
    let names = vfs.list("").map_err(|error| match error.kind() {
        std::io::ErrorKind::NotADirectory => {
            KernelError::Invalid(format!("{root} is a file; a database is a directory"))
        }
        _ => KernelError::io(format!("open {root}"), error),
    })?;
    if names.iter().any(|name| name == DATA_FILE) {
        return Ok(false);
    }
    let log =
        vfs.list(WAL_DIR).map_err(|e| KernelError::io(format!("list {root}/{WAL_DIR}"), e))?;
    let unfinished = names.iter().any(|name| name == NEW_DATA_FILE);
    if !log.is_empty() && !unfinished {
        return Err(KernelError::corrupt(DATA_FILE, 0, "a data file beside the log", "no file"));
    }
    let known = [LOCK_FILE, NEW_DATA_FILE];
    if let Some(other) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(KernelError::Invalid(format!(
            "{root} is not a SochDB database: it holds '{other}' and no {DATA_FILE}; name an empty \
             directory to make a database there"
        )));
    }
    if !options.create || options.read_only {
        return Err(KernelError::NotFound { kind: "database", name: root });
    }
    Ok(true)
}

fn take_lock(vfs: &dyn Vfs, options: &Options) -> KernelResult<Option<Box<dyn VfsLock>>> {
    let root = vfs.root();
    if !options.read_only {
        vfs.create_dir("").map_err(|e| KernelError::io(format!("make {root}"), e))?;
    }
    if options.read_only && vfs.open(LOCK_FILE, OpenMode::Read).is_err() {
        return Ok(None);
    }
    let lock = vfs.lock(LOCK_FILE).map_err(|e| KernelError::io(format!("lock {root}"), e))?;
    let held = "another process or handle has it open; close that first";
    lock.ok_or_else(|| KernelError::unavailable(format!("open {root}: {held}"))).map(Some)
}

/// Makes an empty database. The data file gets its name last, so a crash leaves either nothing that
/// counts or all of it.
fn create(env: &Environment, options: &Options) -> KernelResult<()> {
    let vfs = &env.vfs;
    let make = || -> std::io::Result<Arc<dyn VfsFile>> {
        vfs.create_dir(WAL_DIR)?;
        for name in vfs.list(WAL_DIR)? {
            vfs.remove(&format!("{WAL_DIR}/{name}"))?;
        }
        // While there are log files there is a data.new beside them, which says that neither counts.
        vfs.sync_dir(WAL_DIR)?;
        wal::remove_if_there(&**vfs, NEW_DATA_FILE)?;
        let file = vfs.open(NEW_DATA_FILE, OpenMode::Create)?;
        vfs.sync_dir("")?;
        Ok(file)
    };
    let io = |error| KernelError::io(format!("make a database in {}", vfs.root()), error);
    let file = make().map_err(io)?;
    let meta = |sequence| Meta {
        database: env.seed,
        sequence,
        pages: META_PAGES,
        lsn: FIRST_LSN,
        timestamp: 0,
        next_txn: 1,
        next_table: CATALOG.0 + 1,
        next_segment: 1,
        catalog: TreeRoot::EMPTY,
        free_list: NO_FREE_LIST,
    };
    [1, 2]
        .into_iter()
        .try_for_each(|n| meta(n).write(&*file))
        .and_then(|()| file.sync())
        .map_err(io)?;
    let log = (options.wal_segment_bytes, options.wal_archive);
    WalManager::open(vfs.clone(), env.seed, log, Vec::new(), FIRST_LSN)?.next_segment(0)?;
    let name = || vfs.rename(NEW_DATA_FILE, DATA_FILE).and_then(|()| vfs.sync_dir(""));
    name().map_err(io)
}

fn load_space(pager: &Pager, meta: &Meta) -> KernelResult<Space> {
    let run = &meta.free_list;
    if *run == NO_FREE_LIST {
        return Ok(Space::new(meta.pages));
    }
    Space::decode(&pager.run(run)?, page::offset(run.page), meta.pages)
}

/// Makes the log go on right behind its last whole frame, and everything before it durable.
fn mend_log(vfs: &dyn Vfs, options: &Options, tail: &Tail) -> KernelResult<()> {
    let mend = || -> std::io::Result<()> {
        for &start in &tail.released {
            if options.wal_archive {
                wal::archive(vfs, start)?;
            } else {
                vfs.remove(&wal::segment_name(start))?;
            }
        }
        tail.strays.iter().try_for_each(|stray| vfs.remove(stray))?;
        if let (Some((start, file)), true) = (tail.segments.last(), 0 < tail.torn_bytes) {
            let at = SEGMENT_HEADER_BYTES as u64 + tail.end - start;
            let wipe = tail.torn_bytes.min(file.len()?.saturating_sub(at));
            file.write_at(at, &vec![0; usize::try_from(wipe).unwrap_or(0)])?;
        }
        reader::settle(tail)?;
        // Names too: a killed process may have renamed files without living to sync their folder.
        vfs.sync_dir(WAL_DIR).and_then(|()| vfs.sync_dir(""))
    };
    mend().map_err(|e| KernelError::io("mend the log's end", e))
}

/// Puts the log's transactions back, one at a time, in commit order.
struct Replay {
    tables: BTreeMap<TableId, TableVersion>,
    names: BTreeMap<String, Arc<TableInfo>>,
    bases: BTreeMap<TableId, StoredBase>,
    access: Access,
    /// The catalog's base holds every commit up to here.
    folded: Timestamp,
    open: Transactions,
    memtable_bytes: Arc<AtomicUsize>,
    last: Timestamp,
    next_txn: u64,
    next_table: u64,
    report: RecoveryReport,
}

impl Replay {
    fn new(meta: &Meta, loaded: Loaded, access: &Access, memory: Arc<AtomicUsize>) -> Replay {
        let folded = Timestamp(meta.timestamp);
        let base = Base::Tree(Tree::new(meta.catalog));
        let catalog = TableVersion::new(base, folded, memory.clone());
        let mut replay = Replay {
            tables: BTreeMap::from([(CATALOG, catalog)]),
            names: BTreeMap::new(),
            bases: loaded.bases,
            access: access.clone(),
            folded,
            open: Transactions::default(),
            memtable_bytes: memory,
            last: folded,
            next_txn: meta.next_txn,
            next_table: meta.next_table,
            report: RecoveryReport::default(),
        };
        loaded.tables.into_iter().for_each(|info| replay.add_table(info));
        replay
    }

    /// The tables that have a name; two names of one table are refused.
    fn live_tables(&self, lsn: u64) -> KernelResult<BTreeSet<TableId>> {
        let live: BTreeSet<TableId> = self.names.values().map(|info| info.id).collect();
        match live.len() == self.names.len() {
            true => Ok(live),
            false => Err(KernelError::corrupt(WAL_DIR, lsn, "one name for each table", "two")),
        }
    }

    /// Loaded rows are not in the log: a table that still is there must have them in its base.
    fn check_loaded(&self) -> KernelResult<()> {
        let is_lost = |t: &&Arc<TableInfo>| 0 < t.rows_loaded && !self.bases.contains_key(&t.id);
        let Some(info) = self.names.values().find(is_lost) else { return Ok(()) };
        let expected = format!("{} rows loaded into table '{}'", info.rows_loaded, info.name);
        Err(KernelError::corrupt(DATA_FILE, 0, expected, "none of them"))
    }

    fn add_table(&mut self, info: TableInfo) {
        self.next_table = self.next_table.max(info.id.0 + 1);
        // A table that was loaded in bulk has its rows before it has its name.
        let stored = self.bases.get(&info.id);
        let flushed = stored.map_or(Timestamp(0), |stored| stored.flushed);
        let base = || Base::new(&info, stored, &self.access);
        let table = || TableVersion::new(base(), flushed, self.memtable_bytes.clone());
        self.tables.entry(info.id).or_insert_with(table);
        self.names.insert(info.name.clone(), Arc::new(info));
    }

    fn record(&mut self, lsn: u64, txn: TransactionId, record: WalRecord<'_>) -> KernelResult<()> {
        self.report.log_records += 1;
        self.next_txn = self.next_txn.max(txn.0 + 1);
        let Some(committed) = self.open.add(lsn, txn, record) else { return Ok(()) };
        let Committed { lsn: first, timestamp, rows, whole } = committed;
        if !whole {
            let expected = format!("every row of transaction {txn}");
            let found = format!("{} rows", rows.len());
            return Err(KernelError::corrupt(WAL_DIR, lsn, expected, found));
        }
        self.report.transactions += 1;
        self.last = self.last.max(timestamp);
        // Tables first, so that rows of a table made by the same transaction find it. The catalog's
        // number is the smallest, so its rows come first in the log as well.
        let catalog_rows = rows.first().is_some_and(|(id, ..)| *id == CATALOG);
        for (id, key, value) in rows {
            if id == CATALOG && self.folded < timestamp {
                self.change_catalog(&key, value.as_deref())?;
            }
            let Some(table) = self.tables.get(&id).filter(|table| table.flushed < timestamp) else {
                continue;
            };
            table.active.insert(&key, timestamp, value, first);
            self.report.rows += 1;
        }
        if catalog_rows {
            let live = self.live_tables(first)?;
            self.tables.retain(|id, _| *id == CATALOG || live.contains(id));
        }
        Ok(())
    }

    fn change_catalog(&mut self, key: &[u8], row: Option<&[u8]>) -> KernelResult<()> {
        let name = catalog::name_of(key)?;
        match row {
            Some(row) => self.add_table(TableInfo::decode(name, row)?),
            None => drop(self.names.remove(name)),
        }
        Ok(())
    }
}

//! Saves everything that can be saved from a broken database, into a new one.
//!
//! Nothing of the old database is believed without its checksum, nothing in it is changed, and it is never
//! opened: meta pages, catalog and log may be broken in any way. What is saved, in this order:
//!
//! 1. The newest catalog: from the meta pages, else from the newest pages that say they are the catalog's.
//! 2. Each table's rows: down from its root; where a page is broken, its parent tells which keys are lost, and
//!    in their place come rows of leaves that nothing points to any more. Those may be outdated.
//! 3. Rows in segments, through their storage plugin.
//! 4. The log's transactions, those of which every record can still be read, in order.
//!
//! The report lists every range of keys that is lost or doubtful, and every commit that is missing before one
//! that was applied. A row outside of those is as the last commit left it.
//!
//! The new database is called so last: a repair that was cut short leaves a directory that does not open.
//! Memory grows with what is lost (some hundred bytes for each page below a broken one), not with what is
//! there.

mod catalog;
mod log;
mod orphans;
mod report;
mod rows;
mod segments;
mod source;
mod table;
mod tree;

pub use report::{LostCommits, LostRows, RepairReport, RepairedTable};

use crate::archive::all_starts;
use crate::fresh::{Fresh, Unnamed};
use crate::log::LogDir;
use crate::progress::{Meter, OnProgress};
use catalog::Catalog;
use log::BrokenLog;
use orphans::Leaf;
use rows::Age;
use sochdb_kernel::inspect::{
    ARCHIVE_DIR, CATALOG, Committed, DATA_FILE, LOCK_FILE, TreeRoot, WAL_DIR,
};
use sochdb_kernel::limits::PAGE_BYTES;
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_kernel::{
    Durability, Environment, Kernel, KernelError, KernelResult, Options, RecoveryMode, TableId,
    Timestamp,
};
use source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use table::Salvage;
use tree::{Span, Step, TreeWalk};

/// The data file of a repaired database until it is whole.
const UNFINISHED: &str = "repair.new";

/// Registers the storage plugins and codecs that the tables use.
pub type Register<'a> = &'a dyn Fn(&PluginManager) -> KernelResult<()>;

/// How a database is repaired.
pub struct RepairOptions<'a> {
    /// Registers the plugins that the old database used, twice: for reading the old and writing the new.
    /// A table whose storage plugin is missing loses its segments; its other rows go to a table without.
    pub register: Register<'a>,
    /// For a table that whoever opens the database makes anew from the rows of others, such as an index: the
    /// name of the empty table that takes its place.
    pub remade: &'a dyn Fn(&str) -> Option<String>,
    /// How the new database is opened.
    pub options: Options,
}

impl Default for RepairOptions<'_> {
    fn default() -> Self {
        RepairOptions { register: &|_| Ok(()), remade: &|_| None, options: Options::default() }
    }
}

/// Saves what can be saved of the database in `from` into a new database in the empty directory `target`.
///
/// # Errors
/// `NotFound` when `from` has neither a data file nor a log, `Invalid` when the target holds anything, `Unavailable` when the target's disk refuses, when `from` is
/// in use or was written by a newer version, and what registering the plugins returns. What is
/// broken in `from` is no error here but part of the report.
///
/// ```
/// use sochdb_kernel::{Kernel, KernelResult, Options, TableOptions};
/// use sochdb_operations::{RepairOptions, repair};
///
/// # fn main() -> KernelResult<()> {
/// # let (broken, rescued) = (sochdb_sim::memory(), sochdb_sim::memory());
/// let kernel = Kernel::open(broken.clone(), Options::default())?;
/// kernel.create_table("users", TableOptions::default())?;
/// kernel.run(|tx| tx.put("users", b"ada", b"countess"))?;
/// kernel.close()?;
/// # use sochdb_kernel::vfs::OpenMode;
/// # let write = |page: u64| broken.vfs.open("data.soch", OpenMode::Write).unwrap().write_at(page * 4096, &[0; 4096]);
/// write(0).and(write(1)).unwrap(); // Both meta pages are gone.
/// assert!(Kernel::open(broken.clone(), Options::default()).is_err());
///
/// let report = repair(&*broken.vfs, &rescued, &RepairOptions::default(), &mut |_| {})?;
/// println!("{report}");
/// let kernel = Kernel::open(rescued, Options::default())?;
/// assert_eq!(kernel.begin_read()?.get("users", b"ada")?.unwrap(), b"countess");
/// # Ok(())
/// # }
/// ```
pub fn repair(
    from: &dyn Vfs,
    target: &Environment,
    options: &RepairOptions<'_>,
    progress: OnProgress<'_>,
) -> KernelResult<RepairReport> {
    let has_log = |dir| all_starts(from, dir).is_ok_and(|starts| !starts.is_empty());
    let names = from.list("").unwrap_or_default();
    if !names.iter().any(|name| name == DATA_FILE) && !has_log(WAL_DIR) && !has_log(ARCHIVE_DIR) {
        return Err(KernelError::NotFound { kind: "database", name: from.root() });
    }
    // A lock file is there unless the database was copied without it; nothing is made here.
    let lock = match from.open(LOCK_FILE, OpenMode::Read) {
        Ok(_) => from.lock(LOCK_FILE).ok(),
        Err(_) => None,
    };
    if let Some(None) = lock {
        let text = format!("repair {}: it is open; close it first", from.root());
        return Err(KernelError::unavailable(text));
    }
    let plugins = Arc::new(PluginManager::default());
    (options.register)(&plugins)?;
    let fresh = Fresh::new(&*target.vfs, UNFINISHED);
    fresh.refuse_used()?;
    fresh.clear()?;
    let result = make(from, target, options, plugins, progress).and_then(|report| {
        fresh.finish()?;
        Ok(report)
    });
    if result.is_err() {
        // The first error is what counts; what cannot be removed does not look like a database.
        let _ = fresh.clear();
    }
    result
}

/// Makes the new database, whose data file does not have its name yet.
fn make(
    from: &dyn Vfs,
    target: &Environment,
    options: &RepairOptions<'_>,
    plugins: Arc<PluginManager>,
    progress: OnProgress<'_>,
) -> KernelResult<RepairReport> {
    let hidden = Unnamed::new(target.vfs.clone(), UNFINISHED);
    let kernel = Kernel::open(
        Environment { vfs: Arc::new(hidden), ..target.clone() },
        Options {
            create: true,
            read_only: false,
            durability: Durability::None,
            write_set_bytes_max: usize::MAX,
            background_checkpoints: false,
            recovery: RecoveryMode::Strict,
            ..options.options.clone()
        },
    )?;
    (options.register)(kernel.plugins())?;
    let mut report = salvage(from, &kernel, plugins, options.remade, progress)?;
    let failed = kernel.checkpoint()?.failed;
    let is_all = failed.is_empty();
    for (table, why) in failed {
        report.note(format!("rows of table '{table}' stay in the new log: {why}"));
    }
    match kernel.close() {
        Err(error) if is_all => Err(error),
        _ => Ok(report),
    }
}

fn salvage(
    from: &dyn Vfs,
    kernel: &Kernel,
    plugins: Arc<PluginManager>,
    remade: &dyn Fn(&str) -> Option<String>,
    progress: OnProgress<'_>,
) -> KernelResult<RepairReport> {
    let source = Source::open(from)?;
    let codecs = plugins.clone();
    let mut report = RepairReport::default();
    let mut meter = Meter::new(2 * source.bytes(), progress);
    meter.begin("the catalog");
    let mut catalog = Catalog::read(&source, &mut report, &mut meter);
    let dir = LogDir { vfs: from, codecs: &codecs };
    let log = BrokenLog::open(dir, catalog.database, &mut report);
    meter.grow(2 * log.bytes());
    meter.begin("the log");
    let mut others = read_log(&log, &mut catalog, &mut report, &mut meter);
    let access = source.access(catalog.codecs.clone(), plugins);
    let leaves = find_leaves(&source, &catalog, &mut others, &mut meter);
    let mut made = BTreeMap::new();
    for (info, notes) in catalog.tables_to_make(&others) {
        if let Some(name) = remade(&info.name) {
            kernel.create_table(&name, info.options.clone())?;
            continue;
        }
        meter.begin(format!("table '{}'", info.name));
        let of_table = leaves.get(&info.id).map(Vec::as_slice).unwrap_or_default();
        let salvage = Salvage { source: &source, access: &access, catalog: &catalog, info: &info };
        let (table, flushed) = salvage.table(kernel, of_table, notes, &mut meter)?;
        made.insert(info.id, (table, flushed));
    }
    meter.begin("the log's rows");
    apply_log(&log, kernel, &mut made, &mut report, &mut meter)?;
    report.tables = made.into_values().map(|(table, _)| table).collect();
    meter.end();
    Ok(report)
}

/// Reads the log once: applies its changes to the catalog, and finds what is missing. Returns the tables
/// that rows are for and whose definition might be lost.
fn read_log(
    log: &BrokenLog<'_>,
    catalog: &mut Catalog,
    report: &mut RepairReport,
    meter: &mut Meter<'_>,
) -> BTreeSet<TableId> {
    let (folded, is_damaged) = (catalog.folded, catalog.is_damaged());
    // Commits before this place are folded in, everywhere.
    let from = catalog.lsn.unwrap_or(0);
    // Where the log's beginning is missing, commits may be that only a table held back by its plugin needs.
    let begins = catalog.lsn.is_none_or(|lsn| log.has_frame(lsn));
    let known = if begins { folded } else { catalog.flushed_everywhere() };
    let mut others = BTreeSet::new();
    let mut last = None;
    log.read(report, meter, &mut |done, report| {
        let Committed { lsn, timestamp, rows, whole } = done;
        let timestamp = timestamp.0;
        if from <= lsn && last.is_none_or(|last| last < timestamp) {
            let first = last.unwrap_or(known).saturating_add(1);
            report.lose_commits(first, timestamp.saturating_sub(u64::from(whole)));
            last = Some(timestamp);
        }
        if !whole || (timestamp <= folded && !is_damaged) {
            return;
        }
        for (id, key, value) in rows {
            match id {
                CATALOG => catalog.change(&key, value.as_ref(), report),
                id => drop(others.insert(id)),
            }
        }
    });
    report.last_commit = Timestamp(last.unwrap_or(folded).max(folded));
    if !is_damaged && report.lost_commits.is_empty() {
        // Whatever the catalog does not know now was dropped.
        others.clear();
    }
    others
}

/// Looks through the whole file for unreferenced leaves, if anything is lost that they could replace. Adds
/// to `others` the tables whose definition might be lost.
fn find_leaves(
    source: &Source,
    catalog: &Catalog,
    others: &mut BTreeSet<TableId>,
    meter: &mut Meter<'_>,
) -> BTreeMap<TableId, Vec<Leaf>> {
    let is_damaged = catalog.is_damaged();
    if is_damaged {
        others.extend(catalog.bases.keys());
    }
    let mut wanted: BTreeMap<TableId, (u64, Vec<Span>)> = BTreeMap::new();
    let tables = catalog.tables.values().map(|(info, _)| info.id);
    for id in tables.chain(others.iter().copied()) {
        let (place, _) = catalog.place(id);
        let mut lost = Vec::new();
        match place.root {
            None => lost.push(Span::ALL),
            Some(root) => survey(source, &root, &mut lost, meter),
        }
        let newer = if place.age == Age::Newest { u64::MAX } else { place.sequence };
        wanted.insert(id, (newer, lost));
    }
    let mut leaves: BTreeMap<TableId, Vec<Leaf>> = BTreeMap::new();
    let is_outdated = catalog.age != Age::Newest;
    if !is_damaged && !is_outdated && wanted.values().all(|(_, lost)| lost.is_empty()) {
        return leaves;
    }
    meter.grow(source.bytes());
    meter.begin("lost pages");
    source.scan(meter, |at, page| {
        let Some((id, leaf)) = Leaf::of(at, page) else { return };
        let is_wanted = match wanted.get(&id) {
            Some((newer, lost)) => {
                *newer < leaf.sequence || lost.iter().any(|span| leaf.meets(span))
            }
            None if id == CATALOG => false,
            None => is_damaged || (is_outdated && catalog.sequence < leaf.sequence),
        };
        if is_wanted {
            leaves.entry(id).or_default().push(leaf);
        }
    });
    others.extend(leaves.keys().filter(|id| !wanted.contains_key(id)));
    leaves
}

/// Finds what is lost below `root`.
fn survey(source: &Source, root: &TreeRoot, lost: &mut Vec<Span>, meter: &mut Meter<'_>) {
    let mut walk = TreeWalk::new(source, root);
    let mut pages = 0;
    while let Some(step) = walk.next() {
        if let Step::Lost(span, _) = step {
            lost.push(span);
        }
        meter.add((walk.pages - pages) * PAGE_BYTES as u64);
        pages = walk.pages;
    }
}

/// Reads the log again, and applies every whole transaction that the saved rows do not hold.
fn apply_log(
    log: &BrokenLog<'_>,
    kernel: &Kernel,
    made: &mut BTreeMap<TableId, (RepairedTable, u64)>,
    report: &mut RepairReport,
    meter: &mut Meter<'_>,
) -> KernelResult<()> {
    let mut result = Ok(());
    let (mut applied, mut again) = (0, RepairReport::default());
    log.read(&mut again, meter, &mut |done, _| {
        if result.is_ok() && done.whole {
            match apply(kernel, made, done, report) {
                Ok(any) => applied += u64::from(any),
                Err(error) => result = Err(error),
            }
        }
    });
    report.transactions = applied;
    result
}

/// Applies one transaction; whether it had anything to apply.
fn apply(
    kernel: &Kernel,
    made: &mut BTreeMap<TableId, (RepairedTable, u64)>,
    done: Committed,
    report: &mut RepairReport,
) -> KernelResult<bool> {
    let mut tx = kernel.begin()?;
    let mut any = false;
    for (id, key, value) in done.rows {
        let Some((table, flushed)) = made.get_mut(&id) else { continue };
        if done.timestamp.0 <= *flushed {
            continue;
        }
        let written = match value {
            Some(value) => tx.put(&table.name, &key, &value),
            None => tx.delete(&table.name, &key),
        };
        match written {
            Ok(()) => {
                table.log_rows += 1;
                any = true;
            }
            Err(error) => report.note(format!("a row of commit {}: {error}", done.timestamp)),
        }
    }
    if any {
        tx.commit()?;
    }
    Ok(any)
}

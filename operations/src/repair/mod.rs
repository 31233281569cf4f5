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
//!
//! ```
//! use sochdb_kernel::{Kernel, KernelResult, Options, TableOptions};
//! use sochdb_operations::{RepairOptions, repair};
//!
//! # fn main() -> KernelResult<()> {
//! # let (broken, rescued) = (sochdb_sim::memory(), sochdb_sim::memory());
//! let kernel = Kernel::open(broken.clone(), Options::default())?;
//! kernel.create_table("users", TableOptions::default())?;
//! kernel.run(|tx| tx.put("users", b"ada", b"countess"))?;
//! kernel.close()?;
//! # use sochdb_kernel::vfs::OpenMode;
//! # let write = |page: u64| broken.vfs.open("data.soch", OpenMode::Write).unwrap().write_at(page * 4096, &[0; 4096]);
//! write(0).and(write(1)).unwrap(); // Both meta pages are gone.
//! assert!(Kernel::open(broken.clone(), Options::default()).is_err());
//!
//! let report = repair(&*broken.vfs, &rescued, &RepairOptions::default(), &mut |_| {})?;
//! println!("{report}");
//! let kernel = Kernel::open(rescued, Options::default())?;
//! assert_eq!(kernel.begin_read()?.get("users", b"ada")?.unwrap(), b"countess");
//! # Ok(())
//! # }
//! ```

mod catalog;
mod log;
mod orphans;
mod report;
mod rows;
mod segments;
mod source;
mod tree;

pub use report::{LostCommits, LostRows, RepairReport, RepairedTable};

use crate::fresh::{Fresh, Unnamed};
use crate::progress::{Meter, OnProgress};
use catalog::Catalog;
use log::BrokenLog;
use orphans::Leaf;
use rows::{Age, Found, Rows};
use segments::SegmentRows;
use sochdb_kernel::inspect::{Access, CATALOG, Committed, LOCK_FILE, TreeRoot};
use sochdb_kernel::limits::{KEY_BYTES_MAX, PAGE_BYTES, VALUE_BYTES_MAX};
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_kernel::{
    Durability, Environment, ErrorKind, Kernel, KernelError, KernelResult, Options, Slice, TableId,
    TableInfo, TableOptions, Timestamp,
};
use source::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tree::{Span, Step, TreeWalk, reason};

/// The data file of a repaired database until it is whole.
const UNFINISHED: &str = "repair.new";

/// Registers the storage plugins and codecs that the tables use.
pub type Register<'a> = &'a dyn Fn(&PluginManager) -> KernelResult<()>;

/// How a database is repaired.
pub struct RepairOptions<'a> {
    /// Registers the plugins that the old database used, twice: for reading the old and writing the new.
    /// A table whose storage plugin is missing loses its segments; its other rows go to a table without.
    pub register: Register<'a>,
    /// How the new database is opened.
    pub options: Options,
}

impl Default for RepairOptions<'_> {
    fn default() -> Self {
        RepairOptions { register: &|_| Ok(()), options: Options::default() }
    }
}

/// Saves what can be saved of the database in `from` into a new database in the empty directory `target`.
///
/// # Errors
/// `Invalid` when the target holds anything, `Unavailable` when the target's disk refuses, when `from` is
/// in use or was written by a newer version, and what registering the plugins returns. What is
/// broken in `from` is no error here but part of the report.
pub fn repair(
    from: &dyn Vfs,
    target: &Environment,
    options: &RepairOptions<'_>,
    progress: OnProgress<'_>,
) -> KernelResult<RepairReport> {
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
            ..options.options.clone()
        },
    )?;
    (options.register)(kernel.plugins())?;
    let mut report = salvage(from, &kernel, plugins, progress)?;
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
    progress: OnProgress<'_>,
) -> KernelResult<RepairReport> {
    let source = Source::open(from)?;
    let mut report = RepairReport::default();
    let mut meter = Meter::new(2 * source.bytes(), progress);
    meter.begin("the catalog");
    let mut catalog = Catalog::read(&source, &mut report, &mut meter);
    let log = BrokenLog::open(from, catalog.database, &mut report);
    meter.grow(2 * log.bytes());
    meter.begin("the log");
    let mut others = read_log(&log, &mut catalog, &mut report, &mut meter);
    let access = source.access(catalog.codecs.clone(), plugins);
    let leaves = find_leaves(&source, &catalog, &mut others, &mut meter);
    let mut made = BTreeMap::new();
    for (info, notes) in catalog.tables_to_make(&others) {
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
            report.lose_commits(last.unwrap_or(known) + 1, timestamp - u64::from(whole));
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

/// A row that was saved: key, value, and whether it is from a page that nothing points to.
type Saved = (Vec<u8>, Slice, bool);

/// Saves one table.
struct Salvage<'a> {
    source: &'a Source,
    access: &'a Access,
    catalog: &'a Catalog,
    info: &'a TableInfo,
}

impl Salvage<'_> {
    /// Makes the table in the new database, as it was made if that can be. Returns what was saved, and the
    /// last commit that the saved rows hold.
    fn table(
        &self,
        kernel: &Kernel,
        leaves: &[Leaf],
        mut notes: Vec<String>,
        meter: &mut Meter<'_>,
    ) -> KernelResult<(RepairedTable, u64)> {
        let (_, base) = self.catalog.place(self.info.id);
        let flushed = base.map_or(0, |base| base.flushed.0);
        let mut options = self.info.options.clone();
        loop {
            let (id, name) = (self.info.id, self.info.name.clone());
            let notes_now = notes.clone();
            let mut table = RepairedTable { id, name, notes: notes_now, ..Default::default() };
            match self.load(kernel, &options, leaves, &mut table, meter) {
                Ok(()) => return Ok((table, flushed)),
                Err(error) => options = simpler(options, error, &mut notes)?,
            }
        }
    }

    fn load(
        &self,
        kernel: &Kernel,
        options: &TableOptions,
        leaves: &[Leaf],
        table: &mut RepairedTable,
        meter: &mut Meter<'_>,
    ) -> KernelResult<()> {
        let name = self.info.name.clone();
        let mut last: Option<Vec<u8>> = None;
        let mut tree = self.tree_rows(leaves);
        let mut segments = self.segment_rows();
        let mut next = || loop {
            let (key, value, is_unreferenced) =
                tree(table, meter).or_else(|| segments(table, meter))?;
            let fits = key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX;
            if !fits || last.as_ref().is_some_and(|last| key <= *last) {
                lose(table, one(key), "a row out of order or too large".to_owned());
                continue;
            }
            table.rows += 1;
            if is_unreferenced {
                table.unreferenced += 1;
                let lost = table.lost.iter_mut().rfind(|lost| lost.contains(&key));
                lost.into_iter().for_each(|lost| lost.unreferenced += 1);
            }
            last = Some(key.clone());
            return Some(Ok((key, value.to_vec())));
        };
        // An engine need not know what to make of no rows.
        match next() {
            None => kernel.create_table(&name, options.clone()),
            Some(first) => {
                let rows = std::iter::once(first).chain(std::iter::from_fn(next));
                kernel.bulk_load(&name, options.clone(), rows).map(drop)
            }
        }
    }

    fn tree_rows<'s>(
        &'s self,
        leaves: &'s [Leaf],
    ) -> impl FnMut(&mut RepairedTable, &mut Meter<'_>) -> Option<Saved> + 's {
        let (place, _) = self.catalog.place(self.info.id);
        let mut rows = Rows::new(self.source, &place, leaves);
        let mut pages = 0;
        move |table, meter| loop {
            let found = rows.next();
            meter.add((rows.walk.pages - pages) * PAGE_BYTES as u64);
            pages = rows.walk.pages;
            match found? {
                Found::Lost(span, why) => lose(table, span, why),
                Found::Row(row) => match self.source.value(self.access, row.stored) {
                    Ok(value) => return Some((row.key, value, row.unreferenced.is_some())),
                    Err(error) => lose(table, one(row.key), reason(&error)),
                },
            }
        }
    }

    fn segment_rows(&self) -> impl FnMut(&mut RepairedTable, &mut Meter<'_>) -> Option<Saved> {
        let base = self.catalog.bases.get(&self.info.id);
        let from = base.and_then(|(_, from)| *from);
        let metas = base.map(|(base, _)| base.segments.clone()).unwrap_or_default();
        let mut rows = SegmentRows::new(self.source, self.access, self.info, &metas);
        move |table, meter| loop {
            match rows.next()? {
                segments::Found::Lost(span, why) => lose(table, span, why),
                segments::Found::Row(key, value) => {
                    meter.add((key.len() + value.len()) as u64);
                    return Some((key, value, from.is_some()));
                }
            }
        }
    }
}

fn lose(table: &mut RepairedTable, span: Span, why: String) {
    let Span { low, high } = span;
    table.lose(LostRows { low, high, why, unreferenced: 0 });
}

/// The span of one key.
fn one(key: Vec<u8>) -> Span {
    let high = Some([key.as_slice(), &[0]].concat());
    Span { low: Some(key), high }
}

/// Options that need less than `options` did, which `error` refused.
fn simpler(
    options: TableOptions,
    error: KernelError,
    notes: &mut Vec<String>,
) -> KernelResult<TableOptions> {
    let is_ours = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Closed);
    let next = match &options {
        _ if is_ours => return Err(error),
        TableOptions { storage: Some(storage), .. } => {
            notes.push(format!("it is no longer in the storage '{storage}': {error}"));
            TableOptions { storage: None, ..options }
        }
        TableOptions { codec: Some(codec), .. } => {
            notes.push(format!("it is no longer compressed by '{codec}': {error}"));
            TableOptions { codec: None, ..options }
        }
        _ if options != TableOptions::default() => {
            notes.push(format!("its schema and settings are lost: {error}"));
            TableOptions::default()
        }
        _ => return Err(error),
    };
    Ok(next)
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
            match apply(kernel, made, done) {
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
) -> KernelResult<bool> {
    let mut tx = kernel.begin()?;
    let mut any = false;
    for (id, key, value) in done.rows {
        let Some((table, flushed)) = made.get_mut(&id) else { continue };
        if done.timestamp.0 <= *flushed {
            continue;
        }
        match value {
            Some(value) => tx.put(&table.name, &key, &value)?,
            None => tx.delete(&table.name, &key)?,
        }
        table.log_rows += 1;
        any = true;
    }
    if any {
        tx.commit()?;
    }
    Ok(any)
}

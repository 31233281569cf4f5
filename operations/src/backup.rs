//! Copies a database while it is written to, and puts it back to any moment since.
//!
//! [`backup`] holds a checkpoint and the log since, and copies both to another directory: the pages in
//! use, each read past the cache and compared with its checksum, and the log's frames. What it makes is an
//! ordinary database with exactly the commits up to the timestamp that the report names. Commits and
//! checkpoints go on meanwhile.
//!
//! [`restore`] makes a new database of a backup, and goes on from there with the log that the original has
//! written since, up to a commit of your choice. The original must keep its log for that
//! ([`Options::wal_archive`]).
//!
//! ```text
//!   time ──────▶  backup ─────────────── until ────── the disaster
//!   archive/, wal/   ├── frame ── frame ──┤ frame ── frame
//! ```
//!
//! What is being made has no `data.soch` until everything else is on disk, so half of it is never taken for
//! a database. Its log ends with a frame that says that all before it was on disk: bytes of a backup
//! that rot are `Corrupt` when it is opened, not a torn tail.
//!
//! [`Options::wal_archive`]: sochdb_kernel::Options::wal_archive

use crate::fresh::Fresh;
use crate::log::{Log, LogDir, LogFile};
use crate::moment::{Moment, Reached, RestoreError, commit_at, kernel_result, merged};
use crate::progress::OnProgress;
use crate::times::{Recorded, recorded};
use crate::walk::Walk;
use sochdb_encoding::codec::Reader;
use sochdb_kernel::inspect::record;
use sochdb_kernel::inspect::{
    ARCHIVE_DIR, CATALOG, CatalogRow, Held, Meta, WAL_DIR, WalRecord, catalog_row, offset,
    segment_name,
};
use sochdb_kernel::limits::PAGE_BYTES;
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile};
use sochdb_kernel::{
    Environment, Kernel, KernelError, KernelResult, Options, TableInfo, Timestamp,
};
use std::collections::BTreeSet;
use std::io;

/// The data file of a copy that is not finished. A directory with this file and no data file is none that
/// the kernel would open, or make a database in.
const UNFINISHED: &str = "backup.new";
/// Neighbouring bytes are written together, up to about this many.
const WRITE_BYTES: usize = 1 << 20;
/// About how large the copy's log files are.
pub(crate) const LOG_FILE_BYTES: usize = 4 << 20;

/// What [`backup`] or [`restore`] made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// The copy holds every commit up to this one, and nothing of any later one.
    pub timestamp: Timestamp,
    /// Pages copied.
    pub pages: u64,
    /// Bytes of log copied.
    pub log_bytes: u64,
    /// What a restore to a time ([`Moment::Time`]) knows of that.
    pub reached: Option<Reached>,
}

/// Copies the open database `kernel` to the empty directory `target`.
///
/// # Errors
/// `Invalid` when the target holds anything, `Corrupt` when what was read is not what was written: a backup
/// of broken bytes is none ([`check`](crate::check) lists all that is broken). `Unavailable` when a disk
/// refuses, `Closed`. An unfinished copy is removed as far as possible, and tried again it is overwritten.
///
/// ```
/// use sochdb_kernel::{Kernel, KernelResult, Options, TableOptions};
///
/// # fn main() -> KernelResult<()> {
/// # let copy = sochdb_sim::memory();
/// let kernel = Kernel::open(sochdb_sim::memory(), Options::default())?;
/// kernel.create_table("users", TableOptions::default())?;
/// kernel.run(|tx| tx.put("users", b"ada", b"countess"))?;
///
/// let report = sochdb_operations::backup(&kernel, &*copy.vfs, &mut |_| {})?;
/// assert_eq!(report.timestamp, kernel.begin_read()?.snapshot());
/// let copy = Kernel::open(copy, Options::default())?;
/// assert_eq!(copy.begin_read()?.get("users", b"ada")?.unwrap(), b"countess");
/// # Ok(())
/// # }
/// ```
pub fn backup(
    kernel: &Kernel,
    target: &dyn Vfs,
    progress: OnProgress<'_>,
) -> KernelResult<BackupReport> {
    let held = kernel.hold()?;
    let from = LogDir { vfs: held.vfs(), codecs: kernel.plugins() };
    let files = LogFile::list(from, WAL_DIR, held.meta.lsn)?;
    let mut log = Log::new(held.meta.database, files, Vec::new());
    let end = find_end(&mut log, &held, held.log_end, None)?;
    make(target, |file| copy(&held, held.meta.database, (&mut log, end), (target, file), progress))
}

/// Makes a new database in the empty directory `target` from the database in `backup` (which is not open)
/// and the log in `original`, the directory of the database that the backup was made of, or what is left
/// of it: its folders `archive` and `wal`. The new database holds every commit up to `until`, or all that
/// the log has.
///
/// Rows of a bulk load are not in the log: no backup can be taken past a bulk load that came after it. Make
/// a backup after each.
///
/// The new database has an identity of its own: neither its log nor its backups fit the original's.
///
/// # Errors
/// `NotFound` when backup and log do not reach `until` or a table was bulk-loaded on the way, `Invalid` when the backup has commits behind
/// `until`, `Corrupt` when a part of the log is missing or broken; else as [`backup`].
///
/// ```
/// use sochdb_kernel::{Environment, Kernel, KernelResult, Options, TableOptions};
/// use sochdb_operations::{backup, restore};
///
/// # fn main() -> KernelResult<()> {
/// # let original = sochdb_sim::memory();
/// # let (copy, rescued) = (sochdb_sim::memory(), sochdb_sim::memory());
/// let options = Options { wal_archive: true, ..Options::default() };
/// let kernel = Kernel::open(original.clone(), options)?;
/// kernel.create_table("users", TableOptions::default())?;
/// kernel.run(|tx| tx.put("users", b"ada", b"countess"))?;
/// backup(&kernel, &*copy.vfs, &mut |_| {})?;
///
/// kernel.run(|tx| tx.put("users", b"grace", b"admiral"))?;
/// let before = kernel.begin_read()?.snapshot();
/// kernel.run(|tx| tx.delete("users", b"ada"))?; // The disaster.
/// drop(kernel);
///
/// restore(&copy, Some(&*original.vfs), &rescued, Some(before), &mut |_| {})?;
/// let kernel = Kernel::open(rescued, Options::default())?;
/// assert_eq!(kernel.begin_read()?.get("users", b"ada")?.unwrap(), b"countess");
/// assert_eq!(kernel.begin_read()?.get("users", b"grace")?.unwrap(), b"admiral");
/// # Ok(())
/// # }
/// ```
pub fn restore(
    backup: &Environment,
    original: Option<&dyn Vfs>,
    target: &Environment,
    until: Option<Timestamp>,
    progress: OnProgress<'_>,
) -> KernelResult<BackupReport> {
    restore_with(backup, original, &PluginManager::default(), target, until, progress)
}

/// As [`restore`], from an archive that [`compress_archive`](crate::compress_archive) made smaller: `codecs` has
/// the codecs that its files name.
///
/// # Errors
/// As [`restore`], and `Plugin` that names file and codec when there is no such codec or it fails.
pub fn restore_with(
    backup: &Environment,
    original: Option<&dyn Vfs>,
    codecs: &PluginManager,
    target: &Environment,
    until: Option<Timestamp>,
    progress: OnProgress<'_>,
) -> KernelResult<BackupReport> {
    let to = until.map_or(Moment::Newest, Moment::Commit);
    kernel_result(restore_to(backup, original.as_slice(), codecs, target, to, progress))
}

/// As [`restore_with`], with the log of any number of directories (each one of the database that the backup was
/// made of, or a copy of its folders `archive` and `wal`), and to a commit or a time.
///
/// A time is looked up in what [`CommitTimes`](crate::CommitTimes) recorded in those directories. The report says
/// how well the time is known ([`BackupReport::reached`]).
///
/// # Errors
/// As [`restore_with`]; `Unreachable`, `Unrecorded` and `Ambiguous` when there is no commit for a time.
///
/// ```
/// use sochdb_kernel::plugin::PluginManager;
/// use sochdb_kernel::{Kernel, Options, TableOptions};
/// use sochdb_operations::{CommitTimes, Moment, backup, restore_to};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (original, copy, rescued) = (sochdb_sim::memory(), sochdb_sim::memory(), sochdb_sim::memory());
/// let options = Options { wal_archive: true, ..Options::default() };
/// let kernel = Kernel::open(original.clone(), options)?;
/// let mut times = CommitTimes::open(&kernel)?.expect("there is an archive");
/// kernel.create_table("users", TableOptions::default())?;
/// backup(&kernel, &*copy.vfs, &mut |_| {})?;
///
/// kernel.run(|tx| tx.put("users", b"ada", b"countess"))?;
/// times.look(1_000_000)?;
/// kernel.run(|tx| tx.delete("users", b"ada"))?; // The disaster.
/// times.look(3_000_000)?;
///
/// let (logs, plugins) = ([&*original.vfs], PluginManager::default());
/// restore_to(&copy, &logs, &plugins, &rescued, Moment::Time(2_000_000), &mut |_| {})?;
/// let kernel = Kernel::open(rescued, Options::default())?;
/// assert_eq!(kernel.begin_read()?.get("users", b"ada")?.unwrap(), b"countess");
/// # Ok(())
/// # }
/// ```
pub fn restore_to(
    backup: &Environment,
    logs: &[&dyn Vfs],
    codecs: &PluginManager,
    target: &Environment,
    to: Moment,
    progress: OnProgress<'_>,
) -> Result<BackupReport, RestoreError> {
    restore_from(backup, (logs, &[]), (codecs, &[]), target, to, progress)
}

/// As [`restore_to`]. Where `logs` do not have the log, it is taken from `copies`, which are believed in their
/// order, and `known` are times beside those that lie beside the logs.
pub(crate) fn restore_from(
    backup: &Environment,
    (logs, copies): (&[&dyn Vfs], &[&dyn Vfs]),
    (codecs, known): (&PluginManager, &[Recorded]),
    target: &Environment,
    to: Moment,
    progress: OnProgress<'_>,
) -> Result<BackupReport, RestoreError> {
    let options = Options { read_only: true, create: false, ..Options::default() };
    let held = Kernel::open(backup.clone(), options)?.hold()?;
    let folded = Timestamp(held.meta.timestamp);
    let from = |vfs| LogDir { vfs, codecs };
    let mut files = Vec::new();
    for original in logs {
        // In this order a file that is being archived meanwhile is seen at least once.
        for dir in [WAL_DIR, ARCHIVE_DIR] {
            files.append(&mut LogFile::list(from(*original), dir, held.meta.lsn)?);
        }
    }
    let mut others = Vec::new();
    for copy in copies.iter().copied().chain([&*backup.vfs]) {
        others.append(&mut LogFile::list(from(copy), WAL_DIR, held.meta.lsn)?);
    }
    let mut log = Log::new(held.meta.database, files, others);
    let reached = match to {
        Moment::Time(wanted_us) => {
            let mut lines = known.to_vec();
            for original in logs {
                lines.append(&mut recorded(*original, held.meta.database)?);
            }
            // Where the log cannot be followed to its end, the commit itself will tell.
            let newest = find_end(&mut log, &held, u64::MAX, None);
            let newest = newest.map_or(Timestamp(u64::MAX), |(_, newest)| newest);
            Some(commit_at(wanted_us, &merged(lines), folded, newest)?)
        }
        _ => None,
    };
    let until = match to {
        Moment::Newest => None,
        Moment::Commit(until) => Some(until),
        Moment::Time(_) => reached.map(|reached| reached.commit),
    };
    if until.is_some_and(|until| until < folded) {
        return Err(RestoreError::Kernel(KernelError::Invalid(format!(
            "the backup in {} holds commits up to {folded}; name that one or a later one, or take an \
             older backup",
            backup.vfs.root()
        ))));
    }
    let end = find_end(&mut log, &held, u64::MAX, until)?;
    let vfs = &*target.vfs;
    let made = make(vfs, |file| copy(&held, target.seed, (&mut log, end), (vfs, file), progress))?;
    Ok(BackupReport { reached, ..made })
}

/// Makes a database in `target` by `fill`. Its data file gets its name last.
fn make<T>(
    target: &dyn Vfs,
    fill: impl FnOnce(&dyn VfsFile) -> KernelResult<T>,
) -> KernelResult<T> {
    let fresh = Fresh::new(target, UNFINISHED);
    fresh.refuse_used()?;
    let _lock = fresh.lock()?;
    // Once more, now that nobody else may write there.
    fresh.refuse_used()?;
    fresh.clear()?;
    let file = fresh.begin()?;
    let made = fill(&*file).and_then(|made| fresh.finish().map(|()| made));
    if made.is_err() {
        // The first error is what counts; what cannot be removed does not look like a database.
        let _ = fresh.clear();
    }
    made
}

/// Where the log that is to be copied ends: the LSN, and the commit.
pub(crate) type LogEnd = (u64, Timestamp);

/// Looks for the end of the log's last commit before the LSN `limit`, which is `until` if that is given.
pub(crate) fn find_end(
    log: &mut Log<'_>,
    held: &Held,
    limit: u64,
    until: Option<Timestamp>,
) -> KernelResult<LogEnd> {
    let folded = Timestamp(held.meta.timestamp);
    let (mut lsn, mut end, mut last) = (held.meta.lsn, held.meta.lsn, None);
    // Tables whose rows were loaded past the log, and are not in the held checkpoint.
    let mut loaded: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut changes = Vec::new();
    while lsn < limit && (last.is_none() || last != until) {
        let Some(frame) = log.frame(lsn)? else { break };
        let commit = commit_in(frame, lsn, &mut changes)?;
        lsn += frame.len() as u64;
        let Some(commit) = commit else { continue };
        if until.is_some_and(|until| until < commit) {
            break;
        }
        let follows = last.map_or(commit <= Timestamp(folded.0 + 1), |last: Timestamp| {
            commit == Timestamp(last.0 + 1)
        });
        if !follows {
            let expected = format!("the commit that follows commit {}", last.unwrap_or(folded));
            let found = format!("commit {commit}");
            return Err(KernelError::corrupt(WAL_DIR, lsn, expected, found));
        }
        for (key, table) in changes.drain(..) {
            match table {
                Some(TableInfo { rows_loaded: 1.., id, .. }) if !held.bases.contains_key(&id) => {
                    loaded.insert(key)
                }
                _ => loaded.remove(&key),
            };
        }
        (end, last) = (lsn, Some(commit));
    }
    let reached = last.unwrap_or(folded);
    if reached < folded || until.is_some_and(|until| reached < until) {
        let name = Timestamp(reached.0 + 1).to_string();
        return Err(KernelError::NotFound { kind: "commit in the log", name });
    }
    match loaded.first() {
        None => Ok((end, reached)),
        Some(key) => {
            let name = String::from_utf8_lossy(&key[1..]).into_owned();
            Err(KernelError::NotFound { kind: "bulk-loaded table in the log or backup", name })
        }
    }
}

/// A row of the catalog that a commit wrote: its key, and the table that has the name now.
type NameChange = (Vec<u8>, Option<TableInfo>);

/// The commit that the frame at `lsn` ends, if it ends one. Adds to `changes` what the frame changes in
/// the catalog.
fn commit_in(
    frame: &[u8],
    lsn: u64,
    changes: &mut Vec<NameChange>,
) -> KernelResult<Option<Timestamp>> {
    let wrong = |why| KernelError::corrupt(WAL_DIR, lsn, "a frame of the log", why);
    let frame = record::decode_frame(frame, lsn).map_err(wrong)?;
    let mut reader = Reader::new(WAL_DIR, lsn, frame.records);
    let mut commit = None;
    while !reader.rest().is_empty() {
        match WalRecord::decode(&mut reader)? {
            WalRecord::Begin { .. } => changes.clear(),
            WalRecord::Commit { timestamp, .. } => commit = Some(timestamp),
            WalRecord::Put { table: CATALOG, key, value } => {
                if let CatalogRow::Table(info) = catalog_row(key, value)? {
                    changes.push((key.to_vec(), Some(info)));
                }
            }
            WalRecord::Delete { table: CATALOG, key } => changes.push((key.to_vec(), None)),
            _ => {}
        }
    }
    Ok(commit)
}

/// Copies the held checkpoint and the log up to its end, as a database with the identity `database`.
fn copy(
    held: &Held,
    database: u64,
    (log, (end, timestamp)): (&mut Log<'_>, LogEnd),
    (target, file): (&dyn Vfs, &dyn VfsFile),
    progress: OnProgress<'_>,
) -> KernelResult<BackupReport> {
    let io = |error| KernelError::io(format!("write to {}", target.root()), error);
    file.set_len(offset(held.meta.pages)).map_err(io)?;
    let mut data = DataCopy { file, at: 0, buffer: Vec::new() };
    let mut sink = |at: u64, bytes: &[u8]| data.write(at, bytes).map_err(io);
    let mut walk = Walk::new(held, false, &mut sink, progress);
    walk.run()?;
    let Walk { report, mut meter, .. } = walk;
    if let Some(problem) = report.problems.into_iter().next() {
        return Err(problem);
    }
    // On both meta pages, so that it takes two broken ones to lose the copy.
    for sequence in [held.meta.sequence, held.meta.sequence + 1] {
        let meta = Meta { database, sequence, ..held.meta.clone() };
        meta.write(file).map_err(io)?;
    }
    data.flush().and_then(|()| file.sync()).map_err(io)?;
    meter.begin("the log");
    let mut copy = LogCopy::new(target, database, held.meta.lsn);
    while copy.end < end {
        let frame = log.frame(copy.end)?;
        let gone = || KernelError::unavailable("read the log a second time");
        copy.add(frame.ok_or_else(gone)?).map_err(io)?;
    }
    copy.finish(&held.meta).map_err(io)?;
    meter.end();
    let log_bytes = end - held.meta.lsn;
    Ok(BackupReport { timestamp, pages: report.pages, log_bytes, reached: None })
}

/// Writes the data file; neighbouring bytes together.
struct DataCopy<'a> {
    file: &'a dyn VfsFile,
    /// Where `buffer` belongs.
    at: u64,
    buffer: Vec<u8>,
}

impl DataCopy<'_> {
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        // What lies between the end of a run and the next page is zero.
        let gap = at.wrapping_sub(self.at + self.buffer.len() as u64);
        if PAGE_BYTES as u64 <= gap || WRITE_BYTES <= self.buffer.len() {
            self.flush()?;
            self.at = at;
        }
        self.buffer.resize((at - self.at) as usize, 0);
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(self.at, &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Writes the log's files.
struct LogCopy<'a> {
    target: &'a dyn Vfs,
    database: u64,
    /// Where the file in `buffer` begins.
    start: u64,
    /// Behind the last frame.
    end: u64,
    buffer: Vec<u8>,
}

impl LogCopy<'_> {
    fn new(target: &dyn Vfs, database: u64, start: u64) -> LogCopy<'_> {
        // Everything before a file is on disk when the copy counts.
        let buffer = record::encode_segment_header(database, start, start);
        LogCopy { target, database, start, end: start, buffer }
    }

    fn add(&mut self, frame: &[u8]) -> io::Result<()> {
        if LOG_FILE_BYTES < self.buffer.len() + frame.len() && self.start < self.end {
            self.flush()?;
            *self = LogCopy::new(self.target, self.database, self.end);
        }
        self.buffer.extend_from_slice(frame);
        self.end += frame.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let file = self.target.open(&segment_name(self.start), OpenMode::Create)?;
        file.write_at(0, &self.buffer)?;
        file.sync()
    }

    /// Ends the log with a frame that bears witness: all before it was on disk.
    fn finish(&mut self, meta: &Meta) -> io::Result<()> {
        let mut payload = 0u64.to_le_bytes().to_vec();
        let timestamp = Timestamp(meta.timestamp);
        WalRecord::Checkpoint { lsn: meta.lsn, timestamp }.encode(&mut payload);
        record::encode_frame(&mut self.buffer, self.end, self.end, &payload);
        self.flush()?;
        self.target.sync_dir(WAL_DIR)
    }
}

/// Adds the frame that ends the log of a copy at `end`: all before it was on disk. It says what is true anyway,
/// that replay begins at `lsn` behind the commit `folded`.
pub(crate) fn add_witness(out: &mut Vec<u8>, end: u64, lsn: u64, folded: Timestamp) {
    let mut payload = 0u64.to_le_bytes().to_vec();
    WalRecord::Checkpoint { lsn, timestamp: folded }.encode(&mut payload);
    record::encode_frame(out, end, end, &payload);
}

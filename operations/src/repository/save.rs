//! Saves a backup: what is there already is named again, what is new is added.

use super::chunks::{Chunks, Saver};
use super::manifest::{
    Manifest, Piece, REGION_BYTES, check_name, encode_list, log_pieces, names, remove_unfinished,
};
use super::pack::{self, CHUNK_BYTES_MAX};
use super::{Hash, NOTHING, Repository, lock};
use crate::backup::{LOG_FILE_BYTES, find_end};
use crate::log::{Log, LogDir, LogFile};
use crate::progress::{Meter, OnProgress};
use crate::times::{encode_lines, recorded};
use crate::walk::Walk;
use sochdb_kernel::inspect::{ARCHIVE_DIR, Held, Meta, WAL_DIR, offset};
use sochdb_kernel::limits::PAGE_BYTES;
use sochdb_kernel::vfs::VfsFile;
use sochdb_kernel::{Kernel, KernelError, KernelResult, Timestamp};
use std::io;

/// What [`Repository::save`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SaveReport {
    /// The backup's name.
    pub name: String,
    /// It holds every commit up to this one.
    pub commit: Timestamp,
    /// Pages in use that were read and compared with their checksums.
    pub pages: u64,
    /// Bytes of pages and log that the backup stands for.
    pub bytes: u64,
    /// Chunks that were not in the repository yet.
    pub chunks_added: u64,
    /// How much larger the repository is.
    pub added_bytes: u64,
    /// Packs of the repository that are broken; what the backup needs of them was saved again.
    pub packs_broken: u64,
}

impl Repository {
    /// Saves the open database `kernel` as the backup `name`; it is `now_us` microseconds since 1970. Commits and
    /// checkpoints go on meanwhile.
    ///
    /// Reads all of the database, and adds to the repository what it does not have yet. Memory: some 50 bytes for
    /// each chunk of the repository, and as many for each page of the database's trees and each 64 KiB of its
    /// segments.
    ///
    /// # Errors
    /// `Invalid` when there is a backup of this name, or the name is none; `Corrupt` when the database holds what
    /// nobody wrote; `Unavailable` when a disk refuses or somebody else works in the repository; `Closed`.
    /// Whatever happens, the other backups stay as they are.
    pub fn save(
        &self,
        kernel: &Kernel,
        name: &str,
        now_us: u64,
        progress: OnProgress<'_>,
    ) -> KernelResult<SaveReport> {
        check_name(name)?;
        let vfs = &*self.vfs;
        let _lock = lock(vfs)?;
        if names(vfs)?.iter().any(|other| other == name) {
            return Err(KernelError::Invalid(format!(
                "{} has a backup named '{name}' already; choose another name",
                vfs.root()
            )));
        }
        remove_unfinished(vfs)?;
        pack::remove_unfinished(vfs)?;
        let mut saver = Saver::new(Chunks::open(self.vfs.clone())?);
        let saved = self.save_with(&mut saver, kernel, (name, now_us), progress);
        if saved.is_err() {
            drop(saver);
            // The first error is what counts; the next one who saves or prunes tries again.
            let _ = pack::remove_unfinished(vfs);
            let _ = remove_unfinished(vfs);
        }
        saved
    }

    fn save_with(
        &self,
        saver: &mut Saver,
        kernel: &Kernel,
        (name, now_us): (&str, u64),
        progress: OnProgress<'_>,
    ) -> KernelResult<SaveReport> {
        // Before it is held, which may take a while: of this commit the time is known.
        let newest = kernel.begin_read()?.snapshot();
        let held = kernel.hold()?;
        let before = self.before(&held);
        let mut data = Pieces::new(saver, held.meta.pages);
        let mut sink = |at: u64, bytes: &[u8]| data.write(at, bytes);
        let mut walk = Walk::new(&held, false, &mut sink, progress);
        walk.run()?;
        let Walk { report, mut meter, .. } = walk;
        if let Some(problem) = report.problems.into_iter().next() {
            return Err(problem);
        }
        let regions = data.finish(&held.meta)?;
        let from = LogDir { vfs: held.vfs(), codecs: kernel.plugins() };
        let log = save_log(saver, from, &held, before.as_ref(), &mut meter)?;
        let since = before.as_ref().map_or(0, |before| before.commit);
        let mut times = recorded(held.vfs(), held.meta.database)?;
        times.retain(|line| since <= line.commit.0 && line.commit <= log.commit);
        let times = saver.add_all(&encode_lines(&times))?;
        saver.finish()?;
        let manifest = Manifest {
            database: held.meta.database,
            commit: log.commit.0,
            made_us: now_us,
            newest: newest.0,
            pages: held.meta.pages,
            folded: held.meta.timestamp,
            log_start: log.start,
            lsn: held.meta.lsn,
            log_end: log.end,
            added_bytes: saver.added_bytes,
            name: name.to_owned(),
            source: held.vfs().root(),
            regions,
            log: log.pieces,
            log_files: log.files,
            times,
        };
        manifest.write(&*self.vfs)?;
        meter.end();
        Ok(SaveReport {
            name: name.to_owned(),
            commit: log.commit,
            pages: report.pages,
            bytes: report.pages * PAGE_BYTES as u64 + (log.end - log.start),
            chunks_added: saver.added,
            added_bytes: saver.added_bytes,
            packs_broken: saver.chunks.broken.len() as u64,
        })
    }

    /// The newest backup of the same database. One whose manifest is broken counts as not there.
    fn before(&self, held: &Held) -> Option<Manifest> {
        let names = names(&*self.vfs).unwrap_or_default();
        let read = names.iter().filter_map(|name| Manifest::read(&*self.vfs, name).ok());
        read.filter(|m| m.database == held.meta.database).max_by_key(|m| m.commit)
    }
}

/// Cuts the data file into chunks: what the kernel wrote together stays together.
struct Pieces<'a> {
    saver: &'a mut Saver,
    regions: Vec<Vec<Piece>>,
    /// Where `buffer` belongs.
    at: u64,
    buffer: Vec<u8>,
}

impl Pieces<'_> {
    fn new(saver: &mut Saver, pages: u64) -> Pieces<'_> {
        let regions = offset(pages).div_ceil(REGION_BYTES);
        let regions = vec![Vec::new(); usize::try_from(regions).unwrap_or(usize::MAX)];
        Pieces { saver, regions, at: 0, buffer: Vec::new() }
    }

    /// Takes verified bytes of the file. What begins at a page begins a chunk; only blocks of a segment begin
    /// elsewhere, behind the block before them.
    fn write(&mut self, at: u64, bytes: &[u8]) -> KernelResult<()> {
        let follows = at == self.at + self.buffer.len() as u64
            && !at.is_multiple_of(PAGE_BYTES as u64)
            && self.buffer.len() + bytes.len() <= CHUNK_BYTES_MAX;
        if !follows {
            self.flush()?;
            self.at = at;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> KernelResult<()> {
        let buffer = std::mem::take(&mut self.buffer);
        for piece in buffer.chunks(CHUNK_BYTES_MAX) {
            let hash = self.saver.add(piece)?;
            let (region, at) = (self.at / REGION_BYTES, self.at % REGION_BYTES);
            let piece = Piece { at: at as u32, bytes: piece.len() as u32, hash };
            self.regions[region as usize].push(piece);
            self.at += u64::from(piece.bytes);
        }
        Ok(())
    }

    /// The lists of all regions, the meta pages of `meta` among them.
    fn finish(mut self, meta: &Meta) -> KernelResult<Vec<Hash>> {
        self.flush()?;
        self.write(0, &meta_pages(meta)?)?;
        self.flush()?;
        let (saver, regions) = (self.saver, self.regions);
        let list = |mut pieces: Vec<Piece>| {
            pieces.sort_by_key(|piece| piece.at);
            if pieces.is_empty() { Ok(NOTHING) } else { saver.add(&encode_list(&pieces)) }
        };
        regions.into_iter().map(list).collect()
    }
}

/// The record of the checkpoint on both meta pages, so that it takes two broken ones to lose the copy.
fn meta_pages(meta: &Meta) -> KernelResult<Vec<u8>> {
    let bytes = parking_lot::Mutex::new(vec![0; 2 * PAGE_BYTES]);
    for sequence in [meta.sequence, meta.sequence + 1] {
        let written = Meta { sequence, ..meta.clone() }.write(&Memory(&bytes));
        written.map_err(|error| KernelError::io("encode a meta page", error))?;
    }
    Ok(bytes.into_inner())
}

/// Two pages that the kernel takes for a file.
struct Memory<'a>(&'a parking_lot::Mutex<Vec<u8>>);

impl VfsFile for Memory<'_> {
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = offset as usize;
        self.0.lock()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(2 * PAGE_BYTES as u64)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What was saved of the log.
struct SavedLog {
    start: u64,
    end: u64,
    commit: Timestamp,
    files: Vec<u64>,
    pieces: Vec<Hash>,
}

/// Saves the log behind the held checkpoint, and before that what came since the backup `before`, if the database
/// still has all of it.
fn save_log(
    saver: &mut Saver,
    from: LogDir<'_>,
    held: &Held,
    before: Option<&Manifest>,
    meter: &mut Meter<'_>,
) -> KernelResult<SavedLog> {
    meter.begin("the log");
    let lsn = held.meta.lsn;
    let since = before.map_or(lsn, |before| before.log_end.min(lsn));
    let mut files = LogFile::list(from, WAL_DIR, since)?;
    if since < lsn {
        // In this order a file that is being archived meanwhile is seen at least once.
        files.append(&mut LogFile::list(from, ARCHIVE_DIR, since)?);
    }
    let mut log = Log::new(held.meta.database, files, Vec::new());
    let (end, commit) = find_end(&mut log, held, held.log_end, None)?;
    let start = if leads_to(&mut log, since, lsn) { since } else { lsn };
    let mut cut = LogCut { saver, end, flushed: start, buffer: Vec::new(), pieces: Vec::new() };
    let (mut at, mut files) = (start, vec![start]);
    while at < end {
        let last = *files.last().expect("it begins with one");
        if at == lsn && last < at || LOG_FILE_BYTES as u64 <= at - last {
            files.push(at);
        }
        let gone = || KernelError::unavailable("read the log a second time");
        let frame = log.frame(at)?.ok_or_else(gone)?;
        at += frame.len() as u64;
        cut.add(frame)?;
    }
    if !files.contains(&lsn) {
        files.push(lsn);
    }
    assert_eq!(cut.flushed, end, "all of the log from {start} is saved");
    Ok(SavedLog { start, end, commit, files, pieces: cut.pieces })
}

/// Cuts the log into chunks, where [`log_pieces`] says.
struct LogCut<'a> {
    saver: &'a mut Saver,
    end: u64,
    /// Up to here it is in chunks; behind that in `buffer`.
    flushed: u64,
    buffer: Vec<u8>,
    pieces: Vec<Hash>,
}

impl LogCut<'_> {
    fn add(&mut self, frame: &[u8]) -> KernelResult<()> {
        self.buffer.extend_from_slice(frame);
        for piece in log_pieces(self.flushed, self.end) {
            let bytes = (piece.end - piece.start) as usize;
            if self.buffer.len() < bytes {
                break;
            }
            let rest = self.buffer.split_off(bytes);
            self.pieces.push(self.saver.add(&self.buffer)?);
            (self.buffer, self.flushed) = (rest, piece.end);
        }
        Ok(())
    }
}

/// Whether the frames from `at` on lead to the one at `lsn`.
fn leads_to(log: &mut Log<'_>, mut at: u64, lsn: u64) -> bool {
    while at < lsn {
        match log.frame(at) {
            Ok(Some(frame)) => at += frame.len() as u64,
            Ok(None) | Err(_) => return false,
        }
    }
    at == lsn
}

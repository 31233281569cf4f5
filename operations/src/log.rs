//! The log's files, wherever they lie, and the frames in them.
//!
//! One log may be spread over several folders: `wal` of a database, its `archive`, the `wal` of a backup.
//! LSNs say what belongs where. A frame that lies in several files is the same in all of them, except that
//! a backup's log ends with a frame of its own; so earlier places are believed before later ones. Files of the
//! archive may be compressed: see `archive`.

use crate::archive::{LogBytes, all_starts};
use sochdb_kernel::inspect::WAL_DIR;
use sochdb_kernel::inspect::record::{self, SEGMENT_HEADER_BYTES};
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::vfs::Vfs;
use sochdb_kernel::{KernelError, KernelResult};

/// A directory with files of the log, and the codecs to restore them with.
#[derive(Clone, Copy)]
pub(crate) struct LogDir<'a> {
    pub vfs: &'a dyn Vfs,
    pub codecs: &'a PluginManager,
}

/// One log file.
#[derive(Clone)]
pub(crate) struct LogFile<'a> {
    from: LogDir<'a>,
    dir: &'a str,
    pub name: String,
    /// LSN of the first byte behind its header.
    pub start: u64,
    /// How many bytes it has behind its header.
    pub bytes: u64,
}

impl<'a> LogFile<'a> {
    /// The log files in the folder `dir`, oldest first, without those that end before `lsn`.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses, `Corrupt` when a compressed file is broken.
    pub fn list(from: LogDir<'a>, dir: &'a str, lsn: u64) -> KernelResult<Vec<LogFile<'a>>> {
        LogFile::each(from, dir, lsn)?.into_iter().collect()
    }

    /// The same, file by file: one that cannot be opened does not hide the others.
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be listed.
    pub fn each(
        from: LogDir<'a>,
        dir: &'a str,
        lsn: u64,
    ) -> KernelResult<Vec<KernelResult<LogFile<'a>>>> {
        let starts = all_starts(from.vfs, dir)?;
        let older = starts.partition_point(|&start| start <= lsn).saturating_sub(1);
        let file = |&start: &u64| {
            let file = LogBytes::open(from.vfs, dir, start)?;
            let bytes = file.len()?.saturating_sub(SEGMENT_HEADER_BYTES as u64);
            Ok(LogFile { from, dir, name: file.name().to_owned(), start, bytes })
        };
        let files = starts[older..].iter().map(file);
        // A name that says that the file goes on past the greatest LSN is not the log's.
        let is_sane = |file: &LogFile<'_>| file.start.checked_add(file.bytes).is_some();
        Ok(files.filter(|file| file.as_ref().map_or(true, is_sane)).collect())
    }

    /// Whether the byte at `lsn` may lie in this file.
    pub fn reaches(&self, lsn: u64) -> bool {
        self.start <= lsn && lsn - self.start < self.bytes
    }

    /// Header and content, as far as they can be read.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses, `Corrupt` or `Plugin` when it is compressed and cannot be restored.
    pub fn load(&self) -> KernelResult<(Vec<u8>, Vec<u8>)> {
        match self.salvage()? {
            (_, _, Some(error)) => Err(error),
            (header, content, None) => Ok((header, content)),
        }
    }

    /// The same, with zeroes for what cannot be restored, and why it cannot be.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses, `Corrupt` when nothing can be restored.
    pub fn salvage(&self) -> KernelResult<(Vec<u8>, Vec<u8>, Option<KernelError>)> {
        let file = LogBytes::open(self.from.vfs, self.dir, self.start)?;
        let (mut bytes, lost) = file.salvage(self.from.codecs)?;
        let content = bytes.split_off(bytes.len().min(SEGMENT_HEADER_BYTES));
        Ok((bytes, content, lost))
    }
}

/// The frames of one database's log, by LSN.
pub(crate) struct Log<'a> {
    database: u64,
    /// In the order in which they are believed.
    files: Vec<LogFile<'a>>,
    /// How many of them, from the first on, are the original's, and so agree on every frame.
    originals: usize,
    loaded: Option<Loaded>,
}

/// A file in memory.
struct Loaded {
    index: usize,
    /// Everything below this LSN was on disk when the file was begun.
    synced: u64,
    content: Vec<u8>,
}

impl<'a> Log<'a> {
    /// The log of `database` in `files`, the original's, and else in `copies`.
    pub fn new(database: u64, mut files: Vec<LogFile<'a>>, copies: Vec<LogFile<'a>>) -> Log<'a> {
        let originals = files.len();
        files.extend(copies);
        Log { database, files, originals, loaded: None }
    }

    /// The bytes of the frame at `lsn`; `None` at the log's end.
    ///
    /// # Errors
    /// `Corrupt` when there must be a frame and none can be read, `Unavailable` when the disk refuses.
    pub fn frame(&mut self, lsn: u64) -> KernelResult<Option<&[u8]>> {
        let mut found = None;
        let mut why = "no log file for it";
        // Most frames are in the file that the one before was in.
        let likely = self.loaded.as_ref().map(|loaded| loaded.index);
        let likely = likely.filter(|&index| index < self.originals);
        for index in likely.into_iter().chain(0..self.files.len()) {
            if !self.files[index].reaches(lsn) {
                continue;
            }
            match record::decode_frame(self.at(index, lsn)?, lsn) {
                Ok(frame) => {
                    found = Some((index, frame.bytes));
                    break;
                }
                Err(wrong) => why = wrong,
            }
        }
        if let Some((index, bytes)) = found {
            return Ok(Some(&self.at(index, lsn)?[..bytes]));
        }
        match self.goes_on_behind(lsn)? {
            false => Ok(None),
            true => Err(KernelError::corrupt(WAL_DIR, lsn, "a frame that was synced", why)),
        }
    }

    /// Whether anything behind `lsn` bears witness that what is at `lsn` was on disk.
    fn goes_on_behind(&mut self, lsn: u64) -> KernelResult<bool> {
        for index in 0..self.files.len() {
            let file = &self.files[index];
            let (behind, from) = (lsn < file.start, lsn.max(file.start));
            if !file.reaches(from) {
                continue;
            }
            let rest = self.at(index, from)?;
            let positions = (0..rest.len()).step_by(record::FRAME_ALIGN);
            let mut frames =
                positions.filter_map(|at| record::decode_frame(&rest[at..], from + at as u64).ok());
            let witness = frames.any(|frame| lsn < frame.synced);
            if witness || (behind && lsn < self.synced()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The mark in the header of the file that was loaded last.
    fn synced(&self) -> u64 {
        self.loaded.as_ref().map_or(0, |loaded| loaded.synced)
    }

    /// The bytes of file `index` from `lsn` on.
    fn at(&mut self, index: usize, lsn: u64) -> KernelResult<&[u8]> {
        let file = &self.files[index];
        if self.loaded.as_ref().is_none_or(|loaded| loaded.index != index) {
            let (header, content) = file.load()?;
            let synced =
                record::decode_segment_header(&file.name, &header, self.database, file.start)?;
            self.loaded = Some(Loaded { index, synced, content });
        }
        let loaded = self.loaded.as_ref().expect("loaded just now");
        let at = usize::try_from(lsn - file.start).unwrap_or(usize::MAX);
        Ok(loaded.content.get(at..).unwrap_or_default())
    }
}

//! One backup as the directory of a database that can only be read.
//!
//! | file                  | what it is made of                                                        |
//! |-----------------------|---------------------------------------------------------------------------|
//! | `data.soch`           | the pieces that the regions' lists name; zero where there is none         |
//! | `wal/<start>.wal`     | a header and the pieces of the log; behind the last the frame of a witness |
//! | `archive/times`       | the recorded times                                                        |
//!
//! The kernel opens it, [`check`](crate::check) walks it, and [`restore_to`](crate::restore_to) copies it, as if
//! it were a plain backup. Every chunk is believed when its hash holds. The first chunk that does not is kept
//! ([`View::trouble`]): through the operating system's kind of error, the kernel would only hear that a read
//! failed.

use super::manifest::{Manifest, Piece, REGION_BYTES, decode_list, log_pieces};
use super::{Hash, NOTHING, Opened};
use crate::backup::add_witness;
use crate::times::{TIMES_FILE, encode};
use parking_lot::Mutex;
use sochdb_kernel::inspect::record::{SEGMENT_HEADER_BYTES, encode_segment_header};
use sochdb_kernel::inspect::{ARCHIVE_DIR, DATA_FILE, WAL_DIR, offset, segment_name};
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile, VfsLock};
use sochdb_kernel::{KernelError, KernelResult, Timestamp};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

/// Lists of regions kept in memory, each of some ten KiB.
const LISTS_MAX: usize = 1024;

/// The directory.
#[derive(Clone)]
pub(super) struct View(Arc<Inner>);

struct Inner {
    root: String,
    opened: Arc<Opened>,
    manifest: Manifest,
    lists: Mutex<HashMap<usize, Arc<Vec<Piece>>>>,
    /// The chunk that was read last: whoever reads on needs it again.
    last: Mutex<Option<(Hash, Arc<Vec<u8>>)>>,
    trouble: Mutex<Option<KernelError>>,
}

impl View {
    /// The backup of `manifest` in the repository called `root`.
    pub fn new(root: &str, opened: Arc<Opened>, manifest: Manifest) -> View {
        View(Arc::new(Inner {
            root: format!("{root}#{}", manifest.name),
            opened,
            manifest,
            lists: Mutex::default(),
            last: Mutex::default(),
            trouble: Mutex::default(),
        }))
    }

    /// The first chunk that was not what was saved.
    pub fn trouble(&self) -> Option<KernelError> {
        self.0.trouble.lock().take()
    }

    /// The recorded times that the backup has, as the file that the database has.
    pub fn times(&self) -> KernelResult<Vec<u8>> {
        let Manifest { database, times, .. } = &self.0.manifest;
        let pieces = times.iter().map(|hash| self.0.opened.chunks.read(hash));
        Ok(encode(*database, &pieces.collect::<KernelResult<Vec<_>>>()?.concat()))
    }
}

impl Inner {
    /// Keeps the first trouble, and says what an operating system would.
    fn told<T>(&self, result: KernelResult<T>) -> io::Result<T> {
        result.map_err(|error| {
            let told = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
            self.trouble.lock().get_or_insert(error);
            told
        })
    }

    fn chunk(&self, hash: &Hash) -> KernelResult<Arc<Vec<u8>>> {
        if let Some((last, bytes)) = &*self.last.lock()
            && last == hash
        {
            return Ok(bytes.clone());
        }
        let bytes = Arc::new(self.opened.chunks.read(hash)?);
        *self.last.lock() = Some((*hash, bytes.clone()));
        Ok(bytes)
    }

    fn list(&self, region: usize) -> KernelResult<Arc<Vec<Piece>>> {
        if let Some(list) = self.lists.lock().get(&region) {
            return Ok(list.clone());
        }
        let list = match self.manifest.regions.get(region) {
            None | Some(&NOTHING) => Arc::default(),
            Some(hash) => Arc::new(decode_list(&self.opened.chunks.read(hash)?)?),
        };
        let mut lists = self.lists.lock();
        if LISTS_MAX <= lists.len() {
            lists.clear();
        }
        lists.insert(region, list.clone());
        Ok(list)
    }

    /// Fills `buf`, which is zero, with the data file's bytes from `at` on.
    fn read_data(&self, at: u64, buf: &mut [u8]) -> KernelResult<()> {
        let end = at + buf.len() as u64;
        // A piece may reach over from the region before.
        let first = (at / REGION_BYTES).saturating_sub(1);
        for region in first..end.div_ceil(REGION_BYTES) {
            let list = self.list(region as usize)?;
            let base = region * REGION_BYTES;
            let from = |piece: &Piece| base + u64::from(piece.at);
            let begin = list.partition_point(|p| from(p) + u64::from(p.bytes) <= at);
            for piece in list[begin..].iter().take_while(|piece| from(piece) < end) {
                self.copy(&piece.hash, piece.bytes, from(piece), at, buf)?;
            }
        }
        Ok(())
    }

    /// Fills `buf` with the bytes of the log from LSN `at` on.
    fn read_log(&self, at: u64, buf: &mut [u8]) -> KernelResult<()> {
        let Manifest { log_start, log_end, .. } = self.manifest;
        let end = at + buf.len() as u64;
        let pieces = log_pieces(log_start, log_end).zip(&self.manifest.log);
        for (range, hash) in pieces.filter(|(range, _)| at < range.end && range.start < end) {
            self.copy(hash, (range.end - range.start) as u32, range.start, at, buf)?;
        }
        Ok(())
    }

    /// Copies what the chunk, which begins at `from`, has of the bytes from `at` on that `buf` is for.
    fn copy(
        &self,
        hash: &Hash,
        bytes: u32,
        from: u64,
        at: u64,
        buf: &mut [u8],
    ) -> KernelResult<()> {
        let chunk = self.chunk(hash)?;
        if chunk.len() != bytes as usize {
            let found = format!("a chunk of {}", chunk.len());
            return Err(KernelError::corrupt(&self.root, from, format!("{bytes} bytes"), found));
        }
        let (start, end) = (from.max(at), (from + u64::from(bytes)).min(at + buf.len() as u64));
        let part = &chunk[(start - from) as usize..(end - from) as usize];
        buf[(start - at) as usize..(end - at) as usize].copy_from_slice(part);
        Ok(())
    }

    /// The log file that begins at `start`: the LSN behind it, and what follows the log in it.
    fn log_file(&self, start: u64) -> Option<(u64, Vec<u8>)> {
        let Manifest { log_files, log_end, lsn, folded, .. } = &self.manifest;
        let index = log_files.binary_search(&start).ok()?;
        if let Some(next) = log_files.get(index + 1) {
            return Some((*next, Vec::new()));
        }
        let mut witness = Vec::new();
        add_witness(&mut witness, *log_end, *lsn, Timestamp(*folded));
        Some((*log_end, witness))
    }
}

impl Vfs for View {
    fn root(&self) -> String {
        self.0.root.clone()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        if mode != OpenMode::Read {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let content = if name == DATA_FILE {
            Content::Data
        } else if name == format!("{ARCHIVE_DIR}/{TIMES_FILE}") {
            Content::Bytes(self.0.told(self.times())?)
        } else {
            let hex = name.strip_prefix(WAL_DIR).and_then(|name| name.strip_prefix('/'));
            let hex = hex.and_then(|name| name.strip_suffix(".wal"));
            let start = hex.and_then(|hex| u64::from_str_radix(hex, 16).ok());
            let found = start.and_then(|start| Some((start, self.0.log_file(start)?)));
            let (start, (end, witness)) = found.ok_or(io::ErrorKind::NotFound)?;
            // All that is before a file was on disk when the backup was made.
            let header = encode_segment_header(self.0.manifest.database, start, start);
            Content::Log { header, start, end, witness }
        };
        Ok(Arc::new(ViewFile { view: self.clone(), content }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let base = |name: &String| name.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(match dir {
            "" => vec![DATA_FILE.to_owned()],
            WAL_DIR => {
                let names = self.0.manifest.log_files.iter().map(|start| segment_name(*start));
                names.map(|name| base(&name)).collect()
            }
            ARCHIVE_DIR => vec![TIMES_FILE.to_owned()],
            _ => Vec::new(),
        })
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn lock(&self, _: &str) -> io::Result<Option<Box<dyn VfsLock>>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

enum Content {
    Data,
    Log { header: Vec<u8>, start: u64, end: u64, witness: Vec<u8> },
    Bytes(Vec<u8>),
}

struct ViewFile {
    view: View,
    content: Content,
}

impl VfsFile for ViewFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.len()?.saturating_sub(offset).min(buf.len() as u64) as usize;
        let (buf, inner) = (&mut buf[..count], &*self.view.0);
        buf.fill(0);
        match &self.content {
            Content::Data => inner.told(inner.read_data(offset, buf))?,
            Content::Bytes(bytes) => buf.copy_from_slice(&bytes[offset as usize..][..count]),
            Content::Log { header, start, end, witness } => {
                let log_at = SEGMENT_HEADER_BYTES as u64;
                let witness_at = log_at + (end - start);
                overlay(header, 0, offset, buf);
                overlay(witness, witness_at, offset, buf);
                let (from, to) = (offset.max(log_at), (offset + count as u64).min(witness_at));
                if from < to {
                    let part = &mut buf[(from - offset) as usize..(to - offset) as usize];
                    inner.told(inner.read_log(start + (from - log_at), part))?;
                }
            }
        }
        Ok(count)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(match &self.content {
            Content::Data => offset(self.view.0.manifest.pages),
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Log { header, start, end, witness } => {
                (header.len() + witness.len()) as u64 + (end - start)
            }
        })
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// Copies what `bytes`, which lie at `from`, have of those from `at` on that `buf` is for.
fn overlay(bytes: &[u8], from: u64, at: u64, buf: &mut [u8]) {
    let (start, end) = (from.max(at), (from + bytes.len() as u64).min(at + buf.len() as u64));
    if start < end {
        let part = &bytes[(start - from) as usize..(end - from) as usize];
        buf[(start - at) as usize..(end - at) as usize].copy_from_slice(part);
    }
}

//! The archive of the log, compressed.
//!
//! A database that keeps its log ([`Options::wal_archive`]) moves each file that a checkpoint has made
//! superfluous to the folder `archive`. [`compress_archive`] makes compressed files of those:
//!
//! ```text
//!   archive/<start>.wal ──▶ <start>.wal.z.tmp ── synced, read back, compared ──▶ <start>.wal.z
//!        └── removed once the new name is on disk
//! ```
//!
//! Whoever reads the log finds each file under one of its names ([`LogBytes`]), so a crash at any moment, and
//! a reader at any moment, has the whole archive. Where both are there, they hold the same; the next call makes
//! the compressed one anew. What it holds is a table in `packed`.
//!
//! The kernel knows nothing of this: it never reads its archive.
//!
//! [`Options::wal_archive`]: sochdb_kernel::Options::wal_archive

mod packed;

use crate::progress::{Meter, OnProgress};
use packed::{Packed, pack};
use parking_lot::Mutex;
use sochdb_kernel::inspect::{ARCHIVE_DIR, log_starts};
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile};
use sochdb_kernel::{ErrorKind, Kernel, KernelError, KernelResult};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Behind the name of the file that a compressed one stands for.
const PACKED: &str = ".z";
/// Behind that, while it is being made.
const UNFINISHED: &str = ".tmp";
/// One at a time: two would write the same unfinished file.
static COMPRESSING: Mutex<()> = Mutex::new(());

/// What [`compress_archive`] did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ArchiveReport {
    /// Files that are compressed now, and were not before.
    pub compressed: u64,
    /// Bytes that they had.
    pub raw_bytes: u64,
    /// Bytes that they have.
    pub stored_bytes: u64,
    /// Files that stay as they are because the codec failed, or gave back something else.
    pub refused: u64,
    /// Why the first of them stays.
    pub refusal: Option<KernelError>,
}

/// Compresses the oldest `files_max` files of the archived log of `kernel` that are not yet compressed, with the
/// codec called `codec`. Others may use the database and read the log meanwhile.
///
/// A file that the codec does not bring back unchanged stays as it is, and is counted; the next is tried. A
/// compressed file names its codec: whoever reads it needs that, also years later and in a restored backup.
///
/// # Errors
/// `Plugin` when there is no such codec, `Invalid` when the database was opened read-only, `Unavailable` when the
/// disk refuses, `Corrupt` when it does not give back what was just written; what was compressed until then
/// stays so. `Closed`.
pub fn compress_archive(
    kernel: &Kernel,
    codec: &str,
    files_max: usize,
    progress: OnProgress<'_>,
) -> KernelResult<ArchiveReport> {
    if kernel.options().read_only {
        return Err(KernelError::invalid("the database was opened read-only"));
    }
    // Only an open database may be written to.
    drop(kernel.pin_log(u64::MAX)?);
    let (vfs, codecs) = (kernel.vfs(), kernel.plugins());
    let by = codecs.compression(codec)?;
    let _one = COMPRESSING.lock();
    remove_unfinished(vfs)?;
    let mut report = ArchiveReport::default();
    let mut meter = Meter::new(0, progress);
    meter.begin("the archive");
    for start in log_starts(vfs, ARCHIVE_DIR)? {
        if report.compressed == files_max as u64 {
            break;
        }
        let name = plain_name(ARCHIVE_DIR, start);
        let raw = read_whole(vfs, &name)?;
        meter.grow(raw.len() as u64);
        meter.begin(name.clone());
        match pack(&*by, &raw).map(|packed| replace(vfs, codecs, &name, &raw, &packed)) {
            Ok(Ok(stored_bytes)) => {
                report.compressed += 1;
                report.raw_bytes += raw.len() as u64;
                report.stored_bytes += stored_bytes;
            }
            Ok(Err(error)) if error.kind() != ErrorKind::Plugin => return Err(error),
            Ok(Err(error)) | Err(error) => {
                report.refused += 1;
                report.refusal.get_or_insert(error);
            }
        }
        meter.add(raw.len() as u64);
    }
    meter.end();
    Ok(report)
}

/// Puts the compressed file `packed` in the place of the file `name`, which holds `raw`. Returns how long it is.
///
/// # Errors
/// As [`compress_archive`]; `Plugin` when the codec does not bring `raw` back.
fn replace(
    vfs: &dyn Vfs,
    codecs: &PluginManager,
    name: &str,
    raw: &[u8],
    packed: &[u8],
) -> KernelResult<u64> {
    let io = |error| KernelError::io(format!("compress {name}"), error);
    let (done, unfinished) = (format!("{name}{PACKED}"), format!("{name}{PACKED}{UNFINISHED}"));
    let made = write(vfs, &unfinished, packed).map_err(io).and_then(|()| {
        let back = Packed::open(vfs, &unfinished)?;
        let back = back.read(codecs, 0..back.raw_bytes())?;
        // Each block was compared by its checksum; all of them, byte by byte, once.
        if back == raw {
            Ok(())
        } else {
            Err(KernelError::corrupt(&unfinished, 0, name, "other bytes"))
        }
    });
    if let Err(error) = made {
        // The first error is what counts; what is left is removed the next time.
        let _ = vfs.remove(&unfinished);
        return Err(error);
    }
    let rename = || {
        vfs.rename(&unfinished, &done)?;
        // Not before the new name is on disk may the old one go.
        vfs.sync_dir(ARCHIVE_DIR)?;
        vfs.remove(name)?;
        vfs.sync_dir(ARCHIVE_DIR)
    };
    rename().map_err(io)?;
    Ok(packed.len() as u64)
}

fn write(vfs: &dyn Vfs, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = vfs.open(name, OpenMode::Create)?;
    file.write_at(0, bytes)?;
    file.sync()
}

/// Removes what a crash left of a file that was being made.
fn remove_unfinished(vfs: &dyn Vfs) -> KernelResult<()> {
    let io = |error| KernelError::io(format!("tidy up {ARCHIVE_DIR}"), error);
    let names = vfs.list(ARCHIVE_DIR).map_err(io)?;
    let unfinished =
        |name: &&String| name.strip_suffix(UNFINISHED).and_then(packed_start).is_some();
    for name in names.iter().filter(unfinished) {
        vfs.remove(&format!("{ARCHIVE_DIR}/{name}")).map_err(io)?;
    }
    Ok(())
}

fn read_whole(vfs: &dyn Vfs, name: &str) -> KernelResult<Vec<u8>> {
    let read = || {
        let file = vfs.open(name, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        file.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| KernelError::io(format!("read {name}"), error))
}

/// The log file in the folder `dir` that begins at `start`.
fn plain_name(dir: &str, start: u64) -> String {
    format!("{dir}/{start:016x}.wal")
}

/// Where the log begins in the compressed file `name`; `None` when it is none.
fn packed_start(name: &str) -> Option<u64> {
    let hex = name.strip_suffix(PACKED)?.strip_suffix(".wal")?;
    u64::from_str_radix(hex, 16).ok()
}

/// Where the log's compressed files in the folder `dir` begin, sorted.
///
/// # Errors
/// `Unavailable` when the disk refuses.
fn packed_starts(vfs: &dyn Vfs, dir: &str) -> KernelResult<Vec<u64>> {
    let names = vfs.list(dir);
    let names = names.map_err(|error| KernelError::io(format!("list the folder {dir}"), error))?;
    let mut starts: Vec<u64> = names.iter().filter_map(|name| packed_start(name)).collect();
    starts.sort_unstable();
    Ok(starts)
}

/// Where the log's files in the folder `dir` begin, compressed or not, sorted.
///
/// # Errors
/// `Unavailable` when the disk refuses.
pub(crate) fn all_starts(vfs: &dyn Vfs, dir: &str) -> KernelResult<Vec<u64>> {
    // In this order a file that is being compressed meanwhile is seen at least once.
    let mut starts = log_starts(vfs, dir)?;
    starts.append(&mut packed_starts(vfs, dir)?);
    starts.sort_unstable();
    starts.dedup();
    Ok(starts)
}

/// Checks the compressed files of the archive: their checksums, and if `deep` that they can be restored. Tells
/// `each` of every file how it is.
///
/// # Errors
/// `Unavailable` when the folder cannot be listed.
pub(crate) fn check_packed(
    vfs: &dyn Vfs,
    codecs: &PluginManager,
    deep: bool,
    each: &mut dyn FnMut(KernelResult<()>),
) -> KernelResult<()> {
    for start in packed_starts(vfs, ARCHIVE_DIR)? {
        let name = format!("{}{PACKED}", plain_name(ARCHIVE_DIR, start));
        each(Packed::open(vfs, &name).and_then(|packed| packed.check(codecs, deep)));
    }
    Ok(())
}

/// A file of the log, open, whichever way it is stored.
pub(crate) enum LogBytes {
    /// As the kernel wrote it.
    Plain(Arc<dyn VfsFile>, String),
    /// Compressed.
    Packed(Packed),
}

impl LogBytes {
    /// Opens the log file in the folder `dir` that begins at `start`.
    ///
    /// # Errors
    /// `Corrupt`, `Unavailable`.
    pub fn open(vfs: &dyn Vfs, dir: &str, start: u64) -> KernelResult<LogBytes> {
        let name = plain_name(dir, start);
        match vfs.open(&name, OpenMode::Read) {
            Ok(file) => Ok(LogBytes::Plain(file, name)),
            // It may have been compressed just now, or long ago.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let packed = format!("{name}{PACKED}");
                match vfs.open(&packed, OpenMode::Read) {
                    Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                        Err(KernelError::io(format!("read {name}"), error))
                    }
                    _ => Packed::open(vfs, &packed).map(LogBytes::Packed),
                }
            }
            Err(error) => Err(KernelError::io(format!("read {name}"), error)),
        }
    }

    /// Its name in the directory.
    pub fn name(&self) -> &str {
        match self {
            LogBytes::Plain(_, name) => name,
            LogBytes::Packed(packed) => packed.name(),
        }
    }

    /// How many bytes it has, as the kernel wrote it.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn len(&self) -> KernelResult<u64> {
        match self {
            LogBytes::Plain(file, name) => {
                file.len().map_err(|error| KernelError::io(format!("read {name}"), error))
            }
            LogBytes::Packed(packed) => Ok(packed.raw_bytes()),
        }
    }

    /// The bytes of `range` as far as the file reaches.
    ///
    /// # Errors
    /// `Unavailable`; of a compressed file `Corrupt` and `Plugin` too.
    pub fn read(&self, codecs: &PluginManager, range: Range<u64>) -> KernelResult<Vec<u8>> {
        let end = range.end.min(self.len()?);
        let range = range.start.min(end)..end;
        match self {
            LogBytes::Plain(file, name) => {
                let bytes = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                let mut bytes = vec![0; bytes];
                let got = file.read_at(range.start, &mut bytes);
                bytes
                    .truncate(got.map_err(|error| KernelError::io(format!("read {name}"), error))?);
                Ok(bytes)
            }
            LogBytes::Packed(packed) => packed.read(codecs, range),
        }
    }

    /// All of it, with zeroes for what cannot be restored, and why it cannot be.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses to read a file that is not compressed.
    pub fn salvage(&self, codecs: &PluginManager) -> KernelResult<(Vec<u8>, Option<KernelError>)> {
        match self {
            LogBytes::Plain(..) => Ok((self.read(codecs, 0..u64::MAX)?, None)),
            LogBytes::Packed(packed) => Ok(packed.salvage(codecs)),
        }
    }
}

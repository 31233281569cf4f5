//! Many backups of a database in one directory, each as large as what changed since the one before.
//!
//! ```text
//!   backups/monday.backup ──▶ lists of regions ──▶ chunks of the data file    packs/00000001.pack
//!   backups/tuesday.backup ─┬▶ the same lists ───▶ the same chunks            packs/00000002.pack
//!                           └▶ lists that differ ▶ chunks that are new
//! ```
//!
//! | file                   | what it is                                                              |
//! |------------------------|-------------------------------------------------------------------------|
//! | `sochdb-backups`       | says that this is a repository: the 17 bytes `SochDB backups 1` and a newline |
//! | `LOCK`                 | who saves, verifies, restores or prunes has it: one at a time           |
//! | `packs/<number>.pack`  | chunks, named by their BLAKE3 hashes: a table in `pack`                 |
//! | `backups/<name>.backup` | one backup: a table in `manifest`                                      |
//!
//! A chunk is what the kernel wrote together: a page of a tree, a large value, neighbouring blocks of a segment,
//! at most 64 KiB. The kernel never writes over a page that a checkpoint reaches, so what did not change has the
//! same bytes in the same place, is the same chunk, and is saved once. Every page is read and compared with its
//! checksum for each backup all the same: rot in the database is found the day it can still be restored.
//!
//! A backup also has the log from where the one before it ends, if the database still has that
//! ([`Options::wal_archive`]), and the times recorded since, its own among them: so the repository alone can
//! restore any commit between two of its backups.
//!
//! Whatever is cut short leaves every backup good. Chunks are on disk before the manifest that names them is
//! written; manifests are gone before the chunks are that nobody names any more.
//!
//! [`Options::wal_archive`]: sochdb_kernel::Options::wal_archive

mod chunks;
mod manifest;
mod pack;
mod prune;
mod restore;
mod save;
mod verify;
mod view;

pub use prune::{Keep, PruneReport};
pub use save::SaveReport;
pub use verify::{VerifiedBackup, VerifyReport};

use chunks::Chunks;
use manifest::Manifest;
use pack::PACKS_DIR;
use sochdb_kernel::inspect::LOCK_FILE;
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsLock};
use sochdb_kernel::{KernelError, KernelResult, Timestamp};
use std::io;
use std::sync::Arc;

/// BLAKE3 of a chunk's bytes.
type Hash = [u8; 32];
/// In the place of a hash where there is no chunk.
const NOTHING: Hash = [0; 32];
/// The folder of the manifests.
const BACKUPS_DIR: &str = "backups";
/// Whoever has this file is a repository.
const MARKER: &str = "sochdb-backups";
const MARKER_TEXT: &[u8] = b"SochDB backups 1\n";

/// A directory of backups.
///
/// ```
/// use sochdb_kernel::{Kernel, Options, TableOptions};
/// use sochdb_kernel::plugin::PluginManager;
/// use sochdb_operations::{Keep, Moment, Repository};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (home, target) = (sochdb_sim::memory(), sochdb_sim::memory());
/// let kernel = Kernel::open(sochdb_sim::memory(), Options::default())?;
/// kernel.create_table("users", TableOptions::default())?;
/// kernel.run(|tx| tx.put("users", b"ada", b"countess"))?;
///
/// let backups = Repository::create(home.vfs)?;
/// let now_us = 1_795_339_800_000_000;
/// backups.save(&kernel, "monday", now_us, &mut |_| {})?;
/// kernel.run(|tx| tx.delete("users", b"ada"))?;
/// backups.save(&kernel, "tuesday", now_us + 86_400_000_000, &mut |_| {})?;
/// assert!(backups.verify(None, &mut |_| {})?.is_good());
///
/// let plugins = PluginManager::default();
/// backups.restore(Some("monday"), &[], &plugins, &target, Moment::Newest, &mut |_| {})?;
/// let restored = Kernel::open(target, Options::default())?;
/// assert_eq!(restored.begin_read()?.get("users", b"ada")?.unwrap(), b"countess");
///
/// let pruned = backups.prune(Keep { last: 1, ..Keep::default() }, false, &mut |_| {})?;
/// assert_eq!(pruned.removed, ["monday"]);
/// # Ok(())
/// # }
/// ```
pub struct Repository {
    vfs: Arc<dyn Vfs>,
}

/// One backup of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupInfo {
    /// Its name.
    pub name: String,
    /// When it was made, in microseconds since 1970.
    pub made_us: u64,
    /// It holds every commit up to this one.
    pub commit: Timestamp,
    /// Identity of the database.
    pub database: u64,
    /// The database's directory, as it was called then.
    pub source: String,
    /// Bytes of the data file.
    pub data_bytes: u64,
    /// Bytes of log.
    pub log_bytes: u64,
    /// How much larger it made the repository.
    pub added_bytes: u64,
}

impl Repository {
    /// Whether the directory `vfs` is a repository.
    ///
    /// # Errors
    /// `Unavailable` when the disk refuses.
    pub fn is_one(vfs: &dyn Vfs) -> KernelResult<bool> {
        match vfs.open(MARKER, OpenMode::Read) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
            Err(error) => Err(io_in(vfs, "open")(error)),
        }
    }

    /// The repository in the directory `vfs`.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Unavailable` when a newer program made it, or the disk refuses.
    pub fn open(vfs: Arc<dyn Vfs>) -> KernelResult<Repository> {
        if !Repository::is_one(&*vfs)? {
            let name = vfs.root();
            return Err(KernelError::NotFound { kind: "repository of backups", name });
        }
        let text = read_whole(&*vfs, MARKER)?;
        if text == MARKER_TEXT {
            return Ok(Repository { vfs });
        }
        if text.starts_with(b"SochDB backups ") {
            return Err(KernelError::unavailable(format!(
                "open {}: its format is newer than this program's; use a newer sochdb",
                vfs.root()
            )));
        }
        let found = format!("{} other bytes", text.len());
        Err(KernelError::corrupt(MARKER, 0, "SochDB backups 1", found))
    }

    /// The same, made first if the directory is empty or missing.
    ///
    /// # Errors
    /// `Invalid` when the directory holds anything else; as [`open`](Self::open).
    pub fn create(vfs: Arc<dyn Vfs>) -> KernelResult<Repository> {
        if Repository::is_one(&*vfs)? {
            return Repository::open(vfs);
        }
        let unfinished = format!("{MARKER}.new");
        let names = vfs.list("").map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => {
                KernelError::Invalid(format!("{} is a file; name a directory", vfs.root()))
            }
            _ => io_in(&*vfs, "make backups in")(error),
        })?;
        if let Some(other) = names.iter().find(|name| **name != LOCK_FILE && **name != unfinished) {
            return Err(KernelError::Invalid(format!(
                "{} holds '{other}' and is no repository of backups; name an empty directory",
                vfs.root()
            )));
        }
        vfs.create_dir("").map_err(io_in(&*vfs, "make"))?;
        let held = lock(&*vfs)?;
        let make = || {
            match vfs.remove(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let file = vfs.open(&unfinished, OpenMode::Create)?;
            file.write_at(0, MARKER_TEXT)?;
            file.sync()?;
            vfs.rename(&unfinished, MARKER)?;
            vfs.sync_dir("")
        };
        make().map_err(io_in(&*vfs, "make backups in"))?;
        drop(held);
        Repository::open(vfs)
    }

    /// The backups, oldest first.
    ///
    /// # Errors
    /// `Corrupt` when a manifest is not what was written, `Unavailable`.
    pub fn list(&self) -> KernelResult<Vec<BackupInfo>> {
        Ok(self.manifests()?.iter().map(BackupInfo::of).collect())
    }

    fn manifests(&self) -> KernelResult<Vec<Manifest>> {
        let names = manifest::names(&*self.vfs)?;
        let read = names.iter().map(|name| Manifest::read(&*self.vfs, name));
        let mut manifests = read.collect::<KernelResult<Vec<_>>>()?;
        manifests.sort_by(|a, b| (a.made_us, &a.name).cmp(&(b.made_us, &b.name)));
        Ok(manifests)
    }
}

impl BackupInfo {
    fn of(manifest: &Manifest) -> BackupInfo {
        BackupInfo {
            name: manifest.name.clone(),
            made_us: manifest.made_us,
            commit: Timestamp(manifest.commit),
            database: manifest.database,
            source: manifest.source.clone(),
            data_bytes: sochdb_kernel::inspect::offset(manifest.pages),
            log_bytes: manifest.log_end - manifest.log_start,
            added_bytes: manifest.added_bytes,
        }
    }
}

/// Takes the lock of the repository in `vfs`.
fn lock(vfs: &dyn Vfs) -> KernelResult<Box<dyn VfsLock>> {
    let lock = vfs.lock(LOCK_FILE).map_err(io_in(vfs, "lock"))?;
    let held = "another process or handle has it open; wait until that is done";
    lock.ok_or_else(|| KernelError::unavailable(format!("open {}: {held}", vfs.root())))
}

/// The repository's chunks, and the lock that keeps them there.
struct Opened {
    chunks: Chunks,
    _lock: Option<Box<dyn VfsLock>>,
}

impl Opened {
    /// For reading. Where nothing can be written nobody prunes either, and no lock is needed.
    fn new(vfs: &Arc<dyn Vfs>) -> KernelResult<Opened> {
        let cannot_write = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
        let lock = match lock(&**vfs) {
            Err(KernelError::Unavailable { source: Some(error), .. })
                if cannot_write.contains(&error.kind()) =>
            {
                None
            }
            lock => Some(lock?),
        };
        Ok(Opened { chunks: Chunks::open(vfs.clone())?, _lock: lock })
    }
}

/// The operating system failed while we tried to do `what` with the directory.
fn io_in(vfs: &dyn Vfs, what: &str) -> impl Fn(io::Error) -> KernelError + use<> {
    let what = format!("{what} {}", vfs.root());
    move |error| KernelError::io(what.clone(), error)
}

/// Everything in the file `name`.
fn read_whole(vfs: &dyn Vfs, name: &str) -> KernelResult<Vec<u8>> {
    let read = || {
        let file = vfs.open(name, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        file.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| KernelError::io(format!("read {name}"), error))
}

//! A folder of compiled code, trusted only while it is ours alone.
//!
//! ```text
//!   code/                 ours, closed to everybody else (0700)
//!     key                 32 secret bytes, made at first use (0600)
//!     7c1e...04.code      one sealed artifact (0600), named after its id; format in `artifact.rs`
//!     new-51c0...         being written
//! ```
//!
//! Loaded code runs with all our rights, so whatever is not as above counts as not there: the entry is
//! removed, a warning is logged, and the component is compiled again. No trouble here is ever the user's:
//! a full disk or a read-only folder only means that the next start is slow again.
//!
//! 1. The folder, the key and an entry belong to the user this process runs as, and group and others have
//!    no rights on them. The folder is held open, its name is not looked up again, and no link is followed.
//! 2. An entry's seal holds under the key: what another user, another machine's copy or a failing disk put
//!    there is no code of ours.
//! 3. An entry appears whole, by a rename; a crash leaves a `new-` file at most, removed later.
//!
//! Several processes may share a folder. Whoever comes second finds an entry or replaces it by an equal
//! one; an entry removed while it is read is still read whole.
//!
//! It lies with the user and never in a database: a database from a stranger would bring its own key.

use super::artifact::{
    ARTIFACT_BYTES_MAX, Artifact, BadSeal, CodeId, HEADER_BYTES, Kept, NotUnsealed, SealKey,
};
use etcetera::{BaseStrategy, base_strategy};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fstat,
    futimens, linkat, open, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use sochdb_kernel::{KernelError, KernelResult};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The name of the key.
const KEY: &str = "key";
/// What the names of entries end with, and those of unfinished files begin with.
const ENTRY: &str = ".code";
const UNFINISHED: &str = "new-";
/// Seconds after which nobody is writing a file any more.
const UNFINISHED_S_MAX: i64 = 3600;
/// The rights of group and others.
const OTHERS: Mode = Mode::RWXG.union(Mode::RWXO);
/// How entries and key are opened: a link is an error, a named pipe does not make us wait.
const READ: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const CREATE: OFlags = OFlags::NOFOLLOW
    .union(OFlags::CLOEXEC)
    .union(OFlags::WRONLY)
    .union(OFlags::CREATE)
    .union(OFlags::EXCL);
const OURS: Mode = Mode::RUSR.union(Mode::WUSR);

/// How much a folder may hold; what was used longest ago goes first.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// 512 MiB: some hundred plugins.
    bytes_max: u64,
    /// 1000: looking through the folder stays quick.
    entries_max: usize,
}

const BOUNDS: Bounds = Bounds { bytes_max: 512 << 20, entries_max: 1000 };

/// A folder of compiled code, so that a plugin is compiled once and not at every start.
///
/// Cheap to clone; clones share the folder.
#[derive(Clone)]
pub struct CodeCache {
    inner: Arc<Inner>,
}

struct Inner {
    dir: OwnedFd,
    path: PathBuf,
    key: SealKey,
    bounds: Bounds,
}

impl std::fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CodeCache").field(&self.inner.path).finish()
    }
}

/// Why something in the folder is not used.
enum Distrust {
    /// It is not there, which is no reason to worry.
    Missing,
    Because(String),
}

impl From<Errno> for Distrust {
    fn from(error: Errno) -> Distrust {
        match error {
            Errno::NOENT => Distrust::Missing,
            Errno::LOOP => Distrust::Because("is a link".to_owned()),
            other => Distrust::Because(format!("cannot be read: {other}")),
        }
    }
}

impl From<NotUnsealed> for Distrust {
    fn from(error: NotUnsealed) -> Distrust {
        match error {
            NotUnsealed::BadSeal(BadSeal(why)) => Distrust::Because(why.to_owned()),
            NotUnsealed::Unreadable(error) => Distrust::Because(format!("cannot be read: {error}")),
        }
    }
}

impl CodeCache {
    /// Opens the cache in the folder `dir`, which is made if it is missing.
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be made or read, is a link, belongs to another user, or is open
    /// to the group or others.
    pub fn open(dir: &Path) -> KernelResult<CodeCache> {
        CodeCache::open_with(dir, BOUNDS)
    }

    /// The cache of the user whose process this is: `sochdb/code` where the system keeps caches
    /// (`$XDG_CACHE_HOME` or `~/.cache`). `None` when there is none to be had; that is logged.
    pub fn user() -> Option<CodeCache> {
        let caches = base_strategy::choose_native_strategy();
        let caches = caches.map(|places| places.cache_dir()).inspect_err(|error| {
            tracing::debug!(target: "sochdb::plugin", %error, "no folder to cache compiled code in");
        });
        let opened = CodeCache::open(&caches.ok()?.join("sochdb").join("code"));
        let opened = opened.inspect_err(|error| {
            tracing::warn!(target: "sochdb::plugin", %error, "compiled code is not cached");
        });
        opened.ok()
    }

    fn open_with(path: &Path, bounds: Bounds) -> KernelResult<CodeCache> {
        let shown = path.display();
        let failed = |error: io::Error| {
            KernelError::io(format!("open the cache of compiled code {shown}"), error)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let stat = fstat(&dir).map_err(|error| failed(error.into()))?;
        if let Err(why) = check(&stat, FileType::Directory) {
            return Err(KernelError::unavailable(format!(
                "use the cache of compiled code {shown}: it {why}"
            )));
        }
        let key = read_or_make_key(&dir, path).map_err(failed)?;
        Ok(CodeCache { inner: Arc::new(Inner { dir, path: path.to_owned(), key, bounds }) })
    }

    /// The artifact `id`, if it is there and can be trusted.
    pub(super) fn load(&self, id: &CodeId) -> Option<Kept> {
        let name = entry_name(id);
        match self.inner.read(&name, id) {
            Ok(kept) => Some(kept),
            Err(Distrust::Missing) => None,
            Err(Distrust::Because(why)) => {
                self.inner.warn(&name, &why);
                // It may be gone by now, or the folder read-only; it is not trusted then either.
                let _ = unlinkat(&self.inner.dir, &name, AtFlags::empty());
                None
            }
        }
    }

    /// Keeps `artifact` as `id`, if that is possible.
    pub(super) fn store(&self, id: &CodeId, artifact: &Artifact) {
        let inner = &*self.inner;
        let len = HEADER_BYTES as u64 + artifact.len();
        if inner.bounds.bytes_max.min(ARTIFACT_BYTES_MAX) < len {
            return;
        }
        let name = entry_name(id);
        let done = inner.check_dir().and_then(|()| {
            let header = artifact.header(&inner.key, id);
            let unfinished = write_new(&inner.dir, &[&header, artifact.artifact()])?;
            let renamed = renameat(&inner.dir, &unfinished, &inner.dir, &name);
            if renamed.is_err() {
                let _ = unlinkat(&inner.dir, &unfinished, AtFlags::empty());
            }
            Ok(renamed?)
        });
        match done.and_then(|()| inner.evict()) {
            Ok(()) => {}
            Err(error) => inner.warn(&name, &format!("is not kept: {error}")),
        }
    }
}

impl Inner {
    fn warn(&self, name: &str, why: &str) {
        let path = self.path.join(name);
        let path = path.display();
        tracing::warn!(target: "sochdb::plugin", "compiled code in {path} {why}");
    }

    /// Whether the folder is still ours alone; somebody may have changed that since it was opened.
    fn check_dir(&self) -> io::Result<()> {
        let stat = fstat(&self.dir)?;
        check(&stat, FileType::Directory)
            .map_err(|why| io::Error::other(format!("the folder {why}")))
    }

    fn read(&self, name: &str, id: &CodeId) -> Result<Kept, Distrust> {
        self.check_dir().map_err(|error| Distrust::Because(format!("is not trusted: {error}")))?;
        let (file, len) = open_ours(&self.dir, name, HEADER_BYTES as u64 + ARTIFACT_BYTES_MAX)?;
        let kept = Kept::unseal(&file, len, &self.key, id)?;
        // So that what is used stays. Where the file system is read-only, nothing is removed either.
        let _ = futimens(&file, &TOUCHED);
        Ok(kept)
    }

    /// Removes what was used longest ago until the rest is within the bounds, and files left unfinished.
    fn evict(&self) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            let name = entry?.file_name().to_owned();
            let Ok(stat) = statat(&self.dir, &name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let text = name.to_string_lossy();
            if text.ends_with(ENTRY) {
                entries.push((stat.st_mtime, stat.st_mtime_nsec, stat.st_size as u64, name));
            } else if text.starts_with(UNFINISHED) && UNFINISHED_S_MAX < now - stat.st_mtime {
                let _ = unlinkat(&self.dir, &name, AtFlags::empty());
            }
        }
        entries.sort();
        let mut bytes: u64 = entries.iter().map(|(_, _, bytes, _)| bytes).sum();
        let mut count = entries.len();
        for (_, _, entry_bytes, name) in &entries {
            if bytes <= self.bounds.bytes_max && count <= self.bounds.entries_max {
                break;
            }
            match unlinkat(&self.dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            bytes -= entry_bytes;
            count -= 1;
        }
        Ok(())
    }
}

/// Now as the time of last change; the time of access stays.
const TOUCHED: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
};

fn entry_name(id: &CodeId) -> String {
    format!("{}{ENTRY}", id.hex())
}

/// Whether something is of `kind`, ours, and closed to everybody else.
fn check(stat: &Stat, kind: FileType) -> Result<(), String> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    if FileType::from_raw_mode(stat.st_mode) != kind {
        return Err(format!("is not a {kind:?}"));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(format!("belongs to the user {}, not to us", stat.st_uid));
    }
    if mode.intersects(OTHERS) {
        return Err(format!("is open to group or others (mode {:o})", mode.bits()));
    }
    Ok(())
}

/// Opens a file of ours, of at most `bytes_max`, and tells its size.
fn open_ours(dir: &OwnedFd, name: &str, bytes_max: u64) -> Result<(File, u64), Distrust> {
    let file = openat(dir, name, READ, Mode::empty())?;
    let stat = fstat(&file)?;
    check(&stat, FileType::RegularFile).map_err(Distrust::Because)?;
    let len = stat.st_size as u64;
    if bytes_max < len {
        return Err(Distrust::Because(format!("has {len} bytes, which is too much")));
    }
    Ok((file.into(), len))
}

fn read_whole(file: &File, len: u64) -> Result<Vec<u8>, Distrust> {
    let mut bytes = Vec::with_capacity(len as usize);
    let read = file.take(len).read_to_end(&mut bytes);
    read.map_err(|error| Distrust::Because(format!("cannot be read: {error}")))?;
    Ok(bytes)
}

/// Writes `parts` to a file of a new name, and returns that.
fn write_new(dir: &OwnedFd, parts: &[&[u8]]) -> io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let name = format!("{UNFINISHED}{:016x}", u64::from_le_bytes(random));
    let mut file = File::from(openat(dir, &name, CREATE, OURS)?);
    match parts.iter().try_for_each(|part| file.write_all(part)) {
        Ok(()) => Ok(name),
        Err(error) => {
            let _ = unlinkat(dir, &name, AtFlags::empty());
            Err(error)
        }
    }
}

/// The folder's key. One that cannot be trusted is replaced: what it sealed is not trusted either.
fn read_or_make_key(dir: &OwnedFd, path: &Path) -> io::Result<SealKey> {
    // Twice suffices unless others replace the key over and over.
    for _ in 0..8 {
        match read_key(dir) {
            Ok(key) => return Ok(key),
            Err(Distrust::Missing) => {}
            Err(Distrust::Because(why)) => {
                let path = path.join(KEY);
                tracing::warn!(target: "sochdb::plugin", "the key {} {why}; a new one is made", path.display());
                match unlinkat(dir, KEY, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let SealKey(key) = SealKey::random().map_err(io::Error::other)?;
        let unfinished = write_new(dir, &[&key])?;
        // Unlike a rename, a link does not replace the key that somebody else made meanwhile.
        let linked = linkat(dir, &unfinished, dir, KEY, AtFlags::empty());
        let _ = unlinkat(dir, &unfinished, AtFlags::empty());
        match linked {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other("its key is replaced again and again"))
}

fn read_key(dir: &OwnedFd) -> Result<SealKey, Distrust> {
    let (file, len) = open_ours(dir, KEY, 32)?;
    let key = read_whole(&file, len)?;
    let key = key.try_into().map_err(|_| Distrust::Because(format!("has {len} bytes, not 32")))?;
    Ok(SealKey(key))
}

#[cfg(test)]
mod tests;

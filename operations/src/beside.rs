//! Reading a database while another process has it open.
//!
//! The owner goes on as if nobody were there; the reader sees the database as it was when it was opened, and
//! changes nothing but a file that says that it is there.
//!
//! ```text
//!   lock LOCK ── free ──▶ nobody else is there: an ordinary read-only opening, which keeps others out
//!        └─ held ──▶ lock readers/NUMBER ──▶ remember the two meta pages ──▶ copy the log
//!                                                 ▲─────── meta pages changed ───────┘
//! ```
//!
//! 1. The log is copied from its end to its beginning while the owner appends to it, each piece read until two readings
//!    are the same, so the copy never has a commit without those before it, and has every commit that was acknowledged
//!    before the opening.
//! 2. The pages that a checkpoint's record reaches are written again only after the next checkpoint. After each
//!    read of the data file the meta pages are read once more: if they are still the same, what was read is right;
//!    if not, the read fails, and says that the database is to be opened again.
//! 3. Who has the database open asks [`has_readers`] before a checkpoint that can wait a while, so a reader
//!    has that while for sure. Only a reader that lives holds its lock; what dead ones left is removed.

use parking_lot::Mutex;
use sochdb_kernel::inspect::{
    DATA_FILE, LOCK_FILE, META_PAGES, Meta, WAL_DIR, log_starts, segment_name,
};
use sochdb_kernel::limits::PAGE_BYTES;
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile, VfsLock};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder in which each reader has a file that it holds a lock on.
pub const READERS_DIR: &str = "readers";
/// Owners whose checkpoints follow each other faster than their log can be copied so often give up.
const ATTEMPTS_MAX: usize = 100;
/// The log is copied in pieces of this size, the last one first.
const PIECE_BYTES: usize = 4096;

/// A database's directory as a reader beside its owner sees it: nothing can be written, and the log is as it was
/// when the directory's lock was asked for. Without an owner it is the directory itself, read-only.
pub struct Beside {
    inner: Arc<dyn Vfs>,
    view: Mutex<Option<View>>,
}

/// What was copied, and the reader's own lock.
struct View {
    log: BTreeMap<String, Arc<Copied>>,
    _announced: Option<Announced>,
}

impl Beside {
    /// The directory `inner`, for one opening of its database.
    pub fn new(inner: Arc<dyn Vfs>) -> Beside {
        Beside { inner, view: Mutex::new(None) }
    }

    /// The lock of one who is alone, or a view of what the owner has.
    fn look(&self) -> io::Result<Box<dyn VfsLock>> {
        if let Some(lock) = self.inner.lock(LOCK_FILE)? {
            return Ok(lock);
        }
        let announced = Announced::new(self.inner.clone())?;
        for _ in 0..ATTEMPTS_MAX {
            let data = Watched::new(self.inner.open(DATA_FILE, OpenMode::Read)?)?;
            let log = copy_log(&*self.inner, &data);
            if data.check().is_ok() {
                *self.view.lock() = Some(View { log: log?, _announced: announced });
                return Ok(Box::new(NoLock));
            }
        }
        Err(moved())
    }
}

impl Vfs for Beside {
    fn root(&self) -> String {
        self.inner.root()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        if mode != OpenMode::Read {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        match &*self.view.lock() {
            Some(_) if name == DATA_FILE => {
                Ok(Arc::new(Watched::new(self.inner.open(name, mode)?)?))
            }
            Some(view) if name.starts_with(WAL_DIR) => match view.log.get(name) {
                Some(copy) => Ok(copy.clone()),
                None => Err(io::ErrorKind::NotFound.into()),
            },
            _ => self.inner.open(name, mode),
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        match &*self.view.lock() {
            Some(view) if dir == WAL_DIR => {
                let names = view.log.keys().filter_map(|name| name.split('/').next_back());
                Ok(names.map(str::to_owned).collect())
            }
            _ => self.inner.list(dir),
        }
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

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn VfsLock>>> {
        if name == LOCK_FILE { self.look().map(Some) } else { self.inner.lock(name) }
    }
}

struct NoLock;

impl VfsLock for NoLock {}

/// The data file, whose owner may make a checkpoint at any time.
struct Watched {
    file: Arc<dyn VfsFile>,
    /// Both meta pages as they were at first.
    meta: Vec<u8>,
}

impl Watched {
    fn new(file: Arc<dyn VfsFile>) -> io::Result<Watched> {
        Ok(Watched { meta: meta_pages(&*file)?, file })
    }

    fn check(&self) -> io::Result<()> {
        if meta_pages(&*self.file)? == self.meta { Ok(()) } else { Err(moved()) }
    }
}

fn meta_pages(file: &dyn VfsFile) -> io::Result<Vec<u8>> {
    let mut pages = vec![0; META_PAGES as usize * PAGE_BYTES];
    file.read_exact_at(0, &mut pages)?;
    Ok(pages)
}

fn moved() -> io::Error {
    let why = "the process that has this database open made a checkpoint meanwhile; open it again";
    io::Error::new(io::ErrorKind::StaleNetworkFileHandle, why)
}

impl VfsFile for Watched {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read_at(offset, buf)?;
        self.check().map(|()| got)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// The log from where the newest checkpoint in `data` needs it, newest segment first.
fn copy_log(vfs: &dyn Vfs, data: &Watched) -> io::Result<BTreeMap<String, Arc<Copied>>> {
    let meta = Meta::read(data).map_err(io::Error::other)?;
    let starts = log_starts(vfs, WAL_DIR).map_err(io::Error::other)?;
    let needed = starts.partition_point(|&start| start <= meta.lsn).saturating_sub(1);
    let copy = |start: &u64| {
        let name = segment_name(*start);
        let copy = Copied::new(&*vfs.open(&name, OpenMode::Read)?)?;
        Ok((name, Arc::new(copy)))
    };
    starts[needed..].iter().rev().map(copy).collect()
}

/// A segment of the log as it was.
struct Copied(Vec<u8>);

impl Copied {
    fn new(file: &dyn VfsFile) -> io::Result<Copied> {
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        let mut at = bytes.len().next_multiple_of(PIECE_BYTES);
        while 0 < at {
            at -= PIECE_BYTES;
            let end = bytes.len().min(at + PIECE_BYTES);
            read_settled(file, at as u64, &mut bytes[at..end])?;
        }
        Ok(Copied(bytes))
    }
}

/// Reads until nothing has changed from one reading to the next: a write in the middle of a reading may show its end
/// without its beginning. Who writes only appends, so a piece is full after few writes.
fn read_settled(file: &dyn VfsFile, at: u64, piece: &mut [u8]) -> io::Result<()> {
    file.read_exact_at(at, piece)?;
    for _ in 0..PIECE_BYTES {
        let before = piece.to_vec();
        file.read_exact_at(at, piece)?;
        if before == piece {
            return Ok(());
        }
    }
    Err(moved())
}

impl VfsFile for Copied {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let count = buf.len().min(self.0.len() - from);
        buf[..count].copy_from_slice(&self.0[from..from + count]);
        Ok(count)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// A reader's file, locked as long as it reads.
struct Announced {
    vfs: Arc<dyn Vfs>,
    name: String,
    lock: Option<Box<dyn VfsLock>>,
}

impl Announced {
    /// Says that somebody reads; nothing where the reader may not write.
    fn new(vfs: Arc<dyn Vfs>) -> io::Result<Option<Announced>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{READERS_DIR}/{}-{number}", std::process::id());
            match vfs.create_dir(READERS_DIR).and_then(|()| vfs.lock(&name)) {
                Ok(Some(lock)) => {
                    // In memory a lock makes no file.
                    let _ = vfs.open(&name, OpenMode::Create);
                    return Ok(Some(Announced { vfs, name, lock: Some(lock) }));
                }
                // The owner is just looking whether the file's lock is held.
                Ok(None) => {}
                Err(error) if is_refusal(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | StorageFull)
}

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = self.vfs.remove(&self.name);
        self.lock = None;
    }
}

/// Whether somebody reads the database in `vfs` beside its owner, who asks. Removes what readers left that ended
/// without a word.
pub fn has_readers(vfs: &dyn Vfs) -> bool {
    let names = vfs.list(READERS_DIR).unwrap_or_default();
    let mut some = false;
    for name in names.iter().map(|name| format!("{READERS_DIR}/{name}")) {
        match vfs.lock(&name) {
            Ok(Some(_lock)) => drop(vfs.remove(&name)),
            Ok(None) => some = true,
            Err(_) => {}
        }
    }
    some
}

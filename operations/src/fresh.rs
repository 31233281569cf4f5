//! A directory in which a database is being made, and which is none until it is done.
//!
//! The data file gets its name last. Until then it has another, with which the kernel neither opens the
//! directory nor makes a database there.

use sochdb_kernel::inspect::{ARCHIVE_DIR, DATA_FILE, LOCK_FILE, NEW_DATA_FILE, WAL_DIR};
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile, VfsLock};
use sochdb_kernel::{KernelError, KernelResult};
use std::io;
use std::sync::Arc;

/// A directory to make a database in.
pub(crate) struct Fresh<'a> {
    target: &'a dyn Vfs,
    /// The data file's name until it is done.
    unfinished: &'static str,
}

impl<'a> Fresh<'a> {
    pub fn new(target: &'a dyn Vfs, unfinished: &'static str) -> Fresh<'a> {
        Fresh { target, unfinished }
    }

    fn io(&self) -> impl Fn(io::Error) -> KernelError {
        let what = format!("make a database in {}", self.target.root());
        move |error| KernelError::io(what.clone(), error)
    }

    /// Refuses a directory that holds anything but what an unfinished attempt has left.
    ///
    /// # Errors
    /// `Invalid` that names what is there, `Unavailable`.
    pub fn refuse_used(&self) -> KernelResult<()> {
        let list = |dir| self.target.list(dir).map_err(self.io());
        let names = list("")?;
        let unfinished = names.iter().any(|name| name == self.unfinished);
        let mut used =
            names.into_iter().filter(|name| name != LOCK_FILE && name != self.unfinished);
        let mut log = list(WAL_DIR)?.into_iter().filter(|_| !unfinished);
        let found = used.next().or(log.next()).or(list(ARCHIVE_DIR)?.into_iter().next());
        found.map_or(Ok(()), |name| {
            let root = self.target.root();
            Err(KernelError::Invalid(format!("{root} holds '{name}'; name an empty directory")))
        })
    }

    /// Makes sure that the directory exists and takes its lock.
    ///
    /// # Errors
    /// `Unavailable` when somebody else has it.
    pub fn lock(&self) -> KernelResult<Box<dyn VfsLock>> {
        self.target.create_dir("").map_err(self.io())?;
        let lock = self.target.lock(LOCK_FILE).map_err(self.io())?;
        let taken =
            || KernelError::unavailable(format!("use {}: it is in use", self.target.root()));
        lock.ok_or_else(taken)
    }

    /// Removes what an unfinished attempt has left, the data file last.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn clear(&self) -> KernelResult<()> {
        let clear = || -> io::Result<()> {
            let target = self.target;
            if !target.list("")?.iter().any(|name| name == self.unfinished) {
                return Ok(());
            }
            for name in target.list(WAL_DIR)? {
                target.remove(&format!("{WAL_DIR}/{name}"))?;
            }
            target.create_dir(WAL_DIR)?;
            target.sync_dir(WAL_DIR)?;
            target.remove(self.unfinished)
        };
        clear().map_err(self.io())
    }

    /// Makes the data file, not yet by its name, and the log's folder.
    ///
    /// # Errors
    /// `Unavailable`.
    pub fn begin(&self) -> KernelResult<Arc<dyn VfsFile>> {
        let begin = || {
            let file = self.target.open(self.unfinished, OpenMode::Create)?;
            self.target.create_dir(WAL_DIR)?;
            self.target.sync_dir("")?;
            Ok(file)
        };
        begin().map_err(self.io())
    }

    /// Gives the data file its name: from here on this is a database.
    ///
    /// # Errors
    /// `Unavailable`; then it may or may not be one.
    pub fn finish(&self) -> KernelResult<()> {
        let rename = self.target.rename(self.unfinished, DATA_FILE);
        rename.and_then(|()| self.target.sync_dir("")).map_err(self.io())
    }
}

/// A directory whose data file has another name, and the kernel does not know.
pub(crate) struct Unnamed {
    vfs: Arc<dyn Vfs>,
    unfinished: &'static str,
}

impl Unnamed {
    pub fn new(vfs: Arc<dyn Vfs>, unfinished: &'static str) -> Unnamed {
        Unnamed { vfs, unfinished }
    }

    fn real<'n>(&self, name: &'n str) -> &'n str {
        if name == DATA_FILE || name == NEW_DATA_FILE { self.unfinished } else { name }
    }
}

impl Vfs for Unnamed {
    fn root(&self) -> String {
        self.vfs.root()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        self.vfs.open(self.real(name), mode)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = self.vfs.list(dir)?;
        let unfinished = names.iter_mut().filter(|name| *name == self.unfinished);
        unfinished.for_each(|name| DATA_FILE.clone_into(name));
        names.sort();
        Ok(names)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.vfs.create_dir(dir)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.vfs.remove(self.real(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.real(from), self.real(to));
        if from == to { Ok(()) } else { self.vfs.rename(from, to) }
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.vfs.sync_dir(dir)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn VfsLock>>> {
        self.vfs.lock(name)
    }
}

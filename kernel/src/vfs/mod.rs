//! The only code that opens a file. The crate `sochdb-sim` has directories in memory.
//!
//! A [`Vfs`] is one directory, the database's own. Names are relative, use `/`, and never contain
//! `..`; nothing outside the directory can be named. Three promises the rest of the kernel builds on:
//!
//! 1. Bytes given to `write_at` are on disk once a later [`VfsFile::sync`] has returned `Ok`; before
//!    that each 512-byte sector may hold the old or the new bytes after a crash.
//! 2. A file's name (created, renamed, removed) is on disk once [`Vfs::sync_dir`] has returned `Ok`.
//! 3. After a failed `sync` nobody knows what is on disk; the caller must not try again.

mod disk;

pub use disk::DiskVfs;

use std::io;
use std::sync::Arc;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// The file exists; only reads.
    Read,
    /// The file exists; reads and writes.
    Write,
    /// The file does not exist yet; reads and writes.
    Create,
}

/// One directory of files.
pub trait Vfs: Send + Sync {
    /// The directory's name, for messages to people.
    fn root(&self) -> String;

    /// Opens the file `name`.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists` with [`OpenMode::Create`], or the operating system's own.
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>>;

    /// The names of the files in the folder `dir` (`""` for the directory itself), sorted, without
    /// the folder's own name and without folders. A folder that does not exist is empty.
    ///
    /// # Errors
    /// The operating system's own.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Makes the folder `dir` (`""` for the directory itself, with its parents) unless it is there.
    ///
    /// # Errors
    /// The operating system's own.
    fn create_dir(&self, dir: &str) -> io::Result<()>;

    /// Removes the file `name`.
    ///
    /// # Errors
    /// `NotFound`, or the operating system's own.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives the file `from` the name `to`, replacing a file that has it.
    ///
    /// # Errors
    /// `NotFound`, or the operating system's own.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes the names in the folder `dir` durable.
    ///
    /// # Errors
    /// The operating system's own; then nobody knows which names are on disk.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Takes the exclusive lock on the file `name`, created if need be; `None` when another process
    /// or handle holds it. Dropping the lock, or the process ending, gives it back.
    ///
    /// # Errors
    /// The operating system's own.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn VfsLock>>>;
}

/// One open file.
#[allow(clippy::len_without_is_empty, reason = "files are no collections")]
pub trait VfsFile: Send + Sync {
    /// Reads from `offset` on into `buf`; returns fewer bytes than asked for only at the file's end.
    ///
    /// # Errors
    /// The operating system's own.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, growing the file (with zeroes) if need be.
    ///
    /// # Errors
    /// The operating system's own; then any part of `bytes` may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file's bytes and length durable.
    ///
    /// # Errors
    /// The operating system's own; see promise 3 of this module.
    fn sync(&self) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// The operating system's own.
    fn len(&self) -> io::Result<u64>;

    /// Cuts the file to `len` bytes, or grows it with zeroes.
    ///
    /// # Errors
    /// The operating system's own.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reads exactly `buf.len()` bytes from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before that, or the operating system's own.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        match self.read_at(offset, buf)? {
            got if got == buf.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// A held lock; dropping it gives it back.
pub trait VfsLock: Send + Sync {}

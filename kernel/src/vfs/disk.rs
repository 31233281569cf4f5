//! The real disk.

use super::{OpenMode, Vfs, VfsFile, VfsLock};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory on disk.
#[derive(Debug, Clone)]
pub struct DiskVfs {
    root: PathBuf,
}

impl DiskVfs {
    /// The directory `root`, which need not exist yet.
    pub fn new(root: impl AsRef<Path>) -> DiskVfs {
        DiskVfs { root: root.as_ref().to_path_buf() }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(name) }
    }
}

impl Vfs for DiskVfs {
    fn root(&self) -> String {
        self.root.display().to_string()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut options = File::options();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::Write => options.read(true).write(true),
            OpenMode::Create => options.read(true).write(true).create_new(true),
        };
        Ok(Arc::new(options.open(self.path(name))?))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(dir))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.path(dir))?.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn VfsLock>>> {
        let file = File::options().append(true).create(true).open(self.path(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(FileLock(file)))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The open file keeps the lock; the operating system drops it with the process.
struct FileLock(File);

impl VfsLock for FileLock {}

impl Drop for FileLock {
    /// Closing is not enough: the lock would last as long as the copy of the open file that a child has
    /// which another thread is starting at this moment.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl VfsFile for File {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match FileExt::read_at(self, &mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_given_back_though_a_child_has_a_copy_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let lock = FileLock(File::create(dir.path().join("lock")).unwrap());
        lock.0.try_lock().unwrap();
        // What a process that is being started has until it runs its program.
        let _copy = lock.0.try_clone().unwrap();
        let vfs = DiskVfs::new(dir.path());
        assert!(vfs.lock("lock").unwrap().is_none(), "held");
        drop(lock);
        assert!(vfs.lock("lock").unwrap().is_some(), "given back");
    }
}

//! A directory in memory: for tests, and for databases that need not outlive their process.

use parking_lot::{Mutex, RwLock};
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile, VfsLock};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// A directory that lives as long as its last clone.
#[derive(Clone, Default)]
pub struct MemoryVfs {
    files: Arc<Mutex<BTreeMap<String, Arc<MemoryFile>>>>,
    locks: Arc<Mutex<BTreeSet<String>>>,
}

impl MemoryVfs {
    /// An empty directory.
    pub fn new() -> MemoryVfs {
        MemoryVfs::default()
    }

    /// A copy of every file as it is now, as if the directory had been copied.
    pub fn fork(&self) -> MemoryVfs {
        let copy =
            |file: &Arc<MemoryFile>| Arc::new(MemoryFile(RwLock::new(file.0.read().clone())));
        let files =
            self.files.lock().iter().map(|(name, file)| (name.clone(), copy(file))).collect();
        MemoryVfs { files: Arc::new(Mutex::new(files)), locks: Arc::default() }
    }

    /// The names of all files in all folders, sorted.
    pub fn names(&self) -> Vec<String> {
        self.files.lock().keys().cloned().collect()
    }
}

impl Vfs for MemoryVfs {
    fn root(&self) -> String {
        "(memory)".to_owned()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut files = self.files.lock();
        match (files.get(name), mode) {
            (Some(_), OpenMode::Create) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), _) => Ok(file.clone()),
            (None, OpenMode::Create) => {
                let file = Arc::new(MemoryFile::default());
                files.insert(name.to_owned(), file.clone());
                Ok(file)
            }
            (None, _) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let files = self.files.lock();
        let inside = files.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(inside.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn create_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn VfsLock>>> {
        if !self.locks.lock().insert(name.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(MemoryLock { locks: self.locks.clone(), name: name.to_owned() })))
    }
}

struct MemoryLock {
    locks: Arc<Mutex<BTreeSet<String>>>,
    name: String,
}

impl VfsLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.locks.lock().remove(&self.name);
    }
}

#[derive(Default)]
struct MemoryFile(RwLock<Vec<u8>>);

impl VfsFile for MemoryFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.read();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = buf.len().min(bytes.len() - start);
        buf[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, new: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.write();
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::StorageFull)?;
        let end = start + new.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(new);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.read().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.write().resize(usize::try_from(len).map_err(|_| io::ErrorKind::StorageFull)?, 0);
        Ok(())
    }
}

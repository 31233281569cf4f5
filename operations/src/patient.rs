//! Waiting for another process to close a database.
//!
//! The operating system gives a lock back as soon as its process ends, however that ends. So whoever waits asks again
//! and again; nobody can keep the lock and be gone.

use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile, VfsLock};
use std::io;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// From one question to the next.
const PAUSE: Duration = Duration::from_millis(10);

/// A database's directory whose lock is waited for.
pub struct Patient {
    inner: Arc<dyn Vfs>,
    wait: Duration,
}

impl Patient {
    /// The directory `inner`. A lock that somebody holds is waited for, as long as `wait`.
    pub fn new(inner: Arc<dyn Vfs>, wait: Duration) -> Patient {
        Patient { inner, wait }
    }
}

impl Vfs for Patient {
    fn root(&self) -> String {
        self.inner.root()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        self.inner.open(name, mode)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.inner.create_dir(dir)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn VfsLock>>> {
        let began = Instant::now();
        loop {
            let lock = self.inner.lock(name)?;
            let left = self.wait.saturating_sub(began.elapsed());
            if lock.is_some() || left.is_zero() {
                return Ok(lock);
            }
            sleep(left.min(PAUSE));
        }
    }
}

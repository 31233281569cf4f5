//! Opening under the eyes of an operator, and the health of what was opened.
//!
//! | room     | question                                                                      |
//! |----------|-------------------------------------------------------------------------------|
//! | `phases` | do progress, budgets, metrics and states tell the truth about a real opening?  |
//! | `forced` | what does an operator get of a database whose log is damaged?                 |
//! | `health` | does the health say what is wrong, and only then?                             |
//!
//! The disk that fails is the kernel's own test disk.

#[path = "../files/engine.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod engine;
#[path = "../../../kernel/tests/sim/sim_disk.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod sim_disk;
#[path = "../../../kernel/tests/sim/sim_vfs.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod sim_vfs;

mod forced;
mod health;
mod phases;

use sim_disk::Disk;
use sim_vfs::SimVfs;
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile, VfsLock};
use sochdb_kernel::{Environment, Kernel, Options};
use sochdb_sim::ManualClock;
use std::io;
use std::sync::Arc;

/// A disk on which each call that reads or syncs takes its time.
#[derive(Clone)]
pub struct SlowVfs {
    vfs: SimVfs,
    clock: Arc<ManualClock>,
    call_us: u64,
}

impl Vfs for SlowVfs {
    fn root(&self) -> String {
        self.vfs.root()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        self.clock.advance(self.call_us);
        let (clock, call_us) = (self.clock.clone(), self.call_us);
        Ok(Arc::new(SlowFile { file: self.vfs.open(name, mode)?, clock, call_us }))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.clock.advance(self.call_us);
        self.vfs.list(dir)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        self.vfs.create_dir(dir)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.vfs.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.vfs.rename(from, to)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.clock.advance(self.call_us);
        self.vfs.sync_dir(dir)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn VfsLock>>> {
        self.vfs.lock(name)
    }
}

struct SlowFile {
    file: Arc<dyn VfsFile>,
    clock: Arc<ManualClock>,
    call_us: u64,
}

impl VfsFile for SlowFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.clock.advance(self.call_us);
        self.file.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.clock.advance(self.call_us);
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

/// A disk that answers at once.
pub fn disk() -> SimVfs {
    SimVfs::new(Disk::default(), 1)
}

/// An environment on `vfs` whose clock stands still.
pub fn quick(vfs: &SimVfs) -> Environment {
    slow(vfs, 0)
}

/// An environment on `vfs` where each call that reads or syncs takes `call_us` microseconds.
pub fn slow(vfs: &SimVfs, call_us: u64) -> Environment {
    let clock = Arc::new(ManualClock::default());
    let vfs = Arc::new(SlowVfs { vfs: vfs.clone(), clock: clock.clone(), call_us });
    Environment { vfs, clock, seed: 7 }
}

/// Small log files.
pub fn options() -> Options {
    Options { wal_segment_bytes: 64 << 10, ..Options::default() }
}

/// Opens a database as an embedder would, without an operator.
pub fn open(vfs: &SimVfs) -> Kernel {
    Kernel::open(quick(vfs), options()).unwrap()
}

/// Commits `rows` rows of `bytes` bytes to `table`, one transaction each.
pub fn fill(kernel: &Kernel, table: &str, rows: u32, bytes: usize) {
    if kernel.begin_read().unwrap().table(table).is_err() {
        kernel.create_table(table, Default::default()).unwrap();
    }
    for row in 0..rows {
        kernel.run(|tx| tx.put(table, &row.to_be_bytes(), &vec![row as u8; bytes])).unwrap();
    }
}

/// How many rows `table` has.
pub fn count(kernel: &Kernel, table: &str) -> usize {
    kernel.begin_read().unwrap().scan(table, ..).unwrap().map(Result::unwrap).count()
}

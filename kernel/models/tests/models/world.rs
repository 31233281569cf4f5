//! A database on a disk of its own, made in an instant, and what is left of it after a cut.

use crate::disk::{Disk, Fate, Image};
use crate::run;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::RandomScheduler;
use shuttle::thread::{self, JoinHandle};
use sochdb_kernel::limits::WAL_SEGMENT_BYTES_MIN;
use sochdb_kernel::{
    Clock, Durability, Environment, Kernel, KernelResult, Options, TableOptions, Transaction,
    TransactionOptions,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A clock that moves only when it is told to.
#[derive(Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Moves the clock forward by `us` microseconds.
    pub fn advance(&self, us: u64) {
        self.0.fetch_add(us, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn monotonic_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn unix_us(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An open database, its disk and its clock.
#[derive(Clone)]
pub struct World {
    pub disk: Disk,
    pub clock: Arc<ManualClock>,
    pub kernel: Kernel,
    fate: Fate,
    /// The power goes when a reader is shown something, not at a call to the disk.
    cut_when_shown: bool,
}

/// Small log segments; no cache, so that every read asks the disk; no checkpoint by itself.
fn options() -> Options {
    Options { cache_bytes_max: 0, wal_segment_bytes: WAL_SEGMENT_BYTES_MIN, ..Options::default() }
}

/// The files of a database with the table `t`, after `setup` and a clean end.
pub fn image(setup: impl Fn(&Kernel) -> KernelResult<()> + Send + Sync + 'static) -> Image {
    let made = Arc::new(Mutex::new(Image::new()));
    let result = made.clone();
    let model: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        let disk = Disk::default();
        let kernel = open(&disk, Arc::default());
        kernel.create_table("t", TableOptions::default()).expect("a table");
        setup(&kernel).expect("a healthy disk");
        kernel.close().expect("a healthy disk");
        *result.lock().expect("one thread") = disk.image();
    });
    run(RandomScheduler::new_from_seed(0, 1), &model);
    std::mem::take(&mut *made.lock().expect("one thread"))
}

/// Opens the database on `disk`.
pub fn open(disk: &Disk, clock: Arc<ManualClock>) -> Kernel {
    let env = Environment { vfs: Arc::new(disk.clone()), clock, seed: 7 };
    Kernel::open(env, options()).expect("a database that opens")
}

impl World {
    /// The database in `image`. The power goes at some call to the disk, up to the `calls`th, or when a
    /// reader is shown something, or at the end; what that leaves is for [`after_cut`](Self::after_cut).
    pub fn new(image: &Image, calls: u64) -> World {
        let disk = Disk::of(image);
        let clock = Arc::new(ManualClock::default());
        let kernel = open(&disk, clock.clone());
        let fate = match thread_rng().gen_range(0..4u8) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            _ => Fate::Mixed(thread_rng().r#gen()),
        };
        let cut_when_shown = thread_rng().gen_range(0..4u8) == 0;
        if !cut_when_shown {
            disk.cut_at(thread_rng().gen_range(1..=calls), fate);
        }
        World { disk, clock, kernel, fate, cut_when_shown }
    }

    /// The same, but the power goes the first time a reader is shown something, and takes all that was not
    /// synced.
    pub fn cut_when_shown(image: &Image) -> World {
        World { fate: Fate::Lost, cut_when_shown: true, ..World::new(image, u64::MAX / 2) }
    }

    /// Runs `f` on this world in a thread of its own.
    pub fn spawn<T: Send + 'static>(
        &self,
        f: impl FnOnce(&World) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let world = self.clone();
        thread::spawn(move || f(&world))
    }

    /// Commits one row.
    pub fn put(&self, key: &[u8], durability: Durability) {
        let durability = Some(durability);
        let options = TransactionOptions { durability, ..TransactionOptions::default() };
        let mut tx = self.kernel.begin_with(options).expect("an open database");
        tx.put("t", key, b"row").expect("a table");
        tx.commit().expect("nobody else writes this row");
    }

    /// A reader was shown `key`, written by a commit that asked for a sync: from now on it must survive.
    pub fn shown(&self, key: &[u8]) {
        self.disk.promise(key);
        if self.cut_when_shown && (self.fate == Fate::Lost || thread_rng().r#gen()) {
            self.disk.cut_now(self.fate);
        }
    }

    /// What the power cut left, opened: healthy, with every row of `t` that was promised before it.
    pub fn after_cut(self) -> Kernel {
        let (image, promises) = self.disk.take_cut(self.fate);
        drop(self.kernel);
        let kernel = open(&Disk::of(&image), Arc::default());
        let tx = kernel.begin_read().expect("an open database");
        for key in promises {
            let row = tx.get("t", &key).expect("a row that can be read");
            assert!(row.is_some(), "{} was promised and is lost", key.escape_ascii());
        }
        healthy(&kernel);
        kernel
    }

    /// The database as the next process finds it: healthy, and the same as this one was to the end.
    pub fn reopened(self) -> Kernel {
        let before = rows(&self.kernel);
        drop(self.kernel);
        let kernel = open(&Disk::of(&self.disk.image()), Arc::default());
        assert_eq!(before, rows(&kernel), "the database before and after it was opened again");
        healthy(&kernel);
        kernel
    }
}

/// Walks everything on disk.
pub fn healthy(kernel: &Kernel) {
    let report = sochdb_model_check::check(kernel).expect("a database that can be walked");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

/// Every row of every table.
pub fn rows(kernel: &Kernel) -> BTreeMap<(String, Vec<u8>), Vec<u8>> {
    let tx = kernel.begin_read().expect("an open database");
    let mut rows = BTreeMap::new();
    for table in tx.tables().expect("an open database") {
        for row in tx.scan(&table.name, ..).expect("a table that can be read") {
            let (key, value) = row.expect("a row that can be read");
            rows.insert((table.name.clone(), key), value.to_vec());
        }
    }
    rows
}

/// The number under `key` in `t`, 0 if there is none.
pub fn number(tx: &Transaction, key: &[u8]) -> u64 {
    let row = tx.get("t", key).expect("a row that can be read");
    row.map_or(0, |bytes| u64::from_be_bytes((*bytes).try_into().expect("8 bytes")))
}

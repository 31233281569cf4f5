//! Bounded memory: what the bounds in `Options` promise, in bytes that were really allocated.
//!
//! Every allocation of this process is counted; each test loads several times more data than its bounds
//! and asserts that the most that was ever allocated stays below what is promised, and that the bound was
//! used at all. `M` is `memtable_bytes_max`, `C` is `cache_bytes_max`, each with a tenth for what no
//! accounting sees; `V` is the largest value, `T` the largest transaction, and [`WORK_BYTES`] is for log
//! buffers and the checkpoint's own work.
//!
//! | while                                                    | never more than               |
//! |----------------------------------------------------------|-------------------------------|
//! | reading data of any size                                 | C + 3 V                       |
//! | one writer, its commits run the checkpoints              | M + C + 3 T                   |
//! | the same beside a reader that never ends                 | 2 M + C + 3 T                 |
//! | the same beside a writer that never ends                 | 3 M + C + 3 T                 |
//! | many writers, their commits run the checkpoints          | 4 M + C + 3 T for each        |
//! | many writers, somebody else runs the checkpoints         | 6 M + C + 3 T for each        |
//! | a transaction gathers its write set                      | 1.5 `write_set_bytes_max`     |
//! | opening                                                  | M + C + log segment + 3 T     |
//!
//! Rows wait in one memtable while the next fills up (twice the bound each when checkpoints run in the
//! background), and two more are kept while a writing transaction must still be compared with them.
//!
//! And when the database is dropped everything has been given back.

use fastrand::Rng;
use sochdb_kernel::{Durability, Environment, IsolationLevel, Kernel, Options, TransactionOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Hands every call on and counts the bytes that are allocated now and the most there ever were.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is the system allocator's, with its own arguments and its own result.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(now, Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, and `at` came from the system allocator.
        unsafe { System.dealloc(at, layout) }
    }
}

const MIB: usize = 1 << 20;
const MEMTABLE_BYTES: usize = 8 * MIB;
const CACHE_BYTES: usize = 8 * MIB;
/// Two log buffers of 2 MiB, the megabyte that a checkpoint writes at once, and its smaller needs.
const WORK_BYTES: usize = 6 * MIB;
/// How much is loaded: several times the bounds.
const DATA_BYTES: usize = 48 * MIB;
/// What the harness and the operating system's names may take meanwhile.
const NOISE_BYTES: usize = 128 << 10;
/// Sizes of values: small rows cost most beside their bytes; the last does not fit a page.
const VALUE_BYTES: [usize; 4] = [0, 100, 1000, 60_000];

/// The tests share the count, so they run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A tenth more, for what no accounting sees.
fn with_tenth(bytes: usize) -> usize {
    bytes + bytes / 10
}

/// Counts from where it was made.
struct Meter {
    before: usize,
    /// The largest share of a promise so far, in percent.
    worst: usize,
}

impl Meter {
    fn start() -> Meter {
        let before = NOW.load(Relaxed);
        MOST.store(before, Relaxed);
        Meter { before, worst: 0 }
    }

    fn now(&self) -> usize {
        NOW.load(Relaxed).saturating_sub(self.before)
    }

    fn most(&self) -> usize {
        MOST.load(Relaxed).saturating_sub(self.before)
    }

    /// The most that was allocated must not be above `promised`, nor so little that nothing was tested.
    fn assert(&mut self, promised: usize, case: &str) {
        let most = self.most();
        assert!(most <= promised, "{case}: {most} bytes where {promised} were promised");
        assert!(promised / 4 < most, "{case}: {most} bytes never came near {promised}");
        self.worst = self.worst.max(most * 100 / promised);
    }
}

fn options() -> Options {
    Options {
        durability: Durability::None,
        memtable_bytes_max: MEMTABLE_BYTES,
        cache_bytes_max: CACHE_BYTES,
        ..Options::default()
    }
}

/// A folder in memory if possible: what is asked is how much is held, not how fast disks sync.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("sochdb-memory-").tempdir_in(parent).unwrap()
}

fn open(dir: &Path, options: Options) -> Kernel {
    Kernel::open(Environment::disk(dir), options).unwrap()
}

fn key(number: u64) -> [u8; 12] {
    let mut key = *b"row-........";
    key[4..].copy_from_slice(&number.to_be_bytes());
    key
}

/// How many rows with values of `len` bytes make `DATA_BYTES` in memtables.
fn rows_of(len: usize) -> u64 {
    (DATA_BYTES / (len + 150)) as u64
}

/// One transaction of a writer: about 20 kB of rows anywhere in the table, at least one. What it takes
/// is below [`txn_bytes`].
fn commit_some(kernel: &Kernel, rng: &mut Rng, len: usize) -> u64 {
    // The level at which writers of one row never conflict.
    let isolation = IsolationLevel::ReadCommitted;
    let options = TransactionOptions { isolation, ..Default::default() };
    let mut tx = kernel.begin_with(options).unwrap();
    let count = 1 + 20_000 / (len + 100) as u64;
    for _ in 0..count {
        let mut value = vec![0; len];
        rng.fill(&mut value);
        let key = key(rng.u64(0..rows_of(len)));
        match rng.u8(0..10) {
            0 => tx.delete("t", &key).unwrap(),
            _ => tx.put("t", &key, &value).unwrap(),
        }
    }
    tx.commit().unwrap();
    count
}

fn txn_bytes(len: usize) -> usize {
    (1 + 20_000 / (len + 100)) * (len + 300)
}

fn load(kernel: &Kernel, rng: &mut Rng, len: usize) {
    let mut rows = 0;
    while rows < rows_of(len) {
        rows += commit_some(kernel, rng, len);
    }
}

#[test]
fn reading_data_of_any_size_holds_the_cache_bound() {
    let _alone = alone();
    let mut worst = 0;
    for len in VALUE_BYTES.into_iter().chain([1_000_000]) {
        let dir = folder();
        let kernel = open(dir.path(), options());
        kernel.create_table("t", Default::default()).unwrap();
        let mut number = 0;
        while number < rows_of(len) {
            let mut tx = kernel.begin().unwrap();
            for _ in 0..1 + 100_000 / (len + 100) {
                let mut value = vec![0; len];
                Rng::with_seed(number).fill(&mut value);
                tx.put("t", &key(number), &value).unwrap();
                number += 1;
            }
            tx.commit().unwrap();
        }
        kernel.close().unwrap();
        drop(kernel);
        let mut meter = Meter::start();
        let kernel = open(dir.path(), options());
        let tx = kernel.begin_read().unwrap();
        let mut rng = Rng::with_seed(1);
        for _ in 0..(30 * MIB / (len + 1000)) {
            tx.get("t", &key(rng.u64(0..number))).unwrap().unwrap();
        }
        assert_eq!(tx.scan("t", ..).unwrap().map(Result::unwrap).count() as u64, number);
        assert_eq!(tx.scan_reverse("t", ..).unwrap().map(Result::unwrap).count() as u64, number);
        let promised = with_tenth(CACHE_BYTES) + 3 * len + NOISE_BYTES;
        let pages = usize::try_from(kernel.stats().pages_total).unwrap() * 4096;
        let case = format!("reading {number} values of {len} bytes, {pages} bytes of pages");
        meter.assert(promised, &case);
        worst = worst.max(meter.worst);
        assert!(kernel.stats().cache_bytes <= CACHE_BYTES as u64, "{case}");
        drop((tx, kernel));
        assert!(meter.now() < NOISE_BYTES, "{case}: {} bytes are left over", meter.now());
    }
    println!("bounded memory: reading takes at most {worst}% of what is promised; no seed");
}

/// Loads rows of each size while something else goes on, and compares with `memtables` times `M` and so on.
fn writing(
    what: &str,
    threads: usize,
    options: &Options,
    memtables: usize,
    beside: impl Fn(&Kernel, &mut dyn FnMut()),
) {
    let mut worst = 0;
    for len in VALUE_BYTES {
        let dir = folder();
        let mut meter = Meter::start();
        let kernel = open(dir.path(), options.clone());
        kernel.create_table("t", Default::default()).unwrap();
        beside(&kernel, &mut || {
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    let kernel = &kernel;
                    scope.spawn(move || {
                        let mut rng = Rng::with_seed(thread as u64);
                        let mut rows = 0;
                        while rows < rows_of(len) / threads as u64 {
                            rows += commit_some(kernel, &mut rng, len);
                        }
                    });
                }
            });
        });
        assert!(0 < kernel.stats().checkpoints, "{what}: no checkpoint ran");
        let promised = with_tenth(memtables * MEMTABLE_BYTES)
            + with_tenth(CACHE_BYTES)
            + WORK_BYTES
            + 3 * threads * txn_bytes(len)
            + NOISE_BYTES;
        let case = format!("{what}, values of {len} bytes");
        meter.assert(promised, &case);
        worst = worst.max(meter.worst);
        drop(kernel);
        assert!(meter.now() < NOISE_BYTES, "{case}: {} bytes are left over", meter.now());
    }
    println!("bounded memory: {what} takes at most {worst}% of what is promised; no seed");
}

#[test]
fn one_writer_holds_the_memtable_bound() {
    let _alone = alone();
    writing("one writer", 1, &options(), 1, |_, work| work());
}

#[test]
fn many_writers_hold_four_times_the_memtable_bound() {
    let _alone = alone();
    writing("eight writers", 8, &options(), 4, |_, work| work());
}

#[test]
fn checkpoints_in_the_background_hold_six_times_the_memtable_bound() {
    let _alone = alone();
    let options = Options { background_checkpoints: true, ..options() };
    writing("eight writers and a checkpointer", 8, &options, 6, |kernel, work| {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _done = Done(&done);
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    if kernel.checkpoint_due() {
                        kernel.checkpoint().unwrap();
                    }
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            });
            work();
        });
    });
}

/// Says so when it is dropped, also by a panic.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_reader_that_never_ends_holds_back_one_memtable() {
    let _alone = alone();
    writing("one writer beside an old reader", 1, &options(), 2, |kernel, work| {
        // Half a memtable is there when it begins, and the other half comes into the same one.
        let mut rng = Rng::with_seed(9);
        while kernel.stats().memtable_bytes < MEMTABLE_BYTES as u64 / 2 {
            commit_some(kernel, &mut rng, 100);
        }
        let tx = kernel.begin_read().unwrap();
        let before = tx.scan("t", ..).unwrap().count();
        work();
        assert_eq!(tx.scan("t", ..).unwrap().count(), before, "its snapshot never changes");
    });
}

#[test]
fn a_writer_that_never_ends_holds_back_a_bounded_window() {
    let _alone = alone();
    writing("one writer beside an old one", 1, &options(), 3, |kernel, work| {
        let mut tx = kernel.begin().unwrap();
        tx.put("t", b"never", b"committed").unwrap();
        work();
    });
}

#[test]
fn a_write_set_holds_its_bound() {
    let _alone = alone();
    let write_set_bytes_max = 16 * MIB;
    let dir = folder();
    let kernel = open(dir.path(), Options { write_set_bytes_max, ..options() });
    kernel.create_table("t", Default::default()).unwrap();
    let mut worst = 0;
    for len in VALUE_BYTES {
        for overwriting in [false, true] {
            let mut meter = Meter::start();
            let mut tx = kernel.begin().unwrap();
            let (value, mut number) = (vec![7; len], 0);
            if overwriting {
                tx.savepoint();
            }
            let refusal = loop {
                let row = if overwriting { number % 10 } else { number };
                match tx.put("t", &key(row), &value) {
                    Ok(()) => number += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(refusal.kind(), sochdb_kernel::ErrorKind::Limit);
            let case = format!("{number} values of {len} bytes, overwriting: {overwriting}");
            // The half more is for vectors that double.
            meter.assert(write_set_bytes_max + write_set_bytes_max / 2, &case);
            worst = worst.max(meter.worst);
        }
    }
    // Nothing wants the rows back that are overwritten here.
    let meter = Meter::start();
    let mut tx = kernel.begin().unwrap();
    for number in 0..1000 {
        tx.put("t", &key(number % 10), &vec![7; 60_000]).unwrap();
    }
    assert!(meter.most() < MIB, "{} bytes for ten rows", meter.most());
    println!("bounded memory: a write set takes at most {worst}% of what is promised; no seed");
}

#[test]
fn opening_a_large_log_holds_the_memtable_bound() {
    let _alone = alone();
    let mut worst = 0;
    for len in VALUE_BYTES {
        let dir = folder();
        let kernel = open(dir.path(), options());
        kernel.create_table("t", Default::default()).unwrap();
        let mut rng = Rng::with_seed(3);
        load(&kernel, &mut rng, len);
        // The log is as large as it gets just before the next checkpoint.
        while kernel.stats().memtable_bytes < (MEMTABLE_BYTES - MEMTABLE_BYTES / 20) as u64 {
            commit_some(&kernel, &mut rng, len);
        }
        let log_bytes = kernel.stats().log_bytes;
        drop(kernel);
        let mut meter = Meter::start();
        let kernel = open(dir.path(), options());
        let promised = with_tenth(MEMTABLE_BYTES)
            + options().wal_segment_bytes
            + 3 * txn_bytes(len)
            + NOISE_BYTES;
        let case = format!("opening {log_bytes} bytes of log with values of {len} bytes");
        meter.assert(promised, &case);
        assert_eq!(kernel.recovery().cut_bytes, 0);
        worst = worst.max(meter.worst);
    }
    println!("bounded memory: opening takes at most {worst}% of what is promised; no seed");
}

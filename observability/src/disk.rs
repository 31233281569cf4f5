//! What the disk is asked for, and how long it takes: a directory that measures.
//!
//! Sits between the kernel and its files, so that neither has to count. Each call is timed by two readings of the
//! clock, some tens of nanoseconds beside a system call.
//!
//! | `file`      | what it is                                              | operations                      |
//! |-------------|---------------------------------------------------------|---------------------------------|
//! | `log`       | `wal/`: the log                                         | `read` `write` `sync` `resize`  |
//! | `archive`   | `archive/`: log that is only kept                       | the same                        |
//! | `data`      | `data.soch`, and the file that replaces it              | the same                        |
//! | `directory` | names: created, renamed and removed files               | `sync`                          |
//! | `other`     | anything else                                           | like `log`                      |
//!
//! A file keeps the kind that it had when it was opened.

use crate::durations::Durations;
use crate::registry::{Registry, Source};
use crate::spans::Tracer;
use crate::ticks::Ticks;
use sochdb_kernel::inspect::{ARCHIVE_DIR, DATA_FILE, NEW_DATA_FILE, WAL_DIR};
use sochdb_kernel::vfs::{OpenMode, Vfs, VfsFile, VfsLock};
use sochdb_telemetry::{Counter, Family, Metric, MetricKind, MetricValue};
use std::io;
use std::sync::Arc;

/// What is done to what: the two labels, in the order of their numbers.
const FILES: [&str; 5] = ["log", "archive", "data", "directory", "other"];
const OPERATIONS: [&str; 4] = ["read", "write", "sync", "resize"];

#[derive(Clone, Copy)]
enum File {
    Log,
    Archive,
    Data,
    Directory,
    Other,
}

#[derive(Clone, Copy)]
enum Operation {
    Read,
    Write,
    Sync,
    Resize,
}

const _: () = assert!(FILES.len() == File::Other as usize + 1);
const _: () = assert!(OPERATIONS.len() == Operation::Resize as usize + 1);

const OPERATION_SECONDS: Family = Family {
    name: "sochdb_disk_operation_duration_seconds",
    kind: MetricKind::Histogram,
    help: "How long the disk took for one operation.",
    labels: &["file", "operation"],
};
const BYTES: Family = Family {
    name: "sochdb_disk_bytes_total",
    kind: MetricKind::Counter,
    help: "Bytes read from and written to the disk.",
    labels: &["file", "operation"],
};
const ERRORS: Family = Family {
    name: "sochdb_disk_errors_total",
    kind: MetricKind::Counter,
    help: "Reads, writes, syncs and changes of length that the disk failed.",
    labels: &["file", "operation"],
};

#[derive(Default)]
struct Numbers {
    took: Durations,
    bytes: Counter,
    errors: Counter,
}

/// Counts of one directory: by file, then by operation.
#[derive(Default)]
struct Disk {
    numbers: [[Numbers; OPERATIONS.len()]; FILES.len()],
}

impl Source for Disk {
    fn families(&self) -> Vec<Family> {
        vec![OPERATION_SECONDS, BYTES, ERRORS]
    }

    fn collect(&self, into: &mut Vec<Metric>) {
        for (file, of_file) in FILES.iter().zip(&self.numbers) {
            for (operation, numbers) in OPERATIONS.iter().zip(of_file) {
                if numbers.took.count() == 0 && numbers.errors.get() == 0 {
                    continue;
                }
                let labels = [("file", *file), ("operation", *operation)];
                let counter = |counter: &Counter| MetricValue::Counter(counter.get() as f64);
                into.push(OPERATION_SECONDS.metric(&labels, numbers.took.value()));
                if matches!(*operation, "read" | "write") {
                    into.push(BYTES.metric(&labels, counter(&numbers.bytes)));
                }
                into.push(ERRORS.metric(&labels, counter(&numbers.errors)));
            }
        }
    }
}

impl Disk {
    /// Does `work`, and counts the bytes that it moved.
    fn timed<R>(
        &self,
        file: File,
        operation: Operation,
        work: impl FnOnce() -> io::Result<R>,
        bytes: impl FnOnce(&R) -> usize,
    ) -> io::Result<R> {
        let numbers = &self.numbers[file as usize][operation as usize];
        let began = Ticks::now();
        let done = work();
        let took = began.elapsed();
        match &done {
            Ok(done) => numbers.bytes.add(bytes(done) as u64),
            // The file is shorter than its reader thought; the disk did what it should.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(_) => {
                numbers.errors.add(1);
                return done;
            }
        }
        numbers.took.observe_in(took, Tracer::current());
        done
    }
}

/// A directory that counts and times what is done to another one.
pub struct MeasuredVfs {
    inner: Arc<dyn Vfs>,
    disk: Arc<Disk>,
}

struct MeasuredFile {
    inner: Arc<dyn VfsFile>,
    disk: Arc<Disk>,
    file: File,
}

impl MeasuredVfs {
    /// `inner`, measured; `registry` asks it.
    pub fn new(inner: Arc<dyn Vfs>, registry: &Registry) -> MeasuredVfs {
        let disk = Arc::new(Disk::default());
        registry.add(&disk);
        MeasuredVfs { inner, disk }
    }
}

fn file_of(name: &str) -> File {
    match name.split_once('/') {
        Some((WAL_DIR, _)) => File::Log,
        Some((ARCHIVE_DIR, _)) => File::Archive,
        None if name == DATA_FILE || name == NEW_DATA_FILE => File::Data,
        _ => File::Other,
    }
}

impl Vfs for MeasuredVfs {
    fn root(&self) -> String {
        self.inner.root()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let (inner, disk) = (self.inner.open(name, mode)?, self.disk.clone());
        Ok(Arc::new(MeasuredFile { inner, disk, file: file_of(name) }))
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
        self.disk.timed(File::Directory, Operation::Sync, || self.inner.sync_dir(dir), |()| 0)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn VfsLock>>> {
        self.inner.lock(name)
    }
}

impl VfsFile for MeasuredFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let read = || self.inner.read_at(offset, buf);
        self.disk.timed(self.file, Operation::Read, read, |read| *read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let write = || self.inner.write_at(offset, bytes);
        self.disk.timed(self.file, Operation::Write, write, |()| bytes.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.timed(self.file, Operation::Sync, || self.inner.sync(), |()| 0)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.timed(self.file, Operation::Resize, || self.inner.set_len(len), |()| 0)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let len = buf.len();
        let read = || self.inner.read_exact_at(offset, buf);
        self.disk.timed(self.file, Operation::Read, read, |()| len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use sochdb_kernel::{Environment, Kernel, Options, TableOptions};
    use sochdb_sim::MemoryVfs;
    use sochdb_telemetry::Histogram;

    /// Passes nothing on and says what it was asked for; with an error, if it is given one.
    #[derive(Default)]
    struct Listener {
        heard: Arc<Mutex<Vec<String>>>,
        error: Option<io::ErrorKind>,
    }

    impl Listener {
        fn hear<R>(&self, what: String, answer: R) -> io::Result<R> {
            self.heard.lock().push(what);
            self.error.map_or(Ok(answer), |kind| Err(kind.into()))
        }
    }

    impl VfsLock for Listener {}

    impl Vfs for Listener {
        fn root(&self) -> String {
            "listener".to_owned()
        }
        fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
            self.heard.lock().push(format!("open {name} {mode:?}"));
            Ok(Arc::new(Listener { heard: self.heard.clone(), error: self.error }))
        }
        fn list(&self, dir: &str) -> io::Result<Vec<String>> {
            self.hear(format!("list {dir}"), vec!["a".to_owned()])
        }
        fn create_dir(&self, dir: &str) -> io::Result<()> {
            self.hear(format!("create_dir {dir}"), ())
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.hear(format!("remove {name}"), ())
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.hear(format!("rename {from} {to}"), ())
        }
        fn sync_dir(&self, dir: &str) -> io::Result<()> {
            self.hear(format!("sync_dir {dir}"), ())
        }
        fn lock(&self, name: &str) -> io::Result<Option<Box<dyn VfsLock>>> {
            self.hear(format!("lock {name}"), Some(Box::new(Listener::default())))
        }
    }

    impl VfsFile for Listener {
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
            self.hear(format!("read_at {offset} {}", buf.len()), buf.len() - 1)
        }
        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.hear(format!("write_at {offset} {}", bytes.len()), ())
        }
        fn sync(&self) -> io::Result<()> {
            self.hear("sync".to_owned(), ())
        }
        fn len(&self) -> io::Result<u64> {
            self.hear("len".to_owned(), 77)
        }
        fn set_len(&self, len: u64) -> io::Result<()> {
            self.hear(format!("set_len {len}"), ())
        }
        fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            self.hear(format!("read_exact_at {offset} {}", buf.len()), ())
        }
    }

    /// Counts and bytes of operations, and errors, that are not zero.
    fn numbers(registry: &Registry) -> Vec<String> {
        let metrics = registry.collect().into_iter();
        let said = metrics.filter_map(|metric| {
            let number = match metric.value {
                MetricValue::Histogram(took) => took.count(),
                MetricValue::Counter(count) | MetricValue::Gauge(count) => count as u64,
            };
            let name = metric.name.split('_').nth(2).unwrap().to_owned();
            let labels: Vec<_> = metric.labels.iter().map(|(_, value)| value.as_str()).collect();
            (0 < number).then(|| format!("{name} {} {number}", labels.join(" ")))
        });
        said.collect()
    }

    fn took(registry: &Registry, file: &str, operation: &str) -> Histogram {
        let labels = [("file", file), ("operation", operation)];
        let wanted = OPERATION_SECONDS.metric(&labels, MetricValue::Gauge(0.0)).labels;
        let metrics = registry.collect().into_iter();
        let values = metrics
            .filter(|metric| metric.name == OPERATION_SECONDS.name && metric.labels == wanted);
        match values.map(|metric| metric.value).next() {
            Some(MetricValue::Histogram(took)) => took,
            other => panic!("{labels:?}: {other:?}"),
        }
    }

    #[test]
    fn every_call_is_passed_on_once() {
        let (listener, registry) = (Listener::default(), Registry::default());
        let heard = listener.heard.clone();
        let vfs = MeasuredVfs::new(Arc::new(listener), &registry);
        assert_eq!(vfs.root(), "listener");
        assert_eq!(vfs.list("wal").unwrap(), ["a"]);
        vfs.create_dir("d").unwrap();
        vfs.remove("r").unwrap();
        vfs.rename("from", "to").unwrap();
        vfs.sync_dir("s").unwrap();
        assert!(vfs.lock("LOCK").unwrap().is_some());
        let file = vfs.open("wal/1", OpenMode::Write).unwrap();
        assert_eq!(file.read_at(1, &mut [0; 10]).unwrap(), 9);
        file.write_at(2, &[0; 20]).unwrap();
        file.sync().unwrap();
        assert_eq!(file.len().unwrap(), 77);
        file.set_len(3).unwrap();
        file.read_exact_at(4, &mut [0; 30]).unwrap();
        assert_eq!(
            *heard.lock(),
            [
                "list wal",
                "create_dir d",
                "remove r",
                "rename from to",
                "sync_dir s",
                "lock LOCK",
                "open wal/1 Write",
                "read_at 1 10",
                "write_at 2 20",
                "sync",
                "len",
                "set_len 3",
                "read_exact_at 4 30",
            ]
        );
        assert_eq!(
            numbers(&registry),
            [
                "bytes log read 39",
                "bytes log write 20",
                "operation directory sync 1",
                "operation log read 2",
                "operation log resize 1",
                "operation log sync 1",
                "operation log write 1",
            ]
        );
    }

    #[test]
    fn what_the_disk_fails_is_counted_and_the_error_is_passed_on() {
        let (registry, error) = (Registry::default(), Some(io::ErrorKind::StorageFull));
        let vfs = MeasuredVfs::new(Arc::new(Listener { error, ..Listener::default() }), &registry);
        let file = vfs.open("data.soch", OpenMode::Write).unwrap();
        let full = |result: io::Result<()>| {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull)
        };
        full(file.write_at(0, b"x"));
        full(file.write_at(0, b"x"));
        full(file.read_at(0, &mut [0; 4]).map(drop));
        full(file.read_exact_at(0, &mut [0; 4]));
        full(file.sync());
        full(file.set_len(1));
        full(vfs.sync_dir(""));
        assert_eq!(
            numbers(&registry),
            [
                "errors data read 2",
                "errors data resize 1",
                "errors data sync 1",
                "errors data write 2",
                "errors directory sync 1",
            ]
        );
    }

    #[test]
    fn a_file_that_ends_early_is_no_error_of_the_disk() {
        let (memory, registry) = (MemoryVfs::new(), Registry::default());
        let vfs = MeasuredVfs::new(Arc::new(memory), &registry);
        let file = vfs.open("data.soch", OpenMode::Create).unwrap();
        file.write_at(0, b"abc").unwrap();
        let error = file.read_exact_at(0, &mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(file.read_at(0, &mut [0; 4]).unwrap(), 3);
        let expected = [
            "bytes data read 3",
            "bytes data write 3",
            "operation data read 2",
            "operation data write 1",
        ];
        assert_eq!(numbers(&registry), expected);
    }

    #[test]
    fn files_are_known_by_where_they_lie() {
        let names = [
            "wal/00000000000000000040.wal",
            "wal/new.tmp",
            "archive/x",
            "data.soch",
            "data.new",
            "LOCK",
            "wal",
            "data.sochx",
            "x/wal/y",
        ];
        let kinds = names.map(|name| FILES[file_of(name) as usize]);
        assert_eq!(
            kinds,
            ["log", "log", "archive", "data", "data", "other", "other", "other", "other"]
        );
    }

    fn put(kernel: &Kernel, from: u32, to: u32) {
        for i in from..to {
            kernel.run(|tx| tx.put("t", &i.to_be_bytes(), &[7; 100])).unwrap();
        }
    }

    fn rows(kernel: &Kernel) -> u32 {
        let tx = kernel.begin_read().unwrap();
        let has = |i: &u32| tx.get("t", &i.to_be_bytes()).unwrap().is_some();
        (0..1000).take_while(has).count() as u32
    }

    #[test]
    fn a_database_works_through_it_and_recovers_as_without_it() {
        let (memory, registry) = (MemoryVfs::new(), Registry::default());
        let measured = |memory: &MemoryVfs, registry: &Registry| {
            Environment::with_vfs(Arc::new(MeasuredVfs::new(Arc::new(memory.clone()), registry)))
        };
        let open = |env| Kernel::open(env, Options::default()).unwrap();
        let kernel = open(measured(&memory, &registry));
        kernel.create_table("t", TableOptions::default()).unwrap();
        put(&kernel, 0, 50);
        kernel.checkpoint().unwrap();
        put(&kernel, 50, 80);
        let stats = kernel.stats();
        let synced = took(&registry, "log", "sync").count();
        assert!(stats.log_syncs <= synced, "{} of {synced}", stats.log_syncs);
        let bytes = |file| {
            let wanted = format!("bytes {file} write ");
            let found = numbers(&registry)
                .into_iter()
                .find_map(|said| Some(said.strip_prefix(&wanted)?.to_owned()));
            found.unwrap().parse::<u64>().unwrap()
        };
        assert!(stats.log_bytes_written <= bytes("log"));
        assert!(stats.pages_written * 4096 <= bytes("data"));
        assert!(numbers(&registry).iter().all(|said| !said.starts_with("errors")));

        // The files as a killed process would leave them.
        let crashed = memory.fork();
        put(&kernel, 80, 90);
        kernel.close().unwrap();
        let (plain, registry) =
            (open(Environment::with_vfs(Arc::new(crashed.fork()))), Registry::default());
        let through = open(measured(&crashed, &registry));
        assert_eq!((rows(&plain), rows(&through)), (80, 80));
        assert_eq!(plain.recovery().transactions, through.recovery().transactions);
        put(&through, 80, 85);
        assert_eq!(rows(&through), 85);
        assert!(0 < took(&registry, "log", "read").count());
        drop((plain, through));
        assert!(registry.collect().is_empty(), "who is gone is not asked");
        assert_eq!(rows(&open(measured(&memory, &registry))), 90);
    }

    #[test]
    fn what_is_done_in_a_recorded_span_has_an_exemplar() {
        let registry = Registry::default();
        let vfs = MeasuredVfs::new(Arc::new(MemoryVfs::new()), &registry);
        let file = vfs.open("wal/1", OpenMode::Create).unwrap();
        let tracer = Tracer::new(crate::TracerOptions { one_in: 1, ..Default::default() });
        file.sync().unwrap();
        assert!(took(&registry, "log", "sync").exemplars.is_empty());
        let span = tracer.begin("commit");
        file.sync().unwrap();
        let took = took(&registry, "log", "sync");
        assert_eq!((took.count(), Some(took.exemplars[0].span)), (2, span.context()));
    }
}

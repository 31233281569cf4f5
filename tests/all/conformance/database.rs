//! A table of a database on a simulated disk, as a subject of the kit.

use crate::collector::Collector;
use crate::sim_disk::Disk;
use crate::sim_vfs::SimVfs;
use fastrand::Rng;
use sochdb::host::{bundled, columns_of};
use sochdb::observability::{Telemetry, TelemetryOptions, TracerOptions};
use sochdb::{
    CheckpointReport, Database, DatabaseBuilder, Environment, Kernel, KernelResult, Options,
    Policy, TableOptions, Transaction, Value,
};
use sochdb_guest::testing::{Outcome, Reads, Reply, Row, Scan, Setup, Subject};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::{fmt, fs};
use tempfile::TempDir;

/// The table's name.
pub const TABLE: &str = "t";

/// Who keeps the rows.
#[derive(Debug, Clone, Copy)]
pub struct Keeper {
    /// A storage plugin, or the kernel's own tree.
    pub storage: Option<&'static str>,
    /// A codec plugin.
    pub codec: Option<&'static str>,
    /// Whether every observer that comes with the program is told of what happens.
    pub observed: bool,
}

impl Keeper {
    fn open(self, vfs: &SimVfs) -> KernelResult<Database> {
        if self.observed { open_observed(vfs) } else { open(vfs) }
    }

    pub fn options(self) -> TableOptions {
        let (storage, codec) = (self.storage.map(str::to_owned), self.codec.map(str::to_owned));
        TableOptions { storage, codec, ..TableOptions::default() }
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let storage = self.storage.unwrap_or("the kernel's tree");
        write!(
            f,
            "{storage}{}",
            self.codec.map_or(String::new(), |codec| format!(" with {codec}"))
        )?;
        if self.observed { write!(f, ", observed") } else { Ok(()) }
    }
}

/// Opens a database with small bounds, so that checkpoints come in between by themselves.
pub fn open(vfs: &SimVfs) -> KernelResult<Database> {
    builder().open_in(Environment::with_vfs(Arc::new(vfs.clone())))
}

fn builder() -> DatabaseBuilder {
    let options =
        Options { memtable_bytes_max: 1 << 20, wal_segment_bytes: 256 << 10, ..Options::default() };
    Database::builder().options(options).background(false)
}

/// Where the observers of all databases write and send to.
struct Outlets {
    folder: TempDir,
    policy: Policy,
    collector: Collector,
}

static OUTLETS: LazyLock<Outlets> = LazyLock::new(|| {
    let (folder, collector) = (tempfile::tempdir().expect("a folder"), Collector::new());
    let logs = folder.path().join("logs");
    let plugins = folder.path().join("plugins");
    fs::create_dir(&logs).and_then(|()| fs::create_dir(&plugins)).expect("folders");
    let grant = format!("directories = [{{ host = {logs:?}, guest = \"/logs\", write = true }}]");
    let url = collector.url("");
    for observer in ["jsonlog", "logfmt", "otlp"] {
        let manifest = bundled::find(observer).expect("comes with the program").manifest;
        let changed = |line: &str| match line.starts_with("directories = ") {
            true => format!("{grant}\n"),
            false => format!("{}\n", line.replace("http://127.0.0.1:4318", &url)),
        };
        let text: String = manifest.lines().map(changed).collect();
        fs::write(plugins.join(observer).with_extension("toml"), text).expect("a manifest");
    }
    let policy = format!("[allow]\n{grant}\naddresses = [\"{url}/\"]\n");
    let policy = Policy::parse("policy.toml", &policy).expect("a policy");
    Outlets { folder, policy, collector }
});

/// The same with every observer.
fn open_observed(vfs: &SimVfs) -> KernelResult<Database> {
    let spans = TracerOptions { one_in: 1, ..TracerOptions::default() };
    builder()
        .telemetry(Telemetry::new(TelemetryOptions { spans, ..TelemetryOptions::default() }))
        .plugin_dir(OUTLETS.folder.path().join("plugins"))
        .policy(OUTLETS.policy.clone())
        .kept_plugins(false)
        .open_in(Environment::with_vfs(Arc::new(vfs.clone())))
}

/// Tells every observer what has happened, and looks at a page.
fn tell(db: &Database) -> Outcome<()> {
    let observers = db.plugins().observers();
    assert_eq!(observers.len(), 4, "jsonlog, logfmt, otlp, prometheus");
    let batch = db.telemetry().batch();
    for observer in observers {
        observer.ingest(&batch)?;
    }
    match db.metrics_text()?.contains("\nsochdb_commits_total ") {
        true => Ok(()),
        false => Err("the page has no commits".to_owned().into()),
    }
}

/// What has come out of the observers by now: bytes of log files, and payloads.
pub fn observed() -> (u64, usize) {
    let logs = fs::read_dir(OUTLETS.folder.path().join("logs")).expect("is there");
    let bytes = logs.map(|file| file.and_then(|file| file.metadata()).expect("is a file").len());
    (bytes.sum(), OUTLETS.collector.all().len())
}

/// A checkpoint of which no table fails.
pub fn checkpoint(db: &Database) -> Outcome<CheckpointReport> {
    let report = db.checkpoint()?;
    match &report.failed[..] {
        [] => Ok(report),
        failed => Err(format!("a checkpoint fails: {failed:?}").into()),
    }
}

/// Loads a bundled plugin once more, in the place of the one at work.
pub fn reload(db: &Database, plugin: &str) -> KernelResult<()> {
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let manifest = manifests.join(plugin).with_extension("toml");
    db.plugin_host()?.load_manifest(&manifest, db.plugins()).map(drop)
}

/// One table of a database of its own.
pub struct Kept {
    keeper: Keeper,
    vfs: SimVfs,
    /// None only while it is closed.
    db: Option<Database>,
    rng: Rng,
}

impl Kept {
    pub fn new(keeper: Keeper, setup: &Setup) -> Outcome<Kept> {
        let vfs = SimVfs::new(Disk::default(), setup.number as u64);
        let db = keeper.open(&vfs)?;
        let (schema, settings) = (setup.schema.clone(), setup.settings.clone());
        let options = TableOptions { schema, settings, ..keeper.options() };
        db.create_table(TABLE, options)?;
        Ok(Kept { keeper, vfs, db: Some(db), rng: Rng::with_seed(setup.number as u64) })
    }

    fn db(&self) -> &Database {
        self.db.as_ref().expect("open between operations")
    }

    fn present(&self) -> Outcome<At> {
        let kernel: &Kernel = self.db();
        Ok(At(kernel.begin_read()?))
    }
}

impl Subject for Kept {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        Ok(self.db().run(|tx| tx.put(TABLE, key, value))?)
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<()> {
        Ok(self.db().run(|tx| tx.delete(TABLE, key))?)
    }

    fn write(&mut self, rows: &[(Vec<u8>, Option<Vec<u8>>)]) -> Outcome<()> {
        let write = |tx: &mut Transaction| {
            rows.iter().try_for_each(|(key, value)| match value {
                Some(value) => tx.put(TABLE, key, value),
                None => tx.delete(TABLE, key),
            })
        };
        Ok(self.db().run(write)?)
    }

    fn flush(&mut self) -> Outcome<Reply<()>> {
        checkpoint(self.db())?;
        if self.keeper.observed {
            tell(self.db())?;
        }
        Ok(Reply::Done(()))
    }

    fn merge(&mut self, _all: bool) -> Outcome<Reply<()>> {
        checkpoint(self.db())?;
        Ok(Reply::Done(()))
    }

    fn reload(&mut self) -> Outcome<Reply<()>> {
        for plugin in [self.keeper.storage, self.keeper.codec].into_iter().flatten() {
            reload(self.db(), plugin)?;
        }
        Ok(Reply::Done(()))
    }

    fn reopen(&mut self) -> Outcome<Reply<()>> {
        self.db.take().expect("open between operations").close()?;
        self.db = Some(self.keeper.open(&self.vfs)?);
        Ok(Reply::Done(()))
    }

    fn crash(&mut self) -> Outcome<Reply<()>> {
        let disk = self.vfs.disk().crash_randomly(&mut self.rng);
        // What the old process still wants to write goes nowhere.
        self.vfs.set_crash_at(Some(0));
        drop(self.db.take());
        self.vfs = SimVfs::new(disk, self.rng.u64(..));
        self.db = Some(self.keeper.open(&self.vfs)?);
        let report = self.db().check()?;
        match &report.problems[..] {
            [] => Ok(Reply::Done(())),
            problems => Err(format!("a check finds {problems:?}").into()),
        }
    }

    fn snapshot(&mut self) -> Outcome<Reply<Box<dyn Reads>>> {
        Ok(Reply::Done(Box::new(self.present()?)))
    }
}

impl Reads for Kept {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        self.present()?.get(key)
    }

    fn multi_get(&mut self, keys: &[&[u8]]) -> Outcome<Vec<Option<Vec<u8>>>> {
        self.present()?.multi_get(keys)
    }

    fn scan(&mut self, scan: &Scan) -> Outcome<Vec<Row>> {
        self.present()?.scan(scan)
    }

    fn scan_columns(&mut self, scan: &Scan) -> Outcome<Reply<Vec<Vec<Value>>>> {
        checkpoint(self.db())?;
        self.present()?.scan_columns(scan)
    }
}

/// A snapshot.
struct At(sochdb_kernel::Transaction);

impl Reads for At {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.0.get(TABLE, key)?.map(|value| value.to_vec()))
    }

    fn scan(&mut self, scan: &Scan) -> Outcome<Vec<Row>> {
        let selection = scan.selection.clone().map(Arc::new);
        let rows = self.0.scan_selected(TABLE, scan.range.clone(), scan.reverse, selection)?;
        let rows = rows.take(scan.limit.unwrap_or(usize::MAX));
        Ok(rows
            .map(|row| row.map(|(key, value)| (key, value.to_vec())))
            .collect::<Result<_, _>>()?)
    }

    /// Columns of what is in segments; with rows in memory above them it is not asked.
    fn scan_columns(&mut self, scan: &Scan) -> Outcome<Reply<Vec<Vec<Value>>>> {
        let (mut memory, reader) = self.0.scan_layers(TABLE, scan.range.clone())?;
        let (Some(selection), Some(reader), None) = (&scan.selection, &reader, memory.next_row()?)
        else {
            return Ok(Reply::NotSupported);
        };
        let columns = columns_of(&**reader).ok_or("a plugin's table without a plugin's reader")?;
        let mut cursor = columns.scan_columns(&scan.range, selection)?;
        let mut rows = Vec::new();
        while let Some(batch) = cursor.next_batch(1000, 1 << 20)? {
            for row in 0..batch.rows() {
                rows.push(
                    (0..batch.kinds().len()).map(|column| batch.value(column, row)).collect(),
                );
            }
        }
        Ok(Reply::Done(rows))
    }
}

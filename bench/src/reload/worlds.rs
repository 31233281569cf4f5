//! A database with one plugin at work in it, and two versions of that plugin to replace it by.

use crate::Result;
use sochdb::plugin::CompressionExtension;
use sochdb::reload::Rules;
use sochdb::{
    Column, ColumnType, Database, Durability, IndexOptions, ReloadOptions, ReloadReport, Schema,
    TableOptions, Value,
};
use sochdb_host_abi::bundled;
use sochdb_host_abi::compiled_code::{CodeCache, CompileOptions};
use sochdb_test_guests::{IDENTITY, LEDGER, manifest};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// The table of each world.
const TABLE: &str = "accounts";
const ROWS: i64 = 1_000;
/// Values of a vector.
const DIM: u32 = 32;
const K: usize = 10;
/// A block such as tables have.
const BLOCK_BYTES: usize = 4 << 10;
/// Checkpoints after which an index must be built.
const CHECKPOINTS_MAX: usize = 1_000;
const GRANT: &str =
    "[capabilities]\ncan_read_table = [\"accounts\"]\ncan_write_table = [\"accounts\"]\n";

/// The plugins to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A codec that does nothing.
    Identity,
    /// A codec.
    Lz4,
    /// A storage engine.
    Lscs,
    /// An index of vectors.
    Hnsw,
    /// Procedures.
    Ledger,
}

impl Subject {
    /// What the plugin is called.
    pub fn name(self) -> &'static str {
        match self {
            Subject::Identity => "identity",
            Subject::Lz4 => "lz4",
            Subject::Lscs => "lscs",
            Subject::Hnsw => "hnsw",
            Subject::Ledger => "ledger",
        }
    }

    /// What a reader and the writer do, for people.
    pub fn calls(self) -> &'static str {
        match self {
            Subject::Identity | Subject::Lz4 => "codec: restore, compress 4 KiB",
            Subject::Lscs => "storage: get, put and commit",
            Subject::Hnsw => "index: search, put and commit",
            Subject::Ledger => "procedure: sum of 1,000 rows, transfer",
        }
    }

    fn component(self) -> Vec<u8> {
        match self {
            Subject::Identity => IDENTITY.to_vec(),
            Subject::Ledger => LEDGER.to_vec(),
            _ => bundled::find(self.name())
                .map_or_else(Vec::new, |bundled| bundled.component.to_vec()),
        }
    }

    /// Its manifest, for the file `NAME.wasm` beside it, as version `version`.
    fn manifest(self, version: &str, wasm: &str) -> String {
        let text = match self {
            Subject::Identity => manifest(self.name(), "codec", ""),
            Subject::Ledger => manifest(self.name(), "procedure", GRANT),
            _ => bundled::find(self.name()).map_or_else(String::new, |of| of.manifest.to_owned()),
        };
        let lines = text.lines().map(|line| match line.split_once(" = ") {
            Some(("version", _)) => format!("version = \"{version}\"\n"),
            Some(("bundled" | "path", _)) => format!("path = \"{wasm}\"\n"),
            _ => format!("{line}\n"),
        });
        lines.collect()
    }

    /// Writes both versions into `folder`.
    fn write(self, folder: &Path) -> Result<[PathBuf; 2]> {
        let write = |version: &str, component: &[u8]| -> Result<PathBuf> {
            let (name, wasm) = (self.name(), format!("{}-{version}.wasm", self.name()));
            fs::write(folder.join(&wasm), component)?;
            let path = folder.join(format!("{name}-{version}.toml"));
            fs::write(&path, self.manifest(version, &wasm))?;
            Ok(path)
        };
        let component = self.component();
        let other = [&component, OTHER].concat();
        Ok([write("1.0.0", &component)?, write("1.0.1", &other)?])
    }

    fn schema(self) -> Option<Schema> {
        let kind = match self {
            Subject::Lscs => ColumnType::String,
            Subject::Hnsw => ColumnType::Vector(DIM),
            _ => return None,
        };
        let column =
            |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
        let columns = vec![column("id", ColumnType::Int64), column("value", kind)];
        Some(Schema::new(columns, &["id"]).expect("a schema of two columns"))
    }
}

/// A custom section of a component: 4 bytes, of which 2 are the name, and nobody reads it.
const OTHER: &[u8] = &[0, 4, 2, b'n', b'o', 0];

/// A database in which one plugin works.
pub struct World {
    pub db: Database,
    subject: Subject,
    versions: [PathBuf; 2],
    schema: Option<Schema>,
    codec: Option<Arc<dyn CompressionExtension>>,
    block: Vec<u8>,
    stored: Vec<u8>,
    _folder: TempDir,
}

impl World {
    /// With the first version of the plugin, which compiles into `cache`.
    pub fn new(subject: Subject, cache: &Path) -> Result<World> {
        let folder = tempfile::tempdir()?;
        let versions = subject.write(folder.path())?;
        let cache = Some(CodeCache::open(cache)?);
        let db = Database::builder()
            .durability(Durability::None)
            .compile(CompileOptions { cache, ..CompileOptions::default() })
            .open(folder.path().join("db"))?;
        let mut world = World {
            db,
            subject,
            versions,
            schema: subject.schema(),
            codec: None,
            block: (0..BLOCK_BYTES).map(|at| (at / 7 % 31) as u8).collect(),
            stored: Vec::new(),
            _folder: folder,
        };
        world.reload(0)?;
        world.fill()?;
        Ok(world)
    }

    /// Has version 0 or 1 of the plugin take over, without a probation.
    pub fn reload(&self, version: usize) -> sochdb::KernelResult<ReloadReport> {
        let rules = Rules { probation: Duration::ZERO, ..Rules::default() };
        let options = ReloadOptions { rules: Some(rules), keep: false, ..ReloadOptions::default() };
        self.db.reload_plugin(&self.versions[version], &options)
    }

    /// Rows, as many as the plugin is to work on.
    fn fill(&mut self) -> Result<()> {
        let name = Some(self.subject.name().to_owned());
        let usual = TableOptions { schema: self.schema.clone(), ..TableOptions::default() };
        let options = match self.subject {
            Subject::Identity | Subject::Lz4 => TableOptions { codec: name, ..usual },
            Subject::Lscs => TableOptions { storage: name, ..usual },
            Subject::Hnsw | Subject::Ledger => usual,
        };
        self.db.create_table(TABLE, options)?;
        for chunk in (0..ROWS).collect::<Vec<_>>().chunks(100) {
            self.db.run(|tx| {
                chunk.iter().try_for_each(|number| {
                    let (key, value) = self.row(*number)?;
                    tx.put(TABLE, &key, &value)
                })
            })?;
        }
        match self.subject {
            Subject::Identity | Subject::Lz4 => {
                let codec = self.db.plugins().compression(self.subject.name())?;
                self.stored = codec.compress(&self.block)?;
                self.codec = Some(codec);
            }
            Subject::Hnsw => {
                // So few rows would be searched one by one.
                let options = IndexOptions::default().using("hnsw").set("flat_max", "64");
                self.db.create_index(TABLE, "near", "value", &options, &mut |_| {})?;
            }
            Subject::Lscs | Subject::Ledger => {}
        }
        for _ in 0..CHECKPOINTS_MAX {
            if !self.db.checkpoint()?.unsettled {
                return Ok(());
            }
        }
        Err("the index is not built".into())
    }

    /// The row `number`, of the kind that the plugin works on.
    fn row(&self, number: i64) -> sochdb::KernelResult<(Vec<u8>, Vec<u8>)> {
        let value = match (self.subject, &self.schema) {
            (Subject::Lscs, Some(_)) => Value::String(format!("the value of the row {number}")),
            (_, Some(_)) => Value::Vector(vector(number)),
            (Subject::Ledger, None) => return Ok((account(number), b"1000000".to_vec())),
            (_, None) => return Ok((account(number), self.block.clone())),
        };
        let schema = self.schema.as_ref().expect("matched above");
        let row = [Value::Int64(number), value];
        Ok((schema.encode_key(&row)?, schema.encode_row(&row)?))
    }

    /// What a reader does: whether the answer is right.
    pub fn read(&self, turn: u64) -> sochdb::KernelResult<bool> {
        let number = (turn * 617 % ROWS as u64) as i64;
        match self.subject {
            Subject::Identity | Subject::Lz4 => {
                let codec = self.codec.as_ref().expect("filled");
                Ok(codec.decompress(&self.stored, BLOCK_BYTES)? == self.block)
            }
            Subject::Lscs => {
                let (key, value) = self.row(number)?;
                Ok(self.db.begin_read()?.get(TABLE, &key)?.is_some_and(|found| found == value))
            }
            Subject::Hnsw => {
                let found = self.db.search(TABLE).near(&vector(number)).k(K).run()?;
                Ok(found.len() == K)
            }
            Subject::Ledger => {
                let answer = self.db.begin_read()?.call("ledger.sum", "{}")?;
                // Whatever was moved between accounts, the sum stays.
                let sum = 1_000_000 * ROWS;
                Ok(answer.contains(&format!("\"sum\":{sum},")))
            }
        }
    }

    /// What the writer does: whether the answer is right.
    pub fn write(&self, turn: u64) -> sochdb::KernelResult<bool> {
        let number = (turn * 617 % ROWS as u64) as i64;
        match self.subject {
            Subject::Identity | Subject::Lz4 => {
                let codec = self.codec.as_ref().expect("filled");
                Ok(codec.compress(&self.block)? == self.stored)
            }
            Subject::Lscs | Subject::Hnsw => {
                let (key, value) = self.row(number)?;
                self.db.run(|tx| tx.put(TABLE, &key, &value)).map(|()| true)
            }
            Subject::Ledger => {
                let args = r#"{"from": "00000000", "to": "00000001", "amount": 1}"#;
                self.db.call("ledger.transfer", args).map(|_| true)
            }
        }
    }
}

fn account(number: i64) -> Vec<u8> {
    format!("{number:08}").into_bytes()
}

/// Values that depend on `number` alone.
fn vector(number: i64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(number as u64);
    (0..DIM).map(|_| random.f32() - 0.5).collect()
}

//! A database in memory with a table of vectors and an index of them, and a plugin without any cleverness.

use sochdb_encoding::row::{Column, ColumnType, Schema, Value};
use sochdb_index::extension::{GONE, Part};
use sochdb_index::{
    Entries, IndexDefinition, IndexEngine, IndexExtension, IndexSearcher, Query, TableIndexes,
};
use sochdb_kernel::plugin::{
    Extension, ExtensionCapability, ExtensionInfo, SegmentRead, SegmentSink,
};
use sochdb_kernel::{
    Environment, Kernel, KernelError, KernelResult, KeyRange, Options, SegmentId, TableOptions,
    Transaction,
};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub const TABLE: &str = "docs";
pub const DIM: u32 = 4;

/// Id, color, vector.
pub fn schema() -> Schema {
    let column = |name: &str, kind, nullable| Column {
        name: name.to_owned(),
        kind,
        nullable,
        default: None,
    };
    let columns = vec![
        column("id", ColumnType::Int64, false),
        column("color", ColumnType::String, true),
        column("vector", ColumnType::Vector(DIM), true),
    ];
    Schema::new(columns, &["id"]).unwrap()
}

/// A plugin that keeps how many entries it was built of, and compares with all of them.
#[derive(Default)]
pub struct Nearest {
    pub built: AtomicU64,
    pub searched: AtomicU64,
    pub fails: std::sync::atomic::AtomicBool,
    pub lies: std::sync::atomic::AtomicBool,
}

impl Extension for Nearest {
    fn info(&self) -> ExtensionInfo {
        ExtensionInfo {
            name: "nearest".to_owned(),
            version: "1.0.0".to_owned(),
            description: String::new(),
            author: String::new(),
            capabilities: vec![ExtensionCapability::Storage],
        }
    }
}

/// The plugin, as it is registered.
pub struct Shared(pub Arc<Nearest>);

impl Extension for Shared {
    fn info(&self) -> ExtensionInfo {
        self.0.info()
    }
}

impl IndexExtension for Shared {
    fn check(&self, _index: &IndexDefinition) -> KernelResult<()> {
        Ok(())
    }

    fn build(
        &self,
        _index: &IndexDefinition,
        entries: &Arc<Entries>,
        parts: Vec<Part>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<SegmentId> {
        if self.0.fails.load(Ordering::Relaxed) {
            let mut half = sink.create()?;
            half.append(b"half a graph")?;
            return Err(KernelError::invalid("the plugin fails"));
        }
        for part in parts {
            let bytes = part.segment.read_at(0, part.segment.raw_bytes() as usize)?;
            assert_eq!(bytes.len(), 4, "what was built comes back");
            assert_eq!(
                u32::from_le_bytes(bytes[..].try_into().unwrap()),
                part.numbers.len() as u32
            );
            let numbers = part.numbers.iter().filter(|number| **number != GONE);
            assert!(numbers.is_sorted(), "numbers keep their order");
        }
        self.0.built.fetch_add(1, Ordering::Relaxed);
        let mut writer = sink.create()?;
        writer.append(&entries.count().to_le_bytes())?;
        writer.seal()
    }

    fn open(
        &self,
        _index: &IndexDefinition,
        entries: &Arc<Entries>,
        segment: Arc<dyn SegmentRead>,
    ) -> KernelResult<Arc<dyn IndexSearcher>> {
        assert_eq!(segment.read_at(0, 4)?, entries.count().to_le_bytes());
        Ok(Arc::new(Searcher { plugin: self.0.clone(), entries: entries.clone() }))
    }
}

struct Searcher {
    plugin: Arc<Nearest>,
    entries: Arc<Entries>,
}

impl Searcher {
    fn allowed(&self, allowed: &[u64]) -> Vec<u32> {
        let is = |number: &u32| match allowed.get(*number as usize / 64) {
            Some(word) => word & (1 << (number % 64)) != 0,
            None => allowed.is_empty(),
        };
        (0..self.entries.count()).filter(is).collect()
    }
}

impl IndexSearcher for Searcher {
    fn search(
        &self,
        query: &Arc<Query>,
        k: usize,
        effort: usize,
        allowed: &[u64],
    ) -> KernelResult<Vec<u32>> {
        self.plugin.searched.fetch_add(1, Ordering::Relaxed);
        if self.plugin.lies.load(Ordering::Relaxed) {
            return Ok((0..self.entries.count() + 10).collect());
        }
        let numbers = self.allowed(allowed);
        let mut distances = Vec::new();
        query.distances(&numbers, &mut distances)?;
        let mut found: Vec<(f32, u32)> = distances.into_iter().zip(numbers).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found.truncate(k.max(effort));
        Ok(found.into_iter().map(|(_, number)| number).collect())
    }

    fn lookup(
        &self,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
        allowed: &[u64],
    ) -> KernelResult<Vec<u32>> {
        self.plugin.searched.fetch_add(1, Ordering::Relaxed);
        let mut found = Vec::new();
        for number in self.allowed(allowed) {
            let (value, _) = self.entries.values(number, 1, 0)?;
            if range.contains(&value) {
                found.push((value, number));
            }
        }
        found.sort();
        if reverse {
            found.reverse();
        }
        found.truncate(limit);
        Ok(found.into_iter().map(|(_, number)| number).collect())
    }

    fn stats(&self) -> KernelResult<Vec<(String, f64)>> {
        Ok(vec![("entries".to_owned(), f64::from(self.entries.count()))])
    }
}

/// The database, its engine and its plugin.
pub struct Rig {
    pub disk: MemoryVfs,
    pub kernel: Kernel,
    pub engine: Arc<IndexEngine>,
    pub plugin: Arc<Nearest>,
}

impl Rig {
    /// A database with the table.
    pub fn new() -> Rig {
        let rig = Rig::open(MemoryVfs::new());
        let options = TableOptions { schema: Some(schema()), ..TableOptions::default() };
        rig.kernel.create_table(TABLE, options).unwrap();
        rig
    }

    pub fn open(disk: MemoryVfs) -> Rig {
        Rig { disk: disk.clone(), ..Rig::on(Environment::with_vfs(Arc::new(disk))) }
    }

    /// On any disk.
    pub fn on(environment: Environment) -> Rig {
        let kernel = Kernel::open(environment, Options::default()).unwrap();
        let engine = IndexEngine::new();
        let plugin = Arc::new(Nearest::default());
        engine.attach(&kernel);
        engine.register(Arc::new(Shared(plugin.clone())));
        kernel.plugins().register_storage(engine.clone());
        Rig { disk: MemoryVfs::new(), kernel, engine, plugin }
    }

    /// As after a crash: what was synced is there.
    pub fn crash(self) -> Rig {
        let disk = self.disk.fork();
        self.engine.detach();
        Rig::open(disk)
    }

    pub fn define(&self, column: &str, settings: &[(&str, &str)]) -> KernelResult<IndexDefinition> {
        let settings: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        IndexDefinition::new(TABLE, "test", column, Some(&schema()), &settings)
    }

    /// Makes an index of a column, of the rows there are.
    pub fn index(&self, column: &str, settings: &[(&str, &str)]) -> IndexDefinition {
        let index = self.define(column, settings).unwrap();
        self.engine.check(&index).unwrap();
        self.kernel.run(|tx| sochdb_index::create(tx, &index)).unwrap();
        let mut from: Option<Vec<u8>> = None;
        loop {
            let step = sochdb_index::backfill_step(&self.kernel, &index, from.as_deref()).unwrap();
            let Some(next) = step.next else { break };
            from = Some(next);
        }
        sochdb_index::finish(&self.kernel, &index).unwrap();
        index
    }
}

pub fn key(id: i64) -> Vec<u8> {
    schema().encode_key_values(&[Value::Int64(id)]).unwrap()
}

pub fn row(id: i64, color: Option<&str>, vector: Option<&[f32]>) -> Vec<u8> {
    let color = color.map_or(Value::Null, |color| Value::String(color.to_owned()));
    let vector = vector.map_or(Value::Null, |vector| Value::Vector(vector.to_vec()));
    schema().encode_row(&[Value::Int64(id), color, vector]).unwrap()
}

/// Writes a row, and its marks.
pub fn put(
    tx: &mut Transaction,
    id: i64,
    color: Option<&str>,
    vector: Option<&[f32]>,
) -> KernelResult<()> {
    let (key, row) = (key(id), row(id, color, vector));
    TableIndexes::of(TABLE, &tx.tables()?)?.mark(tx, &key, Some(&row))?;
    tx.put(TABLE, &key, &row)
}

pub fn delete(tx: &mut Transaction, id: i64) -> KernelResult<()> {
    let key = key(id);
    TableIndexes::of(TABLE, &tx.tables()?)?.mark(tx, &key, None)?;
    tx.delete(TABLE, &key)
}

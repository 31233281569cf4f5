//! How fast an index is with its graph built natively: what the sandbox is compared with.
//!
//! ```text
//! cargo run --release -p sochdb-index --example search_speed -- DIR [hnsw|vamana] [rows]
//! ```
//!
//! DIR has `*.base.f32bin` and `*.query.f32bin`: u32 count, u32 dim, then rows of f32, little-endian.

use parking_lot::Mutex;
use sochdb_encoding::row::{Column, ColumnType, Schema, Value};
use sochdb_graph::{self as graph, Hnsw, Memory, Options, Searcher, Vamana};
use sochdb_index::extension::Part;
use sochdb_index::{
    Entries, IndexDefinition, IndexEngine, IndexExtension, IndexSearcher, Query, TableIndexes,
    VectorSearch, search,
};
use sochdb_kernel::plugin::{
    Extension, ExtensionCapability, ExtensionInfo, SegmentRead, SegmentSink, SegmentWrite,
};
use sochdb_kernel::{Kernel, KernelError, KernelResult, KeyRange, SegmentId, TableOptions};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

/// A graph plugin without a sandbox.
struct Native(Options);

impl Extension for Native {
    fn info(&self) -> ExtensionInfo {
        ExtensionInfo {
            name: "native".to_owned(),
            version: String::new(),
            description: String::new(),
            author: String::new(),
            capabilities: vec![ExtensionCapability::Storage],
        }
    }
}

struct Space<'a>(&'a Entries);

impl graph::Space for Space<'_> {
    fn len(&self) -> u32 {
        self.0.count()
    }

    fn between(&mut self, number: u32, others: &[u32], out: &mut Vec<f32>) -> graph::Result<()> {
        self.0.between(number, others, out).map_err(graph::Error::failed)
    }
}

struct Target<'a>(&'a Query);

impl graph::Target for Target<'_> {
    fn distances(&mut self, numbers: &[u32], out: &mut Vec<f32>) -> graph::Result<()> {
        self.0.distances(numbers, out).map_err(graph::Error::failed)
    }
}

struct Blob(Arc<dyn SegmentRead>);

impl graph::Blob for Blob {
    fn len(&self) -> u64 {
        self.0.raw_bytes()
    }

    fn read(&self, offset: u64, len: u32) -> graph::Result<Vec<u8>> {
        let bytes = self.0.read_at(offset, len as usize).map_err(graph::Error::failed)?;
        Ok(bytes.to_vec())
    }
}

struct Sink(Box<dyn SegmentWrite>);

impl graph::Sink for Sink {
    fn append(&mut self, bytes: &[u8]) -> graph::Result<()> {
        self.0.append(bytes).map(drop).map_err(graph::Error::failed)
    }
}

fn failed(error: graph::Error) -> KernelError {
    KernelError::Invalid(error.to_string())
}

impl IndexExtension for Native {
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
        let blobs: Vec<Blob> = parts.iter().map(|part| Blob(part.segment.clone())).collect();
        let parts: Vec<graph::Part> = blobs
            .iter()
            .zip(&parts)
            .map(|(graph, part)| graph::Part { graph, numbers: &part.numbers })
            .collect();
        let built = graph::build(&mut Space(entries), &self.0, &parts).map_err(failed)?;
        let mut writer = Sink(sink.create()?);
        built.write(&mut writer).map_err(failed)?;
        writer.0.seal()
    }

    fn open(
        &self,
        _index: &IndexDefinition,
        entries: &Arc<Entries>,
        segment: Arc<dyn SegmentRead>,
    ) -> KernelResult<Arc<dyn IndexSearcher>> {
        let (kind, count) = (self.0.kind(), entries.count());
        let searcher = Searcher::open(Blob(segment), kind, count, Memory::Whole).map_err(failed)?;
        Ok(Arc::new(Open(Mutex::new(searcher))))
    }
}

struct Open(Mutex<Searcher<Blob>>);

impl IndexSearcher for Open {
    fn search(
        &self,
        query: &Arc<Query>,
        k: usize,
        effort: usize,
        allowed: &[u64],
    ) -> KernelResult<Vec<u32>> {
        let effort = if effort == 0 { 100 } else { effort };
        self.0.lock().search(&mut Target(query), k, effort, allowed).map_err(failed)
    }

    fn lookup(&self, _: &KeyRange, _: bool, _: usize, _: &[u64]) -> KernelResult<Vec<u32>> {
        Err(KernelError::invalid("vectors have no order"))
    }

    fn stats(&self) -> KernelResult<Vec<(String, f64)>> {
        let stats = self.0.lock().stats();
        Ok(stats.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

fn f32bin(path: &std::path::Path) -> Result<(usize, Vec<f32>), Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let (head, rest) = bytes.split_first_chunk::<8>().ok_or("no head")?;
    let dim = u32::from_le_bytes(head[4..].try_into()?) as usize;
    let (values, _) = rest.as_chunks::<4>();
    Ok((dim, values.iter().map(|value| f32::from_le_bytes(*value)).collect()))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let dir = arguments.first().ok_or("which directory?")?;
    let files: Vec<_> = std::fs::read_dir(dir)?.collect::<Result<_, _>>()?;
    let find = |end: &str| {
        let found = files.iter().find(|file| file.file_name().to_string_lossy().ends_with(end));
        found.map(|file| file.path()).ok_or(format!("no *{end} in {dir}"))
    };
    let (dim, mut base) = f32bin(&find(".base.f32bin")?)?;
    let (_, queries) = f32bin(&find(".query.f32bin")?)?;
    let options = match arguments.get(1).map(String::as_str) {
        Some("vamana") => Options::Vamana(Vamana::default()),
        _ => Options::Hnsw(Hnsw::default()),
    };
    if let Some(rows) = arguments.get(2) {
        base.truncate(rows.parse::<usize>()? * dim);
    }
    let column =
        |name: &str, kind| Column { name: name.to_owned(), kind, nullable: false, default: None };
    let columns =
        vec![column("id", ColumnType::Int64), column("vector", ColumnType::Vector(dim as u32))];
    let schema = Schema::new(columns, &["id"])?;
    let kernel_options =
        sochdb_kernel::Options { memtable_bytes_max: 1 << 30, ..Default::default() };
    let kernel = Kernel::open(sochdb_sim::memory(), kernel_options)?;
    let engine = IndexEngine::new();
    engine.attach(&kernel);
    engine.register(Arc::new(Native(options)));
    kernel.plugins().register_storage(engine.clone());
    let table = TableOptions { schema: Some(schema.clone()), ..TableOptions::default() };
    kernel.create_table("docs", table)?;
    let settings = BTreeMap::from([("using".to_owned(), "native".to_owned())]);
    let index = IndexDefinition::new("docs", "near", "vector", Some(&schema), &settings)?;
    kernel.run(|tx| sochdb_index::create(tx, &index))?;
    sochdb_index::finish(&kernel, &index)?;
    for (first, rows) in base.chunks(dim * 1000).enumerate() {
        kernel.run(|tx| {
            let indexes = TableIndexes::of("docs", &tx.tables()?)?;
            for (offset, vector) in rows.chunks(dim).enumerate() {
                let id = Value::Int64((first * 1000 + offset) as i64);
                let row = [id, Value::Vector(vector.to_vec())];
                let (key, value) = (schema.encode_key(&row)?, schema.encode_row(&row)?);
                indexes.mark(tx, &key, Some(&value))?;
                tx.put("docs", &key, &value)?;
            }
            Ok(())
        })?;
    }
    let began = Instant::now();
    while kernel.checkpoint()?.unsettled {}
    let count = base.len() / dim;
    let per_second = count as f64 / began.elapsed().as_secs_f64();
    println!("{count} vectors of {dim}: flushed and built at {per_second:.0}/s");
    let tx = kernel.begin_read()?;
    let stats = sochdb_index::stats(&engine, &tx, &index)?;
    println!("{:.0} bytes a vector", stats.bytes as f64 / count as f64);
    let nearest = |wanted: &VectorSearch| search(&engine, &tx, &index, wanted);
    let queries: Vec<&[f32]> = queries.chunks(dim).collect();
    let exact: Vec<f32> = queries
        .iter()
        .map(|query| {
            let hits = nearest(&VectorSearch::new(query.to_vec(), 10).exact())?;
            Ok(hits.last().map_or(f32::INFINITY, |hit| hit.distance))
        })
        .collect::<KernelResult<_>>()?;
    for effort in [10, 16, 24, 32, 48, 64, 100, 150, 200, 400, 800] {
        let (mut found, began) = (0, Instant::now());
        let rounds = 3;
        for _ in 0..rounds {
            for (query, farthest) in queries.iter().zip(&exact) {
                let hits = nearest(&VectorSearch::new(query.to_vec(), 10).effort(effort))?;
                found += hits.iter().filter(|hit| hit.distance <= farthest + 1e-6).count();
            }
        }
        let all = (rounds * queries.len()) as f64;
        let (recall, rate) = (found as f64 / all / 10.0, all / began.elapsed().as_secs_f64());
        println!("effort {effort:4}: recall@10 {recall:.4}, {rate:6.0} searches/s");
    }
    engine.detach();
    Ok(())
}

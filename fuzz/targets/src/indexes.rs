//! The crates `sochdb-index` and `sochdb-graph`: segments of indexes, codebooks, graphs.

use crate::allocation::bounded;
use sochdb_encoding::codec::crc;
use sochdb_graph::{Blob, Kind, Memory, Options, Part, Searcher, Sink, Space, Target};
use sochdb_index::vectors::{CodeKind, Codebook, Metric};
use sochdb_index::{IndexDefinition, IndexEngine, TableIndexes};
use sochdb_kernel::plugin::{SegmentRead, StorageExtension, TableContext};
use sochdb_kernel::{
    Kernel, KernelError, KernelResult, KeyRange, Options as KernelOptions, SegmentId, Slice,
    TableId, TableOptions,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of the footers, which end with a checksum of what is before it.
const GRAPH_FOOTER_BYTES: usize = 64;
const SEGMENT_FOOTER_BYTES: usize = 260;
/// What walks, errors and a block of a segment need.
const CONSTANT: usize = 1 << 20;
/// Product quantisation compares by a table for each query: at most 4,096 dimensions of 256 centroids.
const TABLES: usize = 32 << 20;

struct Bytes(Vec<u8>);

impl SegmentRead for Bytes {
    fn id(&self) -> SegmentId {
        SegmentId(1)
    }

    fn raw_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, len: usize) -> KernelResult<Slice> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = start.checked_add(len).and_then(|end| self.0.get(start..end));
        bytes.map(Slice::from).ok_or_else(|| KernelError::invalid("outside of the segment"))
    }
}

fn seal(bytes: &mut [u8], from: usize) {
    let end = bytes.len() - 4;
    let checksum = crc(&bytes[from..end]);
    bytes[end..].copy_from_slice(&checksum.to_le_bytes());
}

fn context() -> TableContext {
    TableContext {
        id: TableId(1),
        name: "sochdb.index.near.docs".to_owned(),
        schema: None,
        compressed: false,
        options: BTreeMap::new(),
    }
}

/// Reads all rows of a segment of an index, both ways.
pub fn index_segment(data: &[u8]) {
    let mut bytes = data.to_vec();
    if let Some(footer) = bytes.len().checked_sub(SEGMENT_FOOTER_BYTES) {
        seal(&mut bytes, footer);
    }
    bounded(data.len(), CONSTANT, || {
        let segment: Arc<dyn SegmentRead> = Arc::new(Bytes(bytes));
        let Ok(reader) = IndexEngine::new().open(&context(), &[segment]) else { return };
        for reverse in [false, true] {
            let Ok(mut rows) = reader.scan(&KeyRange::all(), reverse, None) else { return };
            while let Ok(batch) = rows.next_batch(64, 4096) {
                if batch.is_empty() {
                    break;
                }
                let _ = reader.multi_get(&[&batch[0].key]);
            }
        }
    });
}

pub fn index_segment_seeds() -> Vec<Vec<u8>> {
    ["vector", "name"].map(seed_segment).into()
}

/// A segment of an index of `column`, as the database writes it.
fn seed_segment(column: &str) -> Vec<u8> {
    use sochdb_encoding::row::{Column, ColumnType, Schema, Value};
    let made = || -> KernelResult<Vec<u8>> {
        let kernel = Kernel::open(sochdb_sim::memory(), KernelOptions::default())?;
        let engine = IndexEngine::new();
        engine.attach(&kernel);
        kernel.plugins().register_storage(engine.clone());
        let column_of = |name: &str, kind, nullable| Column {
            name: name.to_owned(),
            kind,
            nullable,
            default: None,
        };
        let columns = vec![
            column_of("id", ColumnType::Int64, false),
            column_of("name", ColumnType::String, true),
            column_of("vector", ColumnType::Vector(3), true),
        ];
        let schema = Schema::new(columns, &["id"])?;
        let options = TableOptions { schema: Some(schema.clone()), ..TableOptions::default() };
        kernel.create_table("docs", options)?;
        let none = BTreeMap::new();
        let index = IndexDefinition::new("docs", "near", column, Some(&schema), &none)?;
        kernel.run(|tx| sochdb_index::create(tx, &index))?;
        sochdb_index::finish(&kernel, &index)?;
        kernel.run(|tx| {
            let marks = TableIndexes::of("docs", &tx.tables()?)?;
            for id in 0..9 {
                let row = match id % 4 {
                    0 => [Value::Int64(id), Value::Null, Value::Null],
                    _ => [
                        Value::Int64(id),
                        Value::String(format!("name {id}")),
                        Value::Vector(vec![id as f32, 1.0, -0.5]),
                    ],
                };
                let (key, value) = (schema.encode_key(&row)?, schema.encode_row(&row)?);
                marks.mark(tx, &key, Some(&value))?;
                tx.put("docs", &key, &value)?;
            }
            Ok(())
        })?;
        kernel.checkpoint()?;
        let held = kernel.hold()?;
        let tables = kernel.begin_read()?;
        let id = tables.table("sochdb.index.near.docs")?.id;
        let meta = held.bases[&id].segments[0].clone();
        let segment = sochdb_kernel::inspect::Segment::new(meta, held.access().clone());
        let bytes = segment.read_at(0, segment.raw_bytes() as usize)?.to_vec();
        engine.detach();
        Ok(bytes)
    };
    made().expect("a small database in memory")
}

const KINDS: [CodeKind; 5] =
    [CodeKind::Sq8, CodeKind::Rabitq4, CodeKind::Rabitq2, CodeKind::Rabitq1, CodeKind::Pq];
const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::SquaredEuclidean];

/// Reads a codebook of each kind, and compares with it.
pub fn codebook(data: &[u8]) {
    let mut bytes = data.to_vec();
    if bytes.len() < 16 {
        return;
    }
    seal(&mut bytes, 0);
    let dim = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
    // Whoever reads one knows the dimensions, and that they are not too many.
    if sochdb_index::definition::DIM_MAX < dim as u32 {
        return;
    }
    bounded(data.len(), CONSTANT + TABLES, || {
        let all = KINDS.iter().flat_map(|kind| METRICS.iter().map(move |metric| (kind, metric)));
        for (kind, metric) in all {
            let Ok(book) = Codebook::from_bytes(*kind, *metric, dim, &bytes) else { continue };
            assert_eq!(book.to_bytes(), bytes, "one codebook, one encoding");
            let vector: Vec<f32> = (0..dim).map(|i| (i % 7) as f32 - 3.0).collect();
            let (mut code, mut distances) = (Vec::new(), Vec::new());
            book.encode(&vector, &mut code);
            assert_eq!(code.len(), book.row_bytes());
            book.query(&vector).distances(&[&code[..]], &mut distances);
            assert!(distances.len() == 1 && !distances[0].is_nan());
        }
    });
}

pub fn codebook_seeds() -> Vec<Vec<u8>> {
    let mut vector = |number: usize, out: &mut [f32]| {
        out.iter_mut().enumerate().for_each(|(i, x)| *x = ((number * 5 + i * 3) % 11) as f32);
        Ok(())
    };
    let mut seed = |kind| {
        let book = Codebook::train(kind, Metric::SquaredEuclidean, 12, 40, &mut vector, 1);
        book.expect("it trains").to_bytes()
    };
    KINDS.iter().map(|kind| seed(*kind)).collect()
}

struct Points;

impl Space for Points {
    fn len(&self) -> u32 {
        60
    }

    fn between(&mut self, at: u32, others: &[u32], out: &mut Vec<f32>) -> sochdb_graph::Result<()> {
        out.extend(others.iter().map(|other| at.abs_diff(*other) as f32));
        Ok(())
    }
}

impl Target for Points {
    fn distances(&mut self, numbers: &[u32], out: &mut Vec<f32>) -> sochdb_graph::Result<()> {
        out.extend(numbers.iter().map(|number| number.abs_diff(17) as f32));
        Ok(())
    }
}

impl Blob for Bytes {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, len: u32) -> sochdb_graph::Result<Vec<u8>> {
        let bytes = self.read_at(offset, len as usize).map_err(sochdb_graph::Error::failed)?;
        Ok(bytes.to_vec())
    }
}

impl Sink for Bytes {
    fn append(&mut self, bytes: &[u8]) -> sochdb_graph::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Opens a graph, walks in it, and builds another one from it.
pub fn graph(data: &[u8]) {
    let mut bytes = data.to_vec();
    let Some(footer) = bytes.len().checked_sub(GRAPH_FOOTER_BYTES) else { return };
    let number = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(bytes[footer + at..footer + at + 4].try_into().expect("four bytes"))
    };
    let (count, slots) = (number(&bytes, 16), number(&bytes, 20));
    let ground = u64::from(count).saturating_mul(u64::from(slots).saturating_mul(4));
    let ground = ground.min(footer as u64) as usize;
    let (ground_crc, upper_crc) = (crc(&bytes[..ground]), crc(&bytes[ground..footer]));
    bytes[footer + 36..footer + 40].copy_from_slice(&ground_crc.to_le_bytes());
    bytes[footer + 48..footer + 52].copy_from_slice(&upper_crc.to_le_bytes());
    seal(&mut bytes, footer);
    bounded(data.len(), CONSTANT, || {
        for kind in [Kind::Hnsw, Kind::Vamana] {
            for memory in [Memory::Whole, Memory::Bytes(4096)] {
                let opened = Searcher::open(Bytes(bytes.clone()), kind, count, memory);
                let Ok(mut searcher) = opened else { continue };
                let _ = searcher.search(&mut Points, 3, 5, &[]);
                let _ = searcher.search(&mut Points, 3, 5, &[0x5555_5555; 4]);
                let _ = searcher.stats();
            }
        }
        let numbers: Vec<u32> = (0..count.min(60)).collect();
        let part = Part { graph: &Bytes(bytes.clone()), numbers: &numbers };
        let _ = sochdb_graph::build(&mut Points, &Options::Hnsw(Default::default()), &[part]);
    });
}

pub fn graph_seeds() -> Vec<Vec<u8>> {
    let hnsw = sochdb_graph::Hnsw { m: 3, m0: 6, ..Default::default() };
    let vamana = sochdb_graph::Vamana { r: 6, ..Default::default() };
    let seed = |options| {
        let mut bytes = Bytes(Vec::new());
        let built = sochdb_graph::build(&mut Points, &options, &[]).expect("it builds");
        built.write(&mut bytes).expect("memory takes it");
        bytes.0
    };
    vec![seed(Options::Hnsw(hnsw)), seed(Options::Vamana(vamana))]
}

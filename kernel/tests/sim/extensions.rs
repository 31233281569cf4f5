//! The smallest honest storage engine and codec, and ways for them to lie.
//!
//! [`Runs`] writes each run as one segment of rows and reads all segments back into a map: slow, obvious,
//! and enough to send every workload of this binary through segments, merges and compressed blocks.
//!
//! | field     | type  | meaning                        |
//! |-----------|-------|--------------------------------|
//! | `key_len` | u32   | bytes of the key               |
//! | `len`     | u32   | bytes of the value; all ones: the row was deleted |
//! | `key`     | bytes |                                |
//! | `value`   | bytes |                                |

use crate::workload;
use crate::{seed, size};
use fastrand::Rng;
use sochdb_kernel::plugin::{
    Compaction, CompressionExtension, Extension, ExtensionCapability, ExtensionInfo, RunCursor,
    RunRow, SegmentRead, SegmentSink, Selection, StorageExtension, StorageReader, TableContext,
};
use sochdb_kernel::{
    Environment, Kernel, KernelError, KernelResult, KeyRange, SegmentId, Slice, TableOptions,
};
use sochdb_sim::merge_by_flush;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Gives `kernel` the engine and the codec.
pub fn register(kernel: &Kernel) {
    kernel.plugins().register_storage(Arc::new(Runs { lie: Arc::new(AtomicU8::new(HONEST)) }));
    kernel.plugins().register_compression(Arc::new(Pairs { lie: Arc::new(AtomicU8::new(HONEST)) }));
}

/// How the table `name` is stored: a third each in the kernel's tree, there with a codec, in segments.
pub fn options_of(name: &str) -> TableOptions {
    let sum = name.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let codec = Some("pairs".to_owned());
    match sum % 3 {
        0 => TableOptions::default(),
        _ if name == workload::MARKS => TableOptions::default(),
        1 => TableOptions { codec, ..TableOptions::default() },
        _ => TableOptions { storage: Some("runs".to_owned()), codec, ..TableOptions::default() },
    }
}

const HONEST: u8 = 0;
/// The lies of an engine, in the order of a flush: leave out a row, change one, invent one, turn a
/// deletion into nothing, return no segment, fail. From 7 on they only waste: a large segment never
/// sealed, one sealed and not named, one kept for ever.
const ENGINE_LIES: Range<u8> = 1..10;
const WASTE: u8 = 7;
/// The lies of a codec: bytes that do not come back, fewer bytes, an error.
const CODEC_LIES: Range<u8> = 1..4;

fn info(name: &str, capability: ExtensionCapability) -> ExtensionInfo {
    ExtensionInfo {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        description: "for tests".to_owned(),
        author: "SochDB".to_owned(),
        capabilities: vec![capability],
    }
}

struct Runs {
    lie: Arc<AtomicU8>,
}

impl Extension for Runs {
    fn info(&self) -> ExtensionInfo {
        info("runs", ExtensionCapability::Storage)
    }
}

const DELETED: u32 = u32::MAX;

fn encode(row: &RunRow) -> Vec<u8> {
    let mut out = (row.key.len() as u32).to_le_bytes().to_vec();
    let value = row.value.as_deref();
    out.extend(value.map_or(DELETED, |value| value.len() as u32).to_le_bytes());
    out.extend(&row.key);
    out.extend(value.unwrap_or_default());
    out
}

impl StorageExtension for Runs {
    fn flush(
        &self,
        _table: &TableContext,
        _present: &[Arc<dyn SegmentRead>],
        mut run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        let mut segment = sink.create()?;
        let lie = self.lie.load(Ordering::SeqCst);
        let mut told = false;
        loop {
            let batch = run.next_batch(100, 10_000)?;
            if batch.is_empty() {
                break;
            }
            for mut row in batch {
                match lie {
                    1 if !told => {
                        told = true;
                        continue;
                    }
                    2 if !told => {
                        told = true;
                        row.value = Some(Slice::from(b"changed".as_slice()));
                    }
                    4 if row.value.is_none() => continue,
                    _ => {}
                }
                segment.append(&encode(&row))?;
                if lie == 3 && !told {
                    told = true;
                    row.key.push(0);
                    segment.append(&encode(&row))?;
                }
            }
        }
        if WASTE <= lie {
            let mut waste = sink.create()?;
            waste.append(&workload::bytes(&mut Rng::with_seed(1), 3 << 20))?;
            match lie {
                7 => drop(waste),
                8 => drop(waste.seal()?),
                _ => std::mem::forget(waste),
            }
        }
        match lie {
            5 => Ok(Vec::new()),
            6 => Err(KernelError::unavailable("flush: the engine is out of sorts")),
            _ => Ok(vec![segment.seal()?]),
        }
    }

    fn plan_compaction(
        &self,
        _table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        let inputs = (segments.len() % 2..segments.len()).collect::<Vec<_>>();
        Ok((2 < segments.len()).then(|| Compaction { at: inputs[0], inputs, urgent: false }))
    }

    fn merge(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
        drop_deleted: bool,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        merge_by_flush(self, table, segments, drop_deleted, sink)
    }

    fn open(
        &self,
        _table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        let mut rows = BTreeMap::new();
        for segment in segments {
            let mut at = 0;
            while at < segment.raw_bytes() {
                let head = segment.read_at(at, 8)?;
                let len = |at: usize| {
                    u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"))
                };
                let (key_len, value_len) = (len(0), len(4));
                let key = segment.read_at(at + 8, key_len as usize)?.to_vec();
                at += 8 + u64::from(key_len);
                let value = match value_len {
                    DELETED => None,
                    len => Some(segment.read_at(at, len as usize)?),
                };
                at += value.as_ref().map_or(0, |value| value.len() as u64);
                rows.insert(key, value);
            }
        }
        Ok(Arc::new(Map(rows)))
    }
}

struct Map(BTreeMap<Vec<u8>, Option<Slice>>);

impl StorageReader for Map {
    fn multi_get(&self, keys: &[&[u8]]) -> KernelResult<Vec<Option<Option<Slice>>>> {
        Ok(keys.iter().map(|key| self.0.get(*key).cloned()).collect())
    }

    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        _: Option<Arc<Selection>>,
    ) -> KernelResult<Box<dyn RunCursor>> {
        let rows = self.0.iter().filter(|(key, _)| range.contains(key));
        let rows = rows.map(|(key, value)| RunRow { key: key.clone(), value: value.clone() });
        let mut rows: Vec<_> = rows.collect();
        if !reverse {
            rows.reverse();
        }
        Ok(Box::new(Backwards(rows)))
    }
}

/// Rows, the next one last.
struct Backwards(Vec<RunRow>);

impl RunCursor for Backwards {
    fn next_batch(&mut self, rows_max: usize, _bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        let count = rows_max.min(7).min(self.0.len());
        Ok((0..count).filter_map(|_| self.0.pop()).collect())
    }
}

/// Run lengths: pairs of count and byte.
struct Pairs {
    lie: Arc<AtomicU8>,
}

impl Extension for Pairs {
    fn info(&self) -> ExtensionInfo {
        info("pairs", ExtensionCapability::Compression)
    }
}

impl CompressionExtension for Pairs {
    fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>> {
        let mut out: Vec<u8> = Vec::new();
        for &byte in input {
            match out.last_chunk_mut::<2>() {
                Some([count, last]) if *last == byte && *count < u8::MAX => *count += 1,
                _ => out.extend([1, byte]),
            }
        }
        match self.lie.load(Ordering::SeqCst) {
            1 => out.iter_mut().skip(1).step_by(2).take(1).for_each(|byte| *byte ^= 1),
            2 => out.truncate(out.len() / 2),
            3 => return Err(KernelError::unavailable("compress: the codec is out of sorts")),
            _ => {}
        }
        Ok(out)
    }

    fn decompress(&self, input: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>> {
        let mut out = Vec::new();
        for pair in input.chunks(2) {
            let [count, byte] = *pair else { break };
            out.extend(std::iter::repeat_n(byte, count.into()));
        }
        match out.len() == raw_bytes {
            true => Ok(out),
            false => Err(KernelError::invalid(format!("{} bytes, wanted {raw_bytes}", out.len()))),
        }
    }
}

/// An engine or codec that lies at some checkpoints loses nothing, and nothing wrong is ever read: not
/// while it lies, not after opening again, not once it is honest.
#[test]
fn extensions_that_lie_are_caught() {
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let (mut caught, mut cases) = (0, 0);
    let lies = ENGINE_LIES.map(|lie| (lie, HONEST)).chain(CODEC_LIES.map(|lie| (HONEST, lie)));
    for (engine_lie, codec_lie) in lies.cycle().take(12 * size(10, 200) as usize) {
        cases += 1;
        let (engine, codec) = (Arc::new(AtomicU8::new(HONEST)), Arc::new(AtomicU8::new(HONEST)));
        let env = Environment { seed, ..sochdb_sim::memory() };
        let open = || {
            let kernel = Kernel::open(env.clone(), workload::small_options()).unwrap();
            kernel.plugins().register_storage(Arc::new(Runs { lie: engine.clone() }));
            kernel.plugins().register_compression(Arc::new(Pairs { lie: codec.clone() }));
            kernel
        };
        let mut kernel = open();
        let options = TableOptions {
            storage: Some("runs".to_owned()),
            codec: Some("pairs".to_owned()),
            ..TableOptions::default()
        };
        kernel.create_table("t", options).unwrap();
        let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for round in 0..8 {
            let lying = round % 2 == 1;
            engine.store(if lying { engine_lie } else { HONEST }, Ordering::SeqCst);
            codec.store(if lying { codec_lie } else { HONEST }, Ordering::SeqCst);
            let mut tx = kernel.begin().unwrap();
            for _ in 0..rng.usize(1..40) {
                let key = vec![rng.u8(0..50)];
                if rng.u8(0..3) == 0 {
                    tx.delete("t", &key).unwrap();
                    rows.remove(&key);
                } else {
                    let value = vec![rng.u8(..); rng.usize(0..300)];
                    tx.put("t", &key, &value).unwrap();
                    rows.insert(key, value);
                }
            }
            // One row that is surely deleted and was surely there, so that lie 4 has something to hide.
            tx.put("t", b"always", &[round]).unwrap();
            rows.insert(b"always".to_vec(), vec![round]);
            if round % 2 == 1 {
                tx.delete("t", b"always").unwrap();
                rows.remove(b"always".as_slice());
            }
            tx.commit().unwrap();
            let report = kernel.checkpoint().unwrap();
            let is_caught = !report.failed.is_empty();
            assert!(lying || !is_caught, "honest and still refused: {:?}", report.failed);
            let must_be_caught = (1..WASTE).contains(&engine_lie);
            assert!(!lying || !must_be_caught || is_caught, "engine lie {engine_lie} was believed");
            caught += u64::from(is_caught);
            if rng.bool() {
                drop(kernel);
                kernel = open();
            }
            let tx = kernel.begin_read().unwrap();
            let found =
                tx.scan("t", ..).unwrap().map(|row| row.map(|(k, v)| (k, v.to_vec())).unwrap());
            assert!(found.eq(rows.clone()), "lies {engine_lie} {codec_lie}, round {round}");
            workload::check(&kernel)
                .unwrap_or_else(|problem| panic!("lies {engine_lie} {codec_lie}: {problem}"));
        }
    }
    println!(
        "extensions: {cases} lives with a lying engine or codec, {caught} flushes refused, no row lost; seed {seed}"
    );
}

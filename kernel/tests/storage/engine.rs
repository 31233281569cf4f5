//! A storage engine in fifty lines, with a switch for each way to be a bad one.
//!
//! A segment is its rows one behind the other: key length u32, value length u32 (all ones: deleted), key,
//! value.

use sochdb_kernel::plugin::{
    Compaction, CompressionExtension, Extension, ExtensionCapability, ExtensionInfo, RunCursor,
    RunRow, SegmentRead, SegmentSink, Selection, StorageExtension, StorageReader, TableContext,
};
use sochdb_kernel::{KernelError, KernelResult, KeyRange, SegmentId, Slice};
use sochdb_sim::merge_by_flush;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const DELETED: u32 = u32::MAX;

/// How an engine misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Refuse,
    DropRow,
    SwapRows,
    ChangeValue,
    InventRow,
    ForeignSegment,
    KeepSink,
}

/// The engine.
pub struct Engine {
    fault: Mutex<Option<Fault>>,
    kept: Mutex<Option<Arc<dyn SegmentSink>>>,
    /// What it wants merged, given how many segments there are; without one, its own plan.
    plan: Mutex<Option<Plan>>,
    /// How often it was asked, and for each merge whether deleted rows could be dropped.
    pub asked: AtomicUsize,
    pub merged: Mutex<Vec<bool>>,
}

pub type Plan = Box<dyn FnMut(usize) -> Option<Compaction> + Send>;

impl Engine {
    pub fn new() -> Arc<Engine> {
        Arc::new(Engine {
            fault: Mutex::new(None),
            kept: Mutex::new(None),
            plan: Mutex::new(None),
            asked: AtomicUsize::new(0),
            merged: Mutex::default(),
        })
    }

    pub fn plan(&self, plan: impl FnMut(usize) -> Option<Compaction> + Send + 'static) {
        *self.plan.lock().unwrap() = Some(Box::new(plan));
    }

    pub fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }

    pub fn kept(&self) -> Arc<dyn SegmentSink> {
        self.kept.lock().unwrap().clone().expect("a flush ran with KeepSink")
    }
}

fn info(name: &str, capability: ExtensionCapability) -> ExtensionInfo {
    let text = |text: &str| text.to_owned();
    let capabilities = vec![capability];
    ExtensionInfo {
        name: text(name),
        version: text("1"),
        description: text(""),
        author: text(""),
        capabilities,
    }
}

impl Extension for Engine {
    fn info(&self) -> ExtensionInfo {
        info("engine", ExtensionCapability::Storage)
    }
}

impl StorageExtension for Engine {
    fn flush(
        &self,
        _table: &TableContext,
        _present: &[Arc<dyn SegmentRead>],
        mut run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        let fault = *self.fault.lock().unwrap();
        let mut rows = Vec::new();
        loop {
            let batch = run.next_batch(37, 4000)?;
            if batch.is_empty() {
                break;
            }
            rows.extend(batch);
        }
        match fault {
            Some(Fault::Refuse) => return Err(KernelError::Invalid("no, thank you".to_owned())),
            Some(Fault::DropRow) => drop(rows.pop()),
            Some(Fault::SwapRows) => rows.swap(0, 1),
            Some(Fault::ChangeValue) => rows[0].value = Some(vec![0].into()),
            Some(Fault::InventRow) => {
                rows.push(RunRow { key: vec![255], value: Some(vec![1].into()) })
            }
            Some(Fault::KeepSink) => *self.kept.lock().unwrap() = Some(sink.clone()),
            Some(Fault::ForeignSegment) | None => {}
        }
        let mut segment = sink.create()?;
        for RunRow { key, value } in rows {
            let len = value.as_ref().map_or(DELETED, |value| value.len() as u32);
            segment.append(&(key.len() as u32).to_le_bytes())?;
            segment.append(&len.to_le_bytes())?;
            segment.append(&key)?;
            segment.append(value.as_deref().unwrap_or_default())?;
        }
        let id = segment.seal()?;
        // Never sealed and never named: it must leave nothing behind.
        sink.create()?.append(&vec![1; 2 << 20])?;
        sink.create()?.seal()?;
        Ok(vec![if fault == Some(Fault::ForeignSegment) { SegmentId(id.0 + 1000) } else { id }])
    }

    fn plan_compaction(
        &self,
        _table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(plan) = &mut *self.plan.lock().unwrap() {
            return Ok(plan(segments.len()));
        }
        // Sometimes the oldest take part, sometimes not.
        let inputs: Vec<_> = match segments.len() {
            0..4 => return Ok(None),
            4 => (1..4).collect(),
            count => (0..count).collect(),
        };
        Ok(Some(Compaction { at: inputs[0], inputs, urgent: false }))
    }

    fn merge(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
        drop_deleted: bool,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        self.merged.lock().unwrap().push(drop_deleted);
        merge_by_flush(self, table, segments, drop_deleted, sink)
    }

    fn open(
        &self,
        _table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        let mut rows = Rows::default();
        for segment in segments {
            let (mut at, end) = (0, segment.raw_bytes());
            while at < end {
                let len = |at| -> KernelResult<u32> {
                    Ok(u32::from_le_bytes(segment.read_at(at, 4)?[..].try_into().expect("4 bytes")))
                };
                let (key_len, value_len) = (len(at)?, len(at + 4)?);
                let key = segment.read_at(at + 8, key_len as usize)?.to_vec();
                at += 8 + u64::from(key_len);
                let value = match value_len {
                    DELETED => None,
                    len => Some(segment.read_at(at, len as usize)?),
                };
                at += value.as_ref().map_or(0, |value| value.len() as u64);
                rows.order.push(RunRow { key: key.clone(), value: value.clone() });
                rows.map.insert(key, value);
            }
        }
        // With one segment, the order on disk is shown as it is, so that a wrong one is seen.
        if segments.len() != 1 {
            let row = |(key, value): (&Vec<u8>, &Option<Slice>)| RunRow {
                key: key.clone(),
                value: value.clone(),
            };
            rows.order = rows.map.iter().map(row).collect();
        }
        Ok(Arc::new(rows))
    }
}

#[derive(Default)]
struct Rows {
    map: BTreeMap<Vec<u8>, Option<Slice>>,
    order: Vec<RunRow>,
}

impl StorageReader for Rows {
    fn multi_get(&self, keys: &[&[u8]]) -> KernelResult<Vec<Option<Option<Slice>>>> {
        Ok(keys.iter().map(|key| self.map.get(*key).cloned()).collect())
    }

    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        selection: Option<Arc<Selection>>,
    ) -> KernelResult<Box<dyn RunCursor>> {
        let mut rows: Vec<_> =
            self.order.iter().filter(|row| range.contains(&row.key)).cloned().collect();
        if let Some(selection) = selection {
            let select = |mut row: RunRow| {
                if let Some(value) = row.value.take() {
                    row.value = Some(selection.apply(&row.key, value).transpose()?.ok()?);
                }
                Some(row)
            };
            rows = rows.into_iter().filter_map(select).collect();
        }
        if reverse {
            rows.reverse();
        }
        Ok(Box::new(Cursor(rows.into_iter())))
    }
}

struct Cursor(std::vec::IntoIter<RunRow>);

impl RunCursor for Cursor {
    fn next_batch(&mut self, rows_max: usize, _bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        Ok(self.0.by_ref().take(rows_max.min(11)).collect())
    }
}

/// Run-length coding: pairs of count and byte.
pub struct Shrink;

impl Extension for Shrink {
    fn info(&self) -> ExtensionInfo {
        info("shrink", ExtensionCapability::Compression)
    }
}

impl CompressionExtension for Shrink {
    fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>> {
        let runs = input.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(255));
        Ok(runs.flat_map(|run| [run.len() as u8, run[0]]).collect())
    }

    fn decompress(&self, input: &[u8], _raw_bytes: usize) -> KernelResult<Vec<u8>> {
        Ok(input.chunks(2).flat_map(|run| vec![run[1]; usize::from(run[0])]).collect())
    }
}

//! A storage engine and a codec in few lines, which read no more of a segment than they must.
//!
//! A segment is its rows one behind the other, each key length u32, value length u32 (all ones: deleted),
//! key, value; then, for each row, the u64 offset at which it begins; then the u64 count of rows. A reader
//! looks at the count, and from then on only at the rows it is asked for. So where one block is broken,
//! the rows in the others can still be read, from either side.

use sochdb_kernel::plugin::{
    Compaction, CompressionExtension, Extension, ExtensionCapability, ExtensionInfo, RunCursor,
    RunRow, SegmentRead, SegmentSink, Selection, StorageExtension, StorageReader, TableContext,
};
use sochdb_kernel::{KernelError, KernelResult, KeyRange, SegmentId, Slice};
use sochdb_sim::merge_by_flush;
use std::ops::Range;
use std::sync::Arc;

const DELETED: u32 = u32::MAX;

fn info(name: &str, capability: ExtensionCapability) -> ExtensionInfo {
    let text = |text: &str| text.to_owned();
    ExtensionInfo {
        name: text(name),
        version: text("1"),
        description: text("for tests"),
        author: text("nobody"),
        capabilities: vec![capability],
    }
}

/// The engine.
pub struct Engine {
    pub name: &'static str,
    /// Whether it refuses to take any rows.
    pub refuses: bool,
}

impl Extension for Engine {
    fn info(&self) -> ExtensionInfo {
        info(self.name, ExtensionCapability::Storage)
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
        if self.refuses {
            return Err(KernelError::invalid("not now"));
        }
        let mut segment = sink.create()?;
        let mut offsets = Vec::new();
        loop {
            let batch = run.next_batch(37, 4000)?;
            if batch.is_empty() {
                break;
            }
            for RunRow { key, value } in batch {
                let len = value.as_ref().map_or(DELETED, |value| value.len() as u32);
                offsets.push(segment.append(&(key.len() as u32).to_le_bytes())?);
                segment.append(&len.to_le_bytes())?;
                segment.append(&key)?;
                segment.append(value.as_deref().unwrap_or_default())?;
            }
        }
        for offset in &offsets {
            segment.append(&offset.to_le_bytes())?;
        }
        segment.append(&(offsets.len() as u64).to_le_bytes())?;
        Ok(vec![segment.seal()?])
    }

    fn plan_compaction(
        &self,
        _table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        let plan = || Compaction { inputs: vec![1, 2], at: 1, urgent: false };
        Ok((4 <= segments.len()).then(plan))
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
        let rows = segments.iter().map(|segment| Rows::open(segment.clone()));
        Ok(Arc::new(Reader(rows.collect::<KernelResult<_>>()?)))
    }
}

/// One segment's rows, by number.
#[derive(Clone)]
struct Rows {
    segment: Arc<dyn SegmentRead>,
    count: u64,
}

impl Rows {
    fn open(segment: Arc<dyn SegmentRead>) -> KernelResult<Rows> {
        let end = segment.raw_bytes();
        let at = end.checked_sub(8).ok_or(KernelError::invalid("a segment without a count"))?;
        let count = u64_at(&*segment, at)?;
        if at / 8 < count {
            return Err(KernelError::invalid("a segment with too large a count"));
        }
        Ok(Rows { segment, count })
    }

    fn row(&self, number: u64) -> KernelResult<RunRow> {
        let offsets = self.segment.raw_bytes() - 8 - 8 * self.count;
        let at = u64_at(&*self.segment, offsets + 8 * number)?;
        let lens = self.segment.read_at(at, 8)?;
        let len = |at: usize| u32::from_le_bytes(lens[at..at + 4].try_into().expect("4 bytes"));
        let key = self.segment.read_at(at + 8, len(0) as usize)?.to_vec();
        let at = at + 8 + key.len() as u64;
        let value = match len(4) {
            DELETED => None,
            len => Some(self.segment.read_at(at, len as usize)?),
        };
        Ok(RunRow { key, value })
    }

    /// How many rows lie before `key`, or with `through` at it too.
    fn before(&self, key: &[u8], through: bool) -> KernelResult<u64> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = (low + high) / 2;
            let found = self.row(middle)?.key;
            if found.as_slice() < key || (through && found == key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

fn u64_at(segment: &dyn SegmentRead, at: u64) -> KernelResult<u64> {
    Ok(u64::from_le_bytes(segment.read_at(at, 8)?[..].try_into().expect("8 bytes")))
}

struct Reader(Vec<Rows>);

impl StorageReader for Reader {
    fn multi_get(&self, keys: &[&[u8]]) -> KernelResult<Vec<Option<Option<Slice>>>> {
        let get = |key: &&[u8]| {
            for rows in self.0.iter().rev() {
                let number = rows.before(key, false)?;
                if number < rows.count {
                    let row = rows.row(number)?;
                    if row.key == **key {
                        return Ok(Some(row.value));
                    }
                }
            }
            Ok(None)
        };
        keys.iter().map(get).collect()
    }

    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        _: Option<Arc<Selection>>,
    ) -> KernelResult<Box<dyn RunCursor>> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let mut sources = Vec::new();
        for rows in &self.0 {
            let from = match &range.start {
                Unbounded => 0,
                Included(key) => rows.before(key, false)?,
                Excluded(key) => rows.before(key, true)?,
            };
            let to = match &range.end {
                Unbounded => rows.count,
                Included(key) => rows.before(key, true)?,
                Excluded(key) => rows.before(key, false)?,
            };
            sources.push((rows.clone(), from..to.max(from), None));
        }
        Ok(Box::new(Cursor { sources, reverse }))
    }
}

/// Merges the segments' rows: of one key, the newest.
struct Cursor {
    sources: Vec<(Rows, Range<u64>, Option<RunRow>)>,
    reverse: bool,
}

impl RunCursor for Cursor {
    fn next_batch(&mut self, rows_max: usize, _bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        let mut batch = Vec::new();
        while batch.len() < rows_max.min(11) {
            for (rows, left, head) in &mut self.sources {
                if head.is_none() {
                    let mut ahead = left.clone();
                    let next = if self.reverse { ahead.next_back() } else { ahead.next() };
                    *head = next.map(|number| rows.row(number)).transpose()?;
                    *left = ahead;
                }
            }
            let keys = self.sources.iter().filter_map(|(.., head)| Some(&head.as_ref()?.key));
            let next = if self.reverse { keys.max() } else { keys.min() };
            let Some(key) = next.cloned() else { break };
            let same = self
                .sources
                .iter_mut()
                .filter(|(.., head)| head.as_ref().is_some_and(|head| head.key == key));
            batch.extend(same.filter_map(|(.., head)| head.take()).last());
        }
        Ok(batch)
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
        Ok(input.chunks_exact(2).flat_map(|run| vec![run[1]; usize::from(run[0])]).collect())
    }
}

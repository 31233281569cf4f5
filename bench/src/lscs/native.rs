//! The algorithm of the plugin `lscs` as an extension of the kernel: the same crate, compiled natively.
//!
//! It does what the plugin and the host's side of the boundary do together, without a boundary: the kernel's
//! segments are the algorithm's sources, its sink takes the bytes, rows go over as they are. What is not here is
//! what the sandbox costs. As an instance of the plugin does, it keeps the segments open that a reader uses.

use parking_lot::Mutex;
use sochdb_encoding::columns::ColumnBatch;
use sochdb_kernel::plugin::{
    Compaction, Extension, ExtensionCapability, ExtensionInfo, RunCursor, RunRow, SegmentRead,
    SegmentSink, SegmentWrite, Selection, StorageExtension, StorageReader, TableContext,
};
use sochdb_kernel::{KernelError, KernelResult, KeyRange, PluginFault, SegmentId, Slice};
use sochdb_plugin_lscs::columns::ColumnCursor;
use sochdb_plugin_lscs::cursor::Cursor;
use sochdb_plugin_lscs::merge;
use sochdb_plugin_lscs::options::Options;
use sochdb_plugin_lscs::pieces::PieceWriter;
use sochdb_plugin_lscs::plan;
use sochdb_plugin_lscs::read::{Lookup, TableReader};
use sochdb_plugin_lscs::segment::SegmentReader;
use sochdb_plugin_lscs::{Error, PieceSink, SegmentSource};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// What tables call it.
pub const NATIVE: &str = "lscs_native";

/// Rows and bytes of a batch of the run.
const BATCH_ROWS: usize = 1024;
const BATCH_BYTES: usize = 256 << 10;
/// Rows of a scan's first batch, the same as the host asks a plugin for.
const SCAN_ROWS_FIRST: usize = 128;

type Open = SegmentReader<Source>;

/// The extension.
#[derive(Default)]
pub struct Native {
    /// By the segment's number.
    open: Mutex<BTreeMap<SegmentId, Weak<Open>>>,
}

fn failed(error: Error) -> KernelError {
    KernelError::plugin(NATIVE, PluginFault::Refused, error.to_string())
}

fn unavailable(error: KernelError) -> Error {
    Error::Unavailable(error.to_string())
}

/// A segment of the kernel, as the algorithm reads it.
pub struct Source(Arc<dyn SegmentRead>);

impl SegmentSource for Source {
    fn name(&self) -> String {
        format!("segment {}", self.0.id())
    }

    fn len(&self) -> u64 {
        self.0.raw_bytes()
    }

    fn read(&self, offset: u64, len: u32) -> sochdb_plugin_lscs::Result<Vec<u8>> {
        Ok(self.0.read_at(offset, len as usize).map_err(unavailable)?.to_vec())
    }
}

/// Where pieces go: into segments of the kernel.
struct Pieces {
    sink: Arc<dyn SegmentSink>,
    sealed: Vec<SegmentId>,
}

/// A segment being written.
struct Out(Box<dyn SegmentWrite>);

impl sochdb_plugin_lscs::SegmentSink for Out {
    fn append(&mut self, bytes: &[u8]) -> sochdb_plugin_lscs::Result<u64> {
        self.0.append(bytes).map_err(unavailable)
    }
}

impl PieceSink for Pieces {
    type Out = Out;

    fn create(&mut self) -> sochdb_plugin_lscs::Result<Out> {
        self.sink.create().map(Out).map_err(unavailable)
    }

    fn seal(&mut self, piece: Out) -> sochdb_plugin_lscs::Result<()> {
        self.sealed.push(piece.0.seal().map_err(unavailable)?);
        Ok(())
    }
}

impl Native {
    fn open(&self, segments: &[Arc<dyn SegmentRead>]) -> KernelResult<Vec<Arc<Open>>> {
        let mut known = self.open.lock();
        known.retain(|_, reader| 0 < reader.strong_count());
        let mut readers = Vec::with_capacity(segments.len());
        for segment in segments {
            let reader = match known.get(&segment.id()).and_then(Weak::upgrade) {
                Some(reader) => reader,
                None => Arc::new(SegmentReader::open(Source(segment.clone())).map_err(failed)?),
            };
            known.insert(segment.id(), Arc::downgrade(&reader));
            readers.push(reader);
        }
        Ok(readers)
    }
}

fn options(table: &TableContext) -> KernelResult<Options> {
    Options::new(table.schema.clone(), &table.options).map_err(failed)
}

impl Extension for Native {
    fn info(&self) -> ExtensionInfo {
        ExtensionInfo {
            name: NATIVE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: "The algorithm of lscs without a sandbox".to_owned(),
            author: "The SochDB authors".to_owned(),
            capabilities: vec![ExtensionCapability::Storage],
        }
    }
}

impl StorageExtension for Native {
    fn flush(
        &self,
        table: &TableContext,
        present: &[Arc<dyn SegmentRead>],
        mut run: Box<dyn RunCursor>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        let (options, present) = (options(table)?, self.open(present)?);
        let present: Vec<_> = present.iter().map(|segment| segment.properties()).collect();
        let mut pieces = Pieces { sink, sealed: Vec::new() };
        let mut writer = PieceWriter::new(&options, &present, &mut pieces);
        loop {
            let batch = run.next_batch(BATCH_ROWS, BATCH_BYTES)?;
            if batch.is_empty() {
                break;
            }
            for RunRow { key, value } in &batch {
                writer.push(key, value.as_deref()).map_err(failed)?;
            }
        }
        writer.finish().map_err(failed)?;
        Ok(pieces.sealed)
    }

    fn plan_compaction(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Option<Compaction>> {
        let (options, segments) = (options(table)?, self.open(segments)?);
        let known: Vec<_> = segments.iter().map(|segment| segment.properties()).collect();
        Ok(plan::plan(&known, &options))
    }

    fn merge(
        &self,
        table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
        drop_deleted: bool,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<Vec<SegmentId>> {
        let (options, segments) = (options(table)?, self.open(segments)?);
        let mut pieces = Pieces { sink, sealed: Vec::new() };
        merge::merge(&segments, drop_deleted, &options, &mut pieces).map_err(failed)?;
        Ok(pieces.sealed)
    }

    fn open(
        &self,
        _table: &TableContext,
        segments: &[Arc<dyn SegmentRead>],
    ) -> KernelResult<Arc<dyn StorageReader>> {
        Ok(Arc::new(Rows(TableReader::new(self.open(segments)?))))
    }
}

/// The open segments of a table.
pub struct Rows(TableReader<Source>);

impl Rows {
    /// What is behind `reader`, if it is one of these.
    pub fn of(reader: &dyn StorageReader) -> Option<&Rows> {
        (reader as &dyn Any).downcast_ref()
    }

    /// Begins to read columns.
    pub fn scan_columns(&self, range: &KeyRange, selection: &Selection) -> KernelResult<Columns> {
        self.0.scan_columns(range, selection).map(Columns).map_err(failed)
    }
}

impl StorageReader for Rows {
    fn multi_get(&self, keys: &[&[u8]]) -> KernelResult<Vec<Option<Option<Slice>>>> {
        let found = self.0.multi_get(keys).map_err(failed)?;
        let answer = |lookup| match lookup {
            Lookup::Absent => None,
            Lookup::Deleted => Some(None),
            Lookup::Found(value) => Some(Some(value.into())),
        };
        Ok(found.into_iter().map(answer).collect())
    }

    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        selection: Option<Arc<Selection>>,
    ) -> KernelResult<Box<dyn RunCursor>> {
        let cursor = self.0.scan(range, reverse, selection.as_deref()).map_err(failed)?;
        Ok(Box::new(Scan { cursor, rows_next: SCAN_ROWS_FIRST }))
    }
}

/// A scan under way.
struct Scan {
    cursor: Cursor<Source>,
    /// Rows to read next: short scans should not pay for rows that nobody wants.
    rows_next: usize,
}

impl RunCursor for Scan {
    fn next_batch(&mut self, rows_max: usize, bytes_max: usize) -> KernelResult<Vec<RunRow>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let rows_max = rows_max.min(self.rows_next);
        self.rows_next = self.rows_next.saturating_mul(4);
        while batch.len() < rows_max && (batch.is_empty() || bytes < bytes_max) {
            let Some((key, value)) = self.cursor.next_row().map_err(failed)? else { break };
            bytes += key.len() + value.map_or(0, <[u8]>::len);
            batch.push(RunRow { key: key.to_vec(), value: value.map(Into::into) });
        }
        Ok(batch)
    }
}

/// A scan of columns under way.
pub struct Columns(ColumnCursor<Source>);

impl Columns {
    /// The next columns of some rows; `None` after the last.
    pub fn next_batch(
        &mut self,
        rows_max: usize,
        bytes_max: usize,
    ) -> KernelResult<Option<ColumnBatch>> {
        self.0.next_batch(rows_max, bytes_max).map_err(failed)
    }
}

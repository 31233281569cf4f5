//! LSCS as a plugin: glue between the contract and the algorithm.
//!
//! An instance keeps what it has read of a segment (index and bloom filter) as long as any open reader
//! uses it: after a checkpoint the new reader has most segments in common with the old one.

use crate::cursor::{self, Cursor};
use crate::merge;
use crate::read::{self, Lookup};
use crate::segment::{SegmentReader, SegmentWriter};
use crate::{Error, Row, SegmentSink, SegmentSource};
use sochdb_guest::select::Selection;
use sochdb_guest::{Compaction, ErrorCode, KeyRange, RowBatch, Run, Segment, Sink, Storage, Table};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

type Open = SegmentReader<Segment>;

/// The plugin: what its instance has open.
#[derive(Default)]
pub struct Lscs {
    /// By the segment's number.
    open: BTreeMap<u64, Weak<Open>>,
}

/// The open segments of one table, oldest first.
pub struct Reader(Vec<Arc<Open>>);

/// A scan under way.
pub struct Scan(Cursor<Segment>, Option<Selection>);

impl Storage for Lscs {
    type Reader = Reader;

    fn init() -> sochdb_guest::Result<Self> {
        Ok(Lscs::default())
    }

    fn flush(
        &mut self,
        _table: &Table,
        _present: &[Segment],
        run: &mut Run<'_>,
        sink: &Sink<'_>,
    ) -> sochdb_guest::Result<Vec<u64>> {
        let mut out = sink.create()?;
        let mut writer = SegmentWriter::new(&mut out);
        while let Some((key, value)) = run.next()? {
            writer.push(key, value)?;
        }
        match writer.finish()? {
            Some(_) => Ok(vec![out.seal()?]),
            None => Ok(Vec::new()),
        }
    }

    fn plan_compaction(
        &mut self,
        _table: &Table,
        segments: &[Segment],
    ) -> sochdb_guest::Result<Option<Compaction>> {
        let sizes: Vec<_> = segments.iter().map(|segment| segment.info().bytes).collect();
        let plan = merge::plan_compaction(&sizes);
        Ok(plan.map(|range| Compaction { at: range.start, inputs: range.collect(), urgent: false }))
    }

    fn open(&mut self, _table: &Table, segments: Vec<Segment>) -> sochdb_guest::Result<Reader> {
        self.open.retain(|_, reader| 0 < reader.strong_count());
        let mut readers = Vec::with_capacity(segments.len());
        for segment in segments {
            let id = segment.info().id;
            let reader = match self.open.get(&id).and_then(Weak::upgrade) {
                Some(reader) => reader,
                None => Arc::new(SegmentReader::open(segment)?),
            };
            self.open.insert(id, Arc::downgrade(&reader));
            readers.push(reader);
        }
        Ok(Reader(readers))
    }
}

impl sochdb_guest::Reader for Reader {
    type Cursor = Scan;

    fn multi_get(&self, keys: &[&[u8]]) -> sochdb_guest::Result<Vec<sochdb_guest::Lookup>> {
        let found = read::multi_get(&self.0, keys)?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        selection: Option<Selection>,
    ) -> sochdb_guest::Result<Scan> {
        let range = cursor::KeyRange { start: range.start.clone(), end: range.end.clone() };
        Ok(Scan(Cursor::new(&self.0, &range, reverse), selection))
    }
}

impl sochdb_guest::Cursor for Scan {
    fn next_batch(&mut self, batch: &mut RowBatch) -> sochdb_guest::Result<()> {
        while !batch.is_full() {
            let Some(Row { key, value }) = self.0.next_row()? else { break };
            batch.push_selected(&key, value.as_deref(), self.1.as_ref())?;
        }
        Ok(())
    }
}

impl SegmentSink for &mut sochdb_guest::SegmentWriter {
    fn append(&mut self, bytes: &[u8]) -> crate::Result<u64> {
        sochdb_guest::SegmentWriter::append(self, bytes).map_err(from_host)
    }
}

impl SegmentSource for Segment {
    fn name(&self) -> String {
        format!("segment {}", self.info().id)
    }

    fn len(&self) -> u64 {
        self.info().bytes
    }

    fn read(&self, offset: u64, len: u32) -> crate::Result<Vec<u8>> {
        Segment::read(self, offset, len as usize).map_err(from_host)
    }
}

/// What the host answered, in the words of the algorithm.
fn from_host(error: sochdb_guest::Error) -> Error {
    match error.code {
        ErrorCode::Invalid => Error::Invalid(error.text),
        _ => Error::Unavailable(error.text),
    }
}

impl From<Error> for sochdb_guest::Error {
    fn from(error: Error) -> sochdb_guest::Error {
        let code = match &error {
            Error::Corrupt { .. } => ErrorCode::Corrupt,
            Error::Invalid(_) => ErrorCode::Invalid,
            Error::Unavailable(_) => ErrorCode::Internal,
        };
        sochdb_guest::Error::new(code, error.to_string())
    }
}

impl From<Lookup> for sochdb_guest::Lookup {
    fn from(lookup: Lookup) -> sochdb_guest::Lookup {
        match lookup {
            Lookup::Absent => sochdb_guest::Lookup::Unknown,
            Lookup::Deleted => sochdb_guest::Lookup::Deleted,
            Lookup::Found(value) => sochdb_guest::Lookup::Value(value),
        }
    }
}

sochdb_guest::export!(storage: Lscs);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_passes_its_own_test_outside_the_sandbox() {
        let mut plugin = Lscs::init().unwrap();
        plugin.self_test().unwrap();
        assert!(plugin.open.values().all(|reader| reader.strong_count() == 0));
    }
}

//! LSCS as a plugin: glue between the contract and the algorithm.
//!
//! An instance keeps what it has read of a segment (index, bloom filter, zone maps) as long as any open
//! reader uses it: after a checkpoint the new reader has most segments in common with the old one. Of the
//! others it keeps the properties, which is what a flush and a plan look at.

use crate::columns;
use crate::cursor::Cursor;
use crate::options::Options;
use crate::pieces::PieceWriter;
use crate::read::{Lookup, TableReader};
use crate::segment::{Properties, SegmentReader};
use crate::{Error, PieceSink, SegmentSink, SegmentSource};
use sochdb_guest::columns::ColumnBatch;
use sochdb_guest::row::Schema;
use sochdb_guest::select::Selection;
use sochdb_guest::stats::StorageStats;
use sochdb_guest::{
    ColumnCursor, Compaction, ErrorCode, KeyRange, RowBatch, Run, Segment, Sink, Storage, Table,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// More properties than this are not kept: the tables of one instance have so many segments at most.
const KNOWN_MAX: usize = 10_000;

type Open = SegmentReader<Segment>;

/// The plugin: what its instance has open, and what it knows of other segments.
#[derive(Default)]
pub struct Lscs {
    /// By the segment's number, as is the next.
    open: BTreeMap<u64, Weak<Open>>,
    known: BTreeMap<u64, Properties>,
}

/// The open segments of one table, and its columns.
pub struct Reader(TableReader<Segment>, Option<Schema>);

/// A scan under way, and whether it selects: then a deleted row only tells how far it is.
pub struct Scan(Cursor<Segment>, bool);

/// A scan of columns under way.
struct ColumnScan(columns::ColumnCursor<Segment>);

impl Lscs {
    /// The properties of `segments`, in their order.
    fn properties(&mut self, segments: &[Segment]) -> crate::Result<Vec<Properties>> {
        if KNOWN_MAX < self.known.len() {
            self.known.clear();
        }
        let mut all = Vec::with_capacity(segments.len());
        for segment in segments {
            let id = segment.info().id;
            let properties = match self.known.get(&id) {
                Some(known) => known.clone(),
                None => SegmentReader::open(segment)?.properties().clone(),
            };
            self.known.entry(id).or_insert_with(|| properties.clone());
            all.push(properties);
        }
        Ok(all)
    }

    /// Readers of `segments`, shared with those that are open already.
    fn readers(&mut self, segments: Vec<Segment>) -> crate::Result<Vec<Arc<Open>>> {
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
        Ok(readers)
    }
}

fn options(table: &Table) -> crate::Result<Options> {
    let options = Options::new(table.schema.clone(), &table.options)?;
    Ok(options.with_codec(table.compressed))
}

impl Storage for Lscs {
    type Reader = Reader;

    fn init() -> sochdb_guest::Result<Self> {
        Ok(Lscs::default())
    }

    fn flush(
        &mut self,
        table: &Table,
        present: &[Segment],
        run: &mut Run<'_>,
        sink: &Sink<'_>,
    ) -> sochdb_guest::Result<Vec<u64>> {
        let (options, present) = (options(table)?, self.properties(present)?);
        let mut pieces = Pieces { sink, sealed: Vec::new() };
        let mut writer = PieceWriter::new(&options, &present, &mut pieces);
        while let Some((key, value)) = run.next()? {
            writer.push(key, value)?;
        }
        writer.finish()?;
        Ok(pieces.sealed)
    }

    fn plan_compaction(
        &mut self,
        table: &Table,
        segments: &[Segment],
    ) -> sochdb_guest::Result<Option<Compaction>> {
        Ok(crate::plan::plan(&self.properties(segments)?, &options(table)?))
    }

    fn merge(
        &mut self,
        table: &Table,
        segments: Vec<Segment>,
        drop_deleted: bool,
        sink: &Sink<'_>,
    ) -> sochdb_guest::Result<Vec<u64>> {
        let (options, inputs) = (options(table)?, self.readers(segments)?);
        let mut pieces = Pieces { sink, sealed: Vec::new() };
        crate::merge::merge(&inputs, drop_deleted, &options, &mut pieces)?;
        Ok(pieces.sealed)
    }

    fn open(&mut self, table: &Table, segments: Vec<Segment>) -> sochdb_guest::Result<Reader> {
        // So that settings that make no sense are refused when the table is made.
        options(table)?;
        Ok(Reader(TableReader::new(self.readers(segments)?), table.schema.clone()))
    }
}

impl sochdb_guest::Reader for Reader {
    type Cursor = Scan;

    fn multi_get(&self, keys: &[&[u8]]) -> sochdb_guest::Result<Vec<sochdb_guest::Lookup>> {
        let found = self.0.multi_get(keys)?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    fn scan(
        &self,
        range: &KeyRange,
        reverse: bool,
        selection: Option<Selection>,
    ) -> sochdb_guest::Result<Scan> {
        Ok(Scan(self.0.scan(range, reverse, selection.as_ref())?, selection.is_some()))
    }

    fn scan_columns(
        &self,
        range: &KeyRange,
        selection: Selection,
    ) -> sochdb_guest::Result<Box<dyn ColumnCursor>> {
        Ok(Box::new(ColumnScan(self.0.scan_columns(range, &selection)?)))
    }

    fn stats(&self) -> sochdb_guest::Result<StorageStats> {
        Ok(self.0.stats(self.1.as_ref())?)
    }
}

impl sochdb_guest::Cursor for Scan {
    fn next_batch(&mut self, batch: &mut RowBatch) -> sochdb_guest::Result<()> {
        if batch.is_full() {
            return Ok(());
        }
        let Scan(cursor, selects) = self;
        cursor.each_row(|key, value| {
            batch.push(key, value);
            !batch.is_full() && (value.is_some() || !*selects)
        })?;
        Ok(())
    }
}

impl ColumnCursor for ColumnScan {
    fn next_batch(
        &mut self,
        rows_max: usize,
        bytes_max: usize,
    ) -> sochdb_guest::Result<ColumnBatch> {
        let batch = self.0.next_batch(rows_max, bytes_max)?;
        batch.ok_or_else(|| sochdb_guest::Error::invalid("the scan is over"))
    }
}

/// Where the pieces of a flush or a merge go, and the numbers they got.
struct Pieces<'a> {
    sink: &'a Sink<'a>,
    sealed: Vec<u64>,
}

impl PieceSink for Pieces<'_> {
    type Out = sochdb_guest::SegmentWriter;

    fn create(&mut self) -> crate::Result<Self::Out> {
        self.sink.create().map_err(from_host)
    }

    fn seal(&mut self, piece: Self::Out) -> crate::Result<()> {
        self.sealed.push(piece.seal().map_err(from_host)?);
        Ok(())
    }
}

impl SegmentSink for sochdb_guest::SegmentWriter {
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

/// A segment that is only looked at.
impl SegmentSource for &Segment {
    fn name(&self) -> String {
        SegmentSource::name(*self)
    }

    fn len(&self) -> u64 {
        SegmentSource::len(*self)
    }

    fn read(&self, offset: u64, len: u32) -> crate::Result<Vec<u8>> {
        SegmentSource::read(*self, offset, len)
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

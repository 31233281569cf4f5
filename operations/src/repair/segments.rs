//! The rows of a table in segments, as far as its storage plugin can still show them.
//!
//! A scan forwards ends at the first broken block; a scan backwards from the end finds where the rows go on
//! behind it. What lies between is lost. Segments that the plugin cannot even open are left out: then
//! all rows are suspect, because older segments may show what a newer one had replaced.

use super::source::Source;
use super::tree::{Span, reason};
use sochdb_kernel::inspect::{Access, Segment, SegmentMeta};
use sochdb_kernel::limits::{RUN_BATCH_BYTES, RUN_BATCH_ROWS, SEGMENT_BYTES_MAX};
use sochdb_kernel::plugin::{RunCursor, RunRow, SegmentRead, StorageReader};
use sochdb_kernel::{KernelResult, KeyRange, Slice, TableInfo};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

/// What is found next.
pub(super) enum Found {
    Row(Vec<u8>, Slice),
    Lost(Span, String),
}

/// The rows of one table's segments, in growing order.
pub(super) struct SegmentRows {
    ahead: Vec<(Span, String)>,
    reader: Option<Arc<dyn StorageReader>>,
    cursor: Option<Box<dyn RunCursor>>,
    batch: std::vec::IntoIter<RunRow>,
    /// The last key seen, row or tombstone.
    last: Option<Vec<u8>>,
    /// Whether the cursor is behind the first broken place.
    is_behind: bool,
}

impl SegmentRows {
    /// The rows of `metas`, the segments of `table`, oldest first.
    pub fn new(
        source: &Source,
        access: &Access,
        table: &TableInfo,
        metas: &[SegmentMeta],
    ) -> SegmentRows {
        let mut rows = SegmentRows {
            ahead: Vec::new(),
            reader: None,
            cursor: None,
            batch: Vec::new().into_iter(),
            last: None,
            is_behind: false,
        };
        if let Err(error) = rows.open(source, access, table, metas) {
            rows.ahead.push((Span::ALL, reason(&error)));
        }
        rows
    }

    fn open(
        &mut self,
        source: &Source,
        access: &Access,
        table: &TableInfo,
        metas: &[SegmentMeta],
    ) -> KernelResult<()> {
        if metas.is_empty() {
            return Ok(());
        }
        let context = table.context();
        let storage =
            access.plugins.storage(table.options.storage.as_deref().unwrap_or_default())?;
        let mut whole: Vec<Arc<dyn SegmentRead>> = Vec::new();
        for meta in metas {
            let segment = Arc::new(Segment::new(meta.clone(), access.clone()));
            let check = || {
                source.check_run(&meta.index, SEGMENT_BYTES_MAX)?;
                for block in segment.blocks()? {
                    source.check_block(block)?;
                }
                storage.open(&context, &[segment.clone() as Arc<dyn SegmentRead>])
            };
            match check() {
                Ok(_) => whole.push(segment.clone()),
                Err(error) => {
                    let why = format!(
                        "segment {} cannot be opened, older ones may show what it replaced: {}",
                        meta.id,
                        reason(&error)
                    );
                    self.ahead.push((Span::ALL, why));
                }
            }
        }
        let reader = storage.open(&context, &whole)?;
        self.cursor = Some(reader.scan(&KeyRange::all(), false, None)?);
        self.reader = Some(reader);
        Ok(())
    }

    pub fn next(&mut self) -> Option<Found> {
        loop {
            if let Some((span, why)) = self.ahead.pop() {
                return Some(Found::Lost(span, why));
            }
            if let Some(RunRow { key, value }) = self.batch.next() {
                if self.last.as_ref().is_some_and(|last| key <= *last) {
                    self.cursor = None;
                    self.lose_rest("the plugin shows rows out of order".to_owned());
                    continue;
                }
                self.last = Some(key.clone());
                match value {
                    Some(value) => return Some(Found::Row(key, value)),
                    None => continue,
                }
            }
            match self.cursor.as_mut()?.next_batch(RUN_BATCH_ROWS, RUN_BATCH_BYTES) {
                Ok(batch) if batch.is_empty() => self.cursor = None,
                Ok(batch) => self.batch = batch.into_iter(),
                Err(error) => self.go_on_behind(&reason(&error)),
            }
        }
    }

    /// After an error: finds where the rows go on, and what is lost before that.
    fn go_on_behind(&mut self, why: &str) {
        self.cursor = None;
        if std::mem::replace(&mut self.is_behind, true) {
            return self.lose_rest(why.to_owned());
        }
        let Some(first) = self.first_from_the_end() else {
            return self.lose_rest(why.to_owned());
        };
        let range = KeyRange { start: Included(first.clone()), end: Unbounded };
        let reader = self.reader.as_ref().expect("a cursor came from it");
        match reader.scan(&range, false, None) {
            Ok(cursor) => {
                let span = Span { low: self.behind_last(), high: Some(first) };
                self.ahead.push((span, why.to_owned()));
                self.cursor = Some(cursor);
            }
            Err(_) => self.lose_rest(why.to_owned()),
        }
    }

    /// The least key that a scan backwards reaches, behind the last that was seen.
    fn first_from_the_end(&self) -> Option<Vec<u8>> {
        let start = self.last.clone().map_or(Unbounded, Excluded);
        let range = KeyRange { start, end: Unbounded };
        let mut cursor = self.reader.as_ref()?.scan(&range, true, None).ok()?;
        let mut first: Option<Vec<u8>> = None;
        while let Ok(batch) = cursor.next_batch(RUN_BATCH_ROWS, RUN_BATCH_BYTES) {
            let Some(row) = batch.into_iter().next_back() else { break };
            if first.as_ref().is_some_and(|first| *first <= row.key) {
                break;
            }
            first = Some(row.key);
        }
        first.filter(|first| self.last.as_ref().is_none_or(|last| last < first))
    }

    fn lose_rest(&mut self, why: String) {
        self.batch = Vec::new().into_iter();
        self.ahead.push((Span { low: self.behind_last(), high: None }, why));
    }

    fn behind_last(&self) -> Option<Vec<u8>> {
        self.last.as_ref().map(|last| [last.as_slice(), &[0]].concat())
    }
}

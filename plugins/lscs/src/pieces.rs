//! What a flush or a merge writes: sorted rows, cut into segments of about the size that the table asks for.
//!
//! A segment that reaches a fourth less than that size ends at the next key at which a segment of the run below
//! begins, so that a later merge touches few of those; one that is a fourth larger ends where it is.

use std::borrow::Borrow;
use std::ops::Range;
use std::sync::Arc;

use crate::block::{BLOCK_BYTES_TARGET, Block};
use crate::options::Options;
use crate::plan::runs;
use crate::segment::{Properties, SegmentReader, SegmentWriter};
use crate::{PieceSink, Result, SegmentSource};

/// Writes segments, one behind the other.
pub struct PieceWriter<'a, P: PieceSink> {
    options: &'a Options,
    sink: &'a mut P,
    /// Keys at which to cut, descending.
    cuts: Vec<Vec<u8>>,
    writer: Option<SegmentWriter<P::Out>>,
    /// Where in memory the segments are of which blocks were copied into the one under way.
    copied: Vec<usize>,
    written: Vec<Properties>,
}

impl<'a, P: PieceSink> PieceWriter<'a, P> {
    /// Begins to write to `sink`, for a table with `options` whose segments are `present`, oldest first.
    pub fn new(options: &'a Options, present: &[impl Borrow<Properties>], sink: &'a mut P) -> Self {
        let target = options.segment_bytes();
        let bytes =
            |run: &Range<usize>| present[run.clone()].iter().map(|p| p.borrow().bytes).sum::<u64>();
        // Shorter runs are soon merged themselves.
        let below = runs(present).into_iter().rev().find(|run| 2 * target <= bytes(run));
        let below = below.map_or(&[][..], |run| &present[run]);
        let cuts = below.iter().skip(1).rev().map(|piece| piece.borrow().min_key.clone()).collect();
        PieceWriter { options, sink, cuts, writer: None, copied: Vec::new(), written: Vec::new() }
    }

    /// Adds a row; `None` is a tombstone.
    ///
    /// # Errors
    /// `Invalid` when `key` is not greater than the last, or key or value pass their bound;
    /// `Unavailable` when the sink fails.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.writer_at(key)?.push(key, value)
    }

    /// Adds all of `block`, at `position` of the index of `segment`, as it is, if that leaves no small block
    /// before it; says whether it did.
    pub(crate) fn copy<S: SegmentSource>(
        &mut self,
        segment: &Arc<SegmentReader<S>>,
        position: usize,
        block: &Block,
    ) -> Result<bool> {
        let entry = &segment.index()?[position];
        let zones = segment.zones()?.get(position).map_or(&[][..], Vec::as_slice);
        let large = |bytes: usize| BLOCK_BYTES_TARGET / 2 <= bytes;
        let pending = self.writer.as_ref().map_or(0, SegmentWriter::pending_bytes);
        if !large(entry.len as usize)
            || (pending != 0 && !large(pending))
            || zones.len() != block.chunks().len()
        {
            return Ok(false);
        }
        self.writer_at(&entry.first_key)?;
        let id = Arc::as_ptr(segment).addr();
        let tallies = if self.copied.contains(&id) { Vec::new() } else { segment.tallies()? };
        let writer = self.writer.as_mut().expect("there is a segment under way");
        writer.copy(block, entry, zones, block.first_bytes())?;
        writer.add_sketches(&tallies);
        self.copied.push(id);
        Ok(true)
    }

    /// The segment into which `key` goes.
    fn writer_at(&mut self, key: &[u8]) -> Result<&mut SegmentWriter<P::Out>> {
        let crosses = self.cuts.last().is_some_and(|cut| cut[..] <= *key);
        while self.cuts.last().is_some_and(|cut| cut[..] <= *key) {
            self.cuts.pop();
        }
        let target = self.options.segment_bytes();
        let bytes = self.writer.as_ref().map_or(0, SegmentWriter::bytes);
        let enough = match self.cuts.is_empty() {
            _ if crosses => target - target / 4,
            true => target,
            false => target + target / 4,
        };
        if enough <= bytes {
            self.end_piece()?;
        }
        if self.writer.is_none() {
            self.writer = Some(SegmentWriter::new(self.options, self.sink.create()?));
        }
        Ok(self.writer.as_mut().expect("it was just made"))
    }

    fn end_piece(&mut self) -> Result<()> {
        self.copied.clear();
        if let Some(writer) = self.writer.take() {
            let (properties, out) = writer.finish()?;
            self.sink.seal(out)?;
            self.written.extend(properties);
        }
        Ok(())
    }

    /// Ends the last segment; the properties of all of them, ascending. None when there was no row.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(mut self) -> Result<Vec<Properties>> {
        self.end_piece()?;
        Ok(self.written)
    }
}

//! The rows of many segments in key order, as spans: rows of one block that follow each other in the whole.
//!
//! Segments that lie next to each other in the list, with keys that only grow, are one *sorted run* and are
//! read as one: block after block, and only those that overlap the range. Between runs the merge looks for the
//! least key (in reverse, the greatest), drops the same key from older runs, and then hands out as many rows of
//! that block at once as lie before the next key of any other run. So where nothing overlaps, a span is a
//! block, and nothing is done per row.
//!
//! A block that cannot hold a row the scan wants, by its zone maps, is not read when no older run has keys in
//! its range. Otherwise its keys are: a row that is left out still hides the older rows of its key.

use std::ops::Range;
use std::sync::Arc;

use sochdb_guest::encoding::columns::ColumnBuilder;
use sochdb_guest::encoding::range::KeyRange;

use crate::block::Block;
use crate::keys::Walk;
use crate::pick::Picker;
use crate::segment::{BlockEntry, SegmentReader, Wanted};
use crate::{Result, SegmentSource};

/// Some rows of the block that run `run` stands at.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub run: usize,
    pub rows: Range<usize>,
}

/// A block in which a run stands.
#[derive(Debug)]
pub(crate) struct Open<S> {
    pub segment: Arc<SegmentReader<S>>,
    pub position: usize,
    pub block: Block,
    /// Which of the blocks read it is, from 1 on.
    pub serial: u64,
    /// A bit for each row that the scan wants, once it was asked for.
    mask: Option<Vec<u64>>,
    /// Whether the zone maps say that it wants none.
    excluded: bool,
    /// Columns of the whole block, decoded, by chunk.
    decoded: Vec<Option<ColumnBuilder>>,
    /// How often a scan of columns took rows of it.
    pub visits: usize,
}

impl<S: SegmentSource> Open<S> {
    /// The column of chunk `index`, decoded for all rows when first asked for.
    pub fn decoded(&mut self, index: usize) -> Result<&ColumnBuilder> {
        self.decoded.resize(self.block.chunks().len(), None);
        if self.decoded[index].is_none() {
            let mut column = ColumnBuilder::new(self.block.chunks()[index].kind);
            self.block.chunk(index)?.decode(0..self.block.rows(), &mut column)?;
            self.decoded[index] = Some(column);
        }
        Ok(self.decoded[index].as_ref().expect("it was just decoded"))
    }

    /// The block's entry in the index.
    pub fn entry(&self) -> Result<&BlockEntry> {
        Ok(&self.segment.index()?[self.position])
    }

    /// A bit for each row that fulfils the conditions of `picker`; `None` when none does.
    pub fn mask(&mut self, picker: &Picker) -> Result<Option<&[u64]>> {
        if self.excluded {
            return Ok(None);
        }
        if self.mask.is_none() {
            let mask = picker.mask(&self.block)?;
            self.excluded = mask.iter().all(|word| *word == 0);
            if !self.excluded {
                self.segment.fill(&mut self.block, self.position, &picker.wanted)?;
            }
            self.mask = Some(mask);
        }
        Ok(self.mask.as_deref().filter(|_| !self.excluded))
    }
}

/// A walk through one sorted run.
#[derive(Debug)]
struct Run<S> {
    /// Those that overlap the range, ascending.
    segments: Vec<Arc<SegmentReader<S>>>,
    /// Of `segments`, not yet begun.
    ahead: Range<usize>,
    /// The segment under way, and its blocks not yet read.
    segment: usize,
    blocks: Range<usize>,
    open: Option<Open<S>>,
    /// Rows of the open block not yet handed out.
    rows: Range<usize>,
    /// The key of the next row.
    walk: Walk,
    is_placed: bool,
}

impl<S: SegmentSource> Run<S> {
    /// Whether rows of the run that were not handed out may have keys from `first` to `last`.
    fn overlaps(&self, first: &[u8], last: &[u8]) -> Result<bool> {
        if let Some(open) = self.open.as_ref().filter(|_| !self.rows.is_empty()) {
            let entry = open.entry()?;
            if entry.first_key[..] <= *last && *first <= entry.last_key[..] {
                return Ok(true);
            }
        }
        let under_way = (self.segment, self.blocks.clone());
        let ahead = self.ahead.clone().map(|segment| (segment, 0..usize::MAX));
        for (position, blocks) in std::iter::once(under_way).chain(ahead) {
            let Some(segment) = self.segments.get(position) else { continue };
            let properties = segment.properties();
            if *last < properties.min_key[..]
                || properties.max_key[..] < *first
                || blocks.is_empty()
            {
                continue;
            }
            let index = segment.index()?;
            let index = &index[blocks.start..blocks.end.min(index.len())];
            let at = index.partition_point(|entry| entry.last_key[..] < *first);
            if index.get(at).is_some_and(|entry| entry.first_key[..] <= *last) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The next block of the range, which is not read yet.
    fn next_block(&mut self, range: &KeyRange, reverse: bool) -> Result<Option<usize>> {
        loop {
            if let Some(position) = step(&mut self.blocks, reverse) {
                return Ok(Some(position));
            }
            let Some(segment) = step(&mut self.ahead, reverse) else { return Ok(None) };
            let index = self.segments[segment].index()?;
            let start = index.partition_point(|entry| !range.is_behind_start(&entry.last_key));
            let end = index.partition_point(|entry| range.is_before_end(&entry.first_key));
            self.segment = segment;
            self.blocks = start..end.max(start);
        }
    }
}

/// The next position of `range` in the scan's direction.
fn step(range: &mut Range<usize>, reverse: bool) -> Option<usize> {
    if reverse { range.next_back() } else { range.next() }
}

/// Many runs as one.
#[derive(Debug)]
pub(crate) struct Spans<S> {
    /// From newest to oldest.
    runs: Vec<Run<S>>,
    range: KeyRange,
    reverse: bool,
    picker: Option<Arc<Picker>>,
    /// Blocks read so far.
    blocks: u64,
}

impl<S: SegmentSource> Spans<S> {
    /// The rows of `segments` (oldest first, in the given runs) that lie in `range`. Nothing is read yet.
    pub fn new(
        segments: &[Arc<SegmentReader<S>>],
        runs: &[Range<usize>],
        range: KeyRange,
        reverse: bool,
        picker: Option<Arc<Picker>>,
    ) -> Spans<S> {
        let overlaps = |segment: &&Arc<SegmentReader<S>>| {
            let properties = segment.properties();
            range.is_behind_start(&properties.max_key) && range.is_before_end(&properties.min_key)
        };
        let run = |run: &Range<usize>| {
            let segments: Vec<_> = segments[run.clone()].iter().filter(overlaps).cloned().collect();
            Run {
                ahead: 0..segments.len(),
                segment: usize::MAX,
                segments,
                blocks: 0..0,
                open: None,
                rows: 0..0,
                walk: Walk::default(),
                is_placed: false,
            }
        };
        let runs = if range.is_empty() { &[] } else { runs };
        let runs = runs.iter().rev().map(run).filter(|run| !run.segments.is_empty()).collect();
        Spans { runs, range, reverse, picker, blocks: 0 }
    }

    /// How many runs there are; a span names one of them.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// The block in which a span lies, until the next is asked for.
    pub fn open(&mut self, span: &Span) -> &mut Open<S> {
        self.runs[span.run].open.as_mut().expect("a span lies in an open block")
    }

    /// The next rows, or `None` at the end. After an error the scan is over.
    pub fn next(&mut self) -> Result<Option<Span>> {
        let next = self.find();
        if next.is_err() {
            self.runs.clear();
        }
        next
    }

    fn find(&mut self) -> Result<Option<Span>> {
        for run in 0..self.runs.len() {
            self.place(run)?;
        }
        let Some((best, mut second)) = self.first() else { return Ok(None) };
        // The same key in older runs is hidden.
        let mut hidden = false;
        for older in best + 1..self.runs.len() {
            let same = self.runs[older].is_placed
                && self.runs[older].walk.compare(&self.runs[best].walk).is_eq();
            if same {
                step(&mut self.runs[older].rows, self.reverse);
                self.runs[older].is_placed = false;
                self.place(older)?;
                hidden = true;
            }
        }
        if hidden {
            second = self.first_but(best);
        }
        let limit = second.map(|other| &self.runs[other].walk.key);
        let run = &self.runs[best];
        let open = run.open.as_ref().expect("a placed run has a block");
        let (rows, keys) = (run.rows.clone(), open.block.keys());
        let broken = |broken| open.block.broken_keys(broken);
        let span = match limit {
            None => rows,
            // The first row is before the limit in any case: so the scan goes on whatever the bytes are.
            Some(limit) if !self.reverse => {
                let end = keys.bound(rows.start + 1..rows.end, limit, false).map_err(broken)?;
                rows.start..end
            }
            Some(limit) => {
                let start = keys.bound(rows.start..rows.end - 1, limit, true).map_err(broken)?;
                start..rows.end
            }
        };
        let run = &mut self.runs[best];
        run.is_placed = false;
        run.rows = if self.reverse { run.rows.start..span.start } else { span.end..run.rows.end };
        Ok(Some(Span { run: best, rows: span }))
    }

    /// Whether the key of run `index` comes before that of run `other`.
    #[inline(always)]
    fn is_before(&self, index: usize, other: usize) -> bool {
        let order = self.runs[index].walk.compare(&self.runs[other].walk);
        if self.reverse { order.is_gt() } else { order.is_lt() }
    }

    /// The run with the next key, and the one with the next of the others; of several with the same, the newest.
    fn first(&self) -> Option<(usize, Option<usize>)> {
        let (mut best, mut second): (Option<usize>, Option<usize>) = (None, None);
        for index in 0..self.runs.len() {
            if !self.runs[index].is_placed {
                continue;
            }
            if best.is_none_or(|best| self.is_before(index, best)) {
                (best, second) = (Some(index), best);
            } else if second.is_none_or(|second| self.is_before(index, second)) {
                second = Some(index);
            }
        }
        Some((best?, second))
    }

    /// The run with the next key, without run `but`.
    fn first_but(&self, but: usize) -> Option<usize> {
        let placed =
            (0..self.runs.len()).filter(|index| *index != but && self.runs[*index].is_placed);
        placed.reduce(|best, index| if self.is_before(index, best) { index } else { best })
    }

    /// Stands run `run` at its next row, if it has one.
    fn place(&mut self, run: usize) -> Result<()> {
        if self.runs[run].is_placed {
            return Ok(());
        }
        while self.runs[run].rows.is_empty() {
            self.runs[run].open = None;
            let Some(position) = self.runs[run].next_block(&self.range, self.reverse)? else {
                return Ok(());
            };
            self.load(run, position)?;
        }
        let Run { open: Some(open), rows, walk, .. } = &mut self.runs[run] else { return Ok(()) };
        let row = if self.reverse { rows.end - 1 } else { rows.start };
        walk.seek(&open.block.keys(), row).map_err(|broken| open.block.broken_keys(broken))?;
        self.runs[run].is_placed = true;
        Ok(())
    }

    /// Reads the block at `position` of the segment under way, or leaves it out.
    fn load(&mut self, run: usize, position: usize) -> Result<()> {
        let segment = self.runs[run].segments[self.runs[run].segment].clone();
        let entry = &segment.index()?[position];
        let picker = self.picker.clone();
        let mut excluded = false;
        if let Some(picker) = picker.as_ref().filter(|picker| picker.has_conditions()) {
            let zones = segment.zones()?.get(position).map_or(&[][..], Vec::as_slice);
            excluded = picker.excludes(entry.shape, zones, u64::from(entry.rows - entry.deleted));
        }
        if excluded {
            let mut hides = false;
            for older in &self.runs[run + 1..] {
                hides = hides || older.overlaps(&entry.first_key, &entry.last_key)?;
            }
            if !hides {
                return Ok(());
            }
        }
        let range = &self.range;
        let (cut_before, cut_behind) =
            (!range.is_behind_start(&entry.first_key), !range.is_before_end(&entry.last_key));
        let is_cut = cut_before || cut_behind;
        let wanted = match &picker {
            // Of a block that is cut perhaps only some values.
            None if is_cut => Wanted::Row,
            None => Wanted::All,
            Some(_) if excluded => Wanted::Head,
            Some(picker) if picker.has_conditions() => Wanted::Columns(&picker.tested),
            Some(picker) => Wanted::Columns(&picker.wanted),
        };
        let block = segment.block(position, wanted)?;
        if let Some(picker) = &picker {
            picker.check(&block)?;
        }
        let keys = block.keys();
        let mut rows = 0..block.rows();
        let broken = |broken| block.broken_keys(broken);
        if cut_before {
            let (key, inclusive) = end_of(&range.start);
            rows.start = keys.bound(rows.clone(), key, inclusive).map_err(broken)?;
        }
        if cut_behind {
            let (key, exclusive) = end_of(&range.end);
            rows.end = keys.bound(rows.clone(), key, !exclusive).map_err(broken)?;
        }
        self.blocks += 1;
        let (this, serial) = (&mut self.runs[run], self.blocks);
        this.rows = rows;
        this.walk = Walk::default();
        this.open = Some(Open {
            segment,
            position,
            block,
            serial,
            mask: None,
            excluded,
            decoded: Vec::new(),
            visits: 0,
        });
        Ok(())
    }
}

/// The key of a bound that is there, and whether it is excluded.
fn end_of(bound: &std::ops::Bound<Vec<u8>>) -> (&[u8], bool) {
    match bound {
        std::ops::Bound::Included(key) => (key, false),
        std::ops::Bound::Excluded(key) => (key, true),
        std::ops::Bound::Unbounded => (&[], false),
    }
}

//! A segment of an index, open for reading: its rows by number and by key, and what its plugin made of it.

use super::pinned::Pinned;
use super::{FILE, FOOTER_BYTES, Footer, PAGE_BYTES, Part, place};
use crate::definition::IndexKind;
use crate::entries::{Entries, EntrySource};
use crate::vectors::{Codebook, Element};
use parking_lot::Mutex;
use sochdb_kernel::plugin::SegmentRead;
use sochdb_kernel::{KernelError, KernelResult, KeyRange, SegmentId, Slice};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A column of keys or values: bytes, and where each ends.
struct Texts {
    bytes: Pinned,
    ends: Pinned,
}

impl Texts {
    fn new(segment: &Arc<dyn SegmentRead>, footer: &Footer, bytes: Part, ends: Part) -> Texts {
        Texts {
            bytes: Pinned::new(segment, footer.part(bytes)),
            ends: Pinned::new(segment, footer.part(ends)),
        }
    }

    fn get(&self, number: u32) -> KernelResult<Cow<'_, [u8]>> {
        let number = number as usize;
        let start = if number == 0 { 0 } else { self.ends.number(number - 1)? } as usize;
        let end = self.ends.number(number)? as usize;
        if end < start || self.bytes.len() < end {
            let found = format!("{start} to {end}");
            return Err(KernelError::corrupt(FILE, 0, "ends that grow".to_owned(), found));
        }
        self.bytes.bytes(start, end - start)
    }
}

/// What is shared by all readers of one segment.
struct Inner {
    segment: Arc<dyn SegmentRead>,
    footer: Footer,
    codes: Pinned,
    code_bytes: usize,
    keys: Texts,
    values: Texts,
    others: Texts,
}

/// A segment that is open.
pub(crate) struct OpenSegment {
    inner: Arc<Inner>,
    entries: OnceLock<Arc<Entries>>,
    pending: OnceLock<Vec<u32>>,
    /// For newer segments: the entries whose rows they have too.
    pub hidden_by: Mutex<BTreeMap<SegmentId, Arc<Vec<u32>>>>,
    /// What its plugin opened, and which of the plugins of that name it was.
    pub searcher: Mutex<Option<(u64, Arc<dyn crate::IndexSearcher>)>>,
}

impl OpenSegment {
    pub fn new(segment: &Arc<dyn SegmentRead>) -> KernelResult<OpenSegment> {
        let raw = segment.raw_bytes();
        let Some(before) = raw.checked_sub(FOOTER_BYTES as u64) else {
            let found = format!("{raw} bytes");
            return Err(KernelError::corrupt(FILE, 0, "a footer".to_owned(), found));
        };
        let footer = Footer::decode(&segment.read_at(before, FOOTER_BYTES)?, before)?;
        let texts = |bytes, ends| Texts::new(segment, &footer, bytes, ends);
        let inner = Inner {
            codes: Pinned::new(segment, footer.part(Part::Codes)),
            code_bytes: 0,
            keys: texts(Part::Keys, Part::KeyEnds),
            values: texts(Part::Values, Part::ValueEnds),
            others: texts(Part::Others, Part::OtherEnds),
            segment: segment.clone(),
            footer,
        };
        OpenSegment {
            inner: Arc::new(inner),
            entries: OnceLock::new(),
            pending: OnceLock::new(),
            hidden_by: Mutex::default(),
            searcher: Mutex::default(),
        }
        .with_codes()
    }

    /// How long codes are stands in the codebook.
    fn with_codes(mut self) -> KernelResult<OpenSegment> {
        if let Some(codebook) = self.codebook()? {
            let inner = Arc::get_mut(&mut self.inner).expect("nobody else has it yet");
            inner.code_bytes = codebook.row_bytes();
            if inner.code_bytes == 0 || PAGE_BYTES < inner.code_bytes {
                let found = format!("codes of {} bytes", inner.code_bytes);
                return Err(KernelError::corrupt(FILE, 0, "codes".to_owned(), found));
            }
            let wanted = super::paged(u64::from(inner.footer.entries), inner.code_bytes);
            if inner.codes.len() as u64 != wanted {
                let found = format!("{} bytes", inner.codes.len());
                return Err(KernelError::corrupt(
                    FILE,
                    0,
                    format!("{wanted} bytes of codes"),
                    found,
                ));
            }
        }
        Ok(self)
    }

    pub fn codebook(&self) -> KernelResult<Option<Codebook>> {
        let IndexKind::Vector { dim, metric, codes, .. } = self.kind() else { return Ok(None) };
        let bytes = self.part(Part::Codebook)?;
        Codebook::from_bytes(codes, metric, dim as usize, &bytes).map(Some)
    }

    pub fn id(&self) -> SegmentId {
        self.inner.segment.id()
    }

    pub fn bytes(&self) -> u64 {
        self.inner.segment.raw_bytes()
    }

    pub fn kind(&self) -> IndexKind {
        self.inner.footer.kind
    }

    pub fn entry_count(&self) -> u32 {
        self.inner.footer.entries
    }

    pub fn other_count(&self) -> u32 {
        self.inner.footer.others
    }

    /// Bytes of it that stay in memory.
    pub fn resident(&self) -> usize {
        let Inner { codes, keys, values, others, .. } = &*self.inner;
        let texts = [keys, values, others];
        let texts = texts.iter().map(|texts| texts.bytes.resident() + texts.ends.resident());
        codes.resident() + texts.sum::<usize>()
    }

    fn part(&self, part: Part) -> KernelResult<Slice> {
        let (at, len) = self.inner.footer.part(part);
        if len == 0 {
            return Ok(Vec::new().into());
        }
        self.inner.segment.read_at(at, len as usize)
    }

    /// The plugin that wrote its graph.
    pub fn plugin(&self) -> KernelResult<Option<String>> {
        let name = self.part(Part::Plugin)?;
        let text = std::str::from_utf8(&name).map_err(|_| {
            KernelError::corrupt(FILE, 0, "a plugin's name".to_owned(), "other bytes".to_owned())
        })?;
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    /// What that plugin wrote, as a segment of its own.
    pub fn graph(&self) -> Arc<dyn SegmentRead> {
        let (start, len) = self.inner.footer.part(Part::Graph);
        Arc::new(Graph { segment: self.inner.segment.clone(), start, len })
    }

    /// Its entries, for plugins and for searching.
    pub fn entries(&self) -> KernelResult<Arc<Entries>> {
        if let Some(entries) = self.entries.get() {
            return Ok(entries.clone());
        }
        let (count, source) = (self.entry_count(), Box::new(Source(self.inner.clone())));
        let entries = match (self.kind(), self.codebook()?) {
            (IndexKind::Vector { dim, metric, .. }, Some(codebook)) => {
                Entries::of_vectors(count, metric, dim, codebook, source)
            }
            _ => Entries::ordered(count, source),
        };
        Ok(self.entries.get_or_init(|| Arc::new(entries)).clone())
    }

    pub fn key(&self, number: u32) -> KernelResult<Cow<'_, [u8]>> {
        self.inner.keys.get(number)
    }

    pub fn value(&self, number: u32) -> KernelResult<Cow<'_, [u8]>> {
        self.inner.values.get(number)
    }

    pub fn mark(&self, number: u32) -> KernelResult<u64> {
        self.number(Part::Marks, number)
    }

    pub fn other_key(&self, number: u32) -> KernelResult<Cow<'_, [u8]>> {
        self.inner.others.get(number)
    }

    pub fn other_mark(&self, number: u32) -> KernelResult<u64> {
        self.number(Part::OtherMarks, number)
    }

    /// Those of the other rows that have a value, though not the one that was read when they were written.
    pub fn pending(&self) -> KernelResult<&[u32]> {
        if let Some(pending) = self.pending.get() {
            return Ok(pending);
        }
        let mut pending = Vec::new();
        for number in 0..self.other_count() {
            if self.other_mark(number)? != 0 && !self.other_is_deleted(number)? {
                pending.push(number);
            }
        }
        Ok(self.pending.get_or_init(|| pending))
    }

    /// Whether it has a row of `key`.
    pub fn has(&self, key: &[u8]) -> KernelResult<bool> {
        if self.find(0, key)?.1 {
            return Ok(true);
        }
        let other = self.other_lower_bound(0, key)?;
        Ok(other < self.other_count() && *self.other_key(other)? == *key)
    }

    /// Whether the row says that its key was deleted.
    pub fn other_is_deleted(&self, number: u32) -> KernelResult<bool> {
        let (at, _) = self.inner.footer.part(Part::OtherStates);
        match self.inner.segment.read_at(at + u64::from(number), 1)?.first() {
            Some(1) => Ok(true),
            Some(2) => Ok(false),
            state => {
                let found = format!("{state:?}");
                Err(KernelError::corrupt(FILE, at, "a state, 1 or 2".to_owned(), found))
            }
        }
    }

    fn number(&self, part: Part, number: u32) -> KernelResult<u64> {
        let (at, _) = self.inner.footer.part(part);
        let bytes = self.inner.segment.read_at(at + 8 * u64::from(number), 8)?;
        Ok(u64::from_le_bytes((&bytes[..]).try_into().expect("eight bytes were asked for")))
    }

    /// The vector of entry `number` as it is stored.
    pub fn stored_vector(&self, number: u32) -> KernelResult<Slice> {
        self.inner.stored_vector(number)
    }

    /// The first entry from `from` on whose key is not less than `key`; the count of entries if there is none.
    /// Near ones are found fast.
    pub fn lower_bound(&self, from: u32, key: &[u8]) -> KernelResult<u32> {
        first(from, self.entry_count(), |number| Ok(*self.key(number)? < *key))
    }

    /// The same among the other rows.
    pub fn other_lower_bound(&self, from: u32, key: &[u8]) -> KernelResult<u32> {
        first(from, self.other_count(), |number| Ok(*self.other_key(number)? < *key))
    }

    /// The entries whose keys lie in `range`.
    pub fn entries_in(&self, range: &KeyRange) -> KernelResult<Range<u32>> {
        within(self.entry_count(), range, |number| self.key(number))
    }

    /// The other rows whose keys do.
    pub fn others_in(&self, range: &KeyRange) -> KernelResult<Range<u32>> {
        within(self.other_count(), range, |number| self.other_key(number))
    }

    /// The entry of `key`.
    pub fn find(&self, from: u32, key: &[u8]) -> KernelResult<(u32, bool)> {
        let at = self.lower_bound(from, key)?;
        Ok((at, at < self.entry_count() && *self.key(at)? == *key))
    }
}

/// The numbers below `count` whose keys lie in `range`.
fn within<'a>(
    count: u32,
    range: &KeyRange,
    key: impl Fn(u32) -> KernelResult<Cow<'a, [u8]>>,
) -> KernelResult<Range<u32>> {
    let start = first(0, count, |number| Ok(!range.is_behind_start(&key(number)?)))?;
    let end = first(start, count, |number| Ok(range.is_before_end(&key(number)?)))?;
    Ok(start..end)
}

/// The first number from `from` to `count` that is not `before`, which those are that come first: in growing
/// steps, and then by halves.
fn first(from: u32, count: u32, before: impl Fn(u32) -> KernelResult<bool>) -> KernelResult<u32> {
    let (mut low, mut step) = (from, 1u32);
    let mut high = loop {
        let at = low.saturating_add(step - 1);
        if count <= at {
            break count;
        }
        if !before(at)? {
            break at;
        }
        low = at + 1;
        step = step.saturating_mul(2);
    };
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle)? { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

impl Inner {
    fn stored_vector(&self, number: u32) -> KernelResult<Slice> {
        let bytes = self.vector_bytes();
        let (at, _) = self.footer.part(Part::Vectors);
        self.segment.read_at(at + place(number, bytes), bytes)
    }

    fn element(&self) -> (Element, usize) {
        match self.footer.kind {
            IndexKind::Vector { element, dim, .. } => (element, dim as usize),
            IndexKind::Ordered => (Element::F32, 0),
        }
    }

    fn vector_bytes(&self) -> usize {
        let (element, dim) = self.element();
        element.row_bytes(dim)
    }
}

/// Its entries' bytes.
struct Source(Arc<Inner>);

impl EntrySource for Source {
    fn code(&self, number: u32) -> KernelResult<&[u8]> {
        let bytes = self.0.code_bytes;
        self.0.codes.within(place(number, bytes) as usize, bytes)
    }

    fn codes<'a>(&'a self, numbers: &[u32], out: &mut Vec<&'a [u8]>) -> KernelResult<()> {
        let Inner { codes, code_bytes, .. } = &*self.0;
        let in_page = (PAGE_BYTES / code_bytes) as u32;
        for number in numbers {
            let (page, at) = (number / in_page, (number % in_page) as usize * code_bytes);
            out.push(&codes.page(page as usize)?[at..at + code_bytes]);
        }
        Ok(())
    }

    fn vector(&self, number: u32, out: &mut Vec<f32>) -> KernelResult<()> {
        let (element, dim) = self.0.element();
        let start = out.len();
        out.resize(start + dim, 0.0);
        element.decode(&self.0.stored_vector(number)?, &mut out[start..]);
        Ok(())
    }

    fn value(&self, number: u32) -> KernelResult<Slice> {
        Ok(self.0.values.get(number)?.into_owned().into())
    }
}

/// What a plugin wrote within a segment.
struct Graph {
    segment: Arc<dyn SegmentRead>,
    start: u64,
    len: u64,
}

impl SegmentRead for Graph {
    fn id(&self) -> SegmentId {
        self.segment.id()
    }

    fn raw_bytes(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, len: usize) -> KernelResult<Slice> {
        if offset.checked_add(len as u64).is_none_or(|end| self.len < end) {
            let (id, all) = (self.segment.id(), self.len);
            return Err(KernelError::Invalid(format!(
                "read {len} bytes at {offset} of what a plugin wrote in segment {id}: {all} bytes"
            )));
        }
        self.segment.read_at(self.start + offset, len)
    }
}

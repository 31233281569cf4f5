//! Writes a segment: vectors as they come, then everything that must be known whole.

use super::{Footer, PAGE_BYTES, PARTS, Part, paged};
use crate::definition::IndexKind;
use parking_lot::Mutex;
use sochdb_kernel::plugin::{SegmentSink, SegmentWrite};
use sochdb_kernel::{KernelError, KernelResult, SegmentId};
use std::sync::Arc;

/// The rows of a segment being written, but for their vectors: what is kept in memory until the end.
#[derive(Default)]
struct Rows {
    keys: Texts,
    marks: Vec<u8>,
    values: Texts,
    others: Texts,
    other_marks: Vec<u8>,
    other_states: Vec<u8>,
}

#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<u8>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.extend_from_slice(&(self.bytes.len() as u64).to_le_bytes());
    }
}

/// A segment being written: entries and other rows in growing order of their keys.
pub(crate) struct SegmentBuilder {
    writer: Box<dyn SegmentWrite>,
    kind: IndexKind,
    rows: Rows,
    entries: u32,
    others: u32,
    /// Bytes appended so far.
    at: u64,
    parts: [(u64, u64); PARTS],
    page: Vec<u8>,
    row_bytes: usize,
}

impl SegmentBuilder {
    pub fn new(sink: &dyn SegmentSink, kind: IndexKind) -> KernelResult<SegmentBuilder> {
        let row_bytes = match kind {
            IndexKind::Vector { dim, element, .. } => element.row_bytes(dim as usize),
            IndexKind::Ordered => 0,
        };
        Ok(SegmentBuilder {
            writer: sink.create()?,
            kind,
            rows: Rows::default(),
            entries: 0,
            others: 0,
            at: 0,
            parts: [(0, 0); PARTS],
            page: Vec::new(),
            row_bytes,
        })
    }

    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Adds an entry: its stored vector, or its value in an ordered index.
    pub fn entry(&mut self, key: &[u8], mark: u64, value: &[u8]) -> KernelResult<()> {
        self.rows.keys.push(key);
        self.rows.marks.extend_from_slice(&mark.to_le_bytes());
        self.entries = self.entries.checked_add(1).filter(|&count| count < u32::MAX).ok_or(
            KernelError::Limit { what: "entries of a segment", got: 1 << 32, bound: (1 << 32) - 2 },
        )?;
        match self.kind {
            IndexKind::Ordered => self.rows.values.push(value),
            IndexKind::Vector { .. } => {
                assert!(value.len() == self.row_bytes, "a stored vector has {}", self.row_bytes);
                if PAGE_BYTES < self.page.len() + self.row_bytes {
                    self.end_page()?;
                }
                self.page.extend_from_slice(value);
            }
        }
        Ok(())
    }

    /// Adds a row without an entry.
    pub fn other(&mut self, key: &[u8], mark: Option<u64>) {
        self.rows.others.push(key);
        self.rows.other_marks.extend_from_slice(&mark.unwrap_or(0).to_le_bytes());
        self.rows.other_states.push(if mark.is_none() { 1 } else { 2 });
        self.others += 1;
    }

    fn end_page(&mut self) -> KernelResult<()> {
        self.page.resize(PAGE_BYTES, 0);
        self.writer.append(&self.page)?;
        self.at += PAGE_BYTES as u64;
        self.page.clear();
        Ok(())
    }

    fn append(&mut self, part: Part, bytes: &[u8]) -> KernelResult<()> {
        let padding = self.at.next_multiple_of(8) - self.at;
        self.writer.append(&[0; 8][..padding as usize])?;
        self.at += padding;
        self.parts[part as usize] = (self.at, bytes.len() as u64);
        self.writer.append(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes all but the graph. `codes` are the entries' codes, one behind the other.
    pub fn end_rows(&mut self, codebook: &[u8], codes: &[u8]) -> KernelResult<()> {
        if !self.page.is_empty() {
            self.end_page()?;
        }
        self.parts[Part::Vectors as usize] = (0, self.at);
        let codes_at = self.at;
        if 0 < self.entries && !codes.is_empty() {
            let row = codes.len() / self.entries as usize;
            for page in codes.chunks(PAGE_BYTES / row * row) {
                self.page.extend_from_slice(page);
                self.end_page()?;
            }
            assert!(self.at - codes_at == paged(u64::from(self.entries), row), "codes are paged");
        }
        self.parts[Part::Codes as usize] = (codes_at, self.at - codes_at);
        let rows = std::mem::take(&mut self.rows);
        let parts = [
            (Part::Keys, &rows.keys.bytes),
            (Part::KeyEnds, &rows.keys.ends),
            (Part::Marks, &rows.marks),
            (Part::Values, &rows.values.bytes),
            (Part::ValueEnds, &rows.values.ends),
            (Part::Others, &rows.others.bytes),
            (Part::OtherEnds, &rows.others.ends),
            (Part::OtherMarks, &rows.other_marks),
            (Part::OtherStates, &rows.other_states),
        ];
        parts.into_iter().try_for_each(|(part, bytes)| self.append(part, bytes))?;
        self.append(Part::Codebook, codebook)
    }

    /// Lets `build` write the graph of plugin `plugin`; when that fails, there is none. Then seals the segment.
    /// Returns also what failed.
    pub fn end(
        mut self,
        build: Option<(&str, Build<'_>)>,
    ) -> KernelResult<(SegmentId, Option<KernelError>)> {
        let mut failed = None;
        let (mut plugin, mut graph) = ("", (self.at, 0));
        if let Some((name, build)) = build {
            let writer = std::mem::replace(&mut self.writer, Box::new(Nowhere));
            let shared = Arc::new(Mutex::new(Shared { writer, bytes: 0, state: Blob::None }));
            let result = build(Arc::new(BlobSink(shared.clone())));
            let mut shared = shared.lock();
            self.writer = std::mem::replace(&mut shared.writer, Box::new(Nowhere));
            let state = std::mem::replace(&mut shared.state, Blob::Closed);
            match (result, state) {
                (Ok(BLOB), Blob::Sealed) => (plugin, graph) = (name, (self.at, shared.bytes)),
                (Ok(_), _) => {
                    let text = "it named a segment that it did not write";
                    let fault = sochdb_kernel::PluginFault::Lied;
                    failed = Some(KernelError::plugin(name, fault, text));
                }
                (Err(error), _) => failed = Some(error),
            }
            self.at += shared.bytes;
        }
        self.append(Part::Plugin, plugin.as_bytes())?;
        self.parts[Part::Graph as usize] = graph;
        let parts = self.parts;
        let footer = Footer { kind: self.kind, entries: self.entries, others: self.others, parts };
        self.writer.append(&footer.encode())?;
        Ok((self.writer.seal()?, failed))
    }
}

/// What has a plugin write its segment, and returns the number that it gave back.
pub(crate) type Build<'a> = &'a dyn Fn(Arc<dyn SegmentSink>) -> KernelResult<SegmentId>;

/// The number that a plugin's segment within a segment has for the plugin.
const BLOB: SegmentId = SegmentId(0);

/// Where a plugin writes: the end of the segment that is being written.
struct BlobSink(Arc<Mutex<Shared>>);

struct Shared {
    writer: Box<dyn SegmentWrite>,
    /// Bytes that the plugin wrote.
    bytes: u64,
    state: Blob,
}

#[derive(PartialEq)]
enum Blob {
    None,
    Open,
    Sealed,
    Closed,
}

fn closed() -> KernelError {
    KernelError::invalid(
        "an index plugin writes one segment, within the call that it is asked for it",
    )
}

impl SegmentSink for BlobSink {
    fn create(&self) -> KernelResult<Box<dyn SegmentWrite>> {
        let mut shared = self.0.lock();
        if shared.state != Blob::None {
            return Err(closed());
        }
        shared.state = Blob::Open;
        Ok(Box::new(BlobWriter(self.0.clone())))
    }
}

struct BlobWriter(Arc<Mutex<Shared>>);

impl SegmentWrite for BlobWriter {
    fn append(&mut self, bytes: &[u8]) -> KernelResult<u64> {
        let mut shared = self.0.lock();
        if shared.state != Blob::Open {
            return Err(closed());
        }
        let at = shared.bytes;
        shared.writer.append(bytes)?;
        shared.bytes += bytes.len() as u64;
        Ok(at)
    }

    fn seal(self: Box<Self>) -> KernelResult<SegmentId> {
        let mut shared = self.0.lock();
        if shared.state != Blob::Open {
            return Err(closed());
        }
        shared.state = Blob::Sealed;
        Ok(BLOB)
    }
}

/// Stands in while a plugin has the writer.
struct Nowhere;

impl SegmentWrite for Nowhere {
    fn append(&mut self, _bytes: &[u8]) -> KernelResult<u64> {
        Err(closed())
    }

    fn seal(self: Box<Self>) -> KernelResult<SegmentId> {
        Err(closed())
    }
}

//! A segment's bytes: pinned, checked, and read back however they were damaged.

use super::*;
use parking_lot::Mutex;
use proptest::prelude::*;
use sochdb_kernel::plugin::{SegmentRead, SegmentSink, SegmentWrite};
use sochdb_kernel::{KeyRange, SegmentId, Slice};
use std::sync::Arc;

/// Segments in memory.
#[derive(Default, Clone)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl SegmentSink for Memory {
    fn create(&self) -> KernelResult<Box<dyn SegmentWrite>> {
        Ok(Box::new(self.clone()))
    }
}

impl SegmentWrite for Memory {
    fn append(&mut self, bytes: &[u8]) -> KernelResult<u64> {
        let mut all = self.0.lock();
        let at = all.len() as u64;
        all.extend_from_slice(bytes);
        Ok(at)
    }

    fn seal(self: Box<Self>) -> KernelResult<SegmentId> {
        Ok(SegmentId(7))
    }
}

struct Bytes(Vec<u8>);

impl SegmentRead for Bytes {
    fn id(&self) -> SegmentId {
        SegmentId(7)
    }

    fn raw_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, len: usize) -> KernelResult<Slice> {
        let start = usize::try_from(offset).unwrap();
        let bytes = start.checked_add(len).and_then(|end| self.0.get(start..end));
        bytes.map(Slice::from).ok_or_else(|| KernelError::invalid("outside of the segment"))
    }
}

/// A segment with entries `b` and `d`, a null `c`, a deleted `a`, and a graph.
fn segment(kind: IndexKind) -> Vec<u8> {
    let memory = Memory::default();
    let mut builder = SegmentBuilder::new(&memory, kind).unwrap();
    let (mut codebook, mut codes) = (Vec::new(), Vec::new());
    let mut stored = [b"x".to_vec(), b"yy".to_vec()];
    if let IndexKind::Vector { dim, metric, element, codes: kind } = kind {
        let none = &mut |_: usize, _: &mut [f32]| Ok(());
        let book = crate::vectors::Codebook::train(kind, metric, dim as usize, 0, none, 1).unwrap();
        codebook = book.to_bytes();
        stored = [[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]].map(|vector| {
            book.encode(&vector, &mut codes);
            let mut bytes = Vec::new();
            element.encode(&vector, &mut bytes);
            bytes
        });
    }
    builder.other(b"a", None);
    builder.entry(b"b", 11, &stored[0]).unwrap();
    builder.other(b"c", Some(0));
    builder.entry(b"d", 12, &stored[1]).unwrap();
    builder.end_rows(&codebook, &codes).unwrap();
    let build = |sink: Arc<dyn SegmentSink>| {
        let mut writer = sink.create()?;
        writer.append(b"a graph")?;
        writer.seal()
    };
    builder.end(Some(("hnsw", &build))).unwrap();
    std::mem::take(&mut *memory.0.lock())
}

const VECTORS: IndexKind = IndexKind::Vector {
    dim: 3,
    metric: Metric::Cosine,
    element: Element::F32,
    codes: CodeKind::Sq8,
};

/// Everything that there is to read in a segment of these bytes, in words.
fn read(bytes: Vec<u8>) -> KernelResult<String> {
    let segment: Arc<dyn SegmentRead> = Arc::new(Bytes(bytes));
    let open = Arc::new(OpenSegment::new(&segment)?);
    let mut words = Vec::new();
    for reverse in [false, true] {
        let mut rows = RowCursor::new(std::slice::from_ref(&open), &KeyRange::all(), reverse)?;
        // As many as there are: ends that do not grow are noticed, so it ends.
        while let Some((key, row)) = rows.next()? {
            let mark = match row.state {
                State::Entry(number) => open.mark(number)?,
                State::Empty(number) => open.other_mark(number)?,
                State::Deleted => 0,
            };
            words.push(format!("{} {:?} {mark}", key.escape_ascii(), row.state));
        }
    }
    let entries = open.entries()?;
    for number in 0..open.entry_count() {
        if open.kind() == IndexKind::Ordered {
            words.push(format!("{:?}", entries.values(number, 1, 0)?));
        } else {
            words.push(format!("{:?}", entries.vectors(&[number])?));
            entries.between(number, &[0], &mut Vec::new())?;
        }
        open.find(0, &open.key(number)?)?;
    }
    let graph = open.graph();
    let graph = graph.read_at(0, graph.raw_bytes() as usize)?;
    words.push(format!("{:?} {}", open.plugin()?, graph.escape_ascii()));
    Ok(words.join("\n"))
}

#[test]
fn what_was_written_is_read() {
    let rows = "a Deleted 0\nb Entry(0) 11\nc Empty(1) 0\nd Entry(1) 12\n\
                d Entry(1) 12\nc Empty(1) 0\nb Entry(0) 11\na Deleted 0\n";
    let graph = "Some(\"hnsw\") a graph";
    let vectors = "[1.0, 2.0, 3.0]\n[0.5, 0.0, -1.0]\n";
    assert_eq!(read(segment(VECTORS)).unwrap(), format!("{rows}{vectors}{graph}"));
    let values = "([120], [1])\n([121, 121], [2])\n";
    assert_eq!(read(segment(IndexKind::Ordered)).unwrap(), format!("{rows}{values}{graph}"));
}

#[test]
fn a_segment_without_entries_is_read() {
    for kind in [VECTORS, IndexKind::Ordered] {
        let memory = Memory::default();
        let mut builder = SegmentBuilder::new(&memory, kind).unwrap();
        builder.other(b"a", None);
        let codebook = match kind {
            IndexKind::Ordered => Vec::new(),
            IndexKind::Vector { .. } => {
                let none = &mut |_: usize, _: &mut [f32]| Ok(());
                crate::vectors::Codebook::train(CodeKind::Sq8, Metric::Cosine, 3, 0, none, 1)
                    .unwrap()
                    .to_bytes()
            }
        };
        builder.end_rows(&codebook, &[]).unwrap();
        builder.end(None).unwrap();
        let bytes = memory.0.lock().clone();
        assert_eq!(read(bytes).unwrap(), "a Deleted 0\na Deleted 0\nNone ");
    }
}

fn footer() -> Footer {
    let kind = IndexKind::Vector {
        dim: 3,
        metric: Metric::InnerProduct,
        element: Element::F16,
        codes: CodeKind::Pq,
    };
    let mut parts = [(0, 0); PARTS];
    parts[Part::Vectors as usize] = (0, PAGE_BYTES as u64);
    parts[Part::KeyEnds as usize] = (PAGE_BYTES as u64, 16);
    parts[Part::Marks as usize] = (PAGE_BYTES as u64, 16);
    parts[Part::OtherEnds as usize] = (PAGE_BYTES as u64, 8);
    parts[Part::OtherMarks as usize] = (PAGE_BYTES as u64, 8);
    parts[Part::OtherStates as usize] = (PAGE_BYTES as u64, 1);
    Footer { kind, entries: 2, others: 1, parts }
}

#[test]
fn a_footer_has_these_bytes_and_comes_back() {
    let bytes = footer().encode();
    assert_eq!(bytes.len(), FOOTER_BYTES);
    let head: String = bytes[..32].iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = "534f4348494e445801000000020104000300000002000000010000000000000000";
    assert_eq!(head, &expected[..64]);
    assert_eq!(Footer::decode(&bytes, 2 * PAGE_BYTES as u64).unwrap(), footer());
}

proptest! {
    #[test]
    fn a_flipped_bit_of_a_footer_is_noticed(bit in 0..FOOTER_BYTES * 8) {
        let mut bytes = footer().encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Footer::decode(&bytes, 2 * PAGE_BYTES as u64).is_err());
    }
}

#[test]
fn rows_in_pages_never_cross_a_page() {
    for bytes in [1, 7, 388, 1536, 16_384, PAGE_BYTES] {
        for number in 0..500 {
            let at = place(number, bytes) as usize;
            assert_eq!(at / PAGE_BYTES, (at + bytes - 1) / PAGE_BYTES);
            assert!((at + bytes) as u64 <= paged(u64::from(number) + 1, bytes));
        }
    }
}

proptest! {
    #[test]
    fn damage_is_an_error_or_harmless_and_never_a_panic(
        ordered: bool,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        mend: bool,
    ) {
        let mut bytes = segment(if ordered { IndexKind::Ordered } else { VECTORS });
        // What lies behind the pages is where everything is told.
        let first = if ordered { 0 } else { 2 * PAGE_BYTES };
        for (at, value) in damage {
            let at = first + at.index(bytes.len() - first);
            bytes[at] = value;
        }
        if mend {
            let footer = bytes.len() - FOOTER_BYTES;
            let end = bytes.len() - 4;
            let checksum = crc(&bytes[footer..end]);
            bytes[end..].copy_from_slice(&checksum.to_le_bytes());
        }
        let _ = read(bytes);
    }

    #[test]
    fn any_bytes_are_no_segment(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(read(bytes).is_err());
    }
}

//! One segment of an index, as bytes.
//!
//! | part         | contents                                                                           |
//! |--------------|------------------------------------------------------------------------------------|
//! | vectors      | pages of 65,536 bytes: as many vectors as fit whole, then zeros                    |
//! | codes        | the same with the vectors' codes                                                   |
//! | keys         | the entries' keys, one behind the other                                            |
//! | key ends     | u64 for each entry: where its key ends, counted from the first one's beginning     |
//! | marks        | u64 for each entry: what the index's table holds for its row                       |
//! | values       | the entries' values in an ordered index, one behind the other                      |
//! | value ends   | u64 for each entry                                                                 |
//! | others       | the keys of rows without an entry, one behind the other                            |
//! | other ends   | u64 for each of them                                                               |
//! | other marks  | u64 for each of them                                                               |
//! | other states | u8 for each of them: 1 its key was deleted, 2 it has no value (mark 0) or another   |
//! |              | one than is known here ([`crate::IndexEngine`])                                    |
//! | codebook     | [`Codebook`](crate::vectors::Codebook)                                             |
//! | plugin       | the name of the plugin that wrote the next part; empty without one                 |
//! | graph        | what the plugin wrote                                                              |
//! | footer       | [`FOOTER_BYTES`] bytes                                                             |
//!
//! The footer:
//!
//! | offset | size | type     | field     | meaning                                                       |
//! |-------:|-----:|----------|-----------|---------------------------------------------------------------|
//! |      0 |    8 | bytes    | `magic`   | `SOCHINDX`                                                    |
//! |      8 |    4 | u32      | `version` | 1                                                             |
//! |     12 |    1 | u8       | `kind`    | 0 ordered; 1 cosine, 2 inner product, 3 squared Euclidean     |
//! |     13 |    1 | u8       | `element` | 0 f32, 1 f16, 2 i8; 0 if ordered                              |
//! |     14 |    1 | u8       | `codes`   | 0 sq8, 1 rabitq4, 2 rabitq2, 3 rabitq1, 4 pq; 0 if ordered    |
//! |     15 |    1 | u8       |           | 0                                                             |
//! |     16 |    4 | u32      | `dim`     | dimensions; 0 if ordered                                      |
//! |     20 |    4 | u32      | `entries` | rows that have a value                                        |
//! |     24 |    4 | u32      | `others`  | rows that have none                                           |
//! |     28 |    4 | u32      |           | 0                                                             |
//! |     32 |  224 | u64 x 28 | `parts`   | for each part above, in order: where it begins, and its bytes |
//! |    256 |    4 | u32      | `crc`     | CRC-32C of the bytes before it                                |
//!
//! Integers are little-endian. Parts of numbers begin at multiples of 8. The bytes of each block are checked by
//! the kernel's own checksum when they are read.

mod build;
mod cursor;
mod open;
mod pinned;
#[cfg(test)]
mod tests;

pub(crate) use build::SegmentBuilder;
pub(crate) use cursor::{Row, RowCursor, State};
pub(crate) use open::OpenSegment;

use crate::definition::IndexKind;
use crate::vectors::{CodeKind, Element, Metric};
use sochdb_encoding::codec::{crc, put_u32, put_u64};
use sochdb_kernel::{KernelError, KernelResult};

/// Bytes of the footer.
pub(crate) const FOOTER_BYTES: usize = 260;
/// Vectors and codes never cross a multiple of this.
pub(crate) const PAGE_BYTES: usize = sochdb_kernel::limits::SEGMENT_BLOCK_BYTES;
const MAGIC: &[u8; 8] = b"SOCHINDX";
const VERSION: u32 = 1;
const PARTS: usize = 14;
/// The file that errors name.
const FILE: &str = "a segment of an index";

/// What the footer's numbers mean.
const METRICS: [(u8, Metric); 3] =
    [(1, Metric::Cosine), (2, Metric::InnerProduct), (3, Metric::SquaredEuclidean)];
const ELEMENTS: [(u8, Element); 3] = [(0, Element::F32), (1, Element::F16), (2, Element::I8)];
const CODES: [(u8, CodeKind); 5] = [
    (0, CodeKind::Sq8),
    (1, CodeKind::Rabitq4),
    (2, CodeKind::Rabitq2),
    (3, CodeKind::Rabitq1),
    (4, CodeKind::Pq),
];

fn known<T: Copy>(all: &[(u8, T)], number: u8) -> Option<T> {
    all.iter().find(|(known, _)| *known == number).map(|(_, what)| *what)
}

fn number<T: PartialEq>(all: &[(u8, T)], what: T) -> u8 {
    all.iter().find(|(_, known)| *known == what).map(|(number, _)| *number).expect("all are listed")
}

/// The parts, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Part {
    Vectors,
    Codes,
    Keys,
    KeyEnds,
    Marks,
    Values,
    ValueEnds,
    Others,
    OtherEnds,
    OtherMarks,
    OtherStates,
    Codebook,
    Plugin,
    Graph,
}

/// What a segment holds, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Footer {
    pub kind: IndexKind,
    pub entries: u32,
    pub others: u32,
    /// Where each part begins, and its bytes.
    pub parts: [(u64, u64); PARTS],
}

impl Footer {
    pub fn part(&self, part: Part) -> (u64, u64) {
        self.parts[part as usize]
    }

    pub fn encode(&self) -> Vec<u8> {
        let (kind, element, codes, dim) = match self.kind {
            IndexKind::Ordered => (0, 0, 0, 0),
            IndexKind::Vector { dim, metric, element, codes } => {
                (number(&METRICS, metric), number(&ELEMENTS, element), number(&CODES, codes), dim)
            }
        };
        let mut out = MAGIC.to_vec();
        put_u32(&mut out, VERSION);
        out.extend([kind, element, codes, 0]);
        [dim, self.entries, self.others, 0].into_iter().for_each(|n| put_u32(&mut out, n));
        for (at, len) in self.parts {
            put_u64(&mut out, at);
            put_u64(&mut out, len);
        }
        let checksum = crc(&out);
        put_u32(&mut out, checksum);
        assert!(out.len() == FOOTER_BYTES, "the table says how long a footer is");
        out
    }

    /// The footer in `bytes`, of a segment with so many bytes before it.
    pub fn decode(bytes: &[u8], before: u64) -> KernelResult<Footer> {
        let corrupt = |expected: &str, found: String| {
            KernelError::corrupt(FILE, before, expected.to_owned(), found)
        };
        if bytes.len() != FOOTER_BYTES {
            return Err(corrupt("a footer", format!("{} bytes", bytes.len())));
        }
        let u32_at = |at: usize| {
            u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes of a footer"))
        };
        let u64_at = |at: usize| {
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes of a footer"))
        };
        if &bytes[..8] != MAGIC {
            return Err(corrupt("the magic SOCHINDX", format!("{}", bytes[..8].escape_ascii())));
        }
        if u32_at(8) != VERSION {
            return Err(corrupt("version 1", u32_at(8).to_string()));
        }
        if crc(&bytes[..FOOTER_BYTES - 4]) != u32_at(FOOTER_BYTES - 4) {
            return Err(corrupt("a footer whose checksum holds", "another checksum".to_owned()));
        }
        let kind = match (known(&METRICS, bytes[12]), bytes[12]) {
            (None, 0) => IndexKind::Ordered,
            (Some(metric), _) => IndexKind::Vector {
                dim: u32_at(16),
                metric,
                element: known(&ELEMENTS, bytes[13])
                    .ok_or_else(|| corrupt("an element", bytes[13].to_string()))?,
                codes: known(&CODES, bytes[14])
                    .ok_or_else(|| corrupt("a kind of codes", bytes[14].to_string()))?,
            },
            (None, other) => return Err(corrupt("a kind of index", other.to_string())),
        };
        let mut parts = [(0, 0); PARTS];
        for (index, part) in parts.iter_mut().enumerate() {
            let (at, len) = (u64_at(32 + 16 * index), u64_at(40 + 16 * index));
            if at.checked_add(len).is_none_or(|end| before < end) {
                return Err(corrupt("parts before the footer", format!("{len} bytes at {at}")));
            }
            *part = (at, len);
        }
        let footer = Footer { kind, entries: u32_at(20), others: u32_at(24), parts };
        footer.check().map_err(|part| corrupt("parts for all rows", format!("{part:?}")))?;
        Ok(footer)
    }

    /// Whether the parts are as long as the counts ask for; else which is not.
    fn check(&self) -> Result<(), Part> {
        let (entries, others) = (u64::from(self.entries), u64::from(self.others));
        let ordered = if self.kind == IndexKind::Ordered { entries } else { 0 };
        let wanted = [
            (Part::KeyEnds, 8 * entries),
            (Part::Marks, 8 * entries),
            (Part::ValueEnds, 8 * ordered),
            (Part::OtherEnds, 8 * others),
            (Part::OtherMarks, 8 * others),
            (Part::OtherStates, others),
        ];
        for (part, len) in wanted {
            if self.part(part).1 != len {
                return Err(part);
            }
        }
        for part in [Part::Vectors, Part::Codes] {
            if !self.part(part).0.is_multiple_of(PAGE_BYTES as u64) {
                return Err(part);
            }
        }
        for part in [Part::KeyEnds, Part::ValueEnds, Part::OtherEnds] {
            if !self.part(part).0.is_multiple_of(8) {
                return Err(part);
            }
        }
        if let IndexKind::Vector { dim, element, .. } = self.kind {
            let bytes = element.row_bytes(dim as usize);
            if bytes == 0
                || PAGE_BYTES < bytes
                || self.part(Part::Vectors).1 != paged(entries, bytes)
            {
                return Err(Part::Vectors);
            }
        }
        Ok(())
    }
}

/// Bytes of `rows` rows of `bytes` each, in pages that none of them crosses.
pub(crate) fn paged(rows: u64, bytes: usize) -> u64 {
    rows.div_ceil((PAGE_BYTES / bytes) as u64) * PAGE_BYTES as u64
}

/// Where row `number` of `bytes` bytes is in such pages.
pub(crate) fn place(number: u32, bytes: usize) -> u64 {
    let in_page = PAGE_BYTES / bytes;
    let number = number as usize;
    (number / in_page * PAGE_BYTES + number % in_page * bytes) as u64
}

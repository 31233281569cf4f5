//! Codes: short forms of vectors, near enough to tell who is worth looking at.
//!
//! | kind       | bytes of a code           | how                                                                   |
//! |------------|---------------------------|-----------------------------------------------------------------------|
//! | `sq8`      | `dim` + 4, or + 8         | a byte for each value and one scale: [`sq8`]                          |
//! | `rabitq4`  | `dim` / 2 + 8             | rotated, then four bits for each value: [`rabitq`]                    |
//! | `rabitq2`  | `dim` / 4 + 8             | rotated, then two bits for each value                                 |
//! | `rabitq1`  | `dim` / 8 + 8             | rotated, then the signs                                               |
//! | `pq`       | 8                         | the nearest of 256 centroids for each of eight parts: [`pq`]          |
//!
//! A [`Codebook`] is what was learned from the vectors of one segment. As bytes it is
//!
//! | offset | size | type  | field     | meaning                                                            |
//! |-------:|-----:|-------|-----------|--------------------------------------------------------------------|
//! |      0 |    4 | text  | `magic`   | `SCBK`                                                             |
//! |      4 |    1 | u8    | `version` | 1                                                                  |
//! |      5 |    1 | u8    | `kind`    | `sq8` 1, `rabitq4` 2, `rabitq2` 3, `rabitq1` 4, `pq` 5             |
//! |      6 |    1 | u8    | `metric`  | [`Metric::code`]                                                   |
//! |      7 |    1 | u8    |           | zero                                                               |
//! |      8 |    4 | u32   | `dim`     | dimensions                                                         |
//! |     12 |    n | bytes | `learned` | `sq8`: none; the others: see their modules                         |
//! | 12 + n |    4 | u32   | `crc`     | CRC-32C of all bytes before it                                     |
//!
//! Integers and floats are little-endian, floats are finite.
//!
//! Under cosine vectors get length 1 before they become codes, so the metric is the inner product's there.
//! Approximate distances may lie a little outside of what the metric allows, but are never NaN or infinite.

mod pq;
mod rabitq;
mod rotation;
mod sq8;
#[cfg(test)]
mod tests;

use super::{Metric, groups, metric};
use pq::Pq;
use rabitq::Rabitq;
use sochdb_encoding::codec::{Reader, crc, put_u32};
use sochdb_kernel::{KernelError, KernelResult};
use sq8::Sq8;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

const MAGIC: &[u8; 4] = b"SCBK";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 4 + 1 + 1 + 1 + 1 + 4;
const CRC_BYTES: usize = 4;
/// The most vectors that a codebook learns from.
const SAMPLE_MAX: usize = 16 * 1024;

/// What vectors are compared by while a search is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeKind {
    /// A byte for each dimension.
    Sq8,
    /// Rotated, four bits for each dimension.
    Rabitq4,
    /// Rotated, two bits for each dimension.
    Rabitq2,
    /// Rotated, a bit for each dimension.
    Rabitq1,
    /// Product quantisation: a byte for each of `m` parts of the vector.
    Pq,
}

/// How the vectors of one segment become codes, and what was learned from them for that.
pub struct Codebook {
    kind: CodeKind,
    metric: Metric,
    dim: usize,
    learned: Learned,
}

enum Learned {
    Sq8(Sq8),
    Rabitq(Rabitq),
    Pq(Arc<Pq>),
}

/// A vector, ready to be compared with codes.
pub struct CodeQuery(Prepared);

enum Prepared {
    Sq8(sq8::Query),
    Rabitq(rabitq::Query),
    Pq(pq::Query),
}

/// The vectors that a codebook learns from.
struct Sample<'a> {
    metric: Metric,
    dim: usize,
    count: usize,
    vector: &'a mut dyn FnMut(usize, &mut [f32]) -> KernelResult<()>,
}

impl Codebook {
    /// Learns from the `count` vectors that `vector` gives by their numbers: from 16,384 of them, evenly spaced,
    /// if there are more.
    ///
    /// The same vectors and the same `seed` make the same codebook.
    ///
    /// # Errors
    /// What `vector` returns.
    pub fn train(
        kind: CodeKind,
        metric: Metric,
        dim: usize,
        count: usize,
        vector: &mut dyn FnMut(usize, &mut [f32]) -> KernelResult<()>,
        seed: u64,
    ) -> KernelResult<Codebook> {
        let sample = Sample { metric, dim, count, vector };
        let learned = match (kind, kind.bits()) {
            (CodeKind::Pq, _) => Learned::Pq(Arc::new(Pq::train(sample, seed)?)),
            (_, Some(bits)) => Learned::Rabitq(Rabitq::train(bits, sample, seed)?),
            (_, None) => Learned::Sq8(Sq8::new(metric, dim)),
        };
        Ok(Codebook { kind, metric, dim, learned })
    }

    /// What was learned, as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend([VERSION, self.kind.code(), self.metric.code(), 0]);
        put_u32(&mut out, u32::try_from(self.dim).expect("dimensions are at most 4,096"));
        match &self.learned {
            Learned::Sq8(_) => {}
            Learned::Rabitq(rabitq) => rabitq.put(&mut out),
            Learned::Pq(pq) => pq.put(&mut out),
        }
        let crc = crc(&out);
        put_u32(&mut out, crc);
        out
    }

    /// What [`to_bytes`](Self::to_bytes) gave for a codebook of that `kind`, `metric` and `dim`.
    ///
    /// # Errors
    /// `Corrupt` when it is not.
    pub fn from_bytes(
        kind: CodeKind,
        metric: Metric,
        dim: usize,
        bytes: &[u8],
    ) -> KernelResult<Codebook> {
        let mut reader = Reader::new("a codebook", 0, bytes);
        let expected = HEADER_BYTES + kind.learned_bytes(dim) + CRC_BYTES;
        if bytes.len() != expected {
            let found = format!("{}", bytes.len());
            return Err(reader.corrupt(format!("{expected} bytes"), found).into());
        }
        let (body, sum) = bytes.split_at(expected - CRC_BYTES);
        if sum != crc(body).to_le_bytes() {
            return Err(reader.corrupt("bytes with their checksum", "others").into());
        }
        let mut header = MAGIC.to_vec();
        header.extend([VERSION, kind.code(), metric.code(), 0]);
        header.extend((dim as u32).to_le_bytes());
        if reader.bytes(HEADER_BYTES)? != header {
            let wanted = format!("version 1 of {kind} for {metric} in {dim} dimensions");
            return Err(reader.corrupt(wanted, "another codebook").into());
        }
        let learned = match (kind, kind.bits()) {
            (CodeKind::Pq, _) => Learned::Pq(Arc::new(Pq::take(metric, dim, &mut reader)?)),
            (_, Some(bits)) => Learned::Rabitq(Rabitq::take(bits, metric, dim, &mut reader)?),
            (_, None) => Learned::Sq8(Sq8::new(metric, dim)),
        };
        Ok(Codebook { kind, metric, dim, learned })
    }

    /// Bytes of one code, a multiple of four.
    pub fn row_bytes(&self) -> usize {
        match &self.learned {
            Learned::Sq8(sq8) => sq8.row_bytes(),
            Learned::Rabitq(rabitq) => rabitq.row_bytes(),
            Learned::Pq(pq) => pq.row_bytes(),
        }
    }

    /// Adds the code of `vector`, whose values are finite, to `out`.
    pub fn encode(&self, vector: &[f32], out: &mut Vec<u8>) {
        let vector = as_coded(self.metric, vector);
        match &self.learned {
            Learned::Sq8(sq8) => sq8.encode(&vector, out),
            Learned::Rabitq(rabitq) => rabitq.encode(&vector, out),
            Learned::Pq(pq) => pq.encode(&vector, out),
        }
    }

    /// `vector`, ready to be compared with codes.
    pub fn query(&self, vector: &[f32]) -> CodeQuery {
        let vector = as_coded(self.metric, vector);
        CodeQuery(match &self.learned {
            Learned::Sq8(sq8) => Prepared::Sq8(sq8.query(&vector)),
            Learned::Rabitq(rabitq) => Prepared::Rabitq(rabitq.query(&vector)),
            Learned::Pq(pq) => Prepared::Pq(pq.query(&vector)),
        })
    }

    /// The vector that `row` is about the code of, ready to be compared with others.
    ///
    /// A `row` of other than [`row_bytes`](Self::row_bytes) bytes is about as good as a vector of zeros.
    pub fn row_query(&self, row: &[u8]) -> CodeQuery {
        CodeQuery(match &self.learned {
            Learned::Sq8(sq8) => Prepared::Sq8(sq8.row_query(row)),
            Learned::Rabitq(rabitq) => Prepared::Rabitq(rabitq.row_query(row)),
            Learned::Pq(pq) => Prepared::Pq(pq.row_query(row)),
        })
    }
}

impl CodeQuery {
    /// About how far it is from the vectors whose codes are `rows`, added to `out` in their order; [`f32::MAX`]
    /// for a row that has not as many bytes as a code.
    pub fn distances(&self, rows: &[&[u8]], out: &mut Vec<f32>) {
        match &self.0 {
            Prepared::Sq8(query) => query.distances(rows, out),
            Prepared::Rabitq(query) => groups::distances(rows, out, |row| query.distance(row)),
            Prepared::Pq(query) => groups::distances(rows, out, |row| query.distance(row)),
        }
    }
}

impl CodeKind {
    /// Its number in bytes.
    fn code(self) -> u8 {
        match self {
            CodeKind::Sq8 => 1,
            CodeKind::Rabitq4 => 2,
            CodeKind::Rabitq2 => 3,
            CodeKind::Rabitq1 => 4,
            CodeKind::Pq => 5,
        }
    }

    /// Bits for each rotated dimension.
    fn bits(self) -> Option<u32> {
        match self {
            CodeKind::Rabitq4 => Some(4),
            CodeKind::Rabitq2 => Some(2),
            CodeKind::Rabitq1 => Some(1),
            CodeKind::Sq8 | CodeKind::Pq => None,
        }
    }

    /// Bytes of what is learned of vectors of `dim` dimensions.
    fn learned_bytes(self, dim: usize) -> usize {
        match self {
            CodeKind::Sq8 => 0,
            CodeKind::Rabitq4 | CodeKind::Rabitq2 | CodeKind::Rabitq1 => rabitq::learned_bytes(dim),
            CodeKind::Pq => pq::learned_bytes(dim),
        }
    }
}

impl Sample<'_> {
    /// Calls `use_` with each vector of the sample, `max` at most, in their order.
    fn each(&mut self, max: usize, mut use_: impl FnMut(&[f32])) -> KernelResult<()> {
        let taken = self.count.min(max).min(SAMPLE_MAX);
        let mut vector = vec![0.0; self.dim];
        for number in 0..taken {
            (self.vector)(number * self.count / taken, &mut vector)?;
            use_(&as_coded(self.metric, &vector));
        }
        Ok(())
    }
}

/// `vector` as it becomes a code: of length 1 under cosine.
fn as_coded(metric: Metric, vector: &[f32]) -> Cow<'_, [f32]> {
    match metric {
        Metric::Cosine => Cow::Owned(metric::normalised(vector)),
        Metric::InnerProduct | Metric::SquaredEuclidean => Cow::Borrowed(vector),
    }
}

/// The next `count` floats.
fn take_floats(reader: &mut Reader<'_>, count: usize) -> KernelResult<Vec<f32>> {
    let floats = reader.bytes(4 * count)?.as_chunks::<4>().0;
    let floats: Vec<f32> = floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if floats.iter().all(|x| x.is_finite()) {
        return Ok(floats);
    }
    Err(reader.corrupt("finite numbers", "others").into())
}

/// Adds `floats` to `out`.
fn put_floats(out: &mut Vec<u8>, floats: &[f32]) {
    out.extend(floats.iter().flat_map(|x| x.to_le_bytes()));
}

impl fmt::Display for CodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CodeKind::Sq8 => "sq8",
            CodeKind::Rabitq4 => "rabitq4",
            CodeKind::Rabitq2 => "rabitq2",
            CodeKind::Rabitq1 => "rabitq1",
            CodeKind::Pq => "pq",
        })
    }
}

impl FromStr for CodeKind {
    type Err = KernelError;

    fn from_str(text: &str) -> Result<CodeKind, KernelError> {
        match text {
            "sq8" => Ok(CodeKind::Sq8),
            "rabitq4" => Ok(CodeKind::Rabitq4),
            "rabitq2" => Ok(CodeKind::Rabitq2),
            "rabitq1" => Ok(CodeKind::Rabitq1),
            "pq" => Ok(CodeKind::Pq),
            _ => Err(KernelError::Invalid(format!(
                "'codes' is sq8, rabitq4, rabitq2, rabitq1 or pq, but {text:?} was given"
            ))),
        }
    }
}

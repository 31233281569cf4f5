//! Chunks of vectors: `dim` 32-bit floats per row.
//!
//! | encoding | bytes                                         |
//! |----------|-----------------------------------------------|
//! | plain    | `dim` f32 per row; a null has zeros           |
//! | constant | `dim` f32: the vector of all rows             |

use sochdb_guest::encoding::EncodingResult;
use sochdb_guest::encoding::codec::Reader;
use sochdb_guest::encoding::select::Comparison;

use super::Encoding;
use super::filter::fulfils;
use super::mask::retain_rows;

/// Vectors as they lie in a chunk.
#[derive(Debug, Clone, Copy)]
pub struct Vectors<'a> {
    dim: usize,
    constant: bool,
    floats: &'a [u8],
}

/// Appends the encoding's tag and the vectors of `rows` rows, 1 or more.
pub fn put(out: &mut Vec<u8>, floats: &[f32], rows: usize, is_null: impl Fn(usize) -> bool) {
    let dim = floats.len() / rows;
    let vector = |row: usize| &floats[row * dim..][..dim];
    let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    let mut valid = (0..rows).filter(|row| !is_null(*row));
    let first = vector(valid.next().unwrap_or(0));
    let constant = valid.all(|row| same(vector(row), first));
    let (tag, floats) =
        if constant { (Encoding::Constant, first) } else { (Encoding::Plain, floats) };
    out.push(tag as u8);
    out.extend(floats.iter().flat_map(|float| float.to_le_bytes()));
}

impl<'a> Vectors<'a> {
    pub fn read(
        reader: &mut Reader<'a>,
        rows: usize,
        dim: usize,
        encoding: Encoding,
    ) -> EncodingResult<Vectors<'a>> {
        let constant = match encoding {
            Encoding::Plain => false,
            Encoding::Constant => true,
            other => return Err(reader.corrupt("an encoding of vectors", other.name())),
        };
        let count = if constant { 1 } else { rows };
        let bytes = count.saturating_mul(dim).saturating_mul(4);
        Ok(Vectors { dim, constant, floats: reader.bytes(bytes)? })
    }

    pub fn dim(&self) -> usize {
        self.dim
    }

    pub fn distinct(&self) -> Option<usize> {
        self.constant.then_some(1)
    }

    /// The bytes of the floats of `row`.
    pub fn get(&self, row: usize) -> &'a [u8] {
        let row = if self.constant { 0 } else { row };
        &self.floats[row * self.dim * 4..][..self.dim * 4]
    }

    /// Appends the vectors of the rows from `start` to before `end`.
    pub fn unpack(&self, start: usize, end: usize, out: &mut Vec<f32>) {
        if !self.constant {
            return out.extend(floats(&self.floats[start * self.dim * 4..end * self.dim * 4]));
        }
        (start..end).for_each(|row| out.extend(floats(self.get(row))));
    }

    /// Clears the bits of `mask` whose vectors do not compare so with `to`.
    pub fn filter(&self, comparison: Comparison, to: &[Vec<f32>], mask: &mut [u64]) {
        let mut vector = Vec::with_capacity(self.dim);
        retain_rows(mask, |row| {
            vector.clear();
            vector.extend(floats(self.get(row)));
            fulfils(comparison, to, |to| vector[..].partial_cmp(&to[..]))
        });
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

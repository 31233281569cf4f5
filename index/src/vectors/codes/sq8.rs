//! SQ8: a byte for each value, and one scale for the vector.
//!
//! | offset | size  | type | field     | meaning                                                             |
//! |-------:|------:|------|-----------|---------------------------------------------------------------------|
//! |      0 |     4 | f32  | `scale`   | a 127th of the greatest absolute value                              |
//! |      4 | 4 / 0 | f32  | `squares` | only for Euclidean: the sum of the squares of the decoded values    |
//! |      8 | `dim` | i8   | `codes`   | values over `scale`, rounded: -127 to 127                           |
//! |        |   0-3 |      |           | zeros, up to a multiple of four                                     |
//!
//! Nothing is learned from other vectors, so a code stays good in any segment.
//!
//! A query has sixteen bits for each value: SIMD widens the bytes of a row to sixteen bits anyway, and then the
//! query's own rounding does not matter.

use crate::vectors::{Metric, element, groups, lanes};

/// The scheme for vectors of one shape.
pub struct Sq8 {
    metric: Metric,
    dim: usize,
}

/// A vector, ready to be compared with codes.
pub struct Query {
    metric: Metric,
    row_bytes: usize,
    scale: f32,
    squares: f32,
    codes: Vec<i16>,
}

impl Sq8 {
    pub fn new(metric: Metric, dim: usize) -> Sq8 {
        Sq8 { metric, dim }
    }

    pub fn row_bytes(&self) -> usize {
        (factor_bytes(self.metric) + self.dim).next_multiple_of(4)
    }

    pub fn encode(&self, vector: &[f32], out: &mut Vec<u8>) {
        let end = out.len() + self.row_bytes();
        let (scale, codes) = element::bytes_of(vector);
        out.extend_from_slice(&scale.to_le_bytes());
        if self.metric == Metric::SquaredEuclidean {
            let squares = squares(scale, &codes);
            out.extend_from_slice(&squares.to_le_bytes());
        }
        out.extend(codes.into_iter().map(|code| code as u8));
        out.resize(end, 0);
    }

    pub fn query(&self, vector: &[f32]) -> Query {
        // So that the sum of all products with codes of a row fits into an i32.
        let limit = i32::MAX as usize / 127 / self.dim.max(1);
        let limit = i16::try_from(limit).unwrap_or(i16::MAX);
        let scale = lanes::greatest(vector) / f32::from(limit);
        let codes = lanes::rounded(vector, scale, limit);
        self.prepared(scale, squares(scale, &codes), codes)
    }

    pub fn row_query(&self, row: &[u8]) -> Query {
        let factors = factor_bytes(self.metric);
        let codes = row.get(factors..factors + self.dim).unwrap_or(&[]);
        let codes = codes.iter().map(|code| i16::from(code.cast_signed())).collect();
        self.prepared(factor(row, 0), factor(row, factors - 4), codes)
    }

    fn prepared(&self, scale: f32, squares: f32, codes: Vec<i16>) -> Query {
        Query { metric: self.metric, row_bytes: self.row_bytes(), scale, squares, codes }
    }
}

impl Query {
    /// About how far it is from each of the vectors that `rows` are the codes of, added to `out`.
    pub fn distances(&self, rows: &[&[u8]], out: &mut Vec<f32>) {
        let mut dots = vec![0; rows.len()];
        lanes::dot_rows(&self.codes, rows, factor_bytes(self.metric), &mut dots);
        out.reserve(rows.len());
        for (row, dot) in rows.iter().zip(dots) {
            out.push(groups::bounded(self.distance(row, dot as f32)));
        }
    }

    /// About how far it is from the vector that `row` is the code of, given the product of the codes.
    #[inline]
    fn distance(&self, row: &[u8], dot: f32) -> f32 {
        if row.len() != self.row_bytes {
            return f32::MAX;
        }
        let product = self.scale * factor(row, 0) * dot;
        match self.metric {
            Metric::Cosine => 1.0 - product,
            Metric::InnerProduct => -product,
            Metric::SquaredEuclidean => {
                let distance = self.squares + factor(row, 4) - 2.0 * product;
                if distance < 0.0 { 0.0 } else { distance }
            }
        }
    }
}

/// Bytes before the codes.
fn factor_bytes(metric: Metric) -> usize {
    if metric == Metric::SquaredEuclidean { 8 } else { 4 }
}

/// The `f32` at `offset` of `row`.
fn factor(row: &[u8], offset: usize) -> f32 {
    let bytes = row.get(offset..).and_then(|rest| rest.first_chunk::<4>());
    bytes.map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
}

/// The sum of the squares of `codes` times `scale`.
fn squares(scale: f32, codes: &[i16]) -> f32 {
    let sum: i64 = codes.iter().map(|&code| i64::from(i32::from(code).pow(2))).sum();
    scale * scale * sum as f32
}

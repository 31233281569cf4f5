//! RaBitQ: a rotated vector, with four, two bits or one bit for each dimension.
//!
//! A vector is centred on the mean of the sample, and rotated: [`rotation`](super::rotation). Then its
//! dimensions are alike, and each is rounded to one of 2^B levels `u`, which are odd numbers around zero:
//! -15 to 15, -3 to 3, or -1 and 1. The inner product of a vector `r` (centred, rotated) with a query `q` (the
//! same) is about `scale` times that of the levels with `q`, where `scale` is the square of `r`'s length over
//! the inner product of levels and `r`: without bias, for random rotations.
//!
//! | offset | size | type | field   | meaning                                                                      |
//! |-------:|-----:|------|---------|------------------------------------------------------------------------------|
//! |      0 |    4 | f32  | `scale` | as above; 0 for the mean itself                                              |
//! |      4 |    4 | f32  | `add`   | Euclidean: the square of `r`'s length; else the centred vector's product with the mean |
//! |      8 |    n | bits | `codes` | (u + 2^B - 1) / 2 of each dimension, B bits each                             |
//!
//! Byte `j` of the `n` bytes of codes has in its lowest B bits that of dimension `j`, in the next B bits that of
//! dimension `j + n`, and so on.
//!
//! What is learned: `seed` (u64) of the rotation, and the mean, `dim` times f32.
//!
//! Source: Gao and Long 2024 (RaBitQ), Gao et al. 2024 (extended RaBitQ). The levels' width is the best of a few
//! instead of the very best.

use super::rotation::{Rotation, padded};
use super::{SAMPLE_MAX, Sample, put_floats, take_floats};
use crate::vectors::lanes::for_each_cpu;
use crate::vectors::{Metric, lanes};
use sochdb_encoding::codec::{Reader, put_u64};
use sochdb_kernel::KernelResult;

const FACTOR_BYTES: usize = 4 + 4;
/// Widths of levels that are tried, over the one that is best for normally distributed dimensions.
const WIDTHS: [f32; 7] = [0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4];
/// Bits of a query's values where a vector has a single bit: one plane for each.
const PLANES: usize = 4;

/// The scheme, with what was learned.
pub struct Rabitq {
    bits: u32,
    metric: Metric,
    seed: u64,
    mean: Vec<f32>,
    mean_squares: f32,
    rotation: Rotation,
}

/// A vector, ready to be compared with codes.
pub struct Query {
    bits: u32,
    metric: Metric,
    row_bytes: usize,
    /// Euclidean: the square of its length, centred; else its product with the mean.
    add: f32,
    /// What `values` are multiplied by.
    scale: f32,
    /// The sum of all values.
    sum: i64,
    values: Values,
}

/// The centred and rotated vector, in whole numbers.
enum Values {
    Words(Vec<i16>),
    /// The bits of 64 values, the lowest first; the last is the sign's, as in two's complement.
    Planes(Vec<[u64; PLANES]>),
}

/// Bytes of what is learned of `dim` dimensions.
pub fn learned_bytes(dim: usize) -> usize {
    8 + 4 * dim
}

impl Rabitq {
    pub fn train(bits: u32, mut sample: Sample<'_>, seed: u64) -> KernelResult<Rabitq> {
        let mut sums = vec![0f64; sample.dim];
        let mut count = 0;
        sample.each(SAMPLE_MAX, |vector| {
            count += 1;
            sums.iter_mut().zip(vector).for_each(|(sum, &x)| *sum += f64::from(x));
        })?;
        let mean = sums.iter().map(|sum| (sum / f64::from(count.max(1))) as f32).collect();
        Ok(Rabitq::new(bits, sample.metric, seed, mean))
    }

    fn new(bits: u32, metric: Metric, seed: u64, mean: Vec<f32>) -> Rabitq {
        let rotation = Rotation::new(mean.len(), seed);
        Rabitq { bits, metric, seed, mean_squares: lanes::dot(&mean, &mean), mean, rotation }
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, self.seed);
        put_floats(out, &self.mean);
    }

    pub fn take(
        bits: u32,
        metric: Metric,
        dim: usize,
        reader: &mut Reader<'_>,
    ) -> KernelResult<Rabitq> {
        let seed = reader.u64()?;
        Ok(Rabitq::new(bits, metric, seed, take_floats(reader, dim)?))
    }

    pub fn row_bytes(&self) -> usize {
        FACTOR_BYTES + padded(self.mean.len()) / 8 * self.bits as usize
    }

    pub fn encode(&self, vector: &[f32], out: &mut Vec<u8>) {
        let centred = self.centred(vector);
        let rotated = self.rotation.apply(&centred);
        let squares = lanes::dot(&rotated, &rotated);
        let codes = self.codes(&rotated, squares);
        let [product, _] = fit(self.bits, &rotated, &codes);
        let scale = if 0.0 < product { squares / product } else { 0.0 };
        let add = match self.metric {
            Metric::SquaredEuclidean => squares,
            Metric::Cosine | Metric::InnerProduct => lanes::dot(&centred, &self.mean),
        };
        put_floats(out, &[scale, add]);
        let (width, start) = (codes.len() / 8 * self.bits as usize, out.len());
        out.resize(start + width, 0);
        for (part, codes) in codes.chunks_exact(width).enumerate() {
            let bytes = out[start..].iter_mut().zip(codes);
            bytes.for_each(|(byte, code)| *byte |= code << (part as u32 * self.bits));
        }
    }

    pub fn query(&self, vector: &[f32]) -> Query {
        let rotated = self.rotation.apply(&self.centred(vector));
        let add = match self.metric {
            Metric::SquaredEuclidean => lanes::dot(&rotated, &rotated),
            Metric::Cosine | Metric::InnerProduct => lanes::dot(vector, &self.mean),
        };
        let limit = if self.bits == 1 { (1 << (PLANES - 1)) - 1 } else { i16::MAX };
        let scale = lanes::greatest(&rotated) / f32::from(limit);
        let words = lanes::rounded(&rotated, scale, limit);
        let sum = words.iter().map(|word| i64::from(*word)).sum();
        let one_bit = self.bits == 1;
        let values = if one_bit { Values::Planes(planes(&words)) } else { Values::Words(words) };
        self.prepared(scale, add, sum, values)
    }

    pub fn row_query(&self, row: &[u8]) -> Query {
        let Some((scale, add, codes)) = split(row, self.row_bytes()) else {
            return self.query(&vec![0.0; self.mean.len()]);
        };
        let (sum, values) = if self.bits == 1 {
            let ones: u32 = codes.iter().map(|byte| byte.count_ones()).sum();
            (2 * i64::from(ones) - 8 * codes.len() as i64, Values::Planes(planes_of_signs(codes)))
        } else {
            let mut levels = Vec::with_capacity(codes.len() * 8 / self.bits as usize);
            for part in 0..8 / self.bits {
                let code = |byte: &u8| (byte >> (part * self.bits)) & ((1 << self.bits) - 1);
                levels.extend(codes.iter().map(|byte| level(self.bits, code(byte))));
            }
            (levels.iter().map(|level| i64::from(*level)).sum(), Values::Words(levels))
        };
        let add = match self.metric {
            Metric::SquaredEuclidean => add,
            Metric::Cosine | Metric::InnerProduct => add + self.mean_squares,
        };
        self.prepared(scale, add, sum, values)
    }

    fn prepared(&self, scale: f32, add: f32, sum: i64, values: Values) -> Query {
        let (bits, metric, row_bytes) = (self.bits, self.metric, self.row_bytes());
        Query { bits, metric, row_bytes, add, scale, sum, values }
    }

    fn centred(&self, vector: &[f32]) -> Vec<f32> {
        vector.iter().zip(&self.mean).map(|(x, mean)| x - mean).collect()
    }

    /// The codes of the levels whose direction is nearest to that of `rotated`.
    fn codes(&self, rotated: &[f32], squares: f32) -> Vec<u8> {
        let deviation = (squares / rotated.len() as f32).sqrt();
        // The best step of a uniform quantiser of so many bits for a normal distribution (Max 1960).
        let best = match self.bits {
            4 => 0.3352,
            2 => 0.9957,
            _ => return rotated.iter().map(|x| u8::from(0.0 <= *x)).collect(),
        };
        let tried = WIDTHS.into_iter().map(|width| {
            let codes = quantised(self.bits, rotated, deviation * best * width);
            let [product, squares] = fit(self.bits, rotated, &codes);
            (product / squares.sqrt(), codes)
        });
        tried.max_by(|a, b| a.0.total_cmp(&b.0)).expect("there are widths").1
    }
}

impl Query {
    /// About how far it is from the vector that `row` is the code of.
    #[inline]
    pub fn distance(&self, row: &[u8]) -> f32 {
        let Some((scale, add, codes)) = split(row, self.row_bytes) else { return f32::MAX };
        let sum = match (&self.values, self.bits) {
            (Values::Planes(planes), _) => dot_planes(planes, codes),
            (Values::Words(words), 2) => dot_pairs(words, codes),
            (Values::Words(words), _) => dot_nibbles(words, codes),
        };
        // Codes count from zero, levels are odd numbers around it.
        let levels = 2 * i64::from(sum) - ((1 << self.bits) - 1) * self.sum;
        let product = self.scale * scale * levels as f32;
        match self.metric {
            Metric::SquaredEuclidean => self.add + add - 2.0 * product,
            Metric::InnerProduct => -(self.add + add + product),
            Metric::Cosine => 1.0 - (self.add + add + product),
        }
    }
}

/// The factors and the codes of `row`, if it has `row_bytes`.
#[inline]
fn split(row: &[u8], row_bytes: usize) -> Option<(f32, f32, &[u8])> {
    let (scale, rest) = row.split_first_chunk::<4>().filter(|_| row.len() == row_bytes)?;
    let (add, codes) = rest.split_first_chunk::<4>()?;
    Some((f32::from_le_bytes(*scale), f32::from_le_bytes(*add), codes))
}

/// The level that `code` stands for.
#[inline(always)]
fn level(bits: u32, code: u8) -> i16 {
    2 * i16::from(code) - ((1 << bits) - 1)
}

/// The bits of `words`, which fit into so many, 64 words at a time in the order of the bits of codes.
fn planes(words: &[i16]) -> Vec<[u64; PLANES]> {
    let width = words.len() / 8;
    let mut planes = vec![[0; PLANES]; width / 8];
    for (index, word) in words.iter().enumerate() {
        let (part, byte) = (index / width, index % width);
        for (plane, bits) in planes[byte / 8].iter_mut().enumerate() {
            *bits |= ((word >> plane & 1) as u64) << (byte % 8 * 8 + part);
        }
    }
    planes
}

/// The planes of 1 for each set bit of `codes`, and of -1 for the others.
fn planes_of_signs(codes: &[u8]) -> Vec<[u64; PLANES]> {
    let planes = |bits: &[u8; 8]| {
        let mut planes = [!u64::from_le_bytes(*bits); PLANES];
        planes[0] = u64::MAX;
        planes
    };
    codes.as_chunks::<8>().0.iter().map(planes).collect()
}

for_each_cpu! {
    /// The codes of levels that are `step` apart.
    fn quantised(bits: u32, rotated: &[f32], step: f32) -> Vec<u8> {
        let over = if 0.0 < step { 1.0 / step } else { 0.0 };
        let (half, greatest) = ((1 << (bits - 1)) as f32, ((1 << bits) - 1) as f32);
        let mut codes = vec![0; rotated.len()];
        for (code, x) in codes.iter_mut().zip(rotated) {
            *code = (x * over + half).clamp(0.0, greatest) as i32 as u8;
        }
        codes
    }

    /// The inner product of the levels of `codes` with `rotated`, and that with themselves.
    fn fit(bits: u32, rotated: &[f32], codes: &[u8]) -> [f32; 2] {
        lanes::sums(rotated, codes, |x, code| {
            let level = f32::from(level(bits, code));
            [x * level, level * level]
        })
    }

    /// The inner product of `words` with codes of four bits.
    fn dot_nibbles(words: &[i16], codes: &[u8]) -> i32 {
        let (low, high) = words.split_at(words.len().min(codes.len()));
        let parts = codes.iter().zip(low).zip(high);
        parts.map(|((c, low), high)| times(*low, c & 15) + times(*high, c >> 4)).sum()
    }

    /// The inner product of `words` with codes of two bits.
    fn dot_pairs(words: &[i16], codes: &[u8]) -> i32 {
        let (front, back) = words.split_at(words.len() / 2);
        let ((first, second), (third, fourth)) =
            (front.split_at(front.len() / 2), back.split_at(back.len() / 2));
        let parts = codes.iter().zip(first).zip(second).zip(third).zip(fourth);
        parts
            .map(|((((c, first), second), third), fourth)| {
                times(*first, c & 3)
                    + times(*second, c >> 2 & 3)
                    + times(*third, c >> 4 & 3)
                    + times(*fourth, c >> 6)
            })
            .sum()
    }

    /// The inner product of the values of `planes` with bits.
    fn dot_planes(planes: &[[u64; PLANES]], codes: &[u8]) -> i32 {
        let mut counts = [0; PLANES];
        for (planes, bits) in planes.iter().zip(codes.as_chunks::<8>().0) {
            let bits = u64::from_le_bytes(*bits);
            for (count, plane) in counts.iter_mut().zip(planes) {
                *count += (bits & plane).count_ones().cast_signed();
            }
        }
        let positive: i32 = (0..PLANES - 1).map(|plane| counts[plane] << plane).sum();
        positive - (counts[PLANES - 1] << (PLANES - 1))
    }
}

#[inline(always)]
fn times(word: i16, code: u8) -> i32 {
    i32::from(word) * i32::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_with_codes_equal_those_of_single_dimensions() {
        let mut random = fastrand::Rng::with_seed(1);
        for padded in [64, 128, 384, 4096] {
            for bits in [1, 2, 4] {
                let limit = if bits == 1 { 7 } else { i16::MAX };
                let words: Vec<i16> = (0..padded).map(|_| random.i16(-limit..=limit)).collect();
                let bytes: Vec<u8> = (0..padded / 8 * bits).map(|_| random.u8(..)).collect();
                let code = |dimension: usize| {
                    let shift = dimension / bytes.len() * bits;
                    bytes[dimension % bytes.len()] >> shift & ((1 << bits) - 1)
                };
                let terms = (0..padded).map(|d| i32::from(words[d]) * i32::from(code(d)));
                let found = match bits {
                    4 => dot_nibbles(&words, &bytes),
                    2 => dot_pairs(&words, &bytes),
                    _ => dot_planes(&planes(&words), &bytes),
                };
                assert_eq!(found, terms.sum::<i32>(), "{bits} bits, {padded}");
            }
        }
    }

    #[test]
    fn the_greatest_products_fit() {
        assert_eq!(dot_nibbles(&[i16::MAX; 4096], &[0xff; 2048]), 4096 * 15 * 32767);
        assert_eq!(dot_pairs(&[-i16::MAX; 4096], &[0xff; 1024]), -4096 * 3 * 32767);
        assert_eq!(dot_planes(&planes(&[-7; 4096]), &[0xff; 512]), -7 * 4096);
    }

    #[test]
    fn signs_become_the_planes_of_their_words() {
        let codes: Vec<u8> = (0..48).map(|index: u8| index.wrapping_mul(37)).collect();
        let sign =
            |dimension: usize| (codes[dimension % 48] >> (dimension / 48) & 1) as i16 * 2 - 1;
        assert_eq!(planes_of_signs(&codes), planes(&(0..384).map(sign).collect::<Vec<_>>()));
    }
}

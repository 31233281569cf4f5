//! RaBitQ: a rotated vector, with four, two bits or one bit for each dimension.
//!
//! A vector is centred on the mean of the sample, and rotated: [`rotation`](super::rotation). Then its
//! dimensions are alike, and each is rounded to one of 2^B levels `u`, which are odd numbers around zero:
//! -15 to 15, -3 to 3, or -1 and 1. The inner product of a vector `r` (centred, rotated) with a query `q` (the
//! same) is about `scale` times that of the levels with `q`, where `scale` is |r|^2 over the inner product of
//! levels and `r`: without bias, for random rotations.
//!
//! | offset | size   | type | field   | meaning                                                            |
//! |-------:|-------:|------|---------|--------------------------------------------------------------------|
//! |      0 |      4 | f32  | `scale` | as above; 0 for the mean itself                                    |
//! |      4 |      4 | f32  | `add`   | Euclidean: |r|^2; else the centred vector's product with the mean  |
//! |      8 | 8B * n | bits | `codes` | n blocks of 64 dimensions, (u + 2^B - 1) / 2 for each              |
//!
//! A block has 8B bytes. Byte `j` has in its lowest B bits the code of the block's dimension `j`, in the next B
//! bits that of dimension `j + 8B`, and so on.
//!
//! What is learned: `seed` (u64) of the rotation, and the mean, `dim` times f32.
//!
//! Source: Gao and Long 2024 (RaBitQ), Gao et al. 2024 (extended RaBitQ). The levels' width is the best of a few
//! instead of the very best.

use super::rotation::{PADDING, Rotation, padded};
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
        let product = level_product(self.bits, &codes, &rotated);
        let scale = if 0.0 < product { squares / product } else { 0.0 };
        let add = match self.metric {
            Metric::SquaredEuclidean => squares,
            Metric::Cosine | Metric::InnerProduct => lanes::dot(&centred, &self.mean),
        };
        put_floats(out, &[scale, add]);
        let width = 8 * self.bits as usize;
        for block in codes.chunks_exact(PADDING) {
            out.extend((0..width).map(|byte| {
                let parts = block.iter().skip(byte).step_by(width).enumerate();
                parts.fold(0, |all, (part, code)| all | code << (part as u32 * self.bits))
            }));
        }
    }

    pub fn query(&self, vector: &[f32]) -> Query {
        let rotated = self.rotation.apply(&self.centred(vector));
        let add = match self.metric {
            Metric::SquaredEuclidean => lanes::dot(&rotated, &rotated),
            Metric::Cosine | Metric::InnerProduct => lanes::dot(vector, &self.mean),
        };
        let limit = if self.bits == 1 { (1 << (PLANES - 1)) - 1 } else { i16::MAX };
        let limit = f32::from(limit);
        let greatest = rotated.iter().fold(0f32, |max, x| max.max(x.abs()));
        let scale = greatest / limit;
        let over = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        let value = |x: f32| (x * over).round().clamp(-limit, limit) as i16;
        self.prepared(scale, add, rotated.into_iter().map(value).collect())
    }

    pub fn row_query(&self, row: &[u8]) -> Query {
        let Some((scale, add, codes)) = split(row, self.row_bytes()) else {
            return self.prepared(0.0, 0.0, vec![0; padded(self.mean.len())]);
        };
        let (width, mask) = (8 * self.bits as usize, (1 << self.bits) - 1);
        let mut levels = Vec::with_capacity(padded(self.mean.len()));
        for block in codes.chunks_exact(width) {
            for part in 0..8 / self.bits {
                let code = |byte: &u8| i16::from(byte >> (part * self.bits) & mask);
                levels.extend(block.iter().map(|byte| 2 * code(byte) - i16::from(mask)));
            }
        }
        let add = match self.metric {
            Metric::SquaredEuclidean => add,
            Metric::Cosine | Metric::InnerProduct => add + self.mean_squares,
        };
        self.prepared(scale, add, levels)
    }

    fn prepared(&self, scale: f32, add: f32, words: Vec<i16>) -> Query {
        let sum = words.iter().map(|word| i64::from(*word)).sum();
        let values = if self.bits == 1 {
            Values::Planes(words.chunks_exact(PADDING).map(planes).collect())
        } else {
            Values::Words(words)
        };
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
        let at = |width: f32| {
            let step = deviation * best * width;
            let over = if 0.0 < step { 1.0 / step } else { 0.0 };
            let (half, greatest) = ((1 << (self.bits - 1)) as f32, ((1 << self.bits) - 1) as f32);
            let code = |x: &f32| (x * over + half).clamp(0.0, greatest) as u8;
            rotated.iter().map(code).collect::<Vec<u8>>()
        };
        let nearness = |codes: &Vec<u8>| {
            let squares: i32 = codes.iter().map(|code| level(self.bits, *code).pow(2)).sum();
            level_product(self.bits, codes, rotated) / (squares as f32).sqrt()
        };
        let all = WIDTHS.into_iter().map(at);
        all.max_by(|a, b| nearness(a).total_cmp(&nearness(b))).expect("there are widths")
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
fn level(bits: u32, code: u8) -> i32 {
    2 * i32::from(code) - ((1 << bits) - 1)
}

/// The inner product of the levels of `codes` with `rotated`.
fn level_product(bits: u32, codes: &[u8], rotated: &[f32]) -> f32 {
    codes.iter().zip(rotated).map(|(code, x)| level(bits, *code) as f32 * x).sum()
}

/// The bits of 64 `words`, which fit into so many, in the order of a code's bits.
fn planes(words: &[i16]) -> [u64; PLANES] {
    std::array::from_fn(|plane| {
        let place = |index: usize| index % 8 * 8 + index / 8;
        let bit = |(index, word): (usize, &i16)| ((word >> plane & 1) as u64) << place(index);
        words.iter().enumerate().map(bit).sum()
    })
}

for_each_cpu! {
    /// The inner product of `words` with codes of four bits.
    fn dot_nibbles(words: &[i16], codes: &[u8]) -> i32 {
        let mut sum = 0;
        for (words, codes) in words.as_chunks::<64>().0.iter().zip(codes.as_chunks::<32>().0) {
            for index in 0..32 {
                sum += i32::from(words[index]) * i32::from(codes[index] & 15);
                sum += i32::from(words[32 + index]) * i32::from(codes[index] >> 4);
            }
        }
        sum
    }

    /// The inner product of `words` with codes of two bits.
    fn dot_pairs(words: &[i16], codes: &[u8]) -> i32 {
        let mut sum = 0;
        for (words, codes) in words.as_chunks::<64>().0.iter().zip(codes.as_chunks::<16>().0) {
            for index in 0..16 {
                sum += i32::from(words[index]) * i32::from(codes[index] & 3);
                sum += i32::from(words[16 + index]) * i32::from(codes[index] >> 2 & 3);
                sum += i32::from(words[32 + index]) * i32::from(codes[index] >> 4 & 3);
                sum += i32::from(words[48 + index]) * i32::from(codes[index] >> 6);
            }
        }
        sum
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
        counts[0] + 2 * counts[1] + 4 * counts[2] - 8 * counts[3]
    }
}

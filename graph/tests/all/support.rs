//! Vectors to build graphs of, the arithmetic on them, and what the right answers are.

use sochdb_graph::{Blob, Error, Result, Sink, Space, Target};
use std::path::Path;

/// Vectors of one length, and the distance 1 - inner product: of normalised ones the cosine distance.
pub struct Vectors {
    pub dim: usize,
    pub values: Vec<f32>,
}

impl Vectors {
    /// Reads a file of `data/README.md` (`.f16bin`), or one of u32 count, u32 dimensions and f32 (`.f32bin`).
    pub fn read(path: &Path) -> Vectors {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        if bytes.starts_with(b"SOCHF16\n") {
            let halves = bytes[24..].as_chunks::<2>().0.iter();
            let values = halves.map(|half| widen(u16::from_le_bytes(*half))).collect();
            return Vectors { dim: word(16) as usize, values };
        }
        let floats = bytes[8..].as_chunks::<4>().0.iter();
        let values = floats.map(|float| f32::from_le_bytes(*float)).collect();
        Vectors { dim: word(4) as usize, values }
    }

    /// `count` random directions.
    pub fn random(count: usize, dim: usize, seed: u64) -> Vectors {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut values = Vec::with_capacity(count * dim);
        for _ in 0..count {
            let row: Vec<f32> =
                (0..dim).map(|_| (0..4).map(|_| random.f32() - 0.5).sum()).collect();
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            values.extend(row.iter().map(|value| value / length));
        }
        Vectors { dim, values }
    }

    pub fn count(&self) -> usize {
        self.values.len() / self.dim
    }

    pub fn row(&self, number: u32) -> &[f32] {
        &self.values[number as usize * self.dim..][..self.dim]
    }

    /// The rows of `numbers`.
    pub fn select(&self, numbers: impl IntoIterator<Item = u32>) -> Vectors {
        let values = numbers.into_iter().flat_map(|number| self.row(number).to_vec()).collect();
        Vectors { dim: self.dim, values }
    }

    pub fn query<'a>(&'a self, vector: &'a [f32]) -> Query<'a> {
        Query { vectors: self, vector, asked: 0, calls: 0 }
    }

    /// The distance to the `k`-th nearest allowed entry; infinite if there are fewer.
    pub fn kth(&self, vector: &[f32], k: usize, allowed: &[u64]) -> f32 {
        let mut all: Vec<f32> = (0..self.count() as u32)
            .filter(|&number| is_allowed(allowed, number))
            .map(|number| distance(vector, self.row(number)))
            .collect();
        all.sort_unstable_by(f32::total_cmp);
        k.checked_sub(1).and_then(|last| all.get(last)).copied().unwrap_or(f32::INFINITY)
    }
}

impl Space for &Vectors {
    fn len(&self) -> u32 {
        self.count() as u32
    }

    fn between(&mut self, number: u32, others: &[u32], out: &mut Vec<f32>) -> Result<()> {
        let from = self.row(number);
        out.extend(others.iter().map(|&other| distance(from, self.row(other))));
        Ok(())
    }
}

/// A query; it counts what it is asked.
pub struct Query<'a> {
    vectors: &'a Vectors,
    vector: &'a [f32],
    pub asked: usize,
    pub calls: usize,
}

impl Target for Query<'_> {
    fn distances(&mut self, numbers: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.calls += 1;
        self.asked += numbers.len();
        out.extend(numbers.iter().map(|&other| distance(self.vector, self.vectors.row(other))));
        Ok(())
    }
}

/// 1 - the inner product, added up in sixteen lanes.
pub fn distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 16];
    let ((left, left_rest), (right, right_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (left, right) in left.iter().zip(right) {
        for lane in 0..16 {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(a, b)| a * b).sum();
    1.0 - sums.iter().sum::<f32>() - rest
}

fn widen(half: u16) -> f32 {
    let sign = if half >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(half >> 10 & 31), f32::from(half & 1023));
    match exponent {
        0 => sign * fraction * 2.0_f32.powi(-24),
        _ => sign * (1.0 + fraction / 1024.0) * 2.0_f32.powi(exponent - 15),
    }
}

pub fn is_allowed(allowed: &[u64], number: u32) -> bool {
    allowed.is_empty() || allowed[number as usize / 64] >> (number % 64) & 1 == 1
}

/// A bit for each of `count` entries, set with probability `share`.
pub fn some(count: usize, share: f64, seed: u64) -> Vec<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bits = vec![0_u64; count.div_ceil(64)];
    for number in (0..count).filter(|_| random.f64() < share) {
        bits[number / 64] |= 1 << (number % 64);
    }
    bits
}

/// A graph's bytes, in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bytes(pub Vec<u8>);

impl Sink for Bytes {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl Blob for &Bytes {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>> {
        let from = usize::try_from(offset).map_err(Error::failed)?;
        let found = self.0.get(from..).and_then(|rest| rest.get(..len as usize));
        found.map(<[u8]>::to_vec).ok_or_else(|| Error::failed("a read behind the end"))
    }
}

//! A random rotation, which spreads a vector's length evenly over its dimensions.
//!
//! Four rounds of random signs and a Walsh-Hadamard transform, whose length is a power of two. Dimensions are
//! padded with zeros to a multiple of 64; where that is no power of two, the transform covers the first
//! dimensions in even rounds and the last ones in odd rounds, and the two overlap.
//!
//! Signs are the bits of SplitMix64 from `seed` on, the lowest first, 64 for each call; a set bit is a minus.
//!
//! Source: Ailon and Chazelle 2009 for signs and transform, Andoni et al. 2015 for repeating them.

use crate::vectors::lanes::for_each_cpu;

/// Dimensions are padded to a multiple of this.
const PADDING: usize = 64;
const ROUNDS: usize = 4;

/// A rotation of vectors of one length.
pub struct Rotation {
    padded: usize,
    block: usize,
    /// For each round what each dimension is multiplied by: a sign, and what keeps the transform from stretching.
    factors: Vec<f32>,
}

impl Rotation {
    /// The rotation of `dim` dimensions that `seed` makes.
    pub fn new(dim: usize, seed: u64) -> Rotation {
        let padded = padded(dim);
        let block = 1 << padded.ilog2();
        let shrink = 1.0 / (block as f32).sqrt();
        let mut state = seed;
        let mut factors = Vec::with_capacity(ROUNDS * padded);
        for round in 0..ROUNDS {
            let start = start(round, padded, block);
            for first in (0..padded).step_by(64) {
                let signs = splitmix(&mut state);
                factors.extend((0..64).map(|bit| {
                    let inside = (start..start + block).contains(&(first + bit));
                    let size = if inside { shrink } else { 1.0 };
                    if signs >> bit & 1 == 1 { -size } else { size }
                }));
            }
        }
        Rotation { padded, block, factors }
    }

    /// `vector`, rotated and padded.
    pub fn apply(&self, vector: &[f32]) -> Vec<f32> {
        let mut rotated = vector.to_vec();
        rotated.resize(self.padded, 0.0);
        let mut scratch = vec![0.0; self.block];
        for (round, factors) in self.factors.chunks_exact(self.padded).enumerate() {
            rotated.iter_mut().zip(factors).for_each(|(x, factor)| *x *= factor);
            let start = start(round, self.padded, self.block);
            hadamard(&mut rotated[start..start + self.block], &mut scratch);
        }
        rotated
    }
}

/// How many dimensions the rotation of `dim` dimensions has.
pub fn padded(dim: usize) -> usize {
    dim.max(1).next_multiple_of(PADDING)
}

/// Where the transform begins in `round`.
fn start(round: usize, padded: usize, block: usize) -> usize {
    if round.is_multiple_of(2) { 0 } else { padded - block }
}

/// The next number of SplitMix64 (Steele, Lea and Flood 2014).
pub fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

for_each_cpu! {
    /// The Walsh-Hadamard transform, unscaled, in stages that are all alike; the length is a power of two,
    /// and `scratch` is as long.
    ///
    /// Source: Pease 1968, who did the same for the Fourier transform.
    fn hadamard(values: &mut [f32], scratch: &mut [f32]) {
        for _ in 0..values.len().ilog2() {
            let (front, back) = values.split_at(values.len() / 2);
            let pairs = scratch.as_chunks_mut::<2>().0;
            for ((pair, a), b) in pairs.iter_mut().zip(front).zip(back) {
                *pair = [a + b, a - b];
            }
            values.copy_from_slice(scratch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::dot;

    fn random(dim: usize, state: &mut u64) -> Vec<f32> {
        (0..dim).map(|_| splitmix(state) as f32 / u64::MAX as f32 - 0.5).collect()
    }

    #[test]
    fn rotated_vectors_keep_their_lengths_and_angles() {
        let mut state = 1;
        for dim in [1, 3, 64, 100, 384, 1000, 4096] {
            let rotation = Rotation::new(dim, 7);
            let (a, b) = (random(dim, &mut state), random(dim, &mut state));
            let (ra, rb) = (rotation.apply(&a), rotation.apply(&b));
            assert_eq!(ra.len(), dim.next_multiple_of(64));
            for (before, after) in [(dot(&a, &a), dot(&ra, &ra)), (dot(&a, &b), dot(&ra, &rb))] {
                let scale = dot(&a, &a).max(dot(&b, &b));
                assert!((before - after).abs() <= 1e-5 * scale, "{dim}: {before} became {after}");
            }
        }
    }

    #[test]
    fn a_single_dimension_is_spread_over_all() {
        for dim in [64, 100, 384, 1000] {
            for dimension in [0, dim / 2, dim - 1] {
                let mut vector = vec![0.0; dim];
                vector[dimension] = 1.0;
                let rotated = Rotation::new(dim, 3).apply(&vector);
                let greatest = rotated.iter().fold(0f32, |max, x| max.max(x.abs()));
                let even = 1.0 / (rotated.len() as f32).sqrt();
                assert!(greatest < 6.0 * even, "{dim}, {dimension}: {greatest}, {even} is even");
            }
        }
    }

    #[test]
    fn the_transform_equals_its_definition() {
        let mut state = 5;
        for length in [8, 64, 256] {
            let before = random(length, &mut state);
            let mut after = before.clone();
            hadamard(&mut after, &mut vec![0.0; length]);
            for (row, after) in after.into_iter().enumerate() {
                let sign = |column: usize| 1.0 - 2.0 * ((row & column).count_ones() % 2) as f32;
                let sum: f32 = before.iter().enumerate().map(|(column, x)| sign(column) * x).sum();
                assert!((sum - after).abs() < 1e-3, "{sum} {after}");
            }
        }
    }
}

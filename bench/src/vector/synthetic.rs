//! Vectors that nobody had to embed: a mixture of Gaussians.
//!
//! Embeddings lie in clusters of very different sizes, and near a surface of few dimensions, which is what makes
//! their neighbours findable. So a row is a point of a latent space of 32 dimensions, its cluster's centre plus a
//! Gaussian step, mapped by one random matrix into all dimensions, where a little noise is added, then normalised.
//! The cluster of rank `r` has a share in proportion to 1 / r. Queries are drawn alike: half of them, `near`, exactly
//! so, the other half, `far`, with twice the step, as questions that no stored row was made for.
//!
//! Every row follows from the seed and its own number, so threads can make them in any order.

use super::set::Attributes;
use super::vectors::Vectors;
use crate::Result;
use crate::meter::in_threads;
use fastrand::Rng;

/// Dimensions of the latent space: the local intrinsic dimension of sentence embeddings is 20 to 30.
const LATENT: usize = 32;
/// How far a row lies from its cluster's centre, the distance between centres being about 1.
const STEP: f32 = 0.6;
/// Noise in all dimensions, as a share of the length.
const NOISE: f32 = 0.05;
/// Rows that a thread makes at a time.
const SLICE_ROWS: usize = 4_096;
/// How often the layout of synthetic sets changed; part of their names, so that a stale one is not read.
const VERSION: u32 = 1;

/// A synthetic set.
#[derive(Debug, Clone)]
pub struct Mixture {
    /// Vectors to store.
    pub rows: usize,
    /// Values in each.
    pub dim: usize,
    /// Vectors to ask for.
    pub queries: usize,
    /// What random choices are made of.
    pub seed: u64,
}

impl Mixture {
    /// What its files are called.
    pub fn name(&self) -> String {
        let Mixture { rows, dim, queries, seed } = self;
        format!("synthetic-v{VERSION}-{rows}-{dim}-{queries}-{seed}")
    }

    /// What is stored, and the clusters as attributes.
    ///
    /// # Errors
    /// When there is nothing to make.
    pub fn base(&self, threads: usize) -> Result<(Vectors, Vec<Attributes>)> {
        let (vectors, clusters) = self.make(0, self.rows, |_| STEP, threads)?;
        let row = |(id, cluster): (usize, usize)| {
            let (pos, lex) = (format!("p{}", cluster % 4), format!("c{cluster}"));
            Attributes { id: id as u32, pos, lex }
        };
        Ok((vectors, clusters.into_iter().enumerate().map(row).collect()))
    }

    /// What is asked for, and the kind of each.
    ///
    /// # Errors
    /// When there is nothing to make.
    pub fn queries(&self, threads: usize) -> Result<(Vectors, Vec<String>)> {
        let is_near = |index: usize| index.is_multiple_of(2);
        let step = |index: usize| if is_near(index) { STEP } else { 2.0 * STEP };
        let (vectors, _) = self.make(1, self.queries, step, threads)?;
        let kind = |index| if is_near(index) { "near" } else { "far" }.to_owned();
        Ok((vectors, (0..self.queries).map(kind).collect()))
    }

    fn clusters(&self) -> usize {
        ((self.rows as f64).sqrt() as usize).clamp(1, 4_096)
    }

    /// Vectors and their clusters; `stream` keeps what is stored and what is asked for apart.
    fn make(
        &self,
        stream: u64,
        count: usize,
        step: impl Fn(usize) -> f32 + Sync,
        threads: usize,
    ) -> Result<(Vectors, Vec<usize>)> {
        if self.dim == 0 || count == 0 {
            return Err("a synthetic set has rows, queries and dimensions".into());
        }
        let mut rng = self.rng(2, 0);
        let centres: Vec<f32> = (0..self.clusters() * LATENT).map(|_| gaussian(&mut rng)).collect();
        let matrix: Vec<f32> = (0..LATENT * self.dim).map(|_| gaussian(&mut rng)).collect();
        let bounds = bounds(self.clusters());
        let one = |index: usize| {
            let mut rng = self.rng(stream, index as u64);
            let share = rng.f64();
            let cluster = bounds.partition_point(|bound| *bound < share).min(bounds.len() - 1);
            let mut values = vec![0.0f32; self.dim];
            for (centre, line) in
                centres[cluster * LATENT..][..LATENT].iter().zip(matrix.chunks_exact(self.dim))
            {
                let at = centre + step(index) * gaussian(&mut rng);
                values.iter_mut().zip(line).for_each(|(value, axis)| *value += at * axis);
            }
            let noise = NOISE * (LATENT as f32).sqrt();
            values.iter_mut().for_each(|value| *value += noise * gaussian(&mut rng));
            (values, cluster)
        };
        let starts: Vec<usize> = (0..count).step_by(SLICE_ROWS).collect();
        let (mut values, mut clusters) = (Vec::with_capacity(count * self.dim), Vec::new());
        for starts in starts.chunks(threads.max(1)) {
            let made = in_threads(starts.to_vec(), |start| {
                Ok((start..count.min(start + SLICE_ROWS)).map(&one).collect::<Vec<_>>())
            })?;
            for (row, cluster) in made.into_iter().flatten() {
                values.extend(row);
                clusters.push(cluster);
            }
        }
        let mut vectors = Vectors::new(self.dim, values);
        vectors.normalise()?;
        Ok((vectors, clusters))
    }

    fn rng(&self, stream: u64, index: u64) -> Rng {
        // Seeds that follow each other are made to differ in all their bits.
        let mut mixed = Rng::with_seed(self.seed ^ stream.rotate_left(60) ^ index.rotate_left(8));
        Rng::with_seed(mixed.u64(..))
    }
}

/// The upper ends of the clusters' shares, the cluster of rank `r` having one in proportion to 1 / r.
fn bounds(clusters: usize) -> Vec<f64> {
    let total: f64 = (1..=clusters).map(|rank| 1.0 / rank as f64).sum();
    let mut sum = 0.0;
    let bound = |rank: usize| {
        sum += 1.0 / rank as f64 / total;
        sum
    };
    (1..=clusters).map(bound).collect()
}

/// A value of the normal distribution, by Box and Muller.
fn gaussian(rng: &mut Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.f32()).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.f32()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_cluster_is_far_larger_than_most() {
        let mixture = Mixture { rows: 10_000, dim: 8, queries: 10, seed: 3 };
        let (_, rows) = mixture.base(2).unwrap();
        let count = |lex: &str| rows.iter().filter(|row| row.lex == lex).count();
        assert!(1_500 < count("c0") && count("c0") < 2_500, "{}", count("c0"));
        assert!(count("c50") < 100, "{}", count("c50"));
    }

    #[test]
    fn gaussian_values_have_the_mean_zero_and_the_variance_one() {
        let mut rng = Rng::with_seed(1);
        let values: Vec<f64> = (0..100_000).map(|_| f64::from(gaussian(&mut rng))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn other_seeds_make_other_vectors() {
        let make = |seed| Mixture { rows: 100, dim: 8, queries: 10, seed }.base(1).unwrap().0;
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }

    #[test]
    fn a_set_of_nothing_is_refused() {
        assert!(Mixture { rows: 0, dim: 8, queries: 1, seed: 1 }.base(1).is_err());
        assert!(Mixture { rows: 1, dim: 0, queries: 1, seed: 1 }.base(1).is_err());
    }
}

//! Product quantisation: the vector is cut into eight parts, and a byte names the centroid nearest to each.
//!
//! Part `j` of `m` holds the dimensions from `j * dim / m` on; `m` is 8, or `dim` if that is less. A code is
//! `m` bytes and zeros up to a multiple of four.
//!
//! What is learned: for each part, for each of its dimensions, that value of each of the 256 centroids, as f32.
//! The centroids are those of k-means over the sample. Of at most 256 vectors each is a centroid itself, and
//! the others are zero.
//!
//! A query becomes a table of what each centroid adds to the distance, so a row takes `m` look-ups. For code
//! against code the same tables of all centroids are made when they are first asked for.
//!
//! Source: Jegou, Douze and Schmid 2011, asymmetric and symmetric distances.

use super::rotation::splitmix;
use super::{Sample, put_floats, take_floats};
use crate::vectors::Metric;
use crate::vectors::lanes::for_each_cpu;
use sochdb_encoding::codec::Reader;
use sochdb_kernel::KernelResult;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

const PARTS_MAX: usize = 8;
/// Centroids of a part: as many as a byte has values.
const CENTROIDS: usize = 256;
const ITERATIONS_MAX: usize = 12;
/// Values of the whole sample, 64 MiB of them.
const SAMPLE_VALUES_MAX: usize = 16 * 1024 * 1024;

/// A number for each centroid of a part.
type PerCentroid = [f32; CENTROIDS];

/// The scheme, with what was learned.
pub struct Pq {
    metric: Metric,
    dim: usize,
    parts: Vec<Part>,
    /// For each part and each of its centroids, what each centroid adds to the distance from it.
    between: OnceLock<Vec<PerCentroid>>,
}

/// The centroids of one part of all vectors.
struct Part {
    dimensions: Range<usize>,
    /// For each dimension that value of each centroid.
    columns: Vec<PerCentroid>,
}

/// A vector, ready to be compared with codes.
pub struct Query {
    row_bytes: usize,
    /// What is added to the sum over the parts.
    base: f32,
    tables: Tables,
}

/// What each centroid of each part adds to the distance.
enum Tables {
    Of(Vec<PerCentroid>),
    Between(Arc<Pq>, Vec<u8>),
}

/// Bytes of what is learned of `dim` dimensions.
pub fn learned_bytes(dim: usize) -> usize {
    4 * CENTROIDS * dim
}

impl Pq {
    pub fn train(mut sample: Sample<'_>, seed: u64) -> KernelResult<Pq> {
        let (metric, dim) = (sample.metric, sample.dim);
        let mut vectors = Vec::new();
        sample.each(SAMPLE_VALUES_MAX / dim.max(1), |vector| vectors.extend_from_slice(vector))?;
        let mut state = seed;
        let part = |dimensions: Range<usize>| {
            let rows = vectors.chunks_exact(dim);
            let values: Vec<f32> = rows.flat_map(|row| &row[dimensions.clone()]).copied().collect();
            Part::train(dimensions, &values, &mut state)
        };
        let parts = part_dimensions(dim).map(part).collect();
        Ok(Pq { metric, dim, parts, between: OnceLock::new() })
    }

    pub fn put(&self, out: &mut Vec<u8>) {
        let columns = self.parts.iter().flat_map(|part| &part.columns);
        columns.for_each(|column| put_floats(out, column));
    }

    pub fn take(metric: Metric, dim: usize, reader: &mut Reader<'_>) -> KernelResult<Pq> {
        let floats = take_floats(reader, CENTROIDS * dim)?;
        let columns = floats.as_chunks::<CENTROIDS>().0;
        let part = |dimensions: Range<usize>| Part {
            columns: columns[dimensions.clone()].to_vec(),
            dimensions,
        };
        let parts = part_dimensions(dim).map(part).collect();
        Ok(Pq { metric, dim, parts, between: OnceLock::new() })
    }

    pub fn row_bytes(&self) -> usize {
        self.parts.len().next_multiple_of(4)
    }

    pub fn encode(&self, vector: &[f32], out: &mut Vec<u8>) {
        let end = out.len() + self.row_bytes();
        let codes = self.parts.iter().map(|part| part.nearest(&vector[part.dimensions.clone()]).0);
        out.extend(codes.map(|code| code as u8));
        out.resize(end, 0);
    }

    pub fn query(&self, vector: &[f32]) -> Query {
        let table = |part: &Part| part.table(self.metric, &vector[part.dimensions.clone()]);
        self.prepared(Tables::Of(self.parts.iter().map(table).collect()))
    }

    pub fn row_query(self: &Arc<Self>, row: &[u8]) -> Query {
        if row.len() != self.row_bytes() {
            return self.query(&vec![0.0; self.dim]);
        }
        self.prepared(Tables::Between(self.clone(), row[..self.parts.len()].to_vec()))
    }

    fn prepared(&self, tables: Tables) -> Query {
        let base = if self.metric == Metric::Cosine { 1.0 } else { 0.0 };
        Query { row_bytes: self.row_bytes(), base, tables }
    }

    fn between(&self) -> &[PerCentroid] {
        self.between.get_or_init(|| {
            let of_part = |part| (0..CENTROIDS).map(move |centroid| (part, centroid));
            let table = |(part, centroid): (&Part, usize)| {
                let value = |column: &PerCentroid| column[centroid];
                let values: Vec<f32> = part.columns.iter().map(value).collect();
                part.table(self.metric, &values)
            };
            self.parts.iter().flat_map(of_part).map(table).collect()
        })
    }
}

impl Part {
    /// K-means of `values`, the vectors' values of these dimensions, one vector behind the other.
    fn train(dimensions: Range<usize>, values: &[f32], state: &mut u64) -> Part {
        let width = dimensions.len();
        let count = values.len() / width;
        let mut vectors: Vec<usize> = (0..count).collect();
        let vector = |number: usize| &values[number * width..][..width];
        // The first ones become centroids, shuffled if they are not all.
        for first in 0..if CENTROIDS < count { CENTROIDS } else { 0 } {
            vectors.swap(first, first + (splitmix(state) % (count - first) as u64) as usize);
        }
        let mut columns = vec![[0.0; CENTROIDS]; width];
        for (centroid, &number) in vectors.iter().take(CENTROIDS).enumerate() {
            set(&mut columns, centroid, vector(number));
        }
        let mut part = Part { dimensions, columns };
        let mut chosen = vec![CENTROIDS; count];
        for _ in 0..if CENTROIDS < count { ITERATIONS_MAX } else { 0 } {
            let nearest: Vec<_> = (0..count).map(|number| part.nearest(vector(number))).collect();
            if nearest.iter().map(|(centroid, _)| centroid).eq(&chosen) {
                break;
            }
            chosen = nearest.iter().map(|(centroid, _)| *centroid).collect();
            let mut errors: Vec<f32> = nearest.into_iter().map(|(_, error)| error).collect();
            part.move_centroids(&chosen, &mut errors, &vector);
        }
        part
    }

    /// Makes each centroid the mean of the vectors that chose it. One that was not chosen moves to the vector
    /// whose error is the greatest.
    fn move_centroids<'a>(
        &mut self,
        chosen: &[usize],
        errors: &mut [f32],
        vector: &impl Fn(usize) -> &'a [f32],
    ) {
        let mut counts = [0u32; CENTROIDS];
        let mut sums = vec![[0f64; CENTROIDS]; self.columns.len()];
        for (number, &centroid) in chosen.iter().enumerate() {
            counts[centroid] += 1;
            let values = vector(number).iter();
            sums.iter_mut().zip(values).for_each(|(sum, x)| sum[centroid] += f64::from(*x));
        }
        for (centroid, count) in counts.into_iter().enumerate() {
            if count == 0 {
                let greatest = (0..errors.len()).max_by(|a, b| errors[*a].total_cmp(&errors[*b]));
                let Some(number) = greatest else { continue };
                set(&mut self.columns, centroid, vector(number));
                errors[number] = 0.0;
                continue;
            }
            for (column, sum) in self.columns.iter_mut().zip(&sums) {
                column[centroid] = (sum[centroid] / f64::from(count)) as f32;
            }
        }
    }

    /// The centroid nearest to `values`, and the square of its distance.
    fn nearest(&self, values: &[f32]) -> (usize, f32) {
        let distances = distances(values, &self.columns);
        let least = least(&distances);
        (distances.iter().position(|x| *x == least).unwrap_or(0), least)
    }

    /// What each centroid adds to the distance from a vector whose values here are `values`.
    fn table(&self, metric: Metric, values: &[f32]) -> PerCentroid {
        match metric {
            Metric::SquaredEuclidean => distances(values, &self.columns),
            Metric::Cosine | Metric::InnerProduct => products(values, &self.columns).map(|x| -x),
        }
    }
}

impl Query {
    /// About how far it is from the vector that `row` is the code of.
    #[inline]
    pub fn distance(&self, row: &[u8]) -> f32 {
        if row.len() != self.row_bytes {
            return f32::MAX;
        }
        let sum: f32 = match &self.tables {
            Tables::Of(tables) => {
                tables.iter().zip(row).map(|(table, code)| table[usize::from(*code)]).sum()
            }
            Tables::Between(pq, codes) => {
                let of_parts = pq.between().as_chunks::<CENTROIDS>().0.iter().zip(codes).zip(row);
                let term = |((tables, a), b): ((&[PerCentroid; CENTROIDS], &u8), &u8)| {
                    tables[usize::from(*a)][usize::from(*b)]
                };
                of_parts.map(term).sum()
            }
        };
        self.base + sum
    }
}

/// The dimensions of each part.
fn part_dimensions(dim: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = dim.min(PARTS_MAX);
    (0..parts).map(move |part| part * dim / parts..(part + 1) * dim / parts)
}

/// Makes `values` the centroid `centroid`.
fn set(columns: &mut [PerCentroid], centroid: usize, values: &[f32]) {
    columns.iter_mut().zip(values).for_each(|(column, x)| column[centroid] = *x);
}

for_each_cpu! {
    /// The least of `distances`.
    fn least(distances: &PerCentroid) -> f32 {
        const BLOCK: usize = 32;
        let mut least = [f32::INFINITY; BLOCK];
        for distances in distances.as_chunks::<BLOCK>().0 {
            for (least, x) in least.iter_mut().zip(distances) {
                *least = if *x < *least { *x } else { *least };
            }
        }
        least.into_iter().fold(f32::INFINITY, f32::min)
    }

    /// The square of each centroid's distance from `values`.
    fn distances(values: &[f32], columns: &[PerCentroid]) -> PerCentroid {
        sums(values, columns, |x, y| (x - y) * (x - y))
    }

    /// The inner product of each centroid and `values`.
    fn products(values: &[f32], columns: &[PerCentroid]) -> PerCentroid {
        sums(values, columns, |x, y| x * y)
    }
}

/// For each centroid the sum of what `term` makes of each dimension.
#[inline(always)]
fn sums(values: &[f32], columns: &[PerCentroid], term: impl Fn(f32, f32) -> f32) -> PerCentroid {
    /// Sums that are kept in registers.
    const BLOCK: usize = 64;
    let mut all = [0.0; CENTROIDS];
    for (block, all) in all.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let mut sums = [0f32; BLOCK];
        for (x, column) in values.iter().zip(columns) {
            for (sum, y) in sums.iter_mut().zip(&column.as_chunks::<BLOCK>().0[block]) {
                *sum += term(*x, *y);
            }
        }
        *all = sums;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained(metric: Metric, dim: usize, vectors: &[Vec<f32>]) -> Arc<Pq> {
        let vector = &mut |number: usize, out: &mut [f32]| {
            out.copy_from_slice(&vectors[number]);
            Ok(())
        };
        let sample = Sample { metric, dim, count: vectors.len(), vector };
        Arc::new(Pq::train(sample, 5).unwrap())
    }

    fn random(count: usize, dim: usize) -> Vec<Vec<f32>> {
        let mut random = fastrand::Rng::with_seed(11);
        (0..count).map(|_| (0..dim).map(|_| random.f32() - 0.3).collect()).collect()
    }

    fn code(pq: &Pq, vector: &[f32]) -> Vec<u8> {
        let mut row = Vec::new();
        pq.encode(vector, &mut row);
        row
    }

    #[test]
    fn a_vector_of_few_is_its_own_code_and_has_its_exact_distance() {
        let vectors = random(256, 19);
        for metric in [Metric::InnerProduct, Metric::SquaredEuclidean] {
            let pq = trained(metric, 19, &vectors);
            for number in [0, 100, 255] {
                let row = code(&pq, &vectors[number]);
                let exact = metric.distance(&vectors[3], &vectors[number]);
                let by_vector = pq.query(&vectors[3]).distance(&row);
                let by_code = pq.row_query(&code(&pq, &vectors[3])).distance(&row);
                assert!((by_vector - exact).abs() < 1e-5, "{by_vector} {exact}");
                assert!((by_code - exact).abs() < 1e-5, "{by_code} {exact}");
            }
        }
    }

    #[test]
    fn the_most_dimensions_are_coded_and_compared() {
        let vectors = random(3, 4096);
        let pq = trained(Metric::SquaredEuclidean, 4096, &vectors);
        let row = code(&pq, &vectors[2]);
        assert_eq!(pq.query(&vectors[2]).distance(&row), 0.0);
        let exact = Metric::SquaredEuclidean.distance(&vectors[0], &vectors[2]);
        assert!((pq.query(&vectors[0]).distance(&row) / exact - 1.0).abs() < 1e-5);
    }

    #[test]
    fn k_means_finds_groups_that_are_far_apart() {
        // So few groups that each begins with a centroid.
        let mut random = fastrand::Rng::with_seed(2);
        let vectors: Vec<Vec<f32>> =
            (0..1000).map(|number| vec![100.0 * (number % 40) as f32 + random.f32(); 8]).collect();
        let pq = trained(Metric::SquaredEuclidean, 8, &vectors);
        for vector in &vectors {
            let row = code(&pq, vector);
            assert!(pq.query(vector).distance(&row) < 8.0);
        }
    }

    #[test]
    fn parts_hold_each_dimension_once() {
        for dim in [1, 3, 7, 8, 9, 384, 4095, 4096] {
            let parts: Vec<_> = part_dimensions(dim).collect();
            assert_eq!(parts.len(), dim.min(8));
            assert!(parts.iter().all(|part| !part.is_empty()));
            assert!(parts.iter().flat_map(|part| part.clone()).eq(0..dim));
        }
    }
}

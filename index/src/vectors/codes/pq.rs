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
    squares: PerCentroid,
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
        let part = |dimensions: Range<usize>| {
            let columns = columns[dimensions.clone()].to_vec();
            Part::new(dimensions, columns)
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
    fn new(dimensions: Range<usize>, columns: Vec<PerCentroid>) -> Part {
        let mut squares = [0.0; CENTROIDS];
        for column in &columns {
            squares.iter_mut().zip(column).for_each(|(sum, x)| *sum += x * x);
        }
        Part { dimensions, columns, squares }
    }

    /// K-means of `values`, the vectors' values of these dimensions, one vector behind the other.
    fn train(dimensions: Range<usize>, values: &[f32], state: &mut u64) -> Part {
        let count = values.len() / dimensions.len();
        let mut vectors: Vec<usize> = (0..count).collect();
        let vector = |number: usize| &values[number * dimensions.len()..][..dimensions.len()];
        // The first ones become centroids, shuffled if they are not all.
        for first in 0..if CENTROIDS < count { CENTROIDS } else { 0 } {
            vectors.swap(first, first + (splitmix(state) % (count - first) as u64) as usize);
        }
        let mut columns = vec![[0.0; CENTROIDS]; dimensions.len()];
        for (centroid, &number) in vectors.iter().take(CENTROIDS).enumerate() {
            set(&mut columns, centroid, vector(number));
        }
        let mut part = Part::new(dimensions.clone(), columns);
        let mut chosen = vec![CENTROIDS; count];
        for _ in 0..if CENTROIDS < count { ITERATIONS_MAX } else { 0 } {
            let nearest: Vec<_> = (0..count).map(|number| part.nearest(vector(number))).collect();
            if nearest.iter().map(|(centroid, _)| centroid).eq(&chosen) {
                break;
            }
            chosen = nearest.iter().map(|(centroid, _)| *centroid).collect();
            let mut errors = nearest.into_iter().map(|(_, error)| error).collect();
            part =
                Part::new(dimensions.clone(), means(&chosen, &mut errors, &vector, part.columns));
        }
        part
    }

    /// The centroid nearest to `values`, and how far it is, less the square of `values`' length.
    fn nearest(&self, values: &[f32]) -> (usize, f32) {
        let distances = distances(values, &self.columns, &self.squares);
        let least = distances.iter().fold(f32::INFINITY, |least, x| least.min(*x));
        (distances.iter().position(|x| *x == least).unwrap_or(0), least)
    }

    /// What each centroid adds to the distance from a vector whose values here are `values`.
    fn table(&self, metric: Metric, values: &[f32]) -> PerCentroid {
        if metric != Metric::SquaredEuclidean {
            return distances(values, &self.columns, &[0.0; CENTROIDS]).map(|x| x / 2.0);
        }
        let squares: f32 = values.iter().map(|x| x * x).sum();
        let far = |distance: f32| if distance + squares < 0.0 { 0.0 } else { distance + squares };
        distances(values, &self.columns, &self.squares).map(far)
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

/// The means of the vectors that chose the same centroid. One that was not chosen moves to the vector whose
/// error is the greatest.
fn means<'a>(
    chosen: &[usize],
    errors: &mut Vec<f32>,
    vector: &impl Fn(usize) -> &'a [f32],
    mut columns: Vec<PerCentroid>,
) -> Vec<PerCentroid> {
    let mut counts = [0u32; CENTROIDS];
    let mut sums = vec![[0f64; CENTROIDS]; columns.len()];
    for (number, &centroid) in chosen.iter().enumerate() {
        counts[centroid] += 1;
        let values = vector(number).iter();
        sums.iter_mut().zip(values).for_each(|(sum, x)| sum[centroid] += f64::from(*x));
        // From here on the whole distance.
        errors[number] += vector(number).iter().map(|x| x * x).sum::<f32>();
    }
    for (centroid, count) in counts.into_iter().enumerate() {
        if count == 0 {
            let greatest = (0..errors.len()).max_by(|a, b| errors[*a].total_cmp(&errors[*b]));
            let Some(number) = greatest else { continue };
            set(&mut columns, centroid, vector(number));
            errors[number] = 0.0;
            continue;
        }
        for (column, sum) in columns.iter_mut().zip(&sums) {
            column[centroid] = (sum[centroid] / f64::from(count)) as f32;
        }
    }
    columns
}

for_each_cpu! {
    /// For each centroid its square less twice its inner product with `values`.
    fn distances(values: &[f32], columns: &[PerCentroid], squares: &PerCentroid) -> PerCentroid {
        const BLOCK: usize = 64;
        let mut distances = *squares;
        for (block, distances) in distances.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let mut products = [0f32; BLOCK];
            for (x, column) in values.iter().zip(columns) {
                let column = &column.as_chunks::<BLOCK>().0[block];
                for (product, y) in products.iter_mut().zip(column) {
                    *product += x * y;
                }
            }
            for (distance, product) in distances.iter_mut().zip(products) {
                *distance -= 2.0 * product;
            }
        }
        distances
    }
}

//! What plugins have built for an index, segment by segment, without a search: for whoever compares two versions of
//! a plugin.

use crate::definition::{DIM_MAX, IndexDefinition};
use crate::entries::{Entries, EntrySource};
use crate::segment::OpenSegment;
use crate::vectors::{CodeKind, Codebook};
use sochdb_kernel::plugin::SegmentRead;
use sochdb_kernel::{KernelError, KernelResult, Slice, TableInfo};
use std::sync::Arc;

/// What codebooks of samples begin their choices with.
const SEED: u64 = 0x7a3b;

/// One segment of an index.
pub struct Built {
    /// The index, with what this segment holds.
    pub index: IndexDefinition,
    /// Who built its graph.
    pub plugin: Option<String>,
    /// Its entries.
    pub entries: Arc<Entries>,
    /// What the plugin wrote; without one nothing.
    pub graph: Arc<dyn SegmentRead>,
}

/// The segments of the index whose table is `info`, from the oldest to the newest.
///
/// # Errors
/// `Corrupt` when one of them is no segment of an index.
pub fn built(info: &TableInfo, segments: &[Arc<dyn SegmentRead>]) -> KernelResult<Vec<Built>> {
    let each = segments.iter().map(|segment| {
        let open = OpenSegment::new(segment)?;
        Ok(Built {
            index: IndexDefinition::kept(&info.name, &info.options.settings, open.kind()),
            plugin: open.plugin()?,
            entries: open.entries()?,
            graph: open.graph(),
        })
    });
    each.collect()
}

impl Entries {
    /// At most `most` of these entries, in memory, evenly chosen and numbered anew.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn sample(&self, most: u32) -> KernelResult<Arc<Entries>> {
        let count = self.count().min(most);
        let chosen = |number: u32| {
            (u64::from(number) * u64::from(self.count()) / u64::from(count.max(1))) as u32
        };
        let numbers = (0..count).map(chosen);
        match self.metric() {
            None => {
                let value = |number| Ok(self.values(number, 1, u32::MAX)?.0.into());
                let values = numbers.map(value).collect::<KernelResult<Vec<Slice>>>()?;
                Ok(Entries::in_order(values))
            }
            Some(metric) => {
                let vectors = self.vectors(&numbers.collect::<Vec<_>>())?;
                Entries::of_values(metric, self.dim(), vectors)
            }
        }
    }

    /// Entries in memory with these values, in the form that compares like them.
    pub fn in_order(values: Vec<Slice>) -> Arc<Entries> {
        let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let source = InMemory { dim: 0, vectors: Vec::new(), codes: Vec::new(), row: 0, values };
        Arc::new(Entries::ordered(count, Box::new(source)))
    }

    /// Entries in memory with these vectors, of `dim` values each, one behind the other.
    ///
    /// # Errors
    /// `Invalid` when a value is missing or the dimensions make no sense.
    pub fn of_values(
        metric: crate::Metric,
        dim: u32,
        vectors: Vec<f32>,
    ) -> KernelResult<Arc<Entries>> {
        let width = dim as usize;
        if dim == 0 || DIM_MAX < dim || !vectors.len().is_multiple_of(width) {
            let text = format!("{} values make no vectors of {dim} dimensions", vectors.len());
            return Err(KernelError::Invalid(text));
        }
        let rows = vectors.len() / width;
        let of = |number: usize| &vectors[number * width..][..width];
        let mut read = |number: usize, out: &mut [f32]| {
            out.copy_from_slice(of(number));
            Ok(())
        };
        let book = Codebook::train(CodeKind::Sq8, metric, width, rows, &mut read, SEED)?;
        let mut codes = Vec::with_capacity(rows * book.row_bytes());
        (0..rows).for_each(|number| book.encode(of(number), &mut codes));
        let (row, count) = (book.row_bytes(), u32::try_from(rows).unwrap_or(u32::MAX));
        let source = InMemory { dim: width, vectors, codes, row, values: Vec::new() };
        Ok(Arc::new(Entries::of_vectors(count, metric, dim, book, Box::new(source))))
    }
}

/// Entries that are in memory.
struct InMemory {
    dim: usize,
    vectors: Vec<f32>,
    codes: Vec<u8>,
    row: usize,
    values: Vec<Slice>,
}

fn none(number: u32) -> KernelError {
    KernelError::Invalid(format!("there is no entry {number} in memory"))
}

impl EntrySource for InMemory {
    fn code(&self, number: u32) -> KernelResult<&[u8]> {
        let found =
            self.codes.get(number as usize * self.row..).and_then(|codes| codes.get(..self.row));
        found.ok_or_else(|| none(number))
    }

    fn vector(&self, number: u32, out: &mut Vec<f32>) -> KernelResult<()> {
        let found = self.vectors.get(number as usize * self.dim..);
        let found = found.and_then(|vectors| vectors.get(..self.dim));
        out.extend_from_slice(found.ok_or_else(|| none(number))?);
        Ok(())
    }

    fn value(&self, number: u32) -> KernelResult<Slice> {
        self.values.get(number as usize).cloned().ok_or_else(|| none(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metric;

    #[test]
    fn a_sample_has_the_vectors_of_entries_from_the_first_on() {
        let vectors: Vec<f32> = (0..40).map(|number| number as f32).collect();
        let all = Entries::of_values(Metric::SquaredEuclidean, 4, vectors.clone()).unwrap();
        let sample = all.sample(5).unwrap();
        assert_eq!((sample.count(), sample.dim()), (5, 4));
        let numbers: Vec<u32> = (0..5).collect();
        let chosen = [0, 2, 4, 6, 8];
        let expected: Vec<f32> =
            chosen.iter().flat_map(|at| vectors[at * 4..][..4].to_vec()).collect();
        assert_eq!(sample.vectors(&numbers).unwrap(), expected);
        assert_eq!(all.sample(100).unwrap().count(), 10);
        let mut distances = Vec::new();
        sample.query(&[0.0; 4]).unwrap().distances(&numbers, &mut distances).unwrap();
        assert!(distances.is_sorted());
    }

    #[test]
    fn a_sample_of_an_ordered_index_has_its_values() {
        let values = (0..10_u8).map(|value| vec![value; 3].into()).collect();
        let all = Entries::in_order(values);
        let (bytes, ends) = all.sample(3).unwrap().values(0, 10, u32::MAX).unwrap();
        assert_eq!((bytes, ends), (vec![0, 0, 0, 3, 3, 3, 6, 6, 6], vec![3, 6, 9]));
        assert_eq!(Entries::in_order(Vec::new()).sample(3).unwrap().count(), 0);
    }

    #[test]
    fn values_that_make_no_vectors_are_refused() {
        assert!(Entries::of_values(Metric::Cosine, 0, Vec::new()).is_err());
        assert!(Entries::of_values(Metric::Cosine, 3, vec![1.0; 4]).is_err());
    }
}

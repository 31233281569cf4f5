//! Entries: the rows of one segment of an index that have a value, by number, and the arithmetic on them.

use crate::vectors::{CodeQuery, Codebook, Metric};
use sochdb_kernel::{KernelError, KernelResult, Slice};
use std::sync::Arc;

/// Where the bytes of entries are: in a sealed segment, or in memory while one is being written.
pub trait EntrySource: Send + Sync {
    /// The code of entry `number`, which is one.
    ///
    /// # Errors
    /// `Corrupt`.
    fn code(&self, number: u32) -> KernelResult<&[u8]>;

    /// The codes of `numbers`, which are entries, added to `out`.
    ///
    /// # Errors
    /// `Corrupt`.
    fn codes<'a>(&'a self, numbers: &[u32], out: &mut Vec<&'a [u8]>) -> KernelResult<()> {
        numbers.iter().try_for_each(|&number| {
            out.push(self.code(number)?);
            Ok(())
        })
    }

    /// The vector of entry `number`, added to `out`.
    ///
    /// # Errors
    /// `Corrupt`.
    fn vector(&self, number: u32, out: &mut Vec<f32>) -> KernelResult<()>;

    /// The value of entry `number` in an ordered index, in the form that compares like it.
    ///
    /// # Errors
    /// `Corrupt`.
    fn value(&self, number: u32) -> KernelResult<Slice>;
}

/// The entries of one segment of an index, numbered from 0 on in order of their keys.
pub struct Entries {
    count: u32,
    vectors: Option<Shape>,
    source: Box<dyn EntrySource>,
}

/// What vectors look like.
struct Shape {
    metric: Metric,
    dim: u32,
    codebook: Codebook,
}

/// A vector that is looked for, ready to be compared with the entries of one segment.
pub struct Query {
    entries: Arc<Entries>,
    prepared: CodeQuery,
}

impl Entries {
    /// `count` entries with vectors.
    pub fn of_vectors(
        count: u32,
        metric: Metric,
        dim: u32,
        codebook: Codebook,
        source: Box<dyn EntrySource>,
    ) -> Entries {
        Entries { count, vectors: Some(Shape { metric, dim, codebook }), source }
    }

    /// `count` entries with values that have an order.
    pub fn ordered(count: u32, source: Box<dyn EntrySource>) -> Entries {
        Entries { count, vectors: None, source }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How near two of them are, if they are vectors.
    pub fn metric(&self) -> Option<Metric> {
        self.vectors.as_ref().map(|shape| shape.metric)
    }

    /// Dimensions of vectors, or 0.
    pub fn dim(&self) -> u32 {
        self.vectors.as_ref().map_or(0, |shape| shape.dim)
    }

    /// The values of an ordered index from entry `first` on, one behind the other, and where each ends: at most
    /// `values_max`, and no more once `bytes_max` is reached.
    ///
    /// # Errors
    /// `Invalid` for vectors, `Corrupt`.
    pub fn values(
        &self,
        first: u32,
        values_max: u32,
        bytes_max: u32,
    ) -> KernelResult<(Vec<u8>, Vec<u32>)> {
        if self.vectors.is_some() {
            return Err(KernelError::invalid("vectors have no order"));
        }
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for number in first..self.count.min(first.saturating_add(values_max)) {
            if bytes_max as usize <= bytes.len() && !ends.is_empty() {
                break;
            }
            bytes.extend_from_slice(&self.source.value(number)?);
            ends.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        }
        Ok((bytes, ends))
    }

    /// The vectors of `numbers`, one behind the other, as exactly as the index keeps them.
    ///
    /// # Errors
    /// `Invalid` without vectors or such entries, `Corrupt`.
    pub fn vectors(&self, numbers: &[u32]) -> KernelResult<Vec<f32>> {
        let shape = self.shape()?;
        let mut out = Vec::with_capacity(numbers.len() * shape.dim as usize);
        for &number in numbers {
            self.check(number)?;
            self.source.vector(number, &mut out)?;
        }
        Ok(out)
    }

    /// About how far entry `number` is from each of `others`, added to `out`.
    ///
    /// # Errors
    /// As [`vectors`](Self::vectors).
    pub fn between(&self, number: u32, others: &[u32], out: &mut Vec<f32>) -> KernelResult<()> {
        let shape = self.shape()?;
        self.check(number)?;
        let prepared = shape.codebook.row_query(self.source.code(number)?);
        self.compare(&prepared, others, out)
    }

    /// `vector`, ready to be compared with these entries.
    ///
    /// # Errors
    /// `Invalid` without vectors, or when it has other dimensions.
    pub fn query(self: &Arc<Self>, vector: &[f32]) -> KernelResult<Arc<Query>> {
        let shape = self.shape()?;
        if vector.len() != shape.dim as usize {
            return Err(KernelError::Invalid(format!(
                "the query has {} dimensions, the index has {}",
                vector.len(),
                shape.dim
            )));
        }
        let prepared = shape.codebook.query(vector);
        Ok(Arc::new(Query { entries: self.clone(), prepared }))
    }

    /// Entry `number`, ready to be compared with many others.
    ///
    /// # Errors
    /// As [`vectors`](Self::vectors).
    pub fn query_at(self: &Arc<Self>, number: u32) -> KernelResult<Arc<Query>> {
        let shape = self.shape()?;
        self.check(number)?;
        let prepared = shape.codebook.row_query(self.source.code(number)?);
        Ok(Arc::new(Query { entries: self.clone(), prepared }))
    }

    fn compare(
        &self,
        prepared: &CodeQuery,
        numbers: &[u32],
        out: &mut Vec<f32>,
    ) -> KernelResult<()> {
        if let Some(&wrong) = numbers.iter().find(|number| self.count <= **number) {
            return self.check(wrong);
        }
        let mut rows = Vec::with_capacity(numbers.len());
        self.source.codes(numbers, &mut rows)?;
        prepared.distances(&rows, out);
        Ok(())
    }

    fn shape(&self) -> KernelResult<&Shape> {
        let none = || KernelError::invalid("the entries of an ordered index are no vectors");
        self.vectors.as_ref().ok_or_else(none)
    }

    fn check(&self, number: u32) -> KernelResult<()> {
        if number < self.count {
            return Ok(());
        }
        let count = self.count;
        Err(KernelError::Invalid(format!("there is no entry {number} among {count}")))
    }
}

impl Query {
    /// Its dimensions.
    pub fn dim(&self) -> u32 {
        self.entries.dim()
    }

    /// About how far it is from each of the entries `numbers`, added to `out`.
    ///
    /// # Errors
    /// `Invalid` for an entry that there is not, `Corrupt`.
    pub fn distances(&self, numbers: &[u32], out: &mut Vec<f32>) -> KernelResult<()> {
        self.entries.compare(&self.prepared, numbers, out)
    }
}

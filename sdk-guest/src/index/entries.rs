//! What an index works on: entries by their numbers, and the host's arithmetic on them; or the same in memory.

use super::VectorMetric;
use crate::bindings::index::sochdb::plugin::entries as host;
use crate::error::{Error, Result};
use std::rc::Rc;

/// How many entries the host compares in one call.
pub const COMPARED_MAX: usize = 4096;
/// 1 MiB. How many bytes of vectors it gives in one.
pub const VECTORS_BYTES_MAX: usize = 1 << 20;

/// The entries of one segment of an index: rows that have a value, numbered from 0 on in order of their keys.
pub struct Entries<'a> {
    info: host::EntriesInfo,
    source: Source<'a>,
}

enum Source<'a> {
    Lent(&'a host::Entries),
    Kept(host::Entries),
    Memory(Rc<Memory>),
}

/// What entries in memory are.
enum Memory {
    Vectors { metric: VectorMetric, dim: usize, all: Vec<f32> },
    Values(Vec<Vec<u8>>),
}

/// Values of some entries of an ordered index, in order of their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One after the other. Each compares byte by byte like the column's values.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let value = &self.bytes[start as usize..end as usize];
            start = end;
            value
        })
    }
}

impl Entries<'static> {
    /// Entries with the vectors `all`, one behind the other, each of `dim` numbers.
    ///
    /// # Panics
    /// When `all` does not end with a vector's end.
    pub fn of_vectors(metric: VectorMetric, dim: u32, all: Vec<f32>) -> Entries<'static> {
        assert_eq!(all.len() % (dim as usize).max(1), 0, "vectors of {dim} dimensions");
        let count = (all.len() / (dim as usize).max(1)) as u32;
        let code = match metric {
            VectorMetric::Cosine => 1,
            VectorMetric::InnerProduct => 2,
            VectorMetric::SquaredEuclidean => 3,
            VectorMetric::Other(code) => code,
        };
        let memory = Memory::Vectors { metric, dim: dim as usize, all };
        let info = host::EntriesInfo { count, metric: code, dim };
        Entries { info, source: Source::Memory(Rc::new(memory)) }
    }

    /// Entries of an ordered index with these values, each as it is compared.
    pub fn of_values(values: Vec<Vec<u8>>) -> Entries<'static> {
        let info = host::EntriesInfo { count: values.len() as u32, metric: 0, dim: 0 };
        Entries { info, source: Source::Memory(Rc::new(Memory::Values(values))) }
    }

    pub(super) fn kept(entries: host::Entries) -> Entries<'static> {
        Entries { info: entries.info(), source: Source::Kept(entries) }
    }
}

impl<'a> Entries<'a> {
    pub(super) fn lent(entries: &'a host::Entries) -> Entries<'a> {
        Entries { info: entries.info(), source: Source::Lent(entries) }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.info.count
    }

    /// How near two of them are, if they are vectors.
    pub fn metric(&self) -> Option<VectorMetric> {
        VectorMetric::of(self.info.metric)
    }

    /// Dimensions of their vectors, or 0.
    pub fn dim(&self) -> u32 {
        self.info.dim
    }

    /// The values of an ordered index from entry `first` on: at most `values_max`, and no more once `bytes_max`
    /// are reached, but at least one while there are any. Fewer are no end; none are.
    ///
    /// # Errors
    /// `Invalid` for vectors, `Corrupt`.
    pub fn values(&self, first: u32, values_max: u32, bytes_max: u32) -> Result<Values> {
        let host = match self.source() {
            Ok(host) => host,
            Err(memory) => return memory.values(first, values_max, bytes_max),
        };
        let host::Values { bytes, ends } = host.values(first, values_max, bytes_max)?;
        let fits = ends.is_sorted() && ends.last().map_or(0, |end| *end as usize) == bytes.len();
        if !fits {
            return Err(Error::corrupt("the ends of values do not fit their bytes"));
        }
        Ok(Values { bytes, ends })
    }

    /// The vectors of `numbers`, one behind the other, as exactly as the index keeps them.
    ///
    /// # Errors
    /// `Invalid` when these are no vectors, or there is no such entry, `Corrupt`.
    pub fn vectors(&self, numbers: &[u32]) -> Result<Vec<f32>> {
        let host = match self.source() {
            Ok(host) => host,
            Err(memory) => return memory.vectors(numbers),
        };
        let at_once = VECTORS_BYTES_MAX / (4 * self.info.dim.max(1) as usize);
        in_chunks(numbers, at_once.clamp(1, COMPARED_MAX), |numbers| host.vectors(numbers))
    }

    /// How far entry `number` is from each of `others`, about: what the host compares may be codes.
    ///
    /// # Errors
    /// As [`vectors`](Self::vectors).
    pub fn between(&self, number: u32, others: &[u32]) -> Result<Vec<f32>> {
        match self.source() {
            Ok(host) => in_chunks(others, COMPARED_MAX, |numbers| host.between(number, numbers)),
            Err(memory) => memory.distances(memory.vector(number)?, others),
        }
    }

    /// The host's entries, or those in memory.
    fn source(&self) -> std::result::Result<&host::Entries, &Rc<Memory>> {
        match &self.source {
            Source::Lent(host) => Ok(host),
            Source::Kept(host) => Ok(host),
            Source::Memory(memory) => Err(memory),
        }
    }
}

/// A vector that is looked for, ready to be compared with the entries of one segment.
pub struct Query<'a>(QuerySource<'a>);

enum QuerySource<'a> {
    Host(&'a host::Query),
    Memory(Rc<Memory>, Vec<f32>),
}

impl<'a> Query<'a> {
    pub(super) fn lent(query: &'a host::Query) -> Query<'a> {
        Query(QuerySource::Host(query))
    }

    /// A query for `vector` among entries in memory.
    ///
    /// # Errors
    /// `Invalid` when these are no vectors, or of other dimensions, or not in memory.
    pub fn of(entries: &Entries<'_>, vector: &[f32]) -> Result<Query<'static>> {
        match &entries.source {
            Source::Memory(memory) if vector.len() == entries.info.dim as usize => {
                memory.shape()?;
                Ok(Query(QuerySource::Memory(memory.clone(), vector.to_vec())))
            }
            Source::Memory(_) => Err(Error::invalid("the query has other dimensions")),
            _ => Err(Error::invalid("the host makes the queries of its entries")),
        }
    }

    /// How far it is from each of the entries `numbers`, about: what the host compares may be codes.
    ///
    /// # Errors
    /// `Invalid` for an entry that there is not, `Corrupt`.
    pub fn distances(&self, numbers: &[u32]) -> Result<Vec<f32>> {
        match &self.0 {
            QuerySource::Host(host) => {
                in_chunks(numbers, COMPARED_MAX, |numbers| host.distances(numbers))
            }
            QuerySource::Memory(memory, vector) => memory.distances(vector, numbers),
        }
    }
}

/// What `ask` answers to all `numbers`, of which it takes `at_once`.
fn in_chunks(
    numbers: &[u32],
    at_once: usize,
    ask: impl Fn(&[u32]) -> std::result::Result<Vec<f32>, crate::bindings::types::Error>,
) -> Result<Vec<f32>> {
    if numbers.len() <= at_once {
        return Ok(ask(numbers)?);
    }
    let mut all = Vec::new();
    for chunk in numbers.chunks(at_once) {
        all.extend(ask(chunk)?);
    }
    Ok(all)
}

impl Memory {
    fn shape(&self) -> Result<(VectorMetric, usize, &[f32])> {
        match self {
            Memory::Vectors { metric, dim, all } => Ok((*metric, *dim, all)),
            Memory::Values(_) => {
                Err(Error::invalid("the entries of an ordered index are no vectors"))
            }
        }
    }

    fn values(&self, first: u32, values_max: u32, bytes_max: u32) -> Result<Values> {
        let Memory::Values(all) = self else {
            return Err(Error::invalid("vectors have no order"));
        };
        let mut values = Values::default();
        for value in all.iter().skip(first as usize).take(values_max.max(1) as usize) {
            if bytes_max as usize <= values.bytes.len() && !values.is_empty() {
                break;
            }
            values.bytes.extend_from_slice(value);
            values.ends.push(values.bytes.len() as u32);
        }
        Ok(values)
    }

    fn vector(&self, number: u32) -> Result<&[f32]> {
        let (_, dim, all) = self.shape()?;
        let start = number as usize * dim;
        let none = || Error::invalid(format!("there is no entry {number}"));
        all.get(start..start + dim).ok_or_else(none)
    }

    fn vectors(&self, numbers: &[u32]) -> Result<Vec<f32>> {
        self.shape()?;
        let mut vectors = Vec::new();
        for &number in numbers {
            vectors.extend_from_slice(self.vector(number)?);
        }
        Ok(vectors)
    }

    fn distances(&self, from: &[f32], numbers: &[u32]) -> Result<Vec<f32>> {
        let (metric, ..) = self.shape()?;
        numbers.iter().map(|&number| Ok(distance(metric, from, self.vector(number)?))).collect()
    }
}

/// How far `a` is from `b`; a metric that we do not know is taken for the squared Euclidean one.
pub(crate) fn distance(metric: VectorMetric, a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    match metric {
        VectorMetric::InnerProduct => -dot(a, b),
        VectorMetric::Cosine => {
            let lengths = (dot(a, a) * dot(b, b)).sqrt();
            if lengths == 0.0 { 1.0 } else { 1.0 - dot(a, b) / lengths }
        }
        VectorMetric::SquaredEuclidean | VectorMetric::Other(_) => {
            a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn entries_in_memory_compare_exactly() {
        let all = vec![1.0, 0.0, 0.0, 2.0, 0.0, 0.0];
        let wanted = [
            (VectorMetric::Cosine, [0.0, 1.0, 1.0]),
            (VectorMetric::InnerProduct, [-3.0, 0.0, 0.0]),
            (VectorMetric::SquaredEuclidean, [4.0, 13.0, 9.0]),
        ];
        for (metric, wanted) in wanted {
            let entries = Entries::of_vectors(metric, 2, all.clone());
            assert_eq!((entries.count(), entries.dim(), entries.metric()), (3, 2, Some(metric)));
            let query = Query::of(&entries, &[3.0, 0.0]).unwrap();
            assert_eq!(query.distances(&[0, 1, 2]).unwrap(), wanted);
            assert_eq!(entries.vectors(&[1, 0]).unwrap(), [0.0, 2.0, 1.0, 0.0]);
            let near = entries.between(0, &[1]).unwrap();
            let as_query = Query::of(&entries, &all[..2]).unwrap().distances(&[1]).unwrap();
            assert_eq!(near, as_query);
            for error in [
                query.distances(&[3]).unwrap_err(),
                entries.vectors(&[u32::MAX]).unwrap_err(),
                entries.between(3, &[]).unwrap_err(),
                entries.values(0, 1, 1).unwrap_err(),
                Query::of(&entries, &[1.0]).err().unwrap(),
            ] {
                assert_eq!(error.code, ErrorCode::Invalid, "{}", error.text);
            }
        }
    }

    #[test]
    fn values_come_in_batches_of_at_least_one() {
        let values: Vec<_> = (0..5_u8).map(|n| vec![1; usize::from(n) + 1]).collect();
        let entries = Entries::of_values(values.clone());
        assert_eq!((entries.count(), entries.metric()), (5, None));
        let batch = |first, values_max, bytes_max| {
            let batch = entries.values(first, values_max, bytes_max).unwrap();
            batch.iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(batch(0, 9, 99), values);
        assert_eq!(batch(1, 2, 99), values[1..3]);
        assert_eq!(batch(2, 9, 1), values[2..3]);
        assert_eq!(batch(4, 0, 0), values[4..]);
        assert!(batch(5, 9, 9).is_empty() && batch(u32::MAX, 9, 9).is_empty());
        assert_eq!(entries.vectors(&[0]).unwrap_err().code, ErrorCode::Invalid);
        assert_eq!(Query::of(&entries, &[]).err().unwrap().code, ErrorCode::Invalid);
    }
}

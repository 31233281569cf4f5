//! Files of vectors and of their exact neighbours.
//!
//! `.f32bin`, DiskANN's layout. Integers and floats are little-endian, there is no padding.
//!
//! | offset | size | type | field   | meaning                       |
//! |-------:|-----:|------|---------|-------------------------------|
//! |      0 |    4 | u32  | `count` | vectors                       |
//! |      4 |    4 | u32  | `dim`   | values in each                |
//! |      8 |    n | f32  | rows    | `count` times `dim` values    |
//!
//! Exact neighbours, DiskANN's truth set:
//!
//! | offset | size | type | field   | meaning                                              |
//! |-------:|-----:|------|---------|------------------------------------------------------|
//! |      0 |    4 | u32  | `count` | queries                                              |
//! |      4 |    4 | u32  | `k`     | neighbours of each                                   |
//! |      8 |    n | u32  | ids     | `count` times `k` numbers of rows, the nearest first |
//! |  8 + n |    n | f32  | scores  | their inner products with the query                  |
//!
//! Half-precision vectors are what the demo's data is kept in; `data/README.md` has their table.

use crate::Result;
use half::f16;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

const HEADER_BYTES: usize = 4 + 4;
/// More dimensions than any set has: a longer row is a broken file.
const DIM_MAX: usize = 1 << 16;
const HALF_MAGIC: &[u8; 8] = b"SOCHF16\n";
const HALF_VERSION: u32 = 1;
const HALF_HEADER_BYTES: usize = 8 + 4 + 4 + 4 + 4;
const _: () = assert!(HALF_HEADER_BYTES == 24, "data/README.md says 24");

/// Vectors of one length.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    dim: usize,
    values: Vec<f32>,
}

impl Vectors {
    /// Rows of `dim` values, one after another.
    pub fn new(dim: usize, values: Vec<f32>) -> Vectors {
        assert!(0 < dim, "a vector has values");
        assert!(values.len().is_multiple_of(dim), "rows are whole");
        Vectors { dim, values }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Values in each.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The one of this number.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dim..][..self.dim]
    }

    /// All, in order.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }

    /// Gives each the length 1.
    ///
    /// # Errors
    /// When one has no direction.
    pub fn normalise(&mut self) -> Result<()> {
        for (index, row) in self.values.chunks_exact_mut(self.dim).enumerate() {
            let length = length(row);
            if !length.is_normal() {
                return Err(format!("vector {index} has no direction").into());
            }
            row.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
        }
        Ok(())
    }

    /// The number of the first whose length is not 1.
    pub fn not_normal(&self) -> Option<usize> {
        self.rows().position(|row| {
            let off = (length(row) - 1.0).abs();
            off.is_nan() || 1e-3 < off
        })
    }

    /// Reads a `.f32bin`.
    ///
    /// # Errors
    /// When it cannot be read, or its length is not what its header says.
    pub fn read(path: &Path) -> Result<Vectors> {
        Vectors::decode(&fs::read(path)?)
            .map_err(|what| format!("{}: {what}", path.display()).into())
    }

    fn decode(bytes: &[u8]) -> Result<Vectors> {
        let (count, dim, rows) = header(bytes)?;
        if dim == 0 || DIM_MAX < dim {
            return Err(format!("vectors of {dim} values").into());
        }
        let expected = count.checked_mul(dim).and_then(|values| values.checked_mul(4));
        if expected != Some(rows.len()) {
            return Err(format!("{count} vectors of {dim} values in {} bytes", rows.len()).into());
        }
        Ok(Vectors { dim, values: floats(rows) })
    }

    /// Reads a file of half-precision vectors from its bytes.
    ///
    /// # Errors
    /// When a check fails.
    pub fn decode_half(bytes: &[u8]) -> Result<Vectors> {
        let (header, rows) = bytes.split_at_checked(HALF_HEADER_BYTES).ok_or("no header")?;
        if header[..8] != *HALF_MAGIC || number(header, 8) != HALF_VERSION {
            return Err("not a file of half-precision vectors".into());
        }
        let (count, dim) = (number(header, 12) as usize, number(header, 16) as usize);
        let is_whole =
            count.checked_mul(dim).and_then(|values| values.checked_mul(2)) == Some(rows.len());
        if dim == 0 || DIM_MAX < dim || !is_whole {
            return Err(format!("{count} vectors of {dim} halves in {} bytes", rows.len()).into());
        }
        if crc32c::crc32c_append(crc32c::crc32c(&header[..20]), rows) != number(header, 20) {
            return Err("the checksum does not hold".into());
        }
        let float = |pair: &[u8]| f16::from_le_bytes([pair[0], pair[1]]).to_f32();
        Ok(Vectors { dim, values: rows.chunks_exact(2).map(float).collect() })
    }

    /// Writes a `.f32bin`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut file = BufWriter::new(fs::File::create(path)?);
        write_header(&mut file, self.len(), self.dim)?;
        self.values.iter().try_for_each(|value| file.write_all(&value.to_le_bytes()))?;
        Ok(file.flush()?)
    }
}

fn length(row: &[f32]) -> f64 {
    score(row, row).sqrt()
}

/// The inner product, in f64.
pub fn score(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The exact neighbours of queries.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    k: usize,
    ids: Vec<u32>,
    scores: Vec<f32>,
}

impl Neighbours {
    /// `k` rows and scores for each query, the nearest first.
    pub fn new(k: usize, ids: Vec<u32>, scores: Vec<f32>) -> Neighbours {
        assert!(0 < k && ids.len().is_multiple_of(k), "every query has k neighbours");
        assert_eq!(ids.len(), scores.len(), "every neighbour has a score");
        Neighbours { k, ids, scores }
    }

    /// Neighbours of each query.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Queries.
    pub fn len(&self) -> usize {
        self.ids.len() / self.k
    }

    /// The rows nearest to the query of this number.
    pub fn ids(&self, query: usize) -> &[u32] {
        &self.ids[query * self.k..][..self.k]
    }

    /// Their scores.
    pub fn scores(&self, query: usize) -> &[f32] {
        &self.scores[query * self.k..][..self.k]
    }

    /// Reads a truth set.
    ///
    /// # Errors
    /// When it cannot be read, or its length is not what its header says.
    pub fn read(path: &Path) -> Result<Neighbours> {
        Neighbours::decode(&fs::read(path)?)
            .map_err(|what| format!("{}: {what}", path.display()).into())
    }

    fn decode(bytes: &[u8]) -> Result<Neighbours> {
        let (count, k, rest) = header(bytes)?;
        let each = count.checked_mul(k).and_then(|pairs| pairs.checked_mul(4));
        if k == 0 || each.and_then(|bytes| bytes.checked_mul(2)) != Some(rest.len()) {
            return Err(format!("{k} neighbours of {count} queries in {} bytes", rest.len()).into());
        }
        let (ids, scores) = rest.split_at(rest.len() / 2);
        let ids = ids.chunks_exact(4).map(|id| number(id, 0)).collect();
        Ok(Neighbours { k, ids, scores: floats(scores) })
    }

    /// Writes a truth set.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut file = BufWriter::new(fs::File::create(path)?);
        write_header(&mut file, self.len(), self.k)?;
        self.ids.iter().try_for_each(|id| file.write_all(&id.to_le_bytes()))?;
        self.scores.iter().try_for_each(|score| file.write_all(&score.to_le_bytes()))?;
        Ok(file.flush()?)
    }

    /// Checks that these are neighbours among `base` of `queries`, as far as one look at each says.
    ///
    /// # Errors
    /// When they are another set's.
    pub fn check(&self, base: &Vectors, queries: &Vectors) -> Result<()> {
        if self.len() != queries.len() {
            return Err(
                format!("neighbours of {} queries, not {}", self.len(), queries.len()).into()
            );
        }
        for query in 0..self.len() {
            for (id, said) in self.ids(query).iter().zip(self.scores(query)) {
                let id = *id as usize;
                let found = (id < base.len()).then(|| score(base.row(id), queries.row(query)));
                if found.is_none_or(|found| f64::abs(found - f64::from(*said)) > 1e-4) {
                    return Err(
                        format!("query {query} has no neighbour {id} of score {said}").into()
                    );
                }
            }
            if !self.scores(query).is_sorted_by(|a, b| a >= b) {
                return Err(format!("the neighbours of query {query} are out of order").into());
            }
        }
        Ok(())
    }
}

fn header(bytes: &[u8]) -> Result<(usize, usize, &[u8])> {
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or("no header")?;
    Ok((number(header, 0) as usize, number(header, 4) as usize, rest))
}

fn write_header(file: &mut impl Write, count: usize, width: usize) -> Result<()> {
    file.write_all(&u32::try_from(count)?.to_le_bytes())?;
    Ok(file.write_all(&u32::try_from(width)?.to_le_bytes())?)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|value| f32::from_bits(number(value, 0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn vectors_and_neighbours_come_back_from_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let vectors = Vectors::new(3, vec![1.0, 0.0, 0.0, 0.0, -2.5, 0.5]);
        vectors.write(&path).unwrap();
        assert_eq!(Vectors::read(&path).unwrap(), vectors);
        let neighbours = Neighbours::new(2, vec![4, 1, 0, 9], vec![0.5, 0.25, 0.75, -0.5]);
        neighbours.write(&path).unwrap();
        assert_eq!(Neighbours::read(&path).unwrap(), neighbours);
        assert_eq!((neighbours.ids(1), neighbours.scores(1)), (&[0, 9][..], &[0.75, -0.5][..]));
    }

    #[test]
    fn a_file_of_another_length_than_its_header_says_is_refused() {
        let good = words(&[1, 2, 0, 0]);
        assert!(Vectors::decode(&good).is_ok());
        for cut in 0..good.len() {
            assert!(Vectors::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        for bad in [&[1, 2, 0, 0, 0][..], &[0, 0], &[1, 0], &[u32::MAX, u32::MAX], &[1, 1 << 20]] {
            assert!(Vectors::decode(&words(bad)).is_err(), "{bad:?}");
        }
        let good = words(&[1, 2, 7, 8, 0, 0]);
        assert!(Neighbours::decode(&good).is_ok());
        for cut in 0..good.len() {
            assert!(Neighbours::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        for bad in [&[1, 2, 7, 8, 0, 0, 0, 0][..], &[1, 0], &[u32::MAX, u32::MAX, 1]] {
            assert!(Neighbours::decode(&words(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_broken_file_of_halves_is_refused() {
        let good = include_bytes!("../../../data/wordnet-4k.query.f16bin").to_vec();
        let vectors = Vectors::decode_half(&good).unwrap();
        assert_eq!((vectors.len(), vectors.dim()), (100, 384));
        assert!(Vectors::decode_half(&good[..23]).is_err());
        assert!(Vectors::decode_half(&good[..good.len() - 2]).is_err());
        for at in [0, 8, 12, 16, 20, 24, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(Vectors::decode_half(&bad).is_err(), "a flipped bit in byte {at}");
        }
    }

    #[test]
    fn neighbours_of_another_set_are_refused() {
        let base = Vectors::new(2, vec![1.0, 0.0, 0.0, 1.0]);
        let queries = Vectors::new(2, vec![0.6, 0.8]);
        let check = |ids: &[u32], scores: &[f32]| {
            Neighbours::new(2, ids.to_vec(), scores.to_vec()).check(&base, &queries)
        };
        check(&[1, 0], &[0.8, 0.6]).unwrap();
        check(&[0, 1], &[0.6, 0.8]).unwrap_err();
        check(&[1, 2], &[0.8, 0.6]).unwrap_err();
        check(&[1, 0], &[0.9, 0.6]).unwrap_err();
        check(&[1, 0], &[0.8, f32::NAN]).unwrap_err();
        check(&[1, 0, 1, 0], &[0.8, 0.6, 0.8, 0.6]).unwrap_err();
    }

    #[test]
    fn lengths_become_one_and_nothing_else_passes_for_it() {
        let mut vectors = Vectors::new(2, vec![3.0, 4.0, 0.0, 0.5]);
        assert_eq!(vectors.not_normal(), Some(0));
        vectors.normalise().unwrap();
        assert_eq!(vectors.not_normal(), None);
        assert_eq!(vectors.row(0), [0.6, 0.8]);
        assert_eq!(Vectors::new(1, vec![f32::NAN]).not_normal(), Some(0));
        assert!(Vectors::new(2, vec![0.0, 0.0]).normalise().is_err());
    }
}

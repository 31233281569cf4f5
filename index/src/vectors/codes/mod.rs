//! Codes: short forms of vectors, near enough to tell who is worth looking at.

use super::Metric;
use sochdb_kernel::{KernelError, KernelResult};
use std::fmt;
use std::str::FromStr;

/// What vectors are compared by while a search is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeKind {
    /// A byte for each dimension.
    Sq8,
    /// Rotated, four bits for each dimension.
    Rabitq4,
    /// Rotated, two bits for each dimension.
    Rabitq2,
    /// Rotated, a bit for each dimension.
    Rabitq1,
    /// Product quantisation: a byte for each of `m` parts of the vector.
    Pq,
}

/// How the vectors of one segment become codes, and what was learned from them for that.
pub struct Codebook {
    metric: Metric,
    dim: usize,
}

/// A vector, ready to be compared with codes.
pub struct CodeQuery {
    metric: Metric,
    vector: Vec<f32>,
}

impl Codebook {
    /// Learns from the `count` vectors that `vector` gives by their numbers.
    ///
    /// # Errors
    /// What `vector` returns.
    pub fn train(
        _kind: CodeKind,
        metric: Metric,
        dim: usize,
        _count: usize,
        _vector: &mut dyn FnMut(usize, &mut [f32]) -> KernelResult<()>,
        _seed: u64,
    ) -> KernelResult<Codebook> {
        Ok(Codebook { metric, dim })
    }

    /// What was learned, as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        Vec::new()
    }

    /// What [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// `Invalid` when it is not.
    pub fn from_bytes(
        _kind: CodeKind,
        metric: Metric,
        dim: usize,
        _bytes: &[u8],
    ) -> KernelResult<Codebook> {
        Ok(Codebook { metric, dim })
    }

    /// Bytes of one code.
    pub fn row_bytes(&self) -> usize {
        4 * self.dim
    }

    /// Adds the code of `vector` to `out`.
    pub fn encode(&self, vector: &[f32], out: &mut Vec<u8>) {
        super::Element::F32.encode(vector, out);
    }

    /// `vector`, ready to be compared with codes.
    pub fn query(&self, vector: &[f32]) -> CodeQuery {
        CodeQuery { metric: self.metric, vector: vector.to_vec() }
    }

    /// The vector that `row` is about the code of, ready to be compared with others.
    pub fn row_query(&self, row: &[u8]) -> CodeQuery {
        let mut vector = vec![0.0; self.dim];
        super::Element::F32.decode(row, &mut vector);
        CodeQuery { metric: self.metric, vector }
    }
}

impl CodeQuery {
    /// About how far it is from the vectors whose codes are `rows`, added to `out` in their order.
    pub fn distances<'a>(&self, rows: impl Iterator<Item = &'a [u8]>, out: &mut Vec<f32>) {
        let mut vector = vec![0.0; self.vector.len()];
        out.extend(rows.map(|row| {
            super::Element::F32.decode(row, &mut vector);
            self.metric.distance(&self.vector, &vector)
        }));
    }
}

impl fmt::Display for CodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CodeKind::Sq8 => "sq8",
            CodeKind::Rabitq4 => "rabitq4",
            CodeKind::Rabitq2 => "rabitq2",
            CodeKind::Rabitq1 => "rabitq1",
            CodeKind::Pq => "pq",
        })
    }
}

impl FromStr for CodeKind {
    type Err = KernelError;

    fn from_str(text: &str) -> Result<CodeKind, KernelError> {
        match text {
            "sq8" => Ok(CodeKind::Sq8),
            "rabitq4" => Ok(CodeKind::Rabitq4),
            "rabitq2" => Ok(CodeKind::Rabitq2),
            "rabitq1" => Ok(CodeKind::Rabitq1),
            "pq" => Ok(CodeKind::Pq),
            _ => Err(KernelError::Invalid(format!(
                "'codes' is sq8, rabitq4, rabitq2, rabitq1 or pq, but {text:?} was given"
            ))),
        }
    }
}

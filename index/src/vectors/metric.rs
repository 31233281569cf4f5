//! How near two vectors are: one number, the smaller the nearer.

use sochdb_kernel::KernelError;
use std::fmt;
use std::str::FromStr;

/// How near two vectors are.
///
/// | metric        | distance                                                                      |
/// |---------------|-------------------------------------------------------------------------------|
/// | `cosine`      | 1 less the cosine of the angle between them, 0 to 2; 1 if one of them is zero   |
/// | `inner-product` | the inner product with the other sign, so that the greatest product is nearest |
/// | `euclidean`   | the sum of the squared differences: the square of the Euclidean distance      |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// 1 less the cosine of the angle.
    Cosine,
    /// The inner product with the other sign.
    InnerProduct,
    /// The sum of the squared differences.
    SquaredEuclidean,
}

impl Metric {
    /// Its number in the contract with plugins.
    pub fn code(self) -> u8 {
        match self {
            Metric::Cosine => 1,
            Metric::InnerProduct => 2,
            Metric::SquaredEuclidean => 3,
        }
    }

    /// How far `b` is from `a`; they have as many values.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        match self {
            Metric::Cosine => {
                let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
                if norms == 0.0 { 1.0 } else { 1.0 - dot(a, b) / norms }
            }
            Metric::InnerProduct => -dot(a, b),
            Metric::SquaredEuclidean => a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum(),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::Cosine => "cosine",
            Metric::InnerProduct => "inner-product",
            Metric::SquaredEuclidean => "euclidean",
        })
    }
}

impl FromStr for Metric {
    type Err = KernelError;

    fn from_str(text: &str) -> Result<Metric, KernelError> {
        match text {
            "cosine" => Ok(Metric::Cosine),
            "inner-product" => Ok(Metric::InnerProduct),
            "euclidean" => Ok(Metric::SquaredEuclidean),
            _ => Err(KernelError::Invalid(format!(
                "'metric' is cosine, inner-product or euclidean, but {text:?} was given"
            ))),
        }
    }
}

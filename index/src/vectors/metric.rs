//! How near two vectors are: one number, the smaller the nearer.
//!
//! Sums are made of `f32`s. Where a vector is so long or so short that they would not do, once more of `f64`s:
//! a distance is always finite, and exact to about seven digits of the sum it is made of.

use super::lanes;
use sochdb_kernel::KernelError;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Squares of lengths whose terms neither overflow nor vanish in an `f32`.
const SQUARES: RangeInclusive<f32> = 1e-25..=1e30;

/// How near two vectors are.
///
/// | metric        | distance                                                                      |
/// |---------------|-------------------------------------------------------------------------------|
/// | `cosine`      | 1 less the cosine of the angle between them, 0 to 2; 1 if one of them is zero   |
/// | `inner-product` | the inner product with the other sign, so that the greatest product is nearest |
/// | `euclidean`   | the sum of the squared differences: the square of the Euclidean distance      |
///
/// What an `f32` cannot hold is as far as one can be: [`f32::MAX`], or its opposite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// 1 less the cosine of the angle.
    Cosine,
    /// The inner product with the other sign.
    InnerProduct,
    /// The sum of the squared differences.
    SquaredEuclidean,
}

/// The inner product of `a` and `b`, which have as many values.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let sum = lanes::dot(a, b);
    if sum.is_finite() { sum } else { bounded(wide_dot(a, b)) }
}

/// The length of `vector`: 0 only if all its values are.
pub fn norm(vector: &[f32]) -> f32 {
    let squares = lanes::dot(vector, vector);
    if SQUARES.contains(&squares) { squares.sqrt() } else { bounded(wide_norm(vector)) }
}

/// `vector` with length 1, or zeros if it is zero.
pub(super) fn normalised(vector: &[f32]) -> Vec<f32> {
    let squares = lanes::dot(vector, vector);
    if SQUARES.contains(&squares) {
        let norm = squares.sqrt();
        return vector.iter().map(|x| x / norm).collect();
    }
    match wide_norm(vector) {
        0.0 => vec![0.0; vector.len()],
        norm => vector.iter().map(|&x| (f64::from(x) / norm) as f32).collect(),
    }
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
        let made = self.of_sums(self.squares(a), lanes::compare(self, a, b));
        made.unwrap_or_else(|| self.wide_distance(a, b))
    }

    /// The square of `a`'s length, if that is needed.
    pub(super) fn squares(self, a: &[f32]) -> f32 {
        if self == Metric::Cosine { lanes::dot(a, a) } else { 0.0 }
    }

    /// The distance that is made of `a`'s [`squares`](Self::squares) and of what [`lanes::compare`] sums, unless
    /// `f32`s do not do.
    pub(super) fn of_sums(self, squares: f32, sums: [f32; 2]) -> Option<f32> {
        let [sum, other_squares] = sums;
        match self {
            Metric::Cosine => {
                let good = SQUARES.contains(&squares) && SQUARES.contains(&other_squares);
                let cosine = sum / (squares.sqrt() * other_squares.sqrt());
                good.then(|| (1.0 - cosine).clamp(0.0, 2.0))
            }
            Metric::InnerProduct => sum.is_finite().then_some(-sum),
            Metric::SquaredEuclidean => sum.is_finite().then_some(sum),
        }
    }

    /// [`distance`](Self::distance) by `f64`s.
    pub(super) fn wide_distance(self, a: &[f32], b: &[f32]) -> f32 {
        match self {
            Metric::Cosine => {
                let norms = wide_norm(a) * wide_norm(b);
                let cosine = if norms == 0.0 { 0.0 } else { wide_dot(a, b) / norms };
                bounded((1.0 - cosine).clamp(0.0, 2.0))
            }
            Metric::InnerProduct => bounded(-wide_dot(a, b)),
            Metric::SquaredEuclidean => {
                let square = |(&a, &b): (&f32, &f32)| (f64::from(a) - f64::from(b)).powi(2);
                bounded(a.iter().zip(b).map(square).sum())
            }
        }
    }
}

/// `value` as far as an `f32` reaches.
fn bounded(value: f64) -> f32 {
    value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

fn wide_dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn wide_norm(vector: &[f32]) -> f64 {
    wide_dot(vector, vector).sqrt()
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::SquaredEuclidean];

    #[test]
    fn small_vectors_have_these_distances() {
        let distances = |a: &[f32], b: &[f32]| METRICS.map(|metric| metric.distance(a, b));
        assert_eq!(distances(&[1.0, 0.0], &[0.0, 2.0]), [1.0, 0.0, 5.0]);
        assert_eq!(distances(&[3.0, 4.0], &[3.0, 4.0]), [0.0, -25.0, 0.0]);
        assert_eq!(distances(&[3.0, 4.0], &[-6.0, -8.0]), [2.0, 50.0, 225.0]);
        assert_eq!(distances(&[0.0, 0.0], &[3.0, 4.0]), [1.0, 0.0, 25.0]);
        assert_eq!(distances(&[0.0, 0.0], &[0.0, 0.0]), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn the_longest_and_the_shortest_vectors_have_distances() {
        let distance = |metric: Metric, a: f32, b: f32| metric.distance(&[a; 50], &[b; 50]);
        for size in [f32::MAX, 1e25, 1e-20, 1e-45] {
            assert!(distance(Metric::Cosine, size, size) < 1e-6, "{size}");
            assert!(1.999_999 < distance(Metric::Cosine, size, -size), "{size}");
            assert!(distance(Metric::Cosine, size, 1.0) < 1e-6, "{size}");
            assert_eq!(distance(Metric::SquaredEuclidean, size, size), 0.0, "{size}");
        }
        assert_eq!(distance(Metric::InnerProduct, f32::MAX, f32::MAX), f32::MIN);
        assert_eq!(distance(Metric::InnerProduct, f32::MAX, f32::MIN), f32::MAX);
        assert_eq!(distance(Metric::SquaredEuclidean, f32::MAX, f32::MIN), f32::MAX);
        let turns = [f32::MAX, f32::MAX, -f32::MAX, -f32::MAX];
        assert_eq!(Metric::InnerProduct.distance(&turns, &[1.0; 4]), 0.0);
        assert_eq!(norm(&[0.0; 3]), 0.0);
        assert_eq!(norm(&[3e-30, 4e-30]), 5e-30);
        assert_eq!(norm(&[3e30, 4e30]), 5e30);
        assert_eq!(normalised(&[0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(normalised(&[3e-40, -3e-40]), [0.5f32.sqrt(), -0.5f32.sqrt()]);
    }

    #[test]
    fn names_come_back() {
        for metric in METRICS {
            assert_eq!(metric.to_string().parse::<Metric>().unwrap(), metric);
        }
        assert!("angular".parse::<Metric>().is_err());
    }

    proptest! {
        #[test]
        fn distances_are_those_of_wide_arithmetic(
            pairs in proptest::collection::vec((-10f32..10.0, -10f32..10.0), 1..300),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let size = wide_norm(&a) + wide_norm(&b);
            for metric in METRICS {
                let found = metric.distance(&a, &b);
                let wide = metric.wide_distance(&a, &b);
                let scale = if metric == Metric::Cosine { 1.0 } else { (size * size) as f32 };
                prop_assert!((found - wide).abs() <= 2e-6 * scale, "{} {}", found, wide);
                prop_assert_eq!(found, metric.distance(&b, &a));
            }
        }
    }
}

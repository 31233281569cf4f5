//! A vector that is compared with stored ones as exactly as they are kept.

use super::{Element, Metric, groups, lanes};

/// A vector that is compared with stored ones, without decoding them first.
///
/// Its distances equal [`Metric::distance`] of the vector and the decoded row, bit for bit.
pub struct ExactQuery {
    metric: Metric,
    element: Element,
    vector: Vec<f32>,
    squares: f32,
}

impl ExactQuery {
    /// `vector`, to be compared with rows of `element`s of as many dimensions.
    pub fn new(metric: Metric, element: Element, vector: &[f32]) -> ExactQuery {
        ExactQuery { metric, element, vector: vector.to_vec(), squares: metric.squares(vector) }
    }

    /// How far the vector that `row` holds is; [`f32::MAX`] when `row` has the bytes of other dimensions.
    pub fn distance(&self, row: &[u8]) -> f32 {
        if row.len() != self.element.row_bytes(self.vector.len()) {
            return f32::MAX;
        }
        let sums = lanes::compare_row(self.metric, &self.vector, self.element, row);
        let made = self.metric.of_sums(self.squares, sums);
        made.unwrap_or_else(|| {
            let mut decoded = vec![0.0; self.vector.len()];
            self.element.decode(row, &mut decoded);
            self.metric.wide_distance(&self.vector, &decoded)
        })
    }

    /// [`distance`](Self::distance) of each of `rows`, added to `out` in their order: faster, where they are not
    /// in the processor's cache.
    pub fn distances(&self, rows: &[&[u8]], out: &mut Vec<f32>) {
        groups::distances(rows, out, |row| self.distance(row));
    }
}

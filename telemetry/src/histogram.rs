//! How observations are spread: cumulative counts under growing bounds, and what can be read from them.

use crate::context::SpanContext;

/// How observations are spread, in the unit of the metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// Upper bounds, growing, without the infinite one.
    pub bounds: Vec<f64>,
    /// How many observations fell at or below each bound; a last one for infinity, which is all of them.
    pub counts: Vec<u64>,
    /// The sum of all observations.
    pub sum: f64,
    /// Single observations that a trace is known for, at most one a bucket, in growing order of values.
    pub exemplars: Vec<Exemplar>,
}

/// One observation, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    /// In the unit of the metric.
    pub value: f64,
    /// When, in microseconds since 1970.
    pub unix_us: u64,
    /// The span that made it.
    pub span: SpanContext,
}

impl Histogram {
    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.counts.last().copied().unwrap_or(0)
    }

    /// The value that a share `q` of the observations, 0 to 1, is not above; `None` without observations.
    ///
    /// Within a bucket observations are taken to be evenly spread, and the first bucket to begin at zero. What is
    /// above all bounds counts as the greatest one.
    ///
    /// ```
    /// use sochdb_telemetry::Histogram;
    ///
    /// let half = Histogram { bounds: vec![1.0, 2.0], counts: vec![0, 10, 10], ..Histogram::default() };
    /// assert_eq!(half.quantile(0.5), Some(1.5));
    /// ```
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 || q.is_nan() {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * total as f64;
        let (mut below, mut least) = (0, None);
        for (&bound, &count) in self.bounds.iter().zip(&self.counts) {
            if below < count && rank <= count as f64 {
                let least = least.unwrap_or(bound.min(0.0));
                let share = (rank - below as f64) / (count - below) as f64;
                return Some(least + (bound - least) * share.max(0.0));
            }
            (below, least) = (count.max(below), Some(bound));
        }
        least
    }

    /// What was observed since `earlier`, an older reading of the same histogram. When it is none, because the
    /// database was opened anew since, everything is new.
    ///
    /// ```
    /// use sochdb_telemetry::Histogram;
    ///
    /// let earlier = Histogram { bounds: vec![1.0], counts: vec![2, 3], sum: 5.0, exemplars: vec![] };
    /// let now = Histogram { counts: vec![4, 5], sum: 6.0, ..earlier.clone() };
    /// assert_eq!(now.since(&earlier).counts, [2, 2]);
    /// ```
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let pairs = self.counts.iter().zip(&earlier.counts);
        let new: Option<Vec<u64>> = pairs.map(|(now, then)| now.checked_sub(*then)).collect();
        let same_buckets =
            self.bounds == earlier.bounds && self.counts.len() == earlier.counts.len();
        match new {
            Some(counts) if same_buckets && counts.is_sorted() => Histogram {
                bounds: self.bounds.clone(),
                counts,
                sum: (self.sum - earlier.sum).max(0.0),
                exemplars: self
                    .exemplars
                    .iter()
                    .filter(|one| !earlier.exemplars.contains(one))
                    .copied()
                    .collect(),
            },
            _ => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(bounds: &[f64], counts: &[u64]) -> Histogram {
        Histogram { bounds: bounds.to_vec(), counts: counts.to_vec(), ..Histogram::default() }
    }

    #[test]
    fn without_observations_there_is_no_quantile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(histogram(&[1.0, 2.0], &[0, 0, 0]).quantile(0.5), None);
        assert_eq!(histogram(&[1.0], &[1, 1]).quantile(f64::NAN), None);
    }

    #[test]
    fn a_quantile_lies_between_the_bounds_of_its_bucket() {
        let one = histogram(&[1.0, 2.0, 4.0], &[0, 8, 8, 8]);
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|q| one.quantile(q)), [1.0, 1.25, 1.5, 2.0].map(Some));
        let spread = histogram(&[1.0, 2.0, 4.0], &[2, 6, 8, 8]);
        assert_eq!(
            [0.0, 0.25, 0.5, 0.75, 1.0].map(|q| spread.quantile(q)),
            [0.0, 1.0, 1.5, 2.0, 4.0].map(Some)
        );
        assert_eq!([-1.0, 7.0].map(|q| spread.quantile(q)), [0.0, 4.0].map(Some));
    }

    #[test]
    fn the_first_bucket_begins_at_zero_unless_its_bound_is_below() {
        assert_eq!(histogram(&[8.0], &[4, 4]).quantile(0.5), Some(4.0));
        assert_eq!(histogram(&[-8.0, 0.0], &[4, 4, 4]).quantile(0.5), Some(-8.0));
    }

    #[test]
    fn what_is_above_all_bounds_counts_as_the_greatest() {
        assert_eq!(histogram(&[1.0, 2.0], &[0, 1, 10]).quantile(0.99), Some(2.0));
        assert_eq!(histogram(&[1.0, 2.0], &[0, 0, 10]).quantile(0.0), Some(2.0));
        assert_eq!(histogram(&[], &[10]).quantile(0.5), None);
    }

    #[test]
    fn counts_that_make_no_sense_make_no_panic() {
        for counts in [&[5, 1, 9][..], &[9, 0, 0], &[1], &[], &[u64::MAX, 0, u64::MAX]] {
            let broken = histogram(&[1.0, 2.0], counts);
            for q in [f64::NEG_INFINITY, 0.0, 0.3, 1.0, f64::INFINITY] {
                assert!(broken.quantile(q).is_none_or(|value| (0.0..=2.0).contains(&value)));
            }
            let _ = broken.since(&histogram(&[1.0, 2.0], &[1, 1, 1]));
        }
    }

    #[test]
    fn a_difference_has_what_is_new() {
        let exemplar = |value| {
            let span = SpanContext { trace_id: 1, span_id: 2 };
            Exemplar { value, unix_us: 3, span }
        };
        let earlier = Histogram {
            sum: 3.0,
            exemplars: vec![exemplar(0.5)],
            ..histogram(&[1.0, 2.0], &[1, 2, 2])
        };
        let exemplars = vec![exemplar(0.5), exemplar(1.5)];
        let now = Histogram { sum: 8.0, exemplars, ..histogram(&[1.0, 2.0], &[1, 4, 5]) };
        let new = Histogram {
            sum: 5.0,
            exemplars: vec![exemplar(1.5)],
            ..histogram(&[1.0, 2.0], &[0, 2, 3])
        };
        assert_eq!(now.since(&earlier), new);
        assert_eq!(now.since(&now).count(), 0);
    }

    #[test]
    fn after_another_opening_everything_is_new() {
        let now = histogram(&[1.0, 2.0], &[1, 2, 9]);
        for earlier in [
            histogram(&[1.0, 2.0], &[2, 2, 2]),
            histogram(&[1.0, 2.0], &[0, 0, 10]),
            histogram(&[1.0, 2.0], &[0, 2, 2]),
            histogram(&[1.0, 3.0], &[0, 0, 0]),
            histogram(&[1.0], &[0, 0]),
            Histogram::default(),
        ] {
            assert_eq!(now.since(&earlier), now, "{earlier:?}");
        }
    }
}

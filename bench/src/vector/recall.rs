//! What share of the true neighbours was found, and how fast that goes at a given share.
//!
//! A row counts as found if its score reaches that of the last true neighbour, less a hair: the order in which
//! floats are added up, and ties, cannot change the count. A row counts once.

use super::set::Set;
use super::vectors::{Neighbours, Vectors, score};
use crate::Result;
use std::collections::BTreeMap;

/// Neighbours asked for, everywhere.
pub const K: usize = 10;
/// How far below the last true neighbour a score may lie.
const SLACK: f64 = 1e-6;

/// The share found, of all queries and of each kind of them.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Recall {
    /// Of all.
    pub all: f64,
    /// By kind of query.
    pub kinds: BTreeMap<String, f64>,
}

/// The share of the true neighbours `exact` of the set's queries that is in `found`: the numbers of the rows found for
/// each query; negative ones say that there is none.
///
/// # Errors
/// When there is a row that is not in the set, or not one answer for each query.
pub fn recall(set: &Set, exact: &Neighbours, found: &[Vec<i64>]) -> Result<Recall> {
    if found.len() != set.queries.len() {
        return Err(format!("{} answers to {} queries", found.len(), set.queries.len()).into());
    }
    let mut by_kind: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (query, found) in found.iter().enumerate() {
        let (hits, wanted) = hits(&set.base, set.queries.row(query), exact.scores(query), found)?;
        let sums = by_kind.entry(set.kinds[query].clone()).or_default();
        *sums = (sums.0 + hits, sums.1 + wanted);
    }
    let share = |(hits, wanted): (usize, usize)| hits as f64 / wanted as f64;
    let all = by_kind.values().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let kinds = by_kind.into_iter().map(|(kind, sums)| (kind, share(sums))).collect();
    Ok(Recall { all: share(all), kinds })
}

/// How many of the true neighbours, whose scores are `exact`, were found, and how many could be.
fn hits(base: &Vectors, query: &[f32], exact: &[f32], found: &[i64]) -> Result<(usize, usize)> {
    let wanted = exact.len().min(K);
    let least = f64::from(exact[wanted - 1]) - SLACK;
    let mut rows: Vec<i64> = found.iter().copied().filter(|row| 0 <= *row).take(K).collect();
    rows.sort_unstable();
    rows.dedup();
    let mut hits = 0;
    for row in rows {
        let row = usize::try_from(row)?;
        if base.len() <= row {
            return Err(format!("row {row} was found, but there are {}", base.len()).into());
        }
        hits += usize::from(least <= score(base.row(row), query));
    }
    Ok((hits.min(wanted), wanted))
}

/// Queries a second at `recall`, between the measured `points` of recall and queries a second; `None` where that
/// recall was never reached.
///
/// Of points that are slower *and* find less than another nothing is heard. Between two neighbours the logarithm of
/// the rate is a line; left of the first point its rate holds.
pub fn rate_at(points: &[(f64, f64)], recall: f64) -> Option<f64> {
    let mut points = points.to_vec();
    points.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    let mut front: Vec<(f64, f64)> = Vec::new();
    for point in points {
        if front.last().is_none_or(|last| last.1 < point.1) {
            front.push(point);
        }
    }
    // From the most exact to the fastest.
    let below = front.iter().position(|point| point.0 < recall);
    match below {
        Some(0) => None,
        None => front.last().map(|last| last.1),
        Some(below) => {
            let ((found, rate), (less, faster)) = (front[below - 1], front[below]);
            let along = (found - recall) / (found - less);
            Some((rate.ln() + along * (faster.ln() - rate.ln())).exp())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows at a growing angle to the query (1, 0).
    fn fan(count: usize) -> Vectors {
        let angle = |row: usize| row as f32 * 0.01;
        Vectors::new(2, (0..count).flat_map(|row| [angle(row).cos(), angle(row).sin()]).collect())
    }

    fn count(exact: &[f32], found: &[i64]) -> (usize, usize) {
        hits(&fan(30), &[1.0, 0.0], exact, found).unwrap()
    }

    fn exact() -> Vec<f32> {
        (0..10).map(|row| (row as f32 * 0.01).cos()).collect()
    }

    #[test]
    fn rows_count_by_their_score_and_once() {
        let all: Vec<i64> = (0..10).collect();
        assert_eq!(count(&exact(), &all), (10, 10));
        assert_eq!(count(&exact(), &[0, 0, 0, 1]), (2, 10), "a row that comes twice counts once");
        assert_eq!(count(&exact(), &[20, 21, 3]), (1, 10), "rows further away do not count");
        assert_eq!(count(&exact(), &[-1, -1, 4]), (1, 10), "no row is no hit");
        let more: Vec<i64> = (5..30).collect();
        assert_eq!(count(&exact(), &more), (5, 10), "only the first ten answers count");
    }

    #[test]
    fn a_tie_with_the_last_neighbour_is_as_good_as_that_one() {
        let base = Vectors::new(2, [1.0, 0.0].repeat(20));
        let found: Vec<i64> = (10..20).collect();
        assert_eq!(hits(&base, &[1.0, 0.0], &[1.0; 10], &found).unwrap(), (10, 10));
    }

    #[test]
    fn of_fewer_rows_than_asked_for_all_are_wanted() {
        assert_eq!(count(&exact()[..3], &[0, 1, 2]), (3, 3));
        assert_eq!(count(&exact()[..3], &[0]), (1, 3));
    }

    #[test]
    fn a_row_that_is_not_there_is_an_error() {
        assert!(hits(&fan(30), &[1.0, 0.0], &exact(), &[30]).is_err());
    }

    fn near(found: Option<f64>, expected: f64) {
        let found = found.expect("reached");
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} instead of {expected}");
    }

    #[test]
    fn between_two_points_the_logarithm_of_the_rate_is_a_line() {
        let points = [(0.9, 10_000.0), (1.0, 100.0)];
        near(rate_at(&points, 0.95), 1_000.0);
        near(rate_at(&points, 0.9), 10_000.0);
        near(rate_at(&points, 1.0), 100.0);
    }

    #[test]
    fn a_recall_below_all_points_has_the_fastest_rate_and_one_above_has_none() {
        let points = [(0.9, 10_000.0), (0.99, 100.0)];
        near(rate_at(&points, 0.5), 10_000.0);
        assert_eq!(rate_at(&points, 0.991), None);
        assert_eq!(rate_at(&[], 0.5), None);
        near(rate_at(&[(1.0, 5.0)], 0.99), 5.0);
    }

    #[test]
    fn points_that_are_slower_and_find_less_do_not_count() {
        let points = [(0.9, 10_000.0), (0.95, 50.0), (1.0, 100.0), (0.8, 9_000.0)];
        near(rate_at(&points, 0.95), 1_000.0);
        near(rate_at(&points, 0.8), 10_000.0);
    }
}

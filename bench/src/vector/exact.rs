//! Exact neighbours, by looking at everything.
//!
//! Threads share the queries. A block of rows that fits a processor's cache is compared with all queries of a
//! thread before the next one: candidates by f32 first, the scores of those that remain in f64.

use super::vectors::{Neighbours, Vectors, score};
use crate::Result;
use crate::meter::in_threads;

/// Bytes of a block: half of a small second-level cache.
const BLOCK_BYTES: usize = 256 << 10;
/// Candidates kept beyond `k`, among which f32 and f64 may order differently.
const SPARE: usize = 22;

/// The `k` rows of `base` nearest to each of `queries`, ties to the smaller number, among those that `keep` takes;
/// less than `k` when it takes less. At most `threads` threads.
///
/// # Errors
/// When there is no query, or `keep` takes no row.
pub fn nearest(
    base: &Vectors,
    queries: &Vectors,
    k: usize,
    threads: usize,
    keep: impl Fn(usize) -> bool,
) -> Result<Neighbours> {
    let rows: Vec<u32> = (0..base.len()).filter(|row| keep(*row)).map(|row| row as u32).collect();
    let k = k.min(rows.len());
    if k == 0 || queries.len() == 0 {
        return Err("no row or no query to compare".into());
    }
    let share = queries.len().div_ceil(threads.max(1));
    let starts: Vec<usize> = (0..queries.len()).step_by(share).collect();
    let found = in_threads(starts, |start| {
        let end = queries.len().min(start + share);
        Ok(among(base, &rows, queries, start..end, k))
    })?;
    let (ids, scores) = found.into_iter().flatten().unzip();
    Ok(Neighbours::new(k, ids, scores))
}

/// The neighbours of some queries, one query's after another's.
fn among(
    base: &Vectors,
    rows: &[u32],
    queries: &Vectors,
    which: std::ops::Range<usize>,
    k: usize,
) -> Vec<(u32, f32)> {
    let mut best: Vec<Best> = which.clone().map(|_| Best::new(k + SPARE)).collect();
    for block in rows.chunks((BLOCK_BYTES / 4 / base.dim()).max(1)) {
        for (best, query) in best.iter_mut().zip(which.clone()) {
            let query = queries.row(query);
            block.iter().for_each(|row| best.offer(dot(base.row(*row as usize), query), *row));
        }
    }
    let ordered = |(best, query): (Best, usize)| {
        let exactly = |(_, row)| (score(base.row(row as usize), queries.row(query)), row);
        let mut all: Vec<(f64, u32)> = best.found.into_iter().map(exactly).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        all.into_iter().take(k).map(|(score, row)| (row, score as f32)).collect::<Vec<_>>()
    };
    best.into_iter().zip(which).flat_map(ordered).collect()
}

/// The best of what was offered: twice as many as are wanted, thinned out when full.
struct Best {
    wanted: usize,
    found: Vec<(f32, u32)>,
    /// Nothing below it can be among those wanted.
    least: f32,
}

impl Best {
    fn new(wanted: usize) -> Best {
        Best { wanted, found: Vec::with_capacity(2 * wanted), least: f32::NEG_INFINITY }
    }

    fn offer(&mut self, score: f32, row: u32) {
        if score < self.least {
            return;
        }
        self.found.push((score, row));
        if self.found.len() == 2 * self.wanted {
            self.found.select_nth_unstable_by(self.wanted - 1, |a, b| b.0.total_cmp(&a.0));
            self.found.truncate(self.wanted);
            self.least = self.found[self.wanted - 1].0;
        }
    }
}

/// The inner product, in f32, sixteen sums side by side.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    let mut sums = [0.0f32; 16];
    for (a, b) in a_chunks.zip(b_chunks) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(count: usize, dim: usize, seed: u64) -> Vectors {
        let mut rng = fastrand::Rng::with_seed(seed);
        let values = (0..count * dim).map(|_| rng.f32() - 0.5).collect();
        let mut vectors = Vectors::new(dim, values);
        vectors.normalise().unwrap();
        vectors
    }

    #[test]
    fn neighbours_are_those_of_a_sort_of_everything() {
        let (base, queries) = (random(1_000, 19, 1), random(7, 19, 2));
        for keep in [1, 3, 500] {
            let found = nearest(&base, &queries, 10, 3, |row| row % keep == 0).unwrap();
            assert_eq!(found.len(), queries.len());
            for query in 0..queries.len() {
                let scored = (0..base.len()).filter(|row| row % keep == 0);
                let scored =
                    scored.map(|row| (score(base.row(row), queries.row(query)), row as u32));
                let mut all: Vec<_> = scored.collect();
                all.sort_by(|a, b| b.0.total_cmp(&a.0));
                let ids: Vec<u32> = all.iter().take(10).map(|(_, row)| *row).collect();
                assert_eq!(found.ids(query), ids);
            }
            found.check(&base, &queries).unwrap();
        }
    }

    #[test]
    fn without_rows_there_are_no_neighbours() {
        let vectors = random(4, 2, 3);
        assert!(nearest(&vectors, &vectors, 10, 2, |_| false).is_err());
    }
}

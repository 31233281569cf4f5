//! How well a document answers a query.
//!
//! ```text
//!   score(D, Q) = Σ idf(q) · f(q, D) · (k1 + 1) / (f(q, D) + k1 · (1 − b + b · |D| / average |D|))
//!   idf(q)      = ln(1 + (N − n(q) + 0.5) / (n(q) + 0.5))
//! ```
//!
//! `f` is how often the word is in the document, `N` how many documents there are, `n` in how many the word is. The
//! one within the logarithm keeps words that are in more than half of all documents from counting against them.
//!
//! Source: Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond".

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// The two knobs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bm25 {
    /// How much more a word says when it is there again: 0 for not at all; usual are 1.2 to 2.
    pub k1: f64,
    /// How much long documents are held back: 0 for not at all, 1 for in full.
    pub b: f64,
}

impl Default for Bm25 {
    fn default() -> Bm25 {
        Bm25 { k1: 1.2, b: 0.75 }
    }
}

impl Bm25 {
    /// How much a word says that is in `with_word` of `documents`.
    pub fn idf(documents: u64, with_word: u64) -> f64 {
        let (all, with) = (documents as f64, with_word as f64);
        (1.0 + ((all - with).max(0.0) + 0.5) / (with + 0.5)).ln()
    }

    /// What a word adds to the score of a document of `len` words that has it `count` times.
    pub fn weight(&self, idf: f64, count: u32, len: u32, average_len: f64) -> f64 {
        let Bm25 { k1, b } = *self;
        let count = f64::from(count);
        idf * count * (k1 + 1.0) / (count + k1 * (1.0 - b + b * f64::from(len) / average_len))
    }
}

/// A document and its score. The greater is the better; of equal ones, the one with the lesser key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scored {
    pub(crate) score: f64,
    pub(crate) key: Vec<u8>,
}

impl Eq for Scored {}

impl Ord for Scored {
    fn cmp(&self, other: &Scored) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.key.cmp(&self.key))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Scored) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The best `k` of `all`, the best first.
pub(crate) fn best(all: impl IntoIterator<Item = Scored>, k: usize) -> Vec<Scored> {
    let mut kept = BinaryHeap::new();
    for scored in all {
        kept.push(Reverse(scored));
        if k < kept.len() {
            kept.pop();
        }
    }
    kept.into_sorted_vec().into_iter().map(|Reverse(scored)| scored).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scores_are_those_of_the_formula() {
        // By hand: N = 3, n = 1, f = 2, |D| = 4, average 3.
        let idf = Bm25::idf(3, 1);
        assert!((idf - (1.0_f64 + 2.5 / 1.5).ln()).abs() < 1e-12);
        let weight = Bm25::default().weight(idf, 2, 4, 3.0);
        assert!((weight - idf * 4.4 / (2.0 + 1.2 * (0.25 + 1.0))).abs() < 1e-12);
        let plain = Bm25 { k1: 0.0, b: 0.75 };
        assert!((plain.weight(idf, 9, 100, 3.0) - idf).abs() < 1e-12);
    }

    #[test]
    fn the_rarer_the_more_often_and_the_shorter_the_better() {
        let bm25 = Bm25::default();
        assert!(Bm25::idf(100, 2) < Bm25::idf(100, 1) && 0.0 < Bm25::idf(100, 100));
        assert!(bm25.weight(1.0, 1, 10, 10.0) < bm25.weight(1.0, 2, 10, 10.0));
        assert!(bm25.weight(1.0, 1, 20, 10.0) < bm25.weight(1.0, 1, 10, 10.0));
    }

    proptest! {
        #[test]
        fn the_best_are_those_that_sorting_finds(
            scores in prop::collection::vec(0_u8..6, 0..40), k in 0_usize..50,
        ) {
            let all: Vec<_> = scores.iter().zip(0_u8..)
                .map(|(score, n)| Scored { score: f64::from(*score), key: vec![n] })
                .collect();
            let mut sorted = all.clone();
            sorted.sort_by(|a, b| b.cmp(a));
            sorted.truncate(k);
            prop_assert_eq!(best(all, k), sorted);
        }
    }
}

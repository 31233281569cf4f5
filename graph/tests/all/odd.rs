//! Sets that a graph does not like: tiny ones, equal vectors, zeros, inner products.

use super::*;
use sochdb_graph::{Error, Result, Space};

#[test]
fn tiny_sets_are_found_whole() {
    for options in quick() {
        for count in [0_usize, 1, 2, 3, 33] {
            let vectors = Vectors::random(count, 4, 1);
            let bytes = built(&vectors, &options, &[]);
            let mut searcher = open(&bytes, &options, &vectors);
            let query = [0.5; 4];
            let mut search = |k, effort, allowed: &[u64]| {
                searcher.search(&mut vectors.query(&query), k, effort, allowed).expect("sound")
            };
            assert_eq!(search(100, 0, &[]).len(), count, "k beyond the set");
            assert_eq!(search(0, 100, &[]), [], "k is zero");
            assert_eq!(search(10, 10, &[0]), [], "nothing is allowed");
            assert_eq!(search(1, 1, &[]).len(), count.min(1));
        }
    }
}

#[test]
fn of_equal_vectors_as_many_are_found_as_are_wanted() {
    let one = Vectors::random(1, 8, 1);
    let vectors = one.select(std::iter::repeat_n(0, 1000));
    for options in quick() {
        let bytes = built(&vectors, &options, &[]);
        let mut searcher = open(&bytes, &options, &vectors);
        for k in [1, 10, 60] {
            let mut query = vectors.query(one.row(0));
            let found = searcher.search(&mut query, k, k, &[]).expect("a sound graph");
            assert_eq!(found.len(), k, "{options:?}");
        }
    }
}

#[test]
fn a_crowd_of_equal_vectors_does_not_hide_the_others() {
    let mut vectors = Vectors::random(1000, 8, 1);
    let copy = vectors.row(0).to_vec();
    for number in 0..500 {
        vectors.values[number * 8..][..8].copy_from_slice(&copy);
    }
    let queries = vectors.select(500..600);
    for options in quick() {
        let bytes = built(&vectors, &options, &[]);
        let mut searcher = open(&bytes, &options, &vectors);
        let found = recall(&mut searcher, (&vectors, &queries), (10, 40), &[]);
        assert!(0.95 <= found, "{options:?}: {found}");
    }
}

#[test]
fn zeros_are_a_set_like_any_other() {
    let vectors = Vectors { dim: 4, values: vec![0.0; 4 * 700] };
    for options in quick() {
        let bytes = built(&vectors, &options, &[]);
        let mut query = vectors.query(&[0.0; 4]);
        let found = open(&bytes, &options, &vectors).search(&mut query, 10, 20, &[]);
        assert_eq!(found.expect("a sound graph").len(), 20);
    }
}

/// Inner products with the other sign, of vectors of many lengths.
struct Products(Vectors);

impl Space for &Products {
    fn len(&self) -> u32 {
        self.0.count() as u32
    }

    fn between(&mut self, number: u32, others: &[u32], out: &mut Vec<f32>) -> Result<()> {
        let from = self.0.row(number);
        out.extend(others.iter().map(|&other| distance(from, self.0.row(other)) - 1.0));
        Ok(())
    }
}

#[test]
fn inner_products_of_vectors_of_many_lengths_are_walked_too() {
    let mut vectors = Vectors::random(1500, 12, 3);
    for number in 0..1500 {
        let length = 0.5 + (number % 97) as f32 / 97.0;
        vectors.values[number * 12..][..12].iter_mut().for_each(|value| *value *= length);
    }
    let (products, queries) = (Products(vectors), Vectors::random(50, 12, 4));
    for options in quick() {
        let graph = build(&mut &products, &options, &[]).expect("vectors in memory");
        let mut bytes = Bytes::default();
        graph.write(&mut bytes).expect("memory does not fail");
        let mut searcher = open(&bytes, &options, &products.0);
        let found = recall(&mut searcher, (&products.0, &queries), (10, 60), &[]);
        assert!(0.9 <= found, "{options:?}: {found}");
    }
}

/// A space that fails after some questions, or answers too few distances, or none that is a number.
struct Failing<'a>(&'a Vectors, usize, f32);

impl Space for Failing<'_> {
    fn len(&self) -> u32 {
        self.0.count() as u32
    }

    fn between(&mut self, number: u32, others: &[u32], out: &mut Vec<f32>) -> Result<()> {
        if self.1 == 0 && self.2 == 0.0 {
            return Err(Error::failed("the disk is gone"));
        }
        let mut vectors = self.0;
        vectors.between(number, others, out)?;
        if self.1 == 0 && self.2 == 1.0 {
            out.pop();
        } else if self.1 == 0 {
            out.iter_mut().for_each(|distance| *distance = self.2);
        }
        self.1 = self.1.saturating_sub(1);
        Ok(())
    }
}

#[test]
fn what_fails_outside_comes_back_in_its_own_words() {
    let vectors = Vectors::random(300, 4, 5);
    for options in quick() {
        let failed = build(&mut Failing(&vectors, 50, 0.0), &options, &[]);
        assert_eq!(failed.expect_err("it failed").to_string(), "the disk is gone");
        let short = build(&mut Failing(&vectors, 50, 1.0), &options, &[]);
        assert!(matches!(short, Err(Error::Failed(_))), "{options:?}: {short:?}");
    }
}

#[test]
fn distances_that_are_no_numbers_spoil_the_answer_and_nothing_else() {
    let vectors = Vectors::random(300, 4, 6);
    for options in quick() {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let graph = build(&mut Failing(&vectors, 50, odd), &options, &[]);
            assert_eq!(graph.expect("odd distances are distances").len(), 300);
        }
    }
}

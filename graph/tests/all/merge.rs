//! Taking over older graphs: entries that go, come and get other numbers.

use super::*;
use fastrand::Rng;
use sochdb_graph::{Error, GONE, Graph};

/// Which entries can be reached on the ground from where walks begin.
fn reachable(graph: &Graph) -> usize {
    let mut reached = vec![false; graph.len() as usize];
    let mut open = vec![graph.start()];
    reached[graph.start() as usize] = true;
    let mut count = 0;
    while let Some(number) = open.pop() {
        count += 1;
        for &link in graph.links(number) {
            assert_ne!(link, number, "no entry links to itself");
            if !std::mem::replace(&mut reached[link as usize], true) {
                open.push(link);
            }
        }
    }
    count
}

fn graph_of(mut vectors: &Vectors, options: &Options, parts: &[Part]) -> (Graph, Bytes) {
    let graph = build(&mut vectors, options, parts).expect("vectors in memory do not fail");
    assert_eq!(reachable(&graph), vectors.count(), "{options:?}: all can be reached");
    let mut bytes = Bytes::default();
    graph.write(&mut bytes).expect("memory does not fail");
    (graph, bytes)
}

/// Which row of a pool each entry is now, and what became of the entries before.
struct Churn {
    rows: Vec<u32>,
    random: Rng,
}

impl Churn {
    /// Lets each entry go with probability `share`, takes as many others, and shuffles the numbers; returns the
    /// new number of each entry before.
    fn replace(&mut self, pool: u32, share: f64) -> Vec<u32> {
        let before = std::mem::take(&mut self.rows);
        let random = &mut self.random;
        let kept: Vec<u32> = before.iter().copied().filter(|_| share < random.f64()).collect();
        let mut rows = kept.clone();
        while rows.len() < before.len() {
            let row = random.u32(0..pool);
            if !rows.contains(&row) && !before.contains(&row) {
                rows.push(row);
            }
        }
        random.shuffle(&mut rows);
        let number = |row: &u32| match kept.contains(row) {
            true => rows.iter().position(|other| other == row).expect("it was kept") as u32,
            false => GONE,
        };
        let numbers = before.iter().map(number).collect();
        self.rows = rows;
        numbers
    }
}

#[test]
fn after_any_merge_every_entry_can_be_reached() {
    for options in quick() {
        let pool = Vectors::random(2400, 6, 1);
        let mut churn = Churn { rows: (0..500).collect(), random: Rng::with_seed(2) };
        let (_, mut bytes) = graph_of(&pool.select(churn.rows.clone()), &options, &[]);
        for share in [0.0, 0.5, 0.3, 0.45, 0.1, 0.9] {
            let numbers = churn.replace(2400, share);
            let part = Part { graph: &&bytes, numbers: &numbers };
            (_, bytes) = graph_of(&pool.select(churn.rows.clone()), &options, &[part]);
        }
    }
}

#[test]
fn replacing_a_tenth_fifteen_times_costs_no_recall() {
    let (texts, _) = wordnet();
    let (pool, queries) = (texts.select(0..3400), texts.select(3400..4000));
    for options in quick() {
        let mut churn = Churn { rows: (0..1200).collect(), random: Rng::with_seed(3) };
        let mut vectors = pool.select(churn.rows.clone());
        let (_, mut bytes) = graph_of(&vectors, &options, &[]);
        for _ in 0..15 {
            let numbers = churn.replace(pool.count() as u32, 0.1);
            vectors = pool.select(churn.rows.clone());
            let part = Part { graph: &&bytes, numbers: &numbers };
            (_, bytes) = graph_of(&vectors, &options, &[part]);
        }
        let fresh = built(&vectors, &options, &[]);
        let [after, anew] = [&bytes, &fresh].map(|bytes| {
            let mut searcher = open(bytes, &options, &vectors);
            recall(&mut searcher, (&vectors, &queries), (10, 60), &[])
        });
        assert!(anew - after < 0.005, "{options:?}: {after} after, {anew} anew");
    }
}

#[test]
fn a_graph_of_the_other_kind_is_taken_over() {
    let (pool, queries) = wordnet();
    let (old, all) = (pool.select(0..1500), pool.select(0..2000));
    let numbers: Vec<u32> = (0..1500).collect();
    let [hnsw, vamana] = quick();
    for (from, to) in [(hnsw, vamana), (vamana, hnsw)] {
        let (_, bytes) = graph_of(&old, &from, &[]);
        let part = Part { graph: &&bytes, numbers: &numbers };
        let (graph, bytes) = graph_of(&all, &to, &[part]);
        assert_eq!(graph.kind(), to.kind());
        assert_eq!(graph.layers() > 1, to == hnsw, "HNSW gets its upper layers");
        let fresh = built(&all, &to, &[]);
        let [merged, anew] = [&bytes, &fresh].map(|bytes| {
            let mut searcher = open(bytes, &to, &all);
            recall(&mut searcher, (&all, &queries), (10, 60), &[])
        });
        assert!(anew - merged < 0.01, "to {to:?}: {merged} merged, {anew} anew");
    }
}

#[test]
fn parts_without_their_like_or_wholly_gone_are_built_anew() {
    let vectors = Vectors::random(400, 6, 4);
    for options in quick() {
        let fresh = built(&vectors, &options, &[]);
        let gone = vec![GONE; 400];
        let part = Part { graph: &&fresh, numbers: &gone };
        assert!(built(&vectors, &options, &[part]) == fresh, "all of it is gone");
        let mut broken = fresh.clone();
        broken.0[100] ^= 1;
        let numbers: Vec<u32> = (0..400).collect();
        let part = Part { graph: &&broken, numbers: &numbers };
        assert!(built(&vectors, &options, &[part]) == fresh, "its bytes were changed");
    }
}

#[test]
fn a_part_that_is_all_there_is_stays_as_it_is() {
    let vectors = Vectors::random(400, 6, 4);
    let numbers: Vec<u32> = (0..400).collect();
    for options in quick() {
        let fresh = built(&vectors, &options, &[]);
        let part = Part { graph: &&fresh, numbers: &numbers };
        assert!(built(&vectors, &options, &[part]) == fresh, "{options:?}");
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let vectors = Vectors::random(100, 6, 5);
    for options in quick() {
        let fresh = built(&vectors, &options, &[]);
        let count: Vec<u32> = (0..99).collect();
        let outside: Vec<u32> = (1..=100).collect();
        let twice: Vec<u32> = (0..100).map(|number| number / 2).collect();
        for numbers in [count, outside, twice] {
            let part = Part { graph: &&fresh, numbers: &numbers };
            let refused = build(&mut &vectors, &options, &[part]);
            assert!(matches!(refused, Err(Error::Invalid(_))), "{options:?}: {refused:?}");
        }
    }
}

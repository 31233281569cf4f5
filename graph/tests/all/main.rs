//! Graphs against the exact answers: on the texts of `data/`, on random vectors, and on bytes that were changed.

mod format;
mod merge;
mod odd;
mod recall;
mod support;

use sochdb_graph::{Hnsw, Memory, Options, Part, Searcher, Vamana, build};
use std::path::PathBuf;
use support::{Bytes, Vectors, distance};

/// Both kinds with their defaults.
fn kinds() -> [Options; 2] {
    [Options::Hnsw(Hnsw::default()), Options::Vamana(Vamana::default())]
}

/// The same with shorter lists, which build several times as fast.
fn quick() -> [Options; 2] {
    [
        Options::Hnsw(Hnsw { m: 8, m0: 16, ef_construction: 60, seed: 7 }),
        Options::Vamana(Vamana { r: 24, l: 40, alpha: 1.2, seed: 7 }),
    ]
}

/// The bytes of the graph of `vectors`.
fn built(mut vectors: &Vectors, options: &Options, parts: &[Part]) -> Bytes {
    let graph = build(&mut vectors, options, parts).expect("vectors in memory do not fail");
    let mut bytes = Bytes::default();
    graph.write(&mut bytes).expect("memory does not fail");
    bytes
}

fn open<'a>(bytes: &'a Bytes, options: &Options, vectors: &Vectors) -> Searcher<&'a Bytes> {
    let count = vectors.count() as u32;
    Searcher::open(bytes, options.kind(), count, Memory::Whole).expect("it was just written")
}

/// The share of the `k` nearest allowed entries that searches find; a hit counts by its distance.
fn recall(
    searcher: &mut Searcher<&Bytes>,
    (vectors, queries): (&Vectors, &Vectors),
    (k, effort): (usize, usize),
    allowed: &[u64],
) -> f64 {
    let (mut right, mut wanted) = (0, 0);
    for number in 0..queries.count() as u32 {
        let query = queries.row(number);
        let there = (0..vectors.count() as u32)
            .filter(|&number| support::is_allowed(allowed, number))
            .count();
        let kth = vectors.kth(query, k.min(there), allowed);
        let found = searcher
            .search(&mut vectors.query(query), k, effort, allowed)
            .expect("a sound graph over vectors in memory");
        assert!(found.iter().all(|&number| support::is_allowed(allowed, number)), "only allowed");
        assert!(found.len() <= k.max(effort), "no more than effort");
        let far = |&number: &u32| distance(query, vectors.row(number));
        assert!(found.is_sorted_by(|a, b| far(a) <= far(b)), "nearest first");
        let mut once = found.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), found.len(), "each once");
        right += found.iter().take(k).filter(|&number| far(number) <= kth).count();
        wanted += k.min(there);
    }
    right as f64 / wanted as f64
}

/// The texts of `data/`, and their queries.
fn wordnet() -> (Vectors, Vectors) {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data");
    let read = |name: &str| Vectors::read(&data.join(name));
    (read("wordnet-4k.base.f16bin"), read("wordnet-4k.query.f16bin"))
}

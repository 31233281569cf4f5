//! How much of the exact answer is found.

use super::*;
use support::some;

#[test]
fn defaults_find_the_nearest_texts() {
    let (texts, queries) = wordnet();
    let vectors = texts.select(0..2500);
    for options in kinds() {
        let bytes = built(&vectors, &options, &[]);
        let mut searcher = open(&bytes, &options, &vectors);
        let sets = (&vectors, &queries);
        let found = recall(&mut searcher, sets, (10, 100), &[]);
        assert!(0.985 <= found, "{options:?}: {found}");
        for share in [0.9, 0.5, 0.1, 0.02] {
            let allowed = some(vectors.count(), share, 3);
            let found = recall(&mut searcher, sets, (10, 100), &allowed);
            assert!(0.985 <= found, "{options:?}, share {share}: {found}");
        }
    }
}

#[test]
fn a_walk_among_few_allowed_entries_that_lie_together_finds_them() {
    let (vectors, queries) = wordnet();
    // Few of all, and the farthest from the query: the walk must go through what is not allowed.
    let query = queries.row(0);
    let mut far: Vec<u32> = (0..vectors.count() as u32).collect();
    far.sort_by(|&a, &b| {
        distance(query, vectors.row(b)).total_cmp(&distance(query, vectors.row(a)))
    });
    let mut allowed = vec![0_u64; vectors.count().div_ceil(64)];
    for &number in &far[..400] {
        allowed[number as usize / 64] |= 1 << (number % 64);
    }
    for options in quick() {
        let bytes = built(&vectors, &options, &[]);
        let mut searcher = open(&bytes, &options, &vectors);
        let one = queries.select([0]);
        let found = recall(&mut searcher, (&vectors, &one), (10, 20), &allowed);
        assert!(0.9 <= found, "{options:?}: {found}");
    }
}

#[test]
fn with_all_the_effort_there_is_the_answer_is_exact() {
    let (vectors, queries) = (Vectors::random(1500, 12, 1), Vectors::random(20, 12, 2));
    for options in quick() {
        let bytes = built(&vectors, &options, &[]);
        let mut searcher = open(&bytes, &options, &vectors);
        for share in [1.0, 0.5, 0.1, 0.01, 0.0] {
            let allowed = some(vectors.count(), share, 4);
            let wanted = (20, vectors.count());
            let found = recall(&mut searcher, (&vectors, &queries), wanted, &allowed);
            assert!(share == 0.0 || found == 1.0, "{options:?}, share {share}: {found}");
        }
        assert_eq!(recall(&mut searcher, (&vectors, &queries), (20, 1500), &[]), 1.0);
    }
}

#[test]
fn more_effort_finds_no_less() {
    let (vectors, queries) = (Vectors::random(2000, 16, 5), Vectors::random(50, 16, 6));
    for options in quick() {
        let bytes = built(&vectors, &options, &[]);
        let mut searcher = open(&bytes, &options, &vectors);
        let at =
            |searcher: &mut _, effort| recall(searcher, (&vectors, &queries), (10, effort), &[]);
        let curve = [10, 20, 40, 80].map(|effort| at(&mut searcher, effort));
        assert!(curve.is_sorted() && 0.95 <= curve[3], "{options:?}: {curve:?}");
    }
}

#[test]
fn a_small_cache_of_rows_finds_the_same() {
    let (vectors, queries) = (Vectors::random(2000, 16, 7), Vectors::random(30, 16, 8));
    for options in quick() {
        let bytes = built(&vectors, &options, &[]);
        let mut whole = open(&bytes, &options, &vectors);
        for memory in [Memory::Bytes(0), Memory::Bytes(16 << 10), Memory::Bytes(1 << 20)] {
            let mut paged =
                Searcher::open(&bytes, options.kind(), 2000, memory).expect("it was just written");
            for number in 0..queries.count() as u32 {
                let mut query = vectors.query(queries.row(number));
                let [one, other] = [&mut whole, &mut paged]
                    .map(|searcher| searcher.search(&mut query, 10, 40, &[]).expect("sound"));
                assert_eq!(one, other, "{options:?} with {memory:?}");
            }
        }
    }
}

#[test]
fn the_same_entries_settings_and_seed_give_the_same_bytes() {
    let vectors = Vectors::random(600, 8, 9);
    for options in quick() {
        assert!(built(&vectors, &options, &[]) == built(&vectors, &options, &[]), "{options:?}");
    }
    let other = Options::Hnsw(Hnsw { seed: 1, ..Hnsw::default() });
    assert!(built(&vectors, &kinds()[0], &[]) != built(&vectors, &other, &[]), "another seed");
}

#[test]
fn a_walk_asks_a_few_questions_about_a_part_of_the_entries() {
    let (vectors, queries) = wordnet();
    let options = kinds()[0];
    let bytes = built(&vectors, &options, &[]);
    let mut query = vectors.query(queries.row(0));
    open(&bytes, &options, &vectors).search(&mut query, 10, 64, &[]).expect("a sound graph");
    assert!(query.calls < 60, "{} questions", query.calls);
    assert!(query.asked < vectors.count() / 2, "{} distances", query.asked);
}

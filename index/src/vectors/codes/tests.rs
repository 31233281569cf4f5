//! What every kind of code owes: bytes that come back or are refused, distances that are near, and recall.

use super::*;
use crate::vectors::{Element, ExactQuery};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use sochdb_kernel::ErrorKind;
use std::sync::LazyLock;

const KINDS: [CodeKind; 5] =
    [CodeKind::Sq8, CodeKind::Rabitq4, CodeKind::Rabitq2, CodeKind::Rabitq1, CodeKind::Pq];
const METRICS: [Metric; 3] = [Metric::Cosine, Metric::InnerProduct, Metric::SquaredEuclidean];

/// The vectors and the queries of `data/`, in 384 dimensions.
static DATA: LazyLock<[Vec<Vec<f32>>; 2]> = LazyLock::new(|| {
    ["base", "query"].map(|name| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../data");
        let bytes = std::fs::read(format!("{folder}/wordnet-4k.{name}.f16bin")).unwrap();
        assert_eq!(&bytes[..8], b"SOCHF16\n");
        bytes[24..].chunks_exact(2 * 384).map(|row| decoded(Element::F16, row, 384)).collect()
    })
});

fn decoded(element: Element, row: &[u8], dim: usize) -> Vec<f32> {
    let mut vector = vec![0.0; dim];
    element.decode(row, &mut vector);
    vector
}

fn trained(kind: CodeKind, metric: Metric, dim: usize, vectors: &[Vec<f32>]) -> Codebook {
    let mut vector = |number: usize, out: &mut [f32]| {
        out.copy_from_slice(&vectors[number]);
        Ok(())
    };
    Codebook::train(kind, metric, dim, vectors.len(), &mut vector, 42).unwrap()
}

fn encoded(book: &Codebook, vector: &[f32]) -> Vec<u8> {
    let mut row = Vec::new();
    book.encode(vector, &mut row);
    assert_eq!(row.len(), book.row_bytes());
    row
}

fn distances(query: &CodeQuery, rows: &[Vec<u8>]) -> Vec<f32> {
    let mut out = Vec::new();
    query.distances(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut out);
    assert_eq!(out.len(), rows.len());
    out
}

fn random(seed: u64, count: usize, dim: usize) -> Vec<Vec<f32>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut value = || random.f32() + random.f32() - 1.0;
    (0..count).map(|_| (0..dim).map(|_| value()).collect()).collect()
}

/// The numbers of the `k` smallest of `distances`, the smallest first.
fn nearest(distances: &[f32], k: usize) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..distances.len()).collect();
    numbers.sort_by(|a, b| distances[*a].total_cmp(&distances[*b]).then(a.cmp(b)));
    numbers.truncate(k);
    numbers
}

fn shared(found: &[usize], wanted: &[usize]) -> f64 {
    wanted.iter().filter(|number| found.contains(number)).count() as f64 / wanted.len() as f64
}

/// Recall@10 of `kind` on the data, by codes alone, and after exact distances of the best `rescored`.
fn recall(kind: CodeKind, metric: Metric, rescored: usize) -> [f64; 2] {
    let [base, queries] = &*DATA;
    let book = trained(kind, metric, 384, base);
    let rows: Vec<_> = base.iter().map(|vector| encoded(&book, vector)).collect();
    let mut recall = [0.0; 2];
    for query in queries {
        let exact: Vec<f32> = base.iter().map(|vector| metric.distance(query, vector)).collect();
        let wanted = nearest(&exact, 10);
        let best = nearest(&distances(&book.query(query), &rows), rescored);
        let of_best: Vec<f32> = best.iter().map(|number| exact[*number]).collect();
        let found: Vec<usize> = nearest(&of_best, 10).into_iter().map(|at| best[at]).collect();
        recall[0] += shared(&best[..10], &wanted) / queries.len() as f64;
        recall[1] += shared(&found, &wanted) / queries.len() as f64;
    }
    println!(
        "{kind}, {metric}: {:.3} raw, {:.4} after {rescored} exact ones",
        recall[0], recall[1]
    );
    recall
}

fn recall_is(kind: CodeKind, metric: Metric, rescored: usize, [raw, exact]: [f64; 2]) {
    let found = recall(kind, metric, rescored);
    assert!(raw <= found[0], "{kind}, {metric}: {} is less than {raw}", found[0]);
    assert!(exact <= found[1], "{kind}, {metric}: {} is less than {exact}", found[1]);
}

#[test]
fn sq8_finds_nearly_all_neighbours() {
    recall_is(CodeKind::Sq8, Metric::Cosine, 50, [0.985, 0.999]);
}

#[test]
fn four_bits_find_most_neighbours() {
    recall_is(CodeKind::Rabitq4, Metric::Cosine, 50, [0.94, 0.999]);
}

#[test]
fn two_bits_find_most_neighbours() {
    recall_is(CodeKind::Rabitq2, Metric::Cosine, 50, [0.83, 0.995]);
}

#[test]
fn one_bit_leads_to_most_neighbours() {
    recall_is(CodeKind::Rabitq1, Metric::Cosine, 100, [0.66, 0.985]);
}

#[test]
fn product_quantisation_leads_to_most_neighbours() {
    recall_is(CodeKind::Pq, Metric::Cosine, 200, [0.4, 0.94]);
}

#[test]
fn every_kind_orders_like_the_exact_distance_under_every_metric() {
    // Vectors of different lengths, away from zero: the metrics disagree, and the mean matters.
    let (dim, count) = (100, 300);
    let mut vectors = random(1, count, dim);
    for (number, vector) in vectors.iter_mut().enumerate() {
        let size = 0.5 + (number % 7) as f32;
        vector.iter_mut().for_each(|x| *x = (*x + 0.3) * size);
    }
    let (base, queries) = vectors.split_at(count - 20);
    for metric in METRICS {
        for kind in KINDS {
            let book = trained(kind, metric, dim, base);
            let rows: Vec<_> = base.iter().map(|vector| encoded(&book, vector)).collect();
            let (mut by_vector, mut by_code, mut inverted) = (0.0, 0.0, 0.0);
            for query in queries {
                let exact: Vec<f32> = base.iter().map(|v| metric.distance(query, v)).collect();
                let code = encoded(&book, query);
                by_vector += correlation(&exact, &distances(&book.query(query), &rows));
                by_code += correlation(&exact, &distances(&book.row_query(&code), &rows));
                let opposite: Vec<f32> = query.iter().map(|x| -x).collect();
                inverted += correlation(&exact, &distances(&book.query(&opposite), &rows));
            }
            let all = [by_vector, by_code, inverted].map(|sum| sum / queries.len() as f64);
            println!("{kind}, {metric}: {all:.3?}");
            let floor = match kind {
                CodeKind::Sq8 | CodeKind::Rabitq4 => 0.98,
                CodeKind::Rabitq2 => 0.88,
                CodeKind::Rabitq1 | CodeKind::Pq => 0.6,
            };
            assert!(floor < all[0], "{kind}, {metric}: {}", all[0]);
            assert!(floor * floor < all[1], "{kind}, {metric}, code against code: {}", all[1]);
            if metric != Metric::SquaredEuclidean {
                assert!(all[2] < -floor, "{kind}, {metric}, opposite: {}", all[2]);
            }
        }
    }
}

/// Pearson's coefficient.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let mean = |all: &[f32]| all.iter().map(|x| f64::from(*x)).sum::<f64>() / all.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let product = |a: &[f32], mean_a: f64, b: &[f32], mean_b: f64| -> f64 {
        let terms = a.iter().zip(b);
        terms.map(|(a, b)| (f64::from(*a) - mean_a) * (f64::from(*b) - mean_b)).sum()
    };
    let lengths = product(a, mean_a, a, mean_a) * product(b, mean_b, b, mean_b);
    product(a, mean_a, b, mean_b) / lengths.sqrt()
}

#[test]
fn the_exact_distance_is_within_the_error_of_each_kind() {
    for dim in [3, 64, 384, 1000] {
        let vectors = random(dim as u64, 260, dim);
        for metric in METRICS {
            for kind in KINDS {
                let book = trained(kind, metric, dim, &vectors);
                let rows: Vec<_> = vectors.iter().map(|vector| encoded(&book, vector)).collect();
                let found = distances(&book.query(&vectors[0]), &rows);
                let norm = |v: &Vec<f32>| {
                    if metric == Metric::Cosine { 1.0 } else { crate::vectors::norm(v) }
                };
                let part = match kind {
                    CodeKind::Sq8 => 0.02,
                    CodeKind::Rabitq4 => 0.12,
                    CodeKind::Rabitq2 => 0.5,
                    _ => 1.5,
                };
                for (vector, found) in vectors.iter().zip(found) {
                    let exact = metric.distance(&vectors[0], vector);
                    let bound = part * 2.0 * norm(vector) * norm(&vectors[0]);
                    let error = (exact - found).abs();
                    assert!(error <= bound, "{kind}, {metric}, {dim}: {found} instead of {exact}");
                }
            }
        }
    }
}

#[test]
fn a_codebook_comes_back_from_its_bytes_and_works_the_same() {
    for kind in KINDS {
        for metric in METRICS {
            for dim in [1, 3, 70] {
                let vectors = random(9, 30, dim);
                let book = trained(kind, metric, dim, &vectors);
                let bytes = book.to_bytes();
                let again = Codebook::from_bytes(kind, metric, dim, &bytes).unwrap();
                assert_eq!(bytes, again.to_bytes());
                assert_eq!(bytes, trained(kind, metric, dim, &vectors).to_bytes());
                let rows: Vec<_> = vectors.iter().map(|vector| encoded(&book, vector)).collect();
                assert_eq!(rows[7], encoded(&again, &vectors[7]));
                let query = random(10, 1, dim).remove(0);
                let [a, b] = [&book, &again].map(|book| distances(&book.query(&query), &rows));
                assert_eq!(a, b);
                let [a, b] =
                    [&book, &again].map(|book| distances(&book.row_query(&rows[3]), &rows));
                assert_eq!(a, b);
            }
        }
    }
}

#[test]
fn hard_vectors_become_codes_with_finite_distances() {
    for dim in [1, 3, 65, 4096] {
        let huge = |sign: f32| vec![sign * f32::MAX; dim];
        let mut hard = vec![vec![0.0; dim], vec![1.0; dim], vec![-1.0; dim], vec![1e-40; dim]];
        hard.extend([huge(1.0), huge(-1.0), vec![1e-20; dim], vec![3e18; dim]]);
        hard.push(
            (0..dim).map(|index| if index == 0 { f32::MAX } else { f32::MIN_POSITIVE }).collect(),
        );
        for metric in METRICS {
            // PQ's tables of all centroids take long in so many dimensions.
            for kind in KINDS.into_iter().filter(|kind| dim < 4096 || *kind != CodeKind::Pq) {
                for learned in [&hard[..0], &hard[..1], &hard[1..2], &hard[..]] {
                    let book = trained(kind, metric, dim, learned);
                    let again = Codebook::from_bytes(kind, metric, dim, &book.to_bytes());
                    assert!(again.is_ok() || learned.len() == hard.len());
                    let rows: Vec<_> = hard.iter().map(|vector| encoded(&book, vector)).collect();
                    for (vector, row) in hard.iter().zip(&rows) {
                        let found = distances(&book.query(vector), &rows);
                        assert!(found.iter().all(|x| x.is_finite()), "{kind} {metric} {dim}");
                        let found = distances(&book.row_query(row), &rows);
                        assert!(found.iter().all(|x| x.is_finite()), "{kind} {metric} {dim}");
                    }
                }
            }
        }
    }
}

#[test]
fn sq8_knows_that_a_zero_vector_has_distance_1_and_a_vector_itself_has_none() {
    let vectors = random(3, 2, 50);
    for metric in [Metric::Cosine, Metric::SquaredEuclidean] {
        let book = trained(CodeKind::Sq8, metric, 50, &vectors);
        let rows = vec![encoded(&book, &vectors[0]), encoded(&book, &[0.0; 50])];
        let found = distances(&book.row_query(&rows[0]), &rows);
        match metric {
            Metric::Cosine => assert_eq!(found[1], 1.0),
            _ => assert_eq!(found[0], 0.0),
        }
        let found = distances(&book.row_query(&rows[1]), &rows[..1]);
        let exact = metric.distance(&[0.0; 50], &vectors[0]);
        assert!((found[0] - exact).abs() < 0.01 * exact, "{} {exact}", found[0]);
    }
}

#[test]
fn equal_vectors_are_equally_far() {
    for kind in KINDS {
        for metric in METRICS {
            let vectors = vec![vec![0.25; 20]; 300];
            let book = trained(kind, metric, 20, &vectors);
            let rows: Vec<_> = vectors.iter().map(|vector| encoded(&book, vector)).collect();
            let found = distances(&book.query(&vectors[0]), &rows);
            assert!(found.iter().all(|x| *x == found[0]));
            let exact = metric.distance(&vectors[0], &vectors[1]);
            assert!((found[0] - exact).abs() < 1e-2, "{kind}, {metric}: {}", found[0]);
        }
    }
}

#[test]
fn rows_of_other_lengths_are_as_far_as_can_be() {
    for kind in KINDS {
        let book = trained(kind, Metric::SquaredEuclidean, 10, &random(1, 5, 10));
        let query = book.query(&[1.0; 10]);
        let long = vec![7; book.row_bytes() + 1];
        let rows = [vec![], vec![0; 3], long[..book.row_bytes() - 1].to_vec(), long];
        assert_eq!(distances(&query, &rows), [f32::MAX; 4]);
        let good = vec![0; book.row_bytes()];
        for row in &rows {
            assert!(distances(&book.row_query(row), std::slice::from_ref(&good))[0].is_finite());
        }
    }
}

#[test]
fn an_error_of_the_source_is_handed_on() {
    for kind in [CodeKind::Rabitq4, CodeKind::Pq] {
        let mut fails = |_: usize, _: &mut [f32]| Err(KernelError::invalid("gone"));
        let made = Codebook::train(kind, Metric::Cosine, 4, 2, &mut fails, 0);
        assert_eq!(made.err().unwrap().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a_large_set_is_sampled_evenly() {
    let mut asked = Vec::new();
    let mut vector = |number: usize, out: &mut [f32]| {
        asked.push(number);
        out.fill(1.0);
        Ok(())
    };
    Codebook::train(CodeKind::Rabitq1, Metric::InnerProduct, 1, 100_000, &mut vector, 0).unwrap();
    assert_eq!(asked.len(), SAMPLE_MAX);
    assert_eq!((asked[0], asked[1], asked[SAMPLE_MAX - 1]), (0, 6, 99_993));
}

fn check(kind: CodeKind, metric: Metric, expect: Expect) {
    let vectors = [vec![1.0, 2.0], vec![3.0, -4.0]];
    let book = trained(kind, metric, 2, &vectors);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let bytes = book.to_bytes();
    let row = encoded(&book, &vectors[1]);
    let shown = bytes.len().min(60);
    let crc = crc(&bytes);
    expect.assert_eq(&format!("{} {} {crc:08x} {}", hex(&bytes[..shown]), bytes.len(), hex(&row)));
}

#[test]
fn the_bytes_of_codebooks_and_codes_are_these() {
    check(
        CodeKind::Sq8,
        Metric::Cosine,
        expect!["5343424b0101010002000000d8769565 16 48674bc7 a069ce3b5f810000"],
    );
    check(
        CodeKind::Sq8,
        Metric::SquaredEuclidean,
        expect!["5343424b01010300020000001bd619be 16 48674bc7 0402013d5f9fc7415f810000"],
    );
    check(
        CodeKind::Rabitq4,
        Metric::InnerProduct,
        expect![
            "5343424b01020200020000002a0000000000000000000040000080bf43168674 32 48674bc7 75b2743d0000a04087a5a8ca6b5ebb6a4b6a3986808493d57a6268596af969cb998d76f248d74b26"
        ],
    );
    check(
        CodeKind::Rabitq2,
        Metric::InnerProduct,
        expect![
            "5343424b01030200020000002a0000000000000000000040000080bf7be65501 32 48674bc7 89f3633e0000a04069616a7a5adb7ade8a9e46e128e46c35"
        ],
    );
    check(
        CodeKind::Rabitq1,
        Metric::SquaredEuclidean,
        expect![
            "5343424b01040300020000002a0000000000000000000040000080bf96ae9711 32 48674bc7 39fff83e000020419e9a17b52de53d65"
        ],
    );
    check(
        CodeKind::Pq,
        Metric::SquaredEuclidean,
        expect![
            "5343424b01050300020000000000803f0000404000000000000000000000000000000000000000000000000000000000000000000000000000000000 2064 48674bc7 01010000"
        ],
    );
}

#[test]
fn every_cut_and_every_flipped_bit_of_a_codebook_is_noticed() {
    for kind in KINDS {
        let book = trained(kind, Metric::Cosine, 2, &random(1, 5, 2));
        let bytes = book.to_bytes();
        let refused = |bytes: &[u8]| {
            let made = Codebook::from_bytes(kind, Metric::Cosine, 2, bytes);
            made.err().is_some_and(|error| error.kind() == ErrorKind::Corrupt)
        };
        assert!((0..bytes.len()).all(|length| refused(&bytes[..length])));
        assert!(refused(&[&bytes[..], &[0]].concat()));
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(refused(&flipped), "{kind}, bit {bit}");
        }
    }
}

#[test]
fn a_codebook_of_another_shape_or_with_numbers_that_are_none_is_refused() {
    let bytes = trained(CodeKind::Rabitq4, Metric::Cosine, 3, &random(1, 5, 3)).to_bytes();
    let refused = |kind, metric, dim, bytes: &[u8]| {
        let made = Codebook::from_bytes(kind, metric, dim, bytes);
        made.err().is_some_and(|error| error.kind() == ErrorKind::Corrupt)
    };
    assert!(refused(CodeKind::Rabitq2, Metric::Cosine, 3, &bytes));
    assert!(refused(CodeKind::Rabitq4, Metric::InnerProduct, 3, &bytes));
    assert!(refused(CodeKind::Rabitq4, Metric::Cosine, 4, &bytes));
    let mut infinite = bytes[..bytes.len() - 4].to_vec();
    infinite.truncate(bytes.len() - 8);
    infinite.extend(f32::INFINITY.to_le_bytes());
    infinite.extend(crc(&infinite).to_le_bytes());
    assert!(refused(CodeKind::Rabitq4, Metric::Cosine, 3, &infinite));
}

#[test]
fn exact_distances_of_rows_equal_those_of_decoded_vectors() {
    for dim in [1, 3, 31, 32, 33, 384, 4096] {
        let vectors = random(dim as u64, 4, dim);
        for metric in METRICS {
            for element in [Element::F32, Element::F16, Element::I8] {
                let query = ExactQuery::new(metric, element, &vectors[0]);
                for vector in &vectors {
                    let mut row = Vec::new();
                    element.encode(vector, &mut row);
                    let exact = metric.distance(&vectors[0], &decoded(element, &row, dim));
                    assert_eq!(query.distance(&row).to_bits(), exact.to_bits());
                    assert_eq!(query.distance(&row[1..]), f32::MAX);
                    let mut all = Vec::new();
                    query.distances(&[&*row; 10], &mut all);
                    assert_eq!(all, [exact; 10]);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sq8_is_within_its_rounding(
        pairs in proptest::collection::vec((-1000f32..1000.0, -1000f32..1000.0), 1..200),
    ) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let book = trained(CodeKind::Sq8, Metric::InnerProduct, a.len(), &[]);
        let found = distances(&book.query(&a), &[encoded(&book, &b)])[0];
        let exact = Metric::InnerProduct.distance(&a, &b);
        let greatest = |v: &[f32]| v.iter().fold(0f32, |max, x| max.max(x.abs()));
        let sum = |v: &[f32]| v.iter().map(|x| x.abs()).sum::<f32>();
        // Half a step of the row for each of the query's values, half a (much smaller) one the other way round.
        let bound = sum(&a) * greatest(&b) / 254.0 * 1.02 + sum(&b) * greatest(&a) / 60_000.0;
        prop_assert!((found - exact).abs() <= bound + 1e-3, "{} {} {}", found, exact, bound);
    }

    #[test]
    fn arbitrary_bytes_are_no_codebook(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        for kind in KINDS {
            prop_assert!(Codebook::from_bytes(kind, Metric::Cosine, 3, &bytes).is_err());
        }
    }

    #[test]
    fn arbitrary_rows_have_finite_distances(
        bytes in proptest::collection::vec(any::<u8>(), 600),
        dim in 1usize..100,
    ) {
        for kind in KINDS {
            for metric in METRICS {
                let book = trained(kind, metric, dim, &[]);
                let row = bytes[..book.row_bytes()].to_vec();
                let mut found = distances(&book.query(&vec![1.0; dim]), std::slice::from_ref(&row));
                found.extend(distances(&book.row_query(&row), std::slice::from_ref(&row)));
                prop_assert!(found.iter().all(|x| x.is_finite()));
            }
        }
    }
}

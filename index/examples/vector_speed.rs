//! How long comparing a vector with a stored one takes, by what is stored: nanoseconds a row.
//!
//! ```text
//!   cargo run --release -p sochdb-index --example vector_speed [DIM]
//! ```
//!
//! `in cache` goes over 16 rows again and again, `in memory` over 200,000 in an order that no prefetcher guesses.

use sochdb_index::vectors::{CodeKind, Codebook, Element, ExactQuery, Metric};
use std::hint::black_box;
use std::time::{Duration, Instant};

const CACHED_ROWS: usize = 16;
const ROWS: usize = 200_000;
/// How long each figure is measured; the fastest pass counts.
const TIME: Duration = Duration::from_millis(300);

fn main() {
    let dim = std::env::args().nth(1).and_then(|dim| dim.parse().ok()).unwrap_or(384);
    println!("{dim} dimensions, nanoseconds");
    println!(
        "{:24} {:>6} {:>9} {:>10} {:>10} {:>9} {:>10}",
        "stored as", "bytes", "in cache", "in memory", "encode", "query", "row_query"
    );
    for metric in [Metric::Cosine, Metric::SquaredEuclidean] {
        let vectors: Vec<Vec<f32>> = (0..1000).map(|number| vector(number, dim)).collect();
        for element in [Element::F32, Element::F16, Element::I8] {
            exact(metric, element, &vectors);
        }
        for kind in
            [CodeKind::Sq8, CodeKind::Rabitq4, CodeKind::Rabitq2, CodeKind::Rabitq1, CodeKind::Pq]
        {
            coded(metric, kind, &vectors);
        }
    }
}

fn exact(metric: Metric, element: Element, vectors: &[Vec<f32>]) {
    let dim = vectors[0].len();
    let mut row = Vec::new();
    let encode = per_call(vectors.len(), |number| {
        row.clear();
        element.encode(&vectors[number], &mut row);
    });
    let rows: Vec<Vec<u8>> =
        vectors.iter().map(|vector| encoded(|out| element.encode(vector, out))).collect();
    let new = |number: usize| ExactQuery::new(metric, element, &vectors[number]);
    let query = per_call(vectors.len(), |number| drop(black_box(new(number))));
    let prepared = new(0);
    let mut out = Vec::new();
    let [cached, memory] = over(element.row_bytes(dim), &rows, |rows| {
        out.clear();
        prepared.distances(rows, &mut out);
    });
    print(
        &format!("{element} {metric}"),
        element.row_bytes(dim),
        [cached, memory, encode, query],
        None,
    );
}

fn coded(metric: Metric, kind: CodeKind, vectors: &[Vec<f32>]) {
    let mut of = |number: usize, out: &mut [f32]| {
        out.copy_from_slice(&vectors[number]);
        Ok(())
    };
    let (dim, count) = (vectors[0].len(), vectors.len());
    let book = Codebook::train(kind, metric, dim, count, &mut of, 1).expect("vectors are there");
    let mut row = Vec::new();
    let encode = per_call(count, |number| {
        row.clear();
        book.encode(&vectors[number], &mut row);
    });
    let query = per_call(count, |number| drop(black_box(book.query(&vectors[number]))));
    let rows: Vec<Vec<u8>> =
        vectors.iter().map(|vector| encoded(|out| book.encode(vector, out))).collect();
    let row_query = per_call(count, |number| drop(black_box(book.row_query(&rows[number]))));
    let prepared = book.query(&vectors[0]);
    let mut out = Vec::new();
    let times = over(book.row_bytes(), &rows, |rows| {
        out.clear();
        prepared.distances(rows, &mut out);
    });
    print(
        &format!("{kind} {metric}"),
        book.row_bytes(),
        [times[0], times[1], encode, query],
        Some(row_query),
    );
}

/// The time a row takes when `use_` gets few rows, and when it gets many.
fn over(row_bytes: usize, rows: &[Vec<u8>], mut use_: impl FnMut(&[&[u8]])) -> [f64; 2] {
    [CACHED_ROWS, ROWS].map(|count| {
        let mut bytes = Vec::with_capacity(count * row_bytes);
        (0..count).for_each(|row| bytes.extend_from_slice(&rows[row % rows.len()]));
        // A step that shares no factor with the count reaches every row.
        let step = if count == ROWS { 77_777 } else { 1 };
        let starts: Vec<usize> =
            (0..count).map(|number| number * step % count * row_bytes).collect();
        let rows: Vec<&[u8]> =
            starts.iter().map(|start| &bytes[*start..*start + row_bytes]).collect();
        per_call(1, |_| use_(&rows)) / count as f64
    })
}

/// The time of `call` in nanoseconds, of the fastest of several passes over its `count` arguments.
fn per_call(count: usize, mut call: impl FnMut(usize)) -> f64 {
    let (begun, mut best) = (Instant::now(), f64::MAX);
    while begun.elapsed() < TIME {
        let pass = Instant::now();
        (0..count).for_each(&mut call);
        best = best.min(pass.elapsed().as_nanos() as f64 / count as f64);
    }
    best
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

fn print(
    name: &str,
    bytes: usize,
    [cached, memory, encode, query]: [f64; 4],
    row_query: Option<f64>,
) {
    let row_query = row_query.map_or(String::new(), |time| format!("{time:.0}"));
    println!(
        "{name:24} {bytes:6} {cached:9.1} {memory:10.1} {encode:10.0} {query:9.0} {row_query:>10}"
    );
}

/// A vector like no other: a wave of its own, and noise.
fn vector(number: usize, dim: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(number as u64);
    (0..dim).map(|index| (index as f32 * number as f32).sin() + random.f32() - 0.5).collect()
}

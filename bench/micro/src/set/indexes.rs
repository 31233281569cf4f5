//! Indexes: distances, both kinds of graph, the ordered index; natively.
//!
//! 1,000 random directions of 64 values. Which instructions a distance is made of depends on the processor: see
//! `baseline`.

use super::data::key;
use super::{Micro, Run};
use fastrand::Rng;
use sochdb_encoding::range::KeyRange;
use sochdb_graph::{Blob, Error, Hnsw, Memory, Options, Result, Searcher, Sink, Space, Target};
use sochdb_graph::{Vamana, build};
use sochdb_index::vectors::{CodeKind, Codebook, Element, ExactQuery, Metric, dot};
use sochdb_plugin_btree_index::{SegmentReader, Source, write};
use std::hint::black_box;

const COUNT: u32 = 1_000;
const DIM: usize = 64;
/// Searches of one run, and what each is for.
const SEARCHES: u64 = 10;
const K: usize = 10;
const EFFORT: usize = 50;

pub(super) const MICROS: &[Micro] = &[
    Micro::new("vectors.dot-384", 100, dot_384),
    Micro::new("vectors.distance-f32", COUNT as u64, || exact(Element::F32)),
    Micro::new("vectors.distance-f16", COUNT as u64, || exact(Element::F16)),
    Micro::new("vectors.distance-i8", COUNT as u64, || exact(Element::I8)),
    Micro::new("vectors.distance-sq8", COUNT as u64, || coded(CodeKind::Sq8)),
    Micro::new("vectors.distance-rabitq4", COUNT as u64, || coded(CodeKind::Rabitq4)),
    Micro::new("vectors.distance-rabitq1", COUNT as u64, || coded(CodeKind::Rabitq1)),
    Micro::new("hnsw.search", SEARCHES, || search(hnsw())),
    Micro::new("hnsw.search-tenth-allowed", SEARCHES, || search_filtered(hnsw())),
    Micro::new("hnsw.build-1000", 1, || built(hnsw())),
    Micro::new("vamana.search", SEARCHES, || search(vamana())),
    Micro::new("vamana.build-1000", 1, || built(vamana())),
    Micro::new("btree-index.write-10000", 1, ordered_write),
    Micro::new("btree-index.lookup", 100, ordered_lookup),
];

/// Shorter lists than the defaults: building takes a tenth of the time, searching is the same code.
fn hnsw() -> Options {
    Options::Hnsw(Hnsw { m: 8, m0: 16, ef_construction: 40, seed: 7 })
}

fn vamana() -> Options {
    Options::Vamana(Vamana { r: 16, l: 40, alpha: 1.2, seed: 7 })
}

/// Vectors side by side.
#[derive(Clone)]
struct Vectors(Vec<f32>);

impl Vectors {
    fn random(count: usize, dim: usize, seed: u64) -> Vectors {
        let mut rng = Rng::with_seed(seed);
        let mut values: Vec<f32> = (0..count * dim).map(|_| rng.f32() - 0.5).collect();
        for row in values.chunks_mut(dim) {
            let length = dot(row, row).sqrt();
            row.iter_mut().for_each(|value| *value /= length);
        }
        Vectors(values)
    }

    fn row(&self, number: u32) -> &[f32] {
        &self.0[number as usize * DIM..][..DIM]
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.0.chunks(DIM)
    }
}

impl Space for &Vectors {
    fn len(&self) -> u32 {
        COUNT
    }

    fn between(&mut self, number: u32, others: &[u32], out: &mut Vec<f32>) -> Result<()> {
        let from = self.row(number);
        out.extend(others.iter().map(|&other| 1.0 - dot(from, self.row(other))));
        Ok(())
    }
}

/// A vector that neighbours are looked for.
struct Question<'a>(&'a Vectors, &'a [f32]);

impl Target for Question<'_> {
    fn distances(&mut self, numbers: &[u32], out: &mut Vec<f32>) -> Result<()> {
        out.extend(numbers.iter().map(|&number| 1.0 - dot(self.1, self.0.row(number))));
        Ok(())
    }
}

/// A graph's bytes.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Sink for Bytes {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl Blob for Bytes {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>> {
        let bytes = self.0.get(offset as usize..).and_then(|rest| rest.get(..len as usize));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| Error::failed("past the end"))
    }
}

fn dot_384() -> Run {
    let vectors = Vectors::random(2, 384, 1);
    Box::new(move || {
        let (a, b) = vectors.0.split_at(384);
        for _ in 0..100 {
            black_box(dot(black_box(a), black_box(b)));
        }
    })
}

fn exact(element: Element) -> Run {
    let vectors = Vectors::random(COUNT as usize + 1, DIM, 1);
    let (mut rows, bytes) = (Vec::new(), element.row_bytes(DIM));
    vectors.rows().for_each(|vector| element.encode(vector, &mut rows));
    let query = ExactQuery::new(Metric::Cosine, element, vectors.row(COUNT));
    let rows: Vec<&[u8]> = rows.leak().chunks(bytes).collect();
    Box::new(move || {
        let mut out = Vec::with_capacity(COUNT as usize + 1);
        query.distances(&rows, &mut out);
        black_box(out);
    })
}

fn coded(kind: CodeKind) -> Run {
    let vectors = Vectors::random(COUNT as usize + 1, DIM, 1);
    let mut vector = |number: usize, out: &mut [f32]| {
        out.copy_from_slice(vectors.row(number as u32));
        Ok(())
    };
    let book = Codebook::train(kind, Metric::Cosine, DIM, COUNT as usize, &mut vector, 7)
        .expect("vectors in memory do not fail");
    let (mut rows, bytes) = (Vec::new(), book.row_bytes());
    vectors.rows().for_each(|vector| book.encode(vector, &mut rows));
    let query = book.query(vectors.row(COUNT));
    let rows: Vec<&[u8]> = rows.leak().chunks(bytes).collect();
    Box::new(move || {
        let mut out = Vec::with_capacity(COUNT as usize + 1);
        query.distances(&rows, &mut out);
        black_box(out);
    })
}

fn graph(vectors: &Vectors, options: &Options) -> Bytes {
    let graph = build(&mut &*vectors, options, &[]).expect("vectors in memory do not fail");
    let mut bytes = Bytes::default();
    graph.write(&mut bytes).expect("memory does not fail");
    bytes
}

fn built(options: Options) -> Run {
    let vectors = Vectors::random(COUNT as usize, DIM, 1);
    Box::new(move || {
        black_box(graph(&vectors, &options));
    })
}

fn search(options: Options) -> Run {
    search_allowed(options, Vec::new())
}

/// Of the entries, every tenth may be found.
fn search_filtered(options: Options) -> Run {
    let mut allowed = vec![0; COUNT.div_ceil(64) as usize];
    (0..COUNT as usize).step_by(10).for_each(|number| allowed[number / 64] |= 1 << (number % 64));
    search_allowed(options, allowed)
}

fn search_allowed(options: Options, allowed: Vec<u64>) -> Run {
    let vectors = Vectors::random(COUNT as usize, DIM, 1);
    let questions = Vectors::random(SEARCHES as usize, DIM, 2);
    let bytes = graph(&vectors, &options);
    let mut searcher = Searcher::open(bytes, options.kind(), COUNT, Memory::Whole).expect("sound");
    let mut run = move || {
        for question in questions.rows() {
            let mut target = Question(&vectors, question);
            let found = searcher.search(&mut target, K, EFFORT, &allowed).expect("a sound graph");
            assert!(K <= black_box(found).len());
        }
    };
    // What searches use again and again is allocated afterwards.
    run();
    Box::new(run)
}

/// The index of 10,000 keys, in memory.
struct Ordered(Vec<u8>);

impl Source for Ordered {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> sochdb_guest::Result<Vec<u8>> {
        Ok(self.0[offset as usize..][..len].to_vec())
    }
}

fn ordered(bytes: &[u8], ends: &[u32]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut append = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        Ok(())
    };
    write(bytes, ends, &mut append).expect("memory does not fail");
    out
}

/// Values side by side, and where each ends.
fn values() -> (Vec<u8>, Vec<u32>) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for number in 0..10_000 {
        bytes.extend(key(number));
        ends.push(bytes.len() as u32);
    }
    (bytes, ends)
}

fn ordered_write() -> Run {
    let (bytes, ends) = values();
    Box::new(move || {
        black_box(ordered(&bytes, &ends));
    })
}

fn ordered_lookup() -> Run {
    let (bytes, ends) = values();
    let segment = Ordered(ordered(&bytes, &ends));
    let mut reader = SegmentReader::open(segment, ends.len() as u32).expect("it was just written");
    let ranges: Vec<KeyRange> = (0..100).map(|number| KeyRange::from(key(number * 97)..)).collect();
    let mut run = move || {
        for range in &ranges {
            let found = reader.lookup(range, false, 10, |_| true).expect("a sound segment");
            assert!(!black_box(found).is_empty());
        }
    };
    // The blocks are in its cache afterwards.
    run();
    Box::new(run)
}

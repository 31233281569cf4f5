//! How fast graphs are built and searched here, in one thread and outside of any sandbox.
//!
//! `cargo run --release -p sochdb-graph --example build_speed [BASE QUERIES]`: files of vectors as in
//! `data/README.md`, or `.f32bin`; without them those of `data/`. A hit counts by its distance, not its number.

#[path = "../tests/all/support.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod support;

use sochdb_graph::{Hnsw, Kind, Memory, Options, Result, Searcher, Space, Vamana, build};
use std::path::PathBuf;
use std::time::Instant;
use support::{Bytes, Vectors, distance};

const K: usize = 10;

/// Vectors that count what they are asked while a graph is built.
struct Counted<'a> {
    vectors: &'a Vectors,
    asked: usize,
    calls: usize,
}

impl Space for Counted<'_> {
    fn len(&self) -> u32 {
        self.vectors.count() as u32
    }

    fn between(&mut self, number: u32, others: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.calls += 1;
        self.asked += others.len();
        let mut vectors = self.vectors;
        vectors.between(number, others, out)
    }
}

fn main() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data");
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let base = paths.next().unwrap_or_else(|| data.join("wordnet-4k.base.f16bin"));
    let queries = paths.next().unwrap_or_else(|| data.join("wordnet-4k.query.f16bin"));
    let (base, queries) = (Vectors::read(&base), Vectors::read(&queries));
    let count = base.count();
    let rows: Vec<&[f32]> = (0..queries.count() as u32).map(|number| queries.row(number)).collect();
    let exact: Vec<f32> = rows.iter().map(|row| base.kth(row, K, &[])).collect();
    println!("{count} vectors of {} dimensions, {} queries, recall@{K}", base.dim, rows.len());
    let mut kinds = vec![Options::Hnsw(Hnsw::default()), Options::Vamana(Vamana::default())];
    if let Ok(only) = std::env::var("KIND") {
        kinds.retain(|options| format!("{:?}", options.kind()).eq_ignore_ascii_case(&only));
    }
    for options in kinds {
        let begun = Instant::now();
        let mut space = Counted { vectors: &base, asked: 0, calls: 0 };
        let graph = build(&mut space, &options, &[]).expect("vectors in memory do not fail");
        let seconds = begun.elapsed().as_secs_f64();
        let mut bytes = Bytes::default();
        graph.write(&mut bytes).expect("memory does not fail");
        let per_entry = bytes.0.len() / count;
        println!("\n{options:?}");
        let (asked, calls) = (space.asked / count, space.calls / count);
        println!("  built in {seconds:.2} s, {:.0} vectors/s", count as f64 / seconds);
        println!("  {asked} distances in {calls} questions a vector");
        let memory = match options.kind() {
            Kind::Hnsw => Memory::Whole,
            Kind::Vamana => Memory::Bytes(64 << 20),
        };
        let begun = Instant::now();
        let mut searcher = Searcher::open(&bytes, options.kind(), count as u32, memory)
            .expect("it was just written");
        let opened = begun.elapsed().as_secs_f64() * 1e3;
        println!("  {per_entry} bytes/entry, opened in {opened:.1} ms, {:.1?}", searcher.stats());
        println!("    ef  recall     QPS  distances  questions");
        for ef in [16, 32, 64, 100, 128, 200, 400] {
            let (mut right, mut asked, mut calls) = (0, 0, 0);
            let mut seconds = f64::INFINITY;
            for _ in 0..3 {
                (right, asked, calls) = (0, 0, 0);
                let begun = Instant::now();
                for (row, kth) in rows.iter().zip(&exact) {
                    let mut query = base.query(row);
                    let found = searcher.search(&mut query, K, ef, &[]).expect("a sound graph");
                    let hit = |&&number: &&u32| distance(row, base.row(number)) <= *kth;
                    right += found.iter().take(K).filter(hit).count();
                    (asked, calls) = (asked + query.asked, calls + query.calls);
                }
                seconds = seconds.min(begun.elapsed().as_secs_f64());
            }
            let queries = rows.len() as f64;
            println!(
                "  {ef:4}  {:.4}  {:6.0}  {:9.0}  {:9.0}",
                right as f64 / (queries * K as f64),
                queries / seconds,
                asked as f64 / queries,
                calls as f64 / queries,
            );
        }
    }
}

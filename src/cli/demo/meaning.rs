//! The demo's search by meaning: an index of vectors, inside a transaction, and its recall against exact.

use super::report::Report;
use super::{Run, TABLE, micros};
use crate::cli::dataset::{self, Entry};
use crate::cli::failure::Outcome;
use crate::cli::screen::{bytes_text, micros_text, thousands};
use crate::cli::text::shorten;
use serde_json::{Value as Json, json};
use sochdb::{Comparison, Database, IndexOptions, Neighbour, Value};
use std::time::Instant;

/// The index.
const INDEX: &str = "meaning";
/// The sentences to show, by their number among the embedded ones, and how many neighbours each.
const SENTENCES: [usize; 3] = [84, 73, 92];
const SHOWN: usize = 3;
/// Neighbours that recall counts, and the least of it.
const K: usize = 10;
const RECALL_MIN: f64 = 0.95;
/// What the order of additions may change of a distance.
const ROUNDING: f32 = 1e-5;

impl Run {
    pub(super) fn meaning(&self, db: &Database, report: &mut Report) -> Outcome<Json> {
        report.section("Meaning: an index of the embeddings, built in a sandbox")?;
        let built = self.build(db, report)?;
        let recall = self.recall(db, report)?;
        let inside = self.inside(db, report)?;
        let sentences = self.sentences(db, report)?;
        Ok(json!({ "index": built, "recall": recall, "inside": inside, "results": sentences }))
    }

    fn build(&self, db: &Database, report: &mut Report) -> Outcome<Json> {
        let started = Instant::now();
        // So few rows would be searched one by one; the demo wants to show a graph.
        let options = IndexOptions::default().using("hnsw").set("flat_max", "64");
        db.create_index(TABLE, INDEX, "vector", &options, &mut |_| {})?;
        while db.checkpoint()?.unsettled {}
        let micros = micros(started);
        let stats = db.index_stats(TABLE, INDEX)?;
        let rows = self.entries.len() as u64;
        let graph: u64 =
            stats.segments.iter().filter(|one| one.plugin.is_some()).map(|one| one.visible).sum();
        report.verify(
            "the plugin 'hnsw' has built a graph of every vector",
            graph == rows && stats.trouble.is_none(),
            format!(
                "hnsw, inside its sandbox, built a graph of {} vectors of {} values in {}; {} on disk",
                thousands(rows),
                dataset::DIM,
                micros_text(micros),
                bytes_text(stats.bytes),
            ),
        )?;
        Ok(json!({
            "plugin": "hnsw",
            "vectors": rows,
            "dimensions": dataset::DIM,
            "micros": micros,
            "bytes": stats.bytes,
        }))
    }

    /// How many of the true neighbours are found.
    fn recall(&self, db: &Database, report: &mut Report) -> Outcome<Json> {
        let queries = dataset::queries();
        let tx = db.begin_read()?;
        let search = |query: &Entry, exact: bool| {
            tx.search(TABLE).near(&query.vector).k(K).exact(exact).run()
        };
        // What is read for the first time is not what is measured.
        queries.iter().try_for_each(|query| search(query, false).map(drop))?;
        let started = Instant::now();
        let found = queries.iter().map(|query| search(query, false));
        let found = found.collect::<sochdb::KernelResult<Vec<_>>>()?;
        let index_us = micros(started) / queries.len() as u64;
        let started = Instant::now();
        let exact = queries.iter().map(|query| search(query, true));
        let exact = exact.collect::<sochdb::KernelResult<Vec<_>>>()?;
        let exact_us = micros(started) / queries.len() as u64;
        let right = queries.iter().zip(&exact).all(|(query, exact)| {
            let mut direct: Vec<f32> =
                self.entries.iter().map(|entry| cosine(&entry.vector, &query.vector)).collect();
            direct.sort_by(f32::total_cmp);
            exact.len() == K.min(direct.len())
                && exact.iter().zip(&direct).all(|(a, b)| (a.distance - b).abs() < ROUNDING)
        });
        report.verify(
            "an exact search finds the nearest vectors",
            right,
            format!(
                "exact search of every vector: {} a query, as computed beside the database",
                micros_text(exact_us)
            ),
        )?;
        let farthest = |hits: &[Neighbour]| hits.last().map_or(0.0, |hit| hit.distance + ROUNDING);
        let hits: usize = found
            .iter()
            .zip(&exact)
            .map(|(found, exact)| {
                found.iter().filter(|hit| hit.distance <= farthest(exact)).count()
            })
            .sum();
        let recall = hits as f64 / (K * queries.len()) as f64;
        report.verify(
            "the index finds nearly all of the true neighbours",
            RECALL_MIN <= recall,
            format!(
                "{} questions to the index: recall@{K} {recall:.3} against exact, {} a query",
                queries.len(),
                micros_text(index_us),
            ),
        )?;
        Ok(json!({
            "queries": queries.len(),
            "k": K,
            "recall": recall,
            "micros_per_query": index_us,
            "exact_micros_per_query": exact_us,
        }))
    }

    /// A row is found in its own transaction, and nowhere else before that commits.
    fn inside(&self, db: &Database, report: &mut Report) -> Outcome<Json> {
        let queries = dataset::queries();
        let query = &queries[SENTENCES[0]];
        let row = dataset::row(query, None);
        let (key, value) = (self.schema.encode_key(&row)?, self.schema.encode_row(&row)?);
        let mut tx = db.begin()?;
        tx.put(TABLE, &key, &value)?;
        let first = |found: Vec<Neighbour>| found.first().is_some_and(|hit| hit.key == key);
        let own = first(tx.search(TABLE).near(&query.vector).k(1).run()?);
        let others = first(db.search(TABLE).near(&query.vector).k(1).run()?);
        tx.rollback();
        let after = first(db.search(TABLE).near(&query.vector).k(1).run()?);
        report.verify(
            "a search sees what its transaction sees",
            own && !others && !after,
            "a new row is found at once in its own transaction, by nobody else, and never after a rollback",
        )?;
        Ok(json!({ "own": own, "others": others, "after_rollback": after }))
    }

    fn sentences(&self, db: &Database, report: &mut Report) -> Outcome<Json> {
        let queries = dataset::queries();
        let mut facts = Vec::new();
        let mut show = |question: String, found: Vec<Neighbour>| -> Outcome {
            report.detail(&question)?;
            let mut neighbours = Vec::new();
            for hit in found {
                let value = hit.value.as_deref().unwrap_or_default();
                let mut row = self.schema.decode(&hit.key, value)?;
                let Value::String(text) = row.swap_remove(dataset::TEXT_COLUMN) else { continue };
                report.detail(format!("  {:.3}  {}", hit.distance, shorten(&text, 70)))?;
                neighbours.push(json!({ "distance": hit.distance, "text": text }));
            }
            facts.push(json!({ "query": question, "neighbours": neighbours }));
            Ok(())
        };
        for query in SENTENCES.map(|number| &queries[number]) {
            let found = db.search(TABLE).near(&query.vector).k(SHOWN).rows(true).run()?;
            show(format!("“{}”", query.text), found)?;
        }
        let query = &queries[SENTENCES[0]];
        let verbs = db.search(TABLE).near(&query.vector).k(SHOWN).rows(true);
        let verbs = verbs.filter("pos", Comparison::Equal, Value::String("v".into())).run()?;
        show(format!("“{}”, among the verbs", query.text), verbs)?;
        Ok(facts.into())
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    1.0 - dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}

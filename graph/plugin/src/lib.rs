//! What the plugins hnsw and vamana share: the graphs of `sochdb-graph` behind the index trait of the guest SDK.
//!
//! ```text
//!   Entries::between   ──▶ Space   ┐                      ┌ Sink ──▶ SegmentWriter::append
//!   Query::distances   ──▶ Target  ┴▶ build, Searcher ──▶ ┴ Blob ──▶ Segment::read
//! ```
//!
//! [`settings`] are checked by both plugins alike: `using = auto` gives the same ones to both.

#![forbid(unsafe_code)]

pub mod settings;

mod outside;

pub use outside::SegmentBytes;
pub use settings::Settings;

use outside::{EntriesSpace, QueryTarget, SegmentSink, error};
use sochdb_graph::{Kind, Memory, Searcher};
use sochdb_guest::{
    Allowed, Definition, Entries, Error, IndexSearcher, Part, Query, Result, Segment, Sink,
};

/// Whether a graph can be built for that index.
///
/// # Errors
/// `Invalid` when its column has no vectors, or a setting is unknown or out of bounds.
pub fn check(index: &Definition) -> Result<()> {
    if index.metric.is_none() {
        let column = &index.column;
        return Err(Error::invalid(format!(
            "column '{column}' has no vectors to find near ones of"
        )));
    }
    Settings::of(index).map(drop)
}

/// Builds the graph of `entries`, from `parts` as far as they help, into one segment; returns its number.
///
/// # Errors
/// What the host says; as [`check`].
pub fn build(
    kind: Kind,
    index: &Definition,
    entries: &Entries<'_>,
    parts: &[Part],
    sink: &Sink<'_>,
) -> Result<u64> {
    let options = Settings::of(index)?.options(kind);
    let blobs: Vec<_> = parts.iter().map(|part| SegmentBytes(&part.segment)).collect();
    let parts: Vec<_> = parts
        .iter()
        .zip(&blobs)
        .map(|(part, graph)| sochdb_graph::Part { graph, numbers: &part.numbers })
        .collect();
    let graph = sochdb_graph::build(&mut EntriesSpace(entries), &options, &parts).map_err(error)?;
    let mut out = SegmentSink(sink.create()?);
    graph.write(&mut out).map_err(error)?;
    out.0.seal()
}

/// A written graph, open for searching.
pub struct GraphSearcher {
    searcher: Searcher<SegmentBytes<Segment>>,
    /// The effort of a search that names none.
    effort: usize,
}

impl GraphSearcher {
    /// Opens the graph in `segment`, of the kind that was built from `entries`. Its ground is read at once if it has
    /// at most `whole_max` bytes; of a larger one so many are kept.
    ///
    /// # Errors
    /// `Corrupt` when it is not; as [`check`].
    pub fn open(
        kind: Kind,
        index: &Definition,
        entries: &Entries<'_>,
        segment: Segment,
        whole_max: usize,
    ) -> Result<GraphSearcher> {
        let effort = Settings::of(index)?.effort(kind);
        let memory = match segment.info().bytes <= whole_max as u64 {
            true => Memory::Whole,
            false => Memory::Bytes(whole_max),
        };
        Self::with(kind, effort, entries, segment, memory)
    }

    /// Opens it so that rows of links are read when they are needed, and so many bytes of them are kept.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on_demand(
        kind: Kind,
        index: &Definition,
        entries: &Entries<'_>,
        segment: Segment,
        bytes_max: usize,
    ) -> Result<GraphSearcher> {
        let effort = Settings::of(index)?.effort(kind);
        Self::with(kind, effort, entries, segment, Memory::Bytes(bytes_max))
    }

    fn with(
        kind: Kind,
        effort: usize,
        entries: &Entries<'_>,
        segment: Segment,
        memory: Memory,
    ) -> Result<GraphSearcher> {
        let searcher = Searcher::open(SegmentBytes(segment), kind, entries.count(), memory);
        Ok(GraphSearcher { searcher: searcher.map_err(error)?, effort })
    }
}

impl IndexSearcher for GraphSearcher {
    fn search(
        &mut self,
        query: &Query<'_>,
        k: usize,
        effort: usize,
        allowed: &Allowed,
    ) -> Result<Vec<u32>> {
        let effort = if effort == 0 { self.effort } else { effort };
        let mut target = QueryTarget(query);
        self.searcher.search(&mut target, k, effort, allowed.words()).map_err(error)
    }

    fn stats(&self) -> Vec<(String, f64)> {
        let named = |(name, value): (&str, f64)| (name.to_owned(), value);
        self.searcher.stats().into_iter().map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_guest::{GONE, VectorMetric};

    const COUNT: u32 = 2000;
    const DIM: u32 = 8;

    /// Numbers between -1 and 1 that look like any.
    fn vectors(count: u32) -> Vec<f32> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count * DIM).map(|_| next()).collect()
    }

    fn entries(count: u32) -> Entries<'static> {
        Entries::of_vectors(VectorMetric::SquaredEuclidean, DIM, vectors(count))
    }

    fn definition() -> Definition {
        let small = [("m", "8"), ("ef_construction", "40"), ("r", "16"), ("l", "40")];
        let options = small.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let metric = Some(VectorMetric::SquaredEuclidean);
        Definition { metric, dim: DIM, options: options.into(), ..Definition::default() }
    }

    fn only(sink: &Sink<'_>) -> Segment {
        sink.segments().pop().expect("one segment was written")
    }

    #[test]
    fn a_graph_finds_entries_by_walking_however_it_came_to_be() {
        for (kind, other) in [(Kind::Hnsw, Kind::Vamana), (Kind::Vamana, Kind::Hnsw)] {
            let (index, all) = (definition(), entries(COUNT));
            let (first, second) = (Sink::in_memory(), Sink::in_memory());
            build(other, &index, &entries(1200), &[], &first).expect("nothing fails");
            // Every seventh entry of the older graph is gone.
            let numbers: Vec<u32> =
                (0..1200).map(|number| if number % 7 == 0 { GONE } else { number }).collect();
            let parts = [Part { segment: only(&first), numbers }];
            build(kind, &index, &all, &parts, &second).expect("nothing fails");
            let open = |bytes_max| {
                let segment = only(&second);
                GraphSearcher::open_on_demand(kind, &index, &all, segment, bytes_max)
            };
            for bytes_max in [0, 1 << 20] {
                let mut searcher = open(bytes_max).expect("it was just written");
                let mut found = 0;
                for number in 0..50 {
                    let vector = all.vectors(&[number]).expect("there is one");
                    let query = Query::of(&all, &vector).expect("it has the dimensions");
                    let some = Allowed::of(COUNT, (0..COUNT).filter(|other| *other != number));
                    for allowed in [Allowed::all(), some] {
                        let near = searcher.search(&query, 5, 40, &allowed).expect("sound");
                        assert!(near.len() == 40 && near.iter().all(|&n| allowed.contains(n)));
                        found += usize::from(near[0] == number);
                    }
                }
                assert!(48 <= found, "{kind:?} found {found} of 50 that are there");
            }
        }
    }

    #[test]
    fn a_search_without_effort_takes_that_of_the_settings() {
        let (mut index, all) = (definition(), entries(COUNT));
        index.options.insert("ef_search".to_owned(), "30".to_owned());
        for (kind, effort) in [(Kind::Hnsw, 30), (Kind::Vamana, 40)] {
            let sink = Sink::in_memory();
            build(kind, &index, &all, &[], &sink).expect("nothing fails");
            let mut searcher = GraphSearcher::open(kind, &index, &all, only(&sink), usize::MAX)
                .expect("it was just written");
            let query = Query::of(&all, &[0.5; DIM as usize]).expect("it has the dimensions");
            let found = searcher.search(&query, 5, 0, &Allowed::all()).expect("sound");
            assert_eq!(found.len(), effort);
        }
    }

    #[test]
    fn a_segment_that_is_no_graph_is_corrupt() {
        let all = entries(10);
        let segment = Segment::of(1, vec![7; 1000]);
        let refused = GraphSearcher::open(Kind::Hnsw, &definition(), &all, segment, 1 << 20);
        let error = refused.err().expect("it is none");
        assert_eq!(error.code, sochdb_guest::ErrorCode::Corrupt);
    }
}

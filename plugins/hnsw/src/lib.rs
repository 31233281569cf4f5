//! HNSW: the nearest vectors by hierarchical navigable small world graphs.
//!
//! The algorithm is the crate `sochdb-graph`, in plain Rust and without any WIT types; `sochdb-graph-plugin` lets it
//! meet the guest SDK. What is here says which graph it is, and how much of it is kept in memory.

// In WebAssembly the bindings that `export!` makes have some.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

use sochdb_graph::Kind;
use sochdb_graph_plugin::GraphSearcher;
use sochdb_guest::{Definition, Entries, Index, Part, Result, Segment, Sink};

/// A graph with at most so many bytes is read when it is opened: two million entries with `m0` 32. Of a larger one so
/// many bytes are kept.
const WHOLE_BYTES_MAX: usize = 256 << 20;

/// The plugin; it keeps nothing between calls.
#[derive(Debug)]
pub struct Hnsw;

impl Index for Hnsw {
    type Searcher = GraphSearcher;

    fn init() -> Result<Self> {
        Ok(Hnsw)
    }

    fn check(&mut self, index: &Definition) -> Result<()> {
        sochdb_graph_plugin::check(index)
    }

    fn build(
        &mut self,
        index: &Definition,
        entries: &Entries<'_>,
        parts: Vec<Part>,
        sink: &Sink<'_>,
    ) -> Result<u64> {
        sochdb_graph_plugin::build(Kind::Hnsw, index, entries, &parts, sink)
    }

    fn open(
        &mut self,
        index: &Definition,
        entries: Entries<'static>,
        segment: Segment,
    ) -> Result<GraphSearcher> {
        GraphSearcher::open(Kind::Hnsw, index, &entries, segment, WHOLE_BYTES_MAX)
    }
}

sochdb_guest::export!(index: Hnsw);

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_guest::ErrorCode;

    #[test]
    fn the_self_test_passes() {
        Hnsw.self_test().expect("it builds, merges and searches");
    }

    #[test]
    fn an_ordered_index_is_refused() {
        let refused = Hnsw.check(&Definition::default()).expect_err("it has no vectors");
        assert_eq!(refused.code, ErrorCode::Invalid);
    }
}

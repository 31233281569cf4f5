//! Vamana: the nearest vectors by the graph of DiskANN, for sets larger than memory.
//!
//! The algorithm is the crate `sochdb-graph`, in plain Rust and without any WIT types; `sochdb-graph-plugin` lets it
//! meet the guest SDK. What is here says which graph it is, and how much of it is kept in memory.

// In WebAssembly the bindings that `export!` makes have some.
#![cfg_attr(not(target_family = "wasm"), forbid(unsafe_code))]

use sochdb_graph::Kind;
use sochdb_graph_plugin::GraphSearcher;
use sochdb_guest::{Definition, Entries, Index, Part, Result, Segment, Sink};

/// How many bytes of links are kept of one segment: those of 262,144 entries with `r` 64.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// The plugin; it keeps nothing between calls.
#[derive(Debug)]
pub struct Vamana;

impl Index for Vamana {
    type Searcher = GraphSearcher;

    fn init() -> Result<Self> {
        Ok(Vamana)
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
        sochdb_graph_plugin::build(Kind::Vamana, index, entries, &parts, sink)
    }

    fn open(
        &mut self,
        index: &Definition,
        entries: Entries<'static>,
        segment: Segment,
    ) -> Result<GraphSearcher> {
        GraphSearcher::open_on_demand(Kind::Vamana, index, &entries, segment, KEPT_BYTES_MAX)
    }
}

sochdb_guest::export!(index: Vamana);

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_guest::ErrorCode;

    #[test]
    fn the_self_test_passes() {
        Vamana.self_test().expect("it builds, merges and searches");
    }

    #[test]
    fn an_ordered_index_is_refused() {
        let refused = Vamana.check(&Definition::default()).expect_err("it has no vectors");
        assert_eq!(refused.code, ErrorCode::Invalid);
    }
}

//! `search`: indexes of tables, inside the transaction that a call is part of.
//!
//! An index is opened through a table that may be read, if the grant has the right for its kind; from then on the
//! handle is the right. What is found is found by [`Transaction::vector_search`] and [`Transaction::lookup`], so a
//! guest sees what its caller would see. The plugin that built the index works under limits of its own; the caller
//! pays for what crosses to it.

use super::base_bindings::sochdb::plugin::rows as rows_contract;
use super::base_bindings::sochdb::plugin::search as contract;
use super::base_bindings::sochdb::plugin::types::{KeyRange as GuestRange, Keys};
use super::types::code;
use super::{GuestError, GuestState, Host, audited, charge, clean};
use crate::limits::{BATCH_ROWS_MAX, CONDITIONS_MAX, RANGE_BYTES_MAX};
use crate::transaction::Transaction;
use sochdb_index::definition::DIM_MAX;
use sochdb_index::{IndexDefinition, IndexKind, Lookup, VectorSearch};
use sochdb_kernel::{KernelError, KernelResult};
use std::ops::Bound;
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::{Access, Resource};

/// Rows that one search for vectors may find for a guest.
const NEIGHBOURS_MAX: usize = 1000;
/// What a search costs the host at the least, in bytes that are charged.
const SEARCH_BYTES: usize = 64 << 10;

/// An index that a call has opened.
pub(super) struct OpenIndex {
    table: Arc<str>,
    definition: IndexDefinition,
}

type Answer<T> = std::result::Result<T, GuestError>;

impl contract::Host for &mut GuestState {}
impl contract::HostIndex for &mut GuestState {}

impl<T> contract::HostIndexWithStore<T> for Host {
    fn open(
        host: Access<'_, T, Self>,
        table: Resource<rows_contract::Table>,
        name: String,
    ) -> Result<Answer<Resource<contract::Index>>> {
        audited(host, "search.index.open", |host| {
            charge(host, name.len())?;
            let state = host.get();
            let (table, lent) = match state.rows.readable(table.rep())? {
                Ok(found) => found,
                Err(error) => return Ok(Err(error)),
            };
            state.audit.about(&table);
            let found = lent.with(|tx| tx.index_definition(&table, &name));
            let definition = match state.answer(found) {
                Ok(definition) => definition,
                Err(error) => return Ok(Err(error)),
            };
            let grant = &state.plugin.grant;
            let (may, right) = match definition.kind {
                IndexKind::Ordered => (grant.can_index_search, "can_index_search"),
                IndexKind::Vector { .. } => (grant.can_vector_search, "can_vector_search"),
            };
            if !may {
                let shown = clean(&name);
                let text = format!("searching the index '{shown}' was not granted ({right})");
                return Ok(Err(GuestError::answer(code::DENIED, text)));
            }
            let index = state.rows.open_index(OpenIndex { table, definition })?;
            Ok(Ok(Resource::new_own(index)))
        })
    }

    fn vector_search(
        host: Access<'_, T, Self>,
        index: Resource<contract::Index>,
        query: Vec<f32>,
        k: u32,
        effort: u32,
        range: GuestRange,
        filter: Vec<rows_contract::Condition>,
    ) -> Result<Answer<contract::Neighbours>> {
        audited(host, "search.index.vector-search", |host| {
            charge(host, SEARCH_BYTES + 4 * query.len() + 64 * filter.len())?;
            let state = host.get();
            let (index, lent) = state.rows.index(index.rep())?;
            state.audit.about(&index.table);
            let wanted = Wanted { query, k, effort, range, filter };
            let found = lent.with(|tx| wanted.run(tx, &index));
            let found = state.answer(found);
            if let Ok(found) = &found {
                let (bytes, rows) = (found.keys.bytes.len(), found.distances.len());
                state.audit.carried_rows(rows);
                charge(host, bytes + 8 * rows)?;
            }
            Ok(found)
        })
    }

    fn index_lookup(
        host: Access<'_, T, Self>,
        index: Resource<contract::Index>,
        start: Option<contract::ValueBound>,
        end: Option<contract::ValueBound>,
        reverse: bool,
        limit: u32,
    ) -> Result<Answer<Keys>> {
        audited(host, "search.index.index-lookup", |host| {
            charge(host, SEARCH_BYTES)?;
            let state = host.get();
            let (index, lent) = state.rows.index(index.rep())?;
            state.audit.about(&index.table);
            let found = lent.with(|tx| {
                let limit = bounded("rows of one lookup", limit as usize, BATCH_ROWS_MAX as usize)?;
                let lookup = Lookup { start: bound(start), end: bound(end), reverse, limit };
                flat(tx.lookup(&index.table, &index.definition.name, &lookup)?.into_iter())
            });
            let found = state.answer(found);
            if let Ok(found) = &found {
                let (bytes, rows) = (found.bytes.len(), found.ends.len());
                state.audit.carried_rows(rows);
                charge(host, bytes + 4 * rows)?;
            }
            Ok(found)
        })
    }

    fn drop(host: Access<'_, T, Self>, index: Resource<contract::Index>) -> Result<()> {
        audited(host, "search.index.drop", |host| {
            charge(host, 0)?;
            host.get().rows.close_index(index.rep());
            Ok(())
        })
    }
}

/// What a guest looks for.
struct Wanted {
    query: Vec<f32>,
    k: u32,
    effort: u32,
    range: GuestRange,
    filter: Vec<rows_contract::Condition>,
}

impl Wanted {
    fn run(self, tx: &Transaction, index: &OpenIndex) -> KernelResult<contract::Neighbours> {
        bounded("dimensions of a query", self.query.len(), DIM_MAX as usize)?;
        bounded("conditions of a search", self.filter.len(), CONDITIONS_MAX)?;
        let ends = [&self.range.start, &self.range.end];
        let longest = ends.into_iter().flatten().map(|end| end.key.len()).max();
        bounded("bytes of a range's end", longest.unwrap_or(0), RANGE_BYTES_MAX)?;
        let k = bounded("rows of one search", self.k as usize, NEIGHBOURS_MAX)?;
        let mut search = VectorSearch::new(self.query, k).range(self.range.into());
        search.effort = (self.effort != 0).then_some(self.effort as usize);
        if !self.filter.is_empty() {
            let schema = tx.table(&index.table)?.options.schema;
            let none =
                || KernelError::invalid(format!("the table '{}' has no columns", index.table));
            let schema = schema.ok_or_else(none)?;
            search.conditions = super::rows::conditions(&schema, self.filter)?;
        }
        let hits = tx.vector_search(&index.table, Some(&index.definition.name), &search)?;
        let distances = hits.iter().map(|hit| hit.distance).collect();
        Ok(contract::Neighbours { keys: flat(hits.into_iter().map(|hit| hit.key))?, distances })
    }
}

fn bounded(what: &'static str, got: usize, bound: usize) -> KernelResult<usize> {
    if got <= bound {
        return Ok(got);
    }
    Err(KernelError::Limit { what, got: got as u64, bound: bound as u64 })
}

fn bound(bound: Option<contract::ValueBound>) -> Bound<sochdb_encoding::row::Value> {
    match bound {
        None => Bound::Unbounded,
        Some(bound) if bound.inclusive => Bound::Included(bound.value.into()),
        Some(bound) => Bound::Excluded(bound.value.into()),
    }
}

fn flat(keys: impl Iterator<Item = Vec<u8>>) -> KernelResult<Keys> {
    let mut flat = Keys { bytes: Vec::new(), ends: Vec::new() };
    for key in keys {
        flat.bytes.extend_from_slice(&key);
        flat.ends.push(super::segments::end(&flat.bytes)?);
    }
    Ok(flat)
}

//! `entries`: the entries of an index and the query of a search, as handles.
//!
//! | handle    | lives                            | what is behind it                                     |
//! |-----------|----------------------------------|-------------------------------------------------------|
//! | `entries` | for one build                    | the entries, held by the call                         |
//! | `entries` | until the guest, or the host, goes | a weak reference: of a searcher's, which the host keeps |
//! | `query`   | for one search                   | the query, held by the call                           |
//!
//! A search asks for some hundred comparisons of some twenty entries each, so this path is short: no lock, no
//! counter that threads share, and of calls that follow each other one record in the audit trail. A guest
//! pays for what it carries and for what the host reads for it, before the host does.

use super::base_bindings::sochdb::plugin::entries as contract;
use super::handles::Handles;
use super::{Answered, GuestError, GuestState, Host, charge};
use crate::audit::Outcome;
use crate::limits::{COMPARED_MAX, SEGMENT_CHUNK_BYTES_MAX, clamp_rows, fuel};
use sochdb_index::{Entries, Query};
use sochdb_kernel::{KernelError, KernelResult};
use std::sync::{Arc, Weak};
use wasmtime::component::{Access, Resource};
use wasmtime::{Result, format_err};

/// The number of the one query that a call can be about. It is only ever lent, and the engine takes back what
/// was lent when the call ends, so no guest holds it on.
const QUERY: u32 = 0;

/// Entries, as far as the host has them.
enum Held {
    /// For the present call. Who builds a graph compares one entry with many others before it goes on to the
    /// next, so the one that was compared last is kept ready for that.
    Lent {
        entries: Arc<Entries>,
        ready: Option<(u32, Arc<Query>)>,
    },
    Kept(Weak<Entries>),
}

impl Held {
    /// Whether entry `number` is ready to be compared with others.
    fn is_ready(&self, number: u32) -> bool {
        matches!(self, Held::Lent { ready: Some((ready, _)), .. } if *ready == number)
    }

    /// About how far entry `number` is from each of `others`.
    fn between(&mut self, number: u32, others: &[u32]) -> KernelResult<Vec<f32>> {
        check("the entries of one comparison", others.len(), COMPARED_MAX)?;
        let mut distances = Vec::with_capacity(others.len());
        if self.is_ready(number)
            && let Held::Lent { ready: Some((_, query)), .. } = self
        {
            query.distances(others, &mut distances)?;
            return Ok(distances);
        }
        match self {
            Held::Lent { entries, ready } => {
                let query = entries.query_at(number)?;
                query.distances(others, &mut distances)?;
                *ready = Some((number, query));
            }
            Held::Kept(entries) => {
                let entries = entries.upgrade().ok_or_else(gone)?;
                entries.between(number, others, &mut distances)?;
            }
        }
        Ok(distances)
    }
}

fn gone() -> KernelError {
    KernelError::NotFound {
        kind: "entries",
        name: "of an index's segment that is not searched any more".to_owned(),
    }
}

/// A store's handles.
#[derive(Default)]
pub(crate) struct Indexes {
    entries: Handles<Held>,
    /// The entries of the present build.
    lent: Option<u32>,
    /// What the present search looks for.
    query: Option<Arc<Query>>,
}

impl Indexes {
    /// A handle of `entries` for one build.
    pub(crate) fn begin_build(
        &mut self,
        entries: &Arc<Entries>,
    ) -> Result<Resource<contract::Entries>> {
        let held = Held::Lent { entries: entries.clone(), ready: None };
        let number = self.entries.insert(held)?;
        self.lent = Some(number);
        Ok(Resource::new_borrow(number))
    }

    /// A handle of `entries` that does not keep them.
    pub(crate) fn lend(&mut self, entries: &Arc<Entries>) -> Result<Resource<contract::Entries>> {
        self.entries.insert(Held::Kept(Arc::downgrade(entries))).map(Resource::new_own)
    }

    /// A handle of `query` for one search.
    pub(crate) fn begin_search(&mut self, query: &Arc<Query>) -> Resource<contract::Query> {
        self.query = Some(query.clone());
        Resource::new_borrow(QUERY)
    }

    /// Forgets what was held for the present call.
    pub(crate) fn end_call(&mut self) {
        self.query = None;
        if let Some(number) = self.lent.take() {
            self.entries.remove(number);
        }
    }

    /// Does `work` with the entries behind `number`.
    fn with<R>(
        &self,
        number: u32,
        work: impl FnOnce(&Entries) -> KernelResult<R>,
    ) -> Result<KernelResult<R>> {
        Ok(match self.entries.look(number)? {
            Held::Lent { entries, .. } => work(entries),
            Held::Kept(entries) => match entries.upgrade() {
                Some(entries) => work(&entries),
                None => Err(gone()),
            },
        })
    }
}

impl contract::Host for &mut GuestState {}
impl contract::HostEntries for &mut GuestState {}
impl contract::HostQuery for &mut GuestState {}

impl<T> contract::HostEntriesWithStore<T> for Host {
    fn info(
        host: Access<'_, T, Self>,
        entries: Resource<contract::Entries>,
    ) -> Result<contract::EntriesInfo> {
        counted(host, "entries.entries.info", |host| {
            charge(host, 0)?;
            let info = host.get().indexes.with(entries.rep(), |entries| Ok(info(entries)))?;
            // What a segment that went away had does not matter to anybody.
            Ok(info.unwrap_or(contract::EntriesInfo { count: 0, metric: 0, dim: 0 }))
        })
    }

    fn values(
        host: Access<'_, T, Self>,
        entries: Resource<contract::Entries>,
        first: u32,
        max_values: u32,
        max_bytes: u32,
    ) -> Result<std::result::Result<contract::Values, GuestError>> {
        counted(host, "entries.entries.values", |host| {
            charge(host, 0)?;
            let (values_max, bytes_max) = clamp_rows(max_values, max_bytes);
            let state = host.get();
            let values = state.indexes.with(entries.rep(), |entries| {
                entries.values(first, values_max as u32, bytes_max as u32)
            })?;
            let (bytes, ends) = match state.answer(values) {
                Ok(values) => values,
                Err(error) => return Ok(Err(error)),
            };
            host.get().audit.carried_rows(ends.len());
            charge(host, bytes.len() + 4 * ends.len())?;
            Ok(Ok(contract::Values { bytes, ends }))
        })
    }

    fn vectors(
        host: Access<'_, T, Self>,
        entries: Resource<contract::Entries>,
        numbers: Vec<u32>,
    ) -> Result<std::result::Result<Vec<f32>, GuestError>> {
        counted(host, "entries.entries.vectors", |host| {
            let dim = |entries: &Entries| Ok(entries.dim() as usize);
            let dim = host.get().indexes.with(entries.rep(), dim)?.unwrap_or(0);
            let bytes = numbers.len().saturating_mul(4 * dim);
            charge(host, 4 * numbers.len() + bytes.min(SEGMENT_CHUNK_BYTES_MAX))?;
            let state = host.get();
            state.audit.carried_rows(numbers.len());
            let vectors = state.indexes.with(entries.rep(), |entries| {
                check("the bytes of vectors", bytes, SEGMENT_CHUNK_BYTES_MAX)?;
                entries.vectors(&numbers)
            })?;
            Ok(state.answer(vectors))
        })
    }

    fn between(
        host: Access<'_, T, Self>,
        entries: Resource<contract::Entries>,
        number: u32,
        others: Vec<u32>,
    ) -> Result<std::result::Result<Vec<f32>, GuestError>> {
        counted(host, "entries.entries.between", |host| {
            let dim = |entries: &Entries| Ok(entries.dim() as usize);
            let indexes = &host.get().indexes;
            let dim = indexes.with(entries.rep(), dim)?.unwrap_or(0);
            let is_ready = indexes.entries.look(entries.rep())?.is_ready(number);
            let ready = if is_ready { 0 } else { dim * fuel::VALUE_READY as usize };
            charge(host, compared(others.len(), dim).saturating_add(ready))?;
            let state = host.get();
            state.audit.carried_rows(others.len());
            let distances = state.indexes.entries.get(entries.rep())?.between(number, &others);
            Ok(state.answer(distances))
        })
    }

    fn drop(host: Access<'_, T, Self>, entries: Resource<contract::Entries>) -> Result<()> {
        counted(host, "entries.entries.drop", |host| {
            charge(host, 0)?;
            host.get().indexes.entries.remove(entries.rep());
            Ok(())
        })
    }
}

impl<T> contract::HostQueryWithStore<T> for Host {
    fn distances(
        host: Access<'_, T, Self>,
        _: Resource<contract::Query>,
        numbers: Vec<u32>,
    ) -> Result<std::result::Result<Vec<f32>, GuestError>> {
        counted(host, "entries.query.distances", |host| {
            let query = host.get().indexes.query.as_ref();
            let dim = query.map(|query| query.dim() as usize);
            let dim = dim.ok_or_else(|| format_err!("it used a handle after its end"))?;
            charge(host, compared(numbers.len(), dim))?;
            let state = host.get();
            state.audit.carried_rows(numbers.len());
            let distances = distances(state.indexes.query.as_deref(), &numbers);
            Ok(state.answer(distances))
        })
    }

    fn drop(_: Access<'_, T, Self>, _: Resource<contract::Query>) -> Result<()> {
        // A guest is never given one of its own.
        Ok(())
    }
}

fn distances(query: Option<&Query>, numbers: &[u32]) -> KernelResult<Vec<f32>> {
    check("the entries of one comparison", numbers.len(), COMPARED_MAX)?;
    let mut distances = Vec::with_capacity(numbers.len());
    if let Some(query) = query {
        query.distances(numbers, &mut distances)?;
    }
    Ok(distances)
}

fn info(entries: &Entries) -> contract::EntriesInfo {
    contract::EntriesInfo {
        count: entries.count(),
        metric: entries.metric().map_or(0, |metric| metric.code()),
        dim: entries.dim(),
    }
}

/// What comparing with `count` entries costs, as bytes: their numbers, the answers, and what is read of them.
fn compared(count: usize, dim: usize) -> usize {
    let values = count.min(COMPARED_MAX).saturating_mul(dim);
    8 * count + values / fuel::VALUES_COMPARED as usize
}

fn check(what: &'static str, got: usize, bound: usize) -> KernelResult<()> {
    if got <= bound {
        return Ok(());
    }
    Err(KernelError::Limit { what, got: got as u64, bound: bound as u64 })
}

/// As [`audited`](super::audited), for what guests call over and over: calls of the same that follow each other
/// are one record.
fn counted<'a, T, R: Answered>(
    mut host: Access<'a, T, Host>,
    function: &'static str,
    work: impl FnOnce(&mut Access<'a, T, Host>) -> Result<R>,
) -> Result<R> {
    host.get().audit.begin_again(function);
    let answer = work(&mut host)?;
    host.get().audit.end(answer.outcome());
    Ok(answer)
}

impl Answered for contract::EntriesInfo {
    fn outcome(&self) -> Outcome {
        Outcome::Ok
    }
}

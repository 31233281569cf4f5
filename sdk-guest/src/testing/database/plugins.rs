//! Plugins of every kind behind one type, and what their manifests say.

use super::manifest::Manifest;
use crate::bindings::config::ConfigValue;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::hooks::{Change, ChangeKind, Decision, Hooks};
use crate::index::{Allowed, Definition, Entries, Index, IndexSearcher, Query};
use crate::observer::{Batch, Observer, Page};
use crate::procedure::{Procedure, ProcedureInfo};
use crate::rows::{Table, Transaction};
use crate::storage::{Segment, Sink};
use sochdb_encoding::range::KeyRange;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Who a plugin is.
pub(crate) struct Identity {
    pub(super) name: String,
    pub(super) settings: BTreeMap<String, ConfigValue>,
    /// What it asks for; without one it may do everything.
    pub(super) manifest: Option<Manifest>,
}

/// A plugin in a database.
pub(crate) struct Installed {
    pub(super) identity: Rc<Identity>,
    /// The pattern of the tables it is a hook of.
    pub(super) tables: String,
    pub(super) work: Work,
}

pub(super) enum Work {
    Hooks(RefCell<Box<dyn AnyHooks>>),
    Procedures(RefCell<Box<dyn AnyProcedure>>, Vec<ProcedureInfo>),
    Codec(RefCell<Box<dyn AnyCodec>>),
    Observer(RefCell<Box<dyn AnyObserver>>),
    Index(RefCell<Box<dyn AnyIndex>>),
}

impl Installed {
    pub(super) fn name(&self) -> &str {
        &self.identity.name
    }

    pub(super) fn is_codec(&self) -> bool {
        matches!(self.work, Work::Codec(_))
    }

    /// Whether it is a hook of `table`.
    pub(super) fn watches(&self, table: &str) -> bool {
        matches!(self.work, Work::Hooks(_)) && super::manifest::matches(&self.tables, table)
    }

    /// Whether it is asked before such a change, or told after.
    pub(super) fn hears(&self, table: &str, kind: ChangeKind, before: bool) -> bool {
        let manifest = self.identity.manifest.as_ref();
        self.watches(table) && manifest.is_none_or(|manifest| manifest.hears(table, kind, before))
    }

    pub(super) fn shutdown(&self) -> Result<()> {
        match &self.work {
            Work::Hooks(plugin) => plugin.borrow_mut().shutdown(),
            Work::Procedures(plugin, _) => plugin.borrow_mut().shutdown(),
            Work::Codec(plugin) => plugin.borrow_mut().shutdown(),
            Work::Observer(plugin) => plugin.borrow_mut().shutdown(),
            Work::Index(plugin) => plugin.borrow_mut().shutdown(),
        }
    }
}

/// [`Hooks`] of any type.
pub(super) trait AnyHooks {
    fn before(
        &mut self,
        tx: &Transaction<'_>,
        table: &Table<'_>,
        changes: &[Change],
    ) -> Result<Vec<Decision>>;
    fn after(&mut self, tx: &Transaction<'_>, table: &Table<'_>, changes: &[Change]) -> Result<()>;
    fn shutdown(&mut self) -> Result<()>;
}

impl<P: Hooks> AnyHooks for P {
    fn before(
        &mut self,
        tx: &Transaction<'_>,
        table: &Table<'_>,
        changes: &[Change],
    ) -> Result<Vec<Decision>> {
        Hooks::before(self, tx, table, changes)
    }

    fn after(&mut self, tx: &Transaction<'_>, table: &Table<'_>, changes: &[Change]) -> Result<()> {
        Hooks::after(self, tx, table, changes)
    }

    fn shutdown(&mut self) -> Result<()> {
        Hooks::shutdown(self)
    }
}

/// [`Procedure`]s of any type.
pub(super) trait AnyProcedure {
    fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String>;
    fn shutdown(&mut self) -> Result<()>;
}

impl<P: Procedure> AnyProcedure for P {
    fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String> {
        Procedure::call(self, tx, name, args)
    }

    fn shutdown(&mut self) -> Result<()> {
        Procedure::shutdown(self)
    }
}

/// A [`Codec`] of any type.
pub(super) trait AnyCodec {
    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>>;
    fn decompress(&mut self, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>>;
    fn shutdown(&mut self) -> Result<()>;
}

impl<P: Codec> AnyCodec for P {
    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> {
        Codec::compress(self, input)
    }

    fn decompress(&mut self, input: &[u8], raw_bytes: usize) -> Result<Vec<u8>> {
        let raw = Codec::decompress(self, input, raw_bytes)?;
        if raw.len() != raw_bytes {
            let text = format!("it restored {} bytes, not {raw_bytes}", raw.len());
            return Err(Error::corrupt(text));
        }
        Ok(raw)
    }

    fn shutdown(&mut self) -> Result<()> {
        Codec::shutdown(self)
    }
}

/// An [`Observer`] of any type.
pub(super) trait AnyObserver {
    fn ingest(&mut self, batch: Batch) -> Result<()>;
    fn render(&mut self, accept: &str) -> Result<Page>;
    fn shutdown(&mut self) -> Result<()>;
}

impl<P: Observer> AnyObserver for P {
    fn ingest(&mut self, batch: Batch) -> Result<()> {
        Observer::ingest(self, batch)
    }

    fn render(&mut self, accept: &str) -> Result<Page> {
        Observer::render(self, accept)
    }

    fn shutdown(&mut self) -> Result<()> {
        Observer::shutdown(self)
    }
}

/// An [`Index`] of any type, whose segments are built anew for each search: tests have few rows.
pub(super) trait AnyIndex {
    fn check(&mut self, index: &Definition) -> Result<()>;

    /// The numbers of the entries near `query`.
    fn search(
        &mut self,
        index: &Definition,
        entries: &dyn Fn() -> Entries<'static>,
        query: &[f32],
        k: usize,
        effort: usize,
        allowed: &Allowed,
    ) -> Result<Vec<u32>>;

    /// The numbers of the entries whose values lie in `range`.
    fn lookup(
        &mut self,
        index: &Definition,
        entries: &dyn Fn() -> Entries<'static>,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<u32>>;
    fn shutdown(&mut self) -> Result<()>;
}

impl<P: Index> AnyIndex for P {
    fn check(&mut self, index: &Definition) -> Result<()> {
        Index::check(self, index)
    }

    fn search(
        &mut self,
        index: &Definition,
        entries: &dyn Fn() -> Entries<'static>,
        query: &[f32],
        k: usize,
        effort: usize,
        allowed: &Allowed,
    ) -> Result<Vec<u32>> {
        let mut searcher = opened(self, index, entries)?;
        let query = Query::of(&entries(), query)?;
        let found = searcher.search(&query, k, effort, allowed)?;
        let most = if effort == 0 { usize::MAX } else { k.max(effort) };
        checked(found, entries().count(), most, allowed)
    }

    fn lookup(
        &mut self,
        index: &Definition,
        entries: &dyn Fn() -> Entries<'static>,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<u32>> {
        let mut searcher = opened(self, index, entries)?;
        let found = searcher.lookup(range, reverse, limit, &Allowed::all())?;
        checked(found, entries().count(), limit, &Allowed::all())
    }

    fn shutdown(&mut self) -> Result<()> {
        Index::shutdown(self)
    }
}

/// A segment of `entries`, built and opened.
fn opened<P: Index>(
    plugin: &mut P,
    index: &Definition,
    entries: &dyn Fn() -> Entries<'static>,
) -> Result<P::Searcher> {
    let sink = Sink::in_memory();
    let id = plugin.build(index, &entries(), Vec::new(), &sink)?;
    let is_it = |segment: &Segment| segment.info().id == id;
    let segment = sink.segments().into_iter().find(is_it);
    let none = || Error::internal("the index named a segment that it did not write");
    plugin.open(index, entries(), segment.ok_or_else(none)?)
}

/// What a searcher found, if it may have found that.
fn checked(found: Vec<u32>, count: u32, most: usize, allowed: &Allowed) -> Result<Vec<u32>> {
    let distinct: BTreeSet<_> = found.iter().collect();
    let good = |number: &u32| *number < count && allowed.contains(*number);
    if found.len() <= most && distinct.len() == found.len() && found.iter().all(good) {
        return Ok(found);
    }
    Err(Error::internal("the index found entries twice, that are not allowed, or too many"))
}

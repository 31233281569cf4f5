//! Which tables there were, what they were made of and where their rows are, as far as that can be known.

use super::orphans::Leaf;
use super::report::RepairReport;
use super::rows::{Age, Found, Place, Rows};
use super::source::Source;
use super::tree::{Span, Step, TreeWalk, reason};
use crate::progress::Meter;
use sochdb_kernel::inspect::{
    Access, CATALOG, CatalogRow, Meta, PageRef, StoredBase, TreeRoot, catalog_row, origin,
};
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::{Slice, TableId, TableInfo, TableOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Candidates for the catalog's root that are tried, newest first.
const ROOTS_MAX: usize = 64;

/// Something that was found, and for what was found in an unreferenced page the checkpoint that wrote it.
type Known<T> = (T, Option<u64>);

/// The catalog, as far as it can be known.
pub(super) struct Catalog {
    /// The checkpoint it is from.
    pub sequence: u64,
    /// The last commit that the checkpoint holds.
    pub folded: u64,
    /// Where replay of the log begins.
    pub lsn: Option<u64>,
    pub database: Option<u64>,
    /// How sure it is that this is the newest catalog.
    pub age: Age,
    /// Tables by name.
    pub tables: BTreeMap<String, Known<TableInfo>>,
    pub bases: BTreeMap<TableId, Known<StoredBase>>,
    pub codecs: Vec<String>,
    /// What is lost of its keys.
    lost: Vec<Span>,
    /// Tables that the log dropped.
    dropped: BTreeSet<TableId>,
}

impl Catalog {
    /// Finds the newest root and reads what it reaches, and unreferenced leaves where it reaches no more.
    pub fn read(source: &Source, report: &mut RepairReport, meter: &mut Meter<'_>) -> Catalog {
        let newest = source.metas.first();
        let mut place = Place {
            root: newest.map(|meta| meta.catalog),
            sequence: newest.map_or(u64::MAX, |meta| meta.sequence),
            age: Age::Newest,
        };
        let mut folded = newest.map_or(0, |meta| meta.timestamp);
        let mut lsn = newest.map(|meta| meta.lsn);
        let is_broken = source.metas.len() < 2;
        if is_broken {
            let count = 2 - source.metas.len();
            report.note(format!("{count} of the 2 meta pages are broken"));
        }
        let mut leaves = Vec::new();
        if is_broken || lost_in(source, place.root).is_some() {
            let roots = scan(source, &mut leaves, meter);
            if is_broken {
                place.age = Age::Perhaps;
                if let Some((sequence, root)) = newer_root(source, newest, &roots) {
                    (place.root, place.sequence, folded) = (Some(root), sequence, 0);
                    lsn = None;
                }
            }
        }
        let mut catalog = Catalog {
            sequence: place.sequence,
            folded,
            lsn,
            database: newest.map(|meta| meta.database),
            age: place.age,
            tables: BTreeMap::new(),
            bases: BTreeMap::new(),
            codecs: Vec::new(),
            lost: Vec::new(),
            dropped: BTreeSet::new(),
        };
        let access = source.access(Vec::new(), Arc::new(PluginManager::default()));
        catalog.take(source, &access, Rows::new(source, &place, &leaves), report);
        if folded == 0 {
            let flushed = catalog.bases.values().map(|(base, _)| base.flushed.0);
            catalog.folded = flushed.max().unwrap_or(0);
        }
        catalog
    }

    fn take(
        &mut self,
        source: &Source,
        access: &Access,
        mut rows: Rows<'_>,
        report: &mut RepairReport,
    ) {
        let mut codecs = BTreeMap::new();
        while let Some(found) = rows.next() {
            let row = match found {
                Found::Row(row) => row,
                Found::Lost(span, why) => {
                    report.note(format!("a part of the catalog is lost: {why}"));
                    self.lost.push(span);
                    continue;
                }
            };
            let value = source.value(access, row.stored);
            let from = row.unreferenced;
            match value.and_then(|value| catalog_row(&row.key, &value)) {
                Ok(CatalogRow::Table(info)) => self.add_table(info, from),
                Ok(CatalogRow::Base(id, base)) => drop(self.bases.insert(id, (base, from))),
                Ok(CatalogRow::Codec(number, name)) => drop(codecs.insert(number, name)),
                Err(error) => {
                    let key = row.key.escape_ascii();
                    report.note(format!("the catalog's row {key} is lost: {}", reason(&error)));
                    let high = Some([row.key.as_slice(), &[0]].concat());
                    self.lost.push(Span { low: Some(row.key), high });
                }
            }
        }
        let last = codecs.keys().next_back().copied().unwrap_or(0);
        let name = |number| codecs.get(&number).cloned().unwrap_or_default();
        self.codecs = (1..=last).map(name).collect();
    }

    /// Of several definitions of a table, the trusted one counts, else the newest.
    fn add_table(&mut self, info: TableInfo, from: Option<u64>) {
        let rank = |from: Option<u64>| from.unwrap_or(u64::MAX);
        let same = self.tables.iter().find(|(_, (other, _))| other.id == info.id);
        if let Some((name, (_, other))) = same {
            if rank(from) <= rank(*other) {
                return;
            }
            let name = name.clone();
            self.tables.remove(&name);
        }
        self.tables.insert(info.name.clone(), (info, from));
    }

    /// The last commit that every table's saved rows hold. Only a storage plugin can hold a table back.
    pub fn flushed_everywhere(&self) -> u64 {
        let stored = |(info, _): &&Known<TableInfo>| info.options.storage.is_some();
        let flushed = |(info, _): &Known<TableInfo>| {
            self.bases.get(&info.id).map_or(0, |(base, _)| base.flushed.0)
        };
        let flushed = self.tables.values().filter(stored).map(flushed).min();
        flushed.map_or(self.folded, |flushed| flushed.min(self.folded))
    }

    /// Whether rows of the catalog are lost.
    pub fn is_damaged(&self) -> bool {
        !self.lost.is_empty()
    }

    /// A commit of the log that changed the catalog's row `key`.
    pub fn change(&mut self, key: &[u8], row: Option<&Slice>, report: &mut RepairReport) {
        let Some((b't', name)) = key.split_first() else { return };
        let name = String::from_utf8_lossy(name).into_owned();
        let info = row.map(|row| TableInfo::decode(&name, row)).transpose();
        let replaced = self.tables.remove(&name);
        match info {
            Ok(Some(info)) => {
                self.dropped.remove(&info.id);
                self.tables.retain(|_, (other, from)| other.id != info.id || from.is_none());
                self.dropped.extend(replaced.map(|(old, _)| old.id).filter(|id| *id != info.id));
                self.tables.insert(name, (info, None));
            }
            Ok(None) => self.dropped.extend(replaced.map(|(old, _)| old.id)),
            Err(error) => report.note(format!("a change of table '{name}' is lost: {error}")),
        }
    }

    /// The tables to make, each with its definition, and notes on it. `others` are numbers of tables that
    /// rows were found for.
    pub fn tables_to_make(&self, others: &BTreeSet<TableId>) -> Vec<(TableInfo, Vec<String>)> {
        let mut made: Vec<(TableInfo, Vec<String>)> = Vec::new();
        for (info, from) in self.tables.values() {
            let mut notes = Vec::new();
            if let Some(sequence) = from {
                notes.push(format!("its definition is the one of checkpoint {sequence}"));
            }
            made.push((info.clone(), notes));
        }
        let known: BTreeSet<TableId> = made.iter().map(|(info, _)| info.id).collect();
        let lost = others
            .iter()
            .filter(|id| **id != CATALOG && !known.contains(id) && !self.dropped.contains(id));
        for &id in lost {
            let options = TableOptions::default();
            let mut name = lost_name(id);
            while self.tables.contains_key(&name) {
                name.push('-');
            }
            let note = "its definition is lost, it may have been dropped".to_owned();
            made.push((TableInfo { id, name, rows_loaded: 0, options }, vec![note]));
        }
        made
    }

    /// Where the rows of table `id` are to be looked for, and its base if one is known.
    pub fn place(&self, id: TableId) -> (Place, Option<&StoredBase>) {
        let (sequence, age) = (self.sequence, self.age);
        match self.bases.get(&id) {
            Some((base, None)) => (Place { root: Some(base.tree), sequence, age }, Some(base)),
            Some((base, Some(from))) => {
                let place = Place { root: Some(base.tree), sequence: *from, age: Age::Old };
                (place, Some(base))
            }
            None => {
                let key = [b"s".as_slice(), &id.0.to_be_bytes()].concat();
                let is_loaded =
                    |(info, _): &Known<TableInfo>| info.id == id && 0 < info.rows_loaded;
                let is_lost = self.lost.iter().any(|span| span.contains(&key))
                    || self.tables.values().any(is_loaded);
                let root = (!is_lost).then_some(TreeRoot::EMPTY);
                (Place { root, sequence, age }, None)
            }
        }
    }
}

/// What a table is called whose name is lost.
pub(super) fn lost_name(id: TableId) -> String {
    format!("lost-{id}")
}

/// The first range that is lost below `root`; everything, if there is no root.
fn lost_in(source: &Source, root: Option<TreeRoot>) -> Option<Span> {
    let Some(root) = root else { return Some(Span::ALL) };
    let mut walk = TreeWalk::new(source, &root);
    while let Some(step) = walk.next() {
        if let Step::Lost(span, _) = step {
            return Some(span);
        }
    }
    None
}

/// The highest page of the catalog that each of the newest checkpoints wrote: its level, and where.
type Roots = BTreeMap<u64, (u8, PageRef)>;

/// Looks at every page for leaves and roots of the catalog.
fn scan(source: &Source, leaves: &mut Vec<Leaf>, meter: &mut Meter<'_>) -> Roots {
    let mut roots = Roots::new();
    meter.grow(source.bytes());
    meter.begin("lost pages of the catalog");
    source.scan(meter, |at, page| {
        let (table, sequence) = origin(page);
        if table != CATALOG {
            return;
        }
        leaves.extend(Leaf::of(at, page).map(|(_, leaf)| leaf));
        let root = roots.entry(sequence).or_insert((page[5], at));
        if root.0 < page[5] {
            *root = (page[5], at);
        }
        if ROOTS_MAX < roots.len() {
            roots.pop_first();
        }
    });
    roots
}

/// The newest root of a catalog behind the one of `known` that is whole, as are the roots it names.
fn newer_root(source: &Source, known: Option<&Meta>, roots: &Roots) -> Option<(u64, TreeRoot)> {
    let known = known.map_or(0, |meta| meta.sequence);
    let newer = roots.iter().rev().filter(|(sequence, _)| known < **sequence);
    let mut candidates = newer.filter_map(|(sequence, (level, at))| {
        let root = TreeRoot { page: *at, height: level.checked_add(1)?, rows: 0 };
        Some((*sequence, root))
    });
    candidates.find(|(_, root)| {
        let access = source.access(Vec::new(), Arc::new(PluginManager::default()));
        let mut walk = TreeWalk::new(source, root);
        while let Some(step) = walk.next() {
            let Step::Row(key, stored) = step else { return false };
            let row = source.value(&access, stored).and_then(|value| catalog_row(&key, &value));
            match row {
                Ok(CatalogRow::Base(_, base)) if 0 < base.tree.height => {
                    if source.page(base.tree.page, base.tree.height - 1).is_err() {
                        return false;
                    }
                }
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        true
    })
}

//! Saves one table: its rows from tree and segments, into a new table like the old one if that can be.

use super::catalog::{Catalog, lost_name};
use super::orphans::Leaf;
use super::report::{LostRows, RepairedTable};
use super::rows::{Found, Rows};
use super::segments::{Found as InSegments, SegmentRows};
use super::source::Source;
use super::tree::{Span, reason};
use crate::progress::Meter;
use sochdb_kernel::inspect::Access;
use sochdb_kernel::limits::{KEY_BYTES_MAX, PAGE_BYTES, VALUE_BYTES_MAX};
use sochdb_kernel::{ErrorKind, Kernel, KernelError, KernelResult, Slice, TableInfo, TableOptions};

/// A row that was saved: key, value, and whether it is from a page that nothing points to.
type Saved = (Vec<u8>, Slice, bool);

/// Saves one table.
pub(super) struct Salvage<'a> {
    pub source: &'a Source,
    pub access: &'a Access,
    pub catalog: &'a Catalog,
    pub info: &'a TableInfo,
}

impl Salvage<'_> {
    /// Makes the table in the new database, as it was made if that can be. Returns what was saved, and the
    /// last commit that the saved rows hold.
    pub fn table(
        &self,
        kernel: &Kernel,
        leaves: &[Leaf],
        mut notes: Vec<String>,
        meter: &mut Meter<'_>,
    ) -> KernelResult<(RepairedTable, u64)> {
        let (_, base) = self.catalog.place(self.info.id);
        let flushed = base.map_or(0, |base| base.flushed.0);
        let mut wanted = self.info.clone();
        loop {
            let mut table = RepairedTable {
                id: wanted.id,
                name: wanted.name.clone(),
                notes: notes.clone(),
                ..RepairedTable::default()
            };
            match self.load(kernel, &wanted, leaves, &mut table, meter) {
                Ok(()) => return Ok((table, flushed)),
                Err(error) => simplify(&mut wanted, error, &mut notes)?,
            }
        }
    }

    fn load(
        &self,
        kernel: &Kernel,
        TableInfo { name, options, .. }: &TableInfo,
        leaves: &[Leaf],
        table: &mut RepairedTable,
        meter: &mut Meter<'_>,
    ) -> KernelResult<()> {
        let mut last: Option<Vec<u8>> = None;
        let mut tree = self.tree_rows(leaves);
        let mut segments = self.segment_rows();
        let mut next = || loop {
            let (key, value, is_unreferenced) =
                tree(table, meter).or_else(|| segments(table, meter))?;
            let fits = key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX;
            if !fits || last.as_ref().is_some_and(|last| key <= *last) {
                lose(table, one(key), "a row out of order or too large".to_owned());
                continue;
            }
            table.rows += 1;
            if is_unreferenced {
                table.unreferenced += 1;
                let lost = table.lost.iter_mut().rfind(|lost| lost.contains(&key));
                lost.into_iter().for_each(|lost| lost.unreferenced += 1);
            }
            last = Some(key.clone());
            return Some(Ok((key, value.to_vec())));
        };
        // An engine need not know what to make of no rows.
        match next() {
            None => kernel.create_table(name, options.clone()),
            Some(first) => {
                let rows = std::iter::once(first).chain(std::iter::from_fn(next));
                kernel.bulk_load(name, options.clone(), rows).map(drop)
            }
        }
    }

    fn tree_rows<'s>(
        &'s self,
        leaves: &'s [Leaf],
    ) -> impl FnMut(&mut RepairedTable, &mut Meter<'_>) -> Option<Saved> + 's {
        let (place, _) = self.catalog.place(self.info.id);
        let mut rows = Rows::new(self.source, &place, leaves);
        let mut pages = 0;
        move |table, meter| loop {
            let found = rows.next();
            meter.add((rows.walk.pages - pages) * PAGE_BYTES as u64);
            pages = rows.walk.pages;
            match found? {
                Found::Lost(span, why) => lose(table, span, why),
                Found::Row(row) => match self.source.value(self.access, row.stored) {
                    Ok(value) => return Some((row.key, value, row.unreferenced.is_some())),
                    Err(error) => lose(table, one(row.key), reason(&error)),
                },
            }
        }
    }

    fn segment_rows(&self) -> impl FnMut(&mut RepairedTable, &mut Meter<'_>) -> Option<Saved> {
        let base = self.catalog.bases.get(&self.info.id);
        let from = base.and_then(|(_, from)| *from);
        let metas = base.map(|(base, _)| base.segments.clone()).unwrap_or_default();
        let mut rows = SegmentRows::new(self.source, self.access, self.info, &metas);
        move |table, meter| loop {
            match rows.next()? {
                InSegments::Lost(span, why) => lose(table, span, why),
                InSegments::Row(key, value) => {
                    meter.add((key.len() + value.len()) as u64);
                    return Some((key, value, from.is_some()));
                }
            }
        }
    }
}

fn lose(table: &mut RepairedTable, span: Span, why: String) {
    let Span { low, high } = span;
    table.lose(LostRows { low, high, why, unreferenced: 0 });
}

/// The span of one key.
fn one(key: Vec<u8>) -> Span {
    let high = Some([key.as_slice(), &[0]].concat());
    Span { low: Some(key), high }
}

/// Wants less than `wanted` did, which `error` refused.
fn simplify(
    wanted: &mut TableInfo,
    error: KernelError,
    notes: &mut Vec<String>,
) -> KernelResult<()> {
    let TableInfo { id, name, options, .. } = wanted;
    if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Closed) {
        return Err(error);
    } else if let Some(storage) = options.storage.take() {
        notes.push(format!("it is no longer in the storage '{storage}': {error}"));
    } else if let Some(codec) = options.codec.take() {
        notes.push(format!("it is no longer compressed by '{codec}': {error}"));
    } else if *options != TableOptions::default() {
        *options = TableOptions::default();
        notes.push(format!("its schema and settings are lost: {error}"));
    } else if *name != lost_name(*id) {
        *name = lost_name(*id);
        notes.push(format!("its name is lost: {error}"));
    } else {
        return Err(error);
    }
    Ok(())
}

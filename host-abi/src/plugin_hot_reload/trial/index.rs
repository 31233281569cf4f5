//! The trial of an index plugin: what it finds in the segments there are, and what it builds in memory.
//!
//! Queries are entries of the segments themselves. What both versions find of one query is put together, and the
//! [`K`] nearest of that are what there is to find: a version that finds other entries as near is as good. Values in
//! order are found, or not; so there both must find the same.

use super::Trial;
use super::memory::Memory;
use crate::canary::Tables;
use sochdb_index::definition::{AUTO, STORAGE};
use sochdb_index::extension::Part;
use sochdb_index::{
    Built, CodeKind, Element, Entries, IndexDefinition, IndexExtension, IndexKind, IndexSearcher,
    Metric, Query, built,
};
use sochdb_kernel::plugin::SegmentRead;
use sochdb_kernel::{Kernel, KernelError, KernelResult, KeyRange, Slice};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Entries that are looked for, and how many near them.
const QUERIES: u32 = 24;
const K: usize = 10;
/// Of what the old version finds the new one finds at least so many tenths.
const TENTHS_MIN: usize = 9;
/// Entries that one lookup gives.
const LIMIT: usize = 50;
/// Entries that a segment is built of, and segments that are.
const ENTRIES: u32 = 2000;
const BUILDS: usize = 4;
/// Entries that are made up when there are none, and their dimensions.
const MADE_UP: u32 = 500;
const DIM: u32 = 8;

/// The tables of indexes.
pub(super) fn tables(kernel: &Kernel) -> KernelResult<Tables> {
    Tables::of_engine(kernel, STORAGE)
}

/// Opens what the plugin has built.
pub(super) fn open_all(
    trial: &Trial,
    tables: &Tables,
    new: &dyn IndexExtension,
) -> KernelResult<()> {
    for Built { index, entries, graph, .. } in segments(tables, |one| built_by(one, &trial.plugin))
    {
        if let Err(error @ KernelError::Plugin { .. }) = new.open(&index, &entries, graph) {
            let (version, plugin) = (&trial.new, &trial.plugin);
            let text = format!("version {version} cannot open {}: {error}", shown(&index));
            let fault = sochdb_kernel::PluginFault::Refused;
            return Err(KernelError::plugin(plugin, fault, text));
        }
    }
    Ok(())
}

/// Tries the new plugin beside the old one.
pub(super) fn try_all(
    trial: &mut Trial,
    tables: &Tables,
    old: &dyn IndexExtension,
    new: &dyn IndexExtension,
) -> KernelResult<()> {
    open_all(trial, tables, new)?;
    let plugin = trial.plugin.clone();
    let mut builds = 0;
    for one in segments(tables, |one| built_by(one, &plugin) || is_for(one, &plugin)) {
        let Built { index, entries, graph, .. } = &one;
        if built_by(&one, &plugin) {
            trial.report.opened += 1;
            if !trial.is_late() {
                try_segment(trial, index, entries, graph, (old, new))?;
            }
        }
        if builds < BUILDS && !trial.is_late() && 0 < entries.count() {
            builds += 1;
            let Ok(sample) = entries.sample(ENTRIES) else { continue };
            try_build(trial, index, &sample, old, new)?;
        }
    }
    if builds == 0 {
        for (index, entries) in made_up()? {
            if old.check(&index).is_ok() {
                try_build(trial, &index, &entries, old, new)?;
            }
        }
    }
    Ok(())
}

/// The segments of all indexes that are `wanted`. What cannot be read is no plugin's fault.
fn segments<'a>(
    tables: &'a Tables,
    wanted: impl Fn(&Built) -> bool + 'a,
) -> impl Iterator<Item = Built> + 'a {
    let each =
        tables.iter().flat_map(|(info, segments)| built(info, &segments).unwrap_or_default());
    each.filter(wanted)
}

fn built_by(one: &Built, plugin: &str) -> bool {
    one.plugin.as_deref() == Some(plugin)
}

/// Whether the plugin would build for the index.
fn is_for(one: &Built, plugin: &str) -> bool {
    let using = &one.index.using;
    using == plugin || using == AUTO && ["hnsw", "vamana"].contains(&plugin)
}

fn shown(index: &IndexDefinition) -> String {
    format!("the index '{}' of the table '{}'", index.name, index.table)
}

/// Compares what both find in a segment that one of them has built.
fn try_segment(
    trial: &mut Trial,
    index: &IndexDefinition,
    entries: &Arc<Entries>,
    graph: &Arc<dyn SegmentRead>,
    (old, new): (&dyn IndexExtension, &dyn IndexExtension),
) -> KernelResult<()> {
    let what = shown(index);
    let open = |plugin: &dyn IndexExtension| plugin.open(index, entries, graph.clone());
    let Some((old, new)) = trial.ask(format!("{what} is opened"), || open(old), || open(new))?
    else {
        return Ok(());
    };
    if index.kind == IndexKind::Ordered {
        return try_lookups(trial, &what, entries, &*old, &*new);
    }
    let (mut of_old, mut of_new) = (0, 0);
    for (at, number) in chosen(entries).enumerate() {
        let Ok(query) = entries.query_at(number) else { continue };
        let allowed = allowed(entries, at);
        let find = |searcher: &dyn IndexSearcher| nearest(searcher, &query, &allowed);
        let asked = format!("{what}: a search");
        let Some((old, new)) = trial.ask(asked, || find(&*old), || find(&*new))? else { continue };
        let mut all: Vec<f32> = [&old, &new].into_iter().flatten().map(|(_, far)| *far).collect();
        // Who is in both is there once.
        let twice = old.keys().filter(|number| new.contains_key(*number));
        for number in twice {
            let at = all.iter().position(|far| *far == old[number]);
            at.map(|at| all.swap_remove(at));
        }
        all.sort_by(f32::total_cmp);
        let Some(farthest) = all.get(K.min(all.len()).wrapping_sub(1)).copied() else { continue };
        let near =
            |found: &BTreeMap<u32, f32>| found.values().filter(|far| **far <= farthest).count();
        (of_old, of_new) = (of_old + near(&old), of_new + near(&new));
    }
    judge(trial, &what, "in what is there", of_old, of_new)
}

fn judge(trial: &Trial, what: &str, place: &str, of_old: usize, of_new: usize) -> KernelResult<()> {
    if TENTHS_MIN * of_old <= 10 * of_new {
        return Ok(());
    }
    let old = &trial.old;
    Err(trial.lied(format!(
        "{what}: finds {of_new} near entries {place}, where version {old} finds {of_old}"
    )))
}

/// Looks up values of entries, alone and from one to another, up and down.
fn try_lookups(
    trial: &mut Trial,
    what: &str,
    entries: &Entries,
    old: &dyn IndexSearcher,
    new: &dyn IndexSearcher,
) -> KernelResult<()> {
    let what = format!("{what}: a lookup");
    for (at, range) in ranges(entries).into_iter().enumerate() {
        let find = |searcher: &dyn IndexSearcher| searcher.lookup(&range, at % 2 == 1, LIMIT, &[]);
        if let Some((old, new)) = trial.ask(&what, || find(old), || find(new))?
            && old != new
        {
            let (got, most) = (new.len(), old.len());
            let old = &trial.old;
            let text = format!("{what} finds other entries ({got}) than version {old} ({most})");
            return Err(trial.lied(text));
        }
    }
    Ok(())
}

/// Has both build from `entries`, and search that.
fn try_build(
    trial: &mut Trial,
    index: &IndexDefinition,
    entries: &Arc<Entries>,
    old: &dyn IndexExtension,
    new: &dyn IndexExtension,
) -> KernelResult<()> {
    let (memory, what) = (Memory::new(), shown(index));
    let build =
        |plugin: &dyn IndexExtension, parts| plugin.build(index, entries, parts, memory.sink());
    let Ok(by_old) = build(old, Vec::new()) else { return Ok(()) };
    let Some(by_old) = memory.segments(&[by_old]).and_then(|mut found| found.pop()) else {
        return Ok(());
    };
    let Ok(measure) = find_all(index, entries, &by_old, old) else { return Ok(()) };
    let part = Part { segment: by_old, numbers: (0..entries.count()).collect() };
    for (parts, how) in [(Vec::new(), "builds"), (vec![part], "builds on what was built")] {
        trial.report.replayed += 1;
        let id =
            build(new, parts).map_err(|error| trial.failed(format!("{what}: {how}"), error))?;
        let by_new = memory.segments(&[id]).and_then(|mut found| found.pop());
        let by_new =
            by_new.ok_or_else(|| trial.lied(format!("{what}: {how} what it does not write")))?;
        let before = format!("version {}", trial.old);
        let readers = [("it", new), (before.as_str(), old)];
        for (who, reader) in &readers[..if trial.one_way { 1 } else { 2 }] {
            let found = find_all(index, entries, &by_new, *reader).map_err(|error| {
                trial.lied(format!("{what}: {how} what {who} cannot search: {error}"))
            })?;
            match (&measure, &found) {
                (Found::Near(of_old), Found::Near(of_new)) => {
                    judge(
                        trial,
                        &what,
                        &format!("in what it {how}, as {who} searches it"),
                        *of_old,
                        *of_new,
                    )?;
                }
                (Found::InOrder(of_old), Found::InOrder(of_new)) if of_old == of_new => {}
                _ => {
                    let text =
                        format!("{what}: {how} what gives other entries when {who} looks them up");
                    return Err(trial.lied(text));
                }
            }
        }
    }
    Ok(())
}

/// What is found in a segment of some entries.
enum Found {
    /// How many of those that are truly nearest.
    Near(usize),
    /// What each lookup gives.
    InOrder(Vec<Vec<u32>>),
}

fn find_all(
    index: &IndexDefinition,
    entries: &Arc<Entries>,
    graph: &Arc<dyn SegmentRead>,
    plugin: &dyn IndexExtension,
) -> KernelResult<Found> {
    let searcher = plugin.open(index, entries, graph.clone())?;
    if index.kind == IndexKind::Ordered {
        let look_up = |(at, range)| searcher.lookup(&range, at % 2 == 1, LIMIT, &[]);
        let found = ranges(entries).into_iter().enumerate().map(look_up);
        return found.collect::<KernelResult<_>>().map(Found::InOrder);
    }
    let numbers: Vec<u32> = (0..entries.count()).collect();
    let mut hits = 0;
    for number in chosen(entries) {
        let query = entries.query_at(number)?;
        let mut distances = Vec::with_capacity(numbers.len());
        query.distances(&numbers, &mut distances)?;
        distances.sort_by(f32::total_cmp);
        let farthest = distances[K.min(distances.len()) - 1];
        let found = nearest(&*searcher, &query, &[])?;
        hits += found.values().filter(|far| **far <= farthest).count();
    }
    Ok(Found::Near(hits))
}

/// The [`K`] nearest of what is found, and how far they are.
fn nearest(
    searcher: &dyn IndexSearcher,
    query: &Arc<Query>,
    allowed: &[u64],
) -> KernelResult<BTreeMap<u32, f32>> {
    let numbers = searcher.search(query, K, 0, allowed)?;
    let mut distances = Vec::with_capacity(numbers.len());
    query.distances(&numbers, &mut distances)?;
    let mut found: Vec<_> = numbers.into_iter().zip(distances).collect();
    found.sort_by(|a, b| a.1.total_cmp(&b.1));
    found.truncate(K);
    Ok(found.into_iter().collect())
}

/// Some entries, from the first on.
fn chosen(entries: &Entries) -> impl Iterator<Item = u32> + use<> {
    let all = entries.count();
    let count = QUERIES.min(all);
    (0..count).map(move |number| (u64::from(number) * u64::from(all) / u64::from(count)) as u32)
}

/// Everybody, or every other entry.
fn allowed(entries: &Entries, at: usize) -> Vec<u64> {
    let words = (entries.count() as usize).div_ceil(64);
    if at.is_multiple_of(2) { Vec::new() } else { vec![0x5555_5555_5555_5555; words] }
}

/// Values of some entries, from each to itself and to the next but one, and everything.
fn ranges(entries: &Entries) -> Vec<KeyRange> {
    let value = |number| entries.values(number, 1, u32::MAX).map(|(value, _)| value);
    let mut values: Vec<_> = chosen(entries).filter_map(|number| value(number).ok()).collect();
    values.sort_unstable();
    values.dedup();
    let alone = values.iter().map(|value| (Bound::Included(value), Bound::Included(value)));
    let wider = values.iter().zip(values.iter().skip(2));
    let wider = wider.map(|(from, to)| (Bound::Excluded(from), Bound::Excluded(to)));
    let ranges = alone
        .chain(wider)
        .map(|(start, end)| KeyRange { start: start.cloned(), end: end.cloned() });
    ranges.chain([KeyRange::all(), KeyRange::all()]).collect()
}

/// Two indexes that do not exist: one of vectors, one of values in order.
fn made_up() -> KernelResult<[(IndexDefinition, Arc<Entries>); 2]> {
    let index = |kind| {
        let (name, table, column) = ("made up".to_owned(), "made up".to_owned(), "v".to_owned());
        let (using, settings) = Default::default();
        IndexDefinition { name, table, column, using, kind, settings }
    };
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let vectors = (0..MADE_UP * DIM).map(|_| (next() % 2001) as f32 / 1000.0 - 1.0).collect();
    let values: Vec<Slice> =
        (0..MADE_UP).map(|_| (next() % 400).to_be_bytes().to_vec().into()).collect();
    let (metric, element, codes) = (Metric::Cosine, Element::F32, CodeKind::Sq8);
    let of_vectors = IndexKind::Vector { dim: DIM, metric, element, codes };
    Ok([
        (index(of_vectors), Entries::of_values(metric, DIM, vectors)?),
        (index(IndexKind::Ordered), Entries::in_order(values)),
    ])
}

#[cfg(test)]
mod tests;

//! Searches: the rows nearest to a vector, and those whose value lies in a range, as one transaction sees them.
//!
//! ```text
//!   what waits    ──▶ each row's distance
//!   each segment  ──▶ few allowed entries: all of them by their codes
//!                 └─▶ many: the plugin walks its graph; too few found ──▶ it tries harder ──▶ all of them
//!   candidates    ──▶ their exact distances ──▶ the k nearest
//! ```
//!
//! 1. An entry is a candidate only if its bit says that the transaction sees it and the filter lets it pass.
//!    A plugin's answer is checked against the bits, so it cannot show a row.
//! 2. The distance of a hit is computed from the vector as the index keeps it, never taken from a plugin.
//! 3. There are min(k, allowed) hits: where a plugin finds fewer, every allowed entry is looked at.
//!
//! Where is "few"? A walk that keeps only allowed entries visits about V/s of them, where s is the share that is
//! allowed, and looking at all allowed ones costs s times N, each about twice as cheap as one of a walk: the two meet
//! at s = sqrt(2 V / N).

use crate::column::IndexedColumn;
use crate::definition::{IndexDefinition, IndexKind};
use crate::engine::IndexEngine;
use crate::entries::Query;
use crate::extension::IndexSearcher;
use crate::segment::OpenSegment;
use crate::vectors::{CodeKind, Element, ExactQuery, Metric};
use crate::waiting::Bits;
use sochdb_encoding::row::Value;
use sochdb_encoding::select::{Condition, Projection, Selection};
use sochdb_kernel::{KernelError, KernelResult, KeyRange, Slice, TableInfo, Transaction};
use std::ops::Bound;
use std::sync::Arc;

/// The most hits of one search.
pub const K_MAX: usize = 16_384;
/// The most entries that a walk keeps in its list.
pub const EFFORT_MAX: usize = 1 << 20;
/// Entries compared with a query at once where all are looked at.
const BATCH: usize = 1024;
/// Vectors that are scored at once.
const SCORED: usize = 64;
/// Vectors that are scored beside those that are wanted, before it is known how far codes are off.
const MORE: usize = 6;
/// How many times as far as in those a code may be off.
const DOUBT: f32 = 3.0;
/// Entries that a walk visits, for each place in its list.
const VISITED_PER_EFFORT: f64 = 15.0;
/// The effort that is assumed where the plugin chooses.
const EFFORT_USUAL: usize = 100;
/// How much harder a walk that found too few is tried again.
const WIDEN: usize = 4;

/// What to search for, and how.
///
/// ```
/// let search = sochdb_index::VectorSearch::new(vec![0.5, 0.5], 10).effort(200);
/// assert_eq!((search.k, search.effort), (10, Some(200)));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSearch {
    /// What hits shall be near to.
    pub vector: Vec<f32>,
    /// How many hits, if there are so many rows; at most [`K_MAX`].
    pub k: usize,
    /// The length of the list that a walk keeps: more buys recall with time. `None`: what the index was made with.
    pub effort: Option<usize>,
    /// Whether to look at every row.
    pub exact: bool,
    /// The keys that may be found.
    pub range: KeyRange,
    /// What rows must fulfil to be found. Made for the schema of the table.
    pub conditions: Vec<Condition>,
}

impl VectorSearch {
    /// A search for the `k` rows nearest to `vector`.
    pub fn new(vector: Vec<f32>, k: usize) -> VectorSearch {
        let (range, conditions) = (KeyRange::all(), Vec::new());
        VectorSearch { vector, k, effort: None, exact: false, range, conditions }
    }

    /// With that effort.
    pub fn effort(mut self, effort: usize) -> VectorSearch {
        self.effort = Some(effort);
        self
    }

    /// Looking at every row.
    pub fn exact(mut self) -> VectorSearch {
        self.exact = true;
        self
    }

    /// Among the rows of a range of keys.
    pub fn range(mut self, range: KeyRange) -> VectorSearch {
        self.range = range;
        self
    }

    /// Among the rows that fulfil `condition` too.
    pub fn filter(mut self, condition: Condition) -> VectorSearch {
        self.conditions.push(condition);
        self
    }
}

/// A row that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its key.
    pub key: Vec<u8>,
    /// How far its vector is from the query: the metric's own value ([`Metric`]).
    pub distance: f32,
}

/// The table that keeps `index`, and whether it is complete.
fn table_of(tx: &Transaction, index: &IndexDefinition) -> KernelResult<(TableInfo, bool)> {
    match tx.table(&index.index_table()) {
        Ok(info) => Ok((info, true)),
        Err(KernelError::NotFound { .. }) => match tx.table(&index.building_table()) {
            Ok(info) => Ok((info, false)),
            Err(KernelError::NotFound { .. }) => {
                let name = format!("{}' of table '{}", index.name, index.table);
                Err(KernelError::NotFound { kind: "index", name })
            }
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// The rows of the table of `index` that are nearest to what `search` asks for, nearest first, as `tx` sees them:
/// as many as it asks for, or all that there are; of equally near ones those with the smaller keys. While the
/// index is being made every row is looked at.
///
/// # Errors
/// `Invalid` for an index without vectors, a vector of other dimensions or with a value that is no finite
/// number, and one of zeros under cosine; `Limit` for too large a `k` or effort; `NotFound`; as
/// [`Transaction::scan`].
pub fn search(
    engine: &IndexEngine,
    tx: &Transaction,
    index: &IndexDefinition,
    search: &VectorSearch,
) -> KernelResult<Vec<Hit>> {
    let (metric, element) = check(index, search)?;
    let (info, complete) = table_of(tx, index)?;
    if search.k == 0 {
        return Ok(Vec::new());
    }
    let exact = ExactQuery::new(metric, element, &search.vector);
    let mut nearest = Nearest::new(search.k);
    if !complete {
        scan_table(tx, index, search, metric, &mut nearest)?;
        return nearest.hits(&[]);
    }
    let view = engine.view(tx, index, &info)?;
    let filter = engine.filter(tx, index, &view, &search.range, &search.conditions)?;
    for (position, row) in view.waiting.rows.iter().enumerate() {
        let flags = filter.as_ref().and_then(|filter| filter.waiting.as_ref());
        if row.form.is_some() && flags.is_none_or(|flags| flags[position]) {
            let key = || row.key.clone();
            nearest.offer_row(metric.distance(&search.vector, &row.vector), key);
        }
    }
    for (number, segment) in view.segments().iter().enumerate() {
        let visible = &view.waiting.visible[number];
        let allowed = match &filter {
            Some(filter) => &visible.and(&filter.bits[number]),
            None => visible,
        };
        if allowed.count == 0 {
            continue;
        }
        let work = Work { engine, index, segment, number, allowed, search, exact: &exact };
        work.search(&mut nearest)?;
    }
    nearest.hits(view.segments())
}

/// Checks what can be checked without looking at rows.
fn check(index: &IndexDefinition, search: &VectorSearch) -> KernelResult<(Metric, Element)> {
    let IndexKind::Vector { dim, metric, element, .. } = index.kind else {
        let name = &index.name;
        return Err(KernelError::Invalid(format!("index '{name}' is ordered: it has no vectors")));
    };
    let vector = &search.vector;
    if vector.len() != dim as usize {
        let (got, name) = (vector.len(), &index.name);
        return Err(KernelError::Invalid(format!(
            "the query has {got} dimensions, but index '{name}' has {dim}"
        )));
    }
    if let Some(at) = vector.iter().position(|x| !x.is_finite()) {
        let found = vector[at];
        return Err(KernelError::Invalid(format!("value {at} of the query is {found}")));
    }
    if metric == Metric::Cosine && vector.iter().all(|x| *x == 0.0) {
        return Err(KernelError::invalid(
            "a query of zeros has no direction, which cosine is about",
        ));
    }
    let limits = [
        ("rows that a search finds", search.k, K_MAX),
        ("effort of a search", search.effort.unwrap_or(0), EFFORT_MAX),
    ];
    for (what, got, bound) in limits {
        if bound < got {
            return Err(KernelError::Limit { what, got: got as u64, bound: bound as u64 });
        }
    }
    Ok((metric, element))
}

/// Looks at every row of the table itself.
fn scan_table(
    tx: &Transaction,
    index: &IndexDefinition,
    search: &VectorSearch,
    metric: Metric,
    nearest: &mut Nearest,
) -> KernelResult<()> {
    let info = tx.table(&index.table)?;
    let schema = index.schema(&info)?.clone();
    let projection = Projection::new(&schema, &[&index.column])?;
    let selection = Selection::new(schema, Some(projection.clone()), search.conditions.clone())?;
    let range = search.range.clone();
    for row in tx.scan_selected(&index.table, range, false, Some(Arc::new(selection)))? {
        let (key, value) = row?;
        if let Some(Value::Vector(vector)) = projection.decode(&value)?.first()
            && vector.iter().all(|x| x.is_finite())
        {
            nearest.offer_row(metric.distance(&search.vector, vector), || key);
        }
    }
    Ok(())
}

/// A candidate: where it is, and how far.
#[derive(Clone)]
struct Candidate {
    distance: f32,
    place: Place,
}

#[derive(Clone)]
enum Place {
    /// A row that waits.
    Row(Vec<u8>),
    /// A segment's number, and an entry's.
    Entry(usize, u32),
}

/// The nearest candidates so far.
struct Nearest {
    k: usize,
    found: Vec<Candidate>,
    /// What is farther than this is not among them.
    worst: f32,
}

impl Nearest {
    fn new(k: usize) -> Nearest {
        Nearest { k, found: Vec::new(), worst: f32::INFINITY }
    }

    fn offer(&mut self, candidate: Candidate) {
        if self.worst < candidate.distance {
            return;
        }
        self.found.push(candidate);
        // Twice as many as needed, so that the others are seldom thrown away.
        if 2 * self.k + 64 <= self.found.len() {
            self.shrink();
        }
    }

    fn offer_row(&mut self, distance: f32, key: impl FnOnce() -> Vec<u8>) {
        if distance <= self.worst {
            self.offer(Candidate { distance, place: Place::Row(key()) });
        }
    }

    /// Keeps the k nearest, and those as near as the last of them.
    fn shrink(&mut self) {
        if self.found.len() <= self.k {
            return;
        }
        let at = self.k - 1;
        self.found.select_nth_unstable_by(at, |a, b| a.distance.total_cmp(&b.distance));
        self.worst = self.found[at].distance;
        let worst = self.worst;
        self.found.retain(|candidate| candidate.distance <= worst);
    }

    fn hits(mut self, segments: &[Arc<OpenSegment>]) -> KernelResult<Vec<Hit>> {
        self.shrink();
        let hit = |candidate: Candidate| {
            let key = match candidate.place {
                Place::Row(key) => key,
                Place::Entry(segment, number) => segments[segment].key(number)?.into_owned(),
            };
            Ok(Hit { key, distance: candidate.distance })
        };
        let mut hits = self.found.into_iter().map(hit).collect::<KernelResult<Vec<_>>>()?;
        hits.sort_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.key.cmp(&b.key)));
        hits.truncate(self.k);
        Ok(hits)
    }
}

/// The search of one segment.
struct Work<'a> {
    engine: &'a IndexEngine,
    index: &'a IndexDefinition,
    segment: &'a OpenSegment,
    number: usize,
    allowed: &'a Bits,
    search: &'a VectorSearch,
    exact: &'a ExactQuery,
}

impl Work<'_> {
    fn search(&self, nearest: &mut Nearest) -> KernelResult<()> {
        let allowed = self.allowed.count as usize;
        let effort = self.search.effort.unwrap_or(EFFORT_USUAL).max(self.search.k);
        if self.search.exact || allowed <= effort {
            return self.score(self.allowed.numbers(self.segment.entry_count()), nearest);
        }
        let entries = self.segment.entries()?;
        let query = entries.query(&self.search.vector)?;
        if !self.is_few(allowed, effort)
            && let Some(searcher) = self.engine.searcher(self.index, self.segment)?
            && let Some(found) = self.walk(&*searcher, &query)
        {
            let mut distances = Vec::with_capacity(found.len());
            query.distances(&found, &mut distances)?;
            return self.score_nearest(distances.into_iter().zip(found).collect(), nearest);
        }
        let found = self.look_at_all(&query, effort.min(self.scored()))?;
        self.score_nearest(found, nearest)
    }

    /// How many of those that are nearest by their codes get exact distances: the shorter the codes, the more of
    /// them are out of place.
    fn scored(&self) -> usize {
        let k = self.search.k;
        match self.segment.kind() {
            IndexKind::Vector { codes: CodeKind::Sq8, .. } => 4 * k + 16,
            IndexKind::Vector { codes: CodeKind::Rabitq4, .. } => 8 * k + 32,
            IndexKind::Vector { codes: CodeKind::Rabitq2, .. } => 16 * k + 64,
            _ => usize::MAX,
        }
    }

    fn is_few(&self, allowed: usize, effort: usize) -> bool {
        let visited = VISITED_PER_EFFORT * effort as f64;
        (allowed as f64) < (2.0 * visited * f64::from(self.segment.entry_count())).sqrt()
    }

    /// What the plugin finds; `None` when it fails or finds too few.
    fn walk(&self, searcher: &dyn IndexSearcher, query: &Arc<Query>) -> Option<Vec<u32>> {
        let wanted = self.search.k.min(self.allowed.count as usize);
        let mut effort = self.search.effort.map_or(0, |effort| effort.max(self.search.k));
        for _ in 0..2 {
            let found = searcher.search(query, self.search.k, effort, &self.allowed.words);
            match found {
                Ok(mut found) => {
                    found.retain(|number| self.allowed.has(*number, self.segment.entry_count()));
                    if wanted <= found.len() {
                        return Some(found);
                    }
                }
                Err(error) => {
                    let (table, index) = (&self.index.table, &self.index.name);
                    tracing::warn!(table, index, %error, "searched entry by entry");
                    return None;
                }
            }
            effort = WIDEN * effort.max(EFFORT_USUAL).max(self.search.k);
        }
        None
    }

    /// The entries that are nearest by their codes, more than are wanted.
    fn look_at_all(&self, query: &Query, effort: usize) -> KernelResult<Vec<(f32, u32)>> {
        let mut near: Vec<(f32, u32)> = Vec::new();
        let (mut numbers, mut distances) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        let mut all = self.allowed.numbers(self.segment.entry_count());
        loop {
            numbers.clear();
            numbers.extend(all.by_ref().take(BATCH));
            if numbers.is_empty() {
                break;
            }
            distances.clear();
            query.distances(&numbers, &mut distances)?;
            near.extend(distances.iter().copied().zip(numbers.iter().copied()));
            if 4 * effort + BATCH < near.len() {
                near.select_nth_unstable_by(effort, |a, b| a.0.total_cmp(&b.0));
                near.truncate(effort);
            }
        }
        if effort < near.len() {
            near.select_nth_unstable_by(effort, |a, b| a.0.total_cmp(&b.0));
            near.truncate(effort);
        }
        Ok(near)
    }

    /// Offers entries with their exact distances: of `near`, which has their distances by codes, those that may be
    /// among the nearest.
    ///
    /// How far codes are off shows in the first ones. An entry is left out when it is farther by its code than
    /// the last one wanted is in fact, and that by more than [`DOUBT`] times as much as codes were off.
    fn score_nearest(&self, mut near: Vec<(f32, u32)>, nearest: &mut Nearest) -> KernelResult<()> {
        let most = self.scored();
        if most < near.len() {
            near.select_nth_unstable_by(most, |a, b| a.0.total_cmp(&b.0));
            near.truncate(most);
        }
        if !matches!(self.segment.kind(), IndexKind::Vector { codes: CodeKind::Sq8, .. }) {
            return self.score(near.into_iter().map(|(_, number)| number), nearest);
        }
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (mut done, mut next) = (0, near.len().min(self.search.k + MORE));
        let (mut off, mut exact) = (0f32, Vec::new());
        while done < next {
            for some in near[done..next].chunks(SCORED) {
                let numbers: Vec<u32> = some.iter().map(|(_, number)| *number).collect();
                self.score_each(&numbers, nearest, &mut exact)?;
                let by_code = some.iter().map(|(distance, _)| *distance);
                let errors = by_code.zip(&exact).map(|(by_code, exact)| (by_code - exact).abs());
                off = errors.fold(off, f32::max);
            }
            nearest.shrink();
            let reach = nearest.worst + DOUBT * off;
            done = next;
            next += near[done..].partition_point(|(by_code, _)| *by_code <= reach);
        }
        Ok(())
    }

    /// Offers the entries `numbers` with their exact distances.
    fn score(
        &self,
        mut numbers: impl Iterator<Item = u32>,
        nearest: &mut Nearest,
    ) -> KernelResult<()> {
        let (mut some, mut exact) = (Vec::with_capacity(SCORED), Vec::with_capacity(SCORED));
        loop {
            some.clear();
            some.extend(numbers.by_ref().take(SCORED));
            if some.is_empty() {
                return Ok(());
            }
            self.score_each(&some, nearest, &mut exact)?;
        }
    }

    /// Offers the entries `numbers`, which are few, with their exact distances, and leaves those in `exact`.
    fn score_each(
        &self,
        numbers: &[u32],
        nearest: &mut Nearest,
        exact: &mut Vec<f32>,
    ) -> KernelResult<()> {
        let stored = numbers.iter().map(|number| self.segment.stored_vector(*number));
        let stored: Vec<Slice> = stored.collect::<KernelResult<_>>()?;
        let rows: Vec<&[u8]> = stored.iter().map(|row| &row[..]).collect();
        exact.clear();
        self.exact.distances(&rows, exact);
        for (&number, &distance) in numbers.iter().zip(&*exact) {
            nearest.offer(Candidate { distance, place: Place::Entry(self.number, number) });
        }
        Ok(())
    }
}

impl IndexEngine {
    /// What the plugin that built the segment's graph opened; `None` without a graph or the plugin, and when it
    /// cannot open it.
    pub(crate) fn searcher(
        &self,
        index: &IndexDefinition,
        segment: &OpenSegment,
    ) -> KernelResult<Option<Arc<dyn IndexSearcher>>> {
        let Some(name) = segment.plugin()? else { return Ok(None) };
        let Some((generation, plugin)) = self.plugin(&name) else { return Ok(None) };
        let mut open = segment.searcher.lock();
        if let Some((number, searcher)) = &*open
            && *number == generation
        {
            return Ok(Some(searcher.clone()));
        }
        match plugin.open(index, &segment.entries()?, segment.graph()) {
            Ok(searcher) => {
                *open = Some((generation, searcher.clone()));
                Ok(Some(searcher))
            }
            Err(error) => {
                let (table, index) = (&index.table, &index.name);
                tracing::warn!(table, index, plugin = name, %error, "searched entry by entry");
                Ok(None)
            }
        }
    }
}

/// Which rows to look up, by the value of an ordered index.
#[derive(Debug, Clone, PartialEq)]
pub struct Lookup {
    /// The least value.
    pub start: Bound<Value>,
    /// The greatest value.
    pub end: Bound<Value>,
    /// From the greatest value down.
    pub reverse: bool,
    /// The most rows.
    pub limit: usize,
}

/// The keys of the rows whose value is what `wanted` says, by their values and then by their keys, as `tx` sees
/// them. A null is never found.
///
/// # Errors
/// `Invalid` for an index of vectors and for values of another type; `NotFound`; as [`Transaction::scan`].
pub fn lookup(
    engine: &IndexEngine,
    tx: &Transaction,
    index: &IndexDefinition,
    wanted: &Lookup,
) -> KernelResult<Vec<Vec<u8>>> {
    if index.kind != IndexKind::Ordered {
        let name = &index.name;
        return Err(KernelError::Invalid(format!(
            "index '{name}' has vectors, which have no order"
        )));
    }
    let (info, complete) = table_of(tx, index)?;
    let table = tx.table(&index.table)?;
    let schema = index.schema(&table)?;
    let column = IndexedColumn::new(index, schema)?;
    let bound = |bound: &Bound<Value>| {
        let mut form = Vec::new();
        Ok(match bound {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(value) | Bound::Excluded(value) => {
                if !column.form(value, &mut form)? {
                    return Err(KernelError::invalid("an index never finds a null"));
                }
                match bound {
                    Bound::Included(_) => Bound::Included(form),
                    _ => Bound::Excluded(form),
                }
            }
        })
    };
    let range = KeyRange { start: bound(&wanted.start)?, end: bound(&wanted.end)? };
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    if complete {
        let view = engine.view(tx, index, &info)?;
        let waiting =
            view.waiting.rows.iter().filter_map(|row| Some((row.form.clone()?, &row.key)));
        let inside = waiting.filter(|(form, _)| range.contains(form));
        found.extend(inside.map(|(form, key)| (form, key.clone())));
        for (segment, allowed) in view.segments().iter().zip(&view.waiting.visible) {
            for number in numbers_in(engine, index, segment, allowed, &range, wanted)? {
                let value = segment.value(number)?.into_owned();
                if range.contains(&value) {
                    found.push((value, segment.key(number)?.into_owned()));
                }
            }
        }
    } else {
        let mut form = Vec::new();
        for row in tx.scan(&index.table, KeyRange::all())? {
            let (key, row) = row?;
            form.clear();
            if column.form(&column.value(&key, &row)?, &mut form)? && range.contains(&form) {
                found.push((form.clone(), key));
            }
        }
    }
    found.sort_unstable();
    if wanted.reverse {
        found.reverse();
    }
    found.truncate(wanted.limit);
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

/// The allowed entries of `segment` whose value lies in `range`, at least the first `limit` of them.
fn numbers_in(
    engine: &IndexEngine,
    index: &IndexDefinition,
    segment: &OpenSegment,
    allowed: &Bits,
    range: &KeyRange,
    wanted: &Lookup,
) -> KernelResult<Vec<u32>> {
    if let Some(searcher) = engine.searcher(index, segment)? {
        match searcher.lookup(range, wanted.reverse, wanted.limit, &allowed.words) {
            Ok(mut found) => {
                found.retain(|number| allowed.has(*number, segment.entry_count()));
                return Ok(found);
            }
            Err(error) => {
                let (table, index) = (&index.table, &index.name);
                tracing::warn!(table, index, %error, "looked up entry by entry");
            }
        }
    }
    let mut found = Vec::new();
    for number in allowed.numbers(segment.entry_count()) {
        if range.contains(&segment.value(number)?) {
            found.push(number);
        }
    }
    Ok(found)
}

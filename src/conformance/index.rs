//! Indexes: what is nearest is found, and what lies in a range, whatever became of the rows.
//!
//! Whether an index is one of vectors or of values in order, or both, is found out by asking it. An index that fails
//! a search costs only time, because the host then looks at every row; so the kit looks at whether it was asked, and
//! did not fail.

use super::hurtful::{self, damaged};
use super::judge::{During, Finding, Tally, answered, skipped, wrong};
use super::reload::reload;
use super::room::Room;
use super::segments::{Shelf, Stored};
use super::{Kit, Planned, planned};
use crate::database::Database;
use crate::indexes::IndexOptions;
use fastrand::Rng;
use sochdb_encoding::row::{Column, ColumnType, Schema, Value};
use sochdb_encoding::select::Comparison;
use sochdb_host_abi::{Neighbour, Transaction};
use sochdb_index::entries::EntrySource;
use sochdb_index::vectors::{CodeKind, Codebook, Metric};
use sochdb_index::{Entries, IndexDefinition, IndexExtension, Lookup};
use sochdb_kernel::plugin::SegmentRead;
use sochdb_kernel::{KernelError, KernelResult, KeyRange, Slice, TableOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

pub(super) const CHECKS: &[Planned] = &[
    planned(
        "recall",
        "of the nearest vectors it finds its share, in every metric, with and without a filter",
        recall,
    ),
    planned(
        "lookups",
        "rows by value and range are those that a sorted map has, in its order",
        lookups,
    ),
    planned(
        "visibility",
        "what is found is what is there, while rows come, change and go",
        visibility,
    ),
    planned(
        "hostile",
        "few rows, equal ones, none, and strange vectors and questions do no harm",
        hostile,
    ),
    planned(
        "damage",
        "segments that were cut, spoiled or made up are refused, or searched without harm",
        damage,
    ),
    planned("determinism", "another instance builds the same index of the same rows", determinism),
    planned("reload", "versions of it take over from each other while it is used", reloaded),
];

pub(super) const TABLE: &str = "t";
const DIM: u32 = 16;
const METRICS: [&str; 3] = ["cosine", "euclidean", "inner-product"];
/// Columns with values in order.
const ORDERED: [(&str, ColumnType); 6] = [
    ("flag", ColumnType::Bool),
    ("number", ColumnType::Int64),
    ("ratio", ColumnType::Float64),
    ("name", ColumnType::String),
    ("data", ColumnType::Bytes),
    ("at", ColumnType::Timestamp),
];
/// Rows that recall is measured among: so many that the host asks the plugin, instead of comparing all.
const ROWS: i64 = 4_000;
/// Searches for each metric.
const SEARCHES: usize = 40;
pub(super) const K: usize = 10;
/// How hard searches with a filter look, and those for more rows than usual.
const EFFORT: usize = 60;
/// Rows below which the host does without the plugin, so that it is asked about small tables too.
const FLAT_MAX: &str = "32";
/// Checkpoints until all rows are in what the plugin has built.
const CHECKPOINTS: usize = 6;
const DAMAGES: usize = 120;

pub(super) fn schema() -> Schema {
    let column =
        |name: &str, kind, nullable| Column { name: name.into(), kind, nullable, default: None };
    let id = column("id", ColumnType::Int64, false);
    let ordered = ORDERED.into_iter().map(|(name, kind)| column(name, kind, true));
    let vector = column("v", ColumnType::Vector(DIM), true);
    let columns = [id].into_iter().chain(ordered).chain([vector]).collect();
    Schema::new(columns, &["id"]).expect("columns with different names")
}

/// The position of a column of `ORDERED` in a row, and of the vector.
fn position(column: &str) -> usize {
    1 + ORDERED.iter().position(|(name, _)| *name == column).unwrap_or(ORDERED.len())
}

/// A row whose vector lies near one of some centres.
pub(super) fn row(id: i64, rng: &mut Rng) -> Vec<Value> {
    let mut row = hurtful::row(&schema(), rng);
    row[0] = Value::Int64(id);
    row[position("v")] = Value::Vector(vector(rng));
    row
}

pub(super) fn vector(rng: &mut Rng) -> Vec<f32> {
    let mut centre = Rng::with_seed(rng.u64(..12));
    (0..DIM).map(|_| centre.f32() * 2.0 - 1.0 + (rng.f32() - 0.5) * 0.6).collect()
}

fn key(id: i64) -> KernelResult<Vec<u8>> {
    Ok(schema().encode_key_values(&[Value::Int64(id)])?)
}

pub(super) fn put(tx: &mut Transaction, row: &[Value]) -> KernelResult<()> {
    let schema = schema();
    tx.put(TABLE, &schema.encode_key(row)?, &schema.encode_row(row)?)
}

/// A room with a table of these rows.
pub(super) fn room_with(kit: &Kit, rows: &[Vec<Value>]) -> Finding<Room> {
    let room = kit.room()?;
    let options = TableOptions { schema: Some(schema()), ..TableOptions::default() };
    room.db().create_table(TABLE, options)?;
    for rows in rows.chunks(500) {
        room.db().run(|tx| rows.iter().try_for_each(|row| put(tx, row)))?;
    }
    Ok(room)
}

fn options(kit: &Kit) -> IndexOptions {
    IndexOptions::default().using(kit.name()).set("flat_max", FLAT_MAX)
}

/// Makes an index. Whether the plugin takes it.
pub(super) fn index(
    kit: &Kit,
    room: &Room,
    name: &str,
    column: &str,
    metric: Option<&str>,
) -> Finding<bool> {
    let options = options(kit);
    let options = metric.into_iter().fold(options, |options, metric| options.metric(metric));
    let made = room.db().create_index(TABLE, name, column, &options, &mut |_| {});
    let made = answered(format!("an index of the column '{column}'"), made)?;
    if made.is_ok() {
        build(room, name)?;
    }
    Ok(made.is_ok())
}

/// Has the plugin build what waits.
fn build(room: &Room, name: &str) -> Finding {
    for _ in 0..CHECKPOINTS {
        room.checkpoint().during(format!("building the index '{name}'"))?;
        let stats = room.db().index_stats(TABLE, name)?;
        if let Some(trouble) = stats.trouble {
            return wrong(format!("building the index '{name}': {trouble}"));
        }
        if stats.flat == 0 && stats.waiting == 0 {
            break;
        }
    }
    room.gather();
    Ok(())
}

/// That a plugin is asked at all, where it should be.
fn check_is_asked(kit: &Kit, room: &Room, before: u64) -> Finding {
    room.gather();
    match kit.usage.calls() <= before {
        true => wrong("it is never asked: what it built is not used"),
        false => Ok(()),
    }
}

fn recall(kit: &Kit, tally: &mut Tally) -> Finding {
    let mut rng = kit.rng();
    let rows: Vec<_> = (0..ROWS).map(|id| row(id, &mut rng)).collect();
    let mut are_taken = false;
    for metric in METRICS {
        let room = room_with(kit, &rows)?;
        if index(kit, &room, "near", "v", Some(metric))? {
            are_taken = true;
            let calls = kit.usage.calls();
            recall_by(kit, &room, metric, &mut rng, tally)?;
            check_is_asked(kit, &room, calls)?;
        }
        room.close()?;
    }
    if are_taken { Ok(()) } else { skipped("it builds no index of vectors") }
}

/// Among all rows, and among those that pass a filter.
fn recall_by(kit: &Kit, room: &Room, metric: &str, rng: &mut Rng, tally: &mut Tally) -> Finding {
    for is_filtered in [false, true] {
        let (mut right, mut all) = (0, 0);
        for _ in 0..kit.times(SEARCHES) {
            let query = vector(rng);
            let search = || {
                let search = room.db().search(TABLE).near(&query).k(K);
                match is_filtered {
                    // Most rows pass: for few the host would not ask the plugin.
                    true => search
                        .filter("number", Comparison::NotEqual, Value::Int64(7))
                        .effort(EFFORT),
                    false => search,
                }
            };
            let found = search().run().during("a search")?;
            let exact = search().exact(true).run().during("an exact search")?;
            check_found(&found, &exact)?;
            let farthest = exact.last().map_or(f32::INFINITY, |last| last.distance);
            right += found.iter().filter(|found| found.distance <= farthest).count();
            all += exact.len();
            tally.count("searches", 1);
        }
        let query = vector(rng);
        room.db().search(TABLE).near(&query).k(EFFORT).run().during("a search")?;
        let share = right as f64 / all.max(1) as f64;
        let what = if is_filtered { format!("{metric}, filtered") } else { metric.to_owned() };
        if share < kit.options.recall_min {
            let wanted = kit.options.recall_min;
            return wrong(format!("{what}: a recall@{K} of {share:.3}, less than {wanted}"));
        }
        tally.note(format!("{what}: recall@{K} {share:.3}"));
    }
    Ok(())
}

/// As many as there are, nearest first, none twice.
fn check_found(found: &[Neighbour], exact: &[Neighbour]) -> Finding {
    if found.len() != exact.len() {
        return wrong(format!("a search finds {} rows of {}", found.len(), exact.len()));
    }
    if !found.is_sorted_by(|one, next| one.distance <= next.distance) {
        return wrong("a search gives a farther row before a nearer one");
    }
    let keys: BTreeSet<_> = found.iter().map(|found| &found.key).collect();
    match keys.len() == found.len() {
        true => Ok(()),
        false => wrong("a search gives a row twice"),
    }
}

/// What is in one column, by key.
type Values = BTreeMap<Vec<u8>, Value>;

fn values_of(rows: &BTreeMap<i64, Vec<Value>>, column: &str) -> KernelResult<Values> {
    let at = position(column);
    rows.iter().map(|(id, row)| Ok((key(*id)?, row[at].clone()))).collect()
}

/// Bytes that compare as values of this type do.
fn in_order(kind: &ColumnType, value: &Value) -> KernelResult<Vec<u8>> {
    let column = Column { name: "x".into(), kind: *kind, nullable: false, default: None };
    Ok(Schema::new(vec![column], &["x"])?.encode_key_values(std::slice::from_ref(value))?)
}

/// What a lookup must give.
fn wanted(values: &Values, kind: &ColumnType, lookup: &Lookup) -> KernelResult<Vec<Vec<u8>>> {
    let bound = |bound: &Bound<Value>| -> KernelResult<Bound<Vec<u8>>> {
        Ok(match bound {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(value) => Bound::Included(in_order(kind, value)?),
            Bound::Excluded(value) => Bound::Excluded(in_order(kind, value)?),
        })
    };
    let range = KeyRange { start: bound(&lookup.start)?, end: bound(&lookup.end)? };
    let mut found = Vec::new();
    for (key, value) in values.iter().filter(|(_, value)| **value != Value::Null) {
        let form = in_order(kind, value)?;
        if range.contains(&form) {
            found.push((form, key.clone()));
        }
    }
    found.sort();
    if lookup.reverse {
        found.reverse();
    }
    found.truncate(lookup.limit);
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

/// A lookup from some value to another, most of which are there.
fn some_lookup(values: &Values, rng: &mut Rng) -> Lookup {
    let known: Vec<_> = values.values().filter(|value| **value != Value::Null).collect();
    let mut bound = || match (rng.u8(..4), known.is_empty()) {
        (0, _) | (_, true) => Bound::Unbounded,
        (1, _) => Bound::Excluded(known[rng.usize(..known.len())].clone()),
        _ => Bound::Included(known[rng.usize(..known.len())].clone()),
    };
    let (start, end) = (bound(), bound());
    let end = match (&start, rng.bool()) {
        (Bound::Included(value), true) => Bound::Included(value.clone()),
        _ => end,
    };
    let limit = [1, 3, 100, usize::MAX >> 40][rng.usize(..4)];
    Lookup { start, end, reverse: rng.bool(), limit }
}

fn compare_lookup(
    tx: &Transaction,
    name: &str,
    values: &Values,
    kind: &ColumnType,
    lookup: &Lookup,
) -> Finding {
    let found = tx.lookup(TABLE, name, lookup).during(format!("a lookup in '{name}'"))?;
    let wanted = wanted(values, kind, lookup)?;
    if found == wanted {
        return Ok(());
    }
    let at = found.iter().zip(&wanted).take_while(|(found, wanted)| found == wanted).count();
    let show = |keys: &[Vec<u8>]| {
        keys.get(at).map_or("nothing".to_owned(), |key| match schema().key_values(key).as_deref() {
            Ok([Value::Int64(id)]) => {
                let value = values.get(key);
                format!("row {id} with {value:?}")
            }
            _ => key.escape_ascii().to_string(),
        })
    };
    wrong(format!(
        "{lookup:?} in '{name}' gives {} rows, not {}: at {at} {}, not {}",
        found.len(),
        wanted.len(),
        show(&found),
        show(&wanted)
    ))
}

fn lookups(kit: &Kit, tally: &mut Tally) -> Finding {
    let mut rng = kit.rng();
    let mut rows: BTreeMap<i64, Vec<Value>> = (0..600).map(|id| (id, row(id, &mut rng))).collect();
    let room = room_with(kit, &rows.values().cloned().collect::<Vec<_>>())?;
    let mut indexed = Vec::new();
    for (column, kind) in ORDERED {
        if index(kit, &room, column, column, None)? {
            indexed.push((column, kind));
        }
    }
    if indexed.is_empty() {
        room.close()?;
        return skipped("it builds no index of values in order");
    }
    let calls = kit.usage.calls();
    for round in 0..kit.times(3) as i64 {
        let tx = room.db().begin_read()?;
        for (column, kind) in &indexed {
            let values = values_of(&rows, column)?;
            for _ in 0..60 {
                compare_lookup(&tx, column, &values, kind, &some_lookup(&values, &mut rng))?;
                tally.count("lookups", 1);
            }
        }
        drop(tx);
        check_is_asked(kit, &room, calls)?;
        // Rows that change, come and go; then another segment of them.
        let changed: Vec<_> = (0..120).map(|n| row(n * 3 + round * 400, &mut rng)).collect();
        let gone: Vec<i64> = (0..40).map(|n| n * 7 + round).collect();
        room.db().run(|tx| {
            changed.iter().try_for_each(|row| put(tx, row))?;
            gone.iter().try_for_each(|id| tx.delete(TABLE, &key(*id)?))
        })?;
        for row in changed {
            let Value::Int64(id) = row[0] else { continue };
            rows.insert(id, row);
        }
        gone.iter().for_each(|id| drop(rows.remove(id)));
        for (column, _) in &indexed {
            build(&room, column)?;
        }
    }
    room.close()
}

fn visibility(kit: &Kit, tally: &mut Tally) -> Finding {
    let mut rng = kit.rng();
    let mut rows: BTreeMap<i64, Vec<Value>> = (0..200).map(|id| (id, row(id, &mut rng))).collect();
    let mut room = room_with(kit, &rows.values().cloned().collect::<Vec<_>>())?;
    let has_vectors = index(kit, &room, "near", "v", Some("euclidean"))?;
    let has_order = index(kit, &room, "number", "number", None)?;
    if !has_vectors && !has_order {
        return wrong("it builds neither an index of vectors nor one of values in order");
    }
    for _ in 0..kit.times(25) {
        let changed: Vec<_> =
            (0..rng.usize(1..20)).map(|_| row(rng.i64(0..400), &mut rng)).collect();
        let gone: Vec<i64> = (0..rng.usize(..8)).map(|_| rng.i64(0..400)).collect();
        let is_kept = rng.u8(..4) != 0;
        let mut tx = room.db().begin()?;
        changed.iter().try_for_each(|row| put(&mut tx, row))?;
        gone.iter().try_for_each(|id| tx.delete(TABLE, &key(*id)?))?;
        let before = rows.clone();
        for row in &changed {
            let Value::Int64(id) = row[0] else { continue };
            rows.insert(id, row.clone());
        }
        gone.iter().for_each(|id| drop(rows.remove(id)));
        // Its own writes, then whether they happened.
        compare(&tx, &rows, (has_vectors, has_order), &mut rng, tally)?;
        match is_kept {
            true => drop(tx.commit()?),
            false => {
                tx.rollback();
                rows = before;
            }
        }
        match rng.u8(..8) {
            0..3 => room.checkpoint()?,
            3 => room.reload()?,
            4 => room.reopen()?,
            5 => room.crash()?,
            _ => {}
        }
        let tx = room.db().begin_read()?;
        compare(&tx, &rows, (has_vectors, has_order), &mut rng, tally)?;
    }
    let problems = room.db().check()?.problems;
    if let Some(problem) = problems.first() {
        return wrong(format!("a check of the database finds {problem:?}"));
    }
    room.close()
}

fn compare(
    tx: &Transaction,
    rows: &BTreeMap<i64, Vec<Value>>,
    (has_vectors, has_order): (bool, bool),
    rng: &mut Rng,
    tally: &mut Tally,
) -> Finding {
    if has_vectors {
        // More than there are, so that each is found or missing.
        let query = vector(rng);
        let found =
            tx.search(TABLE).index("near").near(&query).k(1_000).run().during("a search")?;
        let keys: BTreeSet<_> = found.iter().map(|found| found.key.clone()).collect();
        let wanted = rows.keys().map(|id| key(*id)).collect::<KernelResult<BTreeSet<_>>>()?;
        if keys != wanted {
            return wrong(format!(
                "a search for all rows finds {}, not {}",
                keys.len(),
                wanted.len()
            ));
        }
        tally.count("rows found", found.len() as u64);
    }
    if has_order {
        let values = values_of(rows, "number")?;
        for _ in 0..4 {
            let lookup = some_lookup(&values, rng);
            compare_lookup(tx, "number", &values, &ColumnType::Int64, &lookup)?;
            tally.count("lookups", 1);
        }
    }
    Ok(())
}

fn hostile(kit: &Kit, tally: &mut Tally) -> Finding {
    let mut rng = kit.rng();
    let with = |id: i64, vector: Value, rng: &mut Rng| {
        let mut row = row(id, rng);
        row[position("v")] = vector;
        row
    };
    let same = vector(&mut rng);
    let vectors = |of: &dyn Fn(i64) -> Value, count: i64, rng: &mut Rng| -> Vec<Vec<Value>> {
        (0..count).map(|id| with(id, of(id), rng)).collect()
    };
    let vectors_of = [
        ("no rows", vectors(&|_| Value::Null, 0, &mut rng)),
        ("rows without a vector", vectors(&|_| Value::Null, 60, &mut rng)),
        ("one row", vectors(&|_| Value::Vector(same.clone()), 1, &mut rng)),
        ("equal vectors", vectors(&|_| Value::Vector(same.clone()), 200, &mut rng)),
        (
            "vectors of all sizes",
            vectors(
                &|id| {
                    let size = [0.0, 1e-20, 1.0, 1e15][(id % 4) as usize];
                    Value::Vector(
                        same.iter().map(|x| x * size + (id as f32) * size * 1e-3).collect(),
                    )
                },
                200,
                &mut rng,
            ),
        ),
    ];
    let queries: [(&str, Vec<f32>); 4] = [
        ("zeros", vec![0.0; DIM as usize]),
        ("tiny numbers", vec![f32::MIN_POSITIVE; DIM as usize]),
        ("large numbers", vec![1e15; DIM as usize]),
        ("a usual one", same.clone()),
    ];
    for (words, rows) in vectors_of {
        let room = room_with(kit, &rows)?;
        for metric in METRICS {
            let name = metric.replace("inner-product", "inner");
            if !index(kit, &room, &name, "v", Some(metric))? {
                continue;
            }
            for (query_words, query) in &queries {
                for (k, effort) in [(1, None), (3, Some(1)), (50, Some(1_000)), (1_000, None)] {
                    let search = room.db().search(TABLE).index(&name).near(query).k(k);
                    let search =
                        effort.into_iter().fold(search, |search, effort| search.effort(effort));
                    let what = format!("{words}: a search for {k} near {query_words} by {metric}");
                    let found = answered(&what, search.run())?;
                    if let Ok(found) = found {
                        let most = k.min(rows.len());
                        if most < found.len() {
                            return wrong(format!("{what} finds {} rows", found.len()));
                        }
                    }
                    tally.count("searches", 1);
                }
            }
        }
        for (column, _) in ORDERED {
            if index(kit, &room, column, column, None)? {
                let everything = Lookup {
                    start: Bound::Unbounded,
                    end: Bound::Unbounded,
                    reverse: rng.bool(),
                    limit: 10_000,
                };
                let tx = room.db().begin_read()?;
                answered(
                    format!("{words}: a lookup in '{column}'"),
                    tx.lookup(TABLE, column, &everything),
                )?
                .ok();
                tally.count("lookups", 1);
            }
        }
        // Then nothing is left of them.
        room.db().run(|tx| tx.delete_range(TABLE, KeyRange::all()))?;
        room.checkpoint().during(format!("{words}, all deleted"))?;
        room.close()?;
    }
    Ok(())
}

/// Entries in memory.
struct InMemory {
    vectors: Vec<f32>,
    codes: Vec<u8>,
    row_bytes: usize,
    values: Vec<Vec<u8>>,
}

impl EntrySource for InMemory {
    fn code(&self, number: u32) -> KernelResult<&[u8]> {
        let at = number as usize * self.row_bytes;
        self.codes.get(at..at + self.row_bytes).ok_or_else(no_entry)
    }

    fn vector(&self, number: u32, out: &mut Vec<f32>) -> KernelResult<()> {
        let at = number as usize * DIM as usize;
        out.extend_from_slice(self.vectors.get(at..at + DIM as usize).ok_or_else(no_entry)?);
        Ok(())
    }

    fn value(&self, number: u32) -> KernelResult<Slice> {
        Ok(self.values.get(number as usize).ok_or_else(no_entry)?.as_slice().into())
    }
}

fn no_entry() -> KernelError {
    KernelError::invalid("there is no such entry")
}

fn entries_of_vectors(rng: &mut Rng, count: u32) -> KernelResult<Arc<Entries>> {
    let vectors: Vec<Vec<f32>> = (0..count).map(|_| vector(rng)).collect();
    let (metric, dim) = (Metric::SquaredEuclidean, DIM as usize);
    let mut read = |number: usize, out: &mut [f32]| {
        out.copy_from_slice(&vectors[number]);
        Ok(())
    };
    let codebook = Codebook::train(CodeKind::Sq8, metric, dim, count as usize, &mut read, 1)?;
    let mut codes = Vec::new();
    vectors.iter().for_each(|vector| codebook.encode(vector, &mut codes));
    let row_bytes = codebook.row_bytes();
    let source = InMemory { vectors: vectors.concat(), codes, row_bytes, values: Vec::new() };
    Ok(Arc::new(Entries::of_vectors(count, metric, DIM, codebook, Box::new(source))))
}

fn entries_in_order(rng: &mut Rng, count: u32) -> Arc<Entries> {
    let values = (0..count).map(|number| match number % 3 {
        0 => rng.u32(..).to_be_bytes().to_vec(),
        1 => b"same".to_vec(),
        _ => {
            let len = rng.usize(..60);
            hurtful::noise(rng, len)
        }
    });
    let source =
        InMemory { vectors: Vec::new(), codes: Vec::new(), row_bytes: 0, values: values.collect() };
    Arc::new(Entries::ordered(count, Box::new(source)))
}

fn damage(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    let engine = room.db().programs.indexes().extension(kit.name());
    let Some(plugin) = engine else { return wrong("it is not registered as an index") };
    let mut rng = kit.rng();
    let kinds = [
        ("v", Some("euclidean"), entries_of_vectors(&mut rng, 400)?),
        ("number", None, entries_in_order(&mut rng, 400)),
    ];
    for (column, metric, entries) in kinds {
        let mut settings = BTreeMap::from([("using".to_owned(), kit.name().to_owned())]);
        settings.extend(metric.map(|metric| ("metric".to_owned(), metric.to_owned())));
        let definition = IndexDefinition::new(TABLE, column, column, Some(&schema()), &settings)?;
        if answered("checking a definition", plugin.check(&definition))?.is_err() {
            continue;
        }
        let shelf = Shelf::default();
        let built = plugin.build(&definition, &entries, Vec::new(), shelf.sink());
        let good = shelf.bytes(built.during("building an index")?)?;
        let query = vector(&mut rng);
        let search = |segment: Vec<u8>| {
            ask(&*plugin, &definition, &entries, Stored::shared(1, segment), &query)
        };
        search(good.clone()).during("searching what was just built")?;
        for number in 0..kit.times(DAMAGES) {
            let bad = damaged(&good, &mut rng);
            let what =
                format!("searching a segment of '{column}' that was spoiled (damage {number})");
            match answered(what, search(bad))? {
                Ok(()) => tally.count("searched", 1),
                Err(_) => tally.count("refused", 1),
            }
        }
        room.gather();
    }
    room.close()
}

/// Opens a segment and asks it everything once.
fn ask(
    plugin: &dyn IndexExtension,
    definition: &IndexDefinition,
    entries: &Arc<Entries>,
    segment: Arc<dyn SegmentRead>,
    query: &[f32],
) -> KernelResult<()> {
    let searcher = plugin.open(definition, entries, segment)?;
    let asked = match entries.metric() {
        Some(_) => searcher.search(&entries.query(query)?, K, 50, &[]),
        None => searcher.lookup(&KeyRange::all(), false, 1_000, &[]),
    };
    let told = searcher.stats();
    match (asked.map(drop), told.map(drop)) {
        (Err(error), _) if !super::judge::is_answer(&error) => Err(error),
        (_, Err(error)) if !super::judge::is_answer(&error) => Err(error),
        (asked, told) => asked.and(told),
    }
}

fn determinism(kit: &Kit, tally: &mut Tally) -> Finding {
    kit.check_is_closed()?;
    let mut rng = kit.rng();
    let rows: Vec<_> = (0..500).map(|id| row(id, &mut rng)).collect();
    let queries: Vec<_> = (0..30).map(|_| vector(&mut rng)).collect();
    let everything =
        Lookup { start: Bound::Unbounded, end: Bound::Unbounded, reverse: false, limit: 1_000 };
    let mut answers = Vec::new();
    for _ in 0..2 {
        let room = room_with(kit, &rows)?;
        let mut of_room = Vec::new();
        if index(kit, &room, "near", "v", Some("cosine"))? {
            for query in &queries {
                let found = room.db().search(TABLE).index("near").near(query).k(K).run()?;
                of_room.push(found.into_iter().map(|found| found.key).collect::<Vec<_>>());
            }
            of_room.push(vec![room.db().index_stats(TABLE, "near")?.bytes.to_le_bytes().to_vec()]);
        }
        if index(kit, &room, "number", "number", None)? {
            of_room.push(room.db().begin_read()?.lookup(TABLE, "number", &everything)?);
        }
        tally.count("answers", of_room.len() as u64);
        answers.push(of_room);
        room.close()?;
    }
    match answers[0] == answers[1] {
        true => Ok(()),
        false => wrong("built twice of the same rows, an index answers differently"),
    }
}

fn reloaded(kit: &Kit, tally: &mut Tally) -> Finding {
    let mut rng = kit.rng();
    let rows: Vec<_> = (0..400).map(|id| row(id, &mut rng)).collect();
    let room = room_with(kit, &rows)?;
    let has_vectors = index(kit, &room, "near", "v", Some("euclidean"))?;
    let has_order = index(kit, &room, "number", "number", None)?;
    let queries: Vec<_> = (0..50).map(|_| vector(&mut rng)).collect();
    let values =
        rows.iter().zip(0..).map(|(row, id)| Ok((key(id)?, row[position("number")].clone())));
    let values = values.collect::<KernelResult<Values>>()?;
    let lost = |what: &str| Err(KernelError::unavailable(what.to_owned()));
    reload(kit, &room, tally, &|db: &Database, round| {
        if has_vectors {
            let query = &queries[round as usize % queries.len()];
            let found = db.search(TABLE).index("near").near(query).k(K).run()?;
            if found.len() != K {
                return lost("a search finds too few rows");
            }
        }
        if has_order {
            let lookup = some_lookup(&values, &mut Rng::with_seed(round));
            let found = db.begin_read()?.lookup(TABLE, "number", &lookup)?;
            if found != wanted(&values, &ColumnType::Int64, &lookup)? {
                return lost("a lookup gives other rows than there are");
            }
        }
        Ok(())
    })?;
    room.close()
}

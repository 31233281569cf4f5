//! Random inserts, updates, deletes, checkpoints, crashes, old and new snapshots: every search is compared with
//! a look at every row of a map.

use crate::rig::{DIM, Rig, TABLE, delete, key, put, schema};
use sochdb_encoding::row::Value;
use sochdb_encoding::select::{Comparison, Condition};
use sochdb_index::{EFFORT_MAX, Hit, IndexDefinition, Metric, VectorSearch, search};
use sochdb_kernel::{IsolationLevel, KeyRange, Transaction, TransactionOptions};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::Ordering::Relaxed;

type Row = (&'static str, Option<Vec<f32>>);
type Rows = BTreeMap<i64, Row>;

const COLORS: [&str; 3] = ["red", "green", "blue"];

fn vector(random: &mut fastrand::Rng) -> Vec<f32> {
    // Few values, so that many distances are equal; now and then all zeros.
    (0..DIM).map(|_| f32::from(random.i8(-2..=2))).collect()
}

/// What a search must find.
fn expected(rows: &Rows, metric: Metric, wanted: &VectorSearch, color: Option<&str>) -> Vec<Hit> {
    let mut hits: Vec<Hit> = rows
        .iter()
        .filter(|(_, (has, _))| color.is_none_or(|color| *has == color))
        .filter(|(id, _)| wanted.range.contains(&key(**id)))
        .filter_map(|(id, (_, vector))| {
            let distance = metric.distance(&wanted.vector, vector.as_ref()?);
            Some(Hit { key: key(*id), distance })
        })
        .collect();
    hits.sort_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.key.cmp(&b.key)));
    hits.truncate(wanted.k);
    hits
}

struct Checker<'a> {
    rig: &'a Rig,
    index: &'a IndexDefinition,
    metric: Metric,
    compared: u64,
}

impl Checker<'_> {
    /// Compares some searches in `tx`, which sees `rows`.
    fn check(&mut self, tx: &Transaction, rows: &Rows, random: &mut fastrand::Rng) {
        let mut query = vector(random);
        if query.iter().all(|x| *x == 0.0) {
            query[0] = 1.0;
        }
        let mut wanted = VectorSearch::new(query, random.usize(0..8));
        let mut color = None;
        if random.u8(0..3) == 0 {
            let chosen = random.choice(COLORS).unwrap();
            let value = Value::String(chosen.to_owned());
            let is = Condition::new(&schema(), "color", Comparison::Equal, value).unwrap();
            wanted = wanted.filter(is);
            color = Some(chosen);
        }
        if random.u8(0..4) == 0 {
            let start = Bound::Included(key(random.i64(0..500)));
            let end = Bound::Excluded(key(random.i64(100..700)));
            wanted = wanted.range(KeyRange { start, end });
        }
        let most = wanted.clone().effort(EFFORT_MAX);
        let expected = expected(rows, self.metric, &wanted, color);
        for exact in [most, wanted.clone().exact()] {
            let found = search(&self.rig.engine, tx, self.index, &exact).unwrap();
            assert_eq!(found, expected, "{exact:?}");
        }
        // With little effort there may be farther ones, but as many, and each with its own distance.
        let found = search(&self.rig.engine, tx, self.index, &wanted.clone().effort(1)).unwrap();
        assert_eq!(found.len(), expected.len());
        assert!(found.is_sorted_by(|a, b| a.distance <= b.distance));
        let every = expected_all(rows, self.metric, &wanted, color);
        for hit in &found {
            assert!(every.contains(hit), "{hit:?} is no row that can be found");
        }
        self.compared += 3;
    }
}

fn expected_all(
    rows: &Rows,
    metric: Metric,
    wanted: &VectorSearch,
    color: Option<&str>,
) -> Vec<Hit> {
    expected(rows, metric, &VectorSearch { k: usize::MAX, ..wanted.clone() }, color)
}

fn random_write(tx: &mut Transaction, rows: &mut Rows, random: &mut fastrand::Rng) {
    let id = random.i64(0..700);
    if random.u8(0..4) == 0 {
        delete(tx, id).unwrap();
        rows.remove(&id);
        return;
    }
    let color = random.choice(COLORS).unwrap();
    let vector = (random.u8(0..8) != 0).then(|| vector(random));
    put(tx, id, Some(color), vector.as_deref()).unwrap();
    rows.insert(id, (color, vector));
}

fn run(seed: u64, metric: &str, settings: &[(&str, &str)]) -> u64 {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rig = Rig::new();
    let mut rows = Rows::new();
    rig.kernel
        .run(|tx| {
            rows.clear();
            (0..900).for_each(|_| random_write(tx, &mut rows, &mut random));
            Ok(())
        })
        .unwrap();
    let settings: Vec<_> = settings.iter().copied().chain([("metric", metric)]).collect();
    let index = rig.index("vector", &settings);
    let metric: Metric = metric.parse().unwrap();
    let (mut compared, mut built, mut searched) = (0, 0, 0);
    for _life in 0..3 {
        let mut old: Vec<(Transaction, Rows)> = Vec::new();
        for _step in 0..25 {
            let mut checker = Checker { rig: &rig, index: &index, metric, compared: 0 };
            let isolation = match random.u8(0..4) {
                0 => IsolationLevel::ReadCommitted,
                1 => IsolationLevel::Serializable,
                _ => IsolationLevel::SnapshotIsolation,
            };
            let options = TransactionOptions { isolation, ..TransactionOptions::default() };
            let mut tx = rig.kernel.begin_with(options).unwrap();
            let mut own = rows.clone();
            for _ in 0..random.usize(0..12) {
                random_write(&mut tx, &mut own, &mut random);
            }
            checker.check(&tx, &own, &mut random);
            if random.u8(0..5) != 0 {
                tx.commit().unwrap();
                rows = own;
            }
            checker.check(&rig.kernel.begin_read().unwrap(), &rows, &mut random);
            if random.u8(0..3) == 0 {
                let report = rig.kernel.checkpoint().unwrap();
                assert!(report.failed.is_empty(), "{report:?}");
                checker.check(&rig.kernel.begin_read().unwrap(), &rows, &mut random);
            }
            if random.u8(0..6) == 0 {
                old.push((rig.kernel.begin_read().unwrap(), rows.clone()));
            }
            for (tx, rows) in &old {
                checker.check(tx, rows, &mut random);
            }
            compared += checker.compared;
            if 4 < old.len() {
                old.remove(0);
            }
        }
        drop(old);
        built += rig.plugin.built.load(Relaxed);
        searched += rig.plugin.searched.load(Relaxed);
        rig = rig.crash();
    }
    let tx = rig.kernel.begin_read().unwrap();
    assert_eq!(tx.scan(TABLE, KeyRange::all()).unwrap().count(), rows.len());
    let graphs = settings.contains(&("flat_max", "0"));
    assert!(!graphs || (10 < built && 10 < searched), "{built} builds, {searched} searches");
    compared
}

#[test]
fn every_search_finds_what_a_look_at_every_row_finds() {
    let mut compared = 0;
    for (seed, metric) in (0..).zip(["cosine", "inner-product", "euclidean", "cosine"]) {
        for flat_max in ["0", "20", "100000"] {
            compared += run(seed, metric, &[("using", "nearest"), ("flat_max", flat_max)]);
        }
    }
    println!("index model: {compared} searches compared, seeds 0 to 3");
}

#[test]
fn codes_of_every_kind_find_the_same_with_enough_effort() {
    for codes in ["rabitq4", "rabitq2", "rabitq1", "pq"] {
        run(7, "euclidean", &[("using", "nearest"), ("flat_max", "0"), ("codes", codes)]);
    }
}

#[test]
fn rows_that_codes_cannot_tell_apart_are_told_apart_by_their_vectors() {
    for (metric, flat_max) in [("cosine", "0"), ("inner-product", "5000"), ("euclidean", "0")] {
        let mut random = fastrand::Rng::with_seed(5);
        let rig = Rig::new();
        let mut value = || random.f32() * 2.0 - 1.0;
        let center: Vec<[f32; DIM as usize]> =
            (0..100).map(|_| [(); DIM as usize].map(|()| value())).collect();
        // Forty about each center, nearer to each other than a code's step is wide.
        let mut near = |at: usize| center[at % 100].map(|x| x + value() / 500.0).to_vec();
        let rows: Vec<Vec<f32>> = (0..4000).map(&mut near).collect();
        rig.kernel
            .run(|tx| {
                let mut rows = (0..).zip(&rows);
                rows.try_for_each(|(id, vector)| put(tx, id, None, Some(vector)))
            })
            .unwrap();
        let index = rig
            .index("vector", &[("using", "nearest"), ("flat_max", flat_max), ("metric", metric)]);
        while rig.kernel.checkpoint().unwrap().unsettled {}
        let tx = rig.kernel.begin_read().unwrap();
        let find = |wanted: &VectorSearch| search(&rig.engine, &tx, &index, wanted).unwrap();
        let mut found = 0;
        for at in 0..200 {
            let wanted = VectorSearch::new(near(at), 10).effort(100);
            let expected = find(&wanted.clone().exact());
            let farthest = expected.last().unwrap().distance;
            found += find(&wanted).iter().filter(|hit| hit.distance <= farthest).count();
        }
        assert!(1980 <= found, "{metric}: {found} of 2000");
    }
}

#[test]
fn a_plugin_that_fails_or_lies_changes_no_answer() {
    for lies in [false, true] {
        let rig = Rig::new();
        let mut random = fastrand::Rng::with_seed(3);
        let mut rows = Rows::new();
        let index = rig.index("vector", &[("using", "nearest"), ("flat_max", "0")]);
        rig.plugin.lies.store(lies, Relaxed);
        rig.plugin.fails.store(!lies, Relaxed);
        for _ in 0..20 {
            let mut tx = rig.kernel.begin().unwrap();
            (0..30).for_each(|_| random_write(&mut tx, &mut rows, &mut random));
            tx.commit().unwrap();
            assert!(rig.kernel.checkpoint().unwrap().failed.is_empty());
            let mut checker =
                Checker { rig: &rig, index: &index, metric: Metric::Cosine, compared: 0 };
            checker.check(&rig.kernel.begin_read().unwrap(), &rows, &mut random);
        }
        let tx = rig.kernel.begin_read().unwrap();
        let stats = sochdb_index::stats(&rig.engine, &tx, &index).unwrap();
        assert_eq!(stats.trouble.is_some(), !lies, "{stats:?}");
    }
}

#[test]
fn without_its_plugin_an_index_is_searched_all_the_same() {
    let rig = Rig::new();
    let mut random = fastrand::Rng::with_seed(4);
    let mut rows = Rows::new();
    let index = rig.index("vector", &[("using", "nearest"), ("flat_max", "0")]);
    let mut tx = rig.kernel.begin().unwrap();
    (0..200).for_each(|_| random_write(&mut tx, &mut rows, &mut random));
    tx.commit().unwrap();
    rig.kernel.checkpoint().unwrap();
    rig.kernel.checkpoint().unwrap();
    rig.engine.unregister("nearest");
    let mut checker = Checker { rig: &rig, index: &index, metric: Metric::Cosine, compared: 0 };
    for _ in 0..50 {
        checker.check(&rig.kernel.begin_read().unwrap(), &rows, &mut random);
    }
    assert!(rig.engine.check(&index).is_err());
}

//! How a plugin does beside the shipped one of its kind: the same work in turns, in one run.
//!
//! | kind      | beside                | figures                                                    |
//! |-----------|-----------------------|------------------------------------------------------------|
//! | codec     | `lz4`                 | bytes a second both ways, and what is left of them         |
//! | storage   | `lscs`                | rows a second flushed, read and scanned; bytes of a row    |
//! | index     | `hnsw`, `btree-index` | rows a second built, searches a second, recall, bytes      |
//! | observer  | `prometheus`          | batches taken and pages shown a second                     |
//! | hooks     | nothing               | rows a second written to a table with and without them     |
//! | procedure | nothing               | calls a second, beside transactions that do nothing        |
//!
//! Both do each piece of work in turns, several times; a figure is the median of its turns. Small figures differ from
//! run to run, so a ratio near 1 says nothing.

use super::codec::codec;
use super::hooks::{borrowed, hooked, some_changes};
use super::hurtful::{noise, words};
use super::index::{self, K, index as make_index, room_with};
use super::judge::{Finding, Flaw};
use super::observer::{batch, metric, observer};
use super::procedure::{instance, procedures};
use super::room::Room;
use super::storage::{self, Keeper, engine, flushed};
use super::subject::Subject;
use super::{Kit, TestOptions};
use fastrand::Rng;
use serde::Serialize;
use sochdb_host_abi::{PluginKind, Transaction, bundled};
use sochdb_kernel::plugin::TelemetryBatch;
use sochdb_kernel::{KernelError, KernelResult, KeyRange};
use sochdb_telemetry::MetricValue;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Turns of each side.
const TURNS: usize = 5;
/// Bytes of a block that a codec gets.
const BLOCK_BYTES: usize = 16 << 10;
/// Rows of a table, and of an index.
const ROWS: u64 = 20_000;
const INDEXED_ROWS: i64 = 5_000;

/// How a plugin is measured.
#[derive(Clone)]
pub struct BenchOptions {
    /// Policy, samples, seed and compiler; checks and effort mean nothing here.
    pub test: TestOptions,
    /// How long each turn takes.
    pub turn: Duration,
}

impl Default for BenchOptions {
    fn default() -> BenchOptions {
        BenchOptions { test: TestOptions::default(), turn: Duration::from_millis(150) }
    }
}

/// How a plugin does beside another one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bench {
    /// The plugin.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// What it is.
    pub kind: PluginKind,
    /// What it was measured beside.
    pub beside: String,
    /// What was measured.
    pub figures: Vec<Figure>,
}

/// One figure of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// In what.
    pub unit: &'static str,
    /// The plugin's.
    pub value: f64,
    /// The other's.
    pub beside: f64,
    /// Whether more of it is better.
    pub more_is_better: bool,
}

impl Figure {
    /// How many times the other's the plugin's is; nothing where that makes no sense.
    pub fn ratio(&self) -> Option<f64> {
        (self.beside != 0.0).then_some(self.value / self.beside)
    }
}

/// Measures the plugin whose manifest lies at `manifest` beside the one that is shipped. `on_figure` is told of each
/// figure as it is known.
///
/// # Errors
/// As [`test`](super::test); whatever keeps either plugin from doing its work; `Unavailable` when this program was
/// built without plugins.
pub fn bench(
    manifest: impl AsRef<Path>,
    options: &BenchOptions,
    on_figure: &mut dyn FnMut(&Figure),
) -> KernelResult<Bench> {
    let kit = kit(Subject::read(manifest.as_ref())?, options);
    let mut stage = Stage { turn: options.turn, figures: Vec::new(), on_figure };
    let kind = kit.subject.manifest.kind;
    let beside = match kind {
        PluginKind::Codec => measured(&kit, options, "lz4", &mut stage, codecs)?,
        PluginKind::Storage => measured(&kit, options, "lscs", &mut stage, storages)?,
        PluginKind::Observer => measured(&kit, options, "prometheus", &mut stage, observers)?,
        PluginKind::Index => indexes(&kit, options, &mut stage)?,
        PluginKind::Hooks => {
            hooks(&kit, &mut stage).map_err(failed)?;
            "no hooks"
        }
        PluginKind::Procedure => {
            calls(&kit, &mut stage).map_err(failed)?;
            "an empty transaction"
        }
    };
    Ok(Bench {
        plugin: kit.name().to_owned(),
        version: kit.subject.manifest.version.to_string(),
        kind,
        beside: beside.to_owned(),
        figures: stage.figures,
    })
}

fn kit(subject: Subject, options: &BenchOptions) -> Kit {
    let (subject, options) = (Rc::new(subject), Rc::new(options.test.clone()));
    Kit { subject, options, usage: Rc::default() }
}

/// The shipped plugin `name`.
fn shipped(name: &str, options: &BenchOptions) -> KernelResult<Kit> {
    let Some(found) = bundled::find(name) else {
        let text = format!("this program was built without the plugin '{name}'");
        return Err(KernelError::unavailable(text));
    };
    let io = |error| KernelError::io("write a manifest", error);
    let folder = tempfile::tempdir().map_err(io)?;
    let path = folder.path().join("shipped.toml");
    std::fs::write(&path, found.manifest).map_err(io)?;
    Ok(kit(Subject::read(&path)?, options))
}

fn measured(
    own: &Kit,
    options: &BenchOptions,
    other: &'static str,
    stage: &mut Stage<'_>,
    measure: fn(&Kit, &Kit, &mut Stage<'_>) -> Finding,
) -> KernelResult<&'static str> {
    measure(own, &shipped(other, options)?, stage).map_err(failed)?;
    Ok(other)
}

fn failed(flaw: Flaw) -> KernelError {
    let (Flaw::Wrong(what) | Flaw::Skipped(what)) = flaw;
    KernelError::invalid(what)
}

/// Where figures are gathered.
struct Stage<'a> {
    turn: Duration,
    figures: Vec<Figure>,
    on_figure: &'a mut dyn FnMut(&Figure),
}

impl Stage<'_> {
    fn add(&mut self, figure: Figure) {
        (self.on_figure)(&figure);
        self.figures.push(figure);
    }

    /// Both do their work in turns. It returns how much of the unit was done at once.
    fn rates(
        &mut self,
        name: &str,
        unit: &'static str,
        own: &mut dyn FnMut() -> KernelResult<f64>,
        other: &mut dyn FnMut() -> KernelResult<f64>,
    ) -> Finding {
        let mut rates = [Vec::new(), Vec::new()];
        for turn in 0..TURNS {
            // Whoever begins has the colder caches.
            let order = if turn % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in order {
                let rate = match side {
                    0 => rate(self.turn, own)?,
                    _ => rate(self.turn, other)?,
                };
                rates[side].push(rate);
            }
        }
        let [value, beside] = rates.map(median);
        self.add(Figure { name: name.to_owned(), unit, value, beside, more_is_better: true });
        Ok(())
    }

    fn sizes(
        &mut self,
        name: &str,
        unit: &'static str,
        value: f64,
        beside: f64,
        more_is_better: bool,
    ) {
        self.add(Figure { name: name.to_owned(), unit, value, beside, more_is_better });
    }
}

/// How much is done in a second.
fn rate(turn: Duration, work: &mut dyn FnMut() -> KernelResult<f64>) -> KernelResult<f64> {
    let (began, mut done) = (Instant::now(), 0.0);
    loop {
        done += work()?;
        let took = began.elapsed();
        if turn <= took {
            return Ok(done / took.as_secs_f64());
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn codecs(own: &Kit, other: &Kit, stage: &mut Stage<'_>) -> Finding {
    let (here, there) = (own.room()?, other.room()?);
    let codecs = [codec(&here, own.name())?, codec(&there, other.name())?];
    let mut rng = own.rng();
    let numbers = (0_u64..).flat_map(|n| [n.to_le_bytes(), (n * n % 997).to_le_bytes()].concat());
    let kinds = [
        ("words", words(&mut rng, BLOCK_BYTES)),
        ("numbers", numbers.take(BLOCK_BYTES).collect()),
        ("noise", noise(&mut rng, BLOCK_BYTES)),
    ];
    let mib = BLOCK_BYTES as f64 / f64::from(1 << 20);
    for (kind, block) in &kinds {
        let mut compress = codecs.each_ref().map(|codec| || codec.compress(block).map(|_| mib));
        let [one, two] = &mut compress;
        stage.rates(&format!("compress {kind}"), "MiB/s", one, two)?;
        let stored = [codecs[0].compress(block)?, codecs[1].compress(block)?];
        let mut restore = [0, 1].map(|side: usize| {
            let (codec, stored) = (&codecs[side], &stored[side]);
            move || codec.decompress(stored, BLOCK_BYTES).map(|_| mib)
        });
        let [one, two] = &mut restore;
        stage.rates(&format!("restore {kind}"), "MiB/s", one, two)?;
        let [value, beside] = stored.map(|stored| 100.0 * stored.len() as f64 / BLOCK_BYTES as f64);
        stage.sizes(&format!("size of {kind}"), "%", value, beside, false);
    }
    here.close()?;
    there.close()
}

fn storages(own: &Kit, other: &Kit, stage: &mut Stage<'_>) -> Finding {
    let (here, there) = (own.room()?, other.room()?);
    let engines = [engine(&here, own)?, engine(&there, other)?];
    let mut rng = own.rng();
    let key = |number: u64| [b"row ", &number.to_be_bytes()[..]].concat();
    let rows: Vec<_> = (0..ROWS).map(|number| (key(number), words(&mut rng, 100))).collect();
    let run: Vec<_> = rows.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    let mut sizes = [0.0, 0.0];
    let mut flush = |side: usize| -> KernelResult<f64> {
        let segments = flushed(&*engines[side], &run).map_err(failed)?;
        sizes[side] = segments.iter().map(Vec::len).sum::<usize>() as f64 / ROWS as f64;
        Ok(ROWS as f64)
    };
    // One side at a time borrows what is measured.
    let flush = std::cell::RefCell::new(&mut flush);
    stage.rates("flush", "rows/s", &mut || flush.borrow_mut()(0), &mut || flush.borrow_mut()(1))?;
    stage.sizes("size", "bytes/row", sizes[0], sizes[1], false);
    for (kit, room) in [(own, &here), (other, &there)] {
        let options = Keeper { storage: Some(kit.name()), codec: None }.options();
        room.db().create_table(storage::TABLE, options)?;
        let put = |tx: &mut Transaction| {
            rows.iter().try_for_each(|(key, value)| tx.put(storage::TABLE, key, value))
        };
        room.db().run(put)?;
        room.checkpoint()?;
    }
    let txs = [here.db().begin_read()?, there.db().begin_read()?];
    let mut reads = txs.each_ref().map(|tx| {
        let mut rng = Rng::with_seed(7);
        move || tx.get(storage::TABLE, &key(rng.u64(..ROWS))).map(|_| 1.0)
    });
    let [one, two] = &mut reads;
    stage.rates("get", "rows/s", one, two)?;
    let mut scans = txs
        .each_ref()
        .map(|tx| || tx.scan(storage::TABLE, KeyRange::all()).map(|rows| rows.count() as f64));
    let [one, two] = &mut scans;
    stage.rates("scan", "rows/s", one, two)?;
    drop(txs);
    here.close()?;
    there.close()
}

fn observers(own: &Kit, other: &Kit, stage: &mut Stage<'_>) -> Finding {
    let (here, there) = (own.room()?, other.room()?);
    let observers = [observer(here.db(), own.name())?, observer(there.db(), other.name())?];
    let metrics = (0..200).map(|n| {
        let number = n.to_string();
        metric("kit_rows", &[("number", &number)], MetricValue::Gauge(f64::from(n)))
    });
    let batch = TelemetryBatch { metrics: metrics.collect(), ..batch(1) };
    let mut takes = observers.each_ref().map(|observer| || observer.ingest(&batch).map(|()| 1.0));
    let [one, two] = &mut takes;
    stage.rates("take 200 metrics", "batches/s", one, two)?;
    if observers[0].render("").is_ok() {
        let mut shows = observers.each_ref().map(|observer| || observer.render("").map(|_| 1.0));
        let [one, two] = &mut shows;
        stage.rates("show them", "pages/s", one, two)?;
    }
    here.close()?;
    there.close()
}

/// Of vectors where the plugin builds such, otherwise of values in order.
fn indexes(own: &Kit, options: &BenchOptions, stage: &mut Stage<'_>) -> KernelResult<&'static str> {
    let mut rng = own.rng();
    let rows: Vec<_> = (0..INDEXED_ROWS).map(|id| index::row(id, &mut rng)).collect();
    let measure = |stage: &mut Stage<'_>| -> Finding<&'static str> {
        let here = room_with(own, &rows)?;
        let began = Instant::now();
        let is_of_vectors = make_index(own, &here, "bench", "v", Some("cosine"))?;
        let (name, column, metric) = match is_of_vectors {
            true => ("hnsw", "v", Some("cosine")),
            false => ("btree-index", "number", None),
        };
        if !is_of_vectors && !make_index(own, &here, "bench", column, None)? {
            return Err(Flaw::Wrong(
                "it builds neither an index of vectors nor one of values in order".into(),
            ));
        }
        let built = INDEXED_ROWS as f64 / began.elapsed().as_secs_f64();
        let other = shipped(name, options)?;
        let there = room_with(&other, &rows)?;
        let began = Instant::now();
        make_index(&other, &there, "bench", column, metric)?;
        let other_built = INDEXED_ROWS as f64 / began.elapsed().as_secs_f64();
        stage.sizes("build", "rows/s", built, other_built, true);
        let rooms = [&here, &there];
        let bytes = |room: &Room| -> KernelResult<f64> {
            let stats = room.db().index_stats(index::TABLE, "bench")?;
            Ok(stats.bytes as f64 / INDEXED_ROWS as f64)
        };
        stage.sizes("size", "bytes/row", bytes(&here)?, bytes(&there)?, false);
        match is_of_vectors {
            true => searches(rooms, stage)?,
            false => lookups(rooms, stage)?,
        }
        here.close()?;
        there.close()?;
        Ok(name)
    };
    measure(stage).map_err(failed)
}

fn searches(rooms: [&Room; 2], stage: &mut Stage<'_>) -> Finding {
    let search = |room: &Room, rng: &mut Rng, is_exact: bool| -> KernelResult<BTreeSet<Vec<u8>>> {
        let query = index::vector(rng);
        let search = room.db().search(index::TABLE).near(&query).k(K).exact(is_exact);
        Ok(search.run()?.into_iter().map(|found| found.key).collect())
    };
    let mut work = rooms.map(|room| {
        let mut rng = Rng::with_seed(7);
        move || search(room, &mut rng, false).map(|_| 1.0)
    });
    let [one, two] = &mut work;
    stage.rates("search", "searches/s", one, two)?;
    let recall = |room: &Room| -> KernelResult<f64> {
        let mut right = 0;
        for seed in 0..50 {
            let found = search(room, &mut Rng::with_seed(seed), false)?;
            let exact = search(room, &mut Rng::with_seed(seed), true)?;
            right += found.intersection(&exact).count();
        }
        Ok(right as f64 / (50 * K) as f64)
    };
    stage.sizes("recall@10", "", recall(rooms[0])?, recall(rooms[1])?, true);
    Ok(())
}

fn lookups(rooms: [&Room; 2], stage: &mut Stage<'_>) -> Finding {
    use sochdb_encoding::row::Value;
    let lookup = |room: &Room, value: i64, limit: usize| {
        let (start, end) = (Value::Int64(value), Value::Int64(value + 5));
        let (start, end) = (Bound::Included(start), Bound::Included(end));
        let lookup = sochdb_index::Lookup { start, end, reverse: false, limit };
        room.db().begin_read()?.lookup(index::TABLE, "bench", &lookup)
    };
    let mut work = rooms.map(|room| {
        let mut rng = Rng::with_seed(7);
        move || lookup(room, rng.i64(-50..50), 20).map(|_| 1.0)
    });
    let [one, two] = &mut work;
    stage.rates("lookup of 20", "lookups/s", one, two)
}

fn hooks(kit: &Kit, stage: &mut Stage<'_>) -> Finding {
    let (here, there) = (kit.room()?, Room::bare(kit)?);
    here.make_tables()?;
    there.make_tables()?;
    let mut tables = hooked(kit, &mut kit.rng())?;
    tables.retain(|table| !table.rows.is_empty());
    let mut is_refused = false;
    for table in &tables {
        for count in [1, 100] {
            let mut work = [&here, &there].map(|room| {
                let mut rng = Rng::with_seed(7);
                move || {
                    let changes = some_changes(table, count, &mut rng);
                    let rows = borrowed(&changes);
                    // What is refused takes its time, too.
                    match room.db().run(|tx| tx.write_all(&table.name, &rows)) {
                        Err(error) if !super::judge::is_answer(&error) => Err(error),
                        _ => Ok(count as f64),
                    }
                }
            });
            let [one, two] = &mut work;
            stage.rates(&format!("write {count} to '{}'", table.name), "rows/s", one, two)?;
        }
        is_refused |= here.dump()?.get(&table.name).is_none_or(|rows| rows.is_empty());
    }
    if is_refused {
        tracing::warn!(
            "a table is empty: samples with rows that the hooks take would measure more"
        );
    }
    here.close()?;
    there.close()
}

fn calls(kit: &Kit, stage: &mut Stage<'_>) -> Finding {
    let here = Room::furnished(kit)?;
    let there = Room::bare(kit)?;
    for procedure in procedures(kit, &here)? {
        let name = &procedure.full_name;
        let samples = kit.options.samples.calls.iter();
        let samples = samples.filter(|sample| name.ends_with(&format!(".{}", sample.procedure)));
        let mut args: Vec<String> = samples.map(|sample| sample.args.to_string()).collect();
        if args.is_empty() {
            let mut rng = kit.rng();
            let made_up = || instance(&procedure.args, &procedure.args, &mut rng, 0).to_string();
            args = std::iter::repeat_with(made_up).take(16).collect();
        }
        let mut at = 0;
        let mut call = || {
            at += 1;
            match here.db().call(name, &args[at % args.len()]) {
                Err(error) if !super::judge::is_answer(&error) => Err(error),
                _ => Ok(1.0),
            }
        };
        let mut empty = || there.db().run(|_| Ok(1.0));
        stage.rates(name, "calls/s", &mut call, &mut empty)?;
    }
    here.close()?;
    there.close()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_beside_nothing_makes_no_sense() {
        let figure = |value, beside| Figure {
            name: "get".to_owned(),
            unit: "rows/s",
            value,
            beside,
            more_is_better: true,
        };
        assert_eq!(figure(3.0, 2.0).ratio(), Some(1.5));
        assert_eq!(figure(3.0, 0.0).ratio(), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(Vec::new()), 0.0);
    }
}

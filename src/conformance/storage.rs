//! Storage engines: rows come back as they were written, whatever happens in between.
//!
//! The model is that of `sochdb_guest::testing`, which engines are tested by natively too. Here it judges tables of
//! whole databases, through the real host.

use super::hurtful::{damaged, keys, noise, values};
use super::judge::{During, Finding, Flaw, Tally, answered, wrong};
use super::reload::reload;
use super::room::Room;
use super::segments::{Run, Shelf, Stored};
use super::{Kit, Planned, planned};
use crate::database::Database;
use fastrand::Rng;
use sochdb_encoding::row::Value;
use sochdb_guest::testing::{self, Outcome, Reads, Reply, Row, Scan, Setup, Subject};
use sochdb_host_abi::{Transaction, columns_of};
use sochdb_kernel::plugin::{SegmentRead, StorageExtension, TableContext};
use sochdb_kernel::{Kernel, KernelError, KernelResult, KeyRange, Slice, TableId, TableOptions};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const CHECKS: &[Planned] = &[
    planned(
        "model",
        "tables answer as a model does: random reads, writes, checkpoints, merges, reloads and crashes",
        model,
    ),
    planned(
        "hostile",
        "keys and values of every length and kind, and tables of deleted rows, come back as written",
        hostile,
    ),
    planned(
        "damage",
        "segments that were cut, spoiled or made up are refused, or read without harm",
        damage,
    ),
    planned(
        "determinism",
        "another instance writes the same segments of the same rows",
        determinism,
    ),
    planned("reload", "versions of it take over from each other while it is used", reloaded),
];

/// The name of every table here.
pub(super) const TABLE: &str = "t";
/// Tables that the model is compared with, and operations on each.
const SEQUENCES: usize = 8;
const OPERATIONS: usize = 60;
/// How often segments are spoiled.
const DAMAGES: usize = 200;

/// Who keeps a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeper<'a> {
    pub(super) storage: Option<&'a str>,
    pub(super) codec: Option<&'a str>,
}

impl Keeper<'_> {
    pub(super) fn options(self) -> TableOptions {
        let (storage, codec) = (self.storage.map(str::to_owned), self.codec.map(str::to_owned));
        TableOptions { storage, codec, ..TableOptions::default() }
    }
}

fn model(kit: &Kit, tally: &mut Tally) -> Finding {
    answers_as_a_model(kit, tally, Keeper { storage: Some(kit.name()), codec: None })
}

/// Compares tables that are kept so with a model.
pub(super) fn answers_as_a_model(kit: &Kit, tally: &mut Tally, keeper: Keeper<'_>) -> Finding {
    let model = testing::Kit {
        seed: kit.options.seed,
        sequences: kit.times(SEQUENCES),
        operations: OPERATIONS,
        settings: BTreeMap::new(),
    };
    let judged = model.check(|setup| Ok(Box::new(Kept::new(kit, keeper, setup)?)));
    match judged {
        Ok(report) => {
            tally.count("tables", report.sequences as u64);
            tally.count("operations", report.operations as u64);
            tally.count("rows compared", report.compared as u64);
            Ok(())
        }
        Err(failure) => {
            // The seed is in the report.
            let told = failure.to_string();
            let told = told.rsplit_once('\n').filter(|(_, last)| last.contains("SOCHDB_SEED="));
            wrong(told.map_or_else(|| failure.to_string(), |(told, _)| told.to_owned()))
        }
    }
}

/// One table of a database of its own.
struct Kept {
    room: Room,
}

impl Kept {
    fn new(kit: &Kit, keeper: Keeper<'_>, setup: &Setup) -> Outcome<Kept> {
        let room = kit.room().map_err(words)?;
        let (schema, settings) = (setup.schema.clone(), setup.settings.clone());
        let options = TableOptions { schema, settings, ..keeper.options() };
        room.db().create_table(TABLE, options)?;
        Ok(Kept { room })
    }

    fn db(&self) -> &Database {
        self.room.db()
    }

    fn present(&self) -> Outcome<At> {
        let kernel: &Kernel = self.db();
        Ok(At(kernel.begin_read()?))
    }
}

fn words(flaw: Flaw) -> String {
    let (Flaw::Wrong(what) | Flaw::Skipped(what)) = flaw;
    what
}

impl Subject for Kept {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Outcome<()> {
        Ok(self.db().run(|tx| tx.put(TABLE, key, value))?)
    }

    fn delete(&mut self, key: &[u8]) -> Outcome<()> {
        Ok(self.db().run(|tx| tx.delete(TABLE, key))?)
    }

    fn write(&mut self, rows: &[(Vec<u8>, Option<Vec<u8>>)]) -> Outcome<()> {
        Ok(self.db().run(|tx| write(tx, rows))?)
    }

    fn flush(&mut self) -> Outcome<Reply<()>> {
        self.room.checkpoint()?;
        Ok(Reply::Done(()))
    }

    fn merge(&mut self, _all: bool) -> Outcome<Reply<()>> {
        self.room.checkpoint()?;
        Ok(Reply::Done(()))
    }

    fn reload(&mut self) -> Outcome<Reply<()>> {
        self.room.reload()?;
        Ok(Reply::Done(()))
    }

    fn reopen(&mut self) -> Outcome<Reply<()>> {
        self.room.reopen()?;
        Ok(Reply::Done(()))
    }

    fn crash(&mut self) -> Outcome<Reply<()>> {
        self.room.crash()?;
        match &self.db().check()?.problems[..] {
            [] => Ok(Reply::Done(())),
            problems => Err(format!("a check of the database finds {problems:?}").into()),
        }
    }

    fn snapshot(&mut self) -> Outcome<Reply<Box<dyn Reads>>> {
        Ok(Reply::Done(Box::new(self.present()?)))
    }
}

fn write(tx: &mut Transaction, rows: &[(Vec<u8>, Option<Vec<u8>>)]) -> KernelResult<()> {
    rows.iter().try_for_each(|(key, value)| match value {
        Some(value) => tx.put(TABLE, key, value),
        None => tx.delete(TABLE, key),
    })
}

impl Reads for Kept {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        self.present()?.get(key)
    }

    fn multi_get(&mut self, keys: &[&[u8]]) -> Outcome<Vec<Option<Vec<u8>>>> {
        self.present()?.multi_get(keys)
    }

    fn scan(&mut self, scan: &Scan) -> Outcome<Vec<Row>> {
        self.present()?.scan(scan)
    }

    fn scan_columns(&mut self, scan: &Scan) -> Outcome<Reply<Vec<Vec<Value>>>> {
        self.room.checkpoint()?;
        self.present()?.scan_columns(scan)
    }
}

/// A snapshot.
struct At(sochdb_kernel::Transaction);

impl Reads for At {
    fn get(&mut self, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        Ok(self.0.get(TABLE, key)?.map(|value| value.to_vec()))
    }

    fn scan(&mut self, scan: &Scan) -> Outcome<Vec<Row>> {
        let selection = scan.selection.clone().map(Arc::new);
        let rows = self.0.scan_selected(TABLE, scan.range.clone(), scan.reverse, selection)?;
        let rows = rows.take(scan.limit.unwrap_or(usize::MAX));
        let rows = rows.map(|row| row.map(|(key, value)| (key, value.to_vec())));
        Ok(rows.collect::<KernelResult<_>>()?)
    }

    /// Columns of what is in segments; with rows in memory above them it is not asked.
    fn scan_columns(&mut self, scan: &Scan) -> Outcome<Reply<Vec<Vec<Value>>>> {
        let (mut memory, reader) = self.0.scan_layers(TABLE, scan.range.clone())?;
        let (Some(selection), Some(reader), None) = (&scan.selection, &reader, memory.next_row()?)
        else {
            return Ok(Reply::NotSupported);
        };
        let Some(columns) = columns_of(&**reader) else { return Ok(Reply::NotSupported) };
        let mut cursor = match columns.scan_columns(&scan.range, selection) {
            Ok(cursor) => cursor,
            // An engine may keep no columns.
            Err(error) if super::judge::is_answer(&error) => return Ok(Reply::NotSupported),
            Err(error) => return Err(error.into()),
        };
        let mut rows = Vec::new();
        while let Some(batch) = cursor.next_batch(1000, 1 << 20)? {
            for row in 0..batch.rows() {
                let columns = 0..batch.kinds().len();
                rows.push(columns.map(|column| batch.value(column, row)).collect());
            }
        }
        Ok(Reply::Done(rows))
    }
}

/// Rows of every length and kind, some of them deleted, in order.
fn rows(rng: &mut Rng) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let (keys, values) = (keys(rng), values(rng));
    let mut rows = BTreeMap::new();
    for (at, key) in keys.into_iter().enumerate() {
        let value = (at % 5 != 4).then(|| values[at % values.len()].clone());
        rows.insert(key, value);
    }
    for number in 0..2_000_u64 {
        let len = rng.usize(..80);
        let value = (rng.u8(..6) != 0).then(|| noise(rng, len));
        rows.insert([b"row ", &number.to_be_bytes()[..]].concat(), value);
    }
    rows.into_iter().collect()
}

fn hostile(kit: &Kit, tally: &mut Tally) -> Finding {
    let mut room = kit.room()?;
    room.db().create_table(TABLE, Keeper { storage: Some(kit.name()), codec: None }.options())?;
    let mut rng = kit.rng();
    let mut wanted = BTreeMap::new();
    for round in 0..kit.times(3) {
        let written = rows(&mut rng);
        room.db().run(|tx| write(tx, &written)).during("writing")?;
        for (key, value) in written {
            match value {
                Some(value) => drop(wanted.insert(key, value)),
                None => drop(wanted.remove(&key)),
            }
        }
        room.checkpoint().during("keys and values of every length and kind")?;
        compare(&room, &wanted, tally)?;
        if round == 1 {
            room.reopen()?;
            compare(&room, &wanted, tally)?;
        }
    }
    // Nothing but deleted rows, and a table that was emptied.
    room.db().run(|tx| tx.delete_range(TABLE, KeyRange::all())).during("deleting all")?;
    room.checkpoint().during("a table whose rows are all deleted")?;
    room.checkpoint()?;
    compare(&room, &BTreeMap::new(), tally)?;
    let large = vec![7; 4 << 20];
    room.db().run(|tx| tx.put(TABLE, b"large", &large))?;
    room.checkpoint().during("a value of 4 MiB")?;
    compare(&room, &[(b"large".to_vec(), large)].into(), tally)?;
    room.close()
}

fn compare(room: &Room, wanted: &BTreeMap<Vec<u8>, Vec<u8>>, tally: &mut Tally) -> Finding {
    let tx = room.db().begin_read()?;
    let mut rows = wanted.iter();
    for row in tx.scan(TABLE, KeyRange::all()).during("a scan")? {
        let (key, value) = row.during("a scan")?;
        let next = rows.next();
        if next.is_none_or(|(wanted, row)| (wanted, &row[..]) != (&key, &value[..])) {
            let wanted = next.map_or("the end".into(), |(key, _)| key.escape_ascii().to_string());
            return wrong(format!("a scan gives {}, where {wanted} comes", key.escape_ascii()));
        }
    }
    if let Some((key, _)) = rows.next() {
        return wrong(format!("a scan ends before {}", key.escape_ascii()));
    }
    for (key, value) in wanted {
        let found = tx.get(TABLE, key).during("a read")?;
        if found.as_deref() != Some(&value[..]) {
            return wrong(format!("the row {} is not what was written", key.escape_ascii()));
        }
    }
    tally.count("rows compared", wanted.len() as u64);
    Ok(())
}

fn context() -> TableContext {
    TableContext {
        id: TableId(1),
        name: TABLE.to_owned(),
        schema: None,
        compressed: false,
        options: BTreeMap::new(),
    }
}

pub(super) fn engine(room: &Room, kit: &Kit) -> KernelResult<Arc<dyn StorageExtension>> {
    room.db().plugins().storage(kit.name())
}

/// What a flush of `rows` writes.
pub(super) fn flushed(
    engine: &dyn StorageExtension,
    rows: &[(Vec<u8>, Option<Vec<u8>>)],
) -> Finding<Vec<Vec<u8>>> {
    let shelf = Shelf::default();
    let ids =
        engine.flush(&context(), &[], Run::of(rows.to_vec()), shelf.sink()).during("a flush")?;
    Ok(ids.into_iter().map(|id| shelf.bytes(id)).collect::<KernelResult<_>>()?)
}

fn segments(all: Vec<Vec<u8>>) -> Vec<Arc<dyn SegmentRead>> {
    all.into_iter().enumerate().map(|(at, bytes)| Stored::shared(at as u64 + 1, bytes)).collect()
}

fn damage(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    let engine = engine(&room, kit)?;
    let mut rng = kit.rng();
    let mut rows = rows(&mut rng);
    // What is large takes long to read again and again, and teaches no more.
    rows.retain(|(_, value)| value.as_ref().is_none_or(|value| value.len() < 1_000));
    let good = flushed(&*engine, &rows)?;
    let asked: Vec<&[u8]> = rows.iter().step_by(97).map(|(key, _)| key.as_slice()).collect();
    // As it is, so that what is found otherwise is due to the damage.
    read(&*engine, &segments(good.clone()), &asked).during("reading what was just written")?;
    for number in 0..kit.times(DAMAGES) {
        let mut bad = good.clone();
        match rng.u8(..12) {
            0 if 1 < bad.len() => bad.reverse(),
            1 if 1 < bad.len() => drop(bad.pop()),
            _ => {
                let at = rng.usize(..bad.len().max(1));
                if let Some(segment) = bad.get_mut(at) {
                    *segment = damaged(segment, &mut rng);
                }
            }
        }
        let what = format!("reading a segment that was spoiled (damage {number})");
        match answered(what, read(&*engine, &segments(bad), &asked))? {
            Ok(()) => tally.count("read", 1),
            Err(_) => tally.count("refused", 1),
        }
    }
    room.close()
}

/// Opens, gets, and scans both ways.
fn read(
    engine: &dyn StorageExtension,
    segments: &[Arc<dyn SegmentRead>],
    keys: &[&[u8]],
) -> KernelResult<()> {
    let reader = engine.open(&context(), segments)?;
    let got = reader.multi_get(keys);
    let scanned = [false, true].map(|reverse| {
        let mut cursor = reader.scan(&KeyRange::all(), reverse, None)?;
        while !cursor.next_batch(1_000, 1 << 20)?.is_empty() {}
        Ok(())
    });
    // All are tried; a trap of any counts.
    let all = [got.map(drop)].into_iter().chain(scanned);
    let (answers, harm): (Vec<_>, Vec<_>) =
        all.filter_map(Result::err).partition(super::judge::is_answer);
    match harm.into_iter().chain(answers).next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn determinism(kit: &Kit, tally: &mut Tally) -> Finding {
    kit.check_is_closed()?;
    let (one, other) = (kit.room()?, kit.room()?);
    let mut rng = kit.rng();
    for _ in 0..kit.times(3) {
        let rows = rows(&mut rng);
        let first = flushed(&*engine(&one, kit)?, &rows)?;
        let second = flushed(&*engine(&other, kit)?, &rows)?;
        // The second time an instance has done something before.
        let third = flushed(&*engine(&other, kit)?, &rows)?;
        if first != second || second != third {
            return wrong("of the same rows, another instance wrote other segments");
        }
        // What one wrote, the other reads.
        let asked: Vec<&[u8]> = rows.iter().map(|(key, _)| key.as_slice()).step_by(13).collect();
        let segments = segments(first);
        let get = |room: &Room| -> KernelResult<_> {
            engine(room, kit)?.open(&context(), &segments)?.multi_get(&asked)
        };
        let (here, there) = (get(&one)?, get(&other)?);
        let wanted: Vec<Option<Option<Slice>>> = rows
            .iter()
            .step_by(13)
            .map(|(_, value)| Some(value.as_deref().map(Slice::from)))
            .collect();
        if here != wanted || there != wanted {
            return wrong("an instance reads other rows than another one wrote");
        }
        tally.count("rows", rows.len() as u64);
    }
    one.close()?;
    other.close()
}

fn reloaded(kit: &Kit, tally: &mut Tally) -> Finding {
    const KEYS: u64 = 64;
    let room = kit.room()?;
    room.db().create_table(TABLE, Keeper { storage: Some(kit.name()), codec: None }.options())?;
    let value = |key: u64, round: u64| [key.to_le_bytes(), round.to_le_bytes()].concat();
    let put = |tx: &mut Transaction, key: u64, round: u64| {
        tx.put(TABLE, &key.to_be_bytes(), &value(key, round))
    };
    room.db().run(|tx| (0..KEYS).try_for_each(|key| put(tx, key, 0)))?;
    room.checkpoint()?;
    reload(kit, &room, tally, &|db, round| {
        let key = round % KEYS;
        db.run(|tx| put(tx, key, round))?;
        if round % 16 == 0 {
            let report = db.checkpoint()?;
            if let Some((_, why)) = report.failed.first() {
                return Err(KernelError::unavailable(format!("a checkpoint: {why}")));
            }
        }
        let tx = db.begin_read()?;
        let mut rows = 0;
        for row in tx.scan(TABLE, KeyRange::all())? {
            let (key, value) = row?;
            let is_its_own = key.iter().rev().eq(&value[..8]);
            if !is_its_own {
                return Err(KernelError::unavailable(format!("row {key:?} is another one's")));
            }
            rows += 1;
        }
        match rows {
            KEYS => Ok(()),
            rows => Err(KernelError::unavailable(format!("{rows} rows, not {KEYS}"))),
        }
    })?;
    room.close()
}

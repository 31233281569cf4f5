//! Hooks: every change is decided about, what is decided happens, and what is refused leaves nothing behind.
//!
//! A hook may refuse whatever it likes, so the kit cannot know what is right. It compares what is there afterwards
//! with what the hook said, and looks for traps. Sample tables with rows that the hook takes make it a better test.

use super::hurtful::{self, keys, values};
use super::judge::{Finding, Tally, answered, skipped, wrong};
use super::reload::reload;
use super::room::{Dump, Room, examples};
use super::{Kit, Planned, planned};
use fastrand::Rng;
use sochdb_encoding::row::Schema;
use sochdb_host_abi::{RowWrite, Transaction};
use sochdb_kernel::{KernelError, KernelResult, PluginFault};

pub(super) const CHECKS: &[Planned] = &[
    planned(
        "decisions",
        "rows that come, change and go are each decided about, and what it refuses leaves no trace",
        decisions,
    ),
    planned(
        "batches",
        "many changes at once are decided about as a whole: all of a transaction happens, or nothing",
        batches,
    ),
    planned("hostile", "keys and values of every length and kind do no harm", hostile),
    planned(
        "determinism",
        "another instance decides the same, and writes the same beside it",
        determinism,
    ),
    planned("reload", "versions of it take over from each other while rows are written", reloaded),
];

/// A row that is written, or deleted.
pub(super) type Change = (Vec<u8>, Option<Vec<u8>>);

/// A table that the hooks are about, and rows for it.
pub(super) struct Hooked {
    pub(super) name: String,
    schema: Option<Schema>,
    pub(super) rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether the author gave some of them.
    has_samples: bool,
}

/// The tables that the hooks are about.
pub(super) fn hooked(kit: &Kit, rng: &mut Rng) -> KernelResult<Vec<Hooked>> {
    let Some(hooks) = &kit.subject.manifest.hooks else { return Ok(Vec::new()) };
    let samples = &kit.options.samples.tables;
    let mut all = Vec::new();
    for sample in samples.iter().filter(|sample| hooks.tables.matches(&sample.name)) {
        let mut rows = sample.rows.clone();
        if let Some(schema) = &sample.schema {
            rows.extend(strange_rows(schema, rng, 10)?);
        }
        let (name, schema) = (sample.name.clone(), sample.schema.clone());
        all.push(Hooked { name, schema, rows, has_samples: !sample.rows.is_empty() });
    }
    for name in examples(&hooks.tables) {
        if samples.iter().all(|sample| sample.name != name) {
            let keys = (0..12_u64).map(|number| format!("key {number}").into_bytes());
            let mut values = values(rng);
            values.retain(|value| value.len() < 1_000);
            let rows = keys.zip(values).collect();
            all.push(Hooked { name, schema: None, rows, has_samples: false });
        }
    }
    Ok(all)
}

fn strange_rows(
    schema: &Schema,
    rng: &mut Rng,
    count: usize,
) -> KernelResult<Vec<(Vec<u8>, Vec<u8>)>> {
    let row = |_| -> KernelResult<(Vec<u8>, Vec<u8>)> {
        let row = hurtful::row(schema, rng);
        Ok((schema.encode_key(&row)?, schema.encode_row(&row)?))
    };
    (0..count).map(row).collect()
}

pub(super) fn borrowed(changes: &[Change]) -> Vec<RowWrite<'_>> {
    changes.iter().map(|(key, value)| (&key[..], value.as_deref())).collect()
}

/// What became of some changes.
enum Made {
    Happened,
    Refused(String),
}

/// Makes `changes` in a transaction of their own; when they are refused, everything is as it was.
fn make(room: &Room, table: &str, changes: &[Change], tally: &mut Tally) -> Finding<Made> {
    let before = room.dump()?;
    let rows = borrowed(changes);
    let made = room.db().run(|tx| tx.write_all(table, &rows));
    if let Err(KernelError::Plugin { fault: PluginFault::Denied, .. }) = &made
        && let Err(error) = &made
    {
        return wrong(format!("writing to '{table}': {error}"));
    }
    tally.count("changes", changes.len() as u64);
    match answered(format!("writing {} rows to '{table}'", changes.len()), made)? {
        Ok(()) => Ok(Made::Happened),
        Err(why) => {
            tally.count("refused", changes.len() as u64);
            match room.dump()? == before {
                true => Ok(Made::Refused(why)),
                false => wrong(format!("what was refused ({why}) left something behind")),
            }
        }
    }
}

/// Counts what has become of a row.
fn look(room: &Room, table: &str, (key, value): &Change, tally: &mut Tally) -> Finding {
    let found = room.db().begin_read()?.get(table, key)?;
    let what = match (found, value) {
        (Some(found), Some(value)) if found == value[..] => "as written",
        (None, None) => "deleted",
        (Some(_), Some(_)) => "replaced or skipped",
        (None, Some(_)) | (Some(_), None) => "skipped",
    };
    tally.count(what, 1);
    Ok(())
}

fn decisions(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    room.make_tables()?;
    let mut rng = kit.rng();
    let mut refusal = String::new();
    for Hooked { name, rows, .. } in hooked(kit, &mut rng)? {
        for (at, (key, value)) in rows.iter().enumerate() {
            // Comes, changes, changes back, goes, and comes again.
            let other = &rows[(at + 1) % rows.len()].1;
            let steps = [Some(value), Some(other), Some(value), None, Some(value)];
            for step in steps {
                let change = [(key.clone(), step.cloned())];
                match make(&room, &name, &change, tally)? {
                    Made::Happened => look(&room, &name, &change[0], tally)?,
                    Made::Refused(why) => refusal = why,
                }
            }
        }
        room.gather();
    }
    room.close()?;
    if tally.of("changes") == tally.of("refused") {
        return skipped(format!(
            "every change was refused, such as: {refusal}; samples with rows that it takes would tell more"
        ));
    }
    if !refusal.is_empty() {
        tally.note(format!("it refuses, such as: {refusal}"));
    }
    Ok(())
}

/// Changes of rows, most of which are there.
pub(super) fn some_changes(table: &Hooked, count: usize, rng: &mut Rng) -> Vec<Change> {
    let change = |number: usize| {
        let (key, _) = &table.rows[rng.usize(..table.rows.len())];
        let (_, value) = &table.rows[rng.usize(..table.rows.len())];
        // Keys of typed tables are what they are; of others there are more.
        let key = match (table.schema.is_some() || table.has_samples, rng.bool()) {
            (false, true) => format!("row {}", number % 700).into_bytes(),
            _ => key.clone(),
        };
        (key, (rng.u8(..5) != 0).then(|| value.clone()))
    };
    (0..count).map(change).collect()
}

fn batches(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    room.make_tables()?;
    let mut rng = kit.rng();
    let tables = hooked(kit, &mut rng)?;
    for table in tables.iter().filter(|table| !table.rows.is_empty()) {
        for count in [1, 2, 100, 1_500, 3_000] {
            let changes = some_changes(table, count, &mut rng);
            make(&room, &table.name, &changes, tally)?;
            room.gather();
        }
        // Samples one by one may be refused for one row among them.
        for (key, value) in &table.rows {
            make(&room, &table.name, &[(key.clone(), Some(value.clone()))], tally)?;
        }
        undone(&room, table, &mut rng, tally)?;
    }
    room.close()
}

/// A transaction that is rolled back, wholly or to a savepoint.
fn undone(room: &Room, table: &Hooked, rng: &mut Rng, tally: &mut Tally) -> Finding {
    let before = room.dump()?;
    for _ in 0..5 {
        let mut tx = room.db().begin()?;
        for _ in 0..3 {
            let savepoint = tx.savepoint()?;
            let changes = some_changes(table, 10, rng);
            let made = tx.write_all(&table.name, &borrowed(&changes));
            let is_made = answered("writing in a transaction", made)?.is_ok();
            if is_made && rng.bool() {
                tx.rollback_to(savepoint)?;
            }
            tally.count("changes", changes.len() as u64);
        }
        tx.rollback();
    }
    match room.dump()? == before {
        true => Ok(()),
        false => wrong("a transaction that was rolled back left something behind"),
    }
}

fn hostile(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    room.make_tables()?;
    let mut rng = kit.rng();
    for table in hooked(kit, &mut rng)? {
        let rows = match &table.schema {
            Some(schema) => strange_rows(schema, &mut rng, kit.times(60))?,
            None => {
                let values = values(&mut rng);
                keys(&mut rng).into_iter().zip(values.into_iter().cycle()).collect()
            }
        };
        for (key, value) in &rows {
            for value in [Some(value.clone()), Some(value.clone()), None] {
                let change = [(key.clone(), value)];
                let rows = borrowed(&change);
                let made = room.db().run(|tx| tx.write_all(&table.name, &rows));
                let shown = key[..key.len().min(40)].escape_ascii();
                if answered(format!("writing the key {shown} to '{}'", table.name), made)?.is_err()
                {
                    tally.count("refused", 1);
                }
                tally.count("changes", 1);
            }
        }
        room.gather();
    }
    room.close()
}

/// Who was refused, and what is there in the end.
type Told = (Vec<Result<(), String>>, Dump);

/// What becomes of the same changes: who was refused, and what is there in the end. With fresh instances now and then.
fn told(kit: &Kit, is_fresh: bool) -> Finding<Told> {
    let room = kit.room()?;
    room.make_tables()?;
    let mut rng = kit.rng();
    let mut told = Vec::new();
    for table in hooked(kit, &mut rng)?.iter().filter(|table| !table.rows.is_empty()) {
        for number in 0..kit.times(30) {
            let count = [1, 1, 3, 50][rng.usize(..4)];
            let changes = some_changes(table, count, &mut rng);
            let made = room.db().run(|tx| tx.write_all(&table.name, &borrowed(&changes)));
            told.push(answered("writing", made)?);
            if is_fresh && number % 7 == 3 {
                room.reload()?;
            }
        }
    }
    let dump = room.dump()?;
    room.close()?;
    Ok((told, dump))
}

/// The first difference in words.
fn differs(how: &str, one: &Told, other: &Told) -> String {
    let first = one.0.iter().zip(&other.0).position(|(one, other)| one != other);
    match first {
        Some(at) => format!(
            "transaction {at}, {how}, ended with {:?}, then with {:?}",
            one.0[at], other.0[at]
        ),
        None => format!("the same changes, {how}, left other rows behind"),
    }
}

fn determinism(kit: &Kit, tally: &mut Tally) -> Finding {
    kit.check_is_closed()?;
    let (first, second, fresh) = (told(kit, false)?, told(kit, false)?, told(kit, true)?);
    tally.count("transactions", first.0.len() as u64);
    if first != second {
        return wrong(differs("made twice from the beginning", &first, &second));
    }
    match first == fresh {
        true => Ok(()),
        false => wrong(differs("with fresh instances now and then", &first, &fresh)),
    }
}

fn reloaded(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    room.make_tables()?;
    let mut tables = hooked(kit, &mut kit.rng())?;
    tables.retain(|table| !table.rows.is_empty());
    if tables.is_empty() {
        return skipped("no pattern of its tables has an example");
    }
    reload(kit, &room, tally, &|db, round| {
        let table = &tables[round as usize % tables.len()];
        let changes = some_changes(table, 3, &mut Rng::with_seed(round));
        db.run(|tx: &mut Transaction| tx.write_all(&table.name, &borrowed(&changes)))
    })?;
    room.close()
}

//! The same operations on ours, on redb and on SQLite: two opinions that share no line with our model.
//!
//! Transactions over several tables put, delete, read, scan ranges both ways (some scans end early), set
//! savepoints and roll back to them or altogether. Every answer must be the same from all three. redb has
//! no savepoints inside a transaction, so there the transaction begins anew and repeats what is left of it.

use crate::model::range;
use crate::workload;
use crate::{either, parallel, replay, seed, size};
use fastrand::Rng;
use redb::{ReadableTable, TableDefinition};
use rusqlite::OptionalExtension;
use sochdb_kernel::{Environment, Kernel, KernelResult, KeyRange, Savepoint, Transaction};
use std::ops::Bound;
use std::sync::Arc;

const TABLES: [&str; 3] = ["ants", "bees", "cats"];

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// A database that is asked the same as the others. There is always one transaction open.
trait Engine {
    fn put(&mut self, table: &'static str, key: &[u8], value: &Arc<[u8]>);
    fn delete(&mut self, table: &'static str, key: &[u8]);
    fn get(&self, table: &'static str, key: &[u8]) -> Option<Vec<u8>>;
    fn scan(&self, table: &'static str, range: &KeyRange, reverse: bool, rows_max: usize) -> Rows;
    /// Sets the savepoint `number`; all below it are set already.
    fn savepoint(&mut self, number: usize);
    /// Undoes what happened since that savepoint, which stays; those above it are gone.
    fn rollback_to(&mut self, number: usize);
    /// Ends the transaction and begins the next.
    fn end(&mut self, commit: bool);
}

struct Ours {
    kernel: Kernel,
    tx: Option<Transaction>,
    savepoints: Vec<Savepoint>,
    ended: u64,
}

impl Ours {
    fn new(seed: u64) -> Ours {
        let env = Environment { seed, ..sochdb_sim::memory() };
        let kernel = Kernel::open(env, workload::small_options()).unwrap();
        TABLES.iter().for_each(|table| kernel.create_table(table, Default::default()).unwrap());
        let tx = Some(kernel.begin().unwrap());
        Ours { kernel, tx, savepoints: Vec::new(), ended: 0 }
    }

    fn tx(&self) -> &Transaction {
        self.tx.as_ref().expect("there is always one")
    }
}

impl Engine for Ours {
    fn put(&mut self, table: &'static str, key: &[u8], value: &Arc<[u8]>) {
        self.tx.as_mut().unwrap().put(table, key, value).unwrap();
    }

    fn delete(&mut self, table: &'static str, key: &[u8]) {
        self.tx.as_mut().unwrap().delete(table, key).unwrap();
    }

    fn get(&self, table: &'static str, key: &[u8]) -> Option<Vec<u8>> {
        self.tx().get(table, key).unwrap().map(|value| value.to_vec())
    }

    fn scan(&self, table: &'static str, range: &KeyRange, reverse: bool, rows_max: usize) -> Rows {
        let range = range.clone();
        let scan = match reverse {
            false => self.tx().scan(table, range),
            true => self.tx().scan_reverse(table, range),
        };
        let rows = scan.unwrap().take(rows_max).map(|row| row.map(|(k, v)| (k, v.to_vec())));
        rows.collect::<KernelResult<Rows>>().unwrap()
    }

    fn savepoint(&mut self, number: usize) {
        self.savepoints.truncate(number);
        self.savepoints.push(self.tx.as_mut().unwrap().savepoint());
    }

    fn rollback_to(&mut self, number: usize) {
        self.tx.as_mut().unwrap().rollback_to(self.savepoints[number]).unwrap();
    }

    fn end(&mut self, commit: bool) {
        let tx = self.tx.take().unwrap();
        match commit {
            true => drop(tx.commit().unwrap()),
            false => tx.rollback(),
        }
        self.ended += 1;
        if self.ended.is_multiple_of(50) {
            self.kernel.checkpoint().unwrap();
        }
        self.tx = Some(self.kernel.begin().unwrap());
    }
}

/// A row put or, without a value, deleted.
type Change = (&'static str, Vec<u8>, Option<Arc<[u8]>>);

struct Redb {
    db: redb::Database,
    tx: Option<redb::WriteTransaction>,
    /// What the transaction has done, and how much of it at each savepoint.
    done: Vec<Change>,
    savepoints: Vec<usize>,
}

const fn definition(table: &'static str) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table)
}

impl Redb {
    fn new() -> Redb {
        let memory = redb::backends::InMemoryBackend::new();
        let db = redb::Database::builder().create_with_backend(memory).unwrap();
        let mut tx = db.begin_write().unwrap();
        tx.set_durability(redb::Durability::None).unwrap();
        Redb { db, tx: Some(tx), done: Vec::new(), savepoints: Vec::new() }
    }

    fn begin(&mut self) {
        let mut tx = self.db.begin_write().unwrap();
        tx.set_durability(redb::Durability::None).unwrap();
        self.tx = Some(tx);
    }

    fn change(&self, table: &'static str, key: &[u8], value: Option<&Arc<[u8]>>) {
        let mut table = self.tx.as_ref().unwrap().open_table(definition(table)).unwrap();
        match value {
            Some(value) => drop(table.insert(key, &**value).unwrap()),
            None => drop(table.remove(key).unwrap()),
        }
    }
}

impl Engine for Redb {
    fn put(&mut self, table: &'static str, key: &[u8], value: &Arc<[u8]>) {
        self.change(table, key, Some(value));
        self.done.push((table, key.to_vec(), Some(value.clone())));
    }

    fn delete(&mut self, table: &'static str, key: &[u8]) {
        self.change(table, key, None);
        self.done.push((table, key.to_vec(), None));
    }

    fn get(&self, table: &'static str, key: &[u8]) -> Option<Vec<u8>> {
        let table = self.tx.as_ref().unwrap().open_table(definition(table)).unwrap();
        table.get(key).unwrap().map(|value| value.value().to_vec())
    }

    fn scan(&self, table: &'static str, range: &KeyRange, reverse: bool, rows_max: usize) -> Rows {
        if range.is_empty() {
            return Rows::new();
        }
        let table = self.tx.as_ref().unwrap().open_table(definition(table)).unwrap();
        let bounds =
            (range.start.as_ref().map(Vec::as_slice), range.end.as_ref().map(Vec::as_slice));
        let rows = table.range::<&[u8]>(bounds).unwrap();
        let own = |row: Result<_, redb::StorageError>| {
            let (key, value): (redb::AccessGuard<&[u8]>, redb::AccessGuard<&[u8]>) = row.unwrap();
            (key.value().to_vec(), value.value().to_vec())
        };
        match reverse {
            false => rows.take(rows_max).map(own).collect(),
            true => rows.rev().take(rows_max).map(own).collect(),
        }
    }

    fn savepoint(&mut self, number: usize) {
        self.savepoints.truncate(number);
        self.savepoints.push(self.done.len());
    }

    fn rollback_to(&mut self, number: usize) {
        self.tx.take().unwrap().abort().unwrap();
        self.begin();
        self.done.truncate(self.savepoints[number]);
        for (table, key, value) in &self.done {
            self.change(table, key, value.as_ref());
        }
    }

    fn end(&mut self, commit: bool) {
        let tx = self.tx.take().unwrap();
        match commit {
            true => tx.commit().unwrap(),
            false => tx.abort().unwrap(),
        }
        self.done.clear();
        self.begin();
    }
}

struct Sqlite {
    db: rusqlite::Connection,
}

impl Sqlite {
    fn new() -> Sqlite {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.set_prepared_statement_cache_capacity(256);
        db.pragma_update(None, "synchronous", "OFF").unwrap();
        for table in TABLES {
            db.execute_batch(&format!(
                "CREATE TABLE {table} (k BLOB PRIMARY KEY NOT NULL, v BLOB NOT NULL) WITHOUT ROWID"
            ))
            .unwrap();
        }
        db.execute_batch("BEGIN").unwrap();
        Sqlite { db }
    }

    fn execute(&self, sql: &str, parameters: impl rusqlite::Params) {
        self.db.prepare_cached(sql).unwrap().execute(parameters).unwrap();
    }
}

impl Engine for Sqlite {
    fn put(&mut self, table: &'static str, key: &[u8], value: &Arc<[u8]>) {
        self.execute(&format!("REPLACE INTO {table} VALUES (?, ?)"), (key, &**value));
    }

    fn delete(&mut self, table: &'static str, key: &[u8]) {
        self.execute(&format!("DELETE FROM {table} WHERE k = ?"), (key,));
    }

    fn get(&self, table: &'static str, key: &[u8]) -> Option<Vec<u8>> {
        let mut select =
            self.db.prepare_cached(&format!("SELECT v FROM {table} WHERE k = ?")).unwrap();
        select.query_row((key,), |row| row.get(0)).optional().unwrap()
    }

    fn scan(&self, table: &'static str, range: &KeyRange, reverse: bool, rows_max: usize) -> Rows {
        let (start, low) = match &range.start {
            Bound::Included(key) => (key.as_slice(), "k >= ?1"),
            Bound::Excluded(key) => (key.as_slice(), "k > ?1"),
            Bound::Unbounded => (&[][..], "k >= ?1"),
        };
        let (end, high) = match &range.end {
            Bound::Included(key) => (key.as_slice(), "k <= ?2"),
            Bound::Excluded(key) => (key.as_slice(), "k < ?2"),
            Bound::Unbounded => (&[][..], "?2 = ?2"),
        };
        let order = if reverse { "DESC" } else { "ASC" };
        let sql =
            format!("SELECT k, v FROM {table} WHERE {low} AND {high} ORDER BY k {order} LIMIT ?3");
        let mut select = self.db.prepare_cached(&sql).unwrap();
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let rows = select.query_map((start, end, limit), |row| Ok((row.get(0)?, row.get(1)?)));
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn savepoint(&mut self, number: usize) {
        self.execute(&format!("SAVEPOINT s{number}"), ());
    }

    fn rollback_to(&mut self, number: usize) {
        self.execute(&format!("ROLLBACK TO s{number}"), ());
    }

    fn end(&mut self, commit: bool) {
        self.execute(if commit { "COMMIT" } else { "ROLLBACK" }, ());
        self.execute("BEGIN", ());
    }
}

fn key(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(0..60) {
        0 => Vec::new(),
        1 => vec![0xff; rng.usize(1..4)],
        _ => format!("{}/{}", rng.u8(0..6), rng.u16(0..60)).into_bytes(),
    }
}

/// What one engine answered, for comparing it with the others.
fn agree<T: PartialEq + std::fmt::Debug>(
    engines: &[Box<dyn Engine>; 3],
    ask: impl Fn(&dyn Engine) -> T,
) {
    let [ours, redb, sqlite] = engines.each_ref().map(|engine| ask(&**engine));
    assert_eq!(ours, redb, "ours and redb");
    assert_eq!(ours, sqlite, "ours and SQLite");
}

fn one_run(seed: u64, txns: u64) -> u64 {
    let mut rng = Rng::with_seed(seed);
    let mut engines: [Box<dyn Engine>; 3] =
        [Box::new(Ours::new(seed)), Box::new(Redb::new()), Box::new(Sqlite::new())];
    let mut ops = 0;
    for _ in 0..txns {
        let mut savepoints = 0;
        for _ in 0..rng.usize(1..40) {
            ops += 1;
            let table = TABLES[rng.usize(0..TABLES.len())];
            match rng.u8(0..40) {
                0..=18 => {
                    let key = key(&mut rng);
                    let len = if rng.u8(0..100) == 0 { 6000 } else { rng.usize(0..60) };
                    let value = workload::bytes(&mut rng, len);
                    engines.iter_mut().for_each(|engine| engine.put(table, &key, &value));
                }
                19..=26 => {
                    let key = key(&mut rng);
                    engines.iter_mut().for_each(|engine| engine.delete(table, &key));
                }
                27 | 28 => {
                    let (range, reverse) = (range(&mut rng, key), rng.bool());
                    let rows_max = if rng.u8(0..4) == 0 { usize::MAX } else { rng.usize(0..30) };
                    agree(&engines, |engine| engine.scan(table, &range, reverse, rows_max));
                }
                29 if savepoints < 4 => {
                    engines.iter_mut().for_each(|engine| engine.savepoint(savepoints));
                    savepoints += 1;
                }
                30 if 0 < savepoints => {
                    savepoints = rng.usize(1..=savepoints);
                    engines.iter_mut().for_each(|engine| engine.rollback_to(savepoints - 1));
                }
                _ => {
                    let key = key(&mut rng);
                    agree(&engines, |engine| engine.get(table, &key));
                }
            }
        }
        let commit = rng.u8(0..6) != 0;
        engines.iter_mut().for_each(|engine| engine.end(commit));
    }
    for table in TABLES {
        agree(&engines, |engine| engine.scan(table, &KeyRange::all(), false, usize::MAX));
    }
    ops
}

#[test]
fn differential_with_redb_and_sqlite() {
    let seed = seed();
    let ops = parallel(size(52, 520), |run| {
        match std::panic::catch_unwind(|| one_run(seed + run, either(1000, 10_000))) {
            Ok(ops) => ops,
            Err(panic) => {
                println!("{}", replay("differential", seed + run));
                std::panic::resume_unwind(panic);
            }
        }
    });
    let ops: u64 = ops.iter().sum();
    println!("differential: {ops} operations, ours, redb and SQLite answer the same; seed {seed}");
}

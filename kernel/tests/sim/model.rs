//! One client doing anything at all, against `BTreeMap`s.
//!
//! Transactions of every level with puts, deletes, reads, ranges both ways, savepoints and tables coming
//! and going; checkpoints, closing and dropping the database in between; and one reader that keeps an
//! old snapshot through all of that. After each call the answer is compared with the model's.

use crate::extensions;
use crate::workload::{self, State};
use crate::{either, replay, seed, size};
use fastrand::Rng;
use sochdb_kernel::{
    Environment, ErrorKind, IsolationLevel, Kernel, KeyRange, Savepoint, Scan, TableOptions,
    Transaction, TransactionOptions,
};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

const TABLES: [&str; 4] = ["ants", "bees", "cats", "dogs"];

fn key(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(0..20) {
        0 => vec![],
        1 => vec![rng.u8(..); rng.usize(100..400)],
        2 => vec![0xff; rng.usize(1..4)],
        _ => format!("{}/{}", rng.u8(0..6), rng.u8(0..40)).into_bytes(),
    }
}

/// A range of any kind, also empty and upside down.
pub fn range(rng: &mut Rng, mut key: impl FnMut(&mut Rng) -> Vec<u8>) -> KeyRange {
    let mut bound = |rng: &mut Rng| match rng.u8(0..3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(key(rng)),
        _ => Bound::Excluded(key(rng)),
    };
    let (start, end) = (bound(rng), bound(rng));
    match rng.u8(0..4) {
        0 => KeyRange::all(),
        1 => KeyRange::prefix(format!("{}/", rng.u8(0..6)).as_bytes()),
        _ => KeyRange { start, end },
    }
}

/// What the model says a scan must show.
pub fn rows_in<'a>(
    rows: &'a BTreeMap<Vec<u8>, Arc<[u8]>>,
    range: &'a KeyRange,
) -> impl DoubleEndedIterator<Item = (&'a Vec<u8>, &'a Arc<[u8]>)> {
    rows.iter().filter(|(key, _)| range.contains(key))
}

fn compare<'a>(scan: Scan, mut expected: impl Iterator<Item = (&'a Vec<u8>, &'a Arc<[u8]>)>) {
    for row in scan {
        let (key, value) = row.expect("memory never fails");
        let wanted = expected.next().unwrap_or_else(|| panic!("invented '{}'", key.escape_ascii()));
        assert_eq!(&key, wanted.0);
        assert!(*value == **wanted.1, "'{}' has another value", key.escape_ascii());
    }
    assert_eq!(expected.next().map(|(key, _)| key), None, "ended early");
}

struct Run {
    rng: Rng,
    ops: u64,
    committed: State,
    env: Environment,
}

impl Run {
    fn read(&mut self, tx: &Transaction, state: &State) {
        let table = TABLES[self.rng.usize(0..TABLES.len())];
        let Some(rows) = state.get(table) else {
            let error = tx.get(table, b"x").expect_err("the table does not exist");
            assert_eq!(error.kind(), ErrorKind::NotFound);
            return;
        };
        match self.rng.u8(0..10) {
            0 => {
                let range = range(&mut self.rng, key);
                compare(tx.scan(table, range.clone()).unwrap(), rows_in(rows, &range));
            }
            1 => {
                let range = range(&mut self.rng, key);
                compare(
                    tx.scan_reverse(table, range.clone()).unwrap(),
                    rows_in(rows, &range).rev(),
                );
            }
            2 => {
                let names: Vec<_> =
                    tx.tables().unwrap().into_iter().map(|table| table.name).collect();
                assert_eq!(names, state.keys().cloned().collect::<Vec<_>>());
            }
            _ => {
                let key = key(&mut self.rng);
                let (got, wanted) = (tx.get(table, &key).unwrap(), rows.get(&key));
                assert_eq!(
                    got.as_deref(),
                    wanted.map(|value| &**value),
                    "'{}'",
                    key.escape_ascii()
                );
            }
        }
    }

    fn change_tables(&mut self, tx: &mut Transaction, state: &mut State) {
        let (table, other) = (TABLES[self.rng.usize(0..4)], TABLES[self.rng.usize(0..4)]);
        let exists = state.contains_key(table);
        match self.rng.u8(0..4) {
            0 if exists && self.rng.bool() => {
                tx.drop_table(table).unwrap();
                state.remove(table);
            }
            1 if exists && !state.contains_key(other) => {
                tx.rename_table(table, other).unwrap();
                let rows = state.remove(table).expect("exists");
                state.insert(other.to_owned(), rows);
            }
            _ if exists => {
                let error = tx.create_table(table, TableOptions::default()).expect_err("it exists");
                assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
            }
            _ => {
                tx.create_table(table, extensions::options_of(table)).unwrap();
                state.insert(table.to_owned(), BTreeMap::new());
            }
        }
    }

    fn write(&mut self, tx: &mut Transaction, state: &mut State) {
        let table = TABLES[self.rng.usize(0..TABLES.len())];
        let key = key(&mut self.rng);
        let Some(rows) = state.get_mut(table) else {
            let error = tx.put(table, &key, b"").expect_err("the table does not exist");
            assert_eq!(error.kind(), ErrorKind::NotFound);
            return;
        };
        if self.rng.u8(0..3) == 0 {
            tx.delete(table, &key).unwrap();
            rows.remove(&key);
            return;
        }
        let len = match self.rng.u16(0..1000) {
            0 => self.rng.usize(20_000..60_000),
            1..=20 => self.rng.usize(1000..6000),
            _ => self.rng.usize(0..40),
        };
        let value = workload::bytes(&mut self.rng, len);
        tx.put(table, &key, &value).unwrap();
        rows.insert(key, value);
    }

    fn transaction(&mut self, kernel: &Kernel) {
        let levels = [
            IsolationLevel::ReadCommitted,
            IsolationLevel::RepeatableRead,
            IsolationLevel::SnapshotIsolation,
            IsolationLevel::Serializable,
        ];
        let isolation = levels[self.rng.usize(0..4)];
        let options = TransactionOptions { isolation, ..Default::default() };
        let mut tx = kernel.begin_with(options).unwrap();
        let mut state = self.committed.clone();
        let mut savepoints: Vec<(Savepoint, State)> = Vec::new();
        for _ in 0..self.rng.usize(1..60) {
            self.ops += 1;
            match self.rng.u8(0..40) {
                0 => self.change_tables(&mut tx, &mut state),
                1 => savepoints.push((tx.savepoint(), state.clone())),
                2 if !savepoints.is_empty() => {
                    savepoints.truncate(self.rng.usize(1..=savepoints.len()));
                    let (savepoint, saved) = savepoints.pop().expect("at least one");
                    tx.rollback_to(savepoint).unwrap();
                    state = saved;
                }
                3..=19 => self.write(&mut tx, &mut state),
                _ => self.read(&tx, &state),
            }
        }
        if self.rng.u8(0..5) == 0 {
            tx.rollback();
        } else {
            tx.commit().expect("nobody else writes");
            self.committed = state;
        }
    }
}

fn one_run(seed: u64, ops: u64) -> u64 {
    let vfs = Arc::new(MemoryVfs::new());
    let env = Environment { seed, ..Environment::with_vfs(vfs) };
    let mut run = Run { rng: Rng::with_seed(seed), ops: 0, committed: State::new(), env };
    let open = |env: &Environment| {
        let kernel = Kernel::open(env.clone(), workload::small_options()).unwrap();
        extensions::register(&kernel);
        kernel
    };
    let mut kernel = open(&run.env);
    let mut old: Option<(Transaction, State)> = None;
    while run.ops < ops {
        run.transaction(&kernel);
        match &old {
            Some((tx, state)) => (0..3).for_each(|_| run.read(tx, state)),
            None => old = Some((kernel.begin_read().unwrap(), run.committed.clone())),
        }
        match run.rng.u8(0..100) {
            0..=5 => drop(kernel.checkpoint().unwrap()),
            6 | 7 => {
                workload::check(&kernel).unwrap();
                workload::read_other_ways(&kernel, &run.committed).unwrap();
            }
            8..=10 => old = None,
            11 | 12 => {
                if run.rng.bool() {
                    kernel.close().unwrap();
                }
                old = None;
                drop(kernel);
                kernel = open(&run.env);
                let found = workload::contents(&kernel).unwrap();
                assert_eq!(
                    workload::difference(&found, &run.committed),
                    None,
                    "after opening again"
                );
            }
            _ => {}
        }
    }
    run.ops
}

#[test]
fn model_of_one_client_is_a_btree_map() {
    let seed = seed();
    let (runs, mut ops) = (size(200, 2000), 0);
    for run in 0..runs {
        let result = std::panic::catch_unwind(|| one_run(seed + run, either(10_000, 100_000)));
        match result {
            Ok(count) => ops += count,
            Err(panic) => {
                println!("{}", replay("model", seed + run));
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("model: {ops} operations in {runs} runs agree with BTreeMap; seed {seed}");
}

/// Pages that a checkpoint frees are used by the next but one: a row overwritten for ever takes no more
/// room than the two versions of the database that exist at a time.
#[test]
fn model_of_one_row_never_grows_the_file() {
    let env = Environment { seed: 1, ..sochdb_sim::memory() };
    let kernel = Kernel::open(env, workload::small_options()).unwrap();
    kernel.create_table("t", TableOptions::default()).unwrap();
    let mut most = 0;
    for number in 0..200u32 {
        kernel.run(|tx| tx.put("t", b"row", &number.to_le_bytes())).unwrap();
        kernel.checkpoint().unwrap();
        most = most.max(kernel.stats().pages_total);
    }
    // Two meta pages; catalog, table and free list, twice: in use and being written.
    println!("model: one row overwritten 200 times, never more than {most} pages; no seed");
    assert!(most <= 2 + 2 * 3, "{most} pages for one row");
}

//! Recorded transactions, and what a database that ran them may hold.
//!
//! A workload is a list of [`Txn`]s drawn from a seed. Each writes its number into the table `marks`
//! with everything else it does, so a reopened database says itself which transactions it holds:
//! [`included`]. The rest is arithmetic: the state after exactly those transactions, built by
//! [`apply`], must be what is found, in every table, in every byte.

use crate::extensions;
use crate::sim_disk::{Disk, Mark};
use crate::sim_vfs::SimVfs;
use fastrand::Rng;
use sochdb_kernel::{
    Durability, Environment, Kernel, KernelResult, KeyRange, Options, TableOptions,
    TransactionOptions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything a database holds: rows by table and key.
pub type State = BTreeMap<String, BTreeMap<Vec<u8>, Arc<[u8]>>>;

/// The table in which every transaction leaves its number.
pub const MARKS: &str = "marks";

/// What the names of loaded tables begin with.
const LOADED: &str = "loaded-";

/// One change of a transaction.
#[derive(Clone, Debug)]
pub enum Step {
    /// Puts a row.
    Put(String, Vec<u8>, Arc<[u8]>),
    /// Deletes a row that may not be there.
    Delete(String, Vec<u8>),
    /// Creates a table.
    Create(String),
    /// Drops a table.
    Drop(String),
    /// Renames a table.
    Rename(String, String),
    /// Makes a table of sorted rows past the log. Stands alone: no transaction does it, and the table's
    /// name is its mark.
    Load(String, Vec<(Vec<u8>, Arc<[u8]>)>),
}

/// What follows a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing.
    Nothing,
    /// `checkpoint()`.
    Checkpoint,
    /// `close()` and open again.
    Close,
    /// The last handle is dropped, and the database opened again.
    Drop,
}

/// One transaction of a workload.
#[derive(Clone, Debug)]
pub struct Txn {
    /// Its place in the workload.
    pub number: usize,
    /// What it does, besides its mark.
    pub steps: Vec<Step>,
    /// Whether a commit that returns `Ok` promises to survive a power cut.
    pub durable: bool,
    /// What follows it.
    pub after: After,
}

/// What kind of workload to draw.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many transactions.
    pub txns: usize,
    /// Whether a few values are above 4 KiB and one is above 100 KiB.
    pub big_values: bool,
    /// Whether some commits are not synced.
    pub lazy: bool,
    /// Whether the database is closed and opened in between.
    pub reopens: bool,
}

/// Small bounds, so that a short workload sees log segments end, checkpoints run and caches overflow.
pub fn small_options() -> Options {
    Options {
        memtable_bytes_max: 64 << 10,
        cache_bytes_max: 256 << 10,
        wal_segment_bytes: 16 << 10,
        ..Options::default()
    }
}

/// Opens the database on `vfs` with small bounds.
pub fn open(vfs: &SimVfs) -> KernelResult<Kernel> {
    open_with(vfs, small_options())
}

/// Opens the database on `vfs`.
pub fn open_with(vfs: &SimVfs, options: Options) -> KernelResult<Kernel> {
    let env = Environment { seed: 1, ..Environment::with_vfs(Arc::new(vfs.clone())) };
    let kernel = Kernel::open(env, options)?;
    extensions::register(&kernel);
    Ok(kernel)
}

/// `len` bytes nobody would guess, the second half easy to compress.
pub fn bytes(rng: &mut Rng, len: usize) -> Arc<[u8]> {
    let mut out = vec![0x5a; len];
    rng.fill(&mut out[..len.div_ceil(2)]);
    out.into()
}

fn value(rng: &mut Rng, shape: &Shape) -> Arc<[u8]> {
    let len = match rng.u8(0..40) {
        0 if shape.big_values => rng.usize(4096..20_000),
        1 | 2 => rng.usize(300..3000),
        3 => 0,
        _ => rng.usize(1..80),
    };
    bytes(rng, len)
}

/// The table that the load of this number makes. It is never dropped or renamed.
fn loaded_table(number: usize) -> String {
    format!("{LOADED}{number}")
}

fn load(rng: &mut Rng, shape: &Shape, number: usize) -> Step {
    let keys: BTreeSet<u32> = (0..rng.u32(0..60)).map(|_| rng.u32(0..60)).collect();
    let rows = keys.into_iter().map(|key| (row_key(key), value(rng, shape)));
    Step::Load(loaded_table(number), rows.collect())
}

fn row_key(number: u32) -> Vec<u8> {
    format!("key-{number:03}").into_bytes()
}

/// Draws a workload.
pub fn generate(rng: &mut Rng, shape: Shape) -> Vec<Txn> {
    let mut tables = vec!["alpha".to_owned(), "beta".to_owned()];
    let mut names = 0;
    let (mut txns, mut loaded) = (Vec::new(), Vec::new());
    let huge = rng.usize(1..shape.txns);
    for number in 0..shape.txns {
        let after = match rng.u8(0..24) {
            0 | 1 => After::Checkpoint,
            2 if shape.reopens => After::Close,
            3 if shape.reopens => After::Drop,
            _ => After::Nothing,
        };
        if number > 2 && number != huge && rng.u8(0..16) == 0 {
            loaded.push(loaded_table(number));
            let steps = vec![load(rng, &shape, number)];
            txns.push(Txn { number, steps, durable: true, after });
            continue;
        }
        let mut steps = Vec::new();
        if number == 0 {
            let all = tables.iter().map(String::as_str).chain([MARKS]);
            steps.extend(all.map(|name| Step::Create(name.to_owned())));
        }
        if number > 2 && rng.u8(0..8) == 0 {
            names += 1;
            let new = format!("table-{names}");
            let at = rng.usize(0..tables.len());
            match rng.u8(0..3) {
                0 if tables.len() > 1 => steps.push(Step::Drop(tables.swap_remove(at))),
                1 => {
                    let old = std::mem::replace(&mut tables[at], new.clone());
                    steps.push(Step::Rename(old, new));
                }
                _ => {
                    tables.push(new.clone());
                    steps.push(Step::Create(new));
                }
            }
        }
        for _ in 0..rng.usize(1..8) {
            let at = rng.usize(0..tables.len() + loaded.len());
            let table = tables.get(at).unwrap_or_else(|| &loaded[at - tables.len()]).clone();
            let key = row_key(rng.u32(0..60));
            if rng.u8(0..4) == 0 {
                steps.push(Step::Delete(table, key));
            } else {
                steps.push(Step::Put(table, key, value(rng, &shape)));
            }
        }
        if number == huge && shape.big_values {
            let table = tables[0].clone();
            steps.push(Step::Put(table, b"huge".to_vec(), bytes(rng, 120_000)));
        }
        let durable = !shape.lazy || rng.bool();
        txns.push(Txn { number, steps, durable, after });
    }
    txns
}

/// What `txn` makes of `state`.
pub fn apply(state: &mut State, txn: &Txn) {
    for step in &txn.steps {
        match step {
            Step::Put(table, key, value) => {
                state.get_mut(table).expect("generated").insert(key.clone(), value.clone());
            }
            Step::Delete(table, key) => drop(state.get_mut(table).expect("generated").remove(key)),
            Step::Create(table) => drop(state.insert(table.clone(), BTreeMap::new())),
            Step::Drop(table) => drop(state.remove(table)),
            Step::Rename(from, to) => {
                let rows = state.remove(from).expect("generated");
                state.insert(to.clone(), rows);
            }
            Step::Load(table, rows) => {
                state.insert(table.clone(), rows.iter().cloned().collect());
                return;
            }
        }
    }
    let mark = (txn.number as u64).to_be_bytes();
    state.get_mut(MARKS).expect("created first").insert(mark.to_vec(), mark.as_slice().into());
}

/// The states after no, one, two and so on transactions.
pub fn states(txns: &[Txn]) -> Vec<State> {
    let mut all = vec![State::new()];
    for txn in txns {
        let mut state = all.last().expect("never empty").clone();
        apply(&mut state, txn);
        all.push(state);
    }
    all
}

/// Runs one transaction up to and including its commit.
pub fn execute(kernel: &Kernel, txn: &Txn) -> KernelResult<()> {
    if let [Step::Load(table, rows)] = &txn.steps[..] {
        let rows = rows.iter().map(|(key, value)| Ok((key.clone(), value.to_vec())));
        return kernel.bulk_load(table, extensions::options_of(table), rows).map(drop);
    }
    let durability = (!txn.durable).then_some(Durability::None);
    let mut tx = kernel.begin_with(TransactionOptions { durability, ..Default::default() })?;
    for step in &txn.steps {
        match step {
            Step::Put(table, key, value) => tx.put(table, key, value)?,
            Step::Delete(table, key) => tx.delete(table, key)?,
            Step::Create(table) => tx.create_table(table, extensions::options_of(table))?,
            Step::Drop(table) => tx.drop_table(table)?,
            Step::Rename(from, to) => tx.rename_table(from, to)?,
            Step::Load(..) => unreachable!("a load stands alone"),
        }
    }
    let mark = (txn.number as u64).to_be_bytes();
    tx.put(MARKS, &mark, &mark)?;
    tx.commit()?;
    Ok(())
}

/// Runs a whole workload on a disk without faults; the trace of `vfs` gets its marks.
pub fn run(vfs: &SimVfs, txns: &[Txn]) -> Kernel {
    let mut kernel = open(vfs).expect("a healthy disk opens");
    for txn in txns {
        vfs.mark(Mark::Started(txn.number));
        execute(&kernel, txn).unwrap_or_else(|error| panic!("transaction {}: {error}", txn.number));
        vfs.mark(Mark::Acked { txn: txn.number, durable: txn.durable });
        match txn.after {
            After::Nothing => {}
            After::Checkpoint => drop(kernel.checkpoint().expect("a healthy disk checkpoints")),
            After::Close | After::Drop => {
                if txn.after == After::Close {
                    kernel.close().expect("a healthy disk closes");
                }
                drop(kernel);
                kernel = open(vfs).expect("a healthy disk opens again");
            }
        }
    }
    kernel
}

/// A disk on which `txns` ran and whose database was not closed, with everything durable.
pub fn disk_after(txns: &[Txn], seed: u64) -> Disk {
    let vfs = SimVfs::new(Disk::default(), seed);
    let kernel = run(&vfs, txns);
    let disk = vfs.disk().crash(&vec![crate::sim_disk::Fate::Kept; vfs.disk().pending_count()]);
    drop(kernel);
    disk
}

/// Reads every row of every table through scans.
pub fn contents(kernel: &Kernel) -> KernelResult<State> {
    let tx = kernel.begin_read()?;
    let mut state = State::new();
    for table in tx.tables()? {
        let mut rows = BTreeMap::new();
        let mut last: Option<Vec<u8>> = None;
        for row in tx.scan(&table.name, KeyRange::all())? {
            let (key, value) = row?;
            assert!(
                last.as_ref() < Some(&key),
                "a scan of {} is not sorted at {key:?}",
                table.name
            );
            rows.insert(key.clone(), Arc::from(&*value));
            last = Some(key);
        }
        state.insert(table.name, rows);
    }
    Ok(state)
}

/// Reads the same rows a second and a third way: one by one, and backwards.
pub fn read_other_ways(kernel: &Kernel, state: &State) -> KernelResult<()> {
    let tx = kernel.begin_read()?;
    for (table, rows) in state {
        for (key, value) in rows {
            let got = tx.get(table, key)?;
            assert_eq!(got.as_deref(), Some(&**value), "get of {table} {}", key.escape_ascii());
        }
        let mut expected = rows.iter().rev();
        for row in tx.scan_reverse(table, KeyRange::all())? {
            let (key, value) = row?;
            let wanted = expected.next().unwrap_or_else(|| panic!("{table}: invented {key:?}"));
            assert_eq!((&key, &*value), (wanted.0, &**wanted.1), "reverse scan of {table}");
        }
        assert_eq!(expected.next(), None, "the reverse scan of {table} ended early");
        assert!(tx.get(table, b"no such key")?.is_none());
    }
    Ok(())
}

/// Which transactions a state holds, by their marks, and which loads, by their tables.
pub fn included(state: &State) -> BTreeSet<usize> {
    let marks = state.get(MARKS).into_iter().flatten().map(|(key, _)| mark_number(key));
    marks.chain(state.keys().filter_map(|table| load_number(table))).collect()
}

fn load_number(table: &str) -> Option<usize> {
    table.strip_prefix(LOADED)?.parse().ok()
}

fn mark_number(key: &[u8]) -> usize {
    u64::from_be_bytes(key.try_into().expect("marks have 8 bytes")) as usize
}

/// The state after exactly the transactions of `numbers`.
pub fn state_of(txns: &[Txn], numbers: &BTreeSet<usize>) -> State {
    let mut state = State::new();
    numbers.iter().for_each(|&number| apply(&mut state, &txns[number]));
    state
}

/// The first difference between two states, in words.
pub fn difference(found: &State, expected: &State) -> Option<String> {
    let (f, e): (Vec<_>, Vec<_>) = (found.keys().collect(), expected.keys().collect());
    if f != e {
        return Some(format!("found tables {f:?}, expected {e:?}"));
    }
    for (table, rows) in expected {
        let found = &found[table];
        for (key, value) in rows {
            let name = key.escape_ascii();
            match found.get(key) {
                None => return Some(format!("{table}: row '{name}' is missing")),
                Some(got) if got != value => {
                    return Some(format!(
                        "{table}: row '{name}' has {} bytes, expected {} other ones",
                        got.len(),
                        value.len()
                    ));
                }
                Some(_) => {}
            }
        }
        if let Some(key) = found.keys().find(|key| !rows.contains_key(*key)) {
            return Some(format!("{table}: row '{}' was never put", key.escape_ascii()));
        }
    }
    None
}

/// Reopened after a power cut: the database holds a prefix of the workload that ends between `least`
/// and `most` transactions, is clean, and takes a new commit. Returns how many it holds.
pub fn judge_prefix(
    kernel: &Kernel,
    states: &[State],
    least: usize,
    most: usize,
) -> Result<usize, String> {
    let reading = |error| format!("reading failed: {error}");
    let numbers = marks(kernel).map_err(reading)?;
    let count = numbers.len();
    if numbers.iter().copied().ne(0..count) {
        return Err(format!("not a prefix: {numbers:?}"));
    }
    if count < least || most < count {
        return Err(format!("{count} transactions, expected {least} to {most}"));
    }
    if !holds(kernel, &states[count]).map_err(reading)? {
        let found = contents(kernel).map_err(reading)?;
        let difference = difference(&found, &states[count]);
        return Err(format!("with {count} transactions: {}", difference.unwrap_or_default()));
    }
    check(kernel)?;
    Ok(count)
}

/// As [`included`], from the marks and names alone.
fn marks(kernel: &Kernel) -> KernelResult<BTreeSet<usize>> {
    let tx = kernel.begin_read()?;
    let tables = tx.tables()?;
    let mut numbers: BTreeSet<usize> =
        tables.iter().filter_map(|table| load_number(&table.name)).collect();
    if tables.iter().any(|table| table.name == MARKS) {
        for row in tx.scan(MARKS, KeyRange::all())? {
            numbers.insert(mark_number(&row?.0));
        }
    }
    Ok(numbers)
}

/// Whether scans find exactly `state`; [`difference`] says what they find instead.
pub fn holds(kernel: &Kernel, state: &State) -> KernelResult<bool> {
    let tx = kernel.begin_read()?;
    if !tx.tables()?.iter().map(|table| &table.name).eq(state.keys()) {
        return Ok(false);
    }
    for (table, rows) in state {
        let mut expected = rows.iter();
        for row in tx.scan(table, KeyRange::all())? {
            let (key, value) = row?;
            if expected.next().is_none_or(|(k, v)| *k != key || **v != *value) {
                return Ok(false);
            }
        }
        if expected.next().is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `check()` finds nothing.
pub fn check(kernel: &Kernel) -> Result<(), String> {
    let report =
        sochdb_operations::check(kernel).map_err(|error| format!("check failed: {error}"))?;
    match report.problems.first() {
        None => Ok(()),
        Some(problem) => Err(format!("check found {} problems: {problem}", report.problems.len())),
    }
}

/// One more commit in a table of its own.
pub fn commit_probe(kernel: &Kernel) -> KernelResult<()> {
    let mut tx = kernel.begin()?;
    if !tx.tables()?.iter().any(|table| table.name == PROBE) {
        tx.create_table(PROBE, TableOptions::default())?;
    }
    tx.put(PROBE, b"probe", b"alive")?;
    tx.commit().map(drop)
}

/// The table of [`commit_probe`].
pub const PROBE: &str = "probe";

/// Takes the probe's table out again; says whether it was there and right.
pub fn take_probe(state: &mut State) -> bool {
    let rows = state.remove(PROBE).unwrap_or_default();
    rows.len() == 1 && rows.get(b"probe".as_slice()).is_some_and(|value| **value == *b"alive")
}

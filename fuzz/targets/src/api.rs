//! Operations on a kernel, chosen by the input, against a `BTreeMap`: with savepoints, older snapshots,
//! checkpoints, other tables, and opening again.

use crate::image;
use crate::input::Input;
use sochdb_kernel::{Kernel, KernelError, Savepoint, TableOptions, Transaction};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;

const OPERATIONS_MAX: usize = 300;
const TABLES: [&str; 3] = ["a", "b", "c"];

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
/// A table that is there has rows, though none perhaps.
type Model = BTreeMap<&'static str, Rows>;

/// A transaction with the model as it sees it, and as it was at each savepoint.
struct Open {
    tx: Transaction,
    model: Model,
    savepoints: Vec<(Savepoint, Model)>,
}

fn key(input: &mut Input<'_>) -> Vec<u8> {
    let choice = input.u8();
    // Few keys, so that they meet; some long, so that pages branch.
    let mut key = vec![b'k'; usize::from(choice >> 6) * 200];
    key.push(choice & 31);
    key
}

fn value(input: &mut Input<'_>) -> Vec<u8> {
    let (fill, size) = (input.u8(), usize::from(input.u8()));
    vec![fill; if size < 200 { size } else { size * 40 }]
}

fn table(input: &mut Input<'_>) -> &'static str {
    TABLES[usize::from(input.u8()) % TABLES.len()]
}

/// What the transaction sees is what the model has.
fn compare(tx: &Transaction, model: &Model) {
    let names: Vec<_> = tx.tables().expect("open").into_iter().map(|info| info.name).collect();
    assert_eq!(names, model.keys().copied().collect::<Vec<_>>(), "tables");
    for (table, rows) in model {
        let scan = tx.scan(table, ..).expect("it is there");
        let found: Vec<_> = scan.map(|row| row.expect("readable")).collect();
        assert_eq!(found.len(), rows.len(), "rows of {table}");
        for ((key, value), (expected, row)) in found.iter().zip(rows) {
            assert!(key == expected && **value == **row, "a row of {table}");
        }
        let backwards = tx.scan_reverse(table, ..).expect("it is there");
        let backwards = backwards.map(|row| row.expect("readable").0);
        assert!(backwards.eq(rows.keys().rev().cloned()), "rows of {table}, backwards");
    }
}

/// Runs operations until the input ends.
pub fn api(data: &[u8]) {
    let mut input = Input(data);
    let vfs = MemoryVfs::new();
    let mut kernel = image::open(&vfs).expect("an empty directory");
    let mut model = Model::new();
    let mut open: Option<Open> = None;
    let mut old: Option<(Transaction, Model)> = None;
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        let begin = |kernel: &Kernel| kernel.begin().expect("open");
        let current = open.get_or_insert_with(|| Open {
            tx: begin(&kernel),
            model: model.clone(),
            savepoints: Vec::new(),
        });
        match input.u8() % 24 {
            0..=7 => {
                let (table, key, value) = (table(&mut input), key(&mut input), value(&mut input));
                match (current.tx.put(table, &key, &value), current.model.get_mut(table)) {
                    (Ok(()), Some(rows)) => drop(rows.insert(key, value)),
                    (Err(KernelError::NotFound { .. }), None) => {}
                    (result, _) => panic!("put into {table}: {result:?}"),
                }
            }
            8 | 9 => {
                let (table, key) = (table(&mut input), key(&mut input));
                match (current.tx.delete(table, &key), current.model.get_mut(table)) {
                    (Ok(()), Some(rows)) => drop(rows.remove(&key)),
                    (Err(KernelError::NotFound { .. }), None) => {}
                    (result, _) => panic!("delete from {table}: {result:?}"),
                }
            }
            10 | 11 => {
                let (table, key) = (table(&mut input), key(&mut input));
                match (current.tx.get(table, &key), current.model.get(table)) {
                    (Ok(found), Some(rows)) => {
                        assert_eq!(found.as_deref(), rows.get(&key).map(Vec::as_slice));
                    }
                    (Err(KernelError::NotFound { .. }), None) => {}
                    (result, _) => panic!("get from {table}: {result:?}"),
                }
            }
            12 => {
                let (table, low, high) = (table(&mut input), key(&mut input), key(&mut input));
                if let Some(rows) = current.model.get(table) {
                    let found = current.tx.scan(table, low.clone()..high.clone());
                    let found = found.expect("it is there").map(|row| row.expect("readable").0);
                    let inside = rows.keys().filter(|key| low <= **key && **key < high);
                    assert!(found.eq(inside.cloned()), "a range of {table}");
                }
            }
            13 => {
                let savepoint = current.tx.savepoint();
                current.savepoints.push((savepoint, current.model.clone()));
            }
            14 => {
                if let Some((savepoint, model)) = current.savepoints.pop() {
                    current.tx.rollback_to(savepoint).expect("it is this transaction's");
                    current.model = model;
                }
            }
            15 => {
                let table = table(&mut input);
                let made = current.tx.create_table(table, TableOptions::default());
                assert_eq!(made.is_ok(), !current.model.contains_key(table), "{made:?}");
                current.model.entry(table).or_default();
            }
            16 => {
                let table = table(&mut input);
                let dropped = current.tx.drop_table(table);
                assert_eq!(dropped.is_ok(), current.model.remove(table).is_some(), "{dropped:?}");
            }
            17 => {
                let (from, to) = (table(&mut input), table(&mut input));
                let renamed = current.tx.rename_table(from, to);
                let can = current.model.contains_key(from) && !current.model.contains_key(to);
                assert_eq!(renamed.is_ok(), can, "{from} to {to}: {renamed:?}");
                if can {
                    let rows = current.model.remove(from).expect("looked at above");
                    current.model.insert(to, rows);
                }
            }
            18 | 19 => {
                let Open { tx, model: next, .. } = open.take().expect("begun above");
                compare(&tx, &next);
                tx.commit().expect("nobody else writes");
                model = next;
            }
            20 => drop(open.take()),
            21 => drop(kernel.checkpoint().expect("memory")),
            22 => {
                if let Some((tx, model)) = old.take() {
                    compare(&tx, &model);
                }
                old = Some((kernel.begin_read().expect("open"), model.clone()));
            }
            _ => {
                (open, old) = (None, None);
                if input.u8() & 1 == 0 {
                    kernel.close().expect("memory");
                }
                drop(kernel);
                kernel = image::open(&vfs).expect("closed or not, it opens");
            }
        }
    }
    drop(open);
    if let Some((tx, model)) = old {
        compare(&tx, &model);
    }
    compare(&kernel.begin_read().expect("open"), &model);
    let report = sochdb_operations::check(&kernel).expect("open");
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

pub fn api_seeds() -> Vec<Vec<u8>> {
    let mut seed = vec![15, 0, 18, 15, 1];
    for number in 0..60u8 {
        seed.extend_from_slice(&[0, number & 1, number.wrapping_mul(5), number, number * 4]);
        seed.extend_from_slice(match number % 10 {
            3 => &[13],
            5 => &[14],
            7 => &[18, 22],
            9 => &[18, 21, 8, 0, 10],
            _ => &[10, 0, 5],
        });
    }
    seed.extend_from_slice(&[18, 17, 0, 2, 18, 16, 1, 18, 21, 23, 0, 22, 12, 2, 3, 200]);
    vec![seed]
}

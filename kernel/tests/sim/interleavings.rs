//! Small transactions in every order of their steps, judged by brute force.
//!
//! Three transactions of three operations each work on two keys and the range around them, at the level
//! `Serializable`. For each interleaving, the answers and the final rows must be those of the committed
//! transactions run one after the other, in some order: all orders are tried. A refused transaction that
//! could have been let through is counted: the price of the level's rule.

use crate::workload;
use crate::{either, is_release_proof, replay, seed, size};
use fastrand::Rng;
use sochdb_kernel::{
    Durability, Environment, IsolationLevel, Kernel, KeyRange, TableOptions, Transaction,
    TransactionOptions,
};
use std::collections::BTreeMap;

const TXNS: usize = 3;
const OPS: usize = 3;
/// The first operation begins the transaction, one more step commits it.
const STEPS: usize = TXNS * (OPS + 1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Get(u8),
    Put(u8),
    Delete(u8),
    Scan,
    ScanReverse,
}

/// Key to value; values are unique, so that a read tells whose write it saw.
type Rows = BTreeMap<u8, u8>;
/// What one operation answered: nothing for a write.
type Answer = Vec<(u8, u8)>;
type Program = [[Op; OPS]; TXNS];

fn draw(rng: &mut Rng) -> Program {
    let mut op = || match rng.u8(0..9) {
        0 | 1 => Op::Get(0),
        2 => Op::Get(1),
        3 => Op::Put(0),
        4 | 5 => Op::Put(1),
        6 => Op::Delete(0),
        7 => Op::Scan,
        _ => Op::ScanReverse,
    };
    std::array::from_fn(|_| std::array::from_fn(|_| op()))
}

/// The value that operation `op` of transaction `txn` writes.
fn value(txn: usize, op: usize) -> u8 {
    (1 + txn * OPS + op) as u8
}

/// What the operation does to rows, and what it answers.
fn apply(rows: &mut Rows, txn: usize, number: usize, op: Op) -> Answer {
    match op {
        Op::Get(key) => rows.get(&key).map(|&value| (key, value)).into_iter().collect(),
        Op::Put(key) => {
            rows.insert(key, value(txn, number));
            Vec::new()
        }
        Op::Delete(key) => {
            rows.remove(&key);
            Vec::new()
        }
        Op::Scan => rows.iter().map(|(&key, &value)| (key, value)).collect(),
        Op::ScanReverse => rows.iter().rev().map(|(&key, &value)| (key, value)).collect(),
    }
}

/// The same on the database; keys carry the case's number, so that cases do not meet.
fn execute(tx: &mut Transaction, case: u32, txn: usize, number: usize, op: Op) -> Answer {
    let name = |key: u8| [case.to_be_bytes().as_slice(), &[key]].concat();
    let short = |(key, value): (Vec<u8>, sochdb_kernel::Slice)| (key[4], value[0]);
    let range = || KeyRange::prefix(&case.to_be_bytes());
    match op {
        Op::Get(key) => {
            let found = tx.get("t", &name(key)).expect("memory");
            found.map(|value| (key, value[0])).into_iter().collect()
        }
        Op::Put(key) => {
            tx.put("t", &name(key), &[value(txn, number)]).expect("conflicts come at the commit");
            Vec::new()
        }
        Op::Delete(key) => {
            tx.delete("t", &name(key)).expect("conflicts come at the commit");
            Vec::new()
        }
        Op::Scan => {
            tx.scan("t", range()).expect("memory").map(|row| short(row.expect("memory"))).collect()
        }
        Op::ScanReverse => {
            let scan = tx.scan_reverse("t", range()).expect("memory");
            scan.map(|row| short(row.expect("memory"))).collect()
        }
    }
}

/// What a run of a program left behind.
struct Outcome {
    answers: [[Answer; OPS]; TXNS],
    committed: [bool; TXNS],
    rows: Rows,
}

const START: (u8, u8) = (0, 0);

fn run(kernel: &Kernel, program: &Program, order: &[usize; STEPS], case: u32) -> Outcome {
    let options = || TransactionOptions {
        isolation: IsolationLevel::Serializable,
        durability: Some(Durability::None),
        ..Default::default()
    };
    let mut setup = kernel.begin_with(options()).unwrap();
    let start = [case.to_be_bytes().as_slice(), &[START.0]].concat();
    setup.put("t", &start, &[START.1]).unwrap();
    setup.commit().unwrap();
    let mut open: [Option<Transaction>; TXNS] = Default::default();
    let mut next = [0; TXNS];
    let mut outcome =
        Outcome { answers: Default::default(), committed: [false; TXNS], rows: Rows::new() };
    for &txn in order {
        let number = next[txn];
        next[txn] += 1;
        if number == OPS {
            let tx = open[txn].take().expect("it began");
            outcome.committed[txn] = match tx.commit() {
                Ok(_) => true,
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    false
                }
            };
            continue;
        }
        let tx = open[txn].get_or_insert_with(|| kernel.begin_with(options()).unwrap());
        outcome.answers[txn][number] = execute(tx, case, txn, number, program[txn][number]);
    }
    let tx = kernel.begin_read().unwrap();
    let rows = tx.scan("t", KeyRange::prefix(&case.to_be_bytes())).unwrap().map(|row| row.unwrap());
    outcome.rows = rows.map(|(key, value)| (key[4], value[0])).collect();
    outcome
}

const ORDERS: [[usize; TXNS]; 6] =
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Whether some serial order of the transactions `which` gives these answers and, if asked, these rows.
fn is_serial(program: &Program, outcome: &Outcome, which: [bool; TXNS], with_rows: bool) -> bool {
    ORDERS.iter().any(|order| {
        let mut rows = Rows::from([START]);
        let fits = order.iter().filter(|&&txn| which[txn]).all(|&txn| {
            (0..OPS).all(|number| {
                let answer = apply(&mut rows, txn, number, program[txn][number]);
                answer == outcome.answers[txn][number]
            })
        });
        fits && (!with_rows || rows == outcome.rows)
    })
}

/// The next interleaving in lexical order; false after the last.
fn advance(order: &mut [usize; STEPS]) -> bool {
    let Some(at) = (1..STEPS).rev().find(|&at| order[at - 1] < order[at]) else { return false };
    let with = (at..STEPS).rev().find(|&with| order[at - 1] < order[with]).expect("one is greater");
    order.swap(at - 1, with);
    order[at..].reverse();
    true
}

#[test]
fn interleavings_of_small_transactions_are_serializable() {
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let env = Environment { seed, ..sochdb_sim::memory() };
    let kernel = Kernel::open(env, workload::small_options()).unwrap();
    kernel.create_table("t", TableOptions::default()).unwrap();
    let (mut cases, mut refused, mut needless) = (0u32, 0, 0);
    for _ in 0..size(5000, 500) {
        let program = draw(&mut rng);
        let mut order: [usize; STEPS] = std::array::from_fn(|step| step / (OPS + 1));
        for _ in 0..either(40, u64::MAX) {
            if is_release_proof() {
                if !advance(&mut order) {
                    break;
                }
            } else {
                rng.shuffle(&mut order);
            }
            cases += 1;
            let outcome = run(&kernel, &program, &order, cases);
            assert!(
                is_serial(&program, &outcome, outcome.committed, true),
                "{program:?} in the order {order:?}: answers {:?}, committed {:?}, left {:?}\n{}",
                outcome.answers,
                outcome.committed,
                outcome.rows,
                replay("interleavings", seed)
            );
            for txn in (0..TXNS).filter(|&txn| !outcome.committed[txn]) {
                refused += 1;
                let mut which = outcome.committed;
                which[txn] = true;
                needless += u64::from(is_serial(&program, &outcome, which, false));
            }
        }
    }
    println!(
        "interleavings: {cases} of {TXNS} transactions with {OPS} operations, all serializable; \
         {refused} refused, {needless} of them could have been let through; seed {seed}"
    );
}

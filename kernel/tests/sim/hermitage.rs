//! Hermitage, step by step: which anomaly each isolation level prevents.
//!
//! | anomaly                                   | read committed | snapshot | serializable |
//! |-------------------------------------------|----------------|----------|--------------|
//! | G0, dirty write                           | prevented      | prevented| prevented    |
//! | G1a, G1b, G1c, aborted, intermediate, circular | prevented | prevented| prevented    |
//! | OTV, observed transaction vanishes        | prevented      | prevented| prevented    |
//! | PMP, predicate has many preceders         | happens        | prevented| prevented    |
//! | P4, lost update                           | happens        | prevented| prevented    |
//! | G-single, read skew                       | happens        | prevented| prevented    |
//! | G2-item, write skew                       | happens        | happens  | prevented    |
//! | G2, phantoms by insert, delete, absence   | happens        | happens  | prevented    |
//! | the read-only anomaly                     | happens        | happens  | prevented    |
//!
//! `RepeatableRead` is snapshot isolation here. Each scenario runs at each level and asserts both what
//! must not happen and what does, so a level that grows stricter than it says is noticed too.
//!
//! Source: Martin Kleppmann's Hermitage; Fekete, O'Neil and O'Neil 2004 for the read-only anomaly.

use crate::seed;
use IsolationLevel::{ReadCommitted, RepeatableRead, Serializable, SnapshotIsolation};
use sochdb_kernel::{
    Environment, IsolationLevel, Kernel, TableOptions, Transaction, TransactionOptions,
};

const LEVELS: [IsolationLevel; 4] =
    [ReadCommitted, RepeatableRead, SnapshotIsolation, Serializable];

struct Base {
    kernel: Kernel,
    level: IsolationLevel,
}

/// One client's transaction. A conflict may come at the write or at the commit: both count as refused.
struct Client {
    tx: Transaction,
    refused: bool,
}

impl Base {
    /// Rows 1 = 10 and 2 = 20.
    fn new(level: IsolationLevel) -> Base {
        let env = Environment { seed: seed(), ..sochdb_sim::memory() };
        let kernel = Kernel::open(env, crate::workload::small_options()).unwrap();
        let mut tx = kernel.begin().unwrap();
        tx.create_table("t", TableOptions::default()).unwrap();
        tx.put("t", &[1], &[10]).unwrap();
        tx.put("t", &[2], &[20]).unwrap();
        tx.commit().unwrap();
        Base { kernel, level }
    }

    fn begin(&self) -> Client {
        let options = TransactionOptions { isolation: self.level, ..Default::default() };
        Client { tx: self.kernel.begin_with(options).unwrap(), refused: false }
    }

    fn begin3(&self) -> (Client, Client, Client) {
        (self.begin(), self.begin(), self.begin())
    }

    fn rows(&self) -> Vec<(u8, u8)> {
        self.begin().rows()
    }

    fn is_snapshot(&self) -> bool {
        self.level != ReadCommitted
    }

    fn is_serializable(&self) -> bool {
        self.level == Serializable
    }
}

impl Client {
    fn get(&self, key: u8) -> Option<u8> {
        self.tx.get("t", &[key]).unwrap().map(|value| value[0])
    }

    fn put(&mut self, key: u8, value: u8) {
        let done = self.tx.put("t", &[key], &[value]);
        self.note(done);
    }

    fn delete(&mut self, key: u8) {
        let done = self.tx.delete("t", &[key]);
        self.note(done);
    }

    fn note(&mut self, done: sochdb_kernel::KernelResult<()>) {
        if let Err(error) = done {
            assert!(error.is_retryable(), "{error}");
            self.refused = true;
        }
    }

    fn rows(&self) -> Vec<(u8, u8)> {
        let rows = self.tx.scan("t", ..).unwrap();
        rows.map(|row| row.map(|(key, value)| (key[0], value[0])).unwrap()).collect()
    }

    fn select(&self, predicate: impl Fn(u8) -> bool) -> Vec<(u8, u8)> {
        self.rows().into_iter().filter(|(_, value)| predicate(*value)).collect()
    }

    /// Whether the commit was taken; a refusal must be retryable.
    fn commits(self) -> bool {
        if self.refused {
            return false;
        }
        match self.tx.commit() {
            Ok(_) => true,
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                false
            }
        }
    }
}

fn g0_dirty_write(base: &Base) {
    let (mut t1, mut t2) = (base.begin(), base.begin());
    t1.put(1, 11);
    t2.put(1, 12);
    t1.put(2, 21);
    assert!(t1.commits());
    assert_eq!(base.rows(), [(1, 11), (2, 21)]);
    t2.put(2, 22);
    let second = t2.commits();
    assert_eq!(second, !base.is_snapshot(), "the second writer of a row");
    assert_eq!(base.rows(), if second { [(1, 12), (2, 22)] } else { [(1, 11), (2, 21)] });
}

fn g1a_aborted_read(base: &Base) {
    let (mut t1, t2) = (base.begin(), base.begin());
    t1.put(1, 101);
    assert_eq!(t2.rows(), [(1, 10), (2, 20)]);
    t1.tx.rollback();
    assert_eq!(t2.rows(), [(1, 10), (2, 20)]);
    assert!(t2.commits());
}

fn g1b_intermediate_read(base: &Base) {
    let (mut t1, t2) = (base.begin(), base.begin());
    t1.put(1, 101);
    assert_eq!(t2.get(1), Some(10));
    t1.put(1, 11);
    assert!(t1.commits());
    assert_eq!(t2.get(1), Some(if base.is_snapshot() { 10 } else { 11 }));
    assert!(t2.commits());
}

fn g1c_circular_information_flow(base: &Base) {
    let (mut t1, mut t2) = (base.begin(), base.begin());
    t1.put(1, 11);
    t2.put(2, 22);
    assert_eq!(t1.get(2), Some(20));
    assert_eq!(t2.get(1), Some(10));
    assert!(t1.commits());
    assert_eq!(t2.commits(), !base.is_serializable(), "neither saw the other: write skew, not G1c");
}

fn otv_observed_transaction_vanishes(base: &Base) {
    let (mut t1, mut t2, t3) = base.begin3();
    t1.put(1, 11);
    t1.put(2, 19);
    t2.put(1, 12);
    assert!(t1.commits());
    let seen = if base.is_snapshot() { 10 } else { 11 };
    assert_eq!(t3.get(1), Some(seen));
    t2.put(2, 18);
    assert_eq!(t3.get(2), Some(if base.is_snapshot() { 20 } else { 19 }));
    assert_eq!(t2.commits(), !base.is_snapshot());
    let expected = if base.is_snapshot() { [(1, 10), (2, 20)] } else { [(1, 12), (2, 18)] };
    assert_eq!((t3.get(2), t3.get(1)), (Some(expected[1].1), Some(expected[0].1)));
    assert!(t3.commits());
}

fn pmp_predicate_has_many_preceders(base: &Base) {
    let (t1, mut t2) = (base.begin(), base.begin());
    assert_eq!(t1.select(|value| value == 30), []);
    t2.put(3, 30);
    assert!(t2.commits());
    let seen = t1.select(|value| value % 3 == 0);
    assert_eq!(seen, if base.is_snapshot() { vec![] } else { vec![(3, 30)] });
    assert!(t1.commits(), "a transaction that only read never fails");
}

fn pmp_for_a_write(base: &Base) {
    let (mut t1, mut t2) = (base.begin(), base.begin());
    for (key, value) in t1.rows() {
        t1.put(key, value + 10);
    }
    assert_eq!(t2.select(|value| value == 20), [(2, 20)]);
    assert!(t1.commits());
    t2.delete(2);
    let second = t2.commits();
    assert_eq!(second, !base.is_snapshot());
    assert_eq!(base.rows(), if second { vec![(1, 20)] } else { vec![(1, 20), (2, 30)] });
}

fn p4_lost_update(base: &Base) {
    let (mut t1, mut t2) = (base.begin(), base.begin());
    assert_eq!((t1.get(1), t2.get(1)), (Some(10), Some(10)));
    t1.put(1, 11);
    t2.put(1, 11);
    assert!(t1.commits());
    assert_eq!(t2.commits(), !base.is_snapshot());
}

fn g_single_read_skew(base: &Base) {
    let (t1, mut t2) = (base.begin(), base.begin());
    assert_eq!(t1.get(1), Some(10));
    assert_eq!((t2.get(1), t2.get(2)), (Some(10), Some(20)));
    t2.put(1, 12);
    t2.put(2, 18);
    assert!(t2.commits());
    assert_eq!(t1.get(2), Some(if base.is_snapshot() { 20 } else { 18 }));
    assert!(t1.commits());
}

fn g_single_by_predicate(base: &Base) {
    let (t1, mut t2) = (base.begin(), base.begin());
    assert_eq!(t1.select(|value| value % 5 == 0), [(1, 10), (2, 20)]);
    t2.put(1, 12);
    assert!(t2.commits());
    let seen = t1.select(|value| value % 3 == 0);
    assert_eq!(seen, if base.is_snapshot() { vec![] } else { vec![(1, 12)] });
    assert!(t1.commits());
}

fn g_single_with_a_write(base: &Base) {
    let (mut t1, mut t2) = (base.begin(), base.begin());
    assert_eq!(t1.get(1), Some(10));
    assert_eq!(t2.rows(), [(1, 10), (2, 20)]);
    t2.put(1, 12);
    t2.put(2, 18);
    assert!(t2.commits());
    t1.delete(2);
    let second = t1.commits();
    assert_eq!(second, !base.is_snapshot());
    assert_eq!(base.rows(), if second { vec![(1, 12)] } else { vec![(1, 12), (2, 18)] });
}

fn g2_item_write_skew(base: &Base) {
    let (mut t1, mut t2) = (base.begin(), base.begin());
    assert_eq!((t1.get(1), t1.get(2)), (Some(10), Some(20)));
    assert_eq!((t2.get(1), t2.get(2)), (Some(10), Some(20)));
    t1.put(1, 11);
    t2.put(2, 21);
    assert!(t1.commits());
    assert_eq!(t2.commits(), !base.is_serializable());
}

fn g2_phantom_by_insert(base: &Base) {
    let (mut t1, mut t2) = (base.begin(), base.begin());
    assert_eq!(t1.select(|value| value % 3 == 0), []);
    assert_eq!(t2.select(|value| value % 3 == 0), []);
    t1.put(3, 30);
    t2.put(4, 42);
    assert!(t1.commits());
    assert_eq!(t2.commits(), !base.is_serializable());
}

fn g2_phantom_by_delete(base: &Base) {
    let (mut t1, mut t2) = (base.begin(), base.begin());
    assert_eq!((t1.rows().len(), t2.rows().len()), (2, 2));
    t1.delete(1);
    t2.delete(2);
    assert!(t1.commits());
    assert_eq!(t2.commits(), !base.is_serializable());
    assert_eq!(base.rows().len(), usize::from(base.is_serializable()));
}

fn g2_phantom_by_absence(base: &Base) {
    let (mut t1, mut t2) = (base.begin(), base.begin());
    assert_eq!((t1.get(8), t2.get(9)), (None, None));
    t1.put(9, 1);
    t2.put(8, 1);
    assert!(t1.commits());
    assert_eq!(t2.commits(), !base.is_serializable());
}

fn g2_phantom_in_a_reverse_scan(base: &Base) {
    let (mut t1, mut t2) = (base.begin(), base.begin());
    let top = |client: &Client| {
        let range = [100u8].as_slice()..[200u8].as_slice();
        client.tx.scan_reverse("t", range).unwrap().next().is_none()
    };
    assert!(top(&t1) && top(&t2));
    t1.put(150, 1);
    t2.put(160, 1);
    assert!(t1.commits());
    assert_eq!(t2.commits(), !base.is_serializable());
}

fn g2_two_anti_dependencies(base: &Base) {
    let t1 = base.begin();
    assert_eq!(t1.rows(), [(1, 10), (2, 20)]);
    let mut t2 = base.begin();
    let value = t2.get(2).unwrap();
    t2.put(2, value + 5);
    assert!(t2.commits());
    let t3 = base.begin();
    assert_eq!(t3.rows(), [(1, 10), (2, 25)]);
    assert!(t3.commits());
    let mut t1 = t1;
    t1.put(1, 0);
    assert_eq!(t1.commits(), !base.is_serializable());
}

fn read_only_anomaly(base: &Base) {
    let mut withdraw = base.begin();
    assert_eq!((withdraw.get(1), withdraw.get(2)), (Some(10), Some(20)));
    let mut deposit = base.begin();
    assert_eq!(deposit.get(2), Some(20));
    deposit.put(2, 40);
    assert!(deposit.commits());
    let report = base.begin();
    assert_eq!((report.get(1), report.get(2)), (Some(10), Some(40)));
    assert!(report.commits());
    withdraw.put(1, 0);
    assert_eq!(withdraw.commits(), !base.is_serializable());
}

/// Not an anomaly: what no level may refuse.
fn disjoint_transactions_all_commit(base: &Base) {
    let (mut t1, mut t2, t3) = base.begin3();
    assert_eq!((t1.get(1), t2.get(2)), (Some(10), Some(20)));
    t1.put(1, 11);
    t2.put(2, 21);
    assert!(t1.commits());
    assert!(t2.commits());
    assert!(t3.commits());
    assert_eq!(base.rows(), [(1, 11), (2, 21)]);
}

/// A statement that fails leaves the transaction usable, at every level.
fn a_savepoint_takes_its_writes_out_of_the_conflict(base: &Base) {
    let (mut t1, mut t2) = (base.begin(), base.begin());
    let savepoint = t1.tx.savepoint();
    t1.put(1, 11);
    t1.tx.rollback_to(savepoint).unwrap();
    t1.put(2, 21);
    t2.put(1, 12);
    assert!(t2.commits());
    assert!(t1.commits());
    assert_eq!(base.rows(), [(1, 12), (2, 21)]);
}

#[test]
fn hermitage_at_every_level() {
    let scenarios: [fn(&Base); 20] = [
        g0_dirty_write,
        g1a_aborted_read,
        g1b_intermediate_read,
        g1c_circular_information_flow,
        otv_observed_transaction_vanishes,
        pmp_predicate_has_many_preceders,
        pmp_for_a_write,
        p4_lost_update,
        g_single_read_skew,
        g_single_by_predicate,
        g_single_with_a_write,
        g2_item_write_skew,
        g2_phantom_by_insert,
        g2_phantom_by_delete,
        g2_phantom_by_absence,
        g2_phantom_in_a_reverse_scan,
        g2_two_anti_dependencies,
        read_only_anomaly,
        disjoint_transactions_all_commit,
        a_savepoint_takes_its_writes_out_of_the_conflict,
    ];
    for level in LEVELS {
        for scenario in &scenarios {
            scenario(&Base::new(level));
        }
    }
    println!(
        "hermitage: {} scenarios at {} levels as the table says; no seed",
        scenarios.len(),
        LEVELS.len()
    );
}

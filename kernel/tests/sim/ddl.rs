//! Tables coming, going and changing names beside open transactions, at every level, with checkpoints and
//! power cuts between.
//!
//! | meanwhile a table was      | who reads it by a snapshot | who wrote to it                            |
//! |----------------------------|----------------------------|--------------------------------------------|
//! | dropped                    | still sees its rows        | gets `Conflict`                            |
//! | dropped and made again     | still sees the old rows    | gets `Conflict`, the new table stays empty |
//! | renamed                    | still sees it by its name  | its rows are found under the new name      |
//! | made by another, same name | does not see it            | of two makers, the second gets `Conflict`  |

use crate::sim_disk::{Disk, Fate};
use crate::sim_vfs::SimVfs;
use crate::workload;
use crate::{extensions, seed};
use IsolationLevel::{ReadCommitted, RepeatableRead, Serializable, SnapshotIsolation};
use sochdb_kernel::{
    ErrorKind, IsolationLevel, Kernel, KernelResult, TableOptions, Transaction, TransactionOptions,
};

struct Case {
    vfs: SimVfs,
    kernel: Kernel,
    level: IsolationLevel,
    options: TableOptions,
}

impl Case {
    /// A table `old` with two rows, one of them large, checkpointed.
    fn new(level: IsolationLevel, options: TableOptions) -> Case {
        let vfs = SimVfs::new(Disk::default(), seed());
        let kernel = workload::open(&vfs).unwrap();
        let mut tx = kernel.begin().unwrap();
        tx.create_table("old", options.clone()).unwrap();
        tx.put("old", b"a", b"1").unwrap();
        tx.put("old", b"b", &[7; 20_000]).unwrap();
        tx.commit().unwrap();
        kernel.checkpoint().unwrap();
        Case { vfs, kernel, level, options }
    }

    fn begin(&self) -> Transaction {
        let options = TransactionOptions { isolation: self.level, ..Default::default() };
        self.kernel.begin_with(options).unwrap()
    }

    fn run(&self, f: impl Fn(&mut Transaction) -> KernelResult<()>) {
        let mut tx = self.begin();
        f(&mut tx).unwrap();
        tx.commit().unwrap();
    }

    /// Two checkpoints, so that what nobody needs any more is given to others and overwritten.
    fn churn(&self) {
        for round in 0..3u8 {
            self.run(|tx| {
                if round == 0 {
                    tx.create_table("churn", self.options.clone())?;
                }
                tx.put("churn", &[round], &[round; 30_000])
            });
            self.kernel.checkpoint().unwrap();
        }
    }

    fn is_snapshot(&self) -> bool {
        self.level != ReadCommitted
    }

    /// The tables and how many rows each has, now and after a power cut.
    fn tables(&self) -> Vec<(String, usize)> {
        let count = |kernel: &Kernel| {
            let tx = kernel.begin_read().unwrap();
            let tables = tx.tables().unwrap().into_iter().map(|table| table.name);
            let tables = tables.filter(|name| name != "churn");
            tables.map(|name| (name.clone(), rows(&tx, &name).unwrap())).collect::<Vec<_>>()
        };
        workload::check(&self.kernel).unwrap();
        let cut = self.vfs.disk().crash(&vec![Fate::Lost; self.vfs.disk().pending_count()]);
        let again = workload::open(&SimVfs::new(cut, 0)).unwrap();
        workload::check(&again).unwrap();
        let (now, later) = (count(&self.kernel), count(&again));
        assert_eq!(now, later, "after a power cut");
        now
    }
}

fn rows(tx: &Transaction, table: &str) -> KernelResult<usize> {
    Ok(tx.scan(table, ..)?.collect::<KernelResult<Vec<_>>>()?.len())
}

fn named(names: &[(&str, usize)]) -> Vec<(String, usize)> {
    names.iter().map(|(name, rows)| ((*name).to_owned(), *rows)).collect()
}

fn a_snapshot_outlives_a_drop(case: &Case) {
    let reader = case.begin();
    assert_eq!(rows(&reader, "old").unwrap(), 2);
    case.run(|tx| tx.drop_table("old"));
    case.churn();
    if case.is_snapshot() {
        assert_eq!(rows(&reader, "old").unwrap(), 2);
        assert_eq!(reader.get("old", b"b").unwrap().unwrap().len(), 20_000);
    } else {
        assert_eq!(rows(&reader, "old").unwrap_err().kind(), ErrorKind::NotFound);
    }
    drop(reader);
    case.churn_again();
    assert_eq!(case.tables(), named(&[]));
}

fn a_writer_to_a_dropped_table_conflicts(case: &Case) {
    let mut writer = case.begin();
    writer.put("old", b"c", b"3").unwrap();
    case.run(|tx| tx.drop_table("old"));
    assert_eq!(writer.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(case.tables(), named(&[]));
}

fn a_table_made_again_is_another(case: &Case) {
    let reader = case.begin();
    let mut writer = case.begin();
    writer.put("old", b"c", b"3").unwrap();
    case.run(|tx| {
        tx.drop_table("old")?;
        tx.create_table("old", case.options.clone())
    });
    case.churn();
    assert_eq!(rows(&reader, "old").unwrap(), if case.is_snapshot() { 2 } else { 0 });
    assert_eq!(writer.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(case.tables(), named(&[("old", 0)]));
}

fn rows_follow_a_rename(case: &Case) {
    let reader = case.begin();
    let mut writer = case.begin();
    writer.put("old", b"c", b"3").unwrap();
    case.run(|tx| tx.rename_table("old", "new"));
    case.churn();
    match case.is_snapshot() {
        true => assert_eq!(rows(&reader, "old").unwrap(), 2),
        false => assert_eq!(rows(&reader, "new").unwrap(), 2),
    }
    // Serializable may refuse: the name that was looked up has changed.
    let taken = match writer.commit() {
        Ok(_) => 1,
        Err(error) => {
            assert!(case.level == Serializable && error.is_retryable(), "{error}");
            0
        }
    };
    assert_eq!(case.tables(), named(&[("new", 2 + taken)]));
}

fn of_two_makers_one_wins(case: &Case) {
    let (mut a, mut b) = (case.begin(), case.begin());
    a.create_table("new", case.options.clone()).unwrap();
    a.put("new", b"from", b"a").unwrap();
    let made = b.create_table("new", TableOptions::default());
    let made = made.and_then(|()| b.put("new", b"from", b"b"));
    a.commit().unwrap();
    let second = made.and_then(|()| b.commit().map(drop));
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(case.tables(), named(&[("new", 1), ("old", 2)]));
}

fn of_two_droppers_one_wins(case: &Case) {
    let (mut a, mut b) = (case.begin(), case.begin());
    a.drop_table("old").unwrap();
    b.drop_table("old").unwrap();
    a.commit().unwrap();
    assert_eq!(b.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(case.tables(), named(&[]));
}

fn a_swap_of_names_is_one_step(case: &Case) {
    case.run(|tx| tx.create_table("other", case.options.clone()));
    let reader = case.begin();
    case.run(|tx| {
        tx.rename_table("old", "between")?;
        tx.rename_table("other", "old")?;
        tx.rename_table("between", "other")
    });
    case.churn();
    let seen = (rows(&reader, "old").unwrap(), rows(&reader, "other").unwrap());
    assert_eq!(seen, if case.is_snapshot() { (2, 0) } else { (0, 2) });
    assert_eq!(case.tables(), named(&[("old", 0), ("other", 2)]));
}

fn a_rolled_back_table_never_was(case: &Case) {
    let mut tx = case.begin();
    let savepoint = tx.savepoint();
    tx.create_table("new", case.options.clone()).unwrap();
    tx.put("new", b"x", b"y").unwrap();
    tx.drop_table("old").unwrap();
    tx.rollback_to(savepoint).unwrap();
    assert_eq!(tx.get("new", b"x").unwrap_err().kind(), ErrorKind::NotFound);
    tx.put("old", b"c", b"3").unwrap();
    tx.commit().unwrap();
    assert_eq!(case.tables(), named(&[("old", 3)]));
}

fn a_table_lives_and_dies_in_one_transaction(case: &Case) {
    case.run(|tx| {
        tx.create_table("new", case.options.clone())?;
        tx.put("new", b"x", b"y")?;
        tx.rename_table("new", "newer")?;
        tx.drop_table("newer")
    });
    case.churn();
    assert_eq!(case.tables(), named(&[("old", 2)]));
}

impl Case {
    /// As [`churn`](Self::churn), once more.
    fn churn_again(&self) {
        for round in 3..6u8 {
            self.run(|tx| tx.put("churn", &[round], &[round; 30_000]));
            self.kernel.checkpoint().unwrap();
        }
    }
}

#[test]
fn ddl_beside_open_transactions() {
    let scenarios: [fn(&Case); 9] = [
        a_snapshot_outlives_a_drop,
        a_writer_to_a_dropped_table_conflicts,
        a_table_made_again_is_another,
        rows_follow_a_rename,
        of_two_makers_one_wins,
        of_two_droppers_one_wins,
        a_swap_of_names_is_one_step,
        a_rolled_back_table_never_was,
        a_table_lives_and_dies_in_one_transaction,
    ];
    let mut cases = 0;
    for level in [ReadCommitted, RepeatableRead, SnapshotIsolation, Serializable] {
        // One table of each kind: the kernel's tree, with a codec, segments of a storage engine.
        for name in ["dogs", "bees", "alpha"] {
            for scenario in &scenarios {
                scenario(&Case::new(level, extensions::options_of(name)));
                cases += 1;
            }
        }
    }
    println!(
        "ddl: {cases} cases of tables changing beside open transactions, as the table says; no seed"
    );
}

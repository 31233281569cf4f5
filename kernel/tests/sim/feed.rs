//! A follower that knows the database only by its change feed, through crashes.
//!
//! Workloads run on a disk that loses power now and then; the log is archived. After commits and after
//! every opening the follower catches up: commits come one after the other without a gap, what it was told
//! of no crash takes back, and with everything applied it holds exactly what the database shows.

use crate::sim_disk::Disk;
use crate::sim_vfs::SimVfs;
use crate::workload::{self, Shape, State};
use crate::{parallel, replay, seed, size};
use fastrand::Rng;
use sochdb_kernel::{Kernel, KernelResult, KeyRange, Options, TableId, Timestamp};
use sochdb_operations::changes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A copy of the database, as of the commit `told`.
#[derive(Default)]
struct Follower {
    told: Timestamp,
    names: BTreeMap<String, TableId>,
    rows: BTreeMap<TableId, BTreeMap<Vec<u8>, Arc<[u8]>>>,
}

impl Follower {
    fn catch_up(&mut self, kernel: &Kernel) -> KernelResult<()> {
        for change in changes(kernel, self.told)? {
            let change = change?;
            assert_eq!(change.timestamp.0, self.told.0 + 1, "commits come without a gap");
            for table in change.tables {
                let Some(info) = table.table else {
                    self.names.remove(&table.name);
                    continue;
                };
                if 0 < info.rows_loaded && !self.rows.contains_key(&info.id) {
                    let rows = loaded_rows(kernel, &table.name)?;
                    self.rows.insert(info.id, rows);
                }
                self.rows.entry(info.id).or_default();
                self.names.insert(table.name, info.id);
            }
            for row in change.rows {
                let Some(rows) = self.rows.get_mut(&row.table) else { continue };
                match row.value {
                    Some(value) => rows.insert(row.key, Arc::from(&*value)),
                    None => rows.remove(&row.key),
                };
            }
            // Last: reading a loaded table may meet the power cut, and then all of this is done again.
            self.told = change.timestamp;
        }
        Ok(())
    }

    fn state(&self) -> State {
        let table = |(name, id): (&String, &TableId)| (name.clone(), self.rows[id].clone());
        self.names.iter().map(table).collect()
    }
}

/// Rows that were loaded are not in the feed. Read as they are now, they differ from what was loaded by
/// changes that the feed tells of later.
fn loaded_rows(kernel: &Kernel, table: &str) -> KernelResult<BTreeMap<Vec<u8>, Arc<[u8]>>> {
    let tx = kernel.begin_read()?;
    let rows = tx.scan(table, KeyRange::all())?;
    rows.map(|row| row.map(|(key, value)| (key, Arc::from(&*value)))).collect()
}

struct Tally {
    commits: u64,
    crashes: u64,
}

fn follow(seed: u64, shape: Shape) -> Tally {
    let mut rng = Rng::with_seed(seed);
    let txns = workload::generate(&mut rng, shape);
    let options = || Options { wal_archive: true, ..workload::small_options() };
    let mut follower = Follower::default();
    let mut vfs = SimVfs::new(Disk::default(), seed);
    let (mut next, mut crashes) = (0, 0);
    while next < txns.len() {
        let kernel = workload::open_with(&vfs, options()).expect("opens after a power cut");
        // What was told before the power went counts, though nothing can be compared with it then.
        let mut compare = |when: &str| {
            let read = follower.catch_up(&kernel).and_then(|()| workload::contents(&kernel));
            match read {
                Ok(found) => {
                    let difference = workload::difference(&follower.state(), &found);
                    assert_eq!(difference, None, "{when}, after commit {}", follower.told);
                    Some(found)
                }
                Err(_) if vfs.is_crashed() => None,
                Err(error) => panic!("{when}: {error}"),
            }
        };
        let found = compare("opened").expect("the power has not gone yet");
        next = workload::included(&found).len();
        if rng.bool() {
            vfs.set_crash_at(Some(vfs.calls() + rng.u64(10..150)));
        }
        while next < txns.len() && workload::execute(&kernel, &txns[next]).is_ok() {
            let after = txns[next].after;
            next += 1;
            if rng.bool() {
                compare("after a commit");
            }
            if after == workload::After::Checkpoint {
                let _ = kernel.checkpoint();
            }
            if matches!(after, workload::After::Close | workload::After::Drop) {
                break;
            }
        }
        compare("before the power cut");
        drop(kernel);
        crashes += 1;
        vfs = SimVfs::new(vfs.disk().crash_randomly(&mut rng), seed + crashes);
    }
    Tally { commits: follower.told.0, crashes }
}

#[test]
fn feed_tells_every_commit_once_through_crashes() {
    let seed = seed();
    let tallies = parallel(size(200, 10_000), |run| {
        let shape = Shape { txns: 30, big_values: run % 3 == 1, lazy: false, reopens: true };
        let followed = std::panic::catch_unwind(|| follow(seed + run, shape));
        followed.unwrap_or_else(|panic| {
            println!("{}", replay("feed", seed + run));
            std::panic::resume_unwind(panic)
        })
    });
    let commits: u64 = tallies.iter().map(|tally| tally.commits).sum();
    let crashes: u64 = tallies.iter().map(|tally| tally.crashes).sum();
    println!(
        "feed: {commits} commits told once each, in order, through {crashes} power cuts, and the follower \
         held what the database held; seed {seed}"
    );
}

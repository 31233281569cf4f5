//! The power goes at every write of a workload that flushes and merges: what was acknowledged is there.
//!
//! The workload runs once on a disk that records its calls. Then a second disk repeats them one by one, and
//! after each the power goes twice: of what was not synced all is lost, or a random part. Every image is opened
//! with the real engine; it has the rows of the last acknowledged commit, or of the one that was under way;
//! checking it finds nothing; and it takes another commit and another checkpoint.

use super::database::{TABLE, checkpoint, open};
use super::{KIT, Rows, changes, is_proof, read, schema, write};
use crate::sim_disk::{Call, Disk, Fate, Mark, random_fates};
use crate::sim_vfs::SimVfs;
use fastrand::Rng;
use sochdb::TableOptions;

/// Commits of the workload, each followed by a checkpoint: enough that segments are merged.
const COMMITS: usize = 7;
/// Calls after which the power goes, unless a proof is asked for: then all.
const POINTS_MAX: usize = 150;

/// What the disk was asked to do, with marks where commits began and returned.
fn recorded() -> Vec<Call> {
    let vfs = SimVfs::new(Disk::default(), 0);
    vfs.record();
    let db = open(&vfs).unwrap();
    let (storage, codec) = (Some("lscs".to_owned()), Some("lz4".to_owned()));
    let schema = Some(schema());
    db.create_table(TABLE, TableOptions { storage, codec, schema, ..TableOptions::default() })
        .unwrap();
    vfs.mark(Mark::Acked { txn: 0, durable: true });
    let mut bytes_merged = 0;
    for commit in 1..=COMMITS {
        vfs.mark(Mark::Started(commit));
        write(&db, &changes(commit)).unwrap();
        vfs.mark(Mark::Acked { txn: commit, durable: true });
        bytes_merged += checkpoint(&db).unwrap().bytes_merged;
    }
    assert!(0 < bytes_merged, "the workload merges segments");
    db.close().unwrap();
    vfs.take_trace()
}

/// The rows after each number of commits.
fn states() -> Vec<Rows> {
    let mut states = vec![Rows::new()];
    for commit in 1..=COMMITS + 1 {
        let mut rows = states[commit - 1].clone();
        for (key, value) in changes(commit) {
            match value {
                Some(value) => drop(rows.insert(key, value)),
                None => drop(rows.remove(&key)),
            }
        }
        states.push(rows);
    }
    states
}

fn check(image: Disk, acked: usize, states: &[Rows], goes_on: bool) -> Result<(), String> {
    let vfs = SimVfs::new(image, 0);
    let db = open(&vfs).map_err(|error| format!("it does not open: {error}"))?;
    let found = read(&db).map_err(|error| format!("a read: {error}"))?;
    let there = [acked, acked + 1].into_iter().find(|&commits| states[commits] == found);
    let there =
        there.ok_or_else(|| format!("{} rows are not those of {acked} commits", found.len()))?;
    let problems = db.check().map_err(|error| error.to_string())?.problems;
    if !problems.is_empty() {
        return Err(format!("a check finds {problems:?}"));
    }
    if goes_on && there <= COMMITS {
        write(&db, &changes(there + 1)).map_err(|error| format!("a commit: {error}"))?;
        checkpoint(&db).map_err(|error| error.to_string())?;
        let found = read(&db).map_err(|error| format!("a read: {error}"))?;
        if states[there + 1] != found {
            return Err("another commit and checkpoint spoil the rows".to_owned());
        }
    }
    db.close().map_err(|error| format!("it does not close: {error}"))
}

#[test]
fn no_power_cut_in_a_flush_or_merge_loses_an_acknowledged_row() {
    let (trace, states, mut rng) = (recorded(), states(), Rng::with_seed(KIT.seed));
    let points = trace.iter().filter(|call| !matches!(call, Call::Mark(_))).count();
    let every = if is_proof() { 1 } else { points.div_ceil(POINTS_MAX) };
    let random_count = if is_proof() { 20 } else { 1 };
    let (mut disk, mut acked, mut point, mut images) = (Disk::default(), None, 0, 0);
    for call in trace {
        disk.apply(&call);
        match call {
            Call::Mark(Mark::Acked { txn, .. }) => acked = Some(txn),
            Call::Mark(Mark::Started(_)) => {}
            _ => point += 1,
        }
        let Some(acked) = acked else { continue };
        if matches!(call, Call::Mark(_)) || !(point + rng.usize(..every)).is_multiple_of(every) {
            continue;
        }
        let count = disk.pending_count();
        let random = (0..random_count).map(|_| random_fates(count, &mut rng));
        let lost = vec![Fate::Lost; count];
        for fates in random.chain([lost]).collect::<Vec<_>>() {
            let why =
                format!("after call {point} of {points}; SOCHDB_SEED={} replays it", KIT.seed);
            check(disk.crash(&fates), acked, &states, rng.bool())
                .unwrap_or_else(|wrong| panic!("{wrong}: {why}"));
            images += 1;
        }
    }
    assert!(COMMITS < images, "{images} images");
    println!("{points} calls, {images} images of a crash, seed {}", KIT.seed);
}

//! The power goes at every write of a workload that makes an index, flushes and merges: what was acknowledged is
//! there, and is found.
//!
//! The workload runs once on a disk that records its calls. Then a second disk repeats them one by one, and after
//! each the power goes twice: of what was not synced all is lost, or a random part. Every image opens; its rows
//! are those of the last acknowledged commit, or of the one that was under way; each has its mark; searches find
//! what a look at every row finds, before and after another checkpoint.

use crate::rig::{DIM, Rig, TABLE, delete, put, schema};
use crate::sim_disk::{Call, Disk, Fate, Mark, random_fates};
use crate::sim_vfs::{ENOSPC, Fault, Lasts, SimVfs};
use crate::together::look;
use sochdb_index::{EFFORT_MAX, IndexState, VectorSearch, indexes_of, search, verify};
use sochdb_kernel::{Environment, KeyRange, TableOptions, Transaction};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rows of the table.
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

const COMMITS: usize = 8;
/// Before which commit the index is made.
const INDEXED: usize = 3;
const SEED: u64 = 11;
/// Calls after which the power goes, unless a proof is asked for: then all.
const POINTS_MAX: usize = 250;

fn environment(vfs: &SimVfs) -> Environment {
    Environment::with_vfs(Arc::new(vfs.clone()))
}

fn change(tx: &mut Transaction, commit: usize) -> sochdb_kernel::KernelResult<()> {
    let mut random = fastrand::Rng::with_seed(commit as u64);
    for _ in 0..40 {
        let id = random.i64(0..120);
        if random.u8(0..4) == 0 {
            delete(tx, id)?;
        } else {
            let vector: Vec<f32> = (0..DIM).map(|_| f32::from(random.i8(-3..=3))).collect();
            put(tx, id, None, (random.u8(0..9) != 0).then_some(&vector))?;
        }
    }
    Ok(())
}

fn rows(tx: &Transaction) -> Rows {
    let rows = tx.scan(TABLE, KeyRange::all()).unwrap();
    rows.map(|row| row.map(|(key, value)| (key, value.to_vec())).unwrap()).collect()
}

/// What the disk was asked to do, and the rows after each commit.
fn recorded() -> (Vec<Call>, Vec<Rows>) {
    let vfs = SimVfs::new(Disk::default(), 0);
    vfs.record();
    let rig = Rig::on(environment(&vfs));
    let options = TableOptions { schema: Some(schema()), ..TableOptions::default() };
    rig.kernel.create_table(TABLE, options).unwrap();
    vfs.mark(Mark::Acked { txn: 0, durable: true });
    let mut states = vec![BTreeMap::new()];
    for commit in 1..=COMMITS {
        if commit == INDEXED {
            rig.index(
                "vector",
                &[("using", "nearest"), ("flat_max", "20"), ("metric", "euclidean")],
            );
        }
        vfs.mark(Mark::Started(commit));
        rig.kernel.run(|tx| change(tx, commit)).unwrap();
        vfs.mark(Mark::Acked { txn: commit, durable: true });
        states.push(rows(&rig.kernel.begin_read().unwrap()));
        assert!(rig.kernel.checkpoint().unwrap().failed.is_empty());
    }
    rig.kernel.close().unwrap();
    (vfs.take_trace(), states)
}

/// Whether there is an index already.
fn check(image: Disk, acked: usize, states: &[Rows], seed: u64) -> bool {
    let mut random = fastrand::Rng::with_seed(seed);
    let vfs = SimVfs::new(image, 0);
    let rig = Rig::on(environment(&vfs));
    let mut indexed = false;
    for round in 0..3 {
        let tx = rig.kernel.begin_read().unwrap();
        let found = rows(&tx);
        let is_it = |commits: &usize| states.get(*commits) == Some(&found);
        assert!([acked, acked + 1].iter().any(is_it), "the rows are not those of {acked} commits");
        for (index, state) in indexes_of(Some(TABLE), &tx.tables().unwrap()).unwrap() {
            indexed = true;
            if state == IndexState::Ready {
                assert_eq!(verify(&tx, &index).unwrap().wrong, 0, "round {round}");
            }
            for _ in 0..3 {
                let query = (0..DIM).map(|_| f32::from(random.i8(-3..=3))).collect();
                let wanted = VectorSearch::new(query, 9).effort(EFFORT_MAX);
                let found = search(&rig.engine, &tx, &index, &wanted).unwrap();
                assert_eq!(found, look(&tx, &wanted).unwrap(), "round {round}, {state:?}");
            }
            if round == 1 && state == IndexState::Building {
                // Whoever opens the database goes on.
                let done = sochdb_index::backfill_step(&rig.kernel, &index, None).unwrap();
                assert_eq!(done.next, None);
                sochdb_index::finish(&rig.kernel, &index).unwrap();
            }
        }
        drop(tx);
        assert!(rig.kernel.checkpoint().unwrap().failed.is_empty());
    }
    rig.kernel.close().unwrap();
    indexed
}

#[test]
fn no_power_cut_loses_a_row_or_its_place_in_the_index() {
    let (trace, states) = recorded();
    let mut random = fastrand::Rng::with_seed(SEED);
    let points = trace.iter().filter(|call| !matches!(call, Call::Mark(_))).count();
    let is_proof = std::env::var("SOCHDB_PROOF").is_ok_and(|proof| proof == "release");
    let every = if is_proof { 1 } else { points.div_ceil(POINTS_MAX) };
    let (mut disk, mut acked, mut point) = (Disk::default(), None, 0);
    let (mut images, mut indexed) = (0, 0);
    for call in trace {
        disk.apply(&call);
        match call {
            Call::Mark(Mark::Acked { txn, .. }) => acked = Some(txn),
            Call::Mark(Mark::Started(_)) => {}
            _ => point += 1,
        }
        let Some(acked) = acked else { continue };
        if matches!(call, Call::Mark(_)) || !(point + random.usize(..every)).is_multiple_of(every) {
            continue;
        }
        let count = disk.pending_count();
        for fates in [random_fates(count, &mut random), vec![Fate::Lost; count]] {
            indexed += u64::from(check(disk.crash(&fates), acked, &states, random.u64(..)));
            images += 1;
        }
    }
    assert!(0 < indexed && indexed < images, "{indexed} of {images} images have an index");
    println!("{points} calls, {images} images of a crash, {indexed} with an index, seed {SEED}");
}

/// Whether there is an index, whose searches find what the rows say.
fn agrees(rig: &Rig, random: &mut fastrand::Rng) -> bool {
    let tx = rig.kernel.begin_read().unwrap();
    let indexes = indexes_of(Some(TABLE), &tx.tables().unwrap()).unwrap();
    for (index, state) in &indexes {
        if *state == IndexState::Ready {
            assert_eq!(verify(&tx, index).unwrap().wrong, 0);
        }
        for _ in 0..3 {
            let query = (0..DIM).map(|_| f32::from(random.i8(-3..=3))).collect();
            let wanted = VectorSearch::new(query, 9).effort(EFFORT_MAX);
            let found = search(&rig.engine, &tx, index, &wanted).unwrap();
            assert_eq!(found, look(&tx, &wanted).unwrap(), "{state:?}");
        }
    }
    !indexes.is_empty()
}

/// Does what it can of the workload; whether nothing of it failed.
fn attempt(rig: &Rig) -> bool {
    let options = TableOptions { schema: Some(schema()), ..TableOptions::default() };
    let mut well = rig.kernel.create_table(TABLE, options).is_ok();
    for commit in 1..=COMMITS {
        if commit == INDEXED {
            let settings = [("using", "nearest"), ("flat_max", "20"), ("metric", "euclidean")];
            let index = rig.define("vector", &settings).unwrap();
            well &= rig.kernel.run(|tx| sochdb_index::create(tx, &index)).is_ok()
                && sochdb_index::backfill_step(&rig.kernel, &index, None).is_ok()
                && sochdb_index::finish(&rig.kernel, &index).is_ok();
        }
        well &= rig.kernel.run(|tx| change(tx, commit)).is_ok();
        well &= rig.kernel.checkpoint().is_ok_and(|report| report.failed.is_empty());
    }
    well
}

#[test]
fn a_disk_that_is_full_at_any_moment_leaves_rows_and_index_agreed() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let (mut at, mut indexed, mut failed) = (0, 0, 0);
    loop {
        at += 1;
        let vfs = SimVfs::new(Disk::default(), at);
        let kernel_opens = || Rig::on(environment(&vfs));
        let rig = kernel_opens();
        let full = Fault {
            at: vfs.allocations() + at,
            allocating: true,
            lasts: Lasts::All,
            errno: ENOSPC,
        };
        vfs.set_fault(Some(full));
        let well = attempt(&rig);
        vfs.set_fault(None);
        if well {
            break;
        }
        failed += 1;
        // There is room again: first as it is, then opened anew.
        if rig.kernel.begin_read().unwrap().table(TABLE).is_ok() {
            indexed += u64::from(agrees(&rig, &mut random));
        }
        drop(rig.kernel.close());
        vfs.restart();
        let rig = kernel_opens();
        if rig.kernel.begin_read().unwrap().table(TABLE).is_ok() {
            agrees(&rig, &mut random);
            rig.kernel.run(|tx| change(tx, 99)).unwrap();
            assert!(rig.kernel.checkpoint().unwrap().failed.is_empty());
            agrees(&rig, &mut random);
        }
        rig.kernel.close().unwrap();
    }
    assert!(0 < indexed && 5 < failed, "{failed} full disks, {indexed} with an index");
    println!("{failed} full disks, {indexed} of them with an index");
}

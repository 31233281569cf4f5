//! Every crash point: recorded workloads cut after every call that changes the disk.
//!
//! A workload runs once; its calls are recorded with marks where commits begin and return. Then a
//! second disk repeats the calls one by one, and after each the power goes: with few unsynced
//! operations every subset of them survives, with many a sample, and single writes tear. Subsets that
//! were seen at an earlier call are drawn again only where a commit was acknowledged since, which asks
//! more of them. Each image is opened. What was acknowledged is there; the commit in flight is wholly there or wholly gone;
//! `check()` finds nothing; a new commit is taken and survives the next power cut. For a part of the
//! images the power goes a second time, during recovery. And at every point the process alone dies: the
//! database opens from what the operating system still has in memory, shows it, and what it has shown
//! survives a power cut right after.

use crate::sim_disk::{Call, Disk, Fate, Mark, random_fates};
use crate::sim_vfs::SimVfs;
use crate::workload::{self, Shape, State};
use crate::{either, is_release_proof, parallel, replay, seed, size};
use fastrand::Rng;
use sochdb_kernel::Kernel;

/// Above this many unsynced operations their subsets are sampled.
fn exhaustive_max() -> usize {
    if is_release_proof() { 10 } else { 6 }
}

#[derive(Default)]
struct Tally {
    images: u64,
    in_recovery: u64,
    restarts: u64,
    points: u64,
}

/// What the images after a call have to show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// More of every image: a commit was acknowledged.
    More,
    /// The same of those with the newest operation in it, whose place this is.
    Newest(usize),
    /// Nothing new: what was pending became durable, and every subset with it in was seen.
    Nothing,
}

/// The ways in which the last operations may survive, without those already seen.
fn choices(count: usize, asks: Asks, rng: &mut Rng) -> Vec<Vec<Fate>> {
    let mut all = Vec::new();
    if count <= exhaustive_max() {
        if asks == Asks::Nothing {
            return all;
        }
        let newest = if let Asks::Newest(newest) = asks { Some(newest) } else { None };
        for bits in 0..1u32 << count {
            let kept = |i: usize| bits & (1 << i) != 0;
            if newest.is_none_or(kept) {
                let fate = |i| if kept(i) { Fate::Kept } else { Fate::Lost };
                all.push((0..count).map(fate).collect::<Vec<_>>());
            }
        }
    } else {
        all.extend((0..either(16, 200)).map(|_| random_fates(count, rng)));
    }
    for _ in 0..if count == 0 { 0 } else { either(3, 20) } {
        let mut fates: Vec<Fate> = random_fates(count, rng);
        let torn = if let Asks::Newest(newest) = asks { newest } else { rng.usize(0..count) };
        fates[torn] = Fate::Torn(rng.u64(..));
        all.push(fates);
    }
    all
}

/// The power goes `during` the opening of `image`: anywhere, any part kept; then it opens for good.
fn crash_in_recovery(image: &Disk, rng: &mut Rng) -> Option<Disk> {
    let vfs = SimVfs::new(image.clone(), rng.u64(..));
    vfs.record();
    drop(workload::open(&vfs));
    let calls: Vec<Call> = vfs.take_trace();
    if calls.is_empty() {
        return None;
    }
    let mut disk = image.clone();
    calls[..=rng.usize(0..calls.len())].iter().for_each(|call| disk.apply(call));
    Some(disk.crash_randomly(rng))
}

/// Opens `image` and judges it; `deep` adds a commit and a second power cut.
fn judge(
    image: &Disk,
    states: &[State],
    least: usize,
    most: usize,
    deep: bool,
) -> Result<(), String> {
    let vfs = SimVfs::new(image.clone(), 0);
    let kernel = workload::open(&vfs).map_err(|error| format!("does not open: {error}"))?;
    let count = workload::judge_prefix(&kernel, states, least, most)?;
    if !deep {
        return Ok(());
    }
    workload::commit_probe(&kernel).map_err(|error| format!("takes no new commit: {error}"))?;
    let cut = vfs.disk();
    drop(kernel);
    let cut = cut.crash(&vec![Fate::Lost; cut.pending_count()]);
    let kernel = workload::open(&SimVfs::new(cut, 0))
        .map_err(|error| format!("does not open after the second power cut: {error}"))?;
    let mut found =
        workload::contents(&kernel).map_err(|error| format!("second reading: {error}"))?;
    if !workload::take_probe(&mut found) {
        return Err("the commit after recovery was lost".to_owned());
    }
    match workload::difference(&found, &states[count]) {
        Some(difference) => Err(format!("after the second power cut: {difference}")),
        None => workload::check(&kernel),
    }
}

fn every_cut(seed: u64, shape: Shape) -> Tally {
    let mut tally = Tally::default();
    let mut rng = Rng::with_seed(seed);
    let txns = workload::generate(&mut rng, shape);
    let states = workload::states(&txns);
    let vfs = SimVfs::new(Disk::default(), seed);
    vfs.record();
    let kernel = workload::run(&vfs, &txns);
    kernel.close().expect("a healthy disk closes");
    let calls = vfs.take_trace();

    let mut disk = Disk::default();
    let (mut started, mut acked, mut durable) = (0, 0, 0);
    for (point, call) in calls.iter().enumerate() {
        disk.apply(call);
        match call {
            Call::Mark(Mark::Started(txn)) => started = txn + 1,
            Call::Mark(Mark::Acked { txn, durable: promised }) => {
                acked = txn + 1;
                durable = if *promised { acked } else { durable };
            }
            _ => {}
        }
        if matches!(call, Call::Mark(Mark::Started(_) | Mark::Acked { durable: false, .. })) {
            continue;
        }
        let asks = match disk.newest_pending(call) {
            Some(newest) => Asks::Newest(newest),
            None if matches!(call, Call::Mark(_)) => Asks::More,
            None => Asks::Nothing,
        };
        tally.points += 1;
        if asks != Asks::Nothing {
            tally.restarts += 1;
            if let Err(problem) = judge(&disk.restart(), &states, acked, started, true) {
                panic!(
                    "seed {seed}, {shape:?}, call {point} of {}, the process died there: {problem}\n{}",
                    calls.len(),
                    replay("crash_points", crate::seed())
                );
            }
        }
        let count = disk.pending_count();
        for fates in choices(count, asks, &mut rng) {
            let image = disk.crash(&fates);
            tally.images += 1;
            let deep = tally.images.is_multiple_of(either(8, 1));
            let verdict = judge(&image, &states, durable, started, deep);
            if let Err(problem) = verdict {
                panic!(
                    "seed {seed}, {shape:?}, call {point} of {}, kept {fates:?}: {problem}\n{}",
                    calls.len(),
                    replay("crash_points", crate::seed())
                );
            }
            if !tally.images.is_multiple_of(either(6, 2)) {
                continue;
            }
            let Some(image) = crash_in_recovery(&image, &mut rng) else { continue };
            tally.images += 1;
            tally.in_recovery += 1;
            if let Err(problem) = judge(&image, &states, durable, started, false) {
                panic!(
                    "seed {seed}, {shape:?}, call {point}, kept {fates:?}, \
                     crashed again in recovery: {problem}\n{}",
                    replay("crash_points", crate::seed())
                );
            }
        }
    }
    tally
}

#[test]
fn crash_points_keep_every_acknowledged_commit() {
    let seed = seed();
    let runs = size(240, 1300);
    let tallies = parallel(runs, |run| {
        let shape =
            Shape { txns: 24, big_values: run % 3 == 1, lazy: run % 3 == 2, reopens: run % 2 == 1 };
        every_cut(seed + run, shape)
    });
    let sum = |part: fn(&Tally) -> u64| tallies.iter().map(part).sum::<u64>();
    let (images, in_recovery) = (sum(|tally| tally.images), sum(|tally| tally.in_recovery));
    let (restarts, points) = (sum(|tally| tally.restarts), sum(|tally| tally.points));
    println!(
        "crash points: {images} images of {points} points in {runs} workloads, \
         {in_recovery} of them cut again in recovery, {restarts} restarts of the process before the cut, \
         none wrong; seed {seed}"
    );
}

/// The log's first segment is empty, too small for the frame, and followed by one of the same start.
#[test]
fn crash_points_after_a_first_commit_larger_than_a_log_segment() {
    let vfs = SimVfs::new(Disk::default(), 0);
    let kernel = workload::open(&vfs).expect("a healthy disk opens");
    let mut tx = kernel.begin().unwrap();
    tx.create_table("t", Default::default()).unwrap();
    tx.put("t", b"huge", &vec![7; 200_000]).unwrap();
    tx.commit().unwrap();
    kernel.checkpoint().unwrap();
    for number in 0..20u8 {
        let mut tx = kernel.begin().unwrap();
        tx.put("t", &[number], &[number; 3000]).unwrap();
        tx.commit().unwrap();
        let cut = vfs.disk();
        let cut = SimVfs::new(cut.crash(&vec![Fate::Lost; cut.pending_count()]), 0);
        let again = workload::open(&cut).expect("opens after a power cut");
        let rows = again.begin_read().unwrap().scan("t", ..).unwrap().count();
        assert_eq!(rows, 2 + usize::from(number), "rows after commit {number} and a power cut");
    }
}

/// A power cut at any moment of many lives: what is no longer needed goes at the latest with the next
/// checkpoints, so that neither log files nor pages pile up over the years.
#[test]
fn crash_points_leave_no_files_behind() {
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let mut disk = Disk::default();
    let lives = size(200, 10_000);
    let (mut most_files, mut most_bytes) = (0, 0);
    for life in 0..lives {
        let vfs = SimVfs::new(disk, life);
        let kernel = workload::open(&vfs).expect("opens after a power cut");
        if life == 0 {
            kernel.create_table("t", Default::default()).unwrap();
        }
        vfs.set_crash_at(Some(vfs.calls() + rng.u64(20..400)));
        while !vfs.is_crashed() {
            let mut commit = || {
                let mut tx = kernel.begin()?;
                for _ in 0..4 {
                    let value = workload::bytes(&mut rng, 2000);
                    tx.put("t", &[rng.u8(0..40)], &value)?;
                }
                tx.commit().map(drop)
            };
            let _ = commit();
            if rng.u8(0..20) == 0 {
                let _ = kernel.checkpoint();
            }
        }
        drop(kernel);
        disk = vfs.disk().crash_randomly(&mut rng);
        let vfs = SimVfs::new(disk.clone(), life);
        let kernel = workload::open(&vfs).expect("opens after a power cut");
        for _ in 0..2 {
            commit_some(&kernel, &mut rng);
            kernel.checkpoint().unwrap();
        }
        workload::check(&kernel)
            .unwrap_or_else(|problem| panic!("life {life} of seed {seed}: {problem}"));
        most_files = most_files.max(vfs.disk().names().len());
        most_bytes = most_bytes.max(vfs.disk().bytes());
        let names = vfs.disk().names();
        assert!(
            names.len() < 12,
            "life {life}: {names:?} pile up\n{}",
            replay("crash_points_leave", seed)
        );
        // 40 rows of 2 KB: some versions of all of them, and the log's files, and not more with every life.
        assert!(vfs.disk().bytes() < 1 << 20, "life {life}: {} bytes", vfs.disk().bytes());
    }
    println!(
        "crash points: {lives} lives ended by a power cut, never more than {most_files} files and \
         {most_bytes} bytes after two checkpoints; seed {seed}"
    );
}

fn commit_some(kernel: &Kernel, rng: &mut Rng) {
    let mut tx = kernel.begin().unwrap();
    tx.put("t", &[rng.u8(0..40)], &workload::bytes(rng, 2000)).unwrap();
    tx.commit().unwrap();
}

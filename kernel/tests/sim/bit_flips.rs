//! Every flipped bit of a small database: detected or harmless.
//!
//! The database holds a few tables with small and overflowing rows, checkpointed, and a log of commits
//! after that. For each bit a copy of the disk has that bit turned over. Opening or reading it either
//! fails with `Corrupt` or `Invalid`, or shows exactly the right rows. One thing is allowed besides,
//! because no reader can tell it from a torn tail: a flip in the log may cut off the last commit.
//!
//! A small database has every bit flipped in turn. Larger ones have so in the long form; the short form
//! flips every bit around the bytes of the meta pages that are not zero, a sample of the bits of log and
//! pages, and few in long runs of zeroes. A third database
//! has lived long enough that the older meta page refers to pages and log that are gone; only its meta
//! pages are touched: falling back must be noticed where it would show the past.

use crate::sim_disk::{Content, Disk};
use crate::sim_vfs::SimVfs;
use crate::workload::{self, After, Shape, State, Step};
use crate::{either, is_release_proof, parallel, replay, seed};
use fastrand::Rng;
use sochdb_kernel::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};

const META_BYTES: usize = 2 * 4096;

#[derive(Default)]
struct Tally {
    flips: u64,
    detected: u64,
    harmless: u64,
    cut: u64,
    found_by_check_only: u64,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.flips += other.flips;
        self.detected += other.detected;
        self.harmless += other.harmless;
        self.cut += other.cut;
        self.found_by_check_only += other.found_by_check_only;
    }
}

/// What became of one flipped bit.
enum Outcome {
    Detected,
    Harmless { check_knows: bool },
    LastCommitCut,
}

fn judge(disk: Disk, states: &[State], is_log: bool) -> Result<Outcome, String> {
    let vfs = SimVfs::new(disk, 0);
    let typed = |error: sochdb_kernel::KernelError| match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Invalid => Ok(Outcome::Detected),
        other => Err(format!("{other:?} does not say that bytes are wrong: {error}")),
    };
    let kernel = match workload::open(&vfs) {
        Ok(kernel) => kernel,
        Err(error) => return typed(error),
    };
    let found = match workload::contents(&kernel) {
        Ok(found) => found,
        Err(error) => return typed(error),
    };
    let last = states.len() - 1;
    if let Some(difference) = workload::difference(&found, &states[last]) {
        if is_log && workload::difference(&found, &states[last - 1]).is_none() {
            return Ok(Outcome::LastCommitCut);
        }
        return Err(format!("wrong rows: {difference}"));
    }
    let check_knows =
        sochdb_operations::check(&kernel).map_or(true, |report| !report.problems.is_empty());
    Ok(Outcome::Harmless { check_knows })
}

/// Which bits of a database to flip in the short form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sample {
    /// Data file and log, both in use.
    All,
    /// As `All`, with few of the log: a closed database does not need it.
    Closed,
    /// Only the two meta pages.
    Meta,
}

/// The bits of a file worth flipping in the short form, or all of them.
fn bits(name: &str, content: &Content, sample: Sample, rng: &mut Rng) -> Vec<usize> {
    let is_log = name.ends_with(".wal");
    let end = if sample == Sample::Meta { META_BYTES.min(content.len()) } else { content.len() };
    if sample == Sample::Meta && is_log {
        return Vec::new();
    }
    if is_release_proof() {
        return (0..end * 8).collect();
    }
    let near_data = |byte: usize| {
        let near = byte.saturating_sub(8)..(byte + 9).min(content.len());
        near.into_iter().any(|at| content.byte(at) != 0)
    };
    let mut bits = Vec::new();
    for byte in 0..end {
        let one_in = match (near_data(byte), is_log) {
            (false, _) => 800,
            (true, true) if sample == Sample::Closed => 50,
            (true, true) => 4,
            (true, false) if byte < META_BYTES => {
                if sample == Sample::Meta {
                    4
                } else {
                    2
                }
            }
            (true, false) => 2,
        };
        if rng.u16(0..one_in) == 0 {
            match byte < META_BYTES && !is_log {
                true => bits.extend((0..8).map(|bit| byte * 8 + bit)),
                false => bits.extend((0..2).map(|_| byte * 8 + rng.usize(0..8))),
            }
        }
    }
    bits
}

/// Turns one bit over, on a copy, and judges what becomes of the database.
fn flip(disk: &Disk, name: &str, bit: usize, states: &[State], tally: &mut Tally, test: &str) {
    let mut flipped = disk.clone();
    flipped.rot(name, |content| content.flip(bit));
    tally.flips += 1;
    let judged = AssertUnwindSafe(|| judge(flipped, states, name.ends_with(".wal")));
    let verdict = catch_unwind(judged).unwrap_or_else(|_| Err("panicked".to_owned()));
    match verdict {
        Ok(Outcome::Detected) => tally.detected += 1,
        Ok(Outcome::Harmless { check_knows }) => {
            tally.harmless += 1;
            tally.found_by_check_only += u64::from(check_knows);
        }
        Ok(Outcome::LastCommitCut) => tally.cut += 1,
        Err(problem) => panic!(
            "{name}, bit {} of byte {}: {problem}\n{}",
            bit % 8,
            bit / 8,
            replay(test, seed())
        ),
    }
}

fn flip_all(disk: &Disk, states: &[State], sample: Sample, rng: &mut Rng, tally: &mut Tally) {
    for name in disk.names() {
        for bit in bits(&name, disk.content(&name), sample, rng) {
            flip(disk, &name, bit, states, tally, "bit_flips");
        }
    }
}

#[test]
fn every_bit_of_a_small_database_is_flipped_in_turn() {
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let shape = Shape { txns: 6, big_values: false, lazy: false, reopens: false };
    let mut txns = workload::generate(&mut rng, shape);
    txns.iter_mut().for_each(|txn| txn.after = After::Nothing);
    txns[2].after = After::Checkpoint;
    let disk = workload::disk_after(&txns, seed);
    let states = workload::states(&txns);
    let mut tally = Tally::default();
    for name in disk.names() {
        let bytes = disk.content(&name).len() as u64;
        let tallies = parallel(bytes, |byte| {
            let mut tally = Tally::default();
            for bit in 0..8 {
                let bit = byte as usize * 8 + bit;
                flip(&disk, &name, bit, &states, &mut tally, "every_bit");
            }
            tally
        });
        tallies.into_iter().for_each(|part| tally.add(&part));
    }
    let Tally { flips, detected, harmless, cut, .. } = tally;
    assert_eq!(flips, 8 * disk.bytes() as u64, "each bit of data file and log");
    println!(
        "every bit: {flips} bits flipped in turn, {detected} detected, {harmless} harmless, {cut} cut \
         the log's last commit, none wrong; seed {seed}"
    );
}

#[test]
fn bit_flips_are_detected_or_harmless() {
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let mut tally = Tally::default();
    let mut bytes = 0;
    for sample in [Sample::All, Sample::Closed, Sample::Meta] {
        // The last one lives long enough to have overwritten what the older meta page refers to.
        let long = sample == Sample::Meta;
        let shape = Shape {
            txns: if long { 80 } else { 16 },
            big_values: false,
            lazy: false,
            reopens: long,
        };
        let mut txns = workload::generate(&mut rng, shape);
        if !long {
            let overflow = workload::bytes(&mut rng, either(9_000, 60_000) as usize);
            txns[0].steps.push(Step::Put("alpha".to_owned(), b"big".to_vec(), overflow.clone()));
            txns[0].steps.push(Step::Put("beta".to_owned(), b"big".to_vec(), overflow));
            txns.iter_mut().for_each(|txn| txn.after = After::Nothing);
            txns[9].after = After::Checkpoint;
        }
        if sample != Sample::All {
            txns.last_mut().expect("not empty").after = After::Close;
        }
        let disk = workload::disk_after(&txns, seed);
        bytes += disk.bytes();
        flip_all(&disk, &workload::states(&txns), sample, &mut rng, &mut tally);
    }
    let Tally { flips, detected, harmless, cut, found_by_check_only } = tally;
    println!(
        "bit flips: {flips} bits of {bytes} bytes, {detected} detected, {harmless} harmless \
         ({found_by_check_only} of them known to check), {cut} cut the log's last commit, none wrong; \
         seed {seed}"
    );
}

//! Power cuts below ext4: every acknowledged commit survives them, every other one is whole or gone.
//!
//! A child process opens the database on the mount, says what it holds, and commits from several threads;
//! a line on a pipe says what was acknowledged. At a random write or flush the disk loses power and keeps
//! any part of what was not flushed, torn at 512 bytes. The next round mounts what is left (ext4 replays
//! its journal), opens the database, and goes on from there, so later rounds recover from what earlier ones
//! left. Some cuts come while ext4 or the database recovers. Nothing that was shown may be gone later.
//!
//! The disk refuses everything once the power is gone, so an acknowledgement can never rest on a flush
//! behind the cut, however late it is said. The file system's own promises are varied: `data=ordered`,
//! `data=writeback`, `data=journal`.
//!
//! | table           | key                    | value                                               |
//! |-----------------|------------------------|-----------------------------------------------------|
//! | `left`, `right` | round, thread, number  | bytes that follow from the key                      |
//! | `last`          | round, thread          | the greatest number: rows from 200 below it on exist |

use crate::block_device::BlockDevice;
use crate::mounts::{Loop, Mounted, refusal, run, wait};
use crate::{seed, size, skip};
use fastrand::Rng;
use sochdb_kernel::{Environment, Kernel, KernelResult, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

const DIR: &str = "SOCHDB_POWER_CUT_DIR";
const ROUND: &str = "SOCHDB_POWER_CUT_ROUND";
const THREADS: &str = "SOCHDB_POWER_CUT_THREADS";
/// The disk: room for everything a life of [`LIFE_ROUNDS`] leaves, with ext4's journal of 4 MB.
const DISK_BYTES: u64 = 48 << 20;
/// After so many cuts a new file system and a new database begin.
const LIFE_ROUNDS: u64 = 10;
/// Rows that a thread keeps; older ones it deletes.
const ROWS_KEPT: u64 = 200;
/// A round takes a fraction of a second; what takes this long will not end.
const ROUND_TIME_MAX: Duration = Duration::from_secs(60);

/// Round and thread of a writer.
type Writer = (u64, u64);

fn options() -> Options {
    Options {
        memtable_bytes_max: 256 << 10,
        cache_bytes_max: 1 << 20,
        wal_segment_bytes: 128 << 10,
        ..Options::default()
    }
}

fn key((round, thread): Writer, number: u64) -> Vec<u8> {
    [round, thread, number].map(u64::to_be_bytes).concat()
}

fn parts(key: &[u8]) -> (Writer, u64) {
    let part = |at: usize| u64::from_be_bytes(key[at..at + 8].try_into().expect("eight bytes"));
    ((part(0), part(8)), part(16))
}

fn value(key: &[u8]) -> Vec<u8> {
    let (writer, number) = parts(key);
    let mut rng = Rng::with_seed(writer.0 ^ (writer.1 << 20) ^ (number << 30));
    let len = match number % 64 {
        63 => rng.usize(10_000..40_000),
        n if n % 8 == 7 => rng.usize(500..6000),
        _ => rng.usize(0..200),
    };
    let mut value = vec![0; len];
    rng.fill(&mut value);
    value
}

/// One line on the pipe in one write, past the test harness's capture.
fn say(text: &str) {
    let line = format!("SAYS {text}\n");
    // The reader is gone only when the test is over.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
    let _ = std::io::stdout().lock().flush();
}

/// Everything the database holds, after comparing it with what it may hold.
fn holds(kernel: &Kernel) -> KernelResult<BTreeMap<Writer, u64>> {
    let tx = kernel.begin_read()?;
    let mut last = BTreeMap::new();
    let mut expected = BTreeSet::new();
    for row in tx.scan("last", ..)? {
        let (writer, number) = row?;
        let (writer, _) = parts(&[&writer, &[0; 8][..]].concat());
        let number = u64::from_be_bytes((*number).try_into().expect("eight bytes"));
        last.insert(writer, number);
        let first = (number + 1).saturating_sub(ROWS_KEPT);
        expected.extend((first..=number).map(|number| key(writer, number)));
    }
    for table in ["left", "right"] {
        let mut found = BTreeSet::new();
        for row in tx.scan(table, ..)? {
            let (key, bytes) = row?;
            assert!(*bytes == *value(&key), "{table}: {:?} has another value", parts(&key));
            found.insert(key);
        }
        let wrong: Vec<_> = found.symmetric_difference(&expected).take(3).collect();
        let wrong: Vec<_> = wrong.iter().map(|key| (parts(key), found.contains(*key))).collect();
        assert!(wrong.is_empty(), "{table}: half a commit (row, is there): {wrong:?}");
    }
    Ok(last)
}

fn commit(kernel: &Kernel, writer: Writer, number: u64) -> KernelResult<()> {
    let mut tx = kernel.begin()?;
    let new = key(writer, number);
    for table in ["left", "right"] {
        tx.put(table, &new, &value(&new))?;
        if let Some(old) = number.checked_sub(ROWS_KEPT) {
            tx.delete(table, &key(writer, old))?;
        }
    }
    tx.put("last", &new[..16], &number.to_be_bytes())?;
    tx.commit().map(drop)
}

fn open(dir: &Path) -> KernelResult<Kernel> {
    let kernel = Kernel::open(Environment::disk(dir), options())?;
    kernel.run(|tx| {
        for table in ["left", "right", "last"] {
            if !tx.tables()?.iter().any(|found| found.name == table) {
                tx.create_table(table, Default::default())?;
            }
        }
        Ok(())
    })?;
    Ok(kernel)
}

/// Not a test of its own: what the child process runs until the power goes. Errors are said, and the test
/// decides whether there was a reason for them.
#[test]
fn power_cut_child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let number = |name| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (round, threads) = (number(ROUND), number(THREADS));
    let opened = open(Path::new(&dir)).and_then(|kernel| {
        let last = holds(&kernel)?;
        let problems = sochdb_operations::check(&kernel)?.problems;
        assert!(problems.is_empty(), "{problems:?}");
        Ok((kernel, last))
    });
    let (kernel, last) = match opened {
        Ok(opened) => opened,
        Err(error) => return say(&format!("error {error}")),
    };
    for ((round, thread), number) in last {
        say(&format!("holds {round} {thread} {number}"));
    }
    say("ready");
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let kernel = &kernel;
            scope.spawn(move || {
                for number in 0u64.. {
                    match commit(kernel, (round, thread), number) {
                        Ok(()) => say(&format!("acked {round} {thread} {number}")),
                        Err(error) => return say(&format!("error {error}")),
                    }
                }
            });
        }
    });
}

/// What a child said.
#[derive(Default)]
struct Said {
    holds: BTreeMap<Writer, u64>,
    acked: BTreeMap<Writer, u64>,
    acks: u64,
    ready: bool,
    errors: Vec<String>,
    rest: String,
}

fn understand(said: &str) -> Said {
    let mut all = Said::default();
    // Only whole lines count.
    for line in said[..said.rfind('\n').map_or(0, |end| end + 1)].lines() {
        let Some((_, line)) = line.split_once("SAYS ") else {
            all.rest.push_str(line);
            all.rest.push('\n');
            continue;
        };
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = |at| rest.split(' ').nth(at).unwrap().parse::<u64>().unwrap();
        match what {
            "ready" => all.ready = true,
            "error" => all.errors.push(rest.to_owned()),
            "holds" => drop(all.holds.insert((number(0), number(1)), number(2))),
            _ => {
                all.acks += 1;
                all.acked.insert((number(0), number(1)), number(2));
            }
        }
    }
    all
}

/// The moments at which a round may arm the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Before the file system is mounted.
    Mounting,
    /// When the database is open and the writers begin.
    Writing,
}

/// Where things are.
struct Place<'a> {
    fuse: &'a Path,
    mount: &'a Path,
    options: &'a str,
}

/// Mounts the disk, lets a child work on it until it ends, and takes everything down again. `at` may arm
/// the disk.
fn round(
    device: &BlockDevice,
    place: &Place<'_>,
    number: u64,
    threads: u64,
    at: impl Fn(Moment),
) -> Result<Said, String> {
    let served = device.serve(place.fuse)?;
    let looped = Loop::new(&served.file)?;
    at(Moment::Mounting);
    let mounted = match Mounted::new("ext4", place.options, &looped.device, place.mount) {
        Ok(mounted) => mounted,
        Err(_) if device.is_cut() => return Ok(Said::default()),
        Err(error) => return Err(error),
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["power_cut::power_cut_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, mounted.dir.join("db"))
        .env(ROUND, number.to_string())
        .env(THREADS, threads.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("run the child: {error}"))?;
    let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (ready, is_ready) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || {
        let (mut said, mut lines) = (String::new(), BufReader::new(stdout));
        while let Ok(1..) = lines.read_line(&mut said) {
            if said.ends_with("SAYS ready\n") {
                let _ = ready.send(());
            }
        }
        said
    });
    let complaints = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    if is_ready.recv_timeout(ROUND_TIME_MAX).is_ok() {
        at(Moment::Writing);
    }
    let status = wait(&mut child, ROUND_TIME_MAX).map_err(|error| {
        let (writes, flushes) = device.counts();
        format!("the child: {error}; {writes} writes and {flushes} flushes came")
    })?;
    let said = understand(&listener.join().expect("reading never panics"));
    match status.success() {
        true => Ok(said),
        false => {
            let complaints = complaints.join().expect("reading never panics");
            Err(format!("the child: {}{complaints}", said.rest))
        }
    }
}

/// What is known of one database.
#[derive(Default)]
struct Known {
    /// What it showed after its writer's round was over: it can never change again.
    shown: BTreeMap<Writer, u64>,
    /// The newest acknowledged number of each writer.
    acked: BTreeMap<Writer, u64>,
}

impl Known {
    fn compare(&mut self, holds: &BTreeMap<Writer, u64>) -> Result<(), String> {
        for (writer, number) in &self.shown {
            if holds.get(writer) != Some(number) {
                let now = holds.get(writer);
                return Err(format!("{writer:?} had come to {number} and is at {now:?} now"));
            }
        }
        for (writer, number) in &self.acked {
            if holds.get(writer).is_none_or(|held| held < number) {
                let now = holds.get(writer);
                return Err(format!("{writer:?}: {number} was acknowledged, {now:?} is there"));
            }
        }
        for (writer, held) in holds.iter().filter(|(writer, _)| !self.shown.contains_key(writer)) {
            // One commit can be on its way.
            let next = self.acked.get(writer).map_or(0, |number| number + 1);
            if next < *held {
                return Err(format!("{writer:?} came to {held}, and {next} was never finished"));
            }
        }
        self.shown.clone_from(holds);
        Ok(())
    }
}

/// What a test needs, or why it cannot be had here.
struct Bench {
    _work: tempfile::TempDir,
    fuse: PathBuf,
    mount: PathBuf,
    /// The bytes of a disk with an empty ext4 on it.
    image: Vec<u8>,
}

impl Bench {
    fn new() -> Result<Bench, String> {
        if let Some(why) = refusal(&["/dev/fuse", "/dev/loop-control"]) {
            return Err(why);
        }
        let work = tempfile::Builder::new().prefix("sochdb-power-cut-").tempdir().unwrap();
        let (fuse, mount) = (work.path().join("fuse"), work.path().join("mount"));
        std::fs::create_dir(&fuse).unwrap();
        std::fs::create_dir(&mount).unwrap();
        let image = empty_file_system(&work.path().join("image"))?;
        let device = BlockDevice::new(&image);
        device.serve(&fuse).and_then(|served| Loop::new(&served.file).map(drop))?;
        Ok(Bench { _work: work, fuse, mount, image })
    }

    fn place<'a>(&'a self, options: &'a str) -> Place<'a> {
        Place { fuse: &self.fuse, mount: &self.mount, options }
    }
}

/// One disk and one database through many cuts.
struct Life<'a> {
    bench: &'a Bench,
    device: BlockDevice,
    known: Known,
    rng: Rng,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    acks: u64,
    early: u64,
    writes: u64,
    pending: usize,
}

impl Life<'_> {
    /// Works until the power goes.
    fn cut(&mut self, number: u64) -> Result<(), String> {
        let Life { bench, device, known, rng, tally } = self;
        let options = ["data=ordered", "data=writeback", "data=journal"][rng.usize(0..3)];
        let moment = if rng.u8(0..4) == 0 { Moment::Mounting } else { Moment::Writing };
        let events = rng.u64(1..if moment == Moment::Mounting { 40 } else { 400 });
        let arm = |now| {
            if now == moment {
                device.cut_in(events)
            }
        };
        let said = round(device, &bench.place(options), number, rng.u64(4..=8), arm)?;
        if !device.is_cut() {
            return Err(format!("the child ended before the power did: {:?}", said.errors));
        }
        if said.ready {
            known.compare(&said.holds)?;
        }
        tally.early += u64::from(!said.ready);
        tally.acks += said.acks;
        tally.writes += device.counts().0;
        tally.pending += device.pending();
        known.acked.extend(said.acked);
        *device = device.after_cut(rng);
        Ok(())
    }

    /// Opens the database once more, in peace, and lets a new life begin.
    fn end(&mut self, number: u64) -> Result<(), String> {
        let Life { bench, device, known, .. } = self;
        let said = round(device, &bench.place("data=ordered"), number, 0, |_| {})?;
        if !said.ready {
            return Err(format!("does not open: {:?}", said.errors));
        }
        known.compare(&said.holds)?;
        (*device, *known) = (BlockDevice::new(&bench.image), Known::default());
        Ok(())
    }
}

/// The test of this file that uses the mounts now.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn power_cuts_below_ext4_lose_no_acknowledged_commit() {
    let _alone = ALONE.lock();
    let bench = match Bench::new() {
        Ok(bench) => bench,
        Err(why) => return skip("power_cuts_below_ext4", &why),
    };
    let seed = seed();
    let (rng, tally) = (Rng::with_seed(seed), Tally::default());
    let device = BlockDevice::new(&bench.image);
    let mut life = Life { bench: &bench, device, known: Known::default(), rng, tally };
    let cuts = size(50, 1000);
    for number in 0..cuts {
        let last = (number + 1).is_multiple_of(LIFE_ROUNDS) || number + 1 == cuts;
        let done = life.cut(number).and_then(|()| if last { life.end(number + 1) } else { Ok(()) });
        if let Err(problem) = done {
            panic!(
                "cut {number} of seed {seed}: {problem}\nreplay: SOCHDB_SEED={seed} cargo test -p \
                 sochdb-kernel --test real_disk power_cuts -- --nocapture"
            );
        }
    }
    let Tally { acks, early, writes, pending } = life.tally;
    println!(
        "power cuts below ext4: {cuts} cuts, {early} of them while ext4 or the database recovered, {writes} \
         writes of the device, {pending} not yet flushed when the power went, {acks} acknowledged commits, \
         none lost, halved or changed; seed {seed}"
    );
}

/// The same on a disk whose flush does nothing: if that went unnoticed, the test above would prove nothing.
#[test]
fn power_cuts_on_a_disk_that_ignores_flushes_are_noticed() {
    let _alone = ALONE.lock();
    let bench = match Bench::new() {
        Ok(bench) => bench,
        Err(why) => return skip("power_cuts_on_a_disk_that_ignores_flushes", &why),
    };
    let (rng, tally) = (Rng::with_seed(seed()), Tally::default());
    let device = BlockDevice::new(&bench.image);
    let mut life = Life { bench: &bench, device, known: Known::default(), rng, tally };
    let mut rounds = 0..20;
    let noticed = rounds.find_map(|number| {
        life.device.ignore_flushes();
        life.cut(number).err()
    });
    let noticed = noticed.expect("twenty cuts on a lying disk are noticed");
    println!("power cuts below ext4: a disk that ignores flushes was found out: {noticed:.200}");
}

fn empty_file_system(file: &Path) -> Result<Vec<u8>, String> {
    let io = |error: std::io::Error| error.to_string();
    File::create(file).and_then(|disk| disk.set_len(DISK_BYTES)).map_err(io)?;
    let name = file.to_str().expect("temporary folders have plain names");
    let all_now = "lazy_itable_init=0,lazy_journal_init=0";
    run("mkfs.ext4", &["-q", "-F", "-b", "4096", "-J", "size=4", "-E", all_now, name])?;
    std::fs::read(file).map_err(io)
}

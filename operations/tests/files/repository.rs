//! Backups that share what they have in common: made under load, cut short, damaged, pruned, and restored to any
//! moment.

use crate::forgetful::Forgetful;
use crate::world::{self, Model, bytes, create, fill, open, overwrite};
use fastrand::Rng;
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_kernel::{Environment, ErrorKind, Kernel, KernelResult, Options, Timestamp};
use sochdb_operations::{
    BackupReport, CheckOptions, CommitTimes, Keep, Moment, Repository, RestoreError, SaveReport,
    backup, check_with, restore_to,
};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const DAY_US: u64 = 86_400_000_000;

fn env(vfs: &MemoryVfs) -> Environment {
    Environment::with_vfs(Arc::new(vfs.clone()))
}

fn repository(vfs: &(impl Vfs + Clone + 'static)) -> Repository {
    Repository::create(Arc::new(vfs.clone())).unwrap()
}

fn save(repository: &Repository, kernel: &Kernel, name: &str) -> KernelResult<SaveReport> {
    let day = name.bytes().filter(u8::is_ascii_digit).fold(0, |n, d| n * 10 + u64::from(d - b'0'));
    repository.save(kernel, name, day * DAY_US, &mut |_| {})
}

fn restore(
    repository: &Repository,
    name: Option<&str>,
    logs: &[&dyn Vfs],
    to: Moment,
) -> Result<(BackupReport, MemoryVfs), RestoreError> {
    let (target, codecs) = (MemoryVfs::new(), PluginManager::default());
    world::register(&codecs);
    let report = repository.restore(name, logs, &codecs, &env(&target), to, &mut |_| {})?;
    Ok((report, target))
}

/// The rows of the restored database, which must be healthy.
fn rows(target: &MemoryVfs) -> Model {
    let kernel = open(target, Options { create: false, ..Options::default() }).unwrap();
    let report = check_with(&kernel, CheckOptions { deep: true }, &mut |_| {}).unwrap();
    assert!(report.is_healthy(), "{:?}", report.problems);
    world::read(&kernel)
}

fn restored(repository: &Repository, name: &str) -> Model {
    rows(&restore(repository, Some(name), &[], Moment::Newest).unwrap().1)
}

fn problems(repository: &Repository, name: Option<&str>) -> Vec<String> {
    let report = repository.verify(name, &mut |_| {}).unwrap();
    let backups = report.backups.iter().flat_map(|backup| &backup.problems);
    report.packs.iter().chain(backups).map(|problem| problem.to_string()).collect()
}

fn good(repository: &Repository) {
    assert_eq!(problems(repository, None), [""; 0]);
}

/// A database, and a repository with backups `day1` to `day3` of it.
struct Home {
    vfs: MemoryVfs,
    kernel: Kernel,
    home: MemoryVfs,
    days: BTreeMap<String, (Timestamp, Model)>,
    model: Model,
    rng: Rng,
}

impl Home {
    fn new(seed: u64, archive: bool) -> Home {
        let vfs = MemoryVfs::new();
        let kernel = open(&vfs, Options { wal_archive: archive, ..Options::default() }).unwrap();
        let model = create(&kernel);
        let (home, days, rng) = (MemoryVfs::new(), BTreeMap::new(), Rng::with_seed(seed));
        let mut made = Home { vfs, kernel, home, days, model, rng };
        for day in 1..=3 {
            made.work(40);
            made.kernel.checkpoint().unwrap();
            made.work(20);
            made.save(&format!("day{day}"));
        }
        made
    }

    fn work(&mut self, transactions: usize) {
        fill(&self.kernel, &mut self.model, &mut self.rng, transactions);
    }

    fn save(&mut self, name: &str) -> SaveReport {
        let report = save(&repository(&self.home), &self.kernel, name).unwrap();
        self.days.insert(name.to_owned(), (report.commit, self.model.clone()));
        report
    }
}

#[test]
fn each_backup_gives_back_the_rows_of_its_moment() {
    for (seed, archive) in [(1, false), (2, true)] {
        let home = Home::new(seed, archive);
        let backups = repository(&home.home);
        let listed = backups.list().unwrap();
        let names: Vec<_> = listed.iter().map(|backup| backup.name.clone()).collect();
        assert_eq!(names, ["day1", "day2", "day3"]);
        good(&backups);
        for (name, (commit, model)) in &home.days {
            let (report, target) = restore(&backups, Some(name), &[], Moment::Newest).unwrap();
            assert_eq!(report.timestamp, *commit);
            assert_eq!(rows(&target), *model, "{name}");
            let kernel = Kernel::open(
                backups.environment(name).unwrap(),
                Options { read_only: true, create: false, ..Options::default() },
            );
            world::register(kernel.as_ref().unwrap().plugins());
            assert_eq!(world::read(&kernel.unwrap()), *model, "{name}, where it lies");
        }
        let newest = restore(&backups, None, &[], Moment::Newest).unwrap();
        assert_eq!(newest.0.timestamp, home.days["day3"].0);
    }
}

#[test]
fn a_restored_database_goes_on() {
    let mut home = Home::new(3, false);
    let target = restore(&repository(&home.home), None, &[], Moment::Newest).unwrap().1;
    let kernel = open(&target, Options::default()).unwrap();
    fill(&kernel, &mut home.model, &mut home.rng, 60);
    kernel.checkpoint().unwrap();
    // It is another database now, and still most of what it has is there already.
    let report = save(&repository(&home.home), &kernel, "again4").unwrap();
    assert!(0 < report.chunks_added && report.packs_broken == 0);
    assert_eq!(restored(&repository(&home.home), "again4"), home.model);
    let unnamed = restore(&repository(&home.home), None, &[], Moment::Newest).err().unwrap();
    assert!(unnamed.to_string().contains("several databases"), "{unnamed}");
}

#[test]
fn a_random_life_of_a_repository_keeps_every_backup_true() {
    for seed in 10..16 {
        let mut home = Home::new(seed, seed % 2 == 0);
        for step in 4..24 {
            match home.rng.u8(..10) {
                0..4 => home.work(15),
                4 => drop(home.kernel.checkpoint().unwrap()),
                5..8 => drop(home.save(&format!("day{step}"))),
                8 => {
                    let keep = Keep { last: home.rng.usize(1..5), ..Keep::default() };
                    let report = repository(&home.home).prune(keep, false, &mut |_| {}).unwrap();
                    for name in report.removed {
                        home.days.remove(&name).expect("it was there");
                    }
                }
                _ => {
                    home.kernel.close().unwrap();
                    let options = Options { wal_archive: seed % 2 == 0, ..Options::default() };
                    home.kernel = open(&home.vfs, options).unwrap();
                }
            }
        }
        let backups = repository(&home.home);
        good(&backups);
        assert_eq!(backups.list().unwrap().len(), home.days.len());
        for (name, (_, model)) in &home.days {
            assert_eq!(restored(&backups, name), *model, "seed {seed}, {name}");
        }
    }
}

#[test]
fn a_backup_among_writers_holds_exactly_its_commits() {
    let vfs = MemoryVfs::new();
    let options = Options { memtable_bytes_max: 200_000, ..Options::default() };
    let kernel = open(&vfs, options).unwrap();
    create(&kernel);
    let done = AtomicBool::new(false);
    let home = MemoryVfs::new();
    let mut saved = Vec::new();
    std::thread::scope(|scope| {
        let (kernel, done) = (&kernel, &done);
        scope.spawn(move || {
            let mut number = 0u64;
            while !done.load(Ordering::Acquire) {
                number += 1;
                let key = (number % 500).to_be_bytes();
                let value = [&number.to_be_bytes()[..], &[7; 900]].concat();
                let both = |tx: &mut sochdb_kernel::Transaction| {
                    tx.put("plain", &key, &value)?;
                    tx.put("columns", &key, &value)
                };
                kernel.run(both).unwrap();
            }
        });
        for round in 0..8u64 {
            while kernel.begin_read().unwrap().snapshot().0 < (round + 1) * 300 {
                std::thread::yield_now();
            }
            saved.push(save(&repository(&home), kernel, &format!("round{round}")).unwrap());
        }
        done.store(true, Ordering::Release);
    });
    assert!(0 < kernel.stats().checkpoints, "checkpoints ran meanwhile");
    good(&repository(&home));
    for report in saved {
        // The tables were made by the first commits, and each later one wrote its own number.
        let newest = report.commit.0 - world::TABLES.len() as u64;
        let found = restored(&repository(&home), &report.name);
        assert_eq!(found["plain"], found["columns"]);
        let expected = (newest.saturating_sub(499).max(1)..=newest)
            .map(|number| ((number % 500).to_be_bytes().to_vec(), number.to_be_bytes()));
        let mut expected: Vec<_> = expected.collect();
        expected.sort();
        let found =
            found["plain"].iter().map(|(key, value)| (key.clone(), value[..8].try_into().unwrap()));
        assert_eq!(found.collect::<Vec<(Vec<u8>, [u8; 8])>>(), expected);
    }
}

fn size(home: &MemoryVfs) -> u64 {
    home.names().iter().map(|name| bytes(home, name).len() as u64).sum()
}

#[test]
fn nothing_is_added_for_what_did_not_change_and_little_for_a_little() {
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs, Options::default()).unwrap();
    create(&kernel);
    let mut rng = Rng::with_seed(5);
    let mut value = |len: usize| (0..len).map(|_| rng.u8(..)).collect::<Vec<u8>>();
    let put = |table: &str, numbers: &[u32], value: &mut dyn FnMut(usize) -> Vec<u8>| {
        for some in numbers.chunks(1000) {
            let write = |tx: &mut sochdb_kernel::Transaction| {
                some.iter().try_for_each(|number| tx.put(table, &number.to_be_bytes(), &value(100)))
            };
            kernel.run(write).unwrap();
        }
    };
    let all: Vec<u32> = (0..40_000).collect();
    put("plain", &all, &mut value);
    put("columns", &all, &mut value);
    kernel.checkpoint().unwrap();
    let home = MemoryVfs::new();
    save(&repository(&home), &kernel, "day1").unwrap();
    let whole = size(&home);
    assert!(8_000_000 < whole, "{whole} bytes");

    let again = save(&repository(&home), &kernel, "day2").unwrap();
    assert_eq!((again.chunks_added, again.added_bytes), (0, 0), "nothing changed");
    let manifest = size(&home) - whole;
    assert!(manifest < 2_000, "{manifest} bytes of manifest");

    // One row of a hundred, side by side and one here and one there, in a tree and in segments.
    let (run, spread): (Vec<_>, Vec<_>) =
        ((8000..8400).collect(), (0..40_000).step_by(100).collect());
    let cases =
        [("plain", &run, 4), ("plain", &spread, 60), ("columns", &run, 4), ("columns", &spread, 4)];
    for (day, (table, numbers, percent_max)) in cases.into_iter().enumerate() {
        put(table, numbers, &mut value);
        kernel.checkpoint().unwrap();
        let before = size(&home);
        save(&repository(&home), &kernel, &format!("day{}", day + 3)).unwrap();
        let added = size(&home) - before;
        println!(
            "{table}, 1% {}: {added} of {whole} bytes",
            if day % 2 == 0 { "in a run" } else { "spread" }
        );
        assert!(added * 100 < whole / 2 * percent_max, "{table}: {added} of {whole} bytes");
    }
    good(&repository(&home));
}

#[test]
fn a_save_that_is_cut_short_at_any_call_leaves_the_others_good() {
    let mut home = Home::new(20, true);
    home.work(30);
    let (before, model) = (home.home.fork(), home.model.clone());
    let run = |crash_at| {
        let disk = Forgetful::new(&before, crash_at);
        let result = Repository::open(Arc::new(disk.clone()))
            .and_then(|repository| save(&repository, &home.kernel, "day4"));
        (disk, result)
    };
    let (whole, result) = run(None);
    result.unwrap();
    assert!(10 < whole.calls(), "{} calls", whole.calls());
    let mut there = [0; 2];
    for crash_at in 1..=whole.calls() {
        let (disk, result) = run(Some(crash_at));
        assert_eq!(result.err().unwrap().kind(), ErrorKind::Unavailable);
        for synced in [false, true] {
            let left = disk.left(synced);
            let backups = repository(&left);
            good(&backups);
            let names: Vec<_> = backups.list().unwrap().into_iter().map(|b| b.name).collect();
            assert_eq!(names[..3], ["day1", "day2", "day3"], "call {crash_at}");
            there[usize::from(names.len() == 4)] += 1;
            assert_eq!(restored(&backups, "day2"), home.days["day2"].1);
            if names.len() == 3 {
                save(&backups, &home.kernel, "day4").unwrap();
            }
            assert_eq!(restored(&backups, "day4"), model, "call {crash_at}");
            good(&backups);
            assert!(left.names().iter().all(|name| !name.ends_with(".new")), "{:?}", left.names());
        }
    }
    assert!(0 < there[0] && 0 < there[1], "it is there only when all is: {there:?}");
}

#[test]
fn the_first_save_that_is_cut_short_at_any_call_can_be_done_again() {
    let home = Home::new(21, false);
    let run = |crash_at| {
        let disk = Forgetful::new(&MemoryVfs::new(), crash_at);
        let made = Repository::create(Arc::new(disk.clone()));
        (disk, made.and_then(|repository| save(&repository, &home.kernel, "first")))
    };
    let (whole, result) = run(None);
    result.unwrap();
    for crash_at in 1..=whole.calls() {
        let (disk, result) = run(Some(crash_at));
        result.err().unwrap();
        for synced in [false, true] {
            let left = disk.left(synced);
            let backups = repository(&left);
            if backups.list().unwrap().is_empty() {
                save(&backups, &home.kernel, "first").unwrap();
            }
            good(&backups);
            assert_eq!(restored(&backups, "first"), home.model, "call {crash_at}");
        }
    }
}

#[test]
fn a_full_disk_costs_only_the_backup_that_found_no_room() {
    let mut home = Home::new(22, false);
    home.work(60);
    let used = size(&home.home) as usize;
    let roomy = Forgetful::new(&home.home, None);
    save(&Repository::open(Arc::new(roomy.clone())).unwrap(), &home.kernel, "day4").unwrap();
    let needs = size(&roomy.left(false)) as usize - used;
    let mut refused = 0;
    for room in (0..needs).step_by(needs / 40) {
        let disk = Forgetful::new(&home.home, None);
        disk.set_room(Some(used + room));
        let backups = Repository::open(Arc::new(disk.clone())).unwrap();
        match save(&backups, &home.kernel, "day4") {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                refused += 1;
                let left = disk.left(false);
                // Whole packs may stay: the next attempt needs them.
                let is_unfinished = |name: &String| name.ends_with(".new");
                assert!(!left.names().iter().any(is_unfinished), "{:?}", left.names());
                good(&repository(&left));
            }
        }
        disk.set_room(None);
        if backups.list().unwrap().len() == 3 {
            save(&backups, &home.kernel, "day4").unwrap();
        }
        good(&backups);
        assert_eq!(restored(&backups, "day4"), home.model);
    }
    assert!(30 < refused, "{refused}");
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_never_restored() {
    let home = Home::new(23, true);
    let backups: Vec<String> = home.days.keys().cloned().collect();
    let (mut found, mut lost) = (0, 0);
    for name in home.home.names() {
        if name == "LOCK" {
            continue;
        }
        let len = bytes(&home.home, &name).len();
        for at in (0..len).step_by((len / 60).max(1)) {
            let rotten = home.home.fork();
            let before = bytes(&rotten, &name)[at];
            overwrite(&rotten, &name, at as u64, &[before ^ 0x10]);
            let repository = match Repository::open(Arc::new(rotten.clone())) {
                Ok(repository) => repository,
                Err(error) => {
                    assert_eq!(name, "sochdb-backups", "{error}");
                    continue;
                }
            };
            found += usize::from(!problems(&repository, None).is_empty());
            for day in &backups {
                match restore(&repository, Some(day), &[], Moment::Newest) {
                    Ok((_, target)) => {
                        assert_eq!(rows(&target), home.days[day].1, "{name} at {at}")
                    }
                    Err(error) => {
                        let error = error.into_kernel();
                        let fits =
                            [ErrorKind::Corrupt, ErrorKind::Unavailable, ErrorKind::NotFound];
                        assert!(fits.contains(&error.kind()), "{name} at {at}: {error}");
                        assert!(!problems(&repository, Some(day)).is_empty(), "{name} at {at}");
                        lost += 1;
                    }
                }
            }
        }
    }
    assert!(200 < found && 200 < lost, "{found} found, {lost} lost");
}

#[test]
fn a_lost_pack_is_told_of_and_mended_by_the_next_backup() {
    let mut home = Home::new(24, false);
    let packs: Vec<_> = home.home.names().into_iter().filter(|n| n.starts_with("packs/")).collect();
    home.home.remove(&packs[0]).unwrap();
    let backups = repository(&home.home);
    let told = problems(&backups, Some("day3"));
    assert!(told.iter().any(|told| told.contains("no whole pack that has it")), "{told:?}");
    home.save("day4");
    assert_eq!(problems(&backups, Some("day4")), [""; 0]);
    assert_eq!(restored(&backups, "day4"), home.model);
    // What the present database still shares with the older ones is back in them too.
    assert!(problems(&backups, Some("day3")).len() < told.len());
}

#[test]
fn broken_bytes_of_the_database_are_not_saved() {
    let home = Home::new(25, false);
    let in_use = 2..home.kernel.stats().pages_total;
    let mut refused = 0;
    for page in in_use {
        let before = bytes(&home.vfs, "data.soch")[page as usize * 4096 + 40];
        overwrite(&home.vfs, "data.soch", page * 4096 + 40, &[before ^ 1]);
        if let Err(error) = save(&repository(&home.home), &home.kernel, &format!("bad{page}")) {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            refused += 1;
        }
        overwrite(&home.vfs, "data.soch", page * 4096 + 40, &[before]);
    }
    assert!(10 < refused, "{refused}");
    good(&repository(&home.home));
}

#[test]
fn prune_removes_backups_and_what_only_they_had() {
    let mut home = Home::new(26, false);
    for day in 4..=9 {
        home.work(80);
        home.kernel.checkpoint().unwrap();
        home.save(&format!("day{day}"));
    }
    let backups = repository(&home.home);
    let before = size(&home.home);
    let keep = Keep { last: 2, ..Keep::default() };
    let said = backups.prune(keep, true, &mut |_| {}).unwrap();
    assert_eq!(size(&home.home), before, "a dry run");
    let report = backups.prune(keep, false, &mut |_| {}).unwrap();
    assert_eq!((&report.kept, &report.removed), (&said.kept, &said.removed));
    assert_eq!(report.kept, ["day8", "day9"]);
    assert!(0 < report.packs_removed);
    let after = size(&home.home);
    assert!(after < before && 0 < report.freed_bytes, "{before} to {after} bytes");
    good(&backups);
    for name in ["day8", "day9"] {
        assert_eq!(restored(&backups, name), home.days[name].1);
    }
    // It is about as large as if it had never held more.
    let (lean, kernel) = (MemoryVfs::new(), &home.kernel);
    save(&repository(&lean), kernel, "day9").unwrap();
    assert!(after < 5 * size(&lean), "{after} and {}", size(&lean));
    let nothing = backups.prune(keep, false, &mut |_| {}).unwrap();
    assert_eq!(nothing.removed.len(), 0);
    let none = backups.prune(Keep::default(), false, &mut |_| {}).err().unwrap();
    assert_eq!(none.kind(), ErrorKind::Invalid, "{none}");
}

#[test]
fn a_prune_that_is_cut_short_at_any_call_leaves_what_is_kept_good() {
    let mut home = Home::new(27, false);
    for day in 4..=6 {
        home.work(60);
        home.kernel.checkpoint().unwrap();
        home.save(&format!("day{day}"));
    }
    let keep = Keep { last: 2, ..Keep::default() };
    let run = |crash_at| {
        let disk = Forgetful::new(&home.home, crash_at);
        let repository = Repository::open(Arc::new(disk.clone())).unwrap();
        let result = repository.prune(keep, false, &mut |_| {});
        (disk, result)
    };
    let (whole, report) = run(None);
    assert!(0 < report.unwrap().packs_removed);
    let lean = size(&whole.left(true));
    assert!(8 < whole.calls(), "{} calls", whole.calls());
    for crash_at in 1..=whole.calls() {
        let (disk, result) = run(Some(crash_at));
        assert_eq!(result.err().unwrap().kind(), ErrorKind::Unavailable);
        for synced in [false, true] {
            let left = disk.left(synced);
            let backups = repository(&left);
            for name in ["day5", "day6"] {
                assert_eq!(problems(&backups, Some(name)), [""; 0], "call {crash_at}");
                assert_eq!(restored(&backups, name), home.days[name].1);
            }
            for backup in backups.list().unwrap() {
                assert_eq!(restored(&backups, &backup.name), home.days[&backup.name].1);
            }
            backups.prune(keep, false, &mut |_| {}).unwrap();
            good(&backups);
            assert!(size(&left) <= lean, "call {crash_at}: {} and {lean}", size(&left));
        }
    }
}

#[test]
fn a_broken_manifest_keeps_prune_from_removing_anything() {
    let home = Home::new(28, false);
    overwrite(&home.home, "backups/day2.backup", 30, &[9]);
    let (backups, before) = (repository(&home.home), size(&home.home));
    let keep = Keep { last: 1, ..Keep::default() };
    let error = backups.prune(keep, false, &mut |_| {}).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("day2"), "{error}");
    assert_eq!(size(&home.home), before);
    assert_eq!(restored(&backups, "day3"), home.days["day3"].1, "the others are good");
}

#[test]
fn names_and_directories_that_make_no_sense_are_refused() {
    let home = Home::new(29, false);
    let backups = repository(&home.home);
    for name in ["", ".", "../x", "a/b", "-x", "ä", &"x".repeat(101)] {
        let error = save(&backups, &home.kernel, name).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let twice = save(&backups, &home.kernel, "day1").err().unwrap();
    assert!(twice.to_string().contains("already"), "{twice}");
    let error = restore(&backups, Some("day7"), &[], Moment::Newest).err().unwrap().into_kernel();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = Repository::create(Arc::new(home.vfs.clone())).err().unwrap();
    assert!(error.to_string().contains("is no repository"), "{error}");
    let error = Repository::open(Arc::new(MemoryVfs::new())).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(!Repository::is_one(&home.vfs).unwrap());
    let lock = home.home.lock("LOCK").unwrap().unwrap();
    let busy = save(&backups, &home.kernel, "day4").err().unwrap();
    assert!(busy.to_string().contains("another process or handle"), "{busy}");
    drop(lock);
    save(&backups, &home.kernel, "day4").unwrap();
}

/// A database whose commits are noted once a second, with the model after each commit.
struct Timed {
    home: Home,
    times: Option<CommitTimes>,
    now_us: u64,
    states: BTreeMap<Timestamp, Model>,
    /// When each commit was made.
    made: BTreeMap<Timestamp, u64>,
}

impl Timed {
    fn new(seed: u64) -> Timed {
        let home = Home::new(seed, true);
        let times = CommitTimes::open(&home.kernel).unwrap();
        let mut timed =
            Timed { home, times, now_us: 0, states: BTreeMap::new(), made: BTreeMap::new() };
        timed.now_us = 4 * DAY_US;
        let commit = timed.home.kernel.begin_read().unwrap().snapshot();
        timed.states.insert(commit, timed.home.model.clone());
        timed.made.insert(commit, timed.now_us);
        timed.look();
        timed
    }

    fn save(&mut self, name: &str) {
        let backups = repository(&self.home.home);
        backups.save(&self.home.kernel, name, self.now_us, &mut |_| {}).unwrap();
    }

    fn look(&mut self) {
        self.times.as_mut().unwrap().look(self.now_us).unwrap();
        self.now_us += 1;
    }

    /// Commits `count` times, 300 milliseconds apart, and has somebody look every second.
    fn work(&mut self, count: usize) {
        for _ in 0..count {
            self.now_us += 300_000;
            self.home.work(1);
            let commit = self.home.kernel.begin_read().unwrap().snapshot();
            self.states.insert(commit, self.home.model.clone());
            self.made.insert(commit, self.now_us);
            if self.home.rng.u8(..3) == 0 {
                self.look();
            }
            if self.home.rng.u8(..15) == 0 {
                self.home.kernel.checkpoint().unwrap();
            }
        }
        self.look();
    }

    /// Restores to `us`, and holds what came back against what was there.
    fn check(&self, repository: &Repository, logs: &[&dyn Vfs], us: u64) {
        let (report, target) = restore(repository, None, logs, Moment::Time(us)).unwrap();
        let (commit, reached) = (report.timestamp, report.reached.unwrap());
        assert_eq!(commit, reached.commit);
        assert_eq!(rows(&target), self.states[&commit]);
        assert!(self.made[&commit] <= us, "nothing from after the moment");
        let missed =
            self.made.range(Timestamp(commit.0 + 1)..).take_while(|(_, made)| **made <= us);
        let missed: Vec<_> = missed.map(|(commit, _)| *commit).collect();
        match reached.unsure {
            None => assert!(missed.is_empty(), "{missed:?} at {us}"),
            Some(next) => assert!(missed.iter().all(|commit| *commit <= next.commit)),
        }
    }
}

#[test]
fn a_time_between_commits_gives_back_what_was_there_then() {
    let mut timed = Timed::new(40);
    timed.work(30);
    timed.save("day5");
    let from = timed.now_us;
    timed.work(40);
    let until = timed.now_us;
    let (backups, vfs) = (repository(&timed.home.home), timed.home.vfs.clone());
    let mut rng = Rng::with_seed(1);
    for _ in 0..25 {
        timed.check(&backups, &[&vfs], rng.u64(from..until));
    }
    // The database is closed for a night: nothing was committed, so every moment of it is known.
    timed.times.take().unwrap().finish().unwrap();
    timed.home.kernel.close().unwrap();
    let options = || Options { wal_archive: true, ..Options::default() };
    timed.home.kernel = open(&vfs, options()).unwrap();
    timed.times = CommitTimes::open(&timed.home.kernel).unwrap();
    timed.now_us += DAY_US / 3;
    let night = timed.now_us - DAY_US / 6;
    timed.look();
    timed.work(10);
    timed.check(&backups, &[&vfs], night);
    let (report, _) = restore(&backups, None, &[&vfs], Moment::Time(night)).unwrap();
    assert_eq!(report.reached.unwrap().unsure, None);
    for (outside, why) in [(DAY_US / 2, "before"), (timed.now_us + 5_000_000, "after")] {
        let error = restore(&backups, None, &[&vfs], Moment::Time(outside)).err().unwrap();
        assert!(matches!(error, RestoreError::Unreachable { .. }), "{why}: {error}");
        assert!(error.to_string().contains("reach from 1970-01-02T00:00:00Z"), "{error}");
    }
}

#[test]
fn a_plain_backup_goes_to_a_time_as_well() {
    let mut timed = Timed::new(41);
    let copy = MemoryVfs::new();
    backup(&timed.home.kernel, &copy, &mut |_| {}).unwrap();
    let from = timed.now_us;
    timed.work(30);
    let (vfs, codecs) = (timed.home.vfs.clone(), PluginManager::default());
    let to = |us, logs: &[&dyn Vfs]| {
        let target = MemoryVfs::new();
        let to = Moment::Time(us);
        restore_to(&env(&copy), logs, &codecs, &env(&target), to, &mut |_| {})
            .map(|report| (report.timestamp, target))
    };
    for us in (from + 2_000_000..timed.now_us).step_by(1_700_000) {
        let (commit, target) = to(us, &[&vfs]).unwrap();
        assert!(timed.made.get(&commit).is_none_or(|made| *made <= us));
        if let Some(model) = timed.states.get(&commit) {
            assert_eq!(rows(&target), *model);
        }
    }
    let error = to(from - DAY_US, &[&vfs]).err().unwrap();
    assert!(matches!(error, RestoreError::Unreachable { .. }), "{error}");
    let error = to(from, &[]).err().unwrap();
    assert!(matches!(error, RestoreError::Unrecorded { .. }), "{error}");
    assert!(error.to_string().contains("no times of commits"), "{error}");
}

#[test]
fn the_repository_alone_has_every_commit_between_two_of_its_backups() {
    let mut timed = Timed::new(42);
    timed.save("day5");
    let from = timed.now_us;
    for day in 6..9 {
        timed.work(25);
        timed.home.kernel.checkpoint().unwrap();
        timed.save(&format!("day{day}"));
    }
    let last = timed.home.kernel.begin_read().unwrap().snapshot();
    let backups = repository(&timed.home.home);
    good(&backups);
    for (commit, model) in timed.states.iter().step_by(4) {
        let (report, target) = restore(&backups, None, &[], Moment::Commit(*commit)).unwrap();
        assert_eq!(report.timestamp, *commit);
        assert_eq!(rows(&target), *model, "commit {commit}");
    }
    for us in (from + 2_000_000..timed.now_us - 2_000_000).step_by(3_300_000) {
        timed.check(&backups, &[], us);
    }
    // Also from an older base than the newest that would do.
    let (commit, model) = timed.states.last_key_value().unwrap();
    let (report, target) = restore(&backups, Some("day5"), &[], Moment::Commit(*commit)).unwrap();
    assert_eq!((report.timestamp, rows(&target)), (last, model.clone()));
    let late = restore(&backups, None, &[], Moment::Commit(Timestamp(last.0 + 1))).err().unwrap();
    assert_eq!(late.into_kernel().kind(), ErrorKind::NotFound);
    let early = restore(&backups, Some("day8"), &[], Moment::Commit(Timestamp(1))).err().unwrap();
    assert_eq!(early.into_kernel().kind(), ErrorKind::Invalid);
}

#[test]
fn without_an_archive_there_is_a_gap_between_backups_and_it_is_told() {
    let mut home = Home::new(43, false);
    home.work(200);
    home.kernel.checkpoint().unwrap();
    home.work(200);
    home.kernel.checkpoint().unwrap();
    home.save("day4");
    let between = Timestamp(home.days["day3"].0.0 + 5);
    let backups = repository(&home.home);
    let error = restore(&backups, None, &[], Moment::Commit(between)).err().unwrap().into_kernel();
    assert!([ErrorKind::NotFound, ErrorKind::Corrupt].contains(&error.kind()), "{error}");
}

#[test]
fn recorded_times_survive_torn_ends_and_say_whose_they_are() {
    let mut timed = Timed::new(44);
    timed.work(10);
    timed.times.take().unwrap().finish().unwrap();
    let vfs = &timed.home.vfs;
    let file = bytes(vfs, "archive/times");
    assert_eq!(file[..12], *b"SOCHTIME\x01\0\0\0");
    assert!(file.len().is_multiple_of(32) && 96 < file.len(), "{} bytes", file.len());
    // A line that broke is passed over; what comes behind it still counts, and so does what is added.
    overwrite(vfs, "archive/times", file.len() as u64 - 40, &[0xff; 20]);
    vfs.open("archive/times", OpenMode::Write).unwrap().set_len(file.len() as u64 - 5).unwrap();
    let mut times = CommitTimes::open(&timed.home.kernel).unwrap().unwrap();
    times.look(timed.now_us + 9_000_000).unwrap();
    times.finish().unwrap();
    let mended = bytes(vfs, "archive/times");
    assert_eq!(mended.len(), file.len());
    assert_eq!(mended[mended.len() - 24..][..8], (timed.now_us + 9_000_000).to_le_bytes());
    let backups = repository(&timed.home.home);
    let to = Moment::Time(timed.now_us + 9_000_000);
    let last = timed.home.kernel.begin_read().unwrap().snapshot();
    assert_eq!(restore(&backups, None, &[vfs], to).unwrap().0.timestamp, last);

    overwrite(vfs, "archive/times", 16, &[1, 2, 3]);
    let error = CommitTimes::open(&timed.home.kernel).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let error = restore(&backups, None, &[vfs], to).err().unwrap().into_kernel();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    let plain = open(&MemoryVfs::new(), Options::default()).unwrap();
    assert!(CommitTimes::open(&plain).unwrap().is_none(), "no archive, no times");
}

#[test]
fn progress_is_told_and_never_goes_back() {
    let home = Home::new(45, false);
    let backups = repository(&home.home);
    let mut told = Vec::new();
    let mut note = |progress: sochdb_operations::Progress<'_>| {
        told.push((progress.done_bytes, progress.what.to_owned()));
    };
    backups.save(&home.kernel, "x", 0, &mut note).unwrap();
    assert!(told.is_sorted_by_key(|(done, _)| *done), "{told:?}");
    assert!(told.iter().any(|(_, what)| what == "table 'plain'"), "{told:?}");
    told.clear();
    let mut note = |progress: sochdb_operations::Progress<'_>| {
        told.push((progress.done_bytes, progress.what.to_owned()));
    };
    backups.verify(None, &mut note).unwrap();
    assert!(told.is_sorted_by_key(|(done, _)| *done), "{told:?}");
    assert!(["day1", "x", "done"].iter().all(|name| told.iter().any(|(_, what)| what == name)));
}

/// Where repositories that released versions made are kept.
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/backups/v1");

/// What the fixture's backup of `day` holds in both of its tables.
fn fixture_rows(day: u32) -> world::Rows {
    let value = |number: u32| format!("row {number} of day {}", day.min(1 + number / 30));
    (0..day * 30 + 30).map(|number| (number.to_be_bytes().to_vec(), value(number).into())).collect()
}

fn fixture_commit(kernel: &Kernel, day: u32) {
    for (key, value) in fixture_rows(day) {
        if u32::from_be_bytes(key[..].try_into().unwrap()) < (day - 1) * 30 {
            continue;
        }
        let both = |tx: &mut sochdb_kernel::Transaction| {
            tx.put("plain", &key, &value)?;
            tx.put("columns", &key, &value)
        };
        kernel.run(both).unwrap();
    }
}

/// Makes the fixture of this version. Once it is released it is never made again.
#[test]
#[ignore = "writes into tests/fixtures"]
fn make_the_fixture() {
    let vfs = MemoryVfs::new();
    let options = Options { wal_archive: true, ..Options::default() };
    let env = Environment { seed: 0xfeed, ..env(&vfs) };
    let kernel = Kernel::open(env, options).unwrap();
    world::register(kernel.plugins());
    create(&kernel);
    let mut times = CommitTimes::open(&kernel).unwrap().unwrap();
    let home = MemoryVfs::new();
    for day in 1..=2 {
        fixture_commit(&kernel, day);
        times.look(u64::from(day) * DAY_US).unwrap();
        kernel.checkpoint().unwrap();
        save(&repository(&home), &kernel, &format!("day{day}")).unwrap();
    }
    for name in home.names().iter().filter(|name| *name != "LOCK") {
        let path = std::path::Path::new(FIXTURE).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes(&home, name)).unwrap();
    }
}

#[test]
fn a_repository_of_the_first_version_can_be_restored_forever() {
    let home = MemoryVfs::new();
    let disk = Environment::disk(FIXTURE).vfs;
    for dir in ["", "packs", "backups"] {
        for name in disk.list(dir).unwrap() {
            let name = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            let from = disk.open(&name, OpenMode::Read).unwrap();
            let mut content = vec![0; from.len().unwrap() as usize];
            from.read_exact_at(0, &mut content).unwrap();
            home.open(&name, OpenMode::Create).unwrap().write_at(0, &content).unwrap();
        }
    }
    let backups = repository(&home);
    let listed = backups.list().unwrap();
    let listed: Vec<_> = listed.iter().map(|b| (b.name.as_str(), b.made_us, b.commit.0)).collect();
    assert_eq!(listed, [("day1", DAY_US, 64), ("day2", 2 * DAY_US, 124)]);
    good(&backups);
    for day in 1..=2 {
        let found = restored(&backups, &format!("day{day}"));
        assert_eq!(found["plain"], fixture_rows(day), "day {day}");
        assert_eq!(found["columns"], fixture_rows(day), "day {day}");
    }
    let between = restore(&backups, None, &[], Moment::Commit(Timestamp(100))).unwrap();
    assert_eq!(rows(&between.1)["plain"].len(), 66);
    let reached =
        restore(&backups, None, &[], Moment::Time(DAY_US + 1)).unwrap().0.reached.unwrap();
    assert_eq!((reached.commit.0, reached.unsure.map(|next| next.commit.0)), (64, Some(124)));
}

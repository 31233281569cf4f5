//! Damaged databases, and what repair saves of them: every row that the report does not name as lost or
//! doubtful is as the last commit left it, whatever was done to the files.

use crate::engine::Engine;
use crate::forgetful::Forgetful;
use crate::world::{self, Model, Rows, Write, bytes, create, fill, open, overwrite, register};
use fastrand::Rng;
use sochdb_kernel::inspect::record;
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_kernel::{
    Environment, ErrorKind, Kernel, KernelResult, Options, TableId, TableOptions, Timestamp,
};
use sochdb_operations::{CheckOptions, RepairOptions, RepairReport, check_with, repair};
use sochdb_sim::MemoryVfs;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

const PAGE: u64 = 4096;

/// A database's files, and everything that was true of it.
struct Sample {
    vfs: MemoryVfs,
    model: Model,
    ids: BTreeMap<String, TableId>,
    /// When each row was last put or deleted.
    changed: BTreeMap<(String, Vec<u8>), Timestamp>,
    last: Timestamp,
}

impl Sample {
    /// Puts rows into a table, in one transaction.
    fn put(&mut self, kernel: &Kernel, table: &str, rows: Rows) {
        let mut tx = kernel.begin().unwrap();
        rows.iter().for_each(|(key, value)| tx.put(table, key, value).unwrap());
        let timestamp = tx.commit().unwrap();
        self.have(table, rows, timestamp);
    }

    fn have(&mut self, table: &str, rows: Rows, timestamp: Timestamp) {
        let changed = rows.keys().map(|key| ((table.to_owned(), key.clone()), timestamp));
        self.changed.extend(changed);
        self.model.entry(table.to_owned()).or_default().extend(rows);
    }

    /// What only some samples have: many tables, rows that a plugin does not take, loaded and renamed
    /// tables, a transaction of several frames.
    fn specialities(&mut self, kernel: &Kernel, seed: u64) {
        let rows = |count: u32, bytes: usize| -> Rows {
            (0..count).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; bytes])).collect()
        };
        match seed % 5 {
            1 => {
                for number in 0..150 {
                    let name =
                        format!("{number:03} of many tables, so that the catalog has inner pages");
                    kernel.create_table(&name, TableOptions::default()).unwrap();
                    self.put(kernel, &name, rows(number % 3, 30));
                }
            }
            2 => {
                let storage = Some("stubborn".to_owned());
                kernel
                    .plugins()
                    .register_storage(Arc::new(Engine { name: "stubborn", refuses: true }));
                let options = TableOptions { storage, ..TableOptions::default() };
                kernel.create_table("held back", options).unwrap();
                self.put(kernel, "held back", rows(20, 100));
            }
            3 => {
                let loaded = rows(300, 100);
                let given = loaded.clone().into_iter().map(Ok);
                kernel.bulk_load("loading", TableOptions::default(), given).unwrap();
                let timestamp = kernel.begin_read().unwrap().snapshot();
                kernel.run(|tx| tx.rename_table("loading", "loaded")).unwrap();
                self.have("loaded", loaded, timestamp);
            }
            4 => self.put(kernel, "plain", rows(60, 40_000)),
            _ => {}
        }
    }
}

fn sample(seed: u64) -> Sample {
    let (vfs, mut rng) = (MemoryVfs::new(), Rng::with_seed(seed));
    let options = Options { wal_archive: seed.is_multiple_of(4), ..Options::default() };
    let kernel = open(&vfs, options).unwrap();
    let (model, ids) = (create(&kernel), BTreeMap::new());
    let mut sample = Sample { vfs, model, ids, changed: BTreeMap::new(), last: Timestamp(0) };
    let rounds = rng.usize(2..6);
    for round in 0..=rounds {
        let count = rng.usize(5..80);
        for (timestamp, writes) in fill(&kernel, &mut sample.model, &mut rng, count) {
            let changed = |(table, key, _): Write| ((table.to_owned(), key), timestamp);
            sample.changed.extend(writes.into_iter().map(changed));
        }
        if round == 1 {
            // A table that is gone leaves pages behind that nobody shall take for lost ones.
            kernel.create_table("gone", TableOptions::default()).unwrap();
            kernel.run(|tx| (0..99u8).try_for_each(|n| tx.put("gone", &[n], &[n; 99]))).unwrap();
            kernel.checkpoint().unwrap();
            kernel.run(|tx| tx.drop_table("gone")).unwrap();
            sample.specialities(&kernel, seed);
        }
        if round < rounds {
            kernel.checkpoint().unwrap();
        }
    }
    let tx = kernel.begin_read().unwrap();
    sample.ids = tx.tables().unwrap().into_iter().map(|info| (info.name, info.id)).collect();
    sample.last = tx.snapshot();
    drop(tx);
    if rng.u8(..3) == 0 {
        // Rows that a plugin does not take stay in the log, and closing says so.
        let _ = kernel.close();
    }
    sample
}

fn mend(vfs: &MemoryVfs) -> KernelResult<(RepairReport, MemoryVfs)> {
    let target = MemoryVfs::new();
    let env = Environment::with_vfs(Arc::new(target.clone()));
    let register = |plugins: &sochdb_kernel::plugin::PluginManager| {
        register(plugins);
        Ok(())
    };
    let options = Options { wal_segment_bytes: 16 << 10, ..Options::default() };
    let options = RepairOptions { register: &register, options, ..RepairOptions::default() };
    let before: Vec<_> = vfs.names().into_iter().map(|name| (bytes(vfs, &name), name)).collect();
    let report = repair(vfs, &env, &options, &mut |_| {})?;
    let after: Vec<_> = vfs.names().into_iter().map(|name| (bytes(vfs, &name), name)).collect();
    assert!(before == after, "the old database is left as it was");
    Ok((report, target))
}

fn healthy(kernel: &Kernel) {
    let report = check_with(kernel, CheckOptions { deep: true }, &mut |_| {}).unwrap();
    assert!(report.is_healthy(), "{:?}", report.problems);
}

impl Sample {
    /// Repairs `vfs`, a damaged copy. Every row must be right, or named by the report as lost or doubtful.
    fn mended(&self, vfs: &MemoryVfs) -> (RepairReport, Model) {
        let (report, target) = mend(vfs).unwrap();
        let kernel = open(&target, Options { create: false, ..Options::default() }).unwrap();
        healthy(&kernel);
        let found = world::read(&kernel);
        for (name, expected) in &self.model {
            let id = self.ids[name];
            let Some(table) = report.tables.iter().find(|table| table.id == id) else {
                assert!(
                    expected.is_empty() || !report.notes.is_empty(),
                    "{name} is gone\n{report}"
                );
                continue;
            };
            assert!(
                table.name == *name || !table.notes.is_empty(),
                "{name} has a new name\n{report}"
            );
            let empty = Rows::new();
            let rows = found.get(&table.name).unwrap_or(&empty);
            for key in expected.keys().chain(rows.keys()).collect::<BTreeSet<_>>() {
                if expected.get(key) == rows.get(key) {
                    continue;
                }
                let changed = self.changed.get(&(name.clone(), key.clone())).copied();
                let changed = changed.unwrap_or(Timestamp(0));
                let is_named = table.lost.iter().any(|lost| lost.contains(key))
                    || report.lost_commits.iter().any(|c| c.first <= changed && changed <= c.last)
                    || report.last_commit < changed;
                let key = key.escape_ascii();
                assert!(is_named, "{name}: {key}, changed at {changed}, is wrong\n{report}");
            }
        }
        (report, found)
    }
}

#[test]
fn an_undamaged_database_is_repaired_to_exactly_itself() {
    for (seed, sample) in SAMPLES.iter().enumerate() {
        let (report, found) = sample.mended(&sample.vfs);
        assert!(report.is_whole(), "seed {seed}\n{report}");
        assert_eq!(found, sample.model, "seed {seed}");
        assert_eq!(report.last_commit, sample.last, "seed {seed}");
        let names: BTreeSet<_> = report.tables.iter().map(|table| &table.name).collect();
        assert!(names.into_iter().eq(sample.model.keys()), "seed {seed}");
    }
}

/// What [`damage`] may touch.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Part {
    Data,
    Log,
    Both,
}

fn damage(vfs: &MemoryVfs, rng: &mut Rng, part: Part) {
    let names = vfs.names().into_iter().filter(|name| match part {
        Part::Data => name == "data.soch",
        Part::Log => name.ends_with(".wal"),
        Part::Both => name != "LOCK",
    });
    let names: Vec<_> = names.collect();
    for _ in 0..rng.usize(1..7) {
        let name = &names[rng.usize(..names.len())];
        if !vfs.names().contains(name) {
            continue;
        }
        let len = bytes(vfs, name).len() as u64;
        let page = rng.u64(..len.div_ceil(PAGE).max(1)) * PAGE;
        let old = bytes(vfs, name);
        let of = |at: u64| old[at as usize..old.len().min((at + PAGE) as usize)].to_vec();
        match rng.u8(..12) {
            0..5 => {
                let at = rng.u64(..len.max(1));
                overwrite(vfs, name, at, &[old[at as usize] ^ (1 << rng.u8(..8))]);
            }
            5..8 => overwrite(vfs, name, page, &vec![0; of(page).len()]),
            8 => {
                let noise: Vec<u8> = (0..of(page).len()).map(|_| rng.u8(..)).collect();
                overwrite(vfs, name, page, &noise);
            }
            // A write that went to the wrong place.
            9 => overwrite(vfs, name, page, &of(rng.u64(..len.div_ceil(PAGE)) * PAGE)),
            10 => {
                let file = vfs.open(name, OpenMode::Write).unwrap();
                file.set_len(rng.u64(len / 2..len)).unwrap();
            }
            // Where nothing is left there is nothing to repair.
            _ if vfs.names().iter().filter(|name| *name != "LOCK").count() < 2 => {}
            _ => vfs.remove(name).unwrap(),
        }
    }
}

/// How many times as much as usual is tried: `SOCHDB_SEEDS=20 cargo test -p sochdb-operations`.
static TIMES: LazyLock<u64> = LazyLock::new(|| {
    let times = std::env::var("SOCHDB_SEEDS").ok();
    times.map_or(1, |times| times.parse().expect("SOCHDB_SEEDS is a number"))
});

static SAMPLES: LazyLock<Vec<Sample>> =
    LazyLock::new(|| (0..25 * (*TIMES).min(8)).map(sample).collect());

fn damaged(part: Part) {
    for seed in 0..150 * *TIMES {
        let sample = &SAMPLES[seed as usize % SAMPLES.len()];
        let vfs = sample.vfs.fork();
        let mut rng = Rng::with_seed(seed << 2 | part as u64);
        damage(&vfs, &mut rng, part);
        println!("seed {seed} {part:?}");
        let (report, _) = sample.mended(&vfs);
        let is_dated = !report.notes.iter().any(|note| note.contains("meta pages"));
        if part == Part::Data && is_dated {
            assert_eq!(report.lost_commits, [], "seed {seed}: the log is whole\n{report}");
            assert_eq!(report.last_commit, sample.last, "seed {seed}\n{report}");
        }
        if part == Part::Log {
            assert!(report.tables.iter().all(|table| table.is_whole()), "seed {seed}\n{report}");
        }
    }
}

#[test]
fn whatever_happens_to_the_data_file_each_wrong_row_is_named() {
    damaged(Part::Data);
}

#[test]
fn whatever_happens_to_the_log_each_wrong_row_is_named() {
    damaged(Part::Log);
}

#[test]
fn whatever_happens_to_all_files_each_wrong_row_is_named() {
    damaged(Part::Both);
}

/// How many rows of the model are there and right.
fn right(sample: &Sample, found: &Model) -> (usize, usize) {
    let rows = |model: &Model, name: &str| model.get(name).cloned().unwrap_or_default();
    let mut counts = (0, 0);
    for (name, expected) in &sample.model {
        let found = rows(found, name);
        counts.0 += expected.iter().filter(|(key, value)| found.get(*key) == Some(value)).count();
        counts.1 += expected.len();
    }
    counts
}

/// The numbers of the pages for which `want` holds, given level, table and checkpoint.
fn pages_with(vfs: &MemoryVfs, want: impl Fn(u8, u32, u64) -> bool) -> Vec<u64> {
    let all = bytes(vfs, "data.soch");
    let is_wanted = |page: &[u8], number: u64| {
        let number_at = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().unwrap());
        let table = u32::from_le_bytes(page[20..24].try_into().unwrap());
        number_at(8) == number && page[4] != 0 && want(page[5], table, number_at(24))
    };
    let pages = (0..).zip(all.chunks_exact(PAGE as usize));
    pages.filter(|(number, page)| is_wanted(page, *number)).map(|(number, _)| number).collect()
}

fn zero(vfs: &MemoryVfs, pages: impl IntoIterator<Item = u64>) {
    for page in pages {
        overwrite(vfs, "data.soch", page * PAGE, &[0; PAGE as usize]);
    }
}

#[test]
fn without_meta_pages_everything_is_saved() {
    for sample in SAMPLES.iter() {
        let vfs = sample.vfs.fork();
        zero(&vfs, [0, 1]);
        assert!(open(&vfs, Options::default()).is_err());
        let (report, found) = sample.mended(&vfs);
        assert_eq!(found, sample.model, "{report}");
        assert!(report.notes[0].contains("2 of the 2 meta pages"), "{report}");
        assert!(report.tables.iter().all(|table| table.is_whole()), "{report}");
    }
}

#[test]
fn without_the_newest_meta_page_everything_is_saved() {
    for sample in SAMPLES.iter() {
        for page in [0, 1] {
            let vfs = sample.vfs.fork();
            zero(&vfs, [page]);
            let (report, found) = sample.mended(&vfs);
            assert_eq!(found, sample.model, "{report}");
        }
    }
}

#[test]
fn without_the_catalogs_root_most_is_saved_and_all_of_it_named_doubtful() {
    let (mut saved, mut all) = (0, 0);
    for sample in SAMPLES.iter() {
        let vfs = sample.vfs.fork();
        let newest =
            (1..).take_while(|n| !pages_with(&vfs, |_, t, s| t == 0 && *n <= s).is_empty());
        let newest = newest.last().unwrap();
        zero(&vfs, pages_with(&vfs, |_, table, sequence| table == 0 && sequence == newest));
        let (report, found) = sample.mended(&vfs);
        assert!(report.tables.iter().all(|table| !table.is_whole()), "{report}");
        let (right, of) = right(sample, &found);
        (saved, all) = (saved + right, all + of);
    }
    assert!(all * 9 < saved * 10, "{saved} of {all} rows");
}

#[test]
fn without_an_inner_page_the_leaves_below_are_found() {
    for sample in SAMPLES.iter() {
        let vfs = sample.vfs.fork();
        let inner = pages_with(&vfs, |level, _, _| 0 < level);
        assert!(!inner.is_empty());
        zero(&vfs, inner);
        let (report, found) = sample.mended(&vfs);
        let (right, of) = right(sample, &found);
        assert_eq!(right, of, "nothing but rows that were deleted came in addition\n{report}");
        assert!(report.tables.iter().any(|table| 0 < table.unreferenced), "{report}");
    }
}

#[test]
fn of_each_leaf_that_is_gone_exactly_the_rows_are_lost() {
    let sample = &SAMPLES[3];
    let kernel = open(&sample.vfs.fork(), Options::default()).unwrap();
    let whole = world::read(&kernel);
    assert_eq!(whole, sample.model);
    let leaves = pages_with(&sample.vfs, |level, table, _| level == 0 && table != 0);
    assert!(20 < leaves.len(), "{} leaves", leaves.len());
    let mut lost = 0;
    for page in leaves {
        let vfs = sample.vfs.fork();
        zero(&vfs, [page]);
        let (report, found) = sample.mended(&vfs);
        let (right, of) = right(sample, &found);
        lost += of - right;
        assert!(of - right < 40, "page {page}: {right} of {of}\n{report}");
        let places: usize = report.tables.iter().map(|table| table.lost.len()).sum();
        assert!(places <= 1, "{report}");
    }
    assert!(0 < lost);
}

#[test]
fn a_broken_record_costs_its_own_transaction() {
    let sample = SAMPLES.iter().find(|s| 10 < bytes_of_log(s)).unwrap();
    let name = sample.vfs.names().into_iter().rfind(|name| name.ends_with(".wal")).unwrap();
    let vfs = sample.vfs.fork();
    let log = bytes(&vfs, &name);
    let first = (64..log.len() - 8).step_by(8).nth(2).unwrap() as u64;
    overwrite(&vfs, &name, first, &[log[first as usize] ^ 1]);
    let (report, _) = sample.mended(&vfs);
    let lost: u64 = report.lost_commits.iter().map(|lost| lost.last.0 - lost.first.0 + 1).sum();
    assert!(lost <= 1, "{report}");
    assert_eq!(report.last_commit, sample.last, "{report}");
    assert!(report.to_string().contains("broken record"), "{report}");
}

fn bytes_of_log(sample: &Sample) -> usize {
    let names = sample.vfs.names().into_iter().filter(|name| name.ends_with(".wal"));
    names.map(|name| bytes(&sample.vfs, &name).iter().filter(|&&byte| byte != 0).count()).sum()
}

#[test]
fn a_missing_log_file_is_a_hole_in_the_order() {
    let (vfs, mut rng) = (MemoryVfs::new(), Rng::with_seed(77));
    let kernel = open(&vfs, Options::default()).unwrap();
    let mut model = create(&kernel);
    fill(&kernel, &mut model, &mut rng, 200);
    let last = kernel.begin_read().unwrap().snapshot();
    drop(kernel);
    let logs: Vec<_> = vfs.names().into_iter().filter(|name| name.ends_with(".wal")).collect();
    assert!(4 < logs.len(), "{logs:?}");
    vfs.remove(&logs[2]).unwrap();
    let (report, target) = mend(&vfs).unwrap();
    assert_eq!(report.lost_commits.len(), 1, "{report}");
    assert_eq!(report.last_commit, last, "{report}");
    let text = report.to_string();
    assert!(text.contains("LOST commits") && text.contains("is missing"), "{text}");
    let lost = &report.lost_commits[0];
    let count = lost.last.0 - lost.first.0 + 1;
    assert_eq!(report.transactions + count, 200, "the others were applied\n{text}");
    healthy(&open(&target, Options::default()).unwrap());
}

#[test]
fn without_its_plugin_a_table_loses_its_segments_and_says_so() {
    let sample = &SAMPLES[1];
    let target = MemoryVfs::new();
    let env = Environment::with_vfs(Arc::new(target.clone()));
    let report = repair(&sample.vfs, &env, &RepairOptions::default(), &mut |_| {}).unwrap();
    let named = |name: &str| report.tables.iter().find(|table| table.name == name).unwrap();
    let columns = named("columns");
    assert!(columns.lost[0].why.contains("'engine' is missing"), "{report}");
    assert!(columns.notes[0].contains("no longer in the storage 'engine'"), "{report}");
    assert!(named("plain").is_whole(), "{report}");
    let kernel = Kernel::open(env, Options::default()).unwrap();
    assert_eq!(world::read(&kernel)["plain"], sample.model["plain"]);
    assert!(named("squeezed").lost.iter().all(|lost| lost.why.contains("'shrink' is missing")));
}

#[test]
fn noise_repairs_to_an_empty_database_and_nothing_to_none() {
    let mut rng = Rng::with_seed(5);
    for round in 0..30 {
        let vfs = MemoryVfs::new();
        for name in ["data.soch", "wal/0000000000000040.wal", "wal/zz.wal", "archive/ff.wal"] {
            if rng.bool() {
                let noise: Vec<u8> = (0..rng.usize(..60_000)).map(|_| rng.u8(..)).collect();
                vfs.open(name, OpenMode::Create).unwrap().write_at(0, &noise).unwrap();
            }
        }
        let names = vfs.names();
        if !names.iter().any(|name| name != "wal/zz.wal") {
            assert_eq!(mend(&vfs).err().unwrap().kind(), ErrorKind::NotFound, "round {round}");
            continue;
        }
        let (report, target) = mend(&vfs).unwrap();
        assert_eq!(report.tables, [], "round {round}");
        assert!(!report.is_whole(), "round {round}");
        healthy(&open(&target, Options { create: false, ..Options::default() }).unwrap());
    }
}

/// Bytes that pass their checksums and yet make no sense: a program's mistake, or malice.
#[test]
fn bytes_that_lie_under_a_good_checksum_never_panic() {
    for seed in 0..100 * *TIMES {
        let sample = &SAMPLES[seed as usize % SAMPLES.len()];
        let (vfs, mut rng) = (sample.vfs.fork(), Rng::with_seed(seed));
        let pages = bytes(&vfs, "data.soch").len() as u64 / PAGE;
        for _ in 0..rng.usize(1..30) {
            let page = if rng.u8(..4) == 0 { rng.u64(..2) } else { rng.u64(2..pages) };
            let at = (page * PAGE) as usize;
            let mut bytes = bytes(&vfs, "data.soch")[at..at + PAGE as usize].to_vec();
            for _ in 0..rng.usize(1..4) {
                let at = if rng.bool() { rng.usize(4..140) } else { rng.usize(4..4092) };
                bytes[at] = if rng.bool() { rng.u8(..) } else { 255 * rng.u8(..2) };
            }
            let crc = |bytes: &[u8]| sochdb_encoding::codec::crc(bytes).to_le_bytes();
            if page < 2 {
                let sum = crc(&bytes[..4092]);
                bytes[4092..].copy_from_slice(&sum);
            } else {
                let sum = crc(&bytes[4..]);
                bytes[..4].copy_from_slice(&sum);
            }
            overwrite(&vfs, "data.soch", page * PAGE, &bytes);
        }
        if rng.bool() {
            zero(&vfs, [0, 1]);
        }
        match mend(&vfs) {
            Ok((_, target)) => {
                healthy(&open(&target, Options { create: false, ..Options::default() }).unwrap());
            }
            Err(error) => {
                assert!(error.to_string().contains("newer"), "seed {seed}: {error}");
            }
        }
    }
}

#[test]
fn log_records_that_lie_under_a_good_checksum_never_panic() {
    for seed in 0..100 * *TIMES {
        let sample = &SAMPLES[seed as usize % SAMPLES.len()];
        let (vfs, mut rng) = (sample.vfs.fork(), Rng::with_seed(seed));
        for name in vfs.names().into_iter().filter(|name| name.ends_with(".wal")) {
            let mut log = bytes(&vfs, &name);
            let start = name.rsplit('/').next().unwrap().strip_suffix(".wal").unwrap();
            let start = u64::from_str_radix(start, 16).unwrap();
            let mut at = 64;
            while let Ok(frame) = record::decode_frame(&log[at..], start + at as u64 - 64) {
                let end = at + frame.bytes;
                if rng.u8(..8) == 0 {
                    for _ in 0..rng.usize(1..4) {
                        let target = rng.usize(at + 16..end.min(at + 120));
                        log[target] = if rng.bool() { rng.u8(..) } else { 255 * rng.u8(..2) };
                    }
                    let crc = sochdb_encoding::codec::crc(&log[at + 4..end]).to_le_bytes();
                    log[at..at + 4].copy_from_slice(&crc);
                }
                at = end;
            }
            overwrite(&vfs, &name, 0, &log);
        }
        if rng.bool() {
            zero(&vfs, 0..rng.u64(1..5));
        }
        let (_, target) = mend(&vfs).unwrap();
        healthy(&open(&target, Options { create: false, ..Options::default() }).unwrap());
    }
}

#[test]
fn a_used_target_and_an_open_source_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| Environment::disk(dir.path().join(name)));
    let kernel = Kernel::open(old.clone(), Options::default()).unwrap();
    kernel.create_table("t", TableOptions::default()).unwrap();
    kernel.run(|tx| tx.put("t", b"key", b"value")).unwrap();
    let to = |target: &Environment| {
        repair(&*old.vfs, target, &RepairOptions::default(), &mut |_| {}).map_err(|e| e.kind())
    };
    assert_eq!(to(&new), Err(ErrorKind::Unavailable), "it is open");
    drop(kernel);
    assert_eq!(to(&old), Err(ErrorKind::Invalid), "onto itself");
    assert!(to(&new).unwrap().is_whole());
    assert_eq!(to(&new), Err(ErrorKind::Invalid), "the target is used now");
    let kernel = Kernel::open(new, Options::default()).unwrap();
    assert_eq!(kernel.begin_read().unwrap().get("t", b"key").unwrap().unwrap(), b"value");
}

#[test]
fn a_repair_that_is_cut_short_leaves_no_database() {
    let sample = &SAMPLES[2];
    let register = |plugins: &sochdb_kernel::plugin::PluginManager| {
        register(plugins);
        Ok(())
    };
    let run = |target: &Forgetful| {
        let options = Options { wal_segment_bytes: 16 << 10, ..Options::default() };
        let options = RepairOptions { register: &register, options, ..RepairOptions::default() };
        let env = Environment::with_vfs(Arc::new(target.clone()));
        repair(&sample.vfs, &env, &options, &mut |_| {})
    };
    let whole = Forgetful::default();
    run(&whole).unwrap();
    let left = whole.left(true);
    assert_eq!(world::read(&open(&left, Options::default()).unwrap()), sample.model);
    for crash_at in 1..=whole.calls() {
        let target = Forgetful::new(&MemoryVfs::new(), Some(crash_at));
        run(&target).unwrap_err();
        for synced in [false, true] {
            let left = target.left(synced);
            if left.names().iter().any(|name| name == "data.soch") {
                // Only the last sync failed: the name may be there, and then all of it is.
                assert_eq!(world::read(&open(&left, Options::default()).unwrap()), sample.model);
                continue;
            }
            let options = Options { create: false, ..Options::default() };
            assert!(open(&left, options).is_err(), "call {crash_at}");
            let again = Forgetful::new(&left, None);
            run(&again).unwrap();
            assert_eq!(
                world::read(&open(&again.left(true), Options::default()).unwrap()),
                sample.model
            );
        }
    }
}

#[test]
fn progress_never_goes_back() {
    let mut last = 0;
    let sample = &SAMPLES[4];
    let vfs = sample.vfs.fork();
    zero(&vfs, [0, 1]);
    let env = Environment::with_vfs(Arc::new(MemoryVfs::new()));
    let mut parts = BTreeSet::new();
    repair(&vfs, &env, &RepairOptions::default(), &mut |progress| {
        assert!(last <= progress.done_bytes && 0 < progress.total_bytes, "{progress:?}");
        last = progress.done_bytes;
        parts.insert(progress.what.to_owned());
    })
    .unwrap();
    assert!(parts.contains("table 'plain'") && parts.contains("done"), "{parts:?}");
}

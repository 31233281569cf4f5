//! An archived log that is compressed: read, checked, restored from, damaged, and cut short at any moment.

use crate::engine::Shrink;
use crate::forgetful::Forgetful;
use crate::world::{self, overwrite};
use sochdb_kernel::plugin::{
    CompressionExtension, Extension, ExtensionCapability, ExtensionInfo, PluginManager,
};
use sochdb_kernel::vfs::{OpenMode, Vfs};
use sochdb_kernel::{
    Environment, ErrorKind, Kernel, KernelError, KernelResult, Options, PluginFault, TableOptions,
    Timestamp,
};
use sochdb_operations::{
    ArchiveReport, CheckOptions, CheckReport, RepairOptions, backup, changes, check_with,
    compress_archive, repair, restore, restore_with,
};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn options() -> Options {
    Options { wal_archive: true, wal_segment_bytes: 16 << 10, ..Options::default() }
}

fn open(vfs: &(impl Vfs + Clone + 'static)) -> Kernel {
    let kernel = Kernel::open(Environment::with_vfs(Arc::new(vfs.clone())), options()).unwrap();
    world::register(kernel.plugins());
    kernel
}

/// Commits `count` more rows, with a checkpoint after every eighth.
fn fill(kernel: &Kernel, count: u64) {
    for _ in 0..count {
        let number = kernel.begin_read().unwrap().snapshot().0;
        kernel.run(|tx| tx.put("t", &number.to_be_bytes(), &[number as u8; 3000])).unwrap();
        if number.is_multiple_of(8) {
            kernel.checkpoint().unwrap();
        }
    }
}

/// A database with an archive of several files.
fn filled() -> (MemoryVfs, Kernel) {
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs);
    kernel.create_table("t", TableOptions::default()).unwrap();
    fill(&kernel, 60);
    (vfs, kernel)
}

fn compress(kernel: &Kernel) -> KernelResult<ArchiveReport> {
    compress_archive(kernel, "shrink", usize::MAX, &mut |_| {})
}

/// The archive's files that are compressed, and those that are not.
fn archived(vfs: &MemoryVfs) -> (Vec<String>, Vec<String>) {
    let names = vfs.names().into_iter().filter(|name| name.starts_with("archive/"));
    names.partition(|name| name.ends_with(".wal.z"))
}

fn checked(kernel: &Kernel, deep: bool) -> CheckReport {
    check_with(kernel, CheckOptions { deep }, &mut |_| {}).unwrap()
}

/// Every commit there ever was is told by the log, and nothing is wrong.
fn is_whole(kernel: &Kernel) {
    let last = kernel.begin_read().unwrap().snapshot().0;
    let told = changes(kernel, Timestamp(0)).unwrap().map(|change| change.unwrap().timestamp.0);
    assert!(told.take(last as usize).eq(1..=last));
    let report = checked(kernel, true);
    assert!(report.is_healthy(), "{:?}", report.problems);
}

#[test]
fn an_archive_is_compressed_oldest_first_and_reads_as_before() {
    let (vfs, kernel) = filled();
    let (none, files) = archived(&vfs);
    assert!(none.is_empty() && 8 < files.len(), "{files:?}");
    let bytes: usize = files.iter().map(|name| world::bytes(&vfs, name).len()).sum();

    let report = compress_archive(&kernel, "shrink", 3, &mut |_| {}).unwrap();
    assert_eq!((report.compressed, report.refused), (3, 0));
    let (compressed, plain) = archived(&vfs);
    let oldest: Vec<_> = files[..3].iter().map(|name| format!("{name}.z")).collect();
    assert_eq!((compressed, &plain[..]), (oldest, &files[3..]));
    is_whole(&kernel);
    assert_eq!(checked(&kernel, false).archived, 3);

    let mut parts = Vec::new();
    let rest = compress_archive(&kernel, "shrink", usize::MAX, &mut |progress| {
        parts.push((progress.done_bytes, progress.what.to_owned()));
    });
    let rest = rest.unwrap();
    assert_eq!(rest.compressed as usize, files.len() - 3);
    assert_eq!((report.raw_bytes + rest.raw_bytes) as usize, bytes);
    let (compressed, plain) = archived(&vfs);
    let stored: usize = compressed.iter().map(|name| world::bytes(&vfs, name).len()).sum();
    assert_eq!((report.stored_bytes + rest.stored_bytes) as usize, stored);
    assert!(plain.is_empty() && stored * 10 < bytes, "{stored} of {bytes} bytes");
    assert!(parts.is_sorted_by_key(|(done, _)| *done), "{parts:?}");
    assert!(parts.iter().any(|(_, what)| *what == files[3]), "{parts:?}");
    is_whole(&kernel);

    let nothing = compress(&kernel).unwrap();
    assert_eq!((nothing.compressed, nothing.refused, nothing.raw_bytes), (0, 0, 0));
    kernel.close().unwrap();
    let kernel = open(&vfs);
    is_whole(&kernel);
    fill(&kernel, 30);
    assert!(0 < compress(&kernel).unwrap().compressed);
    is_whole(&kernel);
}

#[test]
fn readers_of_the_log_notice_nothing_while_it_is_compressed() {
    let (_vfs, kernel) = filled();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Acquire) || rounds == 0 {
                is_whole(&kernel);
                rounds += 1;
            }
        });
        let mut compressed = 0;
        let mut work = || -> KernelResult<()> {
            for _ in 0..12 {
                fill(&kernel, 8);
                compressed += compress_archive(&kernel, "shrink", 5, &mut |_| {})?.compressed;
            }
            Ok(())
        };
        let worked = work();
        done.store(true, Ordering::Release);
        worked.unwrap();
        reader.join().unwrap();
        // What a reader pins is archived once it is done; so how many there were is a matter of luck.
        assert!(0 < compressed, "{compressed} files");
    });
    is_whole(&kernel);
}

#[test]
fn a_crash_at_any_call_leaves_an_archive_that_is_whole() {
    let (vfs, kernel) = filled();
    let last = kernel.begin_read().unwrap().snapshot();
    kernel.close().unwrap();
    let run = |crash_at: Option<u64>| {
        let disk = Forgetful::new(&vfs, crash_at);
        let kernel = open(&disk);
        let begun = disk.calls();
        let result = compress_archive(&kernel, "shrink", 3, &mut |_| {});
        (begun, disk.calls(), result, disk)
    };
    let (begun, ended, result, _) = run(None);
    assert_eq!(result.unwrap().compressed, 3);
    assert!(begun + 3 * 7 <= ended, "from {begun} to {ended}");
    let mut states = BTreeMap::new();
    for crash_at in begun + 1..=ended {
        let (_, _, result, disk) = run(Some(crash_at));
        let error = result.expect_err("the power is gone");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        for synced in [false, true] {
            let left = disk.left(synced);
            let kernel = open(&left);
            assert_eq!(kernel.begin_read().unwrap().snapshot(), last);
            is_whole(&kernel);
            let (compressed, plain) = archived(&left);
            let unfinished = plain.iter().filter(|name| name.ends_with(".tmp")).count();
            states.insert((compressed.len(), unfinished, synced), ());
            compress(&kernel).unwrap();
            is_whole(&kernel);
            let (compressed, plain) = archived(&left);
            assert!(plain.is_empty() && 8 < compressed.len(), "{plain:?}");
        }
    }
    assert!(4 < states.len(), "crashes left {:?}", states.keys());
}

/// A codec that breaks what it is given once `breaks` is set.
#[derive(Clone, Default)]
struct Unsteady {
    breaks: Arc<AtomicBool>,
}

impl Extension for Unsteady {
    fn info(&self) -> ExtensionInfo {
        ExtensionInfo {
            name: "unsteady".to_owned(),
            version: "1".to_owned(),
            description: "for tests".to_owned(),
            author: "nobody".to_owned(),
            capabilities: vec![ExtensionCapability::Compression],
        }
    }
}

impl CompressionExtension for Unsteady {
    fn compress(&self, input: &[u8]) -> KernelResult<Vec<u8>> {
        Shrink.compress(input)
    }

    fn decompress(&self, input: &[u8], raw_bytes: usize) -> KernelResult<Vec<u8>> {
        let mut raw = Shrink.decompress(input, raw_bytes)?;
        raw[100] ^= u8::from(self.breaks.load(Ordering::Relaxed));
        Ok(raw)
    }
}

#[test]
fn what_a_codec_does_not_bring_back_stays_as_it_is_and_is_counted() {
    let (vfs, kernel) = filled();
    let unsteady = Unsteady::default();
    kernel.plugins().register_compression(Arc::new(unsteady.clone()));
    unsteady.breaks.store(true, Ordering::Relaxed);
    let (_, files) = archived(&vfs);
    let report = compress_archive(&kernel, "unsteady", 2, &mut |_| {}).unwrap();
    assert_eq!((report.compressed, report.refused as usize), (0, files.len()));
    let refusal = report.refusal.unwrap();
    assert!(matches!(&refusal, KernelError::Plugin { fault: PluginFault::Lied, .. }), "{refusal}");
    assert_eq!(archived(&vfs), (Vec::new(), files));
    is_whole(&kernel);

    unsteady.breaks.store(false, Ordering::Relaxed);
    assert_eq!(compress_archive(&kernel, "unsteady", 2, &mut |_| {}).unwrap().compressed, 2);
    is_whole(&kernel);
    unsteady.breaks.store(true, Ordering::Relaxed);
    let report = checked(&kernel, true);
    assert_eq!((report.found(), report.archived), (2, 2), "{:?}", report.problems);
    assert!(checked(&kernel, false).is_healthy(), "what is stored is what was written");
}

#[test]
fn a_codec_that_is_missing_is_named_and_all_but_the_archive_works() {
    let (vfs, kernel) = filled();
    compress(&kernel).unwrap();
    kernel.close().unwrap();
    let env = Environment::with_vfs(Arc::new(vfs.clone()));
    let kernel = Kernel::open(env, options()).unwrap();
    let named = |error: &KernelError| {
        let KernelError::Plugin { plugin, fault, message } = error else { panic!("{error}") };
        assert_eq!((plugin.as_str(), *fault), ("shrink", PluginFault::Missing));
        assert!(message.contains("archive/") && message.contains(".wal.z"), "{message}");
    };
    named(changes(&kernel, Timestamp(0)).err().as_ref().unwrap());
    let missing = compress(&kernel).unwrap_err();
    assert!(
        matches!(missing, KernelError::Plugin { fault: PluginFault::Missing, .. }),
        "{missing}"
    );
    let report = checked(&kernel, true);
    assert_eq!(report.found(), report.archived);
    report.problems.iter().for_each(named);
    assert!(checked(&kernel, false).is_healthy());
    fill(&kernel, 20);
    let now = kernel.begin_read().unwrap().snapshot();
    let mut since = changes(&kernel, now).unwrap();
    assert!(since.next().is_none(), "the log since then needs no codec");
    fill(&kernel, 1);
    assert_eq!(since.next().unwrap().unwrap().timestamp.0, now.0 + 1);
    world::register(kernel.plugins());
    is_whole(&kernel);
}

#[test]
fn a_database_is_restored_from_a_compressed_archive_with_its_codecs() {
    let (vfs, kernel) = filled();
    let copy = MemoryVfs::new();
    let from = backup(&kernel, &copy, &mut |_| {}).unwrap().timestamp;
    fill(&kernel, 60);
    let last = kernel.begin_read().unwrap().snapshot();
    assert!(10 < compress(&kernel).unwrap().compressed);
    drop(kernel);
    let [copy, target] = [copy, MemoryVfs::new()].map(|vfs| Environment::with_vfs(Arc::new(vfs)));
    let error = restore(&copy, Some(&vfs), &target, None, &mut |_| {}).unwrap_err();
    assert!(matches!(error, KernelError::Plugin { fault: PluginFault::Missing, .. }), "{error}");
    assert!(
        error.to_string().contains("shrink") && error.to_string().contains("archive/"),
        "{error}"
    );

    let codecs = PluginManager::default();
    codecs.register_compression(Arc::new(Shrink));
    for until in [from.0, from.0 + 1, from.0 + 31, last.0] {
        let target = MemoryVfs::new();
        let env = Environment::with_vfs(Arc::new(target.clone()));
        let until = Timestamp(until);
        restore_with(&copy, Some(&vfs), &codecs, &env, Some(until), &mut |_| {}).unwrap();
        let kernel = open(&target);
        assert_eq!(kernel.begin_read().unwrap().snapshot(), until);
        assert_eq!(world::read(&kernel)["t"].len() as u64, until.0 - 1);
    }
}

#[test]
fn a_database_is_repaired_with_what_a_damaged_archive_still_has() {
    let (vfs, kernel) = filled();
    compress(&kernel).unwrap();
    let rows = world::read(&kernel)["t"].len();
    kernel.close().unwrap();
    vfs.remove("data.soch").unwrap();
    let repaired = |vfs: &MemoryVfs| {
        let target = MemoryVfs::new();
        let env = Environment::with_vfs(Arc::new(target.clone()));
        let register = |plugins: &PluginManager| {
            world::register(plugins);
            Ok(())
        };
        let options = RepairOptions { register: &register, ..RepairOptions::default() };
        let report = repair(vfs, &env, &options, &mut |_| {}).unwrap();
        (world::read(&open(&target)).remove("t").map_or(0, |rows| rows.len()), report)
    };
    assert_eq!(repaired(&vfs).0, rows, "all of it is in the archive");

    let (files, _) = archived(&vfs);
    let at = world::bytes(&vfs, &files[3]).len() as u64 - 1;
    overwrite(&vfs, &files[3], at, &[0xaa]);
    overwrite(&vfs, &files[5], 3, &[0xaa]);
    let (saved, report) = repaired(&vfs);
    assert!(saved < rows && rows - 14 < saved, "{saved} of {rows}");
    let notes = report.to_string();
    assert!(notes.contains(&files[3]) && notes.contains(&files[5]), "{notes}");
}

#[test]
fn damage_to_a_compressed_file_is_found_and_named() {
    let (vfs, kernel) = filled();
    compress(&kernel).unwrap();
    let (files, _) = archived(&vfs);
    let len = world::bytes(&vfs, &files[2]).len();
    for at in (0..len).step_by(7) {
        let before = world::bytes(&vfs, &files[2])[at];
        overwrite(&vfs, &files[2], at as u64, &[before ^ 0x20]);
        for deep in [false, true] {
            let report = checked(&kernel, deep);
            assert_eq!(report.found(), 1, "byte {at}: {:?}", report.problems);
            let KernelError::Corrupt { file, .. } = &report.problems[0] else {
                panic!("byte {at}")
            };
            assert_eq!(*file, files[2]);
        }
        let mut told = changes(&kernel, Timestamp(0)).unwrap();
        assert!(told.any(|change| change.is_err()), "byte {at}");
        overwrite(&vfs, &files[2], at as u64, &[before]);
    }
    is_whole(&kernel);
}

#[test]
fn only_an_open_database_that_may_be_written_to_has_its_archive_compressed() {
    let (vfs, kernel) = filled();
    assert_eq!(
        compress_archive(&kernel, "none such", 1, &mut |_| {}).unwrap_err().kind(),
        ErrorKind::Plugin
    );
    kernel.close().unwrap();
    assert_eq!(compress(&kernel).unwrap_err().kind(), ErrorKind::Closed);
    drop(kernel);
    let env = Environment::with_vfs(Arc::new(vfs.clone()));
    let kernel = Kernel::open(env, Options { read_only: true, ..options() }).unwrap();
    world::register(kernel.plugins());
    assert_eq!(compress(&kernel).unwrap_err().kind(), ErrorKind::Invalid);
    assert!(archived(&vfs).0.is_empty());
    // A file that is no log file is left alone.
    vfs.open("archive/notes.tmp", OpenMode::Create).unwrap();
    drop(kernel);
    compress(&open(&vfs)).unwrap();
    assert_eq!(archived(&vfs).1, ["archive/notes.tmp"]);
}

#[test]
fn the_log_is_read_from_any_commit_on() {
    let (_vfs, kernel) = filled();
    compress(&kernel).unwrap();
    let now = kernel.begin_read().unwrap().snapshot();
    for since in 0..now.0 {
        let Ok(mut told) = changes(&kernel, Timestamp(since)) else { panic!("since {since}") };
        assert_eq!(told.next().unwrap().unwrap().timestamp.0, since + 1);
    }
}

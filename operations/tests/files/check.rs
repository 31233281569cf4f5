//! What `check` finds: nothing in a healthy database, and each byte that is not as it was written.

use crate::world::{self, TABLES, bytes, create, fill, open, overwrite};
use fastrand::Rng;
use sochdb_kernel::{ErrorKind, Kernel, KernelResult, Options};
use sochdb_operations::{CheckOptions, CheckReport, check, check_with};
use sochdb_sim::MemoryVfs;

fn deep(kernel: &Kernel) -> KernelResult<CheckReport> {
    check_with(kernel, CheckOptions { deep: true }, &mut |_| {})
}

fn filled(seed: u64) -> (MemoryVfs, Kernel, world::Model) {
    let (vfs, mut rng) = (MemoryVfs::new(), Rng::with_seed(seed));
    let kernel = open(&vfs, Options::default()).unwrap();
    let mut model = create(&kernel);
    for _ in 0..3 {
        fill(&kernel, &mut model, &mut rng, 100);
        kernel.checkpoint().unwrap();
    }
    (vfs, kernel, model)
}

#[test]
fn a_healthy_database_has_no_problem_and_its_counts_are_right() {
    let (_vfs, kernel, model) = filled(1);
    let report = deep(&kernel).unwrap();
    assert!(report.is_healthy(), "{:?}", report.problems);
    let in_trees = TABLES.iter().filter(|name| **name != "columns");
    assert_eq!(report.rows as usize, in_trees.map(|name| model[*name].len()).sum::<usize>());
    let stats = kernel.stats();
    assert_eq!((report.segments, report.pages_free), (stats.segments, stats.pages_free));
    assert_eq!(report.pages + report.pages_free + 2, stats.pages_total);
    assert_eq!(report.log_records, 1, "nothing but the last CHECKPOINT");
    fill(&kernel, &mut model.clone(), &mut Rng::with_seed(2), 1);
    assert!(4 <= check(&kernel).unwrap().log_records, "and now BEGIN, rows, COMMIT");
}

#[test]
fn an_empty_database_is_healthy() {
    let kernel = open(&MemoryVfs::new(), Options::default()).unwrap();
    assert!(deep(&kernel).unwrap().is_healthy());
    kernel.close().unwrap();
    assert_eq!(check(&kernel).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn it_may_run_while_others_write_and_checkpoint() {
    let (_vfs, kernel, mut model) = filled(3);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = Rng::with_seed(4);
            for _ in 0..30 {
                fill(&kernel, &mut model, &mut rng, 20);
                kernel.checkpoint().unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            let report = deep(&kernel).unwrap();
            assert!(report.is_healthy(), "{:?}", report.problems);
        }
    });
    assert_eq!(world::read(&kernel), model);
}

#[test]
fn every_damaged_page_in_use_is_noticed_and_no_other_is_blamed() {
    let (vfs, kernel, _) = filled(5);
    fill(&kernel, &mut create_model(), &mut Rng::with_seed(6), 5);
    let pages = kernel.stats().pages_total;
    let healthy = check(&kernel).unwrap();
    let mut noticed = 0;
    for page in 2..pages {
        // Of a page in use, the first byte is.
        let at = page * 4096;
        let before = bytes(&vfs, "data.soch")[at as usize];
        overwrite(&vfs, "data.soch", at, &[before ^ 4]);
        let report = check(&kernel).unwrap();
        noticed += u64::from(!report.is_healthy());
        assert!(report.problems.len() <= 2, "{:?}", report.problems);
        overwrite(&vfs, "data.soch", at, &[before]);
    }
    assert_eq!(noticed, healthy.pages, "each page in use, and no free one");
    assert!(check(&kernel).unwrap().is_healthy());
}

/// A model for rows nobody will ask for.
fn create_model() -> world::Model {
    TABLES.map(|name| (name.to_owned(), world::Rows::new())).into()
}

#[test]
fn a_damaged_log_record_is_noticed() {
    let (vfs, kernel, _) = filled(8);
    fill(&kernel, &mut create_model(), &mut Rng::with_seed(9), 40);
    assert!(check(&kernel).unwrap().is_healthy());
    let last = vfs.names().into_iter().rfind(|name| name.ends_with(".wal")).unwrap();
    let before = bytes(&vfs, &last)[200];
    overwrite(&vfs, &last, 200, &[before ^ 1]);
    let report = check(&kernel).unwrap();
    assert_eq!(report.found(), 1);
    assert!(report.problems[0].to_string().contains("wal"), "{}", report.problems[0]);
}

#[test]
fn more_problems_than_anyone_reads_are_counted() {
    let vfs = MemoryVfs::new();
    let kernel = open(&vfs, Options::default()).unwrap();
    kernel.create_table("t", Default::default()).unwrap();
    let key = |number: u32| number.to_be_bytes();
    kernel.run(|tx| (0..1500).try_for_each(|n| tx.put("t", &key(n), &[1; 2000]))).unwrap();
    kernel.checkpoint().unwrap();
    assert!(check(&kernel).unwrap().is_healthy());
    let all = bytes(&vfs, "data.soch");
    let values = all.chunks(4096).enumerate().filter(|(_, page)| page[..100] == [1; 100]);
    values.for_each(|(page, _)| overwrite(&vfs, "data.soch", page as u64 * 4096, &[2]));
    let report = check(&kernel).unwrap();
    assert_eq!((report.problems.len(), report.problems_unlisted, report.rows), (1000, 500, 1500));
}

#[test]
fn a_deep_check_names_what_a_plugin_would_be_needed_for() {
    let (vfs, kernel, _) = filled(10);
    drop(kernel);
    let kernel = Kernel::open(
        sochdb_kernel::Environment::with_vfs(std::sync::Arc::new(vfs)),
        Options::default(),
    )
    .unwrap();
    assert!(check(&kernel).unwrap().is_healthy(), "bytes need no plugin");
    let report = deep(&kernel).unwrap();
    let text = format!("{:?}", report.problems);
    assert!(text.contains("engine") && text.contains("shrink"), "{text}");
}

#[test]
fn progress_grows_to_the_end() {
    let (_vfs, kernel, _) = filled(11);
    let mut seen = Vec::new();
    check_with(&kernel, CheckOptions::default(), &mut |progress| {
        assert!(progress.done_bytes <= progress.total_bytes, "{progress:?}");
        seen.push((progress.done_bytes, progress.what.to_owned()));
    })
    .unwrap();
    assert!(seen.is_sorted_by_key(|(done, _)| *done), "{seen:?}");
    assert!(seen.iter().any(|(_, what)| what == "table 'columns'"), "{seen:?}");
    assert_eq!(seen.last().unwrap().1, "done");
}

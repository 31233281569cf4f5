//! Progress, budgets, metrics and states of real openings.

use crate::engine::Engine;
use crate::sim_vfs::SimVfs;
use crate::{count, disk, fill, open, options, quick, slow};
use sochdb_kernel::{Environment, ErrorKind, Kernel, KernelError, Options, TableOptions};
use sochdb_operations::{
    BootBudgets, BootError, BootOrchestrator, BootPhase, BootState, BootWatch, HealthStatus,
    KernelHealth, PhaseProgress, PreloadHints, WarmupEnd,
};
use sochdb_sim::ManualClock;
use sochdb_telemetry::MetricValue;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const WAY: [BootState; 5] =
    [BootState::Init, BootState::Migrate, BootState::Recover, BootState::Warmup, BootState::Ready];

/// A database of about three mebibytes in its log and a table that is on disk.
fn database() -> SimVfs {
    let vfs = disk();
    let kernel = open(&vfs);
    fill(&kernel, "stored", 500, 1000);
    kernel.checkpoint().unwrap();
    fill(&kernel, "logged", 3000, 1000);
    vfs
}

/// Opens with a callback, and returns what it was told.
fn told(orchestrator: BootOrchestrator) -> Vec<PhaseProgress> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    orchestrator.on_progress(move |progress| told.lock().unwrap().push(progress)).open().unwrap();
    std::mem::take(&mut *seen.lock().unwrap())
}

#[test]
fn progress_never_falls_and_every_phase_reaches_its_total() {
    let vfs = database();
    let orchestrator =
        BootOrchestrator::new(slow(&vfs, 3), options()).preload(PreloadHints::all(1 << 30));
    let told = told(orchestrator);
    for pair in told.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        assert!(before.phase <= after.phase, "{before:?} {after:?}");
        if before.phase == after.phase {
            assert!(before.done <= after.done, "{before:?} {after:?}");
            assert!(before.elapsed_us <= after.elapsed_us, "{before:?} {after:?}");
        } else {
            assert_eq!(before.done, before.total, "{before:?} is the last of its phase");
        }
    }
    let of = |phase| told.iter().filter(|told| told.phase == phase).count();
    for phase in [BootPhase::Init, BootPhase::Migrate, BootPhase::Ready] {
        assert!(1 <= of(phase), "{phase:?}");
    }
    assert!(3 <= of(BootPhase::Recover), "three mebibytes of log: {told:?}");
    assert!(10 <= of(BootPhase::Warmup), "{told:?}");
    assert!(told.iter().all(|told| told.done <= told.total));
    assert_eq!(told.last().unwrap().phase, BootPhase::Ready);
}

#[test]
fn the_metrics_say_what_each_phase_took_and_found() {
    let vfs = database();
    let orchestrator =
        BootOrchestrator::new(slow(&vfs, 10), options()).preload(PreloadHints::all(1 << 30));
    let watch = orchestrator.watch();
    let booted = orchestrator.open().unwrap();
    let m = booted.metrics;
    assert_eq!((m.attempts, m.transactions, m.rows), (1, 3001, 3001));
    assert!(3_000_000 < m.log_bytes && m.log_bytes < 3_500_000, "{m:?}");
    assert!(10 <= m.init_us && 10 <= m.recover_us && 10 <= m.warmup_us, "{m:?}");
    assert_eq!(m.migrate_us, 0, "there is no older format");
    assert!(m.init_us + m.recover_us + m.warmup_us <= m.total_us, "{m:?}");
    assert_eq!((m.warmup_tables, m.warmup_rows), (2, 3500));
    assert_eq!(m.warmup_bytes, 3500 * 1004);
    let metrics = m.metrics();
    assert_eq!(metrics.len(), 13);
    let total = metrics.iter().find(|metric| metric.name == "sochdb_boot_seconds").unwrap();
    assert_eq!(total.value, MetricValue::Gauge(m.total_us as f64 / 1e6));
    assert_eq!((booted.state, booted.warmup_end), (BootState::Ready, WarmupEnd::Whole));
    assert!(booted.corrupt.is_none() && booted.warmup_skipped.is_empty());
    let states: Vec<BootState> = booted.history.iter().map(|step| step.state).collect();
    assert_eq!(states, WAY);
    let seen = watch.snapshot();
    assert_eq!((seen.state, seen.is_over, seen.history), (BootState::Ready, true, booted.history));
    assert_eq!(booted.kernel.health(), HealthStatus::Healthy);
    assert_eq!(count(&booted.kernel, "logged"), 3000);
}

/// Opens with `budgets`, which must not do, and then without, which must do at once.
fn stopped(vfs: &SimVfs, call_us: u64, budgets: BootBudgets) -> (BootPhase, u64, BootWatch) {
    let before = vfs.disk();
    let orchestrator = BootOrchestrator::new(slow(vfs, call_us), options()).budgets(budgets);
    let watch = orchestrator.watch();
    let error = orchestrator.open().unwrap_err();
    let BootError::Budget { phase, budget_us, spent_us } = error else { panic!("{error}") };
    assert!(budget_us < spent_us, "{spent_us} of {budget_us}");
    assert_eq!(error.phase(), phase);
    let seen = watch.snapshot();
    assert!(seen.is_over && seen.error.unwrap().contains("nothing is lost"));
    assert_eq!((seen.state, seen.progress.phase), (BootState::Failed, phase));
    for name in before.names() {
        assert!(vfs.disk().names().contains(&name), "{name} is gone");
    }
    let kernel = open(vfs);
    assert_eq!((count(&kernel, "stored"), count(&kernel, "logged")), (500, 3000));
    assert_eq!(KernelError::from(error).kind(), ErrorKind::Limit);
    (phase, spent_us, watch)
}

#[test]
fn a_spent_budget_stops_the_opening_and_loses_nothing() {
    let budgets = BootBudgets { init_us: Some(5), ..BootBudgets::default() };
    assert_eq!(stopped(&database(), 10, budgets).0, BootPhase::Init);
    let budgets = BootBudgets { recover_us: Some(50), ..BootBudgets::default() };
    let (phase, spent_us, watch) = stopped(&database(), 10, budgets);
    assert_eq!(phase, BootPhase::Recover);
    assert!(spent_us < 10_000, "it stops within a step: {spent_us}");
    let states: Vec<BootState> = watch.snapshot().history.iter().map(|step| step.state).collect();
    assert_eq!(
        states,
        [BootState::Init, BootState::Migrate, BootState::Recover, BootState::Failed]
    );
}

#[test]
fn the_kernels_last_steps_count_as_well() {
    let vfs = database();
    let told = told(BootOrchestrator::new(slow(&vfs, 10), options()));
    let last = told.iter().rfind(|told| told.phase == BootPhase::Recover).unwrap();
    let budgets = BootBudgets { recover_us: Some(last.elapsed_us), ..BootBudgets::default() };
    assert_eq!(stopped(&vfs, 10, budgets).0, BootPhase::Recover);
}

#[test]
fn a_slow_watcher_spends_the_budget_of_the_phase_it_watches() {
    let vfs = database();
    for phase in [BootPhase::Init, BootPhase::Migrate, BootPhase::Recover] {
        let env = quick(&vfs);
        let clock = Arc::new(ManualClock::default());
        let env = Environment { clock: clock.clone(), ..env };
        let budgets = BootBudgets {
            init_us: Some(99),
            migrate_us: Some(99),
            recover_us: Some(99),
            warmup_us: Some(99),
        };
        let error = BootOrchestrator::new(env, options())
            .budgets(budgets)
            .on_progress(move |told| clock.advance(if told.phase == phase { 100 } else { 0 }))
            .open()
            .unwrap_err();
        assert_eq!(error.phase(), phase);
        let BootError::Budget { budget_us: 99, spent_us: 100, .. } = error else {
            panic!("{error}")
        };
        drop(open(&vfs));
    }
}

#[test]
fn a_budget_that_is_met_stops_nothing() {
    let vfs = database();
    let env = slow(&vfs, 10);
    let metrics = BootOrchestrator::new(env, options()).open().unwrap().metrics;
    let budgets = BootBudgets {
        init_us: Some(metrics.init_us),
        migrate_us: Some(0),
        recover_us: Some(metrics.recover_us + 1_000),
        warmup_us: Some(0),
    };
    BootOrchestrator::new(slow(&vfs, 10), options()).budgets(budgets).open().unwrap();
}

#[test]
fn a_warmup_that_runs_out_of_budget_ends_early_and_serves() {
    let vfs = disk();
    let kernel = open(&vfs);
    fill(&kernel, "big", 2000, 2000);
    kernel.close().unwrap();
    let budgets = BootBudgets { warmup_us: Some(2_000), ..BootBudgets::default() };
    let booted = BootOrchestrator::new(slow(&vfs, 10), options())
        .budgets(budgets)
        .preload(PreloadHints::all(1 << 30))
        .open()
        .unwrap();
    assert_eq!((booted.state, booted.warmup_end), (BootState::Ready, WarmupEnd::Budget));
    let m = booted.metrics;
    assert!(0 < m.warmup_rows && m.warmup_rows < 2000, "{m:?}");
    assert!(2_000 < m.warmup_us && m.warmup_us < 4_000, "{m:?}");
    assert_eq!(count(&booted.kernel, "big"), 2000);
}

#[test]
fn what_was_preloaded_is_read_without_the_disk() {
    let vfs = disk();
    let kernel = open(&vfs);
    fill(&kernel, "hot", 300, 500);
    fill(&kernel, "cold", 300, 500);
    kernel.close().unwrap();
    drop(kernel);
    let hints = PreloadHints::tables(["hot", "gone"], 1 << 30);
    let booted = BootOrchestrator::new(quick(&vfs), options()).preload(hints).open().unwrap();
    assert_eq!((booted.metrics.warmup_tables, booted.metrics.warmup_rows), (1, 300));
    let (name, error) = &booted.warmup_skipped[0];
    assert_eq!((&**name, error.kind()), ("gone", ErrorKind::NotFound));
    let misses = |table| {
        let before = booted.kernel.stats().cache_misses;
        count(&booted.kernel, table);
        booted.kernel.stats().cache_misses - before
    };
    assert_eq!(misses("hot"), 0);
    assert!(0 < misses("cold"));
    // Never more than was allowed, nor than the cache holds.
    let bytes = |hints: PreloadHints, cache_bytes_max| {
        let options = Options { cache_bytes_max, ..options() };
        let vfs = SimVfs::new(vfs.disk(), 1);
        let booted = BootOrchestrator::new(quick(&vfs), options).preload(hints).open().unwrap();
        (booted.metrics.warmup_bytes, booted.warmup_end)
    };
    assert_eq!(bytes(PreloadHints::all(50_000), 1 << 30), (50_400, WarmupEnd::Bytes));
    assert_eq!(bytes(PreloadHints::all(1 << 30), 50_000), (50_400, WarmupEnd::Bytes));
    assert_eq!(bytes(PreloadHints::default(), 1 << 30), (0, WarmupEnd::Whole));
}

#[test]
fn a_new_database_boots_and_a_missing_one_does_not() {
    let booted = BootOrchestrator::new(quick(&disk()), options()).open().unwrap();
    assert!(booted.kernel.recovery().created);
    let orchestrator =
        BootOrchestrator::new(quick(&disk()), Options { create: false, ..options() });
    let watch = orchestrator.watch();
    let error = orchestrator.open().unwrap_err();
    let BootError::Failed { phase: BootPhase::Init, source } = error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::NotFound);
    assert_eq!(watch.snapshot().state, BootState::Failed);
}

#[test]
fn a_locked_database_is_refused_and_left_alone() {
    let vfs = disk();
    let kernel = open(&vfs);
    let error = BootOrchestrator::new(quick(&vfs), options()).open().unwrap_err();
    let BootError::Failed { phase: BootPhase::Init, source } = error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::Unavailable);
    fill(&kernel, "t", 1, 1);
}

#[test]
fn a_read_only_boot_writes_nothing() {
    let vfs = database();
    vfs.record();
    let read_only = Options { read_only: true, ..options() };
    let booted = BootOrchestrator::new(quick(&vfs), read_only)
        .preload(PreloadHints::all(1 << 30))
        .open()
        .unwrap();
    assert_eq!(booted.state, BootState::ReadOnly);
    assert_eq!(booted.kernel.health(), HealthStatus::ReadOnly { lost: Vec::new() });
    assert_eq!(count(&booted.kernel, "logged"), 3000);
    drop(booted);
    assert_eq!(vfs.take_trace().len(), 0, "calls that change the disk");
}

#[test]
fn another_thread_can_watch_a_boot() {
    let vfs = database();
    let orchestrator =
        BootOrchestrator::new(quick(&vfs), options()).preload(PreloadHints::all(1 << 30));
    let watch = orchestrator.watch();
    let watcher = std::thread::spawn(move || {
        let mut last = 0;
        loop {
            let seen = watch.wait(Duration::from_millis(1));
            assert!(last <= seen.history.len(), "the history never shrinks");
            last = seen.history.len();
            if seen.is_over {
                return seen;
            }
        }
    });
    orchestrator.open().unwrap();
    let seen = watcher.join().unwrap();
    assert_eq!(seen.history.iter().map(|step| step.state).collect::<Vec<_>>(), WAY);
}

#[test]
fn extensions_are_there_before_their_tables_are_preloaded() {
    let vfs = disk();
    let kernel = open(&vfs);
    kernel.plugins().register_storage(Arc::new(Engine { name: "engine", refuses: false }));
    let storage = Some("engine".to_owned());
    kernel.create_table("t", TableOptions { storage, ..TableOptions::default() }).unwrap();
    fill(&kernel, "t", 100, 100);
    kernel.close().unwrap();
    drop(kernel);
    let boot = || BootOrchestrator::new(quick(&vfs), options()).preload(PreloadHints::all(1 << 30));
    let booted = boot().open().unwrap();
    assert_eq!((booted.metrics.warmup_rows, &*booted.warmup_skipped[0].0), (0, "t"));
    assert_eq!(booted.warmup_skipped[0].1.kind(), ErrorKind::Plugin);
    drop(booted);
    let register = |kernel: &Kernel| {
        kernel.plugins().register_storage(Arc::new(Engine { name: "engine", refuses: false }));
        Ok(())
    };
    let booted = boot().prepare(register).open().unwrap();
    assert_eq!(booted.metrics.warmup_rows, 100);
    drop(booted);
    let error = boot().prepare(|_| Err(KernelError::invalid("no plugins"))).open().unwrap_err();
    let BootError::Failed { phase: BootPhase::Warmup, source } = error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::Invalid);
    drop(open(&vfs));
}

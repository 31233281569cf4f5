//! A database whose log is damaged, opened strictly and by force.

use crate::sim_vfs::SimVfs;
use crate::{count, disk, fill, open, options, quick};
use sochdb_kernel::{ErrorKind, Options};
use sochdb_operations::{
    BootBudgets, BootError, BootOrchestrator, BootPhase, BootState, HealthStatus, KernelHealth,
    PreloadHints, RecoveryMode,
};

const ROWS: usize = 200;

/// A database of which a bit in the middle of the log has turned over.
fn damaged() -> SimVfs {
    let vfs = disk();
    let kernel = open(&vfs);
    fill(&kernel, "stored", 10, 10);
    kernel.checkpoint().unwrap();
    fill(&kernel, "t", ROWS as u32, 1000);
    drop(kernel);
    let mut disk = vfs.disk().restart();
    let logs: Vec<String> = disk.names().into_iter().filter(|n| n.ends_with(".wal")).collect();
    assert!(3 <= logs.len(), "{logs:?}");
    disk.rot(&logs[1], |log| log.flip(8 * 30_000));
    SimVfs::new(disk, 1)
}

#[test]
fn without_leave_a_damaged_database_is_refused() {
    let vfs = damaged();
    let orchestrator = BootOrchestrator::new(quick(&vfs), options());
    let watch = orchestrator.watch();
    let error = orchestrator.open().unwrap_err();
    let BootError::Failed { phase: BootPhase::Recover, source } = error else { panic!("{error}") };
    assert_eq!(source.kind(), ErrorKind::Corrupt);
    let seen = watch.snapshot();
    assert_eq!(
        (seen.state, seen.mode, seen.is_over),
        (BootState::Failed, RecoveryMode::Strict, true)
    );
}

#[test]
fn with_leave_it_opens_by_force_read_only_and_says_what_is_lost() {
    let vfs = damaged();
    let before = vfs.disk();
    let orchestrator = BootOrchestrator::new(quick(&vfs), options())
        .allow_forced(true)
        .preload(PreloadHints::all(1 << 20));
    let watch = orchestrator.watch();
    let booted = orchestrator.open().unwrap();
    assert_eq!(booted.state, BootState::ForcedReadOnly);
    assert_eq!(booted.corrupt.unwrap().kind(), ErrorKind::Corrupt);
    let states: Vec<_> = booted.history.iter().map(|step| (step.state, step.mode)).collect();
    let (strict, forced) = (RecoveryMode::Strict, RecoveryMode::Forced);
    assert_eq!(
        states,
        [
            (BootState::Init, strict),
            (BootState::Migrate, strict),
            (BootState::Recover, strict),
            (BootState::Failed, strict),
            (BootState::Init, forced),
            (BootState::Migrate, forced),
            (BootState::Recover, forced),
            (BootState::Warmup, forced),
            (BootState::ForcedReadOnly, forced),
        ]
    );
    assert!(watch.snapshot().error.is_none());
    assert_eq!(booted.metrics.attempts, 2);
    let kernel = booted.kernel;
    let HealthStatus::ReadOnly { lost } = kernel.health() else { panic!("{}", kernel.health()) };
    assert!(lost[0].contains(".wal at byte"), "{lost:?}");
    // The rows before the damage are there, in order, and nothing behind it.
    let rows = count(&kernel, "t");
    assert!(20 < rows && rows < ROWS, "{rows}");
    let tx = kernel.begin_read().unwrap();
    for row in 0..rows as u32 {
        assert_eq!(tx.get("t", &row.to_be_bytes()).unwrap().unwrap(), vec![row as u8; 1000]);
    }
    assert_eq!(count(&kernel, "stored"), 10);
    let refused = kernel.run(|tx| tx.put("t", b"k", b"v")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    drop((tx, kernel));
    let after = vfs.disk();
    assert_eq!(before.names(), after.names());
    for name in before.names() {
        let (old, new) = (before.content(&name), after.content(&name));
        let bytes = |content: &crate::sim_disk::Content| {
            let mut bytes = vec![0; content.len()];
            content.read(0, &mut bytes);
            bytes
        };
        assert!(bytes(old) == bytes(new), "{name} was changed");
    }
}

#[test]
fn an_operator_may_ask_for_force_at_once() {
    let forced = Options { recovery: RecoveryMode::Forced, ..options() };
    let booted = BootOrchestrator::new(quick(&damaged()), forced).open().unwrap();
    assert_eq!((booted.state, booted.metrics.attempts), (BootState::ForcedReadOnly, 1));
    assert!(booted.corrupt.is_none() && !booted.kernel.recovery().lost.is_empty());
}

#[test]
fn force_is_only_for_broken_bytes() {
    let orchestrator =
        BootOrchestrator::new(quick(&disk()), Options { create: false, ..options() })
            .allow_forced(true);
    let watch = orchestrator.watch();
    let error = orchestrator.open().unwrap_err();
    assert!(matches!(error, BootError::Failed { phase: BootPhase::Init, .. }), "{error}");
    assert_eq!(watch.snapshot().history.len(), 2);
}

#[test]
fn what_even_force_cannot_open_says_both_reasons() {
    let vfs = damaged();
    let mut disk = vfs.disk();
    // Both copies of the record that says where everything is.
    disk.rot("data.soch", |data| (0..2 * 4096).for_each(|byte| data.flip(8 * byte)));
    let vfs = SimVfs::new(disk, 1);
    let orchestrator = BootOrchestrator::new(quick(&vfs), options()).allow_forced(true);
    let error = orchestrator.open().unwrap_err();
    let BootError::FailedForced { phase: BootPhase::Init, strict, forced } = &error else {
        panic!("{error}")
    };
    assert_eq!((strict.kind(), forced.kind()), (ErrorKind::Corrupt, ErrorKind::Corrupt));
}

#[test]
fn a_damaged_database_may_run_out_of_budget_before_anybody_notices() {
    let budgets = BootBudgets { init_us: Some(0), ..BootBudgets::default() };
    let orchestrator = BootOrchestrator::new(crate::slow(&damaged(), 1), options())
        .budgets(budgets)
        .allow_forced(true);
    let error = orchestrator.open().unwrap_err();
    assert!(matches!(error, BootError::Budget { phase: BootPhase::Init, .. }), "{error}");
}

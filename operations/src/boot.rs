//! The states a database goes through while it is opened, for whoever watches.
//!
//! ```text
//!   Init ──▶ Migrate ──▶ Recover ──▶ Warmup ──▶ Ready
//!    │ ▲        │           │           ├─────▶ ReadOnly         asked for by the options
//!    │ │        │           │           └─────▶ ForcedReadOnly   some commits are missing
//!    ▼ │        ▼           ▼           ▼
//!   Failed ◀────┴───────────┴───────────┘
//! ```
//!
//! The way back from `Failed` to `Init` is taken once at most, when the first attempt met broken bytes and the
//! operator allowed a forced one. Each state but the four at the end is the phase of the same name
//! ([`BootPhase`]), and the real opening moves the machine: [`crate::BootOrchestrator`] is its driver.
//!
//! Invariants, all asserted by `check` after every change:
//! 1. The history is an unbroken chain of allowed moves whose times never fall, and ends in the present state.
//! 2. In the state of a phase the progress is that phase's, and `done <= total`.
//! 3. `Ready` and `ReadOnly` were reached strictly, `ForcedReadOnly` by force.
//! 4. In `Failed`, and only there, there is an error.

use parking_lot::{Condvar, Mutex, MutexGuard};
use sochdb_kernel::{BootPhase, RecoveryMode};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where a database is on its way to serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BootState {
    /// The directory is being locked, the catalog read, or a new database made.
    Init,
    /// An older format is being brought up to this one.
    Migrate,
    /// The log since the last checkpoint is being read.
    Recover,
    /// Extensions are being registered and the cache filled.
    Warmup,
    /// It serves.
    Ready,
    /// It serves reads, as the options asked.
    ReadOnly,
    /// It serves reads of what could be recovered by force.
    ForcedReadOnly,
    /// It could not be opened.
    Failed,
}

impl BootState {
    /// Whether nothing more happens. After `Failed` a forced attempt may follow, if it was allowed;
    /// [`BootSnapshot::is_over`] knows.
    fn is_end(self) -> bool {
        matches!(self, Self::Ready | Self::ReadOnly | Self::ForcedReadOnly | Self::Failed)
    }

    /// The phase of opening that this state is; `None` at an end.
    pub fn phase(self) -> Option<BootPhase> {
        match self {
            Self::Init => Some(BootPhase::Init),
            Self::Migrate => Some(BootPhase::Migrate),
            Self::Recover => Some(BootPhase::Recover),
            Self::Warmup => Some(BootPhase::Warmup),
            Self::Ready | Self::ReadOnly | Self::ForcedReadOnly | Self::Failed => None,
        }
    }

    fn may_become(self, next: BootState) -> bool {
        use BootState::*;
        match self {
            Init => matches!(next, Migrate | Failed),
            Migrate => matches!(next, Recover | Failed),
            Recover => matches!(next, Warmup | Failed),
            Warmup => matches!(next, Ready | ReadOnly | ForcedReadOnly | Failed),
            Failed => next == Init,
            Ready | ReadOnly | ForcedReadOnly => false,
        }
    }
}

/// How far a phase is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseProgress {
    /// The phase.
    pub phase: BootPhase,
    /// Units done: bytes of log in `Recover`, bytes of rows in `Warmup`, otherwise 0 or 1. Never falls.
    pub done: u64,
    /// Units in all; an upper bound until the phase ends, and then what was done.
    pub total: u64,
    /// How long the phase has taken so far, in microseconds.
    pub elapsed_us: u64,
}

/// One move of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootStep {
    /// The state that was entered.
    pub state: BootState,
    /// When, in microseconds since the boot began.
    pub at_us: u64,
    /// How the attempt that it belongs to treats damage.
    pub mode: RecoveryMode,
}

/// Everything the machine shows, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootSnapshot {
    /// The present state.
    pub state: BootState,
    /// How this attempt treats damage.
    pub mode: RecoveryMode,
    /// The present or last phase.
    pub progress: PhaseProgress,
    /// Why the last attempt failed, while the state is `Failed`.
    pub error: Option<String>,
    /// Whether the boot has come to its end, good or bad.
    pub is_over: bool,
    /// Every state so far, oldest first, the present one included.
    pub history: Vec<BootStep>,
}

/// The machine. Its driver moves it; anybody else looks at it through [`watch`](Self::watch).
///
/// A move that the diagram does not have is the driver's own mistake and panics.
///
/// ```
/// use sochdb_operations::{BootState, BootStateMachine, RecoveryMode};
///
/// let machine = BootStateMachine::new(RecoveryMode::Strict);
/// let watch = machine.watch();
/// machine.enter(BootState::Migrate, 120);
/// machine.fail("the disk is gone".to_owned(), true, 200);
/// let seen = watch.snapshot();
/// assert!(seen.is_over && seen.state == BootState::Failed);
/// assert_eq!(seen.history.len(), 3);
/// ```
pub struct BootStateMachine {
    shared: Arc<Shared>,
}

/// Looks at a boot from another thread. Cheap to clone.
#[derive(Clone)]
pub struct BootWatch {
    shared: Arc<Shared>,
}

struct Shared {
    seen: Mutex<BootSnapshot>,
    changed: Condvar,
}

impl BootStateMachine {
    /// In `Init`, about to open as `mode` says.
    pub fn new(mode: RecoveryMode) -> BootStateMachine {
        let seen = BootSnapshot {
            state: BootState::Init,
            mode,
            progress: PhaseProgress { phase: BootPhase::Init, done: 0, total: 1, elapsed_us: 0 },
            error: None,
            is_over: false,
            history: vec![BootStep { state: BootState::Init, at_us: 0, mode }],
        };
        let shared = Shared { seen: Mutex::new(seen), changed: Condvar::new() };
        BootStateMachine { shared: Arc::new(shared) }
    }

    /// A handle for whoever wants to watch.
    pub fn watch(&self) -> BootWatch {
        BootWatch { shared: self.shared.clone() }
    }

    /// The present state.
    pub fn state(&self) -> BootState {
        self.shared.seen.lock().state
    }

    /// Moves to `next`, `at_us` microseconds after the boot began.
    ///
    /// # Panics
    /// When the present state does not lead there.
    pub fn enter(&self, next: BootState, at_us: u64) {
        self.change(|seen| {
            let from = seen.state;
            assert!(from.may_become(next), "a boot never goes from {from:?} to {next:?}");
            seen.state = next;
            let mode = seen.mode;
            seen.history.push(BootStep { state: next, at_us, mode });
            if let Some(phase) = next.phase() {
                seen.progress = PhaseProgress { phase, done: 0, total: 1, elapsed_us: 0 };
            }
            seen.is_over = next.is_end();
        });
    }

    /// Moves to `Failed` because of `error`; `is_over` says that no other attempt follows.
    ///
    /// # Panics
    /// When the boot is over.
    pub fn fail(&self, error: String, is_over: bool, at_us: u64) {
        self.change(|seen| {
            let from = seen.state;
            assert!(from.may_become(BootState::Failed), "a boot never fails in {from:?}");
            seen.state = BootState::Failed;
            let mode = seen.mode;
            seen.history.push(BootStep { state: BootState::Failed, at_us, mode });
            (seen.error, seen.is_over) = (Some(error), is_over);
        });
    }

    /// Begins again, by force.
    ///
    /// # Panics
    /// Unless a strict attempt failed and the boot is not over.
    pub fn force(&self, at_us: u64) {
        self.change(|seen| {
            let first = seen.mode == RecoveryMode::Strict && !seen.is_over;
            assert!(first && seen.state == BootState::Failed, "forced in {:?}", seen.state);
            (seen.mode, seen.error, seen.state) = (RecoveryMode::Forced, None, BootState::Init);
            seen.history.push(BootStep { state: BootState::Init, at_us, mode: seen.mode });
            let phase = BootPhase::Init;
            seen.progress = PhaseProgress { phase, done: 0, total: 1, elapsed_us: 0 };
        });
    }

    /// The present phase got on.
    ///
    /// # Panics
    /// When it is another phase, or what is done has become less or more than all.
    pub fn progress(&self, progress: PhaseProgress) {
        self.change(|seen| {
            let before = seen.progress;
            assert!(before.phase == progress.phase, "{progress:?} in {before:?}");
            assert!(before.done <= progress.done, "{progress:?} after {before:?}");
            seen.progress = progress;
        });
    }

    fn change(&self, change: impl FnOnce(&mut BootSnapshot)) {
        let mut seen = self.shared.seen.lock();
        change(&mut seen);
        seen.check();
        self.shared.changed.notify_all();
    }
}

impl BootSnapshot {
    /// Asserts what this module's docs say of the machine.
    fn check(&self) {
        let BootSnapshot { state, mode, progress, error, history, .. } = self;
        let steps = || history.iter().zip(history.iter().skip(1));
        assert_eq!(history.last().map(|step| step.state), Some(*state), "the history ends here");
        for (before, after) in steps() {
            assert!(before.state.may_become(after.state), "no way from {before:?} to {after:?}");
            assert!(before.at_us <= after.at_us, "time falls from {before:?} to {after:?}");
        }
        if let Some(phase) = state.phase() {
            assert_eq!(progress.phase, phase, "the progress is that of the state");
        }
        assert!(progress.done <= progress.total, "{progress:?} is more than all");
        match state {
            BootState::Ready | BootState::ReadOnly => assert_eq!(*mode, RecoveryMode::Strict),
            BootState::ForcedReadOnly => assert_eq!(*mode, RecoveryMode::Forced),
            _ => {}
        }
        assert_eq!(error.is_some(), *state == BootState::Failed, "an error in {state:?}");
    }
}

impl BootWatch {
    /// What the machine shows now.
    pub fn snapshot(&self) -> BootSnapshot {
        self.shared.seen.lock().clone()
    }

    /// Waits until the boot is over, but no longer than `timeout`, and returns what the machine shows then.
    pub fn wait(&self, timeout: Duration) -> BootSnapshot {
        let until = Instant::now() + timeout;
        let mut seen: MutexGuard<'_, BootSnapshot> = self.shared.seen.lock();
        while !seen.is_over && !self.shared.changed.wait_until(&mut seen, until).timed_out() {}
        seen.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(states: &[BootState]) -> BootStateMachine {
        let machine = BootStateMachine::new(RecoveryMode::Strict);
        for (at, state) in states.iter().enumerate() {
            match state {
                BootState::Failed => machine.fail("broken".to_owned(), false, at as u64),
                _ => machine.enter(*state, at as u64),
            }
        }
        machine
    }

    fn refuses(states: &[BootState]) -> bool {
        let run = std::panic::AssertUnwindSafe(|| drop(machine(states)));
        std::panic::catch_unwind(run).is_err()
    }

    #[test]
    fn only_the_moves_of_the_diagram_are_allowed() {
        use BootState::*;
        let way = [Migrate, Recover, Warmup, Ready];
        for end in 0..=way.len() {
            machine(&way[..end]);
        }
        machine(&[Migrate, Recover, Warmup, ReadOnly]);
        machine(&[Migrate, Recover, Warmup, Failed]);
        for bad in [
            &[Init][..],
            &[Recover],
            &[Migrate, Warmup],
            &[Migrate, Recover, Ready],
            &[Migrate, Recover, Warmup, Ready, Init],
            // Forced without having been forced.
            &[Migrate, Recover, Warmup, ForcedReadOnly],
        ] {
            assert!(refuses(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_forced_attempt_follows_a_failed_one_once() {
        use BootState::*;
        let machine = machine(&[Migrate, Failed]);
        assert_eq!(machine.watch().snapshot().error.as_deref(), Some("broken"));
        machine.force(5);
        for state in [Migrate, Recover, Warmup, ForcedReadOnly] {
            machine.enter(state, 6);
        }
        let seen = machine.watch().snapshot();
        let states: Vec<BootState> = seen.history.iter().map(|step| step.state).collect();
        assert_eq!(states, [Init, Migrate, Failed, Init, Migrate, Recover, Warmup, ForcedReadOnly]);
        assert!(seen.is_over && seen.error.is_none());
    }

    #[test]
    fn progress_that_falls_or_passes_the_total_is_refused() {
        let told =
            |done, total| PhaseProgress { phase: BootPhase::Init, done, total, elapsed_us: 0 };
        for (first, second) in [(told(2, 3), told(1, 3)), (told(0, 1), told(2, 1))] {
            let machine = machine(&[]);
            machine.progress(first);
            let run = std::panic::AssertUnwindSafe(|| machine.progress(second));
            assert!(std::panic::catch_unwind(run).is_err());
        }
    }

    #[test]
    fn whoever_waits_is_woken_at_the_end() {
        let machine = machine(&[BootState::Migrate]);
        let watch = machine.watch();
        assert!(!watch.wait(Duration::from_millis(1)).is_over);
        let waiting = std::thread::spawn(move || watch.wait(Duration::from_secs(60)).state);
        machine.fail("no".to_owned(), true, 1);
        assert_eq!(waiting.join().unwrap(), BootState::Failed);
    }
}

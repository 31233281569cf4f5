//! Opens a database under the eyes of an operator: with budgets, progress, a warm cache, and a fallback.
//!
//! [`BootOrchestrator`] drives the kernel's own opening and moves the [`BootStateMachine`] along. Each phase may
//! have a budget by the environment's clock:
//!
//! | phase     | when its budget is spent                                                              |
//! |-----------|---------------------------------------------------------------------------------------|
//! | `Init`    | the opening stops with [`BootError::Budget`]; nothing is lost, the directory is free    |
//! | `Migrate` | the same                                                                              |
//! | `Recover` | the same; the next opening reads the log from the same place                          |
//! | `Warmup`  | warming up ends early, and the metrics say so                                         |
//!
//! A budget is looked at whenever the kernel reports progress: at the ends of phases and about every
//! mebibyte of log. So a phase can pass its budget by as much as one such step takes.

use crate::boot::{BootState, BootStateMachine, BootStep, BootWatch, PhaseProgress};
use sochdb_kernel::{
    BootObserver, BootPhase, Clock, Environment, ErrorKind, Kernel, KernelError, KernelResult,
    Options, RecoveryMode,
};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// Bytes of rows between two looks at the clock while the cache is filled.
const WARMUP_STEP_BYTES: u64 = 64 << 10;

/// How long each phase may take, in microseconds; `None` for as long as it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BootBudgets {
    /// For [`BootPhase::Init`].
    pub init_us: Option<u64>,
    /// For [`BootPhase::Migrate`].
    pub migrate_us: Option<u64>,
    /// For [`BootPhase::Recover`].
    pub recover_us: Option<u64>,
    /// For [`BootPhase::Warmup`].
    pub warmup_us: Option<u64>,
}

impl BootBudgets {
    fn of(&self, phase: BootPhase) -> Option<u64> {
        match phase {
            BootPhase::Init => self.init_us,
            BootPhase::Migrate => self.migrate_us,
            BootPhase::Recover => self.recover_us,
            BootPhase::Warmup => self.warmup_us,
            BootPhase::Ready => None,
        }
    }
}

/// What to read into the cache before anybody asks for it. [`Default`]: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PreloadHints {
    /// The tables, the most important first; `None` for all of them.
    pub tables: Option<Vec<String>>,
    /// Read at most so many bytes of rows. The cache's own size is a bound as well.
    pub bytes_max: u64,
}

impl PreloadHints {
    /// All tables in the order of their names.
    pub fn all(bytes_max: u64) -> PreloadHints {
        PreloadHints { tables: None, bytes_max }
    }

    /// These tables in this order.
    pub fn tables(
        names: impl IntoIterator<Item = impl Into<String>>,
        bytes_max: u64,
    ) -> PreloadHints {
        let tables = Some(names.into_iter().map(Into::into).collect());
        PreloadHints { tables, bytes_max }
    }
}

/// Why filling the cache ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WarmupEnd {
    /// Everything that was hinted at was read, which may be nothing.
    #[default]
    Whole,
    /// As many bytes were read as were allowed, or as the cache holds.
    Bytes,
    /// The budget was spent.
    Budget,
}

sochdb_telemetry::stats! {
    /// What a boot took and found.
    pub struct BootMetrics {
    gauge attempts = "sochdb_boot_attempts" "Times the database was tried to be opened: 1, or 2 when forced.",
    micros init_us = "sochdb_boot_init_seconds" "Time of the last attempt's phase Init.",
    micros migrate_us = "sochdb_boot_migrate_seconds" "Time of the last attempt's phase Migrate.",
    micros recover_us = "sochdb_boot_recover_seconds" "Time of the last attempt's phase Recover.",
    micros warmup_us = "sochdb_boot_warmup_seconds" "Time of the phase Warmup.",
    micros total_us = "sochdb_boot_seconds" "Time from the first attempt's begin until the database served.",
    gauge log_bytes = "sochdb_boot_log_bytes" "Bytes of log that were read.",
    gauge transactions = "sochdb_boot_transactions" "Committed transactions among them.",
    gauge rows = "sochdb_boot_rows" "Rows put back into memory.",
    gauge cut_bytes = "sochdb_boot_cut_bytes" "Bytes of torn log that were cut off.",
    gauge warmup_tables = "sochdb_boot_warmup_tables" "Tables of which rows were read into the cache.",
    gauge warmup_rows = "sochdb_boot_warmup_rows" "Rows read into the cache.",
    gauge warmup_bytes = "sochdb_boot_warmup_bytes" "Bytes of those rows.",
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A phase took longer than it may. Nothing is lost, and the directory is free again.
    #[error(
        "opening stopped: phase {phase:?} may take {budget_us} µs and has taken {spent_us}; nothing is \
         lost, open it again with a larger budget"
    )]
    Budget {
        /// The phase.
        phase: BootPhase,
        /// Its budget, in microseconds.
        budget_us: u64,
        /// What it had taken, in microseconds.
        spent_us: u64,
    },
    /// The kernel could not open it.
    #[error("opening failed in phase {phase:?}: {source}")]
    Failed {
        /// The phase.
        phase: BootPhase,
        /// What the kernel said.
        source: KernelError,
    },
    /// Nor by force, after it had been found corrupt.
    #[error("opening failed: {strict}; and by force, in phase {phase:?}: {forced}")]
    FailedForced {
        /// The phase of the forced attempt.
        phase: BootPhase,
        /// What the strict attempt said.
        strict: Box<KernelError>,
        /// What the forced attempt said.
        forced: Box<KernelError>,
    },
}

impl BootError {
    /// The phase in which it happened.
    pub fn phase(&self) -> BootPhase {
        match self {
            BootError::Budget { phase, .. }
            | BootError::Failed { phase, .. }
            | BootError::FailedForced { phase, .. } => *phase,
        }
    }
}

/// For callers that speak the kernel's errors only: an exceeded budget becomes `Limit`.
impl From<BootError> for KernelError {
    fn from(error: BootError) -> KernelError {
        match error {
            BootError::Budget { budget_us, spent_us, .. } => limit(budget_us, spent_us),
            BootError::Failed { source, .. } => source,
            BootError::FailedForced { strict, .. } => *strict,
        }
    }
}

fn limit(bound: u64, got: u64) -> KernelError {
    KernelError::Limit { what: "microseconds of a phase of opening", got, bound }
}

/// A database that is open, and how it got there.
#[derive(Debug)]
pub struct Booted {
    /// The database.
    pub kernel: Kernel,
    /// `Ready`, `ReadOnly` or `ForcedReadOnly`.
    pub state: BootState,
    /// What it took.
    pub metrics: BootMetrics,
    /// What the strict attempt met, when a forced one had to follow it.
    pub corrupt: Option<KernelError>,
    /// Why warming up ended.
    pub warmup_end: WarmupEnd,
    /// Tables that could not be read into the cache, with the reason. That is no failure of the boot.
    pub warmup_skipped: Vec<(String, KernelError)>,
    /// Every state on the way.
    pub history: Vec<BootStep>,
}

type Prepare = Box<dyn FnOnce(&Kernel) -> KernelResult<()> + Send>;
type OnPhaseProgress = Box<dyn FnMut(PhaseProgress) + Send>;

/// Opens a database.
///
/// ```
/// use sochdb_kernel::Options;
/// use sochdb_operations::{BootBudgets, BootOrchestrator, BootState, PreloadHints};
///
/// # fn main() -> Result<(), sochdb_operations::BootError> {
/// let booted = BootOrchestrator::new(sochdb_sim::memory(), Options::default())
///     .budgets(BootBudgets { recover_us: Some(60_000_000), ..BootBudgets::default() })
///     .preload(PreloadHints::all(16 << 20))
///     .on_progress(|p| println!("{:?}: {} of {}", p.phase, p.done, p.total))
///     .open()?;
/// assert_eq!(booted.state, BootState::Ready);
/// assert!(booted.kernel.recovery().created);
/// # Ok(())
/// # }
/// ```
pub struct BootOrchestrator {
    env: Environment,
    options: Options,
    budgets: BootBudgets,
    hints: PreloadHints,
    allow_forced: bool,
    prepare: Option<Prepare>,
    on_progress: Option<OnPhaseProgress>,
    machine: BootStateMachine,
}

impl BootOrchestrator {
    /// Will open the database in `env` as `options` say.
    pub fn new(env: Environment, options: Options) -> BootOrchestrator {
        let machine = BootStateMachine::new(options.recovery);
        BootOrchestrator {
            env,
            options,
            budgets: BootBudgets::default(),
            hints: PreloadHints::default(),
            allow_forced: false,
            prepare: None,
            on_progress: None,
            machine,
        }
    }

    /// Each phase may take so long.
    #[must_use]
    pub fn budgets(mut self, budgets: BootBudgets) -> BootOrchestrator {
        self.budgets = budgets;
        self
    }

    /// These rows are read into the cache before the database serves.
    #[must_use]
    pub fn preload(mut self, hints: PreloadHints) -> BootOrchestrator {
        self.hints = hints;
        self
    }

    /// When the database turns out to be corrupt, it is opened by force, which means read-only: see
    /// [`RecoveryMode::Forced`].
    #[must_use]
    pub fn allow_forced(mut self, allow: bool) -> BootOrchestrator {
        self.allow_forced = allow;
        self
    }

    /// `prepare` gets the recovered database before anything else does: the place to register extensions, so
    /// that tables of storage plugins can be preloaded. It runs at the beginning of the phase `Warmup`.
    #[must_use]
    pub fn prepare(
        mut self,
        prepare: impl FnOnce(&Kernel) -> KernelResult<()> + Send + 'static,
    ) -> BootOrchestrator {
        self.prepare = Some(Box::new(prepare));
        self
    }

    /// `callback` is told how far each phase is.
    #[must_use]
    pub fn on_progress(
        mut self,
        callback: impl FnMut(PhaseProgress) + Send + 'static,
    ) -> BootOrchestrator {
        self.on_progress = Some(Box::new(callback));
        self
    }

    /// A handle with which another thread can watch.
    pub fn watch(&self) -> BootWatch {
        self.machine.watch()
    }

    /// Opens the database.
    ///
    /// # Errors
    /// [`BootError`]: a budget was spent, or the kernel or `prepare` refused. Nothing was lost, and the
    /// directory is not locked.
    pub fn open(self) -> Result<Booted, BootError> {
        let BootOrchestrator { env, mut options, budgets, hints, on_progress, machine, .. } = self;
        let prepare = self.prepare;
        let may_force = self.allow_forced && options.recovery == RecoveryMode::Strict;
        let driver = Driver {
            machine,
            clock: env.clock.clone(),
            began_us: env.clock.monotonic_us(),
            entered_us: Cell::new(env.clock.monotonic_us()),
            budgets,
            metrics: Cell::new(BootMetrics { attempts: 1, ..BootMetrics::default() }),
            over: Cell::new(None),
            on_progress: RefCell::new(on_progress),
        };
        let mut corrupt = None;
        let kernel = match driver.attempt(&env, &options, may_force) {
            Err(BootError::Failed { source, .. }) if may_force && is_corrupt(&source) => {
                options.recovery = RecoveryMode::Forced;
                driver.begin_again();
                let kernel = match driver.attempt(&env, &options, false) {
                    Err(BootError::Failed { phase, source: forced }) => {
                        let (strict, forced) = (Box::new(source), Box::new(forced));
                        return Err(BootError::FailedForced { phase, strict, forced });
                    }
                    other => other?,
                };
                corrupt = Some(source);
                kernel
            }
            other => other?,
        };
        if let Some(prepare) = prepare {
            prepare(&kernel).map_err(|source| driver.fail(source, true))?;
        }
        let (warmup_end, warmup_skipped) =
            driver.warm_up(&kernel, &hints, options.cache_bytes_max as u64);
        let state = match (options.recovery, options.read_only) {
            (RecoveryMode::Forced, _) => BootState::ForcedReadOnly,
            (RecoveryMode::Strict, true) => BootState::ReadOnly,
            (RecoveryMode::Strict, false) => BootState::Ready,
        };
        driver.serve(state);
        let report = kernel.recovery();
        let metrics = BootMetrics {
            total_us: driver.now_us(),
            transactions: report.transactions,
            rows: report.rows,
            cut_bytes: report.cut_bytes,
            ..driver.metrics.get()
        };
        let history = driver.machine.watch().snapshot().history;
        Ok(Booted { kernel, state, metrics, corrupt, warmup_end, warmup_skipped, history })
    }
}

fn is_corrupt(error: &KernelError) -> bool {
    error.kind() == ErrorKind::Corrupt
}

/// Moves the machine as the kernel gets on, and stops the kernel when a budget is spent.
struct Driver {
    machine: BootStateMachine,
    clock: Arc<dyn Clock>,
    began_us: u64,
    /// When the present phase began.
    entered_us: Cell<u64>,
    budgets: BootBudgets,
    metrics: Cell<BootMetrics>,
    /// The budget that was found spent: its size, and what had been taken.
    over: Cell<Option<(u64, u64)>>,
    on_progress: RefCell<Option<OnPhaseProgress>>,
}

impl BootObserver for Driver {
    fn progress(&self, phase: BootPhase, done: u64, total: u64) -> KernelResult<()> {
        self.tell(phase, done, total);
        self.check_budget(phase)?;
        match phase {
            BootPhase::Init if done == total => self.enter(BootState::Migrate),
            BootPhase::Migrate if done == total => self.enter(BootState::Recover),
            _ => {}
        }
        Ok(())
    }
}

impl Driver {
    /// Opens the database once. An attempt that fails ends the boot, unless the bytes are corrupt and
    /// another one `may_follow`.
    fn attempt(
        &self,
        env: &Environment,
        options: &Options,
        may_follow: bool,
    ) -> Result<Kernel, BootError> {
        let opened = Kernel::open_with(env.clone(), options.clone(), self);
        // The kernel's last steps come after its last report.
        let opened = opened.and_then(|kernel| {
            self.check_budget(BootPhase::Recover)?;
            Ok(kernel)
        });
        match opened {
            Ok(kernel) => {
                self.enter(BootState::Warmup);
                Ok(kernel)
            }
            Err(source) => {
                let is_over = !may_follow || !is_corrupt(&source);
                Err(self.fail(source, is_over))
            }
        }
    }

    /// The present phase failed because of `source`; `is_over` says that no other attempt follows.
    fn fail(&self, source: KernelError, is_over: bool) -> BootError {
        self.charge();
        let phase = self.phase();
        let error = match self.over.get() {
            Some((budget_us, spent_us)) => BootError::Budget { phase, budget_us, spent_us },
            None => BootError::Failed { phase, source },
        };
        self.machine.fail(error.to_string(), is_over, self.now_us());
        error
    }

    /// Reads what `hints` name, so that it lies in the cache.
    fn warm_up(
        &self,
        kernel: &Kernel,
        hints: &PreloadHints,
        cache_bytes: u64,
    ) -> (WarmupEnd, Vec<(String, KernelError)>) {
        let mut warmup =
            Warmup { bytes_max: hints.bytes_max.min(cache_bytes), ..Warmup::default() };
        let mut skipped = Vec::new();
        let names = match &hints.tables {
            Some(names) => Ok(names.clone()),
            None => kernel
                .begin_read()
                .and_then(|tx| tx.tables())
                .map(|tables| tables.into_iter().map(|table| table.name).collect()),
        };
        let names: Vec<String> = names.unwrap_or_else(|error| {
            skipped.push(("(all)".to_owned(), error));
            Vec::new()
        });
        let mut end = WarmupEnd::Whole;
        for name in names {
            if hints.bytes_max == 0 || end != WarmupEnd::Whole {
                break;
            }
            end = self.warm_up_table(kernel, &name, &mut warmup).unwrap_or_else(|error| {
                skipped.push((name, error));
                WarmupEnd::Whole
            });
        }
        self.tell(BootPhase::Warmup, warmup.bytes, warmup.bytes);
        self.metrics.set(BootMetrics {
            warmup_tables: warmup.tables,
            warmup_rows: warmup.rows,
            warmup_bytes: warmup.bytes,
            ..self.metrics.get()
        });
        (end, skipped)
    }

    fn warm_up_table(
        &self,
        kernel: &Kernel,
        name: &str,
        warmup: &mut Warmup,
    ) -> KernelResult<WarmupEnd> {
        let tx = kernel.begin_read()?;
        let rows = tx.scan(name, ..)?;
        warmup.tables += 1;
        warmup.told = None;
        for row in rows {
            if self.is_time_to_stop(warmup) {
                return Ok(WarmupEnd::Budget);
            }
            if warmup.bytes_max <= warmup.bytes {
                return Ok(WarmupEnd::Bytes);
            }
            let (key, value) = row?;
            warmup.rows += 1;
            warmup.bytes += (key.len() + value.len()) as u64;
        }
        Ok(WarmupEnd::Whole)
    }

    /// Now and then reports progress and looks whether the budget of warming up is spent.
    fn is_time_to_stop(&self, warmup: &mut Warmup) -> bool {
        if warmup.told.is_some_and(|told| warmup.bytes < told + WARMUP_STEP_BYTES) {
            return false;
        }
        warmup.told = Some(warmup.bytes);
        self.tell(BootPhase::Warmup, warmup.bytes, warmup.bytes_max.max(warmup.bytes));
        let elapsed = self.elapsed_us();
        self.budgets.warmup_us.is_some_and(|budget| budget < elapsed)
    }

    /// The database serves.
    fn serve(&self, state: BootState) {
        self.enter(state);
        self.call(PhaseProgress { phase: BootPhase::Ready, done: 1, total: 1, elapsed_us: 0 });
    }

    fn begin_again(&self) {
        self.machine.force(self.now_us());
        self.entered_us.set(self.clock.monotonic_us());
        let attempts = self.metrics.get().attempts + 1;
        self.metrics.set(BootMetrics { attempts, ..BootMetrics::default() });
    }

    fn enter(&self, state: BootState) {
        self.charge();
        self.machine.enter(state, self.now_us());
        self.entered_us.set(self.clock.monotonic_us());
    }

    /// Books the time of the present phase.
    fn charge(&self) {
        let (mut metrics, elapsed) = (self.metrics.get(), self.elapsed_us());
        match self.phase() {
            BootPhase::Init => metrics.init_us = elapsed,
            BootPhase::Migrate => metrics.migrate_us = elapsed,
            BootPhase::Recover => metrics.recover_us = elapsed,
            BootPhase::Warmup | BootPhase::Ready => metrics.warmup_us = elapsed,
        }
        self.metrics.set(metrics);
    }

    fn tell(&self, phase: BootPhase, done: u64, total: u64) {
        if phase == BootPhase::Recover {
            self.metrics.set(BootMetrics { log_bytes: done, ..self.metrics.get() });
        }
        let progress = PhaseProgress { phase, done, total, elapsed_us: self.elapsed_us() };
        self.machine.progress(progress);
        self.call(progress);
    }

    fn call(&self, progress: PhaseProgress) {
        if let Some(callback) = &mut *self.on_progress.borrow_mut() {
            callback(progress);
        }
    }

    fn check_budget(&self, phase: BootPhase) -> KernelResult<()> {
        let spent = self.elapsed_us();
        match self.budgets.of(phase) {
            Some(budget) if budget < spent => {
                self.over.set(Some((budget, spent)));
                Err(limit(budget, spent))
            }
            _ => Ok(()),
        }
    }

    fn phase(&self) -> BootPhase {
        self.machine.state().phase().unwrap_or(BootPhase::Ready)
    }

    /// Microseconds since the boot began.
    fn now_us(&self) -> u64 {
        self.clock.monotonic_us().saturating_sub(self.began_us)
    }

    /// Microseconds since the present phase began.
    fn elapsed_us(&self) -> u64 {
        self.clock.monotonic_us().saturating_sub(self.entered_us.get())
    }
}

/// What warming up has done so far.
#[derive(Default)]
struct Warmup {
    bytes_max: u64,
    tables: u64,
    rows: u64,
    bytes: u64,
    /// The bytes at the last report of this table.
    told: Option<u64>,
}

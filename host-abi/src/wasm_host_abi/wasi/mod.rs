//! WASI 0.2, linked with nothing in it but what was granted.
//!
//! The standard libraries of guests import WASI whether they use it or not. Here it answers like a
//! machine that has nothing: no arguments, no environment, no directory, standard input at its end,
//! standard output into the void. The end of standard error is kept, because a guest's panic writes
//! there why it traps. Clocks stand still at zero and random numbers are the same for every
//! instance of a plugin, unless `clock` was granted (in steps of a millisecond, too coarse to
//! time a cache) or `random`. Directories are there when they were granted, see `files`. Sockets are never
//! there, see `sockets`.

mod directories;
mod files;
mod no_waiting;
mod sockets;
mod standard_error;
mod work;

pub(crate) use directories::Directories;

use super::GuestState;
use crate::limits::HANDLES_PER_STORE_MAX;
use crate::policy::Grant;
use files::Files;
use no_waiting::NoWaiting;
use standard_error::StandardError;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, io, random, sync};
use wasmtime_wasi::random::{Deterministic, WasiRandom};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};
use work::Work;

/// 4 KiB. What one call for random numbers may ask for.
const RANDOM_BYTES_MAX: u64 = 4 << 10;
/// The step of a granted clock.
const CLOCK_STEP: Duration = Duration::from_millis(1);

/// WASI's part of a store.
pub(super) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    standard_error: StandardError,
    directories: Directories,
    work: Work,
    has_clock: bool,
}

impl Wasi {
    pub(super) fn new(name: &str, grant: &Grant, directories: &Directories) -> Wasi {
        let mut builder = WasiCtx::builder();
        let standard_error = StandardError::default();
        builder.max_random_size(RANDOM_BYTES_MAX).allow_tcp(false).allow_udp(false);
        builder.stderr(standard_error.clone()).allow_blocking_current_thread(true);
        if grant.clock {
            builder.wall_clock(CoarseClock).monotonic_clock(CoarseSince(Instant::now()));
        } else {
            builder.wall_clock(StoppedClock).monotonic_clock(StoppedClock);
        }
        if !grant.random {
            let seed = blake3::hash(name.as_bytes());
            let (low, _) = seed.as_bytes().split_at(16);
            builder
                .secure_random(Deterministic::new(seed.as_bytes().to_vec()))
                .insecure_random(Deterministic::new(seed.as_bytes().to_vec()))
                .insecure_random_seed(u128::from_le_bytes(low.try_into().expect("split at 16")));
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_PER_STORE_MAX);
        Wasi {
            context: builder.build(),
            table,
            standard_error,
            directories: directories.clone(),
            work: Work::new(),
            has_clock: grant.clock,
        }
    }

    /// Forgets what the call before has cost. This one has so much time and fuel.
    pub(super) fn begin_call(&mut self, deadline: Instant, fuel_max: u64) {
        self.work.begin_call(deadline, fuel_max);
    }

    /// What files and streams have cost in the present call, in fuel that was not taken from the store.
    pub(super) fn fuel(&self) -> u64 {
        self.work.fuel()
    }

    fn files(&mut self) -> Files<'_> {
        Files {
            context: self.context.filesystem(),
            table: &mut self.table,
            directories: &self.directories,
            work: &mut self.work,
            has_clock: self.has_clock,
        }
    }

    fn no_waiting(&mut self) -> NoWaiting<'_> {
        NoWaiting { table: &mut self.table, work: &mut self.work }
    }

    /// The end of what the guest wrote to standard error since this was last asked.
    pub(super) fn take_standard_error(&mut self) -> String {
        self.standard_error.take()
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi.context, table: &mut self.wasi.table }
    }
}

type Link = fn(&mut Linker<GuestState>) -> wasmtime::Result<()>;

/// Every interface that is linked beside sockets, without its version (any 0.2), and how.
const INTERFACES: &[(&str, Link)] = &[
    ("wasi:cli/environment", |l| cli::environment::add_to_linker::<_, WasiCli>(l, GuestState::cli)),
    ("wasi:cli/exit", |l| cli::exit::add_to_linker::<_, WasiCli>(l, GuestState::cli)),
    ("wasi:cli/stderr", |l| cli::stderr::add_to_linker::<_, WasiCli>(l, GuestState::cli)),
    ("wasi:cli/stdin", |l| cli::stdin::add_to_linker::<_, WasiCli>(l, GuestState::cli)),
    ("wasi:cli/stdout", |l| cli::stdout::add_to_linker::<_, WasiCli>(l, GuestState::cli)),
    ("wasi:cli/terminal-input", |l| {
        cli::terminal_input::add_to_linker::<_, WasiCli>(l, GuestState::cli)
    }),
    ("wasi:cli/terminal-output", |l| {
        cli::terminal_output::add_to_linker::<_, WasiCli>(l, GuestState::cli)
    }),
    ("wasi:cli/terminal-stderr", |l| {
        cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, GuestState::cli)
    }),
    ("wasi:cli/terminal-stdin", |l| {
        cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, GuestState::cli)
    }),
    ("wasi:cli/terminal-stdout", |l| {
        cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, GuestState::cli)
    }),
    ("wasi:clocks/monotonic-clock", |l| {
        clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(l, GuestState::clocks)
    }),
    ("wasi:clocks/wall-clock", |l| {
        clocks::wall_clock::add_to_linker::<_, WasiClocks>(l, GuestState::clocks)
    }),
    ("wasi:filesystem/preopens", |l| {
        filesystem::preopens::add_to_linker::<_, Files>(l, |s| s.wasi.files())
    }),
    ("wasi:filesystem/types", |l| {
        sync::filesystem::types::add_to_linker::<_, Files>(l, |s| s.wasi.files())
    }),
    ("wasi:io/error", |l| {
        io::error::add_to_linker::<_, no_waiting::Table>(l, |s| &mut s.wasi.table)
    }),
    ("wasi:io/poll", |l| sync::io::poll::add_to_linker::<_, NoWaiting>(l, |s| s.wasi.no_waiting())),
    ("wasi:io/streams", |l| {
        sync::io::streams::add_to_linker::<_, NoWaiting>(l, |s| s.wasi.no_waiting())
    }),
    ("wasi:random/insecure", |l| {
        random::insecure::add_to_linker::<_, WasiRandom>(l, |s| s.ctx().ctx.random())
    }),
    ("wasi:random/insecure-seed", |l| {
        random::insecure_seed::add_to_linker::<_, WasiRandom>(l, |s| s.ctx().ctx.random())
    }),
    ("wasi:random/random", |l| {
        random::random::add_to_linker::<_, WasiRandom>(l, |s| s.ctx().ctx.random())
    }),
];

/// Whether the interface is linked, in some 0.2 version.
pub(crate) fn is_linked(interface: &str) -> bool {
    INTERFACES.iter().any(|(name, _)| *name == interface) || sockets::is_linked(interface)
}

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    INTERFACES.iter().try_for_each(|(_, link)| link(linker))?;
    sockets::link(linker)
}

fn coarse(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The time of day, in steps.
struct CoarseClock;

impl HostWallClock for CoarseClock {
    fn resolution(&self) -> Duration {
        CLOCK_STEP
    }

    fn now(&self) -> Duration {
        coarse(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

/// The time since the instance was made, in steps.
struct CoarseSince(Instant);

impl HostMonotonicClock for CoarseSince {
    fn resolution(&self) -> u64 {
        CLOCK_STEP.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        u64::try_from(coarse(self.0.elapsed()).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A clock that was not granted.
struct StoppedClock;

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        CLOCK_STEP
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        CLOCK_STEP.as_nanos() as u64
    }

    fn now(&self) -> u64 {
        0
    }
}

//! Whether a plugin keeps what the contract asks of its kind, and how it does beside the one that is shipped.
//!
//! This is what `sochdb plugin test` and `sochdb plugin bench` run. A plugin is asked through the real host, in
//! databases in memory that end with each check; nothing is faked between it and the kernel.
//!
//! ```text
//!   manifest, component ──▶ Subject ──▶ for each check of its kind: a Room, a database with it at work
//!                                              │ answers          │ audit trail, memory
//!                             models, schemas ─┴─▶ passed, failed └─▶ what calls used of their limits ──▶ Report
//! ```
//!
//! | file           | what it is                                                              |
//! |----------------|-------------------------------------------------------------------------|
//! | `report`       | what came of it, for people and programs                                |
//! | `subject`      | the plugin under test: its manifest, and later versions of it           |
//! | `room`         | a database in memory with the plugin at work in it                      |
//! | `usage`        | how much of their limits calls have used                                |
//! | `judge`        | which answers are the plugin's fault                                    |
//! | `samples`      | what its author says of tables, rows and calls                          |
//! | `hurtful`      | bytes, keys, texts and numbers that hurt                                |
//! | `segments`     | segments in memory, to be spoiled                                       |
//! | `reload`       | its versions replace each other while it is used                        |
//! | `codec`, `storage`, `index`, `hooks`, `procedure`, `observer` | the checks of each kind  |
//! | `bench`        | figures beside those of the shipped plugin                              |
//!
//! Every kind is checked for five things: what it is for (`round-trip`, `model`, `recall`, ...), what hurts (`damage`,
//! `hostile`), that its answers depend on nothing but what it is asked (`determinism`), that versions take over from
//! each other while it is used (`reload`), and that no call met a limit of its manifest (`limits`).
//!
//! ```
//! use sochdb::conformance::{self, TestOptions};
//! # if sochdb::host::bundled::find("lz4").is_none() { return Ok(()) }
//!
//! // A folder with a manifest; here that of a plugin which is part of this program.
//! let folder = tempfile::tempdir().unwrap();
//! let manifest = folder.path().join("lz4.toml");
//! std::fs::write(&manifest, sochdb::host::bundled::find("lz4").unwrap().manifest).unwrap();
//!
//! let options = TestOptions { only: vec!["round-trip".into()], ..TestOptions::default() };
//! let report = conformance::test(&manifest, &options, &mut |_| {})?;
//! assert!(report.has_passed(), "{report}");
//! # Ok::<(), sochdb::KernelError>(())
//! ```

mod bench;
mod codec;
mod hooks;
mod hurtful;
mod index;
mod judge;
mod observer;
mod procedure;
mod reload;
mod report;
mod room;
mod samples;
mod segments;
mod storage;
mod subject;
mod usage;

pub use bench::{Bench, BenchOptions, Figure, bench};
pub use report::{Check, Report, Verdict};
pub use samples::{SampleCall, SampleIndex, SampleTable, Samples};
pub use usage::{CallUsage, UsageReport};

use judge::{Finding, Flaw, Tally, wrong};
use room::Room;
use sochdb_host_abi::compiled_code::{CodeCache, CompileOptions};
use sochdb_host_abi::{PluginKind, Policy};
use sochdb_kernel::{KernelError, KernelResult};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;
use subject::Subject;
use usage::Usage;

/// How a plugin is tested.
#[derive(Clone)]
pub struct TestOptions {
    /// What all random choices follow from.
    pub seed: u64,
    /// How many times the usual amount is tried: 1 takes some seconds.
    pub effort: u32,
    /// The names of the checks to run; all of its kind when empty.
    pub only: Vec<String>,
    /// The share of the true nearest neighbours that an index of vectors must find, 0 to 1.
    pub recall_min: f64,
    /// What its author says of tables, rows and calls.
    pub samples: Samples,
    /// What the operator allows it.
    pub policy: Policy,
    /// How its component becomes code.
    pub compile: CompileOptions,
}

impl Default for TestOptions {
    fn default() -> TestOptions {
        TestOptions {
            seed: fastrand::u64(..1 << 32),
            effort: 1,
            only: Vec::new(),
            recall_min: 0.9,
            samples: Samples::default(),
            policy: Policy::default(),
            compile: CompileOptions { cache: CodeCache::user(), ..CompileOptions::default() },
        }
    }
}

/// How far a test has come.
#[derive(Debug)]
pub enum Event<'a> {
    /// A check begins: its name, and which of how many it is.
    Begins {
        /// Its name.
        name: &'static str,
        /// Which one, from 1 on.
        number: usize,
        /// How many there are.
        count: usize,
    },
    /// A check has ended.
    Ended(&'a Check),
}

/// A check before it is run.
#[derive(Clone, Copy)]
struct Planned {
    name: &'static str,
    about: &'static str,
    run: fn(&Kit, &mut Tally) -> Finding,
}

const fn planned(
    name: &'static str,
    about: &'static str,
    run: fn(&Kit, &mut Tally) -> Finding,
) -> Planned {
    Planned { name, about, run }
}

/// What all checks of one plugin share.
#[derive(Clone)]
struct Kit {
    subject: Rc<Subject>,
    options: Rc<TestOptions>,
    usage: Rc<Usage>,
}

impl Kit {
    fn name(&self) -> &str {
        self.subject.name()
    }

    /// `usual`, times the effort.
    fn times(&self, usual: usize) -> usize {
        usual * self.options.effort.max(1) as usize
    }

    fn rng(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.options.seed)
    }

    fn room(&self) -> Finding<Room> {
        Room::open(self)
    }
}

const LOAD: Planned = planned(
    "load",
    "its manifest and component fit, it starts, and it passes its own test",
    |kit, tally| {
        let room = kit.room()?;
        tally.count("bytes", kit.subject.component_bytes());
        room.close()
    },
);

const LIMITS: Planned =
    planned("limits", "no call so far used up its fuel, its time or its memory", |kit, tally| {
        let met = kit.usage.limits_met();
        tally.count("calls", kit.usage.calls());
        match met.is_empty() {
            true => Ok(()),
            false => wrong(met.join("; ")),
        }
    });

/// The checks of plugins of `kind`, by name, with what each is about.
pub fn checks(kind: PluginKind) -> impl Iterator<Item = (&'static str, &'static str)> {
    plan(kind).map(|planned| (planned.name, planned.about))
}

fn plan(kind: PluginKind) -> impl Iterator<Item = Planned> {
    let of_kind = match kind {
        PluginKind::Codec => codec::CHECKS,
        PluginKind::Observer => observer::CHECKS,
        PluginKind::Storage => storage::CHECKS,
        PluginKind::Hooks => hooks::CHECKS,
        PluginKind::Procedure => procedure::CHECKS,
        PluginKind::Index => index::CHECKS,
    };
    [LOAD].into_iter().chain(of_kind.iter().copied()).chain([LIMITS])
}

/// Tests the plugin whose manifest lies at `manifest`. What it does wrong is in the report; `on_event` is told as
/// checks begin and end.
///
/// # Errors
/// `NotFound` or `Invalid` when there is no such manifest or component, or it makes no sense; `Invalid` for a check
/// in [`TestOptions::only`] that its kind does not have.
pub fn test(
    manifest: impl AsRef<Path>,
    options: &TestOptions,
    on_event: &mut dyn FnMut(Event<'_>),
) -> KernelResult<Report> {
    let subject = Subject::read(manifest.as_ref())?;
    let kind = subject.manifest.kind;
    let all = wanted(kind, &options.only)?;
    let (options, usage) = (Rc::new(options.clone()), Rc::<Usage>::default());
    let kit = Kit { subject: Rc::new(subject), options, usage };
    let mut checks: Vec<Check> = Vec::new();
    for (at, planned) in all.iter().enumerate() {
        on_event(Event::Begins { name: planned.name, number: at + 1, count: all.len() });
        // What does not start cannot be asked anything.
        let starts = checks.iter().all(|check| check.name != LOAD.name || check.has_passed());
        let check = match starts {
            true => run(&kit, planned),
            false => Check::of(
                planned,
                Err(Flaw::Skipped("it does not start".into())),
                Tally::default(),
                0,
            ),
        };
        on_event(Event::Ended(&check));
        checks.push(check);
    }
    Ok(Report {
        plugin: kit.name().to_owned(),
        version: kit.subject.manifest.version.to_string(),
        kind,
        seed: kit.options.seed,
        checks,
        usage: kit.usage.report(),
    })
}

fn run(kit: &Kit, planned: &Planned) -> Check {
    let (began, mut tally) = (Instant::now(), Tally::default());
    let failures = kit.usage.failures();
    let found = (planned.run)(kit, &mut tally);
    // Not every failure is anybody's answer: what is done after a commit, or by a search that goes on without it.
    let found = match (found, kit.usage.failures().saturating_sub(failures)) {
        (Ok(()), 0) => Ok(()),
        (Ok(()), more) => {
            let functions = kit.usage.harmed().join(", ");
            wrong(format!("{more} calls trapped or met a limit, of {functions}; the log says more"))
        }
        (found, _) => found,
    };
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    Check::of(planned, found, tally, micros)
}

/// What is to be run: starting always is.
fn wanted(kind: PluginKind, only: &[String]) -> KernelResult<Vec<Planned>> {
    let all: Vec<Planned> = plan(kind).collect();
    if let Some(unknown) = only.iter().find(|name| all.iter().all(|each| each.name != **name)) {
        let names: Vec<_> = all.iter().map(|each| each.name).collect();
        return Err(KernelError::invalid(format!(
            "plugins of kind '{kind}' have no check '{unknown}'; they have {}",
            names.join(", ")
        )));
    }
    let is_wanted = |each: &Planned| {
        only.is_empty() || each.name == LOAD.name || only.iter().any(|name| name == each.name)
    };
    Ok(all.into_iter().filter(is_wanted).collect())
}

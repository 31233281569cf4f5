//! The switch under a scheduler that owns its lock: which interleavings of calls and changes break a promise?
//!
//! The switch is compiled from its own source against locks of the crate `shuttle`; `kernel/models/README.md`
//! tells how. Versions are small things that count the calls in them and can be closed. Callers pick, call, do again
//! on the fallback what a version on trial fails, and pick again when a version is closed. Changers bring a version
//! in and close the one that lost.
//!
//! | model        | who                                                                    |
//! |--------------|------------------------------------------------------------------------|
//! | `kept`       | three callers; a version gets a share, then all calls, and is kept     |
//! | `dropped`    | the same, and the version is dropped although it does well             |
//! | `failing`    | the same, and the version fails every call: callers drop it themselves |
//! | `one_by_one` | two callers; one version after the other is kept or dropped            |
//! | `contended`  | two callers; two changers at once, of whom one may come too late       |
//! | `overtaken`  | two callers; a version is kept by one and dropped by another           |
//! | `replaced`   | two callers; a version is replaced while another one is on trial       |
//! | `smallest`   | one caller, one change: every schedule there is                        |
//!
//! In each of them:
//!
//! 1. No call fails. It is done once, by one version from its beginning to its end.
//! 2. No call is in a version that is closed, and what is closed cannot be picked any more.
//! 3. There are never two trials.
//! 4. Who picks behind a change picks what the change says.
//! 5. At the end every call is on the version that is left, and the others are freed.
//!
//! Each of these changes was made by hand, to the switch or to a changer, and was found:
//!
//! | what was changed                                                | found by                                    |
//! |-----------------------------------------------------------------|---------------------------------------------|
//! | `pick` gives no fallback                                        | `failing`, `one_by_one`                     |
//! | `begin` replaces the trial of somebody else                     | `contended`                                 |
//! | `begin` asks under one lock and changes under another           | `contended`                                 |
//! | `keep` keeps whatever is on trial                               | `overtaken`                                 |
//! | `keep` leaves the trial a trial                                 | `kept`, `one_by_one`, `smallest` and others |
//! | `keep` ends the trial under one lock and keeps it under another | `kept`                                      |
//! | `drop_trial` drops whatever is on trial                         | `one_by_one`                                |
//! | `drop_trial` gives the trial no share and leaves it             | `dropped`, `failing`, `one_by_one`          |
//! | `replace` leaves the trial a trial                              | `replaced`                                  |
//! | a changer closes the old version before it keeps the new one    | `kept`, `one_by_one`, `smallest`            |
//! | a changer closes the new version before it drops it             | `dropped`, `failing`, `one_by_one`          |
//! | closing does not wait for calls in flight                       | all                                         |
//!
//! `SOCHDB_PROOF`, `SOCHDB_SEED` and `SOCHDB_SCHEDULE` are those of the kernel's models.

use parking_lot::{Condvar, Mutex};
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::thread::{self, JoinHandle};
use shuttle::{Config, Runner};
use sochdb_switch::{Pick, Switch, WHOLE};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Schedules of one model in a pull request, and before a release.
const SCHEDULES: (u64, u64) = (30_000, 3_000_000);
/// Changes of priority that PCT spreads over a schedule.
const PCT_DEPTH: usize = 4;
/// A call meets a closed version at most once for each change that is made during it.
const PICKS_MAX: usize = 4;

/// Something that serves calls, until it is closed.
struct Version {
    number: u64,
    /// Whether it fails every call.
    fails: bool,
    inner: Mutex<Inner>,
    idle: Condvar,
}

#[derive(Default)]
struct Inner {
    in_flight: u64,
    closed: bool,
}

/// Why a version does not serve a call.
#[derive(Debug, PartialEq)]
enum Refusal {
    Closed,
    Failed,
}

impl Version {
    fn new(number: u64, fails: bool) -> Arc<Version> {
        Arc::new(Version { number, fails, inner: Mutex::default(), idle: Condvar::new() })
    }

    /// One call, with a moment in between in which others may do anything.
    fn serve(&self) -> Result<u64, Refusal> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Refusal::Closed);
        }
        inner.in_flight += 1;
        drop(inner);
        let mut inner = self.inner.lock();
        assert!(!inner.closed, "version {} was closed while it served", self.number);
        inner.in_flight -= 1;
        drop(inner);
        self.idle.notify_all();
        if self.fails { Err(Refusal::Failed) } else { Ok(self.number) }
    }

    /// Waits until no call is in it, and lets none in any more.
    fn close(&self) {
        let mut inner = self.inner.lock();
        while 0 < inner.in_flight {
            self.idle.wait(&mut inner);
        }
        assert!(!inner.closed, "version {} is closed twice", self.number);
        inner.closed = true;
    }
}

/// A switch with those who use it.
#[derive(Clone)]
struct World(Arc<Shared>);

struct Shared {
    switch: Switch<Version>,
    /// Calls that were asked for, and calls that were done.
    calls: (AtomicU64, AtomicU64),
    /// Trials that a changer knows of: raised behind `begin`, lowered in front of what ends the trial.
    trials: AtomicU64,
    /// What is promised to every call that comes now: in the low byte the number of the version that it picks, plus
    /// one, or 0; above it how many promises there were, so that none is taken for another.
    expected: AtomicU64,
    versions: Mutex<Vec<Weak<Version>>>,
}

impl World {
    fn new() -> World {
        let first = Version::new(0, false);
        let versions = Mutex::new(vec![Arc::downgrade(&first)]);
        World(Arc::new(Shared {
            switch: Switch::new(first),
            calls: Default::default(),
            trials: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            versions,
        }))
    }

    fn version(&self, number: u64, fails: bool) -> Arc<Version> {
        let version = Version::new(number, fails);
        self.0.versions.lock().push(Arc::downgrade(&version));
        version
    }

    fn spawn(&self, f: impl FnOnce(World) + Send + 'static) -> JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || f(world))
    }

    fn callers(&self, callers: usize, calls: usize) -> Vec<JoinHandle<()>> {
        let caller = |_| {
            self.spawn(move |world| {
                for _ in 0..calls {
                    world.call();
                }
            })
        };
        (0..callers).map(caller).collect()
    }

    /// A pick, and whether it is the one that a change before it has promised.
    fn pick(&self) -> Pick<Version> {
        let expected = self.0.expected.load(Ordering::SeqCst);
        let pick = self.0.switch.pick();
        // A promise that was taken back meanwhile binds nobody.
        let number = expected % 256;
        if 0 < number && expected == self.0.expected.load(Ordering::SeqCst) {
            assert_eq!(pick.version.number, number - 1, "a change was not seen");
        }
        pick
    }

    /// One call, which must be done; returns who did it.
    fn call(&self) -> u64 {
        self.0.calls.0.fetch_add(1, Ordering::SeqCst);
        for _ in 0..PICKS_MAX {
            let Pick { version, fallback } = self.pick();
            let served = match (version.serve(), fallback) {
                (Err(Refusal::Failed), fallback) => {
                    let usual = fallback.expect("a version on trial comes with the usual one");
                    let served = usual.serve();
                    if served.is_ok() {
                        self.expect(None);
                        self.0.switch.drop_trial(&version);
                    }
                    served
                }
                (Err(Refusal::Closed), fallback) => {
                    assert!(
                        !self.0.switch.has(&version),
                        "{} is closed and served",
                        version.number
                    );
                    fallback.map_or(Err(Refusal::Closed), |usual| usual.serve())
                }
                (served, _) => served,
            };
            match served {
                Ok(number) => {
                    self.0.calls.1.fetch_add(1, Ordering::SeqCst);
                    return number;
                }
                Err(refusal) => assert_eq!(refusal, Refusal::Closed, "a call failed"),
            }
        }
        panic!("a call found only closed versions");
    }

    /// From now on every call picks `version`; `None`: nothing is promised.
    fn expect(&self, version: Option<&Version>) {
        let number = version.map_or(0, |version| version.number + 1);
        let expected = &self.0.expected;
        // No switching point lies between the two.
        let promises = expected.load(Ordering::SeqCst) / 256;
        expected.store((promises + 1) * 256 + number, Ordering::SeqCst);
    }

    /// Puts `version` on trial, first with half of the calls, then with all. `false`: another one is.
    fn begin(&self, version: &Arc<Version>) -> bool {
        if !self.0.switch.begin(version, WHOLE / 2) {
            return false;
        }
        assert_eq!(self.0.trials.fetch_add(1, Ordering::SeqCst), 0, "two trials");
        true
    }

    fn keep(&self, version: &Arc<Version>) {
        self.0.trials.fetch_sub(1, Ordering::SeqCst);
        let old = self.0.switch.keep(version).expect("it is on trial, and nobody drops it");
        self.expect(Some(version));
        old.close();
    }

    fn drop_trial(&self, version: &Arc<Version>) {
        self.0.trials.fetch_sub(1, Ordering::SeqCst);
        self.expect(None);
        self.0.switch.drop_trial(version);
        self.expect(Some(&self.0.switch.usual()));
        version.close();
    }

    /// What holds when every thread has ended: `left` serves, and nothing else is there.
    fn after(&self, threads: Vec<JoinHandle<()>>, left: u64) {
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.expect(None);
        assert!(self.0.switch.trial().is_none(), "a trial was forgotten");
        for _ in 0..3 {
            assert_eq!(self.call(), left);
        }
        let (asked, done) = &self.0.calls;
        assert_eq!(asked.load(Ordering::SeqCst), done.load(Ordering::SeqCst));
        let versions = self.0.versions.lock();
        let there: Vec<_> = versions.iter().filter_map(Weak::upgrade).collect();
        let numbers: Vec<_> = there.iter().map(|version| version.number).collect();
        assert_eq!(numbers, [left], "versions that are not freed");
        assert_eq!(there[0].inner.lock().in_flight, 0);
    }
}

#[test]
fn kept() {
    explore("kept", || {
        let world = World::new();
        let mut threads = world.callers(3, 2);
        threads.push(world.spawn(|world| {
            let new = world.version(1, false);
            assert!(world.begin(&new));
            assert!(world.0.switch.begin(&new, WHOLE));
            world.expect(Some(&new));
            world.keep(&new);
        }));
        world.after(threads, 1);
    });
}

#[test]
fn dropped() {
    explore("dropped", || {
        let world = World::new();
        let mut threads = world.callers(3, 2);
        threads.push(world.spawn(|world| {
            let new = world.version(1, false);
            assert!(world.begin(&new));
            assert!(world.0.switch.begin(&new, WHOLE));
            world.expect(Some(&new));
            world.drop_trial(&new);
        }));
        world.after(threads, 0);
    });
}

#[test]
fn failing() {
    explore("failing", || {
        let world = World::new();
        let mut threads = world.callers(3, 2);
        threads.push(world.spawn(|world| {
            let new = world.version(1, true);
            assert!(world.begin(&new));
            world.drop_trial(&new);
        }));
        world.after(threads, 0);
    });
}

#[test]
fn one_by_one() {
    explore("one_by_one", || {
        let world = World::new();
        let mut threads = world.callers(2, 3);
        threads.push(world.spawn(|world| {
            for (number, is_good) in [(1, true), (2, false), (3, true)] {
                let new = world.version(number, !is_good);
                world.expect(None);
                assert!(world.begin(&new));
                if is_good {
                    // From its share, without all calls first.
                    world.keep(&new);
                } else {
                    world.drop_trial(&new);
                }
            }
        }));
        world.after(threads, 3);
    });
}

#[test]
fn contended() {
    explore("contended", || {
        let world = World::new();
        let callers = world.callers(2, 2);
        let changers = [1, 2].map(|number| {
            let world = world.clone();
            thread::spawn(move || {
                let new = world.version(number, false);
                let began = world.begin(&new);
                if began {
                    world.0.trials.fetch_sub(1, Ordering::SeqCst);
                    let old = world.0.switch.keep(&new).expect("nobody else ends its trial");
                    old.close();
                } else {
                    new.close();
                }
                began.then_some(number)
            })
        });
        let kept: Vec<_> =
            changers.into_iter().filter_map(|changer| changer.join().unwrap()).collect();
        let left = world.0.switch.usual().number;
        assert!(kept.contains(&left), "{left} was not kept, but {kept:?}");
        world.after(callers, left);
    });
}

#[test]
fn overtaken() {
    explore("overtaken", || {
        let world = World::new();
        let callers = world.callers(2, 2);
        let first = world.version(1, false);
        assert!(world.0.switch.begin(&first, WHOLE / 2));
        let (other, given_up) = (world.clone(), first.clone());
        let dropping = thread::spawn(move || {
            let dropped = other.0.switch.drop_trial(&given_up);
            if dropped {
                let second = other.version(2, false);
                assert!(other.0.switch.begin(&second, WHOLE / 2));
                assert!(other.0.switch.drop_trial(&second), "somebody else ended its trial");
                second.close();
            }
            dropped
        });
        let old = world.0.switch.keep(&first);
        let kept = old.is_some();
        old.unwrap_or(first).close();
        assert_ne!(kept, dropping.join().unwrap(), "one of the two came first");
        world.after(callers, u64::from(kept));
    });
}

#[test]
fn replaced() {
    explore("replaced", || {
        let world = World::new();
        let mut threads = world.callers(2, 3);
        threads.push(world.spawn(|world| {
            let trial = world.version(1, false);
            assert!(world.begin(&trial));
            drop(trial);
            let new = world.version(2, false);
            world.0.trials.fetch_sub(1, Ordering::SeqCst);
            let (usual, trial) = world.0.switch.replace(new.clone());
            world.expect(Some(&new));
            usual.close();
            trial.expect("nobody else ends its trial").close();
        }));
        world.after(threads, 2);
    });
}

#[test]
fn smallest() {
    let model = || {
        let world = World::new();
        let new = world.version(1, false);
        let caller = world.callers(1, 1);
        assert!(world.begin(&new));
        world.keep(&new);
        drop(new);
        world.after(caller, 1);
    };
    let (count, model) = counted(model);
    run(DfsScheduler::new(None, false), &model);
    println!("model smallest: all {} schedules, depth first", count.load(Ordering::Relaxed));
}

type Model = Arc<dyn Fn() + Send + Sync>;

fn counted(model: impl Fn() + Send + Sync + 'static) -> (Arc<AtomicU64>, Model) {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let model = move || {
        model();
        counted.fetch_add(1, Ordering::Relaxed);
    };
    (count, Arc::new(model))
}

/// Runs `model` once per schedule of `scheduler`.
fn run(scheduler: impl Scheduler + 'static, model: &Model) {
    let mut config = Config::new();
    config.silence_warnings = true;
    let model = model.clone();
    Runner::new(scheduler, config).run(move || model());
}

/// How many schedules each model runs.
fn schedules() -> u64 {
    match std::env::var("SOCHDB_PROOF").as_deref() {
        Ok("release") => SCHEDULES.1,
        Ok(times) => {
            let times: u64 = times.parse().expect("SOCHDB_PROOF is 'release' or a whole number");
            SCHEDULES.0 * times
        }
        Err(_) => SCHEDULES.0,
    }
}

/// Runs `model` under many schedules, half of them random and half by PCT, and prints how many. `test` is the name
/// that replays it.
fn explore(test: &str, model: impl Fn() + Send + Sync + 'static) {
    let (count, model) = counted(model);
    if let Ok(schedule) = std::env::var("SOCHDB_SCHEDULE") {
        run(ReplayScheduler::new_from_encoded(&schedule), &model);
        println!("model {test}: the schedule passed");
        return;
    }
    let seed = std::env::var("SOCHDB_SEED")
        .map_or(20_261_122, |value| value.parse().expect("SOCHDB_SEED is a whole number"));
    let half = usize::try_from(schedules() / 2).expect("a count of schedules");
    let explored = catch_unwind(AssertUnwindSafe(|| {
        run(RandomScheduler::new_from_seed(seed, half), &model);
        run(PctScheduler::new_from_seed(seed, PCT_DEPTH, half), &model);
    }));
    let count = count.load(Ordering::Relaxed);
    if let Err(panic) = explored {
        eprintln!(
            "model {test} failed after {count} schedules, seed {seed}; replay: SOCHDB_SCHEDULE=<the schedule \
             printed above> cargo test -p sochdb-reload-models --test models {test}"
        );
        resume_unwind(panic);
    }
    println!("model {test}: {count} schedules, random and PCT of depth {PCT_DEPTH}; seed {seed}");
}

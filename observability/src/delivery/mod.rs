//! Batches to observers, never in anybody's way.
//!
//! One thread gathers a batch at each interval, puts it into the queue of every observer, and waits for none of
//! them. Behind each queue is one thread, which hands the batches to its observer in order:
//!
//! ```text
//!   Telemetry ── batch ──▶ gatherer ──▶ lane of "prometheus": queue ──▶ thread ──▶ ingest
//!                                  └──▶ lane of "otlp":       queue ──▶ thread ──▶ ingest
//! ```
//!
//! | what an observer does       | what becomes of it                                                            |
//! |-----------------------------|-------------------------------------------------------------------------------|
//! | takes a batch               | counted as delivered                                                          |
//! | errs, or panics             | the batch is counted as dropped; the next one is offered as ever              |
//! | is slow                     | its queue fills; what does not fit is counted as dropped                      |
//! | never comes back            | the same; its thread is left behind when `Delivery` ends, or it is replaced   |
//! | is replaced (same name)     | the new one is served with whatever was not handed over yet                   |
//! | is gone                     | its thread ends after the call that it is in; what waited counts as dropped   |
//!
//! While there is no observer, nothing is gathered: spans and log lines stay in their own bounded queues.
//! A lost batch is said by `tracing` at most once a minute and observer, since that is a log line for observers, too.

mod lane;
#[cfg(test)]
mod tests;

use crate::registry::Source;
use crate::{HealthSource, Telemetry};
use lane::Lane;
use parking_lot::{Condvar, Mutex};
use sochdb_kernel::plugin::ObservabilityExtension;
use sochdb_telemetry::{ComponentHealth, Family, Metric};
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How many names of observers are remembered; of those that are gone, the counts are forgotten beyond it.
const NAMES_MAX: usize = 256;
/// Longer than anybody waits, and short enough to be added to any time.
const FOREVER: Duration = Duration::from_secs(1 << 30);
/// How often one thing is said at most.
const SAY_EVERY: Duration = Duration::from_secs(60);

type Observer = Arc<dyn ObservabilityExtension>;

/// How batches are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryOptions {
    /// How often a batch is gathered; zero for only when [`Delivery::flush`] asks.
    pub interval: Duration,
    /// Batches that wait for one observer; of what comes then, the observer gets nothing.
    pub waiting_max: usize,
    /// How long the end of the database waits for observers that are still busy. One that is busy for longer with
    /// one batch counts as ill, and can be replaced without waiting for it.
    pub patience: Duration,
}

impl Default for DeliveryOptions {
    fn default() -> DeliveryOptions {
        let (interval, patience) = (Duration::from_secs(5), Duration::from_secs(2));
        DeliveryOptions { interval, waiting_max: 16, patience }
    }
}

/// Delivers batches until it is dropped.
///
/// Its end gathers one last batch, waits until the observers have taken it, and lets go of them; for all of this no
/// longer than [`DeliveryOptions::patience`]. The thread of an observer that is still busy then is left behind: it
/// ends when the observer comes back, and keeps the observer alive until then.
pub struct Delivery {
    shared: Arc<Shared>,
    gatherer: Option<JoinHandle<()>>,
}

struct Shared {
    telemetry: Telemetry,
    options: DeliveryOptions,
    /// By the name of the observer.
    lanes: Mutex<BTreeMap<String, Arc<Lane>>>,
    rounds: Mutex<Rounds>,
    changed: Condvar,
}

/// What was asked of the gatherer, and what it has done.
#[derive(Default)]
struct Rounds {
    asked: u64,
    done: u64,
    /// The newest of those that gave no batch.
    failed: u64,
    ending: bool,
    ended: bool,
    trouble: Seldom,
}

impl Delivery {
    /// Begins; `observers` is asked at each batch. What is delivered and dropped is counted in the telemetry's own
    /// registry, and how the observers are is part of its health.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        telemetry: Telemetry,
        observers: impl Fn() -> Vec<Arc<dyn ObservabilityExtension>> + Send + 'static,
        options: DeliveryOptions,
    ) -> io::Result<Delivery> {
        let options = DeliveryOptions { waiting_max: options.waiting_max.max(1), ..options };
        let (lanes, rounds, changed) = Default::default();
        let shared = Arc::new(Shared { telemetry, options, lanes, rounds, changed });
        let gatherer = thread::Builder::new().name("sochdb-telemetry".to_owned());
        let gatherer = gatherer.spawn({
            let shared = shared.clone();
            move || shared.gather(observers)
        })?;
        shared.telemetry.registry().add(&shared);
        shared.telemetry.watch(&shared);
        Ok(Delivery { shared, gatherer: Some(gatherer) })
    }

    /// Gathers a batch now and waits until every observer has taken it, or lost it; `false` when that takes longer
    /// than `patience`, or when no batch could be gathered.
    pub fn flush(&self, patience: Duration) -> bool {
        let deadline = deadline(patience);
        let Some(ticket) = self.shared.ask(|rounds| rounds.asked += 1) else { return false };
        if !self.shared.wait(deadline, |rounds| ticket <= rounds.done)
            || ticket <= self.shared.rounds.lock().failed
        {
            return false;
        }
        let lanes = self.shared.lanes();
        let marks: Vec<_> = lanes.iter().map(|lane| (lane, lane.accepted())).collect();
        marks.into_iter().all(|(lane, accepted)| lane.wait(accepted, deadline))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let deadline = deadline(self.shared.options.patience);
        self.shared.ask(|rounds| rounds.ending = true);
        if self.shared.wait(deadline, |rounds| rounds.ended) {
            // It has nothing left to do: this does not wait. What it panics with was said already.
            let _ = self.gatherer.take().map(JoinHandle::join);
        }
        for lane in self.shared.lanes() {
            lane.wait(lane.accepted(), deadline);
            // A worker that is in no call ends at once, and panics nowhere.
            let _ = lane.leave().map(JoinHandle::join);
        }
    }
}

impl Shared {
    /// Changes what is asked of the gatherer; the number of what was asked so far, unless it has ended.
    fn ask(&self, change: impl FnOnce(&mut Rounds)) -> Option<u64> {
        let mut rounds = self.rounds.lock();
        change(&mut rounds);
        self.changed.notify_all();
        (!rounds.ended).then_some(rounds.asked)
    }

    fn wait(&self, deadline: Instant, until: impl Fn(&Rounds) -> bool) -> bool {
        let mut rounds = self.rounds.lock();
        while !until(&rounds) {
            if self.changed.wait_until(&mut rounds, deadline).timed_out() {
                return until(&rounds);
            }
        }
        true
    }

    fn lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.lock().values().cloned().collect()
    }

    /// What the gatherer does, all its life.
    fn gather(&self, observers: impl Fn() -> Vec<Observer>) {
        let interval = self.options.interval;
        let from = |now: Instant| (!interval.is_zero()).then(|| now + interval.min(FOREVER));
        let mut next = from(Instant::now());
        loop {
            let (asked, ending) = self.wait_for_work(next);
            if catch_unwind(AssertUnwindSafe(|| self.round(&observers, ending))).is_err() {
                self.rounds.lock().failed = asked;
                self.trouble("what it asks panicked");
            }
            let now = Instant::now();
            if next.is_some_and(|next| next <= now) {
                next = from(now);
            }
            if ending {
                break;
            }
            self.rounds.lock().done = asked;
            self.changed.notify_all();
        }
        // Whoever waits for the end may count on it that the closure is gone.
        let gone = catch_unwind(AssertUnwindSafe(|| drop(observers)));
        let mut rounds = self.rounds.lock();
        (rounds.done, rounds.ended) = (u64::MAX, true);
        self.changed.notify_all();
        drop((rounds, gone));
    }

    /// Until somebody asks, or it is time.
    fn wait_for_work(&self, next: Option<Instant>) -> (u64, bool) {
        let mut rounds = self.rounds.lock();
        while !rounds.ending && rounds.asked <= rounds.done {
            match next {
                None => self.changed.wait(&mut rounds),
                Some(next) if self.changed.wait_until(&mut rounds, next).timed_out() => break,
                Some(_) => {}
            }
        }
        (rounds.asked, rounds.ending)
    }

    /// Gathers one batch and puts it into each queue. The last one has a place of its own there.
    fn round(&self, observers: &impl Fn() -> Vec<Observer>, last: bool) {
        let named = observers().into_iter().filter_map(|observer| {
            let name = catch_unwind(AssertUnwindSafe(|| observer.info().name));
            name.inspect_err(|_| self.trouble("an observer panicked when asked who it is"))
                .ok()
                .map(|name| (name, observer))
        });
        let observers: BTreeMap<String, Observer> = named.collect();
        self.forget_all_but(&observers);
        if observers.is_empty() {
            return;
        }
        let batch = Arc::new(self.telemetry.batch());
        for (name, observer) in observers {
            self.lane(name).hand(observer, &batch, usize::from(last));
        }
    }

    /// Ends the lanes of observers that are gone, and forgets the counts of some if there are too many.
    fn forget_all_but(&self, observers: &BTreeMap<String, Observer>) {
        let gone = |name: &String| !observers.contains_key(name);
        let lanes = self.lanes.lock().clone();
        let mut excess = (lanes.len() + observers.len()).saturating_sub(NAMES_MAX);
        for (name, lane) in lanes.iter().filter(|(name, _)| gone(name)) {
            drop(lane.leave());
            if 0 < excess {
                excess -= 1;
                self.lanes.lock().remove(name);
            }
        }
    }

    fn lane(&self, name: String) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        let lane = |name: &String| Arc::new(Lane::new(name.clone(), self.options));
        lanes.entry(name).or_insert_with_key(lane).clone()
    }

    fn trouble(&self, what: &str) {
        let say = self.rounds.lock().trouble.say();
        if let Some(unsaid) = say {
            tracing::warn!(unsaid, "telemetry was not gathered as it should: {what}");
        }
    }
}

impl Source for Shared {
    fn families(&self) -> Vec<Family> {
        lane::FAMILIES.to_vec()
    }

    fn collect(&self, into: &mut Vec<Metric>) {
        self.lanes().iter().for_each(|lane| lane.collect(into));
    }
}

impl HealthSource for Shared {
    fn health(&self) -> Vec<ComponentHealth> {
        self.lanes().iter().filter_map(|lane| lane.health()).collect()
    }
}

/// Something that is said now and then, however often it happens.
#[derive(Default)]
struct Seldom {
    said: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// Whether to say it now, and how often it was not said since the last time.
    fn say(&mut self) -> Option<u64> {
        if self.said.is_some_and(|said| said.elapsed() < SAY_EVERY) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.unsaid))
    }
}

fn deadline(patience: Duration) -> Instant {
    Instant::now() + patience.min(FOREVER)
}

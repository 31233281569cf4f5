//! The way to one observer: a bounded queue of batches, and one thread that hands them over.
//!
//! States of a lane, and what moves it:
//!
//! ```text
//!             hand                          hand                   call returns
//!   no worker ────▶ worker idle ◀──────────────────── worker busy ─────────────▶ delivered, or dropped
//!       ▲               │                                  │
//!       └── leave, end ─┴── leave; end; replaced and busy beyond patience: the worker is left behind
//! ```
//!
//! A worker belongs to one generation of its lane. One that comes back and finds that the lane has moved on touches
//! nothing and ends.
//!
//! Invariants:
//! 1. At most one worker takes from the queue: the one of the present generation. So the order is kept.
//! 2. Nothing of an observer's is called or dropped while the lane is locked.

use super::{DeliveryOptions, Observer, Seldom};
use crate::Durations;
use parking_lot::{Condvar, Mutex, MutexGuard};
use sochdb_telemetry::{
    ComponentHealth, Counter, Family, HealthState, Metric, MetricKind, MetricValue, TelemetryBatch,
};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Workers of one lane that never came back. Beyond it there is no new one until one of them does.
const LEFT_BEHIND_MAX: usize = 4;
/// Characters of a reason.
const WHY_MAX: usize = 300;

const fn family(name: &'static str, kind: MetricKind, help: &'static str) -> Family {
    Family { name, kind, help, labels: &["observer"] }
}

/// In the order of [`Lane::collect`].
pub(super) const FAMILIES: [Family; 6] = [
    family(
        "sochdb_telemetry_delivered_total",
        MetricKind::Counter,
        "Batches that the observer has taken.",
    ),
    family(
        "sochdb_telemetry_dropped_total",
        MetricKind::Counter,
        "Batches that the observer did not get, or failed to take.",
    ),
    family(
        "sochdb_telemetry_dropped_spans_total",
        MetricKind::Counter,
        "Spans in batches that were dropped.",
    ),
    family(
        "sochdb_telemetry_dropped_log_lines_total",
        MetricKind::Counter,
        "Log lines in batches that were dropped.",
    ),
    family(
        "sochdb_telemetry_waiting",
        MetricKind::Gauge,
        "Batches that wait for the observer, with the one it is busy with.",
    ),
    family(
        "sochdb_telemetry_delivery_duration_seconds",
        MetricKind::Histogram,
        "How long the observer takes for a batch.",
    ),
];

/// The way to one observer.
pub(super) struct Lane {
    name: String,
    options: DeliveryOptions,
    delivered: Counter,
    dropped: Counter,
    dropped_spans: Counter,
    dropped_log_lines: Counter,
    took: Durations,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Who gets what waits; nobody while the observer is gone, and then nothing waits.
    observer: Option<Observer>,
    waiting: VecDeque<Arc<TelemetryBatch>>,
    worker: Option<JoinHandle<()>>,
    generation: u64,
    busy: Option<Busy>,
    accepted: u64,
    left_behind: usize,
    /// Why the last delivery failed, if it did.
    failure: Option<String>,
    trouble: Seldom,
}

/// What the present worker is about.
struct Busy {
    since: Instant,
    batch: Arc<TelemetryBatch>,
    /// It speaks with an observer that was replaced since.
    outdated: bool,
}

/// Something to say once the lane is not locked any more.
struct Warning<'a> {
    name: &'a str,
    why: String,
    unsaid: u64,
}

impl State {
    fn pending(&self) -> usize {
        self.waiting.len() + usize::from(self.busy.is_some())
    }

    /// Whether the first `mark` batches are taken or lost.
    fn settled(&self, mark: u64) -> bool {
        mark <= self.accepted - self.pending() as u64
    }
}

impl Warning<'_> {
    fn say(self) {
        let Warning { name, why, unsaid } = self;
        tracing::warn!(observer = name, unsaid, "a batch of telemetry was lost: {why}");
    }
}

impl Lane {
    pub(super) fn new(name: String, options: DeliveryOptions) -> Lane {
        let (delivered, dropped, dropped_spans, dropped_log_lines) = Default::default();
        let (took, state, changed) = Default::default();
        Lane {
            name,
            options,
            delivered,
            dropped,
            dropped_spans,
            dropped_log_lines,
            took,
            state,
            changed,
        }
    }

    /// Puts `batch` into the queue, which may have `extra` more places than it has. From now on `observer` gets
    /// what is there.
    pub(super) fn hand(
        self: &Arc<Lane>,
        observer: Observer,
        batch: &Arc<TelemetryBatch>,
        extra: usize,
    ) {
        let mut state = self.state.lock();
        let old = self.replace(&mut state, observer);
        let busy_too_long = |busy: &Busy| {
            busy.outdated && self.options.patience.min(super::FOREVER) <= busy.since.elapsed()
        };
        let leave = state.busy.as_ref().is_some_and(busy_too_long);
        let left = if leave { self.leave_worker(&mut state) } else { None };
        let ready = self.worker(&mut state);
        let warning = if let Err(why) = ready {
            self.lost(&mut state, batch, why)
        } else if self.options.waiting_max + extra <= state.waiting.len() {
            let waiting = state.waiting.len();
            self.lost(&mut state, batch, format!("{waiting} batches wait already"))
        } else {
            state.waiting.push_back(batch.clone());
            state.accepted += 1;
            None
        };
        self.changed.notify_all();
        drop(state);
        left.into_iter().chain(warning).for_each(Warning::say);
        drop(old);
    }

    /// The former observer, to be dropped where the lane is not locked.
    fn replace(&self, state: &mut State, observer: Observer) -> Option<Observer> {
        if state.observer.as_ref().is_some_and(|known| Arc::ptr_eq(known, &observer)) {
            return Some(observer);
        }
        if let Some(busy) = &mut state.busy {
            busy.outdated = true;
        }
        state.observer.replace(observer)
    }

    /// Makes sure that there is a worker.
    fn worker(self: &Arc<Lane>, state: &mut State) -> Result<(), String> {
        if state.worker.is_some() {
            return Ok(());
        }
        if LEFT_BEHIND_MAX <= state.left_behind {
            return Err(format!("{LEFT_BEHIND_MAX} observers of this name never came back"));
        }
        let (lane, generation) = (self.clone(), state.generation);
        let worker = thread::Builder::new().name("sochdb-observer".to_owned());
        let worker = worker.spawn(move || lane.work(generation));
        state.worker = Some(worker.map_err(|why| format!("the system gives no thread: {why}"))?);
        Ok(())
    }

    /// What a worker does, all its life.
    fn work(&self, generation: u64) {
        let mut state = self.state.lock();
        while state.generation == generation {
            let Some((batch, observer)) = next(&mut state) else {
                self.changed.wait(&mut state);
                continue;
            };
            let began = Instant::now();
            state.busy = Some(Busy { since: began, batch: batch.clone(), outdated: false });
            let outcome = MutexGuard::unlocked(&mut state, || {
                let outcome = ingest(observer, &batch);
                self.took.observe(began.elapsed());
                outcome
            });
            if state.generation != generation {
                state.left_behind -= 1;
                return;
            }
            let warning = self.settle(&mut state, &batch, outcome);
            self.changed.notify_all();
            MutexGuard::unlocked(&mut state, || {
                warning.into_iter().for_each(Warning::say);
                drop(batch);
            });
        }
    }

    fn settle(
        &self,
        state: &mut State,
        batch: &TelemetryBatch,
        outcome: Result<(), String>,
    ) -> Option<Warning<'_>> {
        state.busy = None;
        match outcome {
            Ok(()) => {
                self.delivered.add(1);
                state.failure = None;
                None
            }
            Err(why) => {
                state.failure = Some(why.clone());
                self.lost(state, batch, why)
            }
        }
    }

    fn lost(&self, state: &mut State, batch: &TelemetryBatch, why: String) -> Option<Warning<'_>> {
        self.dropped.add(1);
        self.dropped_spans.add(batch.spans.len() as u64);
        self.dropped_log_lines.add(batch.logs.len() as u64);
        let unsaid = state.trouble.say()?;
        Some(Warning { name: &self.name, why, unsaid })
    }

    /// Lets the present worker end by itself: now, or when the call it is in comes back. Its batch counts as lost.
    fn leave_worker<'a>(&'a self, state: &mut State) -> Option<Warning<'a>> {
        state.generation += 1;
        state.worker = None;
        let busy = state.busy.take()?;
        state.left_behind += 1;
        self.lost(state, &busy.batch, "the observer was gone before it had taken it".to_owned())
    }

    /// The observer is gone. What waited for it is lost; the counts stay. The worker is given to whoever wants to
    /// wait for its end, unless it is in a call.
    pub(super) fn leave(&self) -> Option<JoinHandle<()>> {
        let mut state = self.state.lock();
        let worker = if state.busy.is_none() { state.worker.take() } else { None };
        let mut warning = self.leave_worker(&mut state);
        for batch in std::mem::take(&mut state.waiting) {
            let why = "the observer is gone".to_owned();
            warning = self.lost(&mut state, &batch, why).or(warning);
        }
        let old = state.observer.take();
        state.failure = None;
        self.changed.notify_all();
        drop(state);
        warning.into_iter().for_each(Warning::say);
        drop(old);
        worker
    }

    /// How many batches were put into the queue so far.
    pub(super) fn accepted(&self) -> u64 {
        self.state.lock().accepted
    }

    /// Waits until the first `mark` of them are taken or lost.
    pub(super) fn wait(&self, mark: u64, deadline: Instant) -> bool {
        let mut state = self.state.lock();
        while !state.settled(mark) {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                return state.settled(mark);
            }
        }
        true
    }

    pub(super) fn collect(&self, into: &mut Vec<Metric>) {
        let counter = |counter: &Counter| MetricValue::Counter(counter.get() as f64);
        let waiting = self.state.lock().pending();
        let values = [
            counter(&self.delivered),
            counter(&self.dropped),
            counter(&self.dropped_spans),
            counter(&self.dropped_log_lines),
            MetricValue::Gauge(waiting as f64),
            self.took.value(),
        ];
        let labels = [("observer", self.name.as_str())];
        into.extend(
            FAMILIES.iter().zip(values).map(|(family, value)| family.metric(&labels, value)),
        );
    }

    /// How the observer is; `None` when it is gone.
    pub(super) fn health(&self) -> Option<ComponentHealth> {
        let state = self.state.lock();
        state.observer.as_ref()?;
        let busy = state.busy.as_ref().map(|busy| busy.since.elapsed());
        let why = if self.options.waiting_max <= state.waiting.len() {
            Some(format!("{} batches wait for it, and it gets no more", state.waiting.len()))
        } else if let Some(busy) = busy.filter(|busy| self.options.patience < *busy) {
            Some(format!("it has been busy with one batch for {} s", busy.as_secs()))
        } else {
            state.failure.clone()
        };
        Some(ComponentHealth {
            component: "observer".to_owned(),
            name: self.name.clone(),
            state: if why.is_some() { HealthState::Degraded } else { HealthState::Healthy },
            why: why.unwrap_or_default(),
        })
    }
}

/// The next batch, and who gets it.
fn next(state: &mut State) -> Option<(Arc<TelemetryBatch>, Observer)> {
    let observer = state.observer.as_ref()?;
    Some((state.waiting.pop_front()?, observer.clone()))
}

/// One call. The observer is let go of before the batch counts as settled: whoever waits for that may count on it.
fn ingest(observer: Observer, batch: &TelemetryBatch) -> Result<(), String> {
    let call = AssertUnwindSafe(|| {
        let outcome = observer.ingest(batch);
        drop(observer);
        outcome
    });
    match catch_unwind(call) {
        Ok(outcome) => outcome.map_err(|error| error.to_string().chars().take(WHY_MAX).collect()),
        Err(_) => Err("the observer panicked".to_owned()),
    }
}

//! What observers send to addresses, over HTTP.
//!
//! Each address has a queue of its own, and a few threads serve the queues in turn, one payload of an address at a
//! time. One of the threads is kept for addresses whose last attempt did well: those that do not answer, however
//! many, never occupy all of them.
//!
//! ```text
//!   post ──▶ queue of http://a:4318/v1/metrics ──┐
//!   post ──▶ queue of http://a:4318/v1/traces ───┼──▶ up to 4 threads ── POST ──▶
//!   post ──▶ queue of http://b:9428/insert ──────┘
//! ```
//!
//! | what the other side does                      | what becomes of the payload                                |
//! |-----------------------------------------------|------------------------------------------------------------|
//! | answers 200 to 299                            | sent; the answer's body is thrown away                     |
//! | answers 429, 502, 503 or 504                  | tried again after a pause, `Retry-After` seconds or longer |
//! | does not answer in time, or not in HTTP       | tried again after a pause                                  |
//! | answers anything else, a redirection included | lost                                                       |
//! | did so at the last attempt                    | lost                                                       |
//!
//! The pause doubles with every failure in a row of an address, from [`OutboxOptions::pause`] to half a minute, and
//! varies by chance between a half of that and all of it. An attempt whose answer was lost on its way is repeated:
//! the other side may get a payload twice. There is no TLS here, no proxy, no cookie.
//!
//! Source: the rules for retries are those of OpenTelemetry's OTLP/HTTP.

mod check;
mod queues;
#[cfg(test)]
mod tests;
mod worker;

use crate::registry::{Registry, Source};
use check::Target;
use parking_lot::{Condvar, Mutex};
use queues::Queues;
use sochdb_telemetry::{Family, Metric, MetricKind, MetricValue};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the outbox's end waits for attempts that are on their way.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// Longer than anybody waits, and short enough to be added to any time.
const FOREVER: Duration = Duration::from_secs(1 << 30);

/// How the outbox works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxOptions {
    /// Bytes of one payload.
    pub payload_bytes_max: usize,
    /// Payloads that wait for one address; the oldest is given up for a newer one.
    pub waiting_max: usize,
    /// Bytes of all payloads that wait, for all addresses of one outbox.
    pub waiting_bytes_max: usize,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How often a payload is tried.
    pub attempts_max: u32,
    /// The first pause between two attempts; each doubles it.
    pub pause: Duration,
}

impl Default for OutboxOptions {
    fn default() -> OutboxOptions {
        OutboxOptions {
            payload_bytes_max: 4 << 20,
            waiting_max: 64,
            waiting_bytes_max: 32 << 20,
            timeout: Duration::from_secs(10),
            attempts_max: 5,
            pause: Duration::from_secs(1),
        }
    }
}

/// What became of the payloads for one address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Payloads that wait, or are on their way.
    pub waiting: u32,
    /// Payloads that the other side took.
    pub sent: u64,
    /// Payloads that were given up.
    pub lost: u64,
    /// Why the newest of those was given up.
    pub why: String,
}

/// Why a payload was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The address or a header makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Too large, or too much.
    #[error("{0}")]
    Limit(String),
}

/// Payloads on their way.
///
/// Its end gives up what waits (see [`Outbox::flush`]), and waits up to a second for attempts that are on their way.
/// One that takes longer ends by itself, at the latest after [`OutboxOptions::timeout`].
pub struct Outbox(Arc<Shared>);

struct Shared {
    agent: ureq::Agent,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    queues: Queues,
    workers: Vec<JoinHandle<()>>,
    /// How many of those wait for work.
    idle: usize,
    /// How many have not ended.
    alive: usize,
    ending: bool,
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox::new(OutboxOptions::default())
    }
}

impl Outbox {
    /// Empty; its threads begin with the first payload.
    pub fn new(options: OutboxOptions) -> Outbox {
        let options = OutboxOptions {
            waiting_max: options.waiting_max.max(1),
            attempts_max: options.attempts_max.max(1),
            timeout: options.timeout.clamp(Duration::from_millis(1), FOREVER),
            ..options
        };
        let (workers, idle, alive, ending) = Default::default();
        let state = State { queues: Queues::new(options), workers, idle, alive, ending };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Outbox(Arc::new(Shared { agent: worker::agent(&options), state, changed }))
    }

    /// Shows what is sent and lost in `registry`, as long as the outbox lives. An address is shown without what
    /// follows its question mark. One outbox to a registry: a second one would have the same names.
    pub fn register(&self, registry: &Registry) {
        registry.add(&self.0);
    }

    /// Whether payloads can be sent to `url` at all: it, as the outbox writes it.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn check(url: &str) -> Result<String, PostError> {
        Target::parse(url).map(|target| target.url)
    }

    /// Takes a payload, to be sent as a POST.
    ///
    /// # Errors
    /// `Invalid` for an address or a header, `Limit` for a size, or when payloads wait for too many addresses.
    pub fn post(
        &self,
        url: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<(), PostError> {
        let (target, headers) = (Target::parse(url)?, check::headers(headers)?);
        let mut state = self.0.state.lock();
        if state.alive == 0 {
            let no_thread = |why| PostError::Limit(format!("the system gives no thread: {why}"));
            self.0.start_worker(&mut state).map_err(no_thread)?;
        }
        state.queues.post(target, headers, body)?;
        self.0.changed.notify_all();
        self.0.start_worker_if_needed(&mut state);
        Ok(())
    }

    /// What became of the payloads for `url`.
    ///
    /// An address with nothing on its way may be forgotten, with its counts, when others need its place.
    pub fn status(&self, url: &str) -> OutboxStatus {
        let Ok(target) = Target::parse(url) else { return OutboxStatus::default() };
        self.0.state.lock().queues.status(&target.url)
    }

    /// Waits until nothing waits any more; `false` when that takes longer than `patience`.
    pub fn flush(&self, patience: Duration) -> bool {
        self.wait(patience, Queues::is_empty)
    }

    /// The same for those who are about to end: does not wait for addresses that failed when they were last tried.
    pub fn settle(&self, patience: Duration) -> bool {
        self.wait(patience, Queues::is_settled) && self.0.state.lock().queues.is_empty()
    }

    fn wait(&self, patience: Duration, is_over: fn(&Queues) -> bool) -> bool {
        let deadline = Instant::now() + patience.min(FOREVER);
        let mut state = self.0.state.lock();
        while !is_over(&state.queues) {
            if self.0.changed.wait_until(&mut state, deadline).timed_out() {
                return is_over(&state.queues);
            }
        }
        true
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let deadline = Instant::now() + END_PATIENCE;
        let mut state = self.0.state.lock();
        state.ending = true;
        state.queues.give_up("the outbox was closed");
        self.0.changed.notify_all();
        while 0 < state.alive {
            if self.0.changed.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
        let workers = std::mem::take(&mut state.workers);
        drop(state);
        // They have ended, and none with a panic.
        workers.into_iter().for_each(|worker| drop(worker.join()));
    }
}

const fn family(name: &'static str, kind: MetricKind, help: &'static str) -> Family {
    Family { name, kind, help, labels: &["address"] }
}

/// In the order of `collect`.
const FAMILIES: [Family; 4] = [
    family("sochdb_outbox_sent_total", MetricKind::Counter, "Payloads that the address took."),
    family("sochdb_outbox_sent_bytes_total", MetricKind::Counter, "Bytes of those payloads."),
    family("sochdb_outbox_lost_total", MetricKind::Counter, "Payloads that were given up."),
    family("sochdb_outbox_waiting", MetricKind::Gauge, "Payloads that wait, or are on their way."),
];

impl Source for Shared {
    fn families(&self) -> Vec<Family> {
        FAMILIES.to_vec()
    }

    fn collect(&self, into: &mut Vec<Metric>) {
        // Addresses that differ in what follows the question mark are shown as one.
        let mut shown = BTreeMap::<String, [u64; 4]>::new();
        for (label, values) in self.state.lock().queues.numbers() {
            let sums = shown.entry(label.to_owned()).or_default();
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        }
        for (label, values) in &shown {
            let labels = [("address", label.as_str())];
            into.extend(FAMILIES.iter().zip(values).map(|(family, &value)| {
                let value = match family.kind {
                    MetricKind::Counter => MetricValue::Counter(value as f64),
                    _ => MetricValue::Gauge(value as f64),
                };
                family.metric(&labels, value)
            }));
        }
    }
}

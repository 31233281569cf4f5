//! What SochDB counts, times and says: gathered in one place, and delivered to observers.
//!
//! ```text
//!   kernel, host, facade ── count, time ──▶ numbers of their own ◀── asked now and then ── Registry ─┐
//!                        ── spans ────────▶ Tracer ── bounded ──────────────────────────────────────┤
//!   tracing events ──▶ TelemetryLayer ──────▶ LogQueue ── bounded ────────────────────────────────────┼─▶ TelemetryBatch
//!   kernel, plugins, tenants ── how are you? ◀── asked now and then ── Health ────────────────────────┘       │
//!                                                                                                             ▼
//!                                         observers ◀── one thread and one bounded queue each ◀──────── Delivery
//! ```
//!
//! | file        | what it is                                                         |
//! |-------------|--------------------------------------------------------------------|
//! | `registry`  | [`Registry`]: everybody who has metrics                            |
//! | `durations` | [`Durations`]: how long things take, in log-linear buckets         |
//! | `spans`     | [`Tracer`]: pieces of work, sampled                                |
//! | `ticks`     | [`Ticks`]: the clock they are timed by                             |
//! | `logs`      | [`LogQueue`]: log lines that wait for observers                    |
//! | `layer`     | [`TelemetryLayer`]: events of `tracing` become log lines           |
//! | `clip`      | text of bounded length                                             |
//! | `threads`   | [`thread_number`]: which of several copies a thread uses           |
//! | `health`    | [`HealthSource`]: how each part is                                 |
//! | `disk`      | [`MeasuredVfs`]: what the disk is asked for, and how long it takes |
//! | `delivery`  | [`Delivery`]: batches to observers, never in anybody's way         |
//! | `outbox`    | [`Outbox`]: what observers send to addresses, over HTTP            |
//! | `serve`     | [`MetricsServer`]: pages for scrapers and health checks            |
//! | `dashboard` | [`dashboard()`]: a Grafana dashboard of the registered families    |
//!
//! Invariants:
//! 1. What is on a commit's way waits for no lock, allocates nothing and calls no observer. Counters and durations
//!    are atomic additions; a span that is not sampled is a few readings of the clock. Only recorded spans and
//!    log lines allocate.
//! 2. Every queue has a bound. What does not fit is dropped, and the drop is counted and shown.

#![deny(unsafe_code)]

mod clip;
mod dashboard;
mod delivery;
mod disk;
mod durations;
mod health;
mod layer;
mod logs;
mod outbox;
mod registry;
mod serve;
mod spans;
mod threads;
mod ticks;

pub use dashboard::dashboard;
pub use delivery::{Delivery, DeliveryOptions};
pub use disk::MeasuredVfs;
pub use durations::Durations;
pub use health::{HealthSource, Probe, probe};
pub use layer::TelemetryLayer;
pub use logs::{LogQueue, LogSource};
pub use outbox::{Outbox, OutboxOptions, OutboxStatus, PostError};
pub use registry::{Registry, Source};
pub use serve::{Answer, MetricsServer, Pages, Request};
pub use sochdb_telemetry::{Family, MetricKind, unit_of};
pub use spans::{ActiveSpan, Parent, Tracer, TracerOptions};
pub use threads::thread_number;
pub use ticks::Ticks;

use parking_lot::Mutex;
use sochdb_telemetry::{ComponentHealth, Metric, MetricValue, TelemetryBatch};
use std::sync::{Arc, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

/// Everything one database has to say. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    registry: Registry,
    tracer: Tracer,
    logs: Arc<LogQueue>,
    log_sources: Mutex<Vec<Weak<dyn LogSource>>>,
    health: Arc<health::Checks>,
    resource: Vec<(String, String)>,
    since_unix_us: u64,
    _own: Arc<Own>,
}

/// What can be chosen about a [`Telemetry`].
#[derive(Debug, Clone, PartialEq)]
pub struct TelemetryOptions {
    /// Which spans are kept.
    pub spans: TracerOptions,
    /// Log lines that wait for observers; the oldest go first.
    pub log_lines_max: usize,
    /// What all of it is about, by OpenTelemetry's names. `service.name` is `sochdb` unless said otherwise.
    pub resource: Vec<(String, String)>,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        let (spans, resource) = (TracerOptions::default(), Vec::new());
        TelemetryOptions { spans, log_lines_max: 1024, resource }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry::new(TelemetryOptions::default())
    }
}

impl Telemetry {
    /// Nothing is registered yet but what it counts about itself.
    pub fn new(options: TelemetryOptions) -> Telemetry {
        let mut resource = options.resource;
        let defaults = [
            ("service.name", "sochdb".to_owned()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("db.system.name", "sochdb".to_owned()),
            ("process.pid", std::process::id().to_string()),
        ];
        for (name, value) in defaults {
            if !resource.iter().any(|(known, _)| known == name) {
                resource.push((name.to_owned(), value));
            }
        }
        let (tracer, logs) = (Tracer::new(options.spans), LogQueue::new(options.log_lines_max));
        let logs = Arc::new(logs);
        let (registry, health) = (Registry::default(), Arc::new(health::Checks::default()));
        let since_unix_us = unix_us();
        let _own = Arc::new(Own {
            tracer: tracer.clone(),
            logs: logs.clone(),
            health: health.clone(),
            since_unix_us,
        });
        registry.add(&_own);
        let log_sources = Mutex::default();
        Telemetry(Arc::new(Inner {
            registry,
            tracer,
            logs,
            log_sources,
            health,
            resource,
            since_unix_us,
            _own,
        }))
    }

    /// Who has metrics.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Where spans begin.
    pub fn tracer(&self) -> &Tracer {
        &self.0.tracer
    }

    /// Log lines that wait for observers.
    pub fn logs(&self) -> &Arc<LogQueue> {
        &self.0.logs
    }

    /// Makes log lines of the events of `tracing`; add it to a subscriber. One layer serves a whole process: what
    /// every database in it says becomes lines here.
    pub fn layer(&self) -> TelemetryLayer {
        TelemetryLayer::new(self.0.logs.clone())
    }

    /// Asks `source` about health from now on, as long as it lives.
    pub fn watch(&self, source: &Arc<impl HealthSource + 'static>) {
        let source: Arc<dyn HealthSource> = source.clone();
        self.0.health.add(&source);
    }

    /// Asks `source` for log lines that it has gathered itself, as long as it lives.
    pub fn listen(&self, source: &Arc<impl LogSource + 'static>) {
        let source: Arc<dyn LogSource> = source.clone();
        let mut sources = self.0.log_sources.lock();
        sources.retain(|source| 0 < source.strong_count());
        sources.push(Arc::downgrade(&source));
    }

    /// Every metric's present value, by name and labels.
    pub fn metrics(&self) -> Vec<Metric> {
        self.0.registry.collect()
    }

    /// What every metric is, by name.
    pub fn families(&self) -> Vec<Family> {
        self.0.registry.families()
    }

    /// How each part is now.
    pub fn health(&self) -> Vec<ComponentHealth> {
        self.0.health.ask()
    }

    /// Everything since the last batch. Spans and log lines are in one batch only.
    pub fn batch(&self) -> TelemetryBatch {
        let mut logs = self.0.logs.drain();
        let sources: Vec<_> = self.0.log_sources.lock().iter().filter_map(Weak::upgrade).collect();
        logs.extend(sources.iter().flat_map(|source| source.drain()));
        logs.sort_by_key(|line| line.unix_us);
        TelemetryBatch { spans: self.0.tracer.drain(), logs, ..self.present() }
    }

    /// How everything is now, without spans and log lines.
    pub fn present(&self) -> TelemetryBatch {
        TelemetryBatch {
            unix_us: unix_us(),
            since_unix_us: self.0.since_unix_us,
            resource: self.0.resource.clone(),
            metrics: self.metrics(),
            health: self.health(),
            ..TelemetryBatch::default()
        }
    }
}

/// What telemetry says for itself. It knows nobody who knows it, so that both end with the last [`Telemetry`].
struct Own {
    tracer: Tracer,
    logs: Arc<LogQueue>,
    health: Arc<health::Checks>,
    since_unix_us: u64,
}

sochdb_telemetry::stats! {
    /// What observers get, and what was lost before any of them could.
    pub(crate) struct OwnStats {
        counter spans_recorded = "sochdb_spans_recorded_total" "Spans recorded, those that were lost included.",
        counter spans_dropped = "sochdb_spans_dropped_total" "Spans lost because too many waited for observers.",
        counter log_lines = "sochdb_log_lines_total" "Log lines for observers, those that were lost included.",
        counter log_lines_dropped = "sochdb_log_lines_dropped_total" "Log lines lost because too many waited for observers.",
    }
}

const HEALTH: Family = Family {
    name: "sochdb_health",
    kind: MetricKind::Gauge,
    help: "How a part of the database is: 0 healthy, 1 starting, 2 degraded, 3 failed.",
    labels: &["component", "name"],
};
const BUILD_INFO: Family = Family {
    name: "sochdb_build_info",
    kind: MetricKind::Gauge,
    help: "Always 1; the label says which version of SochDB it is.",
    labels: &["version"],
};
const START_TIME: Family = Family {
    name: "sochdb_start_time_seconds",
    kind: MetricKind::Gauge,
    help: "Since when counters and histograms count, in seconds since 1970.",
    labels: &[],
};

impl Source for Own {
    fn families(&self) -> Vec<Family> {
        [OwnStats::FAMILIES, &[HEALTH, BUILD_INFO, START_TIME]].concat()
    }

    fn collect(&self, into: &mut Vec<Metric>) {
        let (spans_recorded, spans_dropped) = self.tracer.counts();
        let (log_lines, log_lines_dropped) = self.logs.counts();
        let stats = OwnStats { spans_recorded, spans_dropped, log_lines, log_lines_dropped };
        into.extend(stats.metrics());
        let version = env!("CARGO_PKG_VERSION");
        into.push(BUILD_INFO.metric(&[("version", version)], MetricValue::Gauge(1.0)));
        let started = self.since_unix_us as f64 / 1e6;
        into.push(START_TIME.metric(&[], MetricValue::Gauge(started)));
        // The worst of those with one name, should there be several: the first of a series is kept.
        let mut parts = self.health.ask();
        parts.sort_by_key(|part| std::cmp::Reverse(part.state));
        into.extend(parts.iter().map(|part| {
            let labels = [("component", part.component.as_str()), ("name", part.name.as_str())];
            HEALTH.metric(&labels, MetricValue::Gauge(f64::from(part.state as u8)))
        }));
    }
}

/// Microseconds since 1970.
pub fn unix_us() -> u64 {
    unix_ns() / 1000
}

fn unix_ns() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX)
}

/// The example in `README.md` runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests;

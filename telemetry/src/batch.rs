//! What observers get: one batch at a time.

use crate::context::SpanContext;
use crate::histogram::Histogram;

/// What happened since the last batch, and how everything is now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TelemetryBatch {
    /// When it was gathered, in microseconds since 1970.
    pub unix_us: u64,
    /// Since when counters and histograms count, in microseconds since 1970.
    pub since_unix_us: u64,
    /// What all of it is about, by OpenTelemetry's names: `service.name`, `db.system.name`...
    pub resource: Vec<(String, String)>,
    /// Every metric's present value. Counters and histograms are totals.
    pub metrics: Vec<Metric>,
    /// Spans that ended since the last batch, in the order they ended.
    pub spans: Vec<Span>,
    /// Log lines since the last batch, oldest first.
    pub logs: Vec<LogLine>,
    /// How each part is now.
    pub health: Vec<ComponentHealth>,
}

/// One metric with its present value.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Prometheus style: `sochdb_commits_total`.
    pub name: String,
    /// One sentence for people.
    pub help: String,
    /// Pairs of label name and value.
    pub labels: Vec<(String, String)>,
    /// The value, and with it the metric's type.
    pub value: MetricValue,
}

/// The value of a [`Metric`].
#[derive(Debug, Clone, PartialEq)]
pub enum MetricValue {
    /// Only grows; a whole number unless its unit is one of time.
    Counter(f64),
    /// Goes up and down.
    Gauge(f64),
    /// How observations are spread.
    Histogram(Histogram),
}

/// One piece of work that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Which one.
    pub context: SpanContext,
    /// The span that led to it, if one is known.
    pub parent: Option<u64>,
    /// What was done: `commit`, `checkpoint`, `plugin call`...
    pub name: String,
    /// When it began, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// How long it took, in nanoseconds.
    pub took_ns: u64,
    /// What it was about, by OpenTelemetry's names where there is one.
    pub attributes: Vec<(String, String)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// How loud a [`LogLine`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the usual five")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// `trace` to `error`.
    pub fn word(self) -> &'static str {
        ["trace", "debug", "info", "warn", "error"][self as usize]
    }
}

/// One structured log line.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// Microseconds since 1970 by the database's clock.
    pub unix_us: u64,
    /// How loud.
    pub level: LogLevel,
    /// Which part of the database, or which plugin, speaks.
    pub target: String,
    /// The sentence.
    pub message: String,
    /// What it is about: names and values.
    pub fields: Vec<(String, String)>,
    /// The span it was said in, if one was recorded.
    pub span: Option<SpanContext>,
}

/// How a part of the database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthState {
    /// Works.
    Healthy,
    /// Is being opened.
    Starting,
    /// Works, and something is wrong.
    Degraded,
    /// Does not work.
    Failed,
}

impl HealthState {
    /// `healthy` to `failed`.
    pub fn word(self) -> &'static str {
        ["healthy", "starting", "degraded", "failed"][self as usize]
    }
}

/// How one part of the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentHealth {
    /// What kind of part: `kernel`, `plugin`, `tenant`, `observer`.
    pub component: String,
    /// Which of them; empty where there is one.
    pub name: String,
    /// How it is.
    pub state: HealthState,
    /// Why, unless it is healthy; for people.
    pub why: String,
}

/// What an observer shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// A media type, such as `text/plain; version=0.0.4`.
    pub content_type: String,
    /// The text.
    pub body: String,
}

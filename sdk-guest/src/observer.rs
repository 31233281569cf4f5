//! A plugin that takes metrics and logs out of the database.

use crate::bindings::lifecycle;
use crate::bindings::observer::exports::sochdb::plugin::observer;
use crate::bindings::{Instance, types};
use crate::error::Result;
use crate::telemetry::Level;
use std::marker::PhantomData;

/// An observer of metrics and log lines.
///
/// One instance serves all calls, so it may keep what it was given. After a trap the host gives the
/// newest batch to the fresh instance again. See [`export!`](crate::export) for how a type becomes
/// the plugin.
pub trait Observer: Sized {
    /// Makes the one value of this instance; read [`config`](crate::config) here.
    ///
    /// # Errors
    /// Any, such as a setting that makes no sense; the call that needed the instance then fails.
    fn init() -> Result<Self>;

    /// Takes one batch.
    ///
    /// # Errors
    /// Any; the host counts the batch as dropped.
    fn ingest(&mut self, batch: Batch) -> Result<()>;

    /// What the observer shows when it is asked.
    ///
    /// # Errors
    /// When it cannot answer.
    fn render(&mut self) -> Result<String>;

    /// Whether the plugin works at all; called when it is loaded, on an instance of its own. By
    /// default a small batch must be taken and rendered.
    ///
    /// # Errors
    /// Any; the plugin is then not loaded.
    fn self_test(&mut self) -> Result<()> {
        let metric = |name: &str, value| Metric {
            name: name.to_owned(),
            help: "Part of a self-test.".to_owned(),
            labels: vec![("part".to_owned(), "self \"test\"\n".to_owned())],
            value,
        };
        self.ingest(Batch {
            metrics: vec![
                metric("sochdb_self_test_total", MetricValue::Counter(1)),
                metric("sochdb_self_test", MetricValue::Gauge(0.5)),
                metric(
                    "sochdb_self_test_seconds",
                    MetricValue::Histogram(Histogram {
                        bounds: vec![0.1, 1.0],
                        counts: vec![1, 2, 3],
                        sum: 4.2,
                    }),
                ),
            ],
            logs: vec![LogLine {
                unix_us: 0,
                level: Level::Info,
                target: "self-test".to_owned(),
                message: "a line".to_owned(),
            }],
        })?;
        self.render().map(drop)
    }

    /// The last call when the database closes.
    ///
    /// # Errors
    /// Any; logged, and closing goes on.
    fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What happened since the last batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Every metric's present value: totals since the database was opened, not differences.
    pub metrics: Vec<Metric>,
    /// The new log lines, oldest first.
    pub logs: Vec<LogLine>,
}

/// One metric with its present value.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// In the style of Prometheus, such as `sochdb_commits_total`.
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
    /// Only grows.
    Counter(u64),
    /// Goes up and down.
    Gauge(f64),
    /// How many observations fell at or below each bound.
    Histogram(Histogram),
}

/// How observations are spread.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper bounds, growing, without the infinite one.
    pub bounds: Vec<f64>,
    /// Cumulative counts, one per bound and a last one for infinity.
    pub counts: Vec<u64>,
    /// The sum of all observations.
    pub sum: f64,
}

/// One structured log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Microseconds since 1970 by the database's clock.
    pub unix_us: u64,
    /// How loud.
    pub level: Level,
    /// Which part of the database, or which plugin, speaks.
    pub target: String,
    /// The sentence.
    pub message: String,
}

/// Turns calls of the contract into calls of [`Observer`].
pub struct ObserverGlue<P>(PhantomData<P>);

lifecycle!(ObserverGlue: Observer);

impl<P: Observer + Instance> observer::Guest for ObserverGlue<P> {
    fn ingest(batch: observer::Batch) -> std::result::Result<(), types::Error> {
        P::with(|observer| observer.ingest(batch.into()))
    }

    fn render() -> std::result::Result<String, types::Error> {
        P::with(P::render)
    }
}

impl From<observer::Batch> for Batch {
    fn from(batch: observer::Batch) -> Batch {
        Batch {
            metrics: batch.metrics.into_iter().map(Into::into).collect(),
            logs: batch.logs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<observer::Metric> for Metric {
    fn from(metric: observer::Metric) -> Metric {
        let value = match metric.value {
            observer::MetricValue::Counter(total) => MetricValue::Counter(total),
            observer::MetricValue::Gauge(value) => MetricValue::Gauge(value),
            observer::MetricValue::Histogram(observer::Histogram { bounds, counts, sum }) => {
                MetricValue::Histogram(Histogram { bounds, counts, sum })
            }
        };
        let labels = metric.labels.into_iter().map(|label| (label.name, label.value)).collect();
        Metric { name: metric.name, help: metric.help, labels, value }
    }
}

impl From<observer::LogLine> for LogLine {
    fn from(line: observer::LogLine) -> LogLine {
        LogLine {
            unix_us: line.unix_us,
            level: line.level.into(),
            target: line.target,
            message: line.message,
        }
    }
}

//! A plugin that takes metrics, spans, logs and health out of the database.

use crate::bindings::lifecycle;
use crate::bindings::observer::exports::sochdb::plugin::observer;
use crate::bindings::{Instance, types};
use crate::error::{Error, ErrorCode, Result};
use crate::telemetry::Level;
pub use sochdb_telemetry::{
    ComponentHealth, Exemplar, HealthState, Histogram, LogLine, Metric, MetricValue, Page, Span,
    SpanContext, TelemetryBatch as Batch, unit_of,
};
use std::marker::PhantomData;

/// An observer of metrics, spans, log lines and health.
///
/// One instance serves all calls, so it may keep what it was given. After a trap the host gives the
/// metrics of the newest batch to the fresh instance again. What is to go over the network goes into the
/// [`outbox`](crate::outbox). See [`export!`](crate::export) for how a type becomes
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

    /// What the observer shows when it is asked, in one of the media types of `accept`, as HTTP's header of that
    /// name writes them, if it can; empty for what it likes best. By default it shows nothing.
    ///
    /// # Errors
    /// `NotFound` when it shows nothing; any when it cannot answer.
    fn render(&mut self, accept: &str) -> Result<Page> {
        let _ = accept;
        Err(Error::new(ErrorCode::NotFound, "this observer shows nothing"))
    }

    /// Whether the plugin works at all; called when it is loaded, on an instance of its own. By default nothing
    /// is asked: whoever only forwards what it gets has nothing to try without doing it. One that renders
    /// should try [`test_batch`].
    ///
    /// # Errors
    /// Any; the plugin is then not loaded.
    fn self_test(&mut self) -> Result<()> {
        Ok(())
    }

    /// What the instance of the next version should know, when this plugin is replaced while the database
    /// serves. Asked only of a plugin with `max_instances = 1`. By default nothing.
    ///
    /// # Errors
    /// Any; the plugin is then not replaced.
    fn export_state(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Takes over what the instance of the version before exported; `version` is which one that was. By default
    /// it is let go.
    ///
    /// # Errors
    /// Any, such as a state that makes no sense; the plugin is then not replaced.
    fn import_state(&mut self, state: Vec<u8>, version: &str) -> Result<()> {
        let _ = (state, version);
        Ok(())
    }

    /// The last call when the database closes.
    ///
    /// # Errors
    /// Any; logged, and closing goes on.
    fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A batch with one of everything, and texts that want escaping: for tests.
pub fn test_batch() -> Batch {
    let metric = |name: &str, value| Metric {
        name: name.to_owned(),
        help: "Part of a self-test.".to_owned(),
        labels: vec![("part".to_owned(), "self \"test\"\n".to_owned())],
        value,
    };
    let context = SpanContext { trace_id: 0x1234 << 64 | 0x5678, span_id: 0x9abc };
    Batch {
        unix_us: 1_700_000_000_000_000,
        since_unix_us: 1_600_000_000_000_000,
        resource: vec![("service.name".to_owned(), "self-test".to_owned())],
        metrics: vec![
            metric("sochdb_self_test_total", MetricValue::Counter(1.0)),
            metric("sochdb_self_test", MetricValue::Gauge(0.5)),
            metric(
                "sochdb_self_test_seconds",
                MetricValue::Histogram(Histogram {
                    bounds: vec![0.1, 1.0],
                    counts: vec![1, 2, 3],
                    sum: 4.2,
                    exemplars: vec![Exemplar {
                        value: 0.5,
                        unix_us: 1_700_000_000_000_000,
                        span: context,
                    }],
                }),
            ),
        ],
        spans: vec![Span {
            context,
            parent: None,
            name: "commit".to_owned(),
            unix_ns: 1_700_000_000_000_000_000,
            took_ns: 500_000_000,
            attributes: vec![("db.operation.name".to_owned(), "commit".to_owned())],
            error: Some("no \"room\"\n".to_owned()),
        }],
        logs: vec![LogLine {
            unix_us: 1_700_000_000_000_000,
            level: Level::Info,
            target: "self-test".to_owned(),
            message: "a \"line\"\n".to_owned(),
            fields: vec![("rows".to_owned(), "3".to_owned())],
            span: Some(context),
        }],
        health: vec![ComponentHealth {
            component: "kernel".to_owned(),
            name: String::new(),
            state: HealthState::Healthy,
            why: String::new(),
        }],
    }
}

/// Turns calls of the contract into calls of [`Observer`].
pub struct ObserverGlue<P>(PhantomData<P>);

lifecycle!(ObserverGlue: Observer);

impl<P: Observer + Instance> observer::Guest for ObserverGlue<P> {
    fn ingest(batch: observer::Batch) -> std::result::Result<(), types::Error> {
        P::with(|observer| observer.ingest(batch.into()))
    }

    fn render(accept: String) -> std::result::Result<observer::Page, types::Error> {
        let page = P::with(|observer| observer.render(&accept))?;
        Ok(observer::Page { content_type: page.content_type, body: page.body })
    }
}

fn all<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(Into::into).collect()
}

fn pairs(labels: Vec<types::Label>) -> Vec<(String, String)> {
    labels.into_iter().map(|label| (label.name, label.value)).collect()
}

impl From<observer::Batch> for Batch {
    fn from(batch: observer::Batch) -> Batch {
        Batch {
            unix_us: batch.unix_us,
            since_unix_us: batch.since_unix_us,
            resource: pairs(batch.resource),
            metrics: all(batch.metrics),
            spans: all(batch.spans),
            logs: all(batch.logs),
            health: all(batch.health),
        }
    }
}

impl From<observer::Metric> for Metric {
    fn from(metric: observer::Metric) -> Metric {
        let value = match metric.value {
            observer::MetricValue::Counter(total) => MetricValue::Counter(total),
            observer::MetricValue::Gauge(value) => MetricValue::Gauge(value),
            observer::MetricValue::Histogram(histogram) => {
                let observer::Histogram { bounds, counts, sum, exemplars } = histogram;
                let exemplars = all(exemplars);
                MetricValue::Histogram(Histogram { bounds, counts, sum, exemplars })
            }
        };
        Metric { name: metric.name, help: metric.help, labels: pairs(metric.labels), value }
    }
}

impl From<observer::Exemplar> for Exemplar {
    fn from(exemplar: observer::Exemplar) -> Exemplar {
        let observer::Exemplar { value, unix_us, span } = exemplar;
        Exemplar { value, unix_us, span: span.into() }
    }
}

impl From<observer::SpanContext> for SpanContext {
    fn from(context: observer::SpanContext) -> SpanContext {
        let observer::SpanContext { trace_id_high, trace_id_low, span_id } = context;
        let trace_id = u128::from(trace_id_high) << 64 | u128::from(trace_id_low);
        SpanContext { trace_id, span_id }
    }
}

impl From<observer::Span> for Span {
    fn from(span: observer::Span) -> Span {
        Span {
            context: span.context.into(),
            parent: span.parent,
            name: span.name,
            unix_ns: span.unix_ns,
            took_ns: span.took_ns,
            attributes: pairs(span.attributes),
            error: span.error,
        }
    }
}

impl From<observer::LogLine> for LogLine {
    fn from(line: observer::LogLine) -> LogLine {
        LogLine {
            unix_us: line.unix_us,
            level: line.level.into(),
            target: line.target,
            message: line.message,
            fields: pairs(line.fields),
            span: line.span.map(Into::into),
        }
    }
}

impl From<observer::ComponentHealth> for ComponentHealth {
    fn from(health: observer::ComponentHealth) -> ComponentHealth {
        let observer::ComponentHealth { component, name, state, why } = health;
        let state = match state {
            observer::HealthState::Healthy => HealthState::Healthy,
            observer::HealthState::Starting => HealthState::Starting,
            observer::HealthState::Degraded => HealthState::Degraded,
            observer::HealthState::Failed => HealthState::Failed,
        };
        ComponentHealth { component, name, state, why }
    }
}

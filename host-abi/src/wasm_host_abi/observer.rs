//! `observer`: a plugin as an observer of metrics, spans, logs and health.
//!
//! The one instance of an observer remembers what it was told. When it had to be replaced after a
//! trap, the fresh one is told the newest batch that was taken before it is asked anything else.

use super::base_bindings::sochdb::plugin::types::Label;
use super::observer_bindings::exports::sochdb::plugin::observer as contract;
use super::observer_bindings::{Observer, ObserverPre};
use super::{Exports, GuestState};
use crate::plugin::Plugin;
use crate::pool::{Call, Terms};
use crate::pools::Pools;
use crate::versions::Versions;
use parking_lot::Mutex;
use sochdb_kernel::KernelResult;
use sochdb_kernel::plugin::{
    Extension, ExtensionInfo, ObservabilityExtension, Page, TelemetryBatch,
};
use sochdb_telemetry::{
    ComponentHealth, Exemplar, HealthState, Histogram, LogLine, Metric, MetricValue, Span,
    SpanContext,
};
use std::sync::Arc;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

/// 16 MiB. A page of that size has a hundred thousand series.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// Twice the largest payload that an observer may put into the outbox, which it does while it takes a batch. What is
/// only a little too large is told so; more ends the call.
const CARRIED_BYTES_MAX: usize = 8 << 20;
const CONTENT_TYPE_BYTES_MAX: usize = 256;

impl Exports for Observer {
    fn check(component: &InstancePre<GuestState>) -> wasmtime::Result<()> {
        ObserverPre::new(component.clone()).map(drop)
    }

    fn new(store: &mut Store<GuestState>, instance: &Instance) -> wasmtime::Result<Self> {
        Observer::new(store, instance)
    }
}

/// The newest batch of an observer, without what is told once.
pub(crate) type NewestBatch = Arc<contract::Batch>;

/// An observer that runs in the sandbox.
pub struct WasmObserver {
    pub(crate) versions: Arc<Versions<Observer>>,
    /// The newest batch that was taken, for an instance that takes over.
    newest: Mutex<Option<NewestBatch>>,
}

impl WasmObserver {
    pub(crate) fn new(pools: Arc<Pools<Observer>>) -> WasmObserver {
        WasmObserver { versions: Versions::new(pools), newest: Mutex::new(None) }
    }

    /// The newest batch that was taken.
    pub(crate) fn newest(&self) -> Option<NewestBatch> {
        self.newest.lock().clone()
    }

    /// Has it take `batch`, and remembers that.
    ///
    /// # Errors
    /// As [`ObservabilityExtension::ingest`].
    pub(crate) fn tell(&self, batch: &NewestBatch) -> KernelResult<()> {
        let ingest = |call: &mut Call<'_, Observer>| {
            call.exports.sochdb_plugin_observer().call_ingest(&mut *call.store, batch)
        };
        let terms = Terms::reading(CARRIED_BYTES_MAX);
        self.versions.call(&terms, "ingest", ingest, |(), _| Ok(()))?;
        *self.newest.lock() = Some(batch.clone());
        Ok(())
    }

    fn plugin(&self) -> Arc<Plugin> {
        self.versions.plugin()
    }
}

impl Extension for WasmObserver {
    fn info(&self) -> ExtensionInfo {
        self.plugin().extension_info()
    }

    fn shutdown(&self) -> KernelResult<()> {
        self.versions.shutdown()
    }
}

impl ObservabilityExtension for WasmObserver {
    fn ingest(&self, batch: &TelemetryBatch) -> KernelResult<()> {
        let batch = contract::Batch::from(batch);
        let ingest = |call: &mut Call<'_, Observer>| {
            call.exports.sochdb_plugin_observer().call_ingest(&mut *call.store, &batch)
        };
        let terms = Terms::reading(CARRIED_BYTES_MAX);
        self.versions.call(&terms, "ingest", ingest, |(), _| Ok(()))?;
        // Spans and log lines were delivered; telling them again would double them.
        let batch = contract::Batch { spans: Vec::new(), logs: Vec::new(), ..batch };
        *self.newest.lock() = Some(Arc::new(batch));
        Ok(())
    }

    fn render(&self, accept: &str) -> KernelResult<Page> {
        let newest = self.newest.lock().clone();
        let render = |call: &mut Call<'_, Observer>| {
            let observer = call.exports.sochdb_plugin_observer();
            if let Some(batch) = newest.as_deref().filter(|_| call.is_fresh)
                && let Err(error) = observer.call_ingest(&mut *call.store, batch)?
            {
                return Ok(Err(error));
            }
            observer.call_render(&mut *call.store, accept)
        };
        let terms = Terms::reading(PAGE_BYTES_MAX);
        self.versions.call(&terms, "render", render, |page, _| {
            let content_type = page.content_type;
            // It becomes a header of an answer.
            let is_plain = content_type.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            if content_type.is_empty() || !is_plain || CONTENT_TYPE_BYTES_MAX < content_type.len() {
                return Err(format!("{:?}, which is no media type", super::clean(&content_type)));
            }
            Ok(Page { content_type, body: page.body })
        })
    }
}

impl From<&TelemetryBatch> for contract::Batch {
    fn from(batch: &TelemetryBatch) -> contract::Batch {
        contract::Batch {
            unix_us: batch.unix_us,
            since_unix_us: batch.since_unix_us,
            resource: labels(&batch.resource),
            metrics: all(&batch.metrics),
            spans: all(&batch.spans),
            logs: all(&batch.logs),
            health: all(&batch.health),
        }
    }
}

fn all<'a, A, B: From<&'a A>>(list: &'a [A]) -> Vec<B> {
    list.iter().map(Into::into).collect()
}

fn labels(pairs: &[(String, String)]) -> Vec<Label> {
    let label =
        |(name, value): &(String, String)| Label { name: name.clone(), value: value.clone() };
    pairs.iter().map(label).collect()
}

impl From<&Metric> for contract::Metric {
    fn from(metric: &Metric) -> contract::Metric {
        let value = match &metric.value {
            MetricValue::Counter(total) => contract::MetricValue::Counter(*total),
            MetricValue::Gauge(value) => contract::MetricValue::Gauge(*value),
            MetricValue::Histogram(histogram) => {
                let Histogram { bounds, counts, sum, exemplars } = histogram;
                let (bounds, counts) = (bounds.clone(), counts.clone());
                let exemplars = all(exemplars);
                let histogram = contract::Histogram { bounds, counts, sum: *sum, exemplars };
                contract::MetricValue::Histogram(histogram)
            }
        };
        contract::Metric {
            name: metric.name.clone(),
            help: metric.help.clone(),
            labels: labels(&metric.labels),
            value,
        }
    }
}

impl From<&Exemplar> for contract::Exemplar {
    fn from(exemplar: &Exemplar) -> contract::Exemplar {
        let Exemplar { value, unix_us, span } = *exemplar;
        contract::Exemplar { value, unix_us, span: (&span).into() }
    }
}

impl From<&SpanContext> for contract::SpanContext {
    fn from(context: &SpanContext) -> contract::SpanContext {
        contract::SpanContext {
            trace_id_high: (context.trace_id >> 64) as u64,
            trace_id_low: context.trace_id as u64,
            span_id: context.span_id,
        }
    }
}

impl From<&Span> for contract::Span {
    fn from(span: &Span) -> contract::Span {
        contract::Span {
            context: (&span.context).into(),
            parent: span.parent,
            name: span.name.clone(),
            unix_ns: span.unix_ns,
            took_ns: span.took_ns,
            attributes: labels(&span.attributes),
            error: span.error.clone(),
        }
    }
}

impl From<&LogLine> for contract::LogLine {
    fn from(line: &LogLine) -> contract::LogLine {
        contract::LogLine {
            unix_us: line.unix_us,
            level: line.level.into(),
            target: line.target.clone(),
            message: line.message.clone(),
            fields: labels(&line.fields),
            span: line.span.as_ref().map(Into::into),
        }
    }
}

impl From<&ComponentHealth> for contract::ComponentHealth {
    fn from(health: &ComponentHealth) -> contract::ComponentHealth {
        contract::ComponentHealth {
            component: health.component.clone(),
            name: health.name.clone(),
            state: match health.state {
                HealthState::Healthy => contract::HealthState::Healthy,
                HealthState::Starting => contract::HealthState::Starting,
                HealthState::Degraded => contract::HealthState::Degraded,
                HealthState::Failed => contract::HealthState::Failed,
            },
            why: health.why.clone(),
        }
    }
}

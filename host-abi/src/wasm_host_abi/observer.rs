//! `observer`: a plugin as an observer of metrics and logs.
//!
//! The one instance of an observer remembers what it was told. When it had to be replaced after a
//! trap, the fresh one is told the newest batch that was taken before it is asked anything else.

use super::base_bindings::sochdb::plugin::types::Label;
use super::observer_bindings::exports::sochdb::plugin::observer as contract;
use super::observer_bindings::{Observer, ObserverPre};
use super::{Exports, GuestState};
use crate::plugin::Plugin;
use crate::pools::Pools;
use parking_lot::Mutex;
use sochdb_kernel::KernelResult;
use sochdb_kernel::plugin::{
    Extension, ExtensionInfo, LogLine, Metric, MetricValue, ObservabilityExtension, TelemetryBatch,
};
use std::sync::Arc;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

/// 16 MiB. A page of that size has a hundred thousand series.
const PAGE_BYTES_MAX: usize = 16 << 20;

impl Exports for Observer {
    fn check(component: &InstancePre<GuestState>) -> wasmtime::Result<()> {
        ObserverPre::new(component.clone()).map(drop)
    }

    fn new(store: &mut Store<GuestState>, instance: &Instance) -> wasmtime::Result<Self> {
        Observer::new(store, instance)
    }
}

/// An observer that runs in the sandbox.
pub struct WasmObserver {
    pools: Arc<Pools<Observer>>,
    /// The newest batch that was taken, for an instance that takes over.
    newest: Mutex<Option<Arc<contract::Batch>>>,
}

impl WasmObserver {
    pub(crate) fn new(pools: Arc<Pools<Observer>>) -> WasmObserver {
        WasmObserver { pools, newest: Mutex::new(None) }
    }

    fn plugin(&self) -> &Arc<Plugin> {
        self.pools.plugin()
    }
}

impl Extension for WasmObserver {
    fn info(&self) -> ExtensionInfo {
        self.plugin().extension_info()
    }

    fn shutdown(&self) -> KernelResult<()> {
        self.pools.shutdown()
    }
}

impl ObservabilityExtension for WasmObserver {
    fn ingest(&self, batch: &TelemetryBatch) -> KernelResult<()> {
        let batch = Arc::new(contract::Batch::from(batch));
        self.pools.call("ingest", 0, |call| {
            call.exports.sochdb_plugin_observer().call_ingest(&mut *call.store, &batch)
        })?;
        // Log lines were delivered; telling them again would double them.
        let metrics =
            Arc::try_unwrap(batch).map_or_else(|kept| kept.metrics.clone(), |batch| batch.metrics);
        *self.newest.lock() = Some(Arc::new(contract::Batch { metrics, logs: Vec::new() }));
        Ok(())
    }

    fn render(&self) -> KernelResult<String> {
        let newest = self.newest.lock().clone();
        self.pools.call("render", PAGE_BYTES_MAX, |call| {
            let observer = call.exports.sochdb_plugin_observer();
            if let Some(batch) = newest.as_deref().filter(|_| call.is_fresh)
                && let Err(error) = observer.call_ingest(&mut *call.store, batch)?
            {
                return Ok(Err(error));
            }
            observer.call_render(&mut *call.store)
        })
    }
}

impl From<&TelemetryBatch> for contract::Batch {
    fn from(batch: &TelemetryBatch) -> contract::Batch {
        contract::Batch {
            metrics: batch.metrics.iter().map(Into::into).collect(),
            logs: batch.logs.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Metric> for contract::Metric {
    fn from(metric: &Metric) -> contract::Metric {
        let label =
            |(name, value): &(String, String)| Label { name: name.clone(), value: value.clone() };
        let value = match &metric.value {
            MetricValue::Counter(total) => contract::MetricValue::Counter(*total),
            MetricValue::Gauge(value) => contract::MetricValue::Gauge(*value),
            MetricValue::Histogram { bounds, counts, sum } => {
                let (bounds, counts) = (bounds.clone(), counts.clone());
                contract::MetricValue::Histogram(contract::Histogram { bounds, counts, sum: *sum })
            }
        };
        contract::Metric {
            name: metric.name.clone(),
            help: metric.help.clone(),
            labels: metric.labels.iter().map(label).collect(),
            value,
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
        }
    }
}

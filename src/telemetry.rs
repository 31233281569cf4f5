//! Metrics and log lines on their way to the observer plugins.
//!
//! Nothing here is ever called by a commit. A batch that an observer does not take is dropped and
//! counted, and `sochdb_telemetry_dropped_total` tells the next one.

use crate::on_demand::Plugins;
use parking_lot::Mutex;
use sochdb_host_abi::PluginHost;
use sochdb_kernel::plugin::{Metric, MetricValue, TelemetryBatch};
use sochdb_kernel::{Kernel, KernelError, KernelResult, PluginFault};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The observer whose text [`metrics_text`](crate::Database::metrics_text) returns.
const RENDERER: &str = "prometheus";

/// Collects batches and delivers them to every observer.
pub(crate) struct Telemetry {
    kernel: Kernel,
    plugins: Arc<Plugins>,
    delivered: AtomicU64,
    dropped: AtomicU64,
    /// Batches reach an observer in the order they were collected.
    turn: Mutex<()>,
}

impl Telemetry {
    pub(crate) fn new(kernel: Kernel, plugins: Arc<Plugins>) -> Telemetry {
        let (delivered, dropped) = Default::default();
        Telemetry { kernel, plugins, delivered, dropped, turn: Mutex::new(()) }
    }

    /// Every metric of kernel, plugins and telemetry itself.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let own = |name: &str, help: &str, count: &AtomicU64| Metric {
            name: name.to_owned(),
            help: help.to_owned(),
            labels: Vec::new(),
            value: MetricValue::Counter(count.load(Ordering::Relaxed)),
        };
        let mut metrics = self.kernel.stats().metrics();
        metrics.extend(self.plugins.host().into_iter().flat_map(PluginHost::metrics));
        metrics.push(own(
            "sochdb_telemetry_delivered_total",
            "Batches that an observer has taken.",
            &self.delivered,
        ));
        metrics.push(own(
            "sochdb_telemetry_dropped_total",
            "Batches that an observer has not taken.",
            &self.dropped,
        ));
        metrics
    }

    /// Hands one batch to every observer.
    pub(crate) fn deliver(&self) {
        let _turn = self.turn.lock();
        let observers = self.kernel.plugins().observers();
        if observers.is_empty() {
            return;
        }
        let logs = self.plugins.host().into_iter().flat_map(PluginHost::drain_logs).collect();
        let batch = TelemetryBatch { metrics: self.metrics(), logs };
        for observer in observers {
            match observer.ingest(&batch) {
                Ok(()) => drop(self.delivered.fetch_add(1, Ordering::Relaxed)),
                Err(error) => {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(observer = observer.info().name, %error, "telemetry dropped");
                }
            }
        }
    }

    /// The present metrics, as the Prometheus plugin writes them.
    pub(crate) fn render(&self) -> KernelResult<String> {
        // First, so that their own metrics are among those of this batch.
        self.plugins.load()?;
        self.deliver();
        let observers = self.kernel.plugins().observers();
        let renderer = observers.iter().find(|observer| observer.info().name == RENDERER);
        let missing = || {
            KernelError::plugin(
                RENDERER,
                PluginFault::Missing,
                "no observer of this name is loaded",
            )
        };
        renderer.ok_or_else(missing)?.render()
    }
}

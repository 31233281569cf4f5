//! What the kernel and its tables have to say, beside what others count.

use crate::on_demand::Plugins;
use parking_lot::Mutex;
use sochdb_host_abi::in_background;
use sochdb_host_abi::policy::HOST_TABLES;
use sochdb_kernel::{CheckpointReport, Kernel, KernelResult, KernelStats, KeyRange, TableInfo};
use sochdb_observability::{Durations, HealthSource, Source, Telemetry};
use sochdb_operations::{
    BootMetrics, BootState, BootWatch, HealthStatus, KernelHealth, table_size,
};
use sochdb_telemetry::{ComponentHealth, Family, HealthState, Metric, MetricKind, MetricValue};
use std::sync::{Arc, OnceLock};

/// Tables that are looked at, each with series of its own.
const TABLES_MAX: usize = 256;

const CHECKPOINT_SECONDS: Family = Family {
    name: "sochdb_checkpoint_duration_seconds",
    kind: MetricKind::Histogram,
    help: "How long checkpoints took; commits go on meanwhile.",
    labels: &[],
};
const fn of_tables(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
) -> Family {
    Family { name, kind: MetricKind::Gauge, help, labels }
}

const TABLE_SEGMENTS: Family =
    of_tables("sochdb_table_segments", "Segments of a table in a storage plugin.", &["table"]);
const TABLE_BYTES: Family =
    of_tables("sochdb_table_bytes", "What those segments take on disk.", &["table"]);
const LEVEL_SEGMENTS: Family =
    of_tables("sochdb_level_segments", "Segments of one level.", &["table", "level"]);
const LEVEL_BYTES: Family =
    of_tables("sochdb_level_bytes", "What those hold, before a codec.", &["table", "level"]);

/// A kernel that serves, and what is counted about it.
pub(crate) struct Served {
    kernel: Kernel,
    plugins: Arc<Plugins>,
    boot: BootMetrics,
    checkpoints: Durations,
    /// What was found when so many checkpoints had been done.
    tables: Mutex<(Option<u64>, Vec<Metric>)>,
}

impl Served {
    /// Goes on with plugins that are being replaced.
    pub(crate) fn tick_plugins(&self) {
        if let Some(host) = self.plugins.host().filter(|host| host.is_reloading()) {
            host.tick(&self.kernel);
        }
    }

    pub(crate) fn new(kernel: Kernel, plugins: Arc<Plugins>, boot: BootMetrics) -> Served {
        let (checkpoints, tables) = Default::default();
        Served { kernel, plugins, boot, checkpoints, tables }
    }

    /// A checkpoint, timed.
    pub(crate) fn checkpoint(&self, telemetry: &Telemetry) -> KernelResult<CheckpointReport> {
        let mut span = telemetry.tracer().begin("checkpoint");
        let done = in_background(|| self.kernel.checkpoint());
        match &done {
            Ok(report) => span.about("sochdb.tables", report.tables),
            Err(error) => span.failed(error),
        }
        let context = span.context();
        self.checkpoints.observe_in(span.end(), context);
        done
    }

    /// How the tables in storage plugins lie on disk, as far as that can be told without waking a plugin. Looked at
    /// anew after each checkpoint.
    fn tables(&self, checkpoints: u64) -> Vec<Metric> {
        let mut tables = self.tables.lock();
        if tables.0 != Some(checkpoints) {
            // What cannot be read shows elsewhere.
            *tables = (Some(checkpoints), self.look_at_tables().unwrap_or_default());
        }
        tables.1.clone()
    }

    fn look_at_tables(&self) -> KernelResult<Vec<Metric>> {
        let tx = self.kernel.begin_read()?;
        let is_shown = |table: &TableInfo| {
            table.options.storage.is_some() && !table.name.starts_with(HOST_TABLES)
        };
        let mut metrics = Vec::new();
        for table in tx.tables()?.iter().filter(|table| is_shown(table)).take(TABLES_MAX) {
            let size = table_size(&self.kernel, table.id)?;
            let labels = [("table", &*table.name)];
            let gauge = |value: u64| MetricValue::Gauge(value as f64);
            metrics.push(TABLE_SEGMENTS.metric(&labels, gauge(size.segments)));
            metrics.push(TABLE_BYTES.metric(&labels, gauge(size.stored_bytes)));
            let storage = table.options.storage.as_deref().unwrap_or_default();
            if !self.plugins.is_loaded(storage) {
                continue;
            }
            let (_memory, reader) = tx.scan_layers(&table.name, KeyRange::all())?;
            let columns = reader.as_deref().and_then(sochdb_host_abi::columns_of);
            let Some(stats) = columns.map(|columns| columns.stats()).transpose()? else { continue };
            for (number, level) in stats.levels.iter().enumerate() {
                let number = number.to_string();
                let labels = [labels[0], ("level", &*number)];
                metrics.push(LEVEL_SEGMENTS.metric(&labels, gauge(level.segments)));
                metrics.push(LEVEL_BYTES.metric(&labels, gauge(level.bytes)));
            }
        }
        Ok(metrics)
    }
}

impl Source for Served {
    fn families(&self) -> Vec<Family> {
        let own = [CHECKPOINT_SECONDS, TABLE_SEGMENTS, TABLE_BYTES, LEVEL_SEGMENTS, LEVEL_BYTES];
        [KernelStats::FAMILIES, BootMetrics::FAMILIES, &own].concat()
    }

    fn collect(&self, into: &mut Vec<Metric>) {
        let stats = self.kernel.stats();
        into.extend(stats.metrics());
        into.push(CHECKPOINT_SECONDS.metric(&[], self.checkpoints.value()));
        into.extend(self.boot.metrics());
        into.extend(self.tables(stats.checkpoints));
    }
}

/// How the kernel is, from before it is opened until it is closed.
pub(crate) struct KernelState {
    boot: BootWatch,
    /// Present once everything around the kernel is there, too.
    ready: OnceLock<Kernel>,
}

impl KernelState {
    pub(crate) fn new(boot: BootWatch) -> KernelState {
        KernelState { boot, ready: OnceLock::new() }
    }

    /// The database serves.
    pub(crate) fn is_ready(&self, kernel: &Kernel) {
        let _ = self.ready.set(kernel.clone());
    }
}

impl HealthSource for KernelState {
    fn health(&self) -> Vec<ComponentHealth> {
        let (state, why) = match self.ready.get().map(Kernel::health) {
            Some(HealthStatus::Healthy) => (HealthState::Healthy, String::new()),
            // That is as it was asked for; reads are served, and nothing is missing.
            Some(HealthStatus::ReadOnly { lost }) if lost.is_empty() => {
                (HealthState::Healthy, "read-only".to_owned())
            }
            Some(status @ HealthStatus::Failed { .. }) => (HealthState::Failed, status.to_string()),
            Some(status) => (HealthState::Degraded, status.to_string()),
            None => {
                let boot = self.boot.snapshot();
                let progress = boot.progress;
                match boot.error {
                    Some(error) if boot.state == BootState::Failed => (HealthState::Failed, error),
                    _ => {
                        let (done, total) = (progress.done, progress.total.max(1));
                        let share = 100 * done.min(total) / total;
                        let why = format!("opening: {:?}, {share} % of it", progress.phase);
                        (HealthState::Starting, why)
                    }
                }
            }
        };
        vec![ComponentHealth { component: "kernel".to_owned(), name: String::new(), state, why }]
    }
}

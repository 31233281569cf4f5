//! What the host tells observers: how much its plugins and tenants have used, what plugins have said, and how both
//! are.

use crate::audit::AuditLog;
use crate::plugin::{Plugin, read};
use crate::quarantine::{Health, TenantHealth};
use crate::tenant::Tenants;
use parking_lot::Mutex;
use sochdb_observability::{HealthSource, LogSource, Source};
use sochdb_telemetry::{
    ComponentHealth, Family, HealthState, LogLine, Metric, MetricKind, MetricValue,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whom the host tells about.
pub(crate) struct Observed {
    /// The plugins that serve, by name.
    pub(crate) plugins: Mutex<BTreeMap<String, Arc<Plugin>>>,
    pub(crate) tenants: Tenants,
    pub(crate) audit: Arc<AuditLog>,
}

/// What is told of each plugin.
struct OfPlugin {
    family: Family,
    value: fn(&Plugin) -> MetricValue,
}

const fn of_plugin(
    name: &'static str,
    kind: MetricKind,
    help: &'static str,
    value: fn(&Plugin) -> MetricValue,
) -> OfPlugin {
    OfPlugin { family: Family { name, kind, help, labels: &["plugin"] }, value }
}

fn counter(value: u64) -> MetricValue {
    MetricValue::Counter(value as f64)
}

fn gauge(value: u64) -> MetricValue {
    MetricValue::Gauge(value as f64)
}

const OF_PLUGINS: &[OfPlugin] = &[
    of_plugin(
        "sochdb_plugin_calls_total",
        MetricKind::Counter,
        "Calls into a plugin that ended.",
        |plugin| counter(read(&plugin.usage.calls)),
    ),
    of_plugin(
        "sochdb_plugin_refusals_total",
        MetricKind::Counter,
        "Calls a plugin answered with an error.",
        |plugin| counter(read(&plugin.usage.refusals)),
    ),
    of_plugin(
        "sochdb_plugin_failures_total",
        MetricKind::Counter,
        "Calls that trapped or met a limit.",
        |plugin| counter(read(&plugin.usage.failures)),
    ),
    of_plugin(
        "sochdb_plugin_instances_started_total",
        MetricKind::Counter,
        "Instances started.",
        |plugin| counter(read(&plugin.usage.instances_started)),
    ),
    of_plugin("sochdb_plugin_instances", MetricKind::Gauge, "Instances there are.", |plugin| {
        gauge(read(&plugin.usage.instances))
    }),
    of_plugin(
        "sochdb_plugin_memory_bytes",
        MetricKind::Gauge,
        "Memories and tables of all instances.",
        |plugin| gauge(read(&plugin.usage.memory)),
    ),
    of_plugin(
        "sochdb_plugin_fuel_total",
        MetricKind::Counter,
        "Fuel used, host work included.",
        |plugin| counter(read(&plugin.usage.fuel)),
    ),
    of_plugin(
        "sochdb_plugin_call_duration_seconds",
        MetricKind::Histogram,
        "How long calls took, waiting for an instance included.",
        |plugin| plugin.usage.took.value(),
    ),
    of_plugin(
        "sochdb_plugin_quarantined",
        MetricKind::Gauge,
        "For how many tenants a plugin is kept from working, now or for good.",
        |plugin| gauge(plugin.healths.unwell().len() as u64),
    ),
    of_plugin(
        "sochdb_plugin_log_lines_dropped_total",
        MetricKind::Counter,
        "Log lines of a plugin that nobody collected in time.",
        |plugin| counter(plugin.telemetry.lines_dropped()),
    ),
];

impl Observed {
    fn plugins(&self) -> Vec<Arc<Plugin>> {
        self.plugins.lock().values().cloned().collect()
    }
}

impl Source for Observed {
    fn families(&self) -> Vec<Family> {
        let plugins = OF_PLUGINS.iter().map(|each| each.family);
        plugins.chain(Tenants::families()).chain(AuditLog::families()).collect()
    }

    fn collect(&self, into: &mut Vec<Metric>) {
        for plugin in self.plugins() {
            let name = &plugin.manifest.name;
            let own = OF_PLUGINS.iter();
            into.extend(
                own.map(|each| each.family.metric(&[("plugin", name)], (each.value)(&plugin))),
            );
            into.extend(plugin.telemetry.metrics(name));
        }
        into.extend(self.tenants.metrics());
        into.extend(self.audit.metrics());
    }
}

impl LogSource for Observed {
    fn drain(&self) -> Vec<LogLine> {
        self.plugins().iter().flat_map(|plugin| plugin.telemetry.drain_lines()).collect()
    }
}

impl HealthSource for Observed {
    fn health(&self) -> Vec<ComponentHealth> {
        let plugins = self.plugins().into_iter().map(|plugin| plugin_health(&plugin));
        plugins.chain(self.tenants.health()).collect()
    }
}

/// A plugin has failed when it is quarantined for those who work for no tenant.
fn plugin_health(plugin: &Plugin) -> ComponentHealth {
    let unwell = plugin.healths.unwell();
    let has_failed = |each: &TenantHealth| {
        each.tenant.is_none() && matches!(each.health, Health::Quarantined { .. })
    };
    let state = match unwell.is_empty() {
        true => HealthState::Healthy,
        false if unwell.iter().any(has_failed) => HealthState::Failed,
        false => HealthState::Degraded,
    };
    let why = unwell.iter().map(|each| {
        let whom = each.tenant.as_ref().map(|tenant| format!(" for the tenant '{tenant}'"));
        let (Health::BackingOff { reason, .. } | Health::Quarantined { reason, .. }) = &each.health
        else {
            return String::new();
        };
        format!("{}{}: {reason}", each.health.name(), whom.unwrap_or_default())
    });
    ComponentHealth {
        component: "plugin".to_owned(),
        name: plugin.manifest.name.clone(),
        state,
        why: why.collect::<Vec<_>>().join("; "),
    }
}

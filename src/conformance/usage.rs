//! How much of their limits the calls of a plugin have used.
//!
//! Fuel and time of each call are in the audit trail, which keeps the newest records; so it is read whenever a room
//! has done a piece of work. Counts are the host's own.

use serde::Serialize;
use sochdb_host_abi::AuditFilter;
use sochdb_host_abi::audit::{AuditKind, Outcome};
use sochdb_host_abi::limits::Limits;
use sochdb_kernel::KernelResult;
use sochdb_telemetry::{Metric, MetricValue};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::database::Database;

/// Functions that run under the limits for work in the background.
const IN_BACKGROUND: [&str; 4] = ["build", "flush", "merge", "plan-compaction"];

/// What the calls of a plugin used, of what they may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UsageReport {
    /// Calls that ended, one way or another.
    pub calls: u64,
    /// Those that it answered with an error.
    pub refusals: u64,
    /// Those that ended with a trap, or a limit that was met.
    pub failures: u64,
    /// Fuel of all calls.
    pub fuel: u64,
    /// The largest memory of one instance that was seen, in bytes.
    pub memory_bytes: u64,
    /// What it may be.
    pub memory_bytes_max: u64,
    /// The greatest of what calls used, by the name of the function.
    pub functions: BTreeMap<String, CallUsage>,
}

/// The greatest of what calls of one function used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CallUsage {
    /// Fuel of the call that used most.
    pub fuel: u64,
    /// What it may be.
    pub fuel_max: u64,
    /// Microseconds of the call that took longest.
    pub micros: u64,
    /// What it may be.
    pub micros_max: u64,
}

/// What is known so far.
#[derive(Default)]
pub(super) struct Usage(RefCell<State>);

#[derive(Default)]
struct State {
    report: UsageReport,
    /// Functions of which a call met a limit, and those of which one trapped.
    met: BTreeSet<String>,
    trapped: BTreeSet<String>,
    /// Of the plugin that is loaded now, as far as it is part of the report: calls, refusals, failures, fuel.
    counted: [u64; 4],
}

impl Usage {
    /// Adds what the plugin `name` of `db` has done since it was last asked.
    pub(super) fn gather(&self, db: &Database, name: &str) -> KernelResult<()> {
        let State { report, met, trapped, counted } = &mut *self.0.borrow_mut();
        let Some(plugin) = db.plugins_loaded().into_iter().find(|plugin| plugin.name == name)
        else {
            return Ok(());
        };
        let used = plugin.usage;
        let now = [used.calls, used.refusals, used.failures, used.fuel];
        let is_another = now[0] < counted[0];
        let before = if is_another { [0; 4] } else { *counted };
        let sums =
            [&mut report.calls, &mut report.refusals, &mut report.failures, &mut report.fuel];
        for (sum, (now, before)) in sums.into_iter().zip(now.into_iter().zip(before)) {
            *sum += now.saturating_sub(before);
        }
        *counted = now;
        report.memory_bytes_max = plugin.limits.memory_bytes_max;
        report.memory_bytes = report.memory_bytes.max(memory_of(&db.metrics(), name));
        let filter = AuditFilter {
            plugin: Some(name.to_owned()),
            kind: Some(AuditKind::Call),
            ..AuditFilter::default()
        };
        for record in db.audit().recent(&filter, usize::MAX) {
            match record.outcome {
                Outcome::Exhausted => drop(met.insert(record.function.clone())),
                Outcome::Trapped => drop(trapped.insert(record.function.clone())),
                _ => {}
            }
            let (fuel_max, micros_max) = bounds(&plugin.limits, &record.function);
            let most = report.functions.entry(record.function).or_default();
            most.fuel = most.fuel.max(record.fuel);
            most.micros = most.micros.max(record.nanos / 1000);
            (most.fuel_max, most.micros_max) = (fuel_max, micros_max);
        }
        Ok(())
    }

    /// Another plugin is loaded, which has done nothing yet.
    pub(super) fn begin(&self) {
        self.0.borrow_mut().counted = [0; 4];
    }

    pub(super) fn calls(&self) -> u64 {
        self.0.borrow().report.calls
    }

    /// Calls that ended with a trap or a limit that was met.
    pub(super) fn failures(&self) -> u64 {
        self.0.borrow().report.failures
    }

    /// The functions of which a call trapped or met a limit.
    pub(super) fn harmed(&self) -> Vec<String> {
        let State { met, trapped, .. } = &*self.0.borrow();
        met.union(trapped).cloned().collect()
    }

    /// One line for each function of which a call met a limit.
    pub(super) fn limits_met(&self) -> Vec<String> {
        let State { report, met, .. } = &*self.0.borrow();
        let line = |function: &String| {
            let CallUsage { fuel, fuel_max, micros, micros_max } =
                report.functions.get(function).copied().unwrap_or_default();
            format!(
                "a call of {function} was ended: the most that one used is {fuel} of {fuel_max} fuel, {} of {} ms, \
                 and {} of {} bytes of memory",
                micros / 1000,
                micros_max / 1000,
                report.memory_bytes,
                report.memory_bytes_max
            )
        };
        met.iter().map(line).collect()
    }

    pub(super) fn report(&self) -> UsageReport {
        self.0.borrow().report.clone()
    }
}

/// Fuel, and microseconds.
fn bounds(limits: &Limits, function: &str) -> (u64, u64) {
    let background = limits.background.filter(|_| IN_BACKGROUND.contains(&function));
    let (fuel, ms) = match background {
        Some(background) => (background.fuel_max, background.timeout_ms),
        None => (limits.fuel_max, limits.timeout_ms),
    };
    (fuel, ms.saturating_mul(1000))
}

/// Bytes of one instance, where all have the same; nothing is known of an instance alone.
fn memory_of(metrics: &[Metric], plugin: &str) -> u64 {
    let gauge = |name: &str| {
        let is_it = |metric: &&Metric| {
            metric.name == name && metric.labels.iter().any(|(_, value)| value == plugin)
        };
        match metrics.iter().find(is_it).map(|metric| &metric.value) {
            Some(MetricValue::Gauge(value)) => *value,
            _ => 0.0,
        }
    };
    let instances = gauge("sochdb_plugin_instances");
    if instances < 1.0 { 0 } else { (gauge("sochdb_plugin_memory_bytes") / instances) as u64 }
}

//! What reloads say to observers.

use super::Reloads;
use parking_lot::Mutex;
use sochdb_observability::{Durations, Source};
use sochdb_reload::{Outcome, Record, State};
use sochdb_telemetry::{Family, Metric, MetricKind, MetricValue};
use std::collections::BTreeMap;
use std::time::Duration;

const CHANGES: Family = Family {
    name: "sochdb_plugin_changes_total",
    kind: MetricKind::Counter,
    help: "Plugins that were reloaded, rolled back, added, removed, disabled or enabled.",
    labels: &["plugin", "outcome"],
};
const ON_TRIAL: Family = Family {
    name: "sochdb_plugin_on_trial",
    kind: MetricKind::Gauge,
    help: "The share of calls that a new version serves on trial, 0 to 1.",
    labels: &["plugin", "state"],
};
const TOOK: Family = Family {
    name: "sochdb_plugin_reload_duration_seconds",
    kind: MetricKind::Histogram,
    help: "How long reloads were in each state.",
    labels: &["state"],
};

/// States that a reload leaves after a while.
const TIMED: [State; 5] =
    [State::Preparing, State::Canary, State::Swapping, State::Draining, State::Probation];

/// What came of changes so far.
#[derive(Default)]
pub(super) struct Counted {
    outcomes: Mutex<BTreeMap<(String, &'static str), u64>>,
    took: [Durations; TIMED.len()],
}

impl Counted {
    /// Counts what has ended.
    pub(super) fn count(&self, record: &Record) {
        if record.outcome == Outcome::UnderWay {
            return;
        }
        let key = (record.plugin.clone(), record.outcome.name());
        *self.outcomes.lock().entry(key).or_default() += 1;
        for step in &record.steps {
            if let Some(at) = TIMED.iter().position(|state| *state == step.state) {
                self.took[at].observe(Duration::from_micros(step.took_us));
            }
        }
    }
}

impl Source for Reloads {
    fn families(&self) -> Vec<Family> {
        vec![CHANGES, ON_TRIAL, TOOK]
    }

    fn collect(&self, into: &mut Vec<Metric>) {
        for ((plugin, outcome), count) in &*self.counted.outcomes.lock() {
            let labels = [("plugin", plugin.as_str()), ("outcome", outcome)];
            into.push(CHANGES.metric(&labels, MetricValue::Counter(*count as f64)));
        }
        for (plugin, on_trial) in &*self.running.lock() {
            let labels = [("plugin", plugin.as_str()), ("state", on_trial.last.state.name())];
            let share = f64::from(on_trial.last.share) / 1000.0;
            into.push(ON_TRIAL.metric(&labels, MetricValue::Gauge(share)));
        }
        for (state, took) in TIMED.iter().zip(&self.counted.took) {
            into.push(TOOK.metric(&[("state", state.name())], took.value()));
        }
    }
}

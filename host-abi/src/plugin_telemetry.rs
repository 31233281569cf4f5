//! What plugins say: metrics and log lines, kept until somebody collects them.
//!
//! One of these per plugin, shared by its instances. It is bounded (see
//! [`volume`](crate::limits::volume)): a plugin that talks without end gets `limit` as its answer, and
//! of the log lines that nobody collects the oldest go first.

use crate::limits::volume;
use parking_lot::Mutex;
use sochdb_observability::Tracer;
use sochdb_telemetry::{LogLevel, LogLine, Metric, MetricValue};
use std::collections::{BTreeMap, VecDeque};

/// How the names of the host's own metrics begin.
const HOST_METRICS: &str = "sochdb_";
/// What events of `tracing` are called that repeat what a plugin has said. It reaches observers by this way here.
pub(crate) const SAID: &str = "sochdb::plugin::said";

/// Metrics and log lines of one plugin.
#[derive(Default)]
pub(crate) struct PluginTelemetry {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By name and labels, in the order the plugin gave the labels.
    series: BTreeMap<(String, Vec<(String, String)>), f64>,
    kinds: BTreeMap<String, MetricKind>,
    lines: VecDeque<LogLine>,
    lines_dropped: u64,
}

/// What a value does to its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    /// Is added.
    Counter,
    /// Replaces.
    Gauge,
}

/// Why a metric was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    Invalid(String),
    Limit(String),
}

impl PluginTelemetry {
    pub(crate) fn log(&self, plugin: &str, level: LogLevel, message: &str) {
        let message = message.escape_debug().to_string();
        match level {
            LogLevel::Trace => tracing::trace!(target: SAID, plugin, "{message}"),
            LogLevel::Debug => tracing::debug!(target: SAID, plugin, "{message}"),
            LogLevel::Info => tracing::info!(target: SAID, plugin, "{message}"),
            LogLevel::Warn => tracing::warn!(target: SAID, plugin, "{message}"),
            LogLevel::Error => tracing::error!(target: SAID, plugin, "{message}"),
        }
        let unix_us = sochdb_observability::unix_us();
        let mut inner = self.inner.lock();
        if inner.lines.len() == volume::LOG_LINES_KEPT_MAX {
            inner.lines.pop_front();
            inner.lines_dropped += 1;
        }
        inner.lines.push_back(LogLine {
            unix_us,
            level,
            target: "sochdb::plugin".to_owned(),
            message,
            fields: vec![("plugin".to_owned(), plugin.to_owned())],
            span: Tracer::current(),
        });
    }

    pub(crate) fn emit(
        &self,
        kind: MetricKind,
        name: String,
        labels: Vec<(String, String)>,
        value: f64,
    ) -> Result<(), Rejected> {
        check_metric(kind, &name, &labels, value)?;
        let mut inner = self.inner.lock();
        if inner.kinds.get(&name).is_some_and(|known| *known != kind) {
            return Err(Rejected::Invalid(format!("the metric '{name}' is of the other kind")));
        }
        let series = (name, labels);
        if let Some(old) = inner.series.get_mut(&series) {
            *old = if kind == MetricKind::Counter { *old + value } else { value };
            return Ok(());
        }
        if inner.series.len() == volume::SERIES_MAX {
            let bound = volume::SERIES_MAX;
            return Err(Rejected::Limit(format!(
                "the plugin has {bound} series, which is the bound"
            )));
        }
        inner.kinds.insert(series.0.clone(), kind);
        inner.series.insert(series, value);
        Ok(())
    }

    /// Every metric's present value, with the label `plugin`.
    pub(crate) fn metrics(&self, plugin: &str) -> Vec<Metric> {
        let inner = self.inner.lock();
        let metric = |((name, labels), value): (&(String, Vec<_>), &f64)| {
            let mut all = vec![("plugin".to_owned(), plugin.to_owned())];
            all.extend(labels.iter().cloned());
            let value = match inner.kinds[name] {
                MetricKind::Counter => MetricValue::Counter(*value),
                MetricKind::Gauge => MetricValue::Gauge(*value),
            };
            Metric {
                name: name.clone(),
                help: format!("Emitted by the plugin {plugin}."),
                labels: all,
                value,
            }
        };
        inner.series.iter().map(metric).collect()
    }

    /// The lines since the last time this was asked, oldest first.
    pub(crate) fn drain_lines(&self) -> Vec<LogLine> {
        std::mem::take(&mut self.inner.lock().lines).into()
    }

    /// Lines that were thrown away because nobody collected them.
    pub(crate) fn lines_dropped(&self) -> u64 {
        self.inner.lock().lines_dropped
    }
}

fn check_metric(
    kind: MetricKind,
    name: &str,
    labels: &[(String, String)],
    value: f64,
) -> Result<(), Rejected> {
    if !is_name(name, true) {
        return Err(Rejected::Invalid(format!("{} is no metric name", shown(name))));
    }
    if name.starts_with(HOST_METRICS) {
        let why = format!("{} begins with '{HOST_METRICS}', as the host's own do", shown(name));
        return Err(Rejected::Invalid(why));
    }
    if labels.len() > volume::LABELS_MAX {
        return Err(Rejected::Limit(format!("a metric has at most {} labels", volume::LABELS_MAX)));
    }
    for (index, (label, text)) in labels.iter().enumerate() {
        let is_taken =
            label == "plugin" || labels[..index].iter().any(|(before, _)| before == label);
        if !is_name(label, false) || label.starts_with("__") || is_taken {
            return Err(Rejected::Invalid(format!("{} is no label name, or taken", shown(label))));
        }
        if text.len() > volume::LABEL_VALUE_BYTES_MAX {
            let bound = volume::LABEL_VALUE_BYTES_MAX;
            return Err(Rejected::Limit(format!("the value of a label has at most {bound} bytes")));
        }
    }
    if !value.is_finite() || (kind == MetricKind::Counter && value < 0.0) {
        return Err(Rejected::Invalid(format!("{value} is no value for this metric")));
    }
    Ok(())
}

fn is_name(name: &str, colons: bool) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    let begins_well = name.starts_with(|c: char| !c.is_ascii_digit());
    begins_well && name.len() <= volume::NAME_BYTES_MAX && name.chars().all(allowed)
}

/// The beginning of a name that is wrong, fit for a message.
fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(volume::NAME_BYTES_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emit(telemetry: &PluginTelemetry, name: &str, value: f64) -> Result<(), Rejected> {
        telemetry.emit(MetricKind::Counter, name.to_owned(), vec![], value)
    }

    #[test]
    fn counters_add_and_gauges_replace() {
        let telemetry = PluginTelemetry::default();
        for value in [2.0, 3.0] {
            emit(&telemetry, "a_total", value).unwrap();
            telemetry.emit(MetricKind::Gauge, "b".into(), vec![], value).unwrap();
        }
        let values: Vec<_> =
            telemetry.metrics("p").into_iter().map(|metric| metric.value).collect();
        assert_eq!(values, [MetricValue::Counter(5.0), MetricValue::Gauge(3.0)]);
    }

    #[test]
    fn what_would_spoil_a_page_is_invalid() {
        let telemetry = PluginTelemetry::default();
        let long = "a".repeat(volume::NAME_BYTES_MAX + 1);
        for name in ["", "1a", "a b", "ä", "a\n", &long, "sochdb_commits_total"] {
            assert!(matches!(emit(&telemetry, name, 1.0), Err(Rejected::Invalid(_))), "{name}");
        }
        for value in [f64::NAN, f64::INFINITY, -1.0] {
            assert!(matches!(emit(&telemetry, "a", value), Err(Rejected::Invalid(_))), "{value}");
        }
        for label in ["plugin", "", "__name__", "a:b"] {
            let labels = vec![(label.to_owned(), String::new())];
            let rejected = telemetry.emit(MetricKind::Gauge, "a".into(), labels, 1.0);
            assert!(matches!(rejected, Err(Rejected::Invalid(_))), "{label}");
        }
        emit(&telemetry, "a", 1.0).unwrap();
        let other = telemetry.emit(MetricKind::Gauge, "a".into(), vec![], 1.0);
        assert!(matches!(other, Err(Rejected::Invalid(_))));
    }

    #[test]
    fn series_and_lines_are_bounded() {
        let telemetry = PluginTelemetry::default();
        for n in 0..volume::SERIES_MAX {
            emit(&telemetry, &format!("a{n}"), 1.0).unwrap();
        }
        assert!(matches!(emit(&telemetry, "b", 1.0), Err(Rejected::Limit(_))));
        emit(&telemetry, "a0", 1.0).unwrap();
        for n in 0..volume::LOG_LINES_KEPT_MAX + 2 {
            telemetry.log("p", LogLevel::Trace, &format!("line {n}\n"));
        }
        assert_eq!(telemetry.lines_dropped(), 2);
        let lines = telemetry.drain_lines();
        assert_eq!(
            (lines.len(), lines[0].message.as_str()),
            (volume::LOG_LINES_KEPT_MAX, "line 2\\n")
        );
        assert!(telemetry.drain_lines().is_empty());
    }
}

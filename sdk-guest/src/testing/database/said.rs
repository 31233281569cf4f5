//! What plugins say: log lines and metrics, with the bounds of one call and the host's rules for names.

use crate::bindings::telemetry::MetricKind;
use crate::error::{Error, ErrorCode, Result};
use crate::telemetry::Level;
use std::cell::Cell;
use std::collections::BTreeMap;

/// What one call may say.
const LOG_LINES_MAX: u32 = 100;
const LOG_LINE_BYTES_MAX: usize = 4 << 10;
const METRICS_MAX: u32 = 1000;
/// Metrics with different names or labels.
const SERIES_MAX: usize = 500;
const LABELS_MAX: usize = 8;
const NAME_BYTES_MAX: usize = 128;
const LABEL_BYTES_MAX: usize = 256;
/// How the names of the host's own metrics begin.
const HOST_METRICS: &str = "sochdb_";

/// A line that a plugin wrote to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Who wrote it.
    pub plugin: String,
    /// How loud it is.
    pub level: Level,
    /// What it says.
    pub message: String,
}

/// A metric that a plugin emitted, with its present value.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    /// Who emitted it.
    pub plugin: String,
    /// Its name.
    pub name: String,
    /// Names and values, sorted.
    pub labels: Vec<(String, String)>,
    /// The total of a counter, the newest value of a gauge.
    pub value: f64,
}

/// What all plugins said.
#[derive(Default)]
pub(super) struct Said {
    pub(super) lines: Vec<Line>,
    /// By plugin and name.
    kinds: BTreeMap<(String, String), MetricKind>,
    series: BTreeMap<Series, f64>,
}

/// Plugin, name and labels.
type Series = (String, String, Vec<(String, String)>);

/// How much one call has said.
#[derive(Default)]
pub(super) struct Volume {
    lines: Cell<u32>,
    metrics: Cell<u32>,
}

impl Said {
    /// Every metric, sorted.
    pub(super) fn metrics(&self) -> Vec<Emitted> {
        let emitted = |((plugin, name, labels), value): (&Series, &f64)| Emitted {
            plugin: plugin.clone(),
            name: name.clone(),
            labels: labels.clone(),
            value: *value,
        };
        self.series.iter().map(emitted).collect()
    }

    /// Takes a line, if `plugin` may still say one in this call.
    pub(super) fn log(
        &mut self,
        plugin: &str,
        volume: &Volume,
        level: Level,
        message: &str,
    ) -> Result<()> {
        if LOG_LINE_BYTES_MAX < message.len() {
            return Err(limit(format!("a log line has at most {LOG_LINE_BYTES_MAX} bytes")));
        }
        count(&volume.lines, LOG_LINES_MAX, "log lines")?;
        let (plugin, message) = (plugin.to_owned(), message.to_owned());
        self.lines.push(Line { plugin, level, message });
        Ok(())
    }

    /// Takes a metric, if `plugin` may still emit one in this call and it is well-formed.
    pub(super) fn emit(
        &mut self,
        plugin: &str,
        volume: &Volume,
        kind: MetricKind,
        name: &str,
        labels: &[(&str, &str)],
        value: f64,
    ) -> Result<()> {
        count(&volume.metrics, METRICS_MAX, "metrics")?;
        check_metric(kind, name, labels, value)?;
        let known = self.kinds.entry((plugin.to_owned(), name.to_owned())).or_insert(kind);
        if *known != kind {
            return Err(Error::invalid(format!("the metric '{name}' is of the other kind")));
        }
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let mut labels: Vec<_> = labels.iter().map(owned).collect();
        labels.sort();
        let series = (plugin.to_owned(), name.to_owned(), labels);
        if self.series.len() == SERIES_MAX && !self.series.contains_key(&series) {
            return Err(limit(format!("the plugin has {SERIES_MAX} series, which is the bound")));
        }
        let present = self.series.entry(series).or_default();
        *present = if kind == MetricKind::Counter { *present + value } else { value };
        Ok(())
    }
}

fn limit(text: String) -> Error {
    Error::new(ErrorCode::Limit, text)
}

fn count(so_far: &Cell<u32>, bound: u32, what: &str) -> Result<()> {
    if so_far.get() == bound {
        return Err(limit(format!("one call has at most {bound} {what}")));
    }
    so_far.set(so_far.get() + 1);
    Ok(())
}

fn check_metric(kind: MetricKind, name: &str, labels: &[(&str, &str)], value: f64) -> Result<()> {
    let is_name = |name: &str, colons: bool| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
        let begins_well = name.starts_with(|c: char| !c.is_ascii_digit());
        begins_well && name.len() <= NAME_BYTES_MAX && name.chars().all(allowed)
    };
    if !is_name(name, true) {
        return Err(Error::invalid(format!("'{name}' is no metric name")));
    }
    if name.starts_with(HOST_METRICS) {
        let why = format!("'{name}' begins with '{HOST_METRICS}', as the host's own do");
        return Err(Error::invalid(why));
    }
    if LABELS_MAX < labels.len() {
        return Err(limit(format!("a metric has at most {LABELS_MAX} labels")));
    }
    for (at, (label, text)) in labels.iter().enumerate() {
        let is_taken = *label == "plugin" || labels[..at].iter().any(|(before, _)| before == label);
        if !is_name(label, false) || label.starts_with("__") || is_taken {
            return Err(Error::invalid(format!("'{label}' is no label name, or taken")));
        }
        if LABEL_BYTES_MAX < text.len() {
            let why = format!("the value of a label has at most {LABEL_BYTES_MAX} bytes");
            return Err(limit(why));
        }
    }
    if !value.is_finite() || (kind == MetricKind::Counter && value < 0.0) {
        return Err(Error::invalid(format!("{value} is no value for this metric")));
    }
    Ok(())
}

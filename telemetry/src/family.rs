//! What a metric is, whatever its value: what documentation and dashboards are made of.

use crate::batch::{Metric, MetricValue};

/// How a metric's value moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// Only grows while the database is open.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations, spread over buckets.
    Histogram,
}

/// A metric without its value: all series of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Family {
    /// Such as `sochdb_commits_total`.
    pub name: &'static str,
    /// How its values move.
    pub kind: MetricKind,
    /// One sentence for people.
    pub help: &'static str,
    /// The names of the labels that tell its series apart.
    pub labels: &'static [&'static str],
}

impl Family {
    /// The unit, as [`unit_of`] its name.
    pub fn unit(&self) -> &'static str {
        unit_of(self.name)
    }

    /// One series of it; `labels` are its own, in their order.
    pub fn metric(&self, labels: &[(&str, &str)], value: MetricValue) -> Metric {
        let names = labels.iter().map(|(name, _)| name);
        debug_assert!(names.eq(self.labels), "{} has the labels {:?}", self.name, self.labels);
        let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let (name, help, labels) = (self.name.to_owned(), self.help.to_owned(), labels.collect());
        Metric { name, help, labels, value }
    }
}

/// The unit of the metric `name`: `seconds`, `bytes` or nothing.
///
/// ```
/// use sochdb_telemetry::unit_of;
///
/// assert_eq!(unit_of("sochdb_log_written_bytes_total"), "bytes");
/// assert_eq!(unit_of("sochdb_commit_duration_seconds"), "seconds");
/// assert_eq!(unit_of("sochdb_commits_total"), "");
/// ```
pub fn unit_of(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    ["seconds", "bytes"]
        .into_iter()
        .find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
        .unwrap_or("")
}

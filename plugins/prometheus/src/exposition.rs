//! Metrics as a page in the Prometheus text exposition format, version 0.0.4.
//!
//! ```text
//! # HELP sochdb_commits_total Committed transactions.
//! # TYPE sochdb_commits_total counter
//! sochdb_commits_total{isolation="snapshot"} 42
//! ```
//!
//! All series of one name stand together, in the order of the names, below one HELP and one TYPE line.
//! A histogram becomes one `_bucket` line per bound, each counting all observations at or below `le`,
//! the last one with `le="+Inf"`, then `_sum` and `_count`.
//!
//! A scraper throws the whole page away when one line is wrong, so a wrong metric is refused before
//! anything is written, by name.
//!
//! We write the format ourselves: the crates for it keep the counts themselves, and ours come as totals.
//!
//! Source: "Exposition formats" in the documentation of Prometheus.

use sochdb_guest::{Histogram, Metric, MetricValue};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

/// Metrics that were checked, ready to be written with `to_string`.
pub struct Exposition<'a> {
    prefix: &'a str,
    families: BTreeMap<&'a str, Vec<&'a Metric>>,
}

impl<'a> Exposition<'a> {
    /// Checks `metrics` and gathers them by name. Each name is written with `prefix` before it. The
    /// error names the metric that cannot be written, and why.
    pub fn new(prefix: &'a str, metrics: &'a [Metric]) -> Result<Exposition<'a>, String> {
        let mut families = BTreeMap::<_, Vec<&Metric>>::new();
        let mut seen = BTreeSet::new();
        for metric in metrics {
            check(metric).map_err(|why| format!("the metric {:?} {why}", metric.name))?;
            let mut labels: Vec<_> = metric.labels.iter().collect();
            labels.sort();
            if !seen.insert((metric.name.as_str(), labels)) {
                return Err(format!("the metric {:?} has the same labels twice", metric.name));
            }
            let family = families.entry(metric.name.as_str()).or_default();
            if family.first().is_some_and(|first| kind(first) != kind(metric)) {
                return Err(format!("the metric {:?} has two types", metric.name));
            }
            family.push(metric);
        }
        Ok(Exposition { prefix, families })
    }
}

impl fmt::Display for Exposition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, family) in &self.families {
            let name = format!("{}{name}", self.prefix);
            let first = family[0];
            if !first.help.is_empty() {
                writeln!(f, "# HELP {name} {}", Escaped { text: &first.help, quotes: false })?;
            }
            writeln!(f, "# TYPE {name} {}", kind(first))?;
            for metric in family {
                match &metric.value {
                    MetricValue::Counter(total) => line(f, &name, metric, None, *total)?,
                    MetricValue::Gauge(value) => line(f, &name, metric, None, Number(*value))?,
                    MetricValue::Histogram(values) => histogram(f, &name, metric, values)?,
                }
            }
        }
        Ok(())
    }
}

/// Whether `name` matches `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_metric_name(name: &str) -> bool {
    is_name(name, true)
}

fn is_name(name: &str, colons: bool) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(allowed)
}

fn kind(metric: &Metric) -> &'static str {
    match metric.value {
        MetricValue::Counter(_) => "counter",
        MetricValue::Gauge(_) => "gauge",
        MetricValue::Histogram(_) => "histogram",
    }
}

fn check(metric: &Metric) -> Result<(), String> {
    if !is_metric_name(&metric.name) {
        return Err("has a name that Prometheus does not take".to_owned());
    }
    let is_histogram = matches!(metric.value, MetricValue::Histogram(_));
    let mut names = BTreeSet::new();
    for (name, _) in &metric.labels {
        if !is_name(name, false) || name.starts_with("__") || (is_histogram && name == "le") {
            return Err(format!("has a label {name:?}, which Prometheus does not take"));
        }
        if !names.insert(name) {
            return Err(format!("has the label {name:?} twice"));
        }
    }
    match &metric.value {
        MetricValue::Histogram(values) => check_histogram(values),
        MetricValue::Counter(_) | MetricValue::Gauge(_) => Ok(()),
    }
}

fn check_histogram(histogram: &Histogram) -> Result<(), String> {
    let Histogram { bounds, counts, .. } = histogram;
    if counts.len() != bounds.len() + 1 {
        return Err(format!("has {} bounds but {} counts", bounds.len(), counts.len()));
    }
    if !bounds.iter().all(|bound| bound.is_finite()) || !bounds.is_sorted_by(|a, b| a < b) {
        return Err("has bounds that do not grow".to_owned());
    }
    if !counts.is_sorted() {
        return Err("has counts that are not cumulative".to_owned());
    }
    Ok(())
}

fn histogram(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    metric: &Metric,
    values: &Histogram,
) -> fmt::Result {
    let bounds = values.bounds.iter().copied().chain([f64::INFINITY]);
    let bucket = format!("{name}_bucket");
    for (bound, count) in bounds.zip(&values.counts) {
        line(f, &bucket, metric, Some(bound), count)?;
    }
    line(f, &format!("{name}_sum"), metric, None, Number(values.sum))?;
    line(f, &format!("{name}_count"), metric, None, values.counts[values.bounds.len()])
}

fn line(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    metric: &Metric,
    le: Option<f64>,
    value: impl fmt::Display,
) -> fmt::Result {
    f.write_str(name)?;
    let mut before = '{';
    for (name, value) in &metric.labels {
        write!(f, "{before}{name}=\"{}\"", Escaped { text: value, quotes: true })?;
        before = ',';
    }
    if let Some(bound) = le {
        write!(f, "{before}le=\"{}\"", Number(bound))?;
        before = ',';
    }
    if before == ',' {
        f.write_char('}')?;
    }
    writeln!(f, " {value}")
}

/// A number as Prometheus reads it.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => value.fmt(f),
        }
    }
}

/// A text with backslashes, line feeds and, inside `quotes`, quotation marks escaped.
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.quotes => f.write_str("\\\"")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn metric(name: &str, labels: &[(&str, &str)], value: MetricValue) -> Metric {
        Metric {
            name: name.to_owned(),
            help: format!("What {name} counts."),
            labels: labels
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            value,
        }
    }

    fn seconds(bounds: &[f64], counts: &[u64]) -> MetricValue {
        let (bounds, counts) = (bounds.to_vec(), counts.to_vec());
        MetricValue::Histogram(Histogram { bounds, counts, sum: 0.75 })
    }

    fn check(metrics: &[Metric], expected: Expect) {
        let page = Exposition::new("", metrics).map(|page| page.to_string());
        expected.assert_eq(&page.unwrap_or_else(|why| format!("refused: {why}\n")));
    }

    #[test]
    fn series_of_one_name_stand_together() {
        check(
            &[
                metric("b_total", &[("kind", "put")], MetricValue::Counter(7)),
                metric("a", &[], MetricValue::Gauge(-0.5)),
                metric("b_total", &[("kind", "delete")], MetricValue::Counter(u64::MAX)),
            ],
            expect![[r#"
                # HELP a What a counts.
                # TYPE a gauge
                a -0.5
                # HELP b_total What b_total counts.
                # TYPE b_total counter
                b_total{kind="put"} 7
                b_total{kind="delete"} 18446744073709551615
            "#]],
        );
    }

    #[test]
    fn a_histogram_is_buckets_sum_and_count() {
        check(
            &[
                metric("sync_seconds", &[("file", "log")], seconds(&[0.001, 0.1], &[1, 3, 4])),
                metric("wait_seconds", &[], seconds(&[], &[0])),
            ],
            expect![[r#"
                # HELP sync_seconds What sync_seconds counts.
                # TYPE sync_seconds histogram
                sync_seconds_bucket{file="log",le="0.001"} 1
                sync_seconds_bucket{file="log",le="0.1"} 3
                sync_seconds_bucket{file="log",le="+Inf"} 4
                sync_seconds_sum{file="log"} 0.75
                sync_seconds_count{file="log"} 4
                # HELP wait_seconds What wait_seconds counts.
                # TYPE wait_seconds histogram
                wait_seconds_bucket{le="+Inf"} 0
                wait_seconds_sum 0.75
                wait_seconds_count 0
            "#]],
        );
    }

    #[test]
    fn texts_are_escaped_and_odd_numbers_spelt() {
        let mut odd = metric("odd", &[("path", "C:\\\"x\"\nü")], MetricValue::Gauge(f64::INFINITY));
        odd.help = "Two\nlines, one \\ and \"quotes\".".to_owned();
        let plain =
            Metric { help: String::new(), ..metric("nan", &[], MetricValue::Gauge(f64::NAN)) };
        check(
            &[odd, plain],
            expect![[r#"
                # TYPE nan gauge
                nan NaN
                # HELP odd Two\nlines, one \\ and "quotes".
                # TYPE odd gauge
                odd{path="C:\\\"x\"\nü"} +Inf
            "#]],
        );
    }

    #[test]
    fn the_prefix_stands_before_each_name() {
        let metrics = [metric("a_total", &[], MetricValue::Counter(1))];
        let page = Exposition::new("test_", &metrics).unwrap().to_string();
        assert!(page.ends_with("# TYPE test_a_total counter\ntest_a_total 1\n"), "{page}");
    }

    #[test]
    fn a_wrong_metric_is_refused_by_name() {
        let one = MetricValue::Counter(1);
        let refused = |metrics: &[Metric]| Exposition::new("", metrics).err().expect("it is wrong");
        for name in ["", "1a", "a b", "a{x}", "ä", "a\n"] {
            refused(&[metric(name, &[], one.clone())]);
        }
        for label in ["", "a:b", "__name__", "1"] {
            refused(&[metric("a", &[(label, "x")], one.clone())]);
        }
        let twice = metric("a", &[("x", "1"), ("y", "2")], one.clone());
        let turned = metric("a", &[("y", "2"), ("x", "1")], one.clone());
        assert_eq!(refused(&[twice, turned]), "the metric \"a\" has the same labels twice");
        refused(&[metric("a", &[("x", "1"), ("x", "2")], one.clone())]);
        refused(&[metric("a", &[], one), metric("a", &[("x", "")], MetricValue::Gauge(1.0))]);
    }

    #[test]
    fn a_histogram_that_lies_is_refused() {
        for value in [
            seconds(&[1.0], &[1]),
            seconds(&[1.0, 1.0], &[1, 2, 3]),
            seconds(&[f64::NAN], &[1, 2]),
            seconds(&[f64::INFINITY], &[1, 2]),
            seconds(&[1.0], &[2, 1]),
        ] {
            assert!(Exposition::new("", &[metric("a", &[], value)]).is_err());
        }
        let le = metric("a", &[("le", "1")], seconds(&[1.0], &[1, 2]));
        assert!(Exposition::new("", &[le]).is_err());
    }
}

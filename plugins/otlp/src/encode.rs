//! A batch as messages of OTLP.
//!
//! | in the batch          | in OTLP                                                                                      |
//! |-----------------------|----------------------------------------------------------------------------------------------|
//! | counter               | a monotonic, cumulative sum; an integer if it is one and its unit is not one of time         |
//! | gauge                 | a gauge, as double                                                                           |
//! | histogram             | a cumulative histogram with the same bounds; each bucket counts only its own observations    |
//! | its sum               | the sum, unless observations may be below zero: OTLP wants none then                         |
//! | exemplars             | exemplars with trace and span                                                                |
//! | name, help, labels    | name, as it is; description; attributes                                                      |
//! | the unit in the name  | the unit by UCUM: `s`, `By`, and `1` for what has none                                       |
//! | span                  | a span of kind internal; with an error its status is error, and the text its message         |
//! | log line              | a log record: severity, body, fields and `target` as attributes, trace and span              |
//!
//! All series of one name and type are points of one metric. Totals begin at the batch's `since_unix_us`.
//!
//! Left out, and counted, is a metric that OTLP has no way to say: without a name, with one label twice, a counter
//! below zero or not a number, a histogram whose bounds or counts do not grow. OTLP wants the keys of attributes to
//! be different and not empty; of a span or a log line only the first of equal ones stays, and the record says how
//! many were dropped.
//!
//! Sources: opentelemetry-proto 1.10.0; the data models of metrics and logs in the specification of OpenTelemetry.

use crate::messages::*;
use sochdb_guest::{Level, LogLine, MetricValue, SpanContext, unit_of};
use std::collections::{BTreeMap, BTreeSet};

/// Whole numbers up to here are all doubles, so that a double can be told to be one of them.
const WHOLE_MAX: f64 = (1_u64 << 53) as f64;

/// The times of a batch, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Since when totals count.
    pub since: u64,
    /// When the batch was gathered.
    pub now: u64,
}

/// Nanoseconds of microseconds.
pub fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(1000)
}

/// What all of it is about: what the batch says, and `added`, which wins.
pub fn resource(of_batch: Vec<(String, String)>, added: &[(String, String)]) -> Resource {
    let pairs = added.iter().cloned().chain(of_batch);
    Resource { attributes: attributes(pairs).0 }
}

/// A request with `metrics`, unless there is none; and how many are not in it.
pub fn metrics(
    metrics: Vec<sochdb_guest::Metric>,
    times: Times,
    resource: &Resource,
) -> (Option<ExportMetrics>, u64) {
    let (mut gathered, mut skipped) = (Gathered::default(), 0);
    for metric in metrics {
        let (attributes, dropped) = attributes(metric.labels);
        let is_said = !metric.name.is_empty() && dropped == 0;
        let point = is_said.then(|| point(&metric.name, metric.value, times, attributes)).flatten();
        match point {
            Some(point) => gathered.add(metric.name, metric.help, point),
            None => skipped += 1,
        }
    }
    let metrics = gathered.metrics;
    let is_any = !metrics.is_empty();
    (is_any.then(|| ExportMetrics::new(Some(resource.clone()), scope(), metrics)), skipped)
}

/// A request with `spans`, unless there is none.
pub fn traces(spans: Vec<sochdb_guest::Span>, resource: &Resource) -> Option<ExportTraces> {
    let spans: Vec<_> = spans.into_iter().map(span).collect();
    (!spans.is_empty()).then(|| ExportTraces::new(Some(resource.clone()), scope(), spans))
}

/// A request with the log lines, unless there is none.
pub fn logs(lines: Vec<LogLine>, times: Times, resource: &Resource) -> Option<ExportLogs> {
    let log_records: Vec<_> = lines.into_iter().map(|line| log_record(line, times)).collect();
    (!log_records.is_empty()).then(|| ExportLogs::new(Some(resource.clone()), scope(), log_records))
}

fn scope() -> Option<Scope> {
    Some(Scope { name: "sochdb".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

fn text(text: String) -> Option<AnyValue> {
    Some(AnyValue { string_value: Some(text) })
}

/// Attributes with different keys, and how many pairs are none of them.
fn attributes(pairs: impl IntoIterator<Item = (String, String)>) -> (Vec<KeyValue>, u32) {
    let (mut attributes, mut seen, mut dropped) = (Vec::new(), BTreeSet::new(), 0_u32);
    for (key, value) in pairs {
        if key.is_empty() || !seen.insert(key.clone()) {
            dropped = dropped.saturating_add(1);
        } else {
            attributes.push(KeyValue { key, value: text(value) });
        }
    }
    (attributes, dropped)
}

fn ids(SpanContext { trace_id, span_id }: SpanContext) -> (Vec<u8>, Vec<u8>) {
    (trace_id.to_be_bytes().into(), span_id.to_be_bytes().into())
}

/// One series.
enum Point {
    Sum(NumberDataPoint),
    Gauge(NumberDataPoint),
    Histogram(HistogramDataPoint),
}

/// Metrics by name and type, in the order they first came.
#[derive(Default)]
struct Gathered {
    metrics: Vec<Metric>,
    places: BTreeMap<(String, u8), usize>,
}

impl Gathered {
    fn add(&mut self, name: String, help: String, point: Point) {
        let kind = match point {
            Point::Sum(_) => 0,
            Point::Gauge(_) => 1,
            Point::Histogram(_) => 2,
        };
        let next = self.metrics.len();
        let at = *self.places.entry((name.clone(), kind)).or_insert(next);
        if at == next {
            let unit = match unit_of(&name) {
                "seconds" => "s",
                "bytes" => "By",
                _ => "1",
            };
            self.metrics.push(Metric { name, unit: unit.to_owned(), ..Metric::default() });
        }
        let metric = &mut self.metrics[at];
        if metric.description.is_empty() {
            metric.description = help;
        }
        match point {
            Point::Sum(point) => {
                let sum = metric.sum.get_or_insert_default();
                (sum.aggregation_temporality, sum.is_monotonic) = (CUMULATIVE, true);
                sum.data_points.push(point);
            }
            Point::Gauge(point) => metric.gauge.get_or_insert_default().data_points.push(point),
            Point::Histogram(point) => {
                let histogram = metric.histogram.get_or_insert_default();
                histogram.aggregation_temporality = CUMULATIVE;
                histogram.data_points.push(point);
            }
        }
    }
}

/// `value` as a point, if it is a value of its type.
fn point(name: &str, value: MetricValue, times: Times, attributes: Vec<KeyValue>) -> Option<Point> {
    let time_unix_nano = times.now;
    Some(match value {
        MetricValue::Gauge(value) => {
            let as_double = Some(value);
            Point::Gauge(NumberDataPoint {
                time_unix_nano,
                as_double,
                attributes,
                ..Default::default()
            })
        }
        // Not a number is not at least zero either.
        MetricValue::Counter(total) if total >= 0.0 => {
            let is_whole = total.fract() == 0.0 && total <= WHOLE_MAX && unit_of(name) != "seconds";
            Point::Sum(NumberDataPoint {
                start_time_unix_nano: times.since,
                time_unix_nano,
                as_double: (!is_whole).then_some(total),
                as_int: is_whole.then_some(total as i64),
                attributes,
            })
        }
        MetricValue::Counter(_) => return None,
        MetricValue::Histogram(histogram) => {
            Point::Histogram(buckets(histogram, times, attributes)?)
        }
    })
}

fn buckets(
    histogram: sochdb_guest::Histogram,
    times: Times,
    attributes: Vec<KeyValue>,
) -> Option<HistogramDataPoint> {
    let sochdb_guest::Histogram { bounds, counts, sum, exemplars } = histogram;
    let grows = counts.len() == bounds.len() + 1
        && bounds.iter().all(|bound| bound.is_finite())
        && bounds.is_sorted_by(|a, b| a < b)
        && counts.is_sorted();
    if !grows {
        return None;
    }
    let is_negative = bounds.first().is_some_and(|bound| *bound < 0.0);
    let below = [0].into_iter().chain(counts.iter().copied());
    Some(HistogramDataPoint {
        start_time_unix_nano: times.since,
        time_unix_nano: times.now,
        count: counts.last().copied()?,
        sum: (sum >= 0.0 && !is_negative).then_some(sum),
        bucket_counts: counts.iter().zip(below).map(|(count, below)| count - below).collect(),
        explicit_bounds: bounds,
        exemplars: exemplars.into_iter().map(exemplar).collect(),
        attributes,
    })
}

fn exemplar(exemplar: sochdb_guest::Exemplar) -> Exemplar {
    let (trace_id, span_id) = ids(exemplar.span);
    let (time_unix_nano, as_double) = (nanos(exemplar.unix_us), Some(exemplar.value));
    Exemplar { time_unix_nano, as_double, span_id, trace_id }
}

fn span(span: sochdb_guest::Span) -> Span {
    let (trace_id, span_id) = ids(span.context);
    let (attributes, dropped_attributes_count) = attributes(span.attributes);
    Span {
        trace_id,
        span_id,
        parent_span_id: span.parent.map_or(Vec::new(), |parent| parent.to_be_bytes().into()),
        name: span.name,
        kind: KIND_INTERNAL,
        start_time_unix_nano: span.unix_ns,
        end_time_unix_nano: span.unix_ns.saturating_add(span.took_ns),
        attributes,
        dropped_attributes_count,
        status: span.error.map(|message| Status { message, code: STATUS_ERROR }),
    }
}

fn log_record(line: LogLine, times: Times) -> LogRecord {
    let (trace_id, span_id) = line.span.map(ids).unwrap_or_default();
    let target = ("target".to_owned(), line.target);
    let (attributes, dropped_attributes_count) =
        attributes([target].into_iter().chain(line.fields));
    LogRecord {
        time_unix_nano: nanos(line.unix_us),
        observed_time_unix_nano: times.now,
        severity_number: severity(line.level),
        severity_text: line.level.word().to_owned(),
        body: text(line.message),
        attributes,
        dropped_attributes_count,
        trace_id,
        span_id,
    }
}

/// The first number of the level's four.
fn severity(level: Level) -> i32 {
    match level {
        Level::Trace => 1,
        Level::Debug => 5,
        Level::Info => 9,
        Level::Warn => 13,
        Level::Error => 17,
    }
}

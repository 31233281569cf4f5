//! What decoded payloads say, as parts of a batch.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest as Logs;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest as Metrics;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as Traces;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
use sochdb_guest::telemetry::Level;
use sochdb_guest::{Exemplar, Histogram, LogLine, Metric, MetricValue, Span, SpanContext};
use std::collections::BTreeMap;

/// Attributes, which have different keys and are texts.
pub fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &Option<AnyValue>| match value.clone().and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        other => panic!("{other:?} is no text"),
    };
    let texts: BTreeMap<_, _> =
        attributes.iter().map(|pair| (pair.key.clone(), text(&pair.value))).collect();
    assert_eq!(texts.len(), attributes.len(), "keys are different");
    texts
}

/// The number of `bytes`.
fn id<const N: usize>(bytes: &[u8]) -> u128 {
    assert_eq!(bytes.len(), N);
    bytes.iter().fold(0, |id, byte| id << 8 | u128::from(*byte))
}

fn context(trace_id: &[u8], span_id: &[u8]) -> SpanContext {
    SpanContext { trace_id: id::<16>(trace_id), span_id: id::<8>(span_id) as u64 }
}

/// The batch's metrics that `decoded` says, with labels in the order of their names, and NaN for no sum.
pub fn metrics_of(decoded: &Metrics) -> Vec<Metric> {
    let scopes = decoded.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let mut metrics = Vec::new();
    for metric in scopes.flat_map(|scope| &scope.metrics) {
        let mut push = |attributes: &[KeyValue], value| {
            let (name, help) = (metric.name.clone(), metric.description.clone());
            metrics.push(Metric {
                name,
                help,
                labels: texts(attributes).into_iter().collect(),
                value,
            });
        };
        let number = |value: Option<number_data_point::Value>| match value.expect("it has one") {
            number_data_point::Value::AsDouble(value) => value,
            number_data_point::Value::AsInt(value) => value as f64,
        };
        match metric.data.as_ref().expect("it has some") {
            Data::Sum(sum) => {
                assert_eq!((sum.is_monotonic, sum.aggregation_temporality), (true, 2));
                for point in &sum.data_points {
                    push(&point.attributes, MetricValue::Counter(number(point.value)));
                }
            }
            Data::Gauge(gauge) => {
                for point in &gauge.data_points {
                    push(&point.attributes, MetricValue::Gauge(number(point.value)));
                }
            }
            Data::Histogram(histogram) => {
                assert_eq!(histogram.aggregation_temporality, 2);
                for point in &histogram.data_points {
                    let mut total = 0;
                    let counts = point.bucket_counts.iter().map(|count| {
                        total += count;
                        total
                    });
                    let counts: Vec<_> = counts.collect();
                    assert_eq!(counts.last(), Some(&point.count));
                    let exemplars = point.exemplars.iter().map(|exemplar| {
                        use opentelemetry_proto::tonic::metrics::v1::exemplar::Value::AsDouble;
                        let Some(AsDouble(value)) = exemplar.value else { panic!("it has one") };
                        let unix_us = exemplar.time_unix_nano / 1000;
                        Exemplar {
                            value,
                            unix_us,
                            span: context(&exemplar.trace_id, &exemplar.span_id),
                        }
                    });
                    let exemplars = exemplars.collect();
                    let (bounds, sum) =
                        (point.explicit_bounds.clone(), point.sum.unwrap_or(f64::NAN));
                    let histogram = Histogram { bounds, counts, sum, exemplars };
                    push(&point.attributes, MetricValue::Histogram(histogram));
                }
            }
            other => panic!("we have no {other:?}"),
        }
    }
    metrics
}

/// The batch's spans that `decoded` says, with attributes in the order of their names.
pub fn spans_of(decoded: &Traces) -> Vec<Span> {
    let scopes = decoded.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let span = |span: &opentelemetry_proto::tonic::trace::v1::Span| {
        assert_eq!(span.kind, 1);
        let error = span.status.as_ref().map(|status| {
            assert_eq!(status.code, 2);
            status.message.clone()
        });
        Span {
            context: context(&span.trace_id, &span.span_id),
            parent: (!span.parent_span_id.is_empty()).then(|| id::<8>(&span.parent_span_id) as u64),
            name: span.name.clone(),
            unix_ns: span.start_time_unix_nano,
            took_ns: span.end_time_unix_nano - span.start_time_unix_nano,
            attributes: texts(&span.attributes).into_iter().collect(),
            error,
        }
    };
    scopes.flat_map(|scope| &scope.spans).map(span).collect()
}

/// The batch's log lines that `decoded` says, with fields in the order of their names.
pub fn logs_of(decoded: &Logs) -> Vec<LogLine> {
    let scopes = decoded.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    let line = |record: &opentelemetry_proto::tonic::logs::v1::LogRecord| {
        let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
        let level = levels[(record.severity_number as usize - 1) / 4];
        assert_eq!(record.severity_text, level.word());
        let mut fields = texts(&record.attributes);
        let body = KeyValue { value: record.body.clone(), ..KeyValue::default() };
        LogLine {
            unix_us: record.time_unix_nano / 1000,
            level,
            target: fields.remove("target").expect("it is always there"),
            message: texts(&[body]).remove("").expect("it is there"),
            fields: fields.into_iter().collect(),
            span: (!record.trace_id.is_empty()).then(|| context(&record.trace_id, &record.span_id)),
        }
    };
    scopes.flat_map(|scope| &scope.log_records).map(line).collect()
}

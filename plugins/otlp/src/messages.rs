//! The messages of OTLP that we write, and only the fields that we fill.
//!
//! Each is one struct for both encodings: `prost` writes it as Protobuf by the field numbers below, `serde` as JSON
//! by the names in camel case and the rules of [`json`]. The numbers are of opentelemetry-proto 1.10.0,
//! and are never changed there.
//!
//! | message                 | fields                                                                                    |
//! |-------------------------|-------------------------------------------------------------------------------------------|
//! | `Export...` (a request) | 1 resources                                                                               |
//! | `Resource...`           | 1 resource, 2 scopes                                                                      |
//! | `Scope...`              | 1 scope, 2 items                                                                          |
//! | `Resource`              | 1 attributes                                                                              |
//! | `Scope`                 | 1 name, 2 version                                                                         |
//! | `KeyValue`, `AnyValue`  | 1 key, 2 value; 1 text                                                                    |
//! | `Metric`                | 1 name, 2 description, 3 unit; one of 5 gauge, 7 sum, 9 histogram                         |
//! | `Gauge`                 | 1 points                                                                                  |
//! | `Sum`                   | 1 points, 2 temporality, 3 monotonic                                                      |
//! | `Histogram`             | 1 points, 2 temporality                                                                   |
//! | `NumberDataPoint`       | 2 start, 3 time, one of 4 double and 6 integer, 7 attributes                              |
//! | `HistogramDataPoint`    | 2 start, 3 time, 4 count, 5 sum, 6 counts, 7 bounds, 8 exemplars, 9 attributes            |
//! | `Exemplar`              | 2 time, 3 double, 4 span, 5 trace                                                         |
//! | `Span`                  | 1 trace, 2 span, 4 parent, 5 name, 6 kind, 7 start, 8 end, 9 attributes, 10 dropped, 15 status |
//! | `Status`                | 2 message, 3 code                                                                         |
//! | `LogRecord`             | 1 time, 2 and 3 severity, 5 body, 6 attributes, 7 dropped, 9 trace, 10 span, 11 observed  |
//!
//! Two fields of which one is set are what Protobuf calls a `oneof`: on the wire they are the same. Enumerations are
//! their numbers, which is how both encodings have them.
//!
//! Source: opentelemetry-proto 1.10.0, `opentelemetry/proto/`.

use crate::json;
use prost::Message;
use serde::Serialize;

/// Totals since a beginning, not differences.
pub const CUMULATIVE: i32 = 2;
/// A span of something that happens inside.
pub const KIND_INTERNAL: i32 = 1;
/// A span that failed.
pub const STATUS_ERROR: i32 = 2;

/// A request to `/v1/metrics`.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportMetrics {
    #[prost(message, repeated, tag = "1")]
    pub resource_metrics: Vec<ResourceMetrics>,
}

impl ExportMetrics {
    /// Of one resource and one scope.
    pub fn new(resource: Option<Resource>, scope: Option<Scope>, metrics: Vec<Metric>) -> Self {
        let scope_metrics = vec![ScopeMetrics { scope, metrics }];
        ExportMetrics { resource_metrics: vec![ResourceMetrics { resource, scope_metrics }] }
    }
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
}

/// A request to `/v1/traces`.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportTraces {
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

impl ExportTraces {
    /// Of one resource and one scope.
    pub fn new(resource: Option<Resource>, scope: Option<Scope>, spans: Vec<Span>) -> Self {
        let scope_spans = vec![ScopeSpans { scope, spans }];
        ExportTraces { resource_spans: vec![ResourceSpans { resource, scope_spans }] }
    }
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
}

/// A request to `/v1/logs`.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportLogs {
    #[prost(message, repeated, tag = "1")]
    pub resource_logs: Vec<ResourceLogs>,
}

impl ExportLogs {
    /// Of one resource and one scope.
    pub fn new(
        resource: Option<Resource>,
        scope: Option<Scope>,
        log_records: Vec<LogRecord>,
    ) -> Self {
        let scope_logs = vec![ScopeLogs { scope, log_records }];
        ExportLogs { resource_logs: vec![ResourceLogs { resource, scope_logs }] }
    }
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub log_records: Vec<LogRecord>,
}

/// What all of it is about.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// Who measured it.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
}

/// An attribute.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// A value of any type; ours are texts.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnyValue {
    #[prost(string, optional, tag = "1")]
    pub string_value: Option<String>,
}

/// All points of one name.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub description: String,
    #[prost(string, tag = "3")]
    pub unit: String,
    #[prost(message, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gauge: Option<Gauge>,
    #[prost(message, optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<Sum>,
    #[prost(message, optional, tag = "9")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gauge {
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberDataPoint>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberDataPoint>,
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    pub is_monotonic: bool,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Histogram {
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<HistogramDataPoint>,
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NumberDataPoint {
    #[prost(fixed64, tag = "2")]
    #[serde(serialize_with = "json::integer")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    #[serde(serialize_with = "json::integer")]
    pub time_unix_nano: u64,
    #[prost(double, optional, tag = "4")]
    #[serde(serialize_with = "json::double", skip_serializing_if = "Option::is_none")]
    pub as_double: Option<f64>,
    #[prost(sfixed64, optional, tag = "6")]
    #[serde(serialize_with = "json::some_integer", skip_serializing_if = "Option::is_none")]
    pub as_int: Option<i64>,
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistogramDataPoint {
    #[prost(fixed64, tag = "2")]
    #[serde(serialize_with = "json::integer")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    #[serde(serialize_with = "json::integer")]
    pub time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    #[serde(serialize_with = "json::integer")]
    pub count: u64,
    #[prost(double, optional, tag = "5")]
    #[serde(serialize_with = "json::double", skip_serializing_if = "Option::is_none")]
    pub sum: Option<f64>,
    /// One more than bounds; each counts only its own bucket.
    #[prost(fixed64, repeated, tag = "6")]
    #[serde(serialize_with = "json::integers")]
    pub bucket_counts: Vec<u64>,
    /// Finite, so that JSON has them as numbers.
    #[prost(double, repeated, tag = "7")]
    pub explicit_bounds: Vec<f64>,
    #[prost(message, repeated, tag = "8")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exemplars: Vec<Exemplar>,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exemplar {
    #[prost(fixed64, tag = "2")]
    #[serde(serialize_with = "json::integer")]
    pub time_unix_nano: u64,
    #[prost(double, optional, tag = "3")]
    #[serde(serialize_with = "json::double", skip_serializing_if = "Option::is_none")]
    pub as_double: Option<f64>,
    #[prost(bytes = "vec", tag = "4")]
    #[serde(serialize_with = "json::id")]
    pub span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    #[serde(serialize_with = "json::id")]
    pub trace_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    #[serde(serialize_with = "json::id")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    #[serde(serialize_with = "json::id")]
    pub span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    #[serde(serialize_with = "json::id", skip_serializing_if = "Vec::is_empty")]
    pub parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(int32, tag = "6")]
    pub kind: i32,
    #[prost(fixed64, tag = "7")]
    #[serde(serialize_with = "json::integer")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    #[serde(serialize_with = "json::integer")]
    pub end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "10")]
    #[serde(skip_serializing_if = "json::is_zero")]
    pub dropped_attributes_count: u32,
    #[prost(message, optional, tag = "15")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(int32, tag = "3")]
    pub code: i32,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogRecord {
    #[prost(fixed64, tag = "1")]
    #[serde(serialize_with = "json::integer")]
    pub time_unix_nano: u64,
    #[prost(fixed64, tag = "11")]
    #[serde(serialize_with = "json::integer")]
    pub observed_time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    pub severity_number: i32,
    #[prost(string, tag = "3")]
    pub severity_text: String,
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "7")]
    #[serde(skip_serializing_if = "json::is_zero")]
    pub dropped_attributes_count: u32,
    #[prost(bytes = "vec", tag = "9")]
    #[serde(serialize_with = "json::id", skip_serializing_if = "Vec::is_empty")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    #[serde(serialize_with = "json::id", skip_serializing_if = "Vec::is_empty")]
    pub span_id: Vec<u8>,
}

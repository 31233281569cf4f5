//! A batch of telemetry as JSON, for observers. `native/README.md` shows it to authors.
//!
//! ```json
//! {"unix_us": 1700000000000000, "since_unix_us": 1600000000000000, "resource": [["service.name", "shop"]],
//!  "metrics": [{"name": "sochdb_commits_total", "help": "...", "labels": [["table", "users"]],
//!               "counter": 2}],
//!  "spans": [{"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331", "parent_id": null,
//!             "name": "commit", "unix_ns": 1700000000000000000, "took_ns": 5000, "attributes": [["rows", "3"]],
//!             "error": null}],
//!  "logs": [{"unix_us": 1700000000000000, "level": "info", "target": "kernel", "message": "...",
//!            "fields": [["rows", "3"]], "trace_id": null, "span_id": null}],
//!  "health": [{"component": "kernel", "name": "", "state": "healthy", "why": ""}]}
//! ```
//!
//! A metric has exactly one of `counter` (a number), `gauge` (a number) and `histogram` (`bounds`, `counts`,
//! `sum`, and `exemplars` with `value`, `unix_us`, `trace_id` and `span_id`). JSON has no word for numbers that are
//! not finite: they are the strings `"NaN"`, `"+Inf"` and `"-Inf"`.

use serde_json::{Map, Value, json};
use sochdb_kernel::plugin::TelemetryBatch;
use sochdb_telemetry::{
    ComponentHealth, Exemplar, Histogram, LogLine, Metric, MetricValue, Span, SpanContext,
};

/// The batch as one JSON object, in UTF-8.
pub(crate) fn batch(batch: &TelemetryBatch) -> Vec<u8> {
    let value = json!({
        "unix_us": batch.unix_us,
        "since_unix_us": batch.since_unix_us,
        "resource": batch.resource,
        "metrics": all(&batch.metrics, metric),
        "spans": all(&batch.spans, span),
        "logs": all(&batch.logs, log),
        "health": all(&batch.health, health),
    });
    value.to_string().into_bytes()
}

fn all<T>(list: &[T], one: fn(&T) -> Value) -> Vec<Value> {
    list.iter().map(one).collect()
}

fn metric(metric: &Metric) -> Value {
    let Metric { name, help, labels, value } = metric;
    let (kind, value) = match value {
        MetricValue::Counter(total) => ("counter", number(*total)),
        MetricValue::Gauge(value) => ("gauge", number(*value)),
        MetricValue::Histogram(Histogram { bounds, counts, sum, exemplars }) => {
            let bounds: Vec<_> = bounds.iter().copied().map(number).collect();
            let exemplars = all(exemplars, exemplar);
            let sum = number(*sum);
            let value =
                json!({ "bounds": bounds, "counts": counts, "sum": sum, "exemplars": exemplars });
            ("histogram", value)
        }
    };
    json!({ "name": name, "help": help, "labels": labels, kind: value })
}

fn exemplar(exemplar: &Exemplar) -> Value {
    let Exemplar { value, unix_us, span } = exemplar;
    with_ids(json!({ "value": number(*value), "unix_us": unix_us }), Some(*span))
}

fn span(span: &Span) -> Value {
    let Span { context, parent, name, unix_ns, took_ns, attributes, error } = span;
    let parent_id = parent.map(|id| format!("{id:016x}"));
    let value = json!({
        "parent_id": parent_id,
        "name": name,
        "unix_ns": unix_ns,
        "took_ns": took_ns,
        "attributes": attributes,
        "error": error,
    });
    with_ids(value, Some(*context))
}

fn log(line: &LogLine) -> Value {
    let LogLine { unix_us, level, target, message, fields, span } = line;
    let value = json!({
        "unix_us": unix_us,
        "level": level.word(),
        "target": target,
        "message": message,
        "fields": fields,
    });
    with_ids(value, *span)
}

fn health(health: &ComponentHealth) -> Value {
    let ComponentHealth { component, name, state, why } = health;
    json!({ "component": component, "name": name, "state": state.word(), "why": why })
}

/// The object with the numbers of a span and its trace, in hex.
fn with_ids(object: Value, span: Option<SpanContext>) -> Value {
    let mut object: Map<_, _> = object.as_object().expect("is made above").clone();
    let trace_id = span.map(|span| format!("{:032x}", span.trace_id));
    let span_id = span.map(|span| format!("{:016x}", span.span_id));
    object.insert("trace_id".to_owned(), json!(trace_id));
    object.insert("span_id".to_owned(), json!(span_id));
    Value::Object(object)
}

fn number(value: f64) -> Value {
    if value.is_finite() {
        return json!(value);
    }
    json!(if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_telemetry::{HealthState, LogLevel};

    #[test]
    fn a_batch_is_the_json_that_authors_are_promised() {
        let metric = |value| Metric {
            name: "m".to_owned(),
            help: "h".to_owned(),
            labels: vec![("table".to_owned(), "\"é\n".to_owned())],
            value,
        };
        let span = SpanContext { trace_id: 0xab, span_id: 0xcd };
        let histogram = MetricValue::Histogram(Histogram {
            bounds: vec![0.5],
            counts: vec![1, 2],
            sum: f64::INFINITY,
            exemplars: vec![Exemplar { value: 0.25, unix_us: 3, span }],
        });
        let json = batch(&TelemetryBatch {
            unix_us: 9,
            since_unix_us: 1,
            resource: vec![("service.name".to_owned(), "shop".to_owned())],
            metrics: vec![
                metric(MetricValue::Counter(2.0)),
                metric(MetricValue::Gauge(f64::NAN)),
                metric(histogram),
            ],
            spans: vec![Span {
                context: span,
                parent: Some(1),
                name: "commit".to_owned(),
                unix_ns: 5,
                took_ns: 6,
                attributes: vec![("rows".to_owned(), "3".to_owned())],
                error: Some("full".to_owned()),
            }],
            logs: vec![LogLine {
                unix_us: 7,
                level: LogLevel::Warn,
                target: "kernel".to_owned(),
                message: "slow".to_owned(),
                fields: Vec::new(),
                span: None,
            }],
            health: vec![ComponentHealth {
                component: "kernel".to_owned(),
                name: String::new(),
                state: HealthState::Degraded,
                why: "slow".to_owned(),
            }],
        });
        let common = r#""name":"m","help":"h","labels":[["table","\"é\n"]]"#;
        let ids = r#""trace_id":"000000000000000000000000000000ab","span_id":"00000000000000cd""#;
        let wanted = format!(
            "{{\"unix_us\":9,\"since_unix_us\":1,\"resource\":[[\"service.name\",\"shop\"]],\
             \"metrics\":[{{{common},\"counter\":2.0}},{{{common},\"gauge\":\"NaN\"}},\
             {{{common},\"histogram\":{{\"bounds\":[0.5],\"counts\":[1,2],\"sum\":\"+Inf\",\
             \"exemplars\":[{{\"value\":0.25,\"unix_us\":3,{ids}}}]}}}}],\
             \"spans\":[{{\"parent_id\":\"0000000000000001\",\"name\":\"commit\",\"unix_ns\":5,\"took_ns\":6,\
             \"attributes\":[[\"rows\",\"3\"]],\"error\":\"full\",{ids}}}],\
             \"logs\":[{{\"unix_us\":7,\"level\":\"warn\",\"target\":\"kernel\",\"message\":\"slow\",\
             \"fields\":[],\"trace_id\":null,\"span_id\":null}}],\
             \"health\":[{{\"component\":\"kernel\",\"name\":\"\",\"state\":\"degraded\",\"why\":\"slow\"}}]}}"
        );
        assert_eq!(String::from_utf8(json).unwrap(), wanted);
    }
}

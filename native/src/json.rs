//! A batch of telemetry as JSON, for observers. `native/README.md` shows it to authors.
//!
//! ```json
//! {"metrics": [{"name": "sochdb_commits_total", "help": "...", "labels": [["table", "users"]],
//!               "counter": 2}],
//!  "logs": [{"unix_us": 1700000000000000, "level": "info", "target": "kernel", "message": "..."}]}
//! ```
//!
//! A metric has exactly one of `counter` (an integer below 2^64), `gauge` (a number) and `histogram`
//! (`bounds`, `counts`, `sum`). JSON has no word for numbers that are not finite: they are the strings
//! `"NaN"`, `"+Inf"` and `"-Inf"`.

use serde_json::{Value, json};
use sochdb_kernel::plugin::{LogLevel, LogLine, Metric, MetricValue, TelemetryBatch};

/// The batch as one JSON object, in UTF-8.
pub(crate) fn batch(batch: &TelemetryBatch) -> Vec<u8> {
    let metrics: Vec<_> = batch.metrics.iter().map(metric).collect();
    let logs: Vec<_> = batch.logs.iter().map(log).collect();
    json!({ "metrics": metrics, "logs": logs }).to_string().into_bytes()
}

fn metric(metric: &Metric) -> Value {
    let Metric { name, help, labels, value } = metric;
    let (kind, value) = match value {
        MetricValue::Counter(total) => ("counter", json!(total)),
        MetricValue::Gauge(value) => ("gauge", number(*value)),
        MetricValue::Histogram { bounds, counts, sum } => {
            let bounds: Vec<_> = bounds.iter().copied().map(number).collect();
            ("histogram", json!({ "bounds": bounds, "counts": counts, "sum": number(*sum) }))
        }
    };
    json!({ "name": name, "help": help, "labels": labels, kind: value })
}

fn log(line: &LogLine) -> Value {
    let LogLine { unix_us, level, target, message } = line;
    let level = match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    json!({ "unix_us": unix_us, "level": level, "target": target, "message": message })
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

    #[test]
    fn a_batch_is_the_json_that_authors_are_promised() {
        let metric = |value| Metric {
            name: "m".to_owned(),
            help: "h".to_owned(),
            labels: vec![("table".to_owned(), "\"é\n".to_owned())],
            value,
        };
        let histogram =
            MetricValue::Histogram { bounds: vec![0.5], counts: vec![1, 2], sum: f64::INFINITY };
        let metrics = vec![
            metric(MetricValue::Counter(u64::MAX)),
            metric(MetricValue::Gauge(f64::NAN)),
            metric(histogram),
        ];
        let logs = vec![LogLine {
            unix_us: 7,
            level: LogLevel::Warn,
            target: "kernel".to_owned(),
            message: "slow".to_owned(),
        }];
        let json = batch(&TelemetryBatch { metrics, logs });
        let common = r#""name":"m","help":"h","labels":[["table","\"é\n"]]"#;
        let wanted = format!(
            "{{\"metrics\":[{{{common},\"counter\":18446744073709551615}},{{{common},\"gauge\":\"NaN\"}},\
             {{{common},\"histogram\":{{\"bounds\":[0.5],\"counts\":[1,2],\"sum\":\"+Inf\"}}}}],\
             \"logs\":[{{\"unix_us\":7,\"level\":\"warn\",\"target\":\"kernel\",\"message\":\"slow\"}}]}}"
        );
        assert_eq!(String::from_utf8(json).unwrap(), wanted);
    }
}

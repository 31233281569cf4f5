//! What a line says, whatever its format.
//!
//! | key                  | log | span | health | metric | what it says                                             |
//! |----------------------|:---:|:----:|:------:|:------:|----------------------------------------------------------|
//! | `time`               |  x  |  x   |   x    |   x    | RFC 3339, UTC, microseconds; a span: when it began       |
//! | `level`              |  x  |      |   x    |        | `trace` to `error`; health: `info`, `warn` or `error`    |
//! | `kind`               |  x  |  x   |   x    |   x    | `log`, `span`, `health` or `metric`                      |
//! | `target`             |  x  |      |        |        | which part of the database, or which plugin, speaks      |
//! | `msg`                |  x  |      |        |        | the sentence                                             |
//! | `component`          |     |      |   x    |        | what kind of part: `kernel`, `plugin`, `tenant`...       |
//! | `name`               |     |  x   |   x    |   x    | which work, which part (unless there is one), which metric |
//! | `state`, `was`       |     |      |   x    |        | how it is, and how it was if that is known               |
//! | `why`                |     |      |   x    |        | the reason, unless it is healthy                         |
//! | `duration_ms`        |     |  x   |        |        | a number of milliseconds, exact to the nanosecond        |
//! | `error`              |     |  x   |        |        | why it failed, if it did                                 |
//! | `type`               |     |      |        |   x    | `counter`, `gauge` or `histogram`                        |
//! | `value`              |     |      |        |   x    | of a counter or gauge                                    |
//! | `count`, `sum`       |     |      |        |   x    | of all observations of a histogram                       |
//! | `p50`, `p90`, `p99`  |     |      |        |   x    | of a histogram: below                                    |
//! | `trace_id`           | (x) |  x   |        |        | 32 hexadecimal digits                                    |
//! | `span_id`            | (x) |  x   |        |        | 16 hexadecimal digits                                    |
//! | `parent_id`          |     | (x)  |        |        | the span that led to it, if one is known                 |
//! | pairs                |  x  |  x   |        |   x    | fields, attributes, labels: each format has its own way  |
//! | `cut`                |  x  |  x   |   x    |   x    | `true` when something did not fit into the line          |
//!
//! `p99` is the least bound of the histogram that 99 of 100 observations lie at or below, since the database
//! was opened; it is not there when those observations reach beyond the last bound, or when there are none.
//! A key that has nothing to say is left out.

use jiff::Timestamp;
use sochdb_guest::telemetry::Level;
use sochdb_guest::{
    ComponentHealth, HealthState, Histogram, LogLine, Metric, MetricValue, Span, SpanContext,
};
use std::borrow::Cow;

/// What one line says.
#[derive(Debug, Clone, PartialEq)]
pub struct Record<'a> {
    /// The keys of the table, in the order they are written.
    pub keys: Vec<(&'static str, Value<'a>)>,
    /// What the pairs are called: `fields`, `attributes` or `labels`.
    pub pairs_name: &'static str,
    /// Names and values that somebody else chose.
    pub pairs: &'a [(String, String)],
}

/// What a key says.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Any text.
    Text(Cow<'a, str>),
    /// A finite number, as JSON writes it.
    Number(String),
}

impl<'a> Record<'a> {
    /// A log line.
    pub fn log(line: &'a LogLine) -> Record<'a> {
        let mut record = Record::new(line.unix_us, Some(line.level), "log");
        record.text("target", &line.target);
        record.text("msg", &line.message);
        if let Some(span) = line.span {
            record.span_context(span);
        }
        record.with_pairs("fields", &line.fields)
    }

    /// A span.
    pub fn span(span: &'a Span) -> Record<'a> {
        let mut record = Record::new(span.unix_ns / 1000, None, "span");
        record.text("name", &span.name);
        record.keys.push(("duration_ms", Value::Number(millis(span.took_ns))));
        if let Some(error) = &span.error {
            record.text("error", error);
        }
        record.span_context(span.context);
        if let Some(parent) = span.parent {
            record.text("parent_id", format!("{parent:016x}"));
        }
        record.with_pairs("attributes", &span.attributes)
    }

    /// How a part of the database is at `unix_us`, and how it was.
    pub fn health(
        unix_us: u64,
        health: &'a ComponentHealth,
        was: Option<HealthState>,
    ) -> Record<'a> {
        let level = match health.state {
            HealthState::Healthy | HealthState::Starting => Level::Info,
            HealthState::Degraded => Level::Warn,
            HealthState::Failed => Level::Error,
        };
        let mut record = Record::new(unix_us, Some(level), "health");
        record.text("component", &health.component);
        record.text_unless_empty("name", &health.name);
        record.text("state", health.state.word());
        if let Some(was) = was {
            record.text("was", was.word());
        }
        record.text_unless_empty("why", &health.why);
        record
    }

    /// A metric's value at `unix_us`.
    pub fn metric(unix_us: u64, metric: &'a Metric) -> Record<'a> {
        let mut record = Record::new(unix_us, None, "metric");
        record.text("name", &metric.name);
        match &metric.value {
            MetricValue::Counter(total) => {
                record.text("type", "counter");
                record.number("value", *total);
            }
            MetricValue::Gauge(value) => {
                record.text("type", "gauge");
                record.number("value", *value);
            }
            MetricValue::Histogram(histogram) => {
                let count = histogram.counts.last().copied().unwrap_or(0);
                record.text("type", "histogram");
                record.keys.push(("count", Value::Number(count.to_string())));
                record.number("sum", histogram.sum);
                for (key, hundredths) in [("p50", 50), ("p90", 90), ("p99", 99)] {
                    if let Some(bound) = quantile(histogram, hundredths) {
                        record.number(key, bound);
                    }
                }
            }
        }
        record.with_pairs("labels", &metric.labels)
    }

    fn new(unix_us: u64, level: Option<Level>, kind: &'static str) -> Record<'a> {
        let mut record = Record { keys: Vec::with_capacity(10), pairs_name: "", pairs: &[] };
        record.text("time", time(unix_us));
        if let Some(level) = level {
            record.text("level", level.word());
        }
        record.text("kind", kind);
        record
    }

    fn with_pairs(mut self, name: &'static str, pairs: &'a [(String, String)]) -> Record<'a> {
        (self.pairs_name, self.pairs) = (name, pairs);
        self
    }

    fn text(&mut self, key: &'static str, text: impl Into<Cow<'a, str>>) {
        self.keys.push((key, Value::Text(text.into())));
    }

    fn text_unless_empty(&mut self, key: &'static str, text: &'a str) {
        if !text.is_empty() {
            self.text(key, text);
        }
    }

    /// A number; the three that are none are written as words.
    fn number(&mut self, key: &'static str, number: f64) {
        match number {
            f64::INFINITY => self.text(key, "+Inf"),
            f64::NEG_INFINITY => self.text(key, "-Inf"),
            number if number.is_nan() => self.text(key, "NaN"),
            number => self.keys.push((key, Value::Number(digits(number)))),
        }
    }

    fn span_context(&mut self, context: SpanContext) {
        self.text("trace_id", format!("{:032x}", context.trace_id));
        self.text("span_id", format!("{:016x}", context.span_id));
    }
}

/// RFC 3339 with six digits after the point; a time after the year 9999 is shown as its end.
fn time(unix_us: u64) -> String {
    let time = i64::try_from(unix_us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    format!("{:.6}", time.unwrap_or(Timestamp::MAX))
}

/// `ns` in milliseconds, without zeros at the end.
fn millis(ns: u64) -> String {
    let (whole, rest) = (ns / 1_000_000, ns % 1_000_000);
    match rest {
        0 => whole.to_string(),
        rest => format!("{whole}.{rest:06}").trim_end_matches('0').to_owned(),
    }
}

/// A finite number: a whole one without a point, a very large or small one with an exponent.
fn digits(number: f64) -> String {
    /// Below it every whole number is exact.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < WHOLE_MAX {
        return (number as i64).to_string();
    }
    format!("{number:?}")
}

/// The least bound that so many of a hundred observations lie at or below.
fn quantile(histogram: &Histogram, hundredths: u64) -> Option<f64> {
    let count = histogram.counts.last().copied().filter(|count| 0 < *count)?;
    let wanted = (u128::from(count) * u128::from(hundredths)).div_ceil(100);
    let mut buckets = histogram.bounds.iter().zip(&histogram.counts);
    buckets.find(|(_, below)| wanted <= u128::from(**below)).map(|(bound, _)| *bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_six_digits_and_end_with_the_year_9999() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(time(1_700_000_000_000_001), "2023-11-14T22:13:20.000001Z");
        assert!(time(u64::MAX).starts_with("9999-12-"), "{}", time(u64::MAX));
        assert_eq!(time(i64::MAX as u64), time(u64::MAX));
    }

    #[test]
    fn durations_are_exact_and_short() {
        for (ns, expected) in [
            (0, "0"),
            (1, "0.000001"),
            (500_000_000, "500"),
            (1_234_500, "1.2345"),
            (u64::MAX, "18446744073709.551615"),
        ] {
            assert_eq!(millis(ns), expected);
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        for (number, expected) in [
            (3.0, "3"),
            (-0.5, "-0.5"),
            (1e300, "1e300"),
            (1.5e-9, "1.5e-9"),
            (9_007_199_254_740_992.0, "9007199254740992.0"),
        ] {
            assert_eq!(digits(number), expected);
            assert_eq!(serde_json::from_str::<f64>(expected).unwrap(), number);
        }
    }

    #[test]
    fn a_quantile_is_a_bound_or_nothing() {
        let histogram = |bounds: &[f64], counts: &[u64]| Histogram {
            bounds: bounds.to_vec(),
            counts: counts.to_vec(),
            ..Histogram::default()
        };
        let spread = histogram(&[0.1, 1.0, 10.0], &[50, 90, 98, 100]);
        assert_eq!([50, 90, 99].map(|q| quantile(&spread, q)), [Some(0.1), Some(1.0), None]);
        let huge = histogram(&[0.1], &[u64::MAX, u64::MAX]);
        assert_eq!(quantile(&huge, 99), Some(0.1));
        for odd in [histogram(&[], &[]), histogram(&[1.0], &[]), histogram(&[1.0], &[0, 0])] {
            assert_eq!(quantile(&odd, 50), None);
        }
    }
}

//! Generated batches: each says the same when it is decoded.

use super::signals;
use crate::payload::Protocol;
use crate::tests::back::{logs_of, metrics_of, spans_of, texts};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use sochdb_guest::telemetry::Level;
use sochdb_guest::{Batch, Exemplar, Histogram, LogLine, Metric, MetricValue, Span, SpanContext};
use std::collections::BTreeMap;

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..6).prop_map(String::from_iter)
}

fn texts_of_keys() -> impl Strategy<Value = Vec<(String, String)>> {
    let key = prop::sample::select(vec!["a", "b", "tenant", "ü.x"]).prop_map(str::to_owned);
    prop::collection::btree_map(key, text(), 0..4).prop_map(|texts| texts.into_iter().collect())
}

fn any_context() -> impl Strategy<Value = SpanContext> {
    let ids = (1..=u128::MAX, 1..=u64::MAX);
    ids.prop_map(|(trace_id, span_id)| SpanContext { trace_id, span_id })
}

fn micros() -> impl Strategy<Value = u64> {
    0..u64::MAX / 1000
}

/// A batch whose numbers are of `number`.
fn batches<S: Strategy<Value = f64> + Clone + 'static>(number: S) -> impl Strategy<Value = Batch> {
    let name = prop::sample::select(vec!["a_total", "b_seconds", "c_bytes", "ü"]);
    let value = prop_oneof![
        number.clone().prop_map(|value| MetricValue::Counter(if value.is_nan() {
            0.0
        } else {
            value.abs()
        })),
        number.clone().prop_map(MetricValue::Gauge),
        histograms(number).prop_map(MetricValue::Histogram),
    ];
    let metric = (name, texts_of_keys(), value).prop_map(|(name, labels, value)| Metric {
        name: name.to_owned(),
        help: format!("What {name} is."),
        labels,
        value,
    });
    let span = (
        any_context(),
        any::<Option<u64>>(),
        text(),
        any::<u32>(),
        any::<u32>(),
        texts_of_keys(),
        prop::option::of(text()),
    );
    let span = span.prop_map(|(context, parent, name, began, took, attributes, error)| {
        let (unix_ns, took_ns) = (u64::from(began) << 30, u64::from(took));
        Span { context, parent, name, unix_ns, took_ns, attributes, error }
    });
    let levels = vec![Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
    let level = prop::sample::select(levels);
    let line = (micros(), level, text(), text(), texts_of_keys(), prop::option::of(any_context()));
    let line = line.prop_map(|(unix_us, level, target, message, fields, span)| LogLine {
        unix_us,
        level,
        target,
        message,
        fields,
        span,
    });
    let metrics = prop::collection::vec(metric, 0..8);
    let (spans, lines) = (prop::collection::vec(span, 0..4), prop::collection::vec(line, 0..4));
    let parts = (micros(), micros(), texts_of_keys(), metrics, spans, lines);
    parts.prop_map(|(unix_us, since_unix_us, resource, metrics, spans, logs)| Batch {
        unix_us,
        since_unix_us,
        resource,
        metrics,
        spans,
        logs,
        health: Vec::new(),
    })
}

fn histograms<S: Strategy<Value = f64> + Clone>(number: S) -> impl Strategy<Value = Histogram> {
    let exemplar = (number.clone(), micros(), any_context());
    let exemplar = exemplar.prop_map(|(value, unix_us, span)| Exemplar { value, unix_us, span });
    let bounds = prop::collection::vec(number.clone(), 0..4);
    let exemplars = prop::collection::vec(exemplar, 0..3);
    let parts = (bounds, prop::collection::vec(any::<u64>(), 5), number, exemplars);
    parts.prop_map(|(mut bounds, mut counts, sum, exemplars)| {
        bounds.retain(|bound| bound.is_finite());
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        counts.truncate(bounds.len() + 1);
        counts.sort();
        let is_said = sum >= 0.0 && bounds.iter().all(|bound| *bound >= 0.0);
        Histogram { bounds, counts, sum: if is_said { sum } else { f64::NAN }, exemplars }
    })
}

/// What a batch says, as text: NaN equals itself there, and the order of the metrics is that of the text.
fn said(mut metrics: Vec<Metric>, spans: &[Span], logs: &[LogLine]) -> String {
    metrics.sort_by_key(|metric| format!("{metric:?}"));
    format!("{metrics:#?}\n{spans:#?}\n{logs:#?}")
}

fn is_said(batch: Batch, protocol: Protocol) -> TestCaseResult {
    let expected = said(batch.metrics.clone(), &batch.spans, &batch.logs);
    let (metrics, traces, logs) = signals(batch.clone(), protocol);
    prop_assert_eq!(said(metrics_of(&metrics), &spans_of(&traces), &logs_of(&logs)), expected);
    let resource = batch.resource.into_iter().collect::<BTreeMap<_, _>>();
    for part in &metrics.resource_metrics {
        prop_assert_eq!(&texts(&part.resource.as_ref().expect("it has one").attributes), &resource);
        for scope in &part.scope_metrics {
            prop_assert_eq!(&scope.scope.as_ref().expect("it has one").name, "sochdb");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn protobuf_says_what_the_batch_says(batch in batches(any::<f64>())) {
        is_said(batch, Protocol::Protobuf)?;
    }

    /// Numbers that the JSON reader of the test reads exactly.
    #[test]
    fn json_says_what_the_batch_says(batch in batches(any::<i16>().prop_map(|value| f64::from(value) / 16.0))) {
        is_said(batch, Protocol::Json)?;
    }
}

//! Pages as they are, and read back by a strict reader and by one of somebody else.

use super::reader::{Read, read};
use super::*;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use sochdb_guest::{Metric, SpanContext, test_batch};
use std::collections::BTreeMap;

fn metric(name: &str, labels: &[(&str, &str)], value: MetricValue) -> Metric {
    Metric {
        name: name.to_owned(),
        help: format!("What {name} counts."),
        labels: labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect(),
        value,
    }
}

fn seconds(bounds: &[f64], counts: &[u64], exemplars: &[(f64, u128)]) -> MetricValue {
    let exemplar = |&(value, trace_id): &(f64, u128)| Exemplar {
        value,
        unix_us: 1_700_000_000_000_042,
        span: SpanContext { trace_id, span_id: 0xabc },
    };
    let exemplars = exemplars.iter().map(exemplar).collect();
    let (bounds, counts) = (bounds.to_vec(), counts.to_vec());
    MetricValue::Histogram(Histogram { bounds, counts, sum: 0.75, exemplars })
}

/// The page without what is always there: the family of what was left out.
fn shown(metrics: &[Metric], format: Format) -> String {
    let page = page(&Families::new(metrics.to_vec()), "", format);
    read(&page, format).expect("a strict reader takes it");
    let lines = page.lines().filter(|line| !line.contains("prometheus_skipped_metrics"));
    lines.map(|line| format!("{line}\n")).collect()
}

fn check_text(metrics: &[Metric], expected: Expect) {
    expected.assert_eq(&shown(metrics, Format::Text));
}

fn check_openmetrics(metrics: &[Metric], expected: Expect) {
    expected.assert_eq(&shown(metrics, Format::OpenMetrics));
}

#[test]
fn series_of_one_name_stand_together() {
    let metrics = [
        metric("b_total", &[("kind", "put")], MetricValue::Counter(7.0)),
        metric("a", &[], MetricValue::Gauge(-0.5)),
        metric("b_total", &[("kind", "delete")], MetricValue::Counter(9_007_199_254_740_991.0)),
    ];
    check_text(
        &metrics,
        expect![[r#"
            # HELP a What a counts.
            # TYPE a gauge
            a -0.5
            # HELP b_total What b_total counts.
            # TYPE b_total counter
            b_total{kind="put"} 7
            b_total{kind="delete"} 9007199254740991
        "#]],
    );
    check_openmetrics(
        &metrics,
        expect![[r#"
            # TYPE a gauge
            # HELP a What a counts.
            a -0.5
            # TYPE b counter
            # HELP b What b_total counts.
            b_total{kind="put"} 7
            b_total{kind="delete"} 9007199254740991
            # EOF
        "#]],
    );
}

#[test]
fn a_histogram_is_buckets_sum_and_count() {
    let metrics = [
        metric("sync_seconds", &[("file", "log")], seconds(&[0.001, 1.0], &[1, 3, 4], &[])),
        metric("wait_seconds", &[], seconds(&[], &[0], &[])),
    ];
    check_text(
        &metrics,
        expect![[r#"
            # HELP sync_seconds What sync_seconds counts.
            # TYPE sync_seconds histogram
            sync_seconds_bucket{file="log",le="0.001"} 1
            sync_seconds_bucket{file="log",le="1"} 3
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
fn openmetrics_has_units_and_exemplars_behind_the_buckets_that_count_them() {
    check_openmetrics(
        &[
            metric(
                "sync_seconds",
                &[("file", "log")],
                seconds(&[0.001, 1.0], &[1, 3, 4], &[(0.001, 1), (0.5, 0), (2.0, 0x42 << 64)]),
            ),
            metric("read_bytes_total", &[], MetricValue::Counter(3.0)),
        ],
        expect![[r#"
            # TYPE read_bytes counter
            # UNIT read_bytes bytes
            # HELP read_bytes What read_bytes_total counts.
            read_bytes_total 3
            # TYPE sync_seconds histogram
            # UNIT sync_seconds seconds
            # HELP sync_seconds What sync_seconds counts.
            sync_seconds_bucket{file="log",le="0.001"} 1 # {trace_id="00000000000000000000000000000001",span_id="0000000000000abc"} 0.001 1700000000.000042
            sync_seconds_bucket{file="log",le="1.0"} 3
            sync_seconds_bucket{file="log",le="+Inf"} 4 # {trace_id="00000000000000420000000000000000",span_id="0000000000000abc"} 2 1700000000.000042
            sync_seconds_sum{file="log"} 0.75
            sync_seconds_count{file="log"} 4
            # EOF
        "#]],
    );
}

#[test]
fn openmetrics_has_no_sum_of_what_may_be_below_zero() {
    check_openmetrics(
        &[metric("drift", &[], seconds(&[-1.0, 1.0], &[1, 2, 2], &[]))],
        expect![[r#"
            # TYPE drift histogram
            # HELP drift What drift counts.
            drift_bucket{le="-1.0"} 1
            drift_bucket{le="1.0"} 2
            drift_bucket{le="+Inf"} 2
            # EOF
        "#]],
    );
}

#[test]
fn openmetrics_calls_a_counter_unknown_when_its_family_is_another() {
    check_openmetrics(
        &[
            metric("held_bytes_total", &[], MetricValue::Counter(2.0)),
            metric("held_bytes", &[], MetricValue::Gauge(1.0)),
            metric("odd", &[], MetricValue::Counter(3.0)),
        ],
        expect![[r#"
            # TYPE held_bytes gauge
            # UNIT held_bytes bytes
            # HELP held_bytes What held_bytes counts.
            held_bytes 1
            # TYPE held_bytes_total unknown
            # HELP held_bytes_total What held_bytes_total counts.
            held_bytes_total 2
            # TYPE odd counter
            # HELP odd What odd counts.
            odd_total 3
            # EOF
        "#]],
    );
}

#[test]
fn texts_are_escaped_and_odd_numbers_spelt() {
    let mut odd = metric("odd", &[("path", "C:\\\"x\"\nü")], MetricValue::Gauge(f64::INFINITY));
    odd.help = "Two\nlines, one \\ and \"quotes\".".to_owned();
    let gauge = |name: &str, value| {
        let gauge = metric(name, &[], MetricValue::Gauge(value));
        Metric { help: String::new(), ..gauge }
    };
    let metrics = [
        odd,
        gauge("nan", f64::NAN),
        gauge("large", 1.5e300),
        gauge("small", -5e-300),
        gauge("zero", 0.0),
    ];
    check_text(
        &metrics,
        expect![[r#"
            # TYPE large gauge
            large 1.5e300
            # TYPE nan gauge
            nan NaN
            # HELP odd Two\nlines, one \\ and "quotes".
            # TYPE odd gauge
            odd{path="C:\\\"x\"\nü"} +Inf
            # TYPE small gauge
            small -5e-300
            # TYPE zero gauge
            zero 0
        "#]],
    );
    check_openmetrics(
        &metrics[..1],
        expect![[r#"
            # TYPE odd gauge
            # HELP odd Two\nlines, one \\ and \"quotes\".
            odd{path="C:\\\"x\"\nü"} +Inf
            # EOF
        "#]],
    );
}

#[test]
fn what_was_left_out_is_on_the_page() {
    let bad = metric("1", &[], MetricValue::Counter(1.0));
    let families = Families::new(vec![bad.clone(), bad]);
    expect![[r##"
        # TYPE my_prometheus_skipped_metrics gauge
        # HELP my_prometheus_skipped_metrics Metrics of the newest batch that are not on this page.
        my_prometheus_skipped_metrics{reason="name"} 2
        my_prometheus_skipped_metrics{reason="label"} 0
        my_prometheus_skipped_metrics{reason="value"} 0
        my_prometheus_skipped_metrics{reason="clash"} 0
        my_prometheus_skipped_metrics{reason="duplicate"} 0
        # EOF
    "##]]
    .assert_eq(&page(&families, "my_", Format::OpenMetrics));
}

#[test]
fn bounds_are_spelt_as_go_does() {
    let spelt: Vec<_> = (-10..=10).map(|power| GoNumber(10_f64.powi(power)).to_string()).collect();
    expect![
        "1e-10 1e-09 1e-08 1e-07 1e-06 1e-05 0.0001 0.001 0.01 0.1 1.0 10.0 100.0 1000.0 10000.0 100000.0 1e+06 1e+07 1e+08 1e+09 1e+10"
    ]
    .assert_eq(&spelt.join(" "));
    let odd = [0.0, -2.5, 1_234_567.5, 1e300, f64::INFINITY, 0.000_012_5];
    let odd: Vec<_> = odd.map(|value| GoNumber(value).to_string()).into();
    expect!["0.0 -2.5 1.2345675e+06 1e+300 +Inf 1.25e-05"].assert_eq(&odd.join(" "));
}

#[test]
fn the_reader_refuses_what_is_no_page() {
    let good = "# TYPE a counter\na_total{x=\"1\"} 1\n# EOF\n";
    read(good, Format::OpenMetrics).expect("nothing is wrong");
    for broken in [
        good.replace("# EOF\n", ""),
        good.replace("a_total", "a"),
        good.replace("counter", "untyped"),
        good.replace("x=\"1\"", "x=\"1\",x=\"2\""),
        good.replace("\"1\"", "\"\\t\""),
        good.replace("} 1", "}  1"),
        good.replace("} 1", "} 1.2.3"),
        good.replace("} 1", "} -1"),
        good.replace("# TYPE", "# UNIT a seconds\n# TYPE"),
        good.replace("# EOF", "# TYPE a gauge\na 1\n# EOF"),
        good.replace("# EOF", "a_total{x=\"1\"} 1\n# EOF"),
        good.replace("# EOF", "\n# EOF"),
    ] {
        assert!(read(&broken, Format::OpenMetrics).is_err(), "{broken}");
    }
}

/// Few names, so that they meet, and values with everything that wants escaping.
fn metrics() -> impl Strategy<Value = Vec<Metric>> {
    let name = prop::sample::select(vec![
        "a",
        "a_total",
        "a_seconds",
        "a_seconds_total",
        "a_seconds_count",
        "a_created",
        "b_bytes",
        "b_bytes_total",
        "b_bytes_bucket",
        "c:total",
        "_total",
        "c d",
        "prometheus_skipped_metrics",
    ]);
    let text = || {
        let char = prop_oneof![
            prop::sample::select("\\\"\n\r\t,={}# é".chars().collect::<Vec<_>>()),
            any::<char>()
        ];
        prop::collection::vec(char, 0..6).prop_map(String::from_iter)
    };
    let label = (prop::sample::select(vec!["x", "y", "z", "le", "__x"]), text());
    let labels =
        prop::collection::vec(label.prop_map(|(name, value)| (name.to_owned(), value)), 0..3);
    let value = prop_oneof![
        any::<f64>().prop_map(MetricValue::Counter),
        any::<f64>().prop_map(MetricValue::Gauge),
        histogram().prop_map(MetricValue::Histogram),
    ];
    let metric = (name.prop_map(str::to_owned), text(), labels, value);
    let metric =
        metric.prop_map(|(name, help, labels, value)| Metric { name, help, labels, value });
    prop::collection::vec(metric, 0..20)
}

fn histogram() -> impl Strategy<Value = Histogram> {
    let exemplar = (any::<f64>(), any::<u64>(), 0..3_u128, 0..3_u64);
    let exemplar = exemplar.prop_map(|(value, unix_us, trace_id, span_id)| Exemplar {
        value,
        unix_us,
        span: SpanContext { trace_id, span_id },
    });
    let bounds = prop::collection::vec(any::<f64>(), 0..4);
    let exemplars = prop::collection::vec(exemplar, 0..3);
    let parts = (bounds, prop::collection::vec(any::<u32>(), 5), any::<f64>(), exemplars);
    parts.prop_map(|(mut bounds, counts, sum, exemplars)| {
        bounds.retain(|bound| bound.is_finite());
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        let mut counts: Vec<_> = counts[..=bounds.len()].iter().copied().map(u64::from).collect();
        counts.sort();
        Histogram { bounds, counts, sum, exemplars }
    })
}

/// Every sample of `families`, as name, labels and value.
fn samples(families: &Families, format: Format) -> Vec<(String, BTreeMap<String, String>, f64)> {
    let mut samples = Vec::new();
    for (name, family) in &families.by_name {
        for Metric { labels, value, .. } in &family.series {
            let labels: BTreeMap<_, _> = labels.iter().cloned().collect();
            let mut push = |name: String, value| samples.push((name, labels.clone(), value));
            match value {
                MetricValue::Counter(value) => match (&family.stem, format) {
                    (Some(stem), Format::OpenMetrics) => push(format!("{stem}_total"), *value),
                    _ => push(name.clone(), *value),
                },
                MetricValue::Gauge(value) => push(name.clone(), *value),
                MetricValue::Histogram(Histogram { bounds, counts, sum, .. }) => {
                    for (bound, count) in bounds.iter().chain([&f64::INFINITY]).zip(counts) {
                        let mut labels = labels.clone();
                        let le = match format {
                            Format::Text => Number(*bound).to_string(),
                            Format::OpenMetrics => GoNumber(*bound).to_string(),
                        };
                        assert_eq!(le.parse(), Ok(*bound));
                        labels.insert("le".to_owned(), le);
                        samples.push((format!("{name}_bucket"), labels, *count as f64));
                    }
                    let grows = *sum >= 0.0 && bounds.iter().all(|bound| *bound >= 0.0);
                    if format == Format::Text || grows {
                        samples.push((format!("{name}_sum"), labels.clone(), *sum));
                        samples.push((
                            format!("{name}_count"),
                            labels,
                            counts[bounds.len()] as f64,
                        ));
                    }
                }
            }
        }
    }
    samples
}

proptest! {
    #[test]
    fn a_strict_reader_reads_back_what_was_shown(metrics in metrics()) {
        let families = Families::new(metrics.clone());
        for format in [Format::Text, Format::OpenMetrics] {
            let page = page(&families, "", format);
            let families: Vec<Read> = read(&page, format).map_err(TestCaseError::fail)?;
            let found = families.iter().flat_map(|family| &family.samples);
            let found = found.map(|sample| (sample.name.clone(), sample.labels.clone(), sample.value));
            // Debug spells every number differently but for NaN, which equals nothing.
            let expected = samples(&Families::new(metrics.clone()), format);
            prop_assert_eq!(format!("{:?}", found.collect::<Vec<_>>()), format!("{expected:?}"));
        }
    }

    #[test]
    fn each_metric_is_shown_or_counted_as_left_out(metrics in metrics()) {
        let families = Families::new(metrics.clone());
        let own = &families.by_name["prometheus_skipped_metrics"];
        let skipped = own.series.iter().map(|metric| match metric.value {
            MetricValue::Gauge(count) => count as usize,
            _ => 0,
        });
        let shown: usize = families.by_name.values().map(|family| family.series.len()).sum();
        prop_assert_eq!(skipped.sum::<usize>() + shown - own.series.len(), metrics.len());
    }
}

/// Somebody else's reader, which takes label values apart at commas, equals signs and braces, so that there
/// are none here, and leaves backslashes as they are.
#[test]
fn another_reader_reads_the_same_from_the_text_format() {
    use prometheus_parse::{Scrape, Value};

    let texts = ["plain", "with spaces # and {", "ü € 語", "C:\\dir", "two\nlines"];
    let mut metrics = vec![metric("none_total", &[], MetricValue::Counter(0.0))];
    for (at, text) in texts.into_iter().enumerate() {
        let (value, labels) = (1e10_f64.powi(at as i32) / 3.0, [("kind", text), ("at", "x")]);
        metrics.push(metric("some_total", &labels, MetricValue::Counter(value)));
        metrics.push(metric("level", &labels, MetricValue::Gauge(-value)));
        metrics.push(metric(
            "sync_seconds",
            &labels,
            seconds(&[0.001, 1.0, 1e7], &[1, 3, 4, 9], &[]),
        ));
    }
    metrics.extend(test_batch().metrics);
    let families = Families::new(metrics);
    let page = page(&families, "", Format::Text);
    let scrape = Scrape::parse(page.lines().map(|line| Ok(line.to_owned()))).unwrap();

    let mut found = Vec::new();
    for sample in scrape.samples {
        let labels: BTreeMap<_, _> =
            sample.labels.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let mut push =
            |name: String, value: f64| found.push((name, labels.clone(), value.to_string()));
        match sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => {
                push(sample.metric, value)
            }
            Value::Histogram(buckets) => {
                for bucket in buckets {
                    push(format!("{} up to {}", sample.metric, bucket.less_than), bucket.count);
                }
            }
            Value::Summary(_) => panic!("there is none"),
        }
    }
    let as_read = |(mut name, mut labels, value): (String, BTreeMap<String, String>, f64)| {
        if let Some(le) = labels.remove("le") {
            let le: f64 = le.parse().unwrap();
            name = format!("{} up to {le}", name.strip_suffix("_bucket").unwrap());
        }
        for value in labels.values_mut() {
            *value = Escaped { text: value, quotes: true }.to_string();
            *value = value.trim_matches('"').to_owned();
        }
        (name, labels, value.to_string())
    };
    let mut expected: Vec<_> = samples(&families, Format::Text).into_iter().map(as_read).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(scrape.docs["some_total"], "What some_total counts.");
}

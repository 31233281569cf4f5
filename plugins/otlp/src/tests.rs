//! Payloads, decoded by the crate `opentelemetry-proto`, which knows nothing of our messages.

mod back;
mod generated;

use super::*;
use crate::payload::each;
use back::{metrics_of, texts};
use expect_test::{Expect, expect};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest as Logs;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest as Metrics;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as Traces;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
use serde::de::DeserializeOwned;
use sochdb_guest::outbox::{Sent, sent};
use sochdb_guest::{Histogram, LogLine, Metric, MetricValue};
use std::convert::Infallible;

const PROTOCOLS: [Protocol; 2] = [Protocol::Protobuf, Protocol::Json];

fn settings(protocol: Protocol) -> Settings {
    Settings {
        endpoint: "http://127.0.0.1:4318".to_owned(),
        protocol,
        headers: Vec::new(),
        resource: Vec::new(),
        metrics: true,
        traces: true,
        logs: true,
    }
}

/// What is sent of `batch`.
fn ingest(settings: Settings, batch: Batch) -> Vec<Sent> {
    sent();
    let mut otlp = Otlp::new(settings);
    otlp.ingest(batch).expect("everything is taken outside WebAssembly");
    sent()
}

fn decode<M: prost::Message + Default + DeserializeOwned>(body: &[u8], protocol: Protocol) -> M {
    match protocol {
        Protocol::Protobuf => M::decode(body).expect("it is Protobuf"),
        Protocol::Json => serde_json::from_slice(body).expect("it is JSON"),
    }
}

/// The three signals of `batch`, empty where nothing was sent.
fn signals(batch: Batch, protocol: Protocol) -> (Metrics, Traces, Logs) {
    let mut signals = (Metrics::default(), Traces::default(), Logs::default());
    for Sent { url, body, .. } in ingest(settings(protocol), batch) {
        match url.as_str() {
            "http://127.0.0.1:4318/v1/metrics" => signals.0 = decode(&body, protocol),
            "http://127.0.0.1:4318/v1/traces" => signals.1 = decode(&body, protocol),
            "http://127.0.0.1:4318/v1/logs" => signals.2 = decode(&body, protocol),
            other => panic!("it was sent to {other}"),
        }
    }
    signals
}

fn check(path: &str, expected: Expect) {
    let sent = ingest(settings(Protocol::Json), test_batch());
    let payload = sent.iter().find(|sent| sent.url.ends_with(path)).expect("it was sent");
    let json: serde_json::Value = serde_json::from_slice(&payload.body).unwrap();
    let page = format!("{json:#}\n").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    expected.assert_eq(&page);
}

#[test]
fn a_log_line_is_a_log_record() {
    check(
        "/v1/logs",
        expect![[r#"
        {
          "resourceLogs": [
            {
              "resource": {
                "attributes": [
                  {
                    "key": "service.name",
                    "value": {
                      "stringValue": "self-test"
                    }
                  }
                ]
              },
              "scopeLogs": [
                {
                  "scope": {
                    "name": "sochdb",
                    "version": "VERSION"
                  },
                  "logRecords": [
                    {
                      "timeUnixNano": "1700000000000000000",
                      "observedTimeUnixNano": "1700000000000000000",
                      "severityNumber": 9,
                      "severityText": "info",
                      "body": {
                        "stringValue": "a \"line\"\n"
                      },
                      "attributes": [
                        {
                          "key": "target",
                          "value": {
                            "stringValue": "self-test"
                          }
                        },
                        {
                          "key": "rows",
                          "value": {
                            "stringValue": "3"
                          }
                        }
                      ],
                      "traceId": "00000000000012340000000000005678",
                      "spanId": "0000000000009abc"
                    }
                  ]
                }
              ]
            }
          ]
        }
    "#]],
    );
}

#[test]
fn a_span_is_a_span() {
    check(
        "/v1/traces",
        expect![[r#"
        {
          "resourceSpans": [
            {
              "resource": {
                "attributes": [
                  {
                    "key": "service.name",
                    "value": {
                      "stringValue": "self-test"
                    }
                  }
                ]
              },
              "scopeSpans": [
                {
                  "scope": {
                    "name": "sochdb",
                    "version": "VERSION"
                  },
                  "spans": [
                    {
                      "traceId": "00000000000012340000000000005678",
                      "spanId": "0000000000009abc",
                      "name": "commit",
                      "kind": 1,
                      "startTimeUnixNano": "1700000000000000000",
                      "endTimeUnixNano": "1700000000500000000",
                      "attributes": [
                        {
                          "key": "db.operation.name",
                          "value": {
                            "stringValue": "commit"
                          }
                        }
                      ],
                      "status": {
                        "message": "no \"room\"\n",
                        "code": 2
                      }
                    }
                  ]
                }
              ]
            }
          ]
        }
    "#]],
    );
}

#[test]
fn metrics_are_sums_gauges_and_histograms() {
    check(
        "/v1/metrics",
        expect![[r#"
        {
          "resourceMetrics": [
            {
              "resource": {
                "attributes": [
                  {
                    "key": "service.name",
                    "value": {
                      "stringValue": "self-test"
                    }
                  }
                ]
              },
              "scopeMetrics": [
                {
                  "scope": {
                    "name": "sochdb",
                    "version": "VERSION"
                  },
                  "metrics": [
                    {
                      "name": "sochdb_self_test_total",
                      "description": "Part of a self-test.",
                      "unit": "1",
                      "sum": {
                        "dataPoints": [
                          {
                            "startTimeUnixNano": "1600000000000000000",
                            "timeUnixNano": "1700000000000000000",
                            "asInt": "1",
                            "attributes": [
                              {
                                "key": "part",
                                "value": {
                                  "stringValue": "self \"test\"\n"
                                }
                              }
                            ]
                          }
                        ],
                        "aggregationTemporality": 2,
                        "isMonotonic": true
                      }
                    },
                    {
                      "name": "sochdb_self_test",
                      "description": "Part of a self-test.",
                      "unit": "1",
                      "gauge": {
                        "dataPoints": [
                          {
                            "startTimeUnixNano": "0",
                            "timeUnixNano": "1700000000000000000",
                            "asDouble": 0.5,
                            "attributes": [
                              {
                                "key": "part",
                                "value": {
                                  "stringValue": "self \"test\"\n"
                                }
                              }
                            ]
                          }
                        ]
                      }
                    },
                    {
                      "name": "sochdb_self_test_seconds",
                      "description": "Part of a self-test.",
                      "unit": "s",
                      "histogram": {
                        "dataPoints": [
                          {
                            "startTimeUnixNano": "1600000000000000000",
                            "timeUnixNano": "1700000000000000000",
                            "count": "3",
                            "sum": 4.2,
                            "bucketCounts": [
                              "1",
                              "1",
                              "1"
                            ],
                            "explicitBounds": [
                              0.1,
                              1.0
                            ],
                            "exemplars": [
                              {
                                "timeUnixNano": "1700000000000000000",
                                "asDouble": 0.5,
                                "spanId": "0000000000009abc",
                                "traceId": "00000000000012340000000000005678"
                              }
                            ],
                            "attributes": [
                              {
                                "key": "part",
                                "value": {
                                  "stringValue": "self \"test\"\n"
                                }
                              }
                            ]
                          }
                        ],
                        "aggregationTemporality": 2
                      }
                    }
                  ]
                }
              ]
            }
          ]
        }
    "#]],
    );
}

#[test]
fn both_encodings_say_the_same() {
    assert_eq!(signals(test_batch(), Protocol::Protobuf), signals(test_batch(), Protocol::Json));
}

#[test]
fn the_self_test_passes_and_sends_nothing() {
    for protocol in PROTOCOLS {
        let mut otlp = Otlp::new(settings(protocol));
        otlp.self_test().expect("what is encoded says the same");
    }
    assert_eq!(sent(), []);
}

#[test]
fn payloads_go_to_the_signals_addresses_with_the_headers() {
    for (protocol, content_type) in
        [(Protocol::Protobuf, "application/x-protobuf"), (Protocol::Json, "application/json")]
    {
        let headers = settings::headers("api-key=secret").unwrap();
        let endpoint = settings::endpoint("http://collector:4318/otlp/");
        let sent = ingest(Settings { endpoint, headers, ..settings(protocol) }, test_batch());
        let urls: Vec<_> = sent.iter().map(|sent| sent.url.as_str()).collect();
        let paths = ["/v1/metrics", "/v1/traces", "/v1/logs"];
        assert_eq!(urls, paths.map(|path| format!("http://collector:4318/otlp{path}")));
        let headers = [("content-type", content_type), ("api-key", "secret")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert!(sent.iter().all(|sent| sent.headers == headers));
    }
}

#[test]
fn nothing_is_sent_of_what_is_empty_or_switched_off() {
    for protocol in PROTOCOLS {
        assert_eq!(ingest(settings(protocol), Batch::default()), []);
        let off = Settings { metrics: false, logs: false, ..settings(protocol) };
        let sent = ingest(off.clone(), test_batch());
        assert_eq!(sent.len(), 1);
        assert!(sent[0].url.ends_with("/v1/traces"));
        assert_eq!(ingest(Settings { traces: false, ..off }, test_batch()), []);
    }
}

#[test]
fn the_settings_resource_wins() {
    let resource = settings::pairs("resource", "service.name=shop,team=a").unwrap();
    let mut sent = ingest(Settings { resource, ..settings(Protocol::Json) }, test_batch());
    let logs: Logs = decode(&sent.pop().expect("three").body, Protocol::Json);
    let attributes = &logs.resource_logs[0].resource.as_ref().unwrap().attributes;
    let expected = [("service.name", "shop"), ("team", "a")];
    assert_eq!(
        texts(attributes),
        expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    );
}

fn metric(name: &str, labels: &[(&str, &str)], value: MetricValue) -> Metric {
    let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Metric { name: name.to_owned(), help: String::new(), labels, value }
}

#[test]
fn a_counter_is_an_integer_if_it_is_whole_and_no_time() {
    let exact = (1_u64 << 53) as f64;
    let counter = |name: &str, total| metric(name, &[], MetricValue::Counter(total));
    let metrics = vec![
        counter("a_bytes_total", exact),
        counter("b_seconds_total", 2.0),
        counter("c_total", 0.5),
        counter("d_total", exact * 2.0),
        counter("e_total", f64::INFINITY),
    ];
    let metrics = signals(Batch { metrics, ..Batch::default() }, Protocol::Protobuf).0;
    let points = metrics.resource_metrics[0].scope_metrics[0].metrics.iter().map(|metric| {
        let Some(Data::Sum(sum)) = &metric.data else { panic!("it is a sum") };
        assert!(sum.is_monotonic);
        (metric.unit.as_str(), sum.data_points[0].value.expect("it has one"))
    });
    use number_data_point::Value::{AsDouble, AsInt};
    let expected = [
        ("By", AsInt(1 << 53)),
        ("s", AsDouble(2.0)),
        ("1", AsDouble(0.5)),
        ("1", AsDouble(exact * 2.0)),
        ("1", AsDouble(f64::INFINITY)),
    ];
    assert_eq!(points.collect::<Vec<_>>(), expected);
}

#[test]
fn a_metric_that_says_nothing_is_left_out_alone() {
    let times = Times { since: 1, now: 2 };
    let histogram = |bounds: &[f64], counts: &[u64]| {
        let (bounds, counts) = (bounds.to_vec(), counts.to_vec());
        MetricValue::Histogram(Histogram { bounds, counts, sum: 1.0, exemplars: Vec::new() })
    };
    let one = MetricValue::Counter(1.0);
    for wrong in [
        metric("", &[], one.clone()),
        metric("a", &[("x", "1"), ("x", "2")], one.clone()),
        metric("a", &[("", "1")], one.clone()),
        metric("a", &[], MetricValue::Counter(-1.0)),
        metric("a", &[], MetricValue::Counter(f64::NAN)),
        metric("a", &[], histogram(&[], &[])),
        metric("a", &[], histogram(&[1.0], &[1])),
        metric("a", &[], histogram(&[1.0, 1.0], &[1, 2, 3])),
        metric("a", &[], histogram(&[f64::INFINITY], &[1, 2])),
        metric("a", &[], histogram(&[1.0], &[2, 1])),
    ] {
        let metrics = vec![wrong.clone(), metric("b", &[], one.clone())];
        let (request, skipped) = encode::metrics(metrics, times, &messages::Resource::default());
        let shown =
            request.expect("the other is shown").resource_metrics.remove(0).scope_metrics.remove(0);
        assert_eq!((shown.metrics.len(), skipped), (1, 1), "{wrong:?}");
        let (request, skipped) =
            encode::metrics(vec![wrong], times, &messages::Resource::default());
        assert_eq!((request, skipped), (None, 1));
    }
}

#[test]
fn one_name_with_two_types_is_two_metrics() {
    let metrics = vec![
        metric("a", &[("x", "1")], MetricValue::Counter(1.0)),
        metric("a", &[], MetricValue::Gauge(1.0)),
        metric("a", &[("x", "2")], MetricValue::Counter(1.0)),
    ];
    let metrics = signals(Batch { metrics, ..Batch::default() }, Protocol::Protobuf).0;
    let points = metrics.resource_metrics[0].scope_metrics[0].metrics.iter().map(|metric| {
        match metric.data.as_ref().expect("it has some") {
            Data::Sum(sum) => ("sum", sum.data_points.len()),
            Data::Gauge(gauge) => ("gauge", gauge.data_points.len()),
            _ => panic!("there is none"),
        }
    });
    assert_eq!(points.collect::<Vec<_>>(), [("sum", 2), ("gauge", 1)]);
}

#[test]
fn attributes_with_one_key_are_dropped_and_counted() {
    let mut batch = test_batch();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    batch.logs[0].fields =
        vec![pair("target", "x"), pair("rows", "1"), pair("rows", "2"), pair("", "3")];
    let logs = signals(batch, Protocol::Json).2;
    let record = &logs.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(record.dropped_attributes_count, 3);
    assert_eq!(texts(&record.attributes), [pair("target", "self-test"), pair("rows", "1")].into());
}

#[test]
fn json_spells_what_is_no_number_as_text() {
    let gauges = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -0.5];
    let metrics = gauges.map(|value| metric("a", &[], MetricValue::Gauge(value))).into();
    let sent = ingest(settings(Protocol::Json), Batch { metrics, ..Batch::default() });
    let json: serde_json::Value = serde_json::from_slice(&sent[0].body).unwrap();
    let points =
        &json["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["gauge"]["dataPoints"];
    let points = points.as_array().unwrap().iter().map(|point| point["asDouble"].to_string());
    expect![[r#""NaN" "Infinity" "-Infinity" 1e+300 -0.5"#]]
        .assert_eq(&points.collect::<Vec<_>>().join(" "));
}

#[test]
fn a_request_that_is_too_large_is_halved_until_its_parts_fit() {
    let labels = |at: usize| (format!("part{at}"), "x".repeat(at));
    let metrics: Vec<_> = (0..40)
        .map(|at| {
            let name = if at < 25 { "many".to_owned() } else { format!("few{at}") };
            Metric { labels: vec![labels(at)], ..metric(&name, &[], MetricValue::Gauge(at as f64)) }
        })
        .collect();
    let times = Times { since: 1, now: 2 };
    let resource = encode::resource(vec![labels(3)], &[]);
    for protocol in PROTOCOLS {
        let request = encode::metrics(metrics.clone(), times, &resource).0.unwrap();
        let whole = protocol.encode(&request, usize::MAX).unwrap().len();
        for bytes_max in [whole, whole - 1, whole / 2, 600, 500] {
            let mut parts = Vec::new();
            let too_large = each(request.clone(), protocol, bytes_max, |bytes| {
                assert!(bytes.len() <= bytes_max);
                parts.push(decode::<Metrics>(bytes, protocol));
                Ok::<_, Infallible>(())
            });
            assert_eq!(too_large, Ok(0), "{protocol:?} {bytes_max}");
            assert_eq!(parts.len() == 1, bytes_max == whole);
            let values = parts.iter().flat_map(metrics_of).map(|metric| metric.value);
            let expected = metrics.iter().map(|metric| metric.value.clone());
            assert_eq!(values.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            let of_one = parts.iter().all(|part| {
                let resource = part.resource_metrics[0].resource.as_ref().unwrap();
                texts(&resource.attributes) == [labels(3)].into()
            });
            assert!(of_one, "each part says what it is about");
        }
    }
}

#[test]
fn what_is_too_large_alone_is_counted() {
    let line = |message: String| LogLine { message, ..test_batch().logs.remove(0) };
    let lines = ["a".repeat(10), "b".repeat(2000), "c".repeat(10)].map(line);
    let times = Times { since: 1, now: 2 };
    for protocol in PROTOCOLS {
        let request = encode::logs(lines.to_vec(), times, &messages::Resource::default()).unwrap();
        let mut parts = 0;
        let too_large = each(request.clone(), protocol, 1000, |_| {
            parts += 1;
            Ok::<_, Infallible>(())
        });
        assert_eq!((too_large, parts), (Ok(1), 2));
        assert_eq!(each(request, protocol, 1000, |_| Err("no room")), Err("no room"));
    }
}

#[test]
fn a_large_batch_is_several_payloads_that_the_outbox_takes() {
    let line = LogLine { message: "x".repeat(1 << 16), ..test_batch().logs.remove(0) };
    for protocol in PROTOCOLS {
        let batch = Batch { logs: vec![line.clone(); 200], ..Batch::default() };
        let sent = ingest(settings(protocol), batch);
        assert!(sent.iter().all(|sent| sent.body.len() <= PAYLOAD_BYTES_MAX));
        let records = sent.iter().map(|sent| {
            let logs: Logs = decode(&sent.body, protocol);
            logs.resource_logs[0].scope_logs[0].log_records.len()
        });
        assert_eq!((sent.len(), records.sum()), (4, 200));
    }
}

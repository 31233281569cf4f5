use super::*;
use crate::record::Record;
use crate::{Json, Logfmt};
use expect_test::{Expect, expect};
use proptest::prelude::*;
use sochdb_guest::telemetry::Level;
use sochdb_guest::{
    ComponentHealth, HealthState, Histogram, LogLine, Metric, MetricValue, Span, SpanContext,
    test_batch,
};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The lines of a batch with everything in it, as the plugin would write them.
fn check<F: Format>(batch: &Batch, expected: Expect) {
    let folder = tempfile::tempdir().unwrap();
    files::<F>(folder.path()).write(batch).unwrap();
    expected.assert_eq(&text::<F>(folder.path()));
}

fn files<F: Format>(directory: &Path) -> LogFiles<F> {
    let directory = directory.into();
    LogFiles::new(Settings { directory, metrics: true, level: Level::Trace, ..Settings::default() })
}

fn text<F: Format>(directory: &Path) -> String {
    fs::read_to_string(directory.join("sochdb").with_extension(F::EXTENSION)).unwrap()
}

fn everything() -> Batch {
    let mut batch = test_batch();
    batch.spans[0].parent = Some(7);
    batch.spans[0].took_ns = 1_250_001;
    batch.health[0].state = HealthState::Degraded;
    batch.health[0].why = "the disk is slow".to_owned();
    batch
}

#[test]
fn a_batch_as_json() {
    check::<Json>(
        &everything(),
        expect![[r#"
        {"time":"2023-11-14T22:13:20.000000Z","level":"info","kind":"log","target":"self-test","msg":"a \"line\"\n","trace_id":"00000000000012340000000000005678","span_id":"0000000000009abc","fields":{"rows":"3"}}
        {"time":"2023-11-14T22:13:20.000000Z","kind":"span","name":"commit","duration_ms":1.250001,"error":"no \"room\"\n","trace_id":"00000000000012340000000000005678","span_id":"0000000000009abc","parent_id":"0000000000000007","attributes":{"db.operation.name":"commit"}}
        {"time":"2023-11-14T22:13:20.000000Z","level":"warn","kind":"health","component":"kernel","state":"degraded","why":"the disk is slow"}
        {"time":"2023-11-14T22:13:20.000000Z","kind":"metric","name":"sochdb_self_test_total","type":"counter","value":1,"labels":{"part":"self \"test\"\n"}}
        {"time":"2023-11-14T22:13:20.000000Z","kind":"metric","name":"sochdb_self_test","type":"gauge","value":0.5,"labels":{"part":"self \"test\"\n"}}
        {"time":"2023-11-14T22:13:20.000000Z","kind":"metric","name":"sochdb_self_test_seconds","type":"histogram","count":3,"sum":4.2,"p50":1,"labels":{"part":"self \"test\"\n"}}
    "#]],
    );
}

#[test]
fn a_batch_as_logfmt() {
    check::<Logfmt>(
        &everything(),
        expect![[r#"
        time=2023-11-14T22:13:20.000000Z level=info kind=log target=self-test msg="a \"line\"\n" trace_id=00000000000012340000000000005678 span_id=0000000000009abc rows=3
        time=2023-11-14T22:13:20.000000Z kind=span name=commit duration_ms=1.250001 error="no \"room\"\n" trace_id=00000000000012340000000000005678 span_id=0000000000009abc parent_id=0000000000000007 db.operation.name=commit
        time=2023-11-14T22:13:20.000000Z level=warn kind=health component=kernel state=degraded why="the disk is slow"
        time=2023-11-14T22:13:20.000000Z kind=metric name=sochdb_self_test_total type=counter value=1 part="self \"test\"\n"
        time=2023-11-14T22:13:20.000000Z kind=metric name=sochdb_self_test type=gauge value=0.5 part="self \"test\"\n"
        time=2023-11-14T22:13:20.000000Z kind=metric name=sochdb_self_test_seconds type=histogram count=3 sum=4.2 p50=1 part="self \"test\"\n"
    "#]],
    );
}

#[test]
fn a_change_of_health_that_was_not_written_comes_with_the_next_batch() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("logs");
    let mut files = files::<Json>(&directory);
    let mut batch = Batch { health: everything().health, ..Batch::default() };
    files.write(&batch).unwrap_err();
    fs::create_dir(&directory).unwrap();
    files.write(&batch).unwrap();
    files.write(&batch).unwrap();
    batch.health[0].state = HealthState::Healthy;
    batch.health[0].why.clear();
    files.write(&batch).unwrap();
    expect![[r#"
        {"time":"1970-01-01T00:00:00.000000Z","level":"warn","kind":"health","component":"kernel","state":"degraded","why":"the disk is slow"}
        {"time":"1970-01-01T00:00:00.000000Z","level":"info","kind":"health","component":"kernel","state":"healthy","was":"degraded"}
    "#]].assert_eq(&text::<Json>(&directory));
}

#[test]
fn what_does_not_fit_is_cut_and_marked() {
    let long = "\n".repeat(100_000);
    let line = LogLine {
        unix_us: 0,
        level: Level::Info,
        target: long.clone(),
        message: long.clone(),
        fields: vec![(long.clone(), long); 1000],
        span: Some(SpanContext { trace_id: u128::MAX, span_id: u64::MAX }),
    };
    for bytes_max in [4096, 64 << 10] {
        let json = Json::line(&Record::log(&line), bytes_max);
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed["cut"], true);
        assert!(parsed["msg"].as_str().unwrap().ends_with("\n…"));
        assert!(bytes_max / 2 < json.len() && json.len() <= bytes_max);
        let logfmt = Logfmt::line(&Record::log(&line), bytes_max);
        let parsed = read_logfmt(&logfmt).unwrap();
        assert_eq!(parsed.last().unwrap(), &("cut".to_owned(), "true".to_owned()));
        assert!(bytes_max / 2 < logfmt.len() && logfmt.len() <= bytes_max);
    }
    let fields = vec![("a".to_owned(), String::new()); 1000];
    let many = LogLine { fields, target: String::new(), message: String::new(), ..line };
    let json = Json::line(&Record::log(&many), 64 << 10);
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((parsed["fields"].as_object().unwrap().len(), &parsed["cut"]), (128, &true.into()));
}

#[test]
fn logfmt_quotes_what_a_bare_value_may_not_hold() {
    let value = |value: &str| {
        let fields = vec![("a".to_owned(), value.to_owned())];
        let batch = Batch { logs: vec![log(fields)], ..Batch::default() };
        let line = Logfmt::line(&Record::log(&batch.logs[0]), 4096);
        line.trim_end().split_once(" a=").unwrap().1.to_owned()
    };
    for (text, expected) in [
        ("bare", "bare"),
        ("a,b;[c]:'d'", "a,b;[c]:'d'"),
        ("grün", "grün"),
        ("", r#""""#),
        ("two words", r#""two words""#),
        ("a=b", r#""a=b""#),
        ("say \"a\"", r#""say \"a\"""#),
        ("C:\\x", r#""C:\\x""#),
        ("a\nb", r#""a\nb""#),
        ("a\u{a0}b", "\"a\u{a0}b\""),
        ("\u{2028}", r#""\u2028""#),
    ] {
        assert_eq!(value(text), expected);
    }
}

#[test]
fn names_are_made_fit_and_told_apart() {
    let names = ["msg", "msg", "a b", "a=b", "", "cut", "time", "a_b"];
    let fields = names.map(|name| (name.to_owned(), "x".to_owned())).to_vec();
    let log = log(fields);
    let line = Logfmt::line(&Record::log(&log), 4096);
    let end = "msg_2=x msg_3=x a_b=x a_b_2=x _=x cut_2=x time_2=x a_b_3=x\n";
    assert!(line.ends_with(end), "{line}");
    let line = Json::line(&Record::log(&log), 4096);
    let end = r#""fields":{"msg":"x","msg_2":"x","a b":"x","a=b":"x","_":"x","cut":"x","time":"x","a_b":"x"}}"#;
    assert!(line.trim_end().ends_with(end), "{line}");
}

fn log(fields: Vec<(String, String)>) -> LogLine {
    let (target, message) = ("t".to_owned(), "m".to_owned());
    LogLine { unix_us: 0, level: Level::Info, target, message, fields, span: None }
}

/// Reads a line by the grammar in the module `logfmt`, and nothing more lenient.
fn read_logfmt(line: &str) -> std::result::Result<Vec<(String, String)>, String> {
    let bare = |c: &char| !" =\"".contains(*c) && !c.is_control();
    let mut rest = line.strip_suffix('\n').ok_or("no line feed")?;
    let mut pairs = Vec::new();
    loop {
        let key: String = rest.chars().take_while(bare).collect();
        rest = rest[key.len()..].strip_prefix('=').ok_or_else(|| format!("no '=': {rest}"))?;
        if key.is_empty() {
            return Err("an empty key".to_owned());
        }
        let value = if rest.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let value = values.next().ok_or("no value")?.map_err(|error| error.to_string())?;
            rest = &rest[values.byte_offset()..];
            value
        } else {
            let value: String = rest.chars().take_while(bare).collect();
            if value.is_empty() {
                return Err("an empty value".to_owned());
            }
            rest = &rest[value.len()..];
            value
        };
        pairs.push((key, value));
        if rest.is_empty() {
            return Ok(pairs);
        }
        rest = rest.strip_prefix(' ').ok_or_else(|| format!("no space: {rest}"))?;
    }
}

/// Texts with much that wants escaping.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z=\" \\\\\n\r\t]{0,12}",
        any::<String>(),
        "[\u{0}-\u{ff}\u{2028}\u{2029}\u{fffd}]{0,8}",
    ]
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((texts(), texts()), 0..5)
}

fn contexts() -> impl Strategy<Value = SpanContext> {
    any::<(u128, u64)>().prop_map(|(trace_id, span_id)| SpanContext { trace_id, span_id })
}

fn logs() -> impl Strategy<Value = LogLine> {
    let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
    let rest = (texts(), texts(), pairs(), prop::option::of(contexts()));
    (any::<u64>(), prop::sample::select(levels.to_vec()), rest).prop_map(
        |(unix_us, level, rest)| {
            let (target, message, fields, span) = rest;
            LogLine { unix_us, level, target, message, fields, span }
        },
    )
}

fn spans() -> impl Strategy<Value = Span> {
    let times = any::<(Option<u64>, u64, u64)>();
    (contexts(), times, texts(), pairs(), prop::option::of(texts())).prop_map(
        |(context, (parent, unix_ns, took_ns), name, attributes, error)| Span {
            context,
            parent,
            name,
            unix_ns,
            took_ns,
            attributes,
            error,
        },
    )
}

fn metrics() -> impl Strategy<Value = Metric> {
    let any_f64 = || prop::num::f64::ANY;
    let lists = (prop::collection::vec(any_f64(), 0..5), any::<Vec<u64>>());
    let histogram = (lists, any_f64()).prop_map(|((bounds, counts), sum)| {
        MetricValue::Histogram(Histogram { bounds, counts, sum, exemplars: Vec::new() })
    });
    let value = prop_oneof![
        any_f64().prop_map(MetricValue::Counter),
        any_f64().prop_map(MetricValue::Gauge),
        histogram,
    ];
    (texts(), texts(), pairs(), value).prop_map(|(name, help, labels, value)| Metric {
        name,
        help,
        labels,
        value,
    })
}

fn health() -> impl Strategy<Value = ComponentHealth> {
    use HealthState::{Degraded, Failed, Healthy, Starting};
    let states = prop::sample::select(&[Healthy, Starting, Degraded, Failed]);
    (texts(), texts(), states, texts()).prop_map(|(component, name, state, why)| ComponentHealth {
        component,
        name,
        state,
        why,
    })
}

fn batches() -> impl Strategy<Value = Batch> {
    let logs = prop::collection::vec(logs(), 0..4);
    let spans = prop::collection::vec(spans(), 0..4);
    let metrics = prop::collection::vec(metrics(), 0..4);
    let health = prop::collection::vec(health(), 0..4);
    (any::<u64>(), logs, spans, metrics, health).prop_map(
        |(unix_us, logs, spans, metrics, health)| Batch {
            unix_us,
            logs,
            spans,
            metrics,
            health,
            ..Batch::default()
        },
    )
}

/// Makes every text so many times as long.
fn stretch(batch: &mut Batch, times: usize) {
    let text = |text: &mut String| *text = text.repeat(times);
    let pairs = |pairs: &mut Vec<(String, String)>| {
        for (name, value) in pairs {
            (*name, *value) = (name.repeat(times), value.repeat(times));
        }
    };
    for line in &mut batch.logs {
        text(&mut line.target);
        text(&mut line.message);
        pairs(&mut line.fields);
    }
    for span in &mut batch.spans {
        text(&mut span.name);
        span.error.iter_mut().for_each(text);
        pairs(&mut span.attributes);
    }
    for health in &mut batch.health {
        text(&mut health.component);
        text(&mut health.name);
        text(&mut health.why);
    }
    for metric in &mut batch.metrics {
        text(&mut metric.name);
        pairs(&mut metric.labels);
    }
}

/// How many lines a batch becomes.
fn lines_count(batch: &Batch) -> usize {
    let ill = batch.health.iter().filter(|health| health.state != HealthState::Healthy);
    batch.logs.len() + batch.spans.len() + batch.metrics.len() + ill.count()
}

proptest! {
    #[test]
    fn whatever_a_batch_says_json_reads_it_back(batch in batches()) {
        let folder = tempfile::tempdir().unwrap();
        files::<Json>(folder.path()).write(&batch).unwrap();
        if 0 < lines_count(&batch) {
            let text = text::<Json>(folder.path());
            prop_assert_eq!(text.lines().count(), lines_count(&batch));
            prop_assert!(!text.chars().any(|c| c != '\n' && c.is_control()));
            for line in text.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                prop_assert!(line["time"].is_string() && line["kind"].is_string());
            }
        }
    }

    #[test]
    fn whatever_a_batch_says_logfmt_reads_it_back(batch in batches()) {
        let folder = tempfile::tempdir().unwrap();
        files::<Logfmt>(folder.path()).write(&batch).unwrap();
        if 0 < lines_count(&batch) {
            let text = text::<Logfmt>(folder.path());
            prop_assert_eq!(text.lines().count(), lines_count(&batch));
            for line in text.split_inclusive('\n') {
                let pairs = read_logfmt(line).unwrap();
                let names: BTreeSet<_> = pairs.iter().map(|(name, _)| name).collect();
                prop_assert_eq!(names.len(), pairs.len(), "{}", line);
            }
        }
    }

    #[test]
    fn the_smallest_bound_is_kept_whatever_is_long(mut batch in batches(), times in 1_usize..300) {
        stretch(&mut batch, times);
        let settings = Settings { metrics: true, level: Level::Trace, ..Settings::default() };
        for entry in entries(&batch, &settings, &Seen::default()) {
            let json = Json::line(&entry.record(), 4096);
            prop_assert!(json.len() <= 4096);
            serde_json::from_str::<serde_json::Value>(&json).unwrap();
            let logfmt = Logfmt::line(&entry.record(), 4096);
            prop_assert!(logfmt.len() <= 4096);
            read_logfmt(&logfmt).unwrap();
        }
    }

    #[test]
    fn a_log_line_comes_back_text_for_text(line in logs()) {
        let json = Json::line(&Record::log(&line), 64 << 10);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&json["msg"], &*line.message);
        prop_assert_eq!(&json["target"], &*line.target);
        let values: Vec<_> = line.fields.iter().map(|(_, value)| value.clone()).collect();
        let found = json["fields"].as_object().into_iter().flatten();
        let found: Vec<_> = found.map(|(_, value)| value.as_str().unwrap().to_owned()).collect();
        prop_assert_eq!(&found, &values);
        let logfmt = read_logfmt(&Logfmt::line(&Record::log(&line), 64 << 10)).unwrap();
        prop_assert_eq!(&logfmt[3].1, &line.target);
        prop_assert_eq!(&logfmt[4].1, &line.message);
        let found: Vec<_> = logfmt.into_iter().rev().take(values.len()).map(|(_, text)| text).collect();
        prop_assert_eq!(found, values.into_iter().rev().collect::<Vec<_>>());
    }
}

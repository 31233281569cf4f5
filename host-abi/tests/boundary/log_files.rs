//! The observers that write files (`plugins/jsonlog`, `plugins/logfmt`) and the directory they were granted.

use expect_test::{Expect, expect};
use sochdb_host_abi::{HostOptions, PluginHost, Policy, bundled};
use sochdb_kernel::plugin::{ObservabilityExtension, PluginManager, TelemetryBatch};
use sochdb_kernel::{KernelError, PluginFault};
use sochdb_telemetry::{
    ComponentHealth, HealthState, LogLevel, LogLine, Metric, MetricValue, Span, SpanContext,
};
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

/// A directory for logs, and who writes to it.
struct Logs {
    folder: TempDir,
    observer: Arc<dyn ObservabilityExtension>,
    host: PluginHost,
}

impl Logs {
    /// The observer `name`, with `config` below its own, and with a policy that allows `allowed`.
    fn new(name: &str, config: &str, allowed: impl Fn(&str) -> String) -> Logs {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let logs = logs.to_str().unwrap();
        let manifest = bundled::find(name).unwrap().manifest;
        let (manifest, own_config) = manifest.split_once("\n[config]\n").unwrap();
        assert!(own_config.contains("max_files = 5"), "what is replaced below");
        let manifest = manifest.replace("/var/log/sochdb", logs);
        let path = folder.path().join("observer.toml");
        fs::write(&path, format!("{manifest}\n[config]\n{config}\n")).unwrap();
        let policy = format!("[plugin.{name}.allow]\n{}", allowed(logs));
        let policy = Policy::parse("policy.toml", &policy).unwrap();
        let options = HostOptions { policy, ..HostOptions::default() };
        let (host, plugins) = (PluginHost::with(options).unwrap(), PluginManager::default());
        host.load_manifest(&path, &plugins).unwrap();
        Logs { folder, observer: plugins.observers().remove(0), host }
    }

    /// The observer, which may write.
    fn granted(name: &str, config: &str) -> Logs {
        Logs::new(name, config, |logs| directory(logs, true))
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("logs").join(name)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path().join("logs")).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What the guest answers when it does not take a batch.
    #[track_caller]
    fn refused(&self) -> String {
        match self.observer.ingest(&batch()) {
            Err(KernelError::Plugin { fault: PluginFault::Refused, message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }
}

fn directory(host: &str, write: bool) -> String {
    format!("directories = [{{ host = {host:?}, guest = \"/logs\", write = {write} }}]\n")
}

fn log(level: LogLevel, message: String) -> LogLine {
    LogLine {
        unix_us: 1_700_000_000_123_456,
        level,
        target: "wal".to_owned(),
        message,
        fields: vec![("rows".to_owned(), "3".to_owned())],
        span: Some(SpanContext { trace_id: 0xabc, span_id: 0xdef }),
    }
}

fn batch() -> TelemetryBatch {
    TelemetryBatch {
        unix_us: 1_700_000_001_000_000,
        logs: vec![
            log(LogLevel::Warn, "a \"slow\" sync\n".to_owned()),
            log(LogLevel::Debug, "not written".to_owned()),
        ],
        spans: vec![Span {
            context: SpanContext { trace_id: 0xabc, span_id: 0xdef },
            parent: Some(1),
            name: "commit".to_owned(),
            unix_ns: 1_700_000_000_500_000_000,
            took_ns: 1_250_000,
            attributes: vec![("db.operation.name".to_owned(), "commit".to_owned())],
            error: None,
        }],
        health: vec![ComponentHealth {
            component: "plugin".to_owned(),
            name: "lscs".to_owned(),
            state: HealthState::Degraded,
            why: "it trapped".to_owned(),
        }],
        metrics: vec![Metric {
            name: "sochdb_commits_total".to_owned(),
            help: "Commits.".to_owned(),
            labels: Vec::new(),
            value: MetricValue::Counter(42.0),
        }],
        ..TelemetryBatch::default()
    }
}

/// Lines of `bytes` bytes or a little more.
fn many_lines(count: usize, bytes: usize) -> TelemetryBatch {
    let line = |number| log(LogLevel::Info, format!("{number:0bytes$}"));
    TelemetryBatch { logs: (0..count).map(line).collect(), ..TelemetryBatch::default() }
}

fn check(name: &str, file: &str, expected: Expect) {
    let logs = Logs::granted(name, "");
    logs.observer.ingest(&batch()).unwrap();
    assert_eq!(logs.names(), [file]);
    expected.assert_eq(&logs.text(file));
    let before = logs.text(file);
    logs.observer.ingest(&TelemetryBatch { health: batch().health, ..Default::default() }).unwrap();
    assert_eq!(logs.text(file), before, "the health has not changed");
}

#[test]
fn jsonlog_writes_what_a_batch_says() {
    check(
        "jsonlog",
        "sochdb.jsonl",
        expect![[r#"
            {"time":"2023-11-14T22:13:20.123456Z","level":"warn","kind":"log","target":"wal","msg":"a \"slow\" sync\n","trace_id":"00000000000000000000000000000abc","span_id":"0000000000000def","fields":{"rows":"3"}}
            {"time":"2023-11-14T22:13:20.500000Z","kind":"span","name":"commit","duration_ms":1.25,"trace_id":"00000000000000000000000000000abc","span_id":"0000000000000def","parent_id":"0000000000000001","attributes":{"db.operation.name":"commit"}}
            {"time":"2023-11-14T22:13:21.000000Z","level":"warn","kind":"health","component":"plugin","name":"lscs","state":"degraded","why":"it trapped"}
        "#]],
    );
}

#[test]
fn logfmt_writes_what_a_batch_says() {
    check(
        "logfmt",
        "sochdb.log",
        expect![[r#"
            time=2023-11-14T22:13:20.123456Z level=warn kind=log target=wal msg="a \"slow\" sync\n" trace_id=00000000000000000000000000000abc span_id=0000000000000def rows=3
            time=2023-11-14T22:13:20.500000Z kind=span name=commit duration_ms=1.25 trace_id=00000000000000000000000000000abc span_id=0000000000000def parent_id=0000000000000001 db.operation.name=commit
            time=2023-11-14T22:13:21.000000Z level=warn kind=health component=plugin name=lscs state=degraded why="it trapped"
        "#]],
    );
}

#[test]
fn the_settings_say_what_is_written() {
    let config = "logs = false\nspans = false\nhealth = false\nmetrics = true\nsync = true";
    let logs = Logs::granted("logfmt", config);
    logs.observer.ingest(&batch()).unwrap();
    let line = "time=2023-11-14T22:13:21.000000Z kind=metric name=sochdb_commits_total type=counter value=42\n";
    assert_eq!(logs.text("sochdb.log"), line);
    let logs = Logs::granted("logfmt", "spans = false\nhealth = false\nlevel = \"debug\"");
    logs.observer.ingest(&batch()).unwrap();
    assert_eq!(logs.text("sochdb.log").lines().count(), 2);
}

#[test]
fn a_full_file_makes_room_for_the_next() {
    let logs = Logs::granted("jsonlog", "max_bytes = 4_096\nmax_files = 3");
    for _ in 0..3 {
        logs.observer.ingest(&many_lines(20, 500)).unwrap();
    }
    let names = logs.names();
    assert_eq!((names.len(), names.last().map(String::as_str)), (3, Some("sochdb.jsonl")));
    for name in &names {
        let text = logs.text(name);
        assert!(text.len() <= 4096 && text.ends_with("}\n"), "{name}: {} bytes", text.len());
    }
    let all: String = names.iter().map(|name| logs.text(name)).collect();
    assert!(all.trim_end().lines().last().unwrap().contains(&format!("{:0500}", 19)));
}

#[test]
fn a_torn_line_is_ended_and_a_moved_file_left_alone() {
    let logs = Logs::granted("logfmt", "");
    let path = logs.folder.path().join("logs/sochdb.log");
    fs::write(&path, "time=20").unwrap();
    logs.observer.ingest(&batch()).unwrap();
    let text = logs.text("sochdb.log");
    assert!(text.starts_with("time=20\ntime=2023-"), "{text}");
    fs::rename(&path, logs.folder.path().join("logs/moved")).unwrap();
    logs.observer.ingest(&many_lines(1, 10)).unwrap();
    assert_eq!((logs.text("moved"), logs.text("sochdb.log").lines().count()), (text, 1));
}

#[test]
fn a_large_batch_stays_within_the_limits_of_the_manifest() {
    let logs = Logs::granted("jsonlog", "");
    logs.observer.ingest(&many_lines(10_000, 200)).unwrap();
    assert_eq!(logs.text("sochdb.jsonl").lines().count(), 10_000);
    let fuel = logs.host.list()[0].usage.fuel;
    assert!((1_000..100_000).contains(&(fuel / 10_000)), "{fuel}");
}

#[test]
fn without_a_directory_batches_are_refused_and_say_why() {
    let message = Logs::new("jsonlog", "", |_| String::new()).refused();
    assert!(message.contains("there is no directory /logs"), "{message}");
    assert!(message.contains("guest = \"/logs\", write = true"), "{message}");
    let message = Logs::granted("jsonlog", "directory = \"/other\"").refused();
    assert!(message.contains("there is no directory /other"), "{message}");
    let read_only = Logs::new("jsonlog", "", |logs| directory(logs, false));
    let message = read_only.refused();
    assert!(message.contains("cannot write /logs/sochdb.jsonl"), "{message}");
    assert!(message.contains("write = true"), "{message}");
    assert_eq!(read_only.names(), [""; 0]);
}

#[test]
fn after_an_error_the_next_batch_is_written() {
    let logs = Logs::granted("jsonlog", "");
    let path = logs.folder.path().join("logs/sochdb.jsonl");
    fs::create_dir(&path).unwrap();
    let message = logs.refused();
    assert!(message.contains("/logs/sochdb.jsonl"), "{message}");
    fs::remove_dir(&path).unwrap();
    logs.observer.ingest(&batch()).unwrap();
    assert_eq!(logs.text("sochdb.jsonl").lines().count(), 3);
}

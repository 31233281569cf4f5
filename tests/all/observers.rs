//! Metrics, spans, log lines and health, from a working database through the observers that come with it, read
//! back by parsers that are not ours.

use crate::collector::Collector;
use crate::program::Workplace;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use prost::Message;
use sochdb::observability::{Telemetry, TelemetryOptions, TracerOptions};
use sochdb::plugin::{
    Extension, ExtensionCapability, ExtensionInfo, ObservabilityExtension, Page, TelemetryBatch,
};
use sochdb::{
    Column, ColumnType, Database, DatabaseBuilder, Environment, HealthState, IndexOptions,
    KernelError, KernelResult, MetricValue, PluginFault, Policy, Schema, SpanContext, TableOptions,
    Value,
};
use sochdb_test_guests::{MOODY, manifest};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tempfile::TempDir;

/// How long something is waited for that comes soon, before the test is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every span is recorded.
fn every_span() -> Telemetry {
    let spans = TracerOptions { one_in: 1, ..TracerOptions::default() };
    Telemetry::new(TelemetryOptions { spans, ..TelemetryOptions::default() })
}

/// A database that has done a little of everything.
fn busy(builder: DatabaseBuilder, directory: &Path) -> Database {
    let db = builder.open(directory.join("db")).unwrap();
    let column =
        |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
    let columns = vec![
        column("id", ColumnType::Int64),
        column("name", ColumnType::String),
        column("v", ColumnType::Vector(4)),
    ];
    let schema = Schema::new(columns, &["id"]).unwrap();
    let options = TableOptions {
        schema: Some(schema.clone()),
        storage: Some("lscs".into()),
        codec: Some("lz4".into()),
        ..TableOptions::default()
    };
    db.create_table("words", options).unwrap();
    db.create_table("plain", TableOptions::default()).unwrap();
    for batch in 0..5 {
        db.run(|tx| {
            for id in batch * 100..(batch + 1) * 100 {
                let vector = Value::Vector(vec![id as f32, 1.0, 2.0, 3.0]);
                let row = [Value::Int64(id), Value::String(format!("word {id}")), vector];
                tx.put("words", &schema.encode_key(&row)?, &schema.encode_row(&row)?)?;
            }
            tx.put("plain", &[batch as u8], b"x")
        })
        .unwrap();
    }
    db.set_tenant("acme", Default::default()).unwrap();
    db.create_index("words", "near", "v", &IndexOptions::default(), &mut |_| {}).unwrap();
    db.checkpoint().unwrap();
    assert_eq!(db.search("words").near(&[1.0, 1.0, 2.0, 3.0]).k(3).run().unwrap().len(), 3);
    db
}

fn get(address: SocketAddr, path: &str, accept: &str) -> (u16, String, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    let request = agent.get(format!("http://{address}{path}")).header("accept", accept);
    let mut answer = request.call().unwrap();
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), content_type, answer.body_mut().read_to_string().unwrap())
}

#[test]
fn a_parser_that_is_not_ours_reads_every_metric_with_its_value() {
    let folder = tempfile::tempdir().unwrap();
    let db = busy(Database::builder(), folder.path());
    let text = db.metrics_text().unwrap();
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let scrape = prometheus_parse::Scrape::parse(lines).unwrap();
    // Two readings of a database at work differ; a number that stands still says the same in both.
    let now = db.metrics();
    let mut compared = 0;
    for metric in &now {
        let labels: BTreeMap<_, _> = metric.labels.iter().cloned().collect();
        let found = scrape.samples.iter().find(|sample| {
            let theirs: BTreeMap<_, _> =
                sample.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            sample.metric == metric.name && theirs == labels
        });
        let found =
            found.unwrap_or_else(|| panic!("{} {labels:?} is not on the page", metric.name));
        match (&metric.value, &found.value) {
            (MetricValue::Counter(ours), prometheus_parse::Value::Counter(theirs)) => {
                assert!(theirs <= ours, "{}: {theirs} of {ours}", metric.name);
            }
            (MetricValue::Gauge(_), prometheus_parse::Value::Gauge(_)) => {}
            (MetricValue::Histogram(ours), prometheus_parse::Value::Histogram(theirs)) => {
                assert_eq!(ours.bounds.len() + 1, theirs.len(), "{}", metric.name);
            }
            (ours, theirs) => panic!("{}: {ours:?} became {theirs:?}", metric.name),
        }
        compared += 1;
    }
    assert!(100 < compared, "{compared} series");
    let commits = scrape.samples.iter().find(|sample| sample.metric == "sochdb_commits_total");
    let counted = now.iter().find(|metric| metric.name == "sochdb_commits_total").unwrap();
    let MetricValue::Counter(counted) = counted.value else { panic!("{counted:?}") };
    assert_eq!(commits.unwrap().value, prometheus_parse::Value::Counter(counted));
}

#[test]
fn every_metric_is_of_a_family_that_the_registry_knows() {
    let folder = tempfile::tempdir().unwrap();
    let db = busy(Database::builder(), folder.path());
    let families = db.telemetry().families();
    let known: BTreeMap<_, _> = families.iter().map(|family| (family.name, family)).collect();
    for metric in db.metrics() {
        let family =
            known.get(&*metric.name).unwrap_or_else(|| panic!("{} is of none", metric.name));
        let labels: Vec<_> = metric.labels.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(labels, family.labels, "{}", metric.name);
        assert_eq!(metric.help, family.help, "{}", metric.name);
    }
    // Names follow the conventions, and no two are one family in OpenMetrics.
    let mut stems = BTreeSet::new();
    for family in &families {
        assert!(family.name.starts_with("sochdb_"), "{}", family.name);
        let is_counter = family.kind == sochdb::observability::MetricKind::Counter;
        assert_eq!(family.name.ends_with("_total"), is_counter, "{}", family.name);
        let stem = family.name.strip_suffix("_total").unwrap_or(family.name);
        assert!(stems.insert(stem), "{stem} is a counter and something else");
        assert!(family.help.ends_with('.'), "{}", family.help);
        assert!(!family.name.contains("micro") && !family.name.contains("_ms"), "{}", family.name);
    }
}

#[test]
fn metrics_and_probes_are_served_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Database::builder().serve_metrics("127.0.0.1:0".parse().unwrap());
    let db = busy(builder.telemetry(every_span()), folder.path());
    let address = db.metrics_address().unwrap();
    let (status, content_type, page) = get(address, "/metrics", "");
    assert_eq!((status, &*content_type), (200, "text/plain; version=0.0.4; charset=utf-8"));
    assert!(page.contains("\nsochdb_commits_total "), "{page}");
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let (status, content_type, page) = get(address, "/metrics", accept);
    assert_eq!(status, 200);
    assert!(content_type.starts_with("application/openmetrics-text"), "{content_type}");
    assert!(page.ends_with("# EOF\n"), "{page}");
    let bucket = page.lines().find(|line| {
        line.starts_with("sochdb_commit_duration_seconds_bucket")
            && line.contains(" # {trace_id=\"")
    });
    assert!(bucket.is_some(), "no exemplar:\n{page}");
    assert_eq!(
        get(address, "/livez", ""),
        (200, "text/plain; charset=utf-8".into(), "ok\n".into())
    );
    assert_eq!(get(address, "/readyz", "").0, 200);
    let (status, _, health) = get(address, "/health", "");
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    assert_eq!((status, &health["live"], &health["ready"]), (200, &true.into(), &true.into()));
    let parts: Vec<_> = health["parts"].as_array().unwrap().iter().collect();
    for (component, name) in
        [("kernel", ""), ("plugin", "lscs"), ("plugin", "lz4"), ("tenant", "acme")]
    {
        let part = parts.iter().find(|part| part["component"] == component && part["name"] == name);
        assert_eq!(part.expect("is told of")["state"], "healthy", "{component} {name}");
    }
    assert_eq!(get(address, "/nothing", "").0, 404);
    db.close().unwrap();
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
    agent.get(format!("http://{address}/livez")).call().unwrap_err();
}

#[test]
fn an_address_that_is_taken_keeps_the_database_closed() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Database::builder().serve_metrics(address).open(folder.path().join("db"));
    let error = error.err().expect("the address is taken");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    drop(taken);
    Database::builder().serve_metrics(address).open(folder.path().join("db")).unwrap();
}

/// A folder with the manifest of a bundled plugin in it, changed, and a policy.
fn configured(plugin: &str, changes: &[(&str, &str)], allow: &str) -> (TempDir, Policy) {
    let folder = tempfile::tempdir().unwrap();
    let mut text = sochdb::host::bundled::find(plugin).unwrap().manifest.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{plugin}.toml has no {from:?}");
        text = text.replace(from, to);
    }
    fs::create_dir(folder.path().join("plugins")).unwrap();
    fs::write(folder.path().join("plugins").join(format!("{plugin}.toml")), text).unwrap();
    (folder, Policy::parse("policy.toml", &format!("[allow]\n{allow}\n")).unwrap())
}

#[test]
fn a_collector_gets_metrics_spans_and_logs_that_opentelemetry_decodes() {
    let collector = Collector::new();
    let base = collector.url("");
    let (folder, policy) = configured(
        "otlp",
        &[("http://127.0.0.1:4318", &base)],
        &format!("addresses = [\"{base}/\"]"),
    );
    let telemetry = every_span();
    let builder = Database::builder()
        .plugin_dir(folder.path().join("plugins"))
        .policy(policy)
        .telemetry_interval(Duration::from_secs(3600))
        .telemetry(telemetry.clone());
    let db = busy(builder, folder.path());
    // A request from elsewhere, which the spans become part of.
    let theirs = SpanContext { trace_id: 0x0af7_6519, span_id: 0xb7ad_6b71 };
    {
        let _within = telemetry.tracer().within(theirs);
        db.run(|tx| tx.put("plain", b"traced", b"x")).unwrap();
    }
    let subscriber = tracing_subscriber::layer::SubscriberExt::with(
        tracing_subscriber::registry(),
        telemetry.layer(),
    );
    tracing::subscriber::with_default(subscriber, || {
        tracing::warn!(target: "sochdb::test", rows = 3, "something \"odd\"");
    });
    assert!(db.flush_telemetry(PATIENCE));
    let plugins = db.plugins_loaded();
    let otlp = plugins.iter().find(|plugin| plugin.name == "otlp").unwrap();
    assert_eq!((otlp.usage.failures, otlp.usage.refusals), (0, 0));
    println!("otlp: {} fuel in {} calls", otlp.usage.fuel, otlp.usage.calls);
    db.close().unwrap();
    let got = collector.all();
    let bodies = |path: &str| -> Vec<_> {
        got.iter().filter(|got| got.path == path).map(|got| got.body.clone()).collect()
    };
    assert!(got.iter().all(|got| got.header("content-type") == Some("application/x-protobuf")));

    let metrics: Vec<_> = bodies("/v1/metrics")
        .iter()
        .flat_map(|body| ExportMetricsServiceRequest::decode(&body[..]).unwrap().resource_metrics)
        .collect();
    let resource = metrics[0].resource.as_ref().unwrap();
    let service = resource.attributes.iter().find(|attribute| attribute.key == "service.name");
    let service = service.unwrap().value.as_ref().unwrap().value.clone();
    assert_eq!(service, Some(any_value::Value::StringValue("sochdb".into())));
    let named = |name: &str| {
        let all =
            metrics.iter().flat_map(|each| &each.scope_metrics).flat_map(|each| &each.metrics);
        all.filter(|metric| metric.name == name)
            .cloned()
            .next_back()
            .unwrap_or_else(|| panic!("{name}"))
    };
    let Some(metric::Data::Sum(commits)) = named("sochdb_commits_total").data else { panic!() };
    assert!(commits.is_monotonic && commits.aggregation_temporality == 2);
    let value = match commits.data_points[0].value.unwrap() {
        number_data_point::Value::AsDouble(value) => value,
        number_data_point::Value::AsInt(value) => value as f64,
    };
    assert!(6.0 <= value, "{value}");
    let Some(metric::Data::Histogram(took)) = named("sochdb_commit_duration_seconds").data else {
        panic!()
    };
    let point = &took.data_points[0];
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);

    let spans: Vec<_> = bodies("/v1/traces")
        .iter()
        .flat_map(|body| ExportTraceServiceRequest::decode(&body[..]).unwrap().resource_spans)
        .flat_map(|each| each.scope_spans)
        .flat_map(|each| each.spans)
        .collect();
    for name in ["commit", "checkpoint", "search", "plugin call"] {
        assert!(spans.iter().any(|span| span.name == name), "no span {name:?}");
    }
    let traced: Vec<_> =
        spans.iter().filter(|span| span.trace_id == theirs.trace_id.to_be_bytes()).collect();
    let [commit] = traced[..] else { panic!("{traced:?}") };
    assert_eq!(
        (&*commit.name, &*commit.parent_span_id),
        ("commit", &theirs.span_id.to_be_bytes()[..])
    );

    let logs: Vec<_> = bodies("/v1/logs")
        .iter()
        .flat_map(|body| ExportLogsServiceRequest::decode(&body[..]).unwrap().resource_logs)
        .flat_map(|each| each.scope_logs)
        .flat_map(|each| each.log_records)
        .collect();
    let odd = any_value::Value::StringValue("something \"odd\"".into());
    let is_odd = |body: &Option<opentelemetry_proto::tonic::common::v1::AnyValue>| {
        body.as_ref().and_then(|body| body.value.as_ref()) == Some(&odd)
    };
    let line = logs.iter().find(|record| is_odd(&record.body)).expect("the line was sent");
    assert_eq!(line.severity_number, 13);
    assert!(line.attributes.iter().any(|attribute| attribute.key == "rows"));
}

#[test]
fn log_files_grow_in_the_granted_directory_and_nowhere_else() {
    for (plugin, file) in [("jsonlog", "sochdb.jsonl"), ("logfmt", "sochdb.log")] {
        let logs = tempfile::tempdir().unwrap();
        let host = logs.path().to_str().unwrap();
        let default = sochdb::host::bundled::find(plugin).unwrap().manifest;
        let line = default.lines().find(|line| line.starts_with("directories = ")).unwrap();
        let grant =
            format!("directories = [{{ host = {host:?}, guest = \"/logs\", write = true }}]");
        let (folder, policy) = configured(plugin, &[(line, &grant)], &grant);
        let telemetry = every_span();
        let builder = Database::builder()
            .plugin_dir(folder.path().join("plugins"))
            .policy(policy)
            .telemetry(telemetry.clone());
        let db = busy(builder, folder.path());
        let subscriber = tracing_subscriber::layer::SubscriberExt::with(
            tracing_subscriber::registry(),
            telemetry.layer(),
        );
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "sochdb::test", rows = 3, "something odd");
        });
        // The end of the database is when the last lines are written.
        db.close().unwrap();
        let text = fs::read_to_string(logs.path().join(file)).unwrap();
        let odd = text.lines().filter(|line| line.contains("something odd")).count();
        assert_eq!(odd, 1, "{plugin}: {text}");
        assert!(text.lines().any(|line| line.contains("checkpoint")), "{plugin}: {text}");
        if plugin == "jsonlog" {
            for line in text.lines() {
                let _: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| {
                    panic!("{error}: {line}");
                });
            }
        }
    }
}

/// An observer in Rust that does what it is told.
struct Native {
    hangs: AtomicBool,
    begun: AtomicU64,
    release: parking_lot::Mutex<mpsc::Receiver<()>>,
}

impl Extension for Native {
    fn info(&self) -> ExtensionInfo {
        ExtensionInfo {
            name: "native".into(),
            version: "1.0.0".into(),
            description: String::new(),
            author: String::new(),
            capabilities: vec![ExtensionCapability::Observability],
        }
    }
}

impl ObservabilityExtension for Native {
    fn ingest(&self, _batch: &TelemetryBatch) -> KernelResult<()> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            let _ = self.release.lock().recv();
        }
        Ok(())
    }

    fn render(&self, _accept: &str) -> KernelResult<Page> {
        Err(KernelError::plugin("native", PluginFault::Refused, "it shows nothing"))
    }
}

/// The proof is in the order of things, not in their time: the observer has begun and cannot end before the commits
/// have returned.
#[test]
fn commits_return_while_an_observer_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let (release, released) = mpsc::channel();
    let native = Arc::new(Native {
        hangs: AtomicBool::new(true),
        begun: AtomicU64::new(0),
        release: parking_lot::Mutex::new(released),
    });
    let db = Database::builder()
        .telemetry_interval(Duration::from_millis(1))
        .open(folder.path().join("db"))
        .unwrap();
    db.plugins().register_observability(native.clone());
    db.create_table("t", TableOptions::default()).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while native.begun.load(Ordering::SeqCst) == 0 {
        assert!(std::time::Instant::now() < deadline, "the observer is never called");
        std::thread::sleep(Duration::from_millis(1));
    }
    for number in 0..200_u32 {
        db.run(|tx| tx.put("t", &number.to_be_bytes(), b"x")).unwrap();
    }
    db.checkpoint().unwrap();
    assert_eq!(native.begun.load(Ordering::SeqCst), 1, "it still hangs");
    // What it could not take was dropped and counted, and its health says so.
    let dropped = || {
        let metrics = db.metrics();
        let found = metrics.iter().find(|metric| {
            metric.name == "sochdb_telemetry_dropped_total"
                && metric.labels.iter().any(|(_, value)| value == "native")
        });
        matches!(found.map(|found| &found.value), Some(MetricValue::Counter(count)) if 0.0 < *count)
    };
    while !dropped() {
        assert!(std::time::Instant::now() < deadline, "no drop is counted");
        std::thread::sleep(Duration::from_millis(1));
    }
    let health = db.parts_health();
    let observer = health.iter().find(|part| part.component == "observer" && part.name == "native");
    assert_eq!(observer.unwrap().state, HealthState::Degraded);
    native.hangs.store(false, Ordering::SeqCst);
    drop(release);
    db.close().unwrap();
}

#[test]
fn an_observer_that_sleeps_traps_bombs_and_floods_costs_batches_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    for mood in ["sleep", "trap", "bomb", "flood", "wild"] {
        let name = format!("{mood}y");
        let more = format!(
            "[resources]\nmax_instances = 1\ntimeout_ms = 20\nmemory_limit_mb = 16\n\
             [config_schema]\nmood = {{ type = \"text\" }}\naddress = {{ type = \"text\", default = \"\" }}\n\
             [config]\nmood = {mood:?}\n"
        );
        fs::write(plugins.join(format!("{name}.wasm")), MOODY).unwrap();
        fs::write(plugins.join(format!("{name}.toml")), manifest(&name, "observer", &more))
            .unwrap();
    }
    let db = Database::builder()
        .plugin_dir(&plugins)
        .telemetry_interval(Duration::from_millis(2))
        .open(folder.path().join("db"))
        .unwrap();
    db.create_table("t", TableOptions { codec: Some("lz4".into()), ..Default::default() }).unwrap();
    let mut committed = 0_u32;
    let failures = || -> BTreeSet<String> {
        let all = db.plugins_loaded();
        all.iter()
            .filter(|plugin| plugin.usage.failures > 0)
            .map(|plugin| plugin.name.clone())
            .collect()
    };
    let wanted: BTreeSet<String> = ["sleepy", "trapy", "bomby", "wildy"].map(str::to_owned).into();
    let deadline = std::time::Instant::now() + PATIENCE;
    // Until each has failed, and some more.
    while !wanted.is_subset(&failures()) || committed < 500 {
        assert!(std::time::Instant::now() < deadline, "{:?} failed only", failures());
        db.run(|tx| tx.put("t", &committed.to_be_bytes(), &[7; 100])).unwrap();
        committed += 1;
        if committed.is_multiple_of(100) {
            db.checkpoint().unwrap();
        }
    }
    let rows = db.begin_read().unwrap().scan("t", sochdb::KeyRange::all()).unwrap().count();
    assert_eq!(rows, committed as usize);
    assert!(db.check().unwrap().problems.is_empty());
    println!("{committed} commits beside 5 observers in bad moods");
    db.close().unwrap();
}

#[test]
fn the_dashboard_in_the_repository_shows_every_metric() {
    let folder = tempfile::tempdir().unwrap();
    let db = Database::builder().open_in(Environment::disk(folder.path())).unwrap();
    db.plugin_host().unwrap();
    let made = sochdb::observability::dashboard("SochDB", &db.telemetry().families());
    expect_test::expect_file!["../../docs/grafana-dashboard.json"].assert_eq(&made);
}

/// Nobody has it open: it is opened to be read, and that is no trouble of its own.
#[test]
fn a_database_that_is_only_read_is_watched_and_well() {
    let work = Workplace::new();
    work.ok(&["table", "create", "t"]);
    let screen = work.ok(&["top", "--once", "--interval", "0.1"]);
    let head = screen.lines().next().unwrap_or_default();
    assert!(head.contains("● healthy  read-only") && !screen.contains("degraded"), "{screen}");
    let object = work.ok(&["top", "--json", "--once", "--interval", "0.1"]);
    let object: serde_json::Value = serde_json::from_str(&object).unwrap();
    assert_eq!(object["health"], "healthy", "{object}");
}

/// The command as its user meets it: served, watched from another process, told to end.
#[cfg(unix)]
#[test]
fn a_served_database_is_watched_from_elsewhere_and_ends_when_it_is_told_to() {
    let work = Workplace::new();
    work.ok(&["table", "create", "t"]);
    work.ok(&["put", "t", "a", "b"]);
    let serve = ["serve-metrics", "--listen", "127.0.0.1:0", "--json"];
    let mut serving = work.command(&serve).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(serving.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = said["address"].as_str().unwrap();
    assert_eq!(get(address.parse().unwrap(), "/readyz", "").0, 200);
    // It has the database alone; whoever wants to look asks it.
    work.refused(&["top", "--once"], 4, &["another process", "--connect"]);
    let screen = work.ok(&["top", "--connect", address, "--once", "--interval", "0.1"]);
    assert!(screen.contains("healthy") && screen.contains("Commit latency"), "{screen}");
    let object =
        work.ok(&["top", "--connect", address, "--json", "--count", "1", "--interval", "0.1"]);
    let object: serde_json::Value = serde_json::from_str(&object).unwrap();
    assert_eq!(object["commits_per_second"], 0.0, "{object}");
    let told = Command::new("kill").args(["-INT", &serving.id().to_string()]).status().unwrap();
    assert!(told.success() && serving.wait().unwrap().success());
    assert_eq!(work.ok(&["get", "t", "a"]).trim_end(), "b");
    work.refused(
        &["top", "--connect", address, "--once"],
        1,
        &["a program that serves its metrics"],
    );
    work.refused(&["serve-metrics", "--listen", "nowhere"], 2, &["nowhere"]);
}

#[test]
fn the_dashboard_is_printed_by_the_command_too() {
    let printed = Workplace::new().ok(&["serve-metrics", "--dashboard"]);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/grafana-dashboard.json");
    assert_eq!(printed, fs::read_to_string(kept).unwrap());
}

//! What a [`Telemetry`] says for itself, and that it ends.

use super::*;
use sochdb_telemetry::{HealthState, LogLevel, LogLine};

struct Parts(Vec<ComponentHealth>);

impl HealthSource for Parts {
    fn health(&self) -> Vec<ComponentHealth> {
        self.0.clone()
    }
}

fn part(component: &str, name: &str, state: HealthState) -> ComponentHealth {
    let [component, name, why] = [component, name, "said so"].map(str::to_owned);
    ComponentHealth { component, name, state, why }
}

fn line(message: &str) -> LogLine {
    let [target, message] = ["sochdb", message].map(str::to_owned);
    LogLine { unix_us: 1, level: LogLevel::Info, target, message, fields: vec![], span: None }
}

fn gauges(telemetry: &Telemetry, name: &str) -> Vec<(String, f64)> {
    let metrics = telemetry.metrics().into_iter().filter(|metric| metric.name == name);
    let gauge = |metric: Metric| match metric.value {
        MetricValue::Gauge(value) => {
            let labels: Vec<_> = metric.labels.into_iter().map(|(_, value)| value).collect();
            (labels.join("/"), value)
        }
        other => panic!("{other:?}"),
    };
    metrics.map(gauge).collect()
}

#[test]
fn health_is_a_metric() {
    use HealthState::*;
    let telemetry = Telemetry::default();
    assert_eq!(gauges(&telemetry, "sochdb_health"), []);
    let parts = Arc::new(Parts(vec![
        part("kernel", "", Healthy),
        part("plugin", "lz4", Degraded),
        part("plugin", "lz4", Failed),
        part("tenant", "a", Starting),
    ]));
    telemetry.watch(&parts);
    let expected = [("kernel/", 0.0), ("plugin/lz4", 3.0), ("tenant/a", 1.0)];
    assert_eq!(
        gauges(&telemetry, "sochdb_health"),
        expected.map(|(name, value)| (name.to_owned(), value))
    );
    assert_eq!(telemetry.health().len(), 4);
    drop(parts);
    assert_eq!(gauges(&telemetry, "sochdb_health"), []);
}

#[test]
fn the_version_is_a_metric() {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    assert_eq!(gauges(&Telemetry::default(), "sochdb_build_info"), [(version, 1.0)]);
}

#[test]
fn since_when_it_counts_is_a_metric() {
    let telemetry = Telemetry::default();
    let since = telemetry.present().since_unix_us as f64 / 1e6;
    assert_eq!(gauges(&telemetry, "sochdb_start_time_seconds"), [(String::new(), since)]);
}

#[test]
fn every_metric_has_a_family() {
    let telemetry = Telemetry::default();
    let parts = Arc::new(Parts(vec![part("kernel", "", HealthState::Healthy)]));
    telemetry.watch(&parts);
    let families = telemetry.families();
    for metric in telemetry.metrics() {
        let family = families.iter().find(|family| family.name == metric.name).expect("it has one");
        let labels: Vec<_> = metric.labels.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((family.help, family.labels), (metric.help.as_str(), &labels[..]));
    }
}

#[test]
fn spans_and_lines_are_in_one_batch_only() {
    let spans = TracerOptions { one_in: 1, ..TracerOptions::default() };
    let telemetry = Telemetry::new(TelemetryOptions { spans, ..TelemetryOptions::default() });
    telemetry.tracer().begin("commit").end();
    telemetry.logs().push(line("opened"));
    assert!(telemetry.present().spans.is_empty() && telemetry.present().logs.is_empty());
    let batch = telemetry.clone().batch();
    assert_eq!((batch.spans.len(), batch.logs.len()), (1, 1));
    let next = telemetry.batch();
    assert!(next.spans.is_empty() && next.logs.is_empty());
    assert_eq!(next.since_unix_us, batch.since_unix_us);
    assert!(batch.since_unix_us <= batch.unix_us && batch.unix_us <= next.unix_us);
}

#[test]
fn who_gathers_lines_itself_is_listened_to_as_long_as_it_lives() {
    struct Gatherer(Mutex<Vec<LogLine>>);
    impl LogSource for Gatherer {
        fn drain(&self) -> Vec<LogLine> {
            std::mem::take(&mut self.0.lock())
        }
    }
    let telemetry = Telemetry::default();
    let at = |unix_us, message| LogLine { unix_us, ..line(message) };
    let gatherer = Arc::new(Gatherer(Mutex::new(vec![at(2, "second"), at(4, "fourth")])));
    telemetry.listen(&gatherer);
    telemetry.logs().push(at(1, "first"));
    telemetry.logs().push(at(3, "third"));
    let messages = || {
        let logs = telemetry.batch().logs.into_iter();
        logs.map(|line| line.message).collect::<Vec<_>>()
    };
    assert_eq!(messages(), ["first", "second", "third", "fourth"]);
    assert!(messages().is_empty());
    gatherer.0.lock().push(line("late"));
    drop(gatherer);
    assert!(messages().is_empty());
}

#[test]
fn what_is_lost_is_shown() {
    let spans = TracerOptions { one_in: 1, waiting_max: 2, ..TracerOptions::default() };
    let telemetry =
        Telemetry::new(TelemetryOptions { spans, log_lines_max: 3, ..TelemetryOptions::default() });
    (0..7).for_each(|_| drop(telemetry.tracer().begin("commit")));
    (0..9).for_each(|_| telemetry.logs().push(line("again")));
    let counters = telemetry.metrics().into_iter().filter_map(|metric| match metric.value {
        MetricValue::Counter(value) => Some((metric.name, value)),
        _ => None,
    });
    let expected = [
        ("sochdb_log_lines_dropped_total", 6.0),
        ("sochdb_log_lines_total", 9.0),
        ("sochdb_spans_dropped_total", 5.0),
        ("sochdb_spans_recorded_total", 7.0),
    ];
    assert_eq!(
        counters.collect::<Vec<_>>(),
        expected.map(|(name, value)| (name.to_owned(), value))
    );
}

#[test]
fn a_resource_says_what_it_is_unless_told_otherwise() {
    let resource = vec![("service.name".to_owned(), "shop".to_owned())];
    let telemetry = Telemetry::new(TelemetryOptions { resource, ..TelemetryOptions::default() });
    let resource = telemetry.present().resource;
    assert_eq!(resource[0], ("service.name".to_owned(), "shop".to_owned()));
    let names: Vec<_> = resource.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["service.name", "service.version", "db.system.name", "process.pid"]);
}

#[test]
fn nothing_stays_when_the_last_telemetry_goes() {
    let telemetry = Telemetry::default();
    let inner = Arc::downgrade(&telemetry.0);
    let (own, registry) = (Arc::downgrade(&telemetry.0._own), telemetry.registry().clone());
    let (clone, layer) = (telemetry.clone(), telemetry.layer());
    drop(telemetry);
    assert!(0 < inner.strong_count());
    drop(clone);
    assert_eq!((inner.strong_count(), own.strong_count()), (0, 0));
    assert!(registry.collect().is_empty());
    drop(layer);
}

//! Observers: batches of every shape are taken, and what is shown is a page.

use super::hurtful;
use super::judge::{During, Finding, Flaw, Tally, answered, wrong};
use super::reload::reload;
use super::room::Room;
use super::{Kit, Planned, planned};
use crate::database::Database;
use fastrand::Rng;
use sochdb_kernel::plugin::{ObservabilityExtension, Page, TelemetryBatch};
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use sochdb_telemetry::{
    ComponentHealth, Exemplar, HealthState, Histogram, LogLevel, LogLine, Metric, MetricValue,
    Span, SpanContext,
};
use std::sync::Arc;

pub(super) const CHECKS: &[Planned] = &[
    planned(
        "batches",
        "batches of every shape are taken, and after each there is a page, or it shows nothing",
        batches,
    ),
    planned(
        "hostile",
        "names, texts and numbers that hurt, and batches that are large, do no harm",
        hostile,
    ),
    planned(
        "pages",
        "whatever somebody accepts, a page has a media type, and the same batch gives the same page",
        pages,
    ),
    planned("determinism", "another instance shows the same after the same batches", determinism),
    planned("reload", "versions of it take over from each other while batches come", reloaded),
];

/// What HTTP's header `Accept` may say.
const ACCEPTS: [&str; 8] = [
    "",
    "*/*",
    "text/plain",
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "application/json",
    "image/png;q=0",
    ";;,q=,/,\u{7f}",
];

/// The observer of `db` that is tested.
pub(super) fn observer(db: &Database, name: &str) -> KernelResult<Arc<dyn ObservabilityExtension>> {
    let found = db.plugins().observers().into_iter().find(|observer| observer.info().name == name);
    found.ok_or_else(|| KernelError::plugin(name, PluginFault::Missing, "it is no observer"))
}

fn span_context(rng: &mut Rng) -> SpanContext {
    SpanContext { trace_id: rng.u128(1..), span_id: rng.u64(1..) }
}

fn histogram(rng: &mut Rng, buckets: usize) -> Histogram {
    let bounds: Vec<f64> = (0..buckets).map(|n| 0.001 * 2_f64.powi(n as i32)).collect();
    let mut count = 0;
    let counts: Vec<u64> = (0..=buckets)
        .map(|_| {
            count += rng.u64(..10);
            count
        })
        .collect();
    let exemplars = bounds.iter().take(buckets / 2).map(|bound| Exemplar {
        value: bound / 2.0,
        unix_us: 1_700_000_000_000_000,
        span: span_context(rng),
    });
    Histogram { exemplars: exemplars.collect(), bounds, counts, sum: count as f64 * 0.01 }
}

pub(super) fn metric(name: &str, labels: &[(&str, &str)], value: MetricValue) -> Metric {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Metric {
        name: name.to_owned(),
        help: "What it counts.".to_owned(),
        labels: labels.collect(),
        value,
    }
}

fn metrics(rng: &mut Rng) -> Vec<Metric> {
    let tables = [("table", "words")];
    vec![
        metric("kit_commits_total", &[], MetricValue::Counter(12.0)),
        metric("kit_rows", &tables, MetricValue::Gauge(-3.5)),
        metric("kit_rows", &[("table", "users"), ("kind", "typed")], MetricValue::Gauge(0.0)),
        metric("kit_commit_duration_seconds", &[], MetricValue::Histogram(histogram(rng, 8))),
        metric(
            "kit_empty_seconds",
            &[],
            MetricValue::Histogram(Histogram { counts: vec![0], ..Histogram::default() }),
        ),
    ]
}

fn spans(rng: &mut Rng) -> Vec<Span> {
    let root = span_context(rng);
    let span = |context, parent, name: &str, error: Option<&str>| Span {
        context,
        parent,
        name: name.to_owned(),
        unix_ns: 1_700_000_000_000_000_000,
        took_ns: 12_345,
        attributes: vec![("db.system.name".to_owned(), "sochdb".to_owned())],
        error: error.map(str::to_owned),
    };
    let child = SpanContext { span_id: rng.u64(1..), ..root };
    vec![
        span(child, Some(root.span_id), "sync", None),
        span(root, None, "commit", Some("conflict: another came first")),
    ]
}

fn logs(rng: &mut Rng) -> Vec<LogLine> {
    let levels =
        [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];
    let line = |level: LogLevel| LogLine {
        unix_us: 1_700_000_000_000_000,
        level,
        target: "sochdb::kit".to_owned(),
        message: "a checkpoint took longer than usual".to_owned(),
        fields: vec![("table".to_owned(), "words".to_owned())],
        span: (level == LogLevel::Warn).then(|| span_context(rng)),
    };
    levels.into_iter().map(line).collect()
}

fn health() -> Vec<ComponentHealth> {
    let states = [
        (HealthState::Healthy, ""),
        (HealthState::Starting, "replays the log"),
        (HealthState::Degraded, "quarantined for a tenant"),
        (HealthState::Failed, "the disk refuses"),
    ];
    let part = |(state, why): (HealthState, &str)| ComponentHealth {
        component: "kernel".to_owned(),
        name: String::new(),
        state,
        why: why.to_owned(),
    };
    states.into_iter().map(part).collect()
}

/// Batch `number` of those that come one after the other.
pub(super) fn batch(number: u64) -> TelemetryBatch {
    TelemetryBatch {
        unix_us: 1_700_000_000_000_000 + number * 10_000_000,
        since_unix_us: 1_700_000_000_000_000,
        resource: vec![("service.name".to_owned(), "kit".to_owned())],
        ..TelemetryBatch::default()
    }
}

/// One batch of each shape, with its name.
fn shapes(rng: &mut Rng) -> Vec<(&'static str, TelemetryBatch)> {
    let mut shapes = vec![
        ("an empty batch", TelemetryBatch::default()),
        ("nothing but a time", batch(1)),
        ("metrics", TelemetryBatch { metrics: metrics(rng), ..batch(2) }),
        ("spans", TelemetryBatch { spans: spans(rng), ..batch(3) }),
        ("log lines", TelemetryBatch { logs: logs(rng), ..batch(4) }),
        ("health", TelemetryBatch { health: health(), ..batch(5) }),
    ];
    let (metrics, spans, logs) = (metrics(rng), spans(rng), logs(rng));
    shapes.push((
        "everything",
        TelemetryBatch { metrics, spans, logs, health: health(), ..batch(6) },
    ));
    shapes
}

/// Hands over a batch that it must take.
fn ingest(observer: &dyn ObservabilityExtension, words: &str, batch: &TelemetryBatch) -> Finding {
    observer.ingest(batch).during(format!("taking {words}"))
}

/// Its page, if it shows one.
fn page(observer: &dyn ObservabilityExtension, accept: &str) -> Finding<Option<Page>> {
    let what = format!("a page for {accept:?}");
    let Ok(page) = answered(&what, observer.render(accept))? else { return Ok(None) };
    let (kind, rest) = page.content_type.split_once('/').unwrap_or_default();
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    if !is_word(kind) || !is_word(rest.split(';').next().unwrap_or_default().trim()) {
        return wrong(format!(
            "{what} is of the media type {:?}, which is none",
            page.content_type
        ));
    }
    Ok(Some(page))
}

fn batches(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    let observer = observer(room.db(), kit.name())?;
    let mut rng = kit.rng();
    for round in 0..kit.times(5) {
        let mut shapes = shapes(&mut rng);
        if 0 < round {
            rng.shuffle(&mut shapes);
        }
        for (words, batch) in shapes {
            ingest(&*observer, words, &batch)?;
            tally.count("batches", 1);
            if page(&*observer, "")?.is_some() {
                tally.count("pages", 1);
            }
        }
    }
    // What this database says of itself.
    let batch = room.db().telemetry().batch();
    ingest(&*observer, "the telemetry of a database", &batch)?;
    room.close()
}

fn hostile(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    let observer = observer(room.db(), kit.name())?;
    let mut rng = kit.rng();
    let mut take = |words: &str, batch: &TelemetryBatch| -> Finding {
        // It need not like them.
        if let Err(why) = answered(format!("taking {words}"), observer.ingest(batch))? {
            tally.count("refused", 1);
            tally.note(why);
        }
        tally.count("batches", 1);
        page(&*observer, ACCEPTS[4])?;
        room.gather();
        Ok(())
    };
    for _ in 0..kit.times(20) {
        let text = |rng: &mut Rng| hurtful::text(rng);
        let labels = |rng: &mut Rng| -> Vec<(String, String)> {
            (0..rng.usize(..8)).map(|n| (format!("label_{n}"), hurtful::text(rng))).collect()
        };
        let value = |rng: &mut Rng| match rng.u8(..3) {
            0 => MetricValue::Counter(hurtful::float(rng)),
            1 => MetricValue::Gauge(hurtful::float(rng)),
            _ => {
                MetricValue::Histogram(Histogram { sum: hurtful::float(rng), ..histogram(rng, 3) })
            }
        };
        let metrics = (0..10).map(|n| Metric {
            name: format!("kit_{n}_total"),
            help: text(&mut rng),
            labels: labels(&mut rng),
            value: value(&mut rng),
        });
        let metrics = metrics.collect();
        let logs = (0..5).map(|_| LogLine {
            unix_us: [0, u64::MAX, 1_700_000_000_000_000][rng.usize(..3)],
            level: LogLevel::Info,
            target: text(&mut rng),
            message: text(&mut rng),
            fields: (0..3).map(|_| (text(&mut rng), text(&mut rng))).collect(),
            span: None,
        });
        let logs = logs.collect();
        let spans = spans(&mut rng).into_iter().map(|span| Span {
            name: text(&mut rng),
            unix_ns: [0, u64::MAX][rng.usize(..2)],
            took_ns: [0, u64::MAX][rng.usize(..2)],
            attributes: (0..3).map(|_| (text(&mut rng), text(&mut rng))).collect(),
            error: rng.bool().then(|| text(&mut rng)),
            ..span
        });
        let spans = spans.collect();
        let health = vec![ComponentHealth {
            component: text(&mut rng),
            name: text(&mut rng),
            state: HealthState::Degraded,
            why: text(&mut rng),
        }];
        let resource = vec![("service.name".to_owned(), text(&mut rng))];
        take(
            "names, texts and numbers that hurt",
            &TelemetryBatch { resource, metrics, spans, logs, health, ..batch(9) },
        )?;
    }
    let many = (0..2_000).map(|n| {
        let number = n.to_string();
        metric("kit_series", &[("number", &number)], MetricValue::Gauge(f64::from(n)))
    });
    take("2,000 series", &TelemetryBatch { metrics: many.collect(), ..batch(10) })?;
    let line = logs(&mut rng).remove(0);
    let long = LogLine { message: "x".repeat(100_000), ..line.clone() };
    take("1,000 log lines", &TelemetryBatch { logs: vec![line; 1_000], ..batch(11) })?;
    take("a log line of 100,000 bytes", &TelemetryBatch { logs: vec![long], ..batch(12) })?;
    take("a batch from before", &batch(0))?;
    room.close()
}

fn pages(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    let observer = observer(room.db(), kit.name())?;
    let long = "text/plain,".repeat(5_000);
    let mut rng = kit.rng();
    for (words, batch) in shapes(&mut rng) {
        ingest(&*observer, words, &batch)?;
        for accept in ACCEPTS.into_iter().chain([&*long]) {
            let Some(first) = page(&*observer, accept)? else { continue };
            if page(&*observer, accept)?.as_ref() != Some(&first) {
                return wrong(format!("asked twice for {accept:?}, it shows two different pages"));
            }
            tally.count("pages", 1);
            tally.count("bytes", first.body.len() as u64);
        }
    }
    if tally.of("pages") == 0 {
        tally.note("it shows nothing");
    }
    room.close()
}

/// What it shows after some batches.
fn shown(kit: &Kit, room: &Room) -> Finding<Vec<Option<Page>>> {
    let observer = observer(room.db(), kit.name())?;
    let mut rng = kit.rng();
    let mut shown = Vec::new();
    for (words, batch) in shapes(&mut rng) {
        ingest(&*observer, words, &batch)?;
        shown.push(page(&*observer, ACCEPTS[3])?);
    }
    Ok(shown)
}

fn determinism(kit: &Kit, tally: &mut Tally) -> Finding {
    kit.check_is_closed()?;
    let (one, other) = (kit.room()?, kit.room()?);
    let (first, second) = (shown(kit, &one)?, shown(kit, &other)?);
    one.close()?;
    other.close()?;
    tally.count("pages", first.iter().flatten().count() as u64);
    match first == second {
        true => Ok(()),
        false => {
            Err(Flaw::Wrong("after the same batches, another instance shows another page".into()))
        }
    }
}

fn reloaded(kit: &Kit, tally: &mut Tally) -> Finding {
    let room = kit.room()?;
    let mut rng = kit.rng();
    let shapes = shapes(&mut rng);
    let name = kit.name();
    reload(kit, &room, tally, &|db, round| {
        let observer = observer(db, name)?;
        let (_, batch) = &shapes[round as usize % shapes.len()];
        observer.ingest(batch)?;
        match observer.render("") {
            Err(error) if !super::judge::is_answer(&error) => Err(error),
            _ => Ok(()),
        }
    })?;
    room.close()
}

//! `check` and `stats`: what the database says about itself.

use super::args::Stats;
use super::failure::{Exit, Failure, Outcome, without_advice};
use super::plugins::{usage_json, usage_row};
use super::screen::{bytes_text, counted, micros_text, thousands};
use super::tables::table_json;
use super::text::{JsonValue, cell_text, shorten};
use super::{Access, Session, cancel, copies, page, picture};
use serde_json::{Map, Value as Json, json};
use sochdb::observability::unit_of;
use sochdb::operations::{CheckOptions, check_with};
use sochdb::{ColumnStats, EncodingStats, LevelStats, TableOptions, TableSize, TableStats, Value};
use sochdb::{Metric, MetricValue};

/// Walks the whole database; fails when anything is wrong.
pub fn check(session: &mut Session) -> Outcome {
    let db = session.open(Access::Read)?;
    let bar = copies::bar();
    let options = CheckOptions::default();
    let report = check_with(&db, options, &mut |progress| copies::show(&bar, progress));
    let report = cancel::or(report)?;
    bar.finish_and_clear();
    let problems: Vec<String> = report.problems.iter().map(without_advice).collect();
    if session.screen.json {
        session.screen.object(&json!({
            "ok": problems.is_empty(),
            "pages": report.pages,
            "pages_free": report.pages_free,
            "rows": report.rows,
            "segments": report.segments,
            "log_records": report.log_records,
            "problems": problems,
        }))?;
    } else {
        session.screen.line(format!(
            "{} in use, {} free, {} in trees, {}, {}",
            counted(report.pages, "page"),
            thousands(report.pages_free),
            counted(report.rows, "row"),
            counted(report.segments, "segment"),
            counted(report.log_records, "log record"),
        ))?;
        problems
            .iter()
            .try_for_each(|problem| session.screen.line(format!("problem: {problem}")))?;
    }
    if problems.is_empty() {
        return if session.screen.json { Ok(()) } else { session.screen.line("no problems") };
    }
    let were = if problems.len() == 1 { "was" } else { "were" };
    let many = format!("{} {were}", counted(problems.len() as u64, "problem"));
    Err(Failure::new(
        Exit::Corrupt,
        format!("{many} found in {}", session.common.directory.display()),
    )
    .help("restore a backup, or save what can be saved with `sochdb repair`"))
}

/// Prints counters and gauges, or what there is to know of a table.
pub fn stats(session: &mut Session, args: &Stats) -> Outcome {
    if let Some(file) = &args.html {
        return page::write(session, args, file);
    }
    let db = session.open(Access::Read)?;
    if let Some(table) = &args.table {
        return table_stats(session, &db.table_stats(table)?);
    }
    if args.prometheus {
        let text = db.metrics_text()?;
        return session.screen.bytes(text.as_bytes());
    }
    // What each plugin used has a table of its own.
    let mut metrics = db.metrics();
    metrics.retain(|metric| metric.labels.is_empty());
    let recovery = db.recovery();
    if session.screen.json {
        let numbers: Map<_, _> = metrics
            .iter()
            .filter_map(|metric| Some((short_name(metric), number_json(number(metric)?))))
            .collect();
        let plugins: Vec<_> = db.plugins_loaded().iter().map(usage_json).collect();
        return session.screen.object(&json!({
            "directory": session.common.directory,
            "stats": numbers,
            "recovery": {
                "micros": recovery.micros,
                "log_records": recovery.log_records,
                "rows": recovery.rows,
                "cut_bytes": recovery.cut_bytes,
            },
            "plugins": plugins,
        }));
    }
    let shown = metrics.iter().filter_map(|metric| {
        // The counters of this very opening are mostly zero, and then say nothing.
        let is_counter = matches!(metric.value, MetricValue::Counter(_));
        let number = number(metric).filter(|number| *number != 0.0 || !is_counter)?;
        let text = number_text(&metric.name, number);
        Some([short_name(metric), text, metric.help.clone()])
    });
    session.screen.table(["counter", "value", "meaning"].map(String::from), shown)?;
    session.screen.line(format!(
        "opened in {}: {} read, {} put back, {} of torn log {}",
        micros_text(recovery.micros),
        counted(recovery.log_records, "log record"),
        counted(recovery.rows, "row"),
        bytes_text(recovery.cut_bytes),
        if recovery.cut_bytes == 0 { "found" } else { "will be cut by the next writer" },
    ))?;
    let plugins = db.plugins_loaded();
    session.screen.table(
        ["plugin", "calls", "failed", "fuel", "time"].map(String::from),
        plugins.iter().map(usage_row),
    )
}

fn table_stats(session: &mut Session, stats: &TableStats) -> Outcome {
    if session.screen.json {
        return session.screen.object(&table_stats_json(stats));
    }
    let TableSize { rows, segments, raw_bytes, stored_bytes } = stats.size;
    let TableOptions { storage, codec, .. } = &stats.table.options;
    let or = |name: &Option<String>, other: &str| name.clone().unwrap_or_else(|| other.to_owned());
    let mut pairs = vec![
        ("table", stats.table.name.clone()),
        ("storage", or(storage, "kernel")),
        ("codec", or(codec, "none")),
        ("rows", thousands(rows)),
        ("on disk", bytes_text(stored_bytes)),
    ];
    if 0 < segments {
        pairs.push((
            "segments",
            format!("{}, {} before the codec", thousands(segments), bytes_text(raw_bytes)),
        ));
    }
    if let Some(ratio) = stats.compression_ratio() {
        pairs.push(("compression", format!("{ratio:.1} bytes of values for a byte on disk")));
    }
    if let Some(amplification) = stats.space_amplification() {
        let text = format!("{amplification:.2} times the oldest level");
        pairs.push(("amplification", text));
    }
    session.screen.pairs(pairs)?;
    let Some(storage) = &stats.storage else {
        return session.screen.line("what is in memory and in the log is not counted");
    };
    session.screen.line("")?;
    let levels = storage.levels.iter().enumerate().map(|(index, level)| {
        [index as u64, level.segments, level.rows, level.deleted]
            .map(thousands)
            .into_iter()
            .chain([bytes_text(level.bytes)])
            .collect::<Vec<_>>()
    });
    session
        .screen
        .table(["level", "segments", "rows", "deleted", "bytes"].map(String::from), levels)?;
    if !storage.columns.is_empty() {
        session.screen.line("")?;
        let header = [
            "column",
            "nulls",
            "distinct",
            "least",
            "greatest",
            "raw",
            "bytes",
            "ratio",
            "encodings",
        ];
        session.screen.table(header.map(String::from), storage.columns.iter().map(column_row))?;
    }
    session.screen.line("")?;
    let picture = picture::lines(storage, console::colors_enabled());
    picture.iter().try_for_each(|line| session.screen.line(line))
}

fn column_row(column: &ColumnStats) -> [String; 9] {
    let bound = |value: &Option<Value>| value.as_ref().map(|value| shorten(&cell_text(value), 16));
    let encodings = column.encodings.iter().map(|encoding| encoding.name.as_str());
    [
        column.name.clone(),
        thousands(column.nulls),
        column.distinct.map(thousands).unwrap_or_default(),
        bound(&column.minimum).unwrap_or_default(),
        bound(&column.maximum).unwrap_or_default(),
        bytes_text(column.raw_bytes),
        bytes_text(column.bytes),
        picture::ratio(column.raw_bytes, column.bytes).unwrap_or_default(),
        encodings.collect::<Vec<_>>().join(", "),
    ]
}

/// The same for a program.
pub fn table_stats_json(stats: &TableStats) -> Json {
    let TableSize { rows, segments, raw_bytes, stored_bytes } = stats.size;
    let level = |level: &LevelStats| {
        let LevelStats { segments, rows, deleted, bytes } = level;
        json!({ "segments": segments, "rows": rows, "deleted": deleted, "bytes": bytes })
    };
    let encoding = |encoding: &EncodingStats| {
        let EncodingStats { name, chunks, raw_bytes, bytes } = encoding;
        json!({ "name": name, "chunks": chunks, "raw_bytes": raw_bytes, "bytes": bytes })
    };
    let column = |column: &ColumnStats| {
        json!({
            "name": column.name,
            "rows": column.rows,
            "nulls": column.nulls,
            "distinct": column.distinct,
            "minimum": column.minimum.as_ref().map(JsonValue),
            "maximum": column.maximum.as_ref().map(JsonValue),
            "raw_bytes": column.raw_bytes,
            "bytes": column.bytes,
            "encodings": column.encodings.iter().map(encoding).collect::<Vec<_>>(),
        })
    };
    let storage = stats.storage.as_ref();
    json!({
        "table": table_json(&stats.table),
        "rows": rows,
        "segments": segments,
        "raw_bytes": raw_bytes,
        "stored_bytes": stored_bytes,
        "compression_ratio": stats.compression_ratio(),
        "space_amplification": stats.space_amplification(),
        "levels": storage.map(|storage| storage.levels.iter().map(level).collect::<Vec<_>>()),
        "columns": storage.map(|storage| storage.columns.iter().map(column).collect::<Vec<_>>()),
    })
}

/// A metric's name without what all of them share.
fn short_name(metric: &Metric) -> String {
    let name = metric.name.strip_prefix("sochdb_").unwrap_or(&metric.name);
    name.strip_suffix("_total").unwrap_or(name).to_owned()
}

fn number(metric: &Metric) -> Option<f64> {
    match metric.value {
        MetricValue::Counter(value) | MetricValue::Gauge(value) => Some(value),
        MetricValue::Histogram(_) => None,
    }
}

/// A number as JSON: whole ones without a point.
fn number_json(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() < 1e15 { (value as i64).into() } else { value.into() }
}

/// A number with its unit.
fn number_text(name: &str, value: f64) -> String {
    match unit_of(name) {
        "bytes" => bytes_text(value as u64),
        "seconds" => micros_text((value * 1e6) as u64),
        _ => thousands(value as u64),
    }
}

/// The lines of a Prometheus text that tell a visitor most.
pub fn excerpt(text: &str) -> Vec<&str> {
    let wanted = [
        "sochdb_commits_total",
        "sochdb_rows_put_total",
        "sochdb_pages",
        "sochdb_log_syncs_total",
        "sochdb_plugin_calls_total",
    ];
    let lines = text.lines().filter(|line| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        wanted.contains(&name)
    });
    lines.take(8).collect()
}

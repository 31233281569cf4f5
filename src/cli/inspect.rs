//! `check` and `stats`: what the database says about itself.

use super::args::Stats;
use super::failure::{Exit, Failure, Outcome};
use super::plugins::{usage_json, usage_row};
use super::screen::{bytes_text, micros_text, thousands};
use super::{Access, Session};
use serde_json::{Map, json};
use sochdb::plugin::{Metric, MetricValue};

/// Walks the whole database; fails when anything is wrong.
pub fn check(session: &mut Session) -> Outcome {
    let db = session.open(Access::Read)?;
    let report = db.check()?;
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
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
            "{} pages in use, {} free, {} rows in trees, {} segments, {} log records",
            thousands(report.pages),
            thousands(report.pages_free),
            thousands(report.rows),
            thousands(report.segments),
            thousands(report.log_records),
        ))?;
        problems
            .iter()
            .try_for_each(|problem| session.screen.line(format!("problem: {problem}")))?;
    }
    if problems.is_empty() {
        return if session.screen.json { Ok(()) } else { session.screen.line("no problems") };
    }
    let many = if problems.len() == 1 {
        "1 problem was".into()
    } else {
        format!("{} problems were", problems.len())
    };
    Err(Failure::new(
        Exit::Corrupt,
        format!("{many} found in {}", session.common.directory.display()),
    )
    .help("restore a backup, or save what can be saved with `sochdb repair`"))
}

/// Prints counters and gauges.
pub fn stats(session: &mut Session, args: &Stats) -> Outcome {
    let db = session.open(Access::Read)?;
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
            .filter_map(|metric| Some((short_name(metric), number(metric)?.into())))
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
        let number = number(metric).filter(|number| *number != 0 || !is_counter)?;
        let text =
            if metric.name.contains("bytes") { bytes_text(number) } else { thousands(number) };
        Some([short_name(metric), text, metric.help.clone()])
    });
    session.screen.table(["counter", "value", "meaning"].map(String::from), shown)?;
    session.screen.line(format!(
        "opened in {}: {} log records read, {} rows put back, {} of torn log {}",
        micros_text(recovery.micros),
        thousands(recovery.log_records),
        thousands(recovery.rows),
        bytes_text(recovery.cut_bytes),
        if recovery.cut_bytes == 0 { "found" } else { "will be cut by the next writer" },
    ))?;
    let plugins = db.plugins_loaded();
    session.screen.table(
        ["plugin", "calls", "failed", "fuel", "time"].map(String::from),
        plugins.iter().map(usage_row),
    )
}

/// A metric's name without what all of them share.
fn short_name(metric: &Metric) -> String {
    let name = metric.name.strip_prefix("sochdb_").unwrap_or(&metric.name);
    name.strip_suffix("_total").unwrap_or(name).to_owned()
}

fn number(metric: &Metric) -> Option<u64> {
    match metric.value {
        MetricValue::Counter(count) => Some(count),
        MetricValue::Gauge(value) => Some(value as u64),
        MetricValue::Histogram { .. } => None,
    }
}

/// The lines of a Prometheus text that tell a visitor most.
pub fn excerpt(text: &str) -> Vec<&str> {
    let wanted = [
        "sochdb_commits_total",
        "sochdb_rows_put_total",
        "sochdb_pages",
        "sochdb_log_syncs_total",
        "sochdb_plugin_",
    ];
    let lines = text.lines().filter(|line| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        wanted
            .iter()
            .any(|wanted| name == *wanted || (wanted.ends_with('_') && name.starts_with(wanted)))
    });
    lines.take(8).collect()
}

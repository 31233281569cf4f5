//! `plugin test` and `plugin bench`: the conformance kit, told to people and programs.

use super::args::{PluginBench, PluginTest, Tested};
use super::failure::{Exit, Failure, Outcome};
use super::package::Placed;
use super::screen::{Screen, bytes_text, micros_text, thousands};
use super::{Session, compile_options, progress_bar, samples};
use serde_json::{Value as Json, json};
use sochdb::conformance::{
    self, Bench, BenchOptions, CallUsage, Check, Event, Figure, Report, Samples, TestOptions,
    UsageReport, Verdict,
};
use std::path::Path;
use std::time::Duration;

/// What samples are called where nobody says.
const SAMPLES: &str = "samples.json";

/// Runs the checks of the plugin's kind; fails when one of them does.
pub fn test(session: &mut Session, args: &PluginTest) -> Outcome {
    let placed = Placed::open(&args.which.plugin)?;
    let manifest = placed.manifest();
    let options = TestOptions {
        effort: args.effort,
        only: args.only.clone(),
        recall_min: args.recall,
        ..options(session, &args.which, manifest)?
    };
    let options = match args.seed {
        Some(seed) => TestOptions { seed, ..options },
        None => options,
    };
    let bar = progress_bar(None, "{spinner} {msg}  {elapsed}");
    bar.enable_steady_tick(Duration::from_millis(200));
    let report = conformance::test(manifest, &options, &mut |event| match event {
        Event::Begins { name, number, count } => {
            bar.set_message(format!("{name}, {number} of {count}"));
        }
        Event::Ended(_) => {}
    });
    bar.finish_and_clear();
    let report = report?;
    match session.screen.json {
        true => session.screen.object(&json!({
            "manifest": placed.shown(),
            "ok": report.has_passed(),
            "report": report,
        }))?,
        false => tell(&mut session.screen, &report)?,
    }
    let failed: Vec<_> = report.failed().map(|check| check.name).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let Report { plugin, seed, .. } = &report;
    let text = format!(
        "'{plugin}' fails {} of {} checks: {}",
        failed.len(),
        report.checks.len(),
        failed.join(", ")
    );
    let help = format!("--only {} --seed {seed} asks the same again", failed[0]);
    Err(Failure::new(Exit::Failed, text).help(help))
}

fn tell(screen: &mut Screen, report: &Report) -> Outcome {
    let Report { plugin, version, kind, seed, checks, usage } = report;
    screen.line(format!("{plugin} {version}, kind {kind}, seed {seed}"))?;
    screen.line("")?;
    for check in checks {
        let Check { name, about, verdict, detail, micros, .. } = check;
        let verdict = match verdict {
            Verdict::Passed => console::style(verdict.to_string()).green(),
            Verdict::Failed => console::style(verdict.to_string()).red().bold(),
            Verdict::Skipped => console::style(verdict.to_string()).yellow(),
        };
        screen.line(format!("{verdict:7}  {name:12}  {about}"))?;
        let counted = check.counted();
        let counted = if counted.is_empty() { counted } else { format!("{counted}, ") };
        screen.line(format!("{:23}{counted}{}", "", micros_text(*micros)))?;
        for line in detail.lines() {
            screen.line(format!("{:23}{line}", ""))?;
        }
    }
    screen.line("")?;
    limits(screen, usage)
}

/// What the calls have used, of what they may.
fn limits(screen: &mut Screen, usage: &UsageReport) -> Outcome {
    let UsageReport { calls, memory_bytes, memory_bytes_max, functions, .. } = usage;
    let share = |used: u64, most: u64| format!("{:.1} %", 100.0 * used as f64 / most.max(1) as f64);
    let row = |(function, used): (&String, &CallUsage)| {
        let CallUsage { fuel, fuel_max, micros, micros_max } = *used;
        [
            function.clone(),
            thousands(fuel),
            share(fuel, fuel_max),
            micros_text(micros),
            share(micros, micros_max),
        ]
    };
    let header = ["the most of one call", "fuel", "of its limit", "time", "of its limit"];
    screen.table(header.map(String::from), functions.iter().map(row))?;
    screen.line(format!(
        "{} calls; an instance has {}, {} of its limit",
        thousands(*calls),
        bytes_text(*memory_bytes),
        share(*memory_bytes, *memory_bytes_max)
    ))
}

/// Measures the plugin beside the shipped one.
pub fn bench(session: &mut Session, args: &PluginBench) -> Outcome {
    let placed = Placed::open(&args.which.plugin)?;
    let manifest = placed.manifest();
    let test = options(session, &args.which, manifest)?;
    let options = BenchOptions { test, turn: Duration::from_millis(args.turn_ms) };
    let bar = progress_bar(None, "{spinner} {msg}  {elapsed}");
    bar.enable_steady_tick(Duration::from_millis(200));
    let measured =
        conformance::bench(manifest, &options, &mut |figure| bar.set_message(figure.name.clone()));
    bar.finish_and_clear();
    let Bench { plugin, version, kind, beside, figures } = &measured?;
    let screen = &mut session.screen;
    if screen.json {
        let figure = |figure: &Figure| -> serde_json::Result<Json> {
            let mut object = serde_json::to_value(figure)?;
            object["ratio"] = figure.ratio().into();
            Ok(object)
        };
        let figures = figures.iter().map(figure).collect::<serde_json::Result<Vec<_>>>()?;
        return screen.object(&json!({
            "plugin": plugin,
            "version": version,
            "kind": kind,
            "beside": beside,
            "figures": figures,
        }));
    }
    screen.line(format!("{plugin} {version}, kind {kind}, beside {beside}"))?;
    screen.line("")?;
    let row = |figure: &Figure| {
        let Figure { name, unit, value, beside, more_is_better } = figure;
        let better = if *more_is_better { "more" } else { "less" };
        let ratio = figure.ratio().map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        [
            name.clone(),
            (*unit).to_owned(),
            number(*value),
            number(*beside),
            ratio,
            better.to_owned(),
        ]
    };
    let header = ["", "unit", plugin, beside, "ratio", "better is"];
    screen.table(header.map(String::from), figures.iter().map(row))
}

/// Three digits, or all of a large number's whole ones.
fn number(value: f64) -> String {
    match value.abs() {
        large if 1000.0 <= large => thousands(value.round() as u64),
        middle if 10.0 <= middle => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// What the command line says of every test and measurement.
fn options(session: &Session, which: &Tested, manifest: &Path) -> Outcome<TestOptions> {
    let beside = manifest.with_file_name(SAMPLES);
    let samples = match &which.samples {
        Some(path) => samples::read(path)?,
        None if beside.is_file() => samples::read(&beside)?,
        None => Samples::default(),
    };
    let (policy, compile) = (session.common.policy()?, compile_options()?);
    Ok(TestOptions { samples, policy, compile, ..TestOptions::default() })
}

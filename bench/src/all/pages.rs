//! The folder of a report: a page and pictures for each workload, and `README.md` with the machine and the aims.
//!
//! Everything is made of the JSON in the folder.

use super::{Published, read, steps};
use crate::Result;
use crate::aims::{self, Verdict};
use crate::chart::Chart;
use crate::outcome::{Sheet, Summary, words};
use std::collections::BTreeMap;
use std::path::Path;

const INDEX: &str = "README.md";

/// Writes all pages and pictures of what is in `report`.
///
/// # Errors
/// When the JSON is none of ours, or a file cannot be written.
pub fn write(report: &Path) -> Result<()> {
    let all = read(report)?;
    for published in &all {
        let below = published.machine.line();
        for chart in &published.outcome.charts {
            let title = format!("{}: {}", title(&published.name), chart.title);
            let chart = Chart { title, ..chart.clone() };
            chart.write(&report.join(picture(published, &chart.name)), &below)?;
        }
        std::fs::write(report.join(format!("{}.md", published.name)), page(published))?;
    }
    Ok(std::fs::write(report.join(INDEX), index(&all))?)
}

/// The file of the picture `chart`.
pub fn picture(published: &Published, chart: &str) -> String {
    format!("{}-{chart}.svg", published.name)
}

fn about(name: &str) -> &'static str {
    steps::find(name).map_or("", |step| step.about)
}

fn title(name: &str) -> &str {
    steps::find(name).map_or(name, |step| step.title)
}

fn page(published: &Published) -> String {
    let Published { name, command, machine, outcome, .. } = published;
    let mut page = format!(
        "# {}\n\n{}\n\n```text\n{command}\n```\n\n{}. [What each line means](../../bench/README.md), \
         [every round as JSON]({name}.json), [all workloads]({INDEX}).\n",
        title(name),
        about(name),
        machine.line()
    );
    for chart in &outcome.charts {
        page += &format!("\n![{}]({})\n", chart.title, picture(published, &chart.name));
    }
    for sheet in &outcome.sheets {
        page += &format!("\n{}", sheet.markdown());
    }
    page
}

fn index(all: &[Published]) -> String {
    let mut index = "# Benchmarks\n\nMade by `cargo run --release -p bench -- all --report docs/benchmarks`; nothing here is \
         typed by hand. Figures of one run compare with each other, and with nothing else. \
         [bench/README.md](../../bench/README.md) tells how everything is measured.\n"
        .to_owned();
    if all.iter().any(|published| published.quick) {
        index += "\n**This was a smoke run (`--quick`): its figures mean nothing.**\n";
    }
    for (title, sheet) in
        [("The machine", machine(all)), ("Versions", versions(all)), ("Workloads", workloads(all))]
    {
        index += &format!("\n## {title}\n\n{}", sheet.markdown());
    }
    let summaries: BTreeMap<String, Summary> =
        all.iter().map(|one| (one.name.clone(), one.outcome.summary.clone())).collect();
    index + "\n## Aims\n\n" + &aims_sheet(&aims::lines(&summaries)).markdown()
}

/// A line of facts for each machine, build and day that the runs have.
fn machine(all: &[Published]) -> Sheet {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for published in all {
        let machine = &published.machine;
        let row = [
            machine.processor.clone(),
            machine.cores.to_string(),
            format!("{:.0} GiB", machine.memory_mib as f64 / 1024.0),
            machine.system.clone(),
            machine.file_system.clone(),
            machine.rustc.clone(),
            machine.commit.clone(),
            machine.date.clone(),
        ];
        if !rows.iter().any(|known| *known == row) {
            rows.push(row.into());
        }
    }
    let head = words([
        "processor",
        "cores",
        "memory",
        "system",
        "file system",
        "compiler",
        "commit",
        "date",
    ]);
    let note = match rows.len() {
        0 | 1 => String::new(),
        _ => {
            "**Not all workloads ran on one machine and commit:** compare no figures between them."
                .to_owned()
        }
    };
    Sheet { words: head.len(), head, rows, note, ..Sheet::default() }
}

/// The versions of everybody, those that tell their own included.
fn versions(all: &[Published]) -> Sheet {
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    for published in all {
        versions.extend(published.machine.versions.clone());
        let curves = published.outcome.measured.get("curves").and_then(|curves| curves.as_array());
        for curve in curves.into_iter().flatten().filter(|curve| curve["is_ours"] == false) {
            if let (Some(name), Some(version)) = (curve["name"].as_str(), curve["version"].as_str())
            {
                versions.insert(name.to_owned(), version.to_owned());
            }
        }
    }
    let rows = versions.into_iter().map(|(name, version)| vec![name, version]).collect();
    Sheet { head: words(["what", "version"]), words: 2, rows, ..Sheet::default() }
}

fn workloads(all: &[Published]) -> Sheet {
    let row = |published: &Published| {
        let name = &published.name;
        let minutes = format!("{:.1}", published.seconds / 60.0);
        let command =
            format!("`{}`", published.command.replace("cargo run --release -p bench", "bench"));
        vec![format!("[{name}]({name}.md)"), about(name).to_owned(), command, minutes]
    };
    let minutes = all.iter().map(|published| published.seconds).sum::<f64>() / 60.0;
    let head = words(["workload", "what", "command", "minutes"]);
    let note = format!("{minutes:.0} minutes together.");
    Sheet { head, words: 3, rows: all.iter().map(row).collect(), note, ..Sheet::default() }
}

fn aims_sheet(lines: &[aims::Line]) -> Sheet {
    let row = |line: &aims::Line| {
        let words = [line.workload, line.what, &line.mark, &line.figure, line.verdict.words()];
        words.map(str::to_owned).into()
    };
    let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
    let note = format!(
        "Of {} aims {} are met, {} of them not strongly, {} are not, {} were not measured. \
         [docs/performance.md](../performance.md) tells what was tried, and what stands in the way.",
        lines.len(),
        count(Verdict::Strong) + count(Verdict::Met),
        count(Verdict::Met),
        count(Verdict::Missed),
        count(Verdict::Open)
    );
    let head = words(["workload", "what", "aim", "measured", "verdict"]);
    Sheet { head, words: 3, rows: lines.iter().map(row).collect(), note, ..Sheet::default() }
}

/// A section for each workload, with links that lead from `prefix`: for the README of the benchmark.
pub fn links(all: &[Published], prefix: &str) -> String {
    let machine = all.first().map(|published| published.machine.line()).unwrap_or_default();
    let begin = format!(
        "[The machine, the versions of everybody, and the aims]({prefix}{INDEX}). Measured on {machine}."
    );
    let section = |published: &Published| {
        let name = &published.name;
        let about = about(name);
        format!("\n\n### {}\n\n{about} [All figures]({prefix}{name}.md).", title(name))
    };
    begin + &all.iter().map(section).collect::<String>()
}

//! The blocks of figures in the READMEs: made of the published JSON, never by hand.
//!
//! ```text
//!   <!-- bench:kv:begin -->
//!   ... whatever stands here is replaced ...
//!   <!-- bench:kv:end -->
//! ```
//!
//! A block whose workload is not published stays as it is.

use super::{Published, pages, read};
use crate::Result;
use std::path::{Path, PathBuf};

/// Where reports of this repository are published.
const REPORT: &str = "docs/benchmarks";
/// Files with blocks, and how to get from there to the report.
const FILES: [(&str, &str); 2] =
    [("README.md", "docs/benchmarks/"), ("bench/README.md", "../docs/benchmarks/")];

/// The curves of recall.
const CURVES: &str = "docs/vectors.svg";

/// Where, and whether files are changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  bench embed            pages, pictures and blocks anew, from the JSON in docs/benchmarks
  bench embed --check    fails if a block is not what the JSON gives")]
pub struct Settings {
    /// The repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// Changes nothing, and fails if a block is not what the JSON gives
    #[arg(long)]
    check: bool,
}

/// Rewrites pages, pictures and blocks, or checks the blocks.
///
/// # Errors
/// When a block is not what it should be, or a file has blocks that nobody knows.
pub fn run(settings: &Settings) -> Result<()> {
    let report = settings.root.join(REPORT);
    if !settings.check {
        if report.is_dir() {
            pages::write(&report)?;
        }
        return rewrite(&settings.root, &report);
    }
    let mut stale = Vec::new();
    for file in renewed(&settings.root, &report)? {
        if file.old != file.new {
            stale.push(file.path.display().to_string());
        }
    }
    match stale.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "figures differ from the JSON in {REPORT}: {}\nhelp: cargo run --release -p bench -- embed",
            stale.join(", ")
        )
        .into()),
    }
}

/// Whether `report` is the folder that the READMEs of the repository here embed.
pub fn is_published(report: &Path) -> bool {
    let same = report.canonicalize().ok().zip(Path::new(REPORT).canonicalize().ok());
    same.is_some_and(|(report, published)| report == published)
}

/// Rewrites the blocks of the repository in `root`.
///
/// # Errors
/// As [`run`].
pub fn rewrite(root: &Path, report: &Path) -> Result<()> {
    for file in renewed(root, report)? {
        if file.old != file.new {
            std::fs::write(&file.path, &file.new)?;
            eprintln!("{}", file.path.display());
        }
    }
    // The picture has a path of its own, which chapters of the guide know.
    let vector = read(report)?.into_iter().find(|published| published.name == "vector");
    let charts = vector.iter().flat_map(|vector| &vector.outcome.charts);
    let below = vector.as_ref().map(|vector| vector.machine.line()).unwrap_or_default();
    charts.take(1).try_for_each(|chart| chart.write(&root.join(CURVES), &below))
}

/// A file as it is and as it should be.
struct Renewed {
    path: PathBuf,
    old: String,
    new: String,
}

fn renewed(root: &Path, report: &Path) -> Result<Vec<Renewed>> {
    let all = read(report)?;
    let one = |(file, prefix): &(&str, &str)| -> Result<Renewed> {
        let path = root.join(file);
        let old = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let new = replaced(&old, &|name| block(name, &all, prefix));
        let new = new.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Renewed { path, old, new })
    };
    FILES.iter().map(one).collect()
}

/// What a block should hold.
enum Content {
    /// This.
    Text(String),
    /// What it holds.
    Kept,
    /// Nobody knows a block of this name.
    Unknown,
}

/// `text` with all blocks replaced.
fn replaced(text: &str, content: &dyn Fn(&str) -> Content) -> Result<String> {
    let (mut done, mut rest) = (String::new(), text);
    while let Some(at) = rest.find("<!-- bench:") {
        let (before, from) = rest.split_at(at);
        let name = from["<!-- bench:".len()..].split(':').next().unwrap_or_default();
        let (begin, end) =
            (format!("<!-- bench:{name}:begin -->"), format!("<!-- bench:{name}:end -->"));
        let inner = from.strip_prefix(&begin).ok_or(format!("a block begins with {begin}"))?;
        let length = inner.find(&end).ok_or(format!("the block of {name} has no {end}"))?;
        let (inner, after) = (&inner[..length], &inner[length + end.len()..]);
        if inner.contains("<!-- bench:") {
            return Err(format!("the block of {name} has another one inside").into());
        }
        let inner = match content(name) {
            Content::Text(text) => format!("\n{}\n", text.trim()),
            Content::Kept => inner.to_owned(),
            Content::Unknown => return Err(format!("there is no block called {name}").into()),
        };
        done += &format!("{before}{begin}{inner}{end}");
        rest = after;
    }
    Ok(done + rest)
}

/// Lines that READMEs show of a workload's table.
const KV: &[&str] = &[
    "random load, batches of 1,000, rows/s",
    "random load, batches of 1,000, rows/s > processor time, us/row",
    "bulk load, sorted, rows/s",
    "point get, uniform, median, us",
    "point get, zipfian, 2 threads, /s",
    "scan of 100 rows, median, us",
    "single puts, 1 thread, /s",
    "single puts, 8 threads, /s",
    "single puts, 8 threads, /s > slowest of a thousand, ms",
    "single puts, 64 threads, /s",
    "YCSB A, 50% updates, zipfian, 2 threads, /s",
    "YCSB C, reads only, /s",
    "YCSB F, 50% read-modify-write, /s",
    "read-modify-write, 4 threads, 8 keys, /s",
    "read-modify-write, 4 threads, 8 keys, /s > lost updates",
    "overwrite all 3 times, rows/s",
    "overwrite all 3 times, rows/s > bytes on disk per byte of rows",
    "open after closing and read a row, ms",
    "open after kill -9 and read a row, ms",
    "peak memory of a load and of reads, MB",
];
const COLUMNS: &[&str] = &[
    "load of events, batches of 1,000, rows/s",
    "load of events, batches of 1,000, rows/s > bytes on disk per byte of rows",
    "point get, all columns, median, us",
    "sums of 2 of 10 columns, ms",
    "1% by a clustered column, ms",
];
const BOUNDARY: &[&str] = &[
    "host to guest and back, 16 B each way",
    "host to guest and back, 64 KiB each way",
    "an empty procedure, JSON and savepoint included",
    "guest to host, nothing carried",
    "guest to host, nothing carried > of it the component model, by a bare component",
    "a row by its key: 8 B there, 100 B back",
    "a row of 8 B, 256 of them in one call",
    "a procedure that reads 1,000 rows",
    "a procedure that reads 1,000 rows by their keys",
    "a row of a long scan",
    "an instance: made, its `init` called, first call",
    "start of all bundled plugins, code from the cache",
    "a runaway, past its deadline",
];
const VECTOR_COLUMNS: &[&str] = &[
    "contender",
    "queries/s at 0.95",
    "queries/s at 0.99",
    "x hnswlib at 0.99",
    "best recall",
    "build, vectors/s a core",
    "bytes a vector on disk",
];

/// What the block `name` holds, for a file from which `prefix` leads to the report.
fn block(name: &str, all: &[Published], prefix: &str) -> Content {
    let workload = match name {
        "kv" | "boundary" | "observers" | "footprint" => name,
        "columns" => "lscs",
        "vectors" => "vector",
        "figures" => {
            return match all.is_empty() {
                true => Content::Kept,
                false => Content::Text(pages::links(all, prefix)),
            };
        }
        _ => return Content::Unknown,
    };
    let Some(published) = all.iter().find(|published| published.name == workload) else {
        return Content::Kept;
    };
    let outcome = &published.outcome;
    let sheet = match name {
        "kv" => outcome.sheet("kv").map(|sheet| sheet.shortened(KV, &[])),
        "columns" => outcome.sheet("columns").map(|sheet| sheet.shortened(COLUMNS, &[])),
        "boundary" => outcome.sheet("boundary").map(|sheet| sheet.shortened(BOUNDARY, &[])),
        "vectors" => outcome
            .sheet("summary")
            .zip(outcome.sheet("costs"))
            .map(|(summary, costs)| summary.joined(costs).shortened(&[], VECTOR_COLUMNS)),
        "observers" => outcome.sheet("not-synced").cloned(),
        _ => outcome.sheets.first().cloned(),
    };
    let Some(sheet) = sheet.filter(|sheet| !sheet.rows.is_empty()) else { return Content::Kept };
    let pictures = match name {
        "kv" => &["ratios"][..],
        "vectors" => &["recall"],
        _ => &[],
    };
    let mut text = sheet.markdown();
    for chart in outcome.charts.iter().filter(|chart| pictures.contains(&&*chart.name)) {
        text +=
            &format!("\n![{}]({prefix}{})\n", chart.title, pages::picture(published, &chart.name));
    }
    text += &format!(
        "\nMeasured on {}. [The whole table]({prefix}{}.md).\n",
        published.machine.line(),
        published.name
    );
    Content::Text(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(name: &str) -> Content {
        match name {
            "kv" => Content::Text("new".to_owned()),
            "kept" => Content::Kept,
            _ => Content::Unknown,
        }
    }

    #[test]
    fn blocks_are_replaced_and_nothing_else_is() {
        let text = "a <!-- bench:kv:begin -->\nold\n<!-- bench:kv:end --> b <!-- bench:kept:begin -->x<!-- bench:kept:end -->";
        let new = replaced(text, &content).expect("two blocks");
        assert_eq!(new, text.replace("old", "new"));
        assert_eq!(replaced(&new, &content).expect("the same"), new, "twice is once");
        assert_eq!(replaced("no block", &content).expect("none"), "no block");
    }

    #[test]
    fn a_block_that_is_not_whole_is_refused_by_name() {
        for (text, word) in [
            ("<!-- bench:kv:begin --> x", "<!-- bench:kv:end -->"),
            ("<!-- bench:kv:end -->", "<!-- bench:kv:begin -->"),
            ("<!-- bench:what:begin --> <!-- bench:what:end -->", "what"),
            ("<!-- bench:kv:begin --> <!-- bench:kept:begin --> <!-- bench:kv:end -->", "inside"),
        ] {
            let error = replaced(text, &content).expect_err(text).to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}

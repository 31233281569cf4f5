//! `sochdb demo`: the whole path, alive, on real data.
//!
//! ```text
//!   create ─▶ load plugins ─▶ import ─▶ checkpoint ─▶ query ─▶ index ─▶ search ─▶ reload ─▶ metrics ─▶ close
//!                                                                                                       │
//!   check ◀─ judge every row ◀─ recover ◀─ SIGKILL ◀─ a child process opens ◀─────────────────────────────┘
//!                                                     the same directory and imports
//! ```
//!
//! Everything that is claimed is measured in this run, and everything that can be wrong is verified:
//! the demo ends with exit code 1 when a verification fails. `--json` prints the same facts.

mod meaning;
mod reload;
mod report;

use super::args::{Common, Demo};
use super::crash::{Batches, Verdict};
use super::dataset::{self, Entry};
use super::failure::{Exit, Failure, Outcome};
use super::names::{CODECS, STORAGES};
use super::screen::{bytes_text, micros_text, thousands};
use super::text::shorten;
use super::{Access, Session, inspect, picture, plugins, progress_bar};
use report::Report;
use serde_json::{Map, Value as Json, json};
use sochdb::{
    ColumnView, Comparison, Condition, Database, Histogram, KernelStats, KeyRange, Metric,
    MetricValue, Schema, TableOptions, Transaction, Value,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The table of the first import.
const TABLE: &str = "words";
/// The table of large values.
const DOCUMENTS: &str = "documents";
/// Rows in one transaction of the first import.
const BATCH_ROWS: usize = 250;
/// Rows in one transaction of the import that is killed.
const CRASH_BATCH_ROWS: u32 = 50;
/// Lookups to take the median of.
const LOOKUPS: usize = 1000;
/// The child is killed after at least so many acknowledgements, and at most so many.
const ACKS_BEFORE_KILL: std::ops::Range<u32> = 10..60;
/// ... plus a moment in microseconds, so that any instruction may be its last.
const MOMENT_US: std::ops::Range<u64> = 0..20_000;
/// The child must acknowledge something within this time.
const CHILD_PATIENCE: Duration = Duration::from_secs(60);

/// Runs the demo.
pub fn demo(session: &mut Session, args: &Demo) -> Outcome {
    let started = Instant::now();
    let (directory, _temporary) = directory(args)?;
    let Session { screen, common, .. } = session;
    let common = Common { directory, ..common.clone() };
    let run = Run {
        entries: dataset::base().into_iter().take(args.rows as usize).collect(),
        schema: dataset::schema(false)?,
        codec: CODECS.plugin(&args.codec).map(str::to_owned),
        storage: STORAGES.plugin(&args.storage).map(str::to_owned),
    };
    let is_for_program = screen.json;
    let mut report = Report::new(screen);
    let mut facts = run.steps(&common, &mut report, args.dir.is_some())?;
    let holds = report.holds();
    let micros = micros(started);
    report.verdict(&format!("The whole demo took {}.", micros_text(micros)))?;
    facts.insert("micros".into(), json!(micros));
    facts.insert("verifications".into(), json!(report.verifications));
    facts.insert("ok".into(), json!(holds));
    if is_for_program {
        screen.object(&facts)?;
    }
    match holds {
        true => Ok(()),
        false => Err(Failure::new(Exit::Failed, "the demo found something that does not hold")
            .help("run it again with --dir to keep the database, and report what you saw")),
    }
}

/// Where the demo works, and what removes it afterwards.
fn directory(args: &Demo) -> Outcome<(PathBuf, Option<tempfile::TempDir>)> {
    let Some(directory) = &args.dir else {
        let temporary = tempfile::Builder::new().prefix("sochdb-demo-").tempdir();
        let temporary =
            temporary.map_err(|error| Failure::io("cannot make a temporary directory", &error))?;
        return Ok((temporary.path().join("db"), Some(temporary)));
    };
    match std::fs::read_dir(directory).map(Iterator::count) {
        Ok(1..) => Err(Failure::invalid(format!("{} is not empty", directory.display())).help(
            "name a directory that is empty or missing; the demo never touches what is there",
        )),
        Ok(0) => Ok((directory.clone(), None)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((directory.clone(), None)),
        Err(error) => Err(Failure::io(format!("cannot read {}", directory.display()), &error)),
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn per_second(count: u64, micros: u64) -> u64 {
    (count as f64 * 1e6 / micros.max(1) as f64) as u64
}

/// The bytes of all files below `directory`.
fn bytes_below(directory: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { bytes_below(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}

/// What all steps of one demo share.
struct Run {
    entries: Vec<Entry>,
    schema: Schema,
    codec: Option<String>,
    storage: Option<String>,
}

impl Run {
    /// All steps; the answer is what `--json` prints.
    fn steps(
        &self,
        common: &Common,
        report: &mut Report,
        is_kept: bool,
    ) -> Outcome<Map<String, Json>> {
        let directory = &common.directory;
        let version = env!("CARGO_PKG_VERSION");
        report.title(&format!(
            "SochDB {version}: an embedded database whose plugins are sandboxed WebAssembly"
        ))?;
        let mut facts = Map::new();
        facts.insert("version".into(), json!(version));
        facts.insert("directory".into(), json!(directory));
        facts.insert("directory_is_kept".into(), json!(is_kept));
        facts.insert("sync".into(), json!(common.sync_name()));

        let (db, opened) = self.open(common, report)?;
        facts.insert("open".into(), opened);
        facts.insert("import".into(), self.import(&db, common, report)?);
        facts.insert("documents".into(), self.documents(&db, report)?);
        facts.insert("queries".into(), self.queries(&db, report)?);
        facts.insert("meaning".into(), self.meaning(&db, report)?);
        facts.insert("reload".into(), self.reload(&db, report)?);
        facts.insert("metrics".into(), metrics(&db, report)?);
        db.close()?;
        facts.insert("crash".into(), self.crash(common, report)?);
        if is_kept {
            report.done(format!(
                "kept for you: sochdb --db {} scan {TABLE} --limit 5",
                directory.display()
            ))?;
        }
        Ok(facts)
    }

    fn open(&self, common: &Common, report: &mut Report) -> Outcome<(Database, Json)> {
        report.section("A database, and the plugins it came with")?;
        let started = Instant::now();
        let db = common.open(Access::Create)?;
        // They would be compiled at their first use; here their time is a figure of its own.
        db.plugin_host()?;
        let micros = micros(started);
        let loaded = db.plugins_loaded();
        report.done(format!(
            "{} created and {} plugins compiled, tested and loaded in {}; every commit is synced ({})",
            common.directory.display(),
            loaded.len(),
            micros_text(micros),
            common.sync_name(),
        ))?;
        report.table(
            ["plugin", "kind", "version", "memory", "fuel a call", "time a call"],
            loaded.iter().map(plugins::limits_row).collect(),
        )?;
        let wanted =
            self.codec.iter().chain(&self.storage).map(String::as_str).chain(["prometheus"]);
        for name in wanted {
            let is_there = loaded.iter().any(|plugin| plugin.name == name);
            report.verify(
                &format!("plugin '{name}' is loaded"),
                is_there,
                format!("plugin '{name}' answers"),
            )?;
        }
        Ok((db, json!({ "micros": micros, "plugins": loaded })))
    }

    fn import(&self, db: &Database, common: &Common, report: &mut Report) -> Outcome<Json> {
        report.section("Import: WordNet, with a sentence embedding in every row")?;
        db.create_table(
            TABLE,
            TableOptions {
                schema: Some(self.schema.clone()),
                codec: self.codec.clone(),
                storage: self.storage.clone(),
                ..TableOptions::default()
            },
        )?;
        let rows = self.encoded()?;
        let before = db.stats();
        let raw: u64 = rows.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        let bar = progress_bar(Some(rows.len() as u64), "{bar:32} {pos} of {len} rows");
        let started = Instant::now();
        let mut commits = 0u64;
        for batch in rows.chunks(BATCH_ROWS) {
            db.run(|tx| batch.iter().try_for_each(|(key, value)| tx.put(TABLE, key, value)))?;
            commits += 1;
            bar.inc(batch.len() as u64);
        }
        let import_us = micros(started);
        bar.finish_and_clear();
        let count = rows.len() as u64;
        report.done(format!(
            "{} rows ({}) in {}: {} rows/s in {commits} commits, sync mode {}",
            thousands(count),
            bytes_text(raw),
            micros_text(import_us),
            thousands(per_second(count, import_us)),
            common.sync_name(),
        ))?;
        let folded = db.checkpoint()?;
        report.done(format!(
            "checkpoint of {} rows in {}; commits waited for {} of it",
            thousands(folded.rows),
            micros_text(folded.micros),
            micros_text(folded.pause_us),
        ))?;
        let compression = self.compression(&before, db, report)?;
        let started = Instant::now();
        let tx = db.begin_read()?;
        let whole = rows.iter().try_fold(0u64, |whole, (key, value)| {
            let is_there = tx.get(TABLE, key)?.is_some_and(|found| found == *value);
            sochdb::KernelResult::Ok(whole + u64::from(is_there))
        })?;
        let read_us = micros(started);
        report.verify(
            "every imported row reads back byte for byte",
            whole == count,
            format!(
                "{} of {} rows read back byte for byte, in {}",
                thousands(whole),
                thousands(count),
                micros_text(read_us)
            ),
        )?;
        Ok(json!({
            "table": TABLE,
            "rows": count,
            "bytes": raw,
            "commits": commits,
            "micros": import_us,
            "rows_per_second": per_second(count, import_us),
            "checkpoint_micros": folded.micros,
            "checkpoint_pause_micros": folded.pause_us,
            "storage": self.storage,
            "codec": self.codec,
            "compression": compression,
            "rows_read_back": whole,
            "read_back_micros": read_us,
        }))
    }

    /// Keys and values of all rows, in the order of the data set.
    fn encoded(&self) -> Outcome<Vec<(Vec<u8>, Vec<u8>)>> {
        let pair = |entry: &Entry| {
            let row = dataset::row(entry, None);
            Ok((self.schema.encode_key(&row)?, self.schema.encode_row(&row)?))
        };
        self.entries.iter().map(pair).collect()
    }

    /// Large values: every lexicographer's file as one document.
    fn documents(&self, db: &Database, report: &mut Report) -> Outcome<Json> {
        let mut documents: BTreeMap<&str, String> = BTreeMap::new();
        for entry in &self.entries {
            let document = documents.entry(&entry.lex).or_default();
            document.push_str(&entry.text);
            document.push('\n');
        }
        let bytes: usize = documents.values().map(String::len).sum();
        let options = TableOptions { codec: self.codec.clone(), ..TableOptions::default() };
        let before = db.stats();
        let started = Instant::now();
        db.run(|tx| {
            tx.create_table(DOCUMENTS, options.clone())?;
            documents
                .iter()
                .try_for_each(|(lex, text)| tx.put(DOCUMENTS, lex.as_bytes(), text.as_bytes()))
        })?;
        db.checkpoint()?;
        let micros = micros(started);
        report.done(format!(
            "{} documents of {} in all, each a whole file of the dictionary, in {}",
            documents.len(),
            bytes_text(bytes as u64),
            micros_text(micros),
        ))?;
        let compression = self.compression(&before, db, report)?;
        let tx = db.begin_read()?;
        let whole = documents.iter().try_fold(0, |whole, (lex, text)| {
            let is_there =
                tx.get(DOCUMENTS, lex.as_bytes())?.is_some_and(|found| *found == *text.as_bytes());
            sochdb::KernelResult::Ok(whole + usize::from(is_there))
        })?;
        report.verify(
            "every document reads back byte for byte",
            whole == documents.len(),
            format!("{whole} of {} documents read back byte for byte", documents.len()),
        )?;
        Ok(json!({
            "table": DOCUMENTS,
            "documents": documents.len(),
            "bytes": bytes,
            "micros": micros,
            "compression": compression,
            "documents_read_back": whole,
        }))
    }

    /// What the codec did since `before` was measured.
    fn compression(
        &self,
        before: &KernelStats,
        db: &Database,
        report: &mut Report,
    ) -> Outcome<Json> {
        let Some(codec) = &self.codec else { return Ok(Json::Null) };
        let now = db.stats();
        let raw = now.codec_bytes_raw - before.codec_bytes_raw;
        let stored = now.codec_bytes_stored - before.codec_bytes_stored;
        report.verify(
            "the codec was used and did not grow the data",
            0 < raw && stored <= raw,
            format!(
                "{codec}, inside its sandbox, made {} of {} ({:.1} % saved)",
                bytes_text(stored),
                bytes_text(raw),
                100.0 - stored as f64 * 100.0 / raw.max(1) as f64,
            ),
        )?;
        Ok(json!({ "codec": codec, "bytes_raw": raw, "bytes_stored": stored }))
    }

    fn queries(&self, db: &Database, report: &mut Report) -> Outcome<Json> {
        report.section("Queries, all in one snapshot")?;
        let tx = db.begin_read()?;
        let lookup = self.lookups(&tx, report)?;
        let prefix = self.prefix_scan(&tx, report)?;
        let columns = self.column_scan(&tx, report)?;
        let storage = storage(db, report)?;
        Ok(json!({
            "lookup": lookup,
            "prefix_scan": prefix,
            "column_scan": columns,
            "storage": storage,
        }))
    }

    /// Two of the six columns of the rows that fulfil a condition.
    fn column_scan(&self, tx: &Transaction, report: &mut Report) -> Outcome<Json> {
        let verbs = Value::String("v".into());
        let is_verb = Condition::new(&self.schema, "pos", Comparison::Equal, verbs)?;
        let started = Instant::now();
        let (mut rows, mut batches, mut sum) = (0, 0, 0);
        for batch in tx.scan_columns(TABLE, .., &["id", "text"], vec![is_verb])? {
            let batch = batch?;
            let ColumnView::Int64(ids) = batch.view(0) else {
                return Err(Failure::new(Exit::Failed, "the column id does not hold numbers"));
            };
            sum += ids.iter().sum::<i64>();
            rows += batch.rows();
            batches += 1;
        }
        let micros = micros(started);
        let verbs = || self.entries.iter().filter(|entry| entry.pos == "v");
        let looked_at = self.entries.len() as u64;
        report.verify(
            "a column scan gives the rows that fulfil its condition",
            rows == verbs().count() && sum == verbs().map(|entry| entry.id).sum::<i64>(),
            format!(
                "column scan, id and text where pos is v: {} of {} rows in {}, {} rows/s looked at",
                thousands(rows as u64),
                thousands(looked_at),
                micros_text(micros),
                thousands(per_second(looked_at, micros)),
            ),
        )?;
        Ok(json!({
            "columns": ["id", "text"],
            "condition": "pos = v",
            "rows": rows,
            "batches": batches,
            "micros": micros,
            "rows_per_second": per_second(looked_at, micros),
        }))
    }

    fn lookups(&self, tx: &Transaction, report: &mut Report) -> Outcome<Json> {
        let mut took = Vec::with_capacity(LOOKUPS);
        let mut right = 0;
        for _ in 0..LOOKUPS {
            let entry = &self.entries[fastrand::usize(..self.entries.len())];
            let key = [Value::String(entry.lex.clone()), Value::String(entry.synset.clone())];
            let started = Instant::now();
            let key = self.schema.encode_key_values(&key)?;
            let value = tx.get(TABLE, &key)?;
            took.push(started.elapsed());
            if let Some(value) = value {
                right +=
                    usize::from(self.schema.decode(&key, &value)? == dataset::row(entry, None));
            }
        }
        took.sort();
        let nanos = |share: usize| {
            u64::try_from(took[took.len() * share / 100].as_nanos()).unwrap_or(u64::MAX)
        };
        let (p50, p99) = (nanos(50), nanos(99));
        report.verify(
            "random lookups find their rows",
            right == LOOKUPS,
            format!(
                "{} random lookups: median {:.1} µs, 99 % below {:.1} µs",
                thousands(LOOKUPS as u64),
                p50 as f64 / 1e3,
                p99 as f64 / 1e3
            ),
        )?;
        Ok(json!({ "lookups": LOOKUPS, "right": right, "p50_nanos": p50, "p99_nanos": p99 }))
    }

    fn prefix_scan(&self, tx: &Transaction, report: &mut Report) -> Outcome<Json> {
        let lex = "noun.food";
        let started = Instant::now();
        let prefix = self.schema.encode_key_values(&[Value::String(lex.into())])?;
        let rows = tx.scan(TABLE, KeyRange::prefix(&prefix))?;
        let rows = rows.collect::<sochdb::KernelResult<Vec<_>>>()?;
        let micros = micros(started);
        let expected = self.entries.iter().filter(|entry| entry.lex == lex).count();
        let texts = rows.iter().take(2).map(|(key, value)| {
            match &self.schema.decode(key, value)?[dataset::TEXT_COLUMN] {
                Value::String(text) => Ok(shorten(text, 70)),
                _ => Ok(String::new()),
            }
        });
        let texts = texts.collect::<Outcome<Vec<_>>>()?;
        report.verify(
            "a prefix scan finds every row with the prefix",
            rows.len() == expected,
            format!("prefix scan of {lex}: {} rows in {}", rows.len(), micros_text(micros)),
        )?;
        texts.iter().try_for_each(|text| report.detail(text))?;
        Ok(json!({ "prefix": lex, "rows": rows.len(), "micros": micros }))
    }

    fn crash(&self, common: &Common, report: &mut Report) -> Outcome<Json> {
        report.section("A crash: SIGKILL in the middle of an import")?;
        let killed = self.kill_a_writer(common)?;
        report.verify(
            "the child was killed while it was writing",
            killed.status.signal() == Some(9) && 0 < killed.batches,
            format!(
                "a child process imported {} rows in {} acknowledged commits, then died of SIGKILL after {}",
                thousands(u64::from(killed.batches) * u64::from(CRASH_BATCH_ROWS)),
                killed.batches,
                micros_text(killed.lived_us),
            ),
        )?;
        let bytes = bytes_below(&common.directory)
            .map_err(|error| Failure::io("cannot measure the database's directory", &error))?;
        let started = Instant::now();
        let db = common.open(Access::Write)?;
        let open_us = micros(started);
        let recovery = db.recovery().clone();
        report.done(format!(
            "reopened in {}, {} of it recovery: {} log records, {} rows replayed, {} of torn log cut",
            micros_text(open_us),
            micros_text(recovery.micros),
            thousands(recovery.log_records),
            thousands(recovery.rows),
            bytes_text(recovery.cut_bytes),
        ))?;
        let verdict = Batches::new(CRASH_BATCH_ROWS)?.judge(&db, killed.batches)?;
        self.tell_verdict(&verdict, report)?;
        let rows = self.encoded()?;
        let tx = db.begin_read()?;
        let mut untouched = true;
        for (key, value) in &rows {
            untouched &= tx.get(TABLE, key)?.is_some_and(|found| found == *value);
        }
        drop(tx);
        report.verify(
            "the table imported before is as it was",
            untouched,
            format!("the {} rows imported before are as they were", thousands(rows.len() as u64)),
        )?;
        let check = db.check()?;
        report.verify(
            "every page, segment and log record passes its check",
            check.problems.is_empty(),
            format!(
                "check: {} pages in use, {} rows in trees, segments: {}, {} log records, {} problems",
                thousands(check.pages),
                thousands(check.rows),
                check.segments,
                thousands(check.log_records),
                check.problems.len(),
            ),
        )?;
        db.close()?;
        Ok(json!({
            "signal": killed.status.signal(),
            "batch_rows": CRASH_BATCH_ROWS,
            "batches_acknowledged": killed.batches,
            "lived_micros": killed.lived_us,
            "directory_bytes": bytes,
            "reopen_micros": open_us,
            "recovery_micros": recovery.micros,
            "log_records": recovery.log_records,
            "rows_replayed": recovery.rows,
            "cut_bytes": recovery.cut_bytes,
            "verdict": verdict,
            "check": { "pages": check.pages, "segments": check.segments, "rows": check.rows,
                "log_records": check.log_records, "problems": check.problems.len() },
        }))
    }

    fn tell_verdict(&self, verdict: &Verdict, report: &mut Report) -> Outcome {
        report.verify(
            "every acknowledged row is there, byte for byte",
            verdict.rows_lost == 0 && verdict.rows_altered == 0,
            format!(
                "{} rows were acknowledged: {} lost, {} altered",
                thousands(verdict.rows_acknowledged),
                verdict.rows_lost,
                verdict.rows_altered,
            ),
        )?;
        let next = match verdict.unacknowledged_batch {
            true => {
                "the batch after the last acknowledged one is there whole: it died between commit and word"
            }
            false => "nothing is left of the batch it was writing",
        };
        report.verify(
            "no batch is there in part",
            !verdict.half_batch,
            format!("no half batch: {next}"),
        )
    }

    fn kill_a_writer(&self, common: &Common) -> Outcome<Killed> {
        let failed =
            |error: std::io::Error| Failure::io("cannot run the writer to be killed", &error);
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("crash-writer").arg("--db").arg(&common.directory);
        command.args(["--sync", common.sync_name(), "--batch-rows", &CRASH_BATCH_ROWS.to_string()]);
        for dir in &common.plugin_dirs {
            command.arg("--plugin-dir").arg(dir);
        }
        for (flag, name) in [("--codec", &self.codec), ("--storage", &self.storage)] {
            if let Some(name) = name {
                command.args([flag, name]);
            }
        }
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let wanted = fastrand::u32(ACKS_BEFORE_KILL);
        let moment = Duration::from_micros(fastrand::u64(MOMENT_US));
        let (batches, status) = kill_after(child, wanted, moment).map_err(failed)?;
        Ok(Killed { batches, status, lived_us: micros(started) })
    }
}

/// How the storage keeps the rows: numbers for a program, a picture for people.
fn storage(db: &Database, report: &mut Report) -> Outcome<Json> {
    let stats = db.table_stats(TABLE)?;
    if let Some(storage) = &stats.storage {
        let ratio = stats.compression_ratio().map_or_else(String::new, |ratio| {
            format!(", {ratio:.1} bytes of values for a byte on disk")
        });
        let on_disk = bytes_text(stats.size.stored_bytes);
        report.done(format!("`sochdb stats {TABLE}`: {on_disk}{ratio}"))?;
        for line in picture::lines(storage, console::colors_enabled()) {
            report.plain(line)?;
        }
    }
    Ok(inspect::table_stats_json(&stats))
}

/// What the observer plugin says of all that was done so far, and what the plugins used for it.
fn metrics(db: &Database, report: &mut Report) -> Outcome<Json> {
    report.section("Metrics, written by the prometheus plugin")?;
    let text = db.metrics_text()?;
    let is_metrics = text.lines().any(|line| line.starts_with("sochdb_"));
    let count = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
    report.verify(
        "the metrics come out of the observer plugin",
        is_metrics,
        format!("{count} series; some of them:"),
    )?;
    for line in inspect::excerpt(&text) {
        report.detail(line)?;
    }
    let mut latencies = Map::new();
    for (what, name, labels) in [
        ("a commit, sync included", "sochdb_commit_duration_seconds", &["committed"][..]),
        ("a sync of the log", "sochdb_disk_operation_duration_seconds", &["log", "sync"]),
        ("a search", "sochdb_search_duration_seconds", &[]),
    ] {
        let Some(histogram) = histogram(&db.metrics(), name, labels) else { continue };
        let quantile = |q| histogram.quantile(q).map(|seconds| (seconds * 1e6) as u64);
        let (Some(median), Some(p99)) = (quantile(0.5), quantile(0.99)) else { continue };
        let count = thousands(histogram.count());
        let (median_text, p99_text) = (micros_text(median), micros_text(p99));
        report.done(format!(
            "{what}: median {median_text}, 99 % below {p99_text}, {count} of them"
        ))?;
        latencies.insert(
            name.to_owned(),
            json!({ "count": histogram.count(), "p50_us": median, "p99_us": p99 }),
        );
    }
    let usage: Vec<Json> = db.plugins_loaded().iter().map(plugins::usage_json).collect();
    report.done("what the plugins used for it")?;
    report.table(
        ["plugin", "calls", "failed", "fuel", "time"],
        db.plugins_loaded().iter().map(plugins::usage_row).collect(),
    )?;
    Ok(json!({ "series": count, "text": text, "latencies": latencies, "plugin_usage": usage }))
}

/// The histogram called `name` that has all of `values` among those of its labels.
fn histogram(metrics: &[Metric], name: &str, values: &[&str]) -> Option<Histogram> {
    let has = |metric: &Metric, value: &str| metric.labels.iter().any(|(_, own)| own == value);
    let is_it =
        |metric: &&Metric| metric.name == name && values.iter().all(|value| has(metric, value));
    match &metrics.iter().find(is_it)?.value {
        MetricValue::Histogram(histogram) => Some(histogram.clone()),
        MetricValue::Counter(_) | MetricValue::Gauge(_) => None,
    }
}

/// How the writer ended.
struct Killed {
    batches: u32,
    status: ExitStatus,
    lived_us: u64,
}

/// Kills `child` `moment` after its acknowledgement number `wanted`; returns how many acknowledgements
/// came out of it before it was dead, and how it ended.
fn kill_after(
    mut child: Child,
    wanted: u32,
    moment: Duration,
) -> std::io::Result<(u32, ExitStatus)> {
    let pipe = child.stdout.take().expect("spawned with a pipe");
    let (sender, acks) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let (mut pipe, mut line) = (BufReader::new(pipe), String::new());
        while pipe.read_line(&mut line).is_ok_and(|bytes| 0 < bytes) {
            // A line without its end was cut by the kill, and is no promise.
            let number = line.strip_prefix("ack ").and_then(|rest| rest.strip_suffix('\n'));
            if let Some(number) = number.and_then(|number| number.parse::<u32>().ok()) {
                let _ = sender.send(number);
            }
            line.clear();
        }
    });
    let mut last = 0;
    while last < wanted {
        match acks.recv_timeout(CHILD_PATIENCE) {
            Ok(number) => last = number,
            Err(_) => break,
        }
    }
    std::thread::sleep(moment);
    child.kill()?;
    let status = child.wait()?;
    let _ = reader.join();
    Ok((acks.iter().last().unwrap_or(last), status))
}

//! The demo's reload: another version of the index plugin takes over while threads search and write.

use super::report::Report;
use super::{Run, TABLE, micros};
use crate::cli::dataset;
use crate::cli::failure::{Exit, Failure, Outcome};
use crate::cli::screen::{micros_text, thousands};
use serde_json::{Value as Json, json};
use sochdb::host::bundled;
use sochdb::reload::{self, Record, Rules, State};
use sochdb::{Database, KernelResult, ReloadOptions, ReloadReport};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The plugin that built the index.
const PLUGIN: &str = "hnsw";
/// Threads that search meanwhile; another one writes.
const SEARCHERS: usize = 2;
/// Rows that each search asks for.
const K: usize = 10;
/// How long the new version is watched; an operator gives it half a minute.
const PROBATION: Duration = Duration::from_millis(300);
/// The reload must have ended within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the writer rests between two commits: it is there to be noticed, not to fill the disk.
const WRITER_PAUSE: Duration = Duration::from_millis(2);

/// What the calls of one thread came to.
#[derive(Default)]
struct Calls {
    count: u64,
    failed: u64,
    longest_us: u64,
}

impl Calls {
    /// Does `work` again and again until `stop`, resting for `pause` in between; it says whether it went well.
    fn make(
        stop: &AtomicBool,
        pause: Duration,
        mut work: impl FnMut() -> KernelResult<bool>,
    ) -> Calls {
        let mut calls = Calls::default();
        while !stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            let went_well = work().unwrap_or(false);
            calls.longest_us = calls.longest_us.max(micros(started));
            calls.count += 1;
            calls.failed += u64::from(!went_well);
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
        calls
    }

    fn and(self, other: Calls) -> Calls {
        Calls {
            count: self.count + other.count,
            failed: self.failed + other.failed,
            longest_us: self.longest_us.max(other.longest_us),
        }
    }
}

impl Run {
    pub(super) fn reload(&self, db: &Database, report: &mut Report) -> Outcome<Json> {
        report.section("Another version of that plugin, while threads search and write")?;
        let folder = tempfile::tempdir()
            .map_err(|error| Failure::io("cannot make a temporary directory", &error))?;
        let manifest = folder.path().join(format!("{PLUGIN}.toml"));
        let before = version(db);
        let next = next_version(&before);
        write_manifest(&manifest, &before, &next)?;

        let stop = AtomicBool::new(false);
        let (reloaded, calls) = thread::scope(|scope| {
            let searchers = (0..SEARCHERS).map(|first| scope.spawn(self.search(db, &stop, first)));
            let mut threads: Vec<_> = searchers.collect();
            threads.push(scope.spawn(self.write(db, &stop)));
            let reloaded = reload_and_wait(db, &manifest);
            stop.store(true, Ordering::Relaxed);
            let join = |thread: thread::ScopedJoinHandle<'_, Calls>| {
                thread.join().expect("what is called answers, and does not panic")
            };
            (reloaded, threads.into_iter().map(join).fold(Calls::default(), Calls::and))
        });
        let (began, record) = reloaded?;
        let lasted = |state| {
            record.steps.iter().find(|step| step.state == state).map_or(0, |step| step.took_us)
        };
        let (swap_us, drain_us) = (lasted(State::Swapping), lasted(State::Draining));
        let serves = record.outcome == reload::Outcome::Serving && version(db) == next;
        report.verify(
            "the new version of the index plugin serves",
            serves,
            format!(
                "{PLUGIN} {before} was replaced by {next}: tried first ({}), swapped in {}, drained in {}, \
                 watched for {}",
                began.trial.summary(),
                micros_text(swap_us),
                micros_text(drain_us),
                micros_text(lasted(State::Probation)),
            ),
        )?;
        report.verify(
            "no call failed while the plugin was replaced",
            0 < calls.count && calls.failed == 0,
            format!(
                "{} searches and commits meanwhile: {} failed calls; the longest took {}",
                thousands(calls.count),
                calls.failed,
                micros_text(calls.longest_us),
            ),
        )?;
        Ok(json!({
            "plugin": PLUGIN,
            "from": before,
            "to": next,
            "outcome": record.outcome,
            "trial": began.trial,
            "swap_micros": swap_us,
            "drain_micros": drain_us,
            "probation_micros": lasted(State::Probation),
            "calls": calls.count,
            "calls_failed": calls.failed,
            "longest_call_micros": calls.longest_us,
        }))
    }

    /// Searches for one question after the other; each must find as many rows as it asks for, nearest first.
    fn search<'a>(
        &self,
        db: &'a Database,
        stop: &'a AtomicBool,
        first: usize,
    ) -> impl FnOnce() -> Calls + Send + 'a {
        let expected = K.min(self.entries.len());
        move || {
            let queries = dataset::queries();
            let mut questions = queries.iter().cycle().skip(first);
            Calls::make(stop, Duration::ZERO, || {
                let question = questions.next().expect("there is always another one");
                let found = db.search(TABLE).near(&question.vector).k(K).run()?;
                let is_sorted = found.is_sorted_by(|near, far| near.distance <= far.distance);
                Ok(found.len() == expected && is_sorted)
            })
        }
    }

    /// Writes rows again as they are, so that the index has work and the table stays as it was imported.
    fn write<'a>(
        &'a self,
        db: &'a Database,
        stop: &'a AtomicBool,
    ) -> impl FnOnce() -> Calls + Send + 'a {
        move || {
            let mut entries = self.entries.iter().cycle();
            Calls::make(stop, WRITER_PAUSE, || {
                let row = dataset::row(entries.next().expect("there are rows"), None);
                let (key, value) = (self.schema.encode_key(&row)?, self.schema.encode_row(&row)?);
                db.run(|tx| tx.put(TABLE, &key, &value)).map(|()| true)
            })
        }
    }
}

/// Reloads, and waits for the new version to have proven itself.
fn reload_and_wait(db: &Database, manifest: &Path) -> Outcome<(ReloadReport, Record)> {
    let rules = Rules { probation: PROBATION, steps: Vec::new(), ..Rules::default() };
    // The plugin is part of this program anyway: the database need not keep another copy of it.
    let options = ReloadOptions { rules: Some(rules), keep: false, ..ReloadOptions::default() };
    let began = db.reload_plugin(manifest, &options)?;
    let started = Instant::now();
    while db.plugin_reloads().iter().any(|report| report.plugin == PLUGIN) {
        if PATIENCE < started.elapsed() {
            return Err(Failure::new(Exit::Failed, "the reload does not end"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    let newest = db.plugin_history(Some(PLUGIN))?.into_iter().next();
    Ok((began, newest.expect("a reload leaves a record")))
}

/// The version of the index plugin that serves.
fn version(db: &Database) -> String {
    let plugin = db.plugins_loaded().into_iter().find(|plugin| plugin.name == PLUGIN);
    plugin.map(|plugin| plugin.version).unwrap_or_default()
}

/// The same with the last number one higher.
fn next_version(version: &str) -> String {
    let (rest, last) = version.rsplit_once('.').unwrap_or(("0.0", "0"));
    format!("{rest}.{}", last.parse::<u64>().map_or(1, |last| last + 1))
}

/// A manifest of the same component under the version `next`.
fn write_manifest(path: &Path, version: &str, next: &str) -> Outcome {
    let bundled = bundled::find(PLUGIN).expect("the demo's index was built by it");
    let line = format!("version = \"{version}\"");
    let lines = bundled.manifest.lines().map(|found| match found == line {
        true => format!("version = \"{next}\"\n"),
        false => format!("{found}\n"),
    });
    std::fs::write(path, lines.collect::<String>())
        .map_err(|error| Failure::io(format!("cannot write {}", path.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_version_is_one_higher_in_the_last_number() {
        assert_eq!(next_version("0.1.0"), "0.1.1");
        assert_eq!(next_version("1.2.9"), "1.2.10");
    }

    #[test]
    fn the_manifest_of_the_next_version_says_so_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("next.toml");
        let old = bundled::find(PLUGIN).unwrap().manifest().unwrap();
        let next = next_version(&old.version.to_string());
        write_manifest(&path, &old.version.to_string(), &next).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let new = sochdb::host::PluginManifest::parse("next.toml", &text).unwrap();
        assert_eq!(new.version.to_string(), next);
        assert_eq!(sochdb::host::PluginManifest { version: old.version.clone(), ..new }, old);
    }
}

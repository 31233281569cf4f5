//! What a new version must show before it serves a single call.
//!
//! The old version goes on serving meanwhile. Both are asked on instances made for the trial and thrown away after
//! it: what these count, log and fail is nobody's, and no instance that serves ever sees it. Nothing that a trial
//! writes is kept.
//!
//! | kind       | what it is asked                                                    | what it must do               |
//! |------------|---------------------------------------------------------------------|-------------------------------|
//! | codec      | blocks of late and made-up ones, stored by each and restored by each | the same bytes, every way     |
//! | storage    | every table's segments; rows by key, in order, backwards, selected   | the same rows                 |
//! |            | to flush and merge some of these rows, in memory                     | rows that both read back      |
//! | index      | the segments it built; queries by entries of theirs                  | nine tenths of what was found |
//! |            | to build from some of these entries, in memory                       | the same, of both             |
//! | observer   | the newest batch, and a page                                         | an answer                     |
//! | hooks      | calls of late, in a transaction that is rolled back                  | an answer; differing is noted |
//! | procedures | the same                                                             | the same                      |
//!
//! 1. The old version is the measure: what it cannot do either is held against nobody.
//! 2. What a new version writes the old one must read, unless it is said that there is no way back.
//! 3. A tenant's rows and calls are shown only to instances that work for that tenant.
//! 4. Plugins with directories, addresses or plugins to call are asked no call of late again: it would happen twice.
//! 5. Every part is bounded, and the whole by [`TIME_MAX`]; what is left then is only opened.

pub(crate) mod codec;
mod index;
mod memory;
mod observer;
pub(crate) mod programs;
pub(crate) mod samples;
mod storage;

use crate::adapter::Adapter;
use crate::canary::{self, Tables};
use crate::chain;
use crate::plugin::Plugin;
use crate::plugin_host::Loaded;
use crate::pools::Pools;
use crate::wasm_host_abi::{
    WasmCodec, WasmHooks, WasmIndex, WasmObserver, WasmProcedures, WasmStorage,
};
use serde::Serialize;
use sochdb_kernel::{Kernel, KernelError, KernelResult, PluginFault};
use sochdb_reload::Rules;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a trial goes on before it leaves out what is not necessary.
const TIME_MAX: Duration = Duration::from_secs(20);
/// How long one call of a trial may take, in milliseconds, if its manifest allows it that long.
const CALL_MS_MAX: u64 = 20_000;
/// Notes for people.
const NOTES_MAX: usize = 8;

/// What a new version showed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TrialReport {
    /// Tables and indexes that it opened.
    pub opened: u64,
    /// Calls that both versions were asked: those of late, and such as could come.
    pub replayed: u64,
    /// Those of them that it answered otherwise, where it may.
    pub differing: u64,
    /// What was left out, and what differed first; a sentence each.
    pub notes: Vec<String>,
}

impl TrialReport {
    /// In one line, for people.
    pub fn summary(&self) -> String {
        let TrialReport { opened, replayed, differing, notes } = self;
        let counts =
            format!("opened {opened}, replayed {replayed} calls, {differing} answered otherwise");
        [counts].into_iter().chain(notes.iter().cloned()).collect::<Vec<_>>().join("; ")
    }
}

/// Tries `new` beside `old`, which goes on serving.
///
/// # Errors
/// `Plugin` that names what `new` did wrong: with [`PluginFault::Lied`] when it answered what cannot be, else with
/// what it ended with.
pub(super) fn run(
    old: &Loaded,
    new: &Loaded,
    kernel: &Kernel,
    rules: &Rules,
    one_way: bool,
) -> KernelResult<TrialReport> {
    let mut trial = Trial::new(&old.plugin, &new.plugin, rules.samples, one_way);
    let (before, after) = (old.plugin.apart(CALL_MS_MAX), new.plugin.apart(CALL_MS_MAX));
    let may_ask_again = [&before, &after].into_iter().all(|plugin| !has_side_effects(plugin));
    chain::in_background(|| match &old.adapter {
        Adapter::Codec(serving) => {
            let make = |plugin: &Arc<Plugin>| -> KernelResult<WasmCodec> {
                Ok(WasmCodec::new(Pools::new(plugin.clone())?))
            };
            codec::try_all(&mut trial, &serving.samples, || Ok((make(&before)?, make(&after)?)))
        }
        Adapter::Storage(_) => {
            let before = WasmStorage::new(Pools::new(before)?);
            let after = WasmStorage::new(Pools::new(after)?);
            let tables = Tables::of_engine(kernel, &trial.plugin)?;
            canary::open_all(&tables, &after)?;
            storage::try_all(&mut trial, &tables, &before, &after)
        }
        Adapter::Index(_) => {
            let before = WasmIndex::new(Pools::new(before)?);
            let after = WasmIndex::new(Pools::new(after)?);
            index::try_all(&mut trial, &index::tables(kernel)?, &before, &after)
        }
        Adapter::Observer(_) | Adapter::Hooks(_) | Adapter::Procedures(_) if !may_ask_again => {
            trial.note("asked no call of late again, since it may write to directories or addresses, or call plugins");
            Ok(())
        }
        Adapter::Observer(serving) => {
            let before = WasmObserver::new(Pools::new(before)?);
            let after = WasmObserver::new(Pools::new(after)?);
            observer::try_newest(&mut trial, serving.newest(), &before, &after)
        }
        Adapter::Hooks(line) => {
            let before = WasmHooks::new(Pools::new(before)?);
            let after = WasmHooks::new(Pools::new(after)?);
            programs::try_hooks(&mut trial, kernel, line.usual().samples(), &before, &after)
        }
        Adapter::Procedures(line) => {
            let before = WasmProcedures::new(Pools::new(before)?)?;
            let after = WasmProcedures::new(Pools::new(after)?)?;
            programs::try_procedures(&mut trial, kernel, line.usual().samples(), &before, &after)
        }
    })?;
    Ok(trial.report)
}

/// Whether `new` can serve `kernel`, as far as that shows without a version before: it opens what its plugin has
/// written, and a codec restores what it stores.
///
/// # Errors
/// As [`run`].
pub(crate) fn opens(new: &Adapter, kernel: &Kernel) -> KernelResult<()> {
    let plugin = new.leading().apart(CALL_MS_MAX);
    chain::in_background(|| match new {
        Adapter::Codec(_) => {
            let trial = Trial::new(&plugin, &plugin, 0, false);
            codec::check_round_trips(&trial, &WasmCodec::new(Pools::new(plugin)?))
        }
        Adapter::Storage(_) => canary::check(kernel, &WasmStorage::new(Pools::new(plugin)?)),
        Adapter::Index(_) => {
            let trial = Trial::new(&plugin, &plugin, 0, false);
            let after = WasmIndex::new(Pools::new(plugin)?);
            index::open_all(&trial, &index::tables(kernel)?, &after)
        }
        Adapter::Observer(_) | Adapter::Hooks(_) | Adapter::Procedures(_) => Ok(()),
    })
}

/// Whether its calls may do what no rollback undoes.
fn has_side_effects(plugin: &Plugin) -> bool {
    let grant = &plugin.grant;
    !grant.directories.is_empty()
        || !grant.addresses.is_empty()
        || !grant.can_call_plugin.granted().is_empty()
}

/// A trial under way.
struct Trial {
    plugin: String,
    /// The versions' numbers.
    old: String,
    new: String,
    /// Calls of late, of each function.
    samples: usize,
    one_way: bool,
    until: Instant,
    report: TrialReport,
}

impl Trial {
    fn new(old: &Plugin, new: &Plugin, samples: usize, one_way: bool) -> Trial {
        Trial {
            plugin: new.manifest.name.clone(),
            old: old.manifest.version.to_string(),
            new: new.manifest.version.to_string(),
            samples,
            one_way,
            until: Instant::now() + TIME_MAX,
            report: TrialReport::default(),
        }
    }

    /// Whether what is not necessary is left out from now on. Says so once.
    fn is_late(&mut self) -> bool {
        let is_late = self.until <= Instant::now();
        if is_late {
            self.note(&format!("some was left out after {} s", TIME_MAX.as_secs()));
        }
        is_late
    }

    fn note(&mut self, text: &str) {
        let notes = &mut self.report.notes;
        if notes.len() < NOTES_MAX && !notes.iter().any(|note| note == text) {
            notes.push(text.to_owned());
        }
    }

    /// Another answer, where that may be.
    fn differs(&mut self, what: impl Display) {
        self.report.differing += 1;
        self.note(&format!("answers otherwise: {what}"));
    }

    /// Asks both; `None` when the old version cannot answer, which says nothing of the new one.
    fn ask<T>(
        &mut self,
        what: impl Display,
        old: impl FnOnce() -> KernelResult<T>,
        new: impl FnOnce() -> KernelResult<T>,
    ) -> KernelResult<Option<(T, T)>> {
        let Ok(old) = old() else { return Ok(None) };
        self.report.replayed += 1;
        let new = new().map_err(|error| self.failed(what, error))?;
        Ok(Some((old, new)))
    }

    /// The new version could not do what the old one can.
    fn failed(&self, what: impl Display, error: KernelError) -> KernelError {
        let Trial { plugin, old, new, .. } = self;
        match error {
            KernelError::Plugin { fault, message, .. } => {
                let text = format!(
                    "version {new} on trial: {what}: {message}; version {old} does not fail there"
                );
                KernelError::plugin(plugin, fault, text)
            }
            other => other,
        }
    }

    /// The new version did what cannot be.
    fn lied(&self, what: impl Display) -> KernelError {
        let text = format!("version {} on trial: {what}", self.new);
        KernelError::plugin(&self.plugin, PluginFault::Lied, text)
    }
}

/// A key as errors show it.
fn shown(key: &[u8]) -> String {
    const KEY_BYTES_MAX: usize = 64;
    let more = if KEY_BYTES_MAX < key.len() { "..." } else { "" };
    format!("'{}{more}'", key[..key.len().min(KEY_BYTES_MAX)].escape_ascii())
}

/// A trial without plugins.
#[cfg(test)]
fn of_versions(old: &str, new: &str) -> Trial {
    Trial {
        plugin: "guest".to_owned(),
        old: old.to_owned(),
        new: new.to_owned(),
        samples: samples::SAMPLES_MAX,
        one_way: false,
        until: Instant::now() + TIME_MAX,
        report: TrialReport::default(),
    }
}

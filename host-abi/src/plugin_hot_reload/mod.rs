//! Replacing a plugin while the database serves.
//!
//! ```text
//!   Active ─▶ Preparing ─▶ Canary ─▶ Swapping ─▶ Draining ─▶ Probation ─▶ Active, on the new version
//!                │            │          │           │            │
//!                └────────────┴──────────┴───────────┴────────────┴─▶ RolledBack ─▶ Active, on the old one
//! ```
//!
//! | state      | what is done                                                                      | who serves     |
//! |------------|-----------------------------------------------------------------------------------|----------------|
//! | Preparing  | manifest, signature, hash, compilation, the plugin's own test; is it granted more? | the old one    |
//! | Canary     | it opens what there is and is asked what was asked lately; then, if the policy has steps, it gets growing shares of the calls | the old one, and shares |
//! | Swapping   | what one instance knows is handed over, instances are made ready, the switch turns | the old one    |
//! | Draining   | calls that began before end                                                       | the new one    |
//! | Probation  | calls that it fails are done again by the old one, which waits                    | the new one    |
//! | RolledBack | the new one is ended                                                              | the old one    |
//!
//! [`sochdb_reload::State`] has the table of what leads where. Every state is left after a bounded time: work of
//! guests by their limits, waiting by the [`Rules`]. Preparing to Draining run on the thread of whoever asks;
//! shares and probation end by [`tick`](PluginHost::tick), or at the very call that the new version fails.
//!
//! 1. A plugin is reloaded once at a time; whoever asks meanwhile gets `Unavailable`, or, from the first share on,
//!    takes the place of the version on trial.
//! 2. A version that is granted more than the one before is refused unless somebody says [`widen`](ReloadOptions::widen).
//! 3. The database keeps the new version when it has proven itself, and not before: a crash meanwhile opens the old
//!    one, which can read what the new one wrote.

mod counted;
mod running;
pub(crate) mod trial;

use crate::disabled;
use crate::kept;
use crate::plugin_host::{Loaded, PluginHost};
use counted::Counted;
use parking_lot::{Condvar, Mutex};
use running::Running;
use sochdb_kernel::{Kernel, KernelError, KernelResult, PluginFault};
use sochdb_reload::{Attempt, Event, History, Outcome, Record, Rules, State, WHOLE};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
pub use trial::TrialReport;

/// How often it is looked whether calls in flight have ended.
const DRAIN_STEP: Duration = Duration::from_micros(200);

/// How long a tick is waited for. It waits itself for calls that end, by the rules.
const CLAIM_PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether a trial is over.
const SETTLE_STEP: Duration = Duration::from_millis(2);

/// What whoever asks for a reload allows.
#[derive(Debug, Clone)]
pub struct ReloadOptions {
    /// Whether the new version may be granted more than the old one.
    pub widen: bool,
    /// Whether the new version may write what the old one cannot read. There is no way back then.
    pub one_way: bool,
    /// Whether the database keeps the new version once it has proven itself.
    pub keep: bool,
    /// In the place of what the policy says.
    pub rules: Option<Rules>,
    /// Who asks, for the history: `command`, or a folder.
    pub asked_by: String,
}

impl Default for ReloadOptions {
    fn default() -> ReloadOptions {
        ReloadOptions {
            widen: false,
            one_way: false,
            keep: true,
            rules: None,
            asked_by: "command".to_owned(),
        }
    }
}

/// How far a reload has come.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ReloadReport {
    /// The plugin.
    pub plugin: String,
    /// The state it is in: `Active` when there is nothing left to do.
    pub state: State,
    /// What came of it so far.
    pub record: Record,
    /// What the new version showed before it served.
    pub trial: TrialReport,
    /// Share of calls that the version on trial serves, in thousandths.
    pub share: u16,
}

/// The reloads of one host.
#[derive(Default)]
pub(crate) struct Reloads {
    /// From the first share of calls on, by plugin.
    running: Mutex<BTreeMap<String, OnTrial>>,
    /// Plugins that somebody is preparing, swapping or taking away, and whether that is only a tick.
    busy: Mutex<BTreeMap<String, Holder>>,
    freed: Condvar,
    history: History,
    /// Whether the history has what the database remembers.
    loaded: OnceLock<()>,
    counted: Counted,
}

/// A version on trial, or, while somebody goes on with it, what was last known of it.
struct OnTrial {
    running: Option<Running>,
    last: ReloadReport,
}

/// Who changes a plugin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Somebody who reloads it or takes it away.
    Somebody,
    /// Who only goes on with what is on trial, which does not take long.
    Tick,
}

/// The right to change one plugin, until it is dropped.
pub(crate) struct Claim<'a> {
    reloads: &'a Reloads,
    name: String,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.reloads.busy.lock().remove(&self.name);
        self.reloads.freed.notify_all();
    }
}

impl Reloads {
    /// # Errors
    /// `Unavailable` while somebody else has it. A tick is waited for.
    pub(crate) fn claim(&self, name: &str) -> KernelResult<Claim<'_>> {
        let deadline = Instant::now() + CLAIM_PATIENCE;
        let mut busy = self.busy.lock();
        while let Some(holder) = busy.get(name) {
            let is_over =
                *holder != Holder::Tick || self.freed.wait_until(&mut busy, deadline).timed_out();
            if is_over {
                return Err(KernelError::unavailable(format!(
                    "change the plugin '{name}': it is being changed right now; try again"
                )));
            }
        }
        busy.insert(name.to_owned(), Holder::Somebody);
        Ok(Claim { reloads: self, name: name.to_owned() })
    }

    /// The right of a tick; `None` while anybody else has it.
    fn claim_tick(&self, name: &str) -> Option<Claim<'_>> {
        let mut busy = self.busy.lock();
        if busy.contains_key(name) {
            return None;
        }
        busy.insert(name.to_owned(), Holder::Tick);
        Some(Claim { reloads: self, name: name.to_owned() })
    }

    fn is_busy(&self, name: &str) -> bool {
        self.busy.lock().contains_key(name)
    }

    fn put(&self, name: &str, running: Running) {
        let last = running.report();
        self.running.lock().insert(name.to_owned(), OnTrial { running: Some(running), last });
    }

    /// What is on trial, for whoever has claimed it; it stays in the list until it is [`ended`](Self::ended).
    fn take(&self, name: &str) -> Option<Running> {
        self.running.lock().get_mut(name)?.running.take()
    }

    /// How far it has come, if `new` is what is on trial already.
    fn on_trial(&self, name: &str, new: &Loaded) -> Option<ReloadReport> {
        let running = self.running.lock();
        let on_trial = running.get(name)?;
        let is_it = on_trial.running.as_ref()?.new.is_same_as(new);
        is_it.then(|| on_trial.last.clone())
    }

    fn ended(&self, name: &str) {
        self.running.lock().remove(name);
    }
}

impl PluginHost {
    /// Loads the plugin whose manifest lies at `manifest`, in the place of the version of it that serves now, if one
    /// does. Returns when calls in flight have ended, or when it has its first share of the calls; what is left goes
    /// on by [`tick`](Self::tick).
    ///
    /// # Errors
    /// As [`load_manifest`](Self::load_manifest); `Plugin` with [`PluginFault::Denied`] when it is granted more than
    /// the version before, with [`PluginFault::Lied`] or [`PluginFault::Refused`] for what its trial showed;
    /// `Unavailable` while somebody else reloads it. Whatever the error, what served before goes on serving.
    pub fn reload(
        &self,
        manifest: &Path,
        kernel: &Kernel,
        options: &ReloadOptions,
    ) -> KernelResult<ReloadReport> {
        // Only a manifest tells which plugin it is of.
        let name = self.name_in(manifest)?;
        let _claim = self.reloads.claim(&name)?;
        let old = self.serving(&name);
        let kind = old.as_ref().map_or(String::new(), |old| old.plugin.manifest.kind.to_string());
        let from = old.as_ref().map(Loaded::version_id);
        let attempt = Attempt::begin(&name, &kind, from, None, &options.asked_by);
        let mut attempt = attempt.numbered(self.next_id(kernel));
        match self.prepare_and_try(manifest, kernel, options, old, &mut attempt) {
            Ok(Tried::Added) => {
                let mut record = attempt.record().clone();
                record.outcome = Outcome::Added;
                self.remember(kernel, &record, options.keep);
                Ok(at_rest(record))
            }
            Ok(Tried::OnTrial(report)) => Ok(*report),
            Ok(Tried::Same) => {
                let mut record = attempt.record().clone();
                (record.outcome, record.reason) = (Outcome::Serving, "nothing has changed".into());
                Ok(at_rest(record))
            }
            Ok(Tried::Well(tried)) => {
                let Well { old, new, rules, trial } = *tried;
                let running = Running::new(attempt, old, new, rules, options, &trial);
                self.reloads.history.note(running.attempt.record());
                self.launch(running, kernel)
            }
            Err(error) => {
                attempt.fail(error.to_string());
                self.remember(kernel, attempt.record(), options.keep);
                tracing::warn!(target: "sochdb::plugin", plugin = name, %error, "not reloaded; what served before serves on");
                Err(error)
            }
        }
    }

    /// Preparing, and the part of Canary that needs no call of anybody.
    fn prepare_and_try(
        &self,
        manifest: &Path,
        kernel: &Kernel,
        options: &ReloadOptions,
        old: Option<Loaded>,
        attempt: &mut Attempt,
    ) -> KernelResult<Tried> {
        let new = self.prepare_file(manifest)?;
        attempt.set_to(new.version_id());
        let name = new.plugin.manifest.name.clone();
        let Some(old) = old else {
            new.adapter.check_tables(kernel)?;
            if options.keep
                && let Some(source) = &new.source
            {
                source.keep(kernel, &name)?;
            }
            self.register(vec![new], kernel.plugins())?;
            disabled::enable(kernel, &name)?;
            return Ok(Tried::Added);
        };
        old.check_same_kind(&new)?;
        if let Some(report) = self.reloads.on_trial(&name, &new) {
            return Ok(Tried::OnTrial(Box::new(report)));
        }
        self.supersede(&name, kernel)?;
        if old.is_same_as(&new) {
            return Ok(Tried::Same);
        }
        let (version, before) = (&new.plugin.manifest.version, &old.plugin.manifest.version);
        let wider = new.plugin.grant.wider_than(&old.plugin.grant);
        if !wider.is_empty() && !options.widen {
            let text = format!(
                "version {version} may do more than version {before}: {}; say that it may (`sochdb plugin install \
                 --widen`, `ReloadOptions::widen`)",
                wider.join(", ")
            );
            return Err(KernelError::plugin(&name, PluginFault::Denied, text));
        }
        let note = format!("version {before} to {version}, {} bytes", new.plugin.component.bytes);
        attempt.step(Event::Prepared, note);
        let rules = options.rules.clone();
        let rules = rules.unwrap_or_else(|| self.policy().reload_rules(&name));
        let trial = trial::run(&old, &new, kernel, &rules, options.one_way)?;
        Ok(Tried::Well(Box::new(Well { old, new, rules, trial })))
    }

    /// Gives a version that was tried its first share of the calls, or all of them.
    fn launch(&self, mut running: Running, kernel: &Kernel) -> KernelResult<ReloadReport> {
        let name = running.new.plugin.manifest.name.clone();
        let went = match running.first_share() {
            Some(share) => running.give(share).map(|()| self.turned(&running.old)),
            None => self.swap(&mut running),
        };
        if let Err(error) = went {
            self.end_trial(running, kernel, &error.to_string());
            return Err(error);
        }
        let report = running.report();
        let is_proven = running.rules.probation.is_zero() && report.state == State::Probation;
        self.remember(kernel, running.attempt.record(), running.keep);
        self.reloads.put(&name, running);
        match is_proven {
            true => Ok(self.step(&name, kernel)?.unwrap_or(report)),
            false => Ok(report),
        }
    }

    /// Swapping and Draining.
    fn swap(&self, running: &mut Running) -> KernelResult<()> {
        running.swap()?;
        self.turned(&running.old);
        let deadline = Instant::now() + running.rules.drain;
        loop {
            running.check()?;
            match running.old.adapter.calls_now() {
                0 => {
                    running.attempt.step(Event::Drained, "");
                    return Ok(());
                }
                calls if deadline <= Instant::now() => {
                    let note =
                        format!("{calls} calls still run on the version before, and end on it");
                    running.attempt.step(Event::TimeUp, note);
                    return Ok(());
                }
                _ => std::thread::sleep(DRAIN_STEP),
            }
        }
    }

    /// Goes on with what is under way: shares grow, probation ends, versions that failed are taken out. Cheap when
    /// nothing is; to be called some times in a second.
    pub fn tick(&self, kernel: &Kernel) {
        let names: Vec<_> = match self.reloads.running.try_lock() {
            Some(running) => running.keys().cloned().collect(),
            None => return,
        };
        for name in names {
            let Some(_claim) = self.reloads.claim_tick(&name) else { continue };
            if let Err(error) = self.step(&name, kernel) {
                tracing::warn!(target: "sochdb::plugin", plugin = name, %error, "reload");
            }
        }
    }

    /// Whether [`tick`](Self::tick) has anything to do.
    pub fn is_reloading(&self) -> bool {
        !self.reloads.running.lock().is_empty()
    }

    /// One step of what is under way with `name`, by whoever has claimed it.
    fn step(&self, name: &str, kernel: &Kernel) -> KernelResult<Option<ReloadReport>> {
        let Some(mut running) = self.reloads.take(name) else { return Ok(None) };
        let went = self.advance(&mut running, kernel);
        if let Err(error) = went {
            self.end_trial(running, kernel, &error.to_string());
            return Err(error);
        }
        let report = running.report();
        match running.attempt.is_over() {
            true => {
                self.remember(kernel, running.attempt.record(), running.keep);
                self.reloads.ended(name);
            }
            false => self.reloads.put(name, running),
        }
        Ok(Some(report))
    }

    fn advance(&self, running: &mut Running, kernel: &Kernel) -> KernelResult<()> {
        running.check()?;
        match running.attempt.state() {
            State::Canary if running.share_is_over() => match running.next_share() {
                Some(share) => running.give(share),
                None => self.swap(running),
            },
            State::Probation if running.probation_is_over() => self.settle(running, kernel),
            _ => Ok(()),
        }
    }

    /// The new version has proven itself.
    fn settle(&self, running: &mut Running, kernel: &Kernel) -> KernelResult<()> {
        let name = running.new.plugin.manifest.name.clone();
        let source = running.new.source.take().filter(|_| running.keep);
        let before = source.as_ref().map(|_| kept::load(kernel, &name));
        if let Some(source) = &source {
            source.keep(kernel, &name)?;
        }
        if !running.old.adapter.keep(&running.new.adapter) {
            // It failed a call meanwhile: the database keeps what it kept before.
            match before {
                Some(Ok(before)) => drop(kept::keep(kernel, &before)?),
                Some(Err(_)) => kept::remove(kernel, &name)?,
                None => {}
            }
            return Err(running.taken());
        }
        let Loaded { plugin, .. } = &running.new;
        let kept =
            Loaded { plugin: plugin.clone(), adapter: running.old.adapter.clone(), source: None };
        self.put(kept);
        self.turned(&running.old);
        running.attempt.step(Event::Proven, "it has proven itself");
        Ok(())
    }

    /// Ends the trial of a version, for good.
    fn end_trial(&self, mut running: Running, kernel: &Kernel, why: &str) {
        running.old.adapter.drop_trial(&running.new.adapter);
        running.attempt.fail(why);
        self.turned(&running.old);
        self.remember(kernel, running.attempt.record(), running.keep);
        self.reloads.ended(&running.new.plugin.manifest.name);
        let (plugin, version) =
            (&running.new.plugin.manifest.name, &running.new.plugin.manifest.version);
        tracing::warn!(target: "sochdb::plugin", plugin, %version, why, "rolled back");
    }

    /// The number of a new record. What the database remembers is read before the first.
    fn next_id(&self, kernel: &Kernel) -> u64 {
        self.reloads.loaded.get_or_init(|| {
            if let Err(error) = self.reloads.history.load(kernel) {
                tracing::warn!(target: "sochdb::plugin", %error, "some of the history of plugins cannot be read");
            }
        });
        self.reloads.history.next_id()
    }

    /// Takes what is on trial out, for something newer.
    pub(crate) fn supersede(&self, name: &str, kernel: &Kernel) -> KernelResult<()> {
        if let Some(mut running) = self.reloads.take(name) {
            running.attempt.step(Event::Superseded, "something newer came");
            self.end_trial(running, kernel, "something newer came");
        }
        Ok(())
    }

    /// Takes the version of `name` that is on trial out. Whether there was one.
    ///
    /// # Errors
    /// `Unavailable` while somebody changes it.
    pub fn roll_back(&self, name: &str, kernel: &Kernel, why: &str) -> KernelResult<bool> {
        let _claim = self.reloads.claim(name)?;
        let running = self.reloads.take(name);
        Ok(running.map(|running| self.end_trial(running, kernel, why)).is_some())
    }

    /// What each plugin that is being reloaded has come to.
    pub fn reloading(&self) -> Vec<ReloadReport> {
        let running = self.reloads.running.lock();
        running.values().map(|on_trial| on_trial.last.clone()).collect()
    }

    /// What came of reloads, the newest first; of one plugin, or of all.
    pub fn history(&self, plugin: Option<&str>) -> Vec<Record> {
        let under_way: BTreeSet<_> = {
            let running = self.reloads.running.lock();
            running.values().map(|on_trial| on_trial.last.record.id).collect()
        };
        let records = self.reloads.history.list(plugin).into_iter();
        let now = |record: Record| {
            let goes_on = under_way.contains(&record.id) || self.reloads.is_busy(&record.plugin);
            if goes_on { record } else { record.left_behind() }
        };
        records.map(now).collect()
    }

    /// Waits until nothing is on trial in the place of the plugin `name`, and returns what came of the newest
    /// change of it; `None` when that takes longer than `patience`, or nothing has changed so far.
    pub fn settled(&self, name: &str, kernel: &Kernel, patience: Duration) -> Option<Record> {
        let deadline = Instant::now() + patience;
        loop {
            self.tick(kernel);
            let is_running = self.reloads.running.lock().contains_key(name);
            if !is_running && !self.reloads.is_busy(name) {
                return self.history(Some(name)).into_iter().next();
            }
            if deadline <= Instant::now() {
                return None;
            }
            std::thread::sleep(SETTLE_STEP);
        }
    }

    /// Reads what the database remembers of earlier reloads.
    ///
    /// # Errors
    /// `Corrupt`, and what keeps rows from being read.
    pub fn load_history(&self, kernel: &Kernel) -> KernelResult<()> {
        self.reloads.history.load(kernel)
    }

    /// Remembers that somebody added, disabled or removed the plugin `name`.
    pub fn remember_change(&self, name: &str, outcome: Outcome, kernel: &Kernel) {
        let from = self.serving(name).as_ref().map(Loaded::version_id);
        let mut record = Record::new(name, "", from, None, "command");
        (record.id, record.outcome) = (self.next_id(kernel), outcome);
        self.remember(kernel, &record, true);
    }

    /// Remembers that the plugin `name` of a folder does not serve, and one that the database keeps does.
    pub fn remember_refusal(&self, name: &str, why: &KernelError, kernel: &Kernel) {
        let mut attempt =
            Attempt::begin(name, "", None, None, "opening").numbered(self.next_id(kernel));
        attempt.fail(why.to_string());
        self.remember(kernel, attempt.record(), true);
    }

    /// Remembers how far an attempt has come. That the database cannot take it changes nothing.
    pub(crate) fn remember(&self, kernel: &Kernel, record: &Record, keep: bool) {
        self.reloads.history.note(record);
        self.reloads.counted.count(record);
        if keep && let Err(error) = self.reloads.history.save(kernel, record) {
            tracing::debug!(target: "sochdb::plugin", %error, "the history of reloads is kept in memory only");
        }
    }
}

/// What came of preparing a version.
enum Tried {
    /// There was none before, and it serves.
    Added,
    /// It is the one that serves.
    Same,
    /// It is the one that is on trial.
    OnTrial(Box<ReloadReport>),
    /// It did well, and can have calls.
    Well(Box<Well>),
}

struct Well {
    old: Loaded,
    new: Loaded,
    rules: Rules,
    trial: TrialReport,
}

/// Nothing is left to do.
fn at_rest(record: Record) -> ReloadReport {
    let (plugin, trial) = (record.plugin.clone(), TrialReport::default());
    ReloadReport { plugin, state: State::Active, record, trial, share: WHOLE }
}

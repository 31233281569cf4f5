//! A version on trial: what it is to replace, how far it has come, and whether it is worse.

use super::{ReloadOptions, ReloadReport, TrialReport};
use crate::plugin_host::Loaded;
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use sochdb_reload::{Attempt, Event, Rules, worse};
use std::time::Instant;

/// A reload from its first share of the calls on.
pub(super) struct Running {
    pub(super) attempt: Attempt,
    /// What it is to replace; its adapter is the one that serves.
    pub(super) old: Loaded,
    /// The version on trial; its adapter only carries it.
    pub(super) new: Loaded,
    pub(super) rules: Rules,
    pub(super) keep: bool,
    pub(super) trial: TrialReport,
    /// How many of the steps were taken.
    steps: usize,
    /// Since when it has the share that it has.
    since: Instant,
}

impl Running {
    pub(super) fn new(
        attempt: Attempt,
        old: Loaded,
        new: Loaded,
        rules: Rules,
        options: &ReloadOptions,
        trial: &TrialReport,
    ) -> Running {
        let (keep, trial) = (options.keep, trial.clone());
        Running { attempt, old, new, rules, keep, trial, steps: 0, since: Instant::now() }
    }

    pub(super) fn report(&self) -> ReloadReport {
        ReloadReport {
            plugin: self.new.plugin.manifest.name.clone(),
            state: self.attempt.state(),
            record: self.attempt.record().clone(),
            trial: self.trial.clone(),
            share: self.share(),
        }
    }

    /// The share of the calls that it has, in thousandths.
    pub(super) fn share(&self) -> u16 {
        self.old.adapter.share_of(&self.new.adapter).unwrap_or_default()
    }

    /// The share it begins with, if it does not begin with all calls.
    pub(super) fn first_share(&self) -> Option<u16> {
        self.rules.steps.first().copied()
    }

    /// The share that follows the one it has.
    pub(super) fn next_share(&self) -> Option<u16> {
        self.rules.steps.get(self.steps).copied()
    }

    /// Gives it `share` thousandths of the calls.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn give(&mut self, share: u16) -> KernelResult<()> {
        if 0 < self.steps {
            self.check()?;
        }
        if !self.old.adapter.begin(&self.new.adapter, share) {
            return Err(self.taken());
        }
        (self.steps, self.since) = (self.steps + 1, Instant::now());
        self.attempt.remark(&format!("{share} of 1,000 calls"));
        Ok(())
    }

    /// Has it serve every call.
    ///
    /// # Errors
    /// What an instance ended with.
    pub(super) fn swap(&mut self) -> KernelResult<()> {
        self.attempt.step(Event::Passed, self.trial.summary());
        let swapped = self.old.adapter.swap(&self.new.adapter)?;
        if !swapped.has_begun {
            return Err(self.taken());
        }
        let note = match (swapped.state_bytes, swapped.lost) {
            (0, 0) => String::new(),
            (bytes, 0) => format!("{bytes} bytes handed over"),
            (_, lost) => {
                format!("{lost} instances failed when they were asked what they know; that is lost")
            }
        };
        self.attempt.step(Event::Swapped, note);
        self.since = Instant::now();
        Ok(())
    }

    pub(super) fn share_is_over(&self) -> bool {
        self.rules.step <= self.since.elapsed()
    }

    pub(super) fn probation_is_over(&self) -> bool {
        self.rules.probation <= self.since.elapsed()
    }

    /// Whether it is still on trial, and no worse than the version before.
    ///
    /// # Errors
    /// `Plugin` with why it is not.
    pub(super) fn check(&self) -> KernelResult<()> {
        if self.old.adapter.share_of(&self.new.adapter).is_none() {
            return Err(self.taken());
        }
        match worse(&self.old.plugin.meter, &self.new.plugin.meter, &self.rules) {
            Some(why) => Err(self.error(PluginFault::Refused, &why)),
            None => Ok(()),
        }
    }

    pub(super) fn taken(&self) -> KernelError {
        let why = self.new.plugin.why_taken_out().unwrap_or("another version has taken its place");
        self.error(PluginFault::Refused, why)
    }

    fn error(&self, fault: PluginFault, why: &str) -> KernelError {
        let manifest = &self.new.plugin.manifest;
        let text = format!("version {} was taken back: {why}", manifest.version);
        KernelError::plugin(&manifest.name, fault, text)
    }
}

//! The plugins of an open database: added, replaced, disabled, removed while it serves.

use crate::database::Database;
use crate::on_demand::Plugins;
use sochdb_host_abi::kept::{self, KeptInfo};
use sochdb_host_abi::{PluginHost, ReloadOptions, ReloadReport, bundled, dependents, disabled};
use sochdb_kernel::{Kernel, KernelError, KernelResult};
use sochdb_reload::{Outcome, Record, Rules};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

impl Database {
    /// Loads the plugin whose manifest lies at `manifest`, in the place of the version of it that serves now, if
    /// one does, and lets the database keep it. Returns its name when the new version serves every call, without
    /// a trial among them: see [`reload_plugin`](Self::reload_plugin) for one.
    ///
    /// # Errors
    /// As [`reload_plugin`](Self::reload_plugin); what served before goes on serving.
    pub fn install_plugin(&self, manifest: impl AsRef<Path>) -> KernelResult<String> {
        let rules = Rules { probation: Duration::ZERO, steps: Vec::new(), ..Rules::default() };
        let options = ReloadOptions { rules: Some(rules), ..ReloadOptions::default() };
        self.reload_plugin(manifest, &options).map(|report| report.plugin)
    }

    /// Loads the plugin whose manifest lies at `manifest`, in the place of the version of it that serves now, if
    /// one does, while calls go on: none of them fails or waits for it. The new version is tried first; it serves,
    /// in shares if the policy says so, with the old one to fall back on, until it has proven itself. Then the
    /// database keeps it. One that was disabled is enabled by it. [`plugin_reloads`](Self::plugin_reloads) and [`plugin_history`](Self::plugin_history) tell
    /// how it goes on after this returns.
    ///
    /// # Errors
    /// `Invalid` for a bad manifest or component; `Plugin` when it fails its own test or its trial, cannot read what
    /// there is, writes what the old version cannot read, or is granted more than the old one; `Unavailable` while
    /// somebody else changes this plugin. What served before goes on serving.
    pub fn reload_plugin(
        &self,
        manifest: impl AsRef<Path>,
        options: &ReloadOptions,
    ) -> KernelResult<ReloadReport> {
        self.plugins.load()?.reload(manifest.as_ref(), &self.kernel, options)
    }

    /// Takes the version of the plugin `name` that is on trial out; the one before serves on. Whether there was one.
    ///
    /// # Errors
    /// `Unavailable` while somebody else changes this plugin.
    pub fn roll_back_plugin(&self, name: &str) -> KernelResult<bool> {
        let Some(host) = self.plugins.host() else { return Ok(false) };
        host.roll_back(name, &self.kernel, "somebody asked for it")
    }

    /// The plugins that have a version on trial, and how far it has come.
    pub fn plugin_reloads(&self) -> Vec<ReloadReport> {
        let Some(host) = self.plugins.host() else { return Vec::new() };
        host.tick(&self.kernel);
        host.reloading()
    }

    /// Waits until no version of the plugin `name` is on trial, and returns what came of the newest change of it;
    /// `None` when that takes longer than `patience`, or nothing has changed.
    pub fn plugin_settled(&self, name: &str, patience: Duration) -> Option<Record> {
        self.plugins.host()?.settled(name, &self.kernel, patience)
    }

    /// What became of plugins: reloads with their states and reasons, and who was added, disabled or removed; the
    /// newest first. Of one plugin, or of all.
    ///
    /// # Errors
    /// `Corrupt` when the database's memory of it cannot be read.
    pub fn plugin_history(&self, name: Option<&str>) -> KernelResult<Vec<Record>> {
        let host = self.plugins.load()?;
        host.tick(&self.kernel);
        host.load_history(&self.kernel)?;
        Ok(host.history(name))
    }

    /// Takes the plugin `name` out of service until [`enable_plugin`](Self::enable_plugin), also for later openings.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Invalid` when tables need it, with their names.
    pub fn disable_plugin(&self, name: &str) -> KernelResult<()> {
        self.managed().disable(name)
    }

    /// Puts a disabled plugin back into service. Whether it was disabled.
    ///
    /// # Errors
    /// As loading it; then it stays disabled.
    pub fn enable_plugin(&self, name: &str) -> KernelResult<bool> {
        self.managed().enable(name)
    }

    /// The names of disabled plugins.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn disabled_plugins(&self) -> KernelResult<Vec<String>> {
        Ok(disabled::list(&self.kernel)?.into_iter().collect())
    }

    /// Removes the plugin `name`: it serves no longer, and the database keeps it no longer. One that is part of this
    /// program is there again afterwards, as this program has it.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Invalid` when tables need it, with their names.
    pub fn remove_plugin(&self, name: &str) -> KernelResult<()> {
        self.managed().remove(name)
    }

    /// The plugins that the database keeps, sorted by name.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn kept_plugins(&self) -> KernelResult<Vec<KeptInfo>> {
        kept::list(&self.kernel)
    }

    fn managed(&self) -> Managed {
        Managed { kernel: self.kernel.clone(), plugins: self.plugins.clone(), keeps: true }
    }
}

/// What changes which plugins there are.
pub(crate) struct Managed {
    pub(crate) kernel: Kernel,
    pub(crate) plugins: Arc<Plugins>,
    /// Whether the database keeps what it is given.
    pub(crate) keeps: bool,
}

impl Managed {
    pub(crate) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    pub(crate) fn host(&self) -> KernelResult<&Arc<PluginHost>> {
        self.plugins.load()
    }

    pub(crate) fn is_disabled(&self, name: &str) -> KernelResult<bool> {
        Ok(disabled::list(&self.kernel)?.contains(name))
    }

    /// As [`Database::disable_plugin`].
    ///
    /// # Errors
    /// As there.
    fn disable(&self, name: &str) -> KernelResult<()> {
        if !self.is_there(name) && bundled::find(name).is_none() && !self.is_kept(name)? {
            return Err(KernelError::NotFound { kind: "plugin", name: name.to_owned() });
        }
        self.check_not_needed(name)?;
        disabled::disable(&self.kernel, name)?;
        self.plugins.unload(name, &self.kernel)?;
        self.remember(name, Outcome::Disabled)
    }

    /// As [`Database::enable_plugin`].
    ///
    /// # Errors
    /// As there.
    fn enable(&self, name: &str) -> KernelResult<bool> {
        if !self.is_disabled(name)? {
            return Ok(false);
        }
        self.host()?.load_again(name, &self.kernel)?;
        disabled::enable(&self.kernel, name)?;
        self.remember(name, Outcome::Enabled)?;
        Ok(true)
    }

    /// As [`Database::remove_plugin`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn remove(&self, name: &str) -> KernelResult<()> {
        let (is_kept, is_bundled) = (self.is_kept(name)?, bundled::find(name).is_some());
        let is_there = self.is_there(name);
        if !is_kept && (is_bundled || !is_there) {
            return Err(KernelError::NotFound { kind: "kept plugin", name: name.to_owned() });
        }
        if !is_bundled {
            self.check_not_needed(name)?;
        }
        match (is_there, is_bundled) {
            // What this program has may not be able to read what the other one wrote.
            (true, true) => drop(self.host()?.load_bundled_again(name, &self.kernel)?),
            (true, false) => drop(self.plugins.unload(name, &self.kernel)?),
            (false, _) => {}
        }
        if is_kept {
            kept::remove(&self.kernel, name)?;
        }
        self.remember(name, Outcome::Removed)
    }

    fn is_there(&self, name: &str) -> bool {
        self.plugins.host().is_some_and(|host| host.has(name))
    }

    fn is_kept(&self, name: &str) -> KernelResult<bool> {
        Ok(kept::list(&self.kernel)?.iter().any(|kept| kept.name == name))
    }

    fn check_not_needed(&self, name: &str) -> KernelResult<()> {
        let needing = dependents(&self.kernel, name)?;
        if needing.is_empty() {
            return Ok(());
        }
        let text = format!("the plugin '{name}' is needed by: {}", needing.join(", "));
        Err(KernelError::invalid(text))
    }

    fn remember(&self, name: &str, outcome: Outcome) -> KernelResult<()> {
        self.host()?.remember_change(name, outcome, &self.kernel);
        Ok(())
    }
}

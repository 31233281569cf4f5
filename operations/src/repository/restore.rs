//! Restores a backup of a repository, and goes on from there with all the log that can be found.
//!
//! ```text
//!   monday ──── tuesday ──── wednesday ──── (the database's own archive) ──▶
//!      └ base     └ log since monday  └ log since tuesday  └ --log
//! ```
//!
//! The base is the newest backup that is not behind the moment. What came since is in the logs that are named,
//! and, when those do not have it, in the backups that were made later.

use super::manifest::Manifest;
use super::view::View;
use super::{Opened, Repository};
use crate::backup::{BackupReport, restore_from};
use crate::moment::{Moment, RestoreError, commit_at, merged};
use crate::progress::OnProgress;
use crate::times::{Recorded, recorded};
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::vfs::Vfs;
use sochdb_kernel::{Environment, KernelError, KernelResult, Timestamp};
use std::sync::Arc;

impl Repository {
    /// Makes a database in the empty directory `target` of the backup `name`, or of the newest that is not behind
    /// the moment, and goes on to the moment with the log: that of the directories `logs` (each one of the
    /// database, or what is left of it), and that of later backups. [`Moment::Newest`] without `logs` is the
    /// backup as it was saved; with them it is the end of the log.
    ///
    /// # Errors
    /// As [`restore_to`](crate::restore_to). `NotFound` when there is no such backup, or none old enough,
    /// `Invalid` when backups of several databases are there and none is named, `Corrupt` when a chunk is not
    /// what was saved.
    pub fn restore(
        &self,
        name: Option<&str>,
        logs: &[&dyn Vfs],
        codecs: &PluginManager,
        target: &Environment,
        to: Moment,
        progress: OnProgress<'_>,
    ) -> Result<BackupReport, RestoreError> {
        let opened = Arc::new(Opened::new(&self.vfs)?);
        let view =
            |manifest: &Manifest| View::new(&self.vfs.root(), opened.clone(), manifest.clone());
        let all = self.of_one_database(name)?;
        let known = known_times(&all, &view)?;
        let base = match name {
            Some(name) => all.iter().find(|manifest| manifest.name == name),
            None => self.base(&all, logs, &known, to)?,
        };
        let Some(base) = base else {
            let name = format!("(one not behind {to})");
            return Err(KernelError::NotFound { kind: "backup", name }.into());
        };
        let is_as_saved = to == Moment::Newest && logs.is_empty();
        let to = if is_as_saved { Moment::Commit(Timestamp(base.commit)) } else { to };
        let later = if is_as_saved { Vec::new() } else { later(&all, base, logs.is_empty()) };
        let later: Vec<View> = later.into_iter().map(view).collect();
        let copies: Vec<&dyn Vfs> = later.iter().map(|view| view as &dyn Vfs).collect();
        let from = view(base);
        let backup = Environment::with_vfs(Arc::new(from.clone()));
        let done = restore_from(&backup, (logs, &copies), (codecs, &known), target, to, progress);
        // What a chunk says of itself says more than that a read failed.
        done.map_err(|error| match later.iter().chain([&from]).find_map(View::trouble) {
            Some(trouble) => RestoreError::Kernel(trouble),
            None => error,
        })
    }

    /// The backup `name` as a database that can only be read: to look into it without restoring it. Nobody else
    /// works in the repository meanwhile.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Unavailable`.
    pub fn environment(&self, name: &str) -> KernelResult<Environment> {
        let manifest = Manifest::read(&*self.vfs, name)?;
        let opened = Arc::new(Opened::new(&self.vfs)?);
        let view = View::new(&self.vfs.root(), opened, manifest);
        Ok(Environment::with_vfs(Arc::new(view)))
    }

    /// The backups of the database that the backup `name` is of, or of the only one, by their commits.
    fn of_one_database(&self, name: Option<&str>) -> KernelResult<Vec<Manifest>> {
        let mut all = match name {
            // A broken manifest must not keep the others from being restored.
            Some(name) => {
                let named = Manifest::read(&*self.vfs, name)?;
                let names = super::manifest::names(&*self.vfs)?;
                let others = names.iter().filter(|other| *other != name);
                let others = others.filter_map(|name| Manifest::read(&*self.vfs, name).ok());
                let others = others.filter(|other| other.database == named.database);
                others.chain([named.clone()]).collect()
            }
            None => self.manifests()?,
        };
        if all.iter().any(|manifest| manifest.database != all[0].database) {
            let root = self.vfs.root();
            return Err(KernelError::Invalid(format!(
                "{root} has backups of several databases; name the backup to restore"
            )));
        }
        all.sort_by_key(|manifest| (manifest.commit, manifest.made_us));
        Ok(all)
    }

    /// The newest of the backups `all` that is not behind the moment `to`.
    fn base<'a>(
        &self,
        all: &'a [Manifest],
        logs: &[&dyn Vfs],
        known: &[Recorded],
        to: Moment,
    ) -> Result<Option<&'a Manifest>, RestoreError> {
        let commit = match (to, all.first()) {
            (Moment::Newest, _) | (_, None) => Timestamp(u64::MAX),
            (Moment::Commit(commit), _) => commit,
            (Moment::Time(wanted_us), Some(first)) => {
                let mut lines = known.to_vec();
                for log in logs {
                    lines.append(&mut recorded(*log, first.database)?);
                }
                let newest = Timestamp(u64::MAX);
                commit_at(wanted_us, &merged(lines), Timestamp(first.folded), newest)?.commit
            }
        };
        // Of two of one commit the later one, and a backup can go back as far as its data file.
        let fits = |manifest: &&Manifest| Timestamp(manifest.commit) <= commit;
        let reaches = |manifest: &&Manifest| Timestamp(manifest.folded) <= commit;
        Ok(all.iter().rfind(fits).or_else(|| all.iter().find(reaches)))
    }
}

/// The backups that may know how the log goes on behind `base`, newest first: behind the end of each but the
/// newest another one knows better. If `alone`, those behind a gap are left out: nobody else can close it.
fn later<'a>(all: &'a [Manifest], base: &Manifest, alone: bool) -> Vec<&'a Manifest> {
    let (mut later, mut end) = (Vec::new(), base.log_end);
    for manifest in all.iter().filter(|manifest| base.log_end < manifest.log_end) {
        if !alone || manifest.log_start <= end {
            end = end.max(manifest.log_end);
            later.insert(0, manifest);
        }
    }
    later
}

/// The times that backups know: those they have of the database's record, and when they were made themselves.
fn known_times(all: &[Manifest], view: &dyn Fn(&Manifest) -> View) -> KernelResult<Vec<Recorded>> {
    let mut known = Vec::new();
    for manifest in all {
        let view = view(manifest);
        match recorded(&view, manifest.database) {
            Ok(mut lines) => known.append(&mut lines),
            Err(error) => return Err(view.trouble().unwrap_or(error)),
        }
        let Manifest { newest, made_us, .. } = *manifest;
        known.push(Recorded { commit: Timestamp(newest), from_us: made_us, until_us: made_us });
    }
    Ok(merged(known))
}

//! The folders of plugins that a database watches: who comes before whom, and what a change of a file means.
//!
//! | later wins | where a plugin comes from                                                  |
//! |-----------:|----------------------------------------------------------------------------|
//! |          1 | this program                                                               |
//! |          2 | the database itself, which keeps what was loaded from folders before       |
//! |          3 | its own folder, `plugins` in the database's directory                      |
//! |          4 | folders that the embedder names, in the order in which they are named      |
//!
//! - A manifest that comes or changes is reloaded as [`Database::reload_plugin`](crate::Database::reload_plugin)
//!   would, once its folder is quiet. What it is granted may not become more that way.
//! - A manifest that goes asks to remove its plugin, unless a folder before has another one of that name. While
//!   tables need it, or when nobody watches, the database keeps it and it serves on.
//! - A file that is wrong changes nothing. It is tried again when it changes.

use crate::plugins::Managed;
use sochdb_host_abi::{PluginHost, ReloadOptions, component_named, manifests_in};
use sochdb_kernel::{KernelError, KernelResult};
use sochdb_reload::folders::Scanner;
use sochdb_reload::watch::{Answer, Watch, WatchOptions, Watcher};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name of a database's own folder of plugins, in its directory.
pub const PLUGINS_FOLDER: &str = "plugins";

/// Folders as they were before anything was loaded from them.
pub(crate) struct Seen {
    scanners: Vec<Scanner>,
    applied: BTreeMap<PathBuf, sochdb_reload::folders::Print>,
}

impl Seen {
    /// Looks at `dirs` now.
    ///
    /// # Errors
    /// `Unavailable` when one cannot be read.
    pub(crate) fn now(dirs: &[PathBuf]) -> KernelResult<Seen> {
        let (mut scanners, mut applied) = (Vec::new(), BTreeMap::new());
        for dir in dirs {
            let mut scanner = Scanner::new(dir.clone(), component_named);
            let found = scanner.scan().map_err(|error| {
                KernelError::io(format!("read the plugin folder {}", dir.display()), error)
            })?;
            applied.extend(found);
            scanners.push(scanner);
        }
        Ok(Seen { scanners, applied })
    }

    /// Watches them from then on.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(crate) fn watch(self, managed: Managed) -> std::io::Result<Watch> {
        let dirs = self.scanners.iter().map(|scanner| scanner.folder().to_owned()).collect();
        let mut folders = Folders { managed, dirs, names: BTreeMap::new() };
        self.applied.keys().for_each(|manifest| folders.learn(manifest));
        Watch::start_after(self.scanners, self.applied, WatchOptions::default(), Box::new(folders))
    }
}

/// What changes in folders mean for a database.
struct Folders {
    managed: Managed,
    /// In the order of precedence, the last wins.
    dirs: Vec<PathBuf>,
    /// Which plugin each manifest was of when it could last be read.
    names: BTreeMap<PathBuf, String>,
}

impl Folders {
    fn learn(&mut self, manifest: &Path) {
        if let Ok(host) = self.managed.host()
            && let Ok(name) = host.name_in(manifest)
        {
            self.names.insert(manifest.to_owned(), name);
        }
    }

    /// The manifest that the plugin `name` comes from: of several, the one in the last folder.
    fn manifest_of(&self, host: &PluginHost, name: &str) -> Option<PathBuf> {
        let is_it = |manifest: &PathBuf| host.name_in(manifest).is_ok_and(|found| found == name);
        self.dirs.iter().rev().find_map(|dir| manifests_in(dir).ok()?.into_iter().rfind(is_it))
    }

    fn reload(&mut self, manifest: &Path) -> KernelResult<Answer> {
        let host = self.managed.host()?;
        let folder = manifest.parent().unwrap_or(Path::new("")).display();
        let asked_by = format!("folder {folder}");
        let options = ReloadOptions { asked_by, keep: self.managed.keeps, ..Default::default() };
        if let Ok(name) = host.name_in(manifest) {
            self.names.insert(manifest.to_owned(), name.clone());
            if self.managed.is_disabled(&name)? {
                // It is when somebody enables it.
                return Ok(Answer::Later);
            }
            let serving = self.manifest_of(host, &name);
            if let Some(other) = serving.filter(|other| other != manifest) {
                let other = other.display();
                tracing::info!(target: "sochdb::plugin", plugin = name, "comes from {other}, and so is not reloaded");
                return Ok(Answer::Done);
            }
        }
        host.reload(manifest, self.managed.kernel(), &options).map(|_| Answer::Done)
    }

    fn removed(&mut self, manifest: &Path) -> KernelResult<Answer> {
        let Some(name) = self.names.remove(manifest) else { return Ok(Answer::Done) };
        let host = self.managed.host()?;
        match self.manifest_of(host, &name) {
            Some(other) => self.reload(&other),
            None => self.managed.remove(&name).map(|()| Answer::Done),
        }
    }
}

/// That somebody else is at it, or has disabled it, is a reason to try again; everything else is told, and waits
/// for a change.
fn answer(manifest: &Path, done: KernelResult<Answer>) -> Answer {
    match done {
        Ok(answer) => answer,
        Err(KernelError::Unavailable { source: None, .. }) => Answer::Later,
        Err(error) => {
            let manifest = manifest.display();
            tracing::warn!(target: "sochdb::plugin", %manifest, %error, "what served before serves on");
            Answer::Done
        }
    }
}

impl Watcher for Folders {
    fn changed(&mut self, manifest: &Path) -> Answer {
        let done = self.reload(manifest);
        answer(manifest, done)
    }

    fn gone(&mut self, manifest: &Path) -> Answer {
        let done = self.removed(manifest);
        answer(manifest, done)
    }

    fn wants_tick(&mut self) -> bool {
        self.managed.host().is_ok_and(|host| host.is_reloading())
    }

    fn tick(&mut self) {
        if let Ok(host) = self.managed.host() {
            host.tick(self.managed.kernel());
        }
    }
}

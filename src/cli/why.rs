//! Which of several plugins of one name serves, and why the others do not.
//!
//! | later wins | a candidate comes from                  | it does not serve when                                   |
//! |-----------:|-----------------------------------------|----------------------------------------------------------|
//! |          1 | this program                            | it sleeps until the policy grants what it asks for       |
//! |          2 | the database, which keeps it            | it cannot be loaded: then the database is not opened     |
//! |          3 | the database's own folder `plugins`     | it cannot be loaded: then the kept one serves, and       |
//! |          4 | folders given, in the order given       | without one the database is not opened                   |
//!
//! Any of them does not serve when a later one does, or when the name is disabled. Within a folder the manifest whose
//! name comes last wins. A manifest that cannot be read has no name but its file's.
//!
//! Candidates are loaded one after the other into a host of their own, as an opening would load them; the database is
//! only read, and no plugin takes part in that.

use super::Session;
use super::failure::{Failure, Outcome};
use super::plugins;
use serde::Serialize;
use sochdb::folders::PLUGINS_FOLDER;
use sochdb::host::{PluginManifest, bundled, disabled, kept, manifests_in};
use sochdb::plugin::PluginManager;
use sochdb::{ErrorKind, Kernel, KernelResult, PluginHost};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A plugin that would serve under its name, if nothing kept it from that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Candidate {
    /// Where it comes from: `bundled`, `kept in the database`, or the path of its manifest.
    pub from: String,
    /// Its version, as far as its manifest can be read.
    pub version: Option<String>,
    /// Whether it serves, or what kind of reason keeps it from that.
    pub standing: Standing,
    /// Why it does not serve; empty when it does.
    pub why: String,
    #[serde(skip)]
    rank: Rank,
}

/// Whether a candidate serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It does.
    Serves,
    /// Another one of its name serves.
    Shadowed,
    /// Somebody has disabled the plugin of this name.
    Disabled,
    /// The policy grants it none of the directories or addresses that it asks for.
    Sleeps,
    /// It cannot be loaded.
    Unloadable,
}

impl Standing {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Serves => "serves",
            Standing::Shadowed => "shadowed",
            Standing::Disabled => "disabled",
            Standing::Sleeps => "sleeps",
            Standing::Unloadable => "cannot be loaded",
        }
    }
}

/// The kinds of places, later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Bundled,
    Kept,
    Folder,
}

/// All candidates by name, those with precedence first.
pub type Candidates = BTreeMap<String, Vec<Candidate>>;

/// The candidates for the database of `session`, or for one that would be made there.
pub fn candidates(session: &Session) -> Outcome<Candidates> {
    let kernel = match session.kernel() {
        Ok(kernel) => Some(kernel),
        Err(missing) if missing.exit == super::failure::Exit::NotFound => None,
        Err(other) => return Err(other),
    };
    let host = plugins::host(session)?;
    let found = look(&host, kernel.as_deref(), &folders(session));
    if let Some(kernel) = kernel {
        kernel.close()?;
    }
    found
}

/// The folders that plugins of this session's database come from, in order; the database's own only if it is there.
pub fn folders(session: &Session) -> Vec<PathBuf> {
    let own = session.common.directory.join(PLUGINS_FOLDER);
    let own = Some(own).filter(|own| own.is_dir());
    own.into_iter().chain(session.common.plugin_dirs.iter().cloned()).collect()
}

/// The names of plugins that are disabled in the database of `session`, if there is one.
pub fn disabled_names(session: &Session) -> Outcome<BTreeSet<String>> {
    let kernel = match session.kernel() {
        Ok(kernel) => kernel,
        Err(missing) if missing.exit == super::failure::Exit::NotFound => {
            return Ok(BTreeSet::new());
        }
        Err(other) => return Err(other),
    };
    let names = disabled::list(&kernel);
    kernel.close()?;
    Ok(names?)
}

fn look(host: &PluginHost, kernel: Option<&Kernel>, folders: &[PathBuf]) -> Outcome<Candidates> {
    let mut looking =
        Looking { host, alone: PluginManager::default(), kernel, found: Candidates::new() };
    looking.bundled()?;
    if let Some(kernel) = kernel {
        looking.kept(kernel)?;
    }
    folders.iter().try_for_each(|folder| looking.folder(folder))?;
    let disabled = kernel.map_or_else(|| Ok(BTreeSet::new()), disabled::list)?;
    let mut found = looking.found;
    for (name, candidates) in &mut found {
        judge(candidates, disabled.contains(name));
        candidates.reverse();
    }
    Ok(found)
}

/// Loads candidates, one after the other.
struct Looking<'a> {
    host: &'a PluginHost,
    /// Where plugins are registered when there is no database.
    alone: PluginManager,
    kernel: Option<&'a Kernel>,
    found: Candidates,
}

impl Looking<'_> {
    fn plugins(&self) -> &PluginManager {
        self.kernel.map_or(&self.alone, |kernel| kernel.plugins())
    }

    fn bundled(&mut self) -> Outcome {
        for plugin in bundled::PLUGINS {
            let manifest =
                plugin.manifest().map_err(|error| Failure::invalid(error.to_string()))?;
            let asleep = !self.host.policy().wakes(&manifest);
            let loaded = match asleep {
                true => Ok(()),
                false => self.host.load_one_bundled(plugin.name, self.plugins()),
            };
            let mut candidate = Candidate::new("bundled", Rank::Bundled, Some(&manifest), loaded);
            if asleep {
                candidate.standing = Standing::Sleeps;
                candidate.why = asks_for(&manifest);
            }
            self.add(plugin.name, candidate);
        }
        Ok(())
    }

    fn kept(&mut self, kernel: &Kernel) -> Outcome {
        for kept in kept::list(kernel)? {
            let manifest = PluginManifest::parse("the kept manifest", &kept.manifest).ok();
            let loaded = self.host.load_kept_instead(&kept.name, kernel).map(drop);
            let from = "kept in the database";
            self.add(&kept.name, Candidate::new(from, Rank::Kept, manifest.as_ref(), loaded));
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Path) -> Outcome {
        for path in manifests_in(folder)? {
            let from = path.display().to_string();
            let loaded = self.host.load_manifest(&path, self.plugins());
            let loaded = loaded.and_then(|name| self.reads_tables(&name));
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let manifest = PluginManifest::parse(&from, &text).ok();
            let by_file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let name = manifest.as_ref().map_or(by_file, |manifest| manifest.name.clone());
            self.add(&name, Candidate::new(&from, Rank::Folder, manifest.as_ref(), loaded));
        }
        Ok(())
    }

    /// Whether the plugin `name`, of a folder, reads what the database has.
    fn reads_tables(&self, name: &str) -> KernelResult<()> {
        let Some(kernel) = self.kernel else { return Ok(()) };
        let unfit = self.host.unfit(kernel).into_iter().find(|(unfit, _)| unfit == name);
        unfit.map_or(Ok(()), |(_, error)| Err(error))
    }

    fn add(&mut self, name: &str, candidate: Candidate) {
        self.found.entry(name.to_owned()).or_default().push(candidate);
    }
}

impl Candidate {
    /// One that would serve if it was loaded, as long as nobody says otherwise.
    fn new(
        from: &str,
        rank: Rank,
        manifest: Option<&PluginManifest>,
        loaded: KernelResult<()>,
    ) -> Candidate {
        let (standing, why) = match loaded {
            Ok(()) => (Standing::Serves, String::new()),
            Err(error) if error.kind() == ErrorKind::Invalid => {
                let text = error.to_string();
                let text = text.strip_prefix("invalid: ").unwrap_or(&text).to_owned();
                (Standing::Unloadable, text)
            }
            Err(error) => (Standing::Unloadable, error.to_string()),
        };
        let version = manifest.map(|manifest| manifest.version.to_string());
        Candidate { from: from.to_owned(), version, standing, why, rank }
    }
}

/// What a plugin sleeps for.
fn asks_for(manifest: &PluginManifest) -> String {
    let capabilities = &manifest.capabilities;
    let what = match (capabilities.directories.is_empty(), capabilities.addresses.is_empty()) {
        (false, true) => "directories",
        (true, false) => "addresses",
        _ => "directories or addresses",
    };
    format!("until --policy grants it one of the {what} that it asks for")
}

/// Says of the candidates for one name, in the order of precedence, which one serves, and why the others do not.
fn judge(candidates: &mut [Candidate], is_disabled: bool) {
    let can_serve = |candidate: &Candidate| candidate.standing == Standing::Serves;
    let is_broken = |candidate: &Candidate| candidate.standing == Standing::Unloadable;
    let of_folders_broken =
        candidates.iter().any(|candidate| candidate.rank == Rank::Folder && is_broken(candidate));
    let kept = candidates.iter().position(|candidate| candidate.rank == Rank::Kept);
    let best = candidates.iter().rposition(can_serve);
    let serving = match (of_folders_broken, kept) {
        // The opening takes the kept one in the place of whatever folders have, or there is no opening.
        (true, kept) => kept.filter(|kept| can_serve(&candidates[*kept])),
        (false, Some(kept)) if is_broken(&candidates[kept]) => best.filter(|best| kept < *best),
        (false, _) => best,
    };
    let is_unopened = serving.is_none() && candidates.iter().any(is_broken) && !is_disabled;
    let serving_from = serving.map(|serving| candidates[serving].from.clone());
    for (at, candidate) in candidates.iter_mut().enumerate() {
        match candidate.standing {
            Standing::Unloadable if is_unopened => {
                candidate.why += "; the database is not opened with it";
            }
            Standing::Serves if is_disabled => {
                candidate.standing = Standing::Disabled;
                candidate.why = "`sochdb plugin enable` puts it back into service".to_owned();
            }
            Standing::Serves if serving != Some(at) => {
                candidate.standing = Standing::Shadowed;
                candidate.why = match &serving_from {
                    Some(by) => format!("by {by}"),
                    None => "by one that cannot be loaded".to_owned(),
                };
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(candidates: &[(Rank, &str, Standing)], is_disabled: bool, expected: Expect) {
        let candidate = |(rank, from, standing): &(Rank, &str, Standing)| {
            let why = if *standing == Standing::Unloadable { "bad" } else { "" };
            let (from, why) = ((*from).to_owned(), why.to_owned());
            Candidate { from, version: None, standing: *standing, why, rank: *rank }
        };
        let mut candidates: Vec<_> = candidates.iter().map(candidate).collect();
        judge(&mut candidates, is_disabled);
        let line = |Candidate { from, standing, why, .. }: &Candidate| {
            format!("{from}: {} {why}", standing.name()).trim_end().to_owned()
        };
        expected.assert_eq(&candidates.iter().map(line).collect::<Vec<_>>().join("\n"));
    }

    const BUNDLED: (Rank, &str, Standing) = (Rank::Bundled, "bundled", Standing::Serves);
    const KEPT: (Rank, &str, Standing) = (Rank::Kept, "kept", Standing::Serves);
    const OWN: (Rank, &str, Standing) = (Rank::Folder, "own", Standing::Serves);
    const GIVEN: (Rank, &str, Standing) = (Rank::Folder, "given", Standing::Serves);

    fn bad(of: (Rank, &'static str, Standing)) -> (Rank, &'static str, Standing) {
        (of.0, of.1, Standing::Unloadable)
    }

    #[test]
    fn the_last_of_several_serves_and_the_others_are_in_its_shadow() {
        check(&[BUNDLED], false, expect!["bundled: serves"]);
        check(
            &[BUNDLED, KEPT, OWN, GIVEN],
            false,
            expect![[r#"
                bundled: shadowed by given
                kept: shadowed by given
                own: shadowed by given
                given: serves"#]],
        );
    }

    #[test]
    fn the_kept_one_serves_in_the_place_of_one_in_a_folder_that_does_not_work() {
        check(
            &[BUNDLED, KEPT, OWN, bad(GIVEN)],
            false,
            expect![[r#"
                bundled: shadowed by kept
                kept: serves
                own: shadowed by kept
                given: cannot be loaded bad"#]],
        );
        check(
            &[BUNDLED, bad(GIVEN)],
            false,
            expect![[r#"
                bundled: shadowed by one that cannot be loaded
                given: cannot be loaded bad; the database is not opened with it"#]],
        );
    }

    #[test]
    fn a_kept_one_that_does_not_work_matters_only_where_no_folder_has_one() {
        check(
            &[bad(KEPT), OWN],
            false,
            expect![[r#"
                kept: cannot be loaded bad
                own: serves"#]],
        );
        check(
            &[BUNDLED, bad(KEPT)],
            false,
            expect![[r#"
                bundled: shadowed by one that cannot be loaded
                kept: cannot be loaded bad; the database is not opened with it"#]],
        );
    }

    #[test]
    fn of_a_disabled_name_none_serves() {
        check(
            &[BUNDLED, bad(KEPT)],
            true,
            expect![[r#"
                bundled: disabled `sochdb plugin enable` puts it back into service
                kept: cannot be loaded bad"#]],
        );
    }

    #[test]
    fn one_that_sleeps_shadows_nobody() {
        let asleep = (Rank::Bundled, "bundled", Standing::Sleeps);
        check(&[asleep], false, expect!["bundled: sleeps"]);
        check(
            &[asleep, GIVEN],
            false,
            expect![[r#"
                bundled: sleeps
                given: serves"#]],
        );
    }
}

//! `plugin check`: whether a manifest and the component beside it would be loaded, without any database.

use super::Session;
use super::args::PluginCheck;
use super::failure::{Exit, Failure, Outcome};
use super::plugins::{self, Trail};
use super::screen::{Screen, bytes_text};
use serde_json::json;
use sochdb::PluginInfo;
use sochdb::host::plugin_manifest::ModuleSource;
use sochdb::host::signature::{self, Signer};
use sochdb::host::{PluginManifest, Policy};
use sochdb::plugin::PluginManager;
use std::path::Path;

/// Checks a manifest and its component, or prints what editors check them by.
pub fn check(session: &mut Session, args: &PluginCheck) -> Outcome {
    if args.schema {
        return pretty(&mut session.screen, &PluginManifest::json_schema());
    }
    if args.policy_schema {
        return pretty(&mut session.screen, &Policy::json_schema());
    }
    let path = args.manifest.as_deref().expect("clap asks for one when no schema is wanted");
    let host = plugins::host(session)?;
    // Reads all of it, compares the hash, compiles the component, and has it test itself.
    let name = host.load_manifest(path, &PluginManager::default())?;
    let plugin = host.list().into_iter().find(|plugin| plugin.name == name);
    let plugin = plugin.expect("it was just loaded under this name");
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
    let manifest = PluginManifest::parse(&path.display().to_string(), &text).map_err(changed)?;
    let signature = signature::read_beside(path)?;
    let is_pinned = manifest.blake3.is_some();
    let signer = signature::verify(
        text.as_bytes(),
        signature.as_deref(),
        host.policy().signatures(),
        &name,
        is_pinned,
    )?;
    let checked = Checked {
        path,
        plugin,
        is_bundled: matches!(manifest.module, ModuleSource::Bundled(_)),
        is_pinned,
        is_signed: signature.is_some(),
        signer,
    };
    match session.screen.json {
        true => checked.tell_program(&mut session.screen),
        false => checked.tell_people(&mut session.screen),
    }
}

/// It could be read a moment ago.
fn changed(error: sochdb::host::ManifestError) -> Failure {
    Failure::new(Exit::Invalid, error.to_string()).help("it changed while it was checked")
}

/// What is known of a plugin that would be loaded.
struct Checked<'a> {
    path: &'a Path,
    plugin: PluginInfo,
    /// Whether its component is part of this program.
    is_bundled: bool,
    /// Whether its manifest says which hash its component has.
    is_pinned: bool,
    /// Whether there is a signature, whoever made it.
    is_signed: bool,
    /// Who vouches for it, if the policy trusts them.
    signer: Option<Signer>,
}

impl Checked<'_> {
    fn tell_program(&self, screen: &mut Screen) -> Outcome {
        screen.object(&json!({
            "manifest": self.path,
            "ok": true,
            "pinned": self.is_pinned,
            "signed": self.is_signed,
            "signer": self.signer,
            "plugin": self.plugin,
        }))
    }

    fn tell_people(&self, screen: &mut Screen) -> Outcome {
        let Checked { plugin, .. } = self;
        let PluginInfo { name, version, kind, .. } = plugin;
        let component = match self.is_bundled {
            true => format!("{}, part of this program", bytes_text(plugin.component_bytes)),
            false => bytes_text(plugin.component_bytes),
        };
        let pin = match self.is_pinned {
            true => format!("{}, as the manifest pins it", plugin.blake3),
            false => format!("{}, not pinned: [module] blake3 = \"...\" does", plugin.blake3),
        };
        screen.pairs([
            ("manifest", format!("{}: no mistakes", self.path.display())),
            ("plugin", format!("{name} {version}, kind {kind}")),
            ("component", component),
            ("blake3", pin),
            ("signature", self.signature()),
            ("self-test", "passed".to_owned()),
        ])?;
        screen.line("")?;
        let rows = plugins::capability_rows(plugin, &Trail::default());
        let rows = rows.into_iter().chain(plugins::limit_rows(plugin));
        let rows = rows.map(|[key, wanted, granted, _]| [key, wanted, granted]);
        screen.table(["", "wanted", "granted"].map(String::from), rows)?;
        screen.line("")?;
        plugins::imports(screen, &plugin.imports)
    }

    fn signature(&self) -> String {
        let Some(signer) = &self.signer else {
            let text = if self.is_signed { "there, but the policy trusts no key" } else { "none" };
            return text.to_owned();
        };
        let who = signer.name.as_ref().unwrap_or(&signer.key);
        let what =
            if signer.covers_component { "" } else { "; of the manifest only, which pins nothing" };
        format!("by {who} ({}){what}", signer.comment)
    }
}

/// JSON for people and their editors.
fn pretty(screen: &mut Screen, schema: &impl serde::Serialize) -> Outcome {
    screen.line(serde_json::to_string_pretty(schema)?)
}

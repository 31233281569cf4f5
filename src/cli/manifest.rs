//! `plugin check`: whether a manifest and the component beside it would be loaded, without any database.

use super::Session;
use super::args::PluginCheck;
use super::build::sections::{self, Sizes};
use super::failure::{Exit, Failure, Outcome};
use super::package::Placed;
use super::plugins::{self, Trail};
use super::screen::{Screen, bytes_text};
use serde_json::json;
use sochdb::PluginInfo;
use sochdb::host::plugin_manifest::ModuleSource;
use sochdb::host::signature::{self, Signer};
use sochdb::host::{PluginManifest, Policy};
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
    let placed = Placed::open(path)?;
    let host = plugins::host(session)?;
    // Reads all of it, compares the hash, compiles the component, and has it test itself.
    let name = placed.load(&host)?;
    let plugin = host.list().into_iter().find(|plugin| plugin.name == name);
    let mut plugin = plugin.expect("it was just loaded under this name");
    plugin.source = placed.text(&plugin.source);
    let path = placed.manifest();
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
    let sizes = match &manifest.module {
        ModuleSource::Bundled(_) => None,
        ModuleSource::Path(component) => Some(measured(&path.with_file_name(component))?),
    };
    let checked = Checked {
        path: placed.shown(),
        notes: notes(&plugin, sizes.as_ref()),
        plugin,
        sizes,
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

/// What the bytes of a component are, which was loaded a moment ago.
fn measured(component: &Path) -> Outcome<Sizes> {
    let bytes = std::fs::read(component)
        .map_err(|error| Failure::io(format!("cannot read {}", component.display()), &error))?;
    sections::sizes(&bytes).map_err(|error| {
        Failure::invalid(format!("{}: {error}", component.display())).help(CHANGED)
    })
}

/// What is no mistake, and most likely not meant: a wish that the component has no use for, an import that nothing
/// is asked for, bytes that nobody needs.
fn notes(plugin: &PluginInfo, sizes: Option<&Sizes>) -> Vec<String> {
    let wanted = &plugin.capabilities;
    let is_imported = |name: &str| plugin.imports.iter().any(|it| it.name.starts_with(name));
    let choosable = ["search", "plugins", "codecs"].map(|name| format!("sochdb:plugin/{name}@"));
    // Some languages import all there is, whether it is used or not.
    let is_choosy = !choosable.iter().all(|name| is_imported(name));
    let mut notes = Vec::new();
    for (interface, wishes) in [
        (
            "sochdb:plugin/rows@",
            &[
                ("can_read_table", !wanted.can_read_table.is_empty()),
                ("can_write_table", !wanted.can_write_table.is_empty()),
            ][..],
        ),
        (
            "sochdb:plugin/search@",
            &[
                ("can_vector_search", wanted.can_vector_search),
                ("can_index_search", wanted.can_index_search),
            ],
        ),
        ("sochdb:plugin/plugins@", &[("can_call_plugin", !wanted.can_call_plugin.is_empty())]),
        ("sochdb:plugin/codecs@", &[("codecs", !wanted.codecs.is_empty())]),
        ("sochdb:plugin/outbox@", &[("addresses", !wanted.addresses.is_empty())]),
        ("wasi:filesystem/types@", &[("directories", !wanted.directories.is_empty())]),
        ("wasi:random/", &[("random", wanted.random)]),
    ] {
        let (is_imported, shown) = (is_imported(interface), interface.trim_end_matches(['@', '/']));
        for (wish, _) in wishes.iter().filter(|(_, is_wanted)| *is_wanted && !is_imported) {
            notes.push(format!(
                "[capabilities] {wish} asks for what the component has no use for: it does not import {shown}"
            ));
        }
        let is_chosen = is_choosy && choosable.iter().any(|name| name == interface);
        if is_imported && is_chosen && wishes.iter().all(|(_, is_wanted)| !is_wanted) {
            let wishes: Vec<_> = wishes.iter().map(|(wish, _)| *wish).collect();
            notes.push(format!(
                "the component imports {shown}, and the manifest asks for no {}: what it calls there will be denied",
                wishes.join(" or ")
            ));
        }
    }
    if let Some(Sizes { debug: debug @ 1.., .. }) = sizes {
        notes.push(format!(
            "{} of the component are debugging information: `sochdb plugin build` leaves it out",
            bytes_text(*debug)
        ));
    }
    notes
}

const CHANGED: &str = "it changed while it was checked";

/// It could be read a moment ago.
fn changed(error: sochdb::host::ManifestError) -> Failure {
    Failure::new(Exit::Invalid, error.to_string()).help(CHANGED)
}

/// What is known of a plugin that would be loaded.
struct Checked<'a> {
    path: &'a Path,
    plugin: PluginInfo,
    /// What its component's bytes are, if it is a file.
    sizes: Option<Sizes>,
    /// What is no mistake, and most likely not meant.
    notes: Vec<String>,
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
            "sizes": self.sizes.map(|Sizes { code, data, names, debug }| {
                json!({ "code": code, "data": data, "names": names, "debug": debug })
            }),
            "notes": self.notes,
            "plugin": self.plugin,
        }))
    }

    fn tell_people(&self, screen: &mut Screen) -> Outcome {
        let Checked { plugin, .. } = self;
        let PluginInfo { name, version, kind, .. } = plugin;
        let component = match self.is_bundled {
            true => format!("{}, part of this program", bytes_text(plugin.component_bytes)),
            false => bytes_text(plugin.component_bytes),
        } + &self.sizes.map(shares).unwrap_or_default();
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
        plugins::imports(screen, &plugin.imports)?;
        if !self.notes.is_empty() {
            screen.line("")?;
        }
        self.notes.iter().try_for_each(|note| screen.line(format!("note: {note}")))
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

/// `: code 60.1 kB, data 9.2 kB`
fn shares(sizes: Sizes) -> String {
    let Sizes { code, data, names, debug } = sizes;
    let all = [("code", code), ("data", data), ("names", names), ("debugging information", debug)];
    let some = all.iter().filter(|(_, bytes)| 0 < *bytes);
    let texts: Vec<_> =
        some.map(|(what, bytes)| format!("{what} {}", bytes_text(*bytes))).collect();
    format!(": {}", texts.join(", "))
}

/// JSON for people and their editors.
fn pretty(screen: &mut Screen, schema: &impl serde::Serialize) -> Outcome {
    screen.line(serde_json::to_string_pretty(schema)?)
}

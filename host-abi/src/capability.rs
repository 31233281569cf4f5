//! What a component asks for, compared with what its kind may have, before any of it runs.
//!
//! A component's import list *is* its request. Each import falls into one of three groups, and one of
//! the last group is enough to refuse the component:
//!
//! | import                                  | answer                                              |
//! |-----------------------------------------|-----------------------------------------------------|
//! | `sochdb:plugin/types, telemetry, config`| always granted; bounded and checked call by call    |
//! | `sochdb:plugin/segments`                | granted to storage engines and indexes; handles of  |
//! |                                         | what a call is about, and nothing else              |
//! | `sochdb:plugin/entries`                 | granted to indexes, in the same way                 |
//! | `sochdb:plugin/outbox`                  | granted to observers; each address asks the grant   |
//! | `sochdb:plugin/rows, search, plugins,   | granted to kinds that can use them; each call asks  |
//! | codecs`                                 | the plugin's [`Grant`](crate::policy::Grant)        |
//! | WASI 0.2 without HTTP                   | linked with nothing in it but granted directories:  |
//! |                                         | no environment, no arguments, no network            |
//! | anything else                           | refused, by name                                    |
//!
//! WASI's clocks stand still and its random numbers repeat unless `clock` or `random` was
//! granted. They are linked all the same, because a Rust guest imports them whether it calls them or
//! not: the grant decides what they answer. Python's runtime imports sockets in the same way: nobody can be
//! granted one, and who asks for one is denied.
//!
//! Exports are compared too: what a component exports is exactly what its manifest declares.

use crate::plugin_manifest::{PluginKind, PluginManifest};
use crate::wasm_host_abi::is_linked_wasi;
use serde::Serialize;
use sochdb_kernel::{KernelError, KernelResult, PluginFault};

/// The version of `sochdb:plugin` that this host speaks.
pub const CONTRACT_VERSION: &str = "0.1.0";
const CONTRACT: &str = "sochdb:plugin/";

/// What every plugin may import of the contract.
const OFFERED: &[&str] = &["types", "telemetry", "config"];
/// What only some kinds of plugins may import.
const OFFERED_TO: &[(&str, &[PluginKind])] = &[
    ("rows", &[PluginKind::Hooks, PluginKind::Procedure]),
    ("search", &[PluginKind::Hooks, PluginKind::Procedure]),
    ("plugins", &[PluginKind::Hooks, PluginKind::Procedure]),
    ("codecs", &[PluginKind::Storage, PluginKind::Hooks, PluginKind::Procedure]),
    ("segments", &[PluginKind::Storage, PluginKind::Index]),
    ("entries", &[PluginKind::Index]),
    ("outbox", &[PluginKind::Observer]),
];
/// What the contract lets plugins export.
const EXPORTABLE: &[&str] =
    &["codec", "hooks", "index", "lifecycle", "observer", "procedure", "storage-engine"];

/// One import of a component, and what the host says to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Import {
    /// The interface's full name, such as `sochdb:plugin/config@0.1.0`.
    pub name: String,
    /// Whether it is there for the component.
    pub answer: Answer,
}

/// What the host says to an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Linked, for every plugin.
    Granted,
    /// Linked with nothing in it but what was granted.
    Inert,
    /// Not linked; the component is not loaded. Says why, and the way out.
    Refused(String),
}

/// Whether the interface `ours` of the contract is there for plugins of this kind to import.
///
/// # Errors
/// Why not, for people.
pub(crate) fn offered(ours: &str, kind: Option<PluginKind>) -> Result<(), String> {
    if OFFERED.contains(&ours) {
        return Ok(());
    }
    match OFFERED_TO.iter().find(|(interface, _)| *interface == ours) {
        Some((_, kinds)) if kind.is_some_and(|kind| kinds.contains(&kind)) => Ok(()),
        Some((_, kinds)) => {
            let kinds: Vec<_> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
            Err(format!("only plugins of kind {} may", kinds.join(" or ")))
        }
        None => Err("the contract has no such interface for plugins to import".to_owned()),
    }
}

/// What the host says to the import `name` of a plugin that is of this kind by its exports.
pub(crate) fn answer(name: &str, kind: Option<PluginKind>) -> Answer {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    if let Some(ours) = interface.strip_prefix(CONTRACT) {
        // The version first: another one may have interfaces that this one has not.
        return match wrong_version(version).map_or_else(|| offered(ours, kind), Err) {
            Err(why) => Answer::Refused(why),
            Ok(()) => Answer::Granted,
        };
    }
    if !is_linked_wasi(interface) {
        return Answer::Refused("plugins cannot be granted this; build without it".into());
    }
    if !version.starts_with("0.2.") {
        return Answer::Refused(format!("this host has WASI 0.2, the component wants {version}"));
    }
    Answer::Inert
}

/// A component's name for an export as a manifest writes it: short for interfaces of the contract.
pub(crate) fn short_export_name(name: &str) -> &str {
    let interface = name.split('@').next().unwrap_or(name);
    interface.strip_prefix(CONTRACT).filter(|ours| EXPORTABLE.contains(ours)).unwrap_or(name)
}

/// The names of a component's exports as a manifest writes them, sorted.
pub(crate) fn short_exports(exports: &[String]) -> Vec<String> {
    let mut short: Vec<_> = exports.iter().map(|name| short_export_name(name).to_owned()).collect();
    short.sort();
    short
}

/// Why no plugin can be made of a component with these imports and exports, whatever its manifest says: an
/// import that is refused, or an export of another version of the contract.
pub(crate) fn refusal(imports: &[Import], exports: &[String]) -> Option<String> {
    let imports = imports.iter().filter_map(|import| match &import.answer {
        Answer::Refused(why) => Some(format!("imports {}: {why}", import.name)),
        Answer::Granted | Answer::Inert => None,
    });
    let exports = exports.iter().filter(|export| export.starts_with(CONTRACT));
    let exports = exports.filter_map(|export| {
        let version = export.split_once('@').map_or("", |(_, version)| version);
        wrong_version(version).map(|why| format!("exports {export}: {why}"))
    });
    imports.chain(exports).next()
}

/// Compares what a component imports and exports with what it may and must.
///
/// # Errors
/// `Plugin` with [`PluginFault::Denied`] for an import that is refused, `Invalid` when the exports are
/// not those the manifest declares.
pub(crate) fn check(
    manifest: &PluginManifest,
    imports: &[Import],
    exports: &[String],
) -> KernelResult<()> {
    if let Some(why) = refusal(imports, exports) {
        let message = format!("its component {why}");
        return Err(KernelError::plugin(&manifest.name, PluginFault::Denied, message));
    }
    let found = short_exports(exports);
    if found == manifest.exports {
        return Ok(());
    }
    Err(KernelError::invalid(format!(
        "the component of plugin '{}' exports {found:?}, but its manifest declares {:?}; build the \
         component for the world `{}-plugin`, or correct [exports]",
        manifest.name, manifest.exports, manifest.kind
    )))
}

fn wrong_version(version: &str) -> Option<String> {
    let theirs = if version.is_empty() { "no version" } else { version };
    (version != CONTRACT_VERSION).then(|| {
        format!(
            "it was built for version {theirs} of sochdb:plugin, this host speaks {CONTRACT_VERSION}; \
             build the plugin with sochdb-guest {CONTRACT_VERSION}, or use a host that speaks its version"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(name: &str) -> bool {
        matches!(answer(name, Some(PluginKind::Codec)), Answer::Refused(_))
    }

    #[test]
    fn an_index_may_import_its_entries_and_segments_and_no_rows() {
        let is_granted = |interface: &&str| {
            let name = format!("{CONTRACT}{interface}@{CONTRACT_VERSION}");
            answer(&name, Some(PluginKind::Index)) == Answer::Granted
        };
        let all = [
            "types",
            "telemetry",
            "config",
            "segments",
            "entries",
            "rows",
            "codecs",
            "plugins",
            "search",
            "index",
            "lifecycle",
        ];
        let granted: Vec<_> = all.into_iter().filter(is_granted).collect();
        assert_eq!(granted, ["types", "telemetry", "config", "segments", "entries"]);
    }

    #[test]
    fn only_what_is_listed_is_linked() {
        let answer = |name| answer(name, Some(PluginKind::Codec));
        assert_eq!(answer("sochdb:plugin/config@0.1.0"), Answer::Granted);
        assert_eq!(answer("wasi:io/poll@0.2.0"), Answer::Inert);
        assert_eq!(answer("wasi:io/poll@0.2.99"), Answer::Inert);
        assert_eq!(answer("wasi:sockets/tcp@0.2.9"), Answer::Inert);
        for name in [
            "",
            "config",
            "sochdb:plugin/config",
            "sochdb:plugin/codec@0.1.0",
            "sochdb:plugin/segments@0.1.0",
            "sochdb:plugin/secrets@0.1.0",
            "sochdb:plugin-x/config@0.1.0",
            "wasi:io/poll",
            "wasi:io/poll@0.3.0",
            "wasi:io/poll@0.20.0",
            "wasi:sockets/tls@0.2.0",
            "wasi:sockets/tcp@0.3.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:cli/environment/x@0.2.0",
        ] {
            assert!(is_refused(name), "{name}");
        }
    }

    #[test]
    fn some_interfaces_are_for_some_kinds() {
        let name = "sochdb:plugin/segments@0.1.0";
        assert_eq!(answer(name, Some(PluginKind::Storage)), Answer::Granted);
        assert!(matches!(answer(name, None), Answer::Refused(why) if why.contains("'storage'")));
        let name = "sochdb:plugin/rows@0.1.0";
        assert_eq!(answer(name, Some(PluginKind::Hooks)), Answer::Granted);
        let Answer::Refused(why) = answer(name, Some(PluginKind::Storage)) else {
            panic!("is refused")
        };
        assert_eq!(why, "only plugins of kind 'hooks' or 'procedure' may");
    }

    #[test]
    fn another_version_of_the_contract_is_explained() {
        // Also an interface that only the other version has.
        for name in ["sochdb:plugin/config@0.2.0", "sochdb:plugin/streams@0.2.0"] {
            let Answer::Refused(why) = answer(name, None) else { panic!("is refused") };
            assert!(why.contains("0.2.0") && why.contains(CONTRACT_VERSION), "{why}");
        }
        let exports = ["sochdb:plugin/lifecycle@0.1.0", "sochdb:plugin/codec@0.2.0"];
        let why = refusal(&[], &exports.map(str::to_owned)).expect("is refused");
        assert!(why.contains("plugin/codec@0.2.0") && why.contains(CONTRACT_VERSION), "{why}");
        assert_eq!(refusal(&[], &["sochdb:plugin/codec@0.1.0".into(), "run".into()]), None);
    }

    #[test]
    fn exports_of_the_contract_have_short_names() {
        assert_eq!(short_export_name("sochdb:plugin/codec@0.1.0"), "codec");
        assert_eq!(short_export_name("sochdb:plugin/other@0.1.0"), "sochdb:plugin/other@0.1.0");
        assert_eq!(short_export_name("codec"), "codec");
        assert_eq!(short_export_name("wasi:cli/run@0.2.0"), "wasi:cli/run@0.2.0");
    }
}

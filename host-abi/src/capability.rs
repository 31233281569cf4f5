//! What a component asks for, compared with what its kind and its manifest allow, before any of it runs.
//!
//! A component's import list *is* its request. Each import falls into one of three groups, and one of
//! the last group is enough to refuse the component:
//!
//! | import                                  | answer                                              |
//! |-----------------------------------------|-----------------------------------------------------|
//! | `sochdb:plugin/types, telemetry, config`| always granted; bounded and checked call by call    |
//! | `sochdb:plugin/segments`                | granted to storage engines; handles of what a call  |
//! |                                         | is about, and nothing else                          |
//! | WASI 0.2 without sockets and HTTP       | linked with nothing in it: no files, environment or |
//! |                                         | arguments; `wasm_host_abi/wasi` has the list        |
//! | anything else                           | refused, by name                                    |
//!
//! WASI's clocks stand still and its random numbers repeat unless the manifest says `clock` or
//! `random`. They are linked all the same, because a Rust guest imports them whether it calls them or
//! not: the grant decides what they answer.
//!
//! Exports are compared too: what a component exports is exactly what its manifest declares.

use crate::plugin_manifest::{Capabilities, PluginKind, PluginManifest};
use crate::wasm_host_abi::is_linked_wasi;
use serde::Serialize;
use sochdb_kernel::{KernelError, KernelResult, PluginFault};

/// The version of `sochdb:plugin` that this host speaks.
pub const CONTRACT_VERSION: &str = "0.1.0";
const CONTRACT: &str = "sochdb:plugin/";

/// What every plugin may import of the contract.
const OFFERED: &[&str] = &["types", "telemetry", "config"];
/// What only one kind of plugin may import.
const OFFERED_TO: &[(&str, PluginKind)] = &[("segments", PluginKind::Storage)];
/// What the contract lets plugins export.
const EXPORTABLE: &[&str] = &["codec", "lifecycle", "observer", "storage-engine"];

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
    /// Linked with nothing in it.
    Inert,
    /// Not linked; the component is not loaded. Says why, and the way out.
    Refused(String),
}

/// What the host says to the import `name` of a plugin that is of this kind by its exports.
pub(crate) fn answer(name: &str, kind: Option<PluginKind>) -> Answer {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    if let Some(ours) = interface.strip_prefix(CONTRACT) {
        let only_to = OFFERED_TO.iter().find(|(interface, _)| *interface == ours);
        if let Some((_, wanted)) = only_to.filter(|(_, wanted)| kind != Some(*wanted)) {
            return Answer::Refused(format!("only plugins of kind '{wanted}' may"));
        }
        if only_to.is_none() && !OFFERED.contains(&ours) {
            return Answer::Refused(
                "the contract has no such interface for plugins to import".into(),
            );
        }
        return match wrong_version(version) {
            Some(why) => Answer::Refused(why),
            None => Answer::Granted,
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
    for import in imports {
        if let Answer::Refused(why) = &import.answer {
            let message = format!("its component imports {}: {why}", import.name);
            return Err(KernelError::plugin(&manifest.name, PluginFault::Denied, message));
        }
    }
    for export in exports.iter().filter(|export| export.starts_with(CONTRACT)) {
        if let Some(why) = wrong_version(export.split_once('@').map_or("", |(_, version)| version))
        {
            let message = format!("its component exports {export}: {why}");
            return Err(KernelError::plugin(&manifest.name, PluginFault::Denied, message));
        }
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

/// Names of what a manifest grants beside what everybody gets.
pub(crate) fn granted(capabilities: Capabilities) -> Vec<&'static str> {
    let Capabilities { clock, random } = capabilities;
    [("clock", clock), ("random", random)]
        .into_iter()
        .filter(|(_, on)| *on)
        .map(|(n, _)| n)
        .collect()
}

fn wrong_version(version: &str) -> Option<String> {
    (version != CONTRACT_VERSION).then(|| {
        format!(
            "it was built for version {version} of sochdb:plugin, this host speaks {CONTRACT_VERSION}; \
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
    fn only_what_is_listed_is_linked() {
        let answer = |name| answer(name, Some(PluginKind::Codec));
        assert_eq!(answer("sochdb:plugin/config@0.1.0"), Answer::Granted);
        assert_eq!(answer("wasi:io/poll@0.2.0"), Answer::Inert);
        assert_eq!(answer("wasi:io/poll@0.2.99"), Answer::Inert);
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
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:cli/environment/x@0.2.0",
        ] {
            assert!(is_refused(name), "{name}");
        }
    }

    #[test]
    fn segments_are_for_storage_engines() {
        let name = "sochdb:plugin/segments@0.1.0";
        assert_eq!(answer(name, Some(PluginKind::Storage)), Answer::Granted);
        assert!(matches!(answer(name, None), Answer::Refused(why) if why.contains("'storage'")));
    }

    #[test]
    fn another_version_of_the_contract_is_explained() {
        let Answer::Refused(why) = answer("sochdb:plugin/config@0.2.0", None) else {
            panic!("is refused")
        };
        assert!(why.contains("0.2.0") && why.contains(CONTRACT_VERSION), "{why}");
    }

    #[test]
    fn exports_of_the_contract_have_short_names() {
        assert_eq!(short_export_name("sochdb:plugin/codec@0.1.0"), "codec");
        assert_eq!(short_export_name("sochdb:plugin/other@0.1.0"), "sochdb:plugin/other@0.1.0");
        assert_eq!(short_export_name("codec"), "codec");
        assert_eq!(short_export_name("wasi:cli/run@0.2.0"), "wasi:cli/run@0.2.0");
    }
}

//! Names of storage engines, codecs and indexes on the command line: any may be said, and a shell completes those that
//! are always there.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::Error;
use clap::{Arg, Command};
use sochdb::host::{PluginKind, PluginManifest, bundled};
use std::ffi::OsStr;

/// A storage engine: `kernel` and `tree` are the kernel's own.
pub const STORAGES: Names = Names { kind: PluginKind::Storage, own: &["kernel", "tree"] };
/// A codec: `none` is none.
pub const CODECS: Names = Names { kind: PluginKind::Codec, own: &["none"] };
/// What builds an index: `auto` chooses by the number of rows.
pub const INDEXES: Names = Names { kind: PluginKind::Index, own: &["auto"] };

/// Reads a name; knows those of the bundled plugins of one kind.
#[derive(Clone)]
pub struct Names {
    kind: PluginKind,
    /// Names that stand for no plugin.
    own: &'static [&'static str],
}

impl Names {
    /// The plugin that `name` stands for, if any.
    pub fn plugin<'a>(&self, name: &'a str) -> Option<&'a str> {
        Some(name).filter(|name| !self.own.contains(name))
    }

    fn known(&self) -> Vec<&'static str> {
        let is_ours = |plugin: &&bundled::Bundled| {
            PluginManifest::parse(plugin.name, plugin.manifest)
                .is_ok_and(|manifest| manifest.kind == self.kind)
        };
        let bundled = bundled::PLUGINS.iter().filter(is_ours).map(|plugin| plugin.name);
        bundled.chain(self.own.iter().copied()).collect()
    }
}

impl TypedValueParser for Names {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.known().into_iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundled_plugins_are_completed_by_their_kind() {
        assert!(STORAGES.known().contains(&"lscs") && STORAGES.known().contains(&"kernel"));
        assert!(CODECS.known().contains(&"lz4") && !CODECS.known().contains(&"lscs"));
        assert_eq!((STORAGES.plugin("tree"), STORAGES.plugin("mine")), (None, Some("mine")));
    }
}

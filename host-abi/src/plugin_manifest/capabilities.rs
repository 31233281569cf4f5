//! `[capabilities]` of a manifest and `[allow]` of a policy: the same keys, checked in the same way.

use super::PluginKind;
use crate::address::Address;
use crate::capability;
use crate::glob::{Glob, Globs, PATTERN_BYTES_MAX};
use crate::strict_toml::{Wrong, wrong};
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};
use toml::Spanned;

/// Directories that one plugin may have.
const DIRECTORIES_MAX: usize = 16;
/// Addresses that one plugin may have.
const ADDRESSES_MAX: usize = 16;

/// What a plugin may do beside computing: what its manifest asks for, or what a policy allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Tables whose rows it reads.
    pub can_read_table: Globs,
    /// Tables whose rows it writes and deletes. Writing does not imply reading.
    pub can_write_table: Globs,
    /// Searches indexes of vectors, of tables whose rows it reads.
    pub can_vector_search: bool,
    /// Looks up values in ordered indexes, of tables whose rows it reads.
    pub can_index_search: bool,
    /// Plugins it calls.
    pub can_call_plugin: Globs,
    /// Codecs it compresses and restores with.
    pub codecs: Globs,
    /// Directories of the machine it sees.
    pub directories: Vec<Directory>,
    /// Addresses that the host sends its payloads to, each with those that go on from it.
    pub addresses: Vec<Address>,
    /// Reads the time, in steps of a millisecond. Otherwise its clocks stand still.
    pub clock: bool,
    /// Gets real random numbers. Otherwise it gets the same ones every time.
    pub random: bool,
}

/// A directory of the machine, and what a plugin sees of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Directory {
    /// Where it lies: an absolute path.
    pub host: String,
    /// What the plugin calls it: a path that begins with `/`.
    pub guest: String,
    /// Whether the plugin may change what is in it. Otherwise it may read only.
    pub write: bool,
}

impl Capabilities {
    /// Names of those that are not left at nothing.
    pub fn names(&self) -> Vec<&'static str> {
        let names = [
            ("can_read_table", !self.can_read_table.is_empty()),
            ("can_write_table", !self.can_write_table.is_empty()),
            ("can_vector_search", self.can_vector_search),
            ("can_index_search", self.can_index_search),
            ("can_call_plugin", !self.can_call_plugin.is_empty()),
            ("codecs", !self.codecs.is_empty()),
            ("directories", !self.directories.is_empty()),
            ("addresses", !self.addresses.is_empty()),
            ("clock", self.clock),
            ("random", self.random),
        ];
        names.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCapabilities {
    can_read_table: Option<Patterns>,
    can_write_table: Option<Patterns>,
    can_vector_search: Option<Spanned<bool>>,
    can_index_search: Option<Spanned<bool>>,
    can_call_plugin: Option<Patterns>,
    codecs: Option<Patterns>,
    directories: Option<Spanned<Vec<Spanned<RawDirectory>>>>,
    addresses: Option<Patterns>,
    clock: Option<bool>,
    random: Option<bool>,
}

type Patterns = Spanned<Vec<Spanned<String>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDirectory {
    host: Spanned<String>,
    guest: Spanned<String>,
    #[serde(default)]
    write: bool,
}

impl RawCapabilities {
    /// What is said here, and `base` where nothing is said.
    pub(crate) fn over(self, base: &Capabilities) -> Result<Capabilities, Wrong> {
        let globs = |given: Option<Patterns>, base: &Globs| {
            given.map_or_else(|| Ok(base.clone()), |given| self::globs(&given))
        };
        let is_set = |given: Option<Spanned<bool>>, base| given.map_or(base, Spanned::into_inner);
        Ok(Capabilities {
            can_read_table: globs(self.can_read_table, &base.can_read_table)?,
            can_write_table: globs(self.can_write_table, &base.can_write_table)?,
            can_vector_search: is_set(self.can_vector_search, base.can_vector_search),
            can_index_search: is_set(self.can_index_search, base.can_index_search),
            can_call_plugin: globs(self.can_call_plugin, &base.can_call_plugin)?,
            codecs: globs(self.codecs, &base.codecs)?,
            directories: match self.directories {
                Some(given) => directories(given)?,
                None => base.directories.clone(),
            },
            addresses: match self.addresses {
                Some(given) => addresses(given)?,
                None => base.addresses.clone(),
            },
            clock: self.clock.unwrap_or(base.clock),
            random: self.random.unwrap_or(base.random),
        })
    }

    /// What the manifest of a plugin of this kind asks for.
    pub(super) fn of_kind(self, kind: PluginKind) -> Result<Capabilities, Wrong> {
        for (key, given) in [
            ("can_vector_search", &self.can_vector_search),
            ("can_index_search", &self.can_index_search),
        ] {
            let given = given.as_ref().filter(|given| *given.get_ref());
            if let (Some(given), Err(why)) = (given, capability::offered("search", Some(kind))) {
                let message = format!(
                    "a plugin of kind '{kind}' has no use for {key}: it is for the interface `search`, and {why}"
                );
                return Err(wrong(given, message));
            }
        }
        for (key, interface, given) in [
            ("can_read_table", "rows", &self.can_read_table),
            ("can_write_table", "rows", &self.can_write_table),
            ("can_call_plugin", "plugins", &self.can_call_plugin),
            ("codecs", "codecs", &self.codecs),
            ("addresses", "outbox", &self.addresses),
        ] {
            let Some(given) = given.as_ref().filter(|given| !given.get_ref().is_empty()) else {
                continue;
            };
            if let Err(why) = capability::offered(interface, Some(kind)) {
                let message = format!(
                    "a plugin of kind '{kind}' has no use for {key}: it is for the interface `{interface}`, \
                     and {why}"
                );
                return Err(wrong(given, message));
            }
        }
        self.over(&Capabilities::default())
    }
}

/// Reads a list of patterns.
pub(crate) fn globs(given: &Patterns) -> Result<Globs, Wrong> {
    let one = |text: &Spanned<String>| {
        Glob::parse(text.get_ref()).map_err(|message| wrong(text, message))
    };
    let globs = given.get_ref().iter().map(one).collect::<Result<_, _>>()?;
    Globs::new(globs).map_err(|message| wrong(given, message))
}

fn addresses(given: Patterns) -> Result<Vec<Address>, Wrong> {
    let count = given.get_ref().len();
    if ADDRESSES_MAX < count {
        let message = format!("{count} addresses are too many: at most {ADDRESSES_MAX}");
        return Err(wrong(&given, message));
    }
    let one = |text: Spanned<String>| {
        Address::parse(text.get_ref()).map_err(|message| wrong(&text, message))
    };
    given.into_inner().into_iter().map(one).collect()
}

fn directories(given: Spanned<Vec<Spanned<RawDirectory>>>) -> Result<Vec<Directory>, Wrong> {
    let count = given.get_ref().len();
    if DIRECTORIES_MAX < count {
        let message = format!("{count} directories are too many: at most {DIRECTORIES_MAX}");
        return Err(wrong(&given, message));
    }
    let mut directories: Vec<Directory> = Vec::new();
    for directory in given.into_inner() {
        let RawDirectory { host, guest, write } = directory.into_inner();
        if !is_plain(host.get_ref()) || !Path::new(host.get_ref()).is_absolute() {
            let message = format!(
                "{:?} is no host directory: an absolute path without `.`, `..` and empty parts, of at most \
                 {PATTERN_BYTES_MAX} bytes",
                host.get_ref()
            );
            return Err(wrong(&host, message));
        }
        if !is_plain(guest.get_ref()) || !guest.get_ref().starts_with('/') {
            let message = format!(
                "{:?} is no name of a directory for a guest: a path that begins with `/`, without `.`, `..` \
                 and empty parts, of at most {PATTERN_BYTES_MAX} bytes",
                guest.get_ref()
            );
            return Err(wrong(&guest, message));
        }
        if directories.iter().any(|other| other.guest == *guest.get_ref()) {
            return Err(wrong(&guest, format!("there is another directory {:?}", guest.get_ref())));
        }
        directories.push(Directory { host: host.into_inner(), guest: guest.into_inner(), write });
    }
    Ok(directories)
}

/// Whether a path is written in the one way there is to write it.
fn is_plain(path: &str) -> bool {
    let parts = Path::new(path).components();
    let is_plain =
        parts.clone().all(|part| !matches!(part, Component::CurDir | Component::ParentDir));
    let written: std::path::PathBuf = parts.collect();
    is_plain
        && !path.chars().any(char::is_control)
        && path.len() <= PATTERN_BYTES_MAX
        && written.to_str() == Some(path)
}

//! `[capabilities]` of a manifest and `[allow]` of a policy: the same keys, checked in the same way.

use super::{PluginKind, schema};
use crate::address::Address;
use crate::capability;
use crate::glob::{Glob, Globs, PATTERN_BYTES_MAX};
use crate::strict_toml::{Wrong, wrong};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};
use toml::Spanned;

/// Directories that one plugin may have.
const DIRECTORIES_MAX: usize = 16;
/// Addresses that one plugin may have.
pub(super) const ADDRESSES_MAX: usize = 16;

/// Lists, each with the interface that is for those who have something in it.
pub(super) const PATTERNS_OF: [(&str, &str); 5] = [
    ("can_read_table", "rows"),
    ("can_write_table", "rows"),
    ("can_call_plugin", "plugins"),
    ("codecs", "codecs"),
    ("addresses", "outbox"),
];
/// Switches, each with the interface that is for those who have it on.
pub(super) const SWITCHES_OF: [(&str, &str); 2] =
    [("can_vector_search", "search"), ("can_index_search", "search")];

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

#[derive(Deserialize, Default, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCapabilities {
    /// Patterns of the tables whose rows may be read, such as "shop/**". Of hooks and procedures.
    #[schemars(with = "schema::Patterns", default, extend("default" = []))]
    can_read_table: Option<Patterns>,
    /// Patterns of the tables whose rows may be written and deleted. Writing does not imply reading. Of hooks and
    /// procedures.
    #[schemars(with = "schema::Patterns", default, extend("default" = []))]
    can_write_table: Option<Patterns>,
    /// Whether indexes of vectors may be searched, of tables whose rows may be read. Of hooks and procedures.
    #[schemars(with = "bool", default, extend("default" = false))]
    can_vector_search: Option<Spanned<bool>>,
    /// Whether values may be looked up in ordered indexes, of tables whose rows may be read. Of hooks and procedures.
    #[schemars(with = "bool", default, extend("default" = false))]
    can_index_search: Option<Spanned<bool>>,
    /// Patterns of the plugins that may be called. Of hooks and procedures.
    #[schemars(with = "schema::Patterns", default, extend("default" = []))]
    can_call_plugin: Option<Patterns>,
    /// Patterns of the codecs that may be used. Of storage engines, hooks and procedures.
    #[schemars(with = "schema::Patterns", default, extend("default" = []))]
    codecs: Option<Patterns>,
    /// Directories of the machine, at most 16, each under the name that the plugin knows it by.
    #[schemars(
        with = "Vec<RawDirectory>", default, length(max = DIRECTORIES_MAX), extend("default" = [])
    )]
    directories: Option<Spanned<Vec<Spanned<RawDirectory>>>>,
    /// Addresses that the host sends payloads to, at most 16, each with those that go on from it: such as
    /// "http://127.0.0.1:4318/". Of observers.
    #[schemars(with = "schema::Addresses", default, extend("default" = []))]
    addresses: Option<Patterns>,
    /// Whether the time may be read, in steps of a millisecond. Otherwise clocks stand still.
    #[schemars(with = "bool", default, extend("default" = false))]
    clock: Option<bool>,
    /// Whether random numbers are real. Otherwise they are the same ones every time.
    #[schemars(with = "bool", default, extend("default" = false))]
    random: Option<bool>,
}

type Patterns = Spanned<Vec<Spanned<String>>>;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawDirectory {
    /// Where it lies on the machine: an absolute path without `.` and `..`.
    #[schemars(with = "String", length(min = 1, max = PATTERN_BYTES_MAX))]
    host: Spanned<String>,
    /// What the plugin calls it: a path that begins with `/`, without `.` and `..`.
    #[schemars(with = "String", length(min = 1, max = PATTERN_BYTES_MAX), regex(pattern = "^/"))]
    guest: Spanned<String>,
    /// Whether what is in it may be changed. Otherwise it may be read only.
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
        let given =
            |given: Option<&Spanned<bool>>| given.filter(|on| *on.get_ref()).map(Spanned::span);
        let switches =
            [given(self.can_vector_search.as_ref()), given(self.can_index_search.as_ref())];
        let given = |list: Option<&Patterns>| {
            list.filter(|list| !list.get_ref().is_empty()).map(Spanned::span)
        };
        let lists = [
            &self.can_read_table,
            &self.can_write_table,
            &self.can_call_plugin,
            &self.codecs,
            &self.addresses,
        ];
        let switches = SWITCHES_OF.iter().zip(switches);
        let lists = PATTERNS_OF.iter().zip(lists.map(|list| given(list.as_ref())));
        for ((key, interface), span) in switches.chain(lists) {
            if span.is_some()
                && let Err(why) = capability::offered(interface, Some(kind))
            {
                let message = format!(
                    "a plugin of kind '{kind}' has no use for {key}: it is for the interface `{interface}`, \
                     and {why}"
                );
                return Err(Wrong { span, message });
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

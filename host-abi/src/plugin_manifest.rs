//! A plugin's manifest: who it is, what it may do, how much it may use.
//!
//! TOML, and strict: a key that does not exist, a number outside its range or a setting that its
//! schema does not know is an error with file, line and column, and the nearest key that does exist.
//! Every field that is accepted is honoured; `manifests/README.md` lists them all, and the
//! [JSON Schema](PluginManifest::json_schema) that editors read is made of the types here.
//!
//! | section           | fields                                                                     |
//! |-------------------|----------------------------------------------------------------------------|
//! | `[plugin]`        | `name`, `version`, `kind`, `description`, `author`, `license`, `homepage`, |
//! |                   | `repository`, `min_kernel_version`                                         |
//! | `[module]`        | `path` or `bundled`, `blake3`                                              |
//! | `[capabilities]`  | `can_read_table`, `can_write_table`, `can_call_plugin`, `codecs`,          |
//! |                   | `directories`, `addresses`, `clock`, `random`, `can_vector_search`,        |
//! |                   | `can_index_search`                                                         |
//! | `[resources]`     | `memory_limit_mb`, `fuel_limit`, `timeout_ms`, `max_instances`, and for    |
//! |                   | storage engines `background_fuel_limit`, `background_timeout_ms`           |
//! | `[exports]`       | `interfaces`                                                               |
//! | `[hooks]`         | hooks only: `tables`, `before`, `after`, `order`                           |
//! | `[config_schema]` | a table per setting: `type`, `default`, `min`, `max`, `one_of`,            |
//! |                   | `description`                                                              |
//! | `[config]`        | a value per setting                                                        |
//!
//! A manifest only asks. What a plugin gets is what the operator's [policy](crate::policy) allows of it.

mod capabilities;
mod hooks;
mod resources;
pub(crate) mod schema;
mod settings;

pub use crate::strict_toml::ManifestError;
pub use capabilities::{Capabilities, Directory};
pub use hooks::{Change, Hooks};
pub use settings::{ConfigValue, Setting};

pub(crate) use capabilities::RawCapabilities;
pub(crate) use resources::{HIGHEST, RawResources};

use crate::limits::{self, Limits};
use crate::strict_toml::{self, Wrong, did_you_mean, wrong};
use hooks::RawHooks;
use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};
use settings::RawSetting;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use toml::Spanned;

/// Bytes of a plugin's name; it becomes part of file names, log lines and metrics.
const NAME_BYTES_MAX: usize = 64;

/// A manifest that makes sense by itself. Whether the component keeps it is checked at loading.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginManifest {
    /// What the plugin is called; unique in a database.
    pub name: String,
    /// The plugin's own version.
    pub version: Version,
    /// What it is.
    pub kind: PluginKind,
    /// One sentence for people.
    pub description: String,
    /// Who wrote it.
    pub author: String,
    /// An SPDX expression, or whatever its author says.
    pub license: String,
    /// Where people read about it.
    pub homepage: String,
    /// Where its source lies.
    pub repository: String,
    /// The oldest kernel it runs on.
    pub min_kernel_version: Version,
    /// Where its component comes from.
    pub module: ModuleSource,
    /// The BLAKE3 hash its component must have.
    pub blake3: Option<blake3::Hash>,
    /// What it asks to do beside computing.
    pub capabilities: Capabilities,
    /// What it asks to use.
    pub limits: Limits,
    /// When it is called; for plugins of kind `hooks`, and only for them.
    pub hooks: Option<Hooks>,
    /// The interfaces its component must export, sorted: short names for those of `sochdb:plugin`.
    pub exports: Vec<String>,
    /// Its settings, defaults filled in.
    pub config: BTreeMap<String, Setting>,
}

/// What a plugin is. Each kind has a world in `wit/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// Makes blocks smaller.
    Codec,
    /// Takes metrics and logs out of the database.
    Observer,
    /// Keeps the rows of tables in segments.
    Storage,
    /// Is asked before rows change, and told after they did.
    Hooks,
    /// Does a piece of work by name, in a transaction.
    Procedure,
    /// Finds rows by what is in them.
    Index,
}

impl PluginKind {
    /// Every kind there is.
    pub const ALL: [PluginKind; 6] = [
        PluginKind::Codec,
        PluginKind::Observer,
        PluginKind::Storage,
        PluginKind::Hooks,
        PluginKind::Procedure,
        PluginKind::Index,
    ];

    /// The kind that exports exactly `interfaces`, sorted and short.
    pub(crate) fn of(interfaces: &[String]) -> Option<PluginKind> {
        PluginKind::ALL.into_iter().find(|kind| interfaces == kind.interfaces())
    }

    /// The interfaces a component of this kind exports, sorted.
    pub fn interfaces(self) -> &'static [&'static str] {
        match self {
            PluginKind::Codec => &["codec", "lifecycle"],
            PluginKind::Observer => &["lifecycle", "observer"],
            PluginKind::Storage => &["lifecycle", "storage-engine"],
            PluginKind::Hooks => &["hooks", "lifecycle"],
            PluginKind::Procedure => &["lifecycle", "procedure"],
            PluginKind::Index => &["index", "lifecycle"],
        }
    }

    /// How many instances it may have at the same time.
    pub(crate) fn instances(self) -> RangeInclusive<u64> {
        match self {
            // What an observer was told, it must remember; two instances would each know half.
            PluginKind::Observer => 1..=1,
            PluginKind::Storage | PluginKind::Index => {
                limits::STORAGE_INSTANCES_MIN..=*limits::MAX_INSTANCES.end()
            }
            PluginKind::Codec | PluginKind::Hooks | PluginKind::Procedure => limits::MAX_INSTANCES,
        }
    }

    /// Whether some of its work is done while nobody waits for it.
    pub(crate) fn has_background(self) -> bool {
        matches!(self, PluginKind::Storage | PluginKind::Index)
    }
}

impl fmt::Display for PluginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PluginKind::Codec => "codec",
            PluginKind::Observer => "observer",
            PluginKind::Storage => "storage",
            PluginKind::Hooks => "hooks",
            PluginKind::Procedure => "procedure",
            PluginKind::Index => "index",
        })
    }
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleSource {
    /// A file, relative to the manifest, inside the manifest's folder.
    Path(String),
    /// A component that was built into this program.
    Bundled(String),
}

impl PluginManifest {
    /// Reads a manifest from its text. `file` is only named in errors.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(file: &str, text: &str) -> Result<PluginManifest, ManifestError> {
        strict_toml::read(file, text, Raw::check)
    }
}

/// Who a plugin is, what it wants to do, how much it wants to use. What it gets is what the operator's policy allows
/// of it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Manifest of a SochDB plugin")]
struct Raw {
    /// Who the plugin is.
    plugin: RawPlugin,
    /// Where its component comes from: `path` or `bundled`.
    #[schemars(with = "RawModule")]
    module: Spanned<RawModule>,
    /// What it wants to do beside computing. Whatever is not asked for here is denied.
    #[serde(default)]
    capabilities: RawCapabilities,
    /// What it wants to use at most. The operator's policy may lower each of them.
    #[serde(default)]
    resources: RawResources,
    /// What its component exports.
    exports: RawExports,
    /// When it is called; required for plugins of kind "hooks", and only for them.
    #[schemars(with = "RawHooks", default)]
    hooks: Option<Spanned<RawHooks>>,
    /// The settings that may stand below [config]: a table for each.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, RawSetting>")]
    config_schema: BTreeMap<Spanned<String>, RawSetting>,
    /// A value for each setting that is not to have its default; those without a default must be here.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, schema::SettingValue>")]
    config: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawPlugin {
    /// What the plugin is called, unique in a database: a lower-case letter, then lower-case letters, digits, '-' and
    /// '_', at most 64. Tables, indexes and stored blocks refer to it.
    #[schemars(with = "String", regex(pattern = schema::NAME))]
    name: Spanned<String>,
    /// The plugin's own version, three numbers such as "1.2.3".
    #[schemars(with = "String", regex(pattern = schema::VERSION))]
    version: Spanned<String>,
    /// What it is. It decides what the component exports, and which capabilities it may ask for.
    #[schemars(with = "PluginKind")]
    kind: Spanned<PluginKind>,
    /// One sentence for people, shown by `sochdb plugin list`.
    #[serde(default)]
    description: String,
    /// Who wrote it, for people.
    #[serde(default)]
    author: String,
    /// Under which terms, for people: an SPDX expression such as "MIT OR Apache-2.0".
    #[serde(default)]
    license: String,
    /// Where people read about it.
    #[serde(default)]
    homepage: String,
    /// Where its source lies.
    #[serde(default)]
    repository: String,
    /// The oldest kernel it runs on, such as "0.1.0"; an older one does not load it.
    #[schemars(with = "String", regex(pattern = schema::VERSION))]
    min_kernel_version: Spanned<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["path"] }, { "required": ["bundled"] }]))]
struct RawModule {
    /// The component's file, relative to the manifest and in its folder: a regular file, links are not followed.
    #[schemars(with = "String", default)]
    path: Option<String>,
    /// The name of a component that was built into the program, in the place of a file.
    #[schemars(with = "String", default)]
    bundled: Option<String>,
    /// The BLAKE3 hash that the component must have, 64 hex digits; `sochdb plugin inspect` prints it. Without it any
    /// component is taken. Where the policy requires signatures, the pin is required too.
    #[schemars(with = "String", default, regex(pattern = schema::BLAKE3))]
    blake3: Option<Spanned<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawExports {
    /// Exactly what the component exports: the interfaces of its kind, in any order.
    #[schemars(with = "Vec<String>")]
    interfaces: Spanned<Vec<String>>,
}

impl Raw {
    fn check(self) -> Result<PluginManifest, Wrong> {
        let kind = *self.plugin.kind.get_ref();
        check_name(&self.plugin.name)?;
        Ok(PluginManifest {
            version: version(&self.plugin.version)?,
            min_kernel_version: version(&self.plugin.min_kernel_version)?,
            module: module(&self.module)?,
            blake3: self.module.get_ref().blake3.as_ref().map(hash).transpose()?,
            limits: self.resources.of_kind(kind)?,
            capabilities: self.capabilities.of_kind(kind)?,
            hooks: hooks::hooks(self.hooks, &self.plugin.kind)?,
            exports: exports(self.exports, kind)?,
            config: settings::config(self.config_schema, self.config)?,
            name: self.plugin.name.into_inner(),
            kind,
            description: self.plugin.description,
            author: self.plugin.author,
            license: self.plugin.license,
            homepage: self.plugin.homepage,
            repository: self.plugin.repository,
        })
    }
}

/// Refuses what cannot be a plugin's name.
pub(crate) fn check_name(name: &Spanned<String>) -> Result<(), Wrong> {
    let text = name.get_ref();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let begins_well = text.starts_with(|c: char| c.is_ascii_lowercase());
    if begins_well && text.len() <= NAME_BYTES_MAX && text.chars().all(allowed) {
        return Ok(());
    }
    let rule = "a letter, then letters, digits, '-' and '_', all lower case";
    Err(wrong(name, format!("{text:?} is no plugin name: {rule}, at most {NAME_BYTES_MAX}")))
}

fn version(text: &Spanned<String>) -> Result<Version, Wrong> {
    Version::parse(text.get_ref()).map_err(|error| {
        wrong(text, format!("{:?} is no version such as \"1.2.3\": {error}", text.get_ref()))
    })
}

fn hash(text: &Spanned<String>) -> Result<blake3::Hash, Wrong> {
    blake3::Hash::from_hex(text.get_ref())
        .map_err(|error| wrong(text, format!("no BLAKE3 hash of 64 hex digits: {error}")))
}

fn module(module: &Spanned<RawModule>) -> Result<ModuleSource, Wrong> {
    match module.get_ref() {
        RawModule { path: Some(path), bundled: None, .. } => Ok(ModuleSource::Path(path.clone())),
        RawModule { path: None, bundled: Some(name), .. } => {
            Ok(ModuleSource::Bundled(name.clone()))
        }
        _ => Err(wrong(module, "[module] needs either `path` or `bundled`")),
    }
}

fn exports(exports: RawExports, kind: PluginKind) -> Result<Vec<String>, Wrong> {
    let mut declared = exports.interfaces.get_ref().clone();
    declared.sort();
    if declared == kind.interfaces() {
        return Ok(declared);
    }
    let unknown = declared.iter().find(|name| !kind.interfaces().contains(&name.as_str()));
    let near = unknown.map(|name| did_you_mean(name, kind.interfaces().iter().copied()));
    let message = format!(
        "a plugin of kind '{kind}' exports the interfaces {:?}{}",
        kind.interfaces(),
        near.unwrap_or_default()
    );
    Err(wrong(&exports.interfaces, message))
}

#[cfg(test)]
mod tests;

//! A plugin's manifest: who it is, what it may do, how much it may use.
//!
//! TOML, and strict: a key that does not exist, a number outside its range or a setting that its
//! schema does not know is an error with file, line and column, and the nearest key that does exist.
//! Every field that is accepted is honoured; `manifests/README.md` lists them all.
//!
//! | section           | fields                                                                     |
//! |-------------------|----------------------------------------------------------------------------|
//! | `[plugin]`        | `name`, `version`, `kind`, `description`, `author`, `license`, `homepage`, |
//! |                   | `repository`, `min_kernel_version`                                         |
//! | `[module]`        | `path` or `bundled`, `blake3`                                              |
//! | `[capabilities]`  | `clock`, `random`                                                          |
//! | `[resources]`     | `memory_limit_mb`, `fuel_limit`, `timeout_ms`, `max_instances`, and for    |
//! |                   | storage engines `background_fuel_limit`, `background_timeout_ms`           |
//! | `[exports]`       | `interfaces`                                                               |
//! | `[config_schema]` | a table per setting: `type`, `default`, `min`, `max`, `one_of`,            |
//! |                   | `description`                                                              |
//! | `[config]`        | a value per setting                                                        |

use crate::limits::{self, Background, Limits};
use semver::Version;
use serde::{Deserialize, Serialize};
use sochdb_kernel::KernelError;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use toml::Spanned;

/// Bytes of a plugin's name; it becomes part of file names, log lines and metrics.
const NAME_BYTES_MAX: usize = 64;
/// Edits between a wrong key and the one that is proposed instead.
const NEAR_EDITS_MAX: usize = 3;

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
    /// What it may do beside computing.
    pub capabilities: Capabilities,
    /// What it may use.
    pub limits: Limits,
    /// The interfaces its component must export, sorted: short names for those of `sochdb:plugin`.
    pub exports: Vec<String>,
    /// Its settings, defaults filled in.
    pub config: BTreeMap<String, Setting>,
}

/// What a plugin is. Each kind has a world in `wit/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// Makes blocks smaller.
    Codec,
    /// Takes metrics and logs out of the database.
    Observer,
    /// Keeps the rows of tables in segments.
    Storage,
}

impl PluginKind {
    const ALL: [PluginKind; 3] = [PluginKind::Codec, PluginKind::Observer, PluginKind::Storage];

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
        }
    }
}

impl fmt::Display for PluginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PluginKind::Codec => "codec",
            PluginKind::Observer => "observer",
            PluginKind::Storage => "storage",
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

/// What a plugin may do beside computing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// Reads the time, in steps of a millisecond. Otherwise its clocks stand still.
    pub clock: bool,
    /// Gets real random numbers. Otherwise it gets the same ones every time.
    pub random: bool,
}

/// One setting of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting {
    /// What `[config]` says, or the default.
    pub value: ConfigValue,
    /// What the schema says about it, for people.
    pub description: String,
}

/// A setting's value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ConfigValue {
    /// `type = "boolean"`
    Boolean(bool),
    /// `type = "integer"`
    Integer(i64),
    /// `type = "float"`; always finite.
    Float(f64),
    /// `type = "text"`
    Text(String),
}

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ManifestError {
    /// The file, as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, and the way out.
    pub message: String,
}

impl From<ManifestError> for KernelError {
    fn from(error: ManifestError) -> KernelError {
        KernelError::invalid(error.to_string())
    }
}

impl PluginManifest {
    /// Reads a manifest from its text. `file` is only named in errors.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(file: &str, text: &str) -> Result<PluginManifest, ManifestError> {
        let place = |span: Option<Range<usize>>, message: String| {
            let before = &text[..span.map_or(0, |span| span.start).min(text.len())];
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            ManifestError {
                file: file.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                message,
            }
        };
        let raw: Raw = toml::from_str(text)
            .map_err(|error| place(error.span(), with_nearest_key(error.message())))?;
        raw.check().map_err(|Wrong { span, message }| place(span, message))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    plugin: RawPlugin,
    module: Spanned<RawModule>,
    #[serde(default)]
    capabilities: Capabilities,
    #[serde(default)]
    resources: RawResources,
    exports: RawExports,
    #[serde(default)]
    config_schema: BTreeMap<Spanned<String>, RawSetting>,
    #[serde(default)]
    config: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlugin {
    name: Spanned<String>,
    version: Spanned<String>,
    kind: PluginKind,
    #[serde(default)]
    description: String,
    #[serde(default)]
    author: String,
    #[serde(default)]
    license: String,
    #[serde(default)]
    homepage: String,
    #[serde(default)]
    repository: String,
    min_kernel_version: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModule {
    path: Option<String>,
    bundled: Option<String>,
    blake3: Option<Spanned<String>>,
}

/// What is left out gets a default that suits a small plugin.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawResources {
    memory_limit_mb: Option<Spanned<u64>>,
    fuel_limit: Option<Spanned<u64>>,
    timeout_ms: Option<Spanned<u64>>,
    max_instances: Option<Spanned<u64>>,
    background_fuel_limit: Option<Spanned<u64>>,
    background_timeout_ms: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExports {
    interfaces: Spanned<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSetting {
    r#type: SettingType,
    default: Option<Spanned<toml::Value>>,
    min: Option<Spanned<toml::Value>>,
    max: Option<Spanned<toml::Value>>,
    one_of: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Debug)]
#[serde(rename_all = "lowercase")]
enum SettingType {
    Boolean,
    Integer,
    Float,
    Text,
}

/// Something wrong at a place in the text.
struct Wrong {
    span: Option<Range<usize>>,
    message: String,
}

fn wrong<T>(at: &Spanned<T>, message: impl Into<String>) -> Wrong {
    Wrong { span: Some(at.span()), message: message.into() }
}

impl Raw {
    fn check(self) -> Result<PluginManifest, Wrong> {
        let kind = self.plugin.kind;
        check_name(&self.plugin.name)?;
        Ok(PluginManifest {
            version: version(&self.plugin.version)?,
            min_kernel_version: version(&self.plugin.min_kernel_version)?,
            module: module(&self.module)?,
            blake3: self.module.get_ref().blake3.as_ref().map(hash).transpose()?,
            limits: self.resources.check(kind)?,
            exports: exports(self.exports, kind)?,
            config: config(self.config_schema, self.config)?,
            name: self.plugin.name.into_inner(),
            kind,
            description: self.plugin.description,
            author: self.plugin.author,
            license: self.plugin.license,
            homepage: self.plugin.homepage,
            repository: self.plugin.repository,
            capabilities: self.capabilities,
        })
    }
}

fn check_name(name: &Spanned<String>) -> Result<(), Wrong> {
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

impl RawResources {
    fn check(self, kind: PluginKind) -> Result<Limits, Wrong> {
        let instances = match kind {
            PluginKind::Codec => limits::MAX_INSTANCES,
            // What an observer was told, it must remember; two instances would each know half.
            PluginKind::Observer => 1..=1,
            PluginKind::Storage => limits::STORAGE_INSTANCES_MIN..=*limits::MAX_INSTANCES.end(),
        };
        let default_instances = (*instances.end()).min(4);
        let memory_mb =
            in_range("memory_limit_mb", self.memory_limit_mb, limits::MEMORY_LIMIT_MB, 64)?;
        let background = [&self.background_fuel_limit, &self.background_timeout_ms];
        if let Some(given) = background.into_iter().flatten().next()
            && kind != PluginKind::Storage
        {
            return Err(wrong(
                given,
                format!("a plugin of kind '{kind}' never works in the background"),
            ));
        }
        let background = Background {
            fuel_max: in_range(
                "background_fuel_limit",
                self.background_fuel_limit,
                limits::BACKGROUND_FUEL_LIMIT,
                100_000_000_000,
            )?,
            timeout_ms: in_range(
                "background_timeout_ms",
                self.background_timeout_ms,
                limits::BACKGROUND_TIMEOUT_MS,
                60_000,
            )?,
        };
        Ok(Limits {
            background: (kind == PluginKind::Storage).then_some(background),
            memory_bytes_max: memory_mb << 20,
            fuel_max: in_range("fuel_limit", self.fuel_limit, limits::FUEL_LIMIT, 1_000_000_000)?,
            timeout_ms: in_range("timeout_ms", self.timeout_ms, limits::TIMEOUT_MS, 1000)?,
            instances_max: u32::try_from(in_range(
                "max_instances",
                self.max_instances,
                instances,
                default_instances,
            )?)
            .expect("the range ends far below 2^32"),
        })
    }
}

fn in_range(
    key: &str,
    value: Option<Spanned<u64>>,
    range: RangeInclusive<u64>,
    default: u64,
) -> Result<u64, Wrong> {
    match value {
        None => Ok(default),
        Some(value) if range.contains(value.get_ref()) => Ok(value.into_inner()),
        Some(value) => {
            let (least, most) = range.into_inner();
            let message = format!("{key} = {} is out of range: {least} to {most}", value.get_ref());
            Err(wrong(&value, message))
        }
    }
}

fn exports(exports: RawExports, kind: PluginKind) -> Result<Vec<String>, Wrong> {
    let mut declared = exports.interfaces.get_ref().clone();
    declared.sort();
    if declared == kind.interfaces() {
        return Ok(declared);
    }
    let message =
        format!("a plugin of kind '{kind}' exports the interfaces {:?}", kind.interfaces());
    Err(wrong(&exports.interfaces, message))
}

fn config(
    schema: BTreeMap<Spanned<String>, RawSetting>,
    mut values: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
) -> Result<BTreeMap<String, Setting>, Wrong> {
    let known: Vec<_> = schema.keys().map(|key| key.get_ref().clone()).collect();
    if let Some(key) = values.keys().find(|key| !schema.contains_key(*key)) {
        let near = nearest(key.get_ref(), known.iter().map(String::as_str));
        let near = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
        let message = format!("[config_schema] declares no setting '{}'{near}", key.get_ref());
        return Err(wrong(key, message));
    }
    let mut config = BTreeMap::new();
    for (key, setting) in schema {
        let default =
            setting.default.as_ref().map(|value| setting.check(&key, value)).transpose()?;
        let value = match values.remove(&key) {
            Some(value) => setting.check(&key, &value)?,
            None => default.ok_or_else(|| {
                let name = key.get_ref();
                wrong(&key, format!("'{name}' has no default: set it below [config]"))
            })?,
        };
        config.insert(key.into_inner(), Setting { value, description: setting.description });
    }
    Ok(config)
}

impl RawSetting {
    /// The typed value, if it has the setting's type and lies within its bounds.
    fn check(
        &self,
        key: &Spanned<String>,
        value: &Spanned<toml::Value>,
    ) -> Result<ConfigValue, Wrong> {
        let name = key.get_ref();
        let typed = self.typed(value).ok_or_else(|| {
            let kind = format!("{:?}", self.r#type).to_lowercase();
            wrong(value, format!("'{name}' is declared as {kind}, {} is not", value.get_ref()))
        })?;
        let bound = |bound: &Option<Spanned<toml::Value>>| match bound {
            None => Ok(None),
            Some(bound) => match (self.typed(bound), self.r#type) {
                (Some(limit), SettingType::Integer | SettingType::Float) => Ok(Some(limit)),
                _ => Err(wrong(bound, format!("'{name}' cannot have this bound"))),
            },
        };
        let (min, max) = (bound(&self.min)?, bound(&self.max)?);
        if min.is_some_and(|min| typed.is_below(&min))
            || max.is_some_and(|max| max.is_below(&typed))
        {
            return Err(wrong(
                value,
                format!("'{name}' is outside the bounds its schema gives it"),
            ));
        }
        match (&self.one_of, &typed) {
            (None, _) => {}
            (Some(one_of), ConfigValue::Text(text)) if one_of.get_ref().contains(text) => {}
            (Some(one_of), ConfigValue::Text(_)) => {
                return Err(wrong(value, format!("'{name}' is one of {:?}", one_of.get_ref())));
            }
            (Some(one_of), _) => return Err(wrong(one_of, "only a text can have `one_of`")),
        }
        Ok(typed)
    }

    fn typed(&self, value: &Spanned<toml::Value>) -> Option<ConfigValue> {
        match (self.r#type, value.get_ref()) {
            (SettingType::Boolean, toml::Value::Boolean(value)) => {
                Some(ConfigValue::Boolean(*value))
            }
            (SettingType::Integer, toml::Value::Integer(value)) => {
                Some(ConfigValue::Integer(*value))
            }
            (SettingType::Float, toml::Value::Float(value)) if value.is_finite() => {
                Some(ConfigValue::Float(*value))
            }
            (SettingType::Float, toml::Value::Integer(value)) => {
                Some(ConfigValue::Float(*value as f64))
            }
            (SettingType::Text, toml::Value::String(value)) => {
                Some(ConfigValue::Text(value.clone()))
            }
            _ => None,
        }
    }
}

impl ConfigValue {
    fn is_below(&self, other: &ConfigValue) -> bool {
        match (self, other) {
            (ConfigValue::Integer(a), ConfigValue::Integer(b)) => a < b,
            (ConfigValue::Float(a), ConfigValue::Float(b)) => a < b,
            _ => false,
        }
    }
}

/// Adds the nearest valid key to serde's "unknown field `x`, expected one of `a`, `b`".
fn with_nearest_key(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    match quoted.next().filter(|_| is_unknown).and_then(|wrong| nearest(wrong, quoted)) {
        Some(near) => format!("{message}; did you mean '{near}'?"),
        None => message.to_owned(),
    }
}

fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|known| (strsim::damerau_levenshtein(wrong, known), known)).min()?;
    (near.0 <= NEAR_EDITS_MAX).then_some(near.1)
}

#[cfg(test)]
mod tests;

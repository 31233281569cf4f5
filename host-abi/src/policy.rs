//! What the operator allows plugins, and what a plugin gets of what it asked for.
//!
//! A manifest is written by whoever wrote the plugin: it only asks. A policy is written by whoever runs the
//! database. A [`Grant`] is what is in both: no call of a plugin asks for more than its grant has.
//!
//! ```text
//!   manifest  [capabilities], [resources], [hooks]  ──┐
//!                                                     ├─▶ Grant ─▶ may_read("orders")? limits? clock?
//!   policy    [allow], [limits], [plugin.NAME...]   ──┘
//! ```
//!
//! | section                 | what it says                                                             |
//! |-------------------------|--------------------------------------------------------------------------|
//! | `[allow]`               | the keys of a manifest's `[capabilities]`: the most that any plugin gets |
//! | `[limits]`              | the keys of a manifest's `[resources]`: the highest any of them can be   |
//! | `[plugin.NAME.allow]`   | for this plugin: each key in the place of the same key of `[allow]`      |
//! | `[plugin.NAME.limits]`  | for this plugin: each key in the place of the same key of `[limits]`     |
//! | `[signatures]`          | `required`, `trusted_keys`: who may vouch for plugins                    |
//! | `[reload]`              | how a new version takes over: `probation_ms`, `drain_ms`, `step_ms`,     |
//! |                         | `steps_percent`, `latency_factor`, `latency_floor_ms`, `calls_min`,      |
//! |                         | `samples`                                                                |
//! | `[plugin.NAME.reload]`  | for this plugin: each key in the place of the same key of `[reload]`     |
//!
//! A key that is left out is as in [`Policy::default`]: every table, codec and plugin, clock and random
//! numbers, no directory and no address, limits as high as a manifest can say, no signature required, and reloads by
//! the usual [rules](Rules).
//!
//! Invariants:
//! 1. Nothing is granted that the manifest does not ask for, and nothing that the policy does not allow.
//! 2. A limit is the lower of the two: a manifest lowers, it never raises.
//! 3. A table whose name begins with `sochdb.` is the host's own and is never granted.
//! 4. Names are compared byte for byte: no case is folded, nothing is normalised, and `..` is no way out.

mod reload;
mod wider;

use crate::address::Address;
use crate::glob::{Glob, Globs};
use crate::limits::{Background, Limits, MANIFEST_BYTES_MAX};
use crate::plugin_manifest::{
    Capabilities, Change, Directory, HIGHEST, Hooks, ManifestError, PluginManifest,
    RawCapabilities, RawResources, check_name, schema,
};
use crate::signature::{RawSignatures, Signatures};
use crate::strict_toml::{self, Wrong};
use reload::RawReload;
use schemars::JsonSchema;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use sochdb_reload::Rules;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use toml::Spanned;

/// How the names of the host's own tables begin.
pub const HOST_TABLES: &str = "sochdb.";

/// What the operator allows.
///
/// ```
/// use sochdb_host_abi::{PluginManifest, Policy};
///
/// let policy = Policy::parse(
///     "policy.toml",
///     r#"
///         [allow]
///         can_read_table = ["shop/**"]
///         can_write_table = []
///         [limits]
///         memory_limit_mb = 128
///         [plugin.billing.allow]
///         can_write_table = ["shop/invoices"]
///     "#,
/// )?;
/// let manifest = PluginManifest::parse(
///     "billing.toml",
///     r#"
///         [plugin]
///         name = "billing"
///         version = "1.0.0"
///         kind = "procedure"
///         min_kernel_version = "0.1.0"
///         [module]
///         path = "billing.wasm"
///         [capabilities]
///         can_read_table = ["*/orders"]
///         can_write_table = ["**"]
///         [resources]
///         memory_limit_mb = 512
///         timeout_ms = 200
///         [exports]
///         interfaces = ["lifecycle", "procedure"]
///     "#,
/// )?;
/// let grant = policy.grant(&manifest)?;
/// assert!(grant.may_read("shop/orders") && !grant.may_read("staff/orders"));
/// assert!(grant.may_write("shop/invoices") && !grant.may_write("shop/orders"));
/// assert_eq!((grant.limits.memory_bytes_max, grant.limits.timeout_ms), (128 << 20, 200));
/// # Ok::<(), sochdb_kernel::KernelError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    every_plugin: Allowed,
    plugins: BTreeMap<String, Allowed>,
    signatures: Signatures,
}

/// What is allowed to one plugin, or to all that are not named.
#[derive(Debug, Clone, PartialEq)]
struct Allowed {
    capabilities: Capabilities,
    ceilings: Limits,
    reload: Rules,
}

/// What a plugin gets: what its manifest asks for and the policy allows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grant {
    /// Tables whose rows it reads; ask with [`may_read`](Self::may_read).
    pub can_read_table: Both,
    /// Tables whose rows it writes and deletes; ask with [`may_write`](Self::may_write).
    pub can_write_table: Both,
    /// Whether it searches indexes of vectors, of tables whose rows it reads.
    pub can_vector_search: bool,
    /// Whether it looks up values in ordered indexes, of tables whose rows it reads.
    pub can_index_search: bool,
    /// Plugins it calls; ask with [`may_call`](Self::may_call).
    pub can_call_plugin: Both,
    /// Codecs it uses; ask with [`may_use_codec`](Self::may_use_codec).
    pub codecs: Both,
    /// Directories of the machine it sees.
    pub directories: Vec<Directory>,
    /// Addresses that its payloads are sent to; ask with [`may_send_to`](Self::may_send_to).
    pub addresses: Vec<Address>,
    /// Whether it reads the time.
    pub clock: bool,
    /// Whether it gets real random numbers.
    pub random: bool,
    /// When it is called about changes of rows; ask with [`hears_before`](Self::hears_before) and
    /// [`hears_after`](Self::hears_after).
    pub hooks: Option<GrantedHooks>,
    /// What it runs under.
    pub limits: Limits,
}

/// Names that two lists of patterns match: what was asked for, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Both {
    /// What the manifest asks for.
    pub wanted: Globs,
    /// What the policy allows.
    pub allowed: Globs,
}

/// When a plugin is called about changes of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GrantedHooks {
    /// What the manifest asks for.
    pub wanted: Hooks,
    /// Tables whose rows the policy lets plugins read: a hook is shown the row that changes.
    pub seen: Globs,
    /// Tables whose rows the policy lets plugins write: only there a hook may change what is written.
    pub changed: Globs,
}

/// Two patterns, and the names that both match.
struct Piece<'a> {
    wanted: &'a Glob,
    allowed: &'a Glob,
}

/// What the operator allows plugins: no more than this, whatever their manifests ask for. A key that is left out
/// forbids nothing, but directories and addresses are granted only where they are named.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Policy of a SochDB database")]
struct Raw {
    /// The most that any plugin is granted. A key that is left out: every table, plugin and codec, searches, clock and
    /// random numbers; no directory, no address.
    #[serde(default)]
    allow: RawCapabilities,
    /// The highest that any limit of a plugin can be. A key that is left out: as high as a manifest can say.
    #[serde(default)]
    limits: RawResources,
    /// Who may vouch for plugins.
    #[serde(default)]
    signatures: RawSignatures,
    /// How a new version of a plugin takes over from the old one.
    #[serde(default)]
    reload: RawReload,
    /// What is different for one plugin, by its name.
    #[serde(default)]
    #[schemars(
        with = "BTreeMap<String, RawAllowed>", extend("propertyNames" = { "pattern": schema::NAME })
    )]
    plugin: BTreeMap<Spanned<String>, RawAllowed>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawAllowed {
    /// The most that this plugin is granted: each key in the place of the same key of [allow].
    #[serde(default)]
    allow: RawCapabilities,
    /// The highest that its limits can be: each key in the place of the same key of [limits].
    #[serde(default)]
    limits: RawResources,
    /// How a new version of it takes over: each key in the place of the same key of [reload].
    #[serde(default)]
    reload: RawReload,
}

impl Default for Policy {
    /// Every table, index, codec and plugin, clock and random numbers; no directory and no address; limits as high as
    /// a manifest can say; no signature required; reloads by the usual rules.
    fn default() -> Policy {
        let capabilities = Capabilities {
            can_read_table: Globs::everything(),
            can_write_table: Globs::everything(),
            can_vector_search: true,
            can_index_search: true,
            can_call_plugin: Globs::everything(),
            codecs: Globs::everything(),
            directories: Vec::new(),
            addresses: Vec::new(),
            clock: true,
            random: true,
        };
        Policy {
            every_plugin: Allowed { capabilities, ceilings: HIGHEST, reload: Rules::default() },
            plugins: BTreeMap::new(),
            signatures: Signatures::default(),
        }
    }
}

impl Policy {
    /// Reads a policy from its text. `file` is only named in errors.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(file: &str, text: &str) -> Result<Policy, ManifestError> {
        strict_toml::read(file, text, Raw::check)
    }

    /// Reads the policy in the file `path`.
    ///
    /// # Errors
    /// `NotFound`, `Limit` when it is too large, `Invalid` with its place for what is wrong in it.
    pub fn load(path: &Path) -> KernelResult<Policy> {
        let text = strict_toml::read_file("policy", path, MANIFEST_BYTES_MAX)?;
        Ok(Policy::parse(&path.display().to_string(), &text)?)
    }

    /// What the plugin of this manifest gets. What the policy does not allow is simply not granted: the
    /// plugin is loaded and its calls are denied.
    ///
    /// # Errors
    /// `Plugin` with [`PluginFault::Denied`] when a ceiling is below what this kind of plugin needs to work
    /// at all.
    pub fn grant(&self, manifest: &PluginManifest) -> KernelResult<Grant> {
        let Allowed { capabilities: allowed, ceilings, .. } = self.of(&manifest.name);
        let limits = lower_of(&manifest.limits, ceilings);
        let least = *manifest.kind.instances().start();
        if u64::from(limits.instances_max) < least {
            let message = format!(
                "a plugin of kind '{}' needs {least} instances, the policy allows {}; raise max_instances \
                 below [plugin.{}.limits]",
                manifest.kind, limits.instances_max, manifest.name
            );
            return Err(KernelError::plugin(&manifest.name, PluginFault::Denied, message));
        }
        let wanted = &manifest.capabilities;
        let both = |wanted: &Globs, allowed: &Globs| Both {
            wanted: wanted.clone(),
            allowed: allowed.clone(),
        };
        Ok(Grant {
            can_read_table: both(&wanted.can_read_table, &allowed.can_read_table),
            can_write_table: both(&wanted.can_write_table, &allowed.can_write_table),
            can_vector_search: wanted.can_vector_search && allowed.can_vector_search,
            can_index_search: wanted.can_index_search && allowed.can_index_search,
            can_call_plugin: both(&wanted.can_call_plugin, &allowed.can_call_plugin),
            codecs: both(&wanted.codecs, &allowed.codecs),
            directories: directories(&wanted.directories, &allowed.directories),
            addresses: addresses(&wanted.addresses, &allowed.addresses),
            clock: wanted.clock && allowed.clock,
            random: wanted.random && allowed.random,
            hooks: manifest.hooks.clone().map(|wanted| GrantedHooks {
                wanted,
                seen: allowed.can_read_table.clone(),
                changed: allowed.can_write_table.clone(),
            }),
            limits,
        })
    }
}

impl Policy {
    /// Whether a plugin that came with the program has anything to do: one that asks for directories or addresses
    /// waits for the operator to grant it one.
    pub fn wakes(&self, manifest: &PluginManifest) -> bool {
        let Capabilities { directories, addresses, .. } = &manifest.capabilities;
        let asks = !directories.is_empty() || !addresses.is_empty();
        // What cannot be granted at all says so when it is loaded.
        let is_granted =
            |grant: Grant| !grant.directories.is_empty() || !grant.addresses.is_empty();
        !asks || self.grant(manifest).map_or(true, is_granted)
    }

    /// Who may vouch for plugins, and whether somebody has to.
    pub fn signatures(&self) -> &Signatures {
        &self.signatures
    }

    /// How a new version of the plugin `plugin` takes over from the old one.
    pub fn reload_rules(&self, plugin: &str) -> Rules {
        self.of(plugin).reload.clone()
    }

    /// The JSON Schema of a policy, for editors: what `manifests/policy.schema.json` is made of.
    pub fn json_schema() -> Value {
        let mut schema = schema::of::<Raw>();
        let of_all = ["", "/properties/plugin/additionalProperties"];
        for place in of_all.map(|of| format!("{of}/properties")) {
            for section in ["allow", "limits"] {
                without_defaults(schema.pointer_mut(&format!("{place}/{section}/properties")));
            }
        }
        without_defaults(
            schema.pointer_mut(&format!("{}/properties/reload/properties", of_all[1])),
        );
        schema
    }

    fn of(&self, plugin: &str) -> &Allowed {
        self.plugins.get(plugin).unwrap_or(&self.every_plugin)
    }
}

/// Takes the defaults of a manifest out: a policy has others, and a section for one plugin those of the general one.
fn without_defaults(keys: Option<&mut Value>) {
    let keys = keys.and_then(Value::as_object_mut).expect("every section has keys");
    for key in keys.values_mut().filter_map(Value::as_object_mut) {
        key.shift_remove("default");
    }
}

impl Raw {
    fn check(self) -> Result<Policy, Wrong> {
        let usual = Policy::default().every_plugin;
        let every_plugin = Allowed {
            capabilities: self.allow.over(&usual.capabilities)?,
            ceilings: self.limits.ceilings(&usual.ceilings)?,
            reload: self.reload.over(&usual.reload)?,
        };
        let signatures = self.signatures.check()?;
        let mut plugins = BTreeMap::new();
        for (name, RawAllowed { allow, limits, reload }) in self.plugin {
            check_name(&name)?;
            let allowed = Allowed {
                capabilities: allow.over(&every_plugin.capabilities)?,
                ceilings: limits.ceilings(&every_plugin.ceilings)?,
                reload: reload.over(&every_plugin.reload)?,
            };
            plugins.insert(name.into_inner(), allowed);
        }
        Ok(Policy { every_plugin, plugins, signatures })
    }
}

/// Each limit as the lower of the two says. A plugin without work in the background gets none.
fn lower_of(wanted: &Limits, ceilings: &Limits) -> Limits {
    let ceiling = ceilings.background;
    Limits {
        memory_bytes_max: wanted.memory_bytes_max.min(ceilings.memory_bytes_max),
        fuel_max: wanted.fuel_max.min(ceilings.fuel_max),
        timeout_ms: wanted.timeout_ms.min(ceilings.timeout_ms),
        instances_max: wanted.instances_max.min(ceilings.instances_max),
        background: wanted.background.zip(ceiling).map(|(wanted, ceiling)| Background {
            fuel_max: wanted.fuel_max.min(ceiling.fuel_max),
            timeout_ms: wanted.timeout_ms.min(ceiling.timeout_ms),
        }),
    }
}

/// The wanted directories that are allowed under the same name; writing needs both.
fn directories(wanted: &[Directory], allowed: &[Directory]) -> Vec<Directory> {
    let granted = wanted.iter().filter_map(|wanted| {
        let same =
            |allowed: &&Directory| allowed.host == wanted.host && allowed.guest == wanted.guest;
        let allowed = allowed.iter().find(same)?;
        Some(Directory { write: wanted.write && allowed.write, ..wanted.clone() })
    });
    granted.collect()
}

/// What both cover: of a wanted and an allowed address where one covers the other, the longer one.
fn addresses(wanted: &[Address], allowed: &[Address]) -> Vec<Address> {
    let both = |wanted: &Address, allowed: &Address| match (
        allowed.covers(wanted),
        wanted.covers(allowed),
    ) {
        (true, _) => Some(wanted.clone()),
        (false, true) => Some(allowed.clone()),
        (false, false) => None,
    };
    let pairs =
        wanted.iter().flat_map(|wanted| allowed.iter().map(move |allowed| (wanted, allowed)));
    let mut granted: Vec<_> = pairs.filter_map(|(wanted, allowed)| both(wanted, allowed)).collect();
    granted.sort();
    granted.dedup();
    granted
}

impl Grant {
    /// Whether it may read the rows of `table`.
    pub fn may_read(&self, table: &str) -> bool {
        is_for_plugins(table) && self.can_read_table.matches(table)
    }

    /// Whether it may write and delete rows of `table`.
    pub fn may_write(&self, table: &str) -> bool {
        is_for_plugins(table) && self.can_write_table.matches(table)
    }

    /// Whether it may call the plugin `plugin`.
    pub fn may_call(&self, plugin: &str) -> bool {
        self.can_call_plugin.matches(plugin)
    }

    /// Whether it may compress and restore with the codec `codec`.
    pub fn may_use_codec(&self, codec: &str) -> bool {
        self.codecs.matches(codec)
    }

    /// Whether payloads may be sent to `address`.
    pub fn may_send_to(&self, address: &Address) -> bool {
        self.addresses.iter().any(|granted| granted.covers(address))
    }

    /// Whether it is asked before `change` is made to a row of `table`.
    pub fn hears_before(&self, table: &str, change: Change) -> bool {
        self.hooks
            .as_ref()
            .is_some_and(|hooks| hooks.wanted.before.contains(&change) && hooks.is_about(table))
    }

    /// Whether it is told after `change` was made to a row of `table`.
    pub fn hears_after(&self, table: &str, change: Change) -> bool {
        self.hooks
            .as_ref()
            .is_some_and(|hooks| hooks.wanted.after.contains(&change) && hooks.is_about(table))
    }

    /// Whether it may replace or skip, not only veto, a change of a row of `table` that it is asked about.
    pub fn may_replace(&self, table: &str) -> bool {
        self.hooks
            .as_ref()
            .is_some_and(|hooks| hooks.is_about(table) && hooks.changed.matches(table))
    }

    /// Names of what was granted beside what every plugin gets, as manifests write them.
    pub fn names(&self) -> Vec<&'static str> {
        let names = [
            ("can_read_table", !self.can_read_table.granted().is_empty()),
            ("can_write_table", !self.can_write_table.granted().is_empty()),
            ("can_vector_search", self.can_vector_search),
            ("can_index_search", self.can_index_search),
            ("can_call_plugin", !self.can_call_plugin.granted().is_empty()),
            ("codecs", !self.codecs.granted().is_empty()),
            ("directories", !self.directories.is_empty()),
            ("addresses", !self.addresses.is_empty()),
            ("clock", self.clock),
            ("random", self.random),
        ];
        names.into_iter().filter(|(_, granted)| *granted).map(|(name, _)| name).collect()
    }
}

impl Both {
    /// Whether a wanted and an allowed pattern match `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.wanted.matches(name) && self.allowed.matches(name)
    }

    /// What is in both, for people: patterns, and `a & b` for names that both must match.
    pub fn granted(&self) -> Vec<String> {
        let mut granted: Vec<String> = self.pieces().map(|piece| piece.to_string()).collect();
        granted.sort();
        granted.dedup();
        granted
    }

    /// What is in both: each wanted pattern with one that allows all of it, or else with all that allow some of it.
    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        self.wanted.iter().flat_map(move |wanted| {
            let pieces = || self.allowed.iter().map(move |allowed| Piece { wanted, allowed });
            let whole = pieces().find(Piece::is_whole);
            let parts = pieces().filter(|piece| !piece.wanted.is_literal() && !piece.is_nothing());
            let parts: Vec<_> = if whole.is_some() { Vec::new() } else { parts.collect() };
            whole.into_iter().chain(parts)
        })
    }
}

impl Piece<'_> {
    /// Whether all that is wanted is allowed, as far as patterns tell.
    fn is_whole(&self) -> bool {
        let Piece { wanted, allowed } = self;
        allowed.as_str() == "**"
            || allowed == wanted
            || wanted.is_literal() && allowed.matches(wanted.as_str())
    }

    /// Whether the allowed name is none of those that are wanted.
    fn is_nothing(&self) -> bool {
        self.allowed.is_literal() && !self.wanted.matches(self.allowed.as_str())
    }
}

impl fmt::Display for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Piece { wanted, allowed } = self;
        if self.is_whole() {
            return write!(f, "{wanted}");
        }
        match wanted.as_str() == "**" || allowed.is_literal() {
            true => write!(f, "{allowed}"),
            false => write!(f, "{wanted} & {allowed}"),
        }
    }
}

impl Serialize for Both {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut both = serializer.serialize_struct("Both", 3)?;
        both.serialize_field("wanted", &self.wanted)?;
        both.serialize_field("allowed", &self.allowed)?;
        both.serialize_field("granted", &self.granted())?;
        both.end()
    }
}

impl GrantedHooks {
    /// The tables that it is about.
    pub fn tables(&self) -> Both {
        Both { wanted: self.wanted.tables.clone(), allowed: self.seen.clone() }
    }

    fn is_about(&self, table: &str) -> bool {
        is_for_plugins(table) && self.wanted.tables.matches(table) && self.seen.matches(table)
    }
}

impl fmt::Display for Both {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.granted().join(", "))
    }
}

/// Whether a table of this name can be granted at all.
fn is_for_plugins(table: &str) -> bool {
    !table.starts_with(HOST_TABLES)
}

#[cfg(test)]
mod tests;

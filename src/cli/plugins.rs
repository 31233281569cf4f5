//! `plugin list` and `plugin inspect`: who the plugins are, what they want, were granted and have used.
//! What changes them is in `install.rs`, what checks them in `manifest.rs`.

use super::args::Plugin;
use super::failure::{Exit, Failure, Outcome};
use super::package::{self, Placed};
use super::screen::{Screen, bytes_text, counted, micros_text, thousands};
use super::why::{self, Candidate};
use super::{Access, Session, audit, build, compile_options, install, kit, manifest, new};
use serde_json::{Value as Json, json};
use sochdb::host::audit::{AuditRecord, Outcome as What, read_file};
use sochdb::host::capability::{Answer, Import};
use sochdb::host::glob::Globs;
use sochdb::host::limits::{Background, Limits};
use sochdb::host::plugin_manifest::{Change, ConfigValue, Directory};
use sochdb::host::plugin_package::EXTENSION;
use sochdb::host::policy::Both;
use sochdb::host::{HostOptions, Inspection};
use sochdb::plugin::PluginManager;
use sochdb::{ErrorKind, PluginHost, PluginInfo};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

/// Runs one `plugin` command. A database is opened only for what it keeps: plugins are loaded for their own sake.
pub fn plugin(session: &mut Session, command: Plugin) -> Outcome {
    match command {
        Plugin::List { why: false } => list(session),
        Plugin::List { why: true } => list_why(session),
        Plugin::New(args) => new::new(session, &args),
        Plugin::Build(args) => build::build(session, &args),
        Plugin::Pack(args) => package::pack(session, &args),
        Plugin::Check(args) => manifest::check(session, &args),
        Plugin::Test(args) => kit::test(session, &args),
        Plugin::Bench(args) => kit::bench(session, &args),
        Plugin::Install(args) => install::install(session, &args),
        Plugin::Remove { name } => install::remove(session, &name),
        Plugin::Disable { name } => install::disable(session, &name),
        Plugin::Enable { name } => install::enable(session, &name),
        Plugin::History(args) => install::history(session, &args),
        Plugin::Inspect { plugin } => {
            let path = Path::new(&plugin);
            match path.extension().and_then(OsStr::to_str) {
                Some("wasm") => {
                    let found = host(session)?.inspect(path)?;
                    component(&mut session.screen, &found)
                }
                Some("toml" | EXTENSION) => {
                    let placed = Placed::open(path)?;
                    let host = host(session)?;
                    let name = placed.load(&host)?;
                    inspect(session, &host, &name, |source| placed.text(source))
                }
                _ => {
                    let host = load(session)?;
                    inspect(session, &host, &plugin, str::to_owned)
                }
            }
        }
    }
}

/// A host without plugins, that allows and compiles what databases of this session would.
pub fn host(session: &Session) -> Outcome<PluginHost> {
    let (policy, compile) = (session.common.policy()?, compile_options()?);
    Ok(PluginHost::with(HostOptions { policy, compile, ..HostOptions::default() })?)
}

/// The plugins that the database of this session has, or would have if there were one.
fn load(session: &Session) -> Outcome<PluginHost> {
    let (host, plugins) = (host(session)?, PluginManager::default());
    host.load_bundled(&plugins)?;
    for dir in &why::folders(session) {
        host.load_dir(dir, &plugins)?;
    }
    let builder = session.common.builder(Access::Read)?.kept_plugins(false).watch_plugins(false);
    match session.try_open_with(builder) {
        Ok(db) => {
            host.load_kept(&db)?;
            for name in db.disabled_plugins()? {
                // It may be disabled because it does not load.
                if let Err(error) = host.load_again(&name, &db) {
                    tracing::debug!(plugin = name, %error, "disabled, and cannot be loaded");
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    Ok(host)
}

fn list(session: &mut Session) -> Outcome {
    let plugins = load(session)?.list();
    let disabled = why::disabled_names(session)?;
    if session.screen.json {
        let marked = plugins.iter().map(|plugin| {
            let mut object = serde_json::to_value(plugin)?;
            object["disabled"] = disabled.contains(&plugin.name).into();
            Ok(object)
        });
        let plugins = marked.collect::<serde_json::Result<Vec<_>>>()?;
        return session.screen.object(&json!({ "plugins": plugins }));
    }
    let header =
        ["plugin", "kind", "version", "from", "component", "what it does"].map(String::from);
    let row = |plugin: &PluginInfo| {
        let mark = if disabled.contains(&plugin.name) { " (disabled)" } else { "" };
        [
            format!("{}{mark}", plugin.name),
            plugin.kind.to_string(),
            plugin.version.clone(),
            plugin.source.clone(),
            bytes_text(plugin.component_bytes),
            plugin.description.clone(),
        ]
    };
    session.screen.table(header, plugins.iter().map(row))
}

/// Every candidate for every name: the one that serves, and why the others do not.
fn list_why(session: &mut Session) -> Outcome {
    let candidates = why::candidates(session)?;
    if session.screen.json {
        let plugins = candidates.iter().map(|(name, candidates)| {
            let serving = candidates.iter().find(|one| one.standing == why::Standing::Serves);
            let serves = serving.map(|serving| &serving.from);
            json!({ "name": name, "serves": serves, "candidates": candidates })
        });
        let plugins: Vec<_> = plugins.collect();
        return session.screen.object(&json!({ "plugins": plugins }));
    }
    let rows = candidates.iter().flat_map(|(name, candidates)| {
        let name_once = std::iter::once(name.clone()).chain(std::iter::repeat(String::new()));
        name_once.zip(candidates).map(|(name, candidate): (String, &Candidate)| {
            let Candidate { from, version, standing, why, .. } = candidate;
            let standing = match why.is_empty() {
                true => standing.name().to_owned(),
                false => format!("{}: {why}", standing.name()),
            };
            [name, from.clone(), version.clone().unwrap_or_default(), standing]
        })
    });
    session.screen.table(["plugin", "from", "version", "standing"].map(String::from), rows)
}

/// `named` says what people call the place that the plugin came from.
fn inspect(
    session: &mut Session,
    host: &PluginHost,
    name: &str,
    named: impl Fn(&str) -> String,
) -> Outcome {
    let trail = Trail::of(&session.common.directory, name);
    let screen = &mut session.screen;
    let found = host.list().into_iter().find(|plugin| plugin.name == name);
    let mut plugin = found.ok_or_else(|| {
        let names: Vec<_> = host.list().into_iter().map(|plugin| plugin.name).collect();
        Failure::new(Exit::NotFound, format!("there is no plugin named '{name}'")).help(format!(
            "loaded are {}; a path that ends in .toml, .wasm or .{EXTENSION} is read from disk",
            names.join(", ")
        ))
    })?;
    plugin.source = named(&plugin.source);
    if screen.json {
        return screen.object(&plugin);
    }
    let settings: Vec<_> =
        plugin.config.iter().map(|(key, value)| setting(key, &value.value)).collect();
    let or_none = |list: String| if list.is_empty() { "nothing".to_owned() } else { list };
    screen.pairs([
        ("name", plugin.name.clone()),
        ("kind", plugin.kind.to_string()),
        ("version", plugin.version.clone()),
        ("description", plugin.description.clone()),
        ("author", plugin.author.clone()),
        ("license", plugin.license.clone()),
        ("manifest", plugin.source.clone()),
        ("component", format!("{}, blake3 {}", bytes_text(plugin.component_bytes), plugin.blake3)),
        ("settings", or_none(settings.join(", "))),
        ("exports", plugin.exports.join(", ")),
    ])?;
    screen.line("")?;
    let rows = capability_rows(&plugin, &trail).into_iter().chain(limit_rows(&plugin));
    screen.table(["", "wanted", "granted", "used"].map(String::from), rows)?;
    screen.line("")?;
    imports(screen, &plugin.imports)
}

/// What the plugin may do beside computing, for each that it wants: wanted, granted, used.
pub fn capability_rows(plugin: &PluginInfo, trail: &Trail) -> Vec<[String; 4]> {
    let (wanted, granted) = (&plugin.capabilities, &plugin.grant);
    let names =
        |key, wanted: &Globs, granted: &Both| (key, wanted.to_string(), granted.to_string());
    let switch = |is_on: bool| if is_on { "yes" } else { "" }.to_owned();
    let mut rows = vec![
        names("can_read_table", &wanted.can_read_table, &granted.can_read_table),
        names("can_write_table", &wanted.can_write_table, &granted.can_write_table),
        ("can_vector_search", switch(wanted.can_vector_search), switch(granted.can_vector_search)),
        ("can_index_search", switch(wanted.can_index_search), switch(granted.can_index_search)),
        names("can_call_plugin", &wanted.can_call_plugin, &granted.can_call_plugin),
        names("codecs", &wanted.codecs, &granted.codecs),
        ("directories", directories(&wanted.directories), directories(&granted.directories)),
        ("clock", switch(wanted.clock), switch(granted.clock)),
        ("random", switch(wanted.random), switch(granted.random)),
    ];
    if let Some(hooks) = &granted.hooks {
        let tables = hooks.tables();
        for (key, changes) in [("before", &hooks.wanted.before), ("after", &hooks.wanted.after)] {
            if !changes.is_empty() {
                let (wanted, granted) = (tables.wanted.to_string(), tables.to_string());
                rows.push((key, hears(changes, &wanted), hears(changes, &granted)));
            }
        }
    }
    rows.retain(|(_, wanted, _)| !wanted.is_empty());
    let row = |(key, wanted, granted): (&str, String, String)| {
        let granted = if granted.is_empty() { "no".to_owned() } else { granted };
        [key.to_owned(), wanted, granted, trail.used(key)]
    };
    rows.into_iter().map(row).collect()
}

/// What the audit trail of the session's database says of one plugin.
#[derive(Default)]
pub struct Trail(Vec<AuditRecord>);

impl Trail {
    fn of(directory: &Path, plugin: &str) -> Trail {
        // Without a trail nothing was used, as far as anybody knows.
        let records =
            read_file(&audit::file(directory)).map_or_else(|_| Vec::new(), |of| of.records);
        let is_its = |record: &AuditRecord| record.plugin == plugin;
        Trail(records.into_iter().filter(is_its).collect())
    }

    /// `orders 12 times, secret denied`: what a capability was used for.
    fn used(&self, key: &str) -> String {
        let functions: &[&str] = match key {
            "can_read_table" => &["soch-read", "soch-read-many", "soch-scan", "open-table"],
            "can_write_table" => &["soch-write", "soch-write-many", "soch-delete"],
            "can_call_plugin" => &["call-plugin"],
            "codecs" => &["compress", "decompress", "open"],
            "before" | "after" => &[key],
            _ => return String::new(),
        };
        let mut counts: BTreeMap<(&str, bool), u64> = BTreeMap::new();
        for record in &self.0 {
            let function = record.function.rsplit('.').next().unwrap_or_default();
            let is_denied = record.outcome == What::Denied;
            // To open a table is not yet to use it.
            if functions.contains(&function) && (is_denied || function != "open-table") {
                let object = record.object.as_deref().unwrap_or_default();
                *counts.entry((object, is_denied)).or_default() += 1;
            }
        }
        let text = |((object, is_denied), count): (&(&str, bool), &u64)| match is_denied {
            true => format!("{object} denied"),
            false if *count == 1 => format!("{object} once"),
            false => format!("{object} {} times", thousands(*count)),
        };
        counts.iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

fn directories(directories: &[Directory]) -> String {
    let texts = directories.iter().map(|directory| {
        let how = if directory.write { "read and write" } else { "read" };
        format!("{} as {}: {how}", directory.host, directory.guest)
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// `insert and update in orders`; nothing when there are no tables.
fn hears(changes: &[Change], tables: &str) -> String {
    if tables.is_empty() {
        return String::new();
    }
    let changes: Vec<_> = changes.iter().map(Change::to_string).collect();
    format!("{} in {tables}", changes.join(" and "))
}

/// What the plugin may use: wanted, granted, used.
pub fn limit_rows(plugin: &PluginInfo) -> Vec<[String; 4]> {
    let row = |key: &str, of: &dyn Fn(&Limits) -> u64| {
        let (wanted, granted) = (of(&plugin.limits_wanted), of(&plugin.limits));
        [key.to_owned(), thousands(wanted), thousands(granted), used(plugin, key)]
    };
    let mut rows = vec![
        row("memory_limit_mb", &|limits| limits.memory_bytes_max >> 20),
        row("fuel_limit", &|limits| limits.fuel_max),
        row("timeout_ms", &|limits| limits.timeout_ms),
        row("max_instances", &|limits| limits.instances_max.into()),
    ];
    if plugin.limits.background.is_some() {
        let of = |limits: &Limits, of: fn(Background) -> u64| limits.background.map_or(0, of);
        rows.push(row("background_fuel_limit", &|limits| of(limits, |limits| limits.fuel_max)));
        rows.push(row("background_timeout_ms", &|limits| of(limits, |limits| limits.timeout_ms)));
    }
    rows
}

/// What is counted of a key's use.
fn used(plugin: &PluginInfo, key: &str) -> String {
    let usage = &plugin.usage;
    let calls = counted(usage.calls, "call");
    match key {
        "fuel_limit" => format!("{} in {calls}", thousands(usage.fuel)),
        "timeout_ms" => format!("{} in {calls}", micros_text(usage.micros)),
        "max_instances" => format!("{} started", thousands(usage.instances_started)),
        // Nobody counts how close it came.
        _ => String::new(),
    }
}

fn setting(key: &str, value: &ConfigValue) -> String {
    match value {
        ConfigValue::Boolean(value) => format!("{key} = {value}"),
        ConfigValue::Integer(value) => format!("{key} = {value}"),
        ConfigValue::Float(value) => format!("{key} = {value}"),
        ConfigValue::Text(value) => format!("{key} = {value:?}"),
    }
}

fn component(screen: &mut Screen, found: &Inspection) -> Outcome {
    if screen.json {
        return screen.object(found);
    }
    let kind =
        found.kind.map_or("of no kind that this host knows".to_owned(), |kind| kind.to_string());
    screen.pairs([
        ("file", found.file.clone()),
        ("size", bytes_text(found.bytes)),
        ("blake3", found.blake3.clone()),
        ("kind", kind),
        ("exports", found.exports.join(", ")),
        (
            "loadable",
            found.refusal.as_ref().map_or("yes".to_owned(), |why| format!("no: it {why}")),
        ),
    ])?;
    imports(screen, &found.imports)
}

/// What a component imports, and what the host says to that.
pub fn imports(screen: &mut Screen, imports: &[Import]) -> Outcome {
    let row = |import: &Import| {
        let answer = match &import.answer {
            Answer::Granted => "granted".to_owned(),
            Answer::Inert => "there, with nothing in it but what is granted".to_owned(),
            Answer::Refused(why) => format!("refused: {why}"),
        };
        [import.name.clone(), answer]
    };
    screen.table(["import", "answer"].map(String::from), imports.iter().map(row))
}

/// A plugin and its limits, for the demo's table.
pub fn limits_row(plugin: &PluginInfo) -> [String; 6] {
    [
        plugin.name.clone(),
        plugin.kind.to_string(),
        plugin.version.clone(),
        bytes_text(plugin.limits.memory_bytes_max),
        thousands(plugin.limits.fuel_max),
        format!("{} ms", thousands(plugin.limits.timeout_ms)),
    ]
}

/// What a plugin has used, for a table.
pub fn usage_row(plugin: &PluginInfo) -> [String; 5] {
    let usage = &plugin.usage;
    [
        plugin.name.clone(),
        thousands(usage.calls),
        thousands(usage.failures + usage.refusals),
        thousands(usage.fuel),
        micros_text(usage.micros),
    ]
}

/// What a plugin has used, for a program.
pub fn usage_json(plugin: &PluginInfo) -> Json {
    json!({ "name": plugin.name, "usage": plugin.usage })
}

//! `plugin list` and `plugin inspect`: who the plugins are, what they ask for, what they may use.

use super::{Session, install};
use super::args::Plugin;
use super::failure::{Exit, Failure, Outcome};
use super::screen::{Screen, bytes_text, micros_text, thousands};
use serde_json::{Value as Json, json};
use sochdb::host::Inspection;
use sochdb::host::capability::{Answer, Import};
use sochdb::host::plugin_manifest::ConfigValue;
use sochdb::plugin::PluginManager;
use sochdb::{PluginHost, PluginInfo};
use std::ffi::OsStr;
use std::path::Path;

/// Runs one `plugin` command. No database is opened: plugins are loaded for their own sake.
pub fn plugin(session: &mut Session, command: Plugin) -> Outcome {
    match command {
        Plugin::List => list(session),
        Plugin::Install { manifest } => install::install(session, &manifest),
        Plugin::Remove { name } => install::remove(session, &name),
        Plugin::Inspect { plugin } => {
            let path = Path::new(&plugin);
            match path.extension().and_then(OsStr::to_str) {
                Some("wasm") => component(&mut session.screen, &PluginHost::new()?.inspect(path)?),
                Some("toml") => {
                    let host = PluginHost::new()?;
                    let name = host.load_manifest(path, &PluginManager::default())?;
                    inspect(&mut session.screen, &host, &name)
                }
                _ => {
                    let host = load(session)?;
                    inspect(&mut session.screen, &host, &plugin)
                }
            }
        }
    }
}

/// The plugins that every database of this session would have.
fn load(session: &Session) -> Outcome<PluginHost> {
    let (host, plugins) = (PluginHost::new()?, PluginManager::default());
    host.load_bundled(&plugins)?;
    for dir in &session.common.plugin_dirs {
        host.load_dir(dir, &plugins)?;
    }
    Ok(host)
}

fn list(session: &mut Session) -> Outcome {
    let plugins = load(session)?.list();
    if session.screen.json {
        return session.screen.object(&json!({ "plugins": plugins }));
    }
    let header =
        ["plugin", "kind", "version", "from", "component", "what it does"].map(String::from);
    let row = |plugin: &PluginInfo| {
        [
            plugin.name.clone(),
            plugin.kind.to_string(),
            plugin.version.clone(),
            plugin.source.clone(),
            bytes_text(plugin.component_bytes),
            plugin.description.clone(),
        ]
    };
    session.screen.table(header, plugins.iter().map(row))
}

fn inspect(screen: &mut Screen, host: &PluginHost, name: &str) -> Outcome {
    let found = host.list().into_iter().find(|plugin| plugin.name == name);
    let plugin = found.ok_or_else(|| {
        let names: Vec<_> = host.list().into_iter().map(|plugin| plugin.name).collect();
        Failure::new(Exit::NotFound, format!("there is no plugin named '{name}'")).help(format!(
            "loaded are {}; a path that ends in .toml or .wasm is read from disk",
            names.join(", ")
        ))
    })?;
    if screen.json {
        return screen.object(&plugin);
    }
    let limits = &plugin.limits;
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
        (
            "memory",
            format!(
                "{} an instance, {} instances",
                bytes_text(limits.memory_bytes_max),
                limits.instances_max
            ),
        ),
        (
            "a call",
            format!(
                "{} units of fuel, {} ms",
                thousands(limits.fuel_max),
                thousands(limits.timeout_ms)
            ),
        ),
        ("granted", or_none(plugin.granted.join(", "))),
        ("settings", or_none(settings.join(", "))),
        ("exports", plugin.exports.join(", ")),
    ])?;
    imports(screen, &plugin.imports)
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
        ("loadable", if found.loadable { "yes" } else { "no" }.to_owned()),
    ])?;
    imports(screen, &found.imports)
}

fn imports(screen: &mut Screen, imports: &[Import]) -> Outcome {
    let row = |import: &Import| {
        let answer = match &import.answer {
            Answer::Granted => "granted".to_owned(),
            Answer::Inert => "there, with nothing in it".to_owned(),
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

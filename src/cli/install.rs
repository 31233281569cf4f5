//! `plugin install` and `plugin remove`: what a database keeps.

use super::failure::Outcome;
use super::{Access, Session, plugins};
use serde_json::json;
use sochdb::plugin::PluginManager;
use std::path::Path;

/// Tests the plugin and lets the database keep it.
pub fn install(session: &mut Session, manifest: &Path) -> Outcome {
    // First without the database, which is not made for a plugin that does not work.
    plugins::host(session)?.load_manifest(manifest, &PluginManager::default())?;
    let db = session.open(Access::Create)?;
    let name = db.install_plugin(manifest)?;
    let kept = db.kept_plugins()?.into_iter().find(|plugin| plugin.name == name);
    db.close()?;
    let blake3 = kept.map(|plugin| plugin.blake3).unwrap_or_default();
    if session.screen.json {
        return session.screen.object(&json!({ "installed": name, "blake3": blake3 }));
    }
    session.screen.line(format!("installed '{name}', blake3 {blake3}"))
}

/// Lets the database keep the plugin no longer. Works also when the plugin itself does not.
pub fn remove(session: &mut Session, name: &str) -> Outcome {
    let builder = session.common.builder(Access::Write)?.kept_plugins(false);
    let db = session.common.open_with(builder)?;
    db.remove_plugin(name)?;
    db.close()?;
    if session.screen.json {
        return session.screen.object(&json!({ "removed": name }));
    }
    session.screen.line(format!("removed '{name}'"))
}

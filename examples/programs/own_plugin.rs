//! A plugin of one's own in one's own program: hooks that keep deleted rows, written in Rust, run in a sandbox.
//!
//! ```text
//! cargo run --example own_plugin              # in a directory that is gone afterwards
//! cargo run --example own_plugin -- my-data   # in this one
//! ```
//!
//! The plugin is `examples/rust/soft-delete`, whose component the build makes; yours comes from `sochdb plugin new`
//! and `sochdb plugin build`. What to see here: a plugin is two files in a folder, its component and its manifest,
//! which says what it may touch. The database loads the folder, watches it for new versions, and keeps the plugin
//! itself, so that a backup has it as well. What the plugin asked for and was denied is in the audit trail.

use serde::{Deserialize, Serialize};
use sochdb::rows::Moment;
use sochdb::{Database, KernelResult, Table};
use std::error::Error;
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct Person {
    id: u32,
    name: String,
    /// What the plugin writes instead of deleting.
    deleted_at: Option<Moment>,
}

/// The two files, where they would lie beside a program.
fn unpack(folder: &Path) -> std::io::Result<()> {
    let plugin = sochdb_examples::example("soft-delete");
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("soft-delete.wasm"), plugin.component)?;
    std::fs::write(folder.join("soft-delete.toml"), plugin.manifest)
}

fn list(db: &Database, people: &Table<Person>) -> KernelResult<String> {
    let mut said = String::new();
    for person in people.scan(&db.begin_read()?, ..)? {
        let Person { name, deleted_at, .. } = person?;
        said += &format!("{name}{}\n", if deleted_at.is_some() { ", deleted" } else { "" });
    }
    Ok(said)
}

/// Loads the plugin, deletes a row, and says what there is then.
///
/// # Errors
/// The database's, and the disk's.
pub fn run(directory: &Path) -> Result<String, Box<dyn Error>> {
    let folder = directory.join("my-plugins");
    unpack(&folder)?;
    let db = Database::builder().plugin_dir(&folder).open(directory.join("data"))?;
    let people = db.typed_table::<Person>("people", &["id"])?;
    let person = |id, name: &str| Person { id, name: name.into(), deleted_at: None };
    db.run(|tx| people.put_all(tx, &[person(1, "Ada"), person(2, "Alan")]))?;

    db.run(|tx| people.delete(tx, &2))?; // the plugin makes it an update
    let mut said = list(&db, &people)?;
    let calls = db.plugins_loaded().into_iter().find(|plugin| plugin.name == "soft-delete");
    let plugin = calls.ok_or("the folder has the plugin")?;
    said += &format!("by {} {}\n", plugin.name, plugin.version);
    db.close()?;
    Ok(said)
}

fn main() -> Result<(), Box<dyn Error>> {
    let own = tempfile::tempdir()?;
    let given = std::env::args_os().nth(1);
    print!("{}", run(given.as_ref().map_or(own.path(), Path::new))?);
    Ok(())
}

//! The files of a new plugin, by kind and language.

use crate::cli::args::Lang;
use sochdb::host::PluginKind;

/// The licences of this project, with its own authors in one of them.
pub const MIT: &str = include_str!("../../../LICENSE-MIT");
pub const APACHE: &str = include_str!("../../../LICENSE-APACHE");

/// A file of a new plugin.
pub struct File {
    /// Where it lies in the plugin's folder.
    pub name: &'static str,
    /// What is in it.
    pub text: Text,
}

/// What is in a file.
pub enum Text {
    /// Source, in which only names are replaced.
    Source(&'static str),
    /// Text, in which words are replaced too.
    Plain(&'static str),
    /// Something of ours that goes along as it is.
    Copy(&'static str),
}

const fn source(name: &'static str, text: &'static str) -> File {
    File { name, text: Text::Source(text) }
}

const fn plain(name: &'static str, text: &'static str) -> File {
    File { name, text: Text::Plain(text) }
}

/// The files of a plugin in Rust, around its source.
macro_rules! rust {
    ($source:literal) => {
        const {
            &[
                source("src/lib.rs", include_str!($source)),
                plain("my-plugin.toml", include_str!("manifest.toml.txt")),
                plain("Cargo.toml", include_str!("rust/Cargo.toml.txt")),
                plain("README.md", include_str!("rust/README.md.txt")),
                plain(".cargo/config.toml", include_str!("rust/cargo-config.toml.txt")),
                plain(".gitignore", include_str!("rust/gitignore.txt")),
                plain(".github/workflows/ci.yml", include_str!("rust/ci.yml.txt")),
            ]
        }
    };
}

/// A file of this repository, below a folder of it, and below the plugin's.
macro_rules! copy {
    ($folder:literal, $name:literal) => {
        File { name: $name, text: Text::Copy(include_str!(concat!("../../../", $folder, $name))) }
    };
}

/// The files of a plugin in Python, around its source: the SDK and the contract are among them.
macro_rules! python {
    ($source:literal, $tests:literal) => {
        const {
            &[
                source("app.py", include_str!($source)),
                source("test_app.py", include_str!($tests)),
                plain("my-plugin.toml", include_str!("manifest.toml.txt")),
                plain("README.md", include_str!("python/README.md.txt")),
                plain("requirements.txt", include_str!("python/requirements.txt")),
                plain(".gitignore", include_str!("python/gitignore.txt")),
                plain(".github/workflows/ci.yml", include_str!("python/ci.yml.txt")),
                copy!("sdk-python/", "sochdb_guest/__init__.py"),
                copy!("sdk-python/", "sochdb_guest/__main__.py"),
                copy!("sdk-python/", "sochdb_guest/_contract.py"),
                copy!("sdk-python/", "sochdb_guest/_glue.py"),
                copy!("sdk-python/", "sochdb_guest/_shapes.py"),
                copy!("sdk-python/", "sochdb_guest/check.py"),
                copy!("sdk-python/", "sochdb_guest/codecs.py"),
                copy!("sdk-python/", "sochdb_guest/config.py"),
                copy!("sdk-python/", "sochdb_guest/errors.py"),
                copy!("sdk-python/", "sochdb_guest/hooks.py"),
                copy!("sdk-python/", "sochdb_guest/plugin.py"),
                copy!("sdk-python/", "sochdb_guest/procedure.py"),
                copy!("sdk-python/", "sochdb_guest/row.py"),
                copy!("sdk-python/", "sochdb_guest/rows.py"),
                copy!("sdk-python/", "sochdb_guest/search.py"),
                copy!("sdk-python/", "sochdb_guest/telemetry.py"),
                copy!("sdk-python/", "sochdb_guest/testing.py"),
                copy!("", "wit/0.1.0/codec.wit"),
                copy!("", "wit/0.1.0/codecs.wit"),
                copy!("", "wit/0.1.0/config.wit"),
                copy!("", "wit/0.1.0/entries.wit"),
                copy!("", "wit/0.1.0/hooks.wit"),
                copy!("", "wit/0.1.0/index.wit"),
                copy!("", "wit/0.1.0/lifecycle.wit"),
                copy!("", "wit/0.1.0/observer.wit"),
                copy!("", "wit/0.1.0/outbox.wit"),
                copy!("", "wit/0.1.0/plugins.wit"),
                copy!("", "wit/0.1.0/procedure.wit"),
                copy!("", "wit/0.1.0/rows.wit"),
                copy!("", "wit/0.1.0/search.wit"),
                copy!("", "wit/0.1.0/segments.wit"),
                copy!("", "wit/0.1.0/storage-engine.wit"),
                copy!("", "wit/0.1.0/telemetry.wit"),
                copy!("", "wit/0.1.0/types.wit"),
                copy!("", "wit/0.1.0/worlds.wit"),
            ]
        }
    };
}

/// The files of a plugin of this kind in this language, if there is a template.
pub fn of(kind: PluginKind, lang: Lang) -> Option<&'static [File]> {
    match (lang, kind) {
        (Lang::Rust, PluginKind::Codec) => Some(rust!("rust/codec/lib.rs")),
        (Lang::Rust, PluginKind::Observer) => Some(rust!("rust/observer/lib.rs")),
        (Lang::Rust, PluginKind::Storage) => Some(rust!("rust/storage/lib.rs")),
        (Lang::Rust, PluginKind::Hooks) => Some(rust!("rust/hooks/lib.rs")),
        (Lang::Rust, PluginKind::Procedure) => Some(rust!("rust/procedure/lib.rs")),
        (Lang::Rust, PluginKind::Index) => Some(rust!("rust/index/lib.rs")),
        (Lang::Python, PluginKind::Hooks) => {
            Some(python!("python/hooks/app.py", "python/hooks/test_app.py"))
        }
        (Lang::Python, PluginKind::Procedure) => {
            Some(python!("python/procedure/app.py", "python/procedure/test_app.py"))
        }
        // A call in every block, segment or entry costs more than Python has to give.
        (Lang::Python, _) => None,
    }
}

/// Whether plugins in this language say where the SDK is.
pub fn needs_sdk(lang: Lang) -> bool {
    lang == Lang::Rust
}

/// How its own tests are run.
pub fn test_command(lang: Lang) -> &'static str {
    match lang {
        Lang::Rust => "cargo test",
        Lang::Python => "python3 -m unittest",
    }
}

/// What the plugin of the template does, without its full stop.
pub fn purpose(kind: PluginKind) -> &'static str {
    match kind {
        PluginKind::Codec => "Stores how long runs of equal bytes are",
        PluginKind::Observer => "Shows the newest value of each metric",
        PluginKind::Storage => "Keeps rows one behind the other",
        PluginKind::Hooks => "Lets nobody write an empty value",
        PluginKind::Procedure => "Counts the rows of a table",
        PluginKind::Index => "Finds the nearest vectors by comparing with all",
    }
}

/// Crates that the source uses beside the SDK.
pub fn dependencies(kind: PluginKind) -> &'static str {
    match kind {
        PluginKind::Procedure => "serde = { version = \"1\", features = [\"derive\"] }\n",
        _ => "",
    }
}

/// What a manifest of this kind has below `[capabilities]`, and at its end.
pub fn sections(kind: PluginKind) -> [&'static str; 2] {
    match kind {
        PluginKind::Hooks => [include_str!("hooks.toml.txt"), include_str!("hooks-when.toml.txt")],
        PluginKind::Procedure => [include_str!("procedure.toml.txt"), ""],
        PluginKind::Codec | PluginKind::Observer | PluginKind::Storage | PluginKind::Index => {
            [include_str!("pure.toml.txt"), ""]
        }
    }
}

/// How it is tried, for the README.
pub fn try_it(kind: PluginKind) -> &'static str {
    let text = match kind {
        PluginKind::Codec => include_str!("readme/codec.md"),
        PluginKind::Observer => include_str!("readme/observer.md"),
        PluginKind::Storage => include_str!("readme/storage.md"),
        PluginKind::Hooks => include_str!("readme/hooks.md"),
        PluginKind::Procedure => include_str!("readme/procedure.md"),
        PluginKind::Index => include_str!("readme/index.md"),
    };
    text.trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn plugins_in_python_get_every_file_of_the_sdk_and_the_contract() {
        let files = of(PluginKind::Hooks, Lang::Python).unwrap();
        for (folder, extension) in [("sdk-python/sochdb_guest", "py"), ("wit/0.1.0", "wit")] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            for path in names.filter(|path| path.extension().is_some_and(|it| it == extension)) {
                let is_it = |file: &&File| path.ends_with(file.name);
                let file = files.iter().find(is_it).unwrap_or_else(|| panic!("{}", path.display()));
                let Text::Copy(text) = file.text else { panic!("{} is no copy", file.name) };
                assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{}", file.name);
            }
        }
    }
}

//! The command line of those who write plugins: `sochdb plugin new`, `build`, `pack`.

use clap::{Args, ValueEnum};
use sochdb::host::PluginKind;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct PluginNew {
    /// What the plugin is called: a lower-case letter, then lower-case letters, digits, - and _.
    pub name: String,
    /// What it is.
    #[arg(long, value_enum)]
    pub kind: Kind,
    /// What it is written in.
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    pub lang: Lang,
    /// The folder that is made; must be empty or missing. Without it one called NAME.
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// Under which terms others may use it.
    #[arg(long, value_enum, default_value_t = License::Both)]
    pub license: License,
    /// Who wrote it, for its manifest and licence.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub author: String,
    /// Where the SDK comes from: its folder, or the number of a released version. Without it the SDK that this
    /// program was built beside.
    #[arg(long, value_name = "FOLDER|VERSION")]
    pub sdk: Option<String>,
}

/// What a plugin is, as `--kind` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
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

impl From<Kind> for PluginKind {
    fn from(kind: Kind) -> PluginKind {
        match kind {
            Kind::Codec => PluginKind::Codec,
            Kind::Observer => PluginKind::Observer,
            Kind::Storage => PluginKind::Storage,
            Kind::Hooks => PluginKind::Hooks,
            Kind::Procedure => PluginKind::Procedure,
            Kind::Index => PluginKind::Index,
        }
    }
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// Small and fast: some ten kilobytes.
    Rust,
    /// With the interpreter in it: some ten megabytes.
    Python,
}

/// Under which terms others may use a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum License {
    /// The MIT licence.
    #[value(name = "MIT")]
    Mit,
    /// The Apache licence, version 2.0.
    #[value(name = "Apache-2.0")]
    Apache,
    /// Whichever of the two somebody likes better.
    Both,
    /// None is chosen yet.
    None,
}

#[derive(Debug, Args)]
pub struct PluginBuild {
    /// The plugin's folder.
    #[arg(default_value = ".", value_name = "FOLDER")]
    pub folder: PathBuf,
    /// Its manifest, where several lie in the folder.
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Leave wasm-opt alone, also where it is installed. Plugins in Python do without it anyway.
    #[arg(long)]
    pub no_wasm_opt: bool,
    /// Python: the virtual environment whose componentize-py builds it. Without it `.venv` in the folder, which is
    /// made if there is none.
    #[arg(long, value_name = "DIR")]
    pub venv: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct PluginPack {
    /// The plugin's folder, or its manifest.
    #[arg(default_value = ".", value_name = "FOLDER|MANIFEST")]
    pub plugin: PathBuf,
    /// The package that is written. Without it NAME-VERSION.sochdb-plugin, here.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

//! The command line of `sochdb plugin`.

use super::authoring::{PluginBuild, PluginNew, PluginPack};
use super::kit::{PluginBench, PluginTest};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// Make a folder with a new plugin that builds: source, manifest, tests, README.
    #[command(after_help = "Examples:\n  \
        sochdb plugin new not-empty --kind hooks\n  \
        sochdb plugin new tally --kind procedure --lang python\n\n\
        Then:\n  \
        cd not-empty && sochdb plugin build && sochdb plugin check .")]
    New(PluginNew),
    /// Build a plugin, and write the hash of its component to its manifest.
    ///
    /// A plugin in Rust is compiled for wasm32-wasip2, a target that is installed where it is missing. Debugging
    /// information is left out of the component, and wasm-opt makes it smaller and faster if it is installed.
    #[command(after_help = "Examples:\n  \
        sochdb plugin build\n  \
        sochdb plugin build not-empty --no-wasm-opt")]
    Build(PluginBuild),
    /// Put a plugin into one file: component, manifest, README, licences and signature.
    #[command(after_help = "Examples:\n  \
        sochdb plugin pack\n  \
        sochdb plugin pack not-empty -o not-empty.sochdb-plugin\n  \
        sochdb plugin install not-empty-0.1.0.sochdb-plugin")]
    Pack(PluginPack),
    /// List the plugins that would be loaded with a database.
    ///
    /// With --why also those that do not serve, and what keeps each from it. Of several of one name the one that
    /// comes last serves: the one of this program, the one that the database keeps, one in the database's own folder
    /// `plugins`, one in a folder given with --plugin-dir, in the order given.
    #[command(after_help = "Examples:\n  \
        sochdb plugin list\n  \
        sochdb plugin list --why --plugin-dir /srv/plugins")]
    List {
        /// Show every candidate for each name, the one with precedence first.
        #[arg(long)]
        why: bool,
    },
    /// Say everything about one plugin without running it.
    Inspect {
        /// The name of a plugin, or the path of a manifest (`.toml`), a component (`.wasm`) or a package
        /// (`.sochdb-plugin`).
        plugin: String,
    },
    /// Say whether a manifest and the component beside it would be loaded.
    ///
    /// The first thing that is wrong in the manifest is named with its line, its column, and the nearest key that
    /// exists. Then the component is compared with what is pinned and signed, compiled, and tests itself. What it
    /// imports is compared with what the manifest asks for, and its size is taken apart. No database is touched;
    /// --policy says what would be granted.
    #[command(after_help = "Examples:\n  \
        sochdb plugin check ledger.toml\n  \
        sochdb plugin check ledger-1.0.0.sochdb-plugin\n  \
        sochdb plugin check ledger.toml --policy policy.toml\n  \
        sochdb plugin check --schema > manifest.schema.json       for editors that complete TOML")]
    Check(PluginCheck),
    /// Find out whether a plugin does what its kind must do.
    ///
    /// The conformance kit of its kind asks it through the real host, in databases in memory: what it is for, what
    /// hurts, whether its answers depend on more than what it is asked, whether versions of it take over from each
    /// other while it is used, and whether it keeps within the limits of its manifest. The exit code is 1 when a
    /// check fails. No database on disk is touched.
    #[command(after_help = "Examples:\n  \
        sochdb plugin test ledger.toml\n  \
        sochdb plugin test ledger.toml --only reload --seed 7\n  \
        sochdb plugin test ledger.toml --samples samples.json --json\n\n\
        Samples say which tables a plugin is for, with rows, and which calls it must answer:\n  \
        {\"tables\": {\"people\": {\"columns\": [\"id:int64\", \"name:string?\"], \"key\": [\"id\"],\n              \
        \"rows\": [{\"id\": 1, \"name\": \"ada\"}]}},\n   \
        \"calls\": [{\"procedure\": \"count\", \"args\": {}, \"answer\": 1}]}")]
    Test(PluginTest),
    /// Measure a plugin beside the one of its kind that comes with this program.
    ///
    /// Both do the same work in turns: codecs beside lz4, storage engines beside lscs, indexes beside hnsw or
    /// btree-index, observers beside prometheus; hooks beside writes without them, procedures beside transactions
    /// that do nothing.
    #[command(after_help = "Examples:\n  \
        sochdb plugin bench my-codec.toml\n  \
        sochdb plugin bench my-codec.toml --turn-ms 1000 --json")]
    Bench(PluginBench),
    /// Test a plugin and let the database keep it: manifest, component and all.
    ///
    /// It serves every later opening, in a restored backup too. One of the same name is replaced, once the new one
    /// has shown that it reads what is there; otherwise nothing changes. The database is created if there is none.
    #[command(
        visible_alias = "reload",
        after_help = "Examples:\n  \
            sochdb plugin install ledger.toml\n  \
            sochdb plugin install ledger-1.0.0.sochdb-plugin\n  \
            sochdb plugin install ledger.toml --widen      it may be granted more than the one before"
    )]
    Install(PluginInstall),
    /// Let the database keep a plugin no longer.
    ///
    /// One that tables need is not removed. One that is part of this program is then as this program has it.
    Remove {
        /// The plugin's name.
        name: String,
    },
    /// Take a plugin out of service, until it is enabled again.
    ///
    /// It stays where it is, and is loaded by no opening. One that tables need is not disabled.
    Disable {
        /// The plugin's name.
        name: String,
    },
    /// Put a disabled plugin back into service.
    Enable {
        /// The plugin's name.
        name: String,
    },
    /// Show what became of plugins, the newest first: added, replaced, rolled back and why, disabled, removed.
    #[command(after_help = "Examples:\n  \
        sochdb plugin history\n  \
        sochdb plugin history ledger --steps\n  \
        sochdb plugin history --json")]
    History(PluginHistory),
}

#[derive(Debug, Args)]
pub struct PluginCheck {
    /// The plugin's manifest, its folder, or a package.
    #[arg(required_unless_present_any = ["schema", "policy_schema"])]
    pub manifest: Option<PathBuf>,
    /// Print the JSON Schema of manifests instead.
    #[arg(long, conflicts_with_all = ["manifest", "policy_schema"])]
    pub schema: bool,
    /// Print the JSON Schema of policies instead.
    #[arg(long, conflicts_with = "manifest")]
    pub policy_schema: bool,
}

#[derive(Debug, Args)]
pub struct PluginInstall {
    /// The plugin's manifest, its folder, or a package.
    pub manifest: PathBuf,
    /// It may be granted more than the version whose place it takes.
    #[arg(long)]
    pub widen: bool,
    /// It may write what the version before cannot read: there is no way back then.
    #[arg(long)]
    pub one_way: bool,
}

#[derive(Debug, Args)]
pub struct PluginHistory {
    /// Only of this plugin.
    pub name: Option<String>,
    /// Also the states that each reload was in, how long, and what was noted.
    #[arg(long)]
    pub steps: bool,
    /// Only the newest so many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

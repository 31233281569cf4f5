//! The command line, as clap reads it. Each doc comment below is the help text a user sees.

mod authoring;
mod backup;
mod dump;
mod kit;
mod plugin;
mod shell;
mod tenant;

use super::failure::EXIT_CODES_HELP;
use super::names::{CODECS, INDEXES, STORAGES};
use super::screen::Mode;
use super::top::parse_interval;
#[cfg(test)]
pub use authoring::Kind;
pub use authoring::{Lang, License, PluginBuild, PluginNew, PluginPack};
pub use backup::{Backup, BackupPrune, Backups, Restore};
use clap::{Args, Parser, Subcommand, ValueEnum};
pub use dump::{Dump, Load};
pub use kit::{PluginBench, PluginTest, Tested};
pub use plugin::{Plugin, PluginCheck, PluginHistory, PluginInstall};
pub use shell::{Line, Shell};
use std::net::SocketAddr;
use std::path::PathBuf;
pub use tenant::{Tenant, TenantQuota};

/// An embedded ACID database with sandboxed WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(
    name = "sochdb",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Start with `sochdb demo`, or:\n  \
        sochdb import words.jsonl --table words --key id\n  \
        sochdb get words 42\n  \
        sochdb scan words --limit 10",
    after_long_help = EXIT_CODES_HELP,
)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The database's directory.
    #[arg(
        short,
        long = "db",
        value_name = "DIR",
        env = "SOCHDB_DB",
        default_value = "sochdb-data",
        global = true
    )]
    pub directory: PathBuf,
    /// Print what a program would read: JSON objects, one a line for rows.
    #[arg(long, global = true)]
    pub json: bool,
    /// How rows are printed.
    #[arg(long, value_enum, value_name = "MODE", global = true, conflicts_with = "json")]
    pub mode: Option<Mode>,
    /// A folder of plugin manifests (TOML) to load besides the bundled plugins; may be given again.
    #[arg(long = "plugin-dir", value_name = "DIR", global = true)]
    pub plugin_dirs: Vec<PathBuf>,
    /// What plugins may be granted, whatever their manifests say (TOML); without it everything but
    /// directories.
    #[arg(long, value_name = "FILE", global = true, env = "SOCHDB_POLICY")]
    pub policy: Option<PathBuf>,
    /// When a commit counts as done: after its own sync, after the next one (10 ms at most), or at once.
    #[arg(long, value_enum, default_value_t = Sync::Fsync, global = true)]
    pub sync: Sync,
    /// How long to wait for another process that has the database open, 0 to 86400. Commands that only read need
    /// not wait.
    #[arg(long, value_name = "SECONDS", default_value = "2", global = true, env = "SOCHDB_WAIT", value_parser = parse_wait)]
    pub wait: f64,
    /// Keep the log's old files in the folder `archive` of the database, so that `restore` can go back to any
    /// moment since a backup. A database that has such a folder keeps it from then on.
    #[arg(long, global = true)]
    pub archive: bool,
}

fn parse_wait(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "not a number of seconds from 0 to 86400".to_owned())
}

/// How durable a commit is when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sync {
    /// On disk before the commit returns.
    Fsync,
    /// With the operating system at once, on disk within 10 ms: a killed process loses nothing.
    Delayed,
    /// With the operating system at once, on disk when it likes.
    None,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what the database does, on real data, with a crash in the middle.
    ///
    /// Imports some thousand rows of WordNet with their sentence embeddings, queries them, kills a
    /// writing process, recovers, verifies every acknowledged row and prints what it measured. Exits
    /// with 1 when any verification fails.
    Demo(Demo),
    /// Create, convert, list and drop tables.
    #[command(subcommand)]
    Table(Table),
    /// Write one row.
    #[command(after_help = "Examples:\n  \
        sochdb put settings colour blue             an untyped table: key and value\n  \
        sochdb put words id=7 text='a word'         a typed table: column=value\n  \
        sochdb put words '{\"id\": 7, \"text\": \"hi\"}'  a typed table: a JSON object")]
    Put(Put),
    /// Print one row; exits with 3 when it is not there.
    #[command(
        after_help = "Examples:\n  sochdb get settings colour\n  sochdb get words noun.food n07891726"
    )]
    Get(Get),
    /// Remove one row, exits with 3 when it is not there; or every row of a range of keys.
    ///
    /// A range is removed in commits of some thousand rows each, unless --at-once asks for one.
    #[command(after_help = "Examples:\n  \
        sochdb delete settings colour\n  \
        sochdb delete words noun.food n07891726\n  \
        sochdb delete settings --prefix user/7/\n  \
        sochdb delete words --from 100 --to 200")]
    Delete(Delete),
    /// Remove the rows whose time is over.
    ///
    /// For tables with the settings `ttl_column`, a column of timestamps, and `ttl`, how long a row lives after
    /// that. A program that has the database open does the same by itself every few seconds.
    #[command(after_help = "Examples:\n  \
        sochdb table create events --column id:int64 --column at:timestamp --key id \\\n    \
          --set ttl_column=at --set ttl=30d\n  \
        sochdb expire\n  \
        sochdb expire events")]
    Expire {
        /// Only in this table.
        table: Option<String>,
    },
    /// Print rows in the order of their keys.
    #[command(after_help = "Examples:\n  \
        sochdb scan settings --prefix user/ --limit 20\n  \
        sochdb scan words --from 100 --to 200 --reverse\n  \
        sochdb scan words --prefix noun.food --columns synset,text   every key with this first column\n  \
        sochdb scan words --filter pos=n --filter 'id<1000'          rows that fulfil both")]
    Scan(Scan),
    /// Load a file into a table: JSONL, CSV, Parquet, Arrow, or vectors.
    ///
    /// A table that does not exist is created. Its columns are taken from the first rows of the file, or from its
    /// own schema; --column says otherwise. Without --key the column `id` is the key. JSONL and CSV may be
    /// compressed (.gz, .zst).
    ///
    /// Of a file of vectors (npy, fvecs, f32bin) the number of a row, from 0 on, is its key. A new table has
    /// the columns `id` and `vector`, unless --key and --column say otherwise.
    ///
    /// Rows are committed in batches. A bad row ends the import with its file, line and column; nothing
    /// of its batch is applied, and the message says how many rows were committed before. With --rejects bad rows
    /// go to a file with their reasons, and the import goes on.
    ///
    /// An import that was interrupted goes on with --resume: how far it was is committed with its rows, so each
    /// row is there once.
    ///
    /// Where the table has no rows, the beginning of a file is loaded in bulk, past log and memory, all of it at one
    /// moment: as long as keys grow, and otherwise as many rows as fit into memory. A crash before that moment leaves
    /// nothing of it. --batch-rows commits batch by batch from the beginning on; so it is also done with standard input,
    /// with tables that have hooks or indexes, those of tenants, and where the log is archived.
    #[command(after_help = "Examples:\n  \
        sochdb import words.jsonl --table words --key id\n  \
        sochdb import trips.csv --table trips --key city --key day --column day:timestamp\n  \
        sochdb import trips.csv.gz --table trips --rejects bad.jsonl\n  \
        sochdb import trips.parquet --key city --key day\n  \
        sochdb import trips.parquet --resume                       after a crash or Ctrl-C\n  \
        sochdb import embeddings.npy --table docs\n  \
        generate | sochdb import - --format jsonl --table events")]
    Import(Import),
    /// Make, list and drop indexes of tables.
    #[command(subcommand)]
    Index(Index),
    /// Print the rows of a table whose vectors are nearest to one.
    ///
    /// Nearest first, with the distance: for cosine 1 less the cosine, for inner-product the product with the
    /// other sign, for euclidean the square of the distance. Without --index the table has one index of vectors.
    #[command(after_help = "Examples:\n  \
        sochdb search words --like-key 42                          rows like this one\n  \
        sochdb search words --vector '[0.1, 0.2, 0.3]' -k 5 --columns id,text\n  \
        sochdb search words --vector-file question.npy --filter pos=n --filter 'id<1000'\n  \
        sochdb search words --vector-file questions.f32bin --json  one search a row of the file")]
    Search(Search),
    /// Write a table as JSONL, CSV, Parquet or Arrow, or a column of vectors as .npy; `import` reads them back.
    #[command(after_help = "Examples:\n  \
        sochdb export words -o words.jsonl\n  \
        sochdb export words -o words.parquet --columns id,text\n  \
        sochdb export words -o words.npy --columns vector     vectors alone, in the order of the keys\n  \
        sochdb export words -o nouns.csv --filter pos=n       only some rows\n  \
        sochdb export words --format arrow-stream | another-program")]
    Export(Export),
    /// Write tables with their schemas, settings, indexes and rows to a file, as `load` reads it.
    ///
    /// All of one snapshot, as text (JSON objects, one a line) or binary. A dump goes from one version of SochDB to
    /// another, and from one storage to another; `backup` is faster, and keeps the log. Plugins are not in it.
    #[command(after_help = "Examples:\n  \
        sochdb dump -o all.sochdump                     binary, by the end of its name\n  \
        sochdb dump words events > two.jsonl\n  \
        sochdb dump | gzip > all.jsonl.gz")]
    Dump(Dump),
    /// Make the tables of a dump, in an empty database or beside others.
    ///
    /// All of them appear at one moment, when the whole dump was read and nothing was wrong with it; before that
    /// nobody sees any. Rows are loaded in bulk and go through no hook. Indexes are built afterwards. For backups
    /// there is `restore`.
    #[command(after_help = "Examples:\n  \
        sochdb --db new load all.sochdump\n  \
        sochdb load all.jsonl.gz words --replace        one table, in place of the one that is there\n  \
        sochdb --db old dump | sochdb --db new load -")]
    Load(Load),
    /// Walk every page, segment and log record and say what is wrong; exits with 5 if anything is.
    Check,
    /// Copy the database to an empty directory, or save what is new of it into a repository of backups.
    ///
    /// A copy is a database with every commit up to now. A repository holds many backups, each as large as what
    /// changed since the one before. Everything read is compared with its checksum.
    #[command(after_help = "Examples:\n  \
        sochdb backup copies/monday\n  \
        sochdb backup --into backups\n  \
        sochdb backup list backups\n  \
        sochdb backup verify backups\n  \
        sochdb backup prune backups --keep-daily 7 --keep-weekly 8")]
    Backup(Backup),
    /// Make the database, which must not exist yet, from a backup.
    ///
    /// With --log it goes on from the backup with what the original has logged since, to the end, a commit or a
    /// time; the original must have kept its log (--archive, or `wal_archive` in a program) for that. A time is
    /// known to about a second, and nothing that was committed after it comes back.
    #[command(after_help = "Examples:\n  \
        sochdb --db rescued restore copies/monday\n  \
        sochdb --db rescued restore copies/monday --log broken-db --to-commit 120000\n  \
        sochdb --db rescued restore backups#2026-11-22T09-30-00Z\n  \
        sochdb --db rescued restore backups --to-timestamp 2026-11-22T09:30:00Z")]
    Restore(Restore),
    /// Save what can be saved of a broken database into a new one; exits with 5 if anything is lost.
    ///
    /// The broken database is only read. Every row whose checksum holds is saved, and what is lost is
    /// listed by table and range of keys.
    Repair {
        /// Where the new database goes; must be empty or missing.
        target: PathBuf,
    },
    /// Print sizes and counters of the database; of a TABLE, how its storage keeps it.
    ///
    /// Of a table in a storage plugin: its levels, its columns with their encodings, how much smaller they made
    /// the values, and a picture of both.
    #[command(
        after_help = "Examples:\n  sochdb stats\n  sochdb stats words\n  sochdb stats words --json\n  sochdb stats --html page.html --connect 127.0.0.1:9464"
    )]
    Stats(Stats),
    /// Serve metrics and health over HTTP for as long as the database is open here.
    ///
    /// /metrics is written by the prometheus plugin, as text or as OpenMetrics; /livez and /readyz answer
    /// orchestrators, /health says how the kernel, each plugin, tenant and observer is. Meanwhile the database
    /// does what it does in the background: checkpoints, merges, expiry. A program that embeds the database
    /// serves the same by `DatabaseBuilder::serve_metrics`.
    #[command(after_help = "Examples:\n  \
        sochdb serve-metrics\n  \
        sochdb serve-metrics --listen 0.0.0.0:9464        whoever reaches the port can read it\n  \
        sochdb serve-metrics --dashboard > dashboard.json  import it into Grafana")]
    ServeMetrics(ServeMetrics),
    /// Watch a database live: commits, latencies, log, cache, levels and plugins, once a second.
    ///
    /// With --connect a running program that serves its metrics; without it the database itself, which no other
    /// program may have open then. ? shows the keys. Where standard output is no terminal, one screen is printed as
    /// text, as with --once; with --json an object for each interval.
    #[command(after_help = "Examples:\n  \
        sochdb serve-metrics --listen 127.0.0.1:9464 &\n  \
        sochdb top --connect 127.0.0.1:9464\n  \
        sochdb top --connect 127.0.0.1:9464 --once --interval 5\n  \
        sochdb top --connect 127.0.0.1:9464 --json --count 60")]
    Top(Top),
    /// Call a procedure of a plugin, in a transaction that commits only when it succeeds.
    ///
    /// Arguments and result are JSON. Without NAME every procedure is listed.
    #[command(after_help = "Examples:\n  \
        sochdb plugin install ledger.toml\n  \
        sochdb call\n  \
        sochdb call transfer '{\"from\": \"ada\", \"to\": \"alan\", \"amount\": 7}'")]
    Call(Call),
    /// Show what plugins were called for, what they asked for, and what was denied.
    ///
    /// Every call of a plugin and every call of a plugin for something is recorded beside the database, in
    /// `audit.jsonl`, the newest last; the file is replaced before it grows without bound.
    Audit(Audit),
    /// Make a codec of a table's own blocks.
    #[command(subcommand)]
    Codec(Codec),
    /// Say what tenants may use, and see what they have; the database keeps it.
    #[command(subcommand)]
    Tenant(Tenant),
    /// Make plugins, look at them, check, install, replace, disable and remove them.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Type commands into one open database: with history, completion, colours and paging.
    ///
    /// Lines are commands as on the command line, without `sochdb` and --db. Lines that begin with a dot are for
    /// the shell itself; .help lists them. A line goes on while a quote or a bracket is open or a backslash ends it.
    /// Ctrl-C ends the command that runs, not the database; pressed again, the shell. Where standard input is no terminal, lines are read from
    /// there, and the first that fails ends it.
    #[command(after_help = "Examples:\n  \
        sochdb shell\n  \
        sochdb shell -c 'scan words --limit 3' -c '.tables'\n  \
        sochdb shell --keep-going < commands.txt\n\n\
        Environment: SOCHDB_HISTORY is the file of past lines, empty for none; PAGER pages long output.")]
    Shell(Shell),
    /// Fold the log into the data file, and merge until nothing is left that wants merging.
    ///
    /// Storage plugins say which segments are worth merging; that is done here at once instead of bit by bit in the
    /// background. It does not make one segment of all: --rewrite does that, for one TABLE, by writing every row of
    /// it anew. The kernel's own tree has no segments and is only checkpointed.
    #[command(after_help = "Examples:\n  \
        sochdb compact                      every table\n  \
        sochdb compact words                the same, and what it did to one table\n  \
        sochdb compact words --rewrite      every row of it written anew, deleted ones left behind")]
    Compact(Compact),
    /// Print the completion script for a shell.
    #[command(
        after_help = "Example:\n  sochdb completions bash > ~/.local/share/bash-completion/completions/sochdb"
    )]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write a manual page for every command into a directory.
    #[command(after_help = "Example:\n  sochdb man ~/.local/share/man/man1")]
    Man {
        /// Where the pages go; made if it is missing, pages that are there are replaced.
        directory: PathBuf,
    },
    /// The process that the demo and the tests kill: writes batches and acknowledges each.
    #[command(hide = true)]
    CrashWriter(CrashWriter),
    /// The process that compiles a stranger's component for a host.
    #[command(hide = true)]
    CompileComponent,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Where to create the demo's database, to look at it afterwards; must be empty or missing.
    /// Without it a temporary directory is used and removed.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How many rows of the data set to import.
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(u32).range(100..=4000))]
    pub rows: u32,
    /// The codec plugin of the demo's tables; `none` for none.
    #[arg(long, value_name = "NAME", default_value = "lz4", value_parser = CODECS, hide_possible_values = true)]
    pub codec: String,
    /// The storage plugin of the demo's typed tables; `kernel` for the kernel's own tree.
    #[arg(long, value_name = "NAME", default_value = "lscs", value_parser = STORAGES, hide_possible_values = true)]
    pub storage: String,
}

#[derive(Debug, Args)]
pub struct Call {
    /// The procedure: `plugin.procedure`, or `procedure` where only one plugin has it.
    pub name: Option<String>,
    /// Its arguments, as JSON; `-` reads them from standard input.
    #[arg(default_value = "{}", value_name = "JSON")]
    pub args: String,
}

#[derive(Debug, Args)]
pub struct Audit {
    /// Only this plugin.
    #[arg(long, value_name = "NAME")]
    pub plugin: Option<String>,
    /// Only what was denied.
    #[arg(long)]
    pub denied: bool,
    /// Also what every plugin does whenever it is started and ended.
    #[arg(long)]
    pub all: bool,
    /// Only the newest so many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
}

#[derive(Debug, Subcommand)]
pub enum Table {
    /// Create a table, and the database with it if there is none.
    #[command(after_help = "Examples:\n  \
        sochdb table create settings                                      untyped: bytes to bytes\n  \
        sochdb table create words --column id:int64 --column text:string? --key id --codec lz4\n  \
        sochdb table create docs --column id:string --column v:'vector(384)' --key id\n  \
        sochdb table create trips --column id:int64 --column fare:float64 --key id \\\n    \
          --storage lscs --codec lz4                                      a column store\n  \
        sochdb table create events --column id:int64 --column at:timestamp --key id \\\n    \
          --storage lscs --set ttl_column=at --set ttl=30d                rows live for 30 days\n\n\
        Types: bool, int64, float64, string, bytes, timestamp, vector(N); a trailing ? allows null.\n\n\
        Settings for every storage: ttl_column, ttl (a number and s, m, h or d). The README of a storage \
        plugin explains its own.")]
    Create(TableCreate),
    /// Move a table to another storage or codec, or change its settings; every row is written anew.
    ///
    /// What is not said stays as it is. The settings of a storage that is left stay behind, except those that
    /// say how long rows live. A crash leaves the table as it was.
    #[command(after_help = "Examples:\n  \
        sochdb table convert words --storage lscs --codec lz4\n  \
        sochdb table convert words --storage kernel --codec none\n  \
        sochdb table convert events --set ttl_column=at --set ttl=30d\n  \
        sochdb table convert events --unset ttl_column --unset ttl")]
    Convert(TableConvert),
    /// List tables.
    List {
        /// The database's own tables too: what it keeps of plugins.
        #[arg(long)]
        all: bool,
    },
    /// Remove a table with all its rows.
    Drop {
        /// The table's name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct TableCreate {
    /// The table's name.
    pub name: String,
    #[command(flatten)]
    pub shape: Shape,
}

#[derive(Debug, Args)]
pub struct TableConvert {
    /// The table's name.
    pub name: String,
    /// The storage engine that shall keep it, a plugin's name; `kernel` or `tree` for the kernel's own tree.
    #[arg(long, value_name = "NAME", value_parser = STORAGES, hide_possible_values = true)]
    pub storage: Option<String>,
    /// The codec that shall compress it, a plugin's name; `none` for none.
    #[arg(long, value_name = "NAME", value_parser = CODECS, hide_possible_values = true)]
    pub codec: Option<String>,
    /// A setting; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// A setting to take away; may be given again.
    #[arg(long = "unset", value_name = "KEY")]
    pub unset: Vec<String>,
}

/// What a new table is like.
#[derive(Debug, Default, Args)]
pub struct Shape {
    /// A column as NAME:TYPE; may be given again.
    #[arg(long = "column", value_name = "NAME:TYPE")]
    pub columns: Vec<String>,
    /// A column of the key; given again, the next one.
    #[arg(long = "key", value_name = "COLUMN")]
    pub key: Vec<String>,
    /// The storage engine, a plugin's name such as `lscs`; without it, or with `kernel` or `tree`, the
    /// kernel's own tree.
    #[arg(long, value_name = "NAME", value_parser = STORAGES, hide_possible_values = true)]
    pub storage: Option<String>,
    /// The codec, a plugin's name such as `lz4`; blocks and large values of the table are compressed with it.
    #[arg(long, value_name = "NAME", value_parser = CODECS, hide_possible_values = true)]
    pub codec: Option<String>,
    /// A setting of the table or its storage engine; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Put {
    /// The table's name.
    pub table: String,
    /// KEY VALUE, or for a typed table COLUMN=VALUE ... or one JSON object.
    #[arg(required = true, value_name = "ROW", allow_negative_numbers = true)]
    pub row: Vec<String>,
    /// Key and value are written as hexadecimal digits.
    #[arg(long)]
    pub hex: bool,
}

#[derive(Debug, Args)]
pub struct Get {
    /// The table's name.
    pub table: String,
    /// The key; for a typed table the values of its key columns.
    #[arg(required = true, allow_negative_numbers = true)]
    pub key: Vec<String>,
    /// Keys and values are hexadecimal digits.
    #[arg(long)]
    pub hex: bool,
    /// Print the value's bytes as they are and nothing else.
    #[arg(long, conflicts_with_all = ["hex", "json"])]
    pub raw: bool,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// The table's name.
    pub table: String,
    /// The key; for a typed table the values of its key columns.
    #[arg(
        required_unless_present_any = ["prefix", "from", "to"],
        conflicts_with_all = ["prefix", "from", "to"],
        allow_negative_numbers = true
    )]
    pub key: Vec<String>,
    #[command(flatten)]
    pub range: Range,
    /// All rows of the range in one transaction, or none.
    #[arg(long)]
    pub at_once: bool,
    /// Keys are written as hexadecimal digits.
    #[arg(long)]
    pub hex: bool,
}

/// A range of keys.
#[derive(Debug, Args)]
pub struct Range {
    /// Only keys that begin with this; for a typed table the value of the first key column, given
    /// again the second and so on.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["from", "to"], allow_negative_numbers = true)]
    pub prefix: Vec<String>,
    /// Only keys from here on, this one included.
    #[arg(long, value_name = "KEY", allow_negative_numbers = true)]
    pub from: Vec<String>,
    /// Only keys before this one.
    #[arg(long, value_name = "KEY", allow_negative_numbers = true)]
    pub to: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Scan {
    /// The table's name.
    pub table: String,
    #[command(flatten)]
    pub range: Range,
    /// At most so many rows.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// The greatest key first.
    #[arg(long)]
    pub reverse: bool,
    /// Only rows of a typed table whose column compares so: COLUMN=VALUE, or with !=, <, <=, >, >= or ^= (begins
    /// with); an empty value is null where the column allows it. May be given again: rows fulfil all.
    #[arg(long = "filter", value_name = "COLUMN=VALUE")]
    pub filters: Vec<String>,
    /// Only these columns of a typed table, in this order.
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Keys and values are hexadecimal digits.
    #[arg(long)]
    pub hex: bool,
}

/// A format of rows in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values; the first line names the columns.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow's IPC format as a file, `.feather` elsewhere.
    Arrow,
    /// The same as a stream.
    ArrowStream,
    /// Vectors as NumPy saves them: rows of `<f4`, and for import of `<f2`.
    Npy,
    /// Vectors, each behind its dimensions. Only for import, as the next.
    Fvecs,
    /// Vectors behind their number and dimensions, `.fbin` elsewhere.
    F32bin,
}

#[derive(Debug, Args)]
pub struct Import {
    /// The file to read; `-` is standard input.
    pub file: PathBuf,
    /// The table to write to; without it the file's name says.
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    #[command(flatten)]
    pub shape: Shape,
    /// The file's format; without it the file's name says.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// How many rows one transaction holds. Without it 1,000, and the beginning of a file may be loaded in bulk.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub batch_rows: Option<u32>,
    /// Write rows that cannot be imported to this file, with their reasons, and go on; JSON objects, one a line.
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,
    /// End when more rows than this are rejected.
    #[arg(long, value_name = "N", requires = "rejects")]
    pub max_rejects: Option<u64>,
    /// Go on with an import of this file that was interrupted.
    #[arg(long, conflicts_with = "restart")]
    pub resume: bool,
    /// Begin anew, though an import of this file is unfinished.
    #[arg(long)]
    pub restart: bool,
}

#[derive(Debug, Args)]
pub struct Export {
    /// The table's name.
    pub table: String,
    /// The file to write, which must not exist; standard output without it, or with `-`.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The format; without it the file's name says, and JSONL on standard output.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Only rows whose column compares so, as of `scan`. May be given again: rows fulfil all.
    #[arg(long = "filter", value_name = "COLUMN=VALUE")]
    pub filters: Vec<String>,
    /// Only these columns of a typed table, in this order.
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub columns: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Index {
    /// Make an index of a column, while others read and write the table.
    ///
    /// Of vectors: for `search`. Of other columns: for the lookups of programs.
    #[command(after_help = "Examples:\n  \
        sochdb index create words vector --name meaning\n  \
        sochdb index create words vector --using hnsw --metric euclidean --set m=32\n  \
        sochdb index create words vector --using vamana --store f16 --codes rabitq4\n  \
        sochdb index create words pos                              an ordered index")]
    Create(IndexCreate),
    /// List the indexes of a table, or of all.
    List {
        /// Only of this table.
        table: Option<String>,
    },
    /// Remove an index. The rows stay.
    Drop {
        /// The table's name.
        table: String,
        /// The index's name.
        name: String,
    },
    /// Print how an index keeps its entries: segments, who built them, and what waits.
    Stats {
        /// The table's name.
        table: String,
        /// The index's name.
        name: String,
    },
    /// Compare an index with the rows of its table; exits with 5 if they differ.
    Check {
        /// The table's name.
        table: String,
        /// The index's name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct IndexCreate {
    /// The table's name.
    pub table: String,
    /// The column to index.
    pub column: String,
    /// The index's name; without it the column's.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The index plugin that builds it; `auto` chooses by the number of rows. Without it `auto` for vectors,
    /// `btree-index` for other columns.
    #[arg(long, value_name = "NAME", value_parser = INDEXES, hide_possible_values = true)]
    pub using: Option<String>,
    /// How near two vectors are: cosine without it.
    #[arg(long, value_parser = ["cosine", "inner-product", "euclidean"])]
    pub metric: Option<String>,
    /// How exactly vectors are kept: f32 without it.
    #[arg(long, value_parser = ["f32", "f16", "i8"])]
    pub store: Option<String>,
    /// What vectors are compared by on the way: sq8 without it.
    #[arg(long, value_parser = ["sq8", "rabitq4", "rabitq2", "rabitq1", "pq"])]
    pub codes: Option<String>,
    /// A setting of the index or its plugin; may be given again.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Search {
    /// The table's name.
    pub table: String,
    #[command(flatten)]
    pub target: Target,
    /// The index; may be left out where the table has only one of vectors.
    #[arg(long, value_name = "NAME")]
    pub index: Option<String>,
    /// How many rows.
    #[arg(short, value_name = "N", default_value_t = 10)]
    pub k: usize,
    /// How hard to look (`ef_search`, `l`): more finds more of the true neighbours, and takes longer.
    #[arg(long, value_name = "N")]
    pub effort: Option<usize>,
    /// Compare every row instead of using the index.
    #[arg(long)]
    pub exact: bool,
    /// Only rows whose column compares so: COLUMN=VALUE, or with !=, <, <=, >, >= or ^= (begins with); an empty
    /// value is null where the column allows it. May be given again: rows fulfil all.
    #[arg(long = "filter", value_name = "COLUMN=VALUE")]
    pub filters: Vec<String>,
    #[command(flatten)]
    pub range: Range,
    /// Only these columns, in this order.
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub columns: Vec<String>,
}

/// What to search near to.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// The vector, as a JSON array.
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    pub vector: Option<String>,
    /// A file of vectors (.npy, .fvecs, .f32bin): one search for each.
    #[arg(long, value_name = "FILE")]
    pub vector_file: Option<PathBuf>,
    /// The key of a row of the table, which itself is left out; given again, the next part of the key.
    #[arg(long, value_name = "KEY", allow_negative_numbers = true)]
    pub like_key: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Stats {
    /// The table to look at.
    pub table: Option<String>,
    /// The metrics as the Prometheus plugin renders them.
    #[arg(long, conflicts_with_all = ["json", "table"])]
    pub prometheus: bool,
    /// Write all of it as one page for a browser instead.
    #[arg(long, value_name = "FILE", conflicts_with = "prometheus")]
    pub html: Option<PathBuf>,
    /// Where the program that has the database open serves its metrics: the page then shows its plugins and latencies.
    #[arg(long, value_name = "ADDRESS", requires = "html")]
    pub connect: Option<String>,
}

#[derive(Debug, Args)]
pub struct Compact {
    /// Tell of this table alone.
    pub table: Option<String>,
    /// Write every row of TABLE anew.
    #[arg(long, requires = "table")]
    pub rewrite: bool,
}

#[derive(Debug, Args)]
pub struct ServeMetrics {
    /// The address to listen at; port 0 is any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub listen: SocketAddr,
    /// Print a Grafana dashboard of all metrics instead.
    #[arg(long, conflicts_with = "listen")]
    pub dashboard: bool,
}

#[derive(Debug, Args)]
pub struct Top {
    /// Where a running program serves its metrics; HOST:PORT, or a URL that begins with http://.
    #[arg(long, value_name = "ADDRESS")]
    pub connect: Option<String>,
    /// How long from one reading to the next, 0.1 to 3600.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_interval)]
    pub interval: f64,
    /// Print one screen as text after one interval, and end.
    #[arg(long)]
    pub once: bool,
    /// End after so many objects.
    #[arg(long, value_name = "N", requires = "json", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub enum Codec {
    /// Make a codec with a dictionary: what the blocks of a table have in common, said once.
    ///
    /// It is worth it for tables in the kernel's own tree with values of some KiB. The codec is a plugin of its
    /// own, which the database keeps; no table uses it until it is told to.
    #[command(after_help = "Examples:\n  \
        sochdb codec train words --name zstd-words\n  \
        sochdb codec train words --name zstd-words --bytes 65536 --level 9 -o zstd-words.toml\n  \
        sochdb table convert words --codec zstd-words")]
    Train(CodecTrain),
}

#[derive(Debug, Args)]
pub struct CodecTrain {
    /// The table whose blocks it is made of.
    pub table: String,
    /// The codec that is to have the dictionary.
    #[arg(long, value_name = "NAME", default_value = "zstd", value_parser = CODECS, hide_possible_values = true)]
    pub using: String,
    /// What the new codec is called; blocks on disk refer to it by that.
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// How large the dictionary may be.
    #[arg(long, value_name = "N", default_value_t = 32_768, value_parser = clap::value_parser!(u32).range(256..=114_688))]
    pub bytes: u32,
    /// Zstandard's level: 1 is fast, 19 is small.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub level: i32,
    /// Also write the manifest to this file, which must not exist.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct CrashWriter {
    /// Rows in one transaction.
    #[arg(long, default_value_t = 50)]
    pub batch_rows: u32,
    /// Bytes of memtable at which a checkpoint runs, so that it runs often.
    #[arg(long, default_value_t = 1 << 20)]
    pub memtable_bytes: usize,
    /// Ends after so many batches if nobody kills it.
    #[arg(long, default_value_t = 100_000)]
    pub batches: u32,
    /// The codec of the table.
    #[arg(long)]
    pub codec: Option<String>,
    /// The storage engine of the table.
    #[arg(long)]
    pub storage: Option<String>,
}

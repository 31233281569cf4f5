//! The command line program: arguments in, one room per group of commands, an exit code out.
//!
//! ```text
//!   args     what can be said           failure  exit codes, `error:` and `help:` lines
//!   text     values and rows as text    screen   where results go, tables, numbers for people
//!   tables   table create, convert, list, drop   rows  put, get, delete, scan, expire
//!   names    of storages and codecs     picture  a table's levels and columns
//!   import   files in                   export   files out    compression  of text
//!   dump     dump, load: whole tables as portable files
//!   index    index create, list, drop, stats, check       search  the rows nearest to a vector     filter  conditions on columns
//!   inspect  check, stats               page  stats --html                 plugins  plugin list, inspect     manifest  plugin check
//!   install  plugin install, remove, disable, enable, history           why  which of several plugins serves
//!   new      plugin new, from templates build    plugin build           package  plugin pack, and packages
//!   kit      plugin test, bench           samples  what authors say of tables, rows and calls
//!   serve    serve-metrics              top      the live view
//!   calls    call                       audit    what plugins did      codec  codec train
//!   copies   backup, restore, repair     backups  backup --into, list, verify, prune     compile  a compiler of its own process, for hosts
//!   shell    a session of commands      cancel   Ctrl-C ends what it does      opened   databases of commands      made  for nothing
//!   tenant   tenant add, list, quota    compact  merges until nothing is left  man      manual pages
//!   demo     the whole path, alive      dataset  the demo's rows    crash  writer to be killed
//! ```

mod args;
mod audit;
mod backups;
mod build;
mod calls;
mod cancel;
mod codec;
mod compact;
mod compile;
mod compression;
mod copies;
mod crash;
mod dataset;
mod demo;
mod dump;
mod export;
mod failure;
mod filter;
mod import;
mod index;
mod inspect;
mod install;
mod kit;
mod made;
mod man;
mod manifest;
mod names;
mod new;
mod opened;
mod package;
mod page;
mod picture;
mod plugins;
mod rows;
mod samples;
mod screen;
mod search;
mod serve;
mod shell;
mod tables;
mod tenant;
mod text;
mod top;
mod why;

use args::{Cli, Command, Common, Sync};
use clap::{CommandFactory, Parser};
use failure::{Exit, Failure, Outcome};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use opened::Opened;
use screen::{Mode, Screen};
use sochdb::host::compiled_code::{ChildCompiler, CodeCache, CompileOptions, Compiler};
use sochdb::operations::Beside;
use sochdb::{
    Database, DatabaseBuilder, Durability, Environment, Kernel, KernelError, Options, Policy,
    Telemetry,
};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Reads the command line, does what it says, and returns what the process exits with.
pub fn main() -> ExitCode {
    let Cli { common, command } = Cli::parse();
    if let Err(failure) = trace() {
        report(&failure);
        return ExitCode::from(failure.exit as u8);
    }
    if matches!(command, Command::CompileComponent) {
        return compile::compile();
    }
    let mode = if common.json { Mode::Jsonl } else { common.mode.unwrap_or_default() };
    let mut session = Session { screen: Screen::new(mode), common, database: None };
    let done = printable(mode, &command)
        .and_then(|()| run(&mut session, command))
        .and_then(|()| session.screen.flush());
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_broken_pipe => ExitCode::SUCCESS,
        Err(failure) => {
            // Results that were already there come first, also where both go to one terminal.
            let _ = session.screen.flush();
            if !failure.is_told {
                report(&failure);
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Refuses a mode for rows where a command prints something else.
fn printable(mode: Mode, command: &Command) -> Outcome {
    if !mode.is_for_rows() || prints_rows(command) {
        return Ok(());
    }
    let text = format!("this command does not print rows, so not as {}", mode.name());
    Err(Failure::invalid(text).help(
        "--mode csv and markdown are for scan, get, search, and the lists of tables, indexes, plugins and tenants",
    ))
}

/// Whether all that the command prints are rows of a table.
fn prints_rows(command: &Command) -> bool {
    use args::{Index, Plugin, Table, Tenant};
    match command {
        Command::Scan(_) | Command::Search(_) => true,
        Command::Get(args) => !args.raw,
        // The lines to be run have their own modes.
        Command::Shell(_) => true,
        Command::Call(args) => args.name.is_none(),
        Command::Table(command) => matches!(command, Table::List { .. }),
        Command::Index(command) => matches!(command, Index::List { .. }),
        Command::Plugin(command) => matches!(command, Plugin::List { why: false }),
        Command::Tenant(command) => matches!(command, Tenant::List | Tenant::Usage { .. }),
        _ => false,
    }
}

fn run(session: &mut Session, command: Command) -> Outcome {
    match command {
        Command::Demo(args) => demo::demo(session, &args),
        Command::Table(command) => tables::table(session, command),
        Command::Put(args) => rows::put(session, &args),
        Command::Get(args) => rows::get(session, &args),
        Command::Delete(args) => rows::delete(session, &args),
        Command::Expire { table } => rows::expire(session, table.as_deref()),
        Command::Scan(args) => rows::scan(session, &args),
        Command::Import(args) => import::import(session, &args),
        Command::Index(command) => index::index(session, command),
        Command::Search(args) => search::search(session, &args),
        Command::Export(args) => export::export(session, &args),
        Command::Dump(args) => dump::dump(session, &args),
        Command::Load(args) => dump::load(session, &args),
        Command::Check => inspect::check(session),
        Command::Backup(args) => copies::backup(session, &args),
        Command::Restore(args) => copies::restore(session, &args),
        Command::Repair { target } => copies::repair(session, &target),
        Command::Stats(args) => inspect::stats(session, &args),
        Command::ServeMetrics(args) => serve::serve_metrics(session, &args),
        Command::Top(args) => top::top(session, &args),
        Command::Audit(args) => audit::audit(session, &args),
        Command::Call(args) => calls::call(session, &args),
        Command::Codec(command) => codec::codec(session, command),
        Command::Plugin(command) => plugins::plugin(session, command),
        Command::Tenant(command) => tenant::tenant(session, command),
        Command::Compact(args) => compact::compact(session, &args),
        Command::Shell(args) => shell::shell(session, &args),
        Command::Man { directory } => man::man(session, &directory),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sochdb", &mut script);
            session.screen.bytes(&script)
        }
        Command::CompileComponent => unreachable!("answered before anything else"),
        Command::CrashWriter(args) => crash::write_until_killed(session, &args),
    }
}

/// What this process counts and says. One database at a time is open in it.
fn telemetry() -> &'static Telemetry {
    static TELEMETRY: LazyLock<Telemetry> = LazyLock::new(Telemetry::default);
    &TELEMETRY
}

/// Events go to observers, and on standard error what `RUST_LOG` asks for: `sochdb=debug`,
/// `sochdb::plugin=trace,warn`.
fn trace() -> Outcome {
    let subscriber = tracing_subscriber::registry().with(telemetry().layer());
    let Ok(wanted) = std::env::var("RUST_LOG") else {
        subscriber.init();
        return Ok(());
    };
    let targets: Targets = wanted.parse().map_err(|error| {
        Failure::new(Exit::Invalid, format!("RUST_LOG={wanted} makes no sense: {error}"))
            .help("such as RUST_LOG=sochdb=debug or RUST_LOG=sochdb::plugin=trace,warn")
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(console::colors_enabled_stderr());
    subscriber.with(lines.with_filter(targets)).init();
    Ok(())
}

fn report(failure: &Failure) {
    let error = console::style("error:").red().bold().for_stderr();
    eprintln!("{error} {}", failure.message);
    if let Some(help) = &failure.help {
        let label = console::style("help:").cyan().for_stderr();
        eprintln!("{label} {help}");
    }
}

/// How a command opens its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// The database exists; nothing on disk changes. Another process may have it open.
    Read,
    /// The database exists.
    Write,
    /// The database is created if the directory is missing or empty.
    Create,
}

/// One run of the command: where it writes and what all commands were told.
struct Session {
    screen: Screen,
    common: Common,
    /// The database that is open already, for the commands of a shell.
    database: Option<Database>,
}

impl Common {
    /// Opens the database that the command line names.
    fn open(&self, access: Access) -> Outcome<Database> {
        self.open_with(self.builder(access)?)
    }

    /// The same, with what the command says beside the command line.
    fn open_with(&self, builder: DatabaseBuilder) -> Outcome<Database> {
        builder.open(&self.directory).map_err(not_opened)
    }

    /// Opens the database that the command line names without any plugin, to read what it says of them.
    fn kernel(&self) -> Outcome<Kernel> {
        let options = Options { create: false, read_only: true, ..self.options() };
        let beside = Beside::new(Environment::disk(&self.directory).vfs);
        Kernel::open(Environment::with_vfs(Arc::new(beside)), options).map_err(not_opened)
    }

    /// What the command line says of every database it opens.
    fn builder(&self, access: Access) -> Outcome<DatabaseBuilder> {
        let builder = Database::builder()
            .options(self.options())
            .create(access == Access::Create)
            .read_only(access == Access::Read)
            .beside_owner(true)
            .wait_for_owner(Duration::from_secs_f64(self.wait))
            .telemetry(telemetry().clone())
            .policy(self.policy()?)
            .compile(compile_options()?);
        let builder = match access {
            Access::Read => builder,
            Access::Write | Access::Create => builder.audit_file(audit::file(&self.directory)),
        };
        Ok(self.plugin_dirs.iter().fold(builder, DatabaseBuilder::plugin_dir))
    }

    /// What the operator allows plugins.
    fn policy(&self) -> Outcome<Policy> {
        Ok(self.policy.as_deref().map_or_else(|| Ok(Policy::default()), Policy::load)?)
    }

    /// What the command line says of the kernel.
    fn options(&self) -> Options {
        let durability = match self.sync {
            Sync::Fsync => Durability::Fsync,
            Sync::Delayed => Durability::FsyncDelayed(10_000),
            Sync::None => Durability::None,
        };
        // What one command kept, the next must not throw away: the archive would have a gap.
        let wal_archive = self.archive || self.directory.join("archive").is_dir();
        Options { durability, wal_archive, ..Options::default() }
    }

    /// The word for the sync mode, as the command line takes it.
    fn sync_name(&self) -> &'static str {
        match self.sync {
            Sync::Fsync => "fsync",
            Sync::Delayed => "delayed",
            Sync::None => "none",
        }
    }
}

/// A database that is not there can be made.
fn not_opened(error: KernelError) -> Failure {
    match Failure::from(error) {
        missing if missing.exit == Exit::NotFound => missing.help(
            "`sochdb table create` and `sochdb import` make a database; --db says where it is",
        ),
        other => other,
    }
}

/// What comes from files may come from strangers, so it is compiled in a process of its own, where the
/// operating system can bound one.
fn compile_options() -> Outcome<CompileOptions> {
    let compiler =
        match cfg!(any(target_os = "linux", target_os = "android", target_os = "freebsd")) {
            true => Compiler::Child(ChildCompiler::this_program()?),
            false => Compiler::InProcess,
        };
    Ok(CompileOptions { cache: CodeCache::user(), compiler })
}

/// A progress bar on standard error; it draws only where that is a terminal.
fn progress_bar(length: Option<u64>, template: &str) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.with_style(
        ProgressStyle::with_template(template).expect("templates are ours and well formed"),
    )
}

//! SochDB beside its peers, in one run.
//!
//! ```text
//!   bench all           every workload, and with --report all that is published about them
//!   bench embed         the same pages and pictures again, from the JSON of an earlier run
//!   bench boundary      what crossing into a guest and back costs
//!   bench tenants       what one tenant at its limits does to another
//!   bench observers     what commits notice of observers, good and bad
//!   bench reload        what calls notice when a plugin is replaced, and how soon the new one answers
//!   bench lscs          the column store beside row stores, Parquet, and itself without a sandbox
//!   bench codec         the codecs in the sandbox, natively, and in C
//!   bench import        files into tables and back, beside what the bare disk writes
//!   bench vector        nearest neighbours, beside hnswlib, usearch and faiss
//!   bench compare       small pieces of ours, by their instructions, beside what they were
//!   bench scaling       point reads by more and more threads
//!   bench overhead      the whole database beside its bare kernel
//!   bench footprint     the binary, a start, an idle process
//!   bench kv            parent: rounds; in each the engines take turns, so that a slow minute hits everybody
//!     └─ child          one engine, one round, a fresh directory: every workload once, figures as JSON lines
//!          ├─ victim    opens the engine, writes, tells what was acknowledged, and is killed
//!          └─ weighed   loads and reads, and tells how much memory it took
//! ```
//!
//! | file       | what it is                                                    |
//! |------------|---------------------------------------------------------------|
//! | `settings` | the command line of `bench kv`                                |
//! | `metric`   | every workload and every figure it yields: the table's lines  |
//! | `engine/`  | the engines behind one trait, and how each is set up          |
//! | `workload/`| what a child does to its engine                               |
//! | `data`     | keys, values, and which of them a skewed workload asks for    |
//! | `meter`    | time, processor time, bytes written, bytes on disk, memory    |
//! | `parent`   | starts the children                                           |
//! | `turns`    | children that take turns                                      |
//! | `report`   | the table of `bench kv`                                       |
//! | `outcome`  | what every workload hands over: rounds, tables, pictures, summary |
//! | `chart/`   | pictures as SVG                                               |
//! | `aims`     | what we aim at, and whether it is met                         |
//! | `all/`     | `bench all`, `bench embed`                                    |
//! | `boundary/` | `bench boundary`                                             |
//! | `tenants`  | `bench tenants`                                               |
//! | `observers` | `bench observers`                                            |
//! | `reload/`  | `bench reload`                                                |
//! | `codec/`   | `bench codec`                                                 |
//! | `lscs/`    | `bench lscs`                                                  |
//! | `import`   | `bench import`                                                |
//! | `vector/`  | `bench vector`                                                |
//! | `compare`  | `bench compare`: the crate in `micro/`                        |
//! | `scaling`  | `bench scaling`                                               |
//! | `overhead` | `bench overhead`                                              |
//! | `footprint` | `bench footprint`                                            |
//!
//! Each engine runs in a process of its own, so processor time and bytes written are its own. The table
//! shows the median of the rounds, and the median of the ratios round by round. Figures of one run compare;
//! figures of different machines or minutes do not.

mod aims;
mod all;
mod boundary;
mod chart;
mod codec;
mod compare;
mod data;
mod engine;
mod footprint;
mod import;
mod lscs;
mod meter;
mod metric;
mod observers;
mod outcome;
mod overhead;
mod parent;
mod reload;
mod report;
mod scaling;
mod settings;
mod tenants;
mod turns;
mod vector;
mod workload;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// SochDB beside its peers, in one run
#[derive(Parser)]
#[command(name = "bench", version)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Writes all that a workload found into a file, as `all` does
    #[arg(long, global = true, hide = true)]
    publish: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// Keys and values: loading, reading, durable commits, skewed mixes, counters, crashes, space
    Kv(settings::Settings),
    /// The boundary between host and guests: calls, bytes, instances, meters, beside the same work done natively
    Boundary(boundary::Settings),
    /// One tenant at its limits: what the others notice
    Tenants(tenants::Settings),
    /// What commits notice of observers, good and bad
    Observers(observers::Settings),
    /// What calls notice when a plugin is replaced, and how soon the new version answers
    Reload(reload::Settings),
    /// The codecs in the sandbox, beside the same code compiled natively, and the C libraries
    Codec(codec::Settings),
    /// The column store beside row stores, Parquet, and itself without a sandbox
    Lscs(lscs::Settings),
    /// Files of rows into tables and back: import, dump and load, beside what the bare disk writes
    Import(import::Settings),
    /// Nearest neighbours: recall, queries a second, memory, beside hnswlib, usearch and faiss
    Vector(vector::Settings),
    /// Small pieces of ours, by their instructions: fails where one takes more than it did
    #[command(disable_help_flag = true)]
    Compare(compare::Settings),
    /// Point reads by more and more threads
    Scaling(scaling::Settings),
    /// What all bundled plugins cost work that needs none of them: the database beside its bare kernel
    Overhead(overhead::Settings),
    /// What the database weighs: its binary, a start, an idle process
    Footprint(footprint::Settings),
    /// Every workload, one after the other, and all that is published about them
    All(all::Settings),
    /// Pages, pictures and blocks of the READMEs again, from the JSON of an earlier run
    Embed(all::EmbedSettings),
    /// The table of earlier runs with the same settings, from what `kv --json` printed
    Table {
        /// Files of JSON; their rounds count as rounds of one run
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// One engine, one round; prints a line of figures per workload
    #[command(hide = true)]
    Child {
        /// What to do, as the parent wrote it
        job: String,
    },
    /// One contender, one round of one part of `lscs`
    #[command(hide = true)]
    LscsChild {
        /// What to do, as the parent wrote it
        job: String,
    },
    /// One index of ours, one folder; answers steps of `vector`
    #[command(hide = true)]
    VectorChild {
        /// What to do, as the parent wrote it
        job: String,
    },
    /// One engine, one round of `scaling`
    #[command(hide = true)]
    ScalingChild {
        /// What to do, as the parent wrote it
        job: String,
    },
    /// Opens a database and is idle
    #[command(hide = true)]
    FootprintChild {
        /// What to do, as the parent wrote it
        job: String,
    },
    /// Loads, reads, and tells how much memory it took
    #[command(hide = true)]
    Weighed {
        /// What to do, as the child wrote it
        job: String,
    },
    /// Writes until it is killed; prints what was acknowledged
    #[command(hide = true)]
    Victim {
        /// What to do, as the child wrote it
        job: String,
    },
}

fn main() -> Result<()> {
    let Args { what, publish } = Args::parse();
    let (outcome, json) = match what {
        What::Kv(settings) => {
            let settings = settings.scaled();
            (report::outcome(&parent::run(&settings)?)?, settings.json)
        }
        What::Boundary(settings) => (boundary::run(&settings)?, settings.json),
        What::Tenants(settings) => (tenants::run(&settings)?, settings.json),
        What::Observers(settings) => (observers::run(&settings)?, settings.json),
        What::Reload(settings) => (reload::run(&settings)?, settings.json),
        What::Codec(settings) => (codec::run(&settings)?, settings.json),
        What::Lscs(settings) => (lscs::run(&settings)?, settings.json),
        What::Import(settings) => (import::run(&settings)?, settings.json),
        What::Vector(settings) => (vector::run(&settings)?, settings.json),
        What::Scaling(settings) => (scaling::run(&settings)?, settings.json),
        What::Overhead(settings) => (overhead::run(&settings)?, settings.json),
        What::Footprint(settings) => (footprint::run(&settings)?, settings.json),
        What::Compare(settings) => return compare::run(&settings),
        What::Table { files } => (report::outcome(&parent::merged(&files)?)?, false),
        What::All(settings) => return all::run(&settings),
        What::Embed(settings) => return all::embed(&settings),
        other => return other.help_out(),
    };
    match publish {
        Some(path) => {
            outcome.write(&path).and(outcome.failure.map_or(Ok(()), |why| Err(why.into())))
        }
        None => outcome.tell(json),
    }
}

impl What {
    /// What the processes do that a workload starts.
    fn help_out(self) -> Result<()> {
        match self {
            What::VectorChild { job } => vector::child(&serde_json::from_str(&job)?),
            What::LscsChild { job } => lscs::child(&serde_json::from_str(&job)?),
            What::Child { job } => workload::child(&serde_json::from_str(&job)?),
            What::ScalingChild { job } => scaling::child(&serde_json::from_str(&job)?),
            What::FootprintChild { job } => footprint::child(&serde_json::from_str(&job)?),
            What::Weighed { job } => workload::memory::weighed(&serde_json::from_str(&job)?),
            What::Victim { job } => workload::crash::victim(&serde_json::from_str(&job)?),
            _ => unreachable!("workloads are run by `main`"),
        }
    }
}

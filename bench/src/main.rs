//! SochDB beside its peers, in one run.
//!
//! ```text
//!   bench boundary      what crossing into a guest and back costs
//!   bench tenants       what one tenant at its limits does to another
//!   bench observers     what commits notice of observers, good and bad
//!   bench reload        what calls notice when a plugin is replaced, and how soon the new one answers
//!   bench lscs          the column store beside row stores, Parquet, and itself without a sandbox
//!   bench codec         the codecs in the sandbox, natively, and in C
//!   bench vector        nearest neighbours, beside hnswlib, usearch and faiss
//!   bench kv            parent: rounds; in each the engines take turns, so that a slow minute hits everybody
//!     └─ child          one engine, one round, a fresh directory: every workload once, figures as JSON lines
//!          └─ victim    opens the engine, writes, tells what was acknowledged, and is killed
//! ```
//!
//! | file       | what it is                                                    |
//! |------------|---------------------------------------------------------------|
//! | `settings` | the command line                                              |
//! | `metric`   | every workload and every figure it yields: the table's lines  |
//! | `engine/`  | the engines behind one trait, and how each is set up          |
//! | `workload/`| what a child does to its engine                               |
//! | `data`     | keys, values, and which of them a skewed workload asks for    |
//! | `meter`    | time, processor time, bytes written, bytes on disk            |
//! | `parent`   | starts the children                                           |
//! | `turns`    | children that take turns                                      |
//! | `report`   | the table                                                     |
//! | `boundary` | `bench boundary`                                              |
//! | `tenants`  | `bench tenants`                                               |
//! | `observers` | `bench observers`                                            |
//! | `reload/`  | `bench reload`                                                |
//! | `codec/`   | `bench codec`                                                 |
//! | `lscs/`    | `bench lscs`                                                  |
//! | `vector/`  | `bench vector`                                                |
//!
//! Each engine runs in a process of its own, so processor time and bytes written are its own. The table
//! shows the median of the rounds, and the median of the ratios round by round. Figures of one run compare;
//! figures of different machines or minutes do not.

mod boundary;
mod codec;
mod data;
mod engine;
mod lscs;
mod meter;
mod metric;
mod observers;
mod parent;
mod reload;
mod report;
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
    /// Nearest neighbours: recall, queries a second, memory, beside hnswlib, usearch and faiss
    Vector(vector::Settings),
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
    /// Writes until it is killed; prints what was acknowledged
    #[command(hide = true)]
    Victim {
        /// What to do, as the child wrote it
        job: String,
    },
}

fn main() -> Result<()> {
    match Args::parse().what {
        What::Kv(settings) => {
            let settings = settings.scaled();
            let run = parent::run(&settings)?;
            if settings.json {
                println!("{}", serde_json::to_string_pretty(&run)?);
            } else {
                report::print(&run);
            }
            Ok(())
        }
        What::Boundary(settings) => boundary::run(&settings),
        What::Tenants(settings) => tenants::run(&settings),
        What::Observers(settings) => observers::run(&settings),
        What::Reload(settings) => reload::run(&settings),
        What::Codec(settings) => codec::run(&settings),
        What::Lscs(settings) => lscs::run(&settings),
        What::Vector(settings) => vector::run(&settings),
        What::VectorChild { job } => vector::child(&serde_json::from_str(&job)?),
        What::LscsChild { job } => lscs::child(&serde_json::from_str(&job)?),
        What::Table { files } => {
            report::print(&parent::merged(&files)?);
            Ok(())
        }
        What::Child { job } => workload::child(&serde_json::from_str(&job)?),
        What::Victim { job } => workload::crash::victim(&serde_json::from_str(&job)?),
    }
}

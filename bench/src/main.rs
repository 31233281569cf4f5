//! SochDB beside its peers, in one run.
//!
//! ```text
//!   bench kv            parent: rounds x engines, interleaved, so that a slow minute hits everybody
//!     └─ child          one engine, one round, a fresh directory: every workload once, figures as JSON
//! ```
//!
//! Each engine runs in a process of its own, so memory and processor time are its own. The table shows the
//! median of the rounds, and the median of the ratios to redb round by round. Figures of one run compare;
//! figures of different machines or minutes do not.

mod engine;
mod kv;
mod report;

use clap::{Parser, Subcommand};

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
    /// Keys and values: loading, durable commits, point reads, short scans, reopening, size on disk
    Kv(kv::Settings),
    /// One engine, one round; prints its figures as JSON
    #[command(hide = true)]
    Child {
        /// Which engine
        engine: engine::Kind,
        /// How much of everything
        #[command(flatten)]
        settings: kv::Settings,
        /// What the keys and their order are made of
        #[arg(long)]
        seed: u64,
    },
}

fn main() -> Result<()> {
    match Args::parse().what {
        What::Kv(settings) => report::kv(&settings),
        What::Child { engine, settings, seed } => {
            let figures = kv::run(engine, &settings, seed)?;
            println!("{}", serde_json::to_string(&figures)?);
            Ok(())
        }
    }
}

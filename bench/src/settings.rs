//! The command line: how much of everything.

use crate::data::{JSON_BYTES_MIN, ValueKind, Values};
use crate::engine::Kind;
use crate::metric::Workload;
use clap::{Args, Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How much of everything.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Settings {
    /// Rows to load, 24 bytes of key each
    #[arg(long, default_value_t = 200_000)]
    pub rows: u64,
    /// What values are made of
    #[arg(long, value_enum, default_value_t = ValueKind::Random)]
    pub value: ValueKind,
    /// Bytes of a value; JSON has at least 128
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    pub value_bytes: u32,
    /// Bytes of cache for each engine, about half of the rows unless told otherwise
    #[arg(long, default_value_t = 12 << 20)]
    pub cache_bytes: usize,
    /// Bytes of write buffer for each engine that has one
    #[arg(long, default_value_t = 12 << 20)]
    pub memtable_bytes: usize,
    /// Durable commits of one thread; eight threads make twice as many together, 64 four times
    #[arg(long, default_value_t = 1_000)]
    pub commits: u64,
    /// Point reads, operations of a YCSB mix, and increments of counters
    #[arg(long, default_value_t = 100_000)]
    pub operations: u64,
    /// Rounds; each engine runs once in each
    #[arg(long, default_value_t = 3)]
    pub rounds: u64,
    /// Only these workloads, separated by commas; others that they need run without being shown
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<Workload>,
    /// Only these peers, separated by commas; sochdb always runs
    #[arg(long, value_delimiter = ',')]
    pub engines: Vec<Kind>,
    /// Where the databases live while they are measured; the system's folder for temporary files
    /// unless told otherwise, which may be no real disk
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// One round with a tenth of the rows, memory and operations: whether it works, not who wins
    #[arg(long)]
    pub quick: bool,
    /// Print every round's figures as JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

impl Default for Settings {
    /// What the command line means when it says nothing.
    fn default() -> Settings {
        #[derive(Parser)]
        struct Nothing {
            #[command(flatten)]
            settings: Settings,
        }
        Nothing::parse_from(["bench"]).settings
    }
}

impl Settings {
    /// The settings with `quick` and the bounds applied.
    pub fn scaled(mut self) -> Settings {
        if self.quick {
            self.rows /= 10;
            self.cache_bytes /= 10;
            self.memtable_bytes /= 10;
            self.commits /= 10;
            self.operations /= 10;
            self.rounds = 1;
        }
        if self.value == ValueKind::Json {
            self.value_bytes = self.value_bytes.max(JSON_BYTES_MIN as u32);
        }
        let at_least_one =
            [&mut self.rows, &mut self.commits, &mut self.operations, &mut self.rounds];
        at_least_one.into_iter().for_each(|number| *number = (*number).max(1));
        self
    }

    /// What the rows hold.
    pub fn values(&self) -> Values {
        Values { kind: self.value, bytes: self.value_bytes as usize }
    }

    /// The engines to run, ours first.
    pub fn kinds(&self) -> Vec<Kind> {
        let wanted = |kind: &&Kind| {
            **kind == Kind::Sochdb || self.engines.is_empty() || self.engines.contains(kind)
        };
        Kind::value_variants().iter().filter(wanted).copied().collect()
    }

    /// The workloads that a child runs, in order. The first fills the database that others need.
    pub fn workloads(&self) -> Vec<Workload> {
        let runs = |workload: &&Workload| **workload == Workload::Load || self.shows(**workload);
        Workload::value_variants().iter().filter(runs).copied().collect()
    }

    /// Whether the figures of `workload` are asked for.
    pub fn shows(&self, workload: Workload) -> bool {
        self.only.is_empty() || self.only.contains(&workload)
    }
}

//! The command line of `sochdb plugin test` and `sochdb plugin bench`.

use clap::{Args, value_parser};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct PluginTest {
    #[command(flatten)]
    pub which: Tested,
    /// Only this check, and starting; may be given again.
    #[arg(long, value_name = "CHECK")]
    pub only: Vec<String>,
    /// What all random choices follow from; without it another one each time.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many times the usual amount is tried.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=1000))]
    pub effort: u32,
    /// The share of the true nearest neighbours that an index of vectors must find.
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = share)]
    pub recall: f64,
}

#[derive(Debug, Args)]
pub struct PluginBench {
    #[command(flatten)]
    pub which: Tested,
    /// How long each turn takes; each figure is the median of five turns.
    #[arg(long, value_name = "MS", default_value_t = 150, value_parser = value_parser!(u64).range(1..=60_000))]
    pub turn_ms: u64,
}

/// The plugin, and what there is to know of it.
#[derive(Debug, Args)]
pub struct Tested {
    /// The plugin: its manifest, the folder in which that is the only one, or a package.
    #[arg(default_value = ".")]
    pub plugin: PathBuf,
    /// A JSON file of tables, rows, indexes and calls that it is for; by default `samples.json` beside its
    /// manifest, if there is one.
    #[arg(long, value_name = "FILE")]
    pub samples: Option<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1".to_owned()),
    }
}

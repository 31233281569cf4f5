//! What `dump` and `load` are told.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Dump {
    /// Only these tables; without any all of them.
    pub tables: Vec<String>,
    /// The file to write, which must not exist; standard output without it.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// As text: JSON objects, one a line. So it is without --binary, unless the file's name ends with .sochdump.
    #[arg(long, conflicts_with = "binary")]
    pub text: bool,
    /// As checksummed binary: smaller, and several times faster.
    #[arg(long)]
    pub binary: bool,
}

#[derive(Debug, Args)]
pub struct Load {
    /// The dump to read, text or binary, also compressed (.gz, .zst); `-` is standard input.
    pub file: PathBuf,
    /// Only these tables of it; without any all of them.
    pub tables: Vec<String>,
    /// Replace tables that are there.
    #[arg(long)]
    pub replace: bool,
}

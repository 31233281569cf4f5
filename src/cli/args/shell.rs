//! The arguments of `shell`, and a line as its user types one.

use super::Command;
use crate::cli::screen::Mode;
use clap::{Args, Parser};

#[derive(Debug, Args)]
pub struct Shell {
    /// Run this line instead of reading any; given again, the next one.
    #[arg(short, long = "command", value_name = "LINE")]
    pub commands: Vec<String>,
    /// Go on after a line that fails; the exit code is that of the first one that did.
    #[arg(short, long)]
    pub keep_going: bool,
    /// Make the database if there is none.
    #[arg(long)]
    pub create: bool,
}

/// One line of the shell: a command, and how its rows are to look.
#[derive(Debug, Parser)]
#[command(
    name = "",
    no_binary_name = true,
    max_term_width = 100,
    disable_version_flag = true,
    subcommand_required = true
)]
pub struct Line {
    /// As --mode jsonl, for this line.
    #[arg(long, global = true)]
    pub json: bool,
    /// How rows are printed, for this line.
    #[arg(long, value_enum, value_name = "MODE", global = true, conflicts_with = "json")]
    pub mode: Option<Mode>,
    #[command(subcommand)]
    pub command: Command,
}

impl Line {
    /// The mode that the line asks for.
    pub fn said(&self) -> Option<Mode> {
        if self.json { Some(Mode::Jsonl) } else { self.mode }
    }
}

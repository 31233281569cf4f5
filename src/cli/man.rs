//! `man`: a manual page for every command.

use super::Session;
use super::args::Cli;
use super::failure::{Failure, Outcome};
use super::screen::counted;
use clap::CommandFactory;
use serde_json::json;
use std::path::Path;

/// Writes the pages into `directory`, and prints which.
pub fn man(session: &mut Session, directory: &Path) -> Outcome {
    let cannot = |error: &std::io::Error| {
        Failure::io(format!("cannot write manual pages into {}", directory.display()), error)
    };
    std::fs::create_dir_all(directory).map_err(|error| cannot(&error))?;
    let mut commands = Cli::command().disable_help_subcommand(true);
    commands.build();
    let mut pages = Vec::new();
    write(&commands, directory, &mut pages).map_err(|error| cannot(&error))?;
    if session.screen.json {
        return session.screen.object(&json!({ "directory": directory, "pages": pages }));
    }
    let count = counted(pages.len() as u64, "page");
    session.screen.line(format!("{count} into {}", directory.display()))?;
    session.screen.line(format!("read one with `man -l {}`", directory.join("sochdb.1").display()))
}

/// The page of a command, and those of the commands below it.
fn write(
    command: &clap::Command,
    directory: &Path,
    pages: &mut Vec<String>,
) -> std::io::Result<()> {
    let page = clap_mangen::Man::new(command.clone()).generate_to(directory)?;
    pages.extend(page.file_name().map(|name| name.to_string_lossy().into_owned()));
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.into_iter().try_for_each(|command| write(command, directory, pages))
}

//! Programs of others that build plugins: run, with what they say passed through.

use crate::cli::failure::{Exit, Failure, Outcome};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Runs it to its end. What it says on standard error is seen at once, what on standard output is returned.
pub fn run(command: &mut Command, install: &str) -> Outcome<Output> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    command.output().map_err(|error| not_run(command, &error, install))
}

/// The program could not be run at all.
pub fn not_run(command: &Command, error: &io::Error, install: &str) -> Failure {
    let program = command.get_program().display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, format!("there is no program `{program}`")).help(install)
        }
        _ => Failure::new(Exit::Failed, format!("`{program}` could not be run: {error}")),
    }
}

/// The program ran and failed, after saying why.
pub fn failed(what: &str, command: &Command, help: &str) -> Failure {
    Failure::new(Exit::Failed, format!("{what}: {} failed", shown(command))).help(help)
}

/// The command as it would be typed.
pub fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words = words.map(|word| {
        let text = word.to_string_lossy();
        match text.contains([' ', '"', '\'', '[']) {
            true => format!("'{text}'"),
            false => text.into_owned(),
        }
    });
    format!("`{}`", words.collect::<Vec<_>>().join(" "))
}

/// Where the program `name` lies, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let named = |folder: PathBuf| folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    std::env::split_paths(&folders).map(named).find(|path| path.is_file())
}

/// What the program says on standard output, if it succeeds, without its last line feed.
pub fn answer(
    program: impl AsRef<OsStr>,
    args: &[&str],
    folder: &Path,
) -> io::Result<Option<String>> {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    Ok(output.status.success().then_some(text))
}

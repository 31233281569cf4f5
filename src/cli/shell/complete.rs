//! What could stand at the cursor: commands and options as clap knows them, names and keys from the database, files.
//!
//! The words before the cursor are followed through the commands of the command line. That leads to a [`Place`]: the
//! command that was reached, and the argument that the next word would be. Its name says what to offer.

use super::dot::{DOTS, Takes};
use super::known;
use super::words::{Word, quoted, split};
use crate::cli::args::Line;
use crate::cli::screen::Mode;
use clap::{Arg, Command, CommandFactory, ValueEnum, ValueHint};
use reedline::{Completer, CompletionResult, Span, Suggestion};
use sochdb::Database;
use std::path::Path;

/// Files of a folder that are offered.
const FILES_MAX: usize = 200;

/// Completes lines for one database.
pub struct ShellCompleter {
    database: Database,
    commands: Command,
}

/// The commands of a line, whole: with what all of them take.
pub fn commands() -> Command {
    let mut commands = Line::command();
    commands.build();
    commands
}

/// Where a word would stand.
pub struct Place<'a> {
    /// The command that was reached, and the names that led there.
    pub command: &'a Command,
    pub path: Vec<&'a str>,
    /// The words that are values of its positional arguments.
    pub values: Vec<&'a str>,
    /// The option whose value comes next.
    pub option: Option<&'a Arg>,
}

/// Follows `words` through the commands.
pub fn follow<'a>(commands: &'a Command, words: &'a [Word]) -> Place<'a> {
    let mut place = Place { command: commands, path: Vec::new(), values: Vec::new(), option: None };
    for word in words {
        let text = word.text.as_str();
        if place.option.take().is_some() {
            continue;
        }
        if let Some(option) = option_of(place.command, text) {
            let takes_value = option.get_action().takes_values();
            place.option = Some(option).filter(|_| takes_value && !text.contains('='));
        } else if let Some(command) =
            place.command.find_subcommand(text).filter(|_| place.values.is_empty())
        {
            place.command = command;
            place.path.push(command.get_name());
        } else if !text.starts_with('-') {
            place.values.push(text);
        }
    }
    place
}

/// The option that a word names.
pub fn option_of<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    if let Some(long) = word.strip_prefix("--") {
        let long = long.split('=').next().unwrap_or_default();
        return command.get_arguments().find(|arg| arg.get_long() == Some(long));
    }
    let short = word.strip_prefix('-')?.chars().next()?;
    command.get_arguments().find(|arg| arg.get_short() == Some(short))
}

/// Something that could stand there, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    text: String,
    about: Option<String>,
    /// Whether the word ends with it.
    is_whole: bool,
}

impl Offer {
    fn new(text: impl Into<String>) -> Offer {
        Offer { text: text.into(), about: None, is_whole: true }
    }

    fn about(text: impl Into<String>, about: impl Into<String>) -> Offer {
        Offer { about: Some(about.into()), ..Offer::new(text) }
    }
}

impl ShellCompleter {
    /// Completes with what `database` knows.
    pub fn new(database: Database) -> ShellCompleter {
        ShellCompleter { database, commands: commands() }
    }

    /// What could stand in the place of the last word of `line`, and where that begins.
    fn offers(&self, line: &str) -> (usize, Vec<Offer>) {
        let (mut words, _) = split(line);
        let last = words.pop_if(|word| word.span.end == line.len());
        let (partial, start) =
            last.map_or((String::new(), line.len()), |word| (word.text, word.span.start));
        if words.first().is_some_and(|word| word.text == "sochdb") {
            words.remove(0);
        }
        let mut offers = match words.first() {
            Some(first) if first.text.starts_with('.') => self.of_dot(&words, &partial),
            None if partial.starts_with('.') => {
                DOTS.iter().map(|(name, _, _, what)| Offer::about(*name, *what)).collect()
            }
            _ => self.of_command(&words, &partial),
        };
        offers.retain(|offer| offer.text.starts_with(&partial));
        (start, offers)
    }

    fn of_dot(&self, words: &[Word], partial: &str) -> Vec<Offer> {
        let found = DOTS.iter().find(|(name, ..)| *name == words[0].text);
        match found.map(|(_, takes, ..)| takes) {
            _ if 1 < words.len() => Vec::new(),
            None | Some(Takes::Nothing) => Vec::new(),
            Some(Takes::Switch) => ["on", "off"].map(Offer::new).into(),
            Some(Takes::Mode) => {
                Mode::value_variants().iter().map(|mode| Offer::new(mode.name())).collect()
            }
            Some(Takes::Table) => named(known::tables(&self.database)),
            Some(Takes::File | Takes::FileOrNothing) => files(partial),
        }
    }

    fn of_command(&self, words: &[Word], partial: &str) -> Vec<Offer> {
        let place = follow(&self.commands, words);
        if let Some(option) = place.option {
            return self.values(&place, option, partial);
        }
        if let Some((name, value)) =
            partial.split_once('=').filter(|(name, _)| name.starts_with("--"))
        {
            let Some(option) = option_of(place.command, name) else { return Vec::new() };
            let values = self.values(&place, option, value).into_iter();
            return values
                .map(|offer| Offer { text: format!("{name}={}", offer.text), ..offer })
                .collect();
        }
        if partial.starts_with('-') {
            return options(place.command);
        }
        let mut offers = Vec::new();
        if place.values.is_empty() {
            let subcommands =
                place.command.get_subcommands().filter(|command| !command.is_hide_set());
            offers.extend(
                subcommands.map(|command| with_help(command.get_name(), command.get_about())),
            );
        }
        let positionals: Vec<_> = place.command.get_positionals().collect();
        let at = positionals.get(place.values.len()).or_else(|| {
            let many = |arg: &&&Arg| arg.get_num_args().is_some_and(|range| 1 < range.max_values());
            positionals.last().filter(many)
        });
        if let Some(arg) = at {
            offers.extend(self.values(&place, arg, partial));
        }
        offers
    }

    /// What an argument could be.
    fn values(&self, place: &Place<'_>, arg: &Arg, partial: &str) -> Vec<Offer> {
        let possible = arg.get_possible_values();
        if !possible.is_empty() {
            let value = |value: &clap::builder::PossibleValue| {
                with_help(value.get_name(), value.get_help())
            };
            return possible.iter().filter(|value| !value.is_hide_set()).map(value).collect();
        }
        let (db, group) = (&self.database, place.path.first().copied().unwrap_or_default());
        let table = place.values.first().copied().unwrap_or_default();
        match (group, arg.get_id().as_str()) {
            // Columns of a table that is not there yet.
            ("import" | "table", "columns") => Vec::new(),
            (_, "table") | ("table", "name") => named(known::tables(db)),
            (_, "columns") => listed(known::columns(db, table), partial),
            (_, "column") => described(known::columns(db, table)),
            ("put", "row") | (_, "filters") => assigned(known::columns(db, table)),
            ("index", "name") | ("search", "index") => described(known::indexes(db, Some(table))),
            ("call", "name") => described(known::procedures(db)),
            ("tenant", "name") => named(known::tenants(db)),
            ("plugin", "name") | (_, "plugin" | "plugins") => named(known::plugins(db)),
            ("get" | "delete", "key") => {
                let before: Vec<_> =
                    place.values.iter().skip(1).map(|text| (*text).to_owned()).collect();
                named(known::keys(db, table, &before, partial))
            }
            (_, "prefix" | "from" | "to" | "like_key") => {
                named(known::keys(db, table, &[], partial))
            }
            _ if is_file(arg) => files(partial),
            _ => Vec::new(),
        }
    }
}

impl Completer for ShellCompleter {
    fn complete(&mut self, line: &str, position: usize) -> CompletionResult {
        let before = &line[..line.floor_char_boundary(position)];
        let (start, offers) = self.offers(before);
        let suggestion = |offer: Offer| Suggestion {
            value: quoted(&offer.text),
            display_override: Some(offer.text),
            description: offer.about,
            span: Span::new(start, before.len()),
            append_whitespace: offer.is_whole,
            ..Suggestion::default()
        };
        CompletionResult::fresh(offers.into_iter().map(suggestion).collect::<Vec<_>>())
    }
}

fn with_help(name: &str, help: Option<&clap::builder::StyledStr>) -> Offer {
    match help.map(ToString::to_string) {
        Some(help) => Offer::about(name, help.lines().next().unwrap_or_default()),
        None => Offer::new(name),
    }
}

fn options(command: &Command) -> Vec<Offer> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    shown
        .filter_map(|arg| Some(with_help(&format!("--{}", arg.get_long()?), arg.get_help())))
        .collect()
}

fn named(names: Vec<String>) -> Vec<Offer> {
    names.into_iter().map(Offer::new).collect()
}

fn described(names: Vec<(String, String)>) -> Vec<Offer> {
    names.into_iter().map(|(name, about)| Offer::about(name, about)).collect()
}

/// Columns to which a value is to follow.
fn assigned(columns: Vec<(String, String)>) -> Vec<Offer> {
    let offer =
        |(name, about)| Offer { is_whole: false, ..Offer::about(format!("{name}="), about) };
    columns.into_iter().map(offer).collect()
}

/// The last of several columns with commas between them.
fn listed(columns: Vec<(String, String)>, partial: &str) -> Vec<Offer> {
    let before = partial.rfind(',').map_or("", |comma| &partial[..=comma]);
    let offer =
        |(name, about)| Offer { is_whole: false, ..Offer::about(format!("{before}{name}"), about) };
    columns.into_iter().map(offer).collect()
}

fn is_file(arg: &Arg) -> bool {
    matches!(arg.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath)
}

/// Files and folders whose paths begin with `partial`.
fn files(partial: &str) -> Vec<Offer> {
    let folder = partial.rfind('/').map_or("", |slash| &partial[..=slash]);
    let entries =
        std::fs::read_dir(if folder.is_empty() { Path::new(".") } else { Path::new(folder) });
    let shows_hidden = partial[folder.len()..].starts_with('.');
    let mut offers = Vec::new();
    for entry in entries.into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') && !shows_hidden || offers.len() == FILES_MAX {
            continue;
        }
        let is_folder = entry.path().is_dir();
        let end = if is_folder { "/" } else { "" };
        offers.push(Offer { is_whole: !is_folder, ..Offer::new(format!("{folder}{name}{end}")) });
    }
    offers.sort_by(|a, b| a.text.cmp(&b.text));
    offers
}

#[cfg(test)]
mod tests;

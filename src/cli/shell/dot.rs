//! Lines that begin with a dot: they are for the shell itself.

use super::super::args::{Command, Index, Plugin, Table};
use super::super::failure::{Failure, Outcome};
use super::super::screen::Mode;
use clap::ValueEnum;
use std::path::PathBuf;

/// What a dot command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// `on` or `off`.
    Switch,
    /// A mode of printing.
    Mode,
    /// The name of a table, or nothing.
    Table,
    /// The path of a file.
    File,
    /// The path of a file, or nothing.
    FileOrNothing,
}

/// Every dot command: its name, what it takes, as people read it, and what it does.
pub const DOTS: [(&str, Takes, &str, &str); 13] = [
    (".help", Takes::Nothing, "", "show this"),
    (".mode", Takes::Mode, "table|json|jsonl|csv|markdown", "how rows are printed from now on"),
    (".timing", Takes::Switch, "on|off", "after each line, how long it took"),
    (
        ".explain",
        Takes::Switch,
        "on|off",
        "after each line, what caches, disk and plugins had to do",
    ),
    (".tables", Takes::Nothing, "", "list tables, as `table list`"),
    (".schema", Takes::Table, "[TABLE]", "print the lines that would make a table and its indexes"),
    (".indexes", Takes::Table, "[TABLE]", "list indexes, as `index list`"),
    (".plugins", Takes::Nothing, "", "list plugins, as `plugin list`"),
    (".read", Takes::File, "FILE", "run the lines of a file"),
    (
        ".output",
        Takes::FileOrNothing,
        "[FILE]",
        "print into a new file; without FILE on the screen again",
    ),
    (".pager", Takes::Switch, "on|off", "show what is longer than the screen in $PAGER"),
    (".quit", Takes::Nothing, "", "leave, as Ctrl-D"),
    (".exit", Takes::Nothing, "", "the same"),
];

/// A dot command as it was typed.
#[derive(Debug)]
pub enum Dot {
    Help,
    Mode(Mode),
    Timing(bool),
    Explain(bool),
    Pager(bool),
    Schema(Option<String>),
    Read(PathBuf),
    Output(Option<PathBuf>),
    Quit,
    /// Another word for a command.
    Command(Box<Command>),
}

/// Reads the words of a line whose first begins with a dot.
pub fn parse(words: &[String]) -> Outcome<Dot> {
    let (name, args) = words.split_first().expect("the first word begins with a dot");
    let Some((name, takes, usage, _)) = DOTS.iter().find(|(known, ..)| known == name) else {
        let near = DOTS.iter().map(|(known, ..)| *known);
        let near = near.filter(|known| 1 < name.len() && known.starts_with(name.as_str()));
        let near: Vec<_> = near.collect();
        let help = if near.is_empty() { ".help lists them".into() } else { near.join(", ") };
        return Err(Failure::invalid(format!("there is no {name}")).help(help));
    };
    let wrong = || {
        let text = format!("{name} does not take '{}'", args.join(" "));
        Failure::invalid(text).help(format!("{name} {usage}").trim_end().to_owned())
    };
    let is_fitting = match takes {
        Takes::Nothing => args.is_empty(),
        Takes::Switch | Takes::Mode | Takes::File => args.len() == 1,
        Takes::Table | Takes::FileOrNothing => args.len() <= 1,
    };
    let first = args.first().cloned();
    match *name {
        _ if !is_fitting => Err(wrong()),
        ".help" => Ok(Dot::Help),
        ".mode" => Mode::from_str(&args[0], false).map(Dot::Mode).map_err(|_| wrong()),
        ".timing" => switch(&args[0]).map(Dot::Timing).ok_or_else(wrong),
        ".explain" => switch(&args[0]).map(Dot::Explain).ok_or_else(wrong),
        ".pager" => switch(&args[0]).map(Dot::Pager).ok_or_else(wrong),
        ".tables" => Ok(Dot::Command(Box::new(Command::Table(Table::List { all: false })))),
        ".indexes" => Ok(Dot::Command(Box::new(Command::Index(Index::List { table: first })))),
        ".plugins" => Ok(Dot::Command(Box::new(Command::Plugin(Plugin::List { why: false })))),
        ".schema" => Ok(Dot::Schema(first)),
        ".read" => Ok(Dot::Read(PathBuf::from(&args[0]))),
        ".output" => Ok(Dot::Output(first.map(PathBuf::from))),
        _ => Ok(Dot::Quit),
    }
}

fn switch(word: &str) -> Option<bool> {
    match word {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Dot, Failure> {
        parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn every_dot_command_reads_what_it_takes() {
        for (name, takes, ..) in DOTS {
            let fits = match takes {
                Takes::Nothing => vec![name.to_owned()],
                Takes::Switch => vec![format!("{name} on"), format!("{name} off")],
                Takes::Mode => {
                    Mode::value_variants().iter().map(|m| format!("{name} {}", m.name())).collect()
                }
                Takes::Table | Takes::FileOrNothing => vec![name.to_owned(), format!("{name} a")],
                Takes::File => vec![format!("{name} a")],
            };
            for line in fits {
                assert!(of(&line).is_ok(), "{line}");
            }
            assert!(of(&format!("{name} a b")).is_err(), "{name} takes no two words");
        }
    }

    #[test]
    fn a_wrong_word_is_answered_with_the_right_ones() {
        let of = |line| of(line).unwrap_err();
        assert_eq!(of(".mode xml").help.unwrap(), ".mode table|json|jsonl|csv|markdown");
        assert_eq!(of(".timing").help.unwrap(), ".timing on|off");
        assert_eq!(of(".t").help.unwrap(), ".timing, .tables");
        assert_eq!(of(".sing").help.unwrap(), ".help lists them");
    }
}

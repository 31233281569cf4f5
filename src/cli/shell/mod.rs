//! `shell`: one open database, and lines that are commands.
//!
//! ```text
//!   a terminal ── edit ──┐                     ┌─ begins with a dot ──▶ dot, done by `Shell` itself
//!   standard input ──────┼─▶ Shell::line ─ words ┤
//!   -c, .read ───────────┘                     └─ clap, as the command line ──▶ run ──▶ screen, pager
//! ```
//!
//! | room     | what it does                                       |
//! |----------|----------------------------------------------------|
//! | words    | cuts a line into words                             |
//! | dot      | reads lines that begin with a dot                  |
//! | explain  | what caches, disk and plugins did for a line       |
//! | schema   | a table as the lines that would make it            |
//! | pager    | what is longer than the screen                     |
//! | edit     | the line editor: prompt, keys, history             |
//! | complete | what could stand at the cursor                     |
//! | known    | names and keys in the database, for `complete`     |
//! | colours  | what a word of a line is, for the eye              |
//!
//! What is said about a line (its time, what explains it, its error) goes to standard error; results alone go where
//! `.output` says.

mod colours;
mod complete;
mod dot;
mod edit;
mod explain;
mod known;
mod pager;
mod schema;
mod words;

use super::args::{Command, Line, Shell as Args};
use super::failure::{Exit, Failure, Outcome};
use super::screen::{Mode, micros_text};
use super::{Access, Session, cancel, printable, prints_rows, report};
use clap::Parser;
use clap::error::ErrorKind;
use dot::{DOTS, Dot};
use explain::Reading;
use pager::Pager;
use sochdb::Database;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;
use words::split;

/// Bytes of one line and those that continue it: rows are shorter, and a file that is no text has no line ends.
const LINE_BYTES_MAX: usize = 16 << 20;
/// Files that read files. One that reads itself would go on for ever.
const READ_DEPTH_MAX: usize = 16;

/// Runs `shell`.
pub fn shell(session: &mut Session, args: &Args) -> Outcome {
    cancel::take_signals()?;
    let access = if args.create { Access::Create } else { Access::Write };
    let db = session.common.open(access).map_err(|failure| match failure.exit {
        Exit::NotFound => failure.help("`sochdb shell --create` makes one; --db says where it is"),
        _ => failure,
    })?;
    session.database = Some(db);
    let mut shell = Shell::new(session, args.keep_going);
    let done = if !args.commands.is_empty() {
        shell.commands(&args.commands)
    } else if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        shell.is_interactive = true;
        edit::converse(&mut shell)
    } else {
        shell.lines(std::io::stdin().lock(), "line ").map(drop)
    };
    let done = done.and(shell.ended());
    let flushed = session.screen.flush();
    let closed = session.database.take().map_or(Ok(()), Database::close);
    done.and(flushed).and(closed.map_err(Failure::from))
}

/// Whether another line may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Leave,
}

/// A session of lines.
struct Shell<'a> {
    session: &'a mut Session,
    mode: Mode,
    timing: bool,
    explain: bool,
    pager: bool,
    /// Where results go instead of the screen.
    output: Option<PathBuf>,
    is_interactive: bool,
    keep_going: bool,
    /// How the first line that failed did, where others follow.
    failed: Option<Exit>,
    /// Files that are being read.
    reading: usize,
}

impl Shell<'_> {
    fn new(session: &mut Session, keep_going: bool) -> Shell<'_> {
        Shell {
            mode: session.screen.mode(),
            session,
            timing: false,
            explain: false,
            pager: true,
            output: None,
            is_interactive: false,
            keep_going,
            failed: None,
            reading: 0,
        }
    }

    fn database(&self) -> &Database {
        self.session.database.as_ref().expect("a shell has one open")
    }

    /// Runs the lines of the command line.
    fn commands(&mut self, lines: &[String]) -> Outcome {
        for text in lines {
            match self.line(text) {
                Ok(Flow::Next) => {}
                Ok(Flow::Leave) => break,
                Err(failure) => self.fail(failure)?,
            }
        }
        Ok(())
    }

    /// Runs the lines of a file; `name` and a number say which one failed.
    fn lines(&mut self, mut input: impl BufRead, name: &str) -> Outcome<Flow> {
        let (mut text, mut number, mut began) = (String::new(), 0, 1);
        loop {
            let at = |number: usize| format!("{}{number}", name);
            let read = input.read_line(&mut text);
            let count = read.map_err(|error| Failure::io(at(number + 1), &error))?;
            number += 1;
            if LINE_BYTES_MAX < text.len() {
                let text = format!("{}: longer than {LINE_BYTES_MAX} bytes", at(began));
                return Err(Failure::invalid(text));
            }
            let is_comment = text.trim_start().starts_with('#');
            let line = text.trim_end_matches(['\n', '\r']);
            if 0 < count && !is_comment && split(line).1.is_some() {
                continue;
            }
            match self.line(&text) {
                Ok(Flow::Next) => {}
                Ok(Flow::Leave) => return Ok(Flow::Leave),
                Err(mut failure) => {
                    failure.message = format!("{}: {}", at(began), failure.message);
                    self.fail(failure)?;
                }
            }
            if count == 0 {
                return Ok(Flow::Next);
            }
            text.clear();
            began = number + 1;
        }
    }

    /// Ends the session, or says what failed and goes on.
    fn fail(&mut self, failure: Failure) -> Outcome {
        if !self.keep_going || failure.is_broken_pipe {
            return Err(failure);
        }
        self.session.screen.flush()?;
        report(&failure);
        self.failed.get_or_insert(failure.exit);
        Ok(())
    }

    /// What the whole session ends with.
    fn ended(&self) -> Outcome {
        match self.failed {
            None => Ok(()),
            Some(exit) => Err(Failure { is_told: true, ..Failure::new(exit, "a line failed") }),
        }
    }

    /// Runs one line.
    fn line(&mut self, text: &str) -> Outcome<Flow> {
        let text = text.trim();
        if text.starts_with('#') {
            return Ok(Flow::Next);
        }
        let (words, open) = split(text);
        if let Some(open) = open {
            let text =
                format!("the line is not whole: it has {} that nothing follows", open.name());
            return Err(Failure::invalid(text).help("quote a bracket or a backslash that is meant"));
        }
        let mut words: Vec<String> = words.into_iter().map(|word| word.text).collect();
        if words.first().is_some_and(|word| word == "sochdb") {
            words.remove(0);
        }
        match words.first() {
            None => Ok(Flow::Next),
            Some(word) if word.starts_with('.') => self.dot(dot::parse(&words)?),
            Some(_) => self.command(&words).map(|()| Flow::Next),
        }
    }

    /// Runs a command as the command line would.
    fn command(&mut self, words: &[String]) -> Outcome {
        let line = match Line::try_parse_from(words) {
            Ok(line) => line,
            Err(asked) if !asked.use_stderr() => {
                let text = asked.render();
                let colours = console::colors_enabled() && self.output.is_none();
                let text = if colours { text.ansi().to_string() } else { text.to_string() };
                return self.shown(|session| session.screen.bytes(text.as_bytes()));
            }
            Err(wrong) => return Err(misunderstood(&wrong)),
        };
        runs_here(&line.command)?;
        let mode = match line.said() {
            Some(mode) => {
                printable(mode, &line.command)?;
                mode
            }
            None if self.mode.is_for_rows() && !prints_rows(&line.command) => Mode::Table,
            None => self.mode,
        };
        self.run(mode, line.command)
    }

    /// Runs a command, and says of it what was asked for.
    fn run(&mut self, mode: Mode, command: Command) -> Outcome {
        self.session.screen.set_mode(mode);
        let before = self.explain.then(|| Reading::of(self.database()));
        let started = Instant::now();
        let done = self.shown(|session| super::run(session, command));
        let took = started.elapsed();
        if let Some(before) = before {
            let lines = Reading::of(self.database()).since(&before);
            lines.iter().for_each(|line| eprintln!("{line}"));
        }
        if self.timing {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            eprintln!("took {}", micros_text(micros));
        }
        done
    }

    /// Does `work`, and shows what it prints: through a pager if it is long.
    fn shown(&mut self, work: impl FnOnce(&mut Session) -> Outcome) -> Outcome {
        let pages = self.is_interactive
            && self.pager
            && self.output.is_none()
            && std::io::stdout().is_terminal();
        if pages {
            self.session.screen.redirect(Box::new(Pager::new()))?;
        }
        let running = cancel::begin();
        let done = work(self.session).and_then(|()| self.session.screen.flush());
        drop(running);
        if !pages {
            return done;
        }
        let back = self.session.screen.redirect(Box::new(std::io::stdout().lock()));
        match done.and(back) {
            // Whoever left the pager has seen enough.
            Err(failure) if failure.is_broken_pipe => Ok(()),
            done => done,
        }
    }

    /// Does what a line that begins with a dot says.
    fn dot(&mut self, dot: Dot) -> Outcome<Flow> {
        match dot {
            Dot::Help => self.shown(help)?,
            Dot::Mode(mode) => self.mode = mode,
            Dot::Timing(on) => self.timing = on,
            Dot::Explain(on) => self.explain = on,
            Dot::Pager(on) => self.pager = on,
            Dot::Schema(table) => {
                self.session.screen.set_mode(self.mode);
                self.shown(|session| schema::print(session, table.as_deref()))?;
            }
            Dot::Read(path) => return self.read(&path),
            Dot::Output(path) => self.output_to(path)?,
            Dot::Quit => return Ok(Flow::Leave),
            Dot::Command(command) => self.run(self.mode, *command)?,
        }
        Ok(Flow::Next)
    }

    fn read(&mut self, path: &Path) -> Outcome<Flow> {
        if self.reading == READ_DEPTH_MAX {
            let text = format!("{READ_DEPTH_MAX} files read one another already");
            return Err(Failure::invalid(text).help("does one of them read itself?"));
        }
        let file = File::open(path)
            .map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))?;
        self.reading += 1;
        let done = self.lines(BufReader::new(file), &format!("{}:", path.display()));
        self.reading -= 1;
        done
    }

    fn output_to(&mut self, path: Option<PathBuf>) -> Outcome {
        let screen = &mut self.session.screen;
        match &path {
            None => screen.redirect(Box::new(std::io::stdout().lock()))?,
            Some(path) => {
                let file = File::create_new(path).map_err(|error| {
                    Failure::io(format!("cannot make {}", path.display()), &error)
                        .help("name another file, or remove this one first")
                })?;
                screen.redirect(Box::new(file))?;
            }
        }
        self.output = path;
        Ok(())
    }
}

/// The list of dot commands.
fn help(session: &mut Session) -> Outcome {
    session.screen.set_mode(Mode::Table);
    let text = |(name, _, usage, what): &(&str, _, &str, &str)| {
        (format!("{name} {usage}").trim_end().to_owned(), (*what).to_owned())
    };
    session.screen.pairs(DOTS.iter().map(text))?;
    session.screen.line("")?;
    session.screen.line("help lists the commands, and help COMMAND explains one.")
}

/// A line that clap cannot read, as our own errors look.
fn misunderstood(wrong: &clap::Error) -> Failure {
    let text = wrong.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    let failure = Failure::invalid(text);
    match wrong.kind() {
        ErrorKind::InvalidSubcommand | ErrorKind::MissingSubcommand => {
            failure.help("`help` lists the commands, .help what is for the shell itself")
        }
        _ => failure,
    }
}

/// Refuses what needs the database closed, or the terminal for itself.
fn runs_here(command: &Command) -> Outcome {
    let (name, help) = match command {
        Command::Restore(_) => ("restore", "restore makes a database of its own"),
        Command::Repair { .. } => ("repair", "repair reads a database that nobody has open"),
        Command::Demo(_) => ("demo", "the demo makes a database of its own"),
        Command::ServeMetrics(_) => ("serve-metrics", "it opens the database for itself"),
        Command::Top(_) => ("top", "it takes the whole terminal"),
        Command::Shell(_) => ("shell", "this is one"),
        Command::Completions { .. } => ("completions", "they are for another shell"),
        Command::CrashWriter(_) => ("crash-writer", "it is made to be killed"),
        Command::CompileComponent => ("compile-component", "hosts start it"),
        _ => return Ok(()),
    };
    let text = format!("{name} does not run inside the shell: {help}");
    Err(Failure::invalid(text).help(format!("leave with .quit, then `sochdb {name}`")))
}

//! Processes that take turns: one per engine, each asleep while another one works.
//!
//! A child is this program once more, with a job. For each line it is given it does its next step and answers
//! with a line of figures.

use crate::Result;
use crate::metric::Figures;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{BufRead, BufReader, IsTerminal, Lines, Write};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

/// A bar where somebody watches, lines where somebody reads later.
pub struct Progress {
    bar: ProgressBar,
    lines: bool,
}

impl Progress {
    /// Nothing of `steps` is done.
    pub fn new(steps: u64) -> Progress {
        let bar = ProgressBar::new(steps);
        let template = "{elapsed_precise} {wide_bar} {eta} left, {msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("a good template"));
        Progress { bar, lines: !std::io::stderr().is_terminal() }
    }

    /// Says what is done now.
    pub fn say(&self, what: String) {
        if self.lines {
            eprintln!("{what}");
        }
        self.bar.set_message(what);
    }

    /// One step more is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// One engine's process. It sleeps, its database closed, while another has its turn.
pub struct Child {
    name: String,
    process: Process,
    turns: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    figures: Figures,
}

impl Child {
    /// Starts this program with the subcommand `command` and its `job`, for the engine `name`.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(name: &str, command: &str, job: &str) -> Result<Child> {
        let mut process = Command::new(std::env::current_exe()?)
            .args([command, job])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let turns = process.stdin.take().expect("piped");
        let said = BufReader::new(process.stdout.take().expect("piped")).lines();
        Ok(Child { name: name.to_owned(), process, turns, said, figures: Figures::new() })
    }

    /// The engine's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets it do its next step.
    ///
    /// # Errors
    /// When it ended instead; what it said went to standard error.
    pub fn step(&mut self) -> Result<()> {
        self.turns.write_all(b"\n")?;
        let Some(line) = self.said.next() else {
            let status = self.process.wait()?;
            return Err(format!("the run of {} ended with {status}", self.name).into());
        };
        self.figures.extend(serde_json::from_str::<Figures>(&line?)?);
        Ok(())
    }

    /// Lets it end; its figures.
    ///
    /// # Errors
    /// When it did not end well.
    pub fn end(self) -> Result<Figures> {
        let Child { name, mut process, turns, figures, .. } = self;
        drop(turns);
        let status = process.wait()?;
        if !status.success() {
            return Err(format!("the run of {name} ended with {status}").into());
        }
        Ok(figures)
    }
}

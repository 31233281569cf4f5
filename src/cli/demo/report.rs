//! What the demo tells people: sections, tick marks, small tables. Silent when a program reads.

use crate::cli::failure::Outcome;
use crate::cli::screen::{Screen, grid, lines};
use console::style;
use serde::Serialize;

/// One thing the demo made sure of.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// What was claimed.
    pub name: String,
    /// Whether it is so.
    pub ok: bool,
}

/// The demo's voice, and the list of what it verified.
pub struct Report<'a> {
    screen: &'a mut Screen,
    /// Everything verified so far, in order.
    pub verifications: Vec<Verification>,
}

impl<'a> Report<'a> {
    /// Speaks on `screen`.
    pub fn new(screen: &'a mut Screen) -> Report<'a> {
        Report { screen, verifications: Vec::new() }
    }

    /// A line for people. It is sent on at once: the demo takes its time between lines.
    fn say(&mut self, text: String) -> Outcome {
        if self.screen.json {
            return Ok(());
        }
        self.screen.line(text.trim_end())?;
        self.screen.flush()
    }

    /// The demo's name.
    pub fn title(&mut self, text: &str) -> Outcome {
        self.say(format!("\n  {}", style(text).bold()))
    }

    /// Begins a section.
    pub fn section(&mut self, text: &str) -> Outcome {
        self.say(format!("\n  {}", style(text).cyan().bold()))
    }

    /// Something that was done, and was not in question.
    pub fn done(&mut self, text: impl AsRef<str>) -> Outcome {
        self.say(format!("    {} {}", style("•").cyan(), text.as_ref()))
    }

    /// More about the line before.
    pub fn detail(&mut self, text: impl AsRef<str>) -> Outcome {
        self.say(format!("      {}", style(text.as_ref()).dim()))
    }

    /// A line as it is, below the one before.
    pub fn plain(&mut self, text: impl AsRef<str>) -> Outcome {
        self.say(format!("      {}", text.as_ref()))
    }

    /// Something that was in question: `name` is the claim, `text` what people read of it.
    pub fn verify(&mut self, name: &str, ok: bool, text: impl AsRef<str>) -> Outcome {
        self.verifications.push(Verification { name: name.to_owned(), ok });
        let mark = if ok { style("✓").green().bold() } else { style("✗").red().bold() };
        self.say(format!("    {mark} {}", text.as_ref()))
    }

    /// A small table.
    pub fn table<const N: usize>(&mut self, header: [&str; N], rows: Vec<[String; N]>) -> Outcome {
        if self.screen.json {
            return Ok(());
        }
        let mut table = grid();
        table.set_width(table.width().unwrap_or(100).saturating_sub(6).max(40));
        table.set_header(header);
        table.add_rows(rows);
        lines(&table).lines().try_for_each(|line| self.say(format!("      {line}")))
    }

    /// Whether all that was verified holds.
    pub fn holds(&self) -> bool {
        self.verifications.iter().all(|verification| verification.ok)
    }

    /// The last line.
    pub fn verdict(&mut self, took: &str) -> Outcome {
        let bad = self.verifications.iter().filter(|verification| !verification.ok).count();
        let all = self.verifications.len();
        let text = match bad {
            0 => style(format!("All {all} verifications hold.")).green().bold(),
            _ => style(format!("{bad} of {all} verifications FAILED.")).red().bold(),
        };
        self.say(format!("\n  {text} {took}\n"))
    }
}

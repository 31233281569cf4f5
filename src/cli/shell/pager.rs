//! What is longer than the screen, shown by the user's pager.
//!
//! What is printed is held until it is more than a screen; only then the pager starts. `PAGER` says which, `less`
//! without it. `-r` is left out: it would let a row's bytes move the cursor. `LESS=FRX`, unless it is set, has `less`
//! show colours, and leave what it showed.

use super::super::cancel;
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

/// Where a line prints to while it runs.
pub struct Pager {
    rows: usize,
    columns: usize,
    lines: usize,
    held: Vec<u8>,
    to: To,
}

enum To {
    /// Nobody yet.
    Held,
    /// The pager.
    Pager(Child),
    /// The screen, where no pager can be started.
    Screen,
}

impl Pager {
    /// One for the present size of the terminal.
    pub fn new() -> Pager {
        let (rows, columns) = console::Term::stdout().size();
        Pager {
            rows: usize::from(rows).saturating_sub(1).max(1),
            columns: usize::from(columns).max(1),
            lines: 0,
            held: Vec::new(),
            to: To::Held,
        }
    }

    /// Whether what is held is more than a screen.
    fn is_long(&mut self, new: &[u8]) -> bool {
        self.lines += new.iter().filter(|byte| **byte == b'\n').count();
        self.rows < self.lines || self.rows * self.columns * 4 < self.held.len()
    }

    fn start(&mut self) -> io::Result<()> {
        let said = std::env::var("PAGER").unwrap_or_default();
        self.to = match command(&said).stdin(Stdio::piped()).spawn() {
            Ok(child) => To::Pager(child),
            Err(_) => To::Screen,
        };
        let held = std::mem::take(&mut self.held);
        self.pass(&held)
    }

    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.to {
            To::Held => self.held.extend_from_slice(bytes),
            To::Pager(child) => child.stdin.as_mut().expect("piped").write_all(bytes)?,
            To::Screen => io::stdout().write_all(bytes)?,
        }
        Ok(())
    }
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pass(bytes)?;
        if matches!(self.to, To::Held) && self.is_long(bytes) {
            self.start()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Held => Ok(()),
            To::Pager(child) => child.stdin.as_mut().expect("piped").flush(),
            To::Screen => io::stdout().flush(),
        }
    }
}

/// Shows what is held, or waits until the user has left the pager.
impl Drop for Pager {
    fn drop(&mut self) {
        let _paging = cancel::paging();
        if let To::Pager(child) = &mut self.to {
            drop(child.stdin.take());
            let _ = child.wait();
            return;
        }
        let mut screen = io::stdout();
        let _ = screen.write_all(&self.held).and_then(|()| screen.flush());
    }
}

/// The pager that `PAGER` names.
fn command(said: &str) -> Command {
    let mut words =
        said.split_whitespace().filter(|word| !matches!(*word, "-r" | "--raw-control-chars"));
    let mut command = Command::new(words.next().unwrap_or("less"));
    command.args(words);
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", "FRX");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pager_is_the_users_without_what_is_dangerous() {
        let words = |said: &str| {
            let command = command(said);
            let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
            [command.get_program().to_string_lossy().into_owned()]
                .into_iter()
                .chain(args)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(""), ["less"]);
        assert_eq!(words("less -S -r"), ["less", "-S"]);
        assert_eq!(words("most"), ["most"]);
    }

    #[test]
    fn what_fits_is_held_and_what_does_not_is_long() {
        let mut pager = Pager { rows: 3, columns: 10, lines: 0, held: Vec::new(), to: To::Held };
        assert!(!pager.is_long(b"1\n2\n3\n"));
        assert!(pager.is_long(b"4\n"));
    }
}

//! A failing sequence made as short as it gets, and how it is told.

use super::judge::{Wrong, judge};
use super::operation::Operation;
use super::subject::{Outcome, Setup, Subject};
use std::fmt;

/// How often a shorter sequence is tried. Each try is a subject, so this bounds the time.
const TRIES_MAX: usize = 400;

/// A subject that was wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What `SOCHDB_SEED` must be to see it again.
    pub seed: u64,
    /// What the subject was made for.
    pub setup: Setup,
    /// How many operations there were before they were shrunk.
    pub before: usize,
    /// The operations that still show it.
    pub operations: Vec<Operation>,
    /// Its first wrong answer to them.
    pub wrong: Wrong,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, setup, before, operations, wrong } = self;
        writeln!(f, "wrong: {}", wrong.what)?;
        writeln!(f, "  a table with {}", setup.words)?;
        for (key, value) in &setup.settings {
            writeln!(f, "  and the setting {key} = {value}")?;
        }
        let (number, left) = (setup.number, operations.len());
        writeln!(f, "  sequence {number}, shrunk from {before} operations to {left}:")?;
        for (position, operation) in operations.iter().enumerate() {
            let mark = if position == wrong.position { ">" } else { " " };
            writeln!(f, "  {mark} {}. {operation}", position + 1)?;
        }
        if wrong.position == operations.len() {
            writeln!(f, "  > then everything was read")?;
        }
        write!(f, "  SOCHDB_SEED={seed} replays it")
    }
}

/// Drops operations, and rows of writes, as long as it still fails.
pub(super) fn shrink(
    setup: Setup,
    operations: Vec<Operation>,
    wrong: Wrong,
    make: &mut dyn FnMut(&Setup) -> Outcome<Box<dyn Subject>>,
) -> Failure {
    let before = operations.len();
    let mut shrinking = Shrinking { setup, operations, wrong, make, tries: 0 };
    // Nothing behind the wrong answer is needed.
    let until = (shrinking.wrong.position + 1).min(before);
    let shorter = shrinking.operations[..until].to_vec();
    shrinking.fails(shorter);
    while shrinking.drop_operations() | shrinking.drop_rows() {}
    let Shrinking { setup, operations, wrong, .. } = shrinking;
    Failure { seed: 0, setup, before, operations, wrong }
}

struct Shrinking<'a> {
    setup: Setup,
    operations: Vec<Operation>,
    wrong: Wrong,
    make: &'a mut dyn FnMut(&Setup) -> Outcome<Box<dyn Subject>>,
    tries: usize,
}

impl Shrinking<'_> {
    /// Keeps `operations` if they fail too.
    fn fails(&mut self, operations: Vec<Operation>) -> bool {
        self.tries += 1;
        if TRIES_MAX < self.tries {
            return false;
        }
        match judge(&self.setup, &operations, self.make) {
            Ok(_) => false,
            Err(wrong) => {
                (self.operations, self.wrong) = (operations, wrong);
                true
            }
        }
    }

    /// Tries to do without halves, quarters, and so on down to single operations.
    fn drop_operations(&mut self) -> bool {
        let (mut has_shrunk, mut size) = (false, self.operations.len().div_ceil(2));
        while 0 < size {
            let mut start = 0;
            while start < self.operations.len() {
                let mut fewer = self.operations.clone();
                fewer.drain(start..(start + size).min(fewer.len()));
                if self.fails(fewer) {
                    has_shrunk = true;
                } else {
                    start += size;
                }
            }
            size /= 2;
        }
        has_shrunk
    }

    /// Tries to do with one half of the rows of each write.
    fn drop_rows(&mut self) -> bool {
        let mut has_shrunk = false;
        for position in 0..self.operations.len() {
            while let Operation::Write(rows) = &self.operations[position]
                && 1 < rows.len()
            {
                let (first, second) = rows.split_at(rows.len() / 2);
                let (first, second) = (first.to_vec(), second.to_vec());
                let mut with = |rows| {
                    let mut fewer = self.operations.clone();
                    fewer[position] = Operation::Write(rows);
                    self.fails(fewer)
                };
                if !(with(first) || with(second)) {
                    break;
                }
                has_shrunk = true;
            }
        }
        has_shrunk
    }
}

//! For the tests of plugins: a database in memory, and the conformance kit for storage engines.
//!
//! In a [`Database`] plugins of every kind run natively, with fakes of all that they import; its page has an
//! example. The rest of this is for storage engines: random operations, and a model that knows every answer.
//!
//! A storage engine can be wrong in ways that no example shows: a bound that is ignored by one block in a
//! thousand, a tombstone that a merge forgets. The kit writes, reads, flushes, merges and reloads at random,
//! with keys and values that hurt, and compares each answer with that of a `BTreeMap`. In an engine's crate
//! it is one line, with `sochdb-guest = { ..., features = ["testing"] }` among the `[dev-dependencies]`:
//!
//! ```
//! # use sochdb_guest::testing::example::Example as MyEngine;
//! // The body of a test:
//! sochdb_guest::testing::storage::<MyEngine>();
//! ```
//!
//! ```text
//!   seed ──▶ generate: a Setup and its Operations ──┬──▶ Subject ── answers ──┐
//!                                                   └──▶ Model ─── answers ───┴──▶ equal?
//!                         shrink: fewer operations that still fail ◀── no ────────────┘
//! ```
//!
//! - A [`Subject`] is what is judged. [`Engine`] makes one of any [`Storage`], in memory and without a host;
//!   a whole database behind the same trait is judged by the same operations.
//! - A failure prints the fewest operations that still show it, the first wrong answer in words, and the seed.
//!   `SOCHDB_SEED=NUMBER` replays it. `SOCHDB_PROOF=release` runs ten times as many.
//! - The kit ends with one line that says how much it has compared.

#[cfg(not(target_family = "wasm"))]
mod database;
mod engine;
mod generate;
mod judge;
mod keys;
mod operation;
mod rows;
mod shrink;
mod subject;

#[doc(hidden)]
pub mod example;
#[cfg(test)]
mod liars;

#[cfg(not(target_family = "wasm"))]
pub use database::{Database, Emitted, Line, Setting, Written};
#[cfg(not(target_family = "wasm"))]
pub(crate) use database::{imports, running};
pub use engine::Engine;
pub use judge::{Report, Wrong};
pub use operation::{Operation, Scan};
pub use shrink::Failure;
pub use subject::{Outcome, Reads, Reply, Row, Setup, Subject};

use crate::Storage;
use std::collections::BTreeMap;

/// Judges the engine `S` natively and panics at its first wrong answer.
///
/// # Panics
/// When the engine is wrong: with the fewest operations that show it, and the seed.
pub fn storage<S: Storage + 'static>() {
    Kit::default().storage::<S>();
}

/// How much is tried.
#[derive(Debug, Clone)]
pub struct Kit {
    /// What all operations follow from. By default that of `SOCHDB_SEED`, or another one each time.
    pub seed: u64,
    /// How many subjects are made, each of which sees operations of its own.
    pub sequences: usize,
    /// How many operations each sees.
    pub operations: usize,
    /// The settings of the tables, as they are given when a table is created.
    pub settings: BTreeMap<String, String>,
}

impl Default for Kit {
    fn default() -> Kit {
        let seed = std::env::var("SOCHDB_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
        Kit { seed, sequences: 100, operations: 80, settings: BTreeMap::new() }.raised()
    }
}

impl Kit {
    /// Ten times as many sequences where `SOCHDB_PROOF=release` asks for a proof, otherwise as many as said.
    fn raised(self) -> Kit {
        let proof = std::env::var("SOCHDB_PROOF").is_ok_and(|proof| proof == "release");
        Kit { sequences: if proof { 10 * self.sequences } else { self.sequences }, ..self }
    }

    /// The kit with another number of sequences, and ten times that where `SOCHDB_PROOF=release` is set.
    pub fn sequences(self, sequences: usize) -> Kit {
        Kit { sequences, ..self }.raised()
    }

    /// The kit with tables that have the setting `key`.
    pub fn setting(mut self, key: &str, value: &str) -> Kit {
        self.settings.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Judges the engine `S` natively.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub fn storage<S: Storage + 'static>(&self) -> Report {
        let name = std::any::type_name::<S>();
        self.run(name, |setup| Ok(Box::new(Engine::<S>::new(setup)?)))
    }

    /// Judges the subjects that `make` makes, one for each sequence, and prints a line when all were right.
    /// `name` says what they are.
    ///
    /// # Panics
    /// When a subject is wrong: with the fewest operations that show it, and the seed.
    pub fn run(&self, name: &str, make: impl FnMut(&Setup) -> Outcome<Box<dyn Subject>>) -> Report {
        match self.check(make) {
            Ok(report) => {
                println!("{name}: {report}, seed {}", self.seed);
                report
            }
            Err(failure) => panic!("{name}: {failure}"),
        }
    }

    /// As [`run`](Self::run), without words and without a panic.
    ///
    /// # Errors
    /// The first failure that was met, with as few operations as were found to show it.
    pub fn check(
        &self,
        mut make: impl FnMut(&Setup) -> Outcome<Box<dyn Subject>>,
    ) -> Result<Report, Box<Failure>> {
        let mut report = Report::default();
        for number in 0..self.sequences {
            let (setup, operations) = generate::sequence(self.seed, number, self.operations);
            let setup = Setup { settings: self.settings.clone(), ..setup };
            match judge::judge(&setup, &operations, &mut make) {
                Ok(judged) => report.add(&judged),
                Err(wrong) => {
                    let failure = shrink::shrink(setup, operations, wrong, &mut make);
                    return Err(Box::new(Failure { seed: self.seed, ..failure }));
                }
            }
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_operations() {
        for number in 0..20 {
            let words = || format!("{:?}", generate::sequence(7, number, 40));
            assert_eq!(words(), words());
        }
        assert_ne!(
            format!("{:?}", generate::sequence(7, 0, 40)),
            format!("{:?}", generate::sequence(8, 0, 40))
        );
    }

    #[test]
    fn a_good_engine_is_found_good_and_everything_was_asked() {
        let kit = Kit::default();
        let report = kit.storage::<example::Example>();
        assert_eq!(report.sequences, kit.sequences);
        for (what, count) in report.asked() {
            assert!((what == "crash") == (count == 0), "{what} was asked {count} times");
        }
    }
}

//! How a guest of tests behaves, as the manifest says: of one component, manifests make many versions.
//!
//! | setting   | what it says                                                                |
//! |-----------|-----------------------------------------------------------------------------|
//! | `mood`    | `good`, one of these, or one that the guest's own page tells of             |
//! | `version` | a number, which the guest shows in what it writes and answers               |
//! | `after`   | how many calls an instance answers as a good one would before the mood shows |
//! | `spin`    | how many turns of a loop each call takes beside its work                    |
//!
//! | mood              | what it does                                          |
//! |-------------------|-------------------------------------------------------|
//! | `fails-its-test`  | its own test fails                                    |
//! | `traps`           | panics in each call                                   |
//! | `traps-on-marks`  | panics in a call about bytes among which there is a `!` |
//! | `traps-on-export` | panics when it is asked for its state                 |
//! | `lingers-on-export` | works on its state until its limits end it          |
//! | `traps-on-import` | panics when it is given the state of another          |
//! | `refuses`         | answers each call with an error                       |
//!
//! An instance's state is how many calls it, and those whose state it was given, have had.

use sochdb_guest::{Error, Result, config};
use std::hint::black_box;

/// What an instance's behaviour depends on.
pub struct Mood {
    name: String,
    /// The number that the guest shows.
    pub version: u32,
    after: u64,
    spin: u64,
    /// Calls that this instance has had.
    own_calls: u64,
    /// Those of instances before it.
    earlier_calls: u64,
}

impl Mood {
    /// As the settings say.
    pub fn read() -> Result<Mood> {
        let number = |key| {
            let number = config::integer(key)?;
            u64::try_from(number).map_err(|_| Error::invalid(format!("{key} is {number}")))
        };
        let version = number("version")?;
        let version = u32::try_from(version).map_err(|error| Error::invalid(error.to_string()))?;
        let (name, after, spin) = (config::text("mood")?, number("after")?, number("spin")?);
        Ok(Mood { name, version, after, spin, own_calls: 0, earlier_calls: 0 })
    }

    /// Whether it is in this mood, and shows it.
    pub fn is(&self, mood: &str) -> bool {
        self.name == mood && self.after < self.own_calls
    }

    /// Whether it is in this mood, from its first call on.
    pub fn is_ever(&self, mood: &str) -> bool {
        self.name == mood
    }

    /// One more call, about these bytes.
    pub fn call(&mut self, about: &[u8]) -> Result<()> {
        self.own_calls += 1;
        (0..self.spin).for_each(|turn| {
            black_box(turn);
        });
        assert!(!self.is("traps"), "in the mood for it");
        assert!(!self.is("traps-on-marks") || !about.contains(&b'!'), "there is a mark");
        match self.is("refuses") {
            true => Err(Error::invalid("in no mood for it")),
            false => Ok(()),
        }
    }

    /// Its own test, as far as it depends on the mood.
    pub fn self_test(&self) -> Result<()> {
        match &*self.name {
            "fails-its-test" => Err(Error::internal("fails its test, as it was told")),
            _ => Ok(()),
        }
    }

    /// What the next version should know.
    pub fn export(&self) -> Result<Vec<u8>> {
        assert!(self.name != "traps-on-export", "in no mood to tell");
        if self.name == "lingers-on-export" {
            loop {
                black_box(());
            }
        }
        Ok((self.earlier_calls + self.own_calls).to_le_bytes().to_vec())
    }

    /// Takes over what the version before exported.
    pub fn import(&mut self, state: &[u8]) -> Result<()> {
        assert!(self.name != "traps-on-import", "in no mood to listen");
        let state = state.try_into().map_err(|_| Error::invalid("a state of eight bytes"))?;
        self.earlier_calls = u64::from_le_bytes(state);
        Ok(())
    }
}

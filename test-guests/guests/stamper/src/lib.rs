//! Hooks that put their version behind each value that is written: `tea` becomes `tea@7`. Moods as in `mood.rs`.

#[allow(dead_code, reason = "no guest uses all of it")]
#[path = "../../../mood.rs"]
mod mood;

use mood::Mood;
use sochdb_guest::rows::{Table, Transaction};
use sochdb_guest::{Change, Decision, Hooks, Result};

struct Stamper {
    mood: Mood,
}

impl Hooks for Stamper {
    fn init() -> Result<Self> {
        Ok(Stamper { mood: Mood::read()? })
    }

    fn before_each(
        &mut self,
        _: &Transaction<'_>,
        _: &Table<'_>,
        change: &Change,
    ) -> Result<Decision> {
        let Some(value) = &change.new else { return Ok(Decision::Continue) };
        self.mood.call(value)?;
        let stamp = format!("@{}", self.mood.version);
        Ok(Decision::Replace([value, stamp.as_bytes()].concat()))
    }

    fn self_test(&mut self) -> Result<()> {
        self.mood.self_test()
    }

    fn export_state(&mut self) -> Result<Vec<u8>> {
        self.mood.export()
    }

    fn import_state(&mut self, state: Vec<u8>, _version: &str) -> Result<()> {
        self.mood.import(&state)
    }
}

sochdb_guest::export!(hooks: Stamper);

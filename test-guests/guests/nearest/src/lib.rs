//! An index that keeps nothing and compares with all, twenty entries a call as a graph would: what it finds is
//! what there is to find, and what the boundary costs is all it costs.
//!
//! A manifest may declare the setting `mood`:
//!
//! | mood             | what it does                                               |
//! |------------------|------------------------------------------------------------|
//! | `fails-its-test` | opens no segment, as its own test finds out                |
//! | `traps-on-many`  | panics when it is asked for more than 20                   |
//!
//! and the setting `version`, a number that is among its statistics.

use sochdb_guest::{
    Allowed, Definition, Entries, Error, Index, IndexSearcher, Part, Query, Result, Segment, Sink,
    config,
};

/// How many entries it asks for at once.
const AT_ONCE: usize = 20;

struct Nearest {
    mood: String,
    version: i64,
}

struct All {
    entries: Entries<'static>,
    version: i64,
    traps: bool,
}

impl Index for Nearest {
    type Searcher = All;

    fn init() -> Result<Self> {
        let mood = config::text("mood").unwrap_or_default();
        Ok(Nearest { mood, version: config::integer("version").unwrap_or_default() })
    }

    fn check(&mut self, index: &Definition) -> Result<()> {
        match index.metric {
            Some(_) => Ok(()),
            None => Err(Error::invalid(format!("column '{}' has no vectors", index.column))),
        }
    }

    fn build(
        &mut self,
        _: &Definition,
        entries: &Entries<'_>,
        parts: Vec<Part>,
        sink: &Sink<'_>,
    ) -> Result<u64> {
        let mut segment = sink.create()?;
        segment.append(&entries.count().to_le_bytes())?;
        for Part { segment: part, numbers } in parts {
            segment.append(&part.read(0, 4)?)?;
            segment.append(&(numbers.len() as u32).to_le_bytes())?;
        }
        segment.seal()
    }

    fn open(&mut self, _: &Definition, entries: Entries<'static>, segment: Segment) -> Result<All> {
        if self.mood == "fails-its-test" {
            return Err(Error::corrupt("in no mood to look"));
        }
        let (version, traps) = (self.version, self.mood == "traps-on-many");
        match segment.read(0, 4)? == entries.count().to_le_bytes() {
            true => Ok(All { entries, version, traps }),
            false => Err(Error::corrupt("another count of entries")),
        }
    }
}

impl IndexSearcher for All {
    fn search(
        &mut self,
        query: &Query<'_>,
        k: usize,
        _: usize,
        allowed: &Allowed,
    ) -> Result<Vec<u32>> {
        assert!(!self.traps || k <= 20, "in no mood for so many");
        let numbers: Vec<u32> = allowed.numbers(self.entries.count()).collect();
        let mut found = Vec::with_capacity(numbers.len());
        for numbers in numbers.chunks(AT_ONCE) {
            found.extend(query.distances(numbers)?.into_iter().zip(numbers));
        }
        found.sort_unstable_by(|(a, a_number), (b, b_number)| {
            a.total_cmp(b).then(a_number.cmp(b_number))
        });
        Ok(found.into_iter().take(k).map(|(_, number)| *number).collect())
    }

    fn stats(&self) -> Vec<(String, f64)> {
        let entries = f64::from(self.entries.count());
        vec![("entries".to_owned(), entries), ("version".to_owned(), self.version as f64)]
    }
}

sochdb_guest::export!(index: Nearest);

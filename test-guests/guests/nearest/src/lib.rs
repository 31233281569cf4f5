//! An index that keeps nothing and compares with all, twenty entries a call as a graph would: what it finds is
//! what there is to find, and what the boundary costs is all it costs.

use sochdb_guest::{
    Allowed, Definition, Entries, Error, Index, IndexSearcher, Part, Query, Result, Segment, Sink,
};

/// How many entries it asks for at once.
const AT_ONCE: usize = 20;

struct Nearest;

struct All(Entries<'static>);

impl Index for Nearest {
    type Searcher = All;

    fn init() -> Result<Self> {
        Ok(Nearest)
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
        match segment.read(0, 4)? == entries.count().to_le_bytes() {
            true => Ok(All(entries)),
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
        let numbers: Vec<u32> = allowed.numbers(self.0.count()).collect();
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
        vec![("entries".to_owned(), f64::from(self.0.count()))]
    }
}

sochdb_guest::export!(index: Nearest);

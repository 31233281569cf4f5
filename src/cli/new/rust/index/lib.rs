//! An index that keeps nothing and compares with everything: right, and slow. What is worth keeping goes into
//! `build`; `search` then compares with fewer.

use sochdb_guest::{
    Allowed, Definition, Entries, Error, Index, IndexSearcher, Part, Query, Result, Segment, Sink,
};

/// How many entries are compared in one call to the host, which does the arithmetic.
const AT_ONCE: usize = 1024;

/// The index of vectors.
struct MyPlugin;

/// One segment of it, open for searching.
struct Searcher(Entries<'static>);

impl Index for MyPlugin {
    type Searcher = Searcher;

    fn init() -> Result<Self> {
        Ok(MyPlugin)
    }

    fn check(&mut self, index: &Definition) -> Result<()> {
        match index.metric {
            Some(_) => Ok(()),
            None => Err(Error::invalid(format!(
                "column '{}' has no vectors",
                index.column
            ))),
        }
    }

    fn build(
        &mut self,
        _index: &Definition,
        entries: &Entries<'_>,
        _parts: Vec<Part>,
        sink: &Sink<'_>,
    ) -> Result<u64> {
        let mut segment = sink.create()?;
        segment.append(&entries.count().to_le_bytes())?;
        segment.seal()
    }

    fn open(
        &mut self,
        _index: &Definition,
        entries: Entries<'static>,
        segment: Segment,
    ) -> Result<Searcher> {
        match segment.read(0, 4)? == entries.count().to_le_bytes() {
            true => Ok(Searcher(entries)),
            false => Err(Error::corrupt("the segment is of another count of entries")),
        }
    }
}

impl IndexSearcher for Searcher {
    fn search(
        &mut self,
        query: &Query<'_>,
        k: usize,
        _effort: usize,
        allowed: &Allowed,
    ) -> Result<Vec<u32>> {
        let numbers: Vec<u32> = allowed.numbers(self.0.count()).collect();
        let mut found = Vec::with_capacity(numbers.len());
        for numbers in numbers.chunks(AT_ONCE) {
            found.extend(query.distances(numbers)?.into_iter().zip(numbers));
        }
        found.sort_unstable_by(|(a, m), (b, n)| a.total_cmp(b).then(m.cmp(n)));
        Ok(found
            .into_iter()
            .take(k)
            .map(|(_, number)| *number)
            .collect())
    }
}

sochdb_guest::export!(index: MyPlugin);

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds small indexes of several sorts and searches them, as the host does when it loads the plugin.
    #[test]
    fn it_finds_what_comparing_with_all_finds() -> Result<()> {
        MyPlugin::init()?.self_test()
    }

    #[test]
    fn columns_without_vectors_are_refused() -> Result<()> {
        let ordered = Definition {
            column: "town".to_owned(),
            ..Definition::default()
        };
        assert!(MyPlugin::init()?.check(&ordered).is_err());
        Ok(())
    }
}

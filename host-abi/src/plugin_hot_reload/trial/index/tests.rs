use super::super::{TrialReport, of_versions};
use super::*;
use sochdb_kernel::SegmentId;
use sochdb_kernel::plugin::{Extension, ExtensionInfo, SegmentSink};

/// Compares with all entries; what it writes is its format.
#[derive(Clone, Copy, Default)]
struct Exact {
    format: u8,
    /// Of the nearest it finds none of these many.
    misses: usize,
    /// Finds nothing that is allowed only for some.
    fails_when_filtered: bool,
}

struct Searcher(Exact, Arc<Entries>);

impl Extension for Exact {
    fn info(&self) -> ExtensionInfo {
        let (version, description, author) = Default::default();
        let capabilities = Vec::new();
        ExtensionInfo { name: "guest".to_owned(), version, description, author, capabilities }
    }
}

impl IndexExtension for Exact {
    fn check(&self, _: &IndexDefinition) -> KernelResult<()> {
        Ok(())
    }

    fn build(
        &self,
        _: &IndexDefinition,
        _: &Arc<Entries>,
        parts: Vec<Part>,
        sink: Arc<dyn SegmentSink>,
    ) -> KernelResult<SegmentId> {
        if parts.iter().any(|part| part.segment.raw_bytes() != 1) {
            return Err(KernelError::invalid("parts"));
        }
        let mut writer = sink.create()?;
        writer.append(&[self.format])?;
        writer.seal()
    }

    fn open(
        &self,
        _: &IndexDefinition,
        entries: &Arc<Entries>,
        segment: Arc<dyn SegmentRead>,
    ) -> KernelResult<Arc<dyn IndexSearcher>> {
        let format = segment.read_at(0, 1)?[0];
        if self.format < format {
            return Err(KernelError::Invalid(format!("format {format}")));
        }
        Ok(Arc::new(Searcher(*self, entries.clone())))
    }
}

impl IndexSearcher for Searcher {
    fn search(
        &self,
        query: &Arc<Query>,
        k: usize,
        _: usize,
        allowed: &[u64],
    ) -> KernelResult<Vec<u32>> {
        if self.0.fails_when_filtered && !allowed.is_empty() {
            return Err(KernelError::plugin(
                "guest",
                sochdb_kernel::PluginFault::Trapped,
                "no filter",
            ));
        }
        let is_allowed = |number: &u32| {
            allowed.is_empty() || allowed[*number as usize / 64] >> (number % 64) & 1 == 1
        };
        let numbers: Vec<u32> = (0..self.1.count()).filter(is_allowed).collect();
        let mut distances = Vec::new();
        query.distances(&numbers, &mut distances)?;
        let mut found: Vec<_> = distances.into_iter().zip(numbers).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(found.into_iter().skip(self.0.misses).take(k).map(|(_, number)| number).collect())
    }

    fn lookup(
        &self,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
        _: &[u64],
    ) -> KernelResult<Vec<u32>> {
        let value = |number| self.1.values(number, 1, u32::MAX).map(|(value, _)| (value, number));
        let mut found = (0..self.1.count()).map(value).collect::<KernelResult<Vec<_>>>()?;
        found.retain(|(value, _)| range.contains(value));
        found.sort();
        if reverse {
            found.reverse();
        }
        Ok(found.into_iter().skip(self.0.misses).take(limit).map(|(_, number)| number).collect())
    }

    fn stats(&self) -> KernelResult<Vec<(String, f64)>> {
        Ok(Vec::new())
    }
}

/// What `new` shows beside a flawless plugin, with a segment of this one.
fn check(new: Exact, one_way: bool) -> Result<TrialReport, String> {
    let old = Exact::default();
    let mut trial = of_versions("1.0.0", "2.0.0");
    trial.one_way = one_way;
    for (index, entries) in made_up().unwrap() {
        let memory = Memory::new();
        let id = old.build(&index, &entries, Vec::new(), memory.sink()).unwrap();
        let graph = memory.segments(&[id]).unwrap().remove(0);
        try_segment(&mut trial, &index, &entries, &graph, (&old, &new))
            .and_then(|()| try_build(&mut trial, &index, &entries, &old, &new))
            .map_err(|error| error.to_string())?;
    }
    Ok(trial.report)
}

#[track_caller]
fn check_refused(new: Exact, words: &str) {
    let error = check(new, false).unwrap_err();
    let place = "version 2.0.0 on trial: the index 'made up' of the table 'made up'";
    assert!(error.contains(place) && error.contains(words), "{error}");
}

#[test]
fn a_plugin_that_finds_what_the_one_before_finds_passes() {
    let report = check(Exact::default(), false).unwrap();
    assert_eq!(report.differing, 0);
    assert!(QUERIES as u64 <= report.replayed, "{report:?}");
}

#[test]
fn a_plugin_that_finds_less_is_refused_with_figures() {
    // The nearest of ten is an entry itself.
    check(Exact { misses: 1, ..Exact::default() }, false).unwrap_err();
    check_refused(Exact { misses: 4, ..Exact::default() }, "where version 1.0.0 finds 240");
}

#[test]
fn a_plugin_that_fails_a_search_is_refused() {
    let new = Exact { fails_when_filtered: true, ..Exact::default() };
    check_refused(new, "a search: no filter; version 1.0.0 does not fail there");
}

#[test]
fn what_the_one_before_cannot_search_is_built_only_when_there_is_no_way_back() {
    let newer = Exact { format: 1, ..Exact::default() };
    check_refused(newer, "builds what version 1.0.0 cannot search");
    check(newer, true).unwrap();
}

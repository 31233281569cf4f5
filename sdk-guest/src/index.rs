//! A plugin that finds rows by what is in them: the nearest vectors, or values in a range.
//!
//! ```text
//!   Entries, Parts ──▶ Index::build ──▶ Sink::create, SegmentWriter::append, seal
//!   Entries, Segment ──▶ Index::open ──▶ IndexSearcher::search, with a Query
//!                                    └─▶ IndexSearcher::lookup, with a range
//! ```
//!
//! A plugin knows entries by their numbers, from 0 on in order of their keys. The host keeps the vectors, or
//! codes of them, and compares: [`Entries::between`], [`Query::distances`]. What it gives ([`Entries`], a
//! [`Query`], [`Segment`]s) can also be made of vectors, values and bytes in memory, in tests and in
//! [`Index::self_test`]; an index does not see the difference.

mod allowed;
mod entries;
mod self_test;

pub use allowed::Allowed;
#[cfg(all(feature = "testing", not(target_family = "wasm")))]
pub(crate) use entries::distance;
pub use entries::{COMPARED_MAX, Entries, Query, VECTORS_BYTES_MAX, Values};

use crate::bindings::index::exports::sochdb::plugin::index as contract;
use crate::bindings::index::sochdb::plugin::entries as host;
use crate::bindings::storage::sochdb::plugin::segments;
use crate::bindings::{Instance, lifecycle, types};
use crate::error::{Error, Result};
use crate::storage::{Segment, Sink, key_range};
use sochdb_encoding::range::KeyRange;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// The number of an entry that is gone, in [`Part::numbers`].
pub const GONE: u32 = u32::MAX;

/// An index: a pure function from entries to an immutable segment, and searches in that.
///
/// What it answers is a hint: the host knows which rows a transaction may see, and computes the distances that
/// people get. So an index that errs costs recall or time, and never shows a wrong row. Any instance must read
/// what any other wrote, in any later version of the plugin. See [`export!`](crate::export) for how a type
/// becomes the plugin.
///
/// ```
/// use sochdb_guest::{Allowed, Definition, Entries, Error, Index, IndexSearcher, Part, Query, Result, Segment, Sink};
///
/// /// Keeps nothing, and compares with all.
/// struct CompareAll;
/// struct All(Entries<'static>);
///
/// impl Index for CompareAll {
///     type Searcher = All;
///
///     fn init() -> Result<Self> {
///         Ok(CompareAll)
///     }
///
///     fn check(&mut self, index: &Definition) -> Result<()> {
///         match index.metric {
///             Some(_) => Ok(()),
///             None => Err(Error::invalid(format!("column '{}' has no vectors", index.column))),
///         }
///     }
///
///     fn build(&mut self, _: &Definition, _: &Entries<'_>, _: Vec<Part>, sink: &Sink<'_>) -> Result<u64> {
///         sink.create()?.seal()
///     }
///
///     fn open(&mut self, _: &Definition, entries: Entries<'static>, _: Segment) -> Result<All> {
///         Ok(All(entries))
///     }
/// }
///
/// impl IndexSearcher for All {
///     fn search(&mut self, query: &Query<'_>, k: usize, _: usize, allowed: &Allowed) -> Result<Vec<u32>> {
///         let numbers: Vec<u32> = allowed.numbers(self.0.count()).collect();
///         let mut found: Vec<_> = query.distances(&numbers)?.into_iter().zip(numbers).collect();
///         found.sort_by(|a, b| a.0.total_cmp(&b.0));
///         Ok(found.into_iter().take(k).map(|(_, number)| number).collect())
///     }
/// }
///
/// sochdb_guest::export!(index: CompareAll);
/// # fn main() { CompareAll.self_test().unwrap(); }
/// ```
pub trait Index: Sized {
    /// Searches one segment.
    type Searcher: IndexSearcher;

    /// Makes the one value of this instance; read [`config`](crate::config) here.
    ///
    /// # Errors
    /// Any, such as a setting that makes no sense; the call that needed the instance then fails.
    fn init() -> Result<Self>;

    /// Whether it can build such an index, and the settings it was given make sense. Called when one is made.
    ///
    /// # Errors
    /// [`Error::invalid`] that names what is wrong and what would be right.
    fn check(&mut self, index: &Definition) -> Result<()>;

    /// Writes one segment from which `entries` can be searched, and returns its number. `parts` are what this
    /// plugin, or another one, made of some of them before, the largest first: use those that can be read.
    /// Entries that are in none of them are new.
    ///
    /// # Errors
    /// Any; the entries are then searched without the plugin, and it is tried again.
    fn build(
        &mut self,
        index: &Definition,
        entries: &Entries<'_>,
        parts: Vec<Part>,
        sink: &Sink<'_>,
    ) -> Result<u64>;

    /// Opens the `segment` that was built from `entries`.
    ///
    /// # Errors
    /// [`Error::corrupt`] when it is not what this plugin writes.
    fn open(
        &mut self,
        index: &Definition,
        entries: Entries<'static>,
        segment: Segment,
    ) -> Result<Self::Searcher>;

    /// Whether the plugin works at all; called when it is loaded. By default a small index of each sort that
    /// [`check`](Self::check) accepts without settings must find what comparing with all finds: half of the
    /// nearest vectors at least, and every value; and another must grow out of it.
    ///
    /// # Errors
    /// Any; the plugin is then not loaded.
    fn self_test(&mut self) -> Result<()> {
        self_test::self_test(self)
    }

    /// What the instance of the next version should know, when this plugin is replaced while the database
    /// serves. Asked only of a plugin with `max_instances = 1`. By default nothing.
    ///
    /// # Errors
    /// Any; the plugin is then not replaced.
    fn export_state(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Takes over what the instance of the version before exported; `version` is which one that was. By default
    /// it is let go.
    ///
    /// # Errors
    /// Any, such as a state that makes no sense; the plugin is then not replaced.
    fn import_state(&mut self, state: Vec<u8>, version: &str) -> Result<()> {
        let _ = (state, version);
        Ok(())
    }

    /// The last call when the database closes.
    ///
    /// # Errors
    /// Any; logged, and closing goes on.
    fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}

/// One segment of an index, open for searching. An index of vectors has [`search`](Self::search), an ordered one
/// [`lookup`](Self::lookup). Entries are given out at most once, and only those that are allowed.
pub trait IndexSearcher: 'static {
    /// The at least `k` allowed entries nearest to `query`, as far as `effort` finds them, nearest first;
    /// at most the larger of `k` and `effort`. Without an effort (0) the index chooses one, and may give as many.
    ///
    /// # Errors
    /// Any. By default `Invalid`, as an ordered index answers.
    fn search(
        &mut self,
        query: &Query<'_>,
        k: usize,
        effort: usize,
        allowed: &Allowed,
    ) -> Result<Vec<u32>> {
        let _ = (query, k, effort, allowed);
        Err(Error::invalid("an ordered index finds no nearest vectors"))
    }

    /// The first `limit` allowed entries whose value lies in `range`, growing by value and then by number;
    /// from the greatest on, falling, if `reverse`.
    ///
    /// # Errors
    /// Any. By default `Invalid`, as an index of vectors answers.
    fn lookup(
        &mut self,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
        allowed: &Allowed,
    ) -> Result<Vec<u32>> {
        let _ = (range, reverse, limit, allowed);
        Err(Error::invalid("an index of vectors has no values in a range"))
    }

    /// What is worth knowing of it, such as `edges` or `levels`. By default nothing.
    fn stats(&self) -> Vec<(String, f64)> {
        Vec::new()
    }
}

/// How near two vectors are; the smaller a distance, the nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VectorMetric {
    /// 1 less the cosine of the angle between them, 0 to 2. A vector of zeros has distance 1 to all.
    Cosine,
    /// Their inner product, with the other sign.
    InnerProduct,
    /// The sum of the squared differences.
    SquaredEuclidean,
    /// One that this SDK does not know the name of; the host does.
    Other(u8),
}

impl VectorMetric {
    /// The metric of the contract's number, or `None` for entries of an ordered index.
    fn of(code: host::Metric) -> Option<VectorMetric> {
        match code {
            0 => None,
            1 => Some(VectorMetric::Cosine),
            2 => Some(VectorMetric::InnerProduct),
            3 => Some(VectorMetric::SquaredEuclidean),
            other => Some(VectorMetric::Other(other)),
        }
    }
}

/// What is being indexed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definition {
    /// The table, by its present name.
    pub table: String,
    /// The index.
    pub name: String,
    /// The column.
    pub column: String,
    /// How near two vectors are; `None` for an ordered index.
    pub metric: Option<VectorMetric>,
    /// The column's dimensions; 0 for an ordered index.
    pub dim: u32,
    /// The settings given when the index was created.
    pub options: BTreeMap<String, String>,
}

impl Definition {
    /// The setting `name` as a whole number, or `default`.
    ///
    /// # Errors
    /// `Invalid` when it is none, or lies outside of `range`.
    pub fn number(
        &self,
        name: &str,
        default: usize,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<usize> {
        let Some(text) = self.options.get(name) else { return Ok(default) };
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            Error::invalid(format!(
                "'{name}' is a whole number from {least} to {most}, but {text:?} was given"
            ))
        })
    }
}

impl From<contract::Definition> for Definition {
    fn from(index: contract::Definition) -> Definition {
        let contract::Definition { table, name, column, metric, dim, options } = index;
        let (metric, options) = (VectorMetric::of(metric), options.into_iter().collect());
        Definition { table, name, column, metric, dim, options }
    }
}

/// What a plugin made of some of the entries before.
pub struct Part {
    /// What it wrote.
    pub segment: Segment,
    /// For each of the entries it was made of: the number that it has now, or [`GONE`].
    pub numbers: Vec<u32>,
}

impl From<contract::Part> for Part {
    fn from(part: contract::Part) -> Part {
        Part { segment: Segment::of_host(part.segment), numbers: part.numbers }
    }
}

/// Turns calls of the contract into calls of [`Index`].
pub struct IndexGlue<P>(PhantomData<P>);

/// An open searcher, as the host holds it.
pub struct SearcherGlue<P: Index>(RefCell<P::Searcher>);

lifecycle!(IndexGlue: Index);

impl<P: Index + Instance> contract::Guest for IndexGlue<P> {
    type Searcher = SearcherGlue<P>;

    fn check(index: contract::Definition) -> std::result::Result<(), types::Error> {
        P::with(|plugin| plugin.check(&index.into()))
    }

    fn build(
        index: contract::Definition,
        entries: &host::Entries,
        parts: Vec<contract::Part>,
        sink: &segments::Sink,
    ) -> std::result::Result<u64, types::Error> {
        let (entries, sink) = (Entries::lent(entries), Sink::of_host(sink));
        let parts = parts.into_iter().map(Part::from).collect();
        P::with(|plugin| plugin.build(&index.into(), &entries, parts, &sink))
    }
}

impl<P: Index + Instance> contract::GuestSearcher for SearcherGlue<P> {
    fn open(
        index: contract::Definition,
        entries: host::Entries,
        segment: segments::Segment,
    ) -> std::result::Result<contract::Searcher, types::Error> {
        let (entries, segment) = (Entries::kept(entries), Segment::of_host(segment));
        let searcher = P::with(|plugin| plugin.open(&index.into(), entries, segment))?;
        Ok(contract::Searcher::new(SearcherGlue::<P>(RefCell::new(searcher))))
    }

    fn search(
        &self,
        query: &host::Query,
        k: u32,
        effort: u32,
        allowed: Vec<u64>,
    ) -> std::result::Result<Vec<u32>, types::Error> {
        let (query, allowed) = (Query::lent(query), Allowed::from(allowed));
        Ok(self.0.borrow_mut().search(&query, k as usize, effort as usize, &allowed)?)
    }

    fn lookup(
        &self,
        range: contract::KeyRange,
        reverse: bool,
        limit: u32,
        allowed: Vec<u64>,
    ) -> std::result::Result<Vec<u32>, types::Error> {
        let (range, allowed) = (key_range(range), Allowed::from(allowed));
        Ok(self.0.borrow_mut().lookup(&range, reverse, limit as usize, &allowed)?)
    }

    fn stats(&self) -> Vec<(String, f64)> {
        self.0.borrow().stats()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn a_setting_is_a_number_in_its_range_or_is_refused_by_its_name() {
        let options = [("m", "16"), ("alpha", "x")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let index = Definition { options: options.into(), ..Definition::default() };
        assert_eq!(index.number("m", 8, 2..=64), Ok(16));
        assert_eq!(index.number("l", 8, 2..=64), Ok(8));
        for (name, range) in [("alpha", 0..=9), ("m", 17..=64)] {
            let error = index.number(name, 8, range).unwrap_err();
            assert_eq!(error.code, ErrorCode::Invalid);
            assert!(error.text.contains(&format!("'{name}'")), "{}", error.text);
        }
    }
}

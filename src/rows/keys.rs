//! Ranges of keys and of indexed values, by what Rust has.
//!
//! An end is a value, or a tuple of the values of the first columns of the key. An end that names fewer columns than
//! the key has stands for all keys that begin so: included, they are all in the range, excluded, none of them is.

use super::error::RowError;
use super::write::key_values;
use serde::Serialize;
use sochdb_kernel::{KeyRange, Schema};
use std::ops::{Bound, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// Where a range of keys, or of values of a column, begins and ends: any range of Rust, or [`With`].
pub trait Bounds {
    /// What its ends are.
    type End: Serialize + ?Sized;

    /// Where it begins.
    fn start(&self) -> Bound<&Self::End>;

    /// Where it ends.
    fn end(&self) -> Bound<&Self::End>;
}

/// The rows whose key is this, or begins with these columns; in an index, the rows with this value.
///
/// ```
/// # use sochdb::Database;
/// use sochdb::rows::With;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Line {
///     order: u32,
///     line: u32,
///     article: String,
/// }
///
/// # fn main() -> sochdb::KernelResult<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let db = Database::open(directory.path())?;
/// let lines = db.typed_table::<Line>("lines", &["order", "line"])?;
/// db.run(|tx| {
///     let line = |order, line, article: &str| Line { order, line, article: article.into() };
///     lines.put_all(tx, &[line(1, 1, "tea"), line(2, 1, "cup"), line(2, 2, "pot")])
/// })?;
/// let tx = db.begin_read()?;
/// let second = lines.scan(&tx, With(2))?.map(|line| Ok(line?.article));
/// assert_eq!(second.collect::<sochdb::KernelResult<Vec<_>>>()?, ["cup", "pot"]);
/// # db.close()
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct With<K>(pub K);

impl<K: Serialize> Bounds for With<K> {
    type End = K;

    fn start(&self) -> Bound<&K> {
        Bound::Included(&self.0)
    }

    fn end(&self) -> Bound<&K> {
        Bound::Included(&self.0)
    }
}

impl Bounds for RangeFull {
    type End = ();

    fn start(&self) -> Bound<&()> {
        Bound::Unbounded
    }

    fn end(&self) -> Bound<&()> {
        Bound::Unbounded
    }
}

macro_rules! bounds_of_ranges {
    ($($range:ty)+) => {
        $(impl<K: Serialize> Bounds for $range {
            type End = K;

            fn start(&self) -> Bound<&K> {
                std::ops::RangeBounds::start_bound(self)
            }

            fn end(&self) -> Bound<&K> {
                std::ops::RangeBounds::end_bound(self)
            }
        })+
    };
}
bounds_of_ranges! { Range<K> RangeInclusive<K> RangeFrom<K> RangeTo<K> RangeToInclusive<K> (Bound<K>, Bound<K>) }

/// The keys of `schema` that lie within `bounds`.
pub(crate) fn key_range<B: Bounds>(schema: &Schema, bounds: &B) -> Result<KeyRange, RowError> {
    let begin = |key: &B::End| {
        let values = key_values(schema, key)?;
        let begin = schema.encode_key_values(&values);
        // Every key that begins with these values, and no other, begins with these bytes.
        begin
            .map(|begin| KeyRange::prefix(&begin))
            .map_err(|error| RowError::new(error.to_string().replacen("invalid: ", "", 1)))
    };
    let start = match bounds.start() {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(key) => begin(key)?.start,
        Bound::Excluded(key) => flipped(begin(key)?.end),
    };
    let end = match bounds.end() {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(key) => begin(key)?.end,
        Bound::Excluded(key) => flipped(begin(key)?.start),
    };
    Ok(KeyRange { start, end })
}

/// Behind all that ends here, or before all that begins here.
fn flipped(bound: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match bound {
        Bound::Included(key) => Bound::Excluded(key),
        Bound::Excluded(key) => Bound::Included(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

//! What a table's owner may choose, and the table's columns.
//!
//! | option       | values  | default | meaning                                                       |
//! |--------------|---------|---------|---------------------------------------------------------------|
//! | `segment_mb` | 1 - 256 |       8 | about how large a segment gets, in MiB as written, before a codec |
//!
//! `ttl` and `ttl_column` are the database's own, which deletes what has expired; any value is taken here.

use std::collections::BTreeMap;

use sochdb_guest::encoding::row::{Column, Schema};

use crate::{Error, Result};

/// The default of `segment_mb`: a merge of one segment with ten others below it stays near 100 MB.
const SEGMENT_MB: u64 = 8;
/// The greatest: indexes and filters of a segment are read as a whole.
const SEGMENT_MB_MAX: u64 = 256;

/// Settings of a table that the database itself keeps to.
const OF_THE_DATABASE: [&str; 2] = ["ttl", "ttl_column"];

/// A table's options and its columns.
#[derive(Debug, Clone)]
pub struct Options {
    schema: Option<Schema>,
    segment_bytes: u64,
    codec_follows: bool,
}

impl Options {
    /// The options of a table with `schema`, which has none when its values are plain bytes.
    ///
    /// # Errors
    /// `Invalid` for an option that this module does not name, or a value it does not allow.
    pub fn new(schema: Option<Schema>, options: &BTreeMap<String, String>) -> Result<Options> {
        let mut segment_mb = SEGMENT_MB;
        for (name, value) in
            options.iter().filter(|(name, _)| !OF_THE_DATABASE.contains(&&name[..]))
        {
            if name != "segment_mb" {
                return Err(Error::Invalid(format!(
                    "there is no option '{name}', only 'segment_mb'"
                )));
            }
            let number = value.parse().ok().filter(|number| (1..=SEGMENT_MB_MAX).contains(number));
            let bounds =
                || Error::Invalid(format!("segment_mb is 1 to {SEGMENT_MB_MAX}, not '{value}'"));
            segment_mb = number.ok_or_else(bounds)?;
        }
        Ok(Options { schema, segment_bytes: segment_mb << 20, codec_follows: false })
    }

    /// The same with segments of about `bytes` bytes, for tests that want them small.
    pub fn with_segment_bytes(mut self, bytes: u64) -> Options {
        self.segment_bytes = bytes;
        self
    }

    /// The same for a table whose segments a codec compresses (or does not): then strings are left to it.
    pub fn with_codec(mut self, codec_follows: bool) -> Options {
        self.codec_follows = codec_follows;
        self
    }

    pub(crate) fn codec_follows(&self) -> bool {
        self.codec_follows
    }

    /// The table's schema, if it has one.
    pub fn schema(&self) -> Option<&Schema> {
        self.schema.as_ref()
    }

    /// About how large a segment gets.
    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The columns outside the key, in the order of a row's value.
    pub(crate) fn stored(&self) -> impl Iterator<Item = &Column> {
        self.schema.iter().flat_map(|schema| {
            let columns = schema.columns.iter().enumerate();
            columns.filter(|(position, _)| !schema.key.contains(position)).map(|(_, column)| column)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_nothing_else_is_taken() {
        let new =
            |name: &str, value: &str| Options::new(None, &[(name.into(), value.into())].into());
        assert_eq!(Options::new(None, &BTreeMap::new()).unwrap().segment_bytes(), 8 << 20);
        assert_eq!(new("ttl", "1h").unwrap().segment_bytes(), 8 << 20);
        assert_eq!(new("segment_mb", "256").unwrap().segment_bytes(), 256 << 20);
        for (name, value) in
            [("segment_mb", "0"), ("segment_mb", "257"), ("segment_mb", "x"), ("block", "1")]
        {
            assert!(matches!(new(name, value), Err(Error::Invalid(_))), "{name} = {value}");
        }
    }
}

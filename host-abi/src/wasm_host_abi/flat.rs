//! Rows and keys as the contract carries them: a few flat lists, so that any number crosses in a few copies.
//!
//! What a guest sends is checked here before anything believes it; what is wrong is said in words.

use super::GuestError;
use super::base_bindings::sochdb::plugin::types::{Batch, Keys};
use super::types::code;

/// What the states of rows and answers mean.
pub(crate) mod state {
    pub(crate) const UNKNOWN: u8 = 0;
    pub(crate) const DELETED: u8 = 1;
    pub(crate) const VALUE: u8 = 2;
}

/// A row: its key, and its value unless it was deleted.
pub(crate) type Row<'a> = (&'a [u8], Option<&'a [u8]>);

/// The parts of `bytes` that `ends` tell, one per element of `count`.
pub(crate) fn split<'a>(
    bytes: &'a [u8],
    ends: &[u32],
    count: usize,
    what: &str,
) -> Result<Vec<&'a [u8]>, String> {
    if ends.len() != count {
        return Err(format!("{} ends of {what} for {count} rows", ends.len()));
    }
    let mut start = 0;
    let mut parts = Vec::with_capacity(count);
    for &end in ends {
        let part = bytes.get(start..end as usize);
        parts.push(part.ok_or_else(|| format!("the ends of {what} do not fit its bytes"))?);
        start = end as usize;
    }
    if start == bytes.len() { Ok(parts) } else { Err(format!("bytes after the last of {what}")) }
}

fn invalid(why: String) -> GuestError {
    GuestError::answer(code::INVALID, why)
}

/// The keys that a guest sent.
///
/// # Errors
/// `invalid` when the lists do not fit together.
pub(crate) fn keys(keys: &Keys) -> Result<Vec<&[u8]>, GuestError> {
    split(&keys.bytes, &keys.ends, keys.ends.len(), "keys").map_err(invalid)
}

/// The rows that a guest sent.
///
/// # Errors
/// `invalid` when the lists do not fit together, the keys do not grow, or a state does not exist.
pub(crate) fn rows(batch: &Batch) -> Result<Vec<Row<'_>>, GuestError> {
    let count = batch.states.len();
    let keys = split(&batch.keys, &batch.key_ends, count, "keys").map_err(invalid)?;
    let values = split(&batch.values, &batch.value_ends, count, "values").map_err(invalid)?;
    if keys.windows(2).any(|pair| pair[1] <= pair[0]) {
        return Err(invalid("the keys of a batch do not grow".into()));
    }
    let mut rows = Vec::with_capacity(count);
    for ((key, value), state) in keys.into_iter().zip(values).zip(&batch.states) {
        rows.push(match *state {
            state::VALUE => (key, Some(value)),
            state::DELETED if value.is_empty() => (key, None),
            other => {
                let why = format!("a row of {} bytes in the state {other}", value.len());
                return Err(invalid(why));
            }
        });
    }
    Ok(rows)
}

/// Rows on their way to a guest.
#[derive(Default)]
pub(crate) struct Builder {
    keys: Vec<u8>,
    key_ends: Vec<u32>,
    values: Vec<u8>,
    value_ends: Vec<u32>,
    states: Vec<u8>,
}

impl Builder {
    /// Adds a row. The caller ends a batch long before 4 GiB.
    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        self.keys.extend_from_slice(key);
        self.values.extend_from_slice(value.unwrap_or_default());
        self.key_ends.push(self.keys.len() as u32);
        self.value_ends.push(self.values.len() as u32);
        self.states.push(if value.is_some() { state::VALUE } else { state::DELETED });
    }

    /// Rows so far.
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// Bytes of keys and values so far.
    pub(crate) fn bytes(&self) -> usize {
        self.keys.len() + self.values.len()
    }

    pub(crate) fn finish(self) -> Batch {
        let Builder { keys, key_ends, values, value_ends, states } = self;
        Batch { keys, key_ends, values, value_ends, states }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(keys: &[&[u8]], ends: &[u32], states: &[u8]) -> Batch {
        Batch {
            keys: keys.concat(),
            key_ends: ends.to_vec(),
            values: vec![],
            value_ends: vec![0; states.len()],
            states: states.to_vec(),
        }
    }

    #[test]
    fn lists_that_do_not_fit_together_are_invalid() {
        assert_eq!(rows(&batch(&[b"a", b"b"], &[1, 2], &[2, 1])).unwrap().len(), 2);
        for wrong in [
            batch(&[b"a", b"b"], &[1], &[2, 2]),
            batch(&[b"a", b"b"], &[1, 3], &[2, 2]),
            batch(&[b"a", b"b"], &[1, 1], &[2, 2]),
            batch(&[b"a", b"b"], &[2, 1], &[2, 2]),
            batch(&[b"b", b"a"], &[1, 2], &[2, 2]),
            batch(&[b"a", b"a"], &[1, 2], &[2, 2]),
            batch(&[b"a", b"b"], &[1, u32::MAX], &[2, 2]),
            batch(&[b"a", b"b"], &[1, 2], &[2, 0]),
            batch(&[b"a", b"b"], &[1, 2], &[2, 9]),
        ] {
            assert_eq!(rows(&wrong).unwrap_err().code, code::INVALID);
        }
    }
}

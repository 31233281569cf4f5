//! Point reads over a list of segments.

use std::sync::Arc;

use crate::segment::SegmentReader;
use crate::{Result, SegmentSource, bloom};

/// What a list of segments knows about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// No segment has it.
    Absent,
    /// The newest segment that has it says it was deleted.
    Deleted,
    /// Its newest value.
    Found(Vec<u8>),
}

/// Looks up each of `keys` in `segments` (oldest first); answers in the order of the keys.
///
/// Each segment is visited once, and keys are taken in sorted order, so that a block is read once
/// however many of the keys lie in it.
///
/// # Errors
/// `Corrupt` or `Unavailable` when a block that must be read cannot be.
pub fn multi_get<S: SegmentSource>(
    segments: &[Arc<SegmentReader<S>>],
    keys: &[impl AsRef<[u8]>],
) -> Result<Vec<Lookup>> {
    let mut answers = vec![Lookup::Absent; keys.len()];
    let mut open: Vec<_> = (0..keys.len()).map(|i| (i, bloom::hash(keys[i].as_ref()))).collect();
    open.sort_unstable_by_key(|&(i, _)| keys[i].as_ref());
    for segment in segments.iter().rev() {
        let (mut block, mut left) = (None, Vec::new());
        for (i, hash) in open {
            let key = keys[i].as_ref();
            let Some(position) = segment.locate(key, hash) else {
                left.push((i, hash));
                continue;
            };
            let block = match block.take() {
                Some((at, held)) if at == position => block.insert((at, held)),
                _ => block.insert((position, segment.block(position)?)),
            };
            match block.1.find(key)? {
                None => left.push((i, hash)),
                Some(row) => {
                    let value = block.1.value(row)?;
                    answers[i] = value.map_or(Lookup::Deleted, |value| Lookup::Found(value.into()));
                }
            }
        }
        open = left;
    }
    Ok(answers)
}

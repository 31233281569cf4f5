//! Calls of late, remembered so that a new version can be asked them again.
//!
//! Of each function the first [`SAMPLES_MAX`] calls are remembered, and after those one in [`CALLS_PER_SAMPLE`],
//! each in the place of the oldest. A call that is not remembered costs one relaxed addition; nobody waits for
//! somebody who remembers.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Calls of one function that are remembered.
pub(crate) const SAMPLES_MAX: usize = 8;
/// Of so many calls one is remembered, once there are some. A prime, so that no rhythm of callers hides behind it.
const CALLS_PER_SAMPLE: u64 = 1021;
/// 64 KiB. Calls with larger inputs are not remembered.
pub(crate) const SAMPLE_BYTES_MAX: usize = 64 << 10;

/// Some calls of one function.
pub(crate) struct Samples<T> {
    calls: AtomicU64,
    kept: Mutex<VecDeque<Arc<T>>>,
}

impl<T> Default for Samples<T> {
    fn default() -> Samples<T> {
        Samples { calls: AtomicU64::new(0), kept: Mutex::default() }
    }
}

impl<T> Samples<T> {
    /// Whether the call that comes now, with inputs of so many bytes, is one to remember.
    pub(crate) fn wants(&self, bytes: usize) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let is_chosen = call < SAMPLES_MAX as u64 || call.is_multiple_of(CALLS_PER_SAMPLE);
        is_chosen && bytes <= SAMPLE_BYTES_MAX
    }

    /// Remembers a call that was wanted.
    pub(crate) fn keep(&self, sample: T) {
        let Some(mut kept) = self.kept.try_lock() else { return };
        while SAMPLES_MAX <= kept.len() {
            kept.pop_front();
        }
        kept.push_back(Arc::new(sample));
    }

    /// The newest, at most `most`, from the oldest to the newest.
    pub(crate) fn list(&self, most: usize) -> Vec<Arc<T>> {
        let kept = self.kept.lock();
        kept.iter().skip(kept.len().saturating_sub(most)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_calls_are_remembered_and_then_one_in_many() {
        let samples = Samples::default();
        let mut remembered = Vec::new();
        for call in 0..3 * CALLS_PER_SAMPLE {
            if samples.wants(1) {
                samples.keep(call);
                remembered.push(call);
            }
        }
        let later = [CALLS_PER_SAMPLE, 2 * CALLS_PER_SAMPLE];
        assert_eq!(remembered, (0..8).chain(later).collect::<Vec<_>>());
        let list = |most| samples.list(most).iter().map(|call| **call).collect::<Vec<_>>();
        assert_eq!(list(SAMPLES_MAX), (2..8).chain(later).collect::<Vec<_>>());
        assert_eq!(list(1), [2 * CALLS_PER_SAMPLE]);
        assert!(list(0).is_empty());
    }

    #[test]
    fn what_is_too_large_is_not_remembered() {
        let samples = Samples::<()>::default();
        assert!(!samples.wants(SAMPLE_BYTES_MAX + 1));
        assert!(samples.wants(SAMPLE_BYTES_MAX));
    }
}

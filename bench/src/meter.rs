//! Time, processor time, bytes written, bytes on disk. What a process measures of itself is
//! [`bench_embedder::meter`]'s.

use crate::Result;
use std::path::Path;

pub use bench_embedder::meter::{Meter, memory_mb};

/// Bytes of all files below `path`.
pub fn dir_bytes(path: &Path) -> Result<f64> {
    let mut bytes = 0.0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        bytes += if is_dir { dir_bytes(&entry.path())? } else { entry.metadata()?.len() as f64 };
    }
    Ok(bytes)
}

/// The figure that a `share` of all figures does not exceed; 0 when there are none.
pub fn quantile(figures: &mut [f64], share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let index = (figures.len() as f64 * share) as usize;
    figures.get(index.min(figures.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The middle one, or the mean of the two in the middle.
pub fn median(mut figures: Vec<f64>) -> f64 {
    let upper = quantile(&mut figures, 0.5);
    let lower = figures.len().div_ceil(2).saturating_sub(1);
    (figures.get(lower).copied().unwrap_or_default() + upper) / 2.0
}

/// The median, if there is anything.
pub fn some_median(figures: Vec<f64>) -> Option<f64> {
    (!figures.is_empty()).then(|| median(figures))
}

/// Runs `work` once per item, each on a thread of its own, and hands back what each returned.
///
/// # Errors
/// The first error of any.
pub fn in_threads<I: Send, T: Send>(
    items: Vec<I>,
    work: impl Fn(I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let work = &work;
        let start = |item| scope.spawn(move || work(item));
        let running: Vec<_> = items.into_iter().map(start).collect();
        running.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_even_count_the_median_lies_between_the_two_in_the_middle() {
        assert_eq!(median(vec![4.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 8.0]), 3.0);
        assert_eq!(median(vec![5.0]), 5.0);
    }
}

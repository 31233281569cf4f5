//! What a codec is given of a table, for whoever wants to choose or train one.
//!
//! Of a table in a storage plugin those are the blocks of its segments, of one in the kernel's tree its large
//! values. They are taken evenly from all of it, as many as a bound allows: each is offered in turn, and whenever
//! there are too many, every other one goes and from then on half as many are taken.

use sochdb_kernel::inspect::{Segment, node};
use sochdb_kernel::limits::SEGMENT_BLOCK_BYTES;
use sochdb_kernel::plugin::SegmentRead;
use sochdb_kernel::{Kernel, KernelResult};

/// Blocks of the table `name` as its codec is given them, before they are compressed: at most `bytes_max`
/// bytes, evenly from all of it. Rows that no checkpoint has folded in yet are not among those of a storage plugin.
///
/// None come of a table that has nothing a codec would be asked for: rows in the kernel's tree whose values fit
/// into its pages.
///
/// # Errors
/// `NotFound`; `Plugin` when the codec of stored blocks is missing or fails; `Corrupt`, `Closed`.
///
/// ```
/// use sochdb_kernel::{Kernel, KernelResult, Options, TableOptions};
///
/// # fn main() -> KernelResult<()> {
/// let kernel = Kernel::open(sochdb_sim::memory(), Options::default())?;
/// kernel.create_table("texts", TableOptions::default())?;
/// kernel.run(|tx| tx.put("texts", b"short", b"not compressed"))?;
/// kernel.run(|tx| tx.put("texts", b"long", &[b'x'; 10_000]))?;
///
/// let samples = sochdb_operations::codec_samples(&kernel, "texts", 1 << 20)?;
/// assert_eq!(samples, [[b'x'; 10_000]]);
/// # Ok(())
/// # }
/// ```
pub fn codec_samples(kernel: &Kernel, name: &str, bytes_max: usize) -> KernelResult<Vec<Vec<u8>>> {
    let tx = kernel.begin_read()?;
    let info = tx.table(name)?;
    let mut samples = Samples::new(bytes_max);
    if info.options.storage.is_none() {
        for row in tx.scan(name, ..)? {
            let (_, value) = row?;
            if node::INLINE_BYTES_MAX < value.len() {
                samples.offer(|| Ok(value.to_vec()))?;
            }
        }
        return Ok(samples.kept);
    }
    let held = kernel.hold()?;
    for meta in held.bases.get(&info.id).iter().flat_map(|base| &base.segments) {
        let segment = Segment::new(meta.clone(), held.access().clone());
        let mut at = 0;
        while at < meta.raw {
            let len = (meta.raw - at).min(SEGMENT_BLOCK_BYTES as u64);
            samples.offer(|| Ok(segment.read_at(at, len as usize)?.to_vec()))?;
            at += len;
        }
    }
    Ok(samples.kept)
}

/// Samples that are thinned out as they grow.
struct Samples {
    kept: Vec<Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
    offered: usize,
    /// One of so many is taken.
    every: usize,
}

impl Samples {
    fn new(bytes_max: usize) -> Samples {
        Samples { kept: Vec::new(), bytes: 0, bytes_max, offered: 0, every: 1 }
    }

    /// Takes the sample that `read` reads, or does not read it.
    fn offer(&mut self, read: impl FnOnce() -> KernelResult<Vec<u8>>) -> KernelResult<()> {
        let number = self.offered;
        self.offered += 1;
        if !number.is_multiple_of(self.every) {
            return Ok(());
        }
        let sample = read()?;
        self.bytes += sample.len();
        self.kept.push(sample);
        while self.bytes_max < self.bytes {
            let is_only = self.kept.len() == 1;
            let mut stays = false;
            self.kept.retain(|_| {
                // The first stays, unless it alone is too large.
                stays = !stays && !is_only;
                stays
            });
            self.bytes = self.kept.iter().map(Vec::len).sum();
            self.every = self.every.saturating_mul(2);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(count: usize, bytes: usize, bytes_max: usize) -> Vec<usize> {
        let mut samples = Samples::new(bytes_max);
        for number in 0..count {
            samples.offer(|| Ok(number.to_le_bytes().repeat(bytes / 8))).unwrap();
        }
        assert_eq!(samples.bytes, samples.kept.iter().map(Vec::len).sum::<usize>());
        assert!(samples.bytes <= bytes_max);
        let number = |sample: &Vec<u8>| usize::from_le_bytes(sample[..8].try_into().unwrap());
        samples.kept.iter().map(number).collect()
    }

    #[test]
    fn samples_come_evenly_from_everything() {
        assert!(taken(100, 80, 8000).into_iter().eq(0..100), "all fit");
        for (count, bytes_max) in [(101, 8000), (1000, 8000), (12_345, 8000), (1000, 80)] {
            let taken = taken(count, 80, bytes_max);
            let fit = bytes_max / 80;
            assert!(fit / 2 <= taken.len() && taken.len() <= fit, "{} of {count}", taken.len());
            let steps: Vec<_> = taken.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(steps.windows(2).all(|pair| pair[0] == pair[1]), "{taken:?}");
        }
        assert_eq!(taken(10, 80, 79), [0; 0]);
        assert_eq!(taken(0, 80, 79), [0; 0]);
    }
}

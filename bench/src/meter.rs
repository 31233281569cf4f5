//! Time, processor time, bytes written, bytes on disk.

use crate::Result;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// What this process used since the meter was started.
pub struct Meter {
    start: Instant,
    cpu_us: f64,
    written: Option<i64>,
}

impl Meter {
    /// Starts now.
    pub fn start() -> Meter {
        Meter { written: written(), cpu_us: cpu_us(), start: Instant::now() }
    }

    /// Seconds since then.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Processor time of all threads since then, user and system, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        cpu_us() - self.cpu_us
    }

    /// Bytes given to write calls since then; `None` where the operating system does not tell.
    pub fn written(&self) -> Option<f64> {
        Some((written()? - self.written?) as f64)
    }
}

fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Bytes that this process gave to write calls. `write_bytes` beside it is no measure of an engine: it counts a
/// whole folio of the page cache when one page of it becomes dirty, and takes back what a file held that is removed
/// before the operating system came to write it, such as a log.
fn written() -> Option<i64> {
    let io = std::fs::read_to_string("/proc/self/io").ok()?;
    io.lines().find_map(|line| line.strip_prefix("wchar:"))?.trim().parse().ok()
}

/// What `/proc/self/status` says of this process's memory under `name`, in megabytes of 10^6 bytes: `VmRSS` is what it
/// has, `VmHWM` the most it ever had, `RssAnon` what no file stands behind. `None` where there is no such file.
pub fn memory_mb(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// The bytes of all files in memory from which this process maps something, in megabytes of 10^6 bytes, whether it touched
/// them or not: the system keeps them whole. `None` where the operating system does not tell.
pub fn memory_files_mb() -> Option<f64> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mut ends = BTreeMap::new();
    for (inode, end) in maps.lines().filter_map(memory_file) {
        let known = ends.entry(inode).or_insert(0);
        *known = end.max(*known);
    }
    Some(ends.into_values().sum::<u64>() as f64 / 1e6)
}

/// Of a line of `/proc/self/maps` the inode and where in it the mapping ends, if it is of a file in memory:
/// `7f00-7f10 r--p 00001000 00:01 5100 /memfd:code (deleted)`.
fn memory_file(line: &str) -> Option<(&str, u64)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (offset, inode, name) = (fields.nth(1)?, fields.nth(1)?, fields.next()?);
    let number = |text| u64::from_str_radix(text, 16).ok();
    let end = number(offset)? + number(end)? - number(start)?;
    name.starts_with("/memfd:").then_some((inode, end))
}

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

    #[test]
    fn a_file_in_memory_reaches_to_where_its_mapping_ends() {
        let line = "7f0000002000-7f0000005000 r--p 00001000 00:01 5100      /memfd:code (deleted)";
        assert_eq!(memory_file(line), Some(("5100", 0x4000)));
        for other in
            ["7f00-7f10 r--p 00000000 fe:00 12 /usr/bin/bench", "7f00-7f10 rw-p 0 0:0 0", ""]
        {
            assert_eq!(memory_file(other), None);
        }
    }
}

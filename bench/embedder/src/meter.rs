//! What a process took: time, processor time, bytes written, memory.

use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
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

#[cfg(test)]
mod tests {
    use super::*;

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

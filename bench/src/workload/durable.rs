//! Synced commits: of one new row each, by one thread and by many at once, and of YCSB's mix A.
//!
//! What the bare disk does is measured before and after. The table leaves rounds out in which it was slow.

use super::{Bench, Found, check, ycsb};
use crate::Result;
use crate::meter::{Meter, in_threads, quantile};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::Instant;

/// Threads, and their commits together as a multiple of the setting.
const CROWDS: [(u64, u64); 3] = [(1, 1), (8, 2), (64, 4)];

/// Bytes of one write to the bare disk.
const BLOCK_BYTES: usize = 4096;
/// Commits of one thread to one write to the bare disk.
const COMMITS_PER_WRITE: u64 = 10;

/// Writes over a file's blocks, with a sync each: what an engine could reach now if a commit were nothing else.
fn disk(bench: &Bench<'_>) -> Result<f64> {
    std::fs::create_dir_all(&bench.fresh)?;
    let file = File::create(bench.fresh.join("blocks"))?;
    let writes = bench.settings.commits.div_ceil(COMMITS_PER_WRITE);
    let block = [7; BLOCK_BYTES];
    (0..writes).try_for_each(|_| (&file).write_all(&block))?;
    file.sync_all()?;
    let meter = Meter::start();
    for index in 0..writes {
        file.write_all_at(&block, index * BLOCK_BYTES as u64)?;
        file.sync_data()?;
    }
    let rate = writes as f64 / meter.seconds();
    std::fs::remove_dir_all(&bench.fresh)?;
    Ok(rate)
}

/// Runs each crowd.
pub fn puts(bench: &Bench<'_>) -> Result<Found> {
    let engine = bench.open(&bench.path, true)?;
    let mut from = bench.settings.rows;
    let mut found = Vec::new();
    let disk_before = disk(bench)?;
    for (threads, factor) in CROWDS {
        let each = (bench.settings.commits * factor).div_ceil(threads);
        let numbers: Vec<u64> = (from..from + threads * each).collect();
        from += threads * each;
        let shares = numbers.chunks(each as usize);
        let shares: Vec<Vec<_>> =
            shares.map(|share| share.iter().map(|&n| bench.values().row(n, 0)).collect()).collect();
        let meter = Meter::start();
        let times = in_threads(shares, |rows| {
            let mut times = Vec::with_capacity(rows.len());
            for row in rows {
                let start = Instant::now();
                engine.put(&[row])?;
                times.push(start.elapsed().as_secs_f64() * 1e3);
            }
            Ok(times)
        })?;
        let (seconds, cpu_us) = (meter.seconds(), meter.cpu_us());
        check(bench.values(), &*engine, &numbers, 0)?;
        let (rate, cpu_us) = (numbers.len() as f64 / seconds, cpu_us / numbers.len() as f64);
        match threads {
            1 => found.extend([("durable_1", rate), ("durable_1_cpu_us", cpu_us)]),
            8 => {
                let slow = quantile(&mut times.concat(), 0.999);
                found.extend([("durable_8", rate), ("durable_8_cpu_us", cpu_us)]);
                found.push(("durable_8_p999_ms", slow));
            }
            _ => found.extend([("durable_64", rate), ("durable_64_cpu_us", cpu_us)]),
        }
    }
    let (rate, cpu_us) = ycsb::synced(bench, &*engine)?;
    found.extend([("ycsb_a_synced", rate), ("ycsb_a_synced_cpu_us", cpu_us)]);
    engine.close()?;
    found.push(("durable_disk", disk_before.min(disk(bench)?)));
    Ok(found)
}

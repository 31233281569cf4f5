//! The most memory that a process has at any moment which loads all rows and reads some of them.
//!
//! The process does nothing else, and makes each batch when its turn has come: what it has before the database is opened
//! does not count. A file that an engine maps into memory counts as far as it was touched.

use super::{Bench, Found, Job};
use crate::Result;
use crate::data::{BATCH_ROWS, key};
use crate::engine::{self, Setup};
use crate::meter::memory_mb;
use fastrand::Rng;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What such a process is asked to do.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Weighed {
    job: Job,
    path: PathBuf,
}

/// Starts that process; nothing where the operating system does not tell.
pub fn peak(bench: &Bench<'_>) -> Result<Found> {
    let job = Job { kind: bench.kind, settings: bench.settings.clone(), seed: bench.seed };
    let weighed = serde_json::to_string(&Weighed { job, path: bench.fresh.clone() })?;
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.args(["weighed", &weighed]).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the process that is weighed ended with {}", output.status).into());
    }
    std::fs::remove_dir_all(&bench.fresh)?;
    let peak: Option<f64> = serde_json::from_slice(&output.stdout)?;
    Ok(peak.map(|peak| ("peak_mb", peak)).into_iter().collect())
}

/// Loads and reads; prints the megabytes.
///
/// # Errors
/// Whatever the engine returns.
pub fn weighed(weighed: &Weighed) -> Result<()> {
    let Weighed { job, path } = weighed;
    let (settings, values) = (&job.settings, job.settings.values());
    let before = memory_mb("VmRSS");
    let (cache_bytes, memtable_bytes) = (settings.cache_bytes, settings.memtable_bytes);
    let setup = Setup { path, cache_bytes, memtable_bytes, synced: false, zstd: false };
    let engine = engine::open(job.kind, &setup)?;
    let mut from = 0;
    while from < settings.rows {
        let to = settings.rows.min(from + BATCH_ROWS);
        let rows: Vec<_> = (from..to).map(|number| values.row(number, 0)).collect();
        engine.put(&rows)?;
        from = to;
    }
    engine.settle()?;
    let (mut rng, mut found) = (Rng::with_seed(job.seed), 0);
    engine.read(&mut |reader| {
        for _ in 0..settings.operations {
            let is_there = reader.get(&key(rng.u64(0..settings.rows)), &mut |_| {})?;
            found += u64::from(is_there);
        }
        Ok(())
    })?;
    if found != settings.operations {
        return Err(format!("{found} of {} reads found a row", settings.operations).into());
    }
    let peak = memory_mb("VmHWM").zip(before).map(|(peak, before)| peak - before);
    println!("{}", serde_json::to_string(&peak)?);
    engine.close()
}

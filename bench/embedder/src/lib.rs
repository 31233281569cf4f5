//! A program that embeds the database: it opens one, reads a row of each table, has all plugins loaded, is idle, and says
//! what all that took. `bench footprint` starts it again and again.
//!
//! It is a program of its own because of what it does not contain. `bench` has the peers in it, and pages of a program's
//! file are part of its memory.

pub mod meter;

use meter::{Meter, memory_files_mb, memory_mb};
use serde::{Deserialize, Serialize};
use sochdb::Database;
use std::path::PathBuf;
use std::time::Duration;

/// What such a process is asked to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// The database's directory.
    pub path: PathBuf,
    /// Tables that have a row of the key zero, four bytes.
    pub tables: Vec<String>,
    /// Seconds.
    pub idle: f64,
}

/// One start of a process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Start {
    /// Until the database was open; plugins are loaded when somebody needs them.
    pub open_ms: f64,
    /// Until a row of each table was read, too.
    pub first_rows_ms: f64,
    /// Until all plugins were loaded, which is what counts.
    pub all_ms: f64,
    /// Processor time of all that.
    pub all_cpu_ms: f64,
    /// How many plugins these are.
    pub plugins: usize,
    /// When it was idle, with all of its files in memory; `None` where the operating system does not tell.
    pub idle_mb: Option<f64>,
    /// Of that what no file on disk stands behind: its own memory,
    pub anonymous_mb: Option<f64>,
    /// and files in memory, which have the plugins' code.
    pub memory_files_mb: Option<f64>,
}

/// Opens the database, loads all plugins, and is idle.
///
/// # Errors
/// What the database says.
pub fn start(job: &Job) -> Result<Start, Box<dyn std::error::Error + Send + Sync>> {
    let meter = Meter::start();
    let db = Database::open(&job.path)?;
    let open_ms = meter.seconds() * 1e3;
    let read = db.begin_read()?;
    for table in &job.tables {
        read.get(table, &0_u32.to_be_bytes())?.ok_or("a row is missing")?;
    }
    drop(read);
    let first_rows_ms = meter.seconds() * 1e3;
    let plugins = db.plugin_host()?.list().len();
    let (all_ms, all_cpu_ms) = (meter.seconds() * 1e3, meter.cpu_us() / 1e3);
    std::thread::sleep(Duration::from_secs_f64(job.idle));
    let (anonymous_mb, memory_files_mb) = (memory_mb("RssAnon"), memory_files_mb());
    let parts = [memory_mb("RssFile"), anonymous_mb, memory_files_mb];
    db.close()?;
    Ok(Start {
        open_ms,
        first_rows_ms,
        all_ms,
        all_cpu_ms,
        plugins,
        idle_mb: parts.into_iter().sum(),
        anonymous_mb,
        memory_files_mb,
    })
}

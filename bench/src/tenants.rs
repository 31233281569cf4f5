//! One tenant at its limits, and what another one notices of it.
//!
//! `quiet` calls a procedure that reads a thousand rows, again and again, and each call is timed: first
//! alone, then while `loud` calls the same procedure of the same plugin from eight threads, and asks for
//! memory and endless loops in between; when it is refused, it waits 5 ms before it asks again. Once `loud` has no quota, once it has.

use crate::Result;
use crate::meter::quantile;
use crate::outcome::{Outcome, Sheet, words};
use serde::Serialize;
use sochdb_host_abi::{PluginHost, Tenant, TenantOptions, Transaction};
use sochdb_kernel::{Kernel, Options, TableOptions, TransactionOptions};
use sochdb_test_guests::{LEDGER, manifest};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long.
#[derive(Debug, clap::Args)]
pub struct Settings {
    /// Seconds of each part
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// Threads of the loud tenant
    #[arg(long, default_value_t = 8)]
    pub threads: usize,
    /// Whether it works: a quarter of a second a part
    #[arg(long)]
    pub quick: bool,
    /// JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

/// What one part came to.
#[derive(Debug, Serialize)]
struct Line {
    loud: &'static str,
    quiet_calls_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    loud_calls_per_second: f64,
    refused_per_second: f64,
}

/// The nanoseconds of each quiet call, and how many loud ones were done and refused.
type Part = (Vec<u64>, [u64; 2]);

/// How long a caller waits that was refused; asking again at once would use the processor for nothing.
const PATIENCE: Duration = Duration::from_millis(5);

struct World {
    kernel: Kernel,
    host: PluginHost,
}

/// Measures the parts.
///
/// # Errors
/// When a call of the quiet tenant fails.
pub fn run(settings: &Settings) -> Result<Outcome> {
    let seconds = if settings.quick { 0.25 } else { settings.seconds };
    let world = world()?;
    let quiet = world.tenant("quiet", TenantOptions::default())?;
    let bounded = TenantOptions {
        fuel_per_second: Some(50_000_000),
        memory_bytes_max: Some(8 << 20),
        calls_max: Some(1),
        ..TenantOptions::default()
    };
    let mut lines = Vec::new();
    for (name, loud) in [
        ("absent", None),
        ("with quotas: 1 call at once, 50 M fuel/s, 8 MiB", Some(bounded)),
        ("without quotas", Some(TenantOptions::default())),
    ] {
        let loud = loud.map(|options| world.tenant("loud", options)).transpose()?;
        let length = Duration::from_secs_f64(seconds);
        let (times, [done, refused]) =
            world.part(&quiet, loud.as_ref(), length, settings.threads)?;
        let mut us: Vec<f64> = times.iter().map(|nanos| *nanos as f64 / 1e3).collect();
        lines.push(Line {
            loud: name,
            quiet_calls_per_second: us.len() as f64 / seconds,
            p50_us: quantile(&mut us, 0.5),
            p99_us: quantile(&mut us, 0.99),
            p999_us: quantile(&mut us, 0.999),
            loud_calls_per_second: done as f64 / seconds,
            refused_per_second: refused as f64 / seconds,
        });
    }
    let mut outcome = Outcome::of(&lines)?;
    let note = format!("{} threads of the loud tenant, {seconds} s a part.", settings.threads);
    outcome.sheets.push(sheet(&lines, note));
    let [alone, beside] = [0, 1].map(|at| &lines[at]);
    let figures = [
        ("quiet_p50_times", beside.p50_us / alone.p50_us),
        ("quiet_p99_times", beside.p99_us / alone.p99_us),
    ];
    outcome.summary = figures.map(|(id, figure)| (id.to_owned(), figure)).into();
    Ok(outcome)
}

fn sheet(lines: &[Line], note: String) -> Sheet {
    let head = words([
        "loud tenant",
        "quiet: calls/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "loud: calls/s",
        "refused/s",
    ]);
    let row = |line: &Line| {
        let Line { quiet_calls_per_second, p50_us, p99_us, p999_us, .. } = *line;
        let Line { loud_calls_per_second, refused_per_second, .. } = *line;
        let figures = [quiet_calls_per_second, p50_us, p99_us, p999_us];
        let figures = figures.into_iter().chain([loud_calls_per_second, refused_per_second]);
        let figures = figures.map(|figure| format!("{figure:.0}"));
        [line.loud.to_owned()].into_iter().chain(figures).collect()
    };
    let (name, title) = ("tenants".to_owned(), String::new());
    Sheet { name, title, head, words: 1, rows: lines.iter().map(row).collect(), note }
}

fn world() -> Result<World> {
    let kernel = Kernel::open(sochdb_sim::memory(), Options::default())?;
    let host = PluginHost::new()?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("ledger.wasm"), LEDGER)?;
    let path = folder.path().join("ledger.toml");
    let grant = "[capabilities]\ncan_read_table = [\"accounts\"]\n[resources]\nfuel_limit = 50_000_000\ntimeout_ms = 100\n";
    std::fs::write(&path, manifest("ledger", "procedure", grant))?;
    host.load_manifest(&path, kernel.plugins())?;
    for tenant in ["quiet", "loud"] {
        let table = format!("{tenant}/accounts");
        kernel.create_table(&table, TableOptions::default())?;
        kernel.run(|tx| {
            (0..1000).try_for_each(|n| tx.put(&table, format!("{n:08}").as_bytes(), b"1"))
        })?;
    }
    Ok(World { kernel, host })
}

impl World {
    fn tenant(&self, name: &str, options: TenantOptions) -> Result<Arc<Tenant>> {
        let plugins = ["ledger".to_owned()].into();
        Ok(self.host.tenants().set(name, TenantOptions { plugins, ..options })?)
    }

    fn call(&self, tenant: &Arc<Tenant>, procedure: &str) -> bool {
        let read = TransactionOptions { read_only: true, ..TransactionOptions::default() };
        let tx = Transaction::begin(&self.kernel, self.host.programs(), Some(tenant), read);
        tx.and_then(|mut tx| tx.call(procedure, "{}")).is_ok()
    }

    /// Runs one part.
    fn part(
        &self,
        quiet: &Arc<Tenant>,
        loud: Option<&Arc<Tenant>>,
        length: Duration,
        threads: usize,
    ) -> Result<Part> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let noise = |loud: &Arc<Tenant>| {
                let (mut done, mut refused, mut turn) = (0_u64, 0_u64, 0_u64);
                while !is_over.load(Ordering::Relaxed) {
                    turn += 1;
                    let procedure =
                        if turn.is_multiple_of(100) { "ledger.spin" } else { "ledger.sum" };
                    match self.call(loud, procedure) {
                        true => done += 1,
                        false => {
                            refused += 1;
                            thread::sleep(PATIENCE);
                        }
                    }
                }
                (done, refused)
            };
            let noises: Vec<_> = loud
                .into_iter()
                .flat_map(|loud| std::iter::repeat_n(loud, threads))
                .map(|loud| scope.spawn(move || noise(loud)))
                .collect();
            let began = Instant::now();
            let mut times = Vec::new();
            while began.elapsed() < length {
                let call = Instant::now();
                if !self.call(quiet, "ledger.sum") {
                    is_over.store(true, Ordering::Relaxed);
                    return Err("a quiet call failed".into());
                }
                times.push(call.elapsed().as_nanos() as u64);
            }
            is_over.store(true, Ordering::Relaxed);
            let mut counts = [0; 2];
            for noise in noises {
                let (done, refused) = noise.join().expect("noise does not panic");
                counts[0] += done;
                counts[1] += refused;
            }
            Ok((times, counts))
        })
    }
}

//! One tenant at its limits, and what another one notices of it.
//!
//! `quiet` calls a procedure that reads a thousand rows, again and again, and each call is timed: first
//! alone, then while `loud` calls the same procedure of the same plugin from eight threads, and asks for
//! memory and endless loops in between; when it is refused, it waits 5 ms before it asks again. Once `loud` has no quota, once it has.

use crate::Result;
use comfy_table::{CellAlignment, Table, presets};
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
}

/// The nanoseconds of each quiet call, and how many loud ones were done and refused.
type Part = (Vec<u64>, [u64; 2]);

/// How long a caller waits that was refused; asking again at once would use the processor for nothing.
const PATIENCE: Duration = Duration::from_millis(5);

struct World {
    kernel: Kernel,
    host: PluginHost,
}

/// Measures and prints.
pub fn run(settings: &Settings) -> Result<()> {
    let world = world()?;
    let quiet = world.tenant("quiet", TenantOptions::default())?;
    let bounded = TenantOptions {
        fuel_per_second: Some(50_000_000),
        memory_bytes_max: Some(8 << 20),
        calls_max: Some(1),
        ..TenantOptions::default()
    };
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "loud tenant",
        "quiet: calls/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "loud: calls/s",
        "refused/s",
    ]);
    for (name, loud) in [
        ("absent", None),
        ("with quotas: 1 call at once, 50 M fuel/s, 8 MiB", Some(bounded)),
        ("without quotas", Some(TenantOptions::default())),
    ] {
        let loud = loud.map(|options| world.tenant("loud", options)).transpose()?;
        let length = Duration::from_secs_f64(settings.seconds);
        let (mut times, [done, refused]) =
            world.part(&quiet, loud.as_ref(), length, settings.threads)?;
        times.sort_unstable();
        let at = |share: f64| {
            format!("{:.0}", times[((times.len() - 1) as f64 * share) as usize] as f64 / 1e3)
        };
        let rate = |count: u64| format!("{:.0}", count as f64 / settings.seconds);
        table.add_row([
            name.to_owned(),
            rate(times.len() as u64),
            at(0.5),
            at(0.99),
            at(0.999),
            rate(done),
            rate(refused),
        ]);
    }
    (1..7).for_each(|column| {
        table.column_mut(column).expect("there").set_cell_alignment(CellAlignment::Right);
    });
    println!(
        "{table}\n\n{} threads of the loud tenant, {} s a part.",
        settings.threads, settings.seconds
    );
    Ok(())
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

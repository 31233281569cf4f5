//! Instances, warm and cold starts, and how soon a runaway is stopped.

use super::{INSTANCE, RUNAWAY, Round, ms, us};
use crate::Result;
use sochdb_host_abi::compiled_code::{CodeCache, CompileOptions};
use sochdb_host_abi::{HostOptions, PluginHost, TenantOptions, Transaction};
use sochdb_kernel::plugin::PluginManager;
use sochdb_kernel::{Kernel, Options, TransactionOptions};
use sochdb_test_guests::{LEDGER, manifest};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const TIMEOUT: Duration = Duration::from_millis(20);

pub struct Starts {
    kernel: Kernel,
    host: PluginHost,
    cache: TempDir,
    rounds: u32,
}

impl Starts {
    pub fn new() -> Result<Starts> {
        let kernel = Kernel::open(sochdb_sim::memory(), Options::default())?;
        let host = PluginHost::new()?;
        let folder = tempfile::tempdir()?;
        for (name, more) in [
            ("ledger", String::new()),
            (
                "slow",
                format!(
                    "[resources]\nfuel_limit = 1_000_000_000_000\ntimeout_ms = {}\n",
                    TIMEOUT.as_millis()
                ),
            ),
        ] {
            std::fs::write(folder.path().join(format!("{name}.wasm")), LEDGER)?;
            let path = folder.path().join(format!("{name}.toml"));
            std::fs::write(&path, manifest(name, "procedure", &more))?;
            host.load_manifest(&path, kernel.plugins())?;
        }
        Ok(Starts { kernel, host, cache: tempfile::tempdir()?, rounds: 0 })
    }

    pub fn measure(&mut self, round: &mut Round) -> Result<()> {
        self.instances(round)?;
        let options = || -> Result<HostOptions> {
            let cache = Some(CodeCache::open(&self.cache.path().join("code"))?);
            let compile = CompileOptions { cache, ..CompileOptions::default() };
            Ok(HostOptions { compile, ..HostOptions::default() })
        };
        let start = |options: HostOptions| -> Result<f64> {
            let began = Instant::now();
            PluginHost::with(options)?.load_bundled(&PluginManager::default())?;
            Ok(began.elapsed().as_nanos() as f64)
        };
        start(options()?)?;
        round.add(
            ms("start of all bundled plugins, code from the cache"),
            start(options()?)?,
            None,
        );
        round.add(ms("the same, compiled"), start(HostOptions::default())?, None);
        self.runaways(round)
    }

    /// The first call of a tenant needs an instance of its own, a later one does not.
    fn instances(&mut self, round: &mut Round) -> Result<()> {
        let (mut first, mut later) = (0.0, 0.0);
        let tenants = 50;
        for n in 0..tenants {
            let name = format!("t{}-{n}", self.rounds);
            let plugins = ["ledger".to_owned()].into();
            let options = TenantOptions { plugins, ..TenantOptions::default() };
            let tenant = self.host.tenants().set(&name, options)?;
            let read = TransactionOptions { read_only: true, ..TransactionOptions::default() };
            let mut tx =
                Transaction::begin(&self.kernel, self.host.programs(), Some(&tenant), read)?;
            for total in [&mut first, &mut later] {
                let began = Instant::now();
                tx.call("ledger.empty", "null")?;
                *total += began.elapsed().as_nanos() as f64;
            }
            self.host.tenants().remove(&name);
        }
        self.rounds += 1;
        let instance = (first - later) / f64::from(tenants);
        round.add(us(INSTANCE), instance, None);
        Ok(())
    }

    fn runaways(&mut self, round: &mut Round) -> Result<()> {
        let read = TransactionOptions { read_only: true, ..TransactionOptions::default() };
        let mut tx = Transaction::begin(&self.kernel, self.host.programs(), None, read)?;
        let began = Instant::now();
        if tx.call("slow.spin", "null").is_ok() {
            return Err("a loop without end has ended".into());
        }
        let late = began.elapsed().saturating_sub(TIMEOUT).as_nanos() as f64;
        round.add(ms(RUNAWAY), late, None);
        // What was stopped three times in a row waits before it may again; the next round is another one.
        self.host.release("slow")?;
        Ok(())
    }
}

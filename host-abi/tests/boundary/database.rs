//! A database in memory with tables `t` and `u`, and guests that hook them or have procedures.

use crate::guest::manifest_of;
use sochdb_host_abi::{PluginHost, Tenant, TenantOptions, Transaction};
use sochdb_kernel::{Kernel, KernelResult, Options, TableOptions, TransactionOptions};
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

/// Both tables, and each other.
pub const GRANT: &str = "[capabilities]\ncan_read_table = [\"t\", \"u\"]\n\
    can_write_table = [\"t\", \"u\"]\ncan_call_plugin = [\"guest\", \"other\"]\n";
/// The same, and every change of `t`.
pub const HOOKED: &str = "[capabilities]\ncan_read_table = [\"t\", \"u\"]\n\
    can_write_table = [\"t\", \"u\"]\n[hooks]\ntables = [\"t\"]\n\
    before = [\"insert\", \"update\", \"delete\"]\nafter = [\"insert\", \"update\", \"delete\"]\n";

pub struct Database {
    pub kernel: Kernel,
    pub host: PluginHost,
    folder: TempDir,
}

impl Database {
    pub fn new() -> Database {
        let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).unwrap();
        for table in ["t", "u"] {
            kernel.create_table(table, TableOptions::default()).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        Database { kernel, host: PluginHost::new().unwrap(), folder }
    }

    /// Loads a component as the plugin `name` of this kind; `more` follows the head of `[resources]`.
    pub fn load(&self, name: &str, kind: &str, component: &[u8], more: &str) -> KernelResult<()> {
        let at = |extension: &str| self.folder.path().join(format!("{name}.{extension}"));
        fs::write(at("wasm"), component).unwrap();
        let manifest = manifest_of(name, kind, &format!("path = \"{name}.wasm\""), more);
        fs::write(at("toml"), manifest).unwrap();
        self.host.load_manifest(&at("toml"), self.kernel.plugins()).map(drop)
    }

    /// A tenant with the tables `t` and `u`, which `guest` serves.
    pub fn tenant(&self, name: &str) -> Arc<Tenant> {
        let plugins = BTreeSet::from(["guest".to_owned()]);
        let options = TenantOptions { plugins, ..TenantOptions::default() };
        for table in ["t", "u"] {
            self.kernel.create_table(&format!("{name}/{table}"), TableOptions::default()).unwrap();
        }
        self.host.tenants().set(name, options).unwrap()
    }

    pub fn run<T>(&self, f: impl FnMut(&mut Transaction) -> KernelResult<T>) -> KernelResult<T> {
        self.run_for(None, f)
    }

    pub fn run_for<T>(
        &self,
        tenant: Option<&Arc<Tenant>>,
        f: impl FnMut(&mut Transaction) -> KernelResult<T>,
    ) -> KernelResult<T> {
        let options = TransactionOptions::default();
        Transaction::run(&self.kernel, self.host.programs(), tenant, options, f)
    }

    /// Calls the one procedure of `guest`.
    pub fn go(&self, args: &str) -> KernelResult<String> {
        self.run(|tx| tx.call("guest.go", args))
    }

    pub fn put(&self, key: &[u8]) -> KernelResult<()> {
        self.run(|tx| tx.put("t", key, b"value"))
    }

    /// Every key of `table` that others see.
    pub fn keys(&self, table: &str) -> Vec<Vec<u8>> {
        let tx = self.kernel.begin_read().unwrap();
        tx.scan(table, ..).unwrap().map(|row| row.unwrap().0).collect()
    }

    /// Whether nothing is wrong with it, and a checkpoint still goes through.
    #[track_caller]
    pub fn check(&self) {
        let report = self.kernel.checkpoint().unwrap();
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        let found = sochdb_operations::check(&self.kernel).unwrap();
        assert!(found.is_healthy(), "{:?}", found.problems);
    }
}

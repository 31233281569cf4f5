//! A database in memory with the test guests loaded.

use sochdb_host_abi::{HostOptions, PluginHost, Policy, Tenant, Transaction};
use sochdb_kernel::{
    Column, ColumnType, Kernel, KernelError, KernelResult, Options, PluginFault, Schema,
    TableOptions, TransactionOptions, Value,
};
use sochdb_telemetry::MetricValue;
use sochdb_test_guests::{GUARD, IDENTITY, LEDGER, manifest};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// What `ledger` is granted unless a test says otherwise.
pub const LEDGER_GRANT: &str = "[capabilities]\n\
    can_read_table = [\"accounts\", \"people\", \"notes/*\"]\n\
    can_write_table = [\"accounts\", \"notes/*\"]\n\
    can_call_plugin = [\"other\", \"third\", \"ledger\"]\n\
    codecs = [\"identity\"]\n";
/// What `guard` is asked about unless a test says otherwise.
pub const GUARD_GRANT: &str = "[capabilities]\n\
    can_read_table = [\"guarded\", \"people\"]\n\
    can_write_table = [\"guarded\", \"audit\", \"people\"]\n\
    [hooks]\ntables = [\"guarded\", \"people\"]\n\
    before = [\"insert\", \"update\", \"delete\"]\nafter = [\"insert\", \"update\", \"delete\"]\n";

pub struct World {
    pub kernel: Kernel,
    pub host: PluginHost,
    folder: TempDir,
}

impl World {
    /// With some tables, and no plugin.
    pub fn bare(policy: &str) -> World {
        let kernel = Kernel::open(sochdb_sim::memory(), Options::default()).unwrap();
        for table in ["accounts", "guarded", "audit", "secret", "notes/a", "acme/accounts"] {
            kernel.create_table(table, TableOptions::default()).unwrap();
        }
        let schema = Some(people());
        kernel.create_table("people", TableOptions { schema, ..Default::default() }).unwrap();
        let policy = Policy::parse("policy.toml", policy).unwrap();
        let host = PluginHost::with(HostOptions { policy, ..HostOptions::default() }).unwrap();
        World { kernel, host, folder: tempfile::tempdir().unwrap() }
    }

    /// With `guard`, `identity` and `ledger` loaded.
    pub fn new() -> World {
        let world = World::bare("");
        world.load("guard", "hooks", GUARD, GUARD_GRANT).unwrap();
        world.load("identity", "codec", IDENTITY, "").unwrap();
        world.load("ledger", "procedure", LEDGER, LEDGER_GRANT).unwrap();
        world
    }

    pub fn load(
        &self,
        name: &str,
        kind: &str,
        component: &[u8],
        more: &str,
    ) -> KernelResult<String> {
        fs::write(self.path(&format!("{name}.wasm")), component).unwrap();
        let path = self.path(&format!("{name}.toml"));
        fs::write(&path, manifest(name, kind, more)).unwrap();
        self.host.load_manifest(Path::new(&path), self.kernel.plugins())
    }

    /// `ledger` again, under another name.
    pub fn load_ledger(&self, name: &str, more: &str) {
        self.load(name, "procedure", LEDGER, more).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    pub fn begin(&self) -> Transaction {
        self.begin_with(TransactionOptions::default(), None)
    }

    pub fn begin_with(
        &self,
        options: TransactionOptions,
        tenant: Option<&Arc<Tenant>>,
    ) -> Transaction {
        Transaction::begin(&self.kernel, self.host.programs(), tenant, options).unwrap()
    }

    pub fn run<T>(&self, f: impl FnMut(&mut Transaction) -> KernelResult<T>) -> KernelResult<T> {
        Transaction::run(&self.kernel, self.host.programs(), None, TransactionOptions::default(), f)
    }

    pub fn call(&self, procedure: &str, args: &str) -> KernelResult<String> {
        self.run(|tx| tx.call(procedure, args))
    }

    /// What others see.
    pub fn get(&self, table: &str, key: &str) -> Option<String> {
        let value = self.kernel.begin_read().unwrap().get(table, key.as_bytes()).unwrap();
        value.map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    pub fn metric(&self, name: &str) -> f64 {
        let metrics = self.host.metrics();
        let found = metrics.iter().find(|metric| metric.name == name);
        match found.map(|metric| &metric.value) {
            Some(MetricValue::Counter(value) | MetricValue::Gauge(value)) => *value,
            _ => 0.0,
        }
    }
}

pub fn people() -> Schema {
    let column =
        |name: &str, kind, nullable| Column { name: name.into(), kind, nullable, default: None };
    let columns = vec![
        column("id", ColumnType::Int64, false),
        column("name", ColumnType::String, false),
        column("town", ColumnType::String, true),
    ];
    Schema::new(columns, &["id"]).unwrap()
}

pub fn person(id: i64, name: &str, town: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    let town = town.map_or(Value::Null, |town| Value::String(town.into()));
    let row = [Value::Int64(id), Value::String(name.into()), town];
    (people().encode_key(&row).unwrap(), people().encode_row(&row).unwrap())
}

#[track_caller]
pub fn check_fault<T: std::fmt::Debug>(
    result: KernelResult<T>,
    plugin: &str,
    fault: PluginFault,
    words: &str,
) {
    let error = result.unwrap_err();
    let KernelError::Plugin { plugin: whose, fault: found, message } = &error else {
        panic!("{error}")
    };
    assert_eq!((whose.as_str(), *found), (plugin, fault), "{message}");
    assert!(message.contains(words), "{words:?} is not in: {message}");
}

//! Calls and bytes in both directions, rows, and procedures beside the same code native.

use super::{BATCH_ROW, Case, HOST_CALL, Round, ns, us};
use crate::Result;
use sochdb_host_abi::{PluginHost, Programs, Transaction};
use sochdb_kernel::plugin::CompressionExtension;
use sochdb_kernel::{Kernel, KernelResult, KeyRange, Options, TableOptions, TransactionOptions};
use sochdb_test_guests::{IDENTITY, LEDGER, manifest};
use std::hint::black_box;
use std::sync::Arc;
use wasmtime::component::{Component, Linker, TypedFunc};
use wasmtime::{Config, Engine, Store};

const ROWS: u32 = 100_000;
/// Rows of a batch that crosses in one call, and the bytes of each.
const BATCH_ROWS: u32 = 256;
const BATCH_ROW_BYTES: u32 = 8;
const GRANT: &str = "[capabilities]\ncan_read_table = [\"**\"]\ncan_write_table = [\"**\"]\n\
    [resources]\nfuel_limit = 1_000_000_000_000\ntimeout_ms = 600_000\n";

pub struct Calls {
    kernel: Kernel,
    codec: Arc<dyn CompressionExtension>,
    programs: Arc<Programs>,
    bare: Bare,
    _host: PluginHost,
}

/// A component that calls its one import in a loop: no fuel, no epochs, no check, no audit.
struct Bare {
    store: Store<()>,
    calls: TypedFunc<(u32,), ()>,
}

const BARE: &str = r#"(component
    (import "ask" (func $ask (result bool)))
    (core func $ask (canon lower (func $ask)))
    (core module $m
        (import "" "ask" (func $ask (result i32)))
        (func (export "calls") (param $left i32)
            (loop $next
                (drop (call $ask))
                (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))
    (core instance $i (instantiate $m (with "" (instance (export "ask" (func $ask))))))
    (func (export "calls") (param "left" u32) (canon lift (core func $i "calls"))))"#;

impl Bare {
    fn new() -> Result<Bare> {
        let mut config = Config::new();
        config.concurrency_support(false);
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        linker.root().func_wrap("ask", |_, ()| Ok((black_box(true),)))?;
        let mut store = Store::new(&engine, ());
        let component = Component::new(&engine, wat::parse_str(BARE)?)?;
        let instance = linker.instantiate(&mut store, &component)?;
        let calls = instance.get_typed_func(&mut store, "calls")?;
        Ok(Bare { store, calls })
    }

    fn call(&mut self, times: u32) -> Result<()> {
        Ok(self.calls.call(&mut self.store, (times,))?)
    }
}

impl Calls {
    pub fn new() -> Result<Calls> {
        let kernel = Kernel::open(sochdb_sim::memory(), Options::default())?;
        let host = PluginHost::new()?;
        let folder = tempfile::tempdir()?;
        for (name, kind, component, more) in [
            ("identity", "codec", IDENTITY, "[resources]\nfuel_limit = 1_000_000_000_000\n"),
            ("ledger", "procedure", LEDGER, GRANT),
        ] {
            std::fs::write(folder.path().join(format!("{name}.wasm")), component)?;
            let path = folder.path().join(format!("{name}.toml"));
            std::fs::write(&path, manifest(name, kind, more))?;
            host.load_manifest(&path, kernel.plugins())?;
        }
        for (table, rows) in [("one", 1), ("thousand", 1000), ("many", ROWS)] {
            kernel.create_table(table, TableOptions::default())?;
            for chunk in (0..rows).collect::<Vec<_>>().chunks(1000) {
                kernel.run(|tx| {
                    chunk.iter().try_for_each(|n| {
                        // 100 bytes that begin with a number.
                        let value = format!("{n:<100}");
                        tx.put(table, format!("{n:08}").as_bytes(), value.as_bytes())
                    })
                })?;
            }
        }
        kernel.create_table("batch", TableOptions::default())?;
        let batch = vec![7; (BATCH_ROWS * BATCH_ROW_BYTES) as usize];
        kernel.run(|tx| tx.put("batch", b"00000000", &batch))?;
        kernel.checkpoint()?;
        let (codec, programs) =
            (kernel.plugins().compression("identity")?, host.programs().clone());
        Ok(Calls { kernel, codec, programs, bare: Bare::new()?, _host: host })
    }

    pub fn measure(&mut self, round: &mut Round) -> Result<()> {
        let options = TransactionOptions { read_only: true, ..TransactionOptions::default() };
        let mut tx = Transaction::begin(&self.kernel, &self.programs, None, options)?;
        let native = self.kernel.begin_read()?;

        let sandbox = round.time(20_000, || Ok(self.codec.compress(&[])?))?;
        let plain = round.time(20_000, || Ok(black_box(&[0_u8; 0]).to_vec()))?;
        round.add(ns("host to guest and back, an empty list"), sandbox, Some(plain));
        for (what, bytes, times) in [
            ("host to guest and back, 16 B each way", 16, 20_000),
            ("host to guest and back, 4 KiB each way", 4 << 10, 10_000),
            ("host to guest and back, 64 KiB each way", 64 << 10, 2_000),
        ] {
            let input = vec![7; bytes];
            let sandbox = round.time(times, || Ok(self.codec.compress(&input)?))?;
            let plain = round.time(times, || Ok(black_box(&input).clone()))?;
            round.add(ns(what), sandbox, Some(plain));
        }
        let empty = round.time(5_000, || Ok(tx.call("ledger.empty", "null")?))?;
        round.add(us("an empty procedure, JSON and savepoint included"), empty, None);

        // A guest's loop of imports, less the call around it.
        let many = 20_000;
        let ping =
            round.time(5, || Ok(tx.call("ledger.ping", &format!(r#"{{"times": {many}}}"#))?))?;
        round.add(ns(HOST_CALL), (ping - empty) / f64::from(many), None);
        let bare = round.time(5, || self.bare.call(many))? / f64::from(many);
        round.add(ns("  of it the component model, by a bare component"), bare, None);
        let get = format!(r#"{{"table": "one", "key": "00000000", "times": {many}}}"#);
        let sandbox = round.time(5, || Ok(tx.call("ledger.get", &get)?))?;
        let plain = round.time(100_000, || Ok(native.get("one", b"00000000")?))?;
        let sandbox = (sandbox - empty) / f64::from(many);
        round.add(ns("a row by its key: 8 B there, 100 B back"), sandbox, Some(plain));

        // As one value, so that the same call carries them with and without a boundary.
        let batch = format!(r#"{{"table": "batch", "key": "00000000", "times": {many}}}"#);
        let sandbox = round.time(5, || Ok(tx.call("ledger.get", &batch)?))?;
        let plain = round.time(100_000, || Ok(native.get("batch", b"00000000")?))?;
        let sandbox = (sandbox - empty) / f64::from(many);
        let of_them = Case { what: BATCH_ROW, unit: "ns", per: f64::from(BATCH_ROWS) };
        round.add(of_them, sandbox, Some(plain));

        let sum = r#"{"table": "thousand"}"#;
        let sandbox = round.time(500, || Ok(tx.call("ledger.sum", sum)?))?;
        let plain = round.time(500, || Ok(sum_native(&native, "thousand")?))?;
        round.add(us("a procedure that reads 1,000 rows"), sandbox, Some(plain));
        let by_keys = r#"{"table": "thousand", "rows": 1000}"#;
        let sandbox = round.time(300, || Ok(tx.call("ledger.sum-by-keys", by_keys)?))?;
        let plain = round.time(300, || Ok(sum_by_keys_native(&native, 1000)?))?;
        round.add(us("a procedure that reads 1,000 rows by their keys"), sandbox, Some(plain));

        let all = r#"{"table": "many"}"#;
        let sandbox = round.time(3, || Ok(tx.call("ledger.sum", all)?))?;
        let plain = round.time(3, || Ok(sum_native(&native, "many")?))?;
        let per_row = Case { what: "a row of a long scan", unit: "ns", per: f64::from(ROWS) };
        round.add(per_row, sandbox, Some(plain));
        Ok(())
    }
}

fn number(bytes: &[u8]) -> i64 {
    str::from_utf8(bytes).ok().and_then(|text| text.trim_end().parse().ok()).unwrap_or(0)
}

fn sum_native(tx: &sochdb_kernel::Transaction, table: &str) -> KernelResult<i64> {
    tx.scan(table, KeyRange::all())?.map(|row| Ok(number(&row?.1))).sum()
}

fn sum_by_keys_native(tx: &sochdb_kernel::Transaction, rows: u32) -> KernelResult<i64> {
    let keys: Vec<_> = (0..rows).map(|n| format!("{n:08}").into_bytes()).collect();
    keys.iter().map(|key| Ok(tx.get("thousand", key)?.map_or(0, |value| number(&value)))).sum()
}

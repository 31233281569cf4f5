//! How fast a table kept by `lscs` is, compressed by `lz4`: flush, gets and scans.
//!
//! `cargo run --release -p sochdb-host-abi --example storage_speed [ROWS]`

use sochdb_host_abi::PluginHost;
use sochdb_kernel::{Environment, Kernel, KernelResult, Options, TableOptions};
use std::time::{Duration, Instant};

fn main() -> KernelResult<()> {
    let rows: u32 = std::env::args().nth(1).and_then(|rows| rows.parse().ok()).unwrap_or(200_000);
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    let kernel = Kernel::open(Environment::disk(folder.path()), Options::default())?;
    let began = Instant::now();
    let host = PluginHost::new()?;
    host.load_bundled(kernel.plugins())?;
    println!("load bundled plugins    {:>9.1} ms", began.elapsed().as_secs_f64() * 1e3);
    for (storage, codec) in [(None, None), (Some("lscs"), None), (Some("lscs"), Some("lz4"))] {
        let name = format!("{}_{}", storage.unwrap_or("tree"), codec.unwrap_or("plain"));
        let (storage, codec) = (storage.map(str::to_owned), codec.map(str::to_owned));
        kernel.create_table(&name, TableOptions { storage, codec, ..TableOptions::default() })?;
        measure(&kernel, &host, &name, rows)?;
    }
    for plugin in host.list() {
        println!("{} {:?}", plugin.name, plugin.usage);
    }
    kernel.close()
}

fn measure(kernel: &Kernel, host: &PluginHost, table: &str, rows: u32) -> KernelResult<()> {
    println!("{table}");
    // What `lscs` has used since this was last asked, and how often it was called.
    let mut before = (0, 0);
    let mut used = || {
        let lscs = host.list().into_iter().find(|plugin| plugin.name == "lscs");
        let now = lscs.map_or((0, 0), |plugin| (plugin.usage.fuel, plugin.usage.calls));
        let since = (now.0 - before.0, now.1 - before.1);
        before = now;
        format!("{} fuel in {} calls", since.0, since.1)
    };
    used();
    // 7919 is a prime: every key once, in no order.
    let key = |number: u32| format!("key{:09}", u64::from(number) * 7919 % u64::from(rows));
    let mut flushing = Duration::ZERO;
    for part in 0..4 {
        let mut at = part * (rows / 4);
        while at < (part + 1) * (rows / 4) {
            let to = (at + 1000).min((part + 1) * (rows / 4));
            kernel.run(|tx| {
                (at..to).try_for_each(|number| {
                    let value = format!("value {number:07} ").repeat(7);
                    tx.put(table, key(number).as_bytes(), value.as_bytes())
                })
            })?;
            at = to;
        }
        let began = Instant::now();
        let report = kernel.checkpoint()?;
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        flushing += began.elapsed();
        print!("{} ms, {} segments; ", report.micros / 1000, report.segments_written);
    }
    println!();
    let rows_per_s = f64::from(rows) / flushing.as_secs_f64();
    println!("  checkpoints           {rows_per_s:>9.0} rows/s, {}", used());
    let tx = kernel.begin_read()?;
    let mut timed = |what: &str, times: u32, work: &mut dyn FnMut(u32) -> KernelResult<()>| {
        let mut took: Vec<_> = Vec::new();
        for number in 0..times {
            let began = Instant::now();
            work(number)?;
            took.push(began.elapsed());
        }
        took.sort();
        let us = |at: usize| took[at].as_secs_f64() * 1e6;
        let (p50, p99) = (us(took.len() / 2), us(took.len() * 99 / 100));
        println!("  {what:<21} {p50:>9.1} us p50 {p99:>9.1} us p99, {}", used());
        KernelResult::Ok(())
    };
    let mut found = 0;
    timed("point get", 20_000, &mut |number| {
        found += u32::from(tx.get(table, key(number.wrapping_mul(31)).as_bytes())?.is_some());
        Ok(())
    })?;
    timed("absent get", 20_000, &mut |number| {
        tx.get(table, format!("key{:09}x", number % rows).as_bytes()).map(drop)
    })?;
    timed("scan of 100 rows", 2_000, &mut |number| {
        let from = key(number.wrapping_mul(104_729));
        let scan = tx.scan(table, from.as_bytes()..)?;
        scan.take(100).try_for_each(|row| row.map(drop))
    })?;
    let began = Instant::now();
    let count = tx.scan(table, ..)?.filter(Result::is_ok).count();
    let per_s = count as f64 / began.elapsed().as_secs_f64();
    println!("  scan of all           {per_s:>9.0} rows/s, {count} rows, {found} gets found");
    Ok(())
}

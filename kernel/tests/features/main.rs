//! What the kernel offers beside reading and writing rows: bulk load, timeouts, an archive of the log,
//! watched and forced opening, and retries that share syncs.

mod boot;
mod bulk_load;
mod pieces;
mod retries;
mod transactions;

use sochdb_kernel::{Environment, Kernel, Options};
use sochdb_sim::MemoryVfs;
use std::collections::BTreeMap;
use std::sync::Arc;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

fn small() -> Options {
    Options { wal_segment_bytes: 16 << 10, ..Options::default() }
}

fn open(vfs: &MemoryVfs) -> Kernel {
    open_with(vfs, small())
}

fn open_with(vfs: &MemoryVfs, options: Options) -> Kernel {
    Kernel::open(Environment::with_vfs(Arc::new(vfs.clone())), options).unwrap()
}

fn all(kernel: &Kernel, table: &str) -> Rows {
    let tx = kernel.begin_read().unwrap();
    let rows = tx.scan(table, ..).unwrap();
    rows.map(|row| row.map(|(key, value)| (key, value.to_vec())).unwrap()).collect()
}

fn healthy(kernel: &Kernel) {
    let report = sochdb_operations::check(kernel).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

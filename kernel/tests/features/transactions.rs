//! Timeouts.

use super::{all, small};
use sochdb_kernel::{Environment, ErrorKind, Kernel, TableOptions, TransactionOptions};
use sochdb_sim::{ManualClock, MemoryVfs};
use std::sync::Arc;

#[test]
fn a_transaction_past_its_time_does_nothing_more() {
    let clock = Arc::new(ManualClock::default());
    let vfs = Arc::new(MemoryVfs::new());
    let kernel = Kernel::open(Environment { vfs, clock: clock.clone(), seed: 1 }, small()).unwrap();
    kernel.create_table("t", TableOptions::default()).unwrap();
    let options = TransactionOptions { timeout_us: Some(1000), ..TransactionOptions::default() };
    let mut tx = kernel.begin_with(options).unwrap();
    tx.put("t", b"a", b"1").unwrap();
    clock.advance(1000);
    assert_eq!(tx.get("t", b"a").unwrap().unwrap(), b"1");
    clock.advance(1);
    assert_eq!(tx.get("t", b"a").unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(tx.put("t", b"a", b"2").unwrap_err().kind(), ErrorKind::Limit);
    assert!(tx.scan("t", ..).is_err());
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Limit);
    assert!(all(&kernel, "t").is_empty());

    let mut tx = kernel.begin_with(options).unwrap();
    tx.put("t", b"a", b"1").unwrap();
    clock.advance(500);
    tx.commit().unwrap();
    assert_eq!(all(&kernel, "t").len(), 1);
}

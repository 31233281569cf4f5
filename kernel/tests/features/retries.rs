//! `Kernel::run` on hot rows: every increment counts, and nobody gives up.

use super::open;
use sochdb_kernel::{Durability, Kernel, KernelResult, TableOptions, TransactionOptions};
use sochdb_sim::MemoryVfs;

fn number(kernel: &Kernel, key: &[u8]) -> u64 {
    let found = kernel.begin_read().unwrap().get("t", key).unwrap();
    found.map_or(0, |value| u64::from_le_bytes((*value).try_into().unwrap()))
}

#[test]
fn hot_counters_add_up_at_every_durability() {
    for durability in [Durability::Fsync, Durability::FsyncDelayed(200), Durability::None] {
        let kernel = open(&MemoryVfs::new());
        kernel.create_table("t", TableOptions::default()).unwrap();
        let options =
            TransactionOptions { durability: Some(durability), ..TransactionOptions::default() };
        let work = |thread: usize| -> KernelResult<()> {
            for n in 0..1000 {
                let key = [b"a", b"b", b"c"][(n + thread) % 3];
                kernel.run_with(options, |tx| {
                    let old = tx
                        .get("t", key)?
                        .map_or(0, |v| u64::from_le_bytes((*v).try_into().unwrap()));
                    tx.put("t", key, &(old + 1).to_le_bytes())
                })?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || work(thread))).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        });
        let total: u64 = [b"a", b"b", b"c"].map(|key| number(&kernel, key)).iter().sum();
        assert_eq!(total, 4000, "with {durability:?}");
    }
}

#[test]
fn a_repeated_transaction_that_writes_nothing_shows_only_what_is_published() {
    let kernel = open(&MemoryVfs::new());
    kernel.create_table("t", TableOptions::default()).unwrap();
    let mut attempt = 0;
    let seen = kernel
        .run(|tx| {
            attempt += 1;
            if attempt == 1 {
                kernel.run(|other| other.put("t", b"k", &7u64.to_le_bytes()))?;
                tx.put("t", b"k", b"lost")?;
                return Ok(0);
            }
            Ok(tx.get("t", b"k")?.map_or(0, |v| u64::from_le_bytes((*v).try_into().unwrap())))
        })
        .unwrap();
    assert_eq!((seen, attempt), (7, 2));
    assert_eq!(number(&kernel, b"k"), 7);
}

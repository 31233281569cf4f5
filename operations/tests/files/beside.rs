//! Readers beside a database's owner: what they see is one moment, whatever the owner does.

use sochdb_kernel::vfs::Vfs;
use sochdb_kernel::{
    Durability, Environment, ErrorKind, Kernel, KernelError, KernelResult, Options, TableOptions,
};
use sochdb_operations::{Beside, READERS_DIR, backup, has_readers};
use sochdb_sim::MemoryVfs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const ACCOUNTS: u64 = 200;
const EACH: u64 = 1000;

fn owner(vfs: Arc<dyn Vfs>) -> Kernel {
    let options = Options {
        wal_segment_bytes: 64 << 10,
        durability: Durability::None,
        cache_bytes_max: 1 << 20,
        ..Options::default()
    };
    let kernel = Kernel::open(Environment::with_vfs(vfs.clone()), options).unwrap();
    // In memory the lock makes no file, and a reader looks for one.
    let _ = vfs.open("LOCK", sochdb_kernel::vfs::OpenMode::Create);
    kernel
}

fn read(vfs: Arc<dyn Vfs>) -> KernelResult<Kernel> {
    let options = Options { read_only: true, create: false, ..Options::default() };
    Kernel::open(Environment::with_vfs(Arc::new(Beside::new(vfs))), options)
}

fn key(account: u64) -> [u8; 8] {
    account.to_be_bytes()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

/// A number in a page of its own.
fn value(number: u64) -> Vec<u8> {
    [&number.to_le_bytes()[..], &[7; 2000]].concat()
}

fn fill(kernel: &Kernel) {
    kernel.create_table("accounts", TableOptions::default()).unwrap();
    let all = |tx: &mut sochdb_kernel::Transaction| {
        (0..ACCOUNTS).try_for_each(|id| tx.put("accounts", &key(id), &value(EACH)))
    };
    kernel.run(all).unwrap();
}

/// Moves one from an account to another, and counts that in the account of the greatest number.
fn transfer(kernel: &Kernel, from: u64, to: u64) {
    let moved = kernel.run(|tx| {
        for (account, change) in [(from, -1), (to, 1)] {
            let old = number(&tx.get("accounts", &key(account))?.unwrap());
            tx.put("accounts", &key(account), &value(old.strict_add_signed(change)))?;
        }
        let count = tx.get("accounts", b"zz")?.map_or(0, |count| number(&count));
        tx.put("accounts", b"zz", &value(count + 1))
    });
    moved.unwrap();
}

/// How many transfers a reader sees, all of each.
fn look(kernel: &Kernel) -> KernelResult<u64> {
    let (mut sum, mut transfers) = (0, 0);
    for row in kernel.begin_read()?.scan("accounts", ..)? {
        let (key, value) = row?;
        match &key[..] {
            b"zz" => transfers = number(&value),
            _ => sum += number(&value),
        }
    }
    assert_eq!(sum, ACCOUNTS * EACH, "half a transfer");
    Ok(transfers)
}

fn is_moved(error: &KernelError) -> bool {
    error.kind() == ErrorKind::Unavailable && error.to_string().contains("open it again")
}

#[test]
fn a_reader_sees_what_was_committed_and_keeps_seeing_that() {
    let vfs = Arc::new(MemoryVfs::new());
    let kernel = owner(vfs.clone());
    fill(&kernel);
    kernel.checkpoint().unwrap();
    (0..50).for_each(|round| transfer(&kernel, round, round + 1));
    let reader = read(vfs.clone()).unwrap();
    assert_eq!(look(&reader).unwrap(), 50);
    (0..50).for_each(|round| transfer(&kernel, round, round + 1));
    assert_eq!(look(&reader).unwrap(), 50, "a moment stays as it was");
    assert_eq!(look(&read(vfs.clone()).unwrap()).unwrap(), 100);
    let refused = reader.run(|tx| tx.put("accounts", b"a", b"b")).unwrap_err();
    assert!(refused.to_string().contains("read-only"), "{refused}");
    // The owner never noticed.
    kernel.close().unwrap();
    assert_eq!(look(&owner(vfs)).unwrap(), 100);
}

#[test]
fn after_the_owners_checkpoint_a_reader_is_told_to_open_again() {
    let vfs = Arc::new(MemoryVfs::new());
    let kernel = owner(vfs.clone());
    fill(&kernel);
    kernel.checkpoint().unwrap();
    let reader = read(vfs.clone()).unwrap();
    for round in 0..5 {
        (0..50).for_each(|round| transfer(&kernel, round, round + 1));
        kernel.checkpoint().unwrap();
        let error = look(&reader).unwrap_err();
        assert!(is_moved(&error), "round {round}: {error}");
    }
    assert_eq!(look(&read(vfs).unwrap()).unwrap(), 250);
}

#[test]
fn an_owner_knows_whether_somebody_reads() {
    let vfs = Arc::new(MemoryVfs::new());
    let kernel = owner(vfs.clone());
    assert!(!has_readers(&*vfs));
    let readers = [read(vfs.clone()).unwrap(), read(vfs.clone()).unwrap()];
    assert!(has_readers(&*vfs));
    drop(readers);
    assert!(!has_readers(&*vfs));
    assert!(vfs.list(READERS_DIR).unwrap().is_empty());
    // One that was killed has left its file and no lock.
    vfs.open(&format!("{READERS_DIR}/1-1"), sochdb_kernel::vfs::OpenMode::Create).unwrap();
    assert!(!has_readers(&*vfs));
    assert!(vfs.list(READERS_DIR).unwrap().is_empty());
    drop(kernel);
}

#[test]
fn who_is_alone_keeps_others_out_as_ever() {
    let vfs = Arc::new(MemoryVfs::new());
    fill(&owner(vfs.clone()));
    let reader = read(vfs.clone()).unwrap();
    assert_eq!(look(&reader).unwrap(), 0);
    let refused = Kernel::open(Environment::with_vfs(vfs.clone()), Options::default());
    assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::Unavailable));
    assert!(!has_readers(&*vfs));
}

#[test]
fn a_copy_can_be_made_beside_the_owner() {
    let vfs = Arc::new(MemoryVfs::new());
    let kernel = owner(vfs.clone());
    fill(&kernel);
    kernel.checkpoint().unwrap();
    (0..50).for_each(|round| transfer(&kernel, round, round + 1));
    let reader = read(vfs).unwrap();
    let target = MemoryVfs::new();
    backup(&reader, &target, &mut |_| {}).unwrap();
    (0..50).for_each(|round| transfer(&kernel, round, round + 1));
    assert_eq!(look(&owner(Arc::new(target))).unwrap(), 50);
}

/// On a disk, where a file can be read while it is half written.
#[test]
fn whenever_a_reader_opens_it_sees_whole_transactions_and_all_that_were_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let vfs = || Environment::disk(directory.path()).vfs;
    let kernel = owner(vfs());
    fill(&kernel);
    kernel.checkpoint().unwrap();
    let (acknowledged, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (mut seen, mut moved) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rng = fastrand::Rng::with_seed(3);
            for round in 1..=6_000 {
                let (from, to) = (rng.u64(0..ACCOUNTS), rng.u64(0..ACCOUNTS));
                if from != to {
                    transfer(&kernel, from, to);
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                if round % 200 == 0 {
                    kernel.checkpoint().unwrap();
                }
            }
            is_over.store(true, Ordering::SeqCst);
        });
        while !is_over.load(Ordering::SeqCst) {
            let least = acknowledged.load(Ordering::SeqCst);
            match read(vfs()).and_then(|reader| look(&reader)) {
                Ok(transfers) => {
                    assert!(least <= transfers, "{transfers} of {least} that were acknowledged");
                    seen += 1;
                }
                Err(error) => {
                    assert!(is_moved(&error), "{error}");
                    moved += 1;
                }
            }
        }
    });
    assert!(0 < seen, "{moved} readers came in vain");
    assert_eq!(look(&read(vfs()).unwrap()).unwrap(), acknowledged.load(Ordering::SeqCst));
}

//! Leases on names, and compare and swap.

use crate::{WallClock, open};
use sochdb_claims::{ClaimResult, CompareAndSwap, Holder, LeaseConfig, LeaseManager, SwapOutcome};
use sochdb_kernel::{ErrorKind, IsolationLevel, Kernel, KernelError, TransactionOptions};
use sochdb_sim::MemoryVfs;
use std::sync::Arc;

fn leases() -> (Kernel, LeaseManager, Arc<WallClock>) {
    let kernel = open(Arc::new(MemoryVfs::new()));
    kernel.create_table("t", Default::default()).unwrap();
    let clock = WallClock::at(100, 0);
    let config = LeaseConfig { lease_us: 50, ..LeaseConfig::default() };
    let leases = LeaseManager::open(&kernel, clock.clone(), "names", config).unwrap();
    (kernel, leases, clock)
}

#[test]
fn a_name_has_one_holder_until_its_lease_runs_out() {
    let (kernel, leases, clock) = leases();
    let mut ada = leases.acquire("n", "ada").unwrap().claimed().unwrap();
    assert_eq!((ada.name(), ada.job(), ada.payload()), (Some("n"), None, &b""[..]));
    let held = |by: &str, until_us| ClaimResult::Held { by: by.to_owned(), until_us };
    assert_eq!(leases.acquire("n", "bob").unwrap(), held("ada", 150));
    assert_eq!(leases.acquire("n", "ada").unwrap(), held("ada", 150), "also for its owner");
    clock.advance(49);
    leases.renew(&mut ada, 100).unwrap();
    assert_eq!(leases.acquire("n", "bob").unwrap(), held("ada", 249));
    clock.set(0);
    assert_eq!(leases.acquire("n", "bob").unwrap(), held("ada", 249), "a clock set back");
    clock.set(249);
    let bob = leases.acquire_for("n", "bob", 7).unwrap().claimed().unwrap();
    assert!(ada.fence() < bob.fence());
    assert!(leases.renew(&mut ada, 100).unwrap_err().is_stale());
    assert!(leases.release(&ada).unwrap_err().is_stale());
    let mut tx = kernel.begin().unwrap();
    assert!(leases.guard_in(&mut tx, &ada).unwrap_err().is_stale());
    let holder = leases.holder("n").unwrap();
    let fence = bob.fence();
    assert_eq!(
        holder,
        Some(Holder { owner: "bob".to_owned(), fence, since_us: 249, until_us: 256 })
    );
    leases.release(&bob).unwrap();
    assert!(leases.release(&bob).unwrap_err().is_stale());
    assert_eq!(leases.holder("n").unwrap(), None);
    let again = leases.acquire("n", "ada").unwrap().claimed().unwrap();
    assert!(fence < again.fence(), "also after the row was gone");
    let stats = leases.stats().unwrap();
    assert_eq!((stats.claimed, stats.expired, stats.granted, stats.takeovers), (1, 0, 3, 1));
    assert_eq!((stats.renewed, stats.released, stats.stale), (1, 1, 3));
}

#[test]
fn what_a_leader_writes_is_fenced_by_its_lease() {
    let (kernel, leases, clock) = leases();
    let ada = leases.acquire("leader", "ada").unwrap().claimed().unwrap();
    let mut tx = kernel.begin().unwrap();
    leases.guard_in(&mut tx, &ada).unwrap();
    tx.put("t", b"decision", b"ada's").unwrap();
    clock.advance(50);
    leases.acquire("leader", "bob").unwrap().claimed().unwrap();
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(kernel.begin_read().unwrap().get("t", b"decision").unwrap(), None);
}

#[test]
fn of_eight_threads_one_at_a_time_holds_a_name() {
    let (kernel, leases, _) = leases();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (kernel, leases) = (kernel.clone(), leases.clone());
            scope.spawn(move || {
                let mut done = 0;
                while done < 20 {
                    let result = leases.acquire("mutex", &format!("thread {thread}")).unwrap();
                    let Some(token) = result.claimed() else {
                        std::thread::yield_now();
                        continue;
                    };
                    // Two steps that only exclusion makes safe: nothing here conflicts by itself.
                    let tx = kernel.begin_read().unwrap();
                    let seen = tx.get("t", b"count").unwrap().map_or(0, |count| count[0]);
                    let isolation = IsolationLevel::ReadCommitted;
                    let options = TransactionOptions { isolation, ..Default::default() };
                    kernel.run_with(options, |tx| tx.put("t", b"count", &[seen + 1])).unwrap();
                    leases.release(&token).unwrap();
                    done += 1;
                }
            });
        }
    });
    assert_eq!(kernel.begin_read().unwrap().get("t", b"count").unwrap().unwrap(), [160]);
}

#[test]
fn a_swap_happens_only_when_the_value_is_the_expected_one() {
    let (kernel, ..) = leases();
    let swap = |expected: Option<&[u8]>, new: Option<&[u8]>| {
        CompareAndSwap::new("t", b"k", expected, new).run(&kernel).unwrap()
    };
    let differs =
        |present: Option<&[u8]>| SwapOutcome::Differs { present: present.map(Into::into) };
    assert_eq!(swap(Some(b"a"), Some(b"b")), differs(None));
    assert_eq!(swap(None, None), SwapOutcome::Swapped);
    assert_eq!(swap(None, Some(b"a")), SwapOutcome::Swapped);
    assert_eq!(swap(None, Some(b"b")), differs(Some(b"a")));
    assert_eq!(swap(Some(b""), Some(b"b")), differs(Some(b"a")), "empty is not absent");
    assert_eq!(swap(Some(b"a"), Some(b"b")), SwapOutcome::Swapped);
    assert_eq!(swap(Some(b"b"), None), SwapOutcome::Swapped);
    assert_eq!(swap(Some(b"b"), None), differs(None));
}

#[test]
fn eight_threads_count_by_swapping() {
    let (kernel, ..) = leases();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut seen: Option<Vec<u8>> = None;
                let mut done = 0;
                while done < 50 {
                    let count =
                        seen.as_deref().map_or(0, |seen| seen[0] as u16 * 256 + seen[1] as u16);
                    let new = (count + 1).to_be_bytes();
                    let swap = CompareAndSwap::new("t", b"count", seen.as_deref(), Some(&new));
                    match swap.run(&kernel).unwrap() {
                        SwapOutcome::Swapped => done += 1,
                        SwapOutcome::Differs { present } => {
                            seen = present.map(|present| present.to_vec());
                        }
                    }
                }
            });
        }
    });
    let count = kernel.begin_read().unwrap().get("t", b"count").unwrap().unwrap();
    assert_eq!(count, 400_u16.to_be_bytes());
}

#[test]
fn a_swap_in_a_callers_transaction_conflicts_when_the_value_changes_meanwhile() {
    let (kernel, ..) = leases();
    let swap = CompareAndSwap::new("t", b"k", None, None);
    let mut tx = kernel.begin().unwrap();
    assert_eq!(swap.run_in(&mut tx).unwrap(), SwapOutcome::Swapped);
    kernel.run(|tx| tx.put("t", b"k", b"x")).unwrap();
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
    let isolation = IsolationLevel::ReadCommitted;
    let options = TransactionOptions { isolation, ..TransactionOptions::default() };
    let refused = swap.run_in(&mut kernel.begin_with(options).unwrap()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let missing = CompareAndSwap::new("nowhere", b"k", None, None).run(&kernel).unwrap_err();
    assert_eq!(KernelError::from(missing).kind(), ErrorKind::NotFound);
}

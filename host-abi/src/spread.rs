//! Several copies of one thing, of which each thread uses one: for what all look at and hardly anybody changes.
//!
//! A lock that is taken and a count that is raised are writes, also when all their users only read. Two processors that
//! write to one cache line fetch it from each other each time, which takes longer than a small transaction's own work.
//! So each thread takes the lock, and counts in the `Arc`, of a copy of its own.
//!
//! 1. Whoever reads takes its own copy's lock; whoever changes something takes all of them, always in the same order.
//!    So a change is one moment for everybody, and two who change wait for each other only at the first.
//! 2. A thread uses the same copy all its life.

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use sochdb_observability::thread_number;
use std::time::{Duration, Instant};

/// Where there are more threads, some share a copy.
const COPIES: usize = 16;

/// The copies, each behind a lock.
pub(crate) struct Spread<T>([Apart<RwLock<T>>; COPIES]);

/// In cache lines of its own; two, because processors fetch them in pairs.
#[repr(align(128))]
struct Apart<T>(T);

impl<T: Default> Default for Spread<T> {
    fn default() -> Spread<T> {
        Spread::new(T::default)
    }
}

impl<T> Spread<T> {
    /// Copies that `make` makes.
    pub(crate) fn new(mut make: impl FnMut() -> T) -> Spread<T> {
        Spread(std::array::from_fn(|_| Apart(RwLock::new(make()))))
    }

    /// This thread's copy.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0[thread_number() % COPIES].0.read()
    }

    /// All copies.
    pub(crate) fn write(&self) -> Vec<RwLockWriteGuard<'_, T>> {
        self.0.iter().map(|copy| copy.0.write()).collect()
    }

    /// All copies; `None` when that takes longer than `patience`.
    pub(crate) fn try_write_for(&self, patience: Duration) -> Option<Vec<RwLockWriteGuard<'_, T>>> {
        let deadline = Instant::now() + patience;
        self.0.iter().map(|copy| copy.0.try_write_until(deadline)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread;

    const SOON: Duration = Duration::from_millis(20);

    #[test]
    fn whoever_changes_it_is_alone_and_whoever_reads_is_not() {
        let lock = Spread::<()>::default();
        let (reads, go_on) = (Barrier::new(2 * COPIES + 1), Barrier::new(2 * COPIES + 1));
        thread::scope(|scope| {
            for _ in 0..2 * COPIES {
                scope.spawn(|| {
                    let guard = lock.read();
                    reads.wait();
                    go_on.wait();
                    drop(guard);
                });
            }
            reads.wait();
            assert!(lock.try_write_for(SOON).is_none(), "all read");
            go_on.wait();
            assert_eq!(lock.write().len(), COPIES);
        });
        let one = lock.read();
        assert!(lock.try_write_for(SOON).is_none(), "one reads");
        drop(one);
        let alone = lock.try_write_for(SOON).expect("nobody reads");
        let is_in = AtomicBool::new(false);
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let _guard = lock.read();
                assert!(is_in.load(Ordering::SeqCst), "it waits for the end of the change");
            });
            thread::sleep(SOON);
            is_in.store(true, Ordering::SeqCst);
            drop(alone);
            reader.join().unwrap();
        });
    }

    #[test]
    fn a_change_is_one_moment_for_all_threads() {
        let value = Spread::new(|| 0_u64);
        let newest = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while newest.load(Ordering::SeqCst) < 1000 {
                        let before = newest.load(Ordering::SeqCst);
                        let seen = *value.read();
                        assert!(before <= seen, "{seen} after {before}");
                        newest.fetch_max(seen, Ordering::SeqCst);
                    }
                });
            }
            scope.spawn(|| {
                for n in 1..=1000 {
                    value.write().iter_mut().for_each(|copy| **copy = n);
                }
            });
        });
        assert!(value.write().iter().all(|copy| **copy == 1000));
    }
}

//! The few types of `parking_lot` that the kernel uses, on locks that a scheduler owns.
//!
//! Under the name `parking_lot` this crate stands in for the real one where the kernel is compiled for
//! its models. Every lock, unlock, wait and wake-up is a point where the scheduler may let another thread
//! go on. Unlocking hands the lock to nobody: whoever comes first has it, as with the real ones. A
//! thread that takes a lock it holds, and threads that wait for each other, are found and reported.
//!
//! The locks work only inside an execution of the scheduler.

#![forbid(unsafe_code)]

use shuttle::sync;
use shuttle::sync::atomic::AtomicBool;
use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Lets the scheduler switch. Called behind every unlock, so that what a thread does next without a lock
/// is not glued to what it did with it.
fn may_switch() {
    if !std::thread::panicking() {
        AtomicBool::new(false).load(Ordering::SeqCst);
    }
}

/// Mutual exclusion, as `parking_lot::Mutex`: never poisoned.
#[derive(Default)]
pub struct Mutex<T: ?Sized>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// An unlocked mutex around `value`.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(sync::Mutex::new(value))
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until nobody holds the lock, and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { mutex: &self.0, held: Some(held) }
    }
}

/// A held [`Mutex`].
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a sync::Mutex<T>,
    /// Empty only inside [`unlocked`](Self::unlocked) and [`Condvar::wait`].
    held: Option<sync::MutexGuard<'a, T>>,
}

impl<T: ?Sized> MutexGuard<'_, T> {
    /// Runs `f` while the lock is not held, and takes it again.
    pub fn unlocked<U>(guard: &mut Self, f: impl FnOnce() -> U) -> U {
        guard.held = None;
        may_switch();
        let result = f();
        guard.held = Some(guard.mutex.lock().unwrap_or_else(PoisonError::into_inner));
        result
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.held = None;
        may_switch();
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("held outside of `unlocked`")
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("held outside of `unlocked`")
    }
}

/// Lets threads wait for others, as `parking_lot::Condvar`.
pub struct Condvar(sync::Condvar);

impl Condvar {
    /// A condition nobody waits for.
    #[allow(clippy::new_without_default, reason = "the kernel asks for `new` alone")]
    pub const fn new() -> Condvar {
        Condvar(sync::Condvar::new())
    }

    /// Gives the lock back, waits to be woken, and takes the lock again.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect("held outside of `unlocked`");
        guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    /// Wakes everybody who waits.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// Many readers or one writer, as `parking_lot::RwLock`: never poisoned.
#[derive(Default)]
pub struct RwLock<T: ?Sized>(sync::RwLock<T>);

impl<T> RwLock<T> {
    /// An unlocked lock around `value`.
    pub const fn new(value: T) -> RwLock<T> {
        RwLock(sync::RwLock::new(value))
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until no writer holds the lock, and shares it.
    pub fn read(&self) -> Unlocking<sync::RwLockReadGuard<'_, T>> {
        Unlocking { held: Some(self.0.read().unwrap_or_else(PoisonError::into_inner)) }
    }

    /// Waits until nobody holds the lock, and takes it.
    pub fn write(&self) -> Unlocking<sync::RwLockWriteGuard<'_, T>> {
        Unlocking { held: Some(self.0.write().unwrap_or_else(PoisonError::into_inner)) }
    }
}

/// A held [`RwLock`]; `G` is how it is held.
pub struct Unlocking<G> {
    /// Empty only while it is dropped.
    held: Option<G>,
}

impl<G> Drop for Unlocking<G> {
    fn drop(&mut self) {
        self.held = None;
        may_switch();
    }
}

impl<G: Deref> Deref for Unlocking<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        self.held.as_ref().expect("held until it is dropped")
    }
}

impl<G: DerefMut> DerefMut for Unlocking<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        self.held.as_mut().expect("held until it is dropped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shuttle::thread;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Runs `model` under every schedule there is.
    fn every_schedule(name: &str, model: impl Fn() + Send + Sync + 'static) {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let run = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            model();
        };
        shuttle::check_dfs(run, None);
        println!("locks: {name}: all {} schedules, depth first", count.load(Ordering::Relaxed));
    }

    #[test]
    fn a_mutex_excludes_and_can_be_let_go_in_between() {
        every_schedule("two threads, one lets go and takes again", || {
            let mutex = Arc::new(Mutex::new((0, 0)));
            let other = mutex.clone();
            let thread = thread::spawn(move || {
                let mut pair = other.lock();
                pair.0 += 1;
                assert_eq!(pair.0, pair.1 + 1, "nobody comes between");
                pair.1 += 1;
            });
            let mut pair = mutex.lock();
            let before = *pair;
            MutexGuard::unlocked(&mut pair, || ());
            assert!(before.0 <= pair.0 && pair.0 == pair.1, "{before:?}, then {:?}", *pair);
            drop(pair);
            thread.join().unwrap();
            assert_eq!(*mutex.lock(), (1, 1));
        });
    }

    #[test]
    fn whoever_waits_is_woken() {
        every_schedule("two wait for a third", || {
            let shared = Arc::new((Mutex::new(0), Condvar::new()));
            let waiters = [1, 2].map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let mut number = shared.0.lock();
                    while *number == 0 {
                        shared.1.wait(&mut number);
                    }
                    *number += 1;
                })
            });
            *shared.0.lock() = 1;
            shared.1.notify_all();
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
            assert_eq!(*shared.0.lock(), 3);
        });
    }

    #[test]
    fn readers_share_and_a_writer_excludes() {
        every_schedule("two readers and a writer", || {
            let lock = Arc::new(RwLock::new((0, 0)));
            let readers = [1, 2].map(|_| {
                let lock = lock.clone();
                thread::spawn(move || {
                    let pair = lock.read();
                    assert_eq!(pair.0, pair.1, "no half of a write is seen");
                })
            });
            let mut pair = lock.write();
            pair.0 = 1;
            pair.1 = 1;
            drop(pair);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }
}

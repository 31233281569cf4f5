//! A small number for each thread: where several copies of a thing are kept so that threads leave each other's alone.
//!
//! Numbers are given in the order in which threads first ask, so that threads of one pool have neighbouring ones and
//! share no copy unless there are more threads than copies.

use std::sync::atomic::{AtomicUsize, Ordering};

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// This thread's number, the same all its life.
pub fn thread_number() -> usize {
    NUMBER.with(|number| *number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn a_thread_keeps_its_number_and_no_other_has_it() {
        let numbers = || [thread_number(), thread_number()];
        let here = numbers();
        let there = thread::spawn(numbers).join().unwrap();
        assert_eq!((here[0], there[0]), (here[1], there[1]));
        assert_ne!(here, there);
    }
}

//! The same done to many things, by as many threads as help. This thread is one of them.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder};
use tracing::dispatcher::{self, Dispatch};

/// What `work` makes of each of `items`, in their order. Those with the least `rank` are begun first: long work at the
/// end would have one thread work alone. Nothing of it is lost when no thread is to be had.
///
/// # Panics
/// As `work` does.
pub(crate) fn map<T: Sync, R: Send, K: Ord>(
    items: &[T],
    rank: impl Fn(&T) -> K,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let mut order: Vec<_> = (0..items.len()).collect();
    order.sort_by_key(|&place| rank(&items[place]));
    let next = AtomicUsize::new(0);
    let worker = || {
        let take = || order.get(next.fetch_add(1, Ordering::Relaxed)).copied();
        let done = std::iter::from_fn(take).map(|place| (place, work(&items[place])));
        done.collect::<Vec<_>>()
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(items.len());
    // What is said in the others goes where it goes here.
    let dispatch = dispatcher::get_default(Dispatch::clone);
    let mut done = thread::scope(|scope| {
        let other = || dispatcher::with_default(&dispatch, worker);
        let spawn = |_| Builder::new().name("sochdb-load".into()).spawn_scoped(scope, other).ok();
        let others: Vec<_> = (1..threads).filter_map(spawn).collect();
        let mut done = worker();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;
    use std::sync::Mutex;

    #[test]
    fn all_is_done_once_and_comes_back_in_order() {
        for count in [0, 1, 2, 3, 100] {
            let items: Vec<u32> = (0..count).collect();
            let done = map(&items, |item| Reverse(*item), |item| item * 2);
            assert_eq!(done, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_ranks_first_is_begun_first() {
        let begun = Mutex::new(Vec::new());
        map(&[3, 1, 2], |item| *item, |item| begun.lock().unwrap().push(*item));
        let begun = begun.into_inner().unwrap();
        assert_eq!(begun.len(), 3);
        // With two threads the first two may be noted in either order.
        assert!(begun[0] != 3 || thread::available_parallelism().is_ok_and(|n| 2 < n.get()));
    }

    #[test]
    #[should_panic(expected = "the third")]
    fn a_panic_reaches_the_caller() {
        map(&[1, 2, 3], |item| *item, |item| assert!(*item != 3, "the third"));
    }
}

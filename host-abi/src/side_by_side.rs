//! The same done to many things, by as many threads as help. This thread is one of them.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder};
use tracing::dispatcher::{self, Dispatch};

/// As many threads as the machine runs at once.
pub(crate) fn cores() -> NonZero<usize> {
    thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// What `work` makes of each of `items`, in their order, on at most `threads` threads. Those with the least `rank` are
/// begun first: long work at the end would have one thread work alone. After the first failure nothing more is begun.
/// Nothing of it is lost when no thread is to be had.
///
/// # Errors
/// That of the item with the least rank of those that fail.
///
/// # Panics
/// As `work` does.
pub(crate) fn try_map<T: Sync, R: Send, E: Send, K: Ord>(
    items: &[T],
    threads: NonZero<usize>,
    rank: impl Fn(usize, &T) -> K,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let mut order: Vec<_> = (0..items.len()).collect();
    order.sort_by_key(|&place| rank(place, &items[place]));
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let Some(&place) = order.get(turn) else { return (done, None) };
            match work(&items[place]) {
                Ok(made) => done.push((place, made)),
                Err(error) => {
                    next.store(items.len(), Ordering::Relaxed);
                    return (done, Some((turn, error)));
                }
            }
        }
    };
    // What is said in the others goes where it goes here.
    let dispatch = dispatcher::get_default(Dispatch::clone);
    let (mut done, mut failed) = thread::scope(|scope| {
        let other = || dispatcher::with_default(&dispatch, worker);
        let spawn = |_| Builder::new().name("sochdb-work".into()).spawn_scoped(scope, other).ok();
        let others: Vec<_> = (1..threads.get().min(items.len())).filter_map(spawn).collect();
        let (mut done, failed) = worker();
        let mut failed: Vec<_> = failed.into_iter().collect();
        for other in others {
            match other.join() {
                Ok((more, failure)) => {
                    done.extend(more);
                    failed.extend(failure);
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        (done, failed)
    });
    // Whatever ranks before a failure was begun before it, and is done.
    failed.sort_by_key(|(turn, _)| *turn);
    if let Some((_, error)) = failed.into_iter().next() {
        return Err(error);
    }
    done.sort_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, made)| made).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Reverse;
    use std::convert::Infallible;
    use std::sync::Mutex;

    const MANY: NonZero<usize> = NonZero::new(4).unwrap();

    #[test]
    fn all_is_done_once_and_comes_back_in_order() {
        for threads in [NonZero::<usize>::MIN, MANY] {
            for count in [0, 1, 2, 3, 100] {
                let items: Vec<u32> = (0..count).collect();
                let double = |item: &u32| Ok::<_, Infallible>(item * 2);
                let Ok(done) = try_map(&items, threads, |_, item| Reverse(*item), double);
                assert_eq!(done, items.iter().map(|item| item * 2).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_ranks_first_is_begun_first() {
        let begun = Mutex::new(Vec::new());
        let note = |item: &i32| {
            begun.lock().unwrap().push(*item);
            Ok::<_, Infallible>(())
        };
        let Ok(_) = try_map(&[3, 1, 2], NonZero::<usize>::MIN, |_, item| *item, note);
        assert_eq!(begun.into_inner().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn the_first_failure_is_the_answer_and_little_is_begun_after_it() {
        let items: Vec<usize> = (0..1_000).collect();
        for threads in [NonZero::<usize>::MIN, MANY] {
            let begun = AtomicUsize::new(0);
            let fail = |item: &usize| {
                begun.fetch_add(1, Ordering::Relaxed);
                // The first to fail takes longer than those behind it.
                thread::sleep(std::time::Duration::from_millis(if *item == 10 { 20 } else { 1 }));
                if 10 <= *item { Err(*item) } else { Ok(()) }
            };
            assert_eq!(try_map(&items, threads, |place, _| place, fail), Err(10));
            assert!(begun.into_inner() < 10 + 2 * MANY.get());
        }
    }

    #[test]
    #[should_panic(expected = "the third")]
    fn a_panic_reaches_the_caller() {
        let work = |item: &i32| {
            assert!(*item != 3, "the third");
            Ok::<_, Infallible>(())
        };
        let Ok(_) = try_map(&[1, 2, 3], MANY, |place, _| place, work);
    }
}

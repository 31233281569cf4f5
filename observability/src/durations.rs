//! How long things take: a histogram with log-linear buckets.
//!
//! Six buckets for each power of ten, from a microsecond to ten seconds: each is at most 1.7 times as wide as the
//! one before, so that a quantile is known to within some tens of percent, and the bounds are numbers that people
//! read. An observation is a binary search among 43 bounds and two atomic additions, in one cache line; of what many
//! threads do at once ([`Durations::by_thread`]), in one that hardly another thread writes to.
//!
//! Whoever reads while others observe sees each observation wholly or not at all in the buckets, and no sum and no
//! exemplar of one that the buckets do not have yet.
//!
//! Source: "Circllhist", Hartmann and Schlossnagle 2020, with fewer steps in each decade.

use crate::threads::thread_number;
use parking_lot::Mutex;
use sochdb_telemetry::{Exemplar, Histogram, MetricValue, SpanContext};
use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Tenths of a power of ten.
const STEPS: [u64; 6] = [10, 15, 20, 30, 50, 70];
/// A microsecond, in tenths of nanoseconds.
const FIRST: u64 = 100;
const DECADES: usize = 7;
const BOUNDS: usize = STEPS.len() * DECADES + 1;
/// What takes longer counts as a week: only nonsense does, and the sum must not overflow.
const WEEK_NS: u64 = 7 * 24 * 3600 * 1_000_000_000;
/// Upper bounds in nanoseconds.
const BOUNDS_NS: [u64; BOUNDS] = bounds();

const _: () = assert!(BOUNDS_NS[0] == 1_000 && BOUNDS_NS[BOUNDS - 1] == 10_000_000_000);

const fn bounds() -> [u64; BOUNDS] {
    let mut bounds = [0; BOUNDS];
    let (mut i, mut decade) = (0, FIRST);
    while i < BOUNDS {
        bounds[i] = STEPS[i % STEPS.len()] * decade;
        i += 1;
        if i % STEPS.len() == 0 {
            decade *= 10;
        }
    }
    bounds
}

/// How many threads count for themselves where each does. Of more, some count together.
const LANES: usize = 16;

/// How long something takes, as often as it is done.
pub struct Durations {
    /// One, or [`LANES`].
    lanes: Box<[Lane]>,
    /// The newest one of each bucket that was part of a trace. Nobody waits for it.
    exemplars: Mutex<Vec<Option<Exemplar>>>,
}

/// What some threads observed, in cache lines of its own; in pairs, because processors fetch them so.
#[repr(align(128))]
struct Lane([Bucket; BOUNDS + 1]);

/// What took about as long.
#[derive(Default)]
#[repr(align(16))]
struct Bucket {
    count: AtomicU64,
    sum_ns: AtomicU64,
}

impl Default for Durations {
    fn default() -> Durations {
        Durations::of_lanes(1)
    }
}

impl Durations {
    /// For what many threads do at once: they write to different cache lines.
    pub fn by_thread() -> Durations {
        Durations::of_lanes(LANES)
    }

    fn of_lanes(count: usize) -> Durations {
        let lane = || Lane(array::from_fn(|_| Bucket::default()));
        let lanes = (0..count).map(|_| lane()).collect();
        Durations { lanes, exemplars: Mutex::new(Vec::new()) }
    }

    /// It took so long.
    pub fn observe(&self, took: Duration) {
        let ns = nanos(took);
        let lane = match &*self.lanes {
            [lane] => lane,
            lanes => &lanes[thread_number() % LANES],
        };
        let bucket = &lane.0[bucket(ns)];
        bucket.count.fetch_add(1, Ordering::Relaxed);
        // After the count, and read before it: no sum without its count.
        bucket.sum_ns.fetch_add(ns, Ordering::Release);
    }

    /// The same, as part of `span` if that is recorded.
    pub fn observe_in(&self, took: Duration, span: Option<SpanContext>) {
        self.observe(took);
        let Some(span) = span else { return };
        if let Some(mut exemplars) = self.exemplars.try_lock() {
            if exemplars.is_empty() {
                exemplars.resize(BOUNDS + 1, None);
            }
            let (ns, unix_us) = (nanos(took), crate::unix_us());
            exemplars[bucket(ns)] = Some(Exemplar { value: seconds(ns), unix_us, span });
        }
    }

    /// How often it was done.
    pub fn count(&self) -> u64 {
        self.counts().sum()
    }

    /// Everything so far, in seconds.
    pub fn read(&self) -> Histogram {
        let exemplars = self.exemplars.lock().iter().flatten().copied().collect();
        let buckets = self.lanes.iter().flat_map(|lane| &lane.0);
        let sum = seconds(buckets.map(|bucket| bucket.sum_ns.load(Ordering::Acquire)).sum());
        let so_far = |total: &mut u64, count| {
            *total += count;
            Some(*total)
        };
        let bounds = BOUNDS_NS.iter().map(|ns| seconds(*ns)).collect();
        Histogram { bounds, counts: self.counts().scan(0, so_far).collect(), sum, exemplars }
    }

    fn counts(&self) -> impl Iterator<Item = u64> {
        let count = |bucket: &Bucket| bucket.count.load(Ordering::Relaxed);
        (0..=BOUNDS).map(move |at| self.lanes.iter().map(|lane| count(&lane.0[at])).sum())
    }

    /// The same, as a metric's value.
    pub fn value(&self) -> MetricValue {
        MetricValue::Histogram(self.read())
    }
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).map_or(WEEK_NS, |ns| ns.min(WEEK_NS))
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// The bucket whose bound is the first that is not below `ns`.
fn bucket(ns: u64) -> usize {
    BOUNDS_NS.partition_point(|bound| *bound < ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    const SPAN: SpanContext = SpanContext { trace_id: 1, span_id: 2 };

    /// Durations of every size, and those at bounds and beside them.
    fn any_ns() -> impl Strategy<Value = u64> {
        let beside =
            (0..BOUNDS, -1i64..=1).prop_map(|(i, by)| BOUNDS_NS[i].saturating_add_signed(by));
        let any_size = (0u32..64, any::<u64>()).prop_map(|(shift, ns)| ns >> shift);
        prop_oneof![beside, any_size]
    }

    proptest! {
        #[test]
        fn a_value_falls_in_the_first_bucket_whose_bound_is_not_below_it(ns in any_ns()) {
            let durations = Durations::default();
            durations.observe(Duration::from_nanos(ns));
            let read = durations.read();
            let first = read.counts.iter().position(|count| *count == 1).unwrap();
            let value = seconds(ns.min(WEEK_NS));
            prop_assert!(read.bounds.get(first).is_none_or(|bound| value <= *bound));
            prop_assert!(first == 0 || read.bounds[first - 1] < value);
            prop_assert!(read.counts[first..].iter().all(|count| *count == 1));
            prop_assert_eq!(read.sum, value);
        }

        #[test]
        fn counts_sums_and_exemplars_agree(each in prop::collection::vec((any_ns(), any::<bool>()), 0..50)) {
            let durations = Durations::default();
            for (ns, traced) in &each {
                durations.observe_in(Duration::from_nanos(*ns), traced.then_some(SPAN));
            }
            let read = durations.read();
            prop_assert_eq!(read.counts.len(), read.bounds.len() + 1);
            prop_assert!(read.counts.is_sorted() && read.bounds.is_sorted());
            prop_assert_eq!((read.count(), durations.count()), (each.len() as u64, each.len() as u64));
            let total: u128 = each.iter().map(|(ns, _)| u128::from((*ns).min(WEEK_NS))).sum();
            prop_assert!((read.sum - total as f64 / 1e9).abs() <= read.sum * 1e-9);
            for (i, bound) in BOUNDS_NS.iter().enumerate() {
                let below = each.iter().filter(|(ns, _)| ns <= bound).count();
                prop_assert_eq!(read.counts[i], below as u64);
            }
            let bucket_of = |value: f64| read.bounds.partition_point(|bound| *bound < value);
            let buckets: Vec<_> = read.exemplars.iter().map(|one| bucket_of(one.value)).collect();
            prop_assert!(buckets.is_sorted_by(|a, b| a < b), "at most one a bucket, in order");
            let mut traced: Vec<_> = each.iter().filter(|(_, traced)| *traced).map(|(ns, _)| bucket(*ns)).collect();
            traced.sort();
            traced.dedup();
            prop_assert_eq!(buckets, traced);
        }

        #[test]
        fn a_quantile_is_known_to_within_its_bucket(ns in 1_000u64..10_000_000_000, q in 0.0f64..=1.0) {
            let durations = Durations::default();
            (0..10).for_each(|_| durations.observe(Duration::from_nanos(ns)));
            let quantile = durations.read().quantile(q).unwrap();
            let bucket = bucket(ns);
            let least = bucket.checked_sub(1).map_or(0.0, |below| seconds(BOUNDS_NS[below]));
            prop_assert!((least..=seconds(BOUNDS_NS[bucket])).contains(&quantile));
        }
    }

    #[test]
    fn what_more_threads_than_lanes_observe_is_read_together() {
        let durations = Durations::by_thread();
        let threads = 2 * LANES as u64 + 1;
        thread::scope(|scope| {
            for n in 1..=threads {
                let observe = |us| durations.observe_in(Duration::from_micros(us), Some(SPAN));
                scope.spawn(move || (0..n).for_each(|_| observe(n)));
            }
        });
        let (read, together) = (durations.read(), Durations::default());
        for n in 1..=threads {
            (0..n).for_each(|_| together.observe(Duration::from_micros(n)));
        }
        let expected = together.read();
        assert_eq!((&read.bounds, &read.counts), (&expected.bounds, &expected.counts));
        assert_eq!((read.sum, durations.count()), (expected.sum, together.count()));
        assert!(!read.exemplars.is_empty());
    }

    #[test]
    fn no_bucket_is_much_wider_than_the_one_before() {
        assert!(BOUNDS_NS.windows(2).all(|pair| pair[0] < pair[1] && pair[1] * 10 <= pair[0] * 17));
        assert_eq!(BOUNDS_NS[..7], [1_000, 1_500, 2_000, 3_000, 5_000, 7_000, 10_000]);
    }

    #[test]
    fn the_newest_exemplar_of_a_bucket_stays() {
        let durations = Durations::default();
        durations.observe_in(Duration::from_micros(110), Some(SPAN));
        durations.observe_in(Duration::from_micros(120), Some(SpanContext { span_id: 3, ..SPAN }));
        durations.observe_in(Duration::from_micros(130), None);
        let exemplars = durations.read().exemplars;
        assert_eq!(exemplars.len(), 1);
        assert_eq!((exemplars[0].value, exemplars[0].span.span_id), (0.00012, 3));
    }

    #[test]
    fn nonsense_does_not_overflow_the_sum() {
        let durations = Durations::default();
        (0..1000).for_each(|_| durations.observe_in(Duration::MAX, Some(SPAN)));
        let read = durations.read();
        assert_eq!((read.count(), read.sum), (1000, 1000.0 * seconds(WEEK_NS)));
        assert_eq!(read.exemplars[0].value, seconds(WEEK_NS));
    }

    #[test]
    fn a_reading_among_others_who_observe_agrees_with_itself() {
        [Durations::default(), Durations::by_thread()].iter().for_each(check_reading);
    }

    fn check_reading(durations: &Durations) {
        let done = AtomicBool::new(false);
        let us = Duration::from_micros(1);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        durations.observe_in(us, Some(SPAN));
                    }
                });
            }
            let mut before = durations.read();
            for _ in 0..2000 {
                let now = durations.read();
                assert!(now.counts.is_sorted());
                assert!((now.sum * 1e6).round() as u64 <= now.count(), "a sum without its count");
                assert!(now.exemplars.len() as u64 <= now.count(), "an exemplar without its count");
                assert!(before.counts.iter().zip(&now.counts).all(|(before, now)| before <= now));
                assert_eq!(now.since(&before).count(), now.count() - before.count());
                before = now;
            }
            done.store(true, Ordering::Relaxed);
        });
        let last = durations.read();
        assert_eq!((last.sum * 1e6).round() as u64, last.count());
    }
}

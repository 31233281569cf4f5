//! Pieces of work: what was done, when, and what it was part of.
//!
//! ```text
//!   Tracer::begin ── one in many, or part of a recorded one ──▶ recorded: has a context, is its children's parent
//!                 └─ else ──▶ only timed ── took long ────────▶ recorded after all, without children
//!   end ──▶ a bounded queue ──▶ the next batch
//! ```
//!
//! - Which one is recorded, each thread decides by a countdown of its own: no lock, no shared cache line. Of as many
//!   spans as `one_in` says it picks one at random, so that no rhythm of the work can hide from it.
//! - A span is part of the one that its thread is in; [`Tracer::within`] says that of a trace from elsewhere.
//! - Spans may end in any order. When the last of a thread has ended, the thread is in none.
//! - Source of the numbers and their text: W3C Trace Context.

use crate::clip::{self, TEXT_BYTES_MAX};
use crate::ticks::Ticks;
use crossbeam_queue::ArrayQueue;
use sochdb_telemetry::{Span, SpanContext};
use std::cell::Cell;
use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is said of one span at most.
const ATTRIBUTES_MAX: usize = 32;
/// The reason of a span that failed before it was known to be slow.
const NOT_KEPT: &str = "failed; why was not kept";

thread_local! {
    static PLACE: Cell<Place> = const { Cell::new(Place { current: None, depth: 0 }) };
    static TURN: Cell<Turn> = const { Cell::new(Turn { one_in: 0, left: 0, pick: 0 }) };
}

/// Where a thread is.
#[derive(Clone, Copy)]
struct Place {
    /// The recorded span that it is in.
    current: Option<SpanContext>,
    /// Recorded spans, and parents from elsewhere, that have not ended.
    depth: u32,
}

impl Place {
    /// Goes into `inner`; answers what the thread was in before.
    fn enter(inner: SpanContext) -> Option<SpanContext> {
        let Place { current, depth } = PLACE.get();
        PLACE.set(Place { current: Some(inner), depth: depth.saturating_add(1) });
        current
    }

    /// Out of `inner`, back to `outer`. Whoever ends before what is inside leaves that where it is.
    fn leave(inner: SpanContext, outer: Option<SpanContext>) {
        let Place { current, depth } = PLACE.get();
        let depth = depth.saturating_sub(1);
        let current = if current == Some(inner) { outer } else { current };
        PLACE.set(Place { current: current.filter(|_| 0 < depth), depth });
    }
}

/// Which of a thread's next spans is recorded: of `one_in` spans, of which `left` are still to begin, the one that
/// begins when `pick` are left.
#[derive(Clone, Copy)]
struct Turn {
    one_in: u32,
    left: u32,
    pick: u32,
}

impl Turn {
    /// Whether it is the turn of the span that begins now.
    fn next(one_in: u32) -> bool {
        if one_in <= 1 {
            return one_in == 1;
        }
        let mut turn = TURN.get();
        if turn.left == 0 || turn.one_in != one_in {
            turn = Turn { one_in, left: one_in, pick: fastrand::u32(1..=one_in) };
        }
        TURN.set(Turn { left: turn.left - 1, ..turn });
        turn.left == turn.pick
    }
}

/// Which spans are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracerOptions {
    /// One in so many is recorded with everything in it; zero for none.
    pub one_in: u32,
    /// What takes as long is recorded in any case.
    pub slow: Duration,
    /// Spans that wait for observers; of what comes then, nothing is kept.
    pub waiting_max: usize,
}

impl Default for TracerOptions {
    fn default() -> TracerOptions {
        TracerOptions { one_in: 1024, slow: Duration::from_millis(100), waiting_max: 1024 }
    }
}

/// Where spans begin. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Tracer(Arc<Inner>);

struct Inner {
    options: TracerOptions,
    ended: ArrayQueue<Span>,
    recorded: AtomicU64,
    dropped: AtomicU64,
}

/// A piece of work that goes on. It ends when this is dropped, or by [`end`](Self::end), on the thread where it began:
///
/// ```compile_fail,E0277
/// let telemetry = sochdb_observability::Telemetry::default();
/// let span = telemetry.tracer().begin("commit");
/// std::thread::scope(|scope| scope.spawn(|| drop(span)).join());
/// ```
#[must_use = "it ends when it is dropped"]
pub struct ActiveSpan<'a> {
    tracer: &'a Tracer,
    name: &'static str,
    began: Ticks,
    /// Present if it is recorded.
    context: Option<SpanContext>,
    /// The span that the thread was in before.
    outer: Option<SpanContext>,
    attributes: Vec<(String, String)>,
    error: Option<String>,
    /// Known once it was ended.
    took: Option<Duration>,
    stays: Stays,
}

/// Not sent to another thread: where a thread is, only the thread itself can say.
type Stays = PhantomData<*const ()>;

/// While this lives, the thread's spans are part of a span from elsewhere.
#[must_use = "it ends when it is dropped"]
pub struct Parent {
    inner: SpanContext,
    outer: Option<SpanContext>,
    stays: Stays,
}

impl Tracer {
    /// Nothing is recorded yet.
    pub fn new(options: TracerOptions) -> Tracer {
        let ended = ArrayQueue::new(options.waiting_max.max(1));
        let (recorded, dropped) = Default::default();
        Tracer(Arc::new(Inner { options, ended, recorded, dropped }))
    }

    /// Begins a piece of work called `name`.
    pub fn begin(&self, name: &'static str) -> ActiveSpan<'_> {
        let context = match Tracer::current() {
            Some(parent) => Some(SpanContext { span_id: span_id(), ..parent }),
            None => Turn::next(self.0.options.one_in).then(new_trace),
        };
        let outer = context.and_then(Place::enter);
        let (attributes, error, took, stays) = Default::default();
        let began = Ticks::now();
        ActiveSpan { tracer: self, name, began, context, outer, attributes, error, took, stays }
    }

    /// Until the answer is dropped, this thread's spans are part of `parent`, and all are recorded.
    pub fn within(&self, parent: SpanContext) -> Parent {
        Parent { inner: parent, outer: Place::enter(parent), stays: PhantomData }
    }

    /// The recorded span that this thread is in.
    pub fn current() -> Option<SpanContext> {
        PLACE.get().current
    }

    /// Spans that have ended since this was last asked, in the order they ended.
    pub(crate) fn drain(&self) -> Vec<Span> {
        let queue = &self.0.ended;
        (0..queue.len()).map_while(|_| queue.pop()).collect()
    }

    /// How many were recorded, and how many of those found no room.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.0.recorded), read(&self.0.dropped))
    }
}

impl ActiveSpan<'_> {
    /// What it is about, if it [is kept](Self::is_kept).
    pub fn about(&mut self, name: &str, value: impl Display) {
        if self.attributes.len() < ATTRIBUTES_MAX && self.is_kept() {
            let value = clip::text(format_args!("{value}"), TEXT_BYTES_MAX);
            self.attributes.push((clip::text(format_args!("{name}"), TEXT_BYTES_MAX), value));
        }
    }

    /// It failed. The reason is kept if the span [is](Self::is_kept).
    pub fn failed(&mut self, why: &dyn Display) {
        let kept = self.is_kept();
        self.error = Some(if kept {
            clip::text(format_args!("{why}"), TEXT_BYTES_MAX)
        } else {
            String::new()
        });
    }

    /// Which span it is, if it is recorded so far: for exemplars.
    pub fn context(&self) -> Option<SpanContext> {
        self.context
    }

    /// Says how long it took, for who has read the clock already: it ends now.
    pub fn ends_after(&mut self, took: Duration) {
        self.took = Some(took);
    }

    /// Its work ends now; answers how long it took. What it was can still be said, and reads no clock any more.
    pub fn stop(&mut self) -> Duration {
        *self.took.get_or_insert_with(|| self.began.elapsed())
    }

    /// Ends it, and says how long it took.
    pub fn end(mut self) -> Duration {
        self.stop()
    }

    /// Whether what is said of it now has a use: it is recorded, or slow already. Unless it is recorded, or it is known
    /// [how long it took](Self::ends_after), this reads the clock; who has several things to say at the end asks once.
    pub fn is_kept(&self) -> bool {
        self.context.is_some() || self.tracer.0.options.slow <= self.so_far()
    }

    fn so_far(&self) -> Duration {
        self.took.unwrap_or_else(|| self.began.elapsed())
    }
}

impl Drop for ActiveSpan<'_> {
    fn drop(&mut self) {
        let took = self.so_far();
        let Tracer(tracer) = self.tracer;
        let context = match self.context {
            Some(context) => {
                Place::leave(context, self.outer);
                context
            }
            None if tracer.options.slow <= took => new_trace(),
            None => return,
        };
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let error = self.error.take();
        let span = Span {
            context,
            parent: self.outer.map(|outer| outer.span_id),
            name: self.name.to_owned(),
            unix_ns: crate::unix_ns().saturating_sub(took_ns),
            took_ns,
            attributes: std::mem::take(&mut self.attributes),
            error: error.map(|why| if why.is_empty() { NOT_KEPT.to_owned() } else { why }),
        };
        tracer.recorded.fetch_add(1, Ordering::Relaxed);
        if tracer.ended.push(span).is_err() {
            tracer.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        Place::leave(self.inner, self.outer);
    }
}

fn new_trace() -> SpanContext {
    let trace_id = u128::from(span_id()) << 64 | u128::from(span_id());
    SpanContext { trace_id, span_id: span_id() }
}

/// Random, and never zero.
fn span_id() -> u64 {
    fastrand::u64(1..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{self, AssertUnwindSafe};
    use std::thread;

    fn tracer(one_in: u32, slow: Duration, waiting_max: usize) -> Tracer {
        Tracer::new(TracerOptions { one_in, slow, waiting_max })
    }

    fn every() -> Tracer {
        tracer(1, Duration::MAX, 100)
    }

    fn ended(tracer: &Tracer) -> Vec<&'static str> {
        let names = ["a", "b", "c", "slow"];
        let spans = tracer.drain().into_iter();
        spans.map(|span| *names.iter().find(|name| **name == span.name).unwrap()).collect()
    }

    #[test]
    fn of_so_many_spans_each_thread_records_one() {
        let tracer = tracer(64, Duration::MAX, 10_000);
        let threads = 3;
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for turn in 1..=20 {
                        let recorded =
                            (0..64).filter(|_| tracer.begin("a").context().is_some()).count();
                        assert_eq!(recorded, 1, "turn {turn}");
                    }
                });
            }
        });
        assert_eq!(tracer.counts(), (threads * 20, 0));
        assert_eq!(tracer.drain().len() as u64, threads * 20);
    }

    #[test]
    fn work_with_a_rhythm_is_sampled_evenly() {
        let tracer = tracer(2, Duration::MAX, 10_000);
        for _ in 0..1000 {
            tracer.begin("a").end();
            tracer.begin("b").end();
        }
        let names = ended(&tracer);
        let a = names.iter().filter(|name| **name == "a").count();
        assert_eq!(names.len(), 1000);
        assert!((300..700).contains(&a), "{a} of 1000");
    }

    #[test]
    fn tracers_of_one_thread_keep_to_their_own_rates() {
        let (seldom, often) =
            (tracer(200, Duration::MAX, 10_000), tracer(4, Duration::MAX, 10_000));
        for _ in 0..20_000 {
            seldom.begin("a").end();
            often.begin("b").end();
        }
        let (seldom, often) = (seldom.counts().0, often.counts().0);
        assert!((30..300).contains(&seldom), "{seldom} of about 100");
        assert!((4000..6000).contains(&often), "{often} of about 5000");
    }

    #[test]
    fn with_zero_none_is_recorded_but_what_is_part_of_another_trace() {
        let tracer = tracer(0, Duration::MAX, 100);
        (0..5000).for_each(|_| assert!(tracer.begin("a").context().is_none()));
        assert_eq!(tracer.counts(), (0, 0));
        let caller = SpanContext { trace_id: 7, span_id: 8 };
        let parent = tracer.within(caller);
        assert_eq!(Tracer::current(), Some(caller));
        tracer.begin("b").end();
        drop(parent);
        assert_eq!(Tracer::current(), None);
        tracer.begin("c").end();
        let spans = tracer.drain();
        assert_eq!(spans.len(), 1);
        assert_eq!((spans[0].context.trace_id, spans[0].parent), (7, Some(8)));
    }

    /// A span that began six seconds ago, to a tracer for which five are slow.
    fn make_slow(span: &mut ActiveSpan<'_>) {
        span.began = Ticks::ago(Duration::from_secs(6));
    }

    #[test]
    fn a_slow_span_is_recorded_after_all() {
        let tracer = tracer(0, Duration::from_secs(5), 100);
        tracer.begin("a").end();
        let mut slow = tracer.begin("slow");
        slow.about("early", 1);
        assert!(!slow.is_kept());
        make_slow(&mut slow);
        assert!(slow.is_kept() && slow.context().is_none());
        slow.about("late", 2);
        slow.failed(&"the disk is full");
        let took = slow.end();
        let spans = tracer.drain();
        assert_eq!(spans.len(), 1);
        assert_eq!((spans[0].name.as_str(), spans[0].parent), ("slow", None));
        assert_eq!(u128::from(spans[0].took_ns), took.as_nanos());
        assert_eq!(spans[0].attributes, [("late".to_owned(), "2".to_owned())]);
        assert_eq!(spans[0].error.as_deref(), Some("the disk is full"));
    }

    #[test]
    fn what_is_said_of_a_span_after_its_work_takes_none_of_its_time() {
        let tracer = tracer(0, Duration::from_secs(5), 100);
        let mut span = tracer.begin("a");
        let took = span.stop();
        make_slow(&mut span);
        assert_eq!((span.is_kept(), span.stop()), (false, took));
        drop(span);
        let mut slow = tracer.begin("slow");
        make_slow(&mut slow);
        let took = slow.stop();
        slow.about("late", 2);
        assert_eq!(slow.end(), took);
        let spans = tracer.drain();
        assert_eq!((spans.len(), u128::from(spans[0].took_ns)), (1, took.as_nanos()));
        assert_eq!(spans[0].attributes, [("late".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn a_span_that_failed_before_it_was_slow_is_seen_to_have_failed() {
        let tracer = tracer(0, Duration::from_secs(5), 100);
        let mut slow = tracer.begin("slow");
        slow.failed(&"soon");
        make_slow(&mut slow);
        drop(slow);
        assert_eq!(tracer.drain()[0].error.as_deref(), Some(NOT_KEPT));
    }

    #[test]
    fn children_are_part_of_their_parent() {
        let tracer = every();
        let mut a = tracer.begin("a");
        a.about("rows", 3);
        let b = tracer.begin("b");
        assert_eq!(Tracer::current(), b.context());
        let c = tracer.begin("c");
        let contexts = [&a, &b, &c].map(|span| span.context().unwrap());
        drop(c);
        assert_eq!(Tracer::current(), Some(contexts[1]));
        drop(b);
        drop(a);
        assert_eq!(Tracer::current(), None);
        let spans = tracer.drain();
        let parents: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.parent)).collect();
        let [a, b, c] = contexts.map(|context| context.span_id);
        assert_eq!(parents, [("c", Some(b)), ("b", Some(a)), ("a", None)]);
        assert!(spans.iter().all(|span| span.context.trace_id == contexts[0].trace_id));
        assert!(a != b && b != c && a != c);
        assert_eq!(spans[2].attributes, [("rows".to_owned(), "3".to_owned())]);
        let ends: Vec<_> = spans.iter().map(|span| span.unix_ns + span.took_ns).collect();
        assert!(spans[2].unix_ns <= ends[0], "the parent began before the child ended");
    }

    #[test]
    fn spans_that_end_in_any_order_leave_the_thread_in_none() {
        let tracer = every();
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut spans = ["a", "b", "c"].map(|name| Some(tracer.begin(name)));
            order.iter().for_each(|&i| drop(spans[i].take()));
            assert_eq!(Tracer::current(), None, "{order:?}");
            assert_eq!(tracer.drain().len(), 3);
        }
        let parent = tracer.within(SpanContext { trace_id: 7, span_id: 8 });
        let span = tracer.begin("a");
        drop(parent);
        drop(span);
        assert_eq!(Tracer::current(), None);
    }

    #[test]
    fn a_panic_ends_its_spans() {
        let tracer = every();
        let outer = tracer.begin("a");
        let result = panic::catch_unwind(AssertUnwindSafe(|| {
            let _b = tracer.begin("b");
            let _c = tracer.begin("c");
            panic::resume_unwind(Box::new(()));
        }));
        assert!(result.is_err());
        assert_eq!(Tracer::current(), outer.context());
        drop(outer);
        assert_eq!(Tracer::current(), None);
        assert_eq!(ended(&tracer), ["c", "b", "a"]);
    }

    #[test]
    fn spans_without_room_are_counted() {
        let tracer = tracer(1, Duration::MAX, 4);
        (0..10).for_each(|_| drop(tracer.begin("a")));
        assert_eq!(tracer.counts(), (10, 6));
        assert_eq!(ended(&tracer), ["a"; 4]);
        drop(tracer.begin("b"));
        assert_eq!((tracer.counts(), ended(&tracer)), ((11, 6), vec!["b"]));
    }

    #[test]
    fn what_is_said_of_a_span_is_bounded() {
        let tracer = every();
        let mut span = tracer.begin("a");
        (0..100).for_each(|i| span.about("long", "x".repeat(i * 1000)));
        span.failed(&"y".repeat(100_000));
        drop(span);
        let span = tracer.drain().remove(0);
        assert_eq!(span.attributes.len(), ATTRIBUTES_MAX);
        assert!(span.attributes.iter().all(|(_, value)| value.len() <= TEXT_BYTES_MAX));
        assert!(span.error.unwrap().len() <= TEXT_BYTES_MAX);
    }

    #[test]
    fn another_thread_is_in_none_of_our_spans() {
        let tracer = every();
        let span = tracer.begin("a");
        let elsewhere = thread::scope(|scope| scope.spawn(Tracer::current).join().unwrap());
        assert_eq!(elsewhere, None);
        let context = span.context().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let _parent = tracer.within(context);
                tracer.begin("b").end();
            });
        });
        drop(span);
        let spans = tracer.drain();
        assert_eq!((spans[0].name.as_str(), spans[0].parent), ("b", Some(context.span_id)));
    }
}

//! What is on a commit's way allocates nothing.
//!
//! The allocator counts what each thread asks for, so that the harness beside a test does not disturb it.

use sochdb_observability::{Durations, Telemetry, TelemetryOptions, Tracer, TracerOptions};
use sochdb_telemetry::Counter;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;
use tracing_subscriber::layer::SubscriberExt;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: memory is the system allocator's; counting has a cell without a destructor and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as promised by who asks.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` is from `alloc` with this layout.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: `ptr` is from `alloc` with this layout.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

/// How often `work` asks for memory, once it has been done before.
fn allocations(mut work: impl FnMut()) -> u64 {
    work();
    let before = ALLOCATIONS.get();
    (0..10_000).for_each(|_| work());
    ALLOCATIONS.get() - before
}

fn telemetry(one_in: u32) -> Telemetry {
    let spans = TracerOptions { one_in, slow: Duration::MAX, waiting_max: 64 };
    Telemetry::new(TelemetryOptions { spans, ..TelemetryOptions::default() })
}

#[test]
fn counting_timing_and_spans_that_are_not_sampled_allocate_nothing() {
    let (telemetry, counter, durations) = (telemetry(0), Counter::default(), Durations::default());
    let work = || {
        let mut span = telemetry.tracer().begin("commit");
        span.about("rows", 3);
        counter.add(1);
        let context = span.context();
        durations.observe_in(span.end(), context);
        durations.observe_in(Duration::from_nanos(counter.get()), Tracer::current());
    };
    assert_eq!(allocations(work), 0);
    assert_eq!((counter.get(), durations.count()), (10_001, 20_002));
}

#[test]
fn deciding_which_span_is_sampled_allocates_nothing() {
    let telemetry = telemetry(1 << 31);
    assert_eq!(allocations(|| drop(black_box(telemetry.tracer().begin("commit")))), 0);
}

#[test]
fn an_event_that_is_not_wanted_allocates_nothing() {
    let telemetry = telemetry(0);
    tracing::subscriber::with_default(
        tracing_subscriber::registry().with(telemetry.layer()),
        || {
            assert_eq!(allocations(|| tracing::debug!(target: "sochdb", rows = 3, "quiet")), 0);
            assert_eq!(
                allocations(|| tracing::info!(target: "elsewhere", rows = 3, "not ours")),
                0
            );
        },
    );
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 10_000);
}

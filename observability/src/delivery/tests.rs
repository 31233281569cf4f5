//! Delivery to observers of every temper.

use super::{Delivery, DeliveryOptions, Observer};
use crate::{Telemetry, unix_us};
use parking_lot::{Condvar, Mutex};
use sochdb_kernel::plugin::{
    Extension, ExtensionCapability, ExtensionInfo, ObservabilityExtension, Page, TelemetryBatch,
};
use sochdb_kernel::{KernelError, KernelResult, PluginFault};
use sochdb_telemetry::{ComponentHealth, HealthState, LogLevel, LogLine, MetricValue};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Long enough for anything that ends at all.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(50);

/// What an observer does with its batches.
#[derive(Clone, Copy, PartialEq)]
enum Temper {
    Takes,
    Errs,
    Panics,
    /// Waits until the gate is opened.
    Waits,
}

struct Native {
    name: &'static str,
    temper: Mutex<Temper>,
    opened: Condvar,
    calls: AtomicUsize,
    /// Messages of the log lines of each batch.
    taken: Mutex<Vec<Vec<String>>>,
}

impl Native {
    fn new(name: &'static str, temper: Temper) -> Arc<Native> {
        let (opened, calls, taken) = Default::default();
        Arc::new(Native { name, temper: Mutex::new(temper), opened, calls, taken })
    }

    fn becomes(&self, temper: Temper) {
        *self.temper.lock() = temper;
        self.opened.notify_all();
    }

    /// How often it was called, the call it is in included.
    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn lines(&self) -> Vec<String> {
        self.taken.lock().concat()
    }
}

impl Extension for Native {
    fn info(&self) -> ExtensionInfo {
        ExtensionInfo {
            name: self.name.to_owned(),
            version: "1.0.0".to_owned(),
            description: String::new(),
            author: String::new(),
            capabilities: vec![ExtensionCapability::Observability],
        }
    }
}

impl ObservabilityExtension for Native {
    fn ingest(&self, batch: &TelemetryBatch) -> KernelResult<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut temper = self.temper.lock();
        while *temper == Temper::Waits {
            self.opened.wait(&mut temper);
        }
        match *temper {
            Temper::Errs => Err(KernelError::plugin(self.name, PluginFault::Refused, "not today")),
            Temper::Panics => panic!("an observer that panics on purpose"),
            Temper::Takes | Temper::Waits => {
                let lines = batch.logs.iter().map(|line| line.message.clone());
                self.taken.lock().push(lines.collect());
                Ok(())
            }
        }
    }

    fn render(&self, _accept: &str) -> KernelResult<Page> {
        Ok(Page::default())
    }
}

/// Who is there; changed by a test while it runs.
type Present = Arc<Mutex<Vec<Observer>>>;

fn only_by_flush() -> DeliveryOptions {
    DeliveryOptions { interval: Duration::ZERO, waiting_max: 2, patience: SHORT }
}

fn start(observers: &[&Arc<Native>], options: DeliveryOptions) -> (Telemetry, Delivery, Present) {
    let telemetry = Telemetry::default();
    let present = observers.iter().map(|observer| (*observer).clone() as Observer).collect();
    let present: Present = Arc::new(Mutex::new(present));
    let asked = present.clone();
    let observers = move || asked.lock().clone();
    let delivery = Delivery::start(telemetry.clone(), observers, options).unwrap();
    (telemetry, delivery, present)
}

fn say(telemetry: &Telemetry, message: impl ToString) {
    telemetry.logs().push(LogLine {
        unix_us: unix_us(),
        level: LogLevel::Info,
        target: "test".to_owned(),
        message: message.to_string(),
        fields: Vec::new(),
        span: None,
    });
}

/// The value of a counter, a gauge, or the count of a histogram; zero when the observer is not known yet.
fn metric(telemetry: &Telemetry, name: &str, observer: &str) -> u64 {
    let labels = [("observer".to_owned(), observer.to_owned())];
    let metrics = telemetry.metrics();
    let found = metrics.iter().find(|metric| metric.name == name && metric.labels == labels);
    match found.map(|metric| &metric.value) {
        Some(MetricValue::Counter(value) | MetricValue::Gauge(value)) => *value as u64,
        Some(MetricValue::Histogram(histogram)) => *histogram.counts.last().unwrap(),
        None => 0,
    }
}

fn waiting(telemetry: &Telemetry, observer: &str) -> u64 {
    metric(telemetry, "sochdb_telemetry_waiting", observer)
}

fn delivered(telemetry: &Telemetry, observer: &str) -> u64 {
    metric(telemetry, "sochdb_telemetry_delivered_total", observer)
}

fn dropped(telemetry: &Telemetry, observer: &str) -> u64 {
    metric(telemetry, "sochdb_telemetry_dropped_total", observer)
}

fn health(telemetry: &Telemetry, observer: &str) -> ComponentHealth {
    let mut health = telemetry.health();
    health.retain(|health| health.component == "observer" && health.name == observer);
    health.pop().unwrap_or_else(|| panic!("nothing is known of {observer}"))
}

/// Waits for what another thread does.
fn until(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < LONG, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn every_observer_gets_each_line_once_and_in_order() {
    let (a, b) = (Native::new("a", Temper::Takes), Native::new("b", Temper::Takes));
    let (telemetry, delivery, _) = start(&[&a, &b], only_by_flush());
    for i in 0..100 {
        say(&telemetry, i);
        if i % 7 == 0 {
            assert!(delivery.flush(LONG));
        }
    }
    assert!(delivery.flush(LONG));
    let all: Vec<_> = (0..100).map(|i| i.to_string()).collect();
    assert_eq!((a.lines(), b.lines()), (all.clone(), all));
    assert_eq!((delivered(&telemetry, "a"), dropped(&telemetry, "a")), (16, 0));
    assert_eq!(metric(&telemetry, "sochdb_telemetry_delivery_duration_seconds", "b"), 16);
    assert_eq!(health(&telemetry, "a").state, HealthState::Healthy);
}

#[test]
fn batches_come_by_themselves_at_the_interval() {
    let a = Native::new("a", Temper::Takes);
    let options = DeliveryOptions { interval: Duration::from_millis(1), ..only_by_flush() };
    let (telemetry, _delivery, _) = start(&[&a], options);
    say(&telemetry, "first");
    until(|| a.lines() == ["first"]);
    say(&telemetry, "second");
    until(|| a.lines() == ["first", "second"]);
}

#[test]
fn with_an_interval_of_zero_nothing_comes_by_itself() {
    let a = Native::new("a", Temper::Takes);
    let (telemetry, delivery, _) = start(&[&a], only_by_flush());
    say(&telemetry, "waits");
    std::thread::sleep(SHORT);
    assert!(a.taken.lock().is_empty());
    drop(delivery);
    assert_eq!(a.lines(), ["waits"]);
}

#[test]
fn an_endless_interval_and_endless_patience_are_taken() {
    let a = Native::new("a", Temper::Takes);
    let (interval, patience) = (Duration::MAX, Duration::MAX);
    let (telemetry, delivery, _) =
        start(&[&a], DeliveryOptions { interval, patience, waiting_max: 0 });
    say(&telemetry, "one");
    assert!(delivery.flush(Duration::MAX));
    drop(delivery);
    assert_eq!(a.lines(), ["one"]);
}

#[test]
fn what_a_slow_observer_loses_is_counted_and_a_fast_one_gets_everything() {
    let (slow, fast) = (Native::new("slow", Temper::Waits), Native::new("fast", Temper::Takes));
    let (telemetry, delivery, _) = start(&[&slow, &fast], only_by_flush());
    say(&telemetry, 0);
    assert!(!delivery.flush(SHORT));
    until(|| slow.calls() == 1 && fast.lines().len() == 1);
    for i in 1..10 {
        say(&telemetry, i);
        drop(telemetry.tracer().begin("work"));
        // The first two wait; the rest is lost, and what waits keeps the flush from ending well.
        assert!(!delivery.flush(Duration::from_millis(1)));
        until(|| fast.lines().len() == i + 1);
    }
    until(|| delivered(&telemetry, "fast") == 10 && dropped(&telemetry, "slow") == 7);
    assert_eq!((delivered(&telemetry, "slow"), dropped(&telemetry, "fast")), (0, 0));
    assert_eq!(metric(&telemetry, "sochdb_telemetry_dropped_log_lines_total", "slow"), 7);
    assert_eq!(waiting(&telemetry, "slow"), 3);
    let ill = health(&telemetry, "slow");
    assert_eq!(ill.state, HealthState::Degraded);
    assert_eq!(ill.why, "2 batches wait for it, and it gets no more");
    slow.becomes(Temper::Takes);
    assert!(delivery.flush(LONG));
    assert_eq!(slow.lines(), ["0", "1", "2"]);
    assert_eq!(health(&telemetry, "slow").state, HealthState::Healthy);
}

#[test]
fn spans_of_lost_batches_are_counted() {
    let a = Native::new("a", Temper::Errs);
    let options = crate::TelemetryOptions {
        spans: crate::TracerOptions { one_in: 1, ..Default::default() },
        ..Default::default()
    };
    let telemetry = Telemetry::new(options);
    let observers: Vec<Observer> = vec![a];
    let delivery =
        Delivery::start(telemetry.clone(), move || observers.clone(), only_by_flush()).unwrap();
    (0..5).for_each(|_| drop(telemetry.tracer().begin("work")));
    assert!(delivery.flush(LONG));
    assert_eq!(metric(&telemetry, "sochdb_telemetry_dropped_spans_total", "a"), 5);
}

#[test]
fn an_observer_that_errs_or_panics_is_degraded_until_it_takes_a_batch_again() {
    let a = Native::new("a", Temper::Errs);
    let (telemetry, delivery, _) = start(&[&a], only_by_flush());
    for (temper, why) in [(Temper::Errs, "not today"), (Temper::Panics, "panicked")] {
        a.becomes(temper);
        say(&telemetry, why);
        assert!(delivery.flush(LONG), "a batch that is lost is settled");
        let ill = health(&telemetry, "a");
        assert!(ill.state == HealthState::Degraded && ill.why.contains(why), "{ill:?}");
    }
    assert_eq!(dropped(&telemetry, "a"), 2);
    assert_eq!(metric(&telemetry, "sochdb_telemetry_dropped_log_lines_total", "a"), 2);
    a.becomes(Temper::Takes);
    say(&telemetry, "better");
    assert!(delivery.flush(LONG));
    assert_eq!(a.lines(), ["better"]);
    assert_eq!(health(&telemetry, "a").state, HealthState::Healthy);
}

#[test]
fn a_hanging_observer_delays_neither_the_others_nor_the_end_for_long() {
    let (hangs, takes) = (Native::new("hangs", Temper::Waits), Native::new("takes", Temper::Takes));
    let (telemetry, delivery, _) = start(&[&hangs, &takes], only_by_flush());
    for i in 0..5 {
        say(&telemetry, i);
        assert!(!delivery.flush(SHORT));
    }
    until(|| takes.lines().len() == 5);
    until(|| health(&telemetry, "hangs").state == HealthState::Degraded);
    say(&telemetry, "last");
    let began = Instant::now();
    drop(delivery);
    assert!(began.elapsed() < LONG, "the end waits for its patience only");
    assert_eq!(takes.lines().last().unwrap(), "last");
    assert!(Arc::strong_count(&hangs) > 1, "its thread still holds it");
    hangs.becomes(Temper::Takes);
    until(|| Arc::strong_count(&hangs) == 1);
}

#[test]
fn the_end_delivers_a_last_batch_even_to_a_full_queue() {
    let a = Native::new("a", Temper::Waits);
    let options = DeliveryOptions { patience: LONG, ..only_by_flush() };
    let (telemetry, delivery, present) = start(&[&a], options);
    for i in 0..3 {
        say(&telemetry, i);
        assert!(!delivery.flush(SHORT));
    }
    say(&telemetry, "last");
    let waker = std::thread::spawn({
        let a = a.clone();
        move || {
            std::thread::sleep(SHORT);
            a.becomes(Temper::Takes);
        }
    });
    drop(delivery);
    waker.join().unwrap();
    assert_eq!(a.lines(), ["0", "1", "2", "last"]);
    present.lock().clear();
    assert_eq!(Arc::strong_count(&a), 1, "nobody holds the observer after the end");
    assert_eq!(Arc::strong_count(&present), 1, "nor the closure");
}

#[test]
fn without_observers_lines_wait_in_their_own_queue() {
    let (telemetry, delivery, present) = start(&[], only_by_flush());
    say(&telemetry, "early");
    assert!(delivery.flush(LONG));
    let a = Native::new("a", Temper::Takes);
    present.lock().push(a.clone());
    assert!(delivery.flush(LONG));
    assert_eq!(a.lines(), ["early"]);
    drop(delivery);
}

#[test]
fn a_replaced_observer_gets_what_was_not_handed_over_yet() {
    let (old, new) = (Native::new("a", Temper::Takes), Native::new("a", Temper::Takes));
    let (telemetry, delivery, present) = start(&[&old], only_by_flush());
    say(&telemetry, "one");
    assert!(delivery.flush(LONG));
    *present.lock() = vec![new.clone()];
    say(&telemetry, "two");
    assert!(delivery.flush(LONG));
    assert_eq!((old.lines(), new.lines()), (vec!["one".to_owned()], vec!["two".to_owned()]));
    assert_eq!(Arc::strong_count(&old), 1, "nobody holds the old one");
    assert_eq!(delivered(&telemetry, "a"), 2);
}

#[test]
fn an_observer_that_hangs_can_be_replaced() {
    let (old, new) = (Native::new("a", Temper::Waits), Native::new("a", Temper::Takes));
    let options = DeliveryOptions { waiting_max: 1000, ..only_by_flush() };
    let (telemetry, delivery, present) = start(&[&old], options);
    say(&telemetry, "hangs");
    assert!(!delivery.flush(SHORT));
    until(|| old.calls() == 1);
    *present.lock() = vec![new.clone()];
    say(&telemetry, "two");
    until(|| delivery.flush(SHORT));
    assert_eq!(new.lines(), ["two"]);
    assert_eq!(dropped(&telemetry, "a"), 1);
    old.becomes(Temper::Takes);
    until(|| Arc::strong_count(&old) == 1);
    say(&telemetry, "three");
    assert!(delivery.flush(LONG));
    assert_eq!(new.lines(), ["two", "three"]);
    assert_eq!(dropped(&telemetry, "a"), 1, "what the old one does afterwards counts no more");
}

#[test]
fn threads_are_left_behind_up_to_a_bound_only() {
    let all: Vec<_> = (0..6).map(|_| Native::new("a", Temper::Waits)).collect();
    let (telemetry, delivery, present) = start(&[], only_by_flush());
    for (i, observer) in all.iter().enumerate() {
        *present.lock() = vec![observer.clone()];
        say(&telemetry, i);
        delivery.flush(SHORT);
        until(|| observer.calls() == 1 || 4 < dropped(&telemetry, "a"));
        present.lock().clear();
        assert!(delivery.flush(LONG));
    }
    let called: usize = all.iter().map(|observer| observer.calls()).sum();
    assert_eq!(called, 4);
    all.iter().for_each(|observer| observer.becomes(Temper::Takes));
    until(|| all.iter().all(|observer| Arc::strong_count(observer) == 1));
    present.lock().push(all[5].clone());
    until(|| {
        say(&telemetry, "again");
        delivery.flush(LONG) && !all[5].lines().is_empty()
    });
}

#[test]
fn an_observer_that_is_gone_is_let_go_of_and_its_counts_stay() {
    let (a, b) = (Native::new("a", Temper::Takes), Native::new("b", Temper::Waits));
    let (telemetry, delivery, present) = start(&[&a, &b], only_by_flush());
    say(&telemetry, "one");
    assert!(!delivery.flush(SHORT));
    until(|| b.calls() == 1 && delivered(&telemetry, "a") == 1);
    assert!(!delivery.flush(SHORT));
    until(|| waiting(&telemetry, "b") == 2 && delivered(&telemetry, "a") == 2);
    present.lock().clear();
    assert!(delivery.flush(LONG), "nothing is left that could be waited for");
    assert_eq!((delivered(&telemetry, "a"), dropped(&telemetry, "b")), (2, 2));
    assert_eq!(telemetry.health(), []);
    until(|| Arc::strong_count(&a) == 1);
    b.becomes(Temper::Takes);
    until(|| Arc::strong_count(&b) == 1);
    present.lock().push(a.clone());
    say(&telemetry, "again");
    assert!(delivery.flush(LONG));
    assert_eq!((a.lines().len(), delivered(&telemetry, "a")), (2, 3));
}

#[test]
fn names_of_observers_that_are_gone_are_forgotten_when_there_are_too_many() {
    let (telemetry, delivery, present) = start(&[], only_by_flush());
    for i in 0..super::NAMES_MAX + 10 {
        let name: &'static str = format!("observer-{i}").leak();
        *present.lock() = vec![Native::new(name, Temper::Takes)];
        assert!(delivery.flush(LONG));
    }
    let metrics = telemetry.metrics();
    let names = metrics.iter().filter(|metric| metric.name == "sochdb_telemetry_waiting").count();
    assert!(names <= super::NAMES_MAX, "{names}");
}

#[test]
fn a_closure_that_panics_does_not_end_the_gatherer() {
    let a = Native::new("a", Temper::Takes);
    let telemetry = Telemetry::default();
    let asked = Arc::new(Mutex::new(0));
    let observers = {
        let a = a.clone();
        move || {
            *asked.lock() += 1;
            assert!(*asked.lock() != 1, "a panic on purpose");
            vec![a.clone() as Observer]
        }
    };
    let delivery = Delivery::start(telemetry.clone(), observers, only_by_flush()).unwrap();
    say(&telemetry, "one");
    assert!(!delivery.flush(LONG));
    assert_eq!(a.taken.lock().len(), 0);
    assert!(delivery.flush(LONG));
    assert_eq!(a.lines(), ["one"]);
}

#[test]
fn a_closure_that_hangs_keeps_neither_a_flush_nor_the_end() {
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock();
    let observers = {
        let gate = gate.clone();
        move || {
            drop(gate.lock());
            Vec::new()
        }
    };
    let delivery = Delivery::start(Telemetry::default(), observers, only_by_flush()).unwrap();
    assert!(!delivery.flush(SHORT));
    drop(delivery);
    drop(closed);
    until(|| Arc::strong_count(&gate) == 1);
}

#[test]
fn an_observer_that_panics_when_asked_who_it_is_is_left_out() {
    struct Nameless;
    impl Extension for Nameless {
        fn info(&self) -> ExtensionInfo {
            panic!("a name that panics on purpose")
        }
    }
    impl ObservabilityExtension for Nameless {
        fn ingest(&self, _batch: &TelemetryBatch) -> KernelResult<()> {
            unreachable!("it has no name")
        }

        fn render(&self, _accept: &str) -> KernelResult<Page> {
            Ok(Page::default())
        }
    }
    let a = Native::new("a", Temper::Takes);
    let (telemetry, delivery, present) = start(&[&a], only_by_flush());
    present.lock().insert(0, Arc::new(Nameless));
    say(&telemetry, "one");
    assert!(delivery.flush(LONG));
    assert_eq!(a.lines(), ["one"]);
}

#[test]
fn what_happens_too_often_is_said_once_and_counted() {
    let mut seldom = super::Seldom::default();
    assert_eq!(seldom.say(), Some(0));
    assert_eq!((seldom.say(), seldom.say()), (None, None));
    seldom.said = Instant::now().checked_sub(super::SAY_EVERY);
    assert_eq!(seldom.say(), seldom.said.map(|_| 2));
}

//! What `stats!` makes of numbers.

use crate::{Counter, Metric, MetricKind, MetricValue, unit_of};

crate::stats! {
    /// One of each kind.
    pub struct Kinds {
        counter sold = "shop_sold_total" "Things sold.",
        gauge on_shelf = "shop_on_shelf" "Things on the shelf.",
        micros open_us = "shop_open_seconds" "How long the shop is open.",
    }
}

crate::stats! {
    /// Some counted, some found otherwise.
    struct Both, counted by struct Counts {
        sold = "shop_sold_total" "Things sold.",
        lost = "shop_lost_total" "Things lost.",
    } and {
        counter heated = "shop_heated_total" "Times the heating went on.",
        gauge on_shelf = "shop_on_shelf" "Things on the shelf.",
    }
}

#[test]
fn a_number_becomes_a_metric_of_its_kind() {
    let metrics = Kinds { sold: 3, on_shelf: 7, open_us: 1_500_000 }.metrics();
    let values: Vec<_> = metrics.iter().map(|metric| metric.value.clone()).collect();
    assert_eq!(
        values,
        [MetricValue::Counter(3.0), MetricValue::Gauge(7.0), MetricValue::Gauge(1.5)]
    );
    assert_eq!(
        (metrics[2].name.as_str(), metrics[2].help.as_str()),
        ("shop_open_seconds", "How long the shop is open.")
    );
}

#[test]
fn families_say_what_the_metrics_are() {
    let metrics = Kinds::default().metrics();
    assert_eq!(metrics.len(), Kinds::FAMILIES.len());
    for (metric, family) in metrics.iter().zip(Kinds::FAMILIES) {
        assert_eq!(*metric, family.metric(&[], metric.value.clone()));
    }
    let kinds: Vec<_> = Kinds::FAMILIES.iter().map(|family| family.kind).collect();
    assert_eq!(kinds, [MetricKind::Counter, MetricKind::Gauge, MetricKind::Gauge]);
    let units: Vec<_> = Kinds::FAMILIES.iter().map(|family| family.unit()).collect();
    assert_eq!(units, ["", "", "seconds"]);
}

#[test]
fn what_is_counted_is_seen_and_the_rest_is_zero() {
    let counts = Counts::default();
    counts.sold.add(2);
    counts.sold.add(3);
    counts.lost.add(1);
    assert_eq!(counts.now(), Both { sold: 5, lost: 1, heated: 0, on_shelf: 0 });
    let names: Vec<_> = Both::FAMILIES.iter().map(|family| family.name).collect();
    let of_metrics: Vec<_> = counts.now().metrics().into_iter().map(|metric| metric.name).collect();
    assert_eq!(names, ["shop_sold_total", "shop_lost_total", "shop_heated_total", "shop_on_shelf"]);
    assert_eq!(names, of_metrics);
}

#[test]
fn threads_count_together() {
    let counter = Counter::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| counter.add(1)));
        }
    });
    assert_eq!(counter.get(), 4000);
}

#[test]
fn labels_are_kept_in_order() {
    let family = crate::Family { labels: &["plugin", "tenant"], ..Kinds::FAMILIES[0] };
    let Metric { labels, .. } =
        family.metric(&[("plugin", "lz4"), ("tenant", "a")], MetricValue::Counter(1.0));
    assert_eq!(
        labels,
        [("plugin".to_owned(), "lz4".to_owned()), ("tenant".to_owned(), "a".to_owned())]
    );
}

#[test]
fn a_unit_is_a_word_of_its_own() {
    assert_eq!(
        ["a_megabytes", "bytes", "a_bytes", "a_seconds_total"].map(unit_of),
        ["", "", "bytes", "seconds"]
    );
}

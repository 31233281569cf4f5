//! Everybody who has metrics.
//!
//! Numbers live with whoever counts them; the registry knows whom to ask, and asks only when somebody wants to
//! see. What is gone is not asked any more. Where two have a series of one name and the same labels, such as a
//! database that is being closed and the one that was opened after it, the one that came last is right: a page with
//! a series twice would be refused as a whole.

use parking_lot::Mutex;
use sochdb_telemetry::{Family, Metric};
use std::sync::{Arc, Weak};

/// Somebody who has metrics.
pub trait Source: Send + Sync {
    /// What each of its metrics is. The same at each call.
    fn families(&self) -> Vec<Family>;

    /// Adds every metric's present value to `into`. Asked by any thread, never by a commit; must not wait for long.
    fn collect(&self, into: &mut Vec<Metric>);
}

/// Everybody who has metrics. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Registry {
    sources: Arc<Mutex<Vec<Weak<dyn Source>>>>,
}

impl Registry {
    /// Asks `source`, too, as long as it lives.
    pub fn add(&self, source: &Arc<impl Source + 'static>) {
        let source: Arc<dyn Source> = source.clone();
        let mut sources = self.sources.lock();
        sources.retain(|source| 0 < source.strong_count());
        sources.push(Arc::downgrade(&source));
    }

    /// Every metric's present value, sorted by name, and by labels where they have one name; each series once.
    pub fn collect(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        self.newest_first().iter().for_each(|source| source.collect(&mut metrics));
        metrics.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
        metrics.dedup_by(|b, a| a.name == b.name && a.labels == b.labels);
        metrics
    }

    /// What every metric is, sorted by name; each once.
    pub fn families(&self) -> Vec<Family> {
        let sources = self.newest_first();
        let mut families: Vec<_> = sources.iter().flat_map(|source| source.families()).collect();
        families.sort_by_key(|family| family.name);
        families.dedup_by_key(|family| family.name);
        families
    }

    /// Those that still live. The lock is not held while they are asked: they may register others.
    fn newest_first(&self) -> Vec<Arc<dyn Source>> {
        self.sources.lock().iter().rev().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sochdb_telemetry::{MetricKind, MetricValue};

    const SOLD: Family = Family {
        name: "shop_sold_total",
        kind: MetricKind::Counter,
        help: "Things sold.",
        labels: &["what"],
    };
    const OPEN: Family = Family {
        name: "shop_open",
        kind: MetricKind::Gauge,
        help: "Whether it is open.",
        labels: &[],
    };

    struct Shop(Vec<(&'static str, f64)>);

    impl Source for Shop {
        fn families(&self) -> Vec<Family> {
            vec![SOLD, OPEN]
        }

        fn collect(&self, into: &mut Vec<Metric>) {
            for (what, sold) in &self.0 {
                into.push(SOLD.metric(&[("what", what)], MetricValue::Counter(*sold)));
            }
            into.push(OPEN.metric(&[], MetricValue::Gauge(1.0)));
        }
    }

    fn sold(registry: &Registry) -> Vec<(String, MetricValue)> {
        let metrics = registry.collect().into_iter().filter(|metric| metric.name == SOLD.name);
        metrics.map(|metric| (metric.labels[0].1.clone(), metric.value)).collect()
    }

    fn counted(what: &str, sold: f64) -> (String, MetricValue) {
        (what.to_owned(), MetricValue::Counter(sold))
    }

    #[test]
    fn an_empty_registry_has_nothing() {
        assert!(
            Registry::default().collect().is_empty() && Registry::default().families().is_empty()
        );
    }

    #[test]
    fn series_are_sorted_and_each_is_there_once() {
        let registry = Registry::default();
        let first = Arc::new(Shop(vec![("pears", 2.0), ("apples", 1.0)]));
        let last = Arc::new(Shop(vec![("apples", 7.0), ("nuts", 3.0)]));
        registry.add(&first);
        registry.clone().add(&last);
        assert_eq!(
            sold(&registry),
            [counted("apples", 7.0), counted("nuts", 3.0), counted("pears", 2.0)]
        );
        let names: Vec<_> = registry.collect().into_iter().map(|metric| metric.name).collect();
        assert_eq!((names[0].as_str(), names.len()), ("shop_open", 4));
        assert_eq!(registry.families(), [OPEN, SOLD]);
    }

    #[test]
    fn what_is_gone_is_not_asked_and_not_kept() {
        let registry = Registry::default();
        let shop = Arc::new(Shop(vec![("apples", 1.0)]));
        registry.add(&shop);
        assert_eq!(Arc::strong_count(&shop), 1);
        drop(shop);
        assert!(registry.collect().is_empty());
        let next = Arc::new(Shop(vec![]));
        registry.add(&next);
        assert_eq!(registry.sources.lock().len(), 1);
    }

    #[test]
    fn who_is_asked_may_register_others() {
        struct Opener(Registry, Mutex<Option<Arc<Shop>>>);
        impl Source for Opener {
            fn families(&self) -> Vec<Family> {
                vec![]
            }
            fn collect(&self, _: &mut Vec<Metric>) {
                self.0.add(
                    self.1.lock().get_or_insert_with(|| Arc::new(Shop(vec![("apples", 1.0)]))),
                );
            }
        }
        let registry = Registry::default();
        let opener = Arc::new(Opener(registry.clone(), Mutex::default()));
        registry.add(&opener);
        assert!(registry.collect().is_empty());
        assert_eq!(sold(&registry), [counted("apples", 1.0)]);
    }
}

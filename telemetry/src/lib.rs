//! What the database says about itself: metrics, spans, log lines and health, and the batches of them that
//! observers get.
//!
//! Plain data, known to the kernel, to what is around it, and to observers. Who gathers it, and who takes it to
//! the observers, is the crate `sochdb-observability`.
//!
//! Names follow the conventions of Prometheus: `sochdb_` first, base units (`_seconds`, `_bytes`) before `_total`,
//! which is what counters end with. The unit of a metric is in its name: [`unit_of`].

#![forbid(unsafe_code)]

mod batch;
mod context;
mod family;
mod histogram;
#[cfg(test)]
mod tests;

pub use batch::{
    ComponentHealth, HealthState, LogLevel, LogLine, Metric, MetricValue, Page, Span,
    TelemetryBatch,
};
pub use context::SpanContext;
pub use family::{Family, MetricKind, unit_of};
pub use histogram::{Exemplar, Histogram};

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The total so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares a struct of numbers, and how each is called as a metric: a `counter`, a `gauge`, or `micros`, which
/// are microseconds that are shown as a gauge of seconds.
///
/// ```
/// sochdb_telemetry::stats! {
///     /// What a shop counts.
///     pub struct ShopStats {
///         counter sold = "shop_sold_total" "Things sold.",
///         gauge on_shelf = "shop_on_shelf" "Things on the shelf.",
///     }
/// }
/// let metrics = ShopStats { sold: 3, on_shelf: 7 }.metrics();
/// assert_eq!(metrics[0].name, "shop_sold_total");
/// ```
///
/// With `counted by`, the first group are counters that a second struct keeps; the numbers of the second
/// group are found otherwise:
///
/// ```
/// use sochdb_telemetry::Counter;
///
/// sochdb_telemetry::stats! {
///     /// What a shop counts.
///     pub struct ShopStats, counted by pub struct ShopCounts {
///         sold = "shop_sold_total" "Things sold.",
///     } and {
///         gauge on_shelf = "shop_on_shelf" "Things on the shelf.",
///     }
/// }
/// let counts = ShopCounts::default();
/// counts.sold.add(3);
/// assert_eq!(ShopStats { on_shelf: 7, ..counts.now() }, ShopStats { sold: 3, on_shelf: 7 });
/// ```
#[macro_export]
macro_rules! stats {
    ($(#[$meta:meta])* $public:vis struct $stats:ident, counted by $vis:vis struct $counts:ident {
        $($count:ident = $count_metric:literal $count_help:literal,)*
    } and {
        $($kind:ident $name:ident = $metric:literal $help:literal,)*
    }) => {
        $crate::stats! {
            $(#[$meta])*
            $public struct $stats {
                $(counter $count = $count_metric $count_help,)*
                $($kind $name = $metric $help,)*
            }
        }

        /// The counters, as they are counted.
        #[derive(Debug, Default)]
        $vis struct $counts {
            $(#[doc = $count_help] pub $count: $crate::Counter,)*
        }

        impl $counts {
            /// The counters as they are now, and zero for everything else.
            $vis fn now(&self) -> $stats {
                $stats { $($count: self.$count.get(),)* ..$stats::default() }
            }
        }
    };
    ($(#[$meta:meta])* $public:vis struct $stats:ident {
        $($kind:ident $name:ident = $metric:literal $help:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        $public struct $stats {
            $(#[doc = $help] pub $name: u64,)*
        }

        impl $stats {
            /// What each number is as a metric.
            pub const FAMILIES: &'static [$crate::Family] = &[$($crate::Family {
                name: $metric,
                kind: $crate::stats!(@kind $kind),
                help: $help,
                labels: &[],
            },)*];

            /// The same numbers as metrics, with Prometheus names.
            pub fn metrics(&self) -> Vec<$crate::Metric> {
                vec![$($crate::Metric {
                    name: $metric.to_owned(),
                    help: $help.to_owned(),
                    labels: Vec::new(),
                    value: $crate::stats!(@$kind self.$name),
                },)*]
            }
        }
    };
    (@kind counter) => { $crate::MetricKind::Counter };
    (@kind gauge) => { $crate::MetricKind::Gauge };
    (@kind micros) => { $crate::MetricKind::Gauge };
    (@counter $value:expr) => { $crate::MetricValue::Counter($value as f64) };
    (@gauge $value:expr) => { $crate::MetricValue::Gauge($value as f64) };
    (@micros $value:expr) => { $crate::MetricValue::Gauge($value as f64 / 1e6) };
}

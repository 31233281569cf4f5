//! What the database says about itself: metrics, log lines, and the batches that observers get.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

/// One batch of telemetry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TelemetryBatch {
    /// Every metric's present value. Counters and histograms are totals since opening.
    pub metrics: Vec<Metric>,
    /// Log lines since the last batch, oldest first.
    pub logs: Vec<LogLine>,
}

/// One metric with its present value.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Prometheus style: `sochdb_commits_total`.
    pub name: String,
    /// One sentence for people.
    pub help: String,
    /// Pairs of label name and value.
    pub labels: Vec<(String, String)>,
    /// The value, and with it the metric's type.
    pub value: MetricValue,
}

/// The value of a [`Metric`].
#[derive(Debug, Clone, PartialEq)]
pub enum MetricValue {
    /// Only grows.
    Counter(u64),
    /// Goes up and down.
    Gauge(f64),
    /// How many observations fell at or below each bound.
    Histogram {
        /// Upper bounds, growing, without the infinite one.
        bounds: Vec<f64>,
        /// Cumulative counts, one per bound and a last one for infinity.
        counts: Vec<u64>,
        /// The sum of all observations.
        sum: f64,
    },
}

/// How loud a [`LogLine`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the usual five")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// One structured log line.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// Microseconds since 1970 by the database's clock.
    pub unix_us: u64,
    /// How loud.
    pub level: LogLevel,
    /// Which part of the database, or which plugin, speaks.
    pub target: String,
    /// The sentence.
    pub message: String,
}

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

/// Declares a struct of numbers, and how each is called as a metric.
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
    ($(#[$meta:meta])* pub struct $stats:ident, counted by $vis:vis struct $counts:ident {
        $($count:ident = $count_metric:literal $count_help:literal,)*
    } and {
        $($kind:ident $name:ident = $metric:literal $help:literal,)*
    }) => {
        $crate::stats! {
            $(#[$meta])*
            pub struct $stats {
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
    ($(#[$meta:meta])* pub struct $stats:ident {
        $($kind:ident $name:ident = $metric:literal $help:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $stats {
            $(#[doc = $help] pub $name: u64,)*
        }

        impl $stats {
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
    (@counter $value:expr) => { $crate::MetricValue::Counter($value) };
    (@gauge $value:expr) => { $crate::MetricValue::Gauge($value as f64) };
}

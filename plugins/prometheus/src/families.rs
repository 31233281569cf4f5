//! Which metrics can be shown, gathered by name.
//!
//! A scraper throws a whole page away when one line is wrong, and metrics come from many: the kernel, the host and
//! every plugin. So a metric that would spoil the page is left out, alone, and counted in a metric of our own,
//! `prometheus_skipped_metrics`, by its reason:
//!
//! | `reason`    | what is left out                                                                          |
//! |-------------|-------------------------------------------------------------------------------------------|
//! | `name`      | a name that Prometheus does not take, or nothing but `_total`                             |
//! | `label`     | a label name that it does not take or that is there twice; `le` on a histogram            |
//! | `value`     | a counter below zero or not a number; a histogram whose bounds or counts do not grow      |
//! | `clash`     | a name that has another type already, or is one of the series of another metric           |
//! | `duplicate` | a second value for the same name and labels                                               |
//!
//! Whoever comes first in the batch stays: the kernel and the host do, and plugins come after them.
//!
//! Both formats show the same metrics, but OpenMetrics calls a counter's family by its name without `_total`,
//! and that name may be taken, say by a gauge. Such a counter is shown with its full name and the type `unknown`.

use sochdb_guest::{Histogram, Metric, MetricValue};
use std::collections::{BTreeMap, BTreeSet};

/// The metric that counts what was left out.
const SKIPPED: &str = "prometheus_skipped_metrics";
const SKIPPED_HELP: &str = "Metrics of the newest batch that are not on this page.";

/// Why a metric is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Prometheus does not take its name.
    Name,
    /// Prometheus does not take its labels.
    Label,
    /// Its value is none of its type.
    Value,
    /// Its name is another's.
    Clash,
    /// It is there already.
    Duplicate,
}

impl Reason {
    const ALL: [Reason; 5] =
        [Reason::Name, Reason::Label, Reason::Value, Reason::Clash, Reason::Duplicate];

    fn word(self) -> &'static str {
        ["name", "label", "value", "clash", "duplicate"][self as usize]
    }
}

/// How the values of a family move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grow.
    Counter,
    /// Go up and down.
    Gauge,
    /// Are spread over buckets.
    Histogram,
}

impl Kind {
    fn of(metric: &Metric) -> Kind {
        match metric.value {
            MetricValue::Counter(_) => Kind::Counter,
            MetricValue::Gauge(_) => Kind::Gauge,
            MetricValue::Histogram(_) => Kind::Histogram,
        }
    }

    /// As both formats spell it.
    pub fn word(self) -> &'static str {
        ["counter", "gauge", "histogram"][self as usize]
    }

    /// What is put behind the name of the family, in either format, to get names that are its own.
    fn suffixes(self) -> &'static [&'static str] {
        match self {
            Kind::Counter | Kind::Gauge => &[""],
            Kind::Histogram => &["", "_bucket", "_sum", "_count", "_created"],
        }
    }
}

/// All series of one name.
#[derive(Debug)]
pub struct Family {
    /// The type of all of them.
    pub kind: Kind,
    /// For people; may be empty.
    pub help: String,
    /// What OpenMetrics calls a counter without `_total`; none when that name is taken.
    pub stem: Option<String>,
    /// At least one, all different.
    pub series: Vec<Metric>,
}

/// What can be shown, in the order of the names.
#[derive(Debug)]
pub struct Families {
    /// By name.
    pub by_name: BTreeMap<String, Family>,
}

impl Families {
    /// Gathers `metrics`, and counts what is left out.
    pub fn new(metrics: Vec<Metric>) -> Families {
        let mut skipped = [0_u64; Reason::ALL.len()];
        let mut by_name = BTreeMap::<String, Family>::new();
        let mut taken = BTreeSet::from([SKIPPED.to_owned()]);
        for metric in metrics {
            match admit(&metric, &by_name, &mut taken) {
                Ok(()) => {
                    by_name.entry(metric.name.clone()).or_insert_with(|| empty(&metric)).add(metric)
                }
                Err(reason) => skipped[reason as usize] += 1,
            }
        }
        for family in by_name.values_mut() {
            skipped[Reason::Duplicate as usize] += family.drop_duplicates();
        }
        let skipped = Reason::ALL.map(|reason| (reason, skipped[reason as usize]));
        by_name.insert(SKIPPED.to_owned(), own(&skipped));
        for (name, family) in by_name.iter_mut().filter(|(_, family)| family.kind == Kind::Counter)
        {
            family.stem = stem(name, &mut taken);
        }
        Families { by_name }
    }
}

impl Family {
    fn add(&mut self, metric: Metric) {
        if self.help.is_empty() {
            self.help.clone_from(&metric.help);
        }
        self.series.push(metric);
    }

    /// Keeps the first of those with the same labels. A label without a value is as good as none.
    fn drop_duplicates(&mut self) -> u64 {
        let mut seen = BTreeSet::new();
        let is_new: Vec<bool> = self
            .series
            .iter()
            .map(|metric| {
                let mut labels: Vec<_> =
                    metric.labels.iter().filter(|(_, value)| !value.is_empty()).collect();
                labels.sort();
                seen.insert(labels)
            })
            .collect();
        let mut new = is_new.iter();
        self.series.retain(|_| *new.next().expect("one for each"));
        (is_new.len() - self.series.len()) as u64
    }
}

/// Whether `name` matches `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_metric_name(name: &str) -> bool {
    is_name(name, true)
}

fn is_name(name: &str, colons: bool) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(allowed)
}

/// Whether `metric` can be shown beside what there is; its names are `taken` then.
fn admit(
    metric: &Metric,
    by_name: &BTreeMap<String, Family>,
    taken: &mut BTreeSet<String>,
) -> Result<(), Reason> {
    check(metric)?;
    let kind = Kind::of(metric);
    if let Some(family) = by_name.get(&metric.name) {
        return if family.kind == kind { Ok(()) } else { Err(Reason::Clash) };
    }
    let names: Vec<_> =
        kind.suffixes().iter().map(|suffix| format!("{}{suffix}", metric.name)).collect();
    if names.iter().any(|name| taken.contains(name)) {
        return Err(Reason::Clash);
    }
    taken.extend(names);
    Ok(())
}

fn check(metric: &Metric) -> Result<(), Reason> {
    if !is_metric_name(stem_of(&metric.name)) {
        return Err(Reason::Name);
    }
    let is_histogram = Kind::of(metric) == Kind::Histogram;
    let mut names = BTreeSet::new();
    for (name, _) in &metric.labels {
        let is_ours = name.starts_with("__") || (is_histogram && name == "le");
        if !is_name(name, false) || is_ours || !names.insert(name) {
            return Err(Reason::Label);
        }
    }
    let is_whole = match &metric.value {
        // Not a number is not at least zero either.
        MetricValue::Counter(total) => *total >= 0.0,
        MetricValue::Gauge(_) => true,
        MetricValue::Histogram(histogram) => adds_up(histogram),
    };
    if is_whole { Ok(()) } else { Err(Reason::Value) }
}

fn adds_up(Histogram { bounds, counts, .. }: &Histogram) -> bool {
    counts.len() == bounds.len() + 1
        && bounds.iter().all(|bound| bound.is_finite())
        && bounds.is_sorted_by(|a, b| a < b)
        && counts.is_sorted()
}

fn empty(first: &Metric) -> Family {
    Family { kind: Kind::of(first), help: String::new(), stem: None, series: Vec::new() }
}

/// The family of the metric that counts what was left out.
fn own(skipped: &[(Reason, u64)]) -> Family {
    let series = skipped.iter().map(|&(reason, count)| Metric {
        name: SKIPPED.to_owned(),
        help: SKIPPED_HELP.to_owned(),
        labels: vec![("reason".to_owned(), reason.word().to_owned())],
        value: MetricValue::Gauge(count as f64),
    });
    Family {
        kind: Kind::Gauge,
        help: SKIPPED_HELP.to_owned(),
        stem: None,
        series: series.collect(),
    }
}

/// `name` without `_total`.
fn stem_of(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

/// What OpenMetrics calls the counter `name`, if neither that nor what follows from it is another's.
fn stem(name: &str, taken: &mut BTreeSet<String>) -> Option<String> {
    let stem = stem_of(name);
    let names = ["", "_total", "_created"].map(|suffix| format!("{stem}{suffix}"));
    let is_free = |own: &String| own == name || !taken.contains(own);
    if !names.iter().all(is_free) {
        return None;
    }
    taken.extend(names);
    Some(stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, labels: &[(&str, &str)], value: MetricValue) -> Metric {
        let labels =
            labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Metric { name: name.to_owned(), help: String::new(), labels, value }
    }

    fn histogram(bounds: &[f64], counts: &[u64]) -> MetricValue {
        let (bounds, counts) = (bounds.to_vec(), counts.to_vec());
        MetricValue::Histogram(Histogram { bounds, counts, sum: 0.75, exemplars: Vec::new() })
    }

    /// What is left out of `metrics`, as words, and how many are shown.
    fn skipped(metrics: &[Metric]) -> (String, usize) {
        let mut families = Families::new(metrics.to_vec());
        let own = families.by_name.remove(SKIPPED).expect("it is always there");
        let mut words = Vec::new();
        for series in &own.series {
            let MetricValue::Gauge(count) = series.value else { panic!("it is a gauge") };
            words.extend(vec![series.labels[0].1.as_str(); count as usize]);
        }
        (words.join(" "), families.by_name.values().map(|family| family.series.len()).sum())
    }

    const ONE: MetricValue = MetricValue::Counter(1.0);

    #[test]
    fn a_wrong_metric_is_left_out_alone() {
        let good = metric("good", &[], ONE);
        for name in ["", "1a", "a b", "a{x}", "ä", "a\n", "_total"] {
            assert_eq!(skipped(&[metric(name, &[], ONE), good.clone()]), ("name".to_owned(), 1));
        }
        for label in ["", "a:b", "__name__", "1", "ä"] {
            assert_eq!(
                skipped(&[metric("a", &[(label, "x")], ONE), good.clone()]),
                ("label".to_owned(), 1)
            );
        }
        let twice = metric("a", &[("x", "1"), ("x", "2")], ONE);
        let le = metric("a", &[("le", "1")], histogram(&[1.0], &[1, 2]));
        assert_eq!(skipped(&[twice, good, le]), ("label label".to_owned(), 1));
    }

    #[test]
    fn a_value_that_lies_is_left_out() {
        for value in [
            MetricValue::Counter(-1.0),
            MetricValue::Counter(f64::NAN),
            histogram(&[1.0], &[1]),
            histogram(&[], &[]),
            histogram(&[1.0, 1.0], &[1, 2, 3]),
            histogram(&[f64::NAN], &[1, 2]),
            histogram(&[f64::INFINITY], &[1, 2]),
            histogram(&[1.0], &[2, 1]),
        ] {
            assert_eq!(skipped(&[metric("a", &[], value)]), ("value".to_owned(), 0));
        }
    }

    #[test]
    fn the_first_of_equal_series_stays() {
        let first = metric("a", &[("x", "1"), ("y", "2")], ONE);
        let turned = metric("a", &[("y", "2"), ("x", "1"), ("z", "")], MetricValue::Counter(2.0));
        let other = metric("a", &[("x", "2"), ("y", "2")], ONE);
        assert_eq!(skipped(&[first.clone(), turned.clone(), other]), ("duplicate".to_owned(), 2));
        let families = Families::new(vec![first.clone(), turned]);
        assert_eq!(families.by_name["a"].series, [first]);
    }

    #[test]
    fn a_name_belongs_to_whoever_has_it_first() {
        let gauge = |name: &str| metric(name, &[("x", "1")], MetricValue::Gauge(1.0));
        let waits = metric("wait_seconds", &[], histogram(&[1.0], &[1, 2]));
        for (metrics, shown) in [
            (vec![gauge("a"), metric("a", &[], ONE)], 1),
            (vec![waits.clone(), gauge("wait_seconds_count"), gauge("wait_seconds_min")], 2),
            (vec![gauge("wait_seconds_bucket"), gauge("b"), waits], 2),
            (vec![gauge(SKIPPED)], 0),
        ] {
            assert_eq!(skipped(&metrics), ("clash".to_owned(), shown), "{metrics:?}");
        }
    }

    #[test]
    fn openmetrics_calls_a_counter_by_its_stem_if_that_is_free() {
        let gauge = |name: &str| metric(name, &[], MetricValue::Gauge(1.0));
        let counter = |name: &str| metric(name, &[], ONE);
        let stems = |metrics: &[Metric]| {
            let families = Families::new(metrics.to_vec()).by_name;
            let stems = families.into_values().filter(|family| family.kind == Kind::Counter);
            stems.map(|family| family.stem.unwrap_or_default()).collect::<Vec<_>>()
        };
        assert_eq!(stems(&[counter("a_total"), counter("b")]), ["a", "b"]);
        assert_eq!(stems(&[counter("a_total"), gauge("a")]), [""]);
        assert_eq!(stems(&[counter("a_total"), gauge("a_created")]), [""]);
        assert_eq!(stems(&[counter("a:_total")]), ["a:"]);
        // Neither can be called `a`, and both have their full names.
        assert_eq!(stems(&[counter("a_total"), counter("a")]), ["", ""]);
        assert_eq!(
            stems(&[counter("h_count_total"), metric("h", &[], histogram(&[], &[1]))]),
            [""]
        );
    }
}

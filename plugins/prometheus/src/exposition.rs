//! Families as a page, in the text format of Prometheus 0.0.4 or in OpenMetrics 1.0.0.
//!
//! ```text
//! text format                                     OpenMetrics
//! # HELP sync_seconds How long syncs took.        # TYPE sync_seconds histogram
//! # TYPE sync_seconds histogram                   # UNIT sync_seconds seconds
//! sync_seconds_bucket{le="1"} 41                  # HELP sync_seconds How long syncs took.
//! sync_seconds_bucket{le="+Inf"} 42               sync_seconds_bucket{le="1.0"} 41 # {trace_id="..."} 0.3 17...
//! sync_seconds_sum 7.5                            sync_seconds_bucket{le="+Inf"} 42
//! sync_seconds_count 42                           sync_seconds_sum 7.5
//!                                                 sync_seconds_count 42
//!                                                 # EOF
//! ```
//!
//! All series of one name stand together, in the order of the names. What is different:
//!
//! | in            | text format                  | OpenMetrics                                                     |
//! |---------------|------------------------------|-----------------------------------------------------------------|
//! | a counter     | has its name                 | `# TYPE` without `_total`, samples with `_total`                |
//! | `HELP`        | `\` and line feeds escaped   | quotation marks too                                             |
//! | `UNIT`        | none                         | when the unit is in the name                                    |
//! | `le`          | the number as it is          | spelt as Go does, with a point or an exponent: `1.0`, `1e+06`   |
//! | exemplars     | none                         | behind the bucket that counts them, with trace, span and time   |
//! | sum and count | always                       | not with a bound or sum below zero: sums there only grow        |
//! | the end       | nothing                      | `# EOF`                                                         |
//!
//! We write the formats ourselves: the crates for them keep the counts themselves, and ours come as totals.
//!
//! Sources: "Exposition formats" in the documentation of Prometheus; OpenMetrics 1.0.

use crate::accept::Format;
use crate::families::{Families, Family, Kind};
use sochdb_guest::{Exemplar, Histogram, MetricValue, unit_of};
use std::fmt::{self, Display, Write};

/// What the names and values of an exemplar's labels may have together, in characters; we have
/// `trace_id`, `span_id`, and the two numbers in hexadecimal.
const EXEMPLAR_CHARS_MAX: usize = 128;
const _: () = assert!("trace_id".len() + 32 + "span_id".len() + 16 <= EXEMPLAR_CHARS_MAX);

type Labels = [(String, String)];

/// The page of `families`, with `prefix` before each name.
pub fn page(families: &Families, prefix: &str, format: Format) -> String {
    let mut page = String::new();
    for (name, family) in &families.by_name {
        let name = format!("{prefix}{name}");
        let written = match format {
            Format::Text => text_family(&mut page, &name, family),
            Format::OpenMetrics => openmetrics_family(&mut page, &name, prefix, family),
        };
        written.expect("a string takes everything");
    }
    if format == Format::OpenMetrics {
        page.push_str("# EOF\n");
    }
    page
}

fn text_family(page: &mut String, name: &str, family: &Family) -> fmt::Result {
    if !family.help.is_empty() {
        writeln!(page, "# HELP {name} {}", Escaped { text: &family.help, quotes: false })?;
    }
    writeln!(page, "# TYPE {name} {}", family.kind.word())?;
    for metric in &family.series {
        let labels = &metric.labels;
        match &metric.value {
            MetricValue::Counter(value) | MetricValue::Gauge(value) => {
                sample(page, name, labels, None, Number(*value), None)?;
            }
            MetricValue::Histogram(histogram) => {
                let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
                for (bound, count) in bounds.zip(&histogram.counts) {
                    bucket(page, name, labels, &Number(bound), *count, None)?;
                }
                sum_and_count(page, name, labels, histogram)?;
            }
        }
    }
    Ok(())
}

fn openmetrics_family(page: &mut String, name: &str, prefix: &str, family: &Family) -> fmt::Result {
    let (kind, name, total) = match (family.kind, &family.stem) {
        (Kind::Counter, Some(stem)) => ("counter", format!("{prefix}{stem}"), "_total"),
        // With its full name it is nothing that OpenMetrics calls a counter.
        (Kind::Counter, None) => ("unknown", name.to_owned(), ""),
        (kind, _) => (kind.word(), name.to_owned(), ""),
    };
    writeln!(page, "# TYPE {name} {kind}")?;
    let unit = unit_of(&name);
    if !unit.is_empty() && name.ends_with(unit) {
        writeln!(page, "# UNIT {name} {unit}")?;
    }
    if !family.help.is_empty() {
        writeln!(page, "# HELP {name} {}", Escaped { text: &family.help, quotes: true })?;
    }
    let sample_name = format!("{name}{total}");
    for metric in &family.series {
        match &metric.value {
            MetricValue::Counter(value) | MetricValue::Gauge(value) => {
                sample(page, &sample_name, &metric.labels, None, Number(*value), None)?;
            }
            MetricValue::Histogram(histogram) => {
                openmetrics_histogram(page, &name, &metric.labels, histogram)?;
            }
        }
    }
    Ok(())
}

fn openmetrics_histogram(
    page: &mut String,
    name: &str,
    labels: &Labels,
    histogram: &Histogram,
) -> fmt::Result {
    let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
    let mut above = f64::NEG_INFINITY;
    for (bound, count) in bounds.zip(&histogram.counts) {
        let is_in = |exemplar: &&Exemplar| {
            let context = exemplar.span;
            let is_one = context.trace_id != 0 && context.span_id != 0;
            is_one && above < exemplar.value && exemplar.value <= bound
        };
        let exemplar = histogram.exemplars.iter().find(is_in);
        bucket(page, name, labels, &GoNumber(bound), *count, exemplar)?;
        above = bound;
    }
    let is_negative = histogram.bounds.first().is_some_and(|bound| *bound < 0.0);
    // Not a number is not at least zero either.
    if histogram.sum >= 0.0 && !is_negative {
        sum_and_count(page, name, labels, histogram)?;
    }
    Ok(())
}

fn bucket(
    page: &mut String,
    name: &str,
    labels: &Labels,
    bound: &dyn Display,
    count: u64,
    exemplar: Option<&Exemplar>,
) -> fmt::Result {
    sample(page, &format!("{name}_bucket"), labels, Some(bound), count, exemplar)
}

fn sum_and_count(
    page: &mut String,
    name: &str,
    labels: &Labels,
    histogram: &Histogram,
) -> fmt::Result {
    let count = histogram.counts.last().copied().unwrap_or(0);
    sample(page, &format!("{name}_sum"), labels, None, Number(histogram.sum), None)?;
    sample(page, &format!("{name}_count"), labels, None, count, None)
}

/// One line.
fn sample(
    page: &mut String,
    name: &str,
    labels: &Labels,
    le: Option<&dyn Display>,
    value: impl Display,
    exemplar: Option<&Exemplar>,
) -> fmt::Result {
    page.push_str(name);
    let mut before = '{';
    for (name, value) in labels {
        write!(page, "{before}{name}=\"{}\"", Escaped { text: value, quotes: true })?;
        before = ',';
    }
    if let Some(bound) = le {
        write!(page, "{before}le=\"{bound}\"")?;
        before = ',';
    }
    if before == ',' {
        page.push('}');
    }
    write!(page, " {value}")?;
    if let Some(Exemplar { value, unix_us, span }) = exemplar {
        let (trace_id, span_id) = (span.trace_id, span.span_id);
        write!(page, " # {{trace_id=\"{trace_id:032x}\",span_id=\"{span_id:016x}\"}}")?;
        write!(page, " {} {}.{:06}", Number(*value), unix_us / 1_000_000, unix_us % 1_000_000)?;
    }
    page.push('\n');
    Ok(())
}

/// A number as both formats read it: without an exponent unless it is very large or very small.
struct Number(f64);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value if value.is_nan() || size == 0.0 => write!(f, "{value}"),
            value if (1e-7..1e21).contains(&size) => write!(f, "{value}"),
            value => write!(f, "{value:e}"),
        }
    }
}

/// A number as Go spells it in its format `%g`, always with a point or an exponent: what OpenMetrics wants for
/// bounds, so that the same bound always makes the same label.
struct GoNumber(f64);

impl Display for GoNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:e}", self.0);
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        if !self.0.is_finite() {
            Number(self.0).fmt(f)
        } else if (-4..6).contains(&exponent) || self.0 == 0.0 {
            write!(f, "{:?}", self.0)
        } else {
            let sign = if exponent < 0 { '-' } else { '+' };
            write!(f, "{digits}e{sign}{:02}", exponent.abs())
        }
    }
}

/// A text with backslashes, line feeds and, with `quotes`, quotation marks escaped.
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.text.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.quotes => f.write_str("\\\"")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod reader;
#[cfg(test)]
mod tests;

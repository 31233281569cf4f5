//! Bars and spreads. A bar is a line of boxes, a spread an SVG; numbers are in the tooltips.

use super::style::COLOURS;
use crate::cli::screen::thousands;
use crate::cli::top::words::seconds;
use maud::{Markup, html};
use sochdb::Histogram;

/// The shares that stand beside a spread.
const QUANTILES: [(f64, &str); 3] = [(0.5, "median"), (0.9, "90 %"), (0.99, "99 %")];

/// A part of a bar: how much, which colour, what it is.
pub struct Part {
    pub size: u64,
    pub colour: Option<usize>,
    pub title: String,
}

/// A bar as long as its parts together are, where the longest of its kind is `most`.
pub fn bar(parts: &[Part], most: u64) -> Markup {
    let most = parts.iter().map(|part| part.size).sum::<u64>().max(most).max(1);
    let width = |part: &Part| format!("width:{:.3}%", 100.0 * part.size as f64 / most as f64);
    html! {
        div.bar {
            @for part in parts.iter().filter(|part| 0 < part.size) {
                i style=(format!("{}{}", width(part), colour(part.colour))) title=(part.title) {}
            }
        }
    }
}

fn colour(number: Option<usize>) -> String {
    number.map(|number| format!(";background:var(--c{})", number % COLOURS)).unwrap_or_default()
}

/// Which colour is what.
pub fn legend(names: &[&str]) -> Markup {
    html! {
        div.legend {
            @for (number, name) in names.iter().enumerate() {
                span { i style=(colour(Some(number)).trim_start_matches(';')) {} (name) }
            }
        }
    }
}

/// How long something took: a column for each bucket from the first that has something to the last.
pub fn spread(name: &str, spread: &Histogram) -> Markup {
    let buckets = buckets(spread);
    let most = buckets.iter().map(|(_, count)| *count).max().unwrap_or_default().max(1);
    let wide = 100.0 / buckets.len().max(1) as f64;
    let ends = |bucket: Option<&(f64, u64)>| seconds(bucket.map(|(bound, _)| *bound));
    html! {
        div.card.spread {
            h3 { (name) }
            p.small.soft { (thousands(spread.count())) " in all" }
            svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label=(name) {
                @for (index, (bound, count)) in buckets.iter().enumerate() {
                    @let high = if *count == 0 { 0.0 } else { (100.0 * *count as f64 / most as f64).max(1.5) };
                    rect x=(format!("{:.2}", wide * index as f64)) y=(format!("{:.2}", 100.0 - high))
                        width=(format!("{:.2}", wide * 0.86)) height=(format!("{high:.2}")) {
                        title { (thousands(*count)) " up to " (seconds(Some(*bound))) }
                    }
                }
            }
            div.ends { span { "≤ " (ends(buckets.first())) } span { "≤ " (ends(buckets.last())) } }
            p.small {
                @for (share, word) in QUANTILES {
                    span.soft { (word) " " } b { (seconds(spread.quantile(share))) } " "
                }
            }
        }
    }
}

/// Upper bound and own count of each bucket from the first that has something to the last. What is above all bounds
/// stands under the greatest one.
fn buckets(spread: &Histogram) -> Vec<(f64, u64)> {
    let mut own = Vec::new();
    let mut below = 0;
    for (&bound, &count) in spread.bounds.iter().zip(&spread.counts) {
        own.push((bound, count.saturating_sub(below)));
        below = count.max(below);
    }
    if let Some((_, last)) = own.last_mut() {
        *last += spread.count().saturating_sub(below);
    }
    let first = own.iter().position(|(_, count)| 0 < *count).unwrap_or(own.len());
    let end = own.iter().rposition(|(_, count)| 0 < *count).map_or(first, |last| last + 1);
    own[first..end].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_buckets_between_the_first_and_the_last_that_have_something_are_drawn() {
        let spread = Histogram {
            bounds: vec![0.001, 0.01, 0.1, 1.0, 10.0],
            counts: vec![0, 3, 3, 7, 7, 7],
            ..Histogram::default()
        };
        assert_eq!(buckets(&spread), [(0.01, 3), (0.1, 0), (1.0, 4)]);
        let over = Histogram { counts: vec![0, 0, 0, 0, 1, 6], ..spread };
        assert_eq!(buckets(&over), [(10.0, 6)]);
        assert!(buckets(&Histogram::default()).is_empty());
    }

    #[test]
    fn what_is_in_the_database_cannot_write_html() {
        let title = "\"><script>".to_owned();
        let drawn = bar(&[Part { size: 3, colour: Some(9), title }], 12).into_string();
        assert!(drawn.contains("width:25.000%;background:var(--c1)"), "{drawn}");
        assert!(!drawn.contains("<script"), "{drawn}");
    }
}

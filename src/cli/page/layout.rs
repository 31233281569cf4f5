//! The page: numbers on top, then tables, then what a running program says of its plugins and latencies.

use super::charts::{Part, bar, spread};
use super::style::SHEET;
use super::{Facts, tables};
use crate::cli::screen::{bytes_text, micros_text, thousands};
use crate::cli::top::sample::{Health, Plugin, Sample};
use crate::cli::top::words::{age, bytes, count, seconds, share};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sochdb::Histogram;

/// The whole page.
pub fn page(facts: &Facts) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content=(concat!("sochdb ", env!("CARGO_PKG_VERSION")));
                title { (facts.directory) " · SochDB" }
                style { (PreEscaped(SHEET)) }
            }
            body { main {
                h1 { (facts.directory) }
                p.soft { "SochDB " (env!("CARGO_PKG_VERSION")) ", as of " (facts.made) }
                (tiles(facts))
                h2 { "Tables" }
                @if facts.tables.is_empty() { p.soft { "There are none." } }
                @for table in &facts.tables { (tables::section(table)) }
                @match &facts.there {
                    Some((address, sample)) => { (program(address, sample)) }
                    None => { (nobody_asked()) }
                }
            } }
        }
    }
}

fn tiles(facts: &Facts) -> Markup {
    let size = facts.tables.iter().map(|table| &table.stats.size);
    let (rows, stored) =
        size.fold((0, 0), |(rows, stored), size| (rows + size.rows, stored + size.stored_bytes));
    let recovery = &facts.recovery;
    let opened = format!("to open, {} log records read", thousands(recovery.log_records));
    html! {
        div.tiles {
            (tile(thousands(facts.tables.len() as u64), "tables"))
            (tile(thousands(rows), "rows on disk"))
            (tile(bytes_text(stored), "on disk"))
            (tile(bytes(facts.here.log.replay_bytes), "of log that a restart reads"))
            (tile(micros_text(recovery.micros), &opened))
        }
    }
}

fn tile(number: String, what: &str) -> Markup {
    html! { div.tile { b { (number) } span { (what) } } }
}

fn nobody_asked() -> Markup {
    html! {
        h2 { "Plugins and latencies" }
        p.soft {
            "Only the program that has the database open knows them. If it serves its metrics, "
            code { "sochdb stats --html FILE --connect ADDRESS" } " adds them to this page."
        }
    }
}

fn program(address: &str, sample: &Sample) -> Markup {
    html! {
        h2 { "The program at " (address) ", up for " (age(sample.uptime_s)) }
        div.tiles {
            (tile(count(sample.commits), "commits"))
            (tile(count(sample.conflicts), "conflicts"))
            (tile(count(sample.searches), "searches"))
            (tile(bytes(sample.memory.cache_bytes), "in the cache of pages and blocks"))
            (tile(share(sample.memory.hit_ratio), "of lookups found there"))
            (tile(bytes(sample.memory.memtable_bytes), "of rows only in memory"))
            (tile(count(sample.checkpoints.done), "checkpoints"))
            (tile(bytes(sample.log.written_bytes), "written to the log"))
        }
        (health(sample))
        h2 { "How long things took" }
        (spreads(sample))
        h2 { "Plugins" }
        (plugins(&sample.plugins))
    }
}

/// Whatever is not well; all is well needs one line.
fn health(sample: &Sample) -> Markup {
    let troubled = sample.health.iter().filter(|part| part.health != Health::Healthy);
    let troubled: Vec<_> = troubled.collect();
    html! {
        @if troubled.is_empty() && !sample.health.is_empty() { p.good { "All parts are healthy." } }
        @for part in troubled {
            p.bad { (part.component) " " (part.name) " is " (part.health.word()) }
        }
        @for (what, lost) in &sample.dropped { p.warn { (count(Some(*lost))) " " (what) " were dropped" } }
    }
}

fn spreads(sample: &Sample) -> Markup {
    let named = [
        ("a commit, sync included", &sample.latency),
        ("a sync of the log", &sample.log.sync_latency),
        ("a search", &sample.search_latency),
    ];
    let filled = |spread: &&Histogram| 0 < spread.count();
    let named =
        named.into_iter().filter_map(|(name, of)| Some((name, of.as_ref().filter(filled)?)));
    let named: Vec<_> = named.collect();
    html! {
        @if named.is_empty() { p.soft { "Nothing has happened yet." } }
        div.spreads { @for (name, of) in named { (spread(name, of)) } }
    }
}

fn plugins(plugins: &[Plugin]) -> Markup {
    let used: Vec<_> =
        plugins.iter().filter(|plugin| plugin.calls.is_some_and(|calls| 0.0 < calls)).collect();
    let fuel = |plugin: &Plugin| plugin.fuel.unwrap_or_default() as u64;
    let most = used.iter().map(|plugin| fuel(plugin)).max().unwrap_or_default();
    html! {
        @if used.is_empty() { p.soft { "None was called yet." } }
        div.card { div.rows {
            @for plugin in &used {
                span.name { (plugin.name) }
                (bar(&[Part { size: fuel(plugin), colour: None, title: format!("{} units of fuel", thousands(fuel(plugin))) }], most))
                span.small { (count(plugin.fuel)) " fuel" }
            }
        } }
        div.wide { table {
            tr { th { "plugin" } th.n { "calls" } th.n { "failed" } th.n { "fuel" } th.n { "median" } th.n { "99 %" }
                th.n { "memory" } th.n { "instances" } th { "" } }
            @for plugin in &used {
                @let at = |q: f64| seconds(plugin.latency.as_ref().and_then(|spread| spread.quantile(q)));
                tr {
                    td { (plugin.name) } td.n { (count(plugin.calls)) } td.n { (count(plugin.failures_total)) }
                    td.n { (count(plugin.fuel)) } td.n { (at(0.5)) } td.n { (at(0.99)) }
                    td.n { (bytes(plugin.memory_bytes)) } td.n { (count(plugin.instances)) }
                    td.bad { @if plugin.is_quarantined { "kept from working" } }
                }
            }
        } }
        div.spreads {
            @for plugin in &used {
                @if let Some(of) = plugin.latency.as_ref().filter(|of| 0 < of.count()) {
                    (spread(&format!("a call of {}", plugin.name), of))
                }
            }
        }
    }
}

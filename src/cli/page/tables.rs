//! A section for each table: how large it is, its levels, its columns by encoding, its indexes.

use super::Table;
use super::charts::{Part, bar, legend};
use crate::cli::picture::ratio;
use crate::cli::screen::{bytes_text, thousands};
use maud::{Markup, html};
use sochdb::{ColumnStats, IndexKind, IndexState, StorageStats, TableOptions};

/// The section of one table.
pub fn section(table: &Table) -> Markup {
    let (stats, size) = (&table.stats, &table.stats.size);
    let TableOptions { storage, codec, .. } = &stats.table.options;
    html! {
        section.card {
            h3 { (stats.table.name) }
            p.soft.small {
                (storage.as_deref().unwrap_or("kernel")) " storage, codec " (codec.as_deref().unwrap_or("none"))
            }
            p {
                b { (thousands(size.rows)) } " rows, " b { (bytes_text(size.stored_bytes)) } " on disk"
                @if 0 < size.segments {
                    " in " (segments_text(size.segments)) ", " (bytes_text(size.raw_bytes)) " before the codec"
                }
                @if let Some(ratio) = stats.compression_ratio() {
                    ", " (format!("{ratio:.1}")) " bytes of values for a byte on disk"
                }
                @if let Some(amplification) = stats.space_amplification().filter(|times| 1.005 <= *times) {
                    ", " (format!("{amplification:.2}")) " times as much as the oldest level alone"
                }
            }
            @if let Some(storage) = &stats.storage {
                (levels(storage))
                (columns(storage))
            }
            (indexes(table))
        }
    }
}

fn segments_text(segments: u64) -> String {
    format!("{} segment{}", thousands(segments), if segments == 1 { "" } else { "s" })
}

fn levels(storage: &StorageStats) -> Markup {
    let most = storage.levels.iter().map(|level| level.bytes).max().unwrap_or_default();
    html! {
        @if !storage.levels.is_empty() { h4 { "Levels, the youngest first" } }
        div.rows {
            @for (number, level) in storage.levels.iter().enumerate() {
                @let words = format!("{} in {}", bytes_text(level.bytes), segments_text(level.segments));
                span.name { "level " (number) }
                (bar(&[Part { size: level.bytes, colour: None, title: words.clone() }], most))
                span.small {
                    (words) ", " (thousands(level.rows)) " rows"
                    @if 0 < level.deleted { ", " (thousands(level.deleted)) " of them deletions" }
                }
            }
        }
    }
}

fn columns(storage: &StorageStats) -> Markup {
    let most = storage.columns.iter().map(|column| column.bytes).max().unwrap_or_default();
    let names = encodings(&storage.columns);
    html! {
        @if !storage.columns.is_empty() {
            h4 { "Columns, by how their values are written" }
            div.rows {
                @for column in &storage.columns {
                    span.name { (column.name) }
                    (bar(&parts(column, &names), most))
                    span.small {
                        (bytes_text(column.bytes))
                        @if let Some(ratio) = ratio(column.raw_bytes, column.bytes) { ", " (ratio) }
                        @if let Some(distinct) = column.distinct { ", ≈ " (thousands(distinct)) " different" }
                    }
                }
            }
            (legend(&names))
        }
    }
}

/// Every encoding's name once, in the order of the columns.
fn encodings(columns: &[ColumnStats]) -> Vec<&str> {
    let mut names = Vec::new();
    for encoding in columns.iter().flat_map(|column| &column.encodings) {
        if !names.contains(&encoding.name.as_str()) {
            names.push(encoding.name.as_str());
        }
    }
    names
}

fn parts(column: &ColumnStats, names: &[&str]) -> Vec<Part> {
    let part = |encoding: &sochdb::EncodingStats| Part {
        size: encoding.bytes,
        colour: names.iter().position(|name| *name == encoding.name),
        title: format!(
            "{}: {} in {} chunks",
            encoding.name,
            bytes_text(encoding.bytes),
            thousands(encoding.chunks)
        ),
    };
    match column.encodings.is_empty() {
        true => vec![Part { size: column.bytes, colour: None, title: bytes_text(column.bytes) }],
        false => column.encodings.iter().map(part).collect(),
    }
}

fn indexes(table: &Table) -> Markup {
    html! {
        @if !table.indexes.is_empty() {
            h4 { "Indexes" }
            div.wide { table {
                tr { th { "index" } th { "column" } th { "by" } th { "finds" } th.n { "entries" } th.n { "waiting" }
                    th.n { "on disk" } th.n { "in memory" } th { "state" } }
                @for (index, state, stats) in &table.indexes {
                    tr {
                        td { (index.name) } td { (index.column) } td { (index.using) } td { (finds(&index.kind)) }
                        td.n { (thousands(stats.entries)) } td.n { (thousands(stats.waiting)) }
                        td.n { (bytes_text(stats.bytes)) } td.n { (bytes_text(stats.resident_bytes)) }
                        @match (&stats.trouble, state) {
                            (Some(why), _) => { td.bad { (why) } }
                            (None, IndexState::Ready) => { td.good { "ready" } }
                            (None, IndexState::Building) => { td.warn { "building" } }
                        }
                    }
                }
            } }
        }
    }
}

fn finds(kind: &IndexKind) -> String {
    match kind {
        IndexKind::Ordered => "values".to_owned(),
        IndexKind::Vector { dim, metric, .. } => format!("{dim} values, {metric}"),
    }
}

//! A record as one JSON object: the keys of the [record](crate::Record), then the pairs as an object of texts.
//!
//! ```text
//! {"time":"2026-01-02T03:04:05.678901Z","level":"warn","kind":"log","target":"wal","msg":"a sync was slow","fields":{"ms":"250"}}
//! ```
//!
//! No object has a key twice: of two pairs with one name `a`, the second is called `a_2`.
//!
//! Source: RFC 8259; one object a line as in "JSON Lines".

use crate::line::{Line, Names};
use crate::{Format, Record, Value};

/// JSON, one object a line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl Format for Json {
    const EXTENSION: &'static str = "jsonl";

    fn line(record: &Record<'_>, bytes_max: usize) -> String {
        let mut line = Line::new(bytes_max);
        let mut before = "{\"";
        for (key, value) in &record.keys {
            line.plain(before);
            line.plain(key);
            match value {
                Value::Text(text) => {
                    line.plain("\":\"");
                    line.text(text);
                    line.plain("\"");
                }
                Value::Number(number) => {
                    line.plain("\":");
                    line.plain(number);
                }
            }
            before = ",\"";
        }
        if !record.pairs.is_empty() {
            pairs(&mut line, record);
        }
        line.plain(if line.is_cut { ",\"cut\":true}" } else { "}" });
        line.end()
    }
}

fn pairs(line: &mut Line, record: &Record<'_>) {
    line.plain(",\"");
    line.plain(record.pairs_name);
    line.plain("\":{");
    let mut names = Names::default();
    let mut before = "\"";
    for (name, value) in record.pairs {
        if !line.has_room_for_pair() {
            line.is_cut = true;
            break;
        }
        let name = names.fresh(name, |c| c, line);
        line.plain(before);
        line.plain(&name);
        line.plain("\":\"");
        line.pair_value(value);
        line.plain("\"");
        before = ",\"";
    }
    line.plain("}");
}

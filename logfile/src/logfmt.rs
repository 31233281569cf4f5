//! A record as logfmt: `key=value` pairs with a space between them.
//!
//! ```text
//! time=2026-01-02T03:04:05.678901Z level=warn kind=log target=wal msg="a sync was slow" ms=250
//! ```
//!
//! The keys of the [record](crate::Record) come first, then fields, attributes or labels under their own names.
//! No line has a key twice: a field called `msg` is written as `msg_2`.
//!
//! ```text
//! line  = pair { " " pair } LF
//! pair  = key "=" value
//! key   = one or more characters, but no space, control character, "=" or quotation mark
//! value = the same, or a quoted text with the escapes of a JSON string
//! ```
//!
//! In a key, what may not be there is written as `_`. A value is quoted when it is empty or has a character that
//! a bare value may not have, or a backslash, so that a reader need not ask whether a backslash means itself.
//!
//! Source: the format of Heroku's router logs, as the Go package `go-logfmt/logfmt` reads it.

use crate::line::{Line, Names};
use crate::{Format, Record, Value};

/// `key=value` pairs, one record a line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Logfmt;

impl Format for Logfmt {
    const EXTENSION: &'static str = "log";

    fn line(record: &Record<'_>, bytes_max: usize) -> String {
        let (mut line, mut names) = (Line::new(bytes_max), Names::default());
        names.reserve("cut");
        let mut before = "";
        for (key, value) in &record.keys {
            names.reserve(key);
            line.plain(before);
            line.plain(key);
            line.plain("=");
            match value {
                Value::Text(text) => quoted(&mut line, text, Line::text),
                Value::Number(number) => line.plain(number),
            }
            before = " ";
        }
        for (name, value) in record.pairs {
            if !line.has_room_for_pair() {
                line.is_cut = true;
                break;
            }
            let bare = |c| if is_bare(c) { c } else { '_' };
            let name = names.fresh(name, bare, &mut line);
            line.plain(" ");
            line.plain(&name);
            line.plain("=");
            quoted(&mut line, value, Line::pair_value);
        }
        if line.is_cut {
            line.plain(" cut=true");
        }
        line.end()
    }
}

/// Writes a value with `write`, in quotation marks where it must be.
fn quoted(line: &mut Line, text: &str, write: impl Fn(&mut Line, &str)) {
    let quote = if !text.is_empty() && text.chars().all(is_bare) { "" } else { "\"" };
    line.plain(quote);
    write(line, text);
    line.plain(quote);
}

/// Whether a character may stand in a key or in a value without quotation marks.
fn is_bare(c: char) -> bool {
    match c {
        '=' | '"' | '\\' | '\u{fffd}' => false,
        '!'..='~' => true,
        c => !c.is_whitespace() && !c.is_control(),
    }
}

//! A table's storage as a picture in the terminal: a bar for each level and for each column, as long as its
//! bytes.
//!
//! A column's bar is made of its encodings. On a terminal each has a colour; everywhere each has a shade, and
//! the words beside the bar say which is which.

use super::screen::{bytes_text, counted, thousands};
use console::style;
use sochdb::{ColumnStats, EncodingStats, LevelStats, StorageStats};
use std::collections::BTreeMap;

/// Characters of the longest bar.
const BAR_CHARS: u64 = 28;
/// What the bars of encodings are made of, one after the other.
const SHADES: [char; 4] = ['█', '▓', '▒', '░'];
/// Their colours, of the 256 that terminals know.
const COLOURS: [u8; 6] = [39, 208, 76, 170, 220, 45];

/// The picture's lines, in colours if `colours`.
pub fn lines(stats: &StorageStats, colours: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let most = stats.levels.iter().map(|level| level.bytes).max().unwrap_or_default();
    for (index, level) in stats.levels.iter().enumerate() {
        let bar = bar(level.bytes, most, SHADES[0]);
        let bar = if colours { style(bar).cyan().force_styling(true).to_string() } else { bar };
        lines.push(format!("level {index:<2} {bar}  {}", level_text(level)));
    }
    let most = stats.columns.iter().map(|column| column.bytes).max().unwrap_or_default();
    let width = stats.columns.iter().map(|c| c.name.chars().count()).max().unwrap_or_default();
    let looks = looks(&stats.columns);
    for column in &stats.columns {
        let name = &column.name;
        let (bar, words) = column_bar(column, most, &looks, colours);
        lines.push(format!("{name:width$} {bar}  {}{words}", column_text(column)));
    }
    lines
}

fn level_text(level: &LevelStats) -> String {
    let LevelStats { segments, rows, deleted, bytes } = level;
    let deleted = match deleted {
        0 => String::new(),
        count => format!(", {} of them deletions", thousands(*count)),
    };
    let (segments, rows) = (counted(*segments, "segment"), counted(*rows, "row"));
    format!("{} in {segments}, {rows}{deleted}", bytes_text(*bytes))
}

fn column_text(column: &ColumnStats) -> String {
    let mut text = bytes_text(column.bytes);
    if let Some(ratio) = ratio(column.raw_bytes, column.bytes) {
        text.push_str(&format!(", {ratio}"));
    }
    text
}

/// How much smaller something became: `4.0x`.
pub fn ratio(raw: u64, bytes: u64) -> Option<String> {
    (0 < raw && 0 < bytes).then(|| format!("{:.1}x", raw as f64 / bytes as f64))
}

/// Each encoding's place among all that are there, by name.
fn looks(columns: &[ColumnStats]) -> BTreeMap<&str, usize> {
    let names = columns.iter().flat_map(|column| &column.encodings);
    let mut looks = BTreeMap::new();
    for EncodingStats { name, .. } in names {
        let next = looks.len();
        looks.entry(name.as_str()).or_insert(next);
    }
    looks
}

/// A column's bar, and which shade is which encoding.
fn column_bar(
    column: &ColumnStats,
    most: u64,
    looks: &BTreeMap<&str, usize>,
    colours: bool,
) -> (String, String) {
    let all = length(column.bytes, most);
    let (mut bar, mut words, mut drawn) = (String::new(), String::new(), 0);
    let total: u64 = column.encodings.iter().map(|encoding| encoding.bytes).sum();
    let mut sum = 0;
    for EncodingStats { name, bytes, .. } in &column.encodings {
        sum += bytes;
        // What was drawn so far ends where the bytes so far do, so rounding adds up.
        let end = if total == 0 { all } else { share(all, sum, total) };
        let look = looks[name.as_str()];
        let paint = |text: String| match colours {
            true => {
                style(text).color256(COLOURS[look % COLOURS.len()]).force_styling(true).to_string()
            }
            false => text,
        };
        let shade = SHADES[look % SHADES.len()].to_string();
        bar.push_str(&paint(shade.repeat((end - drawn) as usize)));
        words.push_str(&format!("  {} {name}", paint(shade)));
        if 1 < column.encodings.len() {
            words.push_str(&format!(" {} %", share(100, *bytes, total.max(1))));
        }
        drawn = end;
    }
    if column.encodings.is_empty() {
        bar = SHADES[0].to_string().repeat(all as usize);
        drawn = all;
    }
    bar.push_str(&" ".repeat((BAR_CHARS - drawn) as usize));
    (bar, words)
}

/// `all` by the share that `part` is of `whole`, rounded.
fn share(all: u64, part: u64, whole: u64) -> u64 {
    (all as f64 * part as f64 / whole as f64).round() as u64
}

/// Characters for `bytes` where the longest bar has `most`; whatever is there at all has one.
fn length(bytes: u64, most: u64) -> u64 {
    match bytes {
        0 => 0,
        _ => share(BAR_CHARS, bytes, most.max(bytes)).clamp(1, BAR_CHARS),
    }
}

fn bar(bytes: u64, most: u64, shade: char) -> String {
    let drawn = length(bytes, most) as usize;
    format!("{}{}", shade.to_string().repeat(drawn), " ".repeat(BAR_CHARS as usize - drawn))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(name: &str, bytes: u64) -> EncodingStats {
        EncodingStats { name: name.into(), chunks: 1, raw_bytes: bytes * 2, bytes }
    }

    fn column(name: &str, encodings: Vec<EncodingStats>) -> ColumnStats {
        let bytes = encodings.iter().map(|encoding| encoding.bytes).sum();
        let (name, raw_bytes) = (name.into(), 2 * bytes);
        ColumnStats { name, bytes, raw_bytes, encodings, ..ColumnStats::default() }
    }

    fn stats() -> StorageStats {
        StorageStats {
            levels: vec![
                LevelStats { segments: 1, rows: 10, deleted: 3, bytes: 1 },
                LevelStats { segments: 12, rows: 12_345, deleted: 0, bytes: 4_000_000 },
            ],
            columns: vec![
                column("id", vec![encoding("delta", 1_000)]),
                column("text", vec![encoding("dictionary", 3_000), encoding("plain", 1_000)]),
                column("none", Vec::new()),
            ],
        }
    }

    #[test]
    fn bars_are_as_long_as_bytes_and_made_of_encodings() {
        let lines = lines(&stats(), false);
        let count = |line: &str, shade| line.chars().take(38).filter(|c| *c == shade).count();
        assert_eq!(count(&lines[0], '█'), 1, "whatever is there has a character");
        assert_eq!(count(&lines[1], '█'), 28);
        assert!(lines[0].ends_with("1 B in 1 segment, 10 rows, 3 of them deletions"), "{lines:?}");
        assert!(lines[1].ends_with("4.0 MB in 12 segments, 12,345 rows"), "{lines:?}");
        assert_eq!(
            (count(&lines[2], '█'), count(&lines[3], '▓'), count(&lines[3], '▒')),
            (7, 21, 7)
        );
        assert!(lines[3].ends_with("4.0 kB, 2.0x  ▓ dictionary 75 %  ▒ plain 25 %"), "{lines:?}");
        assert!(lines[4].ends_with("0 B"), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')));
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let plain: Vec<_> = lines(&stats(), true)
            .iter()
            .map(|line| console::strip_ansi_codes(line).into_owned())
            .collect();
        assert_eq!(plain, lines(&stats(), false));
        assert!(lines(&stats(), true)[3].contains('\u{1b}'));
    }

    #[test]
    fn an_empty_storage_is_an_empty_picture() {
        assert_eq!(lines(&StorageStats::default(), false), Vec::<String>::new());
    }
}

//! One line of bounded length: texts are escaped, cut where they are too long, and never break the line.
//!
//! Escapes are those of JSON, which readers of logfmt know too. Beside what JSON asks for, every control
//! character is escaped (so nothing moves a terminal's cursor), and the two line ends of Unicode are.
//!
//! Where the bytes of a line of at most `n` may go:
//!
//! | share    | for                                                                            |
//! |---------:|--------------------------------------------------------------------------------|
//! |      n/8 | any one text; what is longer ends with `…`                                     |
//! |      n/2 | the texts of a record's own keys, four at most that are not short               |
//! |      n/8 | keys, numbers, times and identifiers of the record: less than 512 bytes         |
//! | the rest | pairs, `PAIRS_MAX` at most; a name takes at most `NAME_BYTES_MAX`               |

use std::borrow::Cow;
use std::collections::BTreeSet;

/// Lines are no longer than this, however large files may become: 64 KiB is what collectors of logs take.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Pairs of one line, as many as OpenTelemetry keeps attributes of one thing.
const PAIRS_MAX: usize = 128;
/// Bytes of a pair's name, as escaped.
const NAME_BYTES_MAX: usize = 128;
/// What ends a text that was cut.
const ELLIPSIS: &str = "…";
/// What may follow the last pair: the end of the pairs, the mark, the end of the line.
const TAIL_BYTES: usize = 32;
/// Quotes, separators and the number of a name that is there twice.
const PAIR_BYTES: usize = 32;

/// A line that is being written.
pub struct Line {
    text: String,
    bytes_max: usize,
    pairs_count: usize,
    /// Whether something was left out.
    pub is_cut: bool,
}

impl Line {
    /// An empty one that will be of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Line {
        Line { text: String::with_capacity(256), bytes_max, pairs_count: 0, is_cut: false }
    }

    /// What is written already, or will not do harm: punctuation, our own keys, numbers.
    pub fn plain(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// A text of the record's own.
    pub fn text(&mut self, text: &str) {
        self.escape(text, self.bytes_max / 8);
    }

    /// Whether there is room for one more pair.
    pub fn has_room_for_pair(&self) -> bool {
        self.pairs_count < PAIRS_MAX && NAME_BYTES_MAX + PAIR_BYTES <= self.room()
    }

    /// The value of a pair.
    pub fn pair_value(&mut self, text: &str) {
        self.pairs_count += 1;
        self.escape(text, (self.bytes_max / 8).min(self.room()));
    }

    /// The line with its line feed.
    pub fn end(mut self) -> String {
        self.text.push('\n');
        assert!(
            self.text.len() <= self.bytes_max,
            "a line has {} bytes, more than {}",
            self.text.len(),
            self.bytes_max
        );
        self.text
    }

    /// Bytes that are free for pairs.
    fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.text.len() + TAIL_BYTES)
    }

    fn escape(&mut self, text: &str, room: usize) {
        self.is_cut |= escape(&mut self.text, text, room);
    }
}

/// Appends `text` escaped, in at most `room` bytes; whether it was cut.
fn escape(to: &mut String, text: &str, room: usize) -> bool {
    if text.len() <= room && is_plain(text) {
        to.push_str(text);
        return false;
    }
    let start = to.len();
    // Up to here the ellipsis fits behind.
    let mut cut_at = start;
    for c in text.chars() {
        escape_char(to, c);
        if room < to.len() - start {
            to.truncate(cut_at);
            if cut_at - start + ELLIPSIS.len() <= room {
                to.push_str(ELLIPSIS);
            }
            return true;
        }
        if to.len() - start + ELLIPSIS.len() <= room {
            cut_at = to.len();
        }
    }
    false
}

/// Whether it is nothing but ASCII that needs no escape, as most texts are: a look at each byte is much faster
/// than a decision about each character.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}

fn escape_char(to: &mut String, c: char) {
    match c {
        '"' => to.push_str("\\\""),
        '\\' => to.push_str("\\\\"),
        '\n' => to.push_str("\\n"),
        '\r' => to.push_str("\\r"),
        '\t' => to.push_str("\\t"),
        c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
            to.push_str(&format!("\\u{:04x}", c as u32));
        }
        c => to.push(c),
    }
}

/// The names of one line's pairs: no two are the same.
#[derive(Default)]
pub struct Names(BTreeSet<Cow<'static, str>>);

impl Names {
    /// A name that no pair may have.
    pub fn reserve(&mut self, name: &'static str) {
        self.0.insert(Cow::Borrowed(name));
    }

    /// `name` with every character changed by `change`, cut where it is too long, escaped, and with a number
    /// behind it if it was there before. An empty one becomes `_`.
    pub fn fresh(&mut self, name: &str, change: impl Fn(char) -> char, line: &mut Line) -> String {
        // One more than fits, to notice what does not.
        let changed: String = name.chars().take(NAME_BYTES_MAX + 1).map(change).collect();
        let mut fresh = String::new();
        line.is_cut |= escape(&mut fresh, &changed, NAME_BYTES_MAX);
        if fresh.is_empty() {
            fresh.push('_');
        }
        if self.0.insert(Cow::Owned(fresh.clone())) {
            return fresh;
        }
        let numbered = (2_u32..).map(|number| format!("{fresh}_{number}"));
        let mut free = numbered.filter(|numbered| !self.0.contains(&**numbered));
        let numbered = free.next().expect("a line has few names");
        self.0.insert(Cow::Owned(numbered.clone()));
        numbered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str, room: usize) -> (String, bool) {
        let mut to = String::new();
        let is_cut = escape(&mut to, text, room);
        (to, is_cut)
    }

    #[test]
    fn control_characters_and_line_ends_are_escaped() {
        let (text, is_cut) =
            escaped("a\"b\\c\nd\re\tf\0g\x1bh\x7fi\u{85}j\u{2028}k\u{2029}ü", 1000);
        let expected = r#"a\"b\\c\nd\re\tf\u0000g\u001bh\u007fi\u0085j\u2028k\u2029ü"#;
        assert_eq!((&*text, is_cut), (expected, false));
    }

    #[test]
    fn a_cut_never_splits_a_character_or_an_escape() {
        let text = "ab\nü\u{0}c";
        let (whole, _) = escaped(text, 100);
        for room in 0..=whole.len() {
            let (cut, is_cut) = escaped(text, room);
            assert!(cut.len() <= room);
            assert_eq!(is_cut, room < whole.len(), "{room}");
            let body = cut.strip_suffix(ELLIPSIS).unwrap_or(&cut);
            assert!(whole.starts_with(body), "{cut}");
            serde_json::from_str::<String>(&format!("\"{cut}\"")).unwrap();
        }
        assert_eq!(escaped("abcdef", 5), ("ab…".to_owned(), true));
    }

    #[test]
    fn names_are_told_apart() {
        let (mut names, mut line) = (Names::default(), Line::new(4096));
        names.reserve("msg");
        let mut fresh = |name: &str| names.fresh(name, |c| c, &mut line);
        let given = ["a", "a", "a_2", "a", "msg", "", "", "a\n"];
        let expected = ["a", "a_2", "a_2_2", "a_3", "msg_2", "_", "__2", "a\\n"];
        assert_eq!(given.map(&mut fresh), expected);
        let (long, longer) = ("x".repeat(NAME_BYTES_MAX), "x".repeat(1000));
        assert_eq!(fresh(&long), long);
        assert!(fresh(&longer).len() <= NAME_BYTES_MAX);
        assert!(line.is_cut);
    }
}

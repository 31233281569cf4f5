//! A line as words, as a shell would cut it.
//!
//! ```text
//!   put words id=7 text='a "word"'     blanks part words; '...' is taken as it is
//!   put words "a \"word\""             in "..." a backslash is for " and \
//!   put words {"id": 7, "t": "a b"}    a word that begins with { or [ is JSON, and ends with its bracket
//!   scan words \                       a backslash takes the next character as it is; at the end of a line
//!     --limit 3                        the next line belongs to it
//! ```

use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

/// One word of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What it says, without quotes.
    pub text: String,
    /// Where it stands in the line, quotes included, in bytes.
    pub span: Range<usize>,
    /// How it begins.
    pub kind: Kind,
}

/// How a word begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As it is.
    Plain,
    /// With a quote.
    Quoted,
    /// With a bracket.
    Json,
}

/// What keeps a line from being whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// A quote that is not closed.
    Quote,
    /// A bracket of JSON that is not closed, or a string in it.
    Bracket,
    /// A backslash at the end.
    Backslash,
}

impl Open {
    /// What it is, for people.
    pub fn name(self) -> &'static str {
        match self {
            Open::Quote => "a quote",
            Open::Bracket => "a bracket",
            Open::Backslash => "a backslash at the end",
        }
    }
}

/// The words of `line`, and what is open at its end.
pub fn split(line: &str) -> (Vec<Word>, Option<Open>) {
    let mut cutter =
        Cutter { chars: line.char_indices().peekable(), text: String::new(), open: None };
    let mut words = Vec::new();
    while let Some(&(start, first)) = cutter.chars.peek() {
        if first.is_whitespace() || cutter.skips_line_end(&line[start..]) {
            cutter.chars.next();
            continue;
        }
        let kind = match first {
            '{' | '[' => Kind::Json,
            '\'' | '"' => Kind::Quoted,
            _ => Kind::Plain,
        };
        if kind == Kind::Json {
            cutter.json();
        }
        cutter.rest_of_word();
        let end = cutter.chars.peek().map_or(line.len(), |&(at, _)| at);
        words.push(Word { text: std::mem::take(&mut cutter.text), span: start..end, kind });
    }
    (words, cutter.open)
}

/// `text` as one word of a line, quoted where it must be.
pub fn quoted(text: &str) -> String {
    // What other shells leave alone, too: a line may be taken there.
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:=,@%+".contains(c);
    match text {
        _ if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        _ if !text.contains('\'') => format!("'{text}'"),
        _ => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

struct Cutter<'a> {
    chars: Peekable<CharIndices<'a>>,
    text: String,
    open: Option<Open>,
}

impl Cutter<'_> {
    /// Passes the backslash of a backslash and a line's end between words.
    fn skips_line_end(&mut self, rest: &str) -> bool {
        let skips = rest.starts_with("\\\n");
        if skips {
            self.chars.next();
        }
        skips
    }

    /// All up to a blank.
    fn rest_of_word(&mut self) {
        while let Some((_, c)) = self.chars.next_if(|(_, c)| !c.is_whitespace()) {
            match c {
                '\\' => self.escaped(),
                '\'' => self.single(),
                '"' => self.double(),
                c => self.text.push(c),
            }
        }
    }

    fn escaped(&mut self) {
        match self.chars.next() {
            Some((_, '\n')) => {}
            Some((_, c)) => self.text.push(c),
            None => self.open = Some(Open::Backslash),
        }
    }

    fn single(&mut self) {
        for (_, c) in self.chars.by_ref() {
            if c == '\'' {
                return;
            }
            self.text.push(c);
        }
        self.open = Some(Open::Quote);
    }

    fn double(&mut self) {
        while let Some((_, c)) = self.chars.next() {
            match c {
                '"' => return,
                '\\' => match self.chars.next_if(|(_, c)| matches!(c, '"' | '\\')) {
                    Some((_, c)) => self.text.push(c),
                    None => self.text.push('\\'),
                },
                c => self.text.push(c),
            }
        }
        self.open = Some(Open::Quote);
    }

    /// JSON as it is, up to the bracket that closes the first one.
    fn json(&mut self) {
        let (mut depth, mut in_string, mut after_backslash) = (0_u32, false, false);
        for (_, c) in self.chars.by_ref() {
            self.text.push(c);
            match c {
                _ if after_backslash => after_backslash = false,
                '\\' if in_string => after_backslash = true,
                '"' => in_string = !in_string,
                '{' | '[' if !in_string => depth += 1,
                '}' | ']' if !in_string => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
        self.open = Some(Open::Bracket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        let (words, open) = split(line);
        assert_eq!(open, None, "{line}");
        words.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_cut_as_they_look() {
        assert_eq!(texts("scan  words\t--limit 3 "), ["scan", "words", "--limit", "3"]);
        assert_eq!(
            texts("put t 'a \"b\"' \"c \\\"d\\\" \\n\""),
            ["put", "t", "a \"b\"", "c \"d\" \\n"]
        );
        assert_eq!(texts("put t text='a b'"), ["put", "t", "text=a b"]);
        assert_eq!(texts("put t '' a\\ b"), ["put", "t", "", "a b"]);
        assert_eq!(
            texts(r#"put t {"a": "}", "b": [1, 2]} x"#),
            ["put", "t", r#"{"a": "}", "b": [1, 2]}"#, "x"]
        );
        assert_eq!(texts("scan t \\\n  --limit 3"), ["scan", "t", "--limit", "3"]);
        assert_eq!(texts(""), Vec::<String>::new());
        let (words, _) = split("get t 'ä b'");
        assert_eq!((words[2].span.clone(), words[2].kind), (6..12, Kind::Quoted));
    }

    #[test]
    fn what_is_open_is_told() {
        let open = |line| split(line).1;
        assert_eq!(open("put t 'a"), Some(Open::Quote));
        assert_eq!(open("put t \"a\\\""), Some(Open::Quote));
        assert_eq!(open("put t {\"a\": [1"), Some(Open::Bracket));
        assert_eq!(open("put t {\"a}"), Some(Open::Bracket));
        assert_eq!(open("scan t \\"), Some(Open::Backslash));
        assert_eq!(open("scan t \\\n"), None);
    }

    #[test]
    fn a_word_that_was_quoted_reads_back() {
        for text in ["plain", "", "two words", "it's", "\"", "a\\b 'c' \"d\"", "{", "[x", "ü"] {
            assert_eq!(texts(&quoted(text)), [text], "{}", quoted(text));
        }
    }
}

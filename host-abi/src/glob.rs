//! Patterns over the names of tables and plugins.
//!
//! | in a pattern          | what it matches                                                           |
//! |-----------------------|---------------------------------------------------------------------------|
//! | `?`                   | one character, but no `/`                                                 |
//! | `*`                   | any run of characters without a `/`, the empty one too                    |
//! | `**` as a whole part  | any number of whole parts: `a/**/b` matches `a/b`, `a/x/b` and `a/x/y/b`; |
//! |                       | at the end the rest, `/` included: `**` alone matches every name          |
//! | any other character   | itself: no case is folded, nothing is normalised                          |
//!
//! `[`, `]`, `{`, `}`, `\` and a leading `!` mean something elsewhere and are refused here, so that nobody
//! takes a pattern for wider or narrower than it is.
//!
//! Patterns come from strangers' manifests and names from their guests, so matching follows all ways
//! through a pattern at once: at worst it takes the pattern's length times the name's steps.

use serde::{Serialize, Serializer};
use std::fmt;

/// Bytes of one pattern; as long as the longest name of a table.
pub const PATTERN_BYTES_MAX: usize = 256;
/// Patterns in one list.
pub const PATTERNS_MAX: usize = 64;

/// What ends a part of a name.
const SEPARATOR: char = '/';
const RESERVED: [char; 5] = ['[', ']', '{', '}', '\\'];

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    tokens: Vec<Token>,
}

/// Patterns of which one has to match. None at all match nothing.
///
/// ```
/// use sochdb_host_abi::glob::Globs;
///
/// let globs = Globs::parse(&["orders", "logs/*", "shop/**"]).unwrap();
/// assert!(globs.matches("orders") && globs.matches("logs/today") && globs.matches("shop/eu/tea"));
/// assert!(!globs.matches("Orders") && !globs.matches("logs/a/b") && !globs.matches("shop"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Globs(Vec<Glob>);

/// One step of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// This character.
    One(char),
    /// Any character but a separator.
    Any,
    /// Any characters but separators.
    Run,
    /// Where `**/` begins; nothing may be there, and then it is left again.
    Parts,
    /// Within `**/`: anything, and after a separator it may be left.
    Within,
    /// `**` at the end: anything.
    Rest,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Glob, String> {
        if text.is_empty() || PATTERN_BYTES_MAX < text.len() {
            return Err(format!("a pattern has 1 to {PATTERN_BYTES_MAX} bytes"));
        }
        let reserved = text.chars().find(|c| RESERVED.contains(c) || c.is_control());
        if let Some(c) = reserved.or_else(|| text.starts_with('!').then_some('!')) {
            return Err(format!(
                "{c:?} cannot be in a pattern such as {text:?}; `?`, `*` and `**` can"
            ));
        }
        let mut tokens = Vec::new();
        let mut parts = text.split(SEPARATOR).peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            match part {
                "**" if is_last => tokens.push(Token::Rest),
                "**" => tokens.extend([Token::Parts, Token::Within]),
                _ if part.contains("**") => {
                    return Err(format!("`**` stands alone between `/`, not as in {text:?}"));
                }
                _ => {
                    tokens.extend(part.chars().map(Token::of));
                    tokens.extend((!is_last).then_some(Token::One(SEPARATOR)));
                }
            }
        }
        Ok(Glob { text: text.to_owned(), tokens })
    }

    /// The pattern, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches only itself.
    pub fn is_literal(&self) -> bool {
        self.tokens.iter().all(|token| matches!(token, Token::One(_)))
    }

    /// Whether it matches the whole of `name`.
    pub fn matches(&self, name: &str) -> bool {
        if self.is_literal() {
            return name == self.text;
        }
        let mut here = vec![false; self.tokens.len() + 1];
        here[0] = true;
        self.step_for_nothing(&mut here);
        for c in name.chars() {
            let mut next = vec![false; here.len()];
            for (at, token) in self.tokens.iter().enumerate().filter(|(at, _)| here[*at]) {
                match token {
                    Token::One(one) => next[at + 1] |= *one == c,
                    Token::Any => next[at + 1] |= c != SEPARATOR,
                    Token::Run => next[at] |= c != SEPARATOR,
                    Token::Parts => {}
                    Token::Within => {
                        next[at] = true;
                        next[at + 1] |= c == SEPARATOR;
                    }
                    Token::Rest => next[at] = true,
                }
            }
            self.step_for_nothing(&mut next);
            here = next;
        }
        here[self.tokens.len()]
    }

    /// From every place reached, goes on to those that need no character.
    fn step_for_nothing(&self, reached: &mut [bool]) {
        for (at, token) in self.tokens.iter().enumerate() {
            if !reached[at] {
                continue;
            }
            match token {
                Token::Run | Token::Rest => reached[at + 1] = true,
                Token::Parts => reached[at + 1..=at + 2].fill(true),
                Token::One(_) | Token::Any | Token::Within => {}
            }
        }
    }
}

impl Token {
    fn of(c: char) -> Token {
        match c {
            '?' => Token::Any,
            '*' => Token::Run,
            c => Token::One(c),
        }
    }
}

impl Globs {
    /// Reads patterns.
    ///
    /// # Errors
    /// What is wrong with the first wrong one, for people.
    pub fn parse(texts: &[&str]) -> Result<Globs, String> {
        let globs = texts.iter().map(|text| Glob::parse(text));
        globs.collect::<Result<Vec<_>, _>>().and_then(Globs::new)
    }

    /// These patterns.
    ///
    /// # Errors
    /// There are too many.
    pub fn new(globs: Vec<Glob>) -> Result<Globs, String> {
        if PATTERNS_MAX < globs.len() {
            return Err(format!("{} patterns are too many: at most {PATTERNS_MAX}", globs.len()));
        }
        Ok(Globs(globs))
    }

    /// The list that matches every name: `**`.
    pub fn everything() -> Globs {
        Globs(vec![Glob { text: "**".to_owned(), tokens: vec![Token::Rest] }])
    }

    /// Whether one of them matches the whole of `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|glob| glob.matches(name))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Glob> {
        self.0.iter()
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Globs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.iter().map(Glob::as_str).collect();
        f.write_str(&texts.join(", "))
    }
}

impl Serialize for Globs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Glob::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_star_stays_within_a_part_and_two_cross() {
        let matches = |pattern, name| Glob::parse(pattern).unwrap().matches(name);
        for (pattern, yes, no) in [
            ("*", &["", "a", "orders"][..], &["a/b", "/"][..]),
            ("?", &["a", "é"], &["", "ab", "/"]),
            ("a*b", &["ab", "axb", "abb"], &["a/b", "aB", "xab"]),
            ("**", &["", "a", "a/b", "/"], &[]),
            ("a/**", &["a/", "a/b", "a/b/c"], &["a", "ab", "A/b"]),
            ("**/b", &["b", "a/b", "a/c/b", "/b"], &["ab", "a/bb", "b/"]),
            ("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb", "a/b/"]),
            ("**/a/**/b", &["a/b", "x/a/y/b", "a/a/b"], &["a", "b"]),
            ("a/*", &["a/", "a/b"], &["a/b/c", "a", "a/../b"]),
        ] {
            yes.iter().for_each(|name| assert!(matches(pattern, name), "{pattern} {name}"));
            no.iter().for_each(|name| assert!(!matches(pattern, name), "{pattern} {name}"));
        }
    }

    #[test]
    fn patterns_that_mean_something_elsewhere_are_refused() {
        for text in ["", "[ab]", "{a,b}", "a\\*", "!a", "a**", "**a/b", "***", "a\0", "a\n"] {
            Glob::parse(text).unwrap_err();
        }
        Glob::parse(&"a".repeat(PATTERN_BYTES_MAX)).unwrap();
        Glob::parse(&"a".repeat(PATTERN_BYTES_MAX + 1)).unwrap_err();
        Globs::parse(&["a"; PATTERNS_MAX]).unwrap();
        Globs::parse(&["a"; PATTERNS_MAX + 1]).unwrap_err();
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = Glob::parse(&format!("{}b/x", "*a".repeat(120))).unwrap();
        let began = Instant::now();
        assert!(!pattern.matches(&format!("{}/x", "a".repeat(250))));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    /// The table above, read as literally as can be: every way to split the name is tried.
    fn naive(pattern: &[char], name: &[char]) -> bool {
        let mut splits = 0..=name.len();
        match pattern {
            [] => name.is_empty(),
            ['*', '*'] => true,
            ['*', '*', '/', rest @ ..] => {
                splits.any(|at| (at == 0 || name[at - 1] == '/') && naive(rest, &name[at..]))
            }
            ['*', rest @ ..] => {
                splits.any(|at| !name[..at].contains(&'/') && naive(rest, &name[at..]))
            }
            ['?', rest @ ..] => matches!(name, [c, ..] if *c != '/') && naive(rest, &name[1..]),
            [one, rest @ ..] => matches!(name, [c, ..] if c == one) && naive(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_name_matches_when_some_way_through_the_pattern_does(
            pattern in "(\\*\\*/|[ab?*/]){0,6}(\\*\\*|a)?", name in "[ab/A\u{301}]{0,8}",
        ) {
            if let Ok(glob) = Glob::parse(&pattern) {
                let chars = |text: &str| text.chars().collect::<Vec<_>>();
                prop_assert_eq!(glob.matches(&name), naive(&chars(&pattern), &chars(&name)));
            }
        }

        #[test]
        fn any_text_is_a_pattern_or_refused(text: String, name: String) {
            if let Ok(glob) = Glob::parse(&text) {
                prop_assert!(!glob.is_literal() || glob.matches(&name) == (name == text));
            }
        }
    }
}

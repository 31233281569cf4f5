//! Texts as words.
//!
//! Words are what Unicode's rules of segmentation say, in lower case: `Don't panic, 世界!` is `don't`, `panic`, `世`,
//! `界`. There is no stemming and no list of stop words: a word that is in every text weighs next to nothing anyway.
//!
//! Source: Unicode Standard Annex 29, by the crate `unicode-segmentation`.

use sochdb_guest::{Error, Result};
use std::collections::BTreeMap;
use unicode_segmentation::UnicodeSegmentation;

/// What is longer is no word that anybody looks for, but an identifier or an encoding, and is left out.
pub const WORD_BYTES_MAX: usize = 64;
const _: () = assert!(WORD_BYTES_MAX <= u8::MAX as usize, "a word's length is one byte");

/// The words of `text`, in their order.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    let lower = text.unicode_words().map(str::to_lowercase);
    lower.filter(|word| word.len() <= WORD_BYTES_MAX)
}

/// How often each word is in one row's text.
///
/// As bytes, one word after the other, in their order:
///
/// | size | type  | field   | meaning                          |
/// |-----:|-------|---------|----------------------------------|
/// |    4 | u32   | `count` | how often the word is in the text |
/// |    1 | u8    | `len`   | bytes of the word, at least one  |
/// |  len | UTF-8 | `word`  | the word                         |
///
/// Integers are little-endian.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Each word, and how often it is there.
    pub counts: BTreeMap<String, u32>,
}

impl Document {
    /// The document that `texts` are together.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Document {
        let mut document = Document::default();
        for word in texts.into_iter().flat_map(words) {
            let count = document.counts.entry(word).or_default();
            *count = count.saturating_add(1);
        }
        document
    }

    /// How many words it has, each as often as it is there.
    pub fn len(&self) -> u32 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (word, count) in &self.counts {
            bytes.extend(count.to_le_bytes());
            bytes.push(word.len() as u8);
            bytes.extend(word.as_bytes());
        }
        bytes
    }

    /// The document that [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Document> {
        let mut document = Document::default();
        while !bytes.is_empty() {
            let (count, word, rest) = first_word(bytes)
                .ok_or_else(|| Error::corrupt("the words of an indexed row are damaged"))?;
            document.counts.insert(word, count);
            bytes = rest;
        }
        Ok(document)
    }
}

fn first_word(bytes: &[u8]) -> Option<(u32, String, &[u8])> {
    let (count, rest) = bytes.split_first_chunk()?;
    let (len, rest) = rest.split_first()?;
    let (word, rest) = rest.split_at_checked(usize::from(*len))?;
    let word = str::from_utf8(word).ok().filter(|word| !word.is_empty())?;
    Some((u32::from_le_bytes(*count), word.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_those_of_unicode_in_lower_case() {
        let found: Vec<_> = words("Don't PANIC, (3.14) Straße—世界!\0 👋").collect();
        assert_eq!(found, ["don't", "panic", "3.14", "straße", "世", "界"]);
        let long = "a".repeat(WORD_BYTES_MAX);
        assert_eq!(words(&format!("{long} {long}a")).collect::<Vec<_>>(), [long]);
    }

    #[test]
    fn a_document_counts_across_its_texts() {
        let document = Document::of(["to be or", "not to be"]);
        let counts: Vec<_> = document.counts.iter().map(|(word, n)| (word.as_str(), *n)).collect();
        assert_eq!(counts, [("be", 2), ("not", 1), ("or", 1), ("to", 2)]);
        assert_eq!((document.len(), Document::of([]).is_empty()), (6, true));
        assert_eq!(Document::of(["be"]).to_bytes(), *b"\x01\0\0\0\x02be");
    }

    proptest! {
        #[test]
        fn a_document_is_read_as_it_was_written(text in "\\PC{0,200}") {
            let document = Document::of([text.as_str()]);
            let bytes = document.to_bytes();
            prop_assert_eq!(Document::from_bytes(&bytes), Ok(document));
            if let Some((_, cut)) = bytes.split_last() {
                prop_assert!(Document::from_bytes(cut).is_err());
            }
        }

        #[test]
        fn any_bytes_are_a_document_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Document::from_bytes(&bytes);
        }
    }
}

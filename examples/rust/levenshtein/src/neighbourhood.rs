//! All texts within some edits of a word, as a machine that reads a text from left to right.
//!
//! An edit inserts a character, removes one, or puts another in its place. The distance of two texts is the
//! least number of edits that makes one the other, and is computed by a matrix with a row for each character:
//!
//! ```text
//!            t  e  a        The row behind "the" has the distances of "the" from "", "t", "te", "tea". The last
//!         0  1  2  3        one is the distance so far. The least of the row is what no continuation gets below:
//!      t  1  0  1  2        when it exceeds what is allowed, the text is dead, whatever follows.
//!      h  2  1  1  2
//!      e  3  2  1  2        A row follows from the one before and a character, so rows are the states of a machine.
//! ```
//!
//! Because dead beginnings are known early, the machine can also say which text comes next: the least one, in the
//! order of texts, that lies not before a given text and within the distance. A sorted list is then searched by
//! jumps, from one candidate to the next, and most of it is never looked at.
//!
//! Sources: Wagner and Fischer 1974 for the matrix; Schulz and Mihov 2002 for its rows as the states of an automaton,
//! and its walk along a sorted dictionary.

// ANCHOR: rows
/// The texts within `distance` edits of `word`.
pub struct Neighbourhood {
    word: Vec<char>,
    /// The characters of the word, sorted: all others are alike to it.
    alphabet: Vec<char>,
    distance: usize,
}

/// The distances of what was read from each beginning of the word.
type Row = Vec<usize>;

impl Neighbourhood {
    /// The texts within `distance` edits of `word`.
    pub fn new(word: &str, distance: usize) -> Neighbourhood {
        let word: Vec<char> = word.chars().collect();
        let mut alphabet = word.clone();
        alphabet.sort_unstable();
        alphabet.dedup();
        Neighbourhood { word, alphabet, distance }
    }

    /// Before anything was read.
    fn start(&self) -> Row {
        (0..=self.word.len()).collect()
    }

    /// Behind one more character.
    fn step(&self, row: &Row, read: char) -> Row {
        let mut next = Vec::with_capacity(row.len());
        next.push(row[0] + 1);
        for (at, &wanted) in self.word.iter().enumerate() {
            let same_or_other = row[at] + usize::from(read != wanted);
            next.push(same_or_other.min(row[at + 1] + 1).min(next[at] + 1));
        }
        next
    }

    /// Whether something that follows can still lead to a text within the distance.
    fn is_alive(&self, row: &Row) -> bool {
        row.iter().any(|&edits| edits <= self.distance)
    }

    /// The distance of what was read, if it is within the allowed one.
    fn accepts(&self, row: &Row) -> Option<usize> {
        row.last().copied().filter(|&edits| edits <= self.distance)
    }

    /// The distance of `text`, if it is within the allowed one.
    pub fn distance(&self, text: &str) -> Option<usize> {
        let mut row = self.start();
        for read in text.chars() {
            row = self.step(&row, read);
            if !self.is_alive(&row) {
                return None;
            }
        }
        self.accepts(&row)
    }
    // ANCHOR_END: rows

    // ANCHOR: next
    /// The least text, in the order of texts, that lies not before `text` and within the distance.
    pub fn next(&self, text: &str) -> Option<String> {
        let chars: Vec<char> = text.chars().collect();
        let mut rows = vec![self.start()];
        for &read in &chars {
            let row = self.step(&rows[rows.len() - 1], read);
            if !self.is_alive(&row) {
                break;
            }
            rows.push(row);
        }
        if chars.len() < rows.len() {
            return Some(self.complete(text.to_owned(), rows.pop()?));
        }
        // It dies at some character. So keep what is before that, or before an earlier one, and go on with a
        // greater character than the text has there.
        for (at, row) in rows.iter().enumerate().rev() {
            let greater = following(chars[at]).and_then(|from| self.least(row, from));
            if let Some(greater) = greater {
                let beginning = chars[..at].iter().chain([&greater]).collect();
                return Some(self.complete(beginning, self.step(row, greater)));
            }
        }
        None
    }

    /// The least text that begins with `text`, which is alive, and is within the distance.
    fn complete(&self, mut text: String, mut row: Row) -> String {
        while self.accepts(&row).is_none() {
            let Some(read) = self.least(&row, char::MIN) else { break };
            text.push(read);
            row = self.step(&row, read);
        }
        text
    }

    /// The least character from `from` on that leaves something alive. One that is not in the word does, or none
    /// of those does; one that is in the word may do where they do not.
    fn least(&self, row: &Row, from: char) -> Option<char> {
        let in_word = self.alphabet.iter().copied().filter(|&other| from < other);
        [from].into_iter().chain(in_word).find(|&read| self.is_alive(&self.step(row, read)))
    }
    // ANCHOR_END: next
}

/// The character behind `read` in the order of characters.
fn following(read: char) -> Option<char> {
    (read..=char::MAX).nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // ANCHOR: law
    /// The distance by its definition: slow, and too short to be wrong.
    fn plain(a: &[char], b: &[char]) -> usize {
        match (a, b) {
            ([], rest) | (rest, []) => rest.len(),
            ([a, a_rest @ ..], [b, b_rest @ ..]) if a == b => plain(a_rest, b_rest),
            ([_, a_rest @ ..], [_, b_rest @ ..]) => {
                1 + plain(a_rest, b_rest).min(plain(a_rest, b)).min(plain(a, b_rest))
            }
        }
    }

    proptest! {
        #[test]
        fn jumping_along_a_sorted_list_finds_what_looking_at_all_of_it_finds(
            word in "[abcü]{0,5}", distance in 0usize..4,
            mut list in prop::collection::vec("[abcdzü]{0,6}", 0..60),
        ) {
            list.sort();
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let near = |text: &&String| plain(&chars(text), &chars(&word)) <= distance;
            let wanted: Vec<_> = list.iter().filter(near).collect();
            let machine = Neighbourhood::new(&word, distance);
            let mut found = Vec::new();
            let mut at = 0;
            while let Some(text) = list.get(at) {
                let next = machine.next(text);
                if next.as_ref() == Some(text) {
                    let edits = plain(&chars(text), &chars(&word));
                    prop_assert_eq!(machine.distance(text), Some(edits));
                    found.push(text);
                    at += 1;
                    continue;
                }
                prop_assert_eq!(machine.distance(text), None);
                let Some(next) = next else { break };
                prop_assert!(text < &next, "{next:?} lies before {text:?}");
                prop_assert!(machine.distance(&next).is_some(), "{next:?} is too far away");
                at = list.partition_point(|other| *other < next);
            }
            prop_assert_eq!(found, wanted);
        }
    }
    // ANCHOR_END: law

    #[test]
    fn distances_of_words_that_people_know() {
        let edits = |a, b| Neighbourhood::new(a, 99).distance(b);
        assert_eq!(edits("kitten", "sitting"), Some(3));
        assert_eq!(edits("tea", "the"), Some(2));
        assert_eq!(edits("", "abc"), Some(3));
        assert_eq!(edits("Straße", "Strasse"), Some(2));
    }

    #[test]
    fn the_next_text_is_the_least_that_is_near() {
        let near = Neighbourhood::new("tea", 1);
        assert_eq!(near.next("").as_deref(), Some("\0ea"));
        assert_eq!(near.next("tax").as_deref(), Some("tba"));
        assert_eq!(near.next("tea").as_deref(), Some("tea"));
        assert_eq!(near.next("teak").as_deref(), Some("teak"));
        assert_eq!(near.next("\u{10ffff}\u{10ffff}").as_deref(), None);
    }
}

//! Which entries a search may find: one bit each, or all of them.

/// Which entries a search may find. The bit of entry `i` is bit `i % 64` of word `i / 64`; without any words,
/// all are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    words: Vec<u64>,
}

impl Allowed {
    /// All entries.
    pub fn all() -> Allowed {
        Allowed::default()
    }

    /// These of the first `count` entries.
    pub fn of(count: u32, numbers: impl IntoIterator<Item = u32>) -> Allowed {
        // One word at least: none would be all of them.
        let mut words = vec![0; (count as usize).div_ceil(64).max(1)];
        for number in numbers.into_iter().filter(|number| *number < count) {
            words[number as usize / 64] |= 1 << (number % 64);
        }
        Allowed { words }
    }

    /// Whether all entries are allowed, and nobody needs to look at bits.
    pub fn is_all(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether entry `number` is.
    #[inline]
    pub fn contains(&self, number: u32) -> bool {
        match self.words.get(number as usize / 64) {
            Some(word) => word >> (number % 64) & 1 == 1,
            None => self.words.is_empty(),
        }
    }

    /// How many of `count` entries are.
    pub fn len(&self, count: u32) -> u32 {
        if self.is_all() { count } else { self.words.iter().map(|word| word.count_ones()).sum() }
    }

    /// The numbers of those that are, of `count` entries, growing.
    pub fn numbers(&self, count: u32) -> impl Iterator<Item = u32> {
        (0..count).filter(|&number| self.contains(number))
    }

    /// The bits; no words when all are allowed.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

impl From<Vec<u64>> for Allowed {
    fn from(words: Vec<u64>) -> Allowed {
        Allowed { words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_words_allow_all_and_words_allow_their_bits() {
        assert!(Allowed::all().contains(1000) && Allowed::all().is_all());
        assert_eq!(Allowed::all().len(7), 7);
        let some = Allowed::of(130, [0, 63, 64, 129, 130, 9000]);
        assert_eq!(some.numbers(130).collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!(some.len(130), 4);
        assert!(!some.contains(9000));
        let none = Allowed::of(0, []);
        assert!(!none.is_all() && none.len(0) == 0 && !none.contains(0));
    }
}

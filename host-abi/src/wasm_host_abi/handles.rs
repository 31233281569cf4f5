//! Handles that a guest was given: numbers, and what is behind them on this side.
//!
//! A number that was once given out never means another thing, so a guest that keeps a handle too long
//! gets an error and not somebody else's rows.

use std::collections::BTreeMap;
use wasmtime::{Error, Result, format_err};

/// Things a guest holds handles of. A number is never used again. Most guests hold a few at a time.
pub(crate) struct Handles<T> {
    next: u32,
    open: BTreeMap<u32, T>,
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Handles { next: 0, open: BTreeMap::new() }
    }
}

impl<T> Handles<T> {
    /// Gives `thing` a number.
    ///
    /// # Errors
    /// When this store has given out all numbers; then it must be replaced.
    pub(crate) fn insert(&mut self, thing: T) -> Result<u32> {
        let number = self.next;
        self.next =
            number.checked_add(1).ok_or_else(|| format_err!("it has used up its handles"))?;
        self.open.insert(number, thing);
        Ok(number)
    }

    /// What is behind `number`.
    ///
    /// # Errors
    /// When it was closed: a trap for the guest.
    pub(crate) fn get(&mut self, number: u32) -> Result<&mut T> {
        self.open.get_mut(&number).ok_or_else(closed)
    }

    /// The same, only to look at.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) fn look(&self, number: u32) -> Result<&T> {
        self.open.get(&number).ok_or_else(closed)
    }

    /// Closes it, if it is open, and gives back what was behind it.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        self.open.remove(&number)
    }

    /// Everything that is open.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.open.values()
    }

    /// Closes all.
    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }
}

fn closed() -> Error {
    format_err!("it used a handle after its end")
}

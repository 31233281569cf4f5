//! Many sorted sources as one: of equal keys the newest source's row wins.

use std::ops::Deref;

/// A key and its value; `None` says that the key was deleted.
pub type Row<V> = (Vec<u8>, Option<V>);

/// Rows in strictly growing order of their keys, or strictly falling.
pub trait Source {
    /// What a row that was not deleted has.
    type Value;
    /// What can go wrong.
    type Error;

    /// The next row; after the end, `None` again.
    ///
    /// # Errors
    /// Whatever kept the row from being read.
    fn next(&mut self) -> Result<Option<Row<Self::Value>>, Self::Error>;
}

/// Merges sources, given from newest to oldest.
pub struct Merged<S: Source> {
    sources: Vec<(S, Option<Row<S::Value>>)>,
    reverse: bool,
    /// Whether deletions are left out.
    live: bool,
    started: bool,
}

impl<S: Source> Merged<S> {
    /// Every key's newest row; those that are deletions only if not `live`. The sources' keys fall if
    /// `reverse`.
    pub fn new(sources: Vec<S>, reverse: bool, live: bool) -> Merged<S> {
        let sources = sources.into_iter().map(|source| (source, None)).collect();
        Merged { sources, reverse, live, started: false }
    }

    /// The next row.
    ///
    /// # Errors
    /// Whatever a source returns.
    #[allow(clippy::should_implement_trait, reason = "an iterator's items would be results")]
    pub fn next(&mut self) -> Result<Option<Row<S::Value>>, S::Error> {
        loop {
            match self.advance()? {
                Some((_, None)) if self.live => {}
                row => return Ok(row),
            }
        }
    }

    fn advance(&mut self) -> Result<Option<Row<S::Value>>, S::Error> {
        if !self.started {
            self.started = true;
            for (source, head) in &mut self.sources {
                *head = source.next()?;
            }
            self.sources.retain(|(_, head)| head.is_some());
        }
        if let [(source, head)] = &mut self.sources[..] {
            // Nothing to compare with, and so no need to read ahead.
            return if head.is_some() { Ok(head.take()) } else { source.next() };
        }
        let mut best: Option<usize> = None;
        for index in 0..self.sources.len() {
            let Some((key, _)) = &self.sources[index].1 else { continue };
            let wins = best.is_none_or(|best| {
                let (leader, _) = self.sources[best].1.as_ref().expect("best has a row");
                if self.reverse { leader < key } else { key < leader }
            });
            if wins {
                best = Some(index);
            }
        }
        let Some(best) = best else { return Ok(None) };
        let (source, head) = &mut self.sources[best];
        let row = std::mem::replace(head, source.next()?).expect("best has a row");
        for (source, head) in &mut self.sources[best + 1..] {
            if head.as_ref().is_some_and(|(key, _)| *key == row.0) {
                *head = source.next()?;
            }
        }
        Ok(Some(row))
    }
}

/// Where two merges first differ, in words: what `read` has and what `wrote` has. Each row that they share is
/// shown to `same`.
///
/// # Errors
/// Whatever a source returns.
pub fn difference<S: Source>(
    mut wrote: Merged<S>,
    mut read: Merged<S>,
    mut same: impl FnMut(&Row<S::Value>),
) -> Result<Option<String>, S::Error>
where
    S::Value: PartialEq + Deref<Target = [u8]>,
{
    loop {
        let (wrote, read) = (wrote.next()?, read.next()?);
        if wrote != read {
            let show = |row: &Option<Row<S::Value>>| match row {
                None => "no row".to_owned(),
                Some((key, value)) => {
                    let bytes = value.as_ref().map(|value| value.len());
                    format!("{} ({bytes:?} bytes)", key.escape_ascii())
                }
            };
            return Ok(Some(format!("{} where {} was written", show(&read), show(&wrote))));
        }
        let Some(row) = wrote else { return Ok(None) };
        same(&row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    struct Rows(std::vec::IntoIter<Row<u8>>);

    impl Source for Rows {
        type Value = u8;
        type Error = Infallible;

        fn next(&mut self) -> Result<Option<Row<u8>>, Infallible> {
            Ok(self.0.next())
        }
    }

    proptest! {
        #[test]
        fn the_newest_row_of_each_key_comes_out_in_order(
            sources in vec(btree_map(vec(0u8..4, 0..3), any::<Option<u8>>(), 0..8), 0..5),
            reverse: bool, live: bool,
        ) {
            let mut wanted = BTreeMap::new();
            sources.iter().rev().for_each(|rows| wanted.extend(rows.clone()));
            let mut wanted: Vec<_> = wanted.into_iter().filter(|row| row.1.is_some() || !live).collect();
            let turn = |rows: &mut Vec<Row<u8>>| if reverse { rows.reverse() };
            turn(&mut wanted);
            let sources = sources.into_iter().map(|rows| {
                let mut rows = rows.into_iter().collect();
                turn(&mut rows);
                Rows(rows.into_iter())
            });
            let mut merged = Merged::new(sources.collect(), reverse, live);
            let mut found = Vec::new();
            while let Ok(Some(row)) = merged.next() {
                found.push(row);
            }
            prop_assert_eq!(found, wanted);
        }
    }
}

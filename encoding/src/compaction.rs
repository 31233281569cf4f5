//! A slice of compaction: which segments of a table's list a storage engine wants merged, and whether that can
//! be done without a newer row coming to lie under an older one.
//!
//! The list is oldest first; a later segment hides an earlier one's rows. What is merged leaves its places and
//! takes one, at or before the first of them:
//!
//! ```text
//!   list      0   1   2   3   4   5        inputs [1, 4], at 1
//!                 x           x
//!   becomes   0   m   2   3   5            2 and 3 were older than a part of m and are newer now,
//!                                          so neither may share keys with 4
//! ```

/// Segments that are to be merged into one place, or one that is to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compaction {
    /// Positions in the list of segments, growing.
    pub inputs: Vec<usize>,
    /// The position that what is merged gets; not behind the first input. A single input that gets another
    /// position than it has is moved there as it is.
    pub at: usize,
    /// Another slice must follow soon: there is more to do than can wait.
    pub urgent: bool,
}

impl Compaction {
    /// Whether the segment only moves.
    pub fn is_move(&self) -> bool {
        self.inputs.len() == 1 && self.inputs[0] != self.at
    }

    /// Whether this can be done with a list of `count` segments, of which `share_keys(a, b)` tells whether
    /// there may be a key that both have between their least and greatest ones.
    ///
    /// `Some(true)` says that what is merged has no older segment under it that shares keys with it, so that
    /// rows that say that their key was deleted hide nothing any more. `None`: it cannot be done.
    ///
    /// # Errors
    /// What `share_keys` returns.
    pub fn check<E>(
        &self,
        count: usize,
        mut share_keys: impl FnMut(usize, usize) -> Result<bool, E>,
    ) -> Result<Option<bool>, E> {
        let Compaction { inputs, at, .. } = self;
        let Some(&last) = inputs.last().filter(|&&last| last < count) else { return Ok(None) };
        if inputs[0] < *at || !inputs.is_sorted_by(|a, b| a < b) {
            return Ok(None);
        }
        let mut hides_nothing = true;
        for other in (0..last).filter(|other| !inputs.contains(other)) {
            for &input in inputs {
                let (stays_older, gets_newer) = (other < *at, *at <= other && other < input);
                if (stays_older || gets_newer) && share_keys(other, input)? {
                    if gets_newer {
                        return Ok(None);
                    }
                    hides_nothing = false;
                }
            }
        }
        Ok(Some(hides_nothing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    type Rows = BTreeMap<u8, Option<u8>>;

    fn newest(list: &[Rows]) -> Rows {
        let mut all = Rows::new();
        list.iter().for_each(|rows| all.extend(rows));
        all
    }

    fn live(rows: Rows) -> Rows {
        rows.into_iter().filter(|(_, value)| value.is_some()).collect()
    }

    proptest! {
        #[test]
        fn what_can_be_done_changes_no_answer(
            list in vec(btree_map(0u8..12, any::<Option<u8>>(), 1..4), 1..8),
            picks in vec(any::<prop::sample::Index>(), 1..4), at in any::<prop::sample::Index>(),
        ) {
            let mut inputs: Vec<_> = picks.iter().map(|pick| pick.index(list.len())).collect();
            inputs.sort_unstable();
            inputs.dedup();
            let plan = Compaction { at: at.index(inputs[0] + 1), inputs, urgent: false };
            let ends = |at: usize| (*list[at].keys().next().unwrap(), *list[at].keys().last().unwrap());
            let share = |a, b| {
                let ((a_min, a_max), (b_min, b_max)) = (ends(a), ends(b));
                Ok::<_, Infallible>(a_min <= b_max && b_min <= a_max)
            };
            let Ok(Some(hides_nothing)) = plan.check(list.len(), share) else { return Ok(()) };
            let (mut chosen, mut after) = (Vec::new(), Vec::new());
            for (position, rows) in list.iter().enumerate() {
                match plan.inputs.contains(&position) {
                    true => chosen.push(rows.clone()),
                    false => after.push(rows.clone()),
                }
            }
            let merged = newest(&chosen);
            after.insert(plan.at, if hides_nothing { live(merged) } else { merged });
            prop_assert_eq!(live(newest(&after)), live(newest(&list)));
        }
    }

    #[test]
    fn positions_that_make_no_sense_cannot_be_done() {
        for (inputs, at) in
            [(vec![], 0), (vec![3], 0), (vec![1, 1], 0), (vec![2, 1], 0), (vec![1], 2)]
        {
            let plan = Compaction { inputs, at, urgent: false };
            assert_eq!(plan.check(3, |_, _| Ok::<_, Infallible>(false)), Ok(None), "{plan:?}");
        }
    }
}

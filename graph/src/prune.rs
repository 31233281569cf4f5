//! Which of many candidates become links.
//!
//! The nearest candidate becomes a link, and every candidate that is nearer to it than to the entry itself falls
//! out, because it can be reached that way; then the nearest of those that are left, and so on. So links
//! point in different directions. With `alpha` above 1 a candidate falls out only if the way round is shorter by
//! that factor.
//!
//! Of equal entries one becomes a link, whatever `alpha` is: rounding, and inner products, put them at a distance
//! that is not quite zero, but at the same.
//!
//! One question per chosen link is asked: how far it is from all the candidates that are left.
//!
//! Source: algorithm 4 of the HNSW paper is this with `alpha` 1, and "RobustPrune" of the DiskANN paper is this.
//! A distance below zero, which inner products have, is divided by `alpha`: less negative is farther.

use crate::pool::Near;
use crate::walk::{counted, named};
use crate::{BATCH_MAX, Result, Space};

/// How many candidates are looked at, at most, for one link of a row that is mended.
const LOOKED_AT: usize = 3;

/// What pruning uses again and again.
#[derive(Debug, Default)]
pub(crate) struct Pruner {
    /// The links that were chosen last, nearest first.
    pub chosen: Vec<u32>,
    /// What they are chosen from: fill it before.
    pub candidates: Vec<Near>,
    positions: Vec<u32>,
    numbers: Vec<u32>,
    distances: Vec<f32>,
}

impl Pruner {
    /// Makes candidates of `positions`, none of which is that of entry `number`: asks how far they are from it.
    ///
    /// # Errors
    /// What `space` says.
    pub fn compare(
        &mut self,
        space: &mut impl Space,
        number: u32,
        names: &[u32],
        positions: &[u32],
    ) -> Result<()> {
        ask(space, number, names, positions, &mut self.numbers, &mut self.distances)?;
        let near = |(&position, &distance): (&u32, &f32)| Near { distance, position };
        self.candidates.extend(positions.iter().zip(&self.distances).map(near));
        Ok(())
    }

    /// Chooses up to `slots` of the candidates, in which none is twice, and leaves no candidates.
    ///
    /// # Errors
    /// What `space` says.
    pub fn choose(
        &mut self,
        space: &mut impl Space,
        names: &[u32],
        slots: usize,
        alpha: f32,
    ) -> Result<()> {
        self.chosen.clear();
        self.candidates.sort_unstable();
        while let Some(&nearest) = self.candidates.first() {
            self.chosen.push(nearest.position);
            if self.chosen.len() == slots {
                break;
            }
            let rest = &self.candidates[1..];
            self.positions.clear();
            self.positions.extend(rest.iter().map(|near| near.position));
            let number = names.get(nearest.position as usize).copied().unwrap_or(nearest.position);
            ask(space, number, names, &self.positions, &mut self.numbers, &mut self.distances)?;
            let mut kept = 0;
            for (index, &distance) in self.distances.iter().enumerate() {
                let near = self.candidates[index + 1];
                self.candidates[kept] = near;
                kept += usize::from(is_worth(&nearest, &near, distance, alpha));
            }
            self.candidates.truncate(kept);
        }
        self.candidates.clear();
        Ok(())
    }

    /// Keeps those candidates that are in `kept`, which grows, and adds up to `more` of the others to them, the nearest
    /// first: each that no nearer link makes too much. Looks at a few times as many. Leaves no candidates.
    ///
    /// # Errors
    /// What `space` says.
    pub fn mend(
        &mut self,
        space: &mut impl Space,
        names: &[u32],
        kept: &[u32],
        more: usize,
        alpha: f32,
    ) -> Result<()> {
        self.candidates.sort_unstable();
        let is_kept = |near: &Near| kept.binary_search(&near.position).is_ok();
        let (mut links, others): (Vec<Near>, Vec<Near>) =
            self.candidates.drain(..).partition(is_kept);
        let full = links.len() + more;
        for near in others.into_iter().take(LOOKED_AT * more) {
            if links.len() == full {
                break;
            }
            let at = links.partition_point(|link| link.distance <= near.distance);
            self.positions.clear();
            self.positions.extend(links[..at].iter().map(|link| link.position));
            let number = names.get(near.position as usize).copied().unwrap_or(near.position);
            ask(space, number, names, &self.positions, &mut self.numbers, &mut self.distances)?;
            let mut pairs = links[..at].iter().zip(&self.distances);
            if pairs.all(|(link, &distance)| is_worth(link, &near, distance, alpha)) {
                links.insert(at, near);
            }
        }
        self.chosen.clear();
        self.chosen.extend(links.iter().map(|link| link.position));
        Ok(())
    }
}

/// Whether `near` is worth a link where there is a nearer `link`, which is so far from it.
fn is_worth(link: &Near, near: &Near, distance: f32, alpha: f32) -> bool {
    let twin = near.distance == link.distance && distance <= near.distance;
    !twin && near.distance < stretched(distance, alpha)
}

/// A distance that is longer by the factor `alpha`.
fn stretched(distance: f32, alpha: f32) -> f32 {
    if distance < 0.0 { distance / alpha } else { distance * alpha }
}

/// Asks how far entry `number` is from the members at `positions`.
fn ask(
    space: &mut impl Space,
    number: u32,
    names: &[u32],
    positions: &[u32],
    numbers: &mut Vec<u32>,
    out: &mut Vec<f32>,
) -> Result<()> {
    out.clear();
    let numbers = named(positions, names, numbers);
    for chunk in numbers.chunks(BATCH_MAX) {
        space.between(number, chunk, out)?;
    }
    counted(out, numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points on a plane, squared Euclidean.
    struct Plane(Vec<(f32, f32)>);

    impl Space for Plane {
        fn len(&self) -> u32 {
            self.0.len() as u32
        }

        fn between(&mut self, number: u32, others: &[u32], out: &mut Vec<f32>) -> Result<()> {
            let from = self.0[number as usize];
            let distance = |&other: &u32| {
                let to = self.0[other as usize];
                (from.0 - to.0).powi(2) + (from.1 - to.1).powi(2)
            };
            out.extend(others.iter().map(distance));
            Ok(())
        }
    }

    fn chosen(points: &[(f32, f32)], slots: usize, alpha: f32) -> Vec<u32> {
        let mut space = Plane(points.to_vec());
        let others: Vec<u32> = (1..points.len() as u32).collect();
        let mut pruner = Pruner::default();
        pruner.compare(&mut space, 0, &[], &others).expect("a plane does not fail");
        pruner.choose(&mut space, &[], slots, alpha).expect("a plane does not fail");
        pruner.chosen
    }

    #[test]
    fn what_lies_behind_a_link_falls_out() {
        let points = [(0.0, 0.0), (1.0, 0.0), (2.0, 0.1), (0.0, 1.5), (-3.0, 0.0)];
        assert_eq!(chosen(&points, 8, 1.0), [1, 3, 4]);
    }

    #[test]
    fn a_larger_alpha_keeps_longer_links() {
        let points = [(0.0, 0.0), (1.0, 0.0), (2.0, 0.1)];
        assert_eq!(chosen(&points, 8, 4.0), [1, 2]);
    }

    #[test]
    fn no_more_links_are_chosen_than_there_are_slots() {
        let points = [(0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 2.0), (0.0, -2.0)];
        assert_eq!(chosen(&points, 2, 1.0).len(), 2);
    }

    #[test]
    fn a_mended_row_keeps_its_links_and_adds_what_none_of_them_leads_to() {
        let points =
            [(0.0, 0.0), (1.0, 0.0), (1.1, 0.0), (1.2, 0.1), (0.0, 1.5), (0.1, 1.5), (-2.0, 0.0)];
        let mended = |kept: &[u32], more| {
            let mut space = Plane(points.to_vec());
            let mut pruner = Pruner::default();
            pruner.compare(&mut space, 0, &[], &[1, 2, 3, 4, 5, 6]).expect("a plane does not fail");
            pruner.mend(&mut space, &[], kept, more, 1.0).expect("a plane does not fail");
            assert!(pruner.candidates.is_empty());
            pruner.chosen
        };
        // 2 would fall out beside 1, were it chosen anew.
        assert_eq!(mended(&[1, 2], 0), [1, 2]);
        assert_eq!(mended(&[1, 2], 1), [1, 2, 4]);
        assert_eq!(mended(&[1, 2], 2), [1, 2, 4, 6]);
        assert_eq!(mended(&[2], 1), [1, 2]);
        assert_eq!(mended(&[], 1), [1]);
    }

    #[test]
    fn of_equal_entries_one_is_chosen() {
        assert_eq!(chosen(&[(0.0, 0.0); 9], 8, 1.0), [1]);
        assert_eq!(chosen(&[(0.0, 0.0); 9], 8, 2.0), [1]);
    }
}

//! Taking over an older graph whose entries have other numbers now, or are gone.
//!
//! Rows are translated. A row that lost links looks for others among the nearest links of each that it lost:
//! whoever was near to what is gone is probably near to its neighbours. One that lost at most half of them keeps the
//! rest, and adds as many as it lost; else it chooses again among all. A row that lost nothing is taken as it is.
//! Entries that the old graph does not have are inserted afterwards, one by one, as into any graph.
//!
//! A graph of the other kind is taken over too, but only its ground: one with upper layers gets its own, and one
//! with shorter rows chooses again in those that are too long.
//!
//! Source: the deletion of FreshDiskANN (Singh et al. 2021), with only the nearest links of each lost one.

use crate::growing::{Graph, Growing, Layer};
use crate::{Error, GONE, Result, Space};

/// How many links of a lost entry stand in for it: its first ones, which are its nearest.
const HEIRS: usize = 16;
/// A row that lost links keeps somewhat longer ones than a new entry would choose. With less, each merge leaves
/// rows with fewer links than the one before.
const ALPHA_MIN: f32 = 1.1;

impl<S: Space> Growing<'_, S> {
    /// Takes over `old`, whose entry `i` is number `numbers[i]` now; returns whether each entry is in the graph.
    /// The graph must be empty.
    ///
    /// # Errors
    /// `Invalid` when the numbers are not those of `old` or of this graph's entries, and what the space says.
    pub fn take_over(&mut self, old: &Graph, numbers: &[u32]) -> Result<Vec<bool>> {
        assert!(self.start.is_none(), "a graph is taken over into an empty one");
        let present = self.present(old, numbers)?;
        let mut below = numbers.to_vec();
        self.take_rows(0, &old.layers[0], &below)?;
        let uppers = if old.kind == self.shape.kind { &old.layers[1..] } else { &[] };
        for (layer, upper) in (1..).zip(uppers) {
            let mut places = Vec::with_capacity(upper.names.len());
            let mut new = self.upper_layer();
            for (&name, &under) in upper.names.iter().zip(&upper.below) {
                if numbers[name as usize] == GONE {
                    places.push(GONE);
                    continue;
                }
                places.push(new.names.len() as u32);
                new.names.push(numbers[name as usize]);
                new.below.push(below[under as usize]);
                new.links.push();
            }
            if new.names.is_empty() {
                break;
            }
            self.layers.push(new);
            self.take_rows(layer, upper, &places)?;
            below = places;
        }
        self.start = self.begin(old, &below, &present);
        Ok(present)
    }

    /// Where walks begin now; `places` are those of the old members of the layer that is the last one now.
    fn begin(&self, old: &Graph, places: &[u32], present: &[bool]) -> Option<u32> {
        let kept = places.get(old.start as usize).filter(|&&place| place != GONE);
        match (self.layers.len() == old.layers.len(), kept) {
            (true, Some(&place)) => Some(place),
            _ if self.layers.len() > 1 => Some(0),
            _ => present.iter().position(|&present| present).map(|number| number as u32),
        }
    }

    /// Checks the numbers, and says which entries have one.
    fn present(&self, old: &Graph, numbers: &[u32]) -> Result<Vec<bool>> {
        if numbers.len() != old.len() as usize {
            let (given, len) = (numbers.len(), old.len());
            return Err(Error::Invalid(format!("{given} numbers for the {len} entries of a part")));
        }
        let mut present = vec![false; self.space.len() as usize];
        for &number in numbers.iter().filter(|&&number| number != GONE) {
            let Some(taken) = present.get_mut(number as usize) else {
                let len = self.space.len();
                return Err(Error::Invalid(format!("number {number} for one of {len} entries")));
            };
            if std::mem::replace(taken, true) {
                return Err(Error::Invalid(format!("two entries of a part have number {number}")));
            }
        }
        Ok(present)
    }

    /// Takes over the rows of one layer; `places` says where each old member is now.
    fn take_rows(&mut self, layer: usize, old: &Layer, places: &[u32]) -> Result<()> {
        let (room, slots) = (self.layers[layer].links.stride(), self.slots(layer));
        let (mut kept, mut all) = (Vec::new(), Vec::new());
        for (from, &place) in places.iter().enumerate().filter(|&(_, &place)| place != GONE) {
            let links = old.links.links(from as u32);
            kept.clear();
            kept.extend(links.iter().map(|&link| places[link as usize]));
            kept.retain(|&link| link != GONE);
            if kept.len() == links.len() && kept.len() <= room {
                self.layers[layer].links.set(place, &kept);
                continue;
            }
            let lost = links.len() - kept.len();
            all.clear();
            all.extend_from_slice(&kept);
            for &gone in links.iter().filter(|&&link| places[link as usize] == GONE) {
                let heirs = old.links.links(gone).iter().map(|&heir| places[heir as usize]);
                all.extend(heirs.filter(|&heir| heir != GONE && heir != place).take(HEIRS));
            }
            all.sort_unstable();
            all.dedup();
            if lost <= kept.len() && kept.len() + lost <= slots {
                kept.sort_unstable();
                self.mend(layer, place, &all, &kept, lost)?;
            } else {
                self.choose_of(layer, place, &all)?;
            }
        }
        Ok(())
    }

    /// Lets the member at `position` keep its links `kept`, and choose up to `more` among `candidates`.
    fn mend(
        &mut self,
        layer: usize,
        position: u32,
        candidates: &[u32],
        kept: &[u32],
        more: usize,
    ) -> Result<()> {
        let alpha = self.shape.alpha.max(ALPHA_MIN);
        let home = &mut self.layers[layer];
        self.pruner.candidates.clear();
        self.pruner.compare(self.space, home.name(position), &home.names, candidates)?;
        self.pruner.mend(self.space, &home.names, kept, more, alpha)?;
        home.links.set(position, &self.pruner.chosen);
        Ok(())
    }

    /// Lets the member at `position` choose its links among `candidates`.
    fn choose_of(&mut self, layer: usize, position: u32, candidates: &[u32]) -> Result<()> {
        let slots = self.slots(layer);
        let home = &mut self.layers[layer];
        self.pruner.candidates.clear();
        self.pruner.compare(self.space, home.name(position), &home.names, candidates)?;
        self.pruner.choose(self.space, &home.names, slots, self.shape.alpha.max(ALPHA_MIN))?;
        home.links.set(position, &self.pruner.chosen);
        Ok(())
    }
}

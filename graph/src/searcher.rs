//! A written graph, open for searching.

use crate::format::{self, Footer};
use crate::growing::Layer;
use crate::links::Links;
use crate::paged::Paged;
use crate::pool::Near;
use crate::walk::{Scope, Walk, counted, is_allowed};
use crate::{BATCH_MAX, Blob, Error, Kind, Result, Target};

/// A walk looks at about so many entries for each it keeps. Where there are not so many, all are looked at, which
/// is exact and not slower.
const SEEN_PER_KEPT: usize = 16;

/// How much of the ground is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// All of it, from the beginning.
    Whole,
    /// What was used last, up to so many bytes. Four bytes for each entry come on top.
    Bytes(usize),
}

enum Ground<B> {
    Whole(Links),
    Paged(Paged<B>),
}

/// A written graph, open for searching.
pub struct Searcher<B> {
    footer: Footer,
    ground: Ground<B>,
    upper: Vec<Layer>,
    walk: Walk,
    distances: Vec<f32>,
}

impl<B: Blob> Searcher<B> {
    /// Opens the graph in `blob`, which was built of `count` entries.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is not, or not a graph of this `kind`.
    pub fn open(blob: B, kind: Kind, count: u32, memory: Memory) -> Result<Searcher<B>> {
        let footer = Footer::read(&blob)?;
        if (footer.kind, footer.count) != (kind, count) {
            let (other, found) = (footer.kind, footer.count);
            let what = format!("{kind:?} of {count} entries expected, {other:?} of {found} found");
            return Err(Error::corrupt(blob.len() - format::FOOTER_BYTES as u64, what));
        }
        let upper = format::read_upper(&blob, &footer)?;
        let ground = match memory {
            Memory::Whole => Ground::Whole(format::read_ground(&blob, &footer)?),
            Memory::Bytes(max) => Ground::Paged(Paged::new(blob, &footer, max)),
        };
        Ok(Searcher { footer, ground, upper, walk: Walk::default(), distances: Vec::new() })
    }

    /// The entries nearest to `target` of those that are allowed, nearest first: at least `k` as far as that many
    /// can be reached, and up to `effort`. The more effort, the surer. Entry `i` is allowed if bit `i % 64` of
    /// `allowed[i / 64]` is set; without any words all are.
    ///
    /// # Errors
    /// What the target says; [`Error::Corrupt`] when rows that are read for it are.
    pub fn search(
        &mut self,
        target: &mut impl Target,
        k: usize,
        effort: usize,
        allowed: &[u64],
    ) -> Result<Vec<u32>> {
        let count = self.footer.count as usize;
        let room = effort.max(k).min(count);
        if k == 0 || room == 0 {
            return Ok(Vec::new());
        }
        let candidates = match allowed {
            [] => count,
            words => words.iter().map(|word| word.count_ones() as usize).sum(),
        };
        if candidates / SEEN_PER_KEPT <= room {
            return self.scan(target, room, allowed);
        }
        self.descend(target, room, allowed)?;
        Ok(self.walk.pool.iter().map(|near| near.position).collect())
    }

    /// Looks at every allowed entry.
    fn scan(&mut self, target: &mut impl Target, room: usize, allowed: &[u64]) -> Result<Vec<u32>> {
        let mut numbers = (0..self.footer.count)
            .filter(|&number| allowed.is_empty() || is_allowed(allowed, number));
        let (mut found, mut batch) = (Vec::new(), Vec::with_capacity(BATCH_MAX));
        loop {
            batch.clear();
            batch.extend(numbers.by_ref().take(BATCH_MAX));
            if batch.is_empty() {
                break;
            }
            self.distances.clear();
            target.distances(&batch, &mut self.distances)?;
            counted(&self.distances, &batch)?;
            let near = |(&position, &distance): (&u32, &f32)| Near { distance, position };
            found.extend(batch.iter().zip(&self.distances).map(near));
        }
        if room < found.len() {
            found.select_nth_unstable(room);
            found.truncate(room);
        }
        found.sort_unstable();
        Ok(found.into_iter().map(|near| near.position).collect())
    }

    /// Walks down through the layers; what is found on the ground is in the pool of `walk`.
    fn descend(&mut self, target: &mut impl Target, room: usize, allowed: &[u64]) -> Result<()> {
        let (mut start, mut at) = (self.footer.start, self.footer.start);
        for layer in self.upper.iter().rev() {
            self.walk.run(&layer.scope(1), &mut &layer.links, target, &[at])?;
            at = self.walk.pool.nearest().map_or(at, |near| near.position);
            at = layer.below[at as usize];
            start = layer.below[start as usize];
        }
        let len = self.footer.count as usize;
        let scope = Scope { len, names: &[], room, equals: room, allowed };
        // Everything can be reached from the start, and perhaps not from where the layers lead.
        let starts = [at, start];
        match &mut self.ground {
            Ground::Whole(links) => self.walk.run(&scope, &mut &*links, target, &starts),
            Ground::Paged(paged) => self.walk.run(&scope, paged, target, &starts),
        }
    }

    /// What is worth knowing of it: names and numbers.
    pub fn stats(&self) -> Vec<(&'static str, f64)> {
        let Footer { count, edges, layers, slots, .. } = self.footer;
        let degree = edges as f64 / f64::from(count.max(1));
        let (rows, reads) = match &self.ground {
            Ground::Whole(links) => (links.len(), 0),
            Ground::Paged(paged) => paged.stats(),
        };
        vec![
            ("entries", f64::from(count)),
            ("edges", edges as f64),
            ("degree", degree),
            ("layers", f64::from(layers) + 1.0),
            ("rows_in_memory", rows as f64),
            ("bytes_in_memory", (rows * slots * 4) as f64),
            ("reads", reads as f64),
        ]
    }
}

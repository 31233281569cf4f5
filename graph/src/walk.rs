//! The beam search that building and searching share.
//!
//! From where it starts a walk follows the links of the few nearest entries that are still open, asks how far all
//! those are that it has not seen yet, in one question, and goes on until nothing is open that is nearer than all
//! that the pool has room for.
//!
//! With a filter the walk goes over all entries, and only the allowed ones get into the pool. What is open is then
//! kept beside it: an entry that is not allowed is as good a way as any other. The walk ends when the pool is full
//! of allowed entries that are all nearer than the nearest open one.
//!
//! Nothing is allocated per step, and each position is followed at most once, so a walk ends on any graph.

use crate::links::{NONE, Rows};
use crate::pool::{Near, Pool, Visited};
use crate::{BATCH_MAX, Error, Result, Space, Target};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Entries whose links are followed before distances are asked for. Four together cost about three in a hundred
/// distances more than one by one, and a third of the questions.
const WIDTH: usize = 4;

/// Where and how far a walk goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// Members of the layer.
    pub len: usize,
    /// Which entry each member is; empty where members are numbered as entries are.
    pub names: &'a [u32],
    /// How many entries the pool holds.
    pub room: usize,
    /// Of entries that are equally far, how many it holds at most: see `Pool`.
    pub equals: usize,
    /// Entries that the pool may hold, a bit each; empty for all.
    pub allowed: &'a [u64],
}

/// What walks use again and again.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// What the last walk found.
    pub pool: Pool,
    visited: Visited,
    /// With a filter: what is still open.
    open: BinaryHeap<Reverse<Near>>,
    following: Vec<u32>,
    /// What was seen and not yet compared: positions, the entries they are, and then their distances.
    batch: Vec<u32>,
    numbers: Vec<u32>,
    distances: Vec<f32>,
}

impl Walk {
    /// Walks from `starts` towards `target`.
    ///
    /// # Errors
    /// What `rows` and `target` say.
    pub fn run(
        &mut self,
        scope: &Scope,
        rows: &mut impl Rows,
        target: &mut impl Target,
        starts: &[u32],
    ) -> Result<()> {
        self.visited.reset(scope.len);
        self.pool.reset(scope.room, scope.equals);
        self.open.clear();
        self.see(starts);
        self.compare(scope, target)?;
        loop {
            self.choose(scope);
            if self.following.is_empty() {
                return Ok(());
            }
            rows.prepare(&self.following)?;
            for index in 0..self.following.len() {
                self.see(rows.row(self.following[index])?);
            }
            self.compare(scope, target)?;
        }
    }

    /// Puts what is new of a row's links into the batch.
    fn see(&mut self, links: &[u32]) {
        let mut len = self.batch.len();
        self.batch.resize(len + links.len(), NONE);
        for &link in links {
            if link == NONE {
                break;
            }
            // Each is written, and counts if it is new: which ones are, nobody foresees, the processor neither.
            self.batch[len] = link;
            len += usize::from(self.visited.mark(link));
        }
        self.batch.truncate(len);
    }

    /// Chooses whose links to follow next; none when the walk is over.
    fn choose(&mut self, scope: &Scope) {
        self.following.clear();
        while self.following.len() < WIDTH {
            let next = match scope.allowed {
                [] => self.pool.follow(),
                _ => self.open.pop().map(|open| open.0),
            };
            let Some(next) = next else { return };
            if !scope.allowed.is_empty() && !self.pool.wants(next.distance) {
                self.open.clear();
                return;
            }
            self.following.push(next.position);
        }
    }

    /// Asks how far the batch is, and keeps what is near enough.
    fn compare(&mut self, scope: &Scope, target: &mut impl Target) -> Result<()> {
        for chunk in self.batch.chunks(BATCH_MAX) {
            let numbers = named(chunk, scope.names, &mut self.numbers);
            self.distances.clear();
            target.distances(numbers, &mut self.distances)?;
            counted(&self.distances, chunk)?;
            for (&position, &distance) in chunk.iter().zip(&self.distances) {
                if !self.pool.wants(distance) {
                    continue;
                }
                let near = Near { distance, position };
                if scope.allowed.is_empty() {
                    self.pool.insert(near);
                } else {
                    self.open.push(Reverse(near));
                    if is_allowed(scope.allowed, position) {
                        self.pool.insert(near);
                    }
                }
            }
        }
        self.batch.clear();
        Ok(())
    }
}

/// Whether bit `number` is set.
pub(crate) fn is_allowed(allowed: &[u64], number: u32) -> bool {
    allowed.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
}

/// The entries that `positions` are.
pub(crate) fn named<'a>(positions: &'a [u32], names: &[u32], out: &'a mut Vec<u32>) -> &'a [u32] {
    if names.is_empty() {
        return positions;
    }
    out.clear();
    out.extend(positions.iter().map(|&position| names[position as usize]));
    out
}

/// Checks that there is a distance for each that was asked for.
pub(crate) fn counted(distances: &[f32], asked: &[u32]) -> Result<()> {
    if distances.len() == asked.len() {
        return Ok(());
    }
    let (got, wanted) = (distances.len(), asked.len());
    Err(Error::failed(format!("{wanted} distances were asked for, and {got} came back")))
}

/// An entry as the target of a walk.
pub(crate) struct Entry<'a, S> {
    pub space: &'a mut S,
    pub number: u32,
}

impl<S: Space> Target for Entry<'_, S> {
    fn distances(&mut self, numbers: &[u32], out: &mut Vec<f32>) -> Result<()> {
        self.space.between(self.number, numbers, out)
    }
}

//! What to merge next: a pure function of the segments' keys and sizes.
//!
//! **Levels are not stored.** The list of segments is oldest first; neighbours whose keys only grow form one
//! *sorted run*, and that is all there is to a level. A load in key order is one run however long it gets, and
//! is never rewritten; data that does not overlap joins a run by moving to its place in the list, without being
//! read.
//!
//! A compaction takes some segments and puts what it writes at one position of the list, not behind any of
//! them. Going down into a run *T*, segments take with them all they overlap in the runs between, and what the
//! whole of them overlaps in *T*: so newer rows stay behind older ones, and *T* stays sorted.
//!
//! The rules, the first that applies:
//!
//! 1. **Young runs**: the newest runs of up to [`YOUNG_SEGMENTS`] segment sizes each. When there are
//!    [`YOUNG_RUNS`], a group of their segments that overlap goes down into the next older run if that is at
//!    most [`RATIO`] times as large as all of them, otherwise into the oldest of themselves, to be a new level.
//! 2. **Crumbs**: [`CRUMBS`] or more neighbours of one run that together make no more than one segment become
//!    one.
//! 3. **Levels**: a run larger than the [`RATIO`]th part of the run below it goes down into that, as a whole if one
//!    slice is enough. Otherwise the segment goes that overlaps least for its size, and neighbours of it while
//!    there is room; deleted rows count for more.
//! 4. **Depth**: with more than [`LEVELS_MAX`] older runs, the level rule holds for all of them.
//!
//! One answer is one slice of work, of about [`SLICE_SEGMENTS`] segment sizes at most; what it leaves is found
//! again by the next call. It is urgent when runs pile up faster than slices are done.
//!
//! Source: leveled compaction as in LevelDB and RocksDB, with the choice of least overlap.

use std::borrow::Borrow;
use std::ops::Range;

pub use sochdb_guest::encoding::compaction::Compaction;

use crate::options::Options;
use crate::segment::Properties;

/// How much larger a level is than the one above it.
pub const RATIO: u64 = 10;
/// Levels below the young runs.
pub const LEVELS_MAX: usize = 7;
/// Young runs that are merged.
pub const YOUNG_RUNS: usize = 4;
/// Young runs from which on a merge is urgent.
pub const YOUNG_RUNS_URGENT: usize = 8;
/// A run of more segment sizes is not young.
pub const YOUNG_SEGMENTS: u64 = 8;
/// Segment sizes of one slice of work.
pub const SLICE_SEGMENTS: u64 = 24;
/// Small neighbours of one run that are made one.
pub const CRUMBS: usize = 8;
/// By how much a segment all of whose rows are deleted seems larger than it is.
const DELETED_WEIGHT: u64 = 4;

/// The sorted runs of a list of segments: neighbours whose keys only grow.
pub fn runs(segments: &[impl Borrow<Properties>]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (position, segment) in segments.iter().enumerate() {
        let grows = |run: &&mut Range<usize>| {
            segments[run.end - 1].borrow().max_key < segment.borrow().min_key
        };
        match runs.last_mut().filter(grows) {
            Some(run) => run.end = position + 1,
            None => runs.push(position..position + 1),
        }
    }
    runs
}

/// The next slice for a table with `options` and `segments`, oldest first; `None` when all is well.
pub fn plan(segments: &[impl Borrow<Properties>], options: &Options) -> Option<Compaction> {
    let segments: Vec<_> = segments.iter().map(Borrow::borrow).collect();
    let runs = runs(&segments);
    let bytes =
        runs.iter().map(|run| segments[run.clone()].iter().map(|s| s.bytes).sum()).collect();
    let table = Table { segments, runs, bytes, target: options.segment_bytes() };
    let young = table.young();
    let chosen = None
        .or_else(|| {
            (YOUNG_RUNS <= table.runs.len() - young).then(|| table.merge_young(young)).flatten()
        })
        .or_else(|| table.gather_crumbs())
        .or_else(|| table.push_level(young))?;
    let urgent = YOUNG_RUNS_URGENT <= table.runs.len() - young || LEVELS_MAX + 1 < young;
    Some(Compaction { inputs: chosen.inputs, at: chosen.at, urgent })
}

/// Some segments on their way down.
#[derive(Debug)]
struct Push {
    inputs: Vec<usize>,
    at: usize,
    /// Bytes read; 0 for a move.
    cost: u64,
}

struct Table<'a> {
    segments: Vec<&'a Properties>,
    /// Oldest first, as their bytes.
    runs: Vec<Range<usize>>,
    bytes: Vec<u64>,
    target: u64,
}

impl Table<'_> {
    /// The oldest of the young runs; as many as there are runs if none is young.
    fn young(&self) -> usize {
        let young =
            self.bytes.iter().rev().take_while(|bytes| **bytes <= YOUNG_SEGMENTS * self.target);
        self.runs.len() - young.count()
    }

    fn slice_bytes(&self) -> u64 {
        SLICE_SEGMENTS * self.target
    }

    fn sum(&self, positions: &[usize]) -> u64 {
        positions.iter().map(|position| self.segments[*position].bytes).sum()
    }

    /// The segments of run `run` that overlap the keys from `min` to `max`.
    fn overlapped(&self, run: usize, min: &[u8], max: &[u8]) -> Range<usize> {
        let Range { start, end } = self.runs[run];
        let pieces = &self.segments[start..end];
        let from = start + pieces.partition_point(|piece| piece.max_key[..] < *min);
        let to = start + pieces.partition_point(|piece| piece.min_key[..] <= *max);
        from..to.max(from)
    }

    /// Takes the segments `seeds`, which lie above run `target`, down into it.
    fn push(&self, seeds: &[usize], target: usize) -> Option<Push> {
        let mut inputs = seeds.to_vec();
        for run in (target + 1..self.runs.len()).rev() {
            let newer: Vec<_> =
                inputs.iter().copied().filter(|input| self.runs[run].end <= *input).collect();
            for input in newer {
                let piece = self.segments[input];
                inputs.extend(self.overlapped(run, &piece.min_key, &piece.max_key));
            }
            inputs.sort_unstable();
            inputs.dedup();
        }
        let min = inputs.iter().map(|input| &self.segments[*input].min_key).min()?;
        let max = inputs.iter().map(|input| &self.segments[*input].max_key).max()?;
        let below = self.overlapped(target, min, max);
        let at = below.start;
        inputs.splice(0..0, below);
        if inputs.len() == 1 && inputs[0] == at {
            return None;
        }
        let cost = if inputs.len() == 1 { 0 } else { self.sum(&inputs) };
        Some(Push { inputs, at, cost })
    }

    /// Rule 1.
    fn merge_young(&self, young: usize) -> Option<Push> {
        let all: u64 = self.bytes[young..].iter().sum();
        let below =
            young.checked_sub(1).filter(|below| self.bytes[*below] <= RATIO.saturating_mul(all));
        let groups = self.groups(young);
        let down = |target: usize| {
            let pushes = groups.iter().filter_map(|group| {
                let above: Vec<_> = group
                    .iter()
                    .copied()
                    .filter(|position| self.runs[target].end <= *position)
                    .collect();
                let push =
                    self.push(&above, target).filter(|push| push.cost <= self.slice_bytes())?;
                Some((push.cost as f64 / self.sum(&above).max(1) as f64, push))
            });
            pushes.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, push)| push)
        };
        // If all groups are too large for a slice, some segments go down by one run.
        below
            .and_then(down)
            .or_else(|| down(young))
            .or_else(|| self.push_some(young + 1, young, u64::MAX, true))
    }

    /// The young segments in groups that do not overlap each other.
    fn groups(&self, young: usize) -> Vec<Vec<usize>> {
        let mut positions: Vec<_> = (self.runs[young].start..self.segments.len()).collect();
        positions.sort_by_key(|position| &self.segments[*position].min_key);
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut reach: &[u8] = &[];
        for position in positions {
            let piece = self.segments[position];
            match groups.last_mut().filter(|_| piece.min_key[..] <= *reach) {
                Some(group) => {
                    group.push(position);
                    reach = reach.max(&piece.max_key);
                }
                None => {
                    groups.push(vec![position]);
                    reach = &piece.max_key;
                }
            }
        }
        groups.iter_mut().for_each(|group| group.sort_unstable());
        groups
    }

    /// Rule 2.
    fn gather_crumbs(&self) -> Option<Push> {
        for run in self.runs.iter().filter(|run| CRUMBS <= run.len()) {
            let mut start = run.start;
            while start + CRUMBS <= run.end {
                let (mut end, mut sum, mut largest) = (start, 0, 0);
                while end < run.end && sum + self.segments[end].bytes <= self.target {
                    sum += self.segments[end].bytes;
                    largest = largest.max(self.segments[end].bytes);
                    end += 1;
                }
                // No segment is rewritten for less than its own size.
                if CRUMBS <= end - start && largest <= sum / 2 {
                    return Some(Push { inputs: (start..end).collect(), at: start, cost: sum });
                }
                start += 1;
            }
        }
        None
    }

    /// Rules 3 and 4.
    fn push_level(&self, young: usize) -> Option<Push> {
        let excess =
            |run: usize| self.bytes[run] as f64 * RATIO as f64 / self.bytes[run - 1].max(1) as f64;
        let runs = || (1..young).filter(|run| 1.0 < excess(*run) || LEVELS_MAX < young);
        let whole = runs().filter_map(|run| self.push_whole(run, run - 1));
        whole.min_by_key(|push| push.cost).or_else(|| {
            let run = runs().max_by(|a, b| excess(*a).total_cmp(&excess(*b)))?;
            let too_much = self.bytes[run].saturating_sub(self.bytes[run - 1] / RATIO);
            self.push_some(run, run - 1, too_much, LEVELS_MAX < young)
        })
    }

    /// Takes all of run `run` down into `target`, if one slice is enough for that.
    fn push_whole(&self, run: usize, target: usize) -> Option<Push> {
        let seeds: Vec<_> = self.runs[run].clone().collect();
        self.push(&seeds, target).filter(|push| push.cost <= self.slice_bytes())
    }

    /// Takes the segment of run `run` that overlaps least for its size down into `target`, and those behind it as
    /// long as there is room in the slice and they are not more than `bytes_max` together.
    fn push_some(&self, run: usize, target: usize, bytes_max: u64, in_haste: bool) -> Option<Push> {
        let score = |seed: usize, push: &Push| {
            let Properties { rows, deleted, bytes, .. } = self.segments[seed];
            let weight = 1.0 + DELETED_WEIGHT as f64 * *deleted as f64 / (*rows).max(1) as f64;
            // A move costs little, but a slice all the same, and hardly ever ends a run.
            let cost = if in_haste && push.cost == 0 { u64::MAX } else { push.cost };
            cost as f64 / (*bytes as f64 * weight).max(1.0)
        };
        let pushes = self.runs[run].clone().filter_map(|seed| {
            let push = self.push(&[seed], target)?;
            Some((score(seed, &push), seed, push))
        });
        let (_, seed, mut best) = pushes.min_by(|(a, ..), (b, ..)| a.total_cmp(b))?;
        let Range { start, end } = self.runs[run];
        let mut seeds = seed..seed + 1;
        // Neighbours overlap in part the same: first those behind, then those before.
        let behind = (seed + 1..end).map(|end| (seed, end + 1));
        for (from, to) in behind.chain((start..seed).rev().map(|start| (start, 0))) {
            let wider = from..to.max(seeds.end);
            let wanted: Vec<_> = wider.clone().collect();
            let push = self.push(&wanted, target).filter(|push| {
                best.cost != 0 && self.sum(&wanted) <= bytes_max && push.cost <= self.slice_bytes()
            });
            if let Some(push) = push {
                (seeds, best) = (wider, push);
            }
        }
        Some(best)
    }
}

#[cfg(test)]
mod tests;

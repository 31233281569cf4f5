//! Building a graph: what is done in which order.
//!
//! Each entry has a hash of its number and the seed. It says how many upper layers of HNSW the entry is on, and the
//! entries are inserted in its order: those on the highest layers first, and otherwise in no order that has to
//! do with what they are.
//!
//! Of the parts that there are already the largest of which at least half is still there is taken over; the entries of
//! the others are inserted like new ones. It may be of the other kind. A part that cannot be read is as if it were
//! not there.

use crate::growing::{Graph, Growing};
use crate::options::{Kind, Options, Shape};
use crate::{BATCH_MAX, Blob, ENTRIES_MAX, Error, GONE, Result, Space, format};

/// More layers are never needed: with two links each they would hold 2^24 entries.
const LAYERS_MAX: usize = 24;
/// Entries among which the medoid is looked for.
const SAMPLE: u32 = 256;
const _: () = assert!(SAMPLE as usize <= BATCH_MAX, "the sample is asked for at once");

/// An older graph of some of the entries.
pub struct Part<'a> {
    /// The graph, as it was written.
    pub graph: &'a dyn Blob,
    /// For each of the entries it was built of: its number now, or [`GONE`].
    pub numbers: &'a [u32],
}

/// Builds the graph of all entries of `space`. `parts`, the largest first, are graphs of some of them.
///
/// # Errors
/// [`Error::Invalid`] for options out of bounds, more than [`ENTRIES_MAX`] entries, or numbers that make no sense;
/// [`Error::Failed`] when the space or a part's bytes do.
pub fn build<S: Space>(space: &mut S, options: &Options, parts: &[Part]) -> Result<Graph> {
    options.check()?;
    if ENTRIES_MAX < space.len() {
        return Err(Error::Invalid(format!("a graph has at most {ENTRIES_MAX} entries")));
    }
    let mut growing = Growing::new(space, options.shape());
    let present = take_largest(&mut growing, parts)?;
    let medoid = match options.kind() {
        Kind::Hnsw => None,
        Kind::Vamana => medoid(growing.space, options.shape().seed)?,
    };
    let shape = growing.shape;
    if growing.layers.len() == 1 {
        // The ground of a graph without upper layers; its entries get theirs now.
        for number in order(&shape, &present, true, None) {
            match level(&shape, number) {
                0 => break,
                level => growing.insert(number, 1, level)?,
            }
        }
    }
    for number in order(&shape, &present, false, medoid) {
        growing.insert(number, 0, level(&shape, number))?;
    }
    if medoid.is_some() {
        growing.start = medoid;
    }
    growing.shrink()?;
    growing.connect()?;
    let Growing { layers, start, .. } = growing;
    let Shape { kind, slots, upper_slots, .. } = shape;
    Ok(Graph { kind, slots, upper_slots, layers, start: start.unwrap_or(0) })
}

/// Takes over the first part for which that is worth it; says which entries are in the graph then.
fn take_largest<S: Space>(growing: &mut Growing<S>, parts: &[Part]) -> Result<Vec<bool>> {
    for part in parts {
        let there = part.numbers.iter().filter(|&&number| number != GONE).count();
        if there < part.numbers.len().div_ceil(2) {
            continue;
        }
        match format::read(part.graph) {
            Ok(old) => return growing.take_over(&old, part.numbers),
            Err(Error::Corrupt { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(vec![false; growing.space.len() as usize])
}

/// The entries that are in the graph, or those that are not, in the order in which they are inserted.
fn order(shape: &Shape, present: &[bool], there: bool, first: Option<u32>) -> Vec<u32> {
    let wanted = |&number: &u32| present[number as usize] == there;
    let mut order: Vec<u32> = (0..present.len() as u32).filter(wanted).collect();
    order.sort_by_cached_key(|&number| (Some(number) != first, hash(shape.seed, number)));
    order
}

/// On how many upper layers an entry is: one in `m` is on at least one, one in `m` of those on at least two.
fn level(shape: &Shape, number: u32) -> usize {
    if shape.kind == Kind::Vamana {
        return 0;
    }
    let (hash, mut level) = (hash(shape.seed, number), 0);
    let mut limit = u64::MAX / shape.chosen as u64;
    while hash < limit && level < LAYERS_MAX {
        limit /= shape.chosen as u64;
        level += 1;
    }
    level
}

/// The entry of a sample that is nearest to all others of it.
fn medoid<S: Space>(space: &mut S, seed: u64) -> Result<Option<u32>> {
    let len = space.len();
    let mut sample: Vec<u32> = (0..len.min(SAMPLE)).collect();
    if SAMPLE < len {
        sample = (0..SAMPLE).map(|i| (hash(seed, i) % u64::from(len)) as u32).collect();
        sample.sort_unstable();
        sample.dedup();
    }
    let (mut best, mut distances) = (None, Vec::new());
    for &number in &sample {
        distances.clear();
        space.between(number, &sample, &mut distances)?;
        let sum: f64 = distances.iter().map(|&distance| f64::from(distance)).sum();
        if best.is_none_or(|(least, _)| sum < least) {
            best = Some((sum, number));
        }
    }
    Ok(best.map(|(_, number)| number))
}

/// Spreads numbers evenly over 64 bits: the finaliser of SplitMix64 (Steele et al. 2014).
fn hash(seed: u64, number: u32) -> u64 {
    let mut z = seed.wrapping_add((u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

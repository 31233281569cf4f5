//! What [`Index::self_test`] does unless an index has something better: builds small indexes, and compares what
//! they find with what comparing with all finds.

use super::{Allowed, Definition, Entries, Index, IndexSearcher, Part, Query, VectorMetric};
use crate::error::{Error, ErrorCode, Result};
use crate::storage::{Segment, Sink};
use sochdb_encoding::range::KeyRange;
use std::collections::BTreeSet;
use std::ops::Bound;

const DIM: u32 = 8;
/// Every load of an index plugin waits for this test, and its time grows with the square of the count.
const COUNT: u32 = 100;
const K: usize = 10;
const EFFORT: usize = 50;

pub(super) fn self_test<P: Index>(plugin: &mut P) -> Result<()> {
    let (table, column) = ("self-test".to_owned(), "column".to_owned());
    let ordered = Definition { name: table.clone(), table, column, ..Definition::default() };
    let vectors = Definition { metric: Some(VectorMetric::Cosine), dim: DIM, ..ordered.clone() };
    let mut tested = false;
    if accepts(plugin, &vectors)? {
        test_vectors(plugin, &vectors)?;
        tested = true;
    }
    if accepts(plugin, &ordered)? {
        test_values(plugin, &ordered)?;
        tested = true;
    }
    if tested { Ok(()) } else { Err(Error::internal("it refuses every index without settings")) }
}

fn accepts<P: Index>(plugin: &mut P, index: &Definition) -> Result<bool> {
    match plugin.check(index) {
        Ok(()) => Ok(true),
        Err(error) if error.code == ErrorCode::Invalid => Ok(false),
        Err(error) => Err(error),
    }
}

/// Numbers that look like any.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |state| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .map(|state| state >> 33)
    .skip(1)
}

fn test_vectors<P: Index>(plugin: &mut P, index: &Definition) -> Result<()> {
    let mut random = numbers(1).map(|number| number as f32 / (1_u64 << 30) as f32 - 1.0);
    let mut vectors =
        |count: u32| random.by_ref().take((count * DIM) as usize).collect::<Vec<f32>>();
    let queries = vectors(8);
    let all = vectors(COUNT);
    // The second one grows out of the first.
    let half = all[..all.len() / 2].to_vec();
    let sink = Sink::in_memory();
    let make = |vectors: Vec<f32>| Entries::of_vectors(VectorMetric::Cosine, DIM, vectors);
    let first = plugin.build(index, &make(half.clone()), Vec::new(), &sink)?;
    let part = Part { segment: named(&sink, first)?, numbers: (0..COUNT / 2).collect() };
    let second = plugin.build(index, &make(all.clone()), vec![part], &sink)?;
    for (segment, vectors) in [(first, half), (second, all)] {
        let entries = make(vectors.clone());
        let count = entries.count();
        let mut searcher = plugin.open(index, make(vectors), named(&sink, segment)?)?;
        for allowed in [Allowed::all(), Allowed::of(count, (0..count).step_by(3))] {
            let mut hits = 0;
            for query in queries.chunks(DIM as usize) {
                let query = Query::of(&entries, query)?;
                let found = searcher.search(&query, K, EFFORT, &allowed)?;
                check_numbers(&found, EFFORT, count, &allowed)?;
                let mut wanted: Vec<_> = allowed.numbers(count).collect();
                let distances = query.distances(&wanted)?;
                let mut order: Vec<_> = distances.into_iter().zip(wanted.drain(..)).collect();
                order.sort_by(|a, b| a.0.total_cmp(&b.0));
                let nearest: BTreeSet<_> = order[..K].iter().map(|(_, number)| *number).collect();
                hits += found.iter().take(K).filter(|number| nearest.contains(number)).count();
            }
            if hits < 8 * K / 2 {
                let text = format!("it found {hits} of the {} nearest vectors", 8 * K);
                return Err(Error::internal(text));
            }
        }
    }
    Ok(())
}

fn test_values<P: Index>(plugin: &mut P, index: &Definition) -> Result<()> {
    let value = |number: u64| [b"\x01", format!("{:03}", number % 200).as_bytes()].concat();
    let values: Vec<_> = numbers(2).take(COUNT as usize).map(value).collect();
    let sink = Sink::in_memory();
    let segment = plugin.build(index, &Entries::of_values(values.clone()), Vec::new(), &sink)?;
    let mut sorted: Vec<_> = values.iter().zip(0..).collect();
    sorted.sort();
    let entries = Entries::of_values(values.clone());
    let mut searcher = plugin.open(index, entries, named(&sink, segment)?)?;
    let ends = [value(50), value(120)];
    let ranges = [
        KeyRange::all(),
        KeyRange { start: Bound::Included(ends[0].clone()), end: Bound::Excluded(ends[1].clone()) },
        KeyRange { start: Bound::Excluded(ends[0].clone()), end: Bound::Included(ends[1].clone()) },
        KeyRange { start: Bound::Included(ends[1].clone()), end: Bound::Included(ends[1].clone()) },
        KeyRange { start: Bound::Included(b"\x02".to_vec()), end: Bound::Unbounded },
    ];
    for allowed in [Allowed::all(), Allowed::of(COUNT, (0..COUNT).step_by(3))] {
        for range in &ranges {
            let in_range = sorted.iter().filter(|(value, _)| range.contains(value));
            let allowed_ones = in_range.map(|(_, number)| *number);
            let mut wanted: Vec<u32> = allowed_ones.filter(|n| allowed.contains(*n)).collect();
            for reverse in [false, true] {
                for limit in [0, 1, 17, COUNT as usize] {
                    let found = searcher.lookup(range, reverse, limit, &allowed)?;
                    if found != wanted[..limit.min(wanted.len())] {
                        return Err(Error::internal("a lookup found other entries than it should"));
                    }
                }
                wanted.reverse();
            }
        }
    }
    Ok(())
}

fn check_numbers(found: &[u32], most: usize, count: u32, allowed: &Allowed) -> Result<()> {
    let distinct: BTreeSet<_> = found.iter().collect();
    let good = |number: &u32| *number < count && allowed.contains(*number);
    if found.len() <= most && distinct.len() == found.len() && found.iter().all(good) {
        return Ok(());
    }
    Err(Error::internal("a search gave entries twice, that are not allowed, or too many"))
}

fn named(sink: &Sink<'_>, id: u64) -> Result<Segment> {
    let found = sink.segments().into_iter().find(|segment| segment.info().id == id);
    found.ok_or_else(|| Error::internal("it named a segment that it did not write"))
}

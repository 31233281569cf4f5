//! Places as numbers, so that what is near is often near in number, too.
//!
//! Latitude and longitude are cut into 2^31 steps each, of less than 2 cm, and their bits are woven together, the
//! longitude's first: a geohash, as a number below 2^62. All numbers that begin with the same 2n bits are one
//! rectangle, a *cell* of level n, and each cell is four cells of the next level:
//!
//! ```text
//!   ┌────┬────┐     An area is covered by the cells it touches. Begin with the whole Earth, and split the largest
//!   │ 01 │ 11 │     cell that lies partly outside, as long as there are few enough of them; neighbours in number
//!   ├────┼────┤     become one range. What a range has too much, the search drops when it looks at the row.
//!   │ 00 │ 10 │
//!   └────┴────┘
//! ```
//!
//! Source: Morton 1966; the ranges as in the range search of quadtrees, Samet 1990.

use crate::{Area, Place};
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// Levels, and bits of each coordinate: the number and its sign fit an `i64`.
const LEVELS: u32 = 31;
/// Steps of a coordinate.
const STEPS: f64 = (1_u64 << LEVELS) as f64;
const _: () = assert!(2 * LEVELS < i64::BITS, "a cell is never negative");

/// The number of a place.
pub fn cell(place: Place) -> i64 {
    let step = |share: f64| ((share * STEPS) as u64).min((1 << LEVELS) - 1);
    let (lat, lon) = (step((place.lat + 90.0) / 180.0), step((place.lon + 180.0) / 360.0));
    (spread(lon) << 1 | spread(lat)) as i64
}

/// Moves bit `i` to bit `2 i`.
fn spread(bits: u64) -> u64 {
    let mut bits = bits & 0xffff_ffff;
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & 0x5555_5555_5555_5555
}

/// A rectangle of the quadtree: its column and row among the 2^level by 2^level of its level.
#[derive(Clone, Copy)]
struct Quad {
    level: u32,
    x: u64,
    y: u64,
}

impl Quad {
    fn area(self) -> Area {
        let share = (1_u64 << self.level) as f64;
        let (width, height) = (360.0 / share, 180.0 / share);
        let (west, south) = (self.x as f64 * width - 180.0, self.y as f64 * height - 90.0);
        Area { south, west, north: south + height, east: west + width }
    }

    fn range(self) -> RangeInclusive<i64> {
        let below = 2 * (LEVELS - self.level);
        let first = (spread(self.x) << 1 | spread(self.y)) << below;
        first as i64..=(first | ((1 << below) - 1)) as i64
    }

    fn split(self) -> impl Iterator<Item = Quad> {
        let Quad { level, x, y } = self;
        [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().map(move |(right, up)| Quad {
            level: level + 1,
            x: 2 * x + right,
            y: 2 * y + up,
        })
    }
}

/// Ranges of numbers, in growing order and apart from each other, that have every place of `areas`, and few others.
/// About `ranges_max` of them at most, and at least one for each part of the Earth that has to be.
pub fn cover(areas: &[Area], ranges_max: usize) -> Vec<RangeInclusive<i64>> {
    let mut whole = Vec::new();
    // Cells of one level come before those of the next, since they are split in turn.
    let mut partly = VecDeque::from([Quad { level: 0, x: 0, y: 0 }]);
    while let Some(quad) = partly.pop_front() {
        // Splitting one adds three at most.
        if quad.level == LEVELS || ranges_max < whole.len() + partly.len() + 4 {
            whole.push(quad);
            continue;
        }
        for part in quad.split() {
            let area = part.area();
            if areas.iter().any(|wanted| wanted.contains(&area)) {
                whole.push(part);
            } else if areas.iter().any(|wanted| wanted.touches(&area)) {
                partly.push_back(part);
            }
        }
    }
    let mut ranges: Vec<_> = whole.into_iter().map(Quad::range).collect();
    ranges.sort_by_key(|range| *range.start());
    let mut joined = Vec::<RangeInclusive<i64>>::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end() + 1 == *range.start() => *last = *last.start()..=*range.end(),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn corners_of_the_earth_have_the_numbers_of_a_geohash() {
        let number = |lat, lon| cell(Place { lat, lon });
        assert_eq!(number(-90.0, -180.0), 0);
        assert_eq!(number(90.0, 180.0), (1 << 62) - 1);
        assert_eq!(number(0.0, 0.0), 0b11 << 60);
        assert_eq!(number(-1e-9, 0.0) >> 60, 0b10);
        // The geohash of the north of Jutland is u4pruydqqvj: five bits a letter, of this alphabet.
        let alphabet = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let number = number(57.64911, 10.40744);
        let letter = |place: u32| alphabet[(number >> (57 - 5 * place) & 31) as usize];
        assert_eq!((0..11).map(letter).collect::<Vec<_>>(), b"u4pruydqqvj");
    }

    #[test]
    fn the_whole_earth_is_one_range() {
        let earth = Area { south: -90.0, west: -180.0, north: 90.0, east: 180.0 };
        assert_eq!(cover(&[earth], 16), [0..=(1 << 62) - 1]);
        assert_eq!(cover(&[earth], 1), [0..=(1 << 62) - 1]);
        assert!(cover(&[], 16).is_empty());
    }

    fn coordinate(limit: f64) -> impl Strategy<Value = f64> {
        prop_oneof![-limit..=limit, -1.0..=1.0, Just(limit), Just(-limit), Just(0.0)]
    }

    proptest! {
        #[test]
        fn no_place_of_an_area_is_missed(
            (a, b) in (coordinate(90.0), coordinate(90.0)),
            (c, d) in (coordinate(180.0), coordinate(180.0)),
            (up, right) in (0.0..=1.0_f64, 0.0..=1.0_f64),
            ranges_max in 1_usize..40,
        ) {
            let area = Area { south: a.min(b), north: a.max(b), west: c.min(d), east: c.max(d) };
            let lat = (area.south + up * (area.north - area.south)).clamp(area.south, area.north);
            let lon = (area.west + right * (area.east - area.west)).clamp(area.west, area.east);
            let ranges = cover(&[area], ranges_max);
            let number = cell(Place { lat, lon });
            prop_assert!(ranges.iter().any(|range| range.contains(&number)), "{number} {ranges:?}");
            prop_assert!(ranges.len() <= ranges_max.max(1));
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()));
        }
    }
}

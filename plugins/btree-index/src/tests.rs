//! The index against a sorted list, and against bytes that nobody wrote.

use super::*;
use proptest::prelude::*;
use std::ops::Bound;

/// A segment in memory.
#[derive(Clone)]
struct InMemory(Vec<u8>);

impl Source for InMemory {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let found = self.0.get(offset as usize..).and_then(|bytes| bytes.get(..len));
        found.map(<[u8]>::to_vec).ok_or_else(|| Error::invalid("outside"))
    }
}

fn written(values: &[Vec<u8>]) -> InMemory {
    let mut end = 0;
    let ends: Vec<_> = values
        .iter()
        .map(|value| {
            end += value.len() as u32;
            end
        })
        .collect();
    let mut bytes = Vec::new();
    write(&values.concat(), &ends, &mut |part| {
        bytes.extend_from_slice(part);
        Ok(())
    })
    .unwrap();
    InMemory(bytes)
}

/// What a sorted list finds.
fn expected(
    values: &[Vec<u8>],
    range: &KeyRange,
    reverse: bool,
    limit: usize,
    allowed: impl Fn(u32) -> bool,
) -> Vec<u32> {
    let mut sorted: Vec<_> = values.iter().zip(0..).collect();
    sorted.sort();
    if reverse {
        sorted.reverse();
    }
    let wanted = sorted.into_iter().filter(|(value, _)| range.contains(value));
    wanted.map(|(_, number)| number).filter(|number| allowed(*number)).take(limit).collect()
}

fn bound(kind: u8, value: Vec<u8>) -> Bound<Vec<u8>> {
    match kind % 3 {
        0 => Bound::Included(value),
        1 => Bound::Excluded(value),
        _ => Bound::Unbounded,
    }
}

fn check(values: &[Vec<u8>], mut random: fastrand::Rng) {
    let mut reader = SegmentReader::open(written(values), values.len() as u32).unwrap();
    for _ in 0..200 {
        let mut end = || match random.usize(..values.len() + 1) {
            at if at < values.len() && random.bool() => values[at].clone(),
            at => [1, at as u8].into(),
        };
        let (start, end) = (end(), end());
        let (start, end) = (bound(random.u8(..), start), bound(random.u8(..), end));
        let range = KeyRange { start, end };
        let (reverse, step) = (random.bool(), random.u32(1..4));
        let limit = [0, 1, 10, values.len() + 1][random.usize(..4)];
        let allowed = |number: u32| number.is_multiple_of(step);
        let found = reader.lookup(&range, reverse, limit, allowed).unwrap();
        assert_eq!(found, expected(values, &range, reverse, limit, allowed), "{range:?}");
    }
}

#[test]
fn lookups_find_what_a_sorted_list_finds() {
    let mut random = fastrand::Rng::with_seed(1);
    for (count, distinct, longest) in
        [(0, 1, 1), (1, 1, 1), (300, 300, 20), (20_000, 7, 4), (20_000, 9000, 30), (50, 50, 9000)]
    {
        let values = (0..count).map(|_| {
            let value = random.u64(..distinct).to_be_bytes();
            let len = value[7] as usize * 37 % longest;
            [&[1][..], &value, &vec![value[7]; len]].concat()
        });
        let values: Vec<_> = values.collect();
        check(&values, random.fork());
    }
}

#[test]
fn a_value_of_many_entries_goes_on_in_the_next_block() {
    let values: Vec<_> = (0..30_000).map(|number| vec![1, (number % 3) as u8]).collect();
    let mut reader = SegmentReader::open(written(&values), 30_000).unwrap();
    let [(_, blocks), _] = reader.stats();
    assert!((15.0..20.0).contains(&blocks), "{blocks}");
    let two = KeyRange { start: Bound::Included(vec![1, 1]), end: Bound::Included(vec![1, 1]) };
    let wanted: Vec<_> = (1..30_000).step_by(3).collect();
    assert_eq!(reader.lookup(&two, false, usize::MAX, |_| true).unwrap(), wanted);
    let last = reader.lookup(&two, true, 2, |_| true).unwrap();
    assert_eq!(last, [29_998, 29_995]);
}

#[test]
fn the_bytes_are_as_the_tables_say() {
    let InMemory(bytes) = written(&[b"\x01b".to_vec(), b"\x01a".to_vec(), b"\x01b".to_vec()]);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        concat!(
            "0200000003000000",
            "0200000004000000",
            "0100000003000000",
            "010000000000000002000000",
            "01610162",
            "17511427c1a302a0",
            "3000000002000000",
            "0161",
            "534f434842545245",
            "01000000030000000100000000000000",
            "3000000000000000",
            "a31626fa566fa758",
            "f98a26bf02db06bd",
        )
    );
}

#[test]
fn another_version_or_another_count_is_refused_by_name() {
    let values: Vec<_> = (0..10).map(|number| vec![1, number]).collect();
    let InMemory(good) = written(&values);
    let open = |bytes: Vec<u8>, count| SegmentReader::open(InMemory(bytes), count).err().unwrap();
    assert!(open(good.clone(), 11).text.contains("of 10 entries, where there are 11"));
    let mut later = good.clone();
    let at = later.len() - 40;
    later[at] = 2;
    assert!(open(later, 10).text.contains("version 2, and 1 is the newest"));
    assert!(open(good[1..].to_vec(), 10).text.contains("the fences' checksum"));
    assert!(open(Vec::new(), 10).text.contains("too short"));
}

#[test]
fn settings_and_vectors_are_refused() {
    let index = Definition { column: "v".to_owned(), ..Definition::default() };
    BtreeIndex.check(&index).unwrap();
    let options = [("m".to_owned(), "16".to_owned())].into();
    let error = BtreeIndex.check(&Definition { options, ..index.clone() }).unwrap_err();
    assert!(error.text.contains("'m'") && error.code == ErrorCode::Invalid);
    let metric = Some(sochdb_guest::VectorMetric::Cosine);
    let error = BtreeIndex.check(&Definition { metric, dim: 4, ..index }).unwrap_err();
    assert!(error.text.contains("'v'") && error.code == ErrorCode::Invalid);
}

#[test]
fn it_passes_its_own_test() {
    BtreeIndex.self_test().unwrap();
}

proptest! {
    #[test]
    fn any_values_are_found_again(
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..200),
        seed: u64,
    ) {
        check(&values, fastrand::Rng::with_seed(seed));
    }

    #[test]
    fn any_flipped_bit_is_noticed(bit in 0_usize..80_000, cut in 0_usize..10_000) {
        let values: Vec<_> = (0..1000_u32).map(|n| [&[1][..], &n.to_be_bytes()].concat()).collect();
        let InMemory(good) = written(&values);
        let all = |bytes: Vec<u8>| {
            let mut reader = SegmentReader::open(InMemory(bytes), 1000)?;
            reader.lookup(&KeyRange::all(), false, 1000, |_| true)
        };
        prop_assert_eq!(all(good.clone()).unwrap(), (0..1000).collect::<Vec<_>>());
        let mut flipped = good.clone();
        let bit = bit % (8 * good.len());
        flipped[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(all(flipped).unwrap_err().code, ErrorCode::Corrupt);
        let cut = cut % good.len();
        prop_assert!(all(good[..cut].to_vec()).is_err());
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0_u32..5) {
        if let Ok(mut reader) = SegmentReader::open(InMemory(bytes.clone()), count) {
            let _ = reader.lookup(&KeyRange::all(), false, 10, |_| true);
        }
        let _ = block::Block::decode("block", &bytes, count);
    }
}

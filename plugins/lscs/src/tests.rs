//! What crosses the rooms: a model, hostile bytes, pinned bytes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use expect_test::expect;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::cursor::{Cursor, KeyRange};
use crate::merge::{MERGE_SEGMENTS_MIN, Merge, plan_compaction};
use crate::read::{Lookup, multi_get};
use crate::segment::{FOOTER_BYTES, SegmentReader, SegmentWriter};
use crate::{Error, Result, Row, SegmentSink, SegmentSource};

/// A segment in memory.
#[derive(Debug, Clone, Default)]
struct Memory(Vec<u8>);

impl SegmentSink for &mut Memory {
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let offset = self.0.len() as u64;
        self.0.extend_from_slice(bytes);
        Ok(offset)
    }
}

impl SegmentSource for Memory {
    fn name(&self) -> String {
        "segments/7".into()
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>> {
        let (start, len) = (offset as usize, len as usize);
        let bytes = self.0.get(start..).and_then(|rest| rest.get(..len));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| Error::Unavailable("past the end".into()))
    }
}

type Segment = Arc<SegmentReader<Memory>>;

fn flush<'a>(rows: impl IntoIterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)>) -> Memory {
    let mut memory = Memory::default();
    let mut writer = SegmentWriter::new(&mut memory);
    for (key, value) in rows {
        writer.push(key, value.as_deref()).unwrap();
    }
    writer.finish().unwrap();
    memory
}

fn open(memory: Memory) -> Segment {
    Arc::new(SegmentReader::open(memory).unwrap())
}

fn scan(
    segments: &[Segment],
    range: &KeyRange,
    reverse: bool,
    rows_max: usize,
) -> Result<Vec<Row>> {
    let mut cursor = Cursor::new(segments, range, reverse);
    let mut rows = Vec::new();
    loop {
        let batch = cursor.next_batch(rows_max, 200)?;
        if batch.is_empty() {
            return Ok(rows);
        }
        rows.extend(batch);
    }
}

fn sample() -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let row = |key: &str, value: Option<&str>| (key.into(), value.map(Into::into));
    [row("wolf", Some("Canis lupus")), row("wolfram", None), row("wolverine", Some(""))].into()
}

#[test]
fn the_bytes_are_pinned() {
    let bytes = flush(&sample()).0;
    let lines = bytes.chunks(16).map(|line| format!("{line:02x?}\n").replace([',', '[', ']'], ""));
    expect![[r#"
        01 00 03 00 13 00 00 00 0b 00 00 00 02 00 04 77
        6f 6c 66 04 03 72 61 6d 03 06 76 65 72 69 6e 65
        00 00 00 00 0b 00 00 00 0b 00 00 00 0b 00 00 00
        43 61 6e 69 73 20 6c 75 70 75 73 3b 03 04 77 6f
        6c 66 09 77 6f 6c 76 65 72 69 6e 65 00 02 01 04
        10 00 00 c0 80 00 80 20 04 00 44 00 00 00 08 80
        20 41 00 00 00 00 18 20 01 10 04 00 53 4f 43 48
        4c 53 43 53 01 00 00 00 01 00 00 00 3b 00 00 00
        00 00 00 00 11 00 00 00 20 00 00 00 03 00 00 00
        00 00 00 00 c3 d4 a7 e7 c5 fb aa 0c
    "#]]
    .assert_eq(&lines.collect::<String>());
}

#[test]
fn the_segment_of_an_empty_run_is_none_and_unsorted_runs_are_refused() {
    let mut memory = Memory::default();
    assert_eq!(SegmentWriter::new(&mut memory).finish().unwrap(), None);
    assert!(memory.0.is_empty());
    let mut writer = SegmentWriter::new(&mut memory);
    writer.push(b"b", None).unwrap();
    for key in [b"b", b"a"] {
        assert!(matches!(writer.push(key, None), Err(Error::Invalid(_))));
    }
    let long = vec![0xff; crate::KEY_BYTES_MAX + 1];
    assert!(matches!(writer.push(&long, None), Err(Error::Invalid(_))));
    let info = writer.finish().unwrap().unwrap();
    assert_eq!((info.rows, info.blocks, info.bytes), (1, 1, memory.0.len() as u64));
    assert_eq!(memory.0.len() as u64, info.bytes);
}

#[test]
fn large_rows_have_blocks_of_their_own_and_others_stay_small() {
    let rows: BTreeMap<_, _> = (0..2_000u32)
        .map(|i| {
            let bytes = if i % 500 == 7 { 200_000 } else { 100 };
            (i.to_be_bytes().to_vec(), (i % 9 != 0).then(|| vec![i as u8; bytes]))
        })
        .collect();
    let segment = open(flush(&rows));
    assert_eq!(segment.rows(), 2_000);
    assert_eq!((segment.min_key(), segment.max_key()), (&[0; 4][..], &1_999u32.to_be_bytes()[..]));
    for entry in segment.index() {
        assert!(
            entry.len as usize <= crate::block::BLOCK_BYTES_MAX || entry.rows == 1,
            "{entry:?}"
        );
    }
    let expected = rows.into_iter().map(|(key, value)| Row { key, value });
    assert!(scan(&[segment], &KeyRange::ALL, false, 100).unwrap().into_iter().eq(expected));
}

#[test]
fn every_cut_is_refused_at_open() {
    let bytes = flush(&sample()).0;
    for cut in 0..bytes.len() {
        let error = SegmentReader::open(Memory(bytes[..cut].to_vec())).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "cut at {cut}: {error}");
    }
}

#[test]
fn every_flipped_bit_outside_the_blocks_is_refused_and_inside_never_panics() {
    let rows: BTreeMap<_, _> = (0..40u32)
        .map(|i| (format!("k{i:02}").into_bytes(), (i % 3 != 0).then(|| vec![1])))
        .collect();
    let bytes = flush(&rows).0;
    let index_at = open(Memory(bytes.clone())).index()[0].len as usize;
    assert!(index_at < bytes.len() - FOOTER_BYTES);
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        match SegmentReader::open(Memory(flipped)) {
            Err(error) => assert!(index_at <= at / 8 && matches!(error, Error::Corrupt { .. })),
            Ok(segment) => {
                assert!(at / 8 < index_at, "a flip at bit {at} of index or footer went unseen");
                let segments = [Arc::new(segment)];
                let all = rows.keys().cloned().collect::<Vec<_>>();
                let answers = [
                    scan(&segments, &KeyRange::ALL, false, 7).err(),
                    scan(&segments, &KeyRange::ALL, true, 7).err(),
                    multi_get(&segments, &all).err(),
                ];
                for error in answers.into_iter().flatten() {
                    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
                }
            }
        }
    }
}

#[test]
fn compaction_picks_neighbours_of_similar_size() {
    assert_eq!(plan_compaction(&[]), None);
    assert_eq!(plan_compaction(&[9, 9, 9]), None);
    assert_eq!(plan_compaction(&[9, 9, 9, 9]), Some(0..4));
    assert_eq!(plan_compaction(&[1000, 9, 9, 9, 9]), Some(1..5));
    assert_eq!(plan_compaction(&[1000, 300, 90, 9]), None);
    assert_eq!(plan_compaction(&[50, 50, 50, 50, 9, 9]), Some(0..4));
    assert_eq!(plan_compaction(&[1; 40]), Some(24..40));
    // A thousand equal flushes: the list stays short, each byte is rewritten a few times.
    let (mut sizes, mut written) = (Vec::new(), 0);
    for flushed in [1; 1_000] {
        sizes.push(flushed);
        while let Some(range) = plan_compaction(&sizes) {
            let sum = sizes[range.clone()].iter().sum();
            sizes.splice(range, [sum]);
            written += sum;
        }
    }
    assert!(sizes.len() < 4 * MERGE_SEGMENTS_MIN && written < 10_000, "{sizes:?}, {written}");
}

/// One step of a table's life.
#[derive(Debug, Clone)]
enum Step {
    Flush(BTreeMap<Vec<u8>, Option<Vec<u8>>>),
    Plan,
    Merge(prop::sample::Index, prop::sample::Index),
}

/// Short keys over few letters, so that runs overlap.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0u8), Just(b'a'), Just(0xff)], 0..4)
}

fn any_step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        3 => vec(any::<u8>(), 0..20).prop_map(Some),
        1 => Just(None),
        // Large enough for several blocks in one run.
        1 => (any::<u8>(), 5_000usize..30_000).prop_map(|(byte, len)| Some(vec![byte; len])),
    ];
    prop_oneof![
        4 => btree_map(any_key(), value, 0..40).prop_map(Step::Flush),
        1 => Just(Step::Plan),
        1 => (any::<prop::sample::Index>(), any::<prop::sample::Index>())
            .prop_map(|(a, b)| Step::Merge(a, b)),
    ]
}

fn any_range() -> impl Strategy<Value = KeyRange> {
    let bound = || {
        prop_oneof![
            Just(Bound::Unbounded),
            any_key().prop_map(Bound::Included),
            any_key().prop_map(Bound::Excluded),
        ]
    };
    (bound(), bound()).prop_map(|(start, end)| KeyRange { start, end })
}

fn merge(segments: &mut Vec<Segment>, range: std::ops::Range<usize>) {
    let mut memory = Memory::default();
    let oldest = range.start == 0;
    let mut merge = Merge::new(&segments[range.clone()], oldest, &mut memory);
    merge.step(5).unwrap();
    let info = merge.finish().unwrap();
    let merged = info.map(|info| {
        let segment = open(memory);
        assert_eq!((segment.rows(), segment.bytes()), (info.rows, info.bytes));
        segment
    });
    segments.splice(range, merged);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_life_of_a_table_reads_as_the_model_does(
        steps in vec(any_step(), 1..14),
        range in any_range(),
        absent in any_key(),
        rows_max in 1usize..50,
    ) {
        let mut model: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        let mut segments: Vec<Segment> = Vec::new();
        for step in steps {
            match step {
                Step::Flush(run) => {
                    if !run.is_empty() {
                        segments.push(open(flush(&run)));
                    }
                    model.extend(run);
                }
                Step::Plan => {
                    let sizes: Vec<_> = segments.iter().map(|segment| segment.bytes()).collect();
                    if let Some(range) = plan_compaction(&sizes) {
                        merge(&mut segments, range);
                    }
                }
                Step::Merge(a, b) if !segments.is_empty() => {
                    let (a, b) = (a.index(segments.len()), b.index(segments.len()));
                    merge(&mut segments, a.min(b)..a.max(b) + 1);
                }
                Step::Merge(..) => {}
            }
        }
        let mut keys: Vec<_> = model.keys().cloned().collect();
        keys.push(absent);
        keys.reverse();
        for (key, answer) in keys.iter().zip(multi_get(&segments, &keys).unwrap()) {
            // A merge down to the oldest segment forgets tombstones: deleted and absent read alike.
            let value = if let Lookup::Found(value) = answer { Some(value) } else { None };
            prop_assert_eq!(&value, &model.get(key).cloned().flatten(), "{:?}", key);
        }
        let inside = |key: &[u8]| {
            std::ops::RangeBounds::<[u8]>::contains(
                &(range.start.as_ref().map(Vec::as_slice), range.end.as_ref().map(Vec::as_slice)),
                key,
            )
        };
        let expected = model.iter().filter(|(key, value)| inside(key) && value.is_some());
        let expected: Vec<_> =
            expected.map(|(key, value)| Row { key: key.clone(), value: value.clone() }).collect();
        let alive = |rows: Vec<Row>| rows.into_iter().filter(|row| row.value.is_some()).collect::<Vec<_>>();
        prop_assert_eq!(&alive(scan(&segments, &range, false, rows_max).unwrap()), &expected);
        let mut reversed = alive(scan(&segments, &range, true, rows_max).unwrap());
        reversed.reverse();
        prop_assert_eq!(&reversed, &expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400), rows in 0u16..40) {
        let _ = SegmentReader::open(Memory(bytes.clone()));
        // A block with a header that makes sense more often than chance would.
        let mut block = vec![1, 0];
        block.extend(rows.to_le_bytes());
        let fixed = usize::from(rows).div_ceil(8) + usize::from(rows).div_ceil(16) * 4 + usize::from(rows) * 4;
        let columns = bytes.len().saturating_sub(fixed) as u32;
        block.extend((columns / 2).to_le_bytes());
        block.extend((columns - columns / 2).to_le_bytes());
        block.extend(&bytes);
        if let Ok(block) = crate::block::Block::new("segments/7".into(), 0, block) {
            for interval in 0..block.intervals() {
                let _ = block.keys(interval);
            }
            for row in 0..block.rows() {
                let _ = block.value(row);
            }
            let _ = block.find(&bytes);
        }
    }
}

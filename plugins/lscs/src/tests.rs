//! What crosses the rooms: a model, hostile bytes, pinned bytes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use expect_test::expect_file;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sochdb_guest::encoding::range::KeyRange;
use sochdb_guest::encoding::row::{Column, ColumnType, Schema, Value};
use sochdb_guest::encoding::select::{Comparison, Condition, Projection, Selection};

use crate::block::BLOCK_BYTES_MAX;
use crate::merge::merge;
use crate::options::Options;
use crate::pieces::PieceWriter;
use crate::plan::{plan, runs};
use crate::read::{Lookup, TableReader};
use crate::segment::{FOOTER_BYTES, Properties, SegmentReader, SegmentWriter};
use crate::{Error, PieceSink, Result, SegmentSink, SegmentSource};

/// A segment in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory(pub Vec<u8>);

impl SegmentSink for Memory {
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

/// Counts the bytes read.
#[derive(Debug)]
struct Counted(Memory, AtomicU64);

impl SegmentSource for &Counted {
    fn name(&self) -> String {
        self.0.name()
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>> {
        self.1.fetch_add(len.into(), Ordering::Relaxed);
        self.0.read(offset, len)
    }
}

/// Segments in memory.
#[derive(Debug, Default)]
pub(crate) struct Folder(pub Vec<Memory>);

impl PieceSink for Folder {
    type Out = Memory;

    fn create(&mut self) -> Result<Memory> {
        Ok(Memory::default())
    }

    fn seal(&mut self, segment: Memory) -> Result<()> {
        self.0.push(segment);
        Ok(())
    }
}

type Segment = Arc<SegmentReader<Memory>>;
type Model = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn plain() -> Options {
    Options::new(None, &BTreeMap::new()).unwrap()
}

fn open(memory: Memory) -> Segment {
    Arc::new(SegmentReader::open(memory).unwrap())
}

/// The segments that a flush of `rows` writes above `present`.
fn flush(options: &Options, present: &[Segment], rows: &Model) -> Vec<Segment> {
    let present: Vec<_> = present.iter().map(|segment| segment.properties()).collect();
    let mut folder = Folder::default();
    let mut writer = PieceWriter::new(options, &present, &mut folder);
    rows.iter().for_each(|(key, value)| writer.push(key, value.as_deref()).unwrap());
    let written = writer.finish().unwrap();
    let segments: Vec<_> = folder.0.into_iter().map(open).collect();
    let found: Vec<_> = segments.iter().map(|segment| segment.properties().clone()).collect();
    assert_eq!(found, written);
    assert!(runs(&written).len() <= 1, "pieces are one run");
    segments
}

fn one(options: &Options, rows: &Model) -> Memory {
    let mut writer = SegmentWriter::new(options, Memory::default());
    rows.iter().for_each(|(key, value)| writer.push(key, value.as_deref()).unwrap());
    writer.finish().unwrap().1
}

fn scan(
    reader: &TableReader<Memory>,
    range: &KeyRange,
    reverse: bool,
    selection: Option<&Selection>,
) -> Result<Rows> {
    let mut cursor = reader.scan(range, reverse, selection)?;
    cursor.look_at_most(23);
    let (mut rows, mut last) = (Rows::new(), None);
    while let Some((key, value)) = cursor.next_row()? {
        let key = key.to_vec();
        let goes_on = |last: &Vec<u8>| if reverse { key < *last } else { *last < key };
        assert!(last.as_ref().is_none_or(goes_on), "{key:?} behind {last:?}");
        last = Some(key.clone());
        // With a selection, a row without a value only says how far the scan is.
        if selection.is_none() || value.is_some() {
            rows.push((key, value.map(<[u8]>::to_vec)));
        }
    }
    assert!(cursor.next_row()?.is_none());
    let (mut cursor, mut again, mut given) =
        (reader.scan(range, reverse, selection)?, Rows::new(), 1);
    while given != 0 {
        given = 0;
        cursor.each_row(|key, value| {
            if selection.is_none() || value.is_some() {
                again.push((key.to_vec(), value.map(<[u8]>::to_vec)));
            }
            given += 1;
            given % 7 != 0
        })?;
    }
    assert_eq!(again, rows);
    Ok(rows)
}

/// Applies the plan once; whether there was one.
fn compact(options: &Options, segments: &mut Vec<Segment>) -> bool {
    let properties: Vec<_> = segments.iter().map(|segment| segment.properties().clone()).collect();
    let Some(plan) = plan(&properties, options) else { return false };
    let share = |a: usize, b: usize| {
        let (a, b): (&Properties, &Properties) = (&properties[a], &properties[b]);
        Ok::<_, ()>(a.min_key <= b.max_key && b.min_key <= a.max_key)
    };
    let drop_deleted = plan.check(properties.len(), share).unwrap().expect("the plan can be done");
    let inputs: Vec<_> = plan.inputs.iter().map(|position| segments[*position].clone()).collect();
    let mut folder = Folder::default();
    let merged = match plan.is_move() {
        true => inputs,
        false => {
            merge(&inputs, drop_deleted, options, &mut folder).unwrap();
            folder.0.into_iter().map(open).collect()
        }
    };
    for position in plan.inputs.iter().rev() {
        segments.remove(*position);
    }
    segments.splice(plan.at..plan.at, merged);
    true
}

fn column(name: &str, kind: ColumnType, nullable: bool) -> Column {
    Column { name: name.into(), kind, nullable, default: None }
}

fn towns() -> Schema {
    let columns = vec![
        column("id", ColumnType::Int64, false),
        column("town", ColumnType::String, true),
        column("people", ColumnType::Int64, true),
        column("area", ColumnType::Float64, true),
        column("is_port", ColumnType::Bool, true),
        column("place", ColumnType::Vector(2), true),
        column("founded", ColumnType::Timestamp, true),
        column("seal", ColumnType::Bytes, true),
    ];
    Schema::new(columns, &["id"]).unwrap()
}

fn town(id: i64) -> Vec<Value> {
    vec![
        Value::Int64(id),
        if id % 7 == 3 { Value::Null } else { Value::String(format!("town of {}", id % 50)) },
        Value::Int64(id * id % 1_000),
        Value::Float64((id % 400) as f64 / 10.0),
        Value::Bool(id % 3 == 0),
        Value::Vector(vec![id as f32, 0.5]),
        Value::Timestamp(id * 60_000_000),
        if id % 2 == 0 { Value::Null } else { Value::Bytes(vec![id as u8; (id % 5) as usize]) },
    ]
}

fn typed() -> Options {
    Options::new(Some(towns()), &BTreeMap::new()).unwrap()
}

fn town_rows(ids: impl Iterator<Item = i64>) -> Model {
    let schema = towns();
    let row = |id: i64| {
        let row = town(id);
        let value = (id % 11 != 0).then(|| schema.encode_row(&row).unwrap());
        (schema.encode_key(&row).unwrap(), value)
    };
    ids.map(row).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.chunks(16).map(|line| format!("{line:02x?}\n").replace([',', '[', ']'], "")).collect()
}

#[test]
fn the_bytes_are_pinned() {
    let words = |rows: &[(&str, Option<&str>)]| -> Model {
        rows.iter().map(|(key, value)| ((*key).into(), value.map(Into::into))).collect()
    };
    let plain_rows =
        words(&[("wolf", Some("Canis lupus")), ("wolfram", None), ("wolverine", Some(""))]);
    expect_file!["../tests/fixtures/plain.hex"].assert_eq(&hex(&one(&plain(), &plain_rows).0));
    let typed_rows = town_rows(1..12);
    expect_file!["../tests/fixtures/typed.hex"].assert_eq(&hex(&one(&typed(), &typed_rows).0));
    // What the files hold is what a reader finds in them.
    for (text, rows) in [
        (include_str!("../tests/fixtures/plain.hex"), plain_rows),
        (include_str!("../tests/fixtures/typed.hex"), typed_rows),
    ] {
        let bytes =
            text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let reader = TableReader::new(vec![open(Memory(bytes))]);
        assert!(scan(&reader, &KeyRange::all(), false, None).unwrap().into_iter().eq(rows));
    }
}

#[test]
fn an_empty_run_writes_nothing_and_unsorted_runs_are_refused() {
    let mut folder = Folder::default();
    let options = plain();
    assert_eq!(PieceWriter::new(&options, &[] as &[Properties], &mut folder).finish().unwrap(), []);
    assert!(folder.0.is_empty());
    let mut writer = SegmentWriter::new(&options, Memory::default());
    writer.push(b"b", None).unwrap();
    for key in [b"b", b"a"] {
        assert!(matches!(writer.push(key, None), Err(Error::Invalid(_))));
    }
    let long = vec![0xff; crate::KEY_BYTES_MAX + 1];
    assert!(matches!(writer.push(&long, None), Err(Error::Invalid(_))));
    let (properties, memory) = writer.finish().unwrap();
    let properties = properties.unwrap();
    assert_eq!(
        (properties.rows, properties.deleted, properties.bytes),
        (1, 1, memory.0.len() as u64)
    );
}

#[test]
fn large_rows_have_blocks_of_their_own_and_others_stay_small() {
    let rows: Model = (0..2_000u32)
        .map(|i| {
            let bytes = if i % 500 == 7 { 200_000 } else { 100 };
            let value = (0..bytes).map(|at| (at * i / 7) as u8 ^ (at >> 3) as u8).collect();
            (i.to_be_bytes().to_vec(), (i % 9 != 0).then_some(value))
        })
        .collect();
    let segment = open(one(&plain(), &rows));
    assert_eq!((segment.properties().rows, segment.properties().deleted), (2_000, 223));
    for entry in segment.index().unwrap() {
        assert!(entry.len as usize <= BLOCK_BYTES_MAX || entry.rows == 1, "{entry:?}");
    }
    let reader = TableReader::new(vec![segment]);
    assert!(scan(&reader, &KeyRange::all(), false, None).unwrap().into_iter().eq(rows));
}

#[test]
fn typed_rows_are_written_as_columns_and_strange_ones_whole() {
    let mut rows = town_rows(0..20_000);
    let segment = open(one(&typed(), &rows));
    let raw: usize =
        rows.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
    let bytes = segment.properties().bytes as usize;
    assert!(bytes * 3 < raw, "{raw} bytes of rows become {bytes}");
    let entries = segment.index().unwrap();
    assert!(entries.iter().all(|entry| entry.shape == 2 && entry.len as usize <= BLOCK_BYTES_MAX));
    let reader = TableReader::new(vec![segment]);
    let stats = reader.stats(Some(&towns())).unwrap();
    let names: Vec<_> = stats.columns.iter().map(|column| &column.name[..]).collect();
    assert_eq!(names, ["id", "town", "people", "area", "is_port", "place", "founded", "seal"]);
    assert_eq!(stats.levels[0].rows, 20_000);
    let (id, town, people) = (&stats.columns[0], &stats.columns[1], &stats.columns[2]);
    assert_eq!((&id.minimum, &id.maximum), (&Some(Value::Int64(0)), &Some(Value::Int64(19_999))));
    assert_eq!(
        (people.minimum.clone(), people.maximum.clone()),
        (Some(Value::Int64(0)), Some(Value::Int64(996)))
    );
    let living = rows.values().filter(|value| value.is_some()).count() as u64;
    assert_eq!((town.rows, people.rows, people.nulls), (living, living, 0));
    let nulls =
        rows.keys().zip(0..20_000i64).filter(|(_, id)| id % 7 == 3 && id % 11 != 0).count() as u64;
    assert_eq!(town.nulls, nulls);
    let distinct = town.distinct.unwrap();
    assert!((45..=55).contains(&distinct), "50 towns, estimated {distinct}");
    // A row that is no row of the schema: its block is written whole, and reads the same.
    let key = rows.keys().nth(10_000).unwrap().clone();
    rows.insert(key, Some(b"no row".to_vec()));
    let segment = open(one(&typed(), &rows));
    let opaque = segment.index().unwrap().iter().filter(|entry| entry.shape == 1).count();
    assert_eq!(opaque, 1);
    let reader = TableReader::new(vec![segment]);
    assert!(scan(&reader, &KeyRange::all(), false, None).unwrap().into_iter().eq(rows));
}

#[test]
fn rows_from_before_a_column_was_added_have_its_default() {
    let old = Schema::new(towns().columns[..3].to_vec(), &["id"]).unwrap();
    let mut columns = towns().columns[..3].to_vec();
    columns.push(Column {
        default: Some(Value::Int64(7)),
        ..column("rank", ColumnType::Int64, false)
    });
    let new = Schema::new(columns, &["id"]).unwrap();
    let row = |id: i64| town(id)[..3].to_vec();
    let rows: Model = (1..500)
        .map(|id| (old.encode_key(&row(id)).unwrap(), Some(old.encode_row(&row(id)).unwrap())))
        .collect();
    let options = Options::new(Some(old), &BTreeMap::new()).unwrap();
    let reader = TableReader::new(vec![open(one(&options, &rows))]);
    let select = |rank| {
        let condition =
            Condition::new(&new, "rank", Comparison::Equal, Value::Int64(rank)).unwrap();
        let projection = Projection::new(&new, &["rank", "town"]).unwrap();
        Selection::new(new.clone(), Some(projection), vec![condition]).unwrap()
    };
    assert_eq!(scan(&reader, &KeyRange::all(), false, Some(&select(8))).unwrap(), []);
    let found = scan(&reader, &KeyRange::all(), false, Some(&select(7))).unwrap();
    assert_eq!(found.len(), 499);
    let values = select(7).projection().unwrap().decode(found[0].1.as_ref().unwrap()).unwrap();
    assert_eq!(values, [Value::Int64(7), Value::String("town of 1".into())]);
    let batch = reader
        .scan_columns(&KeyRange::all(), &select(7))
        .unwrap()
        .next_batch(1_000, 1 << 20)
        .unwrap()
        .unwrap();
    assert_eq!((batch.rows(), batch.value(0, 498), batch.through()), (499, Value::Int64(7), None));
}

#[test]
fn every_cut_is_refused_when_opened_or_looked_up() {
    let bytes = one(&plain(), &town_rows(1..9)).0;
    for cut in 0..bytes.len() {
        let error = SegmentReader::open(Memory(bytes[..cut].to_vec())).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "cut at {cut}: {error}");
    }
}

#[test]
fn every_flipped_bit_outside_the_blocks_is_refused_and_inside_never_panics() {
    let (schema, rows) = (towns(), town_rows(1..40));
    for options in [typed(), plain()] {
        let bytes = one(&options, &rows).0;
        let blocks: usize = open(Memory(bytes.clone()))
            .index()
            .unwrap()
            .iter()
            .map(|entry| entry.len as usize)
            .sum();
        assert!(blocks < bytes.len() - FOOTER_BYTES);
        let condition =
            Condition::new(&schema, "people", Comparison::Less, Value::Int64(500)).unwrap();
        let selection = Selection::new(schema.clone(), None, vec![condition]).unwrap();
        let keys: Vec<_> = rows.keys().cloned().collect();
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let answers = || -> Result<()> {
                let reader =
                    TableReader::new(vec![Arc::new(SegmentReader::open(Memory(flipped))?)]);
                reader.stats(Some(&schema))?;
                let mut result = reader.multi_get(&keys).map(drop);
                for reverse in [false, true] {
                    result = result.and(scan(&reader, &KeyRange::all(), reverse, None).map(drop));
                    result = result
                        .and(scan(&reader, &KeyRange::all(), reverse, Some(&selection)).map(drop));
                }
                let mut columns = reader.scan_columns(&KeyRange::all(), &selection)?;
                while columns.next_batch(10, 1_000)?.is_some() {}
                result
            };
            match answers() {
                Ok(()) => {
                    assert!(at / 8 < blocks, "a flip at bit {at}, outside the blocks, went unseen")
                }
                Err(error) => assert!(matches!(error, Error::Corrupt { .. }), "bit {at}: {error}"),
            }
        }
    }
}

#[test]
fn blocks_that_cannot_hold_a_row_are_not_read_unless_their_keys_hide_older_ones() {
    let schema = towns();
    let base = Counted(one(&typed(), &town_rows(0..50_000)), Default::default());
    let condition =
        |column, value| Condition::new(&schema, column, Comparison::GreaterOrEqual, value).unwrap();
    let late = condition("founded", Value::Timestamp(49_990 * 60_000_000));
    let projection = Projection::new(&schema, &["people"]).unwrap();
    let selection = Selection::new(schema.clone(), Some(projection), vec![late]).unwrap();
    let reader = TableReader::new(vec![Arc::new(SegmentReader::open(&base).unwrap())]);
    let batch = reader
        .scan_columns(&KeyRange::all(), &selection)
        .unwrap()
        .next_batch(1_000, 1 << 20)
        .unwrap()
        .unwrap();
    assert_eq!(batch.rows(), 10 - 1);
    let read = base.1.load(Ordering::Relaxed);
    assert!(read < base.0.len() / 10, "{read} of {} bytes", base.0.len());
    // The newest version of a late town is early: the old one must stay hidden.
    let mut moved = town(49_996);
    moved[6] = Value::Timestamp(0);
    let newer =
        [(schema.encode_key(&moved).unwrap(), Some(schema.encode_row(&moved).unwrap()))].into();
    let newer = Counted(one(&typed(), &newer), Default::default());
    let open = |counted| Arc::new(SegmentReader::open(counted).unwrap());
    let reader = TableReader::new(vec![open(&base), open(&newer)]);
    let batch = reader
        .scan_columns(&KeyRange::all(), &selection)
        .unwrap()
        .next_batch(1_000, 1 << 20)
        .unwrap()
        .unwrap();
    assert_eq!(batch.rows(), 9 - 1);
}

#[test]
fn of_an_opaque_block_little_more_than_the_wanted_values_is_read() {
    let value = |id: u32| -> Vec<u8> {
        (0..id % 90 + 50)
            .map(|at| ((id * 131 + at).wrapping_mul(0x9e37_79b9) >> 11) as u8)
            .collect()
    };
    let row = |id: u32| (id.wrapping_mul(0x0101_0101).to_be_bytes().to_vec(), value(id));
    let rows: BTreeMap<_, _> = (0..250).chain(300..2_000).map(row).collect();
    let model: Model = rows.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
    let base = Counted(one(&plain(), &model), Default::default());
    let reader = TableReader::new(vec![Arc::new(SegmentReader::open(&base).unwrap())]);
    let keys: Vec<_> = rows.keys().cloned().collect();
    let read = || base.1.swap(0, Ordering::Relaxed);
    let found =
        |key: &Vec<u8>| reader.multi_get(&[key]).unwrap() == [Lookup::Found(rows[key].clone())];
    assert!(found(&keys[0]));
    read();
    assert!(found(&keys[1_000]));
    assert!(read() < 8_000);
    assert!(found(&keys[1_001]));
    assert_eq!(read(), rows[&keys[1_001]].len() as u64);
    assert!(keys.iter().all(found));
    for reverse in [false, true] {
        let range = KeyRange::from(keys[400].clone()..=keys[1_700].clone());
        read();
        let mut cursor = reader.scan(&range, reverse, None).unwrap();
        for at in 0..=1_300 {
            let key = &keys[if reverse { 1_700 - at } else { 400 + at }];
            assert_eq!(cursor.next_row().unwrap(), Some((&key[..], Some(&rows[key][..]))));
            assert!(at != 15 || read() < 8_000);
        }
        assert_eq!(cursor.next_row().unwrap(), None);
    }
}

#[test]
fn a_merge_copies_blocks_that_overlap_nothing_and_keeps_their_statistics() {
    let options = typed();
    let (low, high) = (town_rows(0..30_000), town_rows(30_000..60_000));
    let inputs = [open(one(&options, &high)), open(one(&options, &low))];
    let mut folder = Folder::default();
    let written = merge(&inputs, false, &options, &mut folder).unwrap();
    assert_eq!(written.len(), 1);
    let merged = open(folder.0.pop().unwrap());
    let lens = |segment: &Segment| {
        segment.index().unwrap().iter().map(|entry| entry.len).collect::<Vec<_>>()
    };
    assert_eq!(lens(&merged)[..10], lens(&inputs[1])[..10], "copied as they were");
    let all: Model = low.into_iter().chain(high).collect();
    let (copied, anew) =
        (TableReader::new(vec![merged]), TableReader::new(vec![open(one(&options, &all))]));
    assert!(scan(&copied, &KeyRange::all(), false, None).unwrap().into_iter().eq(all));
    let (copied, anew) =
        (copied.stats(Some(&towns())).unwrap(), anew.stats(Some(&towns())).unwrap());
    for (copied, anew) in copied.columns.iter().zip(&anew.columns) {
        assert_eq!(
            (copied.rows, copied.nulls, copied.raw_bytes),
            (anew.rows, anew.nulls, anew.raw_bytes)
        );
        assert_eq!((&copied.minimum, &copied.maximum), (&anew.minimum, &anew.maximum));
        assert_eq!(copied.distinct, anew.distinct);
    }
}

/// One step of a table's life.
#[derive(Debug, Clone)]
enum Step {
    Flush(Vec<(i64, Option<Vec<Value>>)>),
    FlushStrange(i64, Vec<u8>),
    Compact,
}

fn any_cell(kind: ColumnType) -> BoxedStrategy<Value> {
    let value = match kind {
        ColumnType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        ColumnType::Int64 => (-3i64..3).prop_map(Value::Int64).boxed(),
        ColumnType::Timestamp => (-3i64..3).prop_map(Value::Timestamp).boxed(),
        ColumnType::Float64 => prop_oneof![Just(0.5), Just(-0.0), Just(f64::NAN), Just(7.0)]
            .prop_map(Value::Float64)
            .boxed(),
        ColumnType::String => "[ab]{0,3}".prop_map(Value::String).boxed(),
        ColumnType::Bytes => vec(any::<u8>(), 0..400).prop_map(Value::Bytes).boxed(),
        ColumnType::Vector(dim) => vec(any::<f32>(), dim as usize).prop_map(Value::Vector).boxed(),
    };
    prop_oneof![4 => value, 1 => Just(Value::Null)].boxed()
}

fn any_step() -> impl Strategy<Value = Step> {
    let cells: Vec<_> = towns().columns[1..].iter().map(|column| any_cell(column.kind)).collect();
    let row = prop_oneof![4 => cells.prop_map(Some), 1 => Just(None)];
    // Few ids, so that runs overlap; sometimes far away, so that they do not.
    let id = prop_oneof![6 => 0i64..150, 1 => 10_000i64..10_100, 1 => -50i64..0];
    prop_oneof![
        6 => btree_map(id.clone(), row, 1..120).prop_map(|rows| Step::Flush(rows.into_iter().collect())),
        1 => (id, vec(any::<u8>(), 0..30)).prop_map(|(id, value)| Step::FlushStrange(id, value)),
        2 => Just(Step::Compact),
    ]
}

fn any_range() -> impl Strategy<Value = KeyRange> {
    let key =
        || (-60i64..160).prop_map(|id| towns().encode_key_values(&[Value::Int64(id)]).unwrap());
    let bound = move || {
        prop_oneof![
            Just(Bound::Unbounded),
            key().prop_map(Bound::Included),
            key().prop_map(Bound::Excluded),
            vec(any::<u8>(), 0..4).prop_map(Bound::Included),
        ]
    };
    (bound(), bound()).prop_map(|(start, end)| KeyRange { start, end })
}

fn any_selection() -> impl Strategy<Value = Selection> {
    let schema = towns();
    let condition = (0..schema.columns.len(), 0u8..=9).prop_flat_map(|(position, code)| {
        let kind = towns().columns[position].kind;
        let cell = any_cell(kind).prop_filter("null", |value| *value != Value::Null);
        let values = vec(cell, 1..4);
        (Just(position), Just(code), values)
    });
    let projection = proptest::option::of(vec(0..schema.columns.len(), 0..5));
    (vec(condition, 0..3), projection).prop_map(|(conditions, projection)| {
        let schema = towns();
        let conditions = conditions.into_iter().filter_map(|(position, code, mut values)| {
            let comparison = Comparison::try_from(code).unwrap();
            if comparison != Comparison::In {
                values.truncate(1);
            }
            Condition::at(&schema, position, comparison, values).ok()
        });
        let conditions = conditions.collect();
        let projection = projection.map(|positions| Projection::at(&schema, positions).unwrap());
        Selection::new(schema, projection, conditions).unwrap()
    })
}

/// The table after `steps`, as it should be and as it is.
fn live(steps: Vec<Step>, options: &Options, with_strange: bool) -> (Model, Vec<Segment>) {
    let schema = towns();
    let (mut model, mut segments) = (Model::new(), Vec::new());
    for step in steps {
        let mut run = Model::new();
        match step {
            Step::Flush(rows) => {
                for (id, cells) in rows {
                    let row = |cells: Vec<Value>| [&[Value::Int64(id)], &cells[..]].concat();
                    let value = cells.map(|cells| schema.encode_row(&row(cells)).unwrap());
                    run.insert(schema.encode_key_values(&[Value::Int64(id)]).unwrap(), value);
                }
            }
            Step::FlushStrange(id, value) if with_strange => {
                run.insert(schema.encode_key_values(&[Value::Int64(id)]).unwrap(), Some(value));
            }
            Step::FlushStrange(..) => {}
            Step::Compact => {
                compact(options, &mut segments);
            }
        }
        let flushed = flush(options, &segments, &run);
        segments.extend(flushed);
        model.extend(run);
    }
    (model, segments)
}

fn living(model: &Model) -> Rows {
    let rows = model.iter().filter(|(_, value)| value.is_some());
    rows.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Compares everything that can be asked with the model.
fn check(
    model: &Model,
    segments: &[Segment],
    range: &KeyRange,
    selection: Option<&Selection>,
    rows_max: usize,
) -> std::result::Result<(), TestCaseError> {
    let reader = TableReader::new(segments.to_vec());
    let mut keys: Vec<_> = model.keys().cloned().collect();
    keys.push(b"absent".to_vec());
    keys.reverse();
    for (key, answer) in keys.iter().zip(reader.multi_get(&keys).unwrap()) {
        // A merge down to the oldest segment forgets tombstones: deleted and absent read alike.
        let value = if let Lookup::Found(value) = answer { Some(value) } else { None };
        prop_assert_eq!(&value, &model.get(key).cloned().flatten(), "{:?}", key);
    }
    let mut expected = living(model);
    expected.retain(|(key, _)| range.contains(key));
    let mut found = scan(&reader, range, false, None).unwrap();
    let mut reversed = scan(&reader, range, true, None).unwrap();
    reversed.reverse();
    prop_assert_eq!(&found, &reversed);
    found.retain(|(_, value)| value.is_some());
    prop_assert_eq!(&found, &expected);
    let Some(selection) = selection else { return Ok(()) };
    let mut selected = Rows::new();
    let mut values = Vec::new();
    let schema = selection.schema();
    for (key, value) in expected {
        let value = value.unwrap();
        if let Some(given) = selection.apply(&key, value.clone().into()).unwrap() {
            selected.push((key.clone(), Some(given.to_vec())));
            let row = schema.decode(&key, &value).unwrap();
            let all = (0..row.len()).collect::<Vec<_>>();
            let positions =
                selection.projection().map_or(&all[..], |projection| projection.positions());
            values.push((
                key,
                positions.iter().map(|position| row[*position].clone()).collect::<Vec<_>>(),
            ));
        }
    }
    prop_assert_eq!(&scan(&reader, range, false, Some(selection)).unwrap(), &selected);
    let mut reversed = scan(&reader, range, true, Some(selection)).unwrap();
    reversed.reverse();
    prop_assert_eq!(&reversed, &selected);
    let mut cursor = reader.scan_columns(range, selection).unwrap();
    let mut at = 0;
    while let Some(batch) = cursor.next_batch(rows_max, 2_000).unwrap() {
        prop_assert!(batch.rows() <= rows_max);
        for row in 0..batch.rows() {
            let (key, expected) = &values[at];
            for (index, value) in expected.iter().enumerate() {
                prop_assert_eq!(&batch.value(index, row), value);
            }
            prop_assert!(batch.through().is_none_or(|through| &key[..] <= through));
            at += 1;
        }
        let ended = batch.through().is_none();
        let rest = values.get(at).map(|(key, _)| &key[..]);
        prop_assert!(batch.through().is_none_or(|through| rest.is_none_or(|rest| through < rest)));
        prop_assert!(!ended || (rest.is_none() && cursor.next_batch(1, 1).unwrap().is_none()));
    }
    prop_assert_eq!(at, values.len());
    Ok(())
}

#[test]
fn a_scan_that_finds_nothing_says_how_far_it_is() {
    let schema = towns();
    let rows = town_rows(0..30_000);
    let reader = TableReader::new(vec![open(one(&typed(), &rows))]);
    // There is no such town, but every block may have it.
    let nowhere =
        Condition::new(&schema, "town", Comparison::Equal, Value::String("town of 1x".into()));
    let selection = Selection::new(schema, None, vec![nowhere.unwrap()]).unwrap();
    for reverse in [false, true] {
        let mut cursor = reader.scan(&KeyRange::all(), reverse, Some(&selection)).unwrap();
        cursor.look_at_most(5_000);
        let mut marks = Vec::new();
        while let Some((key, value)) = cursor.next_row().unwrap() {
            assert_eq!(value, None);
            assert!(rows.contains_key(key));
            marks.push(key.to_vec());
        }
        assert!((3..=6).contains(&marks.len()), "{} marks", marks.len());
        assert!(marks.is_sorted_by(|a, b| if reverse { b < a } else { a < b }));
    }
}

#[test]
fn a_table_of_many_blocks_and_levels_reads_as_the_model_does() {
    let options = typed().with_segment_bytes(150_000);
    let schema = towns();
    let (mut model, mut segments) = (Model::new(), Vec::new());
    let newer = |step: usize, ids: std::ops::Range<i64>, by: i64| -> Model {
        let row = |id: i64| {
            let mut row = town(id);
            row[2] = Value::Int64(id * by % 700);
            let dead = id % 13 == by % 13;
            (schema.encode_key(&row).unwrap(), (!dead).then(|| schema.encode_row(&row).unwrap()))
        };
        ids.step_by(step).map(row).collect()
    };
    let runs = [
        town_rows(0..25_000),
        newer(3, 0..25_000, 1),
        newer(1, 9_000..14_000, 2),
        newer(250, 0..30_000, 3),
        newer(7, 5_000..21_000, 4),
        newer(1, 24_000..32_000, 5),
    ];
    let key = |id: i64| schema.encode_key_values(&[Value::Int64(id)]).unwrap();
    let ranges = [
        KeyRange::all(),
        KeyRange { start: Bound::Excluded(key(8_999)), end: Bound::Included(key(14_100)) },
        KeyRange::from(key(20_000)..),
    ];
    let condition = |column: &str, comparison, value| {
        Condition::new(&schema, column, comparison, value).unwrap()
    };
    let few = || condition("people", Comparison::Less, Value::Int64(9));
    let early = condition("founded", Comparison::Less, Value::Timestamp(700_000_000_000));
    let ids = condition("id", Comparison::GreaterOrEqual, Value::Int64(12_000));
    let select = |columns: &[&str], conditions| {
        let projection = Projection::new(&schema, columns).unwrap();
        Selection::new(schema.clone(), Some(projection), conditions).unwrap()
    };
    let selections = [
        select(&["town", "id", "area"], vec![few()]),
        select(&["people"], vec![early]),
        select(&["id", "seal", "place", "is_port"], vec![ids, few()]),
        select(&["people", "town"], vec![]),
    ];
    for (number, run) in runs.into_iter().enumerate() {
        let flushed = flush(&options, &segments, &run);
        segments.extend(flushed);
        model.extend(run);
        if number % 2 == 1 {
            while compact(&options, &mut segments) {}
        }
        for (index, selection) in selections.iter().enumerate() {
            let range = &ranges[(index + number) % ranges.len()];
            check(&model, &segments, range, Some(selection), 900 * index + 50).unwrap();
        }
    }
    assert!(5 < segments.len(), "{} segments", segments.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_life_of_a_typed_table_reads_as_the_model_does(
        steps in vec(any_step(), 1..12),
        ranges in vec((any_range(), any_selection()), 3),
        rows_max in 1usize..60,
    ) {
        let options = typed().with_segment_bytes(6_000);
        let (model, mut segments) = live(steps, &options, false);
        for settled in [false, true] {
            while settled && compact(&options, &mut segments) {}
            for (range, selection) in &ranges {
                check(&model, &segments, range, Some(selection), rows_max)?;
            }
        }
    }

    #[test]
    fn any_life_of_a_table_of_bytes_reads_as_the_model_does(
        steps in vec(any_step(), 1..12), range in any_range(),
    ) {
        let options = plain().with_segment_bytes(6_000);
        let (model, mut segments) = live(steps, &options, true);
        check(&model, &segments, &range, None, 1)?;
        while compact(&options, &mut segments) {}
        check(&model, &segments, &range, None, 1)?;
    }

    #[test]
    fn a_table_that_has_rows_which_are_none_of_its_schema_reads_the_others(
        steps in vec(any_step(), 1..8), range in any_range(),
    ) {
        let options = typed().with_segment_bytes(6_000);
        let (model, mut segments) = live(steps, &options, true);
        while compact(&options, &mut segments) {}
        check(&model, &segments, &range, None, 1)?;
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = SegmentReader::open(Memory(bytes));
    }
}

//! `lscs`, compiled natively: segments of orders, and every encoding of a column.

use super::data::{order, orders, schema, text};
use super::{Micro, Run};
use fastrand::Rng;
use sochdb_encoding::codec::Reader;
use sochdb_encoding::columns::ColumnBuilder;
use sochdb_encoding::range::KeyRange;
use sochdb_encoding::row::{ColumnType, Value};
use sochdb_encoding::select::{Comparison, Condition, Projection, Selection};
use sochdb_plugin_lscs::column::{Chunk, Encoder};
use sochdb_plugin_lscs::merge::merge;
use sochdb_plugin_lscs::options::Options;
use sochdb_plugin_lscs::pieces::PieceWriter;
use sochdb_plugin_lscs::read::{Lookup, TableReader};
use sochdb_plugin_lscs::segment::{Properties, SegmentReader};
use sochdb_plugin_lscs::{Error, PieceSink, Result, SegmentSink, SegmentSource};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

/// Orders in a table.
const ROWS: u64 = 4_000;
/// Rows of a chunk.
const CHUNK_ROWS: usize = 4_096;

pub(super) const MICROS: &[Micro] = &[
    Micro::new("lscs.write-4000-rows", 1, write),
    Micro::new("lscs.merge-4000-rows", 1, merge_two),
    Micro::new("lscs.get", 100, get),
    Micro::new("lscs.scan-rows", ROWS, scan_rows),
    Micro::new("lscs.scan-2-columns", ROWS, || scan_columns(false)),
    Micro::new("lscs.scan-with-condition", ROWS, || scan_columns(true)),
    Micro::new("column.encode-ints", CHUNK_ROWS as u64, || encode(packed())),
    Micro::new("column.encode-strings", CHUNK_ROWS as u64, || encode(symbols())),
    Micro::new("column.decode-plain", CHUNK_ROWS as u64, || decode("plain", plain())),
    Micro::new("column.decode-runs", CHUNK_ROWS as u64, || decode("runs", runs())),
    Micro::new("column.decode-packed", CHUNK_ROWS as u64, || decode("packed", packed())),
    Micro::new("column.decode-delta", CHUNK_ROWS as u64, || decode("delta", delta())),
    Micro::new("column.decode-dictionary", CHUNK_ROWS as u64, || {
        decode("dictionary", dictionary())
    }),
    Micro::new("column.decode-decimal", CHUNK_ROWS as u64, || decode("decimal", decimal())),
    Micro::new("column.decode-symbols", CHUNK_ROWS as u64, || decode("symbols", symbols())),
];

/// The segments that a table has before its first flush.
const NONE: &[Properties] = &[];

/// A segment in memory.
#[derive(Debug, Clone, Default)]
struct Memory(Vec<u8>);

impl SegmentSink for Memory {
    fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let offset = self.0.len() as u64;
        self.0.extend_from_slice(bytes);
        Ok(offset)
    }
}

impl SegmentSource for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, len: u32) -> Result<Vec<u8>> {
        let bytes = self.0.get(offset as usize..).and_then(|rest| rest.get(..len as usize));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| Error::Unavailable("past the end".to_owned()))
    }
}

/// Segments in memory.
#[derive(Default)]
struct Folder(Vec<Memory>);

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

fn options() -> Options {
    Options::new(Some(schema()), &BTreeMap::new()).expect("no options")
}

fn written(options: &Options, rows: &[(Vec<u8>, Vec<u8>)]) -> Memory {
    let mut folder = Folder::default();
    let mut writer = PieceWriter::new(options, NONE, &mut folder);
    for (key, value) in rows {
        writer.push(key, Some(value)).expect("sorted rows");
    }
    writer.finish().expect("memory does not fail");
    folder.0.pop().expect("one is enough for so few rows")
}

fn opened(segment: Memory) -> Arc<SegmentReader<Memory>> {
    Arc::new(SegmentReader::open(segment).expect("it was just written"))
}

fn write() -> Run {
    let (options, rows) = (options(), orders(ROWS, 1).1);
    Box::new(move || {
        black_box(written(&options, &rows));
    })
}

fn merge_two() -> Run {
    let options = options();
    let segments = [1, 3].map(|step| opened(written(&options, &orders(ROWS, step).1)));
    Box::new(move || {
        merge(&segments, true, &options, &mut Folder::default()).expect("memory does not fail");
    })
}

fn table() -> TableReader<Memory> {
    TableReader::new(vec![opened(written(&options(), &orders(ROWS, 1).1))])
}

fn get() -> Run {
    let (table, schema) = (table(), schema());
    let key = |number: u64| schema.encode_key(&order(number * 37)).expect("a key");
    let keys: Vec<Vec<u8>> = (0..100).map(key).collect();
    let run = move || {
        for key in &keys {
            let found = table.multi_get(std::slice::from_ref(key)).expect("sound segments");
            assert!(matches!(black_box(&found[..]), [Lookup::Found(_)]));
        }
    };
    // Heads and blocks are in its cache afterwards.
    run();
    Box::new(run)
}

fn scan_rows() -> Run {
    let table = table();
    Box::new(move || {
        let mut rows = table.scan(&KeyRange::all(), false, None).expect("no selection");
        let mut seen = 0;
        while let Some(row) = rows.next_row().expect("sound segments") {
            black_box(row);
            seen += 1;
        }
        assert_eq!(seen, ROWS);
    })
}

fn scan_columns(with_condition: bool) -> Run {
    let (table, schema) = (table(), schema());
    let projection = Projection::new(&schema, &["price", "status"]).expect("it has them");
    let fifth = || Condition::new(&schema, "status", Comparison::Equal, Value::Int64(3));
    let conditions = with_condition.then(|| fifth().expect("it is a number")).into_iter().collect();
    let selection = Selection::new(schema.clone(), Some(projection), conditions).expect("few");
    Box::new(move || {
        let mut columns = table.scan_columns(&KeyRange::all(), &selection).expect("a selection");
        let mut seen = 0;
        while let Some(batch) = columns.next_batch(1_024, 1 << 20).expect("sound segments") {
            seen += black_box(batch).rows() as u64;
        }
        assert!(if with_condition { (1..ROWS).contains(&seen) } else { seen == ROWS });
    })
}

/// A column of what `value` makes of each row's number and its random numbers.
fn column(kind: ColumnType, mut value: impl FnMut(usize, &mut Rng) -> Value) -> ColumnBuilder {
    let (mut rng, mut column) = (Rng::with_seed(7), ColumnBuilder::new(kind));
    for row in 0..CHUNK_ROWS {
        column.push(&value(row, &mut rng)).expect("a value of its type");
    }
    column
}

fn plain() -> ColumnBuilder {
    column(ColumnType::Int64, |_, rng| Value::Int64(rng.i64(..)))
}

fn runs() -> ColumnBuilder {
    column(ColumnType::Int64, |row, _| Value::Int64((row / 200 * 7919 % 1_000) as i64))
}

fn packed() -> ColumnBuilder {
    column(ColumnType::Int64, |_, rng| Value::Int64(rng.i64(0..1_000_000)))
}

fn delta() -> ColumnBuilder {
    column(ColumnType::Timestamp, |row, rng| {
        Value::Timestamp(1_735_689_600_000_000 + row as i64 * 1_000_000 + rng.i64(0..100))
    })
}

fn dictionary() -> ColumnBuilder {
    column(ColumnType::String, |_, rng| Value::String(format!("country {}", rng.u32(0..40))))
}

fn decimal() -> ColumnBuilder {
    column(ColumnType::Float64, |_, rng| Value::Float64(f64::from(rng.u32(..100_000)) / 100.0))
}

fn symbols() -> ColumnBuilder {
    column(ColumnType::String, |_, rng| Value::String(text(rng)))
}

fn encode(column: ColumnBuilder) -> Run {
    Box::new(move || {
        black_box(Encoder::new(false).encode(&column));
    })
}

/// Decodes a chunk of `column`, for which the encoder takes the encoding `name`.
fn decode(name: &str, column: ColumnBuilder) -> Run {
    let (bytes, kind) = (Encoder::new(false).encode(&column), column.kind());
    let chunk = move |bytes: &[u8], read: &mut dyn FnMut(Chunk<'_>)| {
        let reader = Reader::new("memory", 0, bytes);
        read(Chunk::open(kind, CHUNK_ROWS, reader, 1 << 20).expect("it was just encoded"));
    };
    chunk(&bytes, &mut |chunk| assert_eq!(chunk.encoding(), name, "of what is to be decoded"));
    Box::new(move || {
        chunk(&bytes, &mut |chunk| {
            let mut out = ColumnBuilder::new(kind);
            chunk.decode(0..CHUNK_ROWS, &mut out).expect("there is room");
            black_box(out);
        });
    })
}

use super::*;
use sochdb_kernel::{Column, ColumnType, ErrorKind};

fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn tables() -> Vec<(DumpTable, DumpRows)> {
    let column =
        |name: &str, kind| Column { name: name.into(), kind, nullable: false, default: None };
    let columns = vec![column("id", ColumnType::Int64), column("v", ColumnType::Vector(2))];
    let typed = TableOptions {
        storage: Some("lscs".to_owned()),
        codec: Some("lz4".to_owned()),
        schema: Some(Schema::new(columns, &["id"]).unwrap()),
        settings: settings(&[("block", "1"), ("ttl", "30d")]),
    };
    let indexes = vec![("meaning".to_owned(), settings(&[("column", "v"), ("m", "8")]))];
    let rows = |count: u32| {
        let row = |n: u32| (n.to_be_bytes().to_vec(), vec![n as u8; n as usize % 300]);
        (0..count).map(row).collect()
    };
    vec![
        (DumpTable { name: "docs".into(), options: typed, indexes }, rows(3)),
        (DumpTable { name: "empty".into(), ..DumpTable::default() }, Vec::new()),
        (DumpTable { name: "many".into(), ..DumpTable::default() }, rows(8000)),
    ]
}

fn write(tables: &[(DumpTable, DumpRows)]) -> Vec<u8> {
    let mut writer = DumpWriter::new(Vec::new()).unwrap();
    for (table, rows) in tables {
        writer.table(table).unwrap();
        rows.iter().for_each(|(key, value)| writer.row(key, value).unwrap());
        writer.table_end().unwrap();
    }
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> KernelResult<Vec<(DumpTable, DumpRows)>> {
    let mut reader = DumpReader::new("f.sochdump", bytes)?;
    let mut tables: Vec<(DumpTable, DumpRows)> = Vec::new();
    while let Some(item) = reader.next()? {
        match item {
            DumpItem::Table(table) => tables.push((table, Vec::new())),
            DumpItem::Rows(mut rows) => tables.last_mut().unwrap().1.append(&mut rows),
            DumpItem::TableEnd { .. } => {}
            DumpItem::End { tables: count } => assert_eq!(count, tables.len() as u64),
        }
    }
    Ok(tables)
}

#[test]
fn what_was_written_is_read() {
    let bytes = write(&tables());
    assert!(3 * FRAME_BYTES < bytes.len(), "rows of several frames");
    assert!(read(&bytes).unwrap() == tables());
    assert!(read(&write(&[])).unwrap().is_empty());
}

#[test]
fn any_cut_is_noticed() {
    let bytes = write(&tables());
    let ends = (0..600).chain((600..bytes.len()).step_by(997)).chain([bytes.len() - 1]);
    for length in ends {
        let error = read(&bytes[..length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{length} {error}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(read(&longer).unwrap_err().to_string().contains("the end of the file"));
}

#[test]
fn any_flipped_bit_is_noticed() {
    let few = &tables()[..2];
    let bytes = write(few);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1 << bit;
            let error = read(&wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at} bit {bit}: {error}");
        }
    }
}

/// Where frames begin, and where the last one ends.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut at = vec![12];
    while *at.last().unwrap() < bytes.len() {
        let start = *at.last().unwrap();
        let len = u32::from_le_bytes(bytes[start + 4..start + 8].try_into().unwrap());
        at.push(start + HEADER_BYTES + len as usize);
    }
    at
}

#[test]
fn a_frame_that_is_lost_doubled_or_moved_is_noticed() {
    let bytes = write(&tables());
    let at = frames(&bytes);
    for pair in at.windows(2) {
        let (start, end) = (pair[0], pair[1]);
        let lost = [&bytes[..start], &bytes[end..]].concat();
        let doubled = [&bytes[..end], &bytes[start..]].concat();
        for wrong in [lost, doubled] {
            assert_eq!(read(&wrong).unwrap_err().kind(), ErrorKind::Corrupt, "{start}");
        }
    }
}

#[test]
fn keys_that_do_not_grow_are_refused() {
    let (mut table, row) = (tables().remove(1), |key: &[u8]| (key.to_vec(), Vec::new()));
    table.1 = vec![row(b"b"), row(b"a")];
    assert!(
        read(&write(&[table])).unwrap_err().to_string().contains("a key behind the one before")
    );
}

#[test]
fn the_bytes_are_these() {
    let indexes = vec![("i".to_owned(), settings(&[("column", "c")]))];
    let options = TableOptions { codec: Some("lz4".into()), ..TableOptions::default() };
    let table = DumpTable { name: "t".into(), options, indexes };
    let bytes = write(&[(table, vec![(b"k".to_vec(), b"v".to_vec())])]);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let at = frames(&bytes);
    let crc = |frame: usize| &hex[2 * at[frame]..2 * at[frame] + 8];
    let expected = [
        "534f434844554d50",
        "01000000", // magic, version
        crc(0),
        "17000000",
        "0000000000000000",
        "01", // a table
        "0174",
        "00",
        "01036c7a34",
        "00",
        "00",
        "01",
        "0169",
        "01",
        "06636f6c756d6e",
        "0163",
        crc(1),
        "04000000",
        "0100000000000000",
        "02",
        "016b",
        "0176", // a row
        crc(2),
        "08000000",
        "0200000000000000",
        "03",
        "0100000000000000",
        crc(3),
        "08000000",
        "0300000000000000",
        "04",
        "0100000000000000",
    ];
    assert_eq!(hex, expected.concat());
}

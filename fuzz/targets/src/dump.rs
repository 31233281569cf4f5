//! A dump in binary, as `load` reads it.

use crate::allocation::bounded;
use sochdb_encoding::codec::crc;
use sochdb_kernel::{Column, ColumnType, Schema, TableOptions};
use sochdb_operations::{DUMP_MAGIC, DumpItem, DumpReader, DumpTable, DumpWriter};
use std::collections::BTreeMap;

/// What errors and a schema take.
const CONSTANT: usize = 8 << 20;
/// The head of a dump, and of a frame.
const HEAD: usize = 12;
const FRAME: usize = 17;

/// `data` as a dump whose frames are numbered and have checksums that hold.
fn sealed(data: &[u8]) -> Vec<u8> {
    let mut file =
        [&DUMP_MAGIC[..], &1_u32.to_le_bytes(), data.get(HEAD..).unwrap_or_default()].concat();
    let (mut at, mut number) = (HEAD, 0_u64);
    while let Some(len) = file.get(at + 4..at + 8) {
        let len = u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
        let end = at.saturating_add(FRAME).saturating_add(len);
        if file.len() < end {
            break;
        }
        file[at + 8..at + 16].copy_from_slice(&number.to_le_bytes());
        let sum = crc(&file[at + 4..end]);
        file[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        (at, number) = (end, number + 1);
    }
    file
}

/// A dump that says anything about itself is read to its end, or it is said why not; whatever was given of a table
/// that ended was counted.
pub fn dump(data: &[u8]) {
    for file in [data.to_vec(), sealed(data)] {
        bounded(file.len(), CONSTANT, || {
            let Ok(mut reader) = DumpReader::new("dump", &file[..]) else { return };
            let (mut rows, mut tables) = (0, 0);
            while let Ok(Some(item)) = reader.next() {
                match item {
                    DumpItem::Table(_) => (rows, tables) = (0, tables + 1),
                    DumpItem::Rows(some) => rows += some.len() as u64,
                    DumpItem::TableEnd { rows: said } => assert_eq!(said, rows),
                    DumpItem::End { tables: said } => assert_eq!(said, tables),
                }
            }
        });
    }
}

pub fn dump_seeds() -> Vec<Vec<u8>> {
    let column = |name: &str| Column {
        name: name.to_owned(),
        kind: ColumnType::Int64,
        nullable: false,
        default: None,
    };
    let schema = Schema::new(vec![column("id"), column("n")], &["id"]).expect("a schema");
    let settings = BTreeMap::from([("column".to_owned(), "n".to_owned())]);
    let options = TableOptions {
        storage: Some("lscs".to_owned()),
        schema: Some(schema),
        settings: settings.clone(),
        ..TableOptions::default()
    };
    let indexes = vec![("i".to_owned(), settings)];
    let mut writer = DumpWriter::new(Vec::new()).expect("memory");
    for name in ["typed", "other"] {
        let table =
            DumpTable { name: name.to_owned(), options: options.clone(), indexes: indexes.clone() };
        writer.table(&table).expect("memory");
        for key in 0..5_u8 {
            writer.row(&[key], &[key; 9]).expect("memory");
        }
        writer.table_end().expect("memory");
    }
    vec![writer.finish().expect("memory")]
}

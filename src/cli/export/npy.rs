//! A column of vectors as NumPy loads it: an array of `<f4`, a row for each vector, in the order of the keys.
//!
//! | offset | size | field    | meaning                                                                   |
//! |-------:|-----:|----------|---------------------------------------------------------------------------|
//! |      0 |    6 | magic    | `\x93NUMPY`                                                               |
//! |      6 |    2 | version  | 1, 0                                                                      |
//! |      8 |    2 | length   | u16, of the header; with the ten bytes before it a multiple of 64         |
//! |     10 |    n | header   | `{'descr': '<f4', 'fortran_order': False, 'shape': (rows, dim), }`, blanks and a line's end |
//! |        |      | numbers  | f32, row by row                                                           |
//!
//! Everything is little-endian. The keys are not in the file: a row's number is its place in their order.

use crate::cli::cancel;
use crate::cli::failure::{Failure, Outcome};
use sochdb::{ColumnType, ColumnView, Condition, Schema, Transaction};
use std::io::Write;

const START: &[u8; 8] = b"\x93NUMPY\x01\x00";
const ALIGNMENT: usize = 64;

/// The column of vectors that is written: the one that is named, or the only one there is.
pub fn column<'a>(
    schema: Option<&'a Schema>,
    named: &[String],
    table: &str,
) -> Outcome<(&'a str, u32)> {
    let help = "name one with --columns";
    let all = schema.map(|schema| schema.columns.as_slice()).unwrap_or_default();
    let wanted = all.iter().filter(|c| named.is_empty() || named.contains(&c.name));
    let vectors = wanted.filter_map(|column| match column.kind {
        ColumnType::Vector(dim) => Some((column.name.as_str(), dim)),
        _ => None,
    });
    match vectors.collect::<Vec<_>>()[..] {
        [vector] if named.len() <= 1 => Ok(vector),
        [] => {
            Err(Failure::invalid(format!("table '{table}' has no such column of vectors"))
                .help(help))
        }
        _ => Err(Failure::invalid("an .npy file holds one column of vectors").help(help)),
    }
}

/// Writes the vectors of the rows that fulfil `conditions`, and returns how many there were.
pub fn write(
    tx: &Transaction,
    table: &str,
    (column, dim): (&str, u32),
    conditions: &[Condition],
    out: &mut dyn Write,
    each: &mut dyn FnMut(u64),
) -> Outcome<u64> {
    // The header says how many there are, and the same snapshot is read again.
    let mut rows = 0;
    for batch in tx.scan_columns(table, .., &[column], conditions.to_vec())? {
        cancel::check()?;
        rows += batch?.rows() as u64;
    }
    out.write_all(&header(rows, dim))?;
    let mut done = 0;
    for batch in tx.scan_columns(table, .., &[column], conditions.to_vec())? {
        cancel::check()?;
        let batch = batch?;
        if let Some(row) = (0..batch.rows()).find(|row| batch.is_null(0, *row)) {
            let text = format!(
                "column '{column}' is null in row {}, and an .npy file knows no null",
                done + row as u64
            );
            return Err(Failure::invalid(text).help("write Parquet or Arrow instead"));
        }
        if let ColumnView::Vector { floats, .. } = batch.view(0) {
            let bytes: Vec<u8> = floats.iter().flat_map(|number| number.to_le_bytes()).collect();
            out.write_all(&bytes)?;
        }
        done += batch.rows() as u64;
        each(done);
    }
    Ok(done)
}

fn header(rows: u64, dim: u32) -> Vec<u8> {
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let blanks = (START.len() + 2 + text.len() + 1).next_multiple_of(ALIGNMENT);
    text += &" ".repeat(blanks - START.len() - 2 - text.len() - 1);
    text.push('\n');
    let length = u16::try_from(text.len()).expect("two numbers and some words");
    [&START[..], &length.to_le_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_what_numpy_writes() {
        let header = header(20, 384);
        assert_eq!(header.len(), 128);
        assert_eq!(&header[..10], b"\x93NUMPY\x01\x00\x76\x00");
        let text = String::from_utf8(header[10..].to_vec()).unwrap();
        assert!(
            text.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (20, 384), }  ")
        );
        assert!(text.ends_with(" \n"));
    }
}

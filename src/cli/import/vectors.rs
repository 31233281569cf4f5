//! Files of vectors: rows of as many numbers each, one behind the other. A row's key is its number.
//!
//! | format   | layout, all little-endian                                                                  |
//! |----------|--------------------------------------------------------------------------------------------|
//! | `f32bin` | u32 count, u32 dimensions, then the numbers of all rows as f32                             |
//! | `fvecs`  | for each row u32 dimensions, the same in all, and its numbers as f32                       |
//! | `npy`    | `\x93NUMPY`, u8 major, u8 minor, u16 (u32 from major 2 on) length of a header, which is a  |
//! |          | Python dictionary of `descr`, `fortran_order` and `shape`, then the numbers                |
//!
//! Of `npy`, arrays of one row a vector (`shape` is two numbers, not in Fortran order) of `<f4` or `<f2` are read.
//! The file is read forwards, a row at a time, and must end where its header or its last row says.

use super::format_of;
use super::row::{Position, Row, Rows};
use crate::cli::args::{Format, Shape};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::screen::thousands;
use crate::cli::tables::{schema_with_key, table_options};
use crate::cli::text::{KeyValue, parse_column};
use half::f16;
use sochdb::index::definition::DIM_MAX;
use sochdb::{Column, ColumnType, Schema, TableOptions, Value};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// An `npy` header is a line; this is far more than NumPy writes.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// The columns of a table that is made for vectors.
const KEY: &str = "id";
const VECTOR: &str = "vector";

/// Whether files of this format hold vectors.
pub fn is_of_vectors(format: Format) -> bool {
    matches!(format, Format::Npy | Format::Fvecs | Format::F32bin)
}

/// Every vector of a file, whose name says its format.
pub fn read_vectors(file: &Path) -> Outcome<Vec<Vec<f32>>> {
    let (format, _) = format_of(file, None)?;
    if !is_of_vectors(format) {
        let text = format!("{} is not a file of vectors", file.display());
        return Err(Failure::invalid(text).help("its name ends with .npy, .fvecs or .f32bin"));
    }
    let mut source = Source::open(file, format)?;
    let mut vectors = Vec::new();
    while let Some(vector) = source.next_vector()? {
        vectors.push(vector);
    }
    Ok(vectors)
}

/// Where a vector goes in the rows of a table.
struct Columns {
    schema: Schema,
    /// What all rows have in their other columns; key and vector are put in their places.
    row: Vec<Value>,
    key: usize,
    vector: usize,
}

impl Columns {
    fn of(schema: Option<&Schema>, dim: u32, table: &str) -> Outcome<Columns> {
        let untyped = || Failure::invalid(format!("table '{table}' is untyped: it has no vectors"));
        let schema = schema.ok_or_else(untyped)?.clone();
        let [key] = schema.key[..] else {
            let text = format!("the keys of table '{table}' have several parts");
            return Err(Failure::invalid(text).help("a row's key is its number: one int64 column"));
        };
        if schema.columns[key].kind != ColumnType::Int64 {
            let Column { name, kind, .. } = &schema.columns[key];
            let text = format!("the key '{name}' of table '{table}' is {kind}, not int64");
            return Err(Failure::invalid(text).help("a row's key is its number in the file"));
        }
        let is_vector =
            |column: &&usize| matches!(schema.columns[**column].kind, ColumnType::Vector(_));
        let positions: Vec<_> = (0..schema.columns.len()).collect();
        let vectors: Vec<_> = positions.iter().filter(is_vector).copied().collect();
        let [vector] = vectors[..] else {
            let text = format!("table '{table}' has {} columns of vectors, not one", vectors.len());
            return Err(Failure::invalid(text));
        };
        let Column { name, kind, .. } = &schema.columns[vector];
        if *kind != ColumnType::Vector(dim) {
            let text = format!("column '{name}' is {kind}, the file has vector({dim})");
            return Err(Failure::invalid(text));
        }
        let others = schema.columns.iter().enumerate().map(|(position, column)| {
            match (&column.default, column.nullable) {
                _ if position == key || position == vector => Ok(Value::Null),
                (Some(default), _) => Ok(default.clone()),
                (None, true) => Ok(Value::Null),
                (None, false) => Err(Failure::invalid(format!(
                    "column '{}' of table '{table}' allows no null, and a file of vectors has nothing for it",
                    column.name
                ))),
            }
        });
        let row = others.collect::<Outcome<_>>()?;
        Ok(Columns { schema, row, key, vector })
    }

    fn encode(&self, number: u64, vector: Vec<f32>) -> Outcome<KeyValue> {
        let mut row = self.row.clone();
        row[self.key] = Value::Int64(i64::try_from(number).expect("rows of a file are fewer"));
        row[self.vector] = Value::Vector(vector);
        Ok((self.schema.encode_key(&row)?, self.schema.encode_row(&row)?))
    }
}

/// A file of vectors being read.
pub struct Source {
    name: String,
    format: Format,
    input: Box<dyn Read + Send>,
    /// The file, where one can go to a place in it.
    seekable: Option<File>,
    columns: Option<Columns>,
    bytes_total: Option<u64>,
    bytes_read: u64,
    dim: u32,
    /// Bytes of one number.
    width: usize,
    /// Rows that were read, and rows that there are if the file says so.
    rows: u64,
    rows_total: Option<u64>,
    /// The first row of a file whose rows say how long they are: its length was read.
    is_ahead: bool,
}

impl Source {
    /// Opens the file at `path`, or standard input for `-`.
    pub fn open(path: &Path, format: Format) -> Outcome<Source> {
        if path == Path::new("-") {
            return Source::new("standard input".into(), format, Box::new(io::stdin()), None);
        }
        let (name, file, bytes) = super::open_file(path, "vectors")?;
        let cannot = |error| Failure::io(format!("cannot read {name}"), &error);
        let seekable = bytes.map(|_| file.try_clone()).transpose().map_err(cannot)?;
        Ok(Source { seekable, ..Source::new(name, format, Box::new(file), bytes)? })
    }

    fn new(
        name: String,
        format: Format,
        input: Box<dyn Read + Send>,
        bytes_total: Option<u64>,
    ) -> Outcome<Source> {
        let input = Box::new(BufReader::with_capacity(256 << 10, input));
        let mut source = Source {
            name,
            format,
            input,
            seekable: None,
            columns: None,
            bytes_total,
            bytes_read: 0,
            dim: 0,
            width: 4,
            rows: 0,
            rows_total: None,
            is_ahead: false,
        };
        match format {
            Format::Npy => source.npy_header()?,
            Format::Fvecs => {
                let dim = source.u32_or_end()?;
                let empty = || source.wrong("it is empty, so nothing says its dimensions".into());
                source.dim = dim.ok_or_else(empty)?;
                source.is_ahead = true;
            }
            _ => {
                source.rows_total = Some(u64::from(source.u32("the number of rows")?));
                source.dim = source.u32("the dimensions")?;
            }
        }
        if source.dim == 0 || DIM_MAX < source.dim {
            let dim = source.dim;
            let what = format!("its rows would have {dim} dimensions; a vector has 1 to {DIM_MAX}");
            return Err(source.wrong(what));
        }
        source.check_length()?;
        Ok(source)
    }

    /// Compares what the header says with the length of the file, before anything is imported.
    fn check_length(&self) -> Outcome {
        let (Some(bytes), Some(rows)) = (self.bytes_total, self.rows_total) else { return Ok(()) };
        let row = u64::from(self.dim) * self.width as u64;
        let wanted = rows.checked_mul(row).and_then(|data| data.checked_add(self.bytes_read));
        if wanted == Some(bytes) {
            return Ok(());
        }
        let wanted = wanted.map_or("more than can be".to_owned(), thousands);
        let dim = self.dim;
        Err(self.wrong(format!(
            "its header says {} rows of {dim} dimensions, which take {wanted} bytes; it has {}",
            thousands(rows),
            thousands(bytes)
        )))
    }

    fn wrong(&self, what: String) -> Failure {
        Failure::invalid(format!("{}: {what}", self.name))
    }

    /// Fills `bytes`; `false` when the file ended before the first of them.
    fn fill(&mut self, bytes: &mut [u8], what: &str) -> Outcome<bool> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.input.read(&mut bytes[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => {
                    let at = self.bytes_read + filled as u64;
                    return Err(self.wrong(format!("it ends at byte {at}, inside {what}")));
                }
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Failure::io(format!("cannot read {}", self.name), &error));
                }
            }
        }
        self.bytes_read += filled as u64;
        Ok(true)
    }

    fn all(&mut self, bytes: &mut [u8], what: &str) -> Outcome {
        match self.fill(bytes, what)? || bytes.is_empty() {
            true => Ok(()),
            false => Err(self.wrong(format!("it ends before {what}"))),
        }
    }

    fn u32(&mut self, what: &str) -> Outcome<u32> {
        let mut bytes = [0; 4];
        self.all(&mut bytes, what)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn u32_or_end(&mut self) -> Outcome<Option<u32>> {
        let mut bytes = [0; 4];
        let is_there = self.fill(&mut bytes, "the dimensions of a row")?;
        Ok(is_there.then_some(u32::from_le_bytes(bytes)))
    }

    fn npy_header(&mut self) -> Outcome {
        let mut start = [0; 8];
        self.all(&mut start, "the header")?;
        if &start[..6] != b"\x93NUMPY" {
            return Err(self.wrong("it does not begin as an .npy file does".into()));
        }
        let length = match start[6] {
            1 => {
                let mut bytes = [0; 2];
                self.all(&mut bytes, "the header")?;
                usize::from(u16::from_le_bytes(bytes))
            }
            2 | 3 => self.u32("the header")? as usize,
            major => return Err(self.wrong(format!("version {major} of .npy is not known"))),
        };
        if HEADER_BYTES_MAX < length {
            return Err(self.wrong(format!("its header would have {length} bytes")));
        }
        let mut header = vec![0; length];
        self.all(&mut header, "the header")?;
        let header = String::from_utf8(header);
        let header = header.map_err(|_| self.wrong("its header is no text".into()))?;
        let Array { descr, fortran_order, shape } = parse(&header)
            .ok_or_else(|| self.wrong("its header is not what NumPy writes".into()))?;
        self.width = match descr.as_str() {
            "<f4" => 4,
            "<f2" => 2,
            other => {
                let what = format!("its numbers are '{other}', not '<f4' or '<f2'");
                let help = "in Python: numpy.save(name, array.astype('<f4'))";
                return Err(self.wrong(what).help(help));
            }
        };
        if fortran_order {
            let help = "in Python: numpy.save(name, numpy.ascontiguousarray(array))";
            return Err(self.wrong("it is in Fortran order: column by column".into()).help(help));
        }
        let &[rows, dim] = shape.as_slice() else {
            let what = format!("it has {} dimensions, not rows and columns", shape.len());
            return Err(self.wrong(what));
        };
        self.rows_total = Some(rows);
        self.dim = u32::try_from(dim).unwrap_or(u32::MAX);
        Ok(())
    }

    /// What a new table for these rows is like: columns that were named, or `id` and `vector`.
    fn table_for(&self, shape: &Shape) -> Outcome<TableOptions> {
        let named = |text: &String| parse_column(text).map_err(Failure::invalid);
        let mut columns = shape.columns.iter().map(named).collect::<Outcome<Vec<_>>>()?;
        let plain = |name: &str, kind| Column {
            name: name.to_owned(),
            kind,
            nullable: false,
            default: None,
        };
        let key = shape.key.first().map_or(KEY, String::as_str);
        if !columns.iter().any(|column| column.name == key) {
            columns.insert(0, plain(key, ColumnType::Int64));
        }
        if !columns.iter().any(|column| matches!(column.kind, ColumnType::Vector(_))) {
            columns.push(plain(VECTOR, ColumnType::Vector(self.dim)));
        }
        table_options(shape, Some(schema_with_key(columns, &shape.key)?))
    }

    fn next_vector(&mut self) -> Outcome<Option<Vec<f32>>> {
        let what = format!("row {}", self.rows);
        if self.format == Format::Fvecs && !std::mem::take(&mut self.is_ahead) {
            let Some(dim) = self.u32_or_end()? else { return Ok(None) };
            if dim != self.dim {
                let first = self.dim;
                let what = format!("{what} has {dim} dimensions, the rows before have {first}");
                return Err(self.wrong(what));
            }
        }
        if self.rows_total == Some(self.rows) {
            return match self.fill(&mut [0], "the end")? {
                true => Err(self.wrong("something follows the last row".into())),
                false => Ok(None),
            };
        }
        let mut bytes = vec![0; self.dim as usize * self.width];
        self.all(&mut bytes, &what)?;
        self.rows += 1;
        let narrow = |two: &[u8]| f16::from_le_bytes([two[0], two[1]]).to_f32();
        let wide = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        Ok(Some(match self.width {
            2 => bytes.chunks_exact(2).map(narrow).collect(),
            _ => bytes.chunks_exact(4).map(wide).collect(),
        }))
    }
}

impl Rows for Source {
    fn name(&self) -> &str {
        &self.name
    }

    fn unit(&self) -> &'static str {
        "row"
    }

    fn bytes_total(&self) -> Option<u64> {
        self.bytes_total
    }

    fn rows_total(&self) -> Option<u64> {
        self.rows_total
    }

    fn new_table(&mut self, shape: &Shape, _lenient: bool) -> Outcome<TableOptions> {
        self.table_for(shape)
    }

    fn bind(&mut self, schema: Option<&Schema>, table: &str) -> Outcome {
        self.columns = Some(Columns::of(schema, self.dim, table)?);
        Ok(())
    }

    fn skip_to(&mut self, position: Position) -> Outcome {
        let file = self.seekable.as_ref();
        let file = file.ok_or_else(|| self.wrong("nobody can go to a place in it".into()))?;
        let cannot = |error| Failure::io(format!("cannot read {}", self.name), &error);
        let mut file = file.try_clone().map_err(cannot)?;
        file.seek(SeekFrom::Start(position.bytes)).map_err(cannot)?;
        self.input = Box::new(BufReader::with_capacity(256 << 10, file));
        (self.rows, self.bytes_read) = (position.rows, position.bytes);
        self.is_ahead = false;
        Ok(())
    }

    fn next_row(&mut self) -> Outcome<Option<Row>> {
        let number = self.rows;
        let Some(vector) = self.next_vector()? else { return Ok(None) };
        let columns = self.columns.as_ref().expect("bound before the first row");
        let pair = Ok(columns.encode(number, vector)?);
        let end = Position { rows: self.rows, bytes: self.bytes_read, lines: 0 };
        Ok(Some(Row { place: self.rows, end, pair }))
    }
}

/// What the header of an `.npy` file says.
#[derive(Debug, PartialEq, Eq)]
struct Array {
    descr: String,
    fortran_order: bool,
    shape: Vec<u64>,
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (20, 384), }`, each key once, in any order.
fn parse(header: &str) -> Option<Array> {
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    let mut rest = header.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    while !rest.is_empty() {
        let (key, after) = quoted(rest)?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        rest = match key {
            "descr" if descr.is_none() => {
                let (text, after) = quoted(value)?;
                descr = Some(text.to_owned());
                after
            }
            "fortran_order" if fortran_order.is_none() => match value.strip_prefix("False") {
                Some(after) => {
                    fortran_order = Some(false);
                    after
                }
                None => {
                    fortran_order = Some(true);
                    value.strip_prefix("True")?
                }
            },
            "shape" if shape.is_none() => {
                let (numbers, after) = value.strip_prefix('(')?.split_once(')')?;
                let numbers = numbers.trim().trim_end_matches(',');
                let each = numbers.split(',').map(str::trim).filter(|_| !numbers.is_empty());
                shape = Some(each.map(|number| number.parse().ok()).collect::<Option<Vec<_>>>()?);
                after
            }
            _ => return None,
        };
        rest = rest.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some(Array { descr: descr?, fortran_order: fortran_order?, shape: shape? })
}

/// A text in quotation marks of either kind, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let mark = text.chars().next().filter(|mark| matches!(mark, '\'' | '"'))?;
    text[1..].split_once(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Format, bytes: &[u8]) -> Result<Vec<Vec<f32>>, String> {
        let of_length = |length| {
            let input = Box::new(io::Cursor::new(bytes.to_vec()));
            let mut source = Source::new("f".into(), format, input, length)?;
            let mut rows = Vec::new();
            while let Some(row) = source.next_vector()? {
                rows.push(row);
            }
            Outcome::Ok(rows)
        };
        let known = of_length(Some(bytes.len() as u64));
        let piped = of_length(None);
        assert_eq!(known.is_ok(), piped.is_ok(), "{known:?} {piped:?}");
        known.map_err(|failure| failure.message)
    }

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        [&bytes, header.as_bytes(), data].concat()
    }

    fn floats(numbers: &[f32]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    const NUMBERS: [f32; 6] = [0.0, 1.0, -2.5, f32::MAX, 1e-30, 7.0];

    fn good() -> Vec<(Format, Vec<u8>)> {
        let data = floats(&NUMBERS);
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }      \n";
        let two = [2_u32.to_le_bytes(), 3_u32.to_le_bytes()].concat();
        let row = |row: &[u8]| [&3_u32.to_le_bytes(), row].concat();
        vec![
            (Format::Npy, npy(header, &data)),
            (Format::F32bin, [two, data.clone()].concat()),
            (Format::Fvecs, [row(&data[..12]), row(&data[12..])].concat()),
        ]
    }

    #[test]
    fn each_format_gives_its_rows() {
        for (format, bytes) in good() {
            let rows = read(format, &bytes).unwrap();
            assert_eq!(rows, [NUMBERS[..3].to_vec(), NUMBERS[3..].to_vec()], "{format:?}");
        }
        let halves: Vec<u8> =
            [1.0, -0.5].iter().flat_map(|half| f16::from_f32(*half).to_le_bytes()).collect();
        let header = "{\"shape\":(1,2),\"fortran_order\":False,\"descr\":\"<f2\"}";
        assert_eq!(read(Format::Npy, &npy(header, &halves)).unwrap(), [[1.0, -0.5]]);
        let none = "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3)}";
        assert_eq!(read(Format::Npy, &npy(none, &[])).unwrap(), [[0.0; 0]; 0]);
    }

    #[test]
    fn a_file_that_is_cut_or_longer_is_refused() {
        for (format, bytes) in good() {
            for length in 0..bytes.len() {
                let is_whole_rows = format == Format::Fvecs && length == bytes.len() / 2;
                let cut = read(format, &bytes[..length]);
                assert_eq!(cut.is_ok(), is_whole_rows, "{format:?} {length} {cut:?}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(read(format, &longer).is_err(), "{format:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let of = |header: &str| read(Format::Npy, &npy(header, &floats(&NUMBERS))).unwrap_err();
        let cases = [
            ("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 3), }", "'<f8', not '<f4'"),
            ("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", "'>f4'"),
            ("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", "Fortran order"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", "1 dimensions, not rows"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }", "3 dimensions"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }", "3 rows of 3"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 0), }", "0 dimensions"),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 3), }",
                "more than can be",
            ),
            ("{'descr': '<f4', 'fortran_order': False}", "not what NumPy writes"),
            (
                "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
                "not what",
            ),
            ("['<f4']", "not what NumPy writes"),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }", "not what"),
        ];
        for (header, words) in cases {
            let message = of(header);
            assert!(message.starts_with("f: ") && message.contains(words), "{header}: {message}");
        }
        let text = read(Format::Npy, b"a,b,c\n1,2,3\n").unwrap_err();
        assert!(text.contains("does not begin"), "{text}");
        let ragged =
            [3_u32.to_le_bytes().to_vec(), floats(&[1.0; 3]), 2_u32.to_le_bytes().to_vec()];
        let ragged = read(Format::Fvecs, &ragged.concat()).unwrap_err();
        assert_eq!(ragged, "f: row 1 has 2 dimensions, the rows before have 3");
        let wide = read(Format::Fvecs, &u32::MAX.to_le_bytes()).unwrap_err();
        assert!(wide.contains("4294967295 dimensions"), "{wide}");
    }
}

//! Rows out of a file: JSONL or CSV, one record at a time, each with the line it begins in.
//!
//! The file is only read forwards, so that standard input will do. Memory is bounded by one record.
//!
//! CSV is read as RFC 4180 has it: a field that holds a comma, a quotation mark or a line break stands
//! in quotation marks, and a quotation mark inside is written twice. So a record is whole when the
//! quotation marks in its lines are even in number; a file that ends before has an open one. CSV
//! parsers forgive that and take the rest of the file for one field, which would lose rows in silence.

use crate::cli::args::Format;
use crate::cli::failure::{Failure, Outcome};
use csv_core::{ReadRecordResult, Terminator};
use serde_json::{Map, Value as Json};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// One record: far above the largest row a table takes, even as numbers of a vector.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// One record and where it was.
#[derive(Debug, Clone)]
pub struct Record {
    /// The line it begins in, counted from one.
    pub line: u64,
    /// What it holds.
    pub fields: Fields,
}

/// What a record holds.
#[derive(Debug, Clone)]
pub enum Fields {
    /// A JSON object.
    Json(Map<String, Json>),
    /// One text for each column of the header.
    Csv(Vec<String>),
}

/// A file of rows being read.
pub struct Source {
    name: String,
    bytes_total: Option<u64>,
    bytes_read: u64,
    lines_read: u64,
    reader: Box<dyn BufRead>,
    csv: Option<Csv>,
}

/// What reading CSV takes beside the lines.
struct Csv {
    header: Vec<String>,
    parser: Box<csv_core::Reader>,
}

impl Source {
    /// Opens the file at `path`, or standard input for `-`.
    pub fn open(path: &Path, format: Format) -> Outcome<Source> {
        if path == Path::new("-") {
            return Source::new("standard input".into(), Box::new(io::stdin()), None, format);
        }
        let name = path.display().to_string();
        let cannot = |error| Failure::io(format!("cannot read {name}"), &error);
        let file = File::open(path).map_err(cannot)?;
        let meta = file.metadata().map_err(cannot)?;
        if meta.is_dir() {
            return Err(Failure::invalid(format!("{name} is a directory, not a file of rows")));
        }
        let bytes_total = meta.is_file().then_some(meta.len());
        Source::new(name, Box::new(file), bytes_total, format)
    }

    fn new(
        name: String,
        input: Box<dyn Read>,
        bytes_total: Option<u64>,
        format: Format,
    ) -> Outcome<Source> {
        let reader = Box::new(BufReader::with_capacity(256 << 10, input));
        let mut source =
            Source { name, bytes_total, bytes_read: 0, lines_read: 0, reader, csv: None };
        if format == Format::Csv {
            let parser = csv_core::ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
            source.csv = Some(Csv { header: Vec::new(), parser: Box::new(parser) });
            let header = source.next_csv()?;
            let empty = || source.bad_header(1, "the file is empty".into());
            let (line, header) = header.ok_or_else(empty)?;
            source.check_header(line, &header)?;
            source.csv.as_mut().expect("set above").header = header;
        }
        Ok(source)
    }

    fn check_header(&self, line: u64, header: &[String]) -> Outcome {
        for (index, name) in header.iter().enumerate() {
            if name.is_empty() {
                return Err(self.bad_header(line, format!("field {} has no name", index + 1)));
            }
            if header[..index].contains(name) {
                return Err(self.bad_header(line, format!("column '{name}' is named twice")));
            }
        }
        Ok(())
    }

    fn bad_header(&self, line: u64, what: String) -> Failure {
        self.failure(line, None, what).help("the first line of a CSV file names its columns")
    }

    /// The columns that the file itself names, if its format does.
    pub fn header(&self) -> Option<&[String]> {
        self.csv.as_ref().map(|csv| csv.header.as_slice())
    }

    /// The file's size where it is known.
    pub fn bytes_total(&self) -> Option<u64> {
        self.bytes_total
    }

    /// How far the reading is.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next record; `None` at the end.
    pub fn next_record(&mut self) -> Outcome<Option<Record>> {
        let Some(columns) = self.header().map(<[String]>::len) else {
            return self.next_object();
        };
        let Some((line, fields)) = self.next_csv()? else { return Ok(None) };
        if fields.len() != columns {
            let what =
                format!("expected {columns} fields as in the header, found {}", fields.len());
            return Err(self.failure(line, None, what));
        }
        Ok(Some(Record { line, fields: Fields::Csv(fields) }))
    }

    /// Appends the next line with its end to `text`; false at the end of the file. `first` is the line
    /// that the record began in.
    fn read_line(&mut self, text: &mut Vec<u8>, first: u64) -> Outcome<bool> {
        let room = RECORD_BYTES_MAX.saturating_sub(text.len());
        let read = self.reader.by_ref().take(room as u64).read_until(b'\n', text);
        let got =
            read.map_err(|error| Failure::io(format!("cannot read {}", self.name), &error))?;
        if got == room {
            let what = format!("the record is longer than {RECORD_BYTES_MAX} bytes");
            return Err(self.failure(first, None, what));
        }
        self.bytes_read += got as u64;
        self.lines_read += u64::from(0 < got);
        if self.lines_read == 1 && text.starts_with(b"\xef\xbb\xbf") {
            text.drain(..3);
        }
        Ok(0 < got)
    }

    fn next_object(&mut self) -> Outcome<Option<Record>> {
        let mut text = Vec::new();
        while self.read_line(&mut text, self.lines_read + 1)? {
            let line = self.lines_read;
            if text.trim_ascii().is_empty() {
                text.clear();
                continue;
            }
            return match serde_json::from_slice(&text) {
                Ok(object) => Ok(Some(Record { line, fields: Fields::Json(object) })),
                Err(error) => Err(self.json_failure(line, &error)),
            };
        }
        Ok(None)
    }

    /// The fields of the next record and the line that it begins in.
    fn next_csv(&mut self) -> Outcome<Option<(u64, Vec<String>)>> {
        let mut text = Vec::new();
        let mut line = self.lines_read + 1;
        let mut open = false;
        loop {
            let from = text.len();
            if !self.read_line(&mut text, line)? {
                return match open {
                    false => Ok(None),
                    true => {
                        let what = "a quotation mark is opened in this record and never closed";
                        Err(self.failure(line, None, what.into()))
                    }
                };
            }
            open ^= text[from..].iter().filter(|byte| **byte == b'"').count() % 2 == 1;
            if open {
                continue;
            }
            let record = text.strip_suffix(b"\n").unwrap_or(&text);
            let record = record.strip_suffix(b"\r").unwrap_or(record);
            if !record.is_empty() {
                return self.split(line, record).map(|fields| Some((line, fields)));
            }
            text.clear();
            line = self.lines_read + 1;
        }
    }

    fn split(&mut self, line: u64, record: &[u8]) -> Outcome<Vec<String>> {
        let csv = self.csv.as_mut().expect("only asked for CSV");
        csv.parser.reset();
        // No field grows by being read, and there is one more field than commas at most.
        let mut out = vec![0; record.len()];
        let mut ends = vec![0; record.iter().filter(|byte| **byte == b',').count() + 1];
        let (first, read, mut written, mut count) =
            csv.parser.read_record(record, &mut out, &mut ends);
        if first == ReadRecordResult::InputEmpty {
            let (_, _, wrote, more) =
                csv.parser.read_record(&[], &mut out[written..], &mut ends[count..]);
            (written, count) = (written + wrote, count + more);
        }
        if read < record.len() {
            let what = "a quotation mark stands inside a field that does not begin with one";
            return Err(self.failure(line, None, what.into()));
        }
        out.truncate(written);
        let mut start = 0;
        let mut fields = Vec::with_capacity(count);
        for (index, end) in ends[..count].iter().enumerate() {
            let Ok(text) = std::str::from_utf8(&out[start..*end]) else {
                let name = self.header().and_then(|header| header.get(index)).map(String::as_str);
                return Err(self.failure(line, name, "the text is not valid UTF-8".into()));
            };
            fields.push(text.to_owned());
            start = *end;
        }
        Ok(fields)
    }

    /// What is wrong in `line`, and in which column where one is at fault.
    pub fn failure(&self, line: u64, column: Option<&str>, what: String) -> Failure {
        let column = column.map(|name| format!(" column '{name}':")).unwrap_or_default();
        Failure::invalid(format!("{} line {line}:{column} {what}", self.name))
    }

    fn json_failure(&self, line: u64, error: &serde_json::Error) -> Failure {
        // serde_json counts lines and columns inside what it was given, which is one line of ours.
        let text = error.to_string();
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        let what = format!("not a JSON object: {what} at byte {}", error.column());
        self.failure(line, None, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &'static str, format: Format) -> Outcome<Source> {
        Source::new("f".into(), Box::new(text.as_bytes()), None, format)
    }

    fn csv_rows(text: &'static str) -> Result<Vec<(u64, Vec<String>)>, String> {
        let mut source = source(text, Format::Csv).map_err(|failure| failure.message)?;
        let mut rows = Vec::new();
        while let Some(record) = source.next_record().map_err(|failure| failure.message)? {
            let Fields::Csv(fields) = record.fields else { panic!("CSV gives CSV") };
            rows.push((record.line, fields));
        }
        assert!(source.next_record().is_ok_and(|record| record.is_none()), "the end stays the end");
        Ok(rows)
    }

    #[test]
    fn csv_records_know_their_lines() {
        let row = |line, fields: [&str; 2]| (line, fields.map(str::to_owned).to_vec());
        let rows = csv_rows("a,b\n1,\"x\ny\"\n\n\n2,z").unwrap();
        assert_eq!(rows, [row(2, ["1", "x\ny"]), row(6, ["2", "z"])]);
        let rows =
            csv_rows("\u{feff}a,b\r\n1,\"x\r\ny\"\r\n\r\n2,\"say \"\"hi\"\", all\"\r\n").unwrap();
        assert_eq!(rows, [row(2, ["1", "x\r\ny"]), row(5, ["2", "say \"hi\", all"])]);
        assert_eq!(csv_rows("a,b\n,\n\"\",\"\"\n").unwrap(), [row(2, ["", ""]), row(3, ["", ""])]);
        assert_eq!(csv_rows("a,b\n").unwrap(), []);
        assert_eq!(csv_rows("a\n1\n").unwrap(), [(2, vec!["1".to_owned()])]);
    }

    #[test]
    fn malformed_csv_is_named_by_its_line() {
        let open = "a quotation mark is opened in this record and never closed";
        let inside = "a quotation mark stands inside a field that does not begin with one";
        let cases = [
            ("a,b\n1,2\n3\n", "f line 3: expected 2 fields as in the header, found 1".to_owned()),
            ("a,b\n\n1,2,3\n", "f line 3: expected 2 fields as in the header, found 3".to_owned()),
            ("a,b\n1,2\n3,\"x\n4,5\n", format!("f line 3: {open}")),
            ("a,b\n1,2\n\"3,x\n4,5", format!("f line 3: {open}")),
            ("a,b\n1,5\" pipe\n2,3\" pipe\n", format!("f line 2: {inside}")),
            ("a,a\n", "f line 1: column 'a' is named twice".to_owned()),
            ("a,\n", "f line 1: field 2 has no name".to_owned()),
            ("", "f line 1: the file is empty".to_owned()),
            ("\n\n", "f line 1: the file is empty".to_owned()),
            ("\"a,b\n1,2\n", format!("f line 1: {open}")),
        ];
        for (text, message) in cases {
            assert_eq!(csv_rows(text).unwrap_err(), message, "{text:?}");
        }
        let bad = Source::new("f".into(), Box::new(&b"a,b\n1,\xff\n"[..]), None, Format::Csv);
        let message = bad.unwrap().next_record().unwrap_err().message;
        assert_eq!(message, "f line 2: column 'b': the text is not valid UTF-8");
    }

    #[test]
    fn malformed_json_is_named_by_its_line() {
        let mut good = source("\u{feff}{\"a\": 1}\n\n{\"a\": 2}", Format::Jsonl).unwrap();
        let lines = [1, 3].map(|_| good.next_record().unwrap().unwrap().line);
        assert_eq!(lines, [1, 3]);
        assert!(good.next_record().unwrap().is_none());
        for text in ["{\"a\": }", "[1]", "7", "{\"a\": 1} x", "{\"a\""] {
            let mut bad = source(text, Format::Jsonl).unwrap();
            let message = bad.next_record().unwrap_err().message;
            assert!(message.starts_with("f line 1: not a JSON object: "), "{message}");
        }
    }
}

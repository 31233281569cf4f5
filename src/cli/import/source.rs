//! Rows out of a file: JSONL or CSV, one record at a time, each with the line it begins in.
//!
//! The file is only read forwards, so that standard input will do. Memory is bounded by one record. A
//! record that cannot be read is [`Bad`], and reading goes on behind it: one record is as many lines as
//! its quotation marks say.
//!
//! CSV is read as RFC 4180 has it: a field that holds a comma, a quotation mark or a line break stands
//! in quotation marks, and a quotation mark inside is written twice. So a record is whole when the
//! quotation marks in its lines are even in number; a file that ends before has an open one. CSV
//! parsers forgive that and take the rest of the file for one field, which would lose rows in silence.

use super::row::Bad;
use crate::cli::args::Format;
use crate::cli::compression::{self, Compression};
use crate::cli::failure::{Failure, Outcome};
use csv_core::{ReadRecordResult, Terminator};
use serde_json::{Map, Value as Json};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// One record: far above the largest row a table takes, even as numbers of a vector.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// The fields of a record of CSV, or why it is none, and the line that it begins in.
type Numbered = (u64, Result<Vec<String>, Bad>);

/// One record and where it was.
#[derive(Debug, Clone)]
pub struct Record {
    /// The line it begins in, counted from one.
    pub line: u64,
    /// Where it ends.
    pub end: End,
    /// What it holds, or why that cannot be told.
    pub fields: Result<Fields, Bad>,
}

/// The end of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// Bytes of text up to here; of what is compressed, bytes of the text in it.
    pub bytes: u64,
    /// Lines up to here.
    pub lines: u64,
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
    reader: Box<dyn BufRead + Send>,
    csv: Option<Csv>,
    /// The file, where one can go to a place in it.
    seekable: Option<std::fs::File>,
}

/// What reading CSV takes beside the lines.
struct Csv {
    header: Vec<String>,
    parser: Box<csv_core::Reader>,
}

impl Source {
    /// Opens the file at `path`, or standard input for `-`.
    pub fn open(path: &Path, format: Format, compression: Compression) -> Outcome<Source> {
        if path == Path::new("-") {
            let input = compression::reader(compression, Box::new(io::stdin()));
            return Source::new("standard input".into(), input, None, format);
        }
        let (name, file, bytes_total) = super::open_file(path, "rows")?;
        let cannot = |error| Failure::io(format!("cannot read {name}"), &error);
        let seekable = match compression {
            Compression::None if bytes_total.is_some() => Some(file.try_clone().map_err(cannot)?),
            _ => None,
        };
        let bytes_total = bytes_total.filter(|_| compression == Compression::None);
        let input = compression::reader(compression, Box::new(file));
        Ok(Source { seekable, ..Source::new(name, input, bytes_total, format)? })
    }

    fn new(
        name: String,
        input: Box<dyn Read + Send>,
        bytes_total: Option<u64>,
        format: Format,
    ) -> Outcome<Source> {
        let reader = Box::new(BufReader::with_capacity(256 << 10, input));
        let (bytes_read, lines_read, csv, seekable) = (0, 0, None, None);
        let mut source =
            Source { name, bytes_total, bytes_read, lines_read, reader, csv, seekable };
        if format == Format::Csv {
            let parser = csv_core::ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
            source.csv = Some(Csv { header: Vec::new(), parser: Box::new(parser) });
            let header = source.next_csv()?;
            let empty = || source.bad_header(1, "the file is empty".into());
            let (line, header) = header.ok_or_else(empty)?;
            let header = header.map_err(|bad| source.failure(line, &bad))?;
            source.check_header(line, &header)?;
            source.csv.as_mut().expect("set above").header = header;
        }
        Ok(source)
    }

    /// Goes on behind the record that ended at `end`.
    pub fn skip_to(&mut self, end: End) -> Outcome {
        let cannot = |name: &str, error| Failure::io(format!("cannot read {name}"), &error);
        let short = || Failure::invalid(format!("{} is shorter than it was", self.name));
        match &self.seekable {
            Some(file) => {
                let mut file = file.try_clone().map_err(|error| cannot(&self.name, error))?;
                file.seek(SeekFrom::Start(end.bytes)).map_err(|error| cannot(&self.name, error))?;
                self.reader = Box::new(BufReader::with_capacity(256 << 10, file));
            }
            None => {
                let left = end.bytes.checked_sub(self.bytes_read).ok_or_else(short)?;
                let skipped = io::copy(&mut self.reader.by_ref().take(left), &mut io::sink());
                if skipped.map_err(|error| cannot(&self.name, error))? != left {
                    return Err(short());
                }
            }
        }
        (self.bytes_read, self.lines_read) = (end.bytes, end.lines);
        Ok(())
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
        self.failure(line, &Bad::new(what)).help("the first line of a CSV file names its columns")
    }

    /// The columns that the file itself names, if its format does.
    pub fn header(&self) -> Option<&[String]> {
        self.csv.as_ref().map(|csv| csv.header.as_slice())
    }

    /// The file's size where it is known.
    pub fn bytes_total(&self) -> Option<u64> {
        self.bytes_total
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next record; `None` at the end.
    pub fn next_record(&mut self) -> Outcome<Option<Record>> {
        let record = match self.header().map(<[String]>::len) {
            None => self.next_object()?,
            Some(columns) => self.next_csv()?.map(|(line, fields)| {
                let fields = fields.and_then(|fields| match fields.len() == columns {
                    true => Ok(Fields::Csv(fields)),
                    false => Err(Bad::new(format!(
                        "expected {columns} fields as in the header, found {}",
                        fields.len()
                    ))
                    .of(fields.into())),
                });
                (line, fields)
            }),
        };
        let end = End { bytes: self.bytes_read, lines: self.lines_read };
        Ok(record.map(|(line, fields)| Record { line, end, fields }))
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
            return Err(self.failure(first, &Bad::new(what)));
        }
        self.bytes_read += got as u64;
        self.lines_read += u64::from(0 < got);
        if self.lines_read == 1 && text.starts_with(b"\xef\xbb\xbf") {
            text.drain(..3);
        }
        Ok(0 < got)
    }

    fn next_object(&mut self) -> Outcome<Option<(u64, Result<Fields, Bad>)>> {
        let mut text = Vec::new();
        while self.read_line(&mut text, self.lines_read + 1)? {
            let line = self.lines_read;
            if text.trim_ascii().is_empty() {
                text.clear();
                continue;
            }
            let object = serde_json::from_slice(&text).map(Fields::Json);
            return Ok(Some((line, object.map_err(|error| not_an_object(&text, &error)))));
        }
        Ok(None)
    }

    /// The fields of the next record and the line that it begins in.
    fn next_csv(&mut self) -> Outcome<Option<Numbered>> {
        let mut text = Vec::new();
        let mut line = self.lines_read + 1;
        let mut open = false;
        loop {
            let from = text.len();
            if !self.read_line(&mut text, line)? {
                let what = "a quotation mark is opened in this record and never closed";
                let bad = || (line, Err(Bad::new(what).of_text(&text)));
                return Ok(open.then(bad));
            }
            open ^= text[from..].iter().filter(|byte| **byte == b'"').count() % 2 == 1;
            if open {
                continue;
            }
            let record = text.strip_suffix(b"\n").unwrap_or(&text);
            let record = record.strip_suffix(b"\r").unwrap_or(record);
            if !record.is_empty() {
                return Ok(Some((line, self.split(record))));
            }
            text.clear();
            line = self.lines_read + 1;
        }
    }

    fn split(&mut self, record: &[u8]) -> Result<Vec<String>, Bad> {
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
            return Err(Bad::new(what).of_text(record));
        }
        out.truncate(written);
        let mut start = 0;
        let mut fields = Vec::with_capacity(count);
        for (index, end) in ends[..count].iter().enumerate() {
            let Ok(text) = std::str::from_utf8(&out[start..*end]) else {
                let name = self.header().and_then(|header| header.get(index)).cloned();
                let bad = Bad { column: name, ..Bad::new("the text is not valid UTF-8") };
                return Err(bad.of_text(record));
            };
            fields.push(text.to_owned());
            start = *end;
        }
        Ok(fields)
    }

    /// What is wrong in `line`, and in which column where one is at fault.
    pub fn failure(&self, line: u64, bad: &Bad) -> Failure {
        bad.failure(&self.name, "line", line)
    }
}

fn not_an_object(text: &[u8], error: &serde_json::Error) -> Bad {
    // serde_json counts lines and columns inside what it was given, which is one line of ours.
    let said = error.to_string();
    let what = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
    Bad::new(format!("not a JSON object: {what} at byte {}", error.column())).of_text(text)
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
            let bad = |bad| source.failure(record.line, &bad).message;
            let Fields::Csv(fields) = record.fields.map_err(bad)? else { panic!("CSV gives CSV") };
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
        let bad = bad.unwrap().next_record().unwrap().unwrap().fields.unwrap_err();
        assert_eq!(bad.column.as_deref(), Some("b"));
        assert_eq!(bad.what, "the text is not valid UTF-8");
        assert_eq!(bad.row, serde_json::json!("1,\u{fffd}"));
    }

    #[test]
    fn malformed_json_is_named_by_its_line() {
        let mut good = source("\u{feff}{\"a\": 1}\n\n{\"a\": 2}", Format::Jsonl).unwrap();
        let lines = [1, 3].map(|_| good.next_record().unwrap().unwrap().line);
        assert_eq!(lines, [1, 3]);
        assert!(good.next_record().unwrap().is_none());
        for text in ["{\"a\": }", "[1]", "7", "{\"a\": 1} x", "{\"a\""] {
            let mut bad = source(text, Format::Jsonl).unwrap();
            let wrong = bad.next_record().unwrap().unwrap();
            let message = bad.failure(wrong.line, &wrong.fields.unwrap_err()).message;
            assert!(message.starts_with("f line 1: not a JSON object: "), "{message}");
        }
    }

    #[test]
    fn reading_goes_on_behind_a_bad_record_and_from_any_record_on() {
        let text = "a,b\n1,2\n3\n\"x\ny\",5\"\n6,7\n";
        let mut whole = source(text, Format::Csv).unwrap();
        let mut records = Vec::new();
        while let Some(record) = whole.next_record().unwrap() {
            records.push(record);
        }
        let lines: Vec<_> = records.iter().map(|r| (r.line, r.fields.is_ok())).collect();
        assert_eq!(lines, [(2, true), (3, false), (4, false)]);
        let text = "a,b\n1,2\n3\n\"x\ny\",5\n6,7\n";
        let mut whole = source(text, Format::Csv).unwrap();
        let first = whole.next_record().unwrap().unwrap().end;
        assert_eq!(first, End { bytes: 8, lines: 2 });
        let mut later = source(text, Format::Csv).unwrap();
        later.skip_to(first).unwrap();
        while let Some(record) = whole.next_record().unwrap() {
            let other = later.next_record().unwrap().unwrap();
            assert_eq!((record.line, record.end), (other.line, other.end));
        }
        assert!(later.next_record().unwrap().is_none());
        let far = End { bytes: 1000, lines: 9 };
        assert!(source(text, Format::Csv).unwrap().skip_to(far).is_err());
    }
}

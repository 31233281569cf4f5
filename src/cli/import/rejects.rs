//! Rows that cannot be written, set aside: one JSON object a line.
//!
//! ```json
//! {"source": "t.csv", "line": 7, "column": "n", "reason": "expected int64, found 'x'", "row": {"id": "3", "n": "x"}}
//! ```
//!
//! `row` is the row as far as it could be read: an object, the fields of a CSV record, or its text. Sources without
//! lines have `row_number` instead of `line`. The file is made with the first row that goes there, and is on disk
//! before the rows around it are committed; what stands behind the last commit is cut off when an import is gone
//! on with, so that each row is there once.

use super::row::Bad;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::screen::counted;
use serde_json::{Value as Json, json};
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The file of rejected rows.
pub struct Rejects {
    path: PathBuf,
    source: String,
    place_name: &'static str,
    file: Option<File>,
    bytes: u64,
    rows: u64,
    rows_max: u64,
}

impl Rejects {
    /// Sets rows of `source` aside at `path`, at most `rows_max`. The first `bytes` bytes are there from before,
    /// about `rows` rows.
    ///
    /// # Errors
    /// `Invalid` when a file is there that this import has not made.
    pub fn new(
        path: &Path,
        source: &str,
        unit: &str,
        (bytes, rows): (u64, u64),
        rows_max: Option<u64>,
    ) -> Outcome<Rejects> {
        let file = match (bytes, path.exists()) {
            (0, true) => {
                return Err(Failure::invalid(format!("{} exists", path.display()))
                    .help("name another file, or remove this one first"));
            }
            (0, false) => None,
            _ => Some(cut(path, bytes)?),
        };
        let place_name = if unit == "line" { "line" } else { "row_number" };
        let (path, source) = (path.to_owned(), source.to_owned());
        let rows_max = rows_max.unwrap_or(u64::MAX);
        Ok(Rejects { path, source, place_name, file, bytes, rows, rows_max })
    }

    /// Writes `bad` rows with their places, and returns once they are on disk.
    ///
    /// # Errors
    /// `Invalid` once there are more than may be; they are written all the same.
    pub fn write(&mut self, bad: &[(u64, Bad)]) -> Outcome {
        if bad.is_empty() {
            return Ok(());
        }
        let text: String = bad.iter().map(|(place, bad)| self.line(*place, bad)).collect();
        let cannot = |error| cannot_write(&self.path, &error);
        if self.file.is_none() {
            let new = OpenOptions::new().write(true).create_new(true).open(&self.path);
            self.file = Some(new.map_err(cannot)?);
        }
        let file = self.file.as_mut().expect("made above");
        file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(cannot)?;
        self.bytes += text.len() as u64;
        self.rows += bad.len() as u64;
        if self.rows <= self.rows_max {
            return Ok(());
        }
        let (path, were) = (self.path.display(), if self.rows == 1 { "was" } else { "were" });
        let rows = counted(self.rows, "row");
        let text = format!("{rows} {were} rejected, and --max-rejects is {}", self.rows_max);
        Err(Failure::invalid(text).help(format!("{path} has them with their reasons")))
    }

    fn line(&self, place: u64, bad: &Bad) -> String {
        let Bad { column, what, row } = bad;
        let mut object = json!({ "source": self.source, self.place_name: place });
        let Json::Object(fields) = &mut object else { unreachable!("made above") };
        if let Some(column) = column {
            fields.insert("column".to_owned(), column.clone().into());
        }
        fields.insert("reason".to_owned(), what.clone().into());
        fields.insert("row".to_owned(), row.clone());
        format!("{object}\n")
    }

    /// How many more rows may go there.
    pub fn room(&self) -> u64 {
        self.rows_max.saturating_sub(self.rows)
    }

    /// How long the file is, and how many rows are in it.
    pub fn size(&self) -> (u64, u64) {
        (self.bytes, self.rows)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The file at `path`, whose first `bytes` bytes stay.
fn cut(path: &Path, bytes: u64) -> Outcome<File> {
    let cannot = |error| cannot_write(path, &error);
    let mut file = OpenOptions::new().write(true).open(path).map_err(cannot)?;
    let length = file.metadata().map_err(cannot)?.len();
    if length < bytes {
        let text = format!("{} is shorter than the import left it", path.display());
        return Err(Failure::invalid(text).help("name another file for the rows from here on"));
    }
    file.set_len(bytes).and_then(|()| file.seek(SeekFrom::End(0))).map_err(cannot)?;
    Ok(file)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::io(format!("cannot write {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_there_once_however_often_the_import_is_gone_on_with() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bad.jsonl");
        let bad = |what: &str| Bad { column: Some("n".into()), ..Bad::new(what).of_text(b"1,x\n") };
        let mut first = Rejects::new(&path, "t.csv", "line", (0, 0), None).unwrap();
        first.write(&[]).unwrap();
        assert!(!path.exists(), "nothing was rejected yet");
        first.write(&[(3, bad("a"))]).unwrap();
        let left = first.size();
        first.write(&[(4, bad("never committed"))]).unwrap();
        let mut second = Rejects::new(&path, "t.csv", "line", left, Some(2)).unwrap();
        second.write(&[(4, bad("b"))]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = r#"{"source":"t.csv","line":3,"column":"n","reason":"a","row":"1,x"}"#;
        assert_eq!(text.lines().next(), Some(expected));
        assert_eq!(text.lines().count(), 2);
        assert!(second.write(&[(5, bad("c"))]).unwrap_err().message.contains("--max-rejects is 2"));
        assert!(Rejects::new(&path, "t.csv", "line", (0, 0), None).is_err(), "it is not ours");
        assert!(Rejects::new(&path, "t.csv", "line", (1 << 20, 3), None).is_err());
    }
}

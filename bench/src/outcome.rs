//! What a workload hands over: all that it measured, and what people and programs make of it.
//!
//! ```text
//!   workload ─▶ Outcome ─┬─▶ tables on standard output
//!                        ├─▶ --json: what was measured, every round
//!                        └─▶ --publish FILE: all of it, which `bench all --report` makes pages and pictures of
//! ```
//!
//! | part       | who reads it                                                   |
//! |------------|----------------------------------------------------------------|
//! | `measured` | scripts: the rounds as they were                               |
//! | `sheets`   | people: tables, and what stands below them                     |
//! | `charts`   | people: what the pictures show                                 |
//! | `summary`  | `aims`: medians, each by a name that stays                     |

use crate::Result;
use crate::chart::Chart;
use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Figures by their names.
pub type Summary = BTreeMap<String, f64>;

/// All of one run of one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The tables, in their order.
    pub sheets: Vec<Sheet>,
    /// What the pictures show.
    pub charts: Vec<Chart>,
    /// Medians, by names that aims refer to.
    pub summary: Summary,
    /// Why the run counts as failed although it ended; the tables show more.
    pub failure: Option<String>,
    /// Every round.
    pub measured: Value,
}

impl Outcome {
    /// Of what was measured, with nothing made of it yet.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn of(measured: &impl Serialize) -> Result<Outcome> {
        let measured = serde_json::to_value(measured)?;
        let (sheets, charts, summary) = (Vec::new(), Vec::new(), Summary::new());
        Ok(Outcome { sheets, charts, summary, failure: None, measured })
    }

    /// Tells people, or programs.
    ///
    /// # Errors
    /// The failure, if there is one, after everything was told.
    pub fn tell(&self, json: bool) -> Result<()> {
        match json {
            true => println!("{}", serde_json::to_string_pretty(&self.measured)?),
            false => self.sheets.iter().for_each(|sheet| println!("{}", sheet.markdown())),
        }
        self.failure.as_ref().map_or(Ok(()), |failure| Err(failure.clone().into()))
    }

    /// Writes all of it to `path`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(std::fs::write(path, serde_json::to_string_pretty(self)?)?)
    }

    /// What [`Outcome::write`] wrote.
    ///
    /// # Errors
    /// When it cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Outcome> {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let bytes = std::fs::read(path).map_err(|error| named(&error))?;
        Ok(serde_json::from_slice(&bytes).map_err(|error| named(&error))?)
    }

    /// The table called `name`.
    pub fn sheet(&self, name: &str) -> Option<&Sheet> {
        self.sheets.iter().find(|sheet| sheet.name == name)
    }
}

/// A table of cells as they are printed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sheet {
    /// What programs call it.
    pub name: String,
    /// What stands above it; nothing where there is only one.
    pub title: String,
    /// The names of the columns.
    pub head: Vec<String>,
    /// So many columns hold words; the others hold figures.
    pub words: usize,
    /// The lines.
    pub rows: Vec<Vec<String>>,
    /// What stands below it.
    pub note: String,
}

impl Sheet {
    /// The table in Markdown.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(&self.head);
        table.add_rows(&self.rows);
        for column in table.column_iter_mut().skip(self.words) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }

    /// The table with what stands above and below it.
    pub fn markdown(&self) -> String {
        let parts = [self.title.clone(), self.table(), self.note.clone()];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("\n\n") + "\n"
    }

    /// Only the lines whose first cell is one of `lines`, in that order, and only these `columns`; all columns where
    /// none is named. A line that is indented in the table belongs to the one above it: name it `above >  its label`.
    pub fn shortened(&self, lines: &[&str], columns: &[&str]) -> Sheet {
        let wanted = |head: &String| columns.is_empty() || columns.contains(&head.as_str());
        let kept: Vec<usize> = (0..self.head.len()).filter(|at| wanted(&self.head[*at])).collect();
        let pick = |cells: &[String]| -> Vec<String> {
            kept.iter().map(|at| cells[*at].clone()).collect()
        };
        let named = self.named();
        let found = lines.iter().filter_map(|line| named.get(*line));
        let rows: Vec<Vec<String>> = match lines.is_empty() {
            true => self.rows.iter().map(|row| pick(row)).collect(),
            false => found.map(|at| pick(&self.rows[*at])).collect(),
        };
        let words = kept.iter().filter(|at| **at < self.words).count();
        Sheet { head: pick(&self.head), rows, words, ..self.clone() }
    }

    /// This table with the columns of `other` behind its own, line by line as the first cells tell. What `other` says of a
    /// column that is here already is left out.
    pub fn joined(&self, other: &Sheet) -> Sheet {
        let new: Vec<usize> =
            (0..other.head.len()).filter(|at| !self.head.contains(&other.head[*at])).collect();
        let cells = |cells: &[String]| new.iter().map(|at| cells[*at].clone()).collect::<Vec<_>>();
        let row = |row: &Vec<String>| {
            let found = other.rows.iter().find(|found| found[0] == row[0]);
            let more = found.map_or_else(|| vec![String::new(); new.len()], |row| cells(row));
            [row.clone(), more].concat()
        };
        let head = [self.head.clone(), cells(&other.head)].concat();
        Sheet { head, rows: self.rows.iter().map(row).collect(), ..self.clone() }
    }

    /// The number of each line by its name.
    fn named(&self) -> BTreeMap<String, usize> {
        let (mut named, mut above) = (BTreeMap::new(), "");
        for (at, row) in self.rows.iter().enumerate() {
            let label = row[0].as_str();
            let name = match label.strip_prefix("  ") {
                Some(below) => format!("{above} > {below}"),
                None => {
                    above = label;
                    label.to_owned()
                }
            };
            named.entry(name).or_insert(at);
        }
        named
    }
}

/// Cells of words.
pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let rows = [["a", "sync", "1"], ["  time", "", "2"], ["b", "", "3"], ["  time", "", "4"]];
        let rows = rows.into_iter().map(words).collect();
        let head = words(["what", "how", "figure"]);
        let (title, note) = (String::new(), "Told.".to_owned());
        Sheet { name: "one".to_owned(), title, head, words: 2, rows, note }
    }

    #[test]
    fn a_shortened_table_has_the_lines_that_were_named_and_tells_equal_labels_apart() {
        let short = sheet().shortened(&["b > time", "a"], &["what", "figure"]);
        assert_eq!(short.head, words(["what", "figure"]));
        assert_eq!(short.rows, [words(["  time", "4"]), words(["a", "1"])]);
        assert_eq!(short.words, 1);
        assert_eq!(sheet().shortened(&[], &[]), sheet());
    }

    #[test]
    fn joined_tables_have_the_columns_of_both() {
        let rows = vec![words(["b", "9"])];
        let other = Sheet { head: words(["what", "more"]), rows, ..Sheet::default() };
        let joined = sheet().joined(&other);
        assert_eq!(joined.head, words(["what", "how", "figure", "more"]));
        assert_eq!(joined.rows[2], words(["b", "", "3", "9"]));
        assert_eq!(joined.rows[0], words(["a", "sync", "1", ""]));
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.json");
        let mut outcome = Outcome::of(&[1.5, 2.0]).expect("JSON");
        outcome.sheets.push(sheet());
        outcome.write(&path).expect("written");
        assert_eq!(Outcome::read(&path).expect("read"), outcome);
        std::fs::write(&path, "{}").expect("written");
        let error = Outcome::read(&path).expect_err("no outcome").to_string();
        assert!(error.contains("a.json"), "{error}");
    }

    #[test]
    fn a_failure_is_an_error_after_everything_was_told() {
        let mut outcome = Outcome::of(&0).expect("JSON");
        assert!(outcome.tell(true).is_ok());
        outcome.failure = Some("3 calls failed".to_owned());
        assert_eq!(outcome.tell(true).expect_err("failed").to_string(), "3 calls failed");
    }
}

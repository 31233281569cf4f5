//! Whether a book holds together: it is built by mdbook, every link of its pages leads somewhere, and its code is
//! code that tests compile and run.
//!
//! ```text
//!   src/*.md ── sources ──▶ includes lead to files and anchors; code is included, never typed; SUMMARY.md has all
//!      │
//!      └─ mdbook ──▶ pages ── links ──▶ pages, their headings, files of the repository
//! ```
//!
//! - A link that leads out of the book leads into the repository. It is written as seen from a chapter's file,
//!   and works in the built book too, for `src/` and `book/` lie side by side.
//! - Links into the network are not followed, only listed.
//! - mdbook itself says nothing about a missing file, and shows nothing where an anchor is missing.

use mdbook_driver::MDBook;
use mdbook_driver::errors::Error;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

mod pages;
mod sources;

#[cfg(test)]
mod tests;

/// What was looked at, and what is wrong.
#[derive(Debug, Default)]
pub struct Report {
    /// One sentence for each thing that is wrong, with the file it is in.
    pub problems: Vec<String>,
    /// The files that code comes from, in no order, each once.
    pub included: Vec<PathBuf>,
    /// How many links were followed.
    pub links: usize,
    /// Where links into the network lead, each once.
    pub addresses: Vec<String>,
}

/// Builds the book in the folder `book`, which lies in the folder `repository`, and looks at all of it.
///
/// # Errors
/// When mdbook cannot build the book, or a file cannot be read. What is wrong in a book that can be built is
/// no error, but in the report.
pub fn check(book: &Path, repository: &Path) -> Result<Report, Error> {
    let mut report = Report::default();
    sources::check(&book.join("src"), &mut report)?;
    let built = tempfile::tempdir()?;
    let mut driver = MDBook::load(book)?;
    driver.config.build.build_dir = built.path().to_owned();
    driver.build()?;
    pages::check(built.path(), book, repository, &mut report)?;
    Ok(report)
}

/// All files below `folder`, sorted.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// `path` without `.` and `..`, as far as there is something to go up from.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(normal.components().next_back(), Some(Component::Normal(_))) =>
            {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// The path of `file` below `folder`, for people.
fn shown(file: &Path, folder: &Path) -> String {
    file.strip_prefix(folder).unwrap_or(file).display().to_string()
}

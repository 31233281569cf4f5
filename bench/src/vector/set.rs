//! A set of vectors, as a folder: what is searched, what is asked, and the true answers.
//!
//! | file             | content                                                                            |
//! |------------------|------------------------------------------------------------------------------------|
//! | `*.base.f32bin`  | the vectors that are stored, of length 1; `vectors` has the table                  |
//! | `*.query.f32bin` | the vectors that are asked for                                                     |
//! | `*.gt100.bin`    | the exact neighbours by inner product, any number from 10 on in place of 100       |
//! | `*.base.jsonl`   | an object a line: `id` (the row's number), `pos` and `lex`, attributes to filter by |
//! | `*.query.jsonl`  | an object a line: `kind`, by which recall is told apart                            |
//!
//! Besides folders of that kind there are two that are made when they are first asked for, in the target directory:
//! the demo's 4,000 texts (the repository's `data/`), and `synthetic` ones.

use super::exact::nearest;
use super::recall::K;
use super::synthetic::Mixture;
use super::vectors::{Neighbours, Vectors};
use crate::Result;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Neighbours of each query in the sets that are made here.
const NEIGHBOURS: usize = 100;

/// What a row has besides its vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// The row's number.
    pub id: u32,
    /// One of few values, related to the vector: in texts the part of speech.
    pub pos: String,
    /// One of many values, related to the vector: in texts the lexicographer's file.
    pub lex: String,
}

#[derive(Serialize, Deserialize)]
struct Kind {
    kind: String,
}

/// A set of vectors, read.
#[derive(Debug)]
pub struct Set {
    /// What its files' names begin with.
    pub name: String,
    /// Where its base is.
    pub base_path: PathBuf,
    /// Where its queries are.
    pub queries_path: PathBuf,
    /// What is stored.
    pub base: Vectors,
    /// What each stored row has besides.
    pub rows: Vec<Attributes>,
    /// What is asked for.
    pub queries: Vectors,
    /// The kind of each query.
    pub kinds: Vec<String>,
    /// The true answers.
    pub exact: Neighbours,
}

impl Set {
    /// Reads the set in `folder`.
    ///
    /// # Errors
    /// When a file is missing, broken, or another set's; when vectors do not have the length 1.
    pub fn read(folder: &Path) -> Result<Set> {
        let mut names = Vec::new();
        for entry in
            fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?
        {
            names.extend(entry?.file_name().into_string());
        }
        let mut bases = names.iter().filter_map(|name| name.strip_suffix(".base.f32bin"));
        let (Some(name), None) = (bases.next(), bases.next()) else {
            let folder = folder.display();
            return Err(format!("{folder} should have one file that ends in .base.f32bin").into());
        };
        let truth = format!("{name}.gt");
        let is_truth = |found: &&String| found.starts_with(&truth) && found.ends_with(".bin");
        let truth =
            names.iter().find(is_truth).ok_or("there are no exact neighbours, *.gt100.bin")?;
        let path = |end: &str| folder.join(format!("{name}.{end}"));
        let set = Set {
            name: name.to_owned(),
            base_path: path("base.f32bin"),
            queries_path: path("query.f32bin"),
            base: Vectors::read(&path("base.f32bin"))?,
            rows: lines(&path("base.jsonl"))?,
            queries: Vectors::read(&path("query.f32bin"))?,
            kinds: lines::<Kind>(&path("query.jsonl"))?.into_iter().map(|line| line.kind).collect(),
            exact: Neighbours::read(&folder.join(truth))?,
        };
        set.check().map_err(|what| format!("{}: {what}", folder.display()))?;
        Ok(set)
    }

    fn check(&self) -> Result<()> {
        if self.base.dim() != self.queries.dim() {
            return Err("what is stored and what is asked have different dimensions".into());
        }
        if self.rows.len() != self.base.len() || self.kinds.len() != self.queries.len() {
            return Err("not one line for each vector".into());
        }
        if let Some(row) = self.rows.iter().zip(0..).find(|(row, id)| row.id != *id) {
            return Err(format!("line {} has the id {}", row.1, row.0.id).into());
        }
        if self.queries.len() == 0 || self.base.len() < K || self.exact.k() < K {
            return Err(format!("there should be queries, {K} rows and {K} neighbours").into());
        }
        for (vectors, what) in [(&self.base, "stored"), (&self.queries, "asked for")] {
            if let Some(index) = vectors.not_normal() {
                return Err(format!("vector {index} of those {what} has not the length 1").into());
            }
        }
        self.exact.check(&self.base, &self.queries)
    }

    /// Writes a set into `folder` under `name`, after finding the exact neighbours. The folder is there wholly or not
    /// at all.
    fn write(
        folder: &Path,
        name: &str,
        vectors: (&Vectors, &Vectors),
        rows: &[Attributes],
        kinds: &[String],
        threads: usize,
    ) -> Result<()> {
        let (base, queries) = vectors;
        let parent = folder.parent().ok_or("a folder lies in another")?;
        fs::create_dir_all(parent)?;
        let made = tempfile::tempdir_in(parent)?;
        let path = |end: &str| made.path().join(format!("{name}.{end}"));
        base.write(&path("base.f32bin"))?;
        queries.write(&path("query.f32bin"))?;
        write_lines(&path("base.jsonl"), rows)?;
        let kinds: Vec<Kind> = kinds.iter().map(|kind| Kind { kind: kind.clone() }).collect();
        write_lines(&path("query.jsonl"), &kinds)?;
        let exact = nearest(base, queries, NEIGHBOURS, threads, |_| true)?;
        exact.write(&path(&format!("gt{}.bin", exact.k())))?;
        Ok(fs::rename(made.keep(), folder)?)
    }

    /// The folder of the demo's texts below `dir`, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn demo(dir: &Path, threads: usize) -> Result<PathBuf> {
        let folder = dir.join("wordnet-4k");
        if !folder.exists() {
            let read = |bytes: &[u8]| {
                let mut vectors = Vectors::decode_half(bytes)?;
                vectors.normalise()?;
                crate::Result::Ok(vectors)
            };
            let base = read(include_bytes!("../../../data/wordnet-4k.base.f16bin"))?;
            let queries = read(include_bytes!("../../../data/wordnet-4k.query.f16bin"))?;
            let rows = parsed(include_str!("../../../data/wordnet-4k.base.jsonl"))?;
            let kinds = parsed::<Kind>(include_str!("../../../data/wordnet-4k.query.jsonl"))?;
            let kinds: Vec<String> = kinds.into_iter().map(|line| line.kind).collect();
            Set::write(&folder, "wordnet-4k", (&base, &queries), &rows, &kinds, threads)?;
        }
        Ok(folder)
    }

    /// The folder of a synthetic set below `dir`, made if it is not there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn synthetic(dir: &Path, mixture: &Mixture, threads: usize) -> Result<PathBuf> {
        let name = mixture.name();
        let folder = dir.join(&name);
        if !folder.exists() {
            let (base, rows) = mixture.base(threads)?;
            let (queries, kinds) = mixture.queries(threads)?;
            Set::write(&folder, &name, (&base, &queries), &rows, &kinds, threads)?;
        }
        Ok(folder)
    }
}

fn lines<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Vec<T>> {
    let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|error| said(&error))?;
    Ok(parsed(&text).map_err(|error| said(&error))?)
}

fn parsed<T: for<'a> Deserialize<'a>>(text: &str) -> Result<Vec<T>> {
    Ok(text.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?)
}

fn write_lines(path: &Path, lines: &[impl Serialize]) -> Result<()> {
    let mut file = BufWriter::new(fs::File::create(path)?);
    for line in lines {
        serde_json::to_writer(&mut file, line)?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_texts_become_a_set_that_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Set::demo(dir.path(), 2).unwrap();
        let set = Set::read(&folder).unwrap();
        assert_eq!((set.base.len(), set.queries.len(), set.exact.k()), (4_000, 100, 100));
        assert_eq!(set.kinds.iter().filter(|kind| *kind == "gloss").count(), 50);
        assert_eq!(set.rows[7].id, 7);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_synthetic_set_is_the_same_whoever_makes_it() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mixture = Mixture { rows: 2_000, dim: 24, queries: 30, seed: 5 };
        let sets = [(&dirs[0], 1), (&dirs[1], 3)].map(|(dir, threads)| {
            Set::read(&Set::synthetic(dir.path(), &mixture, threads).unwrap()).unwrap()
        });
        assert_eq!(sets[0].base, sets[1].base);
        assert_eq!(sets[0].queries, sets[1].queries);
        assert_eq!(sets[0].exact, sets[1].exact);
        assert_eq!(sets[0].rows, sets[1].rows);
    }

    #[test]
    fn a_set_that_lacks_a_file_or_has_a_wrong_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Set::read(dir.path()).is_err(), "an empty folder");
        let mixture = Mixture { rows: 200, dim: 8, queries: 4, seed: 1 };
        let folder = Set::synthetic(dir.path(), &mixture, 1).unwrap();
        let name = mixture.name();
        for end in ["base.f32bin", "query.f32bin", "gt100.bin", "base.jsonl", "query.jsonl"] {
            let path = folder.join(format!("{name}.{end}"));
            let good = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            assert!(Set::read(&folder).is_err(), "without {end}");
            fs::write(&path, &good[..good.len() - 4]).unwrap();
            assert!(Set::read(&folder).is_err(), "a short {end}");
            fs::write(&path, good).unwrap();
        }
        Set::read(&folder).unwrap();
    }
}

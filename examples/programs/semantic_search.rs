//! Search by meaning: 4,000 dictionary entries with their embeddings, and questions that share no word with them.
//!
//! ```text
//! cargo run --example semantic_search              # in a directory that is gone afterwards
//! cargo run --example semantic_search -- my-data   # in this one: the second run only searches
//! ```
//!
//! What to see here: a vector is a column like any other, `create_index` makes it searchable, and a search happens in
//! a transaction: what it finds is exactly what that transaction sees. The vectors come from a model outside of the
//! database (`data/README.md`); the questions do as well, since they must be made by the same one.

use half::f16;
use serde::{Deserialize, Serialize};
use sochdb::rows::Vector;
use sochdb::{Comparison, Database, IndexOptions, KernelResult, Table};
use std::error::Error;
use std::path::Path;

/// A text, and where its meaning lies.
#[derive(Serialize, Deserialize)]
struct Word {
    synset: String,
    text: String,
    /// The part of speech: n, v, a or r.
    pos: String,
    #[serde(default)]
    meaning: Vector<384>,
}

/// The texts of one half of the data set, with their vectors: see `data/README.md` for the format.
fn read(name: &str) -> Result<Vec<Word>, Box<dyn Error>> {
    let file = |kind| format!("{}/data/{name}.{kind}", env!("CARGO_MANIFEST_DIR"));
    let texts = std::fs::read_to_string(file("jsonl"))?;
    let vectors = std::fs::read(file("f16bin"))?;
    let rows = vectors.get(24..).ok_or("the file of vectors is shorter than its header")?;
    let mut words = Vec::new();
    for (line, row) in texts.lines().zip(rows.chunks_exact(2 * 384)) {
        let mut word: Word = serde_json::from_str(line)?;
        let halves = row.chunks_exact(2).map(|half| f16::from_le_bytes([half[0], half[1]]));
        word.meaning.iter_mut().zip(halves).for_each(|(to, half)| *to = half.to_f32());
        words.push(word);
    }
    Ok(words)
}

fn fill(db: &Database, words: &Table<Word>) -> Result<(), Box<dyn Error>> {
    let all = read("wordnet-4k.base")?;
    for some in all.chunks(1_000) {
        db.run(|tx| words.put_all(tx, some))?;
    }
    let options = IndexOptions::default().metric("cosine");
    db.create_index("words", "by_meaning", "meaning", &options, &mut |_| {})?;
    Ok(())
}

/// The texts nearest to a meaning, and how near they are.
fn ask(db: &Database, words: &Table<Word>, like: &Word) -> KernelResult<String> {
    let tx = db.begin_read()?;
    // More effort than usual: two answers are soon looked through, and none should be missed.
    let nouns = words.search(&tx).near(&like.meaning[..]).k(2).effort(400);
    let mut said = format!("? {}\n", like.text);
    for found in nouns.filter("pos", Comparison::Equal, "n").run()? {
        said += &format!("  {:.2} {}\n", found.distance, found.row.text);
    }
    Ok(said)
}

/// Stores the words if they are not there, asks three questions, and says what was found.
///
/// # Errors
/// The database's, and the disk's.
pub fn run(directory: &Path) -> Result<String, Box<dyn Error>> {
    let db = Database::open(directory)?;
    let words = db.typed_table::<Word>("words", &["synset"])?;
    if db.indexes(Some("words"))?.is_empty() {
        fill(&db, &words)?;
    }
    let questions = read("wordnet-4k.query")?;
    let said = questions.iter().take(3).map(|question| ask(&db, &words, question));
    let said = said.collect::<KernelResult<String>>()?;
    db.close()?;
    Ok(said)
}

fn main() -> Result<(), Box<dyn Error>> {
    let own = tempfile::tempdir()?;
    let given = std::env::args_os().nth(1);
    print!("{}", run(given.as_ref().map_or(own.path(), Path::new))?);
    Ok(())
}

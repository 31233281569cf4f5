//! Counters: the smallest useful program. Four threads count visits of pages in one table.
//!
//! ```text
//! cargo run --example counter              # in a directory that is gone afterwards
//! cargo run --example counter -- my-data   # in this one: run it again, and it goes on counting
//! ```
//!
//! What to see here: a table of a Rust struct, a handle that is cloned for each thread, and `run`, which begins the
//! transaction again when another thread has committed a change of the same row first. So no visit is lost, although
//! nobody locks anything.

use serde::{Deserialize, Serialize};
use sochdb::{Database, Durability, KernelResult, Table};
use std::error::Error;
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct Counter {
    page: String,
    visits: u64,
}

fn count(db: &Database, counters: &Table<Counter>, page: &str) -> KernelResult<()> {
    db.run(|tx| {
        // Read, change, write: all of it or nothing.
        if !counters.update(tx, page, |counter| counter.visits += 1)? {
            counters.insert(tx, &Counter { page: page.into(), visits: 1 })?;
        }
        Ok(())
    })
}

/// Counts, and says how far it has come.
///
/// # Errors
/// The database's, and the disk's.
pub fn run(directory: &Path) -> Result<String, Box<dyn Error>> {
    // A visit that a power cut takes back hurts nobody: commits are synced together, a little later.
    let later = Durability::FsyncDelayed(10_000);
    let db = Database::builder().durability(later).open(directory)?;
    let counters = db.typed_table::<Counter>("counters", &["page"])?;
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let (db, counters) = (db.clone(), counters.clone());
            std::thread::spawn(move || {
                (0..25).try_for_each(|visit| {
                    count(&db, &counters, if visit % 5 == 0 { "/about" } else { "/" })
                })
            })
        })
        .collect();
    for visitor in visitors {
        visitor.join().map_err(|_| "a visitor panicked")??;
    }
    let mut said = String::new();
    for counter in counters.scan(&db.begin_read()?, ..)? {
        let Counter { page, visits } = counter?;
        said += &format!("{page}: {visits} visits\n");
    }
    db.close()?;
    Ok(said)
}

fn main() -> Result<(), Box<dyn Error>> {
    let own = tempfile::tempdir()?;
    let given = std::env::args_os().nth(1);
    print!("{}", run(given.as_ref().map_or(own.path(), Path::new))?);
    Ok(())
}

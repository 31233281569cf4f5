//! Several customers in one database, none of whom can see, fill or slow down what is another's.
//!
//! ```text
//! cargo run --example multi_tenant              # in a directory that is gone afterwards
//! cargo run --example multi_tenant -- my-data   # in this one
//! ```
//!
//! What to see here: a tenant is a namespace of tables with quotas. The code that serves one is written as if it were
//! alone: it gets a handle, uses plain names, and meets `Limit` where its quota ends. The host sees everything, under
//! names like `acme/notes`. Quotas are not kept in the database: say them after each opening, from wherever the
//! contracts are kept.

use serde::{Deserialize, Serialize};
use sochdb::{Database, ErrorKind, KernelResult, TenantDatabase, TenantOptions};
use std::error::Error;
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct Note {
    id: u32,
    text: String,
}

/// What a customer's code does: it knows nothing of others. How many notes fitted into the quota.
fn write_notes(tenant: &TenantDatabase, many: u32, text: &str) -> KernelResult<u32> {
    let notes = tenant.typed_table::<Note>("notes", &["id"])?;
    for id in 0..many {
        let note = Note { id, text: text.to_owned() };
        match tenant.run(|tx| notes.put(tx, &note)) {
            Err(error) if error.kind() == ErrorKind::Limit => return Ok(id),
            written => written?,
        }
    }
    Ok(many)
}

/// Lets two customers write, and says what each has got.
///
/// # Errors
/// The database's, and the disk's.
pub fn run(directory: &Path) -> Result<String, Box<dyn Error>> {
    let db = Database::open(directory)?;
    let quota = |bytes| TenantOptions { storage_bytes_max: Some(bytes), ..Default::default() };
    let small = db.set_tenant("small", quota(1_000))?;
    let large = db.set_tenant("large", quota(1_000_000))?;

    let mut said = String::new();
    for tenant in [&small, &large] {
        let fitted = write_notes(tenant, 20, &"x".repeat(100))?;
        said += &format!("{}: {fitted} of 20 notes\n", tenant.name());
    }
    // The same name, another table: nobody reaches out of a namespace.
    for name in ["notes", "large/notes", "../large/notes"] {
        let seen = small.begin_read()?.scan(name, ..).map_or(0, Iterator::count);
        said += &format!("small sees {seen} rows of {name}\n");
    }
    for table in db.begin_read()?.tables()? {
        said += &format!("the host sees {}\n", table.name);
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

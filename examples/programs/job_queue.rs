//! A queue of jobs: mails are put into a queue together with the order they confirm, and two workers send them.
//!
//! ```text
//! cargo run --example job_queue              # in a directory that is gone afterwards
//! cargo run --example job_queue -- my-data   # in this one
//! ```
//!
//! What to see here: an order and the job that it causes commit together, so there is never one without the other. A
//! worker *claims* a job for a while; if it dies, the job is somebody else's afterwards. `complete` writes what the
//! work has led to and takes the job out of the queue in one transaction, so that happens once, however often the
//! job is tried. A job that fails again and again is put aside as dead, with the reason, instead of blocking others.

use sochdb::claims::{AtomicClaimManager, ClaimResult, ClaimToken, JobOptions, LeaseConfig};
use sochdb::{Database, Kernel, KernelResult, SystemClock, TableOptions};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Some orders with the mails that confirm them; one has no address that works.
const ORDERS: [(&str, &str); 5] = [
    ("1001", "ada@example.org"),
    ("1002", "alan@example.org"),
    ("1003", "nobody"),
    ("1004", "grace@example.org"),
    ("1005", "edsger@example.org"),
];

fn order(kernel: &Kernel, mails: &AtomicClaimManager, number: &str, to: &str) -> KernelResult<()> {
    kernel.run(|tx| {
        tx.put("orders", number.as_bytes(), to.as_bytes())?;
        let queued = mails.enqueue_in(tx, to.as_bytes(), JobOptions::default());
        queued.map(drop).map_err(Into::into)
    })
}

/// Stands for a mail server.
fn send(job: &ClaimToken) -> Result<String, String> {
    let to = String::from_utf8_lossy(job.payload()).into_owned();
    // A real server would be given `job.fence()`, too, and refuse a worker that was overtaken.
    if to.contains('@') { Ok(to) } else { Err(format!("'{to}' is no address")) }
}

fn work(mails: &AtomicClaimManager, worker: &str) -> Outcome<()> {
    while let ClaimResult::Claimed(job) = mails.claim(worker)? {
        match send(&job) {
            Ok(to) => mails.complete(&job, |tx| Ok(tx.put("sent", to.as_bytes(), b"once")?))?,
            Err(why) => {
                // Again at once; a real worker would wait a little longer each time.
                mails.release(&job, 0, &why)?;
            }
        }
    }
    Ok(())
}

/// Takes orders, sends mails, and says what has become of them.
///
/// # Errors
/// The database's, and the disk's.
pub fn run(directory: &Path) -> Outcome<String> {
    let db = Database::open(directory)?;
    for table in ["orders", "sent"] {
        if db.begin_read()?.table(table).is_err() {
            db.create_table(table, TableOptions::default())?;
        }
    }
    let config = LeaseConfig { attempts_max: 3, ..LeaseConfig::default() };
    let mails = AtomicClaimManager::open(&db, Arc::new(SystemClock), "mails", config)?;
    for (number, to) in ORDERS {
        order(&db, &mails, number, to)?;
    }
    std::thread::scope(|scope| {
        let workers = ["left", "right"].map(|name| scope.spawn(|| work(&mails, name)));
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker never panics"))
    })?;
    let mut said = String::new();
    for sent in db.begin_read()?.scan("sent", ..)? {
        said += &format!("sent to {}\n", sent?.0.escape_ascii());
    }
    for dead in mails.dead_jobs(10)? {
        let (to, why) = (dead.payload.escape_ascii().to_string(), dead.why);
        said += &format!("gave up on {to} after {} attempts: {why}\n", dead.attempts);
        // Whoever has read it need not keep it.
        mails.cancel(dead.id)?;
    }
    db.close()?;
    Ok(said)
}

fn main() -> Outcome<()> {
    let own = tempfile::tempdir()?;
    let given = std::env::args_os().nth(1);
    print!("{}", run(given.as_ref().map_or(own.path(), Path::new))?);
    Ok(())
}

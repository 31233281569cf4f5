//! A consumer of the change feed: it keeps sums of orders up to date, and goes on where it stopped.
//!
//! ```text
//! cargo run --example change_feed              # in a directory that is gone afterwards
//! cargo run --example change_feed -- my-data   # in this one: run it again, and only what is new is read
//! ```
//!
//! What to see here: `changes(since)` gives every commit in order, from the log. The consumer writes what it makes of
//! a commit and the commit's timestamp in one transaction, so each counts exactly once, also when the consumer dies in
//! between. Whoever wants to be able to begin at the very start keeps the log with `archive_codec` or `wal_archive`;
//! without, commits older than the last checkpoint may be gone, which is an error and never a gap.

use serde::{Deserialize, Serialize};
use sochdb::{Database, KernelResult, Options, Table, Timestamp};
use std::error::Error;
use std::path::Path;

#[derive(Serialize, Deserialize)]
struct Order {
    number: u64,
    customer: String,
    cents: i64,
}

#[derive(Serialize, Deserialize)]
struct Total {
    customer: String,
    cents: i64,
}

/// How far a consumer is.
#[derive(Serialize, Deserialize)]
struct Place {
    consumer: String,
    told: u64,
}

struct Consumer {
    orders: Table<Order>,
    totals: Table<Total>,
    places: Table<Place>,
}

impl Consumer {
    fn open(db: &Database) -> KernelResult<Consumer> {
        Ok(Consumer {
            orders: db.typed_table("orders", &["number"])?,
            totals: db.typed_table("totals", &["customer"])?,
            places: db.typed_table("places", &["consumer"])?,
        })
    }

    /// Takes in what was committed since the last time; how many orders that were.
    fn catch_up(&self, db: &Database) -> KernelResult<u64> {
        let orders = db.begin_read()?.table(self.orders.name())?.id;
        let place = self.places.get(&db.begin_read()?, "totals")?;
        let mut seen = 0;
        for change in db.changes(Timestamp(place.map_or(0, |place| place.told)))? {
            let change = change?;
            let rows: Vec<_> = change.rows.iter().filter(|row| row.table == orders).collect();
            if rows.is_empty() {
                continue; // Also what this consumer has committed itself.
            }
            db.run(|tx| {
                for row in &rows {
                    // An order is written once and never changed or deleted: the new row is all there is to know.
                    let Some(value) = &row.value else { continue };
                    let Order { customer, cents, .. } = self.orders.decode(&row.key, value)?;
                    let is_known =
                        self.totals.update(tx, &customer, |total| total.cents += cents)?;
                    if !is_known {
                        self.totals.insert(tx, &Total { customer, cents })?;
                    }
                }
                self.places.put(tx, &Place { consumer: "totals".into(), told: change.timestamp.0 })
            })?;
            seen += rows.len() as u64;
        }
        Ok(seen)
    }
}

/// Takes three orders, catches up, takes one more, catches up again, and says what the sums are.
///
/// # Errors
/// The database's, and the disk's.
pub fn run(directory: &Path) -> Result<String, Box<dyn Error>> {
    let kept = Options { wal_archive: true, ..Options::default() };
    let db = Database::builder().options(kept).open(directory)?;
    let consumer = Consumer::open(&db)?;
    let first = consumer.orders.scan(&db.begin_read()?, ..)?.count() as u64;
    let take = |number, customer: &str, cents| {
        let order = Order { number: first + number, customer: customer.into(), cents };
        db.run(|tx| consumer.orders.insert(tx, &order))
    };
    let mut said = String::new();
    take(1, "Ada", 1_000)?;
    take(2, "Alan", 250)?;
    take(3, "Ada", 500)?;
    said += &format!("{} orders are new\n", consumer.catch_up(&db)?);
    take(4, "Alan", 50)?;
    said += &format!("{} order is new\n", consumer.catch_up(&db)?);
    for total in consumer.totals.scan(&db.begin_read()?, ..)? {
        let Total { customer, cents } = total?;
        said += &format!("{customer}: {}.{:02}\n", cents / 100, cents % 100);
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

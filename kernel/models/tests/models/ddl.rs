//! One transaction drops a table and makes another of its name, one renames a table, while others write
//! to both by name. A write conflicts or is kept: in the table it was made to, under its new name. Names
//! and rows change at one moment, and the log tells the same story to the next process.

use crate::explore;
use crate::world::{World, image, rows};
use sochdb_kernel::{TableId, TableOptions, Timestamp};

/// Puts `key` into `table` in one try: the table's number and when it was committed.
fn put(world: &World, table: &str, key: &[u8]) -> Option<(TableId, Timestamp)> {
    let mut tx = world.kernel.begin().unwrap();
    let id = tx.table(table).ok()?.id;
    tx.put(table, key, b"row").unwrap();
    match tx.commit() {
        Ok(at) => Some((id, at)),
        Err(error) => {
            assert!(error.is_retryable(), "{error}");
            None
        }
    }
}

#[test]
fn ddl_beside_writers_keeps_or_refuses_their_rows() {
    let image = image(|kernel| kernel.create_table("u", TableOptions::default()));
    explore("ddl", move || {
        let world = World::new(&image, 60);
        let ddl = world.spawn(|world| {
            let mut tx = world.kernel.begin().unwrap();
            tx.drop_table("t").unwrap();
            tx.create_table("t", TableOptions::default()).unwrap();
            tx.put("t", b"born", b"with the table").unwrap();
            let replaced = tx.commit().unwrap();
            let mut tx = world.kernel.begin().unwrap();
            tx.rename_table("u", "v").unwrap();
            tx.commit().unwrap();
            replaced
        });
        let old = world.spawn(|world| put(world, "t", b"written"));
        let renamed = world.spawn(|world| put(world, "u", b"written"));
        let reader = world.spawn(|world| {
            for _ in 0..3 {
                let tx = world.kernel.begin_read().unwrap();
                let is_new = tx.table("t").unwrap().id.0 > 2;
                let born = tx.get("t", b"born").unwrap().is_some();
                assert_eq!(is_new, born, "a table and its first row come together");
                assert!(
                    tx.table("u").is_ok() != tx.table("v").is_ok(),
                    "a table has one name at a time"
                );
            }
        });
        let checkpoints = world.spawn(|world| {
            for _ in 0..2 {
                world.kernel.checkpoint().unwrap();
            }
        });
        let replaced = ddl.join().unwrap();
        reader.join().unwrap();
        checkpoints.join().unwrap();
        let (old, renamed) = (old.join().unwrap(), renamed.join().unwrap());
        let found = rows(&world.kernel);
        let has = |table: &str| found.contains_key(&(table.to_owned(), b"written".to_vec()));
        let expected = old.is_some_and(|(id, at)| {
            assert!(id.0 > 2 || at < replaced, "a commit at {at} to a table dropped at {replaced}");
            id.0 > 2
        });
        assert_eq!(has("t"), expected, "the row of the new table, written as {old:?}");
        assert_eq!(has("v"), renamed.is_some(), "the row of the renamed table, {renamed:?}");
        world.reopened();
    });
}

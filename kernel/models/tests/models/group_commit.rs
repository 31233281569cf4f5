//! Three writers share the log's syncs. What was acknowledged survives a power cut at any call to the
//! disk, and a transaction is there wholly or not at all.

use crate::explore;
use crate::world::{World, image, rows};

#[test]
fn group_commit_acknowledges_only_what_survives_a_cut() {
    let image = image(|_| Ok(()));
    explore("group_commit", move || {
        let world = World::new(&image, 22);
        let writers = [b'a', b'b', b'c'].map(|writer| {
            world.spawn(move |world| {
                for number in 0..2 {
                    let mut tx = world.kernel.begin().unwrap();
                    for half in 0..2 {
                        tx.put("t", &[writer, number, half], b"row").unwrap();
                    }
                    tx.commit().unwrap();
                    (0..2).for_each(|half| world.disk.promise(&[writer, number, half]));
                }
            })
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let rows = rows(&world.after_cut());
        for (table, key) in rows.keys() {
            let other = vec![key[0], key[1], 1 - key[2]];
            assert!(rows.contains_key(&(table.clone(), other)), "half a transaction: {key:?}");
        }
    });
}

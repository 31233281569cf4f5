//! Writers commit while readers begin. A snapshot sees exactly the commits up to its timestamp, holds
//! every commit acknowledged before it began, and is never older than the one before it. What it shows
//! survives a cut.

use crate::explore;
use crate::world::{World, image};
use std::sync::{Arc, Mutex};

#[test]
fn visibility_follows_commit_order() {
    let image = image(|_| Ok(()));
    explore("visibility", move || {
        let world = World::new(&image, 30);
        let commits = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let writers = [b'a', b'b', b'c'].map(|writer| {
            let commits = commits.clone();
            world.spawn(move |world| {
                for number in 0..2 {
                    let key = vec![writer, number];
                    let mut tx = world.kernel.begin().unwrap();
                    tx.put("t", &key, b"row").unwrap();
                    let at = tx.commit().unwrap();
                    world.disk.promise(&key);
                    commits.lock().unwrap().push((key, at));
                }
            })
        });
        let readers = [(), ()].map(|()| {
            let (commits, seen) = (commits.clone(), seen.clone());
            world.spawn(move |world| {
                let mut last = None;
                for _ in 0..3 {
                    let acknowledged: Vec<_> = commits.lock().unwrap().clone();
                    let tx = world.kernel.begin_read().unwrap();
                    let at = tx.snapshot();
                    assert!(last <= Some(at), "a snapshot at {at:?} after one at {last:?}");
                    last = Some(at);
                    let rows = tx.scan("t", ..).unwrap().map(|row| row.unwrap().0);
                    let rows: Vec<_> = rows.collect();
                    rows.iter().for_each(|key| world.shown(key));
                    for (key, commit) in acknowledged {
                        assert!(commit <= at, "{commit} was acknowledged before {at} began");
                        assert!(rows.contains(&key), "{key:?} was acknowledged, {rows:?}");
                    }
                    seen.lock().unwrap().push((at, rows));
                }
            })
        });
        writers.into_iter().chain(readers).for_each(|thread| thread.join().unwrap());
        for (at, rows) in seen.lock().unwrap().iter() {
            for (key, commit) in commits.lock().unwrap().iter() {
                assert_eq!(
                    rows.contains(key),
                    commit <= at,
                    "a snapshot at {at} and a commit at {commit}"
                );
            }
        }
        world.after_cut();
    });
}

//! `close` while others commit. Each commit is refused and gone or acknowledged and durable, whatever
//! durability it asked for, as soon as `close` has returned; nothing begins afterwards.

use crate::disk::{Disk, Fate};
use crate::explore;
use crate::world::{World, image, open, rows};
use sochdb_kernel::{Durability, KernelError, TransactionOptions};

#[test]
fn closing_refuses_commits_or_makes_them_durable() {
    let image = image(|_| Ok(()));
    explore("closing", move || {
        let world = World::new(&image, 1 << 40);
        let levels = [Durability::Fsync, Durability::None, Durability::FsyncDelayed(1000)];
        let writers = [0u8, 1, 2].map(|writer| {
            world.spawn(move |world| {
                let durability = Some(levels[usize::from(writer)]);
                let mut results = Vec::new();
                for number in 0..2 {
                    let key = vec![writer, number];
                    let options = TransactionOptions { durability, ..Default::default() };
                    let result = world.kernel.begin_with(options).and_then(|mut tx| {
                        tx.put("t", &key, b"row")?;
                        tx.commit()
                    });
                    results.push((key, result));
                }
                results
            })
        });
        let closing = world.spawn(|world| {
            world.kernel.close().unwrap();
            assert!(matches!(world.kernel.begin(), Err(KernelError::Closed(_))));
            world.disk.take_cut(Fate::Lost).0
        });
        let left = closing.join().unwrap();
        let results: Vec<_> = writers.into_iter().flat_map(|w| w.join().unwrap()).collect();
        let found = rows(&open(&Disk::of(&left), world.clock.clone()));
        for (key, result) in results {
            let there = found.contains_key(&("t".to_owned(), key.clone()));
            match result {
                Ok(_) => assert!(there, "{key:?} was acknowledged and is lost after close"),
                Err(KernelError::Closed(_)) => assert!(!there, "{key:?} was refused and is there"),
                Err(other) => panic!("{key:?}: {other}"),
            }
        }
    });
}

//! One sync fails while others wait for it, beside a checkpoint. Its writes never reach the disk, though
//! processes still see them, and the syncs after it succeed: yet nobody who asks from then on is told of
//! success, and whoever was told survives a power cut.

use crate::explore;
use crate::world::{World, image};
use shuttle::rand::{Rng, thread_rng};

#[test]
fn failed_sync_is_never_followed_by_success() {
    let image = image(|_| Ok(()));
    explore("failed_sync", move || {
        let world = World::new(&image, 60);
        world.disk.fail_sync(thread_rng().gen_range(1..8));
        let writers = [b'a', b'b', b'c'].map(|writer| {
            world.spawn(move |world| {
                for number in 0..3 {
                    let had_failed = world.disk.has_failed() && world.kernel.failure().is_some();
                    let result = world.kernel.begin().and_then(|mut tx| {
                        tx.put("t", &[writer, number], b"row")?;
                        tx.commit()
                    });
                    if result.is_ok() {
                        assert!(!had_failed, "a commit succeeds after a sync has failed");
                        world.disk.promise(&[writer, number]);
                    }
                }
            })
        });
        let checkpoint = world.spawn(|world| drop(world.kernel.checkpoint()));
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        checkpoint.join().unwrap();
        if world.disk.has_failed() {
            assert!(world.kernel.failure().is_some(), "a failed sync is remembered");
            let again = world.kernel.begin().and_then(|mut tx| {
                tx.put("t", b"again", b"row")?;
                tx.commit()
            });
            assert!(again.is_err(), "a commit succeeds although the database has failed");
        }
        world.after_cut();
    });
}

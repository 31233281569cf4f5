//! Delayed commits side by side, while the clock runs. No deadline is forgotten: called behind the last of
//! them, `sync_due` has made every delayed commit durable.

use crate::explore;
use crate::world::{World, image};
use sochdb_kernel::Durability;

#[test]
fn delayed_commits_keep_their_deadline() {
    let image = image(|_| Ok(()));
    explore("delayed", move || {
        let world = World::new(&image, 36);
        let threads = [b'a', b'b', b'c'].map(|writer| {
            world.spawn(move |world| {
                for number in 0..2 {
                    world.put(&[writer, number], Durability::FsyncDelayed(10));
                    world.clock.advance(10);
                    world.kernel.sync_due().unwrap();
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        world.clock.advance(10);
        world.kernel.sync_due().unwrap();
        for writer in [b'a', b'b', b'c'] {
            (0..2).for_each(|number| world.disk.promise(&[writer, number]));
        }
        world.after_cut();
    });
}

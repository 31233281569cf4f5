//! A commit that asks for a sync and one that asks for none, and a reader. Publishing the second publishes
//! the first as well: whatever the reader is shown of the first survives a cut at that moment.

use crate::explore;
use crate::world::{World, image};
use sochdb_kernel::Durability;

#[test]
fn lazy_commits_show_nothing_of_others_before_it_is_durable() {
    let image = image(|_| Ok(()));
    explore("lazy", move || {
        let world = World::cut_when_shown(&image);
        let threads = [
            world.spawn(|world| world.put(b"synced", Durability::Fsync)),
            world.spawn(|world| world.put(b"lazy", Durability::None)),
            world.spawn(|world| {
                for _ in 0..4 {
                    let tx = world.kernel.begin_read().unwrap();
                    if tx.get("t", b"synced").unwrap().is_some() {
                        world.shown(b"synced");
                    }
                }
            }),
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        world.after_cut();
    });
}

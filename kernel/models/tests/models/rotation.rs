//! Log segments so small that every third commit needs a new one, while checkpoints let old ones go and
//! make them spares. Nothing acknowledged is lost at any cut, and the log stays readable.

use crate::explore;
use crate::world::{World, image};
use sochdb_kernel::{Durability, TransactionOptions};

#[test]
fn rotation_of_log_segments_loses_nothing() {
    let image = image(|_| Ok(()));
    explore("rotation", move || {
        let world = World::new(&image, 80);
        let writers = [b'a', b'b'].map(|writer| {
            world.spawn(move |world| {
                for number in 0..4 {
                    // The lazy ones leave bytes in a segment that somebody else must sync.
                    let lazy = writer == b'b' && number % 2 == 0;
                    let durability = Some(if lazy { Durability::None } else { Durability::Fsync });
                    let options = TransactionOptions { durability, ..Default::default() };
                    let mut tx = world.kernel.begin_with(options).unwrap();
                    tx.put("t", &[writer, number], &[writer; 6000]).unwrap();
                    tx.commit().unwrap();
                    if !lazy {
                        // A synced commit takes everything before it along.
                        (0..=number).for_each(|n| world.disk.promise(&[writer, n]));
                    }
                }
            })
        });
        let checkpoints = world.spawn(|world| {
            for _ in 0..2 {
                world.kernel.checkpoint().unwrap();
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        checkpoints.join().unwrap();
        world.after_cut();
    });
}

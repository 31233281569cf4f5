//! Two threads count up one row with `run`, a third tries to and, when it was late, only looks, beside
//! checkpoints. Nobody gives up, nothing is lost, and a try is repeated only because somebody else's commit
//! came between. What the third was told without writing survives a cut: a repeated try reads commits whose
//! sync still runs, and must not say so before it is done.

use crate::explore;
use crate::world::{World, image, number};
use sochdb_kernel::{KernelResult, Transaction};

const EACH: u64 = 2;

fn row(number: u64) -> [u8; 2] {
    [b'n', u8::try_from(number).expect("a few")]
}

/// Counts up by one, and leaves a row that says so.
fn count(tx: &mut Transaction) -> KernelResult<u64> {
    let next = number(tx, b"counter") + 1;
    tx.put("t", b"counter", &next.to_be_bytes())?;
    tx.put("t", &row(next), b"counted")?;
    Ok(next)
}

#[test]
fn progress_is_made_by_everybody() {
    let image = image(|_| Ok(()));
    explore("progress", move || {
        let world = World::new(&image, 60);
        let counting = [(), ()].map(|()| {
            world.spawn(|world| {
                let mut tries = 0;
                for _ in 0..EACH {
                    let try_once = |tx: &mut Transaction| {
                        tries += 1;
                        count(tx)
                    };
                    let counted = world.kernel.run(try_once).unwrap();
                    world.disk.promise(&row(counted));
                }
                // The first try of each may be late; after that each commit of another spoils one.
                assert!(tries <= 2 * EACH + EACH + 1, "{tries} tries for {EACH} commits");
            })
        });
        let looking = world.spawn(|world| {
            let (mut tries, mut wrote) = (0, 0);
            for _ in 0..EACH {
                let mut late = false;
                let look = |tx: &mut Transaction| {
                    tries += 1;
                    if late {
                        return Ok((number(tx, b"counter"), false));
                    }
                    late = true;
                    count(tx).map(|counted| (counted, true))
                };
                let (seen, counted) = world.kernel.run(look).unwrap();
                world.shown(&row(seen));
                wrote += u64::from(counted);
            }
            assert!(tries <= 2 * EACH, "{tries} tries to look {EACH} times");
            wrote
        });
        let checkpoints = world.spawn(|world| {
            for _ in 0..2 {
                world.kernel.checkpoint().unwrap();
            }
        });
        checkpoints.join().unwrap();
        counting.into_iter().for_each(|thread| thread.join().unwrap());
        let wrote = looking.join().unwrap();
        let counted = number(&world.kernel.begin_read().unwrap(), b"counter");
        assert_eq!(counted, 2 * EACH + wrote, "nothing is lost");
        world.after_cut();
    });
}

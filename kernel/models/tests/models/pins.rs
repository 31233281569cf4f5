//! Checkpoints fold new rows into pages while readers hold old ones. Every reader sees one state, the
//! one of its timestamp, as often as it looks, and no page it can reach is used again. There is no
//! cache, so each look reads the disk and each page's checksum is compared.

use crate::explore;
use crate::world::{World, image, rows};
use sochdb_kernel::KernelResult;

/// Writes generation `number` into every row.
fn write(kernel: &sochdb_kernel::Kernel, number: u8) -> KernelResult<u64> {
    let mut tx = kernel.begin()?;
    for key in 0..4u8 {
        // Long enough for a run of pages of its own.
        tx.put("t", &[key], &vec![number; if key == 0 { 3000 } else { 100 }])?;
    }
    Ok(tx.commit()?.0)
}

#[test]
fn pins_keep_pages_from_being_used_again() {
    let image = image(|kernel| {
        write(kernel, 0)?;
        kernel.checkpoint().map(drop)
    });
    explore("pins", move || {
        let world = World::new(&image, 60);
        let base = world.kernel.begin_read().unwrap().snapshot().0;
        let writer = world.spawn(move |world| {
            for number in 1..4 {
                assert_eq!(write(&world.kernel, number).unwrap(), base + u64::from(number));
            }
        });
        let checkpoints = world.spawn(|world| {
            for _ in 0..3 {
                world.kernel.checkpoint().unwrap();
            }
        });
        let readers = [(), ()].map(|()| {
            world.spawn(move |world| {
                for _ in 0..2 {
                    let tx = world.kernel.begin_read().unwrap();
                    let number = tx.snapshot().0 - base;
                    for _ in 0..2 {
                        let rows = tx.scan("t", ..).unwrap().map(|row| row.unwrap().1);
                        for value in rows {
                            assert_eq!(
                                u64::from(value[0]),
                                number,
                                "what a snapshot {number} commits behind the first sees"
                            );
                        }
                        let value = tx.get("t", &[0]).unwrap().expect("always there");
                        assert_eq!((u64::from(value[0]), value.len()), (number, 3000));
                    }
                }
            })
        });
        writer.join().unwrap();
        checkpoints.join().unwrap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        let rows = rows(&world.after_cut());
        let first = rows.values().next().expect("four rows")[0];
        assert!(rows.len() == 4 && rows.values().all(|value| value[0] == first), "{rows:?}");
    });
}

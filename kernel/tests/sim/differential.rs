//! The same operations on ours and on redb: an opinion that shares no line with our model.

use crate::model::range;
use crate::workload;
use crate::{either, replay, seed, size};
use fastrand::Rng;
use redb::{ReadableDatabase, ReadableTable};
use sochdb_kernel::{Environment, Kernel, KeyRange, TableOptions};

const TABLE: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("t");

fn key(rng: &mut Rng) -> Vec<u8> {
    format!("{}/{}", rng.u8(0..6), rng.u16(0..300)).into_bytes()
}

fn redb_rows(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    range: &KeyRange,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = table.iter().unwrap().map(|row| row.unwrap());
    let rows = rows.map(|(key, value)| (key.value().to_vec(), value.value().to_vec()));
    rows.filter(|(key, _)| range.contains(key)).collect()
}

fn one_run(seed: u64, txns: u64) -> u64 {
    let mut rng = Rng::with_seed(seed);
    let env = Environment { seed, ..sochdb_sim::memory() };
    let ours = Kernel::open(env, workload::small_options()).unwrap();
    let mut tx = ours.begin().unwrap();
    tx.create_table("t", TableOptions::default()).unwrap();
    tx.commit().unwrap();
    let theirs = redb::Database::builder()
        .create_with_backend(redb::backends::InMemoryBackend::new())
        .unwrap();
    let mut ops = 0;
    for number in 0..txns {
        let mut a = ours.begin().unwrap();
        let b = theirs.begin_write().unwrap();
        let mut table = b.open_table(TABLE).unwrap();
        for _ in 0..rng.usize(1..40) {
            ops += 1;
            let key = key(&mut rng);
            match rng.u8(0..10) {
                0..=4 => {
                    let len = if rng.u8(0..50) == 0 { 6000 } else { rng.usize(0..60) };
                    let value = workload::bytes(&mut rng, len);
                    a.put("t", &key, &value).unwrap();
                    table.insert(key.as_slice(), &*value).unwrap();
                }
                5 | 6 => {
                    a.delete("t", &key).unwrap();
                    table.remove(key.as_slice()).unwrap();
                }
                _ => {
                    let theirs =
                        table.get(key.as_slice()).unwrap().map(|value| value.value().to_vec());
                    assert_eq!(a.get("t", &key).unwrap().map(|value| value.to_vec()), theirs);
                }
            }
        }
        if rng.u8(0..4) == 0 {
            let range = range(&mut rng, self::key);
            let rows =
                a.scan("t", range.clone()).unwrap().map(|row| row.map(|(k, v)| (k, v.to_vec())));
            assert_eq!(rows.collect::<Result<Vec<_>, _>>().unwrap(), redb_rows(&table, &range));
        }
        drop(table);
        if rng.u8(0..5) == 0 {
            a.rollback();
            b.abort().unwrap();
        } else {
            a.commit().unwrap();
            b.commit().unwrap();
        }
        if number % 50 == 49 {
            ours.checkpoint().unwrap();
        }
    }
    let read = theirs.begin_read().unwrap();
    let table = read.open_table(TABLE).unwrap();
    let tx = ours.begin_read().unwrap();
    let rows = tx.scan("t", KeyRange::all()).unwrap().map(|row| row.map(|(k, v)| (k, v.to_vec())));
    assert_eq!(rows.collect::<Result<Vec<_>, _>>().unwrap(), redb_rows(&table, &KeyRange::all()));
    ops
}

#[test]
fn differential_with_redb() {
    let seed = seed();
    let mut ops = 0;
    for run in 0..size(50, 500) {
        match std::panic::catch_unwind(|| one_run(seed + run, either(300, 3000))) {
            Ok(count) => ops += count,
            Err(panic) => {
                println!("{}", replay("differential", seed + run));
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("differential: {ops} operations give the same answers as redb; seed {seed}");
}

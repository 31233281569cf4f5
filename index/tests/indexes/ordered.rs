//! Ordered indexes: lookups by value.

use crate::rig::{Rig, delete, key, put};
use sochdb_encoding::row::Value;
use sochdb_index::{Lookup, VectorSearch, lookup, search};
use std::collections::BTreeMap;
use std::ops::Bound;

#[test]
fn lookups_find_what_a_look_at_every_row_finds() {
    for (seed, flat_max) in [(1, "1"), (2, "30"), (3, "100000")] {
        let mut random = fastrand::Rng::with_seed(seed);
        let rig = Rig::new();
        let index = rig.index("color", &[("using", "nearest"), ("flat_max", flat_max)]);
        let mut rows: BTreeMap<i64, Option<String>> = BTreeMap::new();
        for step in 0..60 {
            let mut tx = rig.kernel.begin().unwrap();
            for _ in 0..10 {
                let id = random.i64(0..100);
                if random.u8(0..4) == 0 {
                    delete(&mut tx, id).unwrap();
                    rows.remove(&id);
                } else {
                    let color = (random.u8(0..9) != 0).then(|| format!("c{}", random.u8(0..12)));
                    put(&mut tx, id, color.as_deref(), None).unwrap();
                    rows.insert(id, color);
                }
            }
            let value =
                |random: &mut fastrand::Rng| Value::String(format!("c{}", random.u8(0..12)));
            let start = match random.u8(0..3) {
                0 => Bound::Unbounded,
                1 => Bound::Included(value(&mut random)),
                _ => Bound::Excluded(value(&mut random)),
            };
            let end = match random.u8(0..3) {
                0 => Bound::Unbounded,
                1 => Bound::Included(value(&mut random)),
                _ => Bound::Excluded(value(&mut random)),
            };
            let (reverse, limit) = (random.bool(), random.usize(0..40));
            let inside = |color: &str| {
                let text = |value: &Value| match value {
                    Value::String(text) => text.clone(),
                    _ => unreachable!(),
                };
                (match &start {
                    Bound::Unbounded => true,
                    Bound::Included(value) => *text(value) <= *color,
                    Bound::Excluded(value) => *text(value) < *color,
                }) && match &end {
                    Bound::Unbounded => true,
                    Bound::Included(value) => *color <= *text(value),
                    Bound::Excluded(value) => *color < *text(value),
                }
            };
            let mut expected: Vec<(String, Vec<u8>)> = rows
                .iter()
                .filter_map(|(id, color)| Some((color.clone()?, key(*id))))
                .filter(|(color, _)| inside(color))
                .collect();
            expected.sort();
            if reverse {
                expected.reverse();
            }
            expected.truncate(limit);
            let keys: Vec<_> = expected.into_iter().map(|(_, key)| key).collect();
            let wanted = Lookup { start: start.clone(), end: end.clone(), reverse, limit };
            assert_eq!(lookup(&rig.engine, &tx, &index, &wanted).unwrap(), keys);
            tx.commit().unwrap();
            if step % 5 == 0 {
                assert!(rig.kernel.checkpoint().unwrap().failed.is_empty());
            }
            let tx = rig.kernel.begin_read().unwrap();
            assert_eq!(lookup(&rig.engine, &tx, &index, &wanted).unwrap(), keys);
        }
        let tx = rig.kernel.begin_read().unwrap();
        assert!(search(&rig.engine, &tx, &index, &VectorSearch::new(vec![1.0; 4], 1)).is_err());
    }
}

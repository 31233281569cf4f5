//! What is refused, and what is defined at the edges.

use crate::rig::{Rig, put, schema};
use sochdb_index::{IndexDefinition, K_MAX, VectorSearch, search};
use sochdb_kernel::ErrorKind;
use std::collections::BTreeMap;

#[test]
fn vectors_that_are_no_numbers_are_refused_where_they_are_written() {
    let rig = Rig::new();
    let _index = rig.index("vector", &[("using", "nearest")]);
    let mut tx = rig.kernel.begin().unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = put(&mut tx, 1, None, Some(&[0.0, bad, 0.0, 0.0])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("'vector'"), "{error}");
    }
}

#[test]
fn queries_that_make_no_sense_are_refused() {
    let rig = Rig::new();
    let index = rig.index("vector", &[("using", "nearest")]);
    let tx = rig.kernel.begin_read().unwrap();
    let kind = |wanted: VectorSearch| search(&rig.engine, &tx, &index, &wanted).unwrap_err().kind();
    assert_eq!(kind(VectorSearch::new(vec![1.0; 3], 1)), ErrorKind::Invalid);
    assert_eq!(kind(VectorSearch::new(vec![f32::NAN; 4], 1)), ErrorKind::Invalid);
    assert_eq!(kind(VectorSearch::new(vec![0.0; 4], 1)), ErrorKind::Invalid);
    assert_eq!(kind(VectorSearch::new(vec![1.0; 4], K_MAX + 1)), ErrorKind::Limit);
    let none = search(&rig.engine, &tx, &index, &VectorSearch::new(vec![1.0; 4], 5)).unwrap();
    assert!(none.is_empty(), "an empty index has no hits");
}

#[test]
fn the_edges_are_defined() {
    let rig = Rig::new();
    let index = rig.index("vector", &[("using", "nearest"), ("flat_max", "1")]);
    rig.kernel
        .run(|tx| {
            put(tx, 1, None, Some(&[0.0; 4]))?;
            put(tx, 2, None, Some(&[1.0, 0.0, 0.0, 0.0]))?;
            put(tx, 3, None, None)
        })
        .unwrap();
    for _ in 0..3 {
        let tx = rig.kernel.begin_read().unwrap();
        let find = |k| {
            let wanted = VectorSearch::new(vec![2.0, 0.0, 0.0, 0.0], k);
            search(&rig.engine, &tx, &index, &wanted).unwrap()
        };
        assert!(find(0).is_empty());
        let all = find(100);
        assert_eq!(all.len(), 2, "a null is never found");
        assert_eq!(all[0].distance, 0.0);
        assert_eq!(all[1].distance, 1.0, "zeros have distance 1 from everything");
        rig.kernel.checkpoint().unwrap();
    }
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let rig = Rig::new();
    for (name, value) in
        [("metric", "manhattan"), ("store", "f8"), ("codes", "zip"), ("flat_max", "many")]
    {
        let index = rig.define("vector", &[("using", "nearest"), (name, value)]);
        let error = index.and_then(|index| rig.engine.check(&index)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(name), "{error}");
    }
    let missing = rig.define("vector", &[("using", "other")]).unwrap();
    assert_eq!(rig.engine.check(&missing).unwrap_err().kind(), ErrorKind::Plugin);
    let none = BTreeMap::new();
    for (name, column) in [("a.b", "vector"), ("", "vector"), ("a", "nothing")] {
        let made = IndexDefinition::new("docs", name, column, Some(&schema()), &none);
        assert_eq!(made.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

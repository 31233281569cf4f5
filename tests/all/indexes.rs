//! Indexes end to end: what a search finds is what its transaction sees, whatever happens to rows, tables and the
//! process meanwhile.

use sochdb::operations::Progress;
use sochdb::{
    Column, ColumnType, Comparison, Database, ErrorKind, IndexKind, IndexOptions, IndexState,
    IsolationLevel, Kernel, KernelResult, KeyRange, Lookup, Neighbour, Options, Schema,
    TableChanges, TableOptions, TenantOptions, Transaction, TransactionOptions, Value,
};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Barrier;

const DIM: usize = 4;

fn quietly() -> fn(Progress<'_>) {
    |_| {}
}

/// `id`, `pos`, `v`.
fn schema() -> Schema {
    let column =
        |name: &str, kind, nullable| Column { name: name.into(), kind, nullable, default: None };
    let columns = vec![
        column("id", ColumnType::Int64, false),
        column("pos", ColumnType::String, true),
        column("v", ColumnType::Vector(DIM as u32), true),
    ];
    Schema::new(columns, &["id"]).unwrap()
}

fn key(id: i64) -> Vec<u8> {
    schema().encode_key_values(&[Value::Int64(id)]).unwrap()
}

/// A row whose vector points to `angle` degrees in the plane of the first two dimensions.
fn row(id: i64, pos: &str, angle: f32) -> (Vec<u8>, Vec<u8>) {
    row_of(id, pos, Value::Vector(vector(angle)))
}

fn row_of(id: i64, pos: &str, v: Value) -> (Vec<u8>, Vec<u8>) {
    let row = [Value::Int64(id), Value::String(pos.into()), v];
    (schema().encode_key(&row).unwrap(), schema().encode_row(&row).unwrap())
}

fn vector(angle: f32) -> Vec<f32> {
    let (sine, cosine) = angle.to_radians().sin_cos();
    vec![cosine, sine, 0.0, 0.0]
}

fn put(tx: &mut Transaction, table: &str, (key, value): (Vec<u8>, Vec<u8>)) -> KernelResult<()> {
    tx.put(table, &key, &value)
}

fn open(path: &std::path::Path) -> Database {
    Database::builder().background(false).open(path).unwrap()
}

/// A database with `docs`: rows 0 to 9 at 0, 10, ... 90 degrees, nouns where even, verbs where odd.
fn docs(path: &std::path::Path) -> Database {
    let db = open(path);
    let options = TableOptions { schema: Some(schema()), ..TableOptions::default() };
    db.create_table("docs", options).unwrap();
    fill(&db, "docs", 0..10);
    db
}

fn fill(db: &Database, table: &str, ids: std::ops::Range<i64>) {
    let pos = |id: i64| if id % 2 == 0 { "n" } else { "v" };
    db.run(|tx| {
        ids.clone().try_for_each(|id| put(tx, table, row(id, pos(id), (id % 360 * 10) as f32)))
    })
    .unwrap();
}

fn index(db: &Database, table: &str) {
    db.create_index(table, "meaning", "v", &IndexOptions::default(), &mut quietly()).unwrap();
}

fn ids(found: &[Neighbour]) -> Vec<i64> {
    let id = |found: &Neighbour| match schema().key_values(&found.key).unwrap()[0] {
        Value::Int64(id) => id,
        _ => panic!("the key is a number"),
    };
    found.iter().map(id).collect()
}

/// The ids of the `k` rows nearest to `angle`, in `tx`.
fn near(tx: &Transaction, angle: f32, k: usize) -> Vec<i64> {
    ids(&tx.search("docs").near(&vector(angle)).k(k).run().unwrap())
}

fn near_now(db: &Database, angle: f32, k: usize) -> Vec<i64> {
    near(&db.begin_read().unwrap(), angle, k)
}

#[test]
fn rows_are_found_by_what_they_are_now_and_by_old_snapshots_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    index(&db, "docs");
    assert_eq!(near_now(&db, 31.0, 3), [3, 4, 2]);
    for flushed in [false, true] {
        if flushed {
            db.checkpoint().unwrap();
        }
        let old = db.begin_read().unwrap();
        let mut tx = db.begin().unwrap();
        put(&mut tx, "docs", row(100, "n", 32.0)).unwrap();
        put(&mut tx, "docs", row(3, "v", 200.0)).unwrap();
        tx.delete("docs", &key(4)).unwrap();
        // Its own writes, and nobody else's.
        assert_eq!(near(&tx, 31.0, 3), [100, 2, 5]);
        assert_eq!(near(&tx, 200.0, 1), [3]);
        assert_eq!(near_now(&db, 31.0, 3), [3, 4, 2]);
        let savepoint = tx.savepoint().unwrap();
        tx.delete("docs", &key(100)).unwrap();
        assert_eq!(near(&tx, 31.0, 1), [2]);
        tx.rollback_to(savepoint).unwrap();
        assert_eq!(near(&tx, 31.0, 1), [100]);
        tx.commit().unwrap();
        assert_eq!(near_now(&db, 31.0, 3), [100, 2, 5]);
        assert_eq!(near_now(&db, 200.0, 1), [3]);
        assert_eq!(near(&old, 31.0, 3), [3, 4, 2]);
        drop(old);
        db.run(|tx| {
            tx.delete("docs", &key(100))?;
            put(tx, "docs", row(3, "v", 30.0))?;
            put(tx, "docs", row(4, "n", 40.0))
        })
        .unwrap();
    }
    // A row without a vector is never found, and is again once it has one.
    db.run(|tx| put(tx, "docs", row_of(3, "v", Value::Null))).unwrap();
    assert_eq!(near_now(&db, 31.0, 2), [4, 2]);
    db.run(|tx| tx.delete_range("docs", KeyRange::all())).unwrap();
    assert_eq!(near_now(&db, 31.0, 5), [0_i64; 0]);
    db.close().unwrap();
    assert_eq!(near_now(&open(directory.path()), 31.0, 5), [0_i64; 0]);
}

#[test]
fn a_transaction_that_began_before_an_index_runs_again() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    let mut tx = db.begin().unwrap();
    put(&mut tx, "docs", row(50, "n", 31.0)).unwrap();
    let mut other = db.begin().unwrap();
    db.create_table("others", TableOptions::default()).unwrap();
    index(&db, "docs");
    assert_eq!(tx.commit().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(near_now(&db, 31.0, 1), [3]);
    // Who has not written to the table has nothing to mark.
    other.create_table("more", TableOptions::default()).unwrap();
    other.put("more", b"k", b"v").unwrap();
    other.commit().unwrap();

    let (written, indexed, mut attempts) = (Barrier::new(2), Barrier::new(2), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            written.wait();
            let options = IndexOptions::default().metric("euclidean");
            db.create_index("docs", "second", "v", &options, &mut quietly()).unwrap();
            indexed.wait();
        });
        db.run(|tx| {
            attempts += 1;
            put(tx, "docs", row(51, "n", 32.0))?;
            if attempts == 1 {
                written.wait();
                indexed.wait();
            }
            Ok(())
        })
        .unwrap();
    });
    assert_eq!(attempts, 2);
    let found = db.search("docs").index("second").near(&vector(32.0)).k(1).run().unwrap();
    assert_eq!((ids(&found), found[0].distance), (vec![51], 0.0));
    let error = db.search("docs").near(&vector(32.0)).run().unwrap_err();
    assert!(error.to_string().contains("say meaning or second"), "{error}");
}

#[test]
fn who_reads_what_is_newest_never_writes_past_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    let options = TransactionOptions {
        isolation: IsolationLevel::ReadCommitted,
        ..TransactionOptions::default()
    };
    let mut before = db.begin_with(options).unwrap();
    put(&mut before, "docs", row(50, "n", 31.0)).unwrap();
    index(&db, "docs");
    put(&mut before, "docs", row(51, "n", 31.5)).unwrap();
    assert_eq!(before.commit().unwrap_err().kind(), ErrorKind::Conflict);
    let mut marked = db.begin_with(options).unwrap();
    put(&mut marked, "docs", row(50, "n", 31.0)).unwrap();
    db.drop_index("docs", "meaning").unwrap();
    let late = put(&mut marked, "docs", row(51, "n", 31.5));
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(marked.commit().unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn an_index_goes_with_its_table() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    index(&db, "docs");
    let hidden = |db: &Database| {
        let all = Kernel::begin_read(db).unwrap().tables().unwrap().into_iter();
        let names = all.map(|table| table.name).filter(|name| name.starts_with("sochdb.index"));
        names.collect::<Vec<_>>()
    };
    assert_eq!(hidden(&db), ["sochdb.index.meaning.docs"]);
    let shown = |db: &Database| {
        let all = db.begin_read().unwrap().tables().unwrap().into_iter();
        all.map(|table| table.name).collect::<Vec<_>>()
    };
    assert_eq!(shown(&db), ["docs"]);

    // Renamed, written under both names, in one transaction and after it.
    db.run(|tx| {
        put(tx, "docs", row(20, "n", 31.0))?;
        tx.rename_table("docs", "texts")?;
        put(tx, "texts", row(21, "n", 31.5))
    })
    .unwrap();
    assert_eq!(hidden(&db), ["sochdb.index.meaning.texts"]);
    let found = db.search("texts").near(&vector(31.0)).k(3).run().unwrap();
    assert_eq!(ids(&found), [20, 21, 3]);
    db.run(|tx| tx.rename_table("texts", "docs")).unwrap();
    db.run(|tx| tx.delete("docs", &key(20))).unwrap();
    assert_eq!(near_now(&db, 31.0, 2), [21, 3]);

    // A rename that is undone leaves everything as it was.
    let mut tx = db.begin().unwrap();
    put(&mut tx, "docs", row(22, "n", 30.9)).unwrap();
    let savepoint = tx.savepoint().unwrap();
    tx.rename_table("docs", "gone").unwrap();
    tx.rollback_to(savepoint).unwrap();
    put(&mut tx, "docs", row(23, "n", 31.1)).unwrap();
    assert_eq!(near(&tx, 31.0, 2), [22, 23]);
    tx.commit().unwrap();

    // Moved to another storage: the rows stay, and so do the marks.
    let columns = TableChanges::default().storage(Some("lscs")).codec(Some("lz4"));
    db.convert_table("docs", &columns, &mut quietly()).unwrap();
    assert_eq!(near_now(&db, 31.0, 3), [22, 23, 21]);
    db.run(|tx| tx.delete("docs", &key(22))).unwrap();
    db.checkpoint().unwrap();
    fill(&db, "docs", 30..32);
    assert_eq!(near_now(&db, 31.0, 3), [23, 21, 3]);
    assert_eq!(near_now(&db, 310.0, 2), [31, 30]);
    let back = TableChanges::default().storage(None);
    db.convert_table("docs", &back, &mut quietly()).unwrap();
    assert_eq!(near_now(&db, 31.0, 3), [23, 21, 3]);
    let problems = db.check().unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");

    // Nobody takes it from under the table, or makes one that looks like it.
    let index_table = "sochdb.index.meaning.docs";
    for error in [
        db.run(|tx| tx.put(index_table, b"k", b"12345678")).unwrap_err(),
        db.run(|tx| tx.delete(index_table, &key(23))).unwrap_err(),
        db.drop_table(index_table).unwrap_err(),
        db.run(|tx| tx.rename_table(index_table, "mine")).unwrap_err(),
        db.run(|tx| tx.rename_table("docs", "sochdb.index.a.b")).unwrap_err(),
        db.create_table("sochdb.index.a.docs", TableOptions::default()).unwrap_err(),
        db.convert_table(index_table, &back, &mut quietly()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    db.drop_table("docs").unwrap();
    assert_eq!(hidden(&db), [""; 0]);
    let options = TableOptions { schema: Some(schema()), ..TableOptions::default() };
    db.create_table("docs", options).unwrap();
    fill(&db, "docs", 0..2);
    assert_eq!(db.indexes(Some("docs")).unwrap(), []);
    db.close().unwrap();
}

#[test]
fn an_index_that_a_crash_left_half_built_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    fill(&db, "docs", 10..9_000);
    let copy = tempfile::tempdir().unwrap();
    let mut steps = 0;
    let copied = &mut |_: Progress<'_>| {
        steps += 1;
        if steps == 2 {
            copy_files(directory.path(), copy.path());
        }
    };
    db.create_index("docs", "meaning", "v", &IndexOptions::default(), copied).unwrap();
    assert!(3 < steps, "{steps}");
    // Many are nearly as near: their distances are compared.
    let nearest = |db: &Database| {
        let found = db.search("docs").near(&vector(1234.0)).k(3).run().unwrap();
        found.iter().map(|found| (found.distance * 1e4).round()).collect::<Vec<_>>()
    };
    let wanted = nearest(&db);
    db.close().unwrap();

    for in_background in [false, true] {
        let path = tempfile::tempdir().unwrap();
        copy_files(copy.path(), path.path());
        let db = Database::builder().background(in_background).open(path.path()).unwrap();
        if !in_background {
            let state = db.indexes(None).unwrap().remove(0).1;
            assert_eq!(state, IndexState::Building);
            assert_eq!(db.index_stats("docs", "meaning").unwrap().state, IndexState::Building);
            // Right all the while; and who writes meanwhile is found afterwards.
            assert_eq!(nearest(&db), wanted);
            db.run(|tx| put(tx, "docs", row(8_999, "n", 1234.5))).unwrap();
            assert_eq!(db.finish_indexes(&mut quietly()).unwrap(), 1);
            assert_eq!(near_now(&db, 1234.5, 1), [8_999]);
        }
        let began = std::time::Instant::now();
        while db.indexes(None).unwrap()[0].1 == IndexState::Building {
            assert!(began.elapsed().as_secs() < 60, "nobody goes on with it");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        if in_background {
            assert_eq!(nearest(&db), wanted);
        }
        assert_eq!(db.finish_indexes(&mut quietly()).unwrap(), 0);
        db.close().unwrap();
    }
}

/// What a crash would leave.
fn copy_files(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_files(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[test]
fn what_cannot_be_indexed_is_refused_where_it_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    let nan = || row_of(70, "n", Value::Vector(vec![0.0, f32::NAN, 0.0, 0.0]));
    db.run(|tx| put(tx, "docs", nan())).unwrap();
    // Nothing is left of an index that cannot be built.
    let made = db.create_index("docs", "meaning", "v", &IndexOptions::default(), &mut quietly());
    let error = made.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("'v'"), "{error}");
    assert_eq!(db.indexes(None).unwrap(), []);
    db.run(|tx| tx.delete("docs", &key(70))).unwrap();
    index(&db, "docs");
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let v = Value::Vector(vec![0.0, bad, 0.0, 0.0]);
        let error = db.run(|tx| put(tx, "docs", row_of(71, "n", v.clone()))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("'v'"), "{error}");
    }
    // All of the rows that are written together, or none.
    let rows = [row(72, "n", 31.0), nan()];
    let rows: Vec<_> = rows.iter().map(|(key, value)| (&key[..], Some(&value[..]))).collect();
    let mut tx = db.begin().unwrap();
    assert!(tx.write_all("docs", &rows).is_err());
    assert_eq!(near(&tx, 31.0, 1), [3]);
    assert!(tx.put("docs", b"no key", b"no row").is_err());
    tx.commit().unwrap();
    assert_eq!(near_now(&db, 31.0, 1), [3]);
}

#[test]
fn queries_at_the_edges_answer_what_is_promised() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    index(&db, "docs");
    db.run(|tx| put(tx, "docs", row_of(80, "n", Value::Vector(vec![0.0; DIM])))).unwrap();
    let search = |vector: &[f32], k: usize| db.search("docs").near(vector).k(k).run();
    assert_eq!(search(&vector(31.0), 0).unwrap(), []);
    // All there are; a vector of zeros is as far from everything as a right angle.
    let all = search(&vector(0.0), 1_000).unwrap();
    assert_eq!(ids(&all)[..9], [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(BTreeSet::from_iter(ids(&all[9..])), BTreeSet::from([9, 80]));
    assert!(all[9..].iter().all(|found| (found.distance - 1.0).abs() < 1e-6));
    assert!(all.is_sorted_by(|a, b| a.distance <= b.distance));
    for (bad, word) in [
        (vec![0.0; DIM], "zeros"),
        (vec![1.0; DIM - 1], "dimensions"),
        (vec![1.0; DIM + 1], "dimensions"),
        (vec![1.0, f32::NAN, 0.0, 0.0], "NaN"),
        (vec![1.0, f32::INFINITY, 0.0, 0.0], "inf"),
    ] {
        let error = search(&bad, 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    let nothing = db.search("docs").run().unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Invalid);
    let missing = db.search("docs").index("nope").near(&vector(0.0)).run().unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    let missing = db.search("nope").near(&vector(0.0)).run().unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    // An empty index.
    db.run(|tx| tx.delete_range("docs", KeyRange::all())).unwrap();
    assert_eq!(search(&vector(0.0), 3).unwrap(), []);
    db.checkpoint().unwrap();
    assert_eq!(search(&vector(0.0), 3).unwrap(), []);
}

#[test]
fn filters_hold_and_leave_as_many_as_there_are() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    index(&db, "docs");
    for _ in 0..2 {
        let target = vector(31.0);
        let search = || db.search("docs").near(&target).k(3);
        let pos = |pos: &str| Value::String(pos.into());
        let verbs = search().filter("pos", Comparison::Equal, pos("v"));
        assert_eq!(ids(&verbs.run().unwrap()), [3, 5, 1]);
        let none = search().filter("pos", Comparison::Equal, pos("x"));
        assert_eq!(none.run().unwrap(), []);
        let range = KeyRange { start: Bound::Included(key(5)), end: Bound::Excluded(key(8)) };
        assert_eq!(ids(&search().range(range.clone()).run().unwrap()), [5, 6, 7]);
        let both = search().range(range).filter("pos", Comparison::Equal, pos("v"));
        assert_eq!(ids(&both.run().unwrap()), [5, 7]);
        let far = search().filter("id", Comparison::GreaterOrEqual, Value::Int64(8));
        assert_eq!(ids(&far.rows(true).run().unwrap()), [8, 9]);
        assert!(search().filter("nope", Comparison::Equal, pos("v")).run().is_err());
        db.checkpoint().unwrap();
    }
    let key = key(3);
    let like = db.search("docs").like(&key).k(2).rows(true).exact(true).run().unwrap();
    assert_eq!(BTreeSet::from_iter(ids(&like)), BTreeSet::from([2, 4]));
    let value = like[0].value.as_ref().unwrap();
    assert_eq!(schema().decode(&like[0].key, value).unwrap()[1], Value::String("n".into()));
    let missing = db.search("docs").like(b"nobody").run().unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn many_queries_are_answered_in_their_order_and_in_one_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    index(&db, "docs");
    let mut tx = db.begin().unwrap();
    put(&mut tx, "docs", row(42, "n", 45.5)).unwrap();
    let angles: Vec<f32> = (0..100).map(|n| n as f32).collect();
    let queries: Vec<_> = angles.iter().map(|angle| vector(*angle)).collect();
    let answers = tx.search("docs").k(2).run_each(&queries).unwrap();
    let one_by_one: Vec<_> = angles.iter().map(|angle| near(&tx, *angle, 2)).collect();
    assert_eq!(answers.iter().map(|answer| ids(answer)).collect::<Vec<_>>(), one_by_one);
    assert_eq!(one_by_one[46], [42, 5]);
    let none = db.search("docs").run_each::<Vec<f32>>(&[]).unwrap();
    assert_eq!(none, [[]; 0]);
    let mut wrong = queries;
    wrong[60] = vec![1.0];
    assert_eq!(db.search("docs").run_each(&wrong).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_tenant_searches_its_own_rows() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    index(&db, "docs");
    let acme = db.set_tenant("acme", TenantOptions::default()).unwrap();
    let options = TableOptions { schema: Some(schema()), ..TableOptions::default() };
    acme.run(|tx| tx.create_table("docs", options.clone())).unwrap();
    index(&db, "acme/docs");
    acme.run(|tx| {
        put(tx, "docs", row(7, "n", 31.0))?;
        assert_eq!(near(tx, 31.0, 2), [7]);
        Ok(())
    })
    .unwrap();
    let found = acme.search("docs").near(&vector(31.0)).run().unwrap();
    assert_eq!(ids(&found), [7]);
    let found = db.search("acme/docs").index("meaning").near(&vector(31.0)).run().unwrap();
    assert_eq!(ids(&found), [7]);
    assert_eq!(near_now(&db, 31.0, 1), [3]);
    let tx = acme.begin_read().unwrap();
    let (definition, state) = tx.indexes("docs").unwrap().remove(0);
    assert_eq!((definition.table.as_str(), state), ("docs", IndexState::Ready));
    assert!(matches!(definition.kind, IndexKind::Vector { dim: 4, .. }));
    assert_eq!(tx.tables().unwrap().len(), 1);
    assert_eq!(tx.index_stats("docs", "meaning").unwrap().waiting, 1);
    drop(tx);
    acme.run(|tx| tx.drop_table("docs")).unwrap();
    assert_eq!(db.indexes(None).unwrap().len(), 1);
}

#[test]
fn rows_are_looked_up_by_the_values_of_a_column() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    db.create_index("docs", "by_pos", "pos", &IndexOptions::default(), &mut quietly()).unwrap();
    for _ in 0..2 {
        let lookup = |start, end, reverse, limit| {
            let lookup = Lookup { start, end, reverse, limit };
            let keys = db.begin_read().unwrap().lookup("docs", "by_pos", &lookup).unwrap();
            let id = |key: &Vec<u8>| schema().key_values(key).unwrap().remove(0);
            keys.iter().map(id).collect::<Vec<_>>()
        };
        let pos = |pos: &str| Bound::Included(Value::String(pos.into()));
        let numbers = |ids: &[i64]| ids.iter().map(|id| Value::Int64(*id)).collect::<Vec<_>>();
        assert_eq!(lookup(pos("v"), pos("v"), false, 10), numbers(&[1, 3, 5, 7, 9]));
        assert_eq!(lookup(pos("v"), pos("v"), true, 2), numbers(&[9, 7]));
        assert_eq!(lookup(Bound::Unbounded, pos("o"), false, 2), numbers(&[0, 2]));
        assert_eq!(lookup(pos("w"), Bound::Unbounded, false, 2), []);
        db.checkpoint().unwrap();
    }
    let error = db.search("docs").near(&vector(0.0)).run().unwrap_err();
    assert!(error.to_string().contains("no index of vectors"), "{error}");
    let error = db.search("docs").index("by_pos").near(&vector(0.0)).run().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[test]
fn making_and_dropping_an_index_says_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    db.create_table("bytes", TableOptions::default()).unwrap();
    let make = |table: &str, name: &str, column: &str, options: &IndexOptions| {
        db.create_index(table, name, column, options, &mut quietly()).unwrap_err()
    };
    let usual = IndexOptions::default();
    for (error, kind, word) in [
        (make("nope", "i", "v", &usual), ErrorKind::NotFound, "nope"),
        (make("bytes", "i", "v", &usual), ErrorKind::Invalid, "no columns"),
        (make("docs", "i", "w", &usual), ErrorKind::Invalid, "'w'"),
        (make("docs", "a.b", "v", &usual), ErrorKind::Invalid, "a.b"),
        (
            make("docs", "i", "v", &usual.clone().metric("manhattan")),
            ErrorKind::Invalid,
            "manhattan",
        ),
        (make("docs", "i", "v", &usual.clone().using("nope")), ErrorKind::Plugin, "nope"),
        (make("sochdb.plugins", "i", "v", &usual), ErrorKind::Invalid, "itself"),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
    index(&db, "docs");
    let again = make("docs", "meaning", "v", &usual);
    assert!(again.to_string().contains("already"), "{again}");
    assert_eq!(near_now(&db, 31.0, 1), [3]);
    assert_eq!(db.drop_index("docs", "nope").unwrap_err().kind(), ErrorKind::NotFound);
    db.drop_index("docs", "meaning").unwrap();
    assert_eq!(db.drop_index("docs", "meaning").unwrap_err().kind(), ErrorKind::NotFound);
    index(&db, "docs");
    assert_eq!(near_now(&db, 31.0, 1), [3]);
}

#[test]
fn writers_and_makers_of_indexes_at_once_lose_no_row() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { memtable_bytes_max: 64 << 10, ..Options::default() };
    let db = Database::builder().options(options).open(directory.path()).unwrap();
    let options = TableOptions { schema: Some(schema()), ..TableOptions::default() };
    db.create_table("docs", options).unwrap();
    fill(&db, "docs", 0..2_000);
    std::thread::scope(|scope| {
        for writer in 0..3_i64 {
            let db = &db;
            scope.spawn(move || {
                for n in 0..150_i64 {
                    let id = 10_000 * (writer + 1) + n;
                    db.run(|tx| {
                        put(tx, "docs", row(id, "n", n as f32))?;
                        if n % 3 == 0 {
                            tx.delete("docs", &key(id - 1))?;
                        }
                        Ok(())
                    })
                    .unwrap();
                }
            });
        }
        for name in ["one", "two", "three"] {
            db.create_index("docs", name, "v", &IndexOptions::default(), &mut quietly()).unwrap();
            if name == "two" {
                db.drop_index("docs", "one").unwrap();
            }
        }
    });
    let all = db.begin_read().unwrap().scan("docs", KeyRange::all()).unwrap().count();
    for name in ["two", "three"] {
        let target = vector(1.0);
        let search = || db.search("docs").index(name).near(&target).k(5_000);
        assert_eq!(search().run().unwrap().len(), all, "index {name}");
        assert_eq!(search().exact(true).run().unwrap().len(), all, "index {name}");
    }
    db.close().unwrap();
}

#[test]
fn a_repaired_database_builds_its_indexes_anew() {
    let directory = tempfile::tempdir().unwrap();
    let db = docs(directory.path());
    index(&db, "docs");
    db.checkpoint().unwrap();
    db.run(|tx| put(tx, "docs", row(50, "n", 31.0))).unwrap();
    db.close().unwrap();
    let target = tempfile::tempdir().unwrap();
    Database::builder().repair(directory.path(), target.path(), &mut quietly()).unwrap();
    let db = open(target.path());
    assert_eq!(db.indexes(Some("docs")).unwrap()[0].1, IndexState::Building);
    assert_eq!(near_now(&db, 31.0, 2), [50, 3]);
    assert_eq!(db.finish_indexes(&mut quietly()).unwrap(), 1);
    assert_eq!(near_now(&db, 31.0, 2), [50, 3]);
    assert_eq!(db.verify_index("docs", "meaning").unwrap().wrong, 0);
    db.close().unwrap();
}

#[test]
fn indexes_of_one_column_made_one_after_the_other_keep_to_their_own_graphs() {
    let directory = tempfile::tempdir().unwrap();
    let options =
        Options { memtable_bytes_max: 1 << 20, wal_segment_bytes: 256 << 10, ..Options::default() };
    let db = Database::builder().background(false).options(options);
    let db = db.open(directory.path()).unwrap();
    let options = TableOptions { schema: Some(schema()), ..TableOptions::default() };
    db.create_table("docs", options).unwrap();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut vector = || (0..DIM).map(|_| rng.f32() - 0.5).collect::<Vec<_>>();
    let rows: Vec<_> = (0..4000).map(|id| row_of(id, "n", Value::Vector(vector()))).collect();
    for rows in rows.chunks(500) {
        db.run(|tx| rows.iter().try_for_each(|row| put(tx, "docs", row.clone()))).unwrap();
    }
    // What the three write differs in the last bytes only, and the third is written where the first was.
    for metric in ["cosine", "euclidean", "inner-product"] {
        let options = IndexOptions::default().using("hnsw").metric(metric).set("flat_max", "32");
        db.create_index("docs", metric, "v", &options, &mut quietly()).unwrap();
        for _ in 0..3 {
            let report = db.checkpoint().unwrap();
            assert!(report.failed.is_empty(), "{metric}: {report:?}");
        }
        let stats = db.index_stats("docs", metric).unwrap();
        assert_eq!((stats.trouble, stats.flat), (None, 0), "{metric}");
        let (mut right, queries) = (0, 40);
        for _ in 0..queries {
            let query = vector();
            let search = || db.search("docs").index(metric).near(&query).k(10);
            let exact = ids(&search().exact(true).run().unwrap());
            right += ids(&search().run().unwrap()).iter().filter(|id| exact.contains(id)).count();
        }
        assert!(queries * 9 <= right, "{metric}: {right} of {} found", queries * 10);
    }
}

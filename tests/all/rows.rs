//! Tables of a Rust type: what is put comes back, keys order as they do in Rust, and what does not fit is refused by
//! name.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sochdb::rows::{Bounds, Moment, RowOptions, Vector, With};
use sochdb::{
    Column, ColumnType, Comparison, Database, ErrorKind, IndexOptions, KernelError, KernelResult,
    Schema, Table, TableOptions, TenantOptions, Value,
};
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::ops::Bound;
use tempfile::TempDir;

fn database() -> (Database, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::builder().background(false).open(directory.path()).unwrap();
    (db, directory)
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mood {
    Merry,
    VerySad,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Id(u64);

/// A field of every kind that there is, the first six of them the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    name: String,
    number: i64,
    raw: Vec<u8>,
    at: Moment,
    yes: bool,
    weight: f64,
    tiny: i8,
    byte: u8,
    short: u16,
    id: Id,
    single: f32,
    letter: char,
    mood: Mood,
    four: [u8; 4],
    vector: Vector<40>,
    pair: [f32; 2],
    list: Vec<f32>,
    no_text: Option<String>,
    no_number: Option<u32>,
    no_mood: Option<Mood>,
    no_moment: Option<Moment>,
    no_vector: Option<Vector<3>>,
    #[serde(rename = "called-otherwise")]
    renamed: i32,
    #[serde(skip)]
    skipped: u8,
}

type KeyOf = (String, i64, Vec<u8>, Moment, bool, f64);

impl Everything {
    fn key(&self) -> KeyOf {
        let Everything { name, number, raw, at, yes, weight, .. } = self.clone();
        (name, number, raw, at, yes, weight)
    }
}

const KEY: [&str; 6] = ["name", "number", "raw", "at", "yes", "weight"];

/// Few values each, so that keys have beginnings in common.
fn key() -> impl Strategy<Value = KeyOf> {
    let name = prop_oneof![Just(String::new()), "[ab\0\u{ff}]{0,3}", any::<String>()];
    let number = prop_oneof![-2i64..2, any::<i64>()];
    let raw = prop::collection::vec(prop_oneof![Just(0), Just(255), any::<u8>()], 0..3);
    let weight = prop_oneof![Just(0.0), Just(-1.5), -1e300..1e300, Just(f64::INFINITY)];
    (name, number, raw, (-2i64..2).prop_map(Moment), any::<bool>(), weight)
}

fn everything() -> impl Strategy<Value = Everything> {
    let finite = || -1e30f32..1e30;
    let mood = || prop_oneof![Just(Mood::Merry), Just(Mood::VerySad)];
    let numbers = (any::<i8>(), any::<u8>(), any::<u16>(), 0..=i64::MAX as u64, finite());
    let lists = (
        any::<[u8; 4]>(),
        prop::collection::vec(finite(), 40),
        [finite(), finite()],
        prop::collection::vec(finite(), 5),
    );
    let options = (
        any::<Option<String>>(),
        any::<Option<u32>>(),
        prop::option::of(mood()),
        prop::option::of(any::<i64>().prop_map(Moment)),
        prop::option::of([finite(), finite(), finite()].prop_map(Vector::from)),
    );
    let words = (any::<char>(), mood(), any::<i32>());
    (key(), numbers, words, lists, options).prop_map(|(key, numbers, words, lists, options)| {
        let (name, number, raw, at, yes, weight) = key;
        let (tiny, byte, short, id, single) = numbers;
        let (letter, mood, renamed) = words;
        let (four, vector, pair, list) = lists;
        let (no_text, no_number, no_mood, no_moment, no_vector) = options;
        let vector = Vector::try_from(vector).unwrap();
        #[rustfmt::skip]
        let row = Everything {
            name, number, raw, at, yes, weight, tiny, byte, short, id: Id(id), single, letter, mood, four, vector,
            pair, list, no_text, no_number, no_mood, no_moment, no_vector, renamed, skipped: 0,
        };
        row
    })
}

fn everything_in(db: &Database) -> Table<Everything> {
    let options = RowOptions::default().vector("list", 5);
    db.typed_table_with("everything", &KEY, &options).unwrap()
}

fn all<T: Serialize + DeserializeOwned>(
    db: &Database,
    table: &Table<T>,
    range: impl Bounds,
) -> Vec<T> {
    table.scan(&db.begin_read().unwrap(), range).unwrap().map(Result::unwrap).collect()
}

#[test]
fn every_kind_of_field_has_its_column() {
    let (db, _directory) = database();
    let table = everything_in(&db);
    let columns = table.schema().columns.iter().map(|Column { name, kind, nullable, .. }| {
        format!("{name} {kind}{}", if *nullable { " null" } else { "" })
    });
    expect![[r#"
        name string
        number int64
        raw bytes
        at timestamp
        yes bool
        weight float64
        tiny int64
        byte int64
        short int64
        id int64
        single float64
        letter string
        mood string
        four bytes
        vector vector(40)
        pair vector(2)
        list vector(5)
        no_text string null
        no_number int64 null
        no_mood string null
        no_moment timestamp null
        no_vector vector(3) null
        called-otherwise int64"#]]
    .assert_eq(&columns.collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_is_put_comes_back_and_orders_as_its_key_does_in_rust() {
    let (db, _directory) = database();
    let table = everything_in(&db);
    let rows = prop::collection::vec(everything(), 0..12);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(100));
    let law = |(rows, a, b): (Vec<Everything>, KeyOf, KeyOf)| {
        let mut tx = db.begin().unwrap();
        table.put_all(&mut tx, &rows).unwrap();
        // Later rows replace earlier ones of their key.
        let mut wanted: Vec<Everything> = Vec::new();
        for row in rows {
            wanted.retain(|other| other.key() != row.key());
            wanted.push(row);
        }
        wanted.sort_by(|a, b| a.key().partial_cmp(&b.key()).unwrap());
        for row in &wanted {
            let found = table.get(&tx, &row.key()).unwrap();
            prop_assert_eq!(found.as_ref(), Some(row));
        }
        let check = |scan: sochdb::rows::Rows<Everything>, is_in: &dyn Fn(&KeyOf) -> bool| {
            let found: Vec<_> = scan.map(Result::unwrap).collect();
            let wanted = wanted.iter().filter(|row| is_in(&row.key())).cloned();
            prop_assert_eq!(found, wanted.collect::<Vec<_>>());
            Ok(())
        };
        check(table.scan(&tx, ..).unwrap(), &|_| true)?;
        check(table.scan(&tx, a.clone()..b.clone()).unwrap(), &|key| a <= *key && *key < b)?;
        check(table.scan(&tx, ..=b.clone()).unwrap(), &|key| *key <= b)?;
        // Ends that name fewer columns than the key has.
        let (one, two) = (a.0.clone(), (b.0.clone(), b.1));
        check(table.scan(&tx, With(&one)).unwrap(), &|key| key.0 == one)?;
        check(table.scan(&tx, two.clone()..).unwrap(), &|key| two <= (key.0.clone(), key.1))?;
        let behind = (Bound::Excluded(two.clone()), Bound::Unbounded);
        check(table.scan(&tx, behind).unwrap(), &|key| two < (key.0.clone(), key.1))?;
        let mut falling: Vec<_> =
            table.scan_reverse(&tx, ..).unwrap().map(Result::unwrap).collect();
        falling.reverse();
        prop_assert_eq!(&falling, &wanted);
        prop_assert_eq!(table.delete_range(&mut tx, ..).unwrap(), wanted.len() as u64);
        Ok(())
    };
    runner.run(&(rows, key(), key()), law).unwrap();
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct User {
    id: u32,
    name: String,
    age: Option<i64>,
}

fn user(id: u32, name: &str) -> User {
    User { id, name: name.to_owned(), age: None }
}

/// The words of an error of the caller.
fn invalid<T: Debug>(result: KernelResult<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error.to_string()
}

fn check_invalid<T: Debug>(result: KernelResult<T>, wanted: Expect) {
    wanted.assert_eq(&invalid(result).replace(concat!(module_path!(), "::"), ""));
}

#[test]
fn rows_are_put_inserted_updated_and_deleted() {
    let (db, _directory) = database();
    let users = db.typed_table::<User>("users", &["id"]).unwrap();
    db.run(|tx| {
        users.insert(tx, &user(1, "Ada"))?;
        users.put(tx, &user(2, "Alan"))?;
        users.put(tx, &user(2, "Alan T."))
    })
    .unwrap();
    let again = db.run(|tx| users.insert(tx, &user(1, "Eve")));
    check_invalid(again, expect!["invalid: table 'users': row (1) is there already"]);
    let changed = db.run(|tx| users.update(tx, &2, |user| user.age = Some(41))).unwrap();
    let missing = db.run(|tx| users.update(tx, &3, |_| panic!("there is none"))).unwrap();
    assert_eq!((changed, missing), (true, false));
    let other_key = db.run(|tx| users.update(tx, &2, |user| user.id = 4));
    check_invalid(
        other_key,
        expect![
            "invalid: table 'users': an update of row (2) would make it row (4); delete and insert"
        ],
    );
    assert_eq!(
        all(&db, &users, ..),
        [user(1, "Ada"), User { age: Some(41), ..user(2, "Alan T.") }]
    );
    db.run(|tx| users.delete(tx, &1)).unwrap();
    let tx = db.begin_read().unwrap();
    assert!(!users.contains(&tx, &1).unwrap() && users.contains(&tx, &2).unwrap());
    assert_eq!(users.get(&tx, &1).unwrap(), None);
}

#[test]
fn a_typed_table_is_found_again_also_by_a_tenant_and_where_nothing_may_be_written() {
    let (db, directory) = database();
    let acme = db.set_tenant("acme", TenantOptions::default()).unwrap();
    for _ in 0..2 {
        let users = acme.typed_table::<User>("users", &["id"]).unwrap();
        acme.run(|tx| users.put(tx, &user(1, "Ada"))).unwrap();
    }
    db.close().unwrap();
    let db = Database::builder().read_only(true).open(directory.path()).unwrap();
    let users = db.typed_table::<User>("acme/users", &["id"]).unwrap();
    assert_eq!(all(&db, &users, ..), [user(1, "Ada")]);
}

#[test]
fn a_key_of_another_shape_is_refused() {
    let (db, _directory) = database();
    let users = db.typed_table::<User>("users", &["id"]).unwrap();
    let tx = db.begin_read().unwrap();
    check_invalid(
        users.get(&tx, "Ada"),
        expect![[
            r#"invalid: table 'users', row ("Ada"): column 'id' holds int64, it was given string"#
        ]],
    );
    check_invalid(
        users.get(&tx, &(1, 2)),
        expect!["invalid: table 'users', row with this key: the key has no more than 1 columns"],
    );
    check_invalid(
        users.get(&tx, &u64::MAX),
        expect![
            "invalid: table 'users', row with this key: 18446744073709551615 is larger than any int64"
        ],
    );
    let pairs = db.typed_table::<Pair>("pairs", &["left", "right"]).unwrap();
    let tx = db.begin_read().unwrap();
    check_invalid(
        pairs.get(&tx, &1),
        expect!["invalid: table 'pairs': 1 values were given for a key of 2 columns"],
    );
    // A key can be a struct as well.
    assert_eq!(pairs.get(&tx, &Pair { left: 1, right: 2 }).unwrap(), None);
    check_invalid(
        pairs.get(&tx, &Riap { right: 2, left: 1 }),
        expect![
            "invalid: table 'pairs', row with this key: the key has 'left' where 'right' was given"
        ],
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Pair {
    left: i64,
    right: i64,
}

#[derive(Debug, Serialize)]
struct Riap {
    right: i64,
    left: i64,
}

/// A type with the field `field` of this type beside an id.
macro_rules! refused {
    ($db:ident, $type:ty, $wanted:expr) => {{
        #[derive(Debug, Serialize, Deserialize)]
        struct Row {
            id: i64,
            field: $type,
        }
        let made = $db.typed_table::<Row>("odd", &["id"]);
        let words = invalid(made);
        let words = words.split_once("Row").unwrap().1.split("; there are").next().unwrap();
        $wanted.assert_eq(&words.replace(concat!(module_path!(), "::"), ""));
    }};
}

#[derive(Debug, Serialize, Deserialize)]
enum Shape {
    Circle(f64),
    Point,
}

#[test]
fn what_no_column_takes_is_refused_when_the_table_is_made() {
    let (db, _directory) = database();
    refused!(
        db,
        Vec<String>,
        expect![
            ": field 'field' holds a list of something else than u8 or f32, which no column takes"
        ]
    );
    refused!(
        db,
        (i64, i64),
        expect![
            ": field 'field' holds a list of something else than u8 or f32, which no column takes"
        ]
    );
    refused!(db, Pair, expect![": field 'field' holds the struct Pair, which no column takes"]);
    refused!(db, std::collections::BTreeMap<String, i64>, expect![": field 'field' holds a map, which no column takes"]);
    refused!(
        db,
        i128,
        expect![": field 'field' holds an integer of 128 bits, which no column takes"]
    );
    refused!(
        db,
        Shape,
        expect![
            ": field 'field' holds the enum Shape, whose variants have values, which no column takes"
        ]
    );
    refused!(db, (), expect![": field 'field' holds nothing, which no column takes"]);
    refused!(
        db,
        serde_json::Value,
        expect![": field 'field' holds a value of any type, which no column takes"]
    );
    check_invalid(
        db.typed_table::<Listed>("odd", &["id"]),
        expect![[
            r#"invalid: table 'odd', column 'list': a Vec<f32> may have any length, a column has one; say RowOptions::vector("list", DIM), or make the field a Vector<DIM>"#
        ]],
    );
    let said = RowOptions::default().vector("id", 3);
    check_invalid(
        db.typed_table_with::<Listed>("odd", &["id"], &said),
        expect!["invalid: table 'odd', column 'id': RowOptions say vector(3), the field is int64"],
    );
    check_invalid(
        db.typed_table::<(i64, i64)>("odd", &["id"]),
        expect![
            "invalid: table 'odd' of rows of (i64, i64): a row is a struct with named fields, without `#[serde(flatten)]`"
        ],
    );
    check_invalid(
        db.typed_table::<User>("odd", &["age"]),
        expect!["invalid: column 'age' is in the key: no vector, and not nullable"],
    );
    assert!(db.begin_read().unwrap().tables().unwrap().is_empty());
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    id: i64,
    list: Vec<f32>,
}

/// Zero is not among the values of the key, and other names are no columns.
#[test]
fn types_that_refuse_a_zero_and_fields_of_several_names_are_columns_all_the_same() {
    let (db, _directory) = database();
    let names = |schema: &Schema| -> Vec<String> {
        schema.columns.iter().map(|column| column.name.clone()).collect()
    };
    let table = db.typed_table::<Titled>("titled", &["id"]).unwrap();
    assert_eq!(names(table.schema()), ["id", "name"]);
    let table = db.typed_table::<Strict>("strict", &["id"]).unwrap();
    let row = Strict { id: NonZeroU32::MIN, at: "127.0.0.1".parse().unwrap() };
    db.run(|tx| table.put(tx, &row)).unwrap();
    assert_eq!(all(&db, &table, ..), [row]);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Titled {
    id: u32,
    #[serde(alias = "title")]
    name: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Strict {
    id: NonZeroU32,
    at: std::net::IpAddr,
}

fn column(name: &str, kind: ColumnType, nullable: bool, default: Option<Value>) -> Column {
    Column { name: name.to_owned(), kind, nullable, default }
}

fn make(db: &Database, columns: Vec<Column>, key: &[&str]) {
    let schema = Some(Schema::new(columns, key).unwrap());
    db.run(|tx| {
        if tx.tables()?.iter().any(|table| table.name == "users") {
            tx.drop_table("users")?;
        }
        tx.create_table("users", TableOptions { schema: schema.clone(), ..Default::default() })
    })
    .unwrap();
}

#[test]
fn a_table_that_does_not_fit_is_refused_with_the_column_and_both_types() {
    use ColumnType::{Float64, Int64, String};
    let (db, _directory) = database();
    let open = || db.typed_table::<User>("users", &["id"]);
    let (id, name) = (|| column("id", Int64, false, None), || column("name", String, false, None));
    let age = || column("age", Int64, true, None);
    make(&db, vec![id(), column("name", Float64, false, None), age()], &["id"]);
    check_invalid(
        open(),
        expect!["invalid: table 'users': column 'name' is float64, the field is string"],
    );
    make(&db, vec![id(), column("name", String, true, None), age()], &["id"]);
    check_invalid(
        open(),
        expect!["invalid: table 'users': column 'name' is string, nullable, the field is string"],
    );
    make(&db, vec![id(), name(), column("age", Int64, false, None)], &["id"]);
    check_invalid(
        open(),
        expect!["invalid: table 'users': column 'age' is int64, the field is int64, nullable"],
    );
    make(&db, vec![id(), age()], &["id"]);
    check_invalid(
        open(),
        expect!["invalid: table 'users': there is no column 'name' for the field of this name"],
    );
    make(&db, vec![id(), name(), age()], &["name", "id"]);
    check_invalid(
        open(),
        expect!["invalid: table 'users': its key is (name, id), (id) was asked for"],
    );
    make(&db, vec![id(), name(), age(), column("town", String, false, None)], &["id"]);
    check_invalid(
        open(),
        expect![
            "invalid: table 'users': column 'town' is string and never null, User has no field for it"
        ],
    );
    db.create_table("bytes", TableOptions::default()).unwrap();
    check_invalid(
        db.typed_table::<User>("bytes", &["id"]),
        expect!["invalid: table 'bytes' has bytes and no columns, so no rows of User"],
    );
}

/// Two programs share a table and each knows columns that the other does not.
#[test]
fn columns_without_a_field_keep_what_they_hold() {
    use ColumnType::{Int64, String};
    let (db, _directory) = database();
    let town = column("town", String, false, Some(Value::from("Ulm")));
    let columns = vec![
        column("id", Int64, false, None),
        town,
        column("name", String, false, None),
        column("rank", Int64, true, None),
    ];
    make(&db, columns.clone(), &["id"]);
    let schema = Schema::new(columns, &["id"]).unwrap();
    let row = [Value::from(1), Value::from("Rome"), Value::from("Ada"), Value::from(3)];
    let (key, value) = (schema.encode_key(&row).unwrap(), schema.encode_row(&row).unwrap());
    db.run(|tx| tx.put("users", &key, &value)).unwrap();

    let users = db.typed_table::<User>("users", &["id"]).unwrap();
    assert_eq!(all(&db, &users, ..), [user(1, "Ada")]);
    db.run(|tx| users.put_all(tx, &[user(1, "Ada L."), user(2, "Alan")])).unwrap();
    let raw = db.begin_read().unwrap().scan("users", ..).unwrap();
    let raw: Vec<_> = raw
        .map(|row| row.map(|(key, value)| schema.decode(&key, &value).unwrap()).unwrap())
        .collect();
    assert_eq!(
        raw,
        [
            [Value::from(1), Value::from("Rome"), Value::from("Ada L."), Value::from(3)],
            [Value::from(2), Value::from("Ulm"), Value::from("Alan"), Value::Null],
        ]
    );
    // `age` has no column here: nothing can be in it.
    let aged = User { age: Some(36), ..user(3, "Eve") };
    check_invalid(
        db.run(|tx| users.put(tx, &aged)),
        expect![
            "invalid: table 'users': the table has no column 'age', so this field can only be written while it is None"
        ],
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    id: u64,
    by: f64,
    mood: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Narrow {
    id: u8,
    by: f32,
    mood: Mood,
}

#[test]
fn values_that_the_type_does_not_take_are_refused_with_table_row_and_column() {
    let (db, _directory) = database();
    let wide = db.typed_table::<Measured>("log", &["id"]).unwrap();
    let row = |id, by, mood: &str| Measured { id, by, mood: mood.to_owned() };
    let rows =
        [row(1, 0.5, "merry"), row(2, 0.1, "merry"), row(3, 0.5, "glum"), row(300, 0.5, "merry")];
    db.run(|tx| wide.put_all(tx, &rows)).unwrap();
    let narrow = db.typed_table::<Narrow>("log", &["id"]).unwrap();
    let tx = db.begin_read().unwrap();
    let read = |id: u64| narrow.get(&tx, &id);
    assert_eq!(read(1).unwrap(), Some(Narrow { id: 1, by: 0.5, mood: Mood::Merry }));
    check_invalid(
        read(2),
        expect![
            "invalid: table 'log', row (2), column 'by': 0.1 is no f32; the field can be an f64"
        ],
    );
    check_invalid(
        read(3),
        expect![
            "invalid: table 'log', row (3), column 'mood': unknown variant `glum`, expected `merry` or `very-sad`"
        ],
    );
    check_invalid(
        read(300),
        expect![
            "invalid: table 'log', row (300), column 'id': invalid value: integer `300`, expected u8"
        ],
    );
    check_invalid(
        db.run(|tx| wide.put(tx, &row(u64::MAX, 0.5, "merry"))),
        expect!["invalid: table 'log', column 'id': 18446744073709551615 is larger than any int64"],
    );
    // In a scan the rows before are there, and so are those behind.
    let scan = narrow.scan(&tx, ..).unwrap().map(|row| row.is_ok());
    assert_eq!(scan.collect::<Vec<_>>(), [true, false, false, false]);
}

#[test]
fn a_row_that_is_broken_names_its_table_and_key() {
    let (db, _directory) = database();
    let users = db.typed_table::<User>("users", &["id"]).unwrap();
    let key = users.key(&7).unwrap();
    db.run(|tx| tx.put("users", &key, b"\x01nonsense")).unwrap();
    let Err(KernelError::Corrupt { file, .. }) = users.get(&db.begin_read().unwrap(), &7) else {
        panic!("it is not a row");
    };
    assert_eq!(file, "table 'users', row (7): a row's value");
}

#[test]
fn a_table_that_was_replaced_is_refused_and_one_that_was_moved_is_not() {
    let (db, _directory) = database();
    let users = db.typed_table::<User>("users", &["id"]).unwrap();
    db.run(|tx| users.put(tx, &user(1, "Ada"))).unwrap();
    let to_columns = sochdb::TableChanges::default().storage(Some("lscs"));
    db.convert_table("users", &to_columns, &mut |_| {}).unwrap();
    assert_eq!(all(&db, &users, ..), [user(1, "Ada")]);
    make(&db, vec![column("id", ColumnType::Float64, false, None)], &["id"]);
    let tx = db.begin_read().unwrap();
    check_invalid(
        users.get(&tx, &1),
        expect![
            "invalid: table 'users': it was replaced by one with other columns; open the typed table again"
        ],
    );
    let gone = db.run(|tx| tx.drop_table("users").and_then(|()| users.put(tx, &user(1, "Ada"))));
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Place {
    town: String,
    people: u32,
    founded: Moment,
    at: Vector<2>,
    river: Option<String>,
}

fn place(town: &str, people: u32, at: [f32; 2]) -> Place {
    let founded = Moment(i64::from(people));
    Place { town: town.into(), people, founded, at: at.into(), river: None }
}

#[test]
fn rows_are_found_by_value_and_by_vector() {
    let (db, _directory) = database();
    let places = db.typed_table::<Place>("places", &["town"]).unwrap();
    let rows = [
        place("Bern", 3, [0.0, 1.0]),
        place("Rome", 9, [1.0, 0.0]),
        place("Ulm", 1, [0.6, 0.8]),
        place("Wien", 9, [0.8, 0.6]),
    ];
    db.run(|tx| places.put_all(tx, &rows)).unwrap();
    for (index, column) in [("size", "people"), ("age", "founded"), ("near", "at")] {
        let options = IndexOptions::default();
        db.create_index("places", index, column, &options, &mut |_| {}).unwrap();
    }
    let tx = db.begin_read().unwrap();
    let towns = |rows: Vec<Place>| rows.into_iter().map(|row| row.town).collect::<Vec<_>>();
    let look = |range, limit| towns(places.lookup(&tx, "size", range, limit).unwrap());
    assert_eq!(look((Bound::Excluded(1), Bound::Unbounded), 9), ["Bern", "Rome", "Wien"]);
    assert_eq!(look((Bound::Excluded(1), Bound::Unbounded), 2), ["Bern", "Rome"]);
    assert_eq!(towns(places.lookup(&tx, "size", With(9), 9).unwrap()), ["Rome", "Wien"]);
    assert_eq!(towns(places.lookup_reverse(&tx, "size", ..9, 1).unwrap()), ["Bern"]);
    let founded = places.lookup(&tx, "age", Moment(2)..=Moment(8), 9).unwrap();
    assert_eq!(towns(founded), ["Bern"]);
    check_invalid(
        places.lookup(&tx, "size", With("nine"), 9),
        expect!["invalid: column 'people' holds int64, it was given string"],
    );

    let found = places.search(&tx).near(&[0.0, 2.0]).k(2).run().unwrap();
    assert_eq!(found[0].row, rows[0]);
    assert!(found[0].distance < 1e-6 && found[0].distance < found[1].distance);
    let like = places.search(&tx).like("Wien").k(1).exact(true).run().unwrap();
    assert_eq!(like[0].row.town, "Ulm");
    let large = places.search(&tx).near(&[0.0, 1.0]).k(1);
    let large = large.filter("people", Comparison::Equal, 9).run().unwrap();
    assert_eq!(large[0].row.town, "Wien");
    let like = places.search(&tx).like("Atlantis").run();
    assert_eq!(like.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(invalid(places.search(&tx).like(&7).run()), invalid(places.get(&tx, &7)));
}

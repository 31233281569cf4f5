//! Plugins in a database in memory, as the tests of a plugin's author see it: what a plugin may do, what becomes
//! of what it answers, and what is left when it fails.

use sochdb_guest::blocks::BlockCodec;
use sochdb_guest::outbox::Address;
use sochdb_guest::prelude::*;
use sochdb_guest::row::{Column, ColumnType, Schema};
use sochdb_guest::search::{Index as TableIndex, Search};
use sochdb_guest::serde_json::{Value as Json, json};
use sochdb_guest::testing::{Database, Written};
use sochdb_guest::{
    Allowed, Batch, Codec, Definition, Entries, Index, IndexSearcher, Level, Observer, Part, Query,
    RowBatch, Segment, Sink, VectorMetric, config, procedure, test_batch,
};
use std::ops::Bound;

/// Does what a value says, like the words of a row on trial.
struct Obeys;

impl Hooks for Obeys {
    fn init() -> Result<Self> {
        Ok(Obeys)
    }

    fn before_each(
        &mut self,
        tx: &Transaction<'_>,
        table: &Table<'_>,
        change: &Change,
    ) -> Result<Decision> {
        let Some(value) = &change.new else { return Ok(Decision::Continue) };
        let (word, rest) = str::from_utf8(value)?.split_once(' ').unwrap_or_default();
        Ok(match word {
            "replace" => Decision::Replace(rest.as_bytes().to_vec()),
            "skip" => Decision::Skip,
            "abort" => Decision::abort(rest),
            "number" => {
                rest.parse::<i64>()?;
                Decision::Continue
            }
            "again" => {
                table.put(&change.key, b"abort a hook is not asked about its own writes")?;
                Decision::Skip
            }
            "audit" => {
                tx.open("audit")?.put(&change.key, rest.as_bytes())?;
                Decision::Continue
            }
            "lie" => return Ok(Decision::Replace(Vec::new())),
            _ => Decision::Continue,
        })
    }

    fn after(&mut self, tx: &Transaction<'_>, table: &Table<'_>, changes: &[Change]) -> Result<()> {
        assert!(tx.is_read_only());
        for change in changes {
            assert_eq!(table.get(&change.key)?, change.new, "what was committed is seen");
            sochdb_guest::count!("seen_total", 1, kind = format!("{:?}", change.kind));
            if change.new.as_deref() == Some(b"grumble") {
                return Err(Error::internal("as it was told"));
            }
        }
        table.put(b"from after", b"").unwrap_err();
        Ok(())
    }
}

fn watched() -> Database {
    let mut db = Database::new();
    db.table("rows").table("audit").hooks::<Obeys>("rows").unwrap();
    db
}

#[test]
fn decisions_are_honoured_and_told() {
    let mut db = watched();
    assert_eq!(db.put("rows", b"a", b"plain"), Ok(Written::AsGiven));
    assert_eq!(db.put("rows", b"a", b"replace other"), Ok(Written::Replaced));
    assert_eq!(db.put("rows", b"a", b"skip this"), Ok(Written::Skipped));
    assert_eq!(db.get("rows", b"a").as_deref(), Some(&b"other"[..]));
    assert_eq!(db.put("rows", b"b", b"again x"), Ok(Written::Skipped));
    assert!(db.get("rows", b"b").unwrap().starts_with(b"abort "));
    assert_eq!(db.delete("rows", b"a"), Ok(Written::AsGiven));
    assert_eq!(db.delete("rows", b"never there"), Ok(Written::AsGiven));
    let seen = |kind| db.metric("seen_total", &[("kind", kind)]);
    assert_eq!((seen("Insert"), seen("Update"), seen("Delete")), (Some(1.0), Some(1.0), Some(1.0)));
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let mut db = watched();
    let error = db.put("rows", b"a", b"abort because of this").unwrap_err();
    assert_eq!(error, Error::invalid("because of this"));
    assert_eq!(db.put("rows", b"a", b"number x").unwrap_err().code, ErrorCode::Invalid);
    let rows: &[(&[u8], Option<&[u8]>)] =
        &[(b"a", Some(b"audit 1")), (b"b", Some(b"fine")), (b"c", Some(b"abort x"))];
    db.write("rows", rows).unwrap_err();
    assert!(db.rows("rows").is_empty() && db.rows("audit").is_empty());
    assert_eq!(db.metrics(), [], "nobody is told of what did not happen");
    let written = db.write("rows", &rows[..2]).unwrap();
    assert_eq!(written, [Written::AsGiven; 2]);
    assert_eq!(db.get("audit", b"a").as_deref(), Some(&b"1"[..]));
}

#[test]
fn the_error_of_an_after_hook_is_kept_and_changes_nothing() {
    let mut db = watched();
    db.put("rows", b"a", b"grumble").unwrap();
    assert_eq!(db.failures(), [Error::internal("as it was told")]);
    assert!(db.get("rows", b"a").is_some());
}

fn people() -> Schema {
    let column = |name: &str, kind, nullable| Column {
        name: name.to_owned(),
        kind,
        nullable,
        default: None,
    };
    let columns = vec![
        column("id", ColumnType::Int64, false),
        column("name", ColumnType::String, false),
        column("seen", ColumnType::Timestamp, true),
        column("place", ColumnType::Vector(2), true),
    ];
    Schema::new(columns, &["id"]).unwrap()
}

/// Writes down when a person was last seen, and has opinions on names.
struct Seen;

impl Hooks for Seen {
    fn init() -> Result<Self> {
        Ok(Seen)
    }

    fn before_each(
        &mut self,
        _: &Transaction<'_>,
        table: &Table<'_>,
        change: &Change,
    ) -> Result<Decision> {
        let Some(mut person) = change.new_record(table)? else { return Ok(Decision::Continue) };
        let before = change.old_record(table)?;
        let before = before.as_ref().map(|old| old.text("name")).transpose()?.flatten();
        match person.text("name")? {
            None | Some("") => return Ok(Decision::abort("a person has a name")),
            Some("Mallory") => person.set("id", 7)?,
            Some("Trudy") => return Ok(Decision::Replace(b"no row".to_vec())),
            Some(name) if before.is_some_and(|before| before != name) => {
                sochdb_guest::info!("{} is called {name} now", before.unwrap_or_default());
            }
            Some(_) => {}
        }
        person.set("seen", sochdb_guest::clock::now_us())?;
        change.replace(&person)
    }
}

#[test]
fn typed_rows_are_changed_by_the_names_of_their_columns() {
    let mut db = Database::new();
    db.typed_table("people", people()).hooks::<Seen>("people").unwrap();
    db.set_clock(1_700_000_000_000_000);
    db.put_json("people", &json!({ "id": 1, "name": "Ada" })).unwrap();
    let wanted = json!({ "id": 1, "name": "Ada", "seen": "2023-11-14T22:13:20Z", "place": null });
    assert_eq!(db.get_json("people", &json!({ "id": 1 })), Ok(Some(wanted.clone())));
    assert_eq!(db.rows_json("people"), Ok(vec![wanted]));
    db.put_json("people", &json!({ "id": 1, "name": "Ada L." })).unwrap();
    let [line] = &db.logs()[..] else { panic!("one line: {:?}", db.logs()) };
    assert_eq!((line.level, &*line.message), (Level::Info, "Ada is called Ada L. now"));
    for (row, wanted) in [
        (json!({ "id": 2, "name": "" }), "a person has a name"),
        (json!({ "id": 2, "name": "Mallory" }), "another key"),
        (json!({ "id": 2, "name": "Trudy" }), "no row of the table"),
        (json!({ "id": 2 }), "'name' is missing"),
        (json!({ "id": 2, "name": 3 }), "expected string, found 3"),
        (json!({ "id": 2, "nmae": "x" }), "no column 'nmae'; there are id, name"),
        (json!([]), "a row is a JSON object"),
    ] {
        let error = db.put_json("people", &row).unwrap_err();
        assert!(error.text.contains(wanted), "{}", error.text);
    }
    assert_eq!(db.delete_json("people", &json!({ "id": 1 })), Ok(Written::AsGiven));
    assert!(db.rows("people").is_empty());
}

#[test]
fn records_of_some_columns_know_their_key_and_are_not_written() {
    let mut db = Database::new();
    db.typed_table("people", people()).table("plain");
    for (id, name) in [(1, "Ada"), (2, "Bob"), (3, "Cy")] {
        db.put_json("people", &json!({ "id": id, "name": name })).unwrap();
    }
    db.transaction(|tx| {
        let people = tx.open("people")?;
        let options = ScanOptions {
            columns: vec!["name".into()],
            filter: vec![Condition::new("name", Comparison::NotEqual, "Bob")],
            reverse: true,
            ..ScanOptions::default()
        };
        let found = people.records(.., options)?.collect::<Result<Vec<_>>>()?;
        assert_eq!(
            found.iter().map(Record::to_json).collect::<Json>().to_string(),
            r#"[{"name":"Cy"},{"name":"Ada"}]"#
        );
        assert!(people.put_record(&found[0]).is_err());
        for record in &found {
            people.delete(&record.key()?)?;
        }
        let left = people.records(.., ScanOptions::default())?.collect::<Result<Vec<_>>>()?;
        assert_eq!((left.len(), left[0].text("name")?), (1, Some("Bob")));
        assert_eq!((left[0].integer("id")?, left[0].timestamp("seen")?), (Some(2), None));
        for wrong in [
            left[0].text("id").map(drop),
            left[0].text("seen").map(drop),
            left[0].integer("none").map(drop),
            Record::new(&tx.open("plain")?).map(drop),
            people.put(b"", b"no row"),
        ] {
            assert_eq!(wrong.unwrap_err().code, ErrorCode::Invalid);
        }
        assert_eq!(serde_json::to_value(&left[0])?, left[0].to_json());
        Ok(())
    })
    .unwrap();
    assert_eq!(db.rows("people").len(), 1);
}

/// Procedures that try everything.
struct Tries;

#[derive(serde::Deserialize)]
struct Put {
    table: String,
    key: String,
    value: String,
    #[serde(default)]
    fail: bool,
}

#[derive(serde::Deserialize)]
struct Call {
    plugin: String,
    procedure: String,
    args: Json,
    #[serde(default)]
    cope: bool,
}

impl Procedure for Tries {
    fn init() -> Result<Self> {
        Ok(Tries)
    }

    fn describe(&self) -> Vec<ProcedureInfo> {
        vec![
            ProcedureInfo::new("put", "Writes a row, and may fail then."),
            ProcedureInfo::new("peek", "Tries to write where it may not.").reads_only(),
            ProcedureInfo::new("call", "Calls another procedure."),
            ProcedureInfo::new("nonsense", "Answers something that is no JSON."),
            ProcedureInfo::new("codec", "Compresses and restores."),
            ProcedureInfo::new("near", "Finds by a vector.").reads_only(),
            ProcedureInfo::new("named", "Finds by a value.").reads_only(),
        ]
    }

    fn call(&mut self, tx: &Transaction<'_>, name: &str, args: &str) -> Result<String> {
        match name {
            "put" | "peek" => procedure::json(args, |put: Put| {
                tx.open(&put.table)?.put(put.key.as_bytes(), put.value.as_bytes())?;
                if put.fail { Err(Error::invalid("as it was told")) } else { Ok(put.key.len()) }
            }),
            "call" => procedure::json(args, |call: Call| {
                match tx.call::<Json>(&call.plugin, &call.procedure, &call.args) {
                    Err(error) if call.cope => Ok(json!([error.code as u8, error.text])),
                    answer => answer,
                }
            }),
            "nonsense" => Ok("{".to_owned()),
            "codec" => procedure::json(args, |text: String| {
                let codec = BlockCodec::open("reverse")?;
                let stored = codec.compress(text.as_bytes())?;
                Ok((
                    String::from_utf8(stored.clone())?,
                    codec.decompress(&stored, text.len())?.len(),
                ))
            }),
            "near" => procedure::json(args, |vector: Vec<f32>| {
                let index = TableIndex::open(&tx.open("people")?, "places")?;
                let found = index.near(&vector, &Search { k: 2, ..Search::default() })?;
                names(tx, found.into_iter().map(|neighbour| neighbour.key))
            }),
            "named" => procedure::json(args, |(first, last, reverse): (String, String, bool)| {
                let index = TableIndex::open(&tx.open("people")?, "names")?;
                let (first, last) = (Bound::Included(first.into()), Bound::Excluded(last.into()));
                names(tx, index.lookup(first, last, reverse, 10)?.into_iter())
            }),
            other => procedure::unknown(other),
        }
    }
}

fn names(tx: &Transaction<'_>, keys: impl Iterator<Item = Vec<u8>>) -> Result<Vec<String>> {
    let people = tx.open("people")?;
    let name = |key: Vec<u8>| {
        let person = people.record(&key)?.ok_or_else(|| Error::not_found("a person"))?;
        Ok(person.text("name")?.unwrap_or_default().to_owned())
    };
    keys.map(name).collect()
}

/// Turns blocks around, and cannot restore one that begins with `!`.
struct Reverse;

impl Codec for Reverse {
    fn init() -> Result<Self> {
        Ok(Reverse)
    }

    fn compress(&mut self, input: &[u8]) -> Result<Vec<u8>> {
        Ok(input.iter().rev().copied().collect())
    }

    fn decompress(&mut self, input: &[u8], _raw_bytes: usize) -> Result<Vec<u8>> {
        if input.starts_with(b"!") {
            return Err(Error::corrupt("it begins with '!'"));
        }
        self.compress(input)
    }
}

fn procedures() -> Database {
    let mut db = watched();
    db.procedure::<Tries>("tries").unwrap().procedure::<Tries>("others").unwrap();
    db.codec::<Reverse>("reverse").unwrap();
    db
}

fn put(table: &str, value: &str, fail: bool) -> Json {
    json!({ "table": table, "key": "k", "value": value, "fail": fail })
}

fn call(plugin: &str, args: &Json, cope: bool) -> Json {
    json!({ "plugin": plugin, "procedure": "put", "args": args, "cope": cope })
}

#[test]
fn a_procedure_that_fails_has_written_nothing() {
    let mut db = procedures();
    assert_eq!(db.call("tries", "put", put("rows", "v", false)), Ok(json!(1)));
    let error = db.call("tries", "put", put("audit", "v", true)).unwrap_err();
    assert_eq!(error, Error::invalid("as it was told"));
    assert!(db.rows("audit").is_empty());
    let peeked = db.call("tries", "peek", put("audit", "v", false)).unwrap_err();
    assert_eq!(peeked.code, ErrorCode::Denied);
    for (plugin, procedure) in [("tries", "none"), ("none", "put"), ("reverse", "put")] {
        let error = db.call(plugin, procedure, json!(1)).unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound, "{plugin}.{procedure}");
    }
    let error = db.call("tries", "put", json!({ "table": "rows" })).unwrap_err();
    assert!(error.text.contains("missing field `key`"), "{}", error.text);
    assert!(db.call("tries", "nonsense", json!(1)).unwrap_err().text.contains("no JSON"));
}

#[test]
fn procedures_call_others_and_cope_with_their_failures() {
    let mut db = procedures();
    let ok = db.call("tries", "call", call("others", &put("audit", "v", false), false));
    assert_eq!(ok, Ok(json!(1)));
    let coped = db.call("tries", "call", call("others", &put("audit", "w", true), true)).unwrap();
    let wanted = "plugin 'others' refused: call: as it was told (invalid)";
    assert_eq!(coped, json!([0, wanted]));
    assert_eq!(db.get("audit", b"k").as_deref(), Some(&b"v"[..]), "the callee's writes are undone");
    // A hook that aborts, below a procedure.
    let error = db.call("tries", "put", put("rows", "abort never", false)).unwrap_err();
    assert_eq!(error, Error::internal("plugin 'Obeys' refused: never"));
    // By way of itself.
    let error = db.call("tries", "call", call("tries", &put("audit", "x", false), true)).unwrap();
    assert!(error[1].as_str().unwrap().contains("by way of itself"), "{error}");
    db.deny_call("others");
    let denied = db.call("tries", "call", call("others", &put("audit", "x", false), true));
    assert_eq!(denied.unwrap()[0], json!(1));
}

#[test]
fn what_is_denied_is_denied_whether_it_exists_or_not() {
    let mut db = procedures();
    assert_eq!(db.call("tries", "codec", "tea"), Ok(json!(["aet", 3])));
    assert_eq!(db.compress("reverse", b"ab").unwrap(), b"ba");
    assert_eq!(db.decompress("reverse", b"ba", 2).unwrap(), b"ab");
    assert_eq!(db.decompress("reverse", b"ba", 3).unwrap_err().code, ErrorCode::Corrupt);
    assert_eq!(db.decompress("reverse", b"!", 1).unwrap_err().code, ErrorCode::Corrupt);
    let error = db.call("tries", "put", put("none", "v", false)).unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
    db.deny_read("none").deny_write("none").deny_write("rows").deny_codec("reverse");
    for (procedure, args) in [
        ("put", put("none", "v", false)),
        ("put", put("rows", "v", false)),
        ("codec", json!("tea")),
    ] {
        let error = db.call("tries", procedure, args).unwrap_err();
        assert_eq!(error.code, ErrorCode::Denied, "{}", error.text);
    }
    assert_eq!(db.put("rows", b"a", b"skip x").unwrap_err().code, ErrorCode::Denied);
    assert_eq!(db.put("rows", b"a", b"abort x").unwrap_err().text, "x", "a veto is always heard");
}

/// Keeps nothing and compares with all; its ordered lookups sort.
struct CompareAll;
struct All(Entries<'static>);

impl Index for CompareAll {
    type Searcher = All;

    fn init() -> Result<Self> {
        Ok(CompareAll)
    }

    fn check(&mut self, index: &Definition) -> Result<()> {
        match index.options.keys().next() {
            None => Ok(()),
            Some(option) => Err(Error::invalid(format!("there is no option '{option}'"))),
        }
    }

    fn build(
        &mut self,
        _: &Definition,
        _: &Entries<'_>,
        _: Vec<Part>,
        sink: &Sink<'_>,
    ) -> Result<u64> {
        sink.create()?.seal()
    }

    fn open(&mut self, _: &Definition, entries: Entries<'static>, _: Segment) -> Result<All> {
        sochdb_guest::count!("opened_total", 1);
        Ok(All(entries))
    }
}

impl IndexSearcher for All {
    fn search(
        &mut self,
        query: &Query<'_>,
        k: usize,
        _: usize,
        allowed: &Allowed,
    ) -> Result<Vec<u32>> {
        let numbers: Vec<u32> = allowed.numbers(self.0.count()).collect();
        let mut found: Vec<_> = query.distances(&numbers)?.into_iter().zip(numbers).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(found.into_iter().take(k).map(|(_, number)| number).collect())
    }

    fn lookup(
        &mut self,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
        allowed: &Allowed,
    ) -> Result<Vec<u32>> {
        let values = self.0.values(0, u32::MAX, u32::MAX)?;
        let mut sorted: Vec<_> = values.iter().zip(0..).collect();
        sorted.sort();
        sorted.retain(|(value, number)| range.contains(value) && allowed.contains(*number));
        if reverse {
            sorted.reverse();
        }
        Ok(sorted.into_iter().take(limit).map(|(_, number)| number).collect())
    }
}

fn places() -> Database {
    let mut db = Database::new();
    db.typed_table("people", people()).procedure::<Tries>("tries").unwrap();
    for (id, name, place) in [
        (1, "Ada", json!([0, 0])),
        (2, "Bob", json!([3, 3])),
        (3, "Cy", json!([1, 0])),
        (4, "Di", Json::Null),
    ] {
        db.put_json("people", &json!({ "id": id, "name": name, "place": place })).unwrap();
    }
    db
}

#[test]
fn indexes_find_what_is_there_exact_or_by_a_plugin() {
    let definition = |name: &str, column: &str, metric| Definition {
        table: "people".into(),
        name: name.into(),
        column: column.into(),
        metric,
        ..Definition::default()
    };
    let euclidean = VectorMetric::SquaredEuclidean;
    let mut exact = places();
    exact.ordered_index("people", "names", "name").unwrap();
    exact.vector_index("people", "places", "place", euclidean).unwrap();
    let mut kept = places();
    kept.index::<CompareAll>(definition("names", "name", None)).unwrap();
    kept.index::<CompareAll>(definition("places", "place", Some(euclidean))).unwrap();
    for db in [&mut exact, &mut kept] {
        assert_eq!(db.call("tries", "near", [0.9, 0.0]), Ok(json!(["Cy", "Ada"])));
        assert_eq!(db.call("tries", "near", [3.0, 3.0]), Ok(json!(["Bob", "Cy"])));
        assert_eq!(db.call("tries", "named", ("Ad", "Di", false)), Ok(json!(["Ada", "Bob", "Cy"])));
        assert_eq!(db.call("tries", "named", ("B", "Z", true)), Ok(json!(["Di", "Cy", "Bob"])));
        for vector in [vec![1.0], vec![f32::MAX, f32::MAX, 1.0]] {
            let error = db.call("tries", "near", vector).unwrap_err();
            assert_eq!(error.code, ErrorCode::Invalid, "{}", error.text);
        }
        db.deny_search();
        assert_eq!(db.call("tries", "near", [0, 0]).unwrap_err().code, ErrorCode::Denied);
    }
    assert!(kept.metric("opened_total", &[]).is_some_and(|count| 4.0 <= count));
    let mut wrong = definition("bad", "place", None);
    assert!(kept.index::<CompareAll>(wrong.clone()).is_err(), "vectors have no order");
    wrong.column = "name".into();
    wrong.options.insert("m".into(), "16".into());
    let error = kept.index::<CompareAll>(wrong).err().unwrap();
    assert!(error.text.contains("'m'"), "{}", error.text);
}

/// Posts how many metrics a batch has.
struct Posts(usize);

impl Observer for Posts {
    fn init() -> Result<Self> {
        Ok(Posts(0))
    }

    fn ingest(&mut self, batch: Batch) -> Result<()> {
        self.0 += batch.metrics.len();
        let address = Address::open(&config::text("url")?)?;
        address.post(&[("content-type", "text/plain")], self.0.to_string().as_bytes())
    }
}

#[test]
fn an_observer_sends_as_far_as_its_manifest_goes() {
    let manifest = |url: &str| {
        format!(
            "[plugin]\nname = 'posts'\nkind = 'observer'\n\
             [capabilities]\naddresses = ['http://127.0.0.1:4318/']\n\
             [config_schema]\nurl = {{ type = 'text', default = '{url}' }}\n"
        )
    };
    let mut db = Database::new();
    db.manifest(&manifest("http://127.0.0.1:4318/v1")).unwrap();
    db.observer::<Posts>("named in the manifest").unwrap();
    db.ingest("posts", test_batch()).unwrap();
    let [sent] = &db.sent()[..] else { panic!("one payload") };
    assert_eq!((&*sent.url, &*sent.body), ("http://127.0.0.1:4318/v1", &b"3"[..]));
    assert_eq!(db.render("posts", "").unwrap_err().code, ErrorCode::NotFound);
    let mut db = Database::new();
    db.manifest(&manifest("http://elsewhere/")).unwrap().observer::<Posts>("").unwrap();
    assert_eq!(db.ingest("posts", test_batch()).unwrap_err().code, ErrorCode::Denied);
    assert!(db.sent().is_empty());
    db.close().unwrap();
}

#[test]
fn a_hook_hears_what_its_manifest_says_and_may_do_no_more() {
    let manifest = "[plugin]\nname = 'obeys'\n[capabilities]\ncan_read_table = ['rows']\n\
                    [hooks]\ntables = ['ro*']\nbefore = ['insert']\nafter = ['update']\n";
    let mut db = Database::new();
    db.table("rows").table("audit").table("others");
    db.manifest(manifest).unwrap().hooks::<Obeys>("**").unwrap();
    assert!(db.put("others", b"a", b"abort not one of its tables").is_ok());
    assert_eq!(db.put("rows", b"a", b"abort an insert").unwrap_err().text, "an insert");
    db.put("rows", b"a", b"plain").unwrap();
    assert_eq!(db.put("rows", b"a", b"abort no update"), Ok(Written::AsGiven));
    for value in ["audit x", "again x"] {
        let error = db.put("rows", b"b", value.as_bytes()).unwrap_err();
        assert_eq!(error.code, ErrorCode::Denied, "{value}: {}", error.text);
    }
    // Who may change what others write, the operator says.
    assert_eq!(db.put("rows", b"b", b"replace x"), Ok(Written::Replaced));
    db.deny_write("rows");
    assert_eq!(db.put("rows", b"c", b"skip x").unwrap_err().code, ErrorCode::Denied);
    let [metric] = &db.metrics()[..] else { panic!("one metric: {:?}", db.metrics()) };
    assert_eq!((&*metric.plugin, metric.value), ("obeys", 1.0));
}

#[test]
fn what_one_call_may_say_is_bounded() {
    let mut db = Database::new();
    db.inside(|| {
        for n in 0..200 {
            sochdb_guest::debug!("line {n}");
        }
        for (name, label) in
            [("1x", "l"), ("sochdb_x", "l"), ("x", "plugin"), ("x", "__l"), ("a b", "l")]
        {
            assert!(sochdb_guest::telemetry::count(name, &[(label, "")], 1.0).is_err(), "{name}");
        }
        sochdb_guest::gauge!("fill_ratio", 0.5, shard = 3);
        sochdb_guest::gauge!("fill_ratio", 0.75_f32, shard = 3);
        sochdb_guest::count!("fill_ratio", 1);
        assert!(sochdb_guest::telemetry::count("down_total", &[], -1.0).is_err());
    });
    assert_eq!(db.logs().len(), 100);
    assert_eq!(db.metric("fill_ratio", &[("shard", "3")]), Some(0.75));
    assert_eq!(db.metrics().len(), 1);
    // What other crates say is heard once a plugin is there.
    db.codec::<Reverse>("reverse").unwrap();
    db.inside(|| {
        log::warn!("said by {}", "another crate");
        log::debug!("too quiet");
    });
    let last = db.logs().pop().unwrap();
    assert_eq!((last.level, &*last.message), (Level::Warn, "native: said by another crate"));
}

/// Keeps a table from one call to the next, which nobody may.
struct Keeps(Option<Table<'static>>);

impl Procedure for Keeps {
    fn init() -> Result<Self> {
        Ok(Keeps(None))
    }

    fn describe(&self) -> Vec<ProcedureInfo> {
        vec![ProcedureInfo::new("get", "Reads.").reads_only()]
    }

    fn call(&mut self, tx: &Transaction<'_>, _: &str, _: &str) -> Result<String> {
        if self.0.is_none() {
            self.0 = Some(tx.open("rows")?);
        }
        let table = self.0.as_ref().expect("it was opened");
        Ok(table.get(b"a")?.is_some().to_string())
    }
}

#[test]
#[should_panic(expected = "end with the call that they were opened in")]
fn a_handle_that_is_kept_too_long_is_found_out() {
    let mut db = watched();
    db.procedure::<Keeps>("keeps").unwrap();
    assert_eq!(db.call("keeps", "get", ()), Ok(json!(false)));
    let _ = db.call("keeps", "get", ());
}

#[test]
fn many_rows_are_written_and_read_at_once() {
    let mut db = watched();
    db.transaction(|tx| {
        let table = tx.open("rows")?;
        let mut rows = RowBatch::default();
        for n in 0..5000_u32 {
            rows.push(&n.to_be_bytes(), Some(b"replace x"));
        }
        table.write(rows)?;
        let mut scan =
            table.scan(.., ScanOptions { limit: Some(4000), ..ScanOptions::default() })?;
        let mut count = 0;
        while let Some((_, value)) = scan.next()? {
            assert_eq!(value, b"x");
            count += 1;
        }
        assert_eq!(count, 4000);
        let mut backwards = RowBatch::default();
        backwards.push(b"b", None);
        backwards.push(b"a", None);
        assert_eq!(table.write(backwards).unwrap_err().code, ErrorCode::Invalid);
        let found = table.get_many(&[&0_u32.to_be_bytes(), b"none", &1_u32.to_be_bytes()])?;
        assert_eq!(found, [Some(b"x".to_vec()), None, Some(b"x".to_vec())]);
        Ok(())
    })
    .unwrap();
    // Hooks get 1,024 rows a call, and one call emits 1,000 metrics.
    assert_eq!(db.metric("seen_total", &[("kind", "Insert")]), Some(4904.0));
    let undone = db.transaction(|tx| {
        tx.open("rows")?.delete(&0_u32.to_be_bytes())?;
        Err::<(), _>(Error::internal("never mind"))
    });
    assert!(undone.is_err() && db.rows("rows").len() == 5000);
}

//! Indexes and searches as a user of the command line meets them.

use crate::program::Workplace;
use serde_json::{Value, json};

/// `angles` as vectors of two dimensions, as an `.f32bin` file.
fn f32bin(angles: &[f32]) -> Vec<u8> {
    let header = [u32::try_from(angles.len()).unwrap(), 2];
    let header = header.iter().flat_map(|number| number.to_le_bytes());
    let numbers = angles.iter().flat_map(|angle| {
        let (sine, cosine) = angle.to_radians().sin_cos();
        [cosine, sine].into_iter().flat_map(f32::to_le_bytes)
    });
    header.chain(numbers).collect()
}

/// A table `docs` of 20 rows at 0, 10, 20, ... degrees.
fn docs() -> Workplace {
    let work = Workplace::new();
    let angles: Vec<_> = (0..20).map(|n| n as f32 * 10.0).collect();
    work.file("docs.f32bin", f32bin(&angles));
    work.ok(&["import", "docs.f32bin"]);
    work
}

fn ids(answer: &str) -> Vec<i64> {
    let row = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    answer.lines().map(|line| row(line)["row"]["id"].as_i64().unwrap()).collect()
}

#[test]
fn an_index_is_made_listed_searched_and_dropped() {
    let work = docs();
    let near = ["search", "docs", "--vector", "[1, 0.5]", "-k", "3", "--json"];
    work.refused(&near, 2, &["no index of vectors"]);
    let made = work.ok(&["index", "create", "docs", "vector", "--name", "meaning"]);
    assert!(
        made.starts_with("created index 'meaning' of column 'vector' of table 'docs': 20 entries")
    );
    work.refused(&["index", "create", "docs", "vector", "--name", "meaning"], 2, &["already"]);
    assert_eq!(ids(&work.ok(&near)), [3, 2, 4]);
    let shown = work.ok(&["search", "docs", "--like-key", "3", "-k", "2", "--columns", "id"]);
    assert!(shown.contains("distance") && shown.contains("0.0152"), "{shown}");
    let listed = work.ok(&["index", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let index = &listed["indexes"][0];
    assert_eq!((&index["table"], &index["state"]), (&json!("docs"), &json!("ready")));
    assert_eq!((&index["metric"], &index["dimensions"]), (&json!("cosine"), &json!(2)));
    assert!(!work.ok(&["table", "list"]).contains("sochdb."));
    assert!(work.ok(&["table", "list", "--all"]).contains("sochdb.index.meaning.docs"));
    let stats: Value =
        serde_json::from_str(&work.ok(&["index", "stats", "docs", "meaning", "--json"])).unwrap();
    assert_eq!((&stats["entries"], &stats["waiting"]), (&json!(20), &json!(0)));
    assert!(work.ok(&["index", "stats", "docs", "meaning"]).contains("built by"));
    assert!(work.ok(&["index", "check", "docs", "meaning"]).starts_with("20 rows"));
    work.ok(&["put", "docs", "id=50", "vector=[1.0, 0.5]"]);
    work.ok(&["delete", "docs", "3"]);
    assert_eq!(ids(&work.ok(&near)), [50, 2, 4]);
    assert_eq!(work.ok(&["check"]).lines().last(), Some("no problems"));
    work.ok(&["index", "drop", "docs", "meaning"]);
    work.refused(&["index", "drop", "docs", "meaning"], 3, &["'meaning' of table 'docs'"]);
    assert_eq!(work.ok(&["index", "list"]), "no indexes\n");
}

#[test]
fn searches_take_files_filters_and_ranges() {
    let work = docs();
    work.ok(&["index", "create", "docs", "vector", "--metric", "euclidean", "--store", "f16"]);
    let search = |more: &[&str]| {
        let search = ["search", "docs", "--vector", "[1, 0.5]", "-k", "2", "--json"];
        ids(&work.ok(&[&search[..], more].concat()))
    };
    assert_eq!(search(&[]), [3, 2]);
    assert_eq!(search(&["--exact", "--effort", "300"]), [3, 2]);
    assert_eq!(search(&["--filter", "id!=3", "--filter", "id>=3"]), [4, 5]);
    assert_eq!(search(&["--from", "5", "--to", "8"]), [5, 6]);
    work.file("questions.f32bin", f32bin(&[0.0, 100.0]));
    let answers =
        work.ok(&["search", "docs", "--vector-file", "questions.f32bin", "-k", "1", "--json"]);
    let queries = answers.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let queries: Vec<_> =
        queries.map(|hit| (hit["query"].clone(), hit["row"]["id"].clone())).collect();
    assert_eq!(queries, [(json!(0), json!(0)), (json!(1), json!(10))]);
    for (words, wanted) in [
        (&["search", "docs"][..], "--vector"),
        (&["search", "docs", "--vector", "[1]"], "dimensions"),
        (&["search", "docs", "--vector", "1"], "JSON array"),
        (&["search", "docs", "--vector", "[1, 0]", "--filter", "id"], "COLUMN=VALUE"),
        (&["search", "docs", "--vector", "[1, 0]", "--filter", "no=1"], "'no'"),
        (&["search", "docs", "--vector-file", "docs.csv"], "not a file of vectors"),
    ] {
        work.refused(words, 2, &[wanted]);
    }
    work.refused(&["search", "docs", "--like-key", "99"], 3, &["no row"]);
    work.refused(&["search", "docs", "--vector", "[1, 0]", "--index", "i"], 3, &["'i'"]);
}

#[test]
fn files_of_vectors_go_into_tables_that_fit_them() {
    let work = docs();
    // Again: the same rows. Into a table with other columns: those are null.
    let again = work.ok(&["import", "docs.f32bin", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["rows_replaced"], 20);
    work.ok(&[
        "import",
        "docs.f32bin",
        "--table",
        "named",
        "--key",
        "n",
        "--column",
        "n:int64",
        "--column",
        "text:string?",
        "--column",
        "v:vector(2)",
        "--storage",
        "lscs",
    ]);
    let row: Value = serde_json::from_str(&work.ok(&["get", "named", "0", "--json"])).unwrap();
    assert_eq!(row, json!({ "n": 0, "text": null, "v": [1.0, 0.0] }));
    for (columns, word) in [
        (&["id:int64", "v:vector(3)"][..], "vector(3), the file has vector(2)"),
        (&["id:string", "v:vector(2)"], "not int64"),
        (&["id:int64", "t:string", "v:vector(2)"], "'t'"),
        (&["id:int64", "v:vector(2)", "w:vector(2)"], "2 columns of vectors"),
    ] {
        let columns = columns.iter().flat_map(|column| ["--column", column]);
        let words: Vec<_> =
            ["import", "docs.f32bin", "--table", "bad"].into_iter().chain(columns).collect();
        work.refused(&words, 2, &[word]);
    }
    work.ok(&["table", "create", "plain"]);
    work.refused(&["import", "docs.f32bin", "--table", "plain"], 2, &["untyped"]);
    let whole = f32bin(&[0.0, 1.0]);
    for (name, bytes) in [
        ("cut.f32bin", &whole[..whole.len() - 1]),
        ("head.f32bin", &whole[..6]),
        ("none.npy", b"nothing like it"),
        ("empty.fvecs", b""),
    ] {
        work.file(name, bytes);
        work.refused(&["import", name], 2, &[name]);
    }
    work.refused(&["export", "docs", "--format", "fvecs"], 2, &["only read"]);
    work.file("bad.f32bin", [&whole[..8], &f32::NAN.to_le_bytes(), &[0; 12]].concat());
    work.ok(&["index", "create", "docs", "vector"]);
    work.refused(
        &["import", "bad.f32bin", "--table", "docs"],
        2,
        &["'vector'", "nothing was imported"],
    );
}

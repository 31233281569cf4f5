//! `scan --filter` and `export --filter`: the rows that fulfil conditions, whoever keeps them.

use crate::program::Workplace;
use serde_json::Value;

const ROWS: i64 = 3000;

/// The same rows in the kernel's tree and in the column store; every fifth has no kind, some are only in the log.
fn filled() -> Workplace {
    let work = Workplace::new();
    let line = |id: i64| {
        let kind = ["\"a\"", "\"ab\"", "\"b\"", "\"ä\"", "null"][(id % 5) as usize];
        format!("{{\"id\":{id},\"n\":{},\"kind\":{kind},\"text\":\"row {id}\"}}\n", id * 7 % 100)
    };
    work.file("t.jsonl", (0..ROWS).map(line).collect::<String>());
    for (table, storage) in [("tree", "kernel"), ("columns", "lscs")] {
        work.ok(&["import", "t.jsonl", "--table", table, "--storage", storage]);
        work.ok(&["put", table, "id=9000", "n=9", "kind=b", "text=later"]);
    }
    work
}

/// The ids that a scan with these arguments prints.
fn ids(work: &Workplace, table: &str, args: &[&str]) -> Vec<i64> {
    let out = work.ok(&[&["scan", table, "--json"], args].concat());
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap();
    out.lines().map(id).collect()
}

#[test]
fn a_scan_prints_the_rows_that_fulfil_all_conditions() {
    let work = filled();
    let all = || (0..ROWS).chain([9000]);
    let n = |id: i64| if id == 9000 { 9 } else { id * 7 % 100 };
    let kind = |id: i64| if id == 9000 { 2 } else { id % 5 };
    type Wanted<'a> = &'a dyn Fn(i64) -> bool;
    let cases: [(&[&str], Wanted<'_>); 10] = [
        (&["n=9"], &|id| n(id) == 9),
        (&["n!=9"], &|id| n(id) != 9),
        (&["n<9"], &|id| n(id) < 9),
        (&["n<=9"], &|id| n(id) <= 9),
        (&["n>90"], &|id| 90 < n(id)),
        (&["n>=90", "kind=b"], &|id| 90 <= n(id) && kind(id) == 2),
        (&["kind^=a"], &|id| kind(id) < 2),
        (&["kind=ä", "id<100"], &|id| kind(id) == 3 && id < 100),
        (&["kind="], &|id| kind(id) == 4),
        (&["kind!=", "n=1"], &|id| kind(id) != 4 && n(id) == 1),
    ];
    for table in ["tree", "columns"] {
        for (filters, wanted) in &cases {
            let args: Vec<&str> = filters.iter().flat_map(|text| ["--filter", *text]).collect();
            let expected: Vec<i64> = all().filter(|id| wanted(*id)).collect();
            assert!(!expected.is_empty());
            assert_eq!(ids(&work, table, &args), expected, "{table} {filters:?}");
            let mut backwards = expected.clone();
            backwards.reverse();
            let reverse = [&args[..], &["--reverse", "--columns", "text,id"]].concat();
            assert_eq!(ids(&work, table, &reverse), backwards, "{table} {filters:?}");
            let some = [&args[..], &["--limit", "2", "--from", "100"]].concat();
            let first: Vec<_> = expected.iter().copied().filter(|id| 100 <= *id).take(2).collect();
            assert_eq!(ids(&work, table, &some), first, "{table} {filters:?}");
        }
        // Columns that are not asked for are looked at, and not shown; one may be shown twice.
        let args =
            ["scan", table, "--filter", "id=12", "--columns", "text,n,text", "--mode", "csv"];
        assert_eq!(work.ok(&args), "text,n,text\nrow 12,84,row 12\n");
        let shell =
            work.ok(&["shell", "-c", &format!("scan {table} --filter 'n<1' --limit 1 --json")]);
        assert!(shell.contains("\"id\":0"), "{shell}");
    }
}

#[test]
fn an_export_has_the_rows_that_fulfil_all_conditions() {
    let work = filled();
    for table in ["tree", "columns"] {
        let filters = ["--filter", "kind=b", "--filter", "n<50"];
        let rows = ids(&work, table, &filters).len();
        for end in ["jsonl", "csv", "parquet"] {
            if end == "parquet" && cfg!(not(feature = "parquet")) {
                continue;
            }
            let file = format!("{table}.{end}");
            let said = work.ok(&[&["export", table, "-o", &file], &filters[..]].concat());
            assert!(said.starts_with(&format!("{rows} rows of table")), "{said}");
            let copy = format!("{table}_{end}");
            work.ok(&["import", &file, "--table", &copy, "--key", "id"]);
            assert_eq!(ids(&work, &copy, &[]), ids(&work, table, &filters), "{file}");
        }
    }
}

#[test]
fn what_cannot_be_a_condition_is_refused() {
    let work = filled();
    work.ok(&["table", "create", "plain"]);
    work.refused(&["scan", "plain", "--filter", "key=1"], 2, &["untyped", "--prefix"]);
    work.refused(&["export", "plain", "--filter", "key=1"], 2, &["untyped"]);
    work.refused(&["scan", "tree", "--filter", "no=1"], 2, &["'no'", "its columns are"]);
    work.refused(&["scan", "tree", "--filter", "n"], 2, &["COLUMN=VALUE"]);
    work.refused(&["scan", "columns", "--filter", "n=x"], 2, &["int64"]);
    work.refused(&["scan", "columns", "--filter", "n^=1"], 2, &["no beginning"]);
}

//! Repositories of backups and restoring to a moment, as an operator meets them.

use crate::program::Workplace;
use serde_json::Value;
use std::path::Path;

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("one JSON object")
}

fn notes(work: &Workplace, db: &str) -> String {
    work.ok(&["--db", db, "scan", "notes", "--json"])
}

/// The names of the repository's backups, oldest first.
fn names(work: &Workplace, repository: &str) -> Vec<String> {
    let listed = work.ok(&["backup", "list", repository, "--json"]);
    listed.lines().map(|line| json(line)["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_repository_takes_backups_lists_verifies_restores_and_prunes_them() {
    let work = Workplace::new();
    work.ok(&["table", "create", "notes"]);
    work.ok(&["table", "create", "cold", "--storage", "lscs", "--codec", "lz4"]);
    let mut states = Vec::new();
    for day in ["monday", "tuesday", "wednesday"] {
        work.ok(&["put", "notes", day, "kept"]);
        work.ok(&["put", "cold", day, "kept too"]);
        let said = work.ok(&["backup", "--into", "home", "--name", day]);
        assert!(said.starts_with(&format!("home#{day} holds every commit up to ")), "{said}");
        states.push((day, notes(&work, "db")));
    }
    assert_eq!(names(&work, "home"), ["monday", "tuesday", "wednesday"]);
    let table = work.ok(&["backup", "list", "home"]);
    assert!(table.contains("wednesday") && table.contains("commit"), "{table}");
    let again = json(&work.ok(&["backup", "--into", "home", "--json"]));
    assert_eq!(again["added_bytes"], 0, "nothing changed: {again}");
    let verified = work.ok(&["backup", "verify", "home"]);
    assert_eq!(verified.matches("no problems").count(), 4, "{verified}");

    for (day, state) in &states {
        work.ok(&["--db", &format!("{day}-1"), "restore", &format!("home#{day}")]);
        work.ok(&["--db", &format!("{day}-2"), "restore", "home", "--name", day]);
        for copy in 1..=2 {
            assert_eq!(notes(&work, &format!("{day}-{copy}")), *state);
        }
        let check = work.ok(&["--db", &format!("{day}-1"), "check"]);
        assert!(check.ends_with("no problems\n"), "{check}");
        let cold = work.ok(&["--db", &format!("{day}-1"), "get", "cold", day]);
        assert_eq!(cold, "kept too\n");
    }
    let dry = work.ok(&["backup", "prune", "home", "--keep", "2", "--dry-run"]);
    assert!(dry.contains("would go monday"), "{dry}");
    assert_eq!(names(&work, "home").len(), 4);
    let pruned = json(&work.ok(&["backup", "prune", "home", "--keep", "2", "--json"]));
    assert_eq!(pruned["removed"], serde_json::json!(["monday", "tuesday"]));
    assert_eq!(names(&work, "home").len(), 2);
    work.ok(&["backup", "verify", "home", "wednesday"]);
    work.ok(&["--db", "late", "restore", "home#wednesday"]);
    assert_eq!(notes(&work, "late"), states[2].1);
}

#[test]
fn what_makes_no_sense_is_refused_and_says_the_way_out() {
    let work = Workplace::new();
    work.ok(&["table", "create", "notes"]);
    work.ok(&["put", "notes", "a", "b"]);
    work.ok(&["backup", "--into", "home", "--name", "one"]);
    work.refused(&["backup", "--into", "home", "--name", "one"], 2, &["already"]);
    work.refused(&["backup", "--into", "home", "--name", "../x"], 2, &["no name for a backup"]);
    work.refused(&["backup", "home"], 2, &["is a repository", "help: ", "--into"]);
    work.refused(&["backup", "--into", "db"], 2, &["is no repository"]);
    work.refused(&["backup"], 2, &[]);
    work.refused(&["backup", "prune", "home"], 2, &["--keep"]);
    work.refused(&["backup", "list", "nowhere"], 3, &["nowhere", "help: "]);
    work.refused(&["--db", "x", "restore", "home#two"], 3, &["'two'", "backup list"]);
    work.refused(&["--db", "x", "restore", "db", "--name", "one"], 3, &["no repository"]);
    work.refused(&["--db", "x", "restore", "home", "--log", "home"], 3, &["archive", "help: "]);
    let soon = ["--db", "x", "restore", "home", "--to-timestamp", "2026-11-22"];
    work.refused(&soon, 2, &["2026-11-22T09:30:00Z"]);
    let early = ["--db", "x", "restore", "home", "--to-timestamp", "2001-01-01T00:00:00Z"];
    work.refused(&early, 3, &["2001-01-01T00:00:00Z cannot be reached", "commit", "help: "]);
}

#[test]
fn a_damaged_repository_is_found_out() {
    let work = Workplace::new();
    work.ok(&["table", "create", "notes"]);
    work.ok(&["put", "notes", "a", &"text ".repeat(400)]);
    work.ok(&["backup", "--into", "home", "--name", "one"]);
    let packs = work.path("home").join("packs");
    let pack = std::fs::read_dir(packs).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&pack).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let run = work.run(&["backup", "verify", "home"]);
    assert_eq!(run.code, 5, "{run:?}");
    let run = work.run(&["--db", "x", "restore", "home"]);
    assert_eq!(run.code, 5, "{run:?}");
    assert!(!Path::new(&work.path("x")).join("data.soch").exists());
}

#[test]
fn a_database_goes_back_to_a_time_and_to_a_commit() {
    let work = Workplace::new();
    work.ok(&["table", "create", "notes", "--archive"]);
    work.ok(&["put", "notes", "first", "1"]);
    work.ok(&["backup", "--into", "home", "--name", "start"]);
    work.ok(&["backup", "plain"]);
    work.ok(&["put", "notes", "second", "2"]);
    let before = notes(&work, "db");
    let moment = now();
    work.ok(&["delete", "notes", "first"]);
    work.ok(&["put", "notes", "third", "3"]);
    assert!(work.path("db").join("archive/times").exists(), "what one command keeps, all keep");

    // The directory is known to the repository; a plain backup is told.
    let by_time = ["--db", "a", "restore", "home", "--to-timestamp", &moment, "--json"];
    let report = json(&work.ok(&by_time));
    assert_eq!(notes(&work, "a"), before, "{report}");
    let commit = report["commit"].to_string();
    work.ok(&["--db", "b", "restore", "plain", "--log", "db", "--to-timestamp", &moment]);
    assert_eq!(notes(&work, "b"), before);
    work.ok(&["--db", "c", "restore", "home", "--to-commit", &commit]);
    work.ok(&["--db", "d", "restore", "plain", "--log", "db", "--until", &commit]);
    assert_eq!((notes(&work, "c"), notes(&work, "d")), (before.clone(), before.clone()));
    work.ok(&["--db", "e", "restore", "home", "--log", "db"]);
    assert_eq!(notes(&work, "e"), notes(&work, "db"), "without a moment all there is");

    // With a later backup the repository needs nobody else.
    work.ok(&["backup", "--into", "home", "--name", "later"]);
    std::fs::rename(work.path("db"), work.path("lost")).unwrap();
    work.ok(&["--db", "f", "restore", "home", "--to-timestamp", &moment]);
    assert_eq!(notes(&work, "f"), before);
    let late = ["--db", "g", "restore", "home", "--to-timestamp", "2200-01-01T00:00:00Z"];
    work.refused(&late, 3, &["cannot be reached", " to ", "help: "]);
    let without = ["--db", "g", "restore", "plain", "--to-timestamp", &moment];
    work.refused(&without, 3, &["no times of commits", "help: "]);
}

/// The time, to the microsecond.
fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let whole = sochdb::operations::utc_text(since.as_micros() as u64);
    whole.replace('Z', &format!(".{:06}Z", since.subsec_micros()))
}

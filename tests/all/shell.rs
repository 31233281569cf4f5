//! `sochdb shell` as its users meet it: lines from a pipe, from a terminal, and Ctrl-C.

use crate::program::{Ended, Workplace};
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How long a terminal may stay silent before a test gives up.
const PATIENCE_MS: u64 = 120_000;

/// A typed table with three rows and an untyped one with one.
fn words() -> Workplace {
    let work = Workplace::new();
    let rows = "{\"id\": 1, \"text\": \"a | b\"}\n{\"id\": 2, \"text\": \"say \\\"hi\\\", twice\"}\n{\"id\": 3, \"text\": null}\n";
    work.file("words.jsonl", rows);
    work.ok(&["import", "words.jsonl", "--key", "id"]);
    work.ok(&["table", "create", "settings"]);
    work.ok(&["put", "settings", "colour", "blue"]);
    work
}

fn session(work: &Workplace, lines: &str) -> Ended {
    work.run_with(&["shell"], lines.as_bytes())
}

/// What the lines print, where all of them succeed silently.
fn printed(work: &Workplace, lines: &str) -> String {
    let ended = session(work, lines);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{lines}\n{}", ended.out);
    ended.out
}

#[test]
fn lines_are_commands_on_one_open_database() {
    let work = words();
    let lines = "# a remark\n\nput settings size 3\nget settings size\nsochdb get settings colour\n\
                 put words {\"id\": 7,\n  \"text\": \"it's\"}\nget words 7 --json\n\
                 delete settings \\\n  size\n.quit\nget settings colour\n";
    let out = printed(&work, lines);
    assert_eq!(out, "3\nblue\n{\"id\":7,\"text\":\"it's\"}\n", "nothing runs after .quit");
    work.refused(&["get", "settings", "size"], 3, &["no row"]);
    let out =
        work.ok(&["shell", "-c", "get settings colour", "-c", ".mode csv", "-c", "scan settings"]);
    assert_eq!(out, "blue\nkey,value\ncolour,blue\n");
}

#[test]
fn every_mode_prints_the_same_rows() {
    let work = words();
    let of = |mode: &str| printed(&work, &format!(".mode {mode}\nscan words\n"));
    let table = of("table");
    assert!(table.contains("text") && table.contains("twice"), "{table}");
    assert_eq!(of("csv"), "id,text\n1,a | b\n2,\"say \"\"hi\"\", twice\"\n3,\n");
    let markdown =
        "| id | text |\n| --- | --- |\n| 1 | a \\| b |\n| 2 | say \"hi\", twice |\n| 3 | null |\n";
    assert_eq!(of("markdown").replace("\\\\\"", "\"").replace("\\\"", "\""), markdown);
    let lines = of("jsonl");
    let each: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let all: Vec<Value> = serde_json::from_str(&of("json")).unwrap();
    assert_eq!((each.len(), &each), (3, &all));
    assert_eq!(work.ok(&["scan", "words", "--json"]), lines, "--json is as it was");
    assert_eq!(work.ok(&["scan", "words", "--mode", "csv"]), of("csv"));
    let none = printed(&work, ".mode json\nscan words --from 9\n");
    assert_eq!(serde_json::from_str::<Vec<Value>>(&none).unwrap(), Vec::<Value>::new());
    // One line may have a mode of its own; commands without rows print as they do.
    let out = printed(
        &work,
        ".mode csv\nget settings colour\nget settings colour --mode jsonl\nstats words\n",
    );
    assert!(
        out.starts_with("key,value\ncolour,blue\n{\"key\":\"colour\",\"value\":\"blue\"}\ntable"),
        "{out}"
    );
    assert_eq!(
        work.ok(&["get", "words", "1", "--mode", "markdown"]),
        "| id | text |\n| --- | --- |\n| 1 | a \\| b |\n"
    );
    assert_eq!(work.ok(&["table", "list", "--mode", "csv"]).lines().count(), 3);
    assert_eq!(
        work.ok(&["index", "list", "--mode", "csv"]),
        "table,index,column,using,finds,state\n"
    );
    work.refused(&["check", "--mode", "csv"], 2, &["does not print rows", "scan, get, search"]);
    let ended = work.run(&["shell", "-c", "put settings a b --mode csv"]);
    assert!(ended.code == 2 && ended.err.contains("does not print rows"), "{ended:?}");
    work.refused(&["scan", "words", "--mode", "csv", "--json"], 2, &["cannot be used with"]);
}

#[test]
fn dot_commands_do_what_they_say() {
    let work = words();
    let help = printed(&work, ".help\n");
    for word in [".mode table|json|jsonl|csv|markdown", ".explain on|off", ".read FILE", ".quit"] {
        assert!(help.contains(word), "no '{word}' in\n{help}");
    }
    assert!(
        printed(&work, "help\n").contains("import")
            && printed(&work, "scan --help\n").contains("--prefix")
    );
    assert!(printed(&work, ".tables\n").contains("words"));
    assert!(printed(&work, ".plugins\n").contains("lscs"));
    work.ok(&["index", "create", "words", "text", "--name", "by-text"]);
    assert!(printed(&work, ".indexes\n").contains("by-text"));
    assert!(printed(&work, ".indexes settings\n").contains("no indexes"));
    let told =
        session(&work, ".timing on\nget settings colour\n.timing off\nget settings colour\n");
    assert_eq!((told.code, told.out.as_str()), (0, "blue\nblue\n"));
    assert!(told.err.starts_with("took ") && told.err.lines().count() == 1, "{}", told.err);
    work.file("more.txt", "get settings colour\n.mode csv\n");
    let out = printed(
        &work,
        ".read more.txt\nscan settings\n.output out.csv\nscan settings\n.output\n.pager off\nget settings colour --mode table\n",
    );
    assert_eq!(out, "blue\nkey,value\ncolour,blue\nblue\n");
    assert_eq!(std::fs::read_to_string(work.path("out.csv")).unwrap(), "key,value\ncolour,blue\n");
    let again = session(&work, ".output out.csv\n");
    assert!(again.code != 0 && again.err.contains("help: name another file"), "{again:?}");
}

#[test]
fn a_schema_is_the_lines_that_make_it() {
    let work = words();
    work.ok(&[
        "table",
        "create",
        "docs",
        "--column",
        "id:int64",
        "--column",
        "v:vector(2)",
        "--column",
        "tag:string?",
        "--column",
        "at:timestamp",
        "--key",
        "id",
        "--storage",
        "lscs",
        "--codec",
        "lz4",
        "--set",
        "ttl_column=at",
        "--set",
        "ttl=30d",
    ]);
    work.ok(&["index", "create", "docs", "v", "--name", "near-it", "--metric", "euclidean"]);
    work.ok(&["index", "create", "docs", "tag"]);
    let schema = printed(&work, ".schema\n");
    assert_eq!(schema.lines().count(), 5, "{schema}");
    let other = Workplace::new();
    let made = other.run_with(&["shell", "--create"], schema.as_bytes());
    assert_eq!((made.code, made.err.as_str()), (0, ""), "{schema}");
    assert_eq!(printed(&other, ".schema\n"), schema);
    let one = printed(&work, ".mode jsonl\n.schema docs\n");
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_eq!(
        (&one["table"]["name"], one["indexes"].as_array().unwrap().len()),
        (&"docs".into(), 2)
    );
    let none = session(&work, ".schema nothing\n");
    assert!(
        none.code == 3 && none.err.contains("line 1: there is no table named 'nothing'"),
        "{none:?}"
    );
}

#[test]
fn an_explanation_says_what_cache_disk_and_plugins_did() {
    let work = Workplace::new();
    work.ok(&["table", "create", "t", "--storage", "lscs", "--codec", "lz4"]);
    let puts: String = (0..50).map(|n| format!("put t k{n} value\n")).collect();
    printed(&work, &(puts + "compact\n"));
    let told = session(&work, ".explain on\nget t k7\n.explain off\nget t k7\n");
    assert_eq!((told.code, told.out.as_str()), (0, "value\nvalue\n"));
    let lines: Vec<_> = told.err.lines().collect();
    assert!(lines[0].starts_with("cache   "), "{}", told.err);
    assert!(lines[1].starts_with("disk    "), "{}", told.err);
    assert!(
        lines[2..].iter().any(|line| line.starts_with("plugin  lscs: ") && line.contains("fuel")),
        "{}",
        told.err
    );
    let wrote = session(&work, ".explain on\nput t k7 other\n");
    assert!(wrote.err.contains("written"), "{}", wrote.err);
}

#[test]
fn the_first_error_ends_a_script_unless_it_is_to_go_on() {
    let work = words();
    let lines =
        b"get settings colour\n\nget settings nothing\nget settings colour\nget nothing 1\n";
    let ended = work.run_with(&["shell"], lines);
    assert_eq!((ended.code, ended.out.as_str()), (3, "blue\n"));
    assert!(ended.err.starts_with("error: line 3: table 'settings' has no row"), "{}", ended.err);
    let ended = work.run_with(&["shell", "--keep-going"], lines);
    assert_eq!((ended.code, ended.out.as_str()), (3, "blue\nblue\n"));
    assert!(ended.err.contains("line 3: ") && ended.err.contains("line 5: "), "{}", ended.err);
    let cases = [
        ("scn words\n", 2, "unrecognized subcommand"),
        (".nothing\n", 2, ".help lists them"),
        (".mode xml\n", 2, "table|json"),
        ("put settings 'a\n", 2, "not whole: it has a quote"),
        ("scan words --db other\n", 2, "--db"),
        ("restore backup\n", 2, "does not run inside the shell"),
        ("top\n", 2, "leave with .quit"),
        ("shell\n", 2, "does not run inside the shell"),
        ("import - --table t --format jsonl\n", 2, "where the shell reads"),
        (".read nothing.txt\n", 3, "nothing.txt"),
    ];
    for (line, code, word) in cases {
        let ended = session(&work, line);
        assert_eq!(ended.code, code, "{line}: {}", ended.err);
        assert!(
            ended.err.contains(word) && ended.err.starts_with("error: "),
            "{line}: {}",
            ended.err
        );
    }
    work.file("itself.txt", ".read itself.txt\n");
    let ended = session(&work, ".read itself.txt\n");
    assert!(ended.code == 2 && ended.err.contains("read one another"), "{}", ended.err);
    work.file("bad.txt", "get settings colour\nget settings nothing\n");
    let ended = session(&work, ".read bad.txt\n");
    assert!(ended.err.contains("line 1: bad.txt:2: table 'settings' has no row"), "{}", ended.err);
}

#[test]
fn a_database_is_made_only_when_that_is_asked_for() {
    let work = Workplace::new();
    work.refused(&["shell", "-c", ".tables"], 3, &["sochdb shell --create"]);
    assert_eq!(work.ok(&["shell", "--create", "-c", ".tables"]), "no tables\n");
    assert!(work.db().exists());
}

#[test]
fn plugins_and_copies_work_on_the_open_database() {
    let work = words();
    let lines = "plugin disable lz4\nplugin enable lz4\nplugin history\nplugin list --why\nbackup copy\ncheck\n";
    let out = printed(&work, lines);
    assert!(
        out.contains("enabled 'lz4'")
            && out.contains("copy holds every commit")
            && out.ends_with("no problems\n"),
        "{out}"
    );
    assert_eq!(work.ok(&["--db", "copy", "get", "settings", "colour"]), "blue\n");
}

/// A pipe in the file system, to feed a command row by row.
fn fifo(work: &Workplace) -> PathBuf {
    let path = work.path("rows.jsonl");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// Writes rows for as long as somebody reads them, and returns how many somebody may have read. After some thousand,
/// when reading is well under way, calls `meanwhile`.
fn feed(path: &Path, meanwhile: impl FnOnce()) -> u64 {
    let mut pipe = OpenOptions::new().write(true).open(path).unwrap();
    let mut meanwhile = Some(meanwhile);
    for number in 0_u64.. {
        if number == 5_000 {
            (meanwhile.take().unwrap())();
        }
        if writeln!(pipe, "{{\"id\": {number}, \"text\": \"row number {number}\"}}").is_err() {
            return number;
        }
    }
    unreachable!("numbers do not end")
}

fn interrupt(child: &Child) {
    tell(child, "-INT");
}

fn tell(child: &Child, signal: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

#[test]
fn an_interrupted_command_is_cancelled_and_the_next_one_runs() {
    let work = words();
    let path = fifo(&work);
    let mut command = work.command(&["shell", "--keep-going"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(
            b"import rows.jsonl --table many --key id\nget settings colour\nput settings after 1\n",
        )
        .unwrap();
    drop(stdin);
    let fed = feed(&path, || interrupt(&child));
    let ended = child.wait_with_output().unwrap();
    let (out, err) =
        (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert_eq!((ended.status.code(), out.as_str()), (Some(130), "blue\n"), "{err}");
    assert!(
        err.contains("line 1: cancelled") && err.contains("rows were committed before"),
        "{err}"
    );
    assert!(work.ok(&["check"]).ends_with("no problems\n"));
    assert_eq!(work.ok(&["get", "settings", "after"]), "1\n");
    let rows = work.ok(&["scan", "many", "--json"]).lines().count() as u64;
    assert!(0 < rows && rows < fed && rows.is_multiple_of(1_000), "whole batches: {rows} of {fed}");
}

#[test]
fn a_shell_that_is_told_to_end_does_not_cancel_a_line_but_ends() {
    let work = words();
    let path = fifo(&work);
    let mut command = work.command(&["shell", "--keep-going"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = "import rows.jsonl --table many --key id\nget settings colour\n";
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    feed(&path, || tell(&child, "-TERM"));
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.signal(), ended.stdout.as_slice()), (Some(15), &b""[..]));
    // A crash to the database, which it is made for.
    assert!(work.ok(&["check"]).ends_with("no problems\n"));
    assert_eq!(work.ok(&["get", "settings", "colour"]), "blue\n");
}

#[test]
fn a_script_ends_with_the_line_that_was_cancelled() {
    let work = words();
    let path = fifo(&work);
    let mut command = work.command(&[
        "shell",
        "-c",
        "import rows.jsonl --table many --key id",
        "-c",
        "get settings colour",
    ]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    feed(&path, || interrupt(&child));
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stdout.as_slice()), (Some(130), &b""[..]));
}

#[test]
fn a_scan_that_nobody_reads_is_cancelled() {
    let work = Workplace::new();
    let rows: String =
        (0..20_000).map(|n| format!("{{\"id\": {n}, \"text\": \"row number {n}\"}}\n")).collect();
    work.file("many.jsonl", rows);
    work.ok(&["import", "many.jsonl"]);
    let mut command = work.command(&["shell", "-c", "scan many --json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    interrupt(&child);
    // The signal has come by the time the shell can write all that.
    let rest = out.lines().map_while(Result::ok).count();
    let ended = child.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{err}");
    assert!(rest < 20_000 && err.contains("cancelled"), "{rest} rows, {err}");
}

/// A shell in a terminal of its own.
fn terminal(work: &Workplace, history: &Path) -> rexpect::session::PtySession {
    let mut command = Command::new("sh");
    command.args(["-c", "stty rows 24 cols 100; exec \"$0\" shell", env!("CARGO_BIN_EXE_sochdb")]);
    command.current_dir(work.path("")).env("SOCHDB_DB", work.db()).env("SOCHDB_HISTORY", history);
    command.env("TERM", "dumb").env("NO_COLOR", "1").env("PAGER", "cat").env("RUST_BACKTRACE", "0");
    rexpect::session::spawn_command(command, Some(PATIENCE_MS)).unwrap()
}

fn types(terminal: &mut rexpect::session::PtySession, keys: &str) {
    terminal.send(keys).unwrap();
    terminal.flush().unwrap();
}

#[test]
fn a_terminal_has_a_prompt_and_completion_and_history() {
    let work = words();
    let history = work.path("history/lines.txt");
    let mut shell = terminal(&work, &history);
    shell.exp_string(".help lists what the shell does").unwrap();
    shell.exp_string("db> ").unwrap();
    types(&mut shell, "get sett\t colour\r");
    shell.exp_string("blue").unwrap();
    shell.exp_string("db> ").unwrap();
    // A quote that is open is closed on the next line.
    types(&mut shell, "put settings note 'two\rlines'\r");
    shell.exp_string("db> ").unwrap();
    types(&mut shell, "get settings nothing\r");
    shell.exp_string("error: ").unwrap();
    shell.exp_string("has no row").unwrap();
    shell.exp_string("db> ").unwrap();
    // Ctrl-C takes the line away, and Ctrl-D leaves.
    types(&mut shell, "delete settings colour\x03");
    shell.exp_string("db> ").unwrap();
    types(&mut shell, "\x04");
    shell.exp_eof().unwrap();
    assert_eq!(work.ok(&["get", "settings", "colour"]), "blue\n");
    assert_eq!(work.ok(&["get", "settings", "note"]), "two\nlines\n");
    let lines = std::fs::read_to_string(history).unwrap();
    assert!(lines.contains("colour") && !lines.contains("delete"), "{lines}");
}

#[test]
fn ctrl_c_in_a_terminal_cancels_the_command_and_not_the_database() {
    let work = words();
    let path = fifo(&work);
    let mut shell = terminal(&work, &work.path("history.txt"));
    shell.exp_string("db> ").unwrap();
    types(&mut shell, "import rows.jsonl --table many --key id\r");
    feed(&path, || types(&mut shell, "\x03"));
    shell.exp_string("error: cancelled").unwrap();
    shell.exp_string("db> ").unwrap();
    types(&mut shell, "get settings colour\r");
    shell.exp_string("blue").unwrap();
    types(&mut shell, ".quit\r");
    shell.exp_eof().unwrap();
    assert!(work.ok(&["check"]).ends_with("no problems\n"));
}

#[test]
fn what_is_longer_than_the_terminal_goes_through_the_pager() {
    let work = words();
    let pager = work.file("pager.sh", "#!/bin/sh\necho paged\ncat\n");
    let mut command = Command::new("sh");
    command.args(["-c", "stty rows 10 cols 100; exec \"$0\" shell", env!("CARGO_BIN_EXE_sochdb")]);
    command.current_dir(work.path("")).env("SOCHDB_DB", work.db()).env("SOCHDB_HISTORY", "");
    command
        .env("TERM", "dumb")
        .env("NO_COLOR", "1")
        .env("PAGER", format!("sh {}", pager.display()));
    let mut shell = rexpect::session::spawn_command(command, Some(PATIENCE_MS)).unwrap();
    shell.exp_string("db> ").unwrap();
    types(&mut shell, "get settings colour\r");
    let before = shell.exp_string("blue").unwrap();
    assert!(!before.contains("paged"), "{before}");
    types(&mut shell, ".help\r");
    shell.exp_string("paged").unwrap();
    shell.exp_string("help COMMAND").unwrap();
    types(&mut shell, ".pager off\r");
    types(&mut shell, ".help\r");
    let shown = shell.exp_string("help COMMAND").unwrap();
    assert!(shown.contains(".quit"));
    types(&mut shell, "\x04");
    let rest = shell.exp_eof().unwrap();
    assert!(!rest.contains("paged"), "{rest}");
}

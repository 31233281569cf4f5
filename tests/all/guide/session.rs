//! What a page shows of a terminal, and whether a shell shows the same.
//!
//! ```text
//!   page ── blocks ──▶ commands, each with what it says ── one shell, in order ──▶ what it did say ── compare
//! ```
//!
//! A block of the language `console` holds commands and what they say:
//!
//! | a line              | what it is                                                             |
//! |---------------------|------------------------------------------------------------------------|
//! | `$ COMMAND`         | a command for the shell; all commands of a page run in the same one    |
//! | `> MORE`            | the command's next line                                                |
//! | `...` alone         | any number of lines, none included                                     |
//! | anything else       | a line that the command says, on either stream; `[..]` in it is any text |
//!
//! 1. A command that says a line that begins with `error: ` must fail, every other one must not.
//! 2. A command with nothing below it says nothing.
//! 3. A block in an HTML comment is run and not shown: what a reader has done already.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A command of a page, and the lines that the page shows below it.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    pub line: usize,
    pub command: String,
    pub says: Vec<String>,
}

/// The commands of a page, in order.
pub fn commands(text: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut is_console = false;
    for (number, line) in text.lines().enumerate() {
        if let Some(fence) = line.strip_prefix("```") {
            is_console = fence == "console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| is_console) {
            all.push(Shown { line: number + 1, command: command.to_owned(), says: Vec::new() });
        } else if is_console {
            let last = all.last_mut().unwrap_or_else(|| panic!("no command before '{line}'"));
            match line.strip_prefix("> ") {
                Some(more) if last.says.is_empty() => {
                    last.command.push('\n');
                    last.command.push_str(more);
                }
                _ => last.says.push(line.trim_end().to_owned()),
            }
        }
    }
    all
}

/// How a command ended: its exit code, and the lines of both streams.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub code: i32,
    pub lines: Vec<String>,
}

/// Runs all commands in one shell in `folder`, with `program` as the command `sochdb`.
pub fn run(shown: &[Shown], folder: &Path, program: &Path) -> Vec<Said> {
    let bin = folder.join(".bin");
    fs::create_dir(&bin).expect("an empty folder");
    std::os::unix::fs::symlink(program, bin.join("sochdb")).expect("a link");
    let mut script = String::from("trap 'kill $(jobs -p) 2>/dev/null' EXIT\n");
    for (index, Shown { command, .. }) in shown.iter().enumerate() {
        let _ = write!(script, "{command}\nprintf '\\n@ended {index} %d\\n' $?\n");
    }
    let (script_file, out) = (bin.join("script"), bin.join("out"));
    fs::write(&script_file, script).expect("written");
    // A file, not a pipe: what still runs at the end would keep a pipe open.
    let output = fs::File::create(&out).expect("created");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("bash");
    shell.args(["--norc", "--noprofile"]).arg(&script_file).current_dir(folder);
    shell.env("PATH", format!("{}:{path}", bin.display())).stdin(Stdio::null());
    for variable in ["SOCHDB_DB", "SOCHDB_POLICY", "RUST_LOG"] {
        shell.env_remove(variable);
    }
    shell.env("LC_ALL", "C.UTF-8").env("RUST_BACKTRACE", "0").env("COLUMNS", "100");
    shell.stderr(output.try_clone().expect("a handle")).stdout(output);
    shell.status().expect("bash runs");
    answers(&String::from_utf8_lossy(&fs::read(&out).expect("written")))
}

fn answers(text: &str) -> Vec<Said> {
    let mut all = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(ended) = line.strip_prefix("@ended ") {
            let code = ended.split(' ').nth(1).and_then(|code| code.parse().ok());
            // The line feed before the mark.
            if lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
            all.push(Said { code: code.expect("a number"), lines: std::mem::take(&mut lines) });
        } else {
            lines.push(line.trim_end().to_owned());
        }
    }
    all
}

/// Whether `said` is what `says` shows.
pub fn agree(says: &[String], said: &[String]) -> bool {
    match says.split_first() {
        None => said.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=said.len()).any(|skipped| agree(rest, &said[skipped..]))
        }
        Some((first, rest)) => said
            .split_first()
            .is_some_and(|(line, others)| is_like(first, line) && agree(rest, others)),
    }
}

/// Whether `line` is `pattern`, where `[..]` is any text.
fn is_like(pattern: &str, line: &str) -> bool {
    match pattern.split_once("[..]") {
        None => pattern == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|&at| rest.is_char_boundary(at))
                .any(|at| is_like(after, &rest[at..]))
        }),
    }
}

/// Runs the page's commands in an empty folder that has a copy of `data`; returns one text for each command that
/// does something else than the page shows, and how many commands there were.
pub fn check(page: &Path, data: &Path, folder: &Path, program: &Path) -> (Vec<String>, usize) {
    let shown = commands(&fs::read_to_string(page).expect("a page"));
    copy(data, &folder.join("data"));
    let said = run(&shown, folder, program);
    let name = page.file_name().expect("a file").display();
    let mut wrong = Vec::new();
    if said.len() != shown.len() {
        wrong.push(format!(
            "{name}: the shell ended after {} of {} commands",
            said.len(),
            shown.len()
        ));
    }
    for (Shown { line, command, says }, Said { code, lines }) in shown.iter().zip(&said) {
        let fails = says.iter().any(|line| line.starts_with("error: "));
        if fails == (*code == 0) || !agree(says, lines) {
            let (says, lines) = (says.join("\n"), lines.join("\n"));
            wrong.push(format!(
                "{name}:{line}: $ {command}\n{says}\n-- ended with {code} and said\n{lines}\n"
            ));
        }
    }
    (wrong, shown.len())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let path: PathBuf = entry.expect("readable").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

#[test]
fn a_page_is_read_as_the_table_above_says() {
    let page = "text\n```console\n$ one \\\n>   two\nsays\n$ three\n```\n```text\n$ no\n```\n";
    let shown = commands(page);
    assert_eq!(shown.len(), 2);
    assert_eq!((shown[0].line, shown[0].command.as_str()), (3, "one \\\n  two"));
    assert_eq!(shown[0].says, ["says"]);
    assert_eq!((shown[1].command.as_str(), shown[1].says.len()), ("three", 0));
}

#[test]
fn wildcards_stand_for_what_varies_and_for_nothing_else() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let is = |says: &str, said: &str| agree(&lines(says), &lines(said));
    assert!(is("", "") && !is("", "a") && !is("a", "") && !is("a\nb", "a"));
    assert!(is("in [..] ms, [..] rows", "in 3.1 ms, 7 rows") && !is("in [..] ms", "in 3.1 s"));
    assert!(is("...", "") && is("...", "a\nb") && is("a\n...\nd", "a\nb\nc\nd"));
    assert!(!is("a\n...\nd", "a\nb\nc") && !is("...\nb", "a"));
}

#[test]
fn a_command_that_ends_otherwise_or_says_something_else_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.md");
    let text = "```console\n$ X=1; echo one\none\n$ echo two; false\ntwo\n$ echo $X\n2\n$ nothing-of-that-name\n\
                ...\n$ echo 'error: no' && false\nerror: no\n$ (echo x >&2)\nx\n$ exit 3\n```\n";
    fs::write(&page, text).expect("written");
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).expect("made");
    let work = folder.path().join("work");
    let (wrong, count) = check(&page, &empty, &work, Path::new("/bin/true"));
    assert_eq!(count, 7);
    let lines: Vec<_> = wrong.iter().filter_map(|text| text.split(':').nth(1)).collect();
    assert_eq!(lines, [" the shell ended after 6 of 7 commands", "4", "6", "8"], "{wrong:#?}");
}

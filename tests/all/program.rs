//! The real binary, run in a directory of its own, and what it left behind.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A directory for one test, with a database called `db` once a command makes it.
pub struct Workplace {
    directory: TempDir,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Workplace {
    pub fn new() -> Workplace {
        Workplace { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn db(&self) -> PathBuf {
        self.path("db")
    }

    /// Writes a file into the directory.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("inside the directory")).expect("made");
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// The command with the test's database and directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sochdb"));
        command.args(args).current_dir(self.directory.path()).stdin(Stdio::null());
        command.env("SOCHDB_DB", self.db()).env_remove("NO_COLOR").env("RUST_BACKTRACE", "0");
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, b"")
    }

    /// Runs with `input` as standard input.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Ended {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let mut stdin = child.stdin.take().expect("piped");
        // It may well end without reading all.
        let _ = stdin.write_all(input);
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes| String::from_utf8(bytes).expect("the command writes UTF-8");
        let code = output.status.code().expect("it ends by itself");
        Ended { code, out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs what must succeed, silently on standard error, and returns its output.
    pub fn ok(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "sochdb {args:?}\n{}", ended.out);
        ended.out
    }

    /// Runs what must fail with `code`, saying all of `words`, and changing nothing on disk.
    pub fn refused(&self, args: &[&str], code: i32, words: &[&str]) -> String {
        let before = self.fingerprint();
        let ended = self.run(args);
        assert_eq!(ended.code, code, "sochdb {args:?}\n{}{}", ended.out, ended.err);
        assert!(ended.err.starts_with("error: "), "sochdb {args:?}\n{}", ended.err);
        assert!(!ended.err.contains("panicked"), "sochdb {args:?}\n{}", ended.err);
        for word in words {
            assert!(ended.err.contains(word), "sochdb {args:?} says no '{word}':\n{}", ended.err);
        }
        assert_eq!(self.fingerprint(), before, "sochdb {args:?} changed something on disk");
        ended.err
    }

    /// Every file below the directory with its length and hash. Audit trails aside: they tell of what was
    /// refused, too.
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        list(self.directory.path(), &mut text);
        text
    }
}

fn list(directory: &Path, text: &mut String) {
    let entries = std::fs::read_dir(directory).expect("readable");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    let is_audit = |path: &PathBuf| path.to_string_lossy().contains("audit.jsonl");
    paths.retain(|path| !is_audit(path));
    paths.sort();
    for path in paths {
        if path.is_dir() {
            let _ = writeln!(text, "{}/", path.display());
            list(&path, text);
        } else {
            let bytes = std::fs::read(&path).expect("readable");
            let _ = writeln!(text, "{} {} {}", path.display(), bytes.len(), blake3::hash(&bytes));
        }
    }
}

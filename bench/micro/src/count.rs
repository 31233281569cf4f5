//! One benchmark in valgrind, and how many instructions it took.
//!
//! Each benchmark has a process of its own, so that none depends on what ran before. What else could make two runs
//! differ is kept out: the process has no environment, and is started by the same name in its own folder, so that its
//! stack begins alike wherever the program lies. Valgrind gives it the same addresses each time.
//!
//! What remains are hashes that are seeded at random, of hash maps and of the kernel's cache: up to two in a hundred in
//! what reads and writes pages, less than one in all else.

use crate::{Error, MEASURED, Micro, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The names of benchmarks, and the instructions of one run of each.
pub type Counts = BTreeMap<String, u64>;

const INSTALL: &str = "install valgrind (Debian: apt-get install valgrind), or measure time: cargo bench -p bench-micro";

/// Valgrind and this program.
pub struct Counter {
    valgrind: PathBuf,
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Counter {
    /// Looks for valgrind, and makes a folder for what it writes.
    ///
    /// # Errors
    /// When there is none.
    pub fn new() -> Result<Counter> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let valgrind = std::env::split_paths(&path)
            .map(|folder| folder.join("valgrind"))
            .find(|program| program.is_file())
            .ok_or_else(|| {
                Error::new("instructions are counted by valgrind, which is not here", INSTALL)
            })?;
        let program = std::env::current_exe()
            .map_err(|error| Error::new(format!("this program: {error}"), "start it again"))?;
        let folder = tempfile::tempdir().map_err(|error| {
            Error::new(format!("a folder: {error}"), "make room in the folder for temporary files")
        })?;
        Ok(Counter { valgrind, program, folder })
    }

    /// Valgrind's version.
    ///
    /// # Errors
    /// When it does not start.
    pub fn version(&self) -> Result<String> {
        said(Command::new(&self.valgrind).arg("--version"))
    }

    /// What the benchmark's process says of the processor that it runs on.
    ///
    /// # Errors
    /// When valgrind or the process fails.
    pub fn processor(&self) -> Result<String> {
        let mut command = self.alone(&["--tool=none", "-q"]);
        said(command.arg(self.named()?).arg("processor"))
    }

    /// The instructions of one run of `micro`.
    ///
    /// # Errors
    /// When valgrind or the benchmark fails, or nothing was counted.
    pub fn count(&self, micro: &Micro) -> Result<u64> {
        let file = self.record(micro)?;
        let text = std::fs::read_to_string(&file)
            .map_err(|error| Error::new(format!("{}: {error}", file.display()), INSTALL))?;
        let found = total(&text).filter(|count| 0 < *count);
        found.ok_or_else(|| {
            let what = format!("{}: valgrind counted no instructions of it", micro.name);
            Error::new(
                what,
                "was `measured` renamed or inlined? its name is in bench/micro/src/lib.rs",
            )
        })
    }

    /// Runs `micro` in valgrind; what it wrote, for `callgrind_annotate`.
    ///
    /// # Errors
    /// When valgrind or the benchmark fails.
    pub fn record(&self, micro: &Micro) -> Result<PathBuf> {
        let file = self.folder.path().join(micro.name);
        let mut command = self.alone(&["--tool=callgrind", "-q"]);
        command.arg(format!("--toggle-collect={MEASURED}"));
        command.arg(format!("--callgrind-out-file={}", file.display()));
        said(command.arg(self.named()?).args(["run", micro.name]))?;
        Ok(file)
    }

    /// Counts all of `micros`, several at once, and shows how far it is.
    ///
    /// # Errors
    /// The first failure.
    pub fn count_all(&self, micros: &[&'static Micro]) -> Result<Counts> {
        let bar = ProgressBar::new(micros.len() as u64);
        bar.set_style(
            ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("a good template"),
        );
        let (next, counts) = (AtomicUsize::new(0), Mutex::new(Ok(Counts::new())));
        let work = || {
            while let Some(micro) = micros.get(next.fetch_add(1, Ordering::Relaxed)) {
                bar.set_message(micro.name);
                let counted = self.count(micro);
                bar.inc(1);
                let mut counts = counts.lock().expect("no thread panics while it adds");
                match (&mut *counts, counted) {
                    (Ok(counts), Ok(count)) => drop(counts.insert(micro.name.to_owned(), count)),
                    (counts @ Ok(_), Err(error)) => *counts = Err(error),
                    (Err(_), _) => return,
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        bar.finish_and_clear();
        counts.into_inner().expect("no thread panicked")
    }

    /// Valgrind with `options`, in the program's folder, without any environment.
    fn alone(&self, options: &[&str]) -> Command {
        let mut command = Command::new(&self.valgrind);
        command.env_clear().current_dir(self.program.parent().unwrap_or(Path::new("/")));
        command.args(options);
        command
    }

    /// The program as it is called in its own folder.
    fn named(&self) -> Result<PathBuf> {
        let name = self.program.file_name();
        let name = name.ok_or_else(|| Error::new("this program has no name", "start it again"))?;
        Ok(Path::new(".").join(name))
    }
}

/// What a program that succeeds prints.
///
/// # Errors
/// With what it said otherwise.
pub fn said(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let program = command.get_program().to_string_lossy();
    let output = output.map_err(|error| Error::new(format!("{program}: {error}"), INSTALL))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    let what = format!("{program}: {}\n{}", output.status, why.trim());
    Err(Error::new(what, "what it says above tells why"))
}

/// The number of instructions in what callgrind wrote.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_total_is_what_was_counted() {
        let text = "# callgrind format\nevents: Ir\nsummary: 7\n\nfn=(1) main\n7 3\ntotals: 1234\n";
        assert_eq!(total(text), Some(1234));
        assert_eq!(total("events: Ir\n"), None);
        assert_eq!(total("totals: many\n"), None);
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let failed = said(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"]));
        let text = failed.expect_err("it failed").to_string();
        assert!(text.contains("no such thing") && text.contains("help:"), "{text}");
        let text = said(&mut Command::new("no-such-program-here")).expect_err("none").to_string();
        assert!(text.contains("help:"), "{text}");
    }
}
